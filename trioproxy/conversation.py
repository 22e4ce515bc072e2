"""The life of one exchange: route it, ask the upstream, answer the client.

Everything of an exchange lives in one nursery: the watch on the client, the upload, the stages. When the client leaves,
the nursery is cancelled and the upstream connection closed, whatever the phase.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any

import trio
from msgspec.structs import replace

from trioproxy import pipeline
from trioproxy.answering import Answering
from trioproxy.attempts import Attempt, Attempts
from trioproxy.beside import Beside
from trioproxy.choice import in_order
from trioproxy.clients import SHOWN_IN, admit
from trioproxy.config import Config, Route, StageSpec, Upstream
from trioproxy.config.targets import PREFIX as TARGETS
from trioproxy.dialects import DIALECTS, Dialect, Written, spoken_at
from trioproxy.dialects.carried import provenance
from trioproxy.dialects.peek import Peek
from trioproxy.endpoints import caller
from trioproxy.ends import From, Gathered, Items, readable, watched
from trioproxy.errors import ProxyError
from trioproxy.http.headers import get
from trioproxy.http.incoming import Incoming
from trioproxy.http.wire import Gone
from trioproxy.items import Error, Request
from trioproxy.record import Record
from trioproxy.sessions import EXPECTED, in_headers, in_metadata, is_session
from trioproxy.shared import Shared
from trioproxy.stage import Exchange, Memory, Stage
from trioproxy.translation import has_to_be_read, is_cross, written
from trioproxy.upstream import Asking, Reply, token_of

__all__ = ["Conversation"]

# A request body up to this size fits into the kernel's buffers, so sending it cannot wait for the upstream to read.
_AT_ONCE = 64 * 1024


class Conversation:
    """One exchange while it lasts."""

    def __init__(self, config: Config, shared: Shared, incoming: Incoming) -> None:
        self._config, self._shared, self._incoming = config, shared, incoming
        trace = shared.tracer.begin(incoming.method, incoming.headers)
        self.record = Record(secrets.token_hex(8), incoming=incoming, metrics=shared.metrics, trace=trace)
        self.answering = Answering(incoming, self.record)

    async def hold(self) -> None:
        """Ask and answer; whatever goes wrong becomes an answer too."""
        try:
            await self._converse()
        except Gone:
            self.record.end = "client left"
        except ProxyError as exc:
            await self.answering.fail(exc)
        except Exception as exc:
            await self.answering.failed_somewhere(exc)
        except BaseExceptionGroup as exc:
            # We are being cancelled, and what else went wrong meanwhile matters no more.
            raise exc.split(Exception)[1] or exc from None
        finally:
            # Else we and it hold each other, and with us the request, until the garbage collector comes by.
            self.answering.begun, self.answering.secrets = None, tuple
            if self.record.end != "complete":
                self._shared.waste.add(self._incoming.received)
        if self._incoming.left and not self._incoming.complete:
            self.record.end = "client left"

    async def _converse(self) -> None:
        incoming = self._incoming
        route, path = self._find(incoming.target.path)
        dialect = spoken_at(incoming.method, path)
        self.answering.dialect = dialect or caller(incoming.headers, path, DIALECTS[route.upstream.dialect])
        admitted = admit(route, incoming.headers, incoming.target.query, self._shared.ours)
        self.record.client, incoming.headers = admitted.name, admitted.headers
        if b"websocket" in get(incoming.headers, b"upgrade").lower():
            # Codex tries one first, and goes on with a POST as soon as it is refused (hazard H150f).
            raise ProxyError(
                Error("invalid_request", "no WebSocket is spoken here: send the request as a POST", 426),
                headers=[(b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade")],  # RFC 9110 section 15.5.22
            )
        ways: Sequence[Route] = (route, *route.others)
        if dialect is None:
            ways = self._in_order(route, ways)
            beside = Beside(self._config, incoming, self.record, self.answering)
            memory = self._memory(ways[0].upstream, self.record.session)
            if not await beside.answered(self._attempts(ways), ways[0], path, memory):
                self.answering.dialect = None
                await self._forward(ways, path)
            return
        ways = [way.serving(dialect.name) for way in ways if way.translates or way.upstream.dialect == dialect.name]
        if not ways:
            spoken = DIALECTS[route.upstream.dialect]
            message = f"this route does not translate, and its upstream speaks {spoken.name}: ask at {spoken.paths[0]}"
            raise ProxyError(Error("not_found", message, 404))
        if self._passes_through(ways, dialect):
            await self._forward(ways, path)
        else:
            await self._ask(route, ways, path, dialect)

    def _passes_through(self, ways: Sequence[Route], dialect: Dialect) -> bool:
        """Whether nobody here has to read the request, nor to keep it for another attempt."""
        way, *others = ways
        reads = way.request or way.response or way.edits or way.upstream.tolerance.retries
        return not others and not reads and dialect.name == way.upstream.dialect

    def _in_order(self, route: Route, ways: Sequence[Route]) -> Sequence[Route]:
        """The upstreams that may be asked, first to last."""
        who = secrets.token_bytes(8)
        if route.sticky:  # the same for all of a session, or else of a client
            said = self.record.session or "\0".join(self._client()) or self._incoming.peer
            who = blake2b(said.encode(errors="surrogatepass"), digest_size=16).digest()
        return in_order(route, ways, who, self._shared.guards)

    def _attempts(self, ways: Sequence[Route]) -> Attempts:
        return Attempts(self._shared, self._incoming, self.record, ways)

    async def _ask(self, route: Route, ways: Sequence[Route], path: str, dialect: Dialect) -> None:
        """A request for an answer, from a client that speaks `dialect`."""
        came = [await self._incoming.body()]
        self.answering.begun = came.clear  # many megabytes need not stay for as long as the answer streams
        if route.sticky and not self.record.session and (peek := dialect.peek(came[0])):
            self.record.session = in_metadata(peek.metadata)
        try:
            async for attempt in self._attempts(self._in_order(route, ways)):
                async with attempt, watched(self._incoming) as nursery:
                    await self._attempt(attempt, nursery, path, dialect, came[0])
        finally:
            came.clear()

    async def _attempt(self, attempt: Attempt, nursery: trio.Nursery, path: str, dialect: Dialect, came: bytes) -> None:
        """Put the request that `came` to one upstream, and answer with what it says."""
        incoming, route = self._incoming, attempt.route
        self.answering.secrets = partial(self._secrets, route)
        body = came
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
        request = None
        if reads:
            request = asks.read_request(body)
            exchange = replace(exchange, request=request, model=request.model, stream=request.stream)
        if route.request and request is not None:
            given = await self._ask_stages(nursery, route.request, exchange, request)
            if given.answer:
                exchange = replace(exchange, answered_here=True)
                await self.answering.answer(nursery, route.response, exchange, Items(given.answer), headers=[])
                return
            request = given.request
        # What is no request goes to the upstream all the same, which knows better what is wrong with it.
        result = Written(body)
        if asked := peek is not None or request is not None:
            result, exchange = self._written(route, exchange, body, request, peek or Peek())
            body = result.body
        size = len(body)
        asking = Asking(
            path=path,
            stream=exchange.stream,
            cross=is_cross(exchange),
            readable=bool(route.response),
            decoded=decoded,
            headers=result.headers,
        )
        with await attempt.ask(asking, length=size) as reply:
            if size <= _AT_ONCE:
                await reply.end(body)
            else:
                nursery.start_soon(reply.end, body)  # it may answer before it has read all
            del body, came, request, result
            route = replace(route, response=attempt.stages())
            await self.answering.respond(nursery, route, exchange, reply, asked=asked, judge=attempt.judge)

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
        self.record.model, self.record.asked = exchange.model, exchange.upstream_model
        self.record.dialects = (dialect.name, route.upstream.dialect)
        return self._answered_by(route.upstream, exchange)

    async def _forward(self, ways: Sequence[Route], path: str) -> None:
        """A request that nothing here has to read: its body streams to the upstream, the response to the client."""
        incoming = self._incoming
        # The first piece is waited for before a connection is taken: one that was fit for use must not lie about until
        # a slow client goes on, for then it may be closed or hold an answer to a question nobody asked.
        first: bytes | None = None
        attempts = self._attempts(ways)
        async for attempt in attempts:
            self.answering.secrets = partial(self._secrets, attempt.route)
            async with attempt, watched(incoming) as nursery:
                if first is None:
                    first = await incoming.piece()
                with await attempt.ask(Asking(path=path), length=incoming.length) as reply:
                    if incoming.unread:
                        attempts.replayable = False
                        await reply.send(first)
                        nursery.start_soon(self._upload, reply, nursery.cancel_scope)
                    else:
                        await reply.end(first)
                    status = await reply.head()
                    await attempt.judge(status, reply.headers)
                    await self.answering.pass_through(status, reply)

    def _find(self, path: str) -> tuple[Route, str]:
        """The route that serves `path`, and the path below it."""
        if target := self._target(path):
            return target
        for route in self._config.routes:
            if (match := route.match(path)) is None:
                continue
            session, below = match
            if route.stem is not None and not is_session(session):
                self.answering.dialect = caller(self._incoming.headers, below, DIALECTS[route.upstream.dialect])
                message = f"{session[:40]!r} in the path is not the id of a session: expected {EXPECTED}"
                raise ProxyError(Error("invalid_request", message, 400))
            self.record.route = route.prefix
            self.record.session = session or in_headers(self._incoming.headers)
            return route, below
        served = ", ".join(route.prefix for route in self._config.routes)
        known = f"routes: {served}" if served else "there are targets alone, at /targets/KEY"
        raise ProxyError(Error("not_found", f"nothing is served at {path}; {known}", 404))

    def _target(self, path: str) -> tuple[Route, str] | None:
        """The same of a target; None if `path` is not one's."""
        incoming = self._incoming
        try:
            found = self._shared.targets.find(path, incoming.headers, incoming.target.query)
        except ProxyError:
            below = f"/{path.removeprefix(f'{TARGETS}/').partition('/')[2]}"
            self.answering.dialect = caller(incoming.headers, below, DIALECTS["anthropic"])
            raise
        if found:
            self.record.route, self.record.session = found[0].prefix, in_headers(incoming.headers)
        return found

    def _answered_by(self, upstream: Upstream, exchange: Exchange) -> Exchange:
        """The exchange, knowing who answers: what is signed is for no other model, what is kept for no other client."""
        who = provenance(*self._account(upstream), exchange.upstream_model)
        return replace(exchange, memory=self._memory(upstream, exchange.session), provenance=who)

    def _memory(self, upstream: Upstream, session: str) -> Memory | None:
        return self._shared.vault.drawer(*self._account(upstream), session)

    def _account(self, upstream: Upstream) -> tuple[str, ...]:
        """Whom the upstream answers, as far as can be known."""
        return (upstream.dialect, str(upstream), upstream.fixed_token or "", *self._client())

    def _client(self) -> list[str]:
        """Who is asking: two that cannot be told apart by name or by a token, in whatever form, are not the same."""
        shown = [get(self._incoming.headers, name).decode("latin-1") for name in SHOWN_IN]
        return [*shown, self.record.client] if self.record.client else shown

    def _secrets(self, route: Route) -> list[str]:
        """What of the file and of the client an upstream must not be quoted with."""
        upstream = route.upstream
        known = [*self._shared.keys.known(upstream), *(value for _, value in upstream.headers)]
        client = token_of(self._incoming.headers)
        return [*known, client] if client else known

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
        self.record.staged("request", stages)
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
