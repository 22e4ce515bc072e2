"""Asking an upstream, of whatever kind: what of the client's request goes there, and what comes back."""

from __future__ import annotations

from typing import Any, Literal, Protocol, Self

from trioproxy.config import Upstream
from trioproxy.dialects import DIALECTS
from trioproxy.http.client import Pool
from trioproxy.http.headers import Headers, end_to_end, get, without
from trioproxy.http.incoming import Incoming
from trioproxy.replay import ReplayReply

__all__ = ["Kind", "Reply", "ask", "kind_of"]

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


async def ask(
    pool: Pool, upstream: Upstream, incoming: Incoming, path: str, *, length: int | None, readable: bool
) -> Reply:
    """Begin a request to `upstream` for what came in; its body of `length` bytes (None: chunks) is sent later.

    `readable` asks for an answer that we can decode. Raises `ProxyError` if the upstream cannot be reached.
    """
    if upstream.replay:
        return ReplayReply(upstream.replay.file, pace=upstream.replay.pace, chunk=upstream.replay.chunk)
    assert upstream.origin is not None
    headers = without(end_to_end(incoming.headers), b"host", b"expect", b"content-length")
    if readable:
        headers = [*without(headers, b"accept-encoding"), (b"accept-encoding", b"identity")]
    if upstream.token is not None:
        credentials = DIALECTS[upstream.dialect].credentials(upstream.token)
        headers = [*without(headers, b"authorization", b"x-api-key"), *credentials]
    own = [(name.encode(), value.encode()) for name, value in upstream.headers]
    headers = [*without(headers, *(name for name, _ in own)), *own]
    if length is None:
        headers.append((b"transfer-encoding", b"chunked"))
    elif length or get(incoming.headers, b"content-length"):
        headers.append((b"content-length", b"%d" % length))
    query = incoming.target.query
    target = _join(upstream.path, path) + ("" if query is None else f"?{query}")
    return await pool.request(
        upstream.origin, incoming.method, target, headers, name=upstream.name, timeouts=upstream.timeouts
    )


def kind_of(headers: Headers, *, asked: Kind) -> Kind | None:
    """What an answer is by its content type: a stream, a whole body, or None for what no dialect knows.

    An upstream that does not say is believed to give what was `asked`.
    """
    kinds: dict[bytes, Kind] = {b"text/event-stream": "stream", b"application/json": "whole", b"": asked}
    return kinds.get(get(headers, b"content-type").partition(b";")[0].strip().lower())


def _join(base: str, path: str) -> str:
    """The path at the upstream. A base that ends in `/v1` and a path that begins with it mean one `/v1`, not two."""
    if base.endswith("/v1") and (path == "/v1" or path.startswith("/v1/")):
        base = base.removesuffix("/v1")
    return base + path
