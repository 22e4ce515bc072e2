"""The figures as tables: one row a proxy, then the ratios to nginx and whether they reach what they should."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

Figures = dict[str, Any]
Results = dict[str, dict[str, list[Figures]]]

BUSY = 0.9  # a proxy that used less of its core could have done more, so its rate is only a lower bound
QUIET = 0.07  # other programs may take so much of a core before the report says so
PINNED = "The proxy has a core to itself, mock and load share another or have one each."


def rate(figures: Figures) -> float:
    return _count(figures) / float(figures["seconds"])


def cpu_us(figures: Figures) -> float:
    """CPU of the proxy for one event, or one JSON request."""
    return 1e6 * float(figures["proxy_cpu"]) / max(1, _count(figures))


def _count(figures: Figures) -> int:
    count: int = figures["events"] if "events" in figures else figures["answers"]
    return count


def delay(figures: Figures) -> float:
    return float(figures["delay_us"]["p50"])


def brief(load: str, figures: Figures) -> str:
    busy = {side: figures[f"{side}_cpu"] / figures["seconds"] for side in ("proxy", "mock", "load")}
    text = f"{rate(figures):11,.0f}/s {cpu_us(figures):8.2f} us each; busy: " + " ".join(
        f"{side} {100 * share:.0f} %" for side, share in busy.items()
    )
    if figures["others"]:
        text += " (others: " + ", ".join(f"{side} core {share:.0%}" for side, share in figures["others"].items()) + ")"
    if load == "paced":
        text += f"; delay {_pair(figures['delay_us'])} us, first event {_pair(figures['first_event_us'])} us"
    if load == "hold":
        text += f"; {figures['kib_per_stream']:.1f} KiB a stream"
    if "offered" in figures and figures["events"] < 0.97 * figures["offered"]:
        text += f"; BEHIND: {100 * figures['events'] / figures['offered']:.0f} % of the events offered"
    return text


# --- the table --------------------------------------------------------------------------------------------------------

Column = tuple[str, str, Callable[[list[Figures]], str]]


def _of(value: Callable[[Figures], float], form: str, bound: bool = False) -> Callable[[list[Figures]], str]:
    def cell(rounds: list[Figures]) -> str:
        text = form.format(median(map(value, rounds)))
        return f"≥ {text}" if bound and median(f["proxy_cpu"] / f["seconds"] for f in rounds) < BUSY else text

    return cell


def _pairs(name: str) -> Callable[[list[Figures]], str]:
    return lambda rounds: " / ".join(f"{median(f[name][q] for f in rounds):,.0f}" for q in ("p50", "p99"))


COLUMNS: list[Column] = [
    ("start s", "start", _of(lambda f: f["seconds"], "{:.2f}")),
    ("idle MiB", "start", _of(lambda f: f["idle_kib"] / 1024, "{:.1f}")),
    ("KiB/stream", "hold", _of(lambda f: f["kib_per_stream"], "{:.1f}")),
    ("burst ev/s", "flood", _of(rate, "{:,.0f}", bound=True)),
    ("CPU µs/ev", "flood", _of(cpu_us, "{:.2f}")),
    ("burst, chunk per event, ev/s", "each", _of(rate, "{:,.0f}", bound=True)),
    ("CPU µs/ev", "each", _of(cpu_us, "{:.2f}")),
    ("json req/s", "json", _of(rate, "{:,.0f}", bound=True)),
    ("CPU µs/req", "json", _of(cpu_us, "{:.0f}")),
    ("paced CPU s/10k ev", "paced", _of(lambda f: cpu_us(f) / 100, "{:.2f}")),
    ("delay p50/p99 µs", "paced", _pairs("delay_us")),
    ("first event p50/p99 µs", "paced", _pairs("first_event_us")),
]
_CPU_ONLY = {"CPU µs/ev", "CPU µs/req", "paced CPU s/10k ev"}


def text(results: Results, what: dict[str, str], *, pinned: bool) -> str:
    lines = [
        "",
        f"Medians. {PINNED if pinned else 'Mock, load and proxy share the cores.'}",
        f"≥: the proxy used less than {100 * BUSY:.0f} % of its core, so something else was the limit.",
        *_disturbed(results),
        "",
        _row(["proxy", *(title for title, _, _ in COLUMNS)]),
        _row(["---"] * (len(COLUMNS) + 1)),
    ]
    for name, loads in results.items():
        cells = [_cell(name, column, loads) for column in COLUMNS]
        lines.append(_row([f"{name} ({what[name]})", *cells]))
    return "\n".join([*lines, "", *_reach(results)])


def _disturbed(results: Results) -> list[str]:
    """Where other programs used the cores too: rates fall, and CPU per paced event can double (its caches are cold)."""
    shares = [
        f"{name} {load} {share:.0%}"
        for name, loads in results.items()
        for load, rounds in loads.items()
        if load != "hold" and (share := _others(rounds)) > QUIET
    ]
    return [f"DISTURBED by other programs on these cores: {', '.join(shares)}."] if shares else []


def _others(rounds: list[Figures]) -> float:
    return median(max(figures.get("others", {}).values(), default=0.0) for figures in rounds)


def _cell(name: str, column: Column, loads: dict[str, list[Figures]]) -> str:
    title, load, cell = column
    if load not in loads or (name == "direct" and title in _CPU_ONLY):
        return "–"
    value = cell(loads[load])
    return value.removeprefix("≥ ") if name == "direct" else value  # there is no proxy to be busy


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _pair(values: dict[str, float]) -> str:
    return f"{values['p50']:,.0f}/{values['p99']:,.0f}"


# --- what is to be reached --------------------------------------------------------------------------------------------

# (what, load, value, limit): value / nginx's value must be at most the limit or, if that is negative, at least 1/-limit
RATIOS: list[tuple[str, str, Callable[[Figures], float], float]] = [
    ("CPU per paced event", "paced", cpu_us, 4),
    ("burst events/s", "flood", rate, -10),
    ("burst events/s, chunk per event", "each", rate, -10),
    ("json requests/s", "json", rate, -12),
    ("one-way delay p50, paced", "paced", delay, 3),
]
ABSOLUTE: list[tuple[str, str, Callable[[Figures], float], float, str]] = [
    ("start", "start", lambda f: float(f["seconds"]), 0.4, "s"),
    ("idle memory", "start", lambda f: float(f["idle_kib"]) / 1024, 35, "MiB"),
    ("memory per open stream", "hold", lambda f: float(f["kib_per_stream"]), 60, "KiB"),
]


def _reach(results: Results) -> list[str]:
    subjects = [name for name in results if name not in {"direct", "nginx"} and results[name]]
    if not subjects:
        return ["No trioproxy was measured, so there is nothing to reach."]
    lines = [_row(["to reach", "limit", *subjects]), _row(["---"] * (len(subjects) + 2))]
    nginx = results.get("nginx", {})
    for what, load, value, limit in RATIOS:
        if load in nginx:
            allowed = f"≤ {limit:g} × nginx" if limit > 0 else f"≥ 1/{-limit:g} of nginx"
            cells = [_ratio(results[name].get(load), nginx[load], value, limit) for name in subjects]
            lines.append(_row([what, allowed, *cells]))
    for what, load, value, limit, unit in ABSOLUTE:
        cells = []
        for name in subjects:
            rounds = results[name].get(load)
            figure = median(map(value, rounds)) if rounds else None
            cells.append("–" if figure is None else f"{figure:.2f} {_verdict(figure <= limit)}")
        lines.append(_row([what, f"≤ {limit:g} {unit}", *cells]))
    if not nginx:
        lines.append("\nnginx did not run, so there are no ratios.")
    return lines


def _ratio(ours: list[Figures] | None, nginx: list[Figures], value: Callable[[Figures], float], limit: float) -> str:
    if not ours:
        return "–"
    shaky = " (disturbed)" if max(_others(ours), _others(nginx)) > QUIET else ""
    # round by round, since what is compared should have been measured at the same time
    ratio = median(value(a) / value(b) for a, b in zip(ours, nginx, strict=False))
    if limit > 0:
        return f"{ratio:.2f} × {_verdict(ratio <= limit)}{shaky}"
    by_cpu = median(cpu_us(a) / cpu_us(b) for a, b in zip(ours, nginx, strict=False))
    return f"1/{1 / ratio:.1f} {_verdict(ratio >= -1 / limit)} (by CPU 1/{by_cpu:.1f}){shaky}"


def _verdict(reached: bool) -> str:
    return "reached" if reached else "**not reached**"
