"""The life of one exchange: route it, ask the upstream, answer the client; or fail, in the client's own words.

Everything of an exchange lives in one nursery: the watch on the client, the upload, the stages. When the client leaves,
the nursery is cancelled and the upstream connection closed, whatever the phase.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable
from typing import Any

import trio
from msgspec.structs import replace

from trioproxy import pipeline, tokens
from trioproxy.config import Config, Route, StageSpec
from trioproxy.dialects import DIALECTS, Dialect, Model, spoken_at
from trioproxy.dialects.errors import read_error
from trioproxy.dialects.peek import BAD_JSON, with_model
from trioproxy.endpoints import COUNT, MODELS, answered_here, caller, kept, refusal, write_count
from trioproxy.ends import Body, From, Gathered, Items, Late, Source, ToClient, only_bytes
from trioproxy.errors import ProxyError
from trioproxy.http.client import Pool
from trioproxy.http.coding import Undecodable, decoder
from trioproxy.http.gate import Gate
from trioproxy.http.headers import Headers, end_to_end, get, without
from trioproxy.http.incoming import Incoming
from trioproxy.http.server import Listener
from trioproxy.http.wire import Gone
from trioproxy.items import Error, ErrorKind, Event, Frame, Request
from trioproxy.log import Record
from trioproxy.stage import Exchange, Stage
from trioproxy.translation import has_to_be_read, is_cross, written
from trioproxy.upstream import Asking, Kind, Reply, ask, kind_of, token_of

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
_ERROR_LIMIT = 1024 * 1024  # bytes of an upstream's error that are read
_NOT_THERE = frozenset({404, 405, 501})  # what an upstream answers that does not count tokens
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
        self._cross = False  # the upstream speaks another dialect than the client
        self._decoded = False  # the request's body came compressed, and is not any more
        self._kept: Headers = []  # what of an upstream's header goes to the client although the body is ours
        self._secrets: list[str] = []  # what an upstream must not be quoted with
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
        dialect = spoken_at(incoming.method, path)
        if dialect is None:
            await self._beside(route, path)
            return
        self._dialect = dialect
        self._secrets = [secret for secret in (route.upstream.token, token_of(incoming.headers)) if secret]
        if dialect.name == route.upstream.dialect and not (route.request or route.response or route.renames):
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
            model=peek.model if peek else "",
            upstream_model=peek.model if peek else "",
            usage_wanted=peek is not None and peek.include_usage,
            created=int(time.time()),
            started=self.record.started,
            event_limit=self._config.limits.event,
            ledger=self.record.ledger,
        )
        self.record.model = exchange.model
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            request = None
            if has_to_be_read(route, exchange):
                body = self._readable(body)
                request = dialect.read_request(body)
                exchange = replace(exchange, request=request)
            if route.request and request is not None:
                asked = await self._ask_stages(nursery, route, exchange, request)
                if asked.answer:
                    exchange = replace(exchange, answered_here=True)
                    self.record.upstream = ""
                    await self._answer(nursery, route.response, exchange, Items(asked.answer), headers=[])
                    nursery.cancel_scope.cancel()
                    return
                request = asked.request
            if peek is not None:  # what is no request goes to the upstream all the same: it knows better what is wrong
                body, exchange = written(route, exchange, body, request)
            self._cross = is_cross(exchange)
            size, piped = len(body), bool(route.response)
            asking = Asking(path=path, stream=exchange.stream, cross=self._cross, readable=piped, decoded=self._decoded)
            with await ask(self._pool, route.upstream, incoming, asking, length=size) as reply:
                if size <= _AT_ONCE:
                    await reply.end(body)
                else:
                    nursery.start_soon(reply.end, body)  # it may answer before it has read all
                del body, request  # many megabytes need not stay for as long as the answer streams
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
            with await ask(self._pool, route.upstream, incoming, Asking(path=path), length=length) as reply:
                if incoming.unread:
                    await reply.send(first)
                    nursery.start_soon(self._upload, reply, nursery.cancel_scope)
                else:
                    await reply.end(first)
                await self._pass_through(await reply.head(), reply)
            nursery.cancel_scope.cancel()

    async def _beside(self, route: Route, path: str) -> None:
        """A request for something else than an answer."""
        incoming, speaks = self._incoming, DIALECTS[route.upstream.dialect]
        method, path = incoming.method, path.rstrip("/") or "/"
        asker = self._dialect = caller(incoming.headers, path, speaks)
        if (body := answered_here(method, path, speaks)) is not None:
            await incoming.body()
            await self._give(b"" if method == "HEAD" else body)
        elif method == "GET" and (path == MODELS or path.startswith(f"{MODELS}/")):
            await self._models(route, path, asker)
        elif method == "POST" and path == COUNT:
            await self._count(route, path)
        elif error := refusal(method, path, speaks):
            raise ProxyError(error)
        else:
            self._dialect = None
            await self._forward(route, path if path == "/" else incoming.target.path[-len(path) :])

    async def _models(self, route: Route, path: str, asker: Dialect) -> None:
        """A listing in the caller's dialect, under the names that lead somewhere (hazard H152)."""
        if asker.name == route.upstream.dialect and not route.renames:
            await self._forward(route, path)
            return
        self._cross = True
        models: list[Model] = []
        asking = Asking(path=MODELS, cross=True, readable=True)
        try:
            with await ask(self._pool, route.upstream, self._incoming, asking, length=0) as reply:
                await reply.end(b"")
                if await reply.head() == 200:
                    body = await reply.read(self._config.limits.event)
                    models = DIALECTS[route.upstream.dialect].read_models(_plain(reply.headers, body))
        except (ProxyError, *BAD_JSON):
            pass  # many upstreams have no listing: what the file names is there all the same
        listed = route.models.listed([*models, *_own(route, models)])
        name = path.removeprefix(MODELS).lstrip("/")
        if not name:
            await self._give(asker.write_models(listed))
            return
        found = next((model for model in listed if model.id == name), None)
        if found is None and route.asked(name) in {model.id for model in [*models, *_own(route, models)]}:
            found = Model(name)  # a name that a pattern leads somewhere
        if found is None:
            raise ProxyError(Error("not_found", f"there is no model {name!r} here; GET {MODELS} lists them", 404))
        await self._give(asker.write_model(found))

    async def _count(self, route: Route, path: str) -> None:
        """The upstream's own count of a request's tokens if it has one, else an estimate (hazard H154)."""
        incoming = self._incoming
        speaks, dialect = DIALECTS[route.upstream.dialect], DIALECTS["anthropic"]
        if speaks is dialect and not (route.response or route.renames):
            await self._forward(route, path)
            return
        body = await incoming.body()
        if speaks is dialect:
            peek = dialect.peek(body)
            asked = route.asked(peek.model) if peek else ""
            sent = with_model(body, asked) if peek and asked != peek.model else body
            asking = Asking(path=path)
            with await ask(self._pool, route.upstream, incoming, asking, length=len(sent)) as reply:
                await reply.end(sent)
                if (status := await reply.head()) not in _NOT_THERE:
                    await self._pass_through(status, reply)
                    return
        request = dialect.read_request(self._readable(body))
        counted = tokens.count(replace(request, model=route.asked(request.model)), exact=True)
        await self._give(write_count(counted))

    async def _give(self, body: bytes) -> None:
        """An answer of our own, to a question beside."""
        self.record.status, self.record.end = 200, "complete"
        await self._incoming.respond(200, [(b"content-type", _JSON), *self._ours()], body)

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
        """The request's body as JSON is read: without its content coding (hazard H039)."""
        coding, limit = get(self._incoming.headers, b"content-encoding"), self._config.limits.body
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
            message = f"the request body cannot be read: {exc}; gzip and deflate are understood"
            raise ProxyError(Error("invalid_request", message, 415)) from exc
        self._decoded = True
        return b"".join(pieces)

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
            if self._cross:
                kind = await self._translatable(status, kind, exchange, reply)
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
            headers = kept(reply.headers) if self._cross else reply.headers
            await self._answer(nursery, route.response, exchange, Body(reply), headers=headers)
        finally:
            self.record.bytes_in = reply.received

    async def _translatable(self, status: int, kind: Kind | None, exchange: Exchange, reply: Reply) -> Kind:
        """What an answer in another dialect is; raises `ProxyError` if it is none that a client could be given."""
        if status == 200 and not get(reply.headers, b"content-type").startswith(b"text/html"):
            return kind or ("stream" if exchange.stream else "whole")  # content types lie, and are left out
        self._kept = kept(reply.headers)
        body = b""
        with trio.move_on_after(_PATIENCE):
            body = await reply.read(_ERROR_LIMIT)
        error = read_error(status, _plain(reply.headers, body))
        error.read_from(Frame(body, whole=True))  # these words are the upstream's
        raise ProxyError(error)

    async def _begin_in_silence(self, route: Route, exchange: Exchange, reply: Reply) -> bool:
        """If the upstream is slow to answer, start the response pipeline without it: keepalive may have to speak first.

        Gives False if the answer is there, or is something other than the stream that was expected while the client has
        heard nothing yet: it can still be answered as if nothing had happened.
        """
        with trio.move_on_after(_PATIENCE) as patience:
            await reply.head()
        if not patience.cancelled_caught:
            return False
        headers: Headers = []
        abandoned = False
        async with trio.open_nursery() as nursery:

            def give_up() -> bool:
                nonlocal abandoned
                if not self._incoming.responded:
                    abandoned = True
                    nursery.cancel_scope.cancel()
                return abandoned

            late = Late(reply, limit=self._config.limits.event, give_up=give_up)
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
            if exchange.stream and not get(headers, b"cache-control"):
                headers.append((b"cache-control", b"no-cache"))
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
        self._incoming.begin(status, [*headers, *self._ours()])

    def _ours(self) -> Headers:
        """The header fields that every response has from here."""
        lossy = [(b"x-trioproxy-lossy", self.record.ledger.header())] if self.record.ledger else []
        return [(b"x-trioproxy-id", self.record.id.encode()), *lossy]

    async def _send(self, data: bytes) -> None:
        self.record.first_byte()
        await self._incoming.send(data)
        self._tail = data[-4:]

    # ── failing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fail(self, error: Error) -> None:
        """Answer with an error: as an HTTP response, or as the last event of a stream that is then broken off."""
        incoming = self._incoming
        dialect = self._dialect or caller(incoming.headers, incoming.target.path, DIALECTS[_DEFAULT_DIALECT])
        # What an upstream says may quote a key; its words are for the client, not for the log.
        said = error.message if error.frame is None else f"the upstream answered with an error ({error.kind})"
        self.record.end = f"failed: {said}"
        # A stage may have made the error, with whatever in it: it must still be possible to send.
        status = error.status if 400 <= error.status <= 599 else 500
        error = replace(error, message=self._without_secrets(error.message).encode(errors="replace").decode())
        try:
            if not incoming.responded:
                headers = [(b"content-type", _JSON), *self._ours(), *self._kept]
                self.record.status = status
                await incoming.respond(status, headers, dialect.write_error(error, self.record.id))
            elif self._stream and not incoming.complete:
                # A blank line first, should the stream have broken off within an event.
                gap = b"" if self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) or not self._tail else b"\n\n"
                await trio.sleep(_APART)
                await incoming.send(gap + dialect.write_error_event(error, self.record.id))
        except Gone:
            self.record.end = "client left"

    def _without_secrets(self, message: str) -> str:
        """What an upstream says may quote the key it was given (hazard H107)."""
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return message

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


def _own(route: Route, models: list[Model]) -> list[Model]:
    """The models that the file itself names, as far as the upstream does not."""
    named = [route.upstream.model, *(name for name in route.models.aliases.values() if "*" not in name)]
    known = {model.id for model in models}
    return [Model(name) for name in dict.fromkeys(named) if name and name not in known]


def _plain(headers: Headers, body: bytes) -> bytes:
    """The body of an error, as far as it can be decoded."""
    try:
        decode = decoder(get(headers, b"content-encoding"))
        return body if decode is None else next(decode.feed(body), b"")
    except Undecodable:
        return b""


def _gives(spec: StageSpec) -> Iterable[type]:
    return (given for given in spec.cls.gives if given is not Error)


def _leaves(exc: BaseException) -> Iterable[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from _leaves(each)
    else:
        yield exc
