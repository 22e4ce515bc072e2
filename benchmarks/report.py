"""The figures as tables: one row a proxy, then what they reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from benchmarks import reach
from benchmarks.figures import QUIET, Figures, Results, behind, cpu_us, others, rate, row
from benchmarks.proxies import Proxy

BUSY = 0.9  # a proxy that used less of its core could have done more, so its rate is only a lower bound
PINNED = "The proxy has a core to itself, mock and load share another or have one each."


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
    if behind(figures):
        text += f"; BEHIND: {100 * figures['events'] / figures['offered']:.0f} % of the events offered"
    if figures.get("unfinished"):
        text += f"; {figures['unfinished']} streams not read to their end"
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


def text(results: Results, proxies: Mapping[str, Proxy], *, pinned: bool) -> str:
    lines = [
        "",
        f"Medians. {PINNED if pinned else 'Mock, load and proxy share the cores.'}",
        f"≥: the proxy used less than {100 * BUSY:.0f} % of its core, so something else was the limit.",
        *_disturbed(results),
        *_behind(results),
        "",
        row(["proxy", *(title for title, _, _ in COLUMNS)]),
        row(["---"] * (len(COLUMNS) + 1)),
    ]
    for name, loads in results.items():
        cells = [_cell(name, column, loads) for column in COLUMNS]
        lines.append(row([f"{name} ({proxies[name].what})", *cells]))
    return "\n".join([*lines, "", *reach.tables(results, proxies)])


def _disturbed(results: Results) -> list[str]:
    """Where other programs used the cores too: rates fall, and CPU per paced event can double (its caches are cold)."""
    shares = [
        f"{name} {load} {share:.0%}"
        for name, loads in results.items()
        for load, rounds in loads.items()
        if load != "hold" and (share := others(rounds)) > QUIET
    ]
    return [f"DISTURBED by other programs on these cores: {', '.join(shares)}."] if shares else []


def _behind(results: Results) -> list[str]:
    """Proxies that a paced load was too much for: what they did not send has no delay."""
    shares = [
        f"{name} {load} {median(f['events'] / f['offered'] for f in rounds):.0%}"
        for name, loads in results.items()
        for load, rounds in loads.items()
        if all(map(behind, rounds))
    ]
    return [f"BEHIND, with so much of the events offered: {', '.join(shares)}."] if shares else []


def _cell(name: str, column: Column, loads: dict[str, list[Figures]]) -> str:
    title, load, cell = column
    if load not in loads or (name == "direct" and title in _CPU_ONLY):
        return "–"
    value = cell(loads[load])
    return value.removeprefix("≥ ") if name == "direct" else value  # there is no proxy to be busy


def _pair(values: dict[str, float]) -> str:
    return f"{values['p50']:,.0f}/{values['p99']:,.0f}"
