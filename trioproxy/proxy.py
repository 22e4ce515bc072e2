"""The life of one exchange: route it, ask the upstream, answer the client; or fail, in the client's own words.

Everything of an exchange lives in one nursery: the watch on the client, the upload, the stages. When the client leaves,
the nursery is cancelled and the upstream connection closed, whatever the phase.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from typing import Any

import trio
from msgspec.structs import replace

from trioproxy import pipeline
from trioproxy.config import Config, Route, StageSpec
from trioproxy.dialects import DIALECTS, Dialect, spoken_at
from trioproxy.ends import Body, From, Gathered, Items, Late, Source, ToClient, only_bytes
from trioproxy.errors import ProxyError
from trioproxy.http.client import Pool
from trioproxy.http.gate import Gate
from trioproxy.http.headers import Headers, end_to_end, get, without
from trioproxy.http.incoming import Incoming
from trioproxy.http.server import Listener
from trioproxy.http.wire import Gone
from trioproxy.items import Error, ErrorKind, Event, Request
from trioproxy.log import Record
from trioproxy.stage import Exchange, Stage
from trioproxy.upstream import Reply, ask, kind_of

__all__ = ["Proxy"]

log = logging.getLogger("trioproxy.proxy")

# How long the upstream may be silent before its answer's pipeline starts without it, so that keepalive can speak.
_PATIENCE = 1.0
# A request body up to this size fits into the kernel's buffers, so sending it cannot wait for the upstream to read.
_AT_ONCE = 64 * 1024
# Between the last words of a broken stream and the error event that ends it. Claude Code 2.0.77 asks again after the
# error, but not if both arrive in one piece; newer ones always do (tests/clients).
_APART = 0.05
# Fields that describe the body as the upstream sent it, which the pipeline may change.
_BODY_FIELDS = (b"content-length", b"content-encoding", b"content-md5", b"digest", b"repr-digest", b"etag")
_JSON, _EVENTS = b"application/json", b"text/event-stream; charset=utf-8"
_DEFAULT_DIALECT = "anthropic"  # whose error envelope is used where nothing tells the client's dialect

Stages = list[tuple[str, Stage[Any, Any]]]


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
        kinds: dict[int, ErrorKind] = {413: "too_large", 408: "timeout"}
        with Record(secrets.token_hex(4)) as record:
            record.status, record.end = status, f"refused: {message}"
        error = Error(kinds.get(status, "invalid_request"), message, status)
        body = DIALECTS[_DEFAULT_DIALECT].write_error(error, record.id)
        return [(b"content-type", _JSON), (b"x-trioproxy-id", record.id.encode())], body


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
            await self._converse()
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

    async def _converse(self) -> None:
        incoming = self._incoming
        route, path = self._find(incoming.target.path)
        self.record.route, self.record.upstream = route.prefix, route.upstream.name
        dialect = self._dialect = spoken_at(incoming.method, path)
        if dialect is None or not (route.request or route.response):
            await self._forward(route, path)
            return
        body = await incoming.body()
        peek = dialect.peek(body)
        exchange = Exchange(
            id=self.record.id,
            method=incoming.method,
            path=path,
            route=route.prefix,
            client_dialect=dialect.name,
            upstream=route.upstream.name,
            upstream_dialect=route.upstream.dialect,
            stream=peek is not None and peek.stream,
            started=self.record.started,
            event_limit=self._config.limits.event,
        )
        self.record.model = peek.model if peek else ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            if route.request:
                asked = await self._ask_stages(nursery, route, exchange, dialect.read_request(self._readable(body)))
                exchange = asked.exchange
                if asked.answer:
                    exchange = replace(exchange, answered_here=True)
                    self.record.upstream = ""
                    await self._answer(nursery, route.response, exchange, Items(asked.answer), headers=[])
                    nursery.cancel_scope.cancel()
                    return
                body = body if asked.request is exchange.request else _written(route, asked.request)
            size, piped = len(body), bool(route.response)
            with await ask(self._pool, route.upstream, incoming, path, length=size, readable=piped) as reply:
                if size <= _AT_ONCE:
                    await reply.end(body)
                else:
                    nursery.start_soon(reply.end, body)  # it may answer before it has read all
                del body  # many megabytes need not stay for as long as the answer streams
                await self._respond(nursery, route, exchange, reply, asked=peek is not None)
            nursery.cancel_scope.cancel()

    async def _forward(self, route: Route, path: str) -> None:
        """A request that nothing here has to read: its body streams to the upstream, the response to the client."""
        incoming = self._incoming
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            # The first piece is waited for before a connection is taken: one that was fit for use must not lie about
            # until a slow client goes on, for then it may be closed or hold an answer to a question nobody asked.
            first = await incoming.piece()
            length = incoming.length
            with await ask(self._pool, route.upstream, incoming, path, length=length, readable=False) as reply:
                if incoming.unread:
                    await reply.send(first)
                    nursery.start_soon(self._upload, reply, nursery.cancel_scope)
                else:
                    await reply.end(first)
                await self._pass_through(await reply.head(), reply)
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
        try:
            while piece := await self._incoming.piece():
                await reply.send(piece)
            await reply.end()
        except Gone:
            scope.cancel()

    # ── request stages ──────────────────────────────────────────────────────────────────────────────────────────────

    def _readable(self, body: bytes) -> bytes:
        if get(self._incoming.headers, b"content-encoding"):
            raise ProxyError(Error("invalid_request", "compressed request bodies are not read here", 415))
        return body

    async def _ask_stages(self, nursery: trio.Nursery, route: Route, exchange: Exchange, request: Request) -> _Asked:
        """Send a request through the request stages, tasks of `nursery`."""
        exchange = replace(exchange, request=request)
        out = Gathered()
        stages: Stages = [(spec.name, spec.make()) for spec in route.request]
        pipeline.start(nursery, stages, exchange, From(Items([request])), out)
        await out.closed.wait()
        requests = [item for item in out.items if isinstance(item, Request)]
        answer = [item for item in out.items if not isinstance(item, Request)]
        for item in answer:
            if isinstance(item, Error):
                raise ProxyError(item)
        if len(requests) + bool(answer) != 1:
            got = f"{len(requests)} requests and {len(answer)} items of an answer"
            raise RuntimeError(f"the request stages gave {got}; one request or one answer is due")
        return _Asked(exchange, requests[0] if requests else request, answer)

    # ── towards the client ──────────────────────────────────────────────────────────────────────────────────────────

    async def _respond(
        self, nursery: trio.Nursery, route: Route, exchange: Exchange, reply: Reply, *, asked: bool
    ) -> None:
        """Answer with what the upstream replies. `asked`: the client said whether it wants a stream."""
        # Only stages that know events can make a stream of a whole body, a body of a stream, or speak first.
        speaks = asked and any(issubclass(given, Event) for spec in route.response for given in _gives(spec))
        try:
            if speaks and exchange.stream and await self._begin_in_silence(route, exchange, reply):
                return
            status = await reply.head()
            kind = kind_of(reply.headers, asked="stream" if exchange.stream else "whole")
            if not (route.response and status == 200 and kind):
                await self._pass_through(status, reply)
                return
            streams = kind == "stream"
            exchange = replace(
                exchange,
                stream=exchange.stream if speaks else streams,
                upstream_stream=streams,
                status=status,
                headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers),
            )
            await self._answer(nursery, route.response, exchange, Body(reply), headers=reply.headers)
        finally:
            self.record.bytes_in = reply.received

    async def _begin_in_silence(self, route: Route, exchange: Exchange, reply: Reply) -> bool:
        """If the upstream is slow to answer, start the response pipeline without it: keepalive may have to speak first.

        Gives False if the answer is there, or is something other than the stream that was expected while the client has
        heard nothing yet: it can still be answered as if nothing had happened.
        """
        with trio.move_on_after(_PATIENCE) as patience:
            await reply.head()
        if not patience.cancelled_caught:
            return False
        headers = [(b"content-type", _EVENTS), (b"cache-control", b"no-cache")]
        abandoned = False
        async with trio.open_nursery() as nursery:

            def give_up() -> bool:
                nonlocal abandoned
                if not self._incoming.responded:
                    abandoned = True
                    nursery.cancel_scope.cancel()
                return abandoned

            dialect, limit = DIALECTS[route.upstream.dialect], self._config.limits.event
            late = Late(reply, dialect, limit=limit, give_up=give_up)
            await self._answer(nursery, route.response, exchange, late, headers=headers)
        return not abandoned

    async def _pass_through(self, status: int, reply: Reply) -> None:
        """The response as it is: an error, or something no dialect knows."""
        incoming = self._incoming
        self._stream = False  # should a stream have been expected
        headers = end_to_end(reply.headers)
        if get(reply.headers, b"transfer-encoding") or status == 204:
            headers = without(headers, b"content-length")  # RFC 9110 section 8.6
        try:
            data = reply.ready()
            self._begin(status, headers)
            while not reply.complete:
                if data:
                    self.record.first_byte()
                await incoming.send(data)  # with nothing yet, the head alone
                data = await reply.receive()
        finally:
            self.record.bytes_in = reply.received
        if data:
            self.record.first_byte()
        await incoming.finish(data)
        self.record.end = "complete"

    async def _answer(
        self,
        nursery: trio.Nursery,
        specs: Iterable[StageSpec],
        exchange: Exchange,
        source: Source,
        *,
        headers: Headers,
    ) -> None:
        """Send what `source` gives through the response stages, tasks of `nursery`, to the client."""
        stages: Stages = [(spec.name, spec.make()) for spec in specs]
        headers = without(end_to_end(headers), *_BODY_FIELDS)
        self._stream = exchange.stream
        if exchange.stream != exchange.upstream_stream or not get(headers, b"content-type"):
            kind = _EVENTS if exchange.stream else _JSON
            headers = [*without(headers, b"content-type"), (b"content-type", kind)]
        out = ToClient(lambda: self._begin(200, headers), self._send) if exchange.stream else Gathered()
        try:
            pipeline.start(nursery, stages, exchange, From(source), out)
            await out.closed.wait()
        finally:
            for _, stage in stages:
                self.record.count(stage.stats())
        if isinstance(out, Gathered):
            body = b"".join(map(only_bytes, out.items))
            self._begin(200, [*headers, (b"content-length", b"%d" % len(body))])
            self.record.first_byte()
            await self._incoming.finish(body)
        else:
            if not out.begun:
                self._begin(200, headers)
            await self._incoming.finish()
        self.record.end = "complete"

    def _begin(self, status: int, headers: Headers) -> None:
        self.record.status = status
        self._incoming.begin(status, [*headers, (b"x-trioproxy-id", self.record.id.encode())])

    async def _send(self, data: bytes) -> None:
        self.record.first_byte()
        await self._incoming.send(data)
        self._tail = data[-4:]

    # ── failing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fail(self, error: Error) -> None:
        """Answer with an error: as an HTTP response, or as the last event of a stream that is then broken off."""
        incoming = self._incoming
        dialect = self._dialect or DIALECTS[_DEFAULT_DIALECT]
        # What an upstream says may quote a key; its words are for the client, not for the log.
        said = error.message if error.frame is None else f"the upstream answered with an error ({error.kind})"
        self.record.end = f"failed: {said}"
        # A stage may have made the error, with whatever in it: it must still be possible to send.
        status = error.status if 400 <= error.status <= 599 else 500
        error = replace(error, message=error.message.encode(errors="replace").decode())
        try:
            if not incoming.responded:
                headers = [(b"content-type", _JSON), (b"x-trioproxy-id", self.record.id.encode())]
                self.record.status = status
                await incoming.respond(status, headers, dialect.write_error(error, self.record.id))
            elif self._stream and not incoming.complete:
                # A blank line first, should the stream have broken off within an event.
                gap = b"" if self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) or not self._tail else b"\n\n"
                await trio.sleep(_APART)
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


class _Asked:
    """What request stages made of a request: one to send, or an answer of their own."""

    def __init__(self, exchange: Exchange, request: Request, answer: list[Any]) -> None:
        self.exchange, self.request, self.answer = exchange, request, answer


def _written(route: Route, request: Request) -> bytes:
    return DIALECTS[route.upstream.dialect].write_request(request)


def _gives(spec: StageSpec) -> Iterable[type]:
    return (given for given in spec.cls.gives if given is not Error)


def _leaves(exc: BaseException) -> Iterable[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from _leaves(each)
    else:
        yield exc
