"""Asking an upstream, of whatever kind: what of the client's request goes there, and what comes back."""

from __future__ import annotations

import re
from typing import Any, Literal, Protocol, Self
from urllib.parse import unquote_plus

import msgspec

from trioproxy.clients import CREDENTIALS
from trioproxy.config import Upstream
from trioproxy.dialects import DIALECTS
from trioproxy.http.client import Pool
from trioproxy.http.headers import Headers, end_to_end, get, without
from trioproxy.http.incoming import Incoming
from trioproxy.replay import ReplayReply

__all__ = ["Asking", "Kind", "Reply", "ask", "kind_of", "read_as", "token_of"]

Kind = Literal["stream", "whole"]


class Reply(Protocol):
    """What an upstream of any kind gives for a request: `http.client.Reply` says what each does."""

    headers: Headers
    received: int

    @property
    def status(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    def ready(self) -> bytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: Any) -> None: ...
    async def send(self, data: bytes) -> None: ...
    async def end(self, data: bytes = b"") -> None: ...
    async def head(self) -> int: ...
    async def receive(self) -> bytes: ...
    async def read(self, limit: int) -> bytes: ...


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How what came in goes to an upstream."""

    path: str
    """Below the upstream's URL."""
    stream: bool = False
    cross: bool = False
    """The upstream speaks another dialect than the client: of the client's header only its identity goes there."""
    readable: bool = False
    """Ask for an answer that we can decode."""
    decoded: bool = False
    """The body goes without the content coding that the client gave it."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Lists that the body needs more of: each field's value is added to what else the upstream is told there."""


async def ask(
    pool: Pool,
    upstream: Upstream,
    incoming: Incoming,
    asking: Asking,
    *,
    token: str | None,
    length: int | None,
    fresh: bool = False,
    traceparent: bytes | None = None,
) -> Reply:
    """Begin a request to `upstream` for what came in; its body of `length` bytes (None: chunks) is sent later.

    `token` is the upstream's own; None: the client's credentials go there. `fresh`: on a connection of its own.
    `traceparent` stands in place of the client's.

    Raises `ProxyError` if the upstream cannot be reached.
    """
    if upstream.replay:
        return ReplayReply(upstream.replay.file, pace=upstream.replay.pace, chunk=upstream.replay.chunk)
    assert upstream.origin is not None
    path = asking.path
    if path.rstrip("/") in _ASKED and (asking.cross or not path.startswith("/v1")):
        path = DIALECTS[upstream.dialect].paths[0]
    query = _query(upstream.query, None if asking.cross else incoming.target.query)
    target = _join(upstream.path, path, upstream.dialect) + ("" if query is None else f"?{query}")
    return await pool.request(
        upstream.origin,
        incoming.method,
        target,
        _headers(upstream, incoming.headers, asking, token=token, length=length, traceparent=traceparent),
        name=upstream.name,
        timeouts=upstream.timeouts,
        reach=upstream.reach,
        fresh=fresh,
    )


_TRACE = len("00-") + 32  # characters of a traceparent that name the trace
# What of a client's header is for an upstream that speaks another dialect. Everything else is about the client's own:
# its versions and betas, its SDK, its credentials in its own form.
_IDENTITY = frozenset({b"user-agent", b"traceparent", b"tracestate", b"x-request-id", b"x-client-request-id"})
_ASKED = frozenset(path for dialect in DIALECTS.values() for path in dialect.paths)


def _headers(
    upstream: Upstream,
    came: Headers,
    asking: Asking,
    *,
    token: str | None,
    length: int | None,
    traceparent: bytes | None,
) -> Headers:
    """What an upstream is told of the header that `came` from the client, and what else it needs or the file says."""
    speaks = DIALECTS[upstream.dialect]
    headers = without(end_to_end(came), b"host", b"expect", b"content-length")
    if asking.cross:
        accepted = b"text/event-stream" if asking.stream else b"application/json"
        headers = [field for field in headers if field[0] in _IDENTITY]
        headers.append((b"accept", accepted))
        if length:
            headers.append((b"content-type", b"application/json"))
    if asking.decoded:
        headers = without(headers, b"content-encoding")
    if asking.readable:
        headers = [*without(headers, b"accept-encoding"), (b"accept-encoding", b"identity")]
    version = upstream.target.version is not None
    token = token or (token_of(came) if asking.cross or version else None)
    if token is not None:
        headers = [*without(headers, *CREDENTIALS), *speaks.credentials(token, upstream.target)]
    if asking.cross or version:
        asks = speaks.asks(upstream.target)
        headers = [*without(headers, *(name for name, _ in asks)), *asks]
    if traceparent is not None:
        same = get(headers, b"traceparent")[:_TRACE] == traceparent[:_TRACE]  # else what is said of it is of another
        headers = without(headers, b"traceparent", *(() if same else (b"tracestate",)))
        headers.append((b"traceparent", traceparent))
    own = [(name.encode(), value.encode()) for name, value in upstream.headers]
    headers = [*without(headers, *(name for name, _ in own)), *own]
    for name, value in asking.headers:
        said = get(headers, name)
        headers = [*without(headers, name), (name, said + b"," + value if said else value)]
    headers = without(headers, *(name.encode() for name in upstream.removed))
    if length is None:
        headers.append((b"transfer-encoding", b"chunked"))
    elif length or get(came, b"content-length"):
        headers.append((b"content-length", b"%d" % length))
    return headers


def token_of(headers: Headers) -> str | None:
    """What a client presents as its token, in either form; None if nothing that could be one."""
    scheme, _, token = get(headers, b"authorization").partition(b" ")
    found = get(headers, b"x-api-key").strip() or (token.strip() if scheme.lower() == b"bearer" else b"")
    return found.decode("ascii") if found.isascii() and found else None


def kind_of(headers: Headers, *, asked: Kind) -> Kind | None:
    """What an answer is by its content type: a stream, a whole body, or None for what no dialect knows.

    An upstream that does not say is believed to give what was `asked`.
    """
    kinds: dict[bytes, Kind] = {b"text/event-stream": "stream", b"application/json": "whole", b"": asked}
    return kinds.get(get(headers, b"content-type").partition(b";")[0].strip().lower())


def read_as(headers: Headers, *, stream: bool) -> Kind | None:
    """What to read an answer as that has to be translated: content types lie, and only a web page is surely none."""
    if get(headers, b"content-type").lower().startswith(b"text/html"):
        return None
    asked: Kind = "stream" if stream else "whole"
    return kind_of(headers, asked=asked) or asked


def _query(own: str, asked: str | None) -> str | None:
    """The query at the upstream: its URL's, and what else the client says. A parameter that the file sets, it sets."""
    if not own or not asked:
        return own or asked
    names = {_parameter(pair) for pair in own.split("&")}
    return "&".join([own, *(pair for pair in asked.split("&") if _parameter(pair) not in names)])


def _parameter(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


# A path segment that is an API version: `/v1`, and as others call it, `/v4`, `/v1beta`.
_VERSION = re.compile(r"/v\d+[a-z]*\d*(?=/|$)")


def _join(base: str, path: str, dialect: str) -> str:
    """The path at the upstream. A base with a version of its own takes the place of the `/v1` a path begins with.

    OpenAI's SDKs put nothing between a base URL and `/chat/completions`, so its version may stand anywhere
    (`/v1beta/openai`); Anthropic's put `/v1` there, so it counts at the end alone (`/v1/ACCOUNT/anthropic` has none).
    """
    if path == "/v1" or path.startswith("/v1/"):
        found = list(_VERSION.finditer(base))
        if found and (dialect != "anthropic" or found[-1].end() == len(base)):
            return base + path.removeprefix("/v1")
    return base + path
