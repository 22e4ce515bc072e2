"""The life of one exchange: route it, ask the upstream, answer the client; or fail, in the client's own words.

Everything of an exchange lives in one nursery: the watch on the client, the upload, the stages. When the client leaves,
the nursery is cancelled and the upstream connection closed, whatever the phase.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Protocol, Self

import trio
from msgspec.structs import replace

from trioproxy import pipeline
from trioproxy.config import Config, Route, StageSpec, Upstream
from trioproxy.dialects import DIALECTS, Dialect, Peek, spoken_at
from trioproxy.errors import ProxyError
from trioproxy.http.client import Pool
from trioproxy.http.coding import Undecodable, decoder
from trioproxy.http.gate import Gate
from trioproxy.http.headers import Headers, end_to_end, get, without
from trioproxy.http.incoming import Incoming
from trioproxy.http.server import Listener
from trioproxy.http.wire import Gone
from trioproxy.items import Error, Frame, Request
from trioproxy.log import Record
from trioproxy.replay import ReplayReply
from trioproxy.stage import Exchange, Stage

__all__ = ["Proxy"]

log = logging.getLogger("trioproxy.proxy")

# How long the upstream may be silent before its answer's pipeline starts without it, so that keepalive can speak.
_PATIENCE = 1.0
# Fields that describe the body as the upstream sent it, which the pipeline may change.
_BODY_FIELDS = (b"content-length", b"content-encoding", b"content-md5", b"digest", b"repr-digest", b"etag")
_DEFAULT_DIALECT = "anthropic"  # whose error envelope is used where nothing tells the client's dialect

Stages = list[tuple[str, Stage[Any, Any]]]


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


class Proxy:
    """Answers requests as a configuration says. Give `handle` and `refusal` to an `http.Server`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._gate = Gate(hosts=config.hosts, origins=config.origins)
        self._pool = Pool()

    def close(self) -> None:
        """Close what is kept open to upstreams."""
        self._pool.close()

    async def handle(self, incoming: Incoming, listener: Listener) -> None:
        """Answer one request; never raises but for cancellation."""
        conversation = _Conversation(self._config, self._pool, incoming)
        with conversation.record:
            if listener.loopback and (reason := self._gate.refusal(incoming.headers, incoming.host)):
                await conversation.fail(Error("permission", reason, 403))
            else:
                await conversation.hold()

    def refusal(self, status: int, message: str) -> tuple[Headers, bytes]:
        """The answer to a request that could not even be read."""
        kind = {413: "too_large", 408: "timeout"}.get(status, "invalid_request")
        record = Record(secrets.token_hex(4))
        with record:
            record.status, record.end = status, f"refused: {message}"
        error = Error(kind, message, status)  # type: ignore[arg-type]  # the three above are kinds
        body = DIALECTS[_DEFAULT_DIALECT].write_error(error, record.id)
        return [(b"content-type", b"application/json"), (b"x-trioproxy-id", record.id.encode())], body


class _Conversation:
    """One exchange while it lasts."""

    def __init__(self, config: Config, pool: Pool, incoming: Incoming) -> None:
        self._config, self._pool, self._incoming = config, pool, incoming
        self._dialect: Dialect | None = None  # the client's, where the request asks for an answer
        self._stream = False  # the response is an event stream that can carry an error
        self._tail = b""  # the last bytes sent of it
        self.record = Record(secrets.token_hex(4), incoming=incoming)

    # ── the course of events ────────────────────────────────────────────────────────────────────────────────────────

    async def hold(self) -> None:
        """Ask and answer; whatever goes wrong becomes an answer too."""
        try:
            await self._route()
        except Gone:
            self.record.end = "client left"
        except ProxyError as exc:
            await self.fail(exc.error)
        except Exception as exc:
            await self._failed_somewhere(exc)
        except BaseExceptionGroup as exc:
            # We are being cancelled, and what else went wrong meanwhile matters no more.
            raise exc.split(Exception)[1] or exc from None
        if self._incoming.left and not self._incoming.complete:
            self.record.end = "client left"

    async def _route(self) -> None:
        incoming, target = self._incoming, self._incoming.target
        route, path = self._find(target.path)
        self.record.route, self.record.upstream = route.prefix, route.upstream.name
        self._dialect = spoken_at(incoming.method, path)
        piped = self._dialect is not None and bool(route.request or route.response)
        body = await incoming.body() if piped else None
        peek = self._dialect.peek(body) if self._dialect and body is not None else None
        if peek:
            self.record.model = peek.model
        exchange = Exchange(
            id=self.record.id,
            method=incoming.method,
            path=path,
            route=route.prefix,
            client_dialect=self._dialect.name if self._dialect else _DEFAULT_DIALECT,
            upstream=route.upstream.name,
            upstream_dialect=route.upstream.dialect,
            stream=bool(peek and peek.stream),
            started=self.record.started,
            event_limit=self._config.limits.event,
        )
        async with trio.open_nursery() as nursery:
            if body is not None:
                nursery.start_soon(self._watch, nursery.cancel_scope)
                if route.request and self._dialect:
                    exchange, body, answer = await self._ask_stages(nursery, route, exchange, body)
                    if answer:
                        await self._answer(nursery, route.response, exchange, 200, [], _Answer(answer))
                        nursery.cancel_scope.cancel()
                        return
            with await self._ask(route.upstream, path, body, piped=piped and bool(route.response)) as reply:
                if body is None:
                    nursery.start_soon(self._upload, reply, nursery.cancel_scope)
                else:
                    await reply.end(body)
                    del body  # a conversation of many megabytes need not stay for as long as its answer streams
                try:
                    await self._respond(nursery, route, exchange, reply, peek)
                finally:
                    self.record.bytes_in = reply.received
            nursery.cancel_scope.cancel()

    def _find(self, path: str) -> tuple[Route, str]:
        for route in self._config.routes:
            if (below := route.below(path)) is not None:
                return route, below
        served = ", ".join(route.prefix for route in self._config.routes)
        raise ProxyError(Error("not_found", f"nothing is served at {path}; routes: {served}", 404))

    async def _watch(self, scope: trio.CancelScope) -> None:
        await self._incoming.gone()
        scope.cancel()

    async def _upload(self, reply: Reply, scope: trio.CancelScope) -> None:
        """Stream the request body to the upstream as it comes, then watch the client."""
        try:
            async for piece in self._incoming.pieces():
                await reply.send(piece)
            await reply.end()
        except Gone:
            scope.cancel()
            return
        await self._watch(scope)

    # ── towards the upstream ────────────────────────────────────────────────────────────────────────────────────────

    async def _ask_stages(
        self, nursery: trio.Nursery, route: Route, exchange: Exchange, body: bytes
    ) -> tuple[Exchange, bytes, list[Any]]:
        """Run the request stages. Gives the body to send, or an answer of the stages' own, as items."""
        assert self._dialect is not None
        if get(self._incoming.headers, b"content-encoding"):
            raise ProxyError(Error("invalid_request", "compressed request bodies are not read here", 415))
        request = self._dialect.read_request(body)
        exchange = replace(exchange, request=request)
        gathered = _Gathered()
        stages: Stages = [(spec.name, spec.make()) for spec in route.request]
        pipeline.start(nursery, stages, exchange, _From(_Answer([request])), gathered)
        await gathered.closed.wait()
        items = gathered.items
        requests = [item for item in items if isinstance(item, Request)]
        answer = [item for item in items if not isinstance(item, Request)]
        for item in answer:
            if isinstance(item, Error):
                raise ProxyError(item)
        if not requests and not answer:
            raise RuntimeError("the request stages gave neither a request nor an answer")
        if requests and requests[-1] is not request:
            # Untouched, the body goes out as the very bytes that came.
            body = DIALECTS[route.upstream.dialect].write_request(requests[-1])
        return exchange, body, [] if requests else answer

    async def _ask(self, upstream: Upstream, path: str, body: bytes | None, *, piped: bool) -> Reply:
        """Begin the request to the upstream. The body is sent later."""
        if upstream.replay:
            replay = upstream.replay
            return ReplayReply(replay.file, pace=replay.pace, chunk=replay.chunk)
        assert upstream.origin is not None
        incoming = self._incoming
        headers = without(end_to_end(incoming.headers), b"host", b"expect", b"content-length")
        if piped:
            # We read the answer, and clients offer codings that we cannot decode.
            headers = [*without(headers, b"accept-encoding"), (b"accept-encoding", b"identity")]
        if upstream.token is not None:
            headers = [*without(headers, b"authorization", b"x-api-key"), *_credentials(upstream)]
        own = [(name.encode(), value.encode()) for name, value in upstream.headers]
        headers = [*without(headers, *(name for name, _ in own)), *own]
        length = incoming.length if body is None else len(body)
        if length is None:
            headers.append((b"transfer-encoding", b"chunked"))
        elif length or get(incoming.headers, b"content-length"):
            headers.append((b"content-length", b"%d" % length))
        query = incoming.target.query
        target = _join(upstream.path, path) + (f"?{query}" if query is not None else "")
        return await self._pool.request(
            upstream.origin, incoming.method, target, headers, name=upstream.name, timeouts=upstream.timeouts
        )

    # ── towards the client ──────────────────────────────────────────────────────────────────────────────────────────

    async def _respond(
        self, nursery: trio.Nursery, route: Route, exchange: Exchange, reply: Reply, peek: Peek | None
    ) -> None:
        if route.response and self._dialect and exchange.stream:
            heard = False
            with trio.move_on_after(_PATIENCE):
                await reply.head()
                heard = True
            if not heard and await self._begin_in_silence(route, exchange, reply):
                return
        status = await reply.head()
        kind = _kind(reply.headers, asked="stream" if exchange.stream else "whole")
        if not (route.response and self._dialect and status == 200 and kind):
            await self._pass_through(status, reply)
            return
        streams = kind == "stream"
        exchange = replace(
            exchange,
            stream=exchange.stream if peek else streams,
            upstream_stream=streams,
            status=status,
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers),
        )
        await self._answer(nursery, route.response, exchange, status, reply.headers, _Body(reply))

    async def _begin_in_silence(self, route: Route, exchange: Exchange, reply: Reply) -> bool:
        """Start the response pipeline although the upstream has not answered yet: keepalive may have to speak first.

        Gives False if the upstream then answers with something other than the stream that was expected, and the client
        has heard nothing yet: it can still be answered as if nothing had happened.
        """
        dialect = DIALECTS[route.upstream.dialect]
        async with trio.open_nursery() as nursery:
            answer = _Late(reply, self._incoming, dialect, self._config.limits.event, nursery.cancel_scope)
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
            await self._answer(nursery, route.response, exchange, 200, headers, answer)
        return not answer.abandoned

    async def _pass_through(self, status: int, reply: Reply) -> None:
        """The response as it is: an error, or something no dialect knows."""
        incoming = self._incoming
        self._stream = False  # should a stream have been expected
        headers = end_to_end(reply.headers)
        if get(reply.headers, b"transfer-encoding"):
            headers = without(headers, b"content-length")
        data = reply.ready()
        self.begin(status, headers)
        while not reply.complete:
            if data:
                self.record.first_byte()
            await incoming.send(data)  # with nothing yet, the head alone
            data = await reply.receive()
        await incoming.finish(data)
        self.record.end = "complete"

    async def _answer(
        self,
        nursery: trio.Nursery,
        specs: Iterable[StageSpec],
        exchange: Exchange,
        status: int,
        headers: Headers,
        source: Source,
    ) -> None:
        """Send what `source` gives through the response stages, tasks of `nursery`, to the client."""
        stages: Stages = [(spec.name, spec.make()) for spec in specs]
        headers = without(end_to_end(headers), *_BODY_FIELDS)
        self._stream = exchange.stream
        if exchange.stream != exchange.upstream_stream or not get(headers, b"content-type"):
            kind = b"text/event-stream; charset=utf-8" if exchange.stream else b"application/json"
            headers = [*without(headers, b"content-type"), (b"content-type", kind)]
        out = _ToClient(self, status, headers) if exchange.stream else _Gathered()
        try:
            pipeline.start(nursery, stages, exchange, _From(source), out)
            await out.closed.wait()
        finally:
            for _, stage in stages:
                self.record.count(stage.stats())
        if isinstance(out, _Gathered):
            body = b"".join(map(_only_bytes, out.items))
            self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
            self.record.first_byte()
            await self._incoming.finish(body)
        else:
            if not self._incoming.responded:
                self.begin(status, headers)
            await self._incoming.finish()
        self.record.end = "complete"

    async def send(self, data: bytes) -> None:
        """Send some of a stream."""
        self.record.first_byte()
        await self._incoming.send(data)
        self._tail = data[-4:]

    def begin(self, status: int, headers: Headers) -> None:
        """Set the response head."""
        self.record.status = status
        self._incoming.begin(status, [*headers, (b"x-trioproxy-id", self.record.id.encode())])

    # ── failing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fail(self, error: Error) -> None:
        """Answer with an error: as an HTTP response, or as the last event of a stream that is then broken off."""
        incoming = self._incoming
        dialect = self._dialect or DIALECTS[_DEFAULT_DIALECT]
        self.record.end = f"failed: {error.message}"
        try:
            if not incoming.responded:
                headers = [(b"content-type", b"application/json"), (b"x-trioproxy-id", self.record.id.encode())]
                self.record.status = error.status
                await incoming.respond(error.status, headers, dialect.write_error(error, self.record.id))
            elif self._stream:
                # A blank line first, should the stream have broken off within an event.
                gap = b"" if self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) or not self._tail else b"\n\n"
                await incoming.send(gap + dialect.write_error_event(error, self.record.id))
        except Gone:
            self.record.end = "client left"

    async def _failed_somewhere(self, exc: Exception) -> None:
        """Sort out what the tasks of the exchange raised: what matters most first."""
        causes = list(_leaves(exc))
        failures = [cause for cause in causes if isinstance(cause, ProxyError)]
        bugs = [cause for cause in causes if not isinstance(cause, ProxyError | Gone)]
        if bugs:
            where = next((note for note in getattr(bugs[0], "__notes__", ())), "")
            log.error("exchange %s: %s", self.record.id, where or "internal error", exc_info=bugs[0])
            stage = where.removeprefix("in ")
            await self.fail(Error("internal", f"{stage} failed" if stage else "internal error in the proxy", 500))
        elif failures:
            await self.fail(failures[0].error)
        else:
            self.record.end = "client left"


class Source(Protocol):
    """Where an answer comes from: an upstream's reply, or request stages."""

    async def receive(self) -> bytes | list[Any]:
        """The next bytes, or items that need no deframing; empty at the end. Raises `ProxyError`."""


class _Answer:
    """An answer that request stages gave: their items, once."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    async def receive(self) -> list[Any]:
        items, self._items = self._items, []
        return items


class _Body:
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
                    return b""
                self._pieces = self._decoder.feed(data)
        except Undecodable as exc:
            raise ProxyError(Error("upstream", f"the upstream cannot be read: {exc}")) from exc
        return piece


class _Late:
    """A reply whose head is still awaited while its pipeline already runs."""

    def __init__(self, reply: Reply, incoming: Incoming, dialect: Dialect, limit: int, scope: trio.CancelScope) -> None:
        self._reply, self._incoming, self._dialect, self._limit = reply, incoming, dialect, limit
        self._scope = scope  # of the pipeline
        self._source: Source | None = None
        self.abandoned = False

    async def receive(self) -> bytes | list[Any]:
        if self._source is None:
            status, kind = await self._reply.head(), _kind(self._reply.headers, asked="stream")
            if status == 200 and kind == "stream":
                self._source = _Body(self._reply)
            elif not self._incoming.responded:
                self.abandoned = True
                self._scope.cancel()
                await trio.lowlevel.checkpoint()
            else:
                self._source = _Answer(await self._rest(status, kind))
        assert self._source is not None
        return await self._source.receive()

    async def _rest(self, status: int, kind: str | None) -> list[Any]:
        """What else it was, as items for a stream that has begun."""
        body = b"".join([piece async for piece in _pieces(_Body(self._reply), self._limit)])
        if status == 200 and kind == "whole":
            return [Frame(body, raw=body, whole=True)]
        if status < 400:
            return [Error("upstream", f"the upstream answered {status} with no stream of events")]
        return [self._dialect.read_error(status, body)]


async def _pieces(body: _Body, limit: int) -> AsyncIterator[bytes]:
    size = 0
    while piece := await body.receive():
        size += len(piece)
        if size > limit:
            raise ProxyError(Error("upstream", f"the upstream sent an answer of more than {limit} bytes"))
        yield piece


class _From:
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


class _Gathered:
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


class _ToClient:
    """The sending end of a pipeline whose output is streamed: its last stage writes to the client's connection."""

    def __init__(self, conversation: _Conversation, status: int, headers: Headers) -> None:
        self._conversation = conversation
        self._head: tuple[int, Headers] | None = (status, headers)
        self.closed = trio.Event()

    async def send(self, batch: list[Any], /) -> None:
        for item in batch:
            data = _only_bytes(item)
            if self._head is not None:
                self._conversation.begin(*self._head)
                self._head = None
            await self._conversation.send(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:  # what failed is not complete: the nursery is about to say so
            self.closed.set()


def _only_bytes(item: object) -> bytes:
    """What may leave the response stages: bytes. An error ends the exchange here."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, Error):
        raise ProxyError(item)
    raise TypeError(f"a {type(item).__name__} came out of the response stages, where bytes were due")


def _kind(headers: Headers, *, asked: str) -> str | None:
    """What an answer is by its content type: a "stream", a "whole" body, or None for what no dialect knows.

    An upstream that does not say is believed to give what was `asked`.
    """
    kind = get(headers, b"content-type").partition(b";")[0].strip().lower()
    return {b"text/event-stream": "stream", b"application/json": "whole", b"": asked}.get(kind)


def _credentials(upstream: Upstream) -> Headers:
    assert upstream.token is not None
    return DIALECTS[upstream.dialect].credentials(upstream.token)


def _join(base: str, path: str) -> str:
    """The path at the upstream. A base that ends in `/v1` and a path that begins with it mean one `/v1`, not two."""
    if base.endswith("/v1") and (path == "/v1" or path.startswith("/v1/")):
        base = base.removesuffix("/v1")
    return base + path


def _leaves(exc: BaseException) -> Iterable[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from _leaves(each)
    else:
        yield exc
