"""What is to be reached: ratios to nginx and claude-code-router measured in the same round, and absolute limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import QUIET, Figures, Results, cpu_us, delay, others, rate, row
from benchmarks.proxies import Proxy

Value = Callable[[Figures], float]


@dataclass(frozen=True)
class Limit:
    """Our figure divided by that of `base` must be at most `limit`, or at least, if more is better."""

    what: str
    load: str
    value: Value
    limit: float
    base: str = "nginx"

    @property
    def more(self) -> bool:
        return self.value is rate

    @property
    def allowed(self) -> str:
        if self.limit == 1:
            return f"{'above' if self.more else 'below'} {self.base}"
        if self.limit < 1:
            return f"≥ 1/{1 / self.limit:g} of {self.base}"
        return f"{'≥' if self.more else '≤'} {self.limit:g} × {self.base}"

    def cell(self, ours: list[Figures] | None, base: list[Figures]) -> str:
        if not ours:
            return "–"
        # round by round, since what is compared should have been measured at the same time
        ratio = median(self.value(a) / self.value(b) for a, b in zip(ours, base, strict=False))
        reached = ratio >= self.limit if self.more else ratio <= self.limit
        text = f"{_times(ratio)} {_verdict(reached)}"
        if self.more:
            by_cpu = median(cpu_us(b) / cpu_us(a) for a, b in zip(ours, base, strict=False))
            text += f" (by CPU {_times(by_cpu)})"
        return f"{text} (disturbed)" if max(others(ours), others(base)) > QUIET else text


SAME = (
    Limit("CPU per paced event", "paced", cpu_us, 4),
    Limit("burst events/s", "flood", rate, 1 / 10),
    Limit("burst events/s, chunk per event", "each", rate, 1 / 10),
    Limit("json requests/s", "json", rate, 1 / 12),
    Limit("one-way delay p50, paced", "paced", delay, 3),
)
TRANSLATING = (
    Limit("CPU per paced event", "paced", cpu_us, 4.5),
    Limit("CPU per paced event", "paced", cpu_us, 1, "ccr"),
    Limit("burst events/s", "flood", rate, 2, "ccr"),
    Limit("burst events/s, chunk per event", "each", rate, 2, "ccr"),
    Limit("json requests/s", "json", rate, 2.5, "ccr"),
    Limit("one-way delay p50, paced", "paced", delay, 3),
)
ABSOLUTE: tuple[tuple[str, str, Value, float, str], ...] = (
    ("start", "start", lambda f: float(f["seconds"]), 0.4, "s"),
    ("idle memory", "start", lambda f: float(f["idle_kib"]) / 1024, 35, "MiB"),
    ("memory per open stream", "hold", lambda f: float(f["kib_per_stream"]), 60, "KiB"),
)


def tables(results: Results, proxies: Mapping[str, Proxy]) -> list[str]:
    ours = [name for name in results if results[name] and proxies[name].own]
    same = [name for name in ours if not proxies[name].translates]
    translating = [name for name in ours if proxies[name].translates]
    if not ours:
        return ["No trioproxy was measured, so there is nothing to reach."]
    lines: list[str] = []
    if same:
        lines += [*_table("to reach, same dialect", SAME, results, same), ""]
    if translating:
        lines += [*_table("to reach, translating", TRANSLATING, results, translating), ""]
    if not results.get("nginx"):
        lines.append("nginx did not run, so there are no ratios to it.")
    if translating and not results.get("ccr"):
        lines.append("claude-code-router did not run, so there are no ratios to it.")
    return lines


def _table(title: str, limits: tuple[Limit, ...], results: Results, names: list[str]) -> list[str]:
    lines = [row([title, "limit", *names]), row(["---"] * (len(names) + 2))]
    for limit in limits:
        if base := results.get(limit.base, {}).get(limit.load):
            cells = [limit.cell(results[name].get(limit.load), base) for name in names]
            lines.append(row([limit.what, limit.allowed, *cells]))
    for what, load, value, most, unit in ABSOLUTE:
        cells = []
        for name in names:
            rounds = results[name].get(load)
            figure = median(map(value, rounds)) if rounds else None
            cells.append("–" if figure is None else f"{figure:.2f} {_verdict(figure <= most)}")
        lines.append(row([what, f"≤ {most:g} {unit}", *cells]))
    return lines


def _times(ratio: float) -> str:
    return f"{ratio:.2f} ×" if ratio > 0.5 else f"1/{1 / ratio:.1f}"


def _verdict(reached: bool) -> str:
    return "reached" if reached else "**not reached**"
