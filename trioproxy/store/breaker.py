"""Patience with a store: a bounded time for each use, and none for a while after several that failed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from trioproxy.store import StoreError, TooLarge
from trioproxy.units import show_seconds

__all__ = ["Breaker"]

log = logging.getLogger("trioproxy.store")

_FAILURES, _PAUSE = 3, 5.0  # in a row; seconds
_QUIET = 60.0  # seconds between two log lines about it


class Breaker:
    """Of one way to use a store, which is called `use` in the log ("read", "written"). `timeout` in seconds."""

    def __init__(self, use: str, timeout: float) -> None:
        self._use, self._timeout = use, timeout
        self._failures = 0
        self._paused_until = self._quiet_until = 0.0

    @property
    def paused(self) -> bool:
        """Whether the store is not tried for a while, as it has failed."""
        return trio.current_time() < self._paused_until

    def lets(self) -> bool:
        """Whether to try. After several failures one in a while may, and the others wait for what comes of it."""
        now = trio.current_time()
        if now < self._paused_until:
            return False
        if self._failures >= _FAILURES:
            self._paused_until = now + _PAUSE
        return True

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """What is done with the store in here ends in time, and may fail: whoever does it finds out by what it got."""
        try:
            with trio.move_on_after(self._timeout) as scope:
                yield
        except TooLarge:
            return  # no fault of the store's
        except StoreError as exc:
            self._failed(str(exc))
            return
        if not scope.cancelled_caught:
            self._worked()
        elif trio.current_time() < scope.deadline + self._timeout:  # else it was we who had no time to listen
            self._failed(f"no answer within {show_seconds(self._timeout)}")

    def _failed(self, reason: str) -> None:
        now = trio.current_time()
        self._failures += 1
        if self._failures >= _FAILURES:
            self._paused_until = now + _PAUSE
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            log.warning("the store cannot be %s: %s; requests go on without it", self._use, reason)

    def _worked(self) -> None:
        if self._failures >= _FAILURES:
            log.warning("the store can be %s again", self._use)
        self._failures, self._paused_until = 0, 0.0
