"""Traces: a span for each exchange, and within it one for each attempt at an upstream. Off, they cost nothing.

What a span says is names and numbers: never a body, never a header. How it is told to a collector is `otel`'s affair,
which is not even imported where the file has no `[tracing]`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from trioproxy.http.headers import Headers

if TYPE_CHECKING:
    from trioproxy.config import Tracing, Upstream

__all__ = ["UNTRACED", "AttemptSpan", "Outcome", "Span", "Tracer", "open_tracer"]


class Outcome(Protocol):
    """What an exchange has come to, as far as a span tells it."""

    id: str
    route: str
    client: str
    client_ip: str
    session: str
    status: int
    failing: str
    first_byte_after: float | None

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def words(self) -> Mapping[str, str]: ...
    @property
    def end_kind(self) -> str: ...


class AttemptSpan:
    """One sending of the request to an upstream. This one is not traced."""

    traceparent: bytes | None = None
    """What to tell the upstream of the trace; None: what the client has told."""

    def answered(self, status: int) -> None:
        """The upstream has answered."""

    def end(self) -> None:
        """It is over."""


class Span:
    """Of one exchange. This one is not traced."""

    def attempt(self, upstream: Upstream, model: str) -> AttemptSpan:
        """Begin to ask `upstream` for `model`."""
        return _UNTRACED

    def finish(self, outcome: Outcome) -> None:
        """The exchange has come to this."""


class Tracer:
    """Begins spans. This one does not trace."""

    def begin(self, method: str, headers: Headers) -> Span:
        """A span of an exchange; part of the client's trace if its `headers` have one."""
        return UNTRACED


UNTRACED = Span()
_UNTRACED = AttemptSpan()


@asynccontextmanager
async def open_tracer(settings: Tracing | None) -> AsyncIterator[Tracer]:
    """What the file's `[tracing]` asks for. Leaving it sends what is still to be sent, for a short time."""
    if settings is None:
        yield Tracer()
        return
    from trioproxy.otel import open_exporting  # noqa: PLC0415  # an extra, and slow to import

    async with open_exporting(settings) as tracer:
        yield tracer
