"""Dialects: all knowledge of providers' wire formats lives here, and only here.

A dialect is one reader and one writer of the one vocabulary of events. Non-streaming answers are the fold of the
stream: the reader unfolds a whole body into events, the writer folds events into one body.
"""

from collections.abc import Mapping
from typing import Protocol

from trioproxy.dialects.anthropic import Anthropic
from trioproxy.items import Error, Event, Frame, Request
from trioproxy.stage import Exchange, Stage

__all__ = ["DIALECTS", "Dialect", "Peek", "spoken_at"]

from trioproxy.dialects.peek import Peek


class Dialect(Protocol):
    """One wire format. Every method is pure; bodies are bytes of JSON."""

    @property
    def name(self) -> str:
        """The name in the TOML file."""

    @property
    def paths(self) -> frozenset[str]:
        """The paths, below a route's prefix, where a POST asks for an answer."""

    def peek(self, body: bytes, /) -> Peek | None:
        """The few fields the proxy itself needs of a request, or None if the body is not a request."""

    def read_request(self, body: bytes, /) -> Request:
        """Raises `ProxyError` (invalid_request) that says what is wrong with the body."""

    def write_request(self, request: Request, /) -> bytes: ...

    def reader(self, exchange: Exchange, /) -> Stage[Frame, Event]: ...

    def writer(self, exchange: Exchange, /) -> Stage[Event, Frame | Error]: ...

    def credentials(self, token: str, /) -> list[tuple[bytes, bytes]]:
        """The header fields that present `token` to an upstream."""

    def read_error(self, status: int, body: bytes, /) -> Error: ...

    def write_error(self, error: Error, request_id: str, /) -> bytes:
        """The body of an HTTP error response."""

    def write_error_event(self, error: Error, request_id: str, /) -> bytes:
        """The error as one server-sent event, for a stream that has begun."""


DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (Anthropic(),)}


def spoken_at(method: str, path: str) -> Dialect | None:
    """The dialect a client speaks who sends `method` to `path` (below the route's prefix), if it asks for an answer."""
    if method != "POST":
        return None
    path = path.rstrip("/")
    return next((dialect for dialect in DIALECTS.values() if path in dialect.paths), None)
