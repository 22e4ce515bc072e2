"""The two ends of a pipeline: where its items come from, and where they go.

No channel and no task stands between a pipeline and the network: the first stage's task reads the upstream itself, the
last stage's task writes to the client itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self

import trio

from trioproxy.dialects.errors import read_error
from trioproxy.errors import ProxyError
from trioproxy.http.coding import Undecodable, decoder
from trioproxy.http.headers import Headers, get
from trioproxy.http.incoming import Incoming
from trioproxy.items import Error, Frame
from trioproxy.upstream import Kind, Reply, kind_of, read_as

__all__ = [
    "Body",
    "From",
    "Gathered",
    "Items",
    "Late",
    "Source",
    "ToClient",
    "only_bytes",
    "plain",
    "readable",
    "watched",
]


class Source(Protocol):
    """Where an answer comes from: an upstream's reply, or request stages."""

    async def receive(self) -> bytes | list[Any]:
        """The next bytes, or items that need no deframing; empty at the end. Raises `ProxyError`."""


class Items:
    """Items that are already there: a request for its stages, or the answer these gave. Given once."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    async def receive(self) -> list[Any]:
        items, self._items = self._items, []
        return items


class Body:
    """The body of a reply whose head has come, its content coding taken off."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._pieces: Iterator[bytes] = iter(())
        try:
            self._decoder = decoder(get(reply.headers, b"content-encoding"))
        except Undecodable as exc:
            raise ProxyError(Error("upstream", f"the upstream cannot be read: {exc}")) from exc

    async def receive(self) -> bytes:
        if self._decoder is None:
            return await self._reply.receive()
        try:
            while not (piece := next(self._pieces, b"")):
                if not (data := await self._reply.receive()):
                    self._decoder.close()
                    return b""
                self._pieces = self._decoder.feed(data)
        except Undecodable as exc:
            raise ProxyError(Error("upstream", f"the upstream cannot be read: {exc}")) from exc
        return piece


class Late:
    """A reply whose head is still awaited while its pipeline already runs."""

    def __init__(self, reply: Reply, *, cross: bool = False, limit: int, give_up: Callable[[], bool]) -> None:
        self._reply, self._cross, self._limit = reply, cross, limit
        self._give_up = give_up  # cancels the pipeline and gives True, if the client has heard nothing of it yet
        self._source: Source | None = None

    async def receive(self) -> bytes | list[Any]:
        if self._source is None:
            status, headers = await self._reply.head(), self._reply.headers
            kind = read_as(headers, stream=True) if self._cross else kind_of(headers, asked="stream")
            if self._give_up():
                await trio.sleep_forever()  # until the cancellation arrives
            elif status == 200 and kind == "stream":
                self._source = Body(self._reply)
            else:
                self._source = Items(await self._rest(status, kind))
        assert self._source is not None
        return await self._source.receive()

    async def _rest(self, status: int, kind: Kind | None) -> list[Any]:
        """What else it was, as items for a stream that has begun."""
        body = b"".join([piece async for piece in _pieces(Body(self._reply), self._limit)])
        if status == 200 and kind == "whole":
            return [Frame(body, raw=body, whole=True)]
        if status < 400:
            return [Error("upstream", f"the upstream answered {status} with no stream of events")]
        return [read_error(status, body).read_from(Frame(body, whole=True))]


def plain(headers: Headers, body: bytes) -> bytes:
    """The body of an error, as far as it can be decoded."""
    try:
        decode = decoder(get(headers, b"content-encoding"))
        return body if decode is None else next(decode.feed(body), b"")
    except Undecodable:
        return b""


def readable(headers: Headers, body: bytes, limit: int) -> bytes:
    """A request's body as JSON is read: without its content coding (hazard H039), the very object if it has none.

    Raises `ProxyError`, also for one of more than `limit` bytes.
    """
    coding = get(headers, b"content-encoding")
    try:
        if (decode := decoder(coding)) is None:
            return body
        pieces, size = list[bytes](), 0
        for piece in decode.feed(body):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                message = f"the request body is larger than {limit} bytes once it is decompressed"
                raise ProxyError(Error("too_large", message, 413))
        decode.close()
    except Undecodable as exc:
        got = coding.decode("latin-1")[:40]
        message = f"the request body is not what its content-encoding {got!r} says, or that is not gzip or deflate"
        raise ProxyError(Error("invalid_request", message, 415)) from exc
    return b"".join(pieces)


@asynccontextmanager
async def watched(incoming: Incoming) -> AsyncIterator[trio.Nursery]:
    """A nursery for as long as the client is there: when it leaves, everything in it is cancelled."""

    async def watch() -> None:
        await incoming.gone()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield nursery
        nursery.cancel_scope.cancel()


async def _pieces(body: Body, limit: int) -> AsyncIterator[bytes]:
    size = 0
    while piece := await body.receive():
        size += len(piece)
        if size > limit:
            raise ProxyError(Error("upstream", f"the upstream sent an answer of more than {limit} bytes"))
        yield piece


class From:
    """The receiving end of a pipeline, that its first stage reads: the source itself, without a channel between.

    What goes wrong at the source flows down the pipe as its last item, behind all that came before.
    """

    def __init__(self, source: Source) -> None:
        self._source: Source | None = source

    async def receive(self) -> list[Any]:
        if self._source is None:
            raise trio.EndOfChannel
        try:
            received = await self._source.receive()
        except ProxyError as exc:
            self._source = None
            return [exc.error]
        if not received:
            raise trio.EndOfChannel
        return [received] if isinstance(received, bytes) else received

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Any]:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._source = None


class Gathered:
    """The sending end of a pipeline whose output is wanted whole."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.closed = trio.Event()

    async def send(self, batch: list[Any], /) -> None:
        self.items += batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:  # what failed is not complete: the nursery is about to say so
            self.closed.set()


class ToClient:
    """The sending end of a pipeline whose output is streamed: its last stage writes to the client's connection.

    `begin` is called before the first bytes are sent.
    """

    def __init__(self, begin: Callable[[], None], send: Callable[[bytes], Awaitable[None]]) -> None:
        self._begin, self._send = begin, send
        self.begun = False
        self.closed = trio.Event()

    async def send(self, batch: list[Any], /) -> None:
        for item in batch:
            data = only_bytes(item)
            if not self.begun:
                self.begun = True
                self._begin()
            await self._send(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:  # what failed is not complete: the nursery is about to say so
            self.closed.set()


def only_bytes(item: object) -> bytes:
    """What may leave the response stages: bytes. An error ends the exchange here."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, Error):
        raise ProxyError(item)
    raise TypeError(f"a {type(item).__name__} came out of the response stages, where bytes were due")
