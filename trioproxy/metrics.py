"""What is counted: of each exchange when it ends, and what others tell of the moment when somebody looks.

Plain dicts of numbers, as an exchange must hardly notice. Whatever a client can choose is bounded: what goes beyond is
counted as "other".
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec.structs import replace

from trioproxy import __version__
from trioproxy.exposition import Family, Labels, Snapshot
from trioproxy.usage import usage

__all__ = ["Metrics", "Observed"]

_MODELS = 200  # names of models that are told apart, as clients choose them
_SERIES = 5000  # combinations of labels that one metric tells apart
_OTHER = "other"

_WHERE = ("route", "upstream", "model")
_FIRST_BYTE = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_DURATION = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

# Name, help and labels. A unit in the name is a base unit, as Prometheus wants it.
_COUNTERS: dict[str, tuple[str, Labels]] = {
    "requests_total": (
        "Requests that were answered or came to another end.",
        (*_WHERE, "client_dialect", "upstream_dialect", "status", "end"),
    ),
    "client_requests_total": ("Requests of each client that has a token.", ("client", "end")),
    "input_tokens_total": ("Tokens of requests as upstreams count them, cached ones included.", _WHERE),
    "cached_input_tokens_total": ("Tokens of requests that upstreams had in their cache.", _WHERE),
    "output_tokens_total": ("Tokens of answers as upstreams count them.", _WHERE),
    "client_input_tokens_total": ("The same of each client that has a token.", ("client",)),
    "client_output_tokens_total": ("The same of each client that has a token.", ("client",)),
    "lossy_requests_total": (
        "Requests of which something could not be said in the other dialect, or of their answers.",
        ("route", "upstream"),
    ),
    "upstream_errors_total": ("Errors of upstreams that reached a client.", ("upstream", "kind")),
    "retries_total": ("Requests sent again to the same upstream.", ("upstream", "cause")),
    "fallbacks_total": ("Requests that went from this upstream to the route's next one.", ("upstream", "cause")),
    "stage_counts_total": ("What stages count themselves.", ("direction", "stage", "what")),
}
_HISTOGRAMS: dict[str, tuple[str, Labels, tuple[float, ...]]] = {
    "first_byte_seconds": ("Until the first byte of an answer's body left.", _WHERE, _FIRST_BYTE),
    "request_seconds": ("Until the end of an exchange.", _WHERE, _DURATION),
}

_STAGES = (("stage_items_total", "Items that came to a stage."), ("stage_seconds_total", "Time it took over them."))

Read = Callable[[], Iterable[tuple[Labels, float]]]


class Observed(Protocol):
    """What an exchange has come to."""

    route: str
    upstream: str
    client: str
    status: int
    dialects: tuple[str, str]
    failing: str
    """What kind of error the upstream gave; empty if none."""

    @property
    def model_asked(self) -> str: ...
    @property
    def end_kind(self) -> str: ...
    @property
    def lossy(self) -> bool: ...
    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def first_byte_after(self) -> float | None: ...


class Metrics:
    """Of one process, which is the number `worker` of several (None: the only one)."""

    def __init__(self, *, worker: int | None = None) -> None:
        self._worker = worker
        self._counters: dict[str, dict[Labels, float]] = {name: {} for name in _COUNTERS}
        self._histograms: dict[str, dict[Labels, list[float]]] = {name: {} for name in _HISTOGRAMS}
        self._stages: dict[Labels, list[float]] = {}
        self._gauges: list[tuple[Family, Read]] = []
        self._models: set[str] = set()
        self.open = 0
        """Exchanges under way."""
        self.target: Callable[[str], str] = _none
        """What a target is told by, whose route is given: keys come and go. Empty for other routes."""
        self.gauge("requests_open", "Requests under way.", (), lambda: [((), self.open)])
        info = [((__version__, sys.version.partition(" ")[0]), 1.0)]
        self.gauge("build_info", "What runs here.", ("version", "python"), lambda: info)

    def gauge(self, name: str, help: str, labels: Labels, read: Read) -> None:
        """Ask `read` for the values of the labels and the number of each, whenever somebody looks."""
        self._gauges.append((Family(f"trioproxy_{name}", "gauge", help, labels), read))

    # ── counting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, name: str, labels: Labels, number: float = 1) -> None:
        """Count. A metric that tells enough apart counts what is new under "other"."""
        series = self._counters[name]
        if labels in series:
            series[labels] += number
            return
        if len(series) >= _SERIES:
            labels = (_OTHER,) * len(labels)
        series[labels] = series.get(labels, 0) + number

    def stage(self, direction: str, name: str, effort: tuple[int, float], counts: Mapping[str, int | str]) -> None:
        """Count what a stage has done in one exchange: items, seconds, and what it has counted itself."""
        items, seconds = effort
        if items:
            # Stages are the file's, and few; this is done for each of them in each exchange.
            if (done := self._stages.get((direction, name))) is None:
                done = self._stages[direction, name] = [0, 0.0]
            done[0] += items
            done[1] += seconds
        if counts:
            for what, number in counts.items():
                if number and what not in _ELSEWHERE and not isinstance(number, str):
                    self.add("stage_counts_total", (direction, name, what), number)

    def retried(self, seen: Observed, upstream: str, cause: str, *, elsewhere: bool) -> None:
        """Count an attempt at `upstream` that has come to nothing; `elsewhere`: another one is asked next."""
        self.add("fallbacks_total" if elsewhere else "retries_total", (self.target(seen.route) or upstream, cause))

    def observe(self, seen: Observed, seconds: float) -> None:
        """Count an exchange that has ended after `seconds`."""
        end = seen.end_kind
        route, upstream, client = seen.route, seen.upstream, seen.client
        if target := self.target(route):
            route, upstream, client = route.rpartition("/")[0], upstream and target, client and target
        where = (route, upstream, self._model(seen))
        self.add("requests_total", (*where, *seen.dialects, str(seen.status) if seen.status else "", end))
        self._measure("request_seconds", where, seconds)
        if seen.first_byte_after is not None:
            self._measure("first_byte_seconds", where, seen.first_byte_after)
        if client:
            self.add("client_requests_total", (client, end))
        if seen.lossy:
            self.add("lossy_requests_total", where[:2])
        if seen.failing:
            self.add("upstream_errors_total", (upstream, seen.failing))
        counts = seen.counts
        for count, name in _TOKENS:
            if number := counts.get(count):
                self.add(name, where, number)
                if client and (name := f"client_{name}") in self._counters:
                    self.add(name, (client,), number)

    def _model(self, seen: Observed) -> str:
        """The model's label. A new name has to be of a model that answers: else anybody could use up all there is."""
        name = seen.model_asked[:80]
        if name in self._models or not name:
            return name
        if seen.status != 200 or len(self._models) >= _MODELS:
            return _OTHER
        self._models.add(name)
        return name

    def _measure(self, name: str, labels: Labels, number: float) -> None:
        series, bounds = self._histograms[name], _HISTOGRAMS[name][2]
        if (numbers := series.get(labels)) is None:
            if len(series) >= _SERIES:
                labels = (_OTHER,) * len(labels)
            numbers = series.setdefault(labels, [0] * (len(bounds) + 2))
        numbers[bisect_left(bounds, number)] += 1
        numbers[-1] += number

    # ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> Snapshot:
        """All of it, as plain data that `exposition` can add up and write."""
        counted = [
            Family(f"trioproxy_{key}", "counter", help, labels, _alone(self._counters[key].items()))
            for key, (help, labels) in _COUNTERS.items()
        ]
        for index, (key, help) in enumerate(_STAGES):
            alone = _alone((labels, done[index]) for labels, done in self._stages.items())
            counted.append(Family(f"trioproxy_{key}", "counter", help, ("direction", "stage"), alone))
        for key, (help, labels, bounds) in _HISTOGRAMS.items():
            series = [(each, list(numbers)) for each, numbers in self._histograms[key].items()]
            counted.append(Family(f"trioproxy_{key}", "histogram", help, labels, series, bounds))
        read = [(family, family_read()) for family, family_read in self._gauges]
        read += [(Family(each.name, each.kind, each.help), [((), each.number)]) for each in usage()]
        now = [replace(family, series=_alone(series)) for family, series in read]
        if self._worker is not None:
            now = [_of_worker(str(self._worker), family) for family in now]
        return Snapshot(counted, now)


_TOKENS = (
    ("tokens_in", "input_tokens_total"),
    ("tokens_cached", "cached_input_tokens_total"),
    ("tokens_out", "output_tokens_total"),
)
_ELSEWHERE = frozenset(count for count, _ in _TOKENS)


def _none(_: str) -> str:
    """No route is a target's."""
    return ""


def _alone(series: Iterable[tuple[Labels, float]]) -> list[tuple[Labels, list[float]]]:
    return [(labels, [float(number)]) for labels, number in series]


def _of_worker(worker: str, family: Family) -> Family:
    """The family with a label that says whose it is."""
    series = [((worker, *labels), numbers) for labels, numbers in family.series]
    return replace(family, labels=("worker", *family.labels), series=series)
