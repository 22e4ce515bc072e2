"""What is known of an upstream from the requests before: how many are under way, and whether it lets them down.

A guard refuses nobody because an upstream has failed: it only says that another should be asked first, where a route
has one. So an upstream that has none beside it is always asked, as nginx does with a single server.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

import trio

from trioproxy.config import Tolerance, Upstream
from trioproxy.errors import ProxyError
from trioproxy.items import Error
from trioproxy.units import show_seconds

__all__ = ["Full", "Guard", "Guards", "State"]

log = logging.getLogger("trioproxy.upstream")

_LONGEST = 300.0  # seconds for which an upstream's own word that it is busy is remembered
_SAVED = 10.0  # retries that may come at once, after a time without any
_EARNED = 0.2  # retries that a request earns: no more than so many for each, in the long run (Envoy's retry budget)


class Full(ProxyError):
    """The upstream has as much to do as the file lets it have."""

    def __init__(self, message: str) -> None:
        super().__init__(Error("overloaded", message, 529), headers=[(b"retry-after", b"1")])


class State(NamedTuple):
    """How an upstream is doing."""

    active: int
    """Requests under way."""
    waiting: int
    passed_over: bool


class Guard:
    """Of one upstream. It outlives a reload: `tolerance` is what the file says now."""

    def __init__(self, name: str, tolerance: Tolerance) -> None:
        self._name = name
        self.tolerance = tolerance
        self._room = trio.CapacityLimiter(tolerance.concurrency or inf)
        self._fails = 0
        self._passed_over_until = 0.0
        self._budget = _SAVED

    # ── how many at once ────────────────────────────────────────────────────────────────────────────────────────────

    async def enter(self, who: object, *, again: bool = False) -> None:
        """Wait for a place among the requests under way; `leave` gives it back. Raises `Full` if there is none.

        `again`: a retry, which earns no further ones.
        """
        if not again:
            self._budget = min(_SAVED, self._budget + _EARNED)
        room, tolerance = self._room, self.tolerance
        if tolerance.concurrency is None or room.available_tokens >= 1:
            room.acquire_on_behalf_of_nowait(who)
            return
        many = f"{tolerance.concurrency} request{'s' if tolerance.concurrency > 1 else ''}"
        under_way = f"upstream {self._name!r} is busy with {many}"
        if room.statistics().tasks_waiting >= tolerance.queue:
            raise Full(f"{under_way}, and {tolerance.queue} are waiting: ask again later")
        with trio.move_on_after(tolerance.queue_timeout) as scope:
            await room.acquire_on_behalf_of(who)
        if scope.cancelled_caught:
            waited = show_seconds(tolerance.queue_timeout)
            raise Full(f"{under_way}, and none of them ended within {waited}: ask again later")

    def leave(self, who: object) -> None:
        self._room.release_on_behalf_of(who)

    @property
    def full(self) -> bool:
        """Whether the next request has to wait."""
        return self._room.available_tokens < 1

    # ── whether it lets them down ───────────────────────────────────────────────────────────────────────────────────

    def worked(self) -> None:
        """It has answered."""
        if self._fails:
            self._fails, self._passed_over_until = 0, 0.0

    def failed(self, how: str) -> None:
        """It could not be reached, or answered that it is out of order: `how`, for the log."""
        self._fails += 1
        most, pause = self.tolerance.max_fails, self.tolerance.fail_timeout
        if most and self._fails >= most:
            self._passed_over_until = trio.current_time() + pause
            if self._fails == most:
                where = f"passed over for {show_seconds(pause)} where a route has another"
                times = f"{most} times in a row" if most > 1 else "once"
                log.warning("upstream %r has failed %s (at last: %s): %s", self._name, times, how, where)

    def busy(self, seconds: float) -> None:
        """It has said that it takes nothing for so long."""
        self._passed_over_until = max(self._passed_over_until, trio.current_time() + min(seconds, _LONGEST))

    @property
    def passed_over(self) -> bool:
        """Whether another upstream should be asked first."""
        return trio.current_time() < self._passed_over_until

    def tried(self) -> None:
        """It is about to be asked. After a pause one request tries it; the others wait for what comes of it."""
        most = self.tolerance.max_fails
        if most and self._fails >= most and not self.passed_over:
            self._passed_over_until = trio.current_time() + self.tolerance.fail_timeout

    def may_retry(self) -> bool:
        """Whether retries are not too many beside the requests; takes one from what these have earned."""
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    # ── for whoever looks ───────────────────────────────────────────────────────────────────────────────────────────

    def use(self, tolerance: Tolerance) -> None:
        """From now on as the file says now."""
        if tolerance != self.tolerance:
            self.tolerance = tolerance
            self._room.total_tokens = tolerance.concurrency or inf

    @property
    def state(self) -> State:
        room = self._room.statistics()
        return State(int(room.borrowed_tokens), room.tasks_waiting, self.passed_over)


class Guards:
    """The guard of each upstream, by its name."""

    def __init__(self) -> None:
        self._guards: dict[str, Guard] = {}

    def of(self, upstream: Upstream) -> Guard:
        if (guard := self._guards.get(upstream.name)) is None:
            guard = self._guards[upstream.name] = Guard(upstream.name, upstream.tolerance)
        return guard

    def use(self, upstreams: Mapping[str, Upstream], registered: Iterable[str] = ()) -> None:
        """Follow a reload: what is no longer there is forgotten, and what changed its limits has these.

        Nothing has changed for the upstreams of targets that were `registered`.
        """
        kept = {*upstreams, *registered}
        for name in [name for name in self._guards if name not in kept]:
            del self._guards[name]
        for name, guard in self._guards.items():
            if name in upstreams:
                guard.use(upstreams[name].tolerance)

    def forget(self, name: str) -> None:
        """Forget one that is no longer there; fine if it was never asked."""
        self._guards.pop(name, None)

    def __iter__(self) -> Iterator[tuple[str, State]]:
        return ((name, guard.state) for name, guard in self._guards.items())
