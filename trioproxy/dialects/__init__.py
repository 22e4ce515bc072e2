"""Dialects: all knowledge of providers' wire formats lives here, and only here.

A dialect is one reader and one writer of the one vocabulary of events. Non-streaming answers are the fold of the
stream: the reader unfolds a whole body into events, the writer folds events into one body.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from trioproxy.dialects.anthropic import Anthropic
from trioproxy.dialects.models import Model
from trioproxy.dialects.openai_chat import OpenAIChat
from trioproxy.dialects.openai_responses import OpenAIResponses
from trioproxy.dialects.peek import Peek
from trioproxy.dialects.style import Style
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Error, Event, Frame, Request
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage

__all__ = ["DIALECTS", "Dialect", "Model", "Peek", "Style", "Target", "Written", "spoken_at"]


class Dialect(Protocol):
    """One wire format. Every method is pure; bodies are bytes of JSON."""

    @property
    def name(self) -> str:
        """The name in the TOML file."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, below a route's prefix, where a POST asks for an answer; upstreams are asked at the first."""

    @property
    def beside(self) -> tuple[str, ...]:
        """What paths of other endpoints of this dialect begin with: an upstream of another dialect has none of them."""

    @property
    def counts_first(self) -> bool:
        """Whether a stream begins with the length of the request, and not only ends with it."""

    @property
    def breaks_off(self) -> bool:
        """Whether a stream that ends with an error is broken off as well, for clients that else take it for whole."""

    def peek(self, body: bytes, /) -> Peek | None:
        """The few fields the proxy itself needs of a request, or None if the body is not a request."""

    def read_request(self, body: bytes, /) -> Request:
        """Raises `ProxyError` (invalid_request) that says what is wrong with the body."""

    def amend(self, peek: Peek, target: Target, /) -> Mapping[str, Any]:
        """The fields that `target` needs to be others than in the body `peek` is of, which else goes as it came."""

    def fit(self, request: Request, target: Target, ledger: Ledger, /) -> Request:
        """The request as `target` takes it, what had to go noted; the very same object if nothing had to."""

    def write_request(self, request: Request, target: Target, ledger: Ledger, /) -> Written:
        """The body for an upstream. A request of another dialect is translated, what has no place here noted.

        Raises `ProxyError` (invalid_request) for what can neither be said nor left out.
        """

    def reader(self, exchange: Exchange, /) -> Stage[Frame, Event]: ...

    def writer(self, exchange: Exchange, style: Style, /) -> Stage[Event, Frame | Error]: ...

    def credentials(self, token: str, target: Target, /) -> list[tuple[bytes, bytes]]:
        """The header fields that present `token` to an upstream."""

    def asks(self, target: Target, /) -> list[tuple[bytes, bytes]]:
        """The header fields, beside credentials, that a request of ours to an upstream of this dialect must have."""

    def write_error(self, error: Error, request_id: str, /) -> bytes:
        """The body of an HTTP error response."""

    def write_error_event(self, error: Error, request_id: str, /) -> bytes:
        """The error as one server-sent event, for a stream that has begun."""

    def read_models(self, body: bytes, /) -> list[Model]:
        """What an upstream answers to `GET /v1/models`. Raises `msgspec.DecodeError`."""

    def write_model(self, model: Model, /) -> bytes:
        """The answer to a client's `GET /v1/models/NAME`."""

    def write_models(self, models: Iterable[Model], /) -> bytes:
        """The answer to a client's `GET /v1/models`."""


DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (Anthropic(), OpenAIChat(), OpenAIResponses())}


def spoken_at(method: str, path: str) -> Dialect | None:
    """The dialect a client speaks who sends `method` to `path` (below the route's prefix), if it asks for an answer."""
    if method != "POST":
        return None
    path = path.rstrip("/")
    return next((dialect for dialect in DIALECTS.values() if path in dialect.paths), None)
