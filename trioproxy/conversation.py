"""The life of one exchange: route it, ask the upstream, answer the client.

Everything of an exchange lives in one nursery: the watch on the client, the upload, the stages. When the client leaves,
the nursery is cancelled and the upstream connection closed, whatever the phase.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

import trio
from msgspec.structs import replace

from trioproxy import pipeline, tokens
from trioproxy.answering import Answering
from trioproxy.config import Config, Route, StageSpec, Upstream
from trioproxy.dialects import DIALECTS, Dialect, Model, Written, spoken_at
from trioproxy.dialects.errors import read_error
from trioproxy.dialects.peek import BAD_JSON, Peek, with_model
from trioproxy.endpoints import COUNT, MODELS, answered_here, caller, refusal, write_count
from trioproxy.ends import From, Gathered, Items, plain
from trioproxy.errors import ProxyError
from trioproxy.http.client import Pool
from trioproxy.http.coding import Undecodable, decoder
from trioproxy.http.headers import get
from trioproxy.http.incoming import Incoming
from trioproxy.http.wire import Gone
from trioproxy.items import Error, Frame, Request
from trioproxy.log import Record
from trioproxy.sessions import EXPECTED, in_headers, in_metadata, is_session
from trioproxy.stage import Exchange, Memory, Stage
from trioproxy.store.vault import Vault
from trioproxy.translation import has_to_be_read, is_cross, written
from trioproxy.upstream import Asking, Reply, ask, token_of

__all__ = ["Conversation"]

# A request body up to this size fits into the kernel's buffers, so sending it cannot wait for the upstream to read.
_AT_ONCE = 64 * 1024
_COUNT = ("POST", COUNT)
_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key")  # the third is Azure's
_NOT_THERE = frozenset({404, 405, 501})  # what an upstream answers that has no listing, or no count


class Conversation:
    """One exchange while it lasts."""

    def __init__(self, config: Config, pool: Pool, vault: Vault, incoming: Incoming) -> None:
        self._config, self._pool, self._vault, self._incoming = config, pool, vault, incoming
        self._decoded = False  # the request's body came compressed, and is not any more
        self.record = Record(secrets.token_hex(4), incoming=incoming)
        self.answering = Answering(incoming, self.record)

    async def hold(self) -> None:
        """Ask and answer; whatever goes wrong becomes an answer too."""
        try:
            await self._converse()
        except Gone:
            self.record.end = "client left"
        except ProxyError as exc:
            await self.answering.fail(exc.error)
        except Exception as exc:
            await self.answering.failed_somewhere(exc)
        except BaseExceptionGroup as exc:
            # We are being cancelled, and what else went wrong meanwhile matters no more.
            raise exc.split(Exception)[1] or exc from None
        if self._incoming.left and not self._incoming.complete:
            self.record.end = "client left"

    async def _converse(self) -> None:
        incoming = self._incoming
        route, path = self._find(incoming.target.path)
        dialect = spoken_at(incoming.method, path)
        if dialect is None:
            await self._beside(route, path)
            return
        self.answering.dialect = dialect
        if dialect.name != route.upstream.dialect and not route.translates:
            spoken = DIALECTS[route.upstream.dialect]
            message = f"this route does not translate, and its upstream speaks {spoken.name}: ask at {spoken.paths[0]}"
            raise ProxyError(Error("not_found", message, 404))
        self.answering.secrets = self._secrets(route)
        route = route.serving(dialect.name)
        if dialect.name == route.upstream.dialect and not (route.request or route.response or route.edits):
            await self._forward(route, path)
            return
        reads = bool(route.request) or has_to_be_read(route, dialect)
        body = await incoming.body()
        if reads or route.edits:
            body = self._readable(body)
        peek = dialect.peek(body)
        exchange = self._exchange(route, path, dialect, peek)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            request = None
            if reads:
                request = dialect.read_request(body)
                exchange = replace(exchange, request=request, model=request.model, stream=request.stream)
            if route.request and request is not None:
                given = await self._ask_stages(nursery, route.request, exchange, request)
                if given.answer:
                    exchange = replace(exchange, answered_here=True)
                    self.record.upstream = ""
                    await self.answering.answer(nursery, route.response, exchange, Items(given.answer), headers=[])
                    nursery.cancel_scope.cancel()
                    return
                request = given.request
            # What is no request goes to the upstream all the same, which knows better what is wrong with it.
            result = Written(body)
            if asked := peek is not None or request is not None:
                result, exchange = self._written(route, exchange, body, request, peek or Peek())
                body = result.body
            size, piped = len(body), bool(route.response)
            asking = Asking(
                path=path,
                stream=exchange.stream,
                cross=is_cross(exchange),
                readable=piped,
                decoded=self._decoded,
                headers=result.headers,
            )
            with await ask(self._pool, route.upstream, incoming, asking, length=size) as reply:
                if size <= _AT_ONCE:
                    await reply.end(body)
                else:
                    nursery.start_soon(reply.end, body)  # it may answer before it has read all
                del body, request, result  # many megabytes need not stay for as long as the answer streams
                await self.answering.respond(nursery, route, exchange, reply, asked=asked)
            nursery.cancel_scope.cancel()

    def _written(
        self, route: Route, exchange: Exchange, body: bytes, request: Request | None, peek: Peek
    ) -> tuple[Written, Exchange]:
        before = exchange.upstream_model
        result, exchange = written(route, exchange, body, request, peek)
        self.record.asked = exchange.upstream_model
        if exchange.upstream_model != before:  # a stage has chosen another: what that thinks is for no other model
            exchange = replace(exchange, memory=self._memory(route.upstream, exchange))
        return result, exchange

    def _exchange(self, route: Route, path: str, dialect: Dialect, peek: Peek | None) -> Exchange:
        """What is known of the exchange once its request was looked into (None: it is none)."""
        if peek and not self.record.session:
            self.record.session = in_metadata(peek.metadata)
        exchange = Exchange(
            id=self.record.id,
            method=self._incoming.method,
            path=path,
            route=route.prefix,
            client_dialect=dialect.name,
            upstream=route.upstream.name,
            upstream_dialect=route.upstream.dialect,
            stream=peek is not None and peek.stream,
            model=peek.model if peek else "",
            upstream_model=route.asked(peek.model) if peek else "",
            usage_wanted=peek is not None and peek.include_usage,
            created=int(time.time()),
            session=self.record.session,
            started=self.record.started,
            event_limit=self._config.limits.event,
            ledger=self.record.ledger,
        )
        self.record.model = exchange.model
        return replace(exchange, memory=self._memory(route.upstream, exchange))

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
                await self.answering.pass_through(await reply.head(), reply)
            nursery.cancel_scope.cancel()

    def _find(self, path: str) -> tuple[Route, str]:
        """The route that serves `path`, and the path below it."""
        for route in self._config.routes:
            if (match := route.match(path)) is None:
                continue
            session, below = match
            if route.stem is not None and not is_session(session):
                self.answering.dialect = caller(self._incoming.headers, below, DIALECTS[route.upstream.dialect])
                message = f"{session[:40]!r} in the path is not the id of a session: expected {EXPECTED}"
                raise ProxyError(Error("invalid_request", message, 400))
            self.record.route, self.record.upstream = route.prefix, route.upstream.name
            self.record.session = session or in_headers(self._incoming.headers)
            return route, below
        served = ", ".join(route.prefix for route in self._config.routes)
        raise ProxyError(Error("not_found", f"nothing is served at {path}; routes: {served}", 404))

    def _memory(self, upstream: Upstream, exchange: Exchange) -> Memory | None:
        """What is remembered for this client, whoever that is: nothing of it is for another one, model or upstream."""
        # In whatever form it shows them: two that cannot be told apart by a token are not the same.
        client = [get(self._incoming.headers, name).decode("latin-1") for name in _CREDENTIALS]
        asked = (upstream.dialect, str(upstream), upstream.token or "", exchange.upstream_model)
        return self._vault.drawer(*asked, *client, exchange.session)

    def _secrets(self, route: Route) -> list[str]:
        """What of the file and of the client an upstream must not be quoted with."""
        upstream = route.upstream
        found = [upstream.token, token_of(self._incoming.headers), *(value for _, value in upstream.headers)]
        return [secret for secret in found if secret]

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
            got = coding.decode("latin-1")[:40]
            message = f"the request body is not what its content-encoding {got!r} says, or that is not gzip or deflate"
            raise ProxyError(Error("invalid_request", message, 415)) from exc
        self._decoded = True
        return b"".join(pieces)

    async def _ask_stages(
        self, nursery: trio.Nursery, specs: Sequence[StageSpec], exchange: Exchange, request: Request
    ) -> _Asked:
        """Send a request through the request stages, tasks of `nursery`."""
        exchange = replace(exchange, request=request)
        out = Gathered()
        stages: list[tuple[str, Stage[Any, Any]]] = [(spec.name, spec.make()) for spec in specs]
        pipeline.start(nursery, stages, exchange, From(Items([request])), out)
        await out.closed.wait()
        for _, stage in stages:
            self.record.count(stage.stats())
        requests = [item for item in out.items if isinstance(item, Request)]
        answer = [item for item in out.items if not isinstance(item, Request)]
        for item in answer:
            if isinstance(item, Error):
                raise ProxyError(item)
        if len(requests) + bool(answer) != 1:
            got = f"{len(requests)} requests and {len(answer)} items of an answer"
            raise RuntimeError(f"the request stages gave {got}; one request or one answer is due")
        return _Asked(requests[0] if requests else request, answer)

    # ── beside answers ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _beside(self, route: Route, path: str) -> None:
        """A request for something else than an answer."""
        incoming, speaks = self._incoming, DIALECTS[route.upstream.dialect]
        method, below, path = incoming.method, path, path.rstrip("/") or "/"
        asker = self.answering.dialect = caller(incoming.headers, path, speaks)
        self.answering.secrets = self._secrets(route)
        lists, counts = method == "GET" and (path == MODELS or path.startswith(f"{MODELS}/")), (method, path) == _COUNT
        if (body := answered_here(method, path, speaks)) is not None:
            await incoming.body()
            self.record.upstream = ""
            await self.answering.give(b"" if method == "HEAD" else body)
        elif lists and (asker is not speaks or route.renames):
            await incoming.body()  # there should be none, and what is not read hides whether the client is there
            await self._watched(self._models, route, path, asker)
        elif counts and (asker is not speaks or route.response or route.renames):
            body = self._readable(await incoming.body())
            await self._watched(self._count, route, path, body)
        elif error := refusal(method, path, incoming.headers, speaks):
            raise ProxyError(error)
        else:
            self.answering.dialect = None
            await self._forward(route, below)

    async def _watched(self, answer: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Answer for as long as the client is there."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            await answer(*arguments)
            nursery.cancel_scope.cancel()

    async def _models(self, route: Route, path: str, asker: Dialect) -> None:
        """A listing in the caller's dialect, under the names that lead somewhere (hazard H152)."""
        models = await self._upstreams_models(route)
        if route.upstream.model:
            models = [model for model in models if model.id == route.upstream.model]  # all others lead to it
        models += _own(route, models)
        listed = route.models.listed(models)
        name = unquote(path.removeprefix(MODELS).lstrip("/"))
        if not name:
            await self.answering.give(asker.write_models(listed))
            return
        found = next((model for model in listed if model.id == name), None)
        if found is None and route.asked(name) in {model.id for model in models}:
            found = Model(name)  # a name that a pattern leads somewhere
        if found is None:
            raise ProxyError(Error("not_found", f"there is no model {name[:80]!r} here; GET {MODELS} lists them", 404))
        await self.answering.give(asker.write_model(found))

    async def _upstreams_models(self, route: Route) -> list[Model]:
        """What the upstream lists. Where it cannot, what the file names must do; why is told if it names nothing."""
        asking = Asking(path=MODELS, cross=True, readable=True)
        try:
            with await ask(self._pool, route.upstream, self._incoming, asking, length=0) as reply:
                await reply.end(b"")
                status = await reply.head()
                body = plain(reply.headers, await reply.read(self._config.limits.event))
            if status == 200:
                return DIALECTS[route.upstream.dialect].read_models(body)
            if status not in _NOT_THERE:
                error = read_error(status, body)
                error.read_from(Frame(body, whole=True))  # these words are the upstream's
                raise ProxyError(error)
        except ProxyError:
            if not _own(route, []):
                raise
        except BAD_JSON:
            pass
        return []

    async def _count(self, route: Route, path: str, body: bytes) -> None:
        """The upstream's own count of a request's tokens if it has one, else an estimate (hazard H154)."""
        incoming, dialect = self._incoming, DIALECTS["anthropic"]
        if dialect.name == route.upstream.dialect:
            peek = dialect.peek(body)
            asked = route.asked(peek.model) if peek else ""
            sent = with_model(body, asked) if peek and asked != peek.model else body
            asking = Asking(path=path, decoded=self._decoded)
            with await ask(self._pool, route.upstream, incoming, asking, length=len(sent)) as reply:
                await reply.end(sent)
                if (status := await reply.head()) not in _NOT_THERE:
                    await self.answering.pass_through(status, reply)
                    return
        request = dialect.read_request(body)
        self.record.upstream = ""
        request = replace(request, model=route.asked(request.model))
        # In a thread: loading the tokenizer takes the better part of a second, in which no stream may stand still.
        counted = await trio.to_thread.run_sync(partial(tokens.count, request, exact=True), abandon_on_cancel=True)
        await self.answering.give(write_count(counted))


class _Asked:
    """What request stages made of a request: one to send, or an answer of their own."""

    def __init__(self, request: Request, answer: list[Any]) -> None:
        self.request, self.answer = request, answer


def _own(route: Route, models: list[Model]) -> list[Model]:
    """The models that the file itself names, as far as the upstream does not."""
    named = [route.upstream.model, *(name for name in route.models.aliases.values() if "*" not in name)]
    known = {model.id for model in models}
    return [Model(name) for name in dict.fromkeys(named) if name and name not in known]
