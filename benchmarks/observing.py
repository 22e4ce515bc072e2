"""What it costs to be observed: CPU time of one exchange's record, with and without metrics and the line in the log.

    python -m benchmarks.observing

It measures the accounting alone, in this process and without a socket: what an exchange with the default stages tells
its record, which counts it and writes its line to a file. Rounds alternate between the ways, and the best of each
stands, so that other programs on the machine matter little.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TextIO

import trio

from trioproxy import log
from trioproxy.exposition import merged, write
from trioproxy.http.target import Target
from trioproxy.metrics import Metrics
from trioproxy.record import Record
from trioproxy.stage import Stage

_EXCHANGES, _ROUNDS = 4000, 7
_TOLD: dict[str, Mapping[str, int | str]] = {
    "deframe": {"events_in": 200},
    "parse": {"tokens_in": 3000, "tokens_cached": 2000, "tokens_out": 190, "stop": "end_turn", "answered": "claude"},
    "signature-filter": {"dropped": 0, "kept": 1, "held_back": 0},
    "remember-thinking": {},
    "keepalive": {},
    "translate": {},
    "reframe": {"events_out": 200},
}


class _Asked:
    method, target, sent, received, peer = "POST", Target("/v1/messages", None, None), 28_000, 400, "127.0.0.1"

    def __init__(self) -> None:
        self.headers = [(b"host", b"x"), (b"user-agent", b"claude"), (b"x-request-id", b"1")]


class _Stage:
    def __init__(self, told: Mapping[str, int | str]) -> None:
        self._told = told

    def stats(self) -> Mapping[str, int | str]:
        return self._told

    def effort(self) -> tuple[int, float]:
        return 200, 0.001


_STAGES = [(name, _Stage(told)) for name, told in _TOLD.items()]


def exchange(metrics: Metrics | None) -> None:
    with Record("1f3a9c0e1f3a9c0e", incoming=_Asked(), metrics=metrics) as record:
        record.route, record.upstream, record.model, record.asked = "/", "up", "claude", "claude"
        record.dialects, record.status = ("anthropic", "anthropic"), 200
        record.first_byte()
        record.staged("response", _STAGES)
        record.replied(28_000, [(b"request-id", b"req_1")])
        record.end = "complete"


def cost(action: Callable[[], object], number: int) -> float:
    """CPU microseconds of one."""
    began = time.process_time()
    for _ in range(number):
        action()
    return (time.process_time() - began) / number * 1e6


class _Same(Stage[int, int]):
    def feed(self, item: int, /) -> tuple[int]:
        return (item,)


async def measure(out: TextIO) -> None:
    metrics, stage = Metrics(), _Same()
    quiet, loud = (
        (lambda: log.set_up("warning", "json", out, colour=False)),
        (lambda: log.set_up("info", "json", out, colour=False)),
    )
    ways: dict[str, tuple[Callable[[], None], Callable[[], object], int]] = {
        "record": (quiet, lambda: exchange(None), _EXCHANGES),
        "record, metrics": (quiet, lambda: exchange(metrics), _EXCHANGES),
        "record, metrics, log": (loud, lambda: exchange(metrics), _EXCHANGES),
        "batch of one item": (quiet, lambda: stage.feed_all([1]), 10 * _EXCHANGES),
        "batch of one item, timed": (quiet, lambda: stage.timed([1]), 10 * _EXCHANGES),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(_ROUNDS):
        for name, (set_up, action, number) in ways.items():
            set_up()
            best[name] = min(best[name], cost(action, number))
    for name, microseconds in best.items():
        print(f"{name:26} {microseconds:7.2f} µs")
    print(f"{'metrics of an exchange':26} {best['record, metrics'] - best['record']:7.2f} µs")
    print(f"{'its line in the log':26} {best['record, metrics, log'] - best['record, metrics']:7.2f} µs")
    print(f"{'timing a batch':26} {best['batch of one item, timed'] - best['batch of one item']:7.2f} µs")
    for number in range(200):
        for status in (200, 429):
            with Record("x", metrics=metrics) as record:
                record.route, record.upstream, record.model, record.status = "/", "up", f"m{number}", status
    page = write(metrics.snapshot())
    took = min(cost(lambda: write(merged([metrics.snapshot()])), 5) for _ in range(3)) / 1000
    print(f"the page of 200 models     {took:7.2f} ms, {len(page) // 1024} KiB")


def main() -> None:
    with tempfile.TemporaryFile("w") as out:
        trio.run(measure, out)


if __name__ == "__main__":
    main()
