"""One request, and the upstreams it may be sent to: again, or to the next one, for as long as no answer has begun.

async for attempt in attempts:
    async with attempt:
        with await attempt.ask(…) as reply:
            …                       # what goes wrong in here is forgotten, if there is to be another attempt

A request goes to the same upstream again only where that has surely not begun to answer it: it could not be reached, a
connection kept open had been closed, its token had expired, or it says itself that it is too busy. The next upstream is
asked also where one is out of order. Once the client has a byte of an answer, that answer is all it gets: two models
never speak in one message (hazards H106, H117).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Sequence
from enum import Enum
from types import TracebackType
from typing import NamedTuple, Self

import trio

from trioproxy.config import Route, StageSpec, Upstream
from trioproxy.errors import ProxyError, leaves
from trioproxy.guard import Full
from trioproxy.http.client import Stale, Unreachable
from trioproxy.http.headers import Headers, get
from trioproxy.http.incoming import Incoming
from trioproxy.items import Error, Event, Ping
from trioproxy.ledger import Ledger
from trioproxy.record import Record
from trioproxy.shared import Shared
from trioproxy.stage import Stage
from trioproxy.tracing import AttemptSpan
from trioproxy.upstream import Asking, Reply, ask

__all__ = ["Attempt", "Attempts"]

# What an upstream answers that has not begun to work on a request, as it has no room for it.
_BUSY = frozenset({429, 503, 529})
_OUT_OF_ORDER = _BUSY | {500, 502, 504}
_PAUSE = 0.5  # seconds before the first retry where nobody says how long; each further one doubles it


class Cause(Enum):
    """Why an attempt came to nothing; the value is the word for it in the log."""

    STALE = "stale connection"
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    FULL = "full"
    FAILED = "failed"
    REFUSED = "token refused"


class _Failure(NamedTuple):
    cause: Cause
    wait: float | None = None
    """Seconds, where the upstream has said how long."""


class _Refused(ProxyError):
    """The upstream's answer is a status that another attempt, which is due, may mend: nobody is told of it."""

    def __init__(self, status: int) -> None:
        super().__init__(Error("upstream", f"the upstream answered {status}", status))


class Attempts:
    """Of one request. `ways` are the routes it may go, each with one upstream, in their order."""

    def __init__(self, shared: Shared, incoming: Incoming, record: Record, ways: Sequence[Route]) -> None:
        self.shared, self.incoming, self.record = shared, incoming, record
        self._ways = list(ways)
        self._over = False
        self._start_over()
        self.replayable = True
        """False as soon as a part of the request is gone that nobody has kept."""

    def _start_over(self) -> None:
        self.retries, self.wait = 0, 0.0
        self.fresh = False  # no connection may be used that was kept open
        self.token: str | None = None  # in place of one that was refused

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        if self._over or self.incoming.left:
            raise StopAsyncIteration
        self._over = True
        return Attempt(self, self._ways[0])

    @property
    def elsewhere(self) -> bool:
        """Whether another upstream is left."""
        return len(self._ways) > 1

    def mend(self, failure: _Failure) -> bool:
        """Whether another attempt may mend this failure; if so, that is the next one."""
        if not self.replayable or self.incoming.responded or self.incoming.left:
            return False
        here, elsewhere = self._ways[0].upstream, False
        if not self._mends_itself(here, failure):
            if len(self._ways) == 1:
                return False
            del self._ways[0]
            self._start_over()
            elsewhere = True
        self.record.ledger = Ledger()  # what was lost on the way there is not lost for the client
        self.record.retried(here.name, failure.cause.value, elsewhere=elsewhere)
        self._over = False
        return True

    def _mends_itself(self, upstream: Upstream, failure: _Failure) -> bool:
        """Whether the same upstream is to be asked once more, and then when and how."""
        match failure.cause:
            case Cause.STALE if not self.fresh:
                self.fresh, self.wait = True, 0.0
                return True
            case Cause.REFUSED:
                self.wait = 0.0
                return True
            case Cause.UNREACHABLE | Cause.BUSY if self.retries < upstream.tolerance.retries:
                wait = failure.wait
                if wait is None:
                    wait = _PAUSE * 2**self.retries * random.uniform(0.5, 1.5)
                if wait > upstream.tolerance.retry_within or not self.shared.guards.of(upstream).may_retry():
                    return False
                self.retries, self.wait = self.retries + 1, wait
                return True
        return False


class Anew(Stage[Event, Event]):
    """An error in an upstream's stream before anything else is no answer, where another upstream may give one."""

    _begun = False

    def feed(self, event: Event, /) -> Iterable[Event]:
        if isinstance(event, Error) and not self._begun:
            raise ProxyError(event)
        self._begun = self._begun or not isinstance(event, Ping)
        yield event


class Attempt:
    """One sending of the request to the upstream of `route`, and what comes of it."""

    def __init__(self, attempts: Attempts, route: Route) -> None:
        self._attempts, self._shared = attempts, attempts.shared
        self._guard = self._shared.guards.of(route.upstream)
        self._entered = self._judged = False
        self._token: str | None = None
        self._trace = AttemptSpan()
        self.route = route

    def stages(self) -> tuple[StageSpec, ...]:
        """The response stages of its route; while there is another upstream, with `Anew` behind what reads events."""
        stages = self.route.response
        reads = next((index for index, spec in enumerate(stages, 1) if Event in spec.cls.gives), None)
        if reads is None or not self._attempts.elsewhere:
            return stages
        return (*stages[:reads], StageSpec("anew", Anew, Anew), *stages[reads:])

    async def ask(self, asking: Asking, *, length: int | None) -> Reply:
        """Begin the request when it is its turn; its body is sent later. Raises `ProxyError`."""
        attempts, upstream = self._attempts, self.route.upstream
        if attempts.wait:
            await trio.sleep(attempts.wait)
        await self._guard.enter(self, again=attempts.retries > 0)
        self._entered = True
        self._guard.tried()
        attempts.record.upstream = upstream.name
        self._trace = attempts.record.trace.attempt(upstream, attempts.record.model_asked)
        self._token = attempts.token or await self._shared.keys.token(upstream)
        return await ask(
            self._shared.pool,
            upstream,
            attempts.incoming,
            asking,
            token=self._token,
            length=length,
            fresh=attempts.fresh,
            traceparent=self._trace.traceparent,
        )

    async def judge(self, status: int, headers: Headers) -> None:
        """Look at the head of an answer: if another attempt may mend it, this one ends here (with a `ProxyError`)."""
        attempts, self._judged = self._attempts, True
        self._trace.answered(status)
        if status == 401 and self._token and attempts.token is None and attempts.replayable:
            attempts.token = await self._shared.keys.another(self.route.upstream, self._token)
            if attempts.token is not None and attempts.mend(_Failure(Cause.REFUSED)):
                raise _Refused(status)
        if status not in _OUT_OF_ORDER:
            self._guard.worked()
            return
        busy, wait = status in _BUSY, _wait(headers)
        if busy and wait is not None:
            self._guard.busy(wait)
        elif status != 429:
            self._guard.failed(f"it answered {status}")
        again = busy and get(headers, b"x-should-retry").lower() != b"false"
        if attempts.mend(_Failure(Cause.BUSY if again else Cause.FAILED, wait)):
            raise _Refused(status)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        self._trace.end()
        failure = _failure(exc) if exc else None
        if self._entered:
            self._guard.leave(self)
            if not self._judged and failure and failure.cause in (Cause.UNREACHABLE, Cause.FAILED):
                self._guard.failed(failure.cause.value)
            elif not self._judged and exc is None and not self._attempts.incoming.left:
                self._guard.worked()
        if exc is None:
            return False
        if any(isinstance(leaf, _Refused) for leaf in leaves(exc)):
            return True
        return failure is not None and self._attempts.mend(failure)


def _failure(exc: BaseException) -> _Failure | None:
    """What has failed, if it is nothing of ours or the client's."""
    failed = list(leaves(exc))
    if not all(isinstance(leaf, ProxyError) for leaf in failed):
        return None
    match failed[0]:
        case Stale():
            return _Failure(Cause.STALE)
        case Unreachable():
            return _Failure(Cause.UNREACHABLE)
        case Full():
            return _Failure(Cause.FULL)
        case ProxyError(error=error) if error.status in _OUT_OF_ORDER and error.kind != "internal":
            return _Failure(Cause.FAILED)
    return None


def _wait(headers: Headers) -> float | None:
    """For how many seconds an upstream says to wait (RFC 9110 section 10.2.3; `retry-after-ms` is OpenAI's)."""
    exact, usual = get(headers, b"retry-after-ms").decode("latin-1"), get(headers, b"retry-after").decode("latin-1")
    try:
        seconds = float(exact) / 1000 if exact else float(usual)
    except ValueError:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415  # a megabyte, for what few upstreams say

        try:
            seconds = parsedate_to_datetime(usual).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
