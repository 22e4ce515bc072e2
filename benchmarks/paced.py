"""The paced loads: streams whose events come at a fixed rate, each of them checked and its delay taken.

paced: every connection first runs a few short streams, for the time to the first event, then one long one, and the
window is laid where all the long ones run, so it holds events and no openings.
hold: many slow streams at once; memory is read while all of them are open.
"""

from __future__ import annotations

import argparse
import select
import time
from array import array
from collections.abc import Sequence

from benchmarks.answers import TooSlowError, WrongAnswerError
from benchmarks.checks import Checks
from benchmarks.figures import Figures
from benchmarks.load import STALL_SECONDS, Client
from benchmarks.streams import Stream
from benchmarks.watch import Watch
from benchmarks.wire import SHORTEST_STREAM

RAMP_SECONDS = 1.0  # the streams start spread over this, so that their events do not come in step
SHORT_STREAMS = 3
FINISH_SECONDS = 10.0  # a proxy that cannot keep up may have minutes of events left after the window
GOLDEN = 0.6180339887  # multiples of it, modulo one, are spread evenly for any number of streams


class Streams:
    """Connections that run one paced stream after the other."""

    def __init__(self, options: argparse.Namespace, checks: Checks, lengths: Sequence[int]) -> None:
        name = options.behaviour or "paced"
        self.requests = [checks.request(f"{name}-{options.rate}-{n}", stream=True) for n in lengths]
        self.checks, self.lengths = checks, lengths
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.streams: dict[int, Stream] = {}
        self.turn: dict[int, int] = {}
        for _ in range(options.connections):
            client = Client(options.port)
            fd = client.sock.fileno()
            self.clients[fd] = client
            self.epoll.register(fd, select.EPOLLIN)
        self.waiting = sorted((n * GOLDEN % 1.0 * RAMP_SECONDS, fd) for n, fd in enumerate(self.clients))
        self.waiting.reverse()
        self.started = time.monotonic()
        self.last_turn = 0  # connections that have reached their last stream's first text
        self.ended = 0
        self.first_event_ns = array("q")

    def ask(self, fd: int, turn: int) -> None:
        self.turn[fd] = turn
        stream = self.streams[fd] = self.checks.paced(self.lengths[turn])
        stream.asked = time.monotonic_ns()
        self.clients[fd].send(self.requests[turn])

    def step(self, delays: array[int], until: float) -> int:
        """Start what is due, read what has come; append the delay of each delta; return the number of events."""
        now = time.monotonic()
        while self.waiting and self.started + self.waiting[-1][0] <= now:
            self.ask(self.waiting.pop()[1], 0)
        wake = min(until, self.started + self.waiting[-1][0]) if self.waiting else until
        count = 0
        for fd, _ in self.epoll.poll(max(0.0, wake - now)):
            data = self.clients[fd].sock.recv(65536)
            arrived = time.monotonic_ns()
            if not data:
                raise WrongAnswerError(f"connection closed after {self.streams[fd].where}")
            stream = self.streams[fd]
            sent: list[int] = []
            count += stream.feed(data, sent)
            for moment in sent:
                delays.append(arrived - moment)
            if sent and not stream.heard:
                stream.heard = True
                self.first_event_ns.append(arrived - stream.asked)
                self.last_turn += self.turn[fd] == len(self.lengths) - 1
            if stream.done:
                if self.turn[fd] + 1 < len(self.lengths):
                    self.ask(fd, self.turn[fd] + 1)
                else:
                    self.ended += 1
        return count

    def finish(self) -> int:
        """Read the streams to their end, so that each one's end is checked too; how many had none in time."""
        last = time.monotonic()
        until = last + FINISH_SECONDS
        while self.ended < len(self.clients) and last < until:
            if self.step(array("q"), last + STALL_SECONDS):
                last = time.monotonic()
            elif time.monotonic() - last > STALL_SECONDS:
                raise WrongAnswerError(f"{len(self.clients) - self.ended} streams are stuck before their end")
        return len(self.clients) - self.ended


def paced(options: argparse.Namespace, checks: Checks) -> Figures:
    ramp = RAMP_SECONDS + SHORT_STREAMS * SHORTEST_STREAM / options.rate
    long = int((ramp + options.seconds + 0.5) * options.rate)
    streams = Streams(options, checks, [*[SHORTEST_STREAM] * SHORT_STREAMS, long])
    wait_for_all(streams, deadline=ramp + STALL_SECONDS)
    watch = Watch(options.watch, options.mock)
    delays: array[int] = array("q")
    events = 0
    watch.start()
    closes = time.monotonic() + options.seconds
    while time.monotonic() < closes:
        events += streams.step(delays, closes)
    watch.stop()
    if streams.ended:
        raise TooSlowError("streams ended inside the window: the openings took too long, nothing was measured")
    unfinished = streams.finish()
    figures = watch.figures()
    figures["unfinished"] = unfinished
    figures["events"] = events
    figures["offered"] = options.connections * options.rate * figures["seconds"]
    figures["delay_us"] = quantiles(delays)
    figures["first_event_us"] = quantiles(streams.first_event_ns)
    return figures


def hold(options: argparse.Namespace, checks: Checks) -> Figures:
    streams = Streams(options, checks, [int((RAMP_SECONDS + options.seconds) * options.rate)])
    watch = Watch(options.watch, options.mock)
    before = watch.rss_kib()
    wait_for_all(streams, deadline=RAMP_SECONDS + STALL_SECONDS)
    watch.start()
    # The first stream ends options.seconds after the last has started; well before that, memory has settled.
    closes = time.monotonic() + options.seconds * 0.7
    events = 0
    while time.monotonic() < closes:
        events += streams.step(array("q"), closes)
    during = watch.rss_kib()
    watch.stop()
    if streams.ended:
        raise TooSlowError("streams ended before memory was read: the openings took too long")
    unfinished = streams.finish()
    figures = watch.figures()
    figures["unfinished"] = unfinished
    figures["events"] = events
    figures["offered"] = options.connections * options.rate * figures["seconds"]
    figures["idle_kib"] = before
    figures["held_kib"] = during
    figures["kib_per_stream"] = (during - before) / options.connections
    return figures


def wait_for_all(streams: Streams, deadline: float) -> None:
    until = time.monotonic() + deadline
    while streams.last_turn < len(streams.clients):
        streams.step(array("q"), until)
        if time.monotonic() > until:
            raise TooSlowError(f"only {streams.last_turn} of {len(streams.clients)} streams came up in time")


def quantiles(nanoseconds: array[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    if not ordered:
        raise WrongAnswerError("not one sample")
    return {
        "p50": ordered[len(ordered) // 2] / 1000,
        "p99": ordered[len(ordered) * 99 // 100] / 1000,
        "max": ordered[-1] / 1000,
        "samples": len(ordered),
    }
