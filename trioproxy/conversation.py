"""The life of one exchange: route it, ask the upstream, answer the client.

Everything of an exchange lives in one nursery: the watch on the client, the upload, the stages. When the client leaves,
the nursery is cancelled and the upstream connection closed, whatever the phase.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio
from msgspec.structs import replace

from trioproxy import pipeline
from trioproxy.answering import Answering
from trioproxy.beside import Beside
from trioproxy.config import Config, Route, StageSpec, Upstream
from trioproxy.dialects import DIALECTS, Dialect, Written, spoken_at
from trioproxy.dialects.carried import provenance
from trioproxy.dialects.peek import Peek
from trioproxy.endpoints import caller
from trioproxy.ends import From, Gathered, Items, readable, watched
from trioproxy.errors import ProxyError
from trioproxy.http.client import Pool
from trioproxy.http.headers import get
from trioproxy.http.incoming import Incoming
from trioproxy.http.wire import Gone
from trioproxy.items import Error, Request
from trioproxy.log import Record
from trioproxy.sessions import EXPECTED, in_headers, in_metadata, is_session
from trioproxy.stage import Exchange, Memory, Stage
from trioproxy.store.vault import Vault
from trioproxy.translation import has_to_be_read, is_cross, written
from trioproxy.upstream import Asking, Reply, ask, token_of

__all__ = ["Conversation"]

# A request body up to this size fits into the kernel's buffers, so sending it cannot wait for the upstream to read.
_AT_ONCE = 64 * 1024
_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key")  # the third is Azure's


class Conversation:
    """One exchange while it lasts."""

    def __init__(self, config: Config, pool: Pool, vault: Vault, incoming: Incoming) -> None:
        self._config, self._pool, self._vault, self._incoming = config, pool, vault, incoming
        self.record = Record(secrets.token_hex(8), incoming=incoming)
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
        if b"websocket" in get(incoming.headers, b"upgrade").lower():
            # Codex tries one first, and goes on with a POST as soon as it is refused (hazard H150f).
            self.answering.dialect = caller(incoming.headers, path, DIALECTS[route.upstream.dialect])
            raise ProxyError(Error("invalid_request", "no WebSocket is spoken here: send the request as a POST", 426))
        dialect = spoken_at(incoming.method, path)
        if dialect is None:
            self.answering.secrets = self._secrets(route)
            beside = Beside(self._config, self._pool, incoming, self.record, self.answering)
            if not await beside.answered(route, path, self._memory(route.upstream, self.record.session)):
                self.answering.dialect = None
                await self._forward(route, path)
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
        else:
            await self._ask(route, path, dialect)

    async def _ask(self, route: Route, path: str, dialect: Dialect) -> None:
        """A request for an answer, from a client that speaks `dialect`."""
        incoming = self._incoming
        body = came = await incoming.body()
        if route.request or route.edits or has_to_be_read(route, dialect, b""):
            body = readable(incoming.headers, came, self._config.limits.body)
        elif get(incoming.headers, b"content-encoding"):
            with suppress(ProxyError):  # what cannot be read here is the upstream's affair
                plain = readable(incoming.headers, came, self._config.limits.body)
                body = plain if has_to_be_read(route, dialect, plain) else came
        decoded = body is not came
        peek = dialect.peek(body)
        asks = DIALECTS[peek.dialect] if peek and peek.dialect else dialect
        reads = bool(route.request) or has_to_be_read(route, asks, body)
        exchange = self._exchange(route, path, dialect, peek)
        async with watched(incoming) as nursery:
            request = None
            if reads:
                request = asks.read_request(body)
                exchange = replace(exchange, request=request, model=request.model, stream=request.stream)
            if route.request and request is not None:
                given = await self._ask_stages(nursery, route.request, exchange, request)
                if given.answer:
                    exchange = replace(exchange, answered_here=True)
                    self.record.upstream = ""
                    await self.answering.answer(nursery, route.response, exchange, Items(given.answer), headers=[])
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
                decoded=decoded,
                headers=result.headers,
            )
            token = route.upstream.fixed_token
            with await ask(self._pool, route.upstream, incoming, asking, token=token, length=size) as reply:
                if size <= _AT_ONCE:
                    await reply.end(body)
                else:
                    nursery.start_soon(reply.end, body)  # it may answer before it has read all
                del body, came, request, result  # many megabytes need not stay for as long as the answer streams
                await self.answering.respond(nursery, route, exchange, reply, asked=asked)

    def _written(
        self, route: Route, exchange: Exchange, body: bytes, request: Request | None, peek: Peek
    ) -> tuple[Written, Exchange]:
        asked = route.asked(request.model if request else exchange.model)
        if asked != exchange.upstream_model:  # a stage has chosen another
            exchange = self._answered_by(route.upstream, replace(exchange, upstream_model=asked))
        self.record.asked = asked
        return written(route, exchange, body, request, peek)

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
        return self._answered_by(route.upstream, exchange)

    async def _forward(self, route: Route, path: str) -> None:
        """A request that nothing here has to read: its body streams to the upstream, the response to the client."""
        incoming = self._incoming
        async with watched(incoming) as nursery:
            # The first piece is waited for before a connection is taken: one that was fit for use must not lie about
            # until a slow client goes on, for then it may be closed or hold an answer to a question nobody asked.
            first = await incoming.piece()
            length = incoming.length
            token = route.upstream.fixed_token
            with await ask(
                self._pool, route.upstream, incoming, Asking(path=path), token=token, length=length
            ) as reply:
                if incoming.unread:
                    await reply.send(first)
                    nursery.start_soon(self._upload, reply, nursery.cancel_scope)
                else:
                    await reply.end(first)
                await self.answering.pass_through(await reply.head(), reply)

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

    def _answered_by(self, upstream: Upstream, exchange: Exchange) -> Exchange:
        """The exchange, knowing who answers: what is signed is for no other model, what is kept for no other client."""
        who = provenance(*self._account(upstream), exchange.upstream_model)
        return replace(exchange, memory=self._memory(upstream, exchange.session), provenance=who)

    def _memory(self, upstream: Upstream, session: str) -> Memory | None:
        return self._vault.drawer(*self._account(upstream), session)

    def _account(self, upstream: Upstream) -> tuple[str, ...]:
        """Whom the upstream answers, as far as can be known."""
        # In whatever form the client shows them: two that cannot be told apart by a token are not the same.
        client = [get(self._incoming.headers, name).decode("latin-1") for name in _CREDENTIALS]
        return (upstream.dialect, str(upstream), upstream.fixed_token or "", *client)

    def _secrets(self, route: Route) -> list[str]:
        """What of the file and of the client an upstream must not be quoted with."""
        upstream = route.upstream
        found = [upstream.fixed_token, token_of(self._incoming.headers), *(value for _, value in upstream.headers)]
        return [secret for secret in found if secret]

    async def _upload(self, reply: Reply, scope: trio.CancelScope) -> None:
        try:
            while piece := await self._incoming.piece():
                await reply.send(piece)
            await reply.end()
        except Gone:
            scope.cancel()

    # ── request stages ──────────────────────────────────────────────────────────────────────────────────────────────

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


class _Asked:
    """What request stages made of a request: one to send, or an answer of their own."""

    def __init__(self, request: Request, answer: list[Any]) -> None:
        self.request, self.answer = request, answer
