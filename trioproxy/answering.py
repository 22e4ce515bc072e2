"""Towards the client: an answer through the response stages, or as it is; or an error, in the client's own words."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import trio
from msgspec.structs import replace

from trioproxy import pipeline
from trioproxy.config import Route, StageSpec
from trioproxy.dialects import DIALECTS, Dialect
from trioproxy.dialects.errors import kind_of_status, read_error
from trioproxy.endpoints import caller, kept
from trioproxy.ends import Body, From, Gathered, Late, Source, ToClient, only_bytes, plain
from trioproxy.errors import ProxyError, leaves
from trioproxy.http.headers import Headers, end_to_end, get, without
from trioproxy.http.incoming import Incoming
from trioproxy.http.wire import Gone
from trioproxy.items import Error, Event, Frame
from trioproxy.record import Record
from trioproxy.stage import Exchange, Stage
from trioproxy.translation import is_cross
from trioproxy.upstream import Kind, Reply, kind_of, read_as

__all__ = ["Answering"]

log = logging.getLogger("trioproxy.proxy")

# How long the upstream may be silent before its answer's pipeline starts without it, so that keepalive can speak.
_PATIENCE = 1.0
# Between the last words of a broken stream and the error event that ends it. Claude Code 2.0.77 asks again after the
# error, but not if both arrive in one piece; newer ones always do (tests/clients).
_APART = 0.05
# Fields that describe the body as the upstream sent it, which the pipeline may change.
_BODY_FIELDS = (b"content-length", b"content-encoding", b"content-md5", b"digest", b"repr-digest", b"etag")
_JSON, _EVENTS = b"application/json", b"text/event-stream; charset=utf-8"
_ERROR_LIMIT = 1024 * 1024  # bytes of an upstream's error that are read
_ERROR_PATIENCE = 5.0  # seconds for all of it; then what has come must do
_TEXT = 2000  # characters of an error's message: it may quote what somebody sent
_SECRET = 8  # characters; "x" and "test" are what local servers are given, and words of many a message
_OVERLOADED = 529  # Anthropic's status
_NOT_SPOKEN = 426  # the status of a WebSocket that was refused
_UPSTREAMS_FAULT = frozenset({502, 504})  # of the errors that are made here
_DEFAULT_DIALECT = "anthropic"  # whose error envelope is used where nothing tells the client's dialect

Stages = list[tuple[str, Stage[Any, Any]]]
Judge = Callable[[int, Headers], Awaitable[None]]


class Answering:
    """The response to one request."""

    def __init__(self, incoming: Incoming, record: Record) -> None:
        self._incoming, self._record = incoming, record
        self.dialect: Dialect | None = None
        """The client's, where the request asks for an answer."""
        self.secrets: Callable[[], Iterable[str]] = tuple
        """Gives what an upstream must not be quoted with: as much as is known when it says something."""
        self.begun: Callable[[], object] | None = None
        """Called as soon as the client gets an answer: from then on there is no other."""
        self._stream = False  # the response is an event stream that can carry an error
        self._tail = b""  # the last bytes sent of it
        self._kept: Headers = []  # what of an upstream's header goes to the client although the body is ours

    async def respond(
        self, nursery: trio.Nursery, route: Route, exchange: Exchange, reply: Reply, *, asked: bool, judge: Judge
    ) -> None:
        """Answer with what the upstream replies. `asked`: the client said whether it wants a stream.

        `judge` is given the head of the reply, and raises what becomes of it if it is not to be the answer.
        """
        self._kept = []  # an attempt before may have left some
        # Only stages that know events can make a stream of a whole body, a body of a stream, or speak first.
        speaks = asked and any(issubclass(given, Event) for spec in route.response for given in _gives(spec))
        try:
            if speaks and exchange.stream and await self._begin_in_silence(route, exchange, reply):
                return
            status = await reply.head()
            await judge(status, reply.headers)
            if is_cross(exchange):
                kind: Kind | None = await self._translatable(status, exchange, reply)
            else:
                kind = kind_of(reply.headers, asked="stream" if exchange.stream else "whole")
            if not (route.response and status == 200 and kind):
                await self.pass_through(status, reply)
                return
            streams = kind == "stream"
            exchange = replace(
                exchange,
                stream=exchange.stream if speaks else streams,
                upstream_stream=streams,
                status=status,
                headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers),
            )
            headers = kept(reply.headers) if is_cross(exchange) else reply.headers
            await self.answer(nursery, route.response, exchange, Body(reply), headers=headers)
        finally:
            self._record.replied(reply.received, reply.headers)

    async def _translatable(self, status: int, exchange: Exchange, reply: Reply) -> Kind:
        """What an answer in another dialect is; raises `ProxyError` if it is none that a client could be given."""
        if status == 200 and (kind := read_as(reply.headers, stream=exchange.stream)):
            return kind
        self._kept = kept(reply.headers)
        body = bytearray()
        with trio.move_on_after(_ERROR_PATIENCE), suppress(ProxyError):  # its status and first words say enough
            while len(body) < _ERROR_LIMIT and (piece := await reply.receive()):
                body += piece
        error = read_error(status, plain(reply.headers, bytes(body)))
        error.read_from(Frame(bytes(body), whole=True))  # these words are the upstream's
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
        abandoned = False
        async with trio.open_nursery() as nursery:

            def give_up() -> bool:
                nonlocal abandoned
                if not self._incoming.responded:
                    abandoned = True
                    nursery.cancel_scope.cancel()
                return abandoned

            late = Late(reply, cross=is_cross(exchange), limit=exchange.event_limit, give_up=give_up)
            await self.answer(nursery, route.response, exchange, late, headers=[])
        return not abandoned

    async def pass_through(self, status: int, reply: Reply) -> None:
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
                    self._record.first_byte()
                await incoming.send(data)  # with nothing yet, the head alone
                data = await reply.receive()
        finally:
            self._record.replied(reply.received, reply.headers)
        if data:
            self._record.first_byte()
        await incoming.finish(data)
        self._record.end = "complete"
        if status >= 400:
            self._record.failed(f"the upstream answered {status}", by_upstream=kind_of_status(status))

    async def answer(
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
            self._record.staged("response", stages)
        if isinstance(out, Gathered):
            body = b"".join(map(only_bytes, out.items))
            self._begin(200, [*headers, (b"content-length", b"%d" % len(body))])
            self._record.first_byte()
            await self._incoming.finish(body)
        else:
            if not out.begun:
                self._begin(200, headers)
            await self._incoming.finish()
        self._record.end = "complete"

    def _begin(self, status: int, headers: Headers) -> None:
        if self.begun is not None:
            self.begun()
        self._record.status = status
        self._incoming.begin(status, [*headers, *self._ours()])

    def _ours(self) -> Headers:
        """The header fields that every response has from here."""
        fields = [(b"x-trioproxy-id", self._record.id.encode())]
        if self._record.upstream:  # who has answered, be it with a 401 that is about our key and not the client's
            fields.append((b"x-trioproxy-upstream", self._record.upstream.encode("ascii", "replace")))
        if self._record.ledger:
            fields.append((b"x-trioproxy-lossy", self._record.ledger.header()))
        return fields

    async def _send(self, data: bytes) -> None:
        self._record.first_byte()
        await self._incoming.send(data)
        self._tail = data[-4:]

    async def give(self, body: bytes) -> None:
        """An answer of our own, to a question beside."""
        self._record.status, self._record.end = 200, "complete"
        await self._incoming.respond(200, [(b"content-type", _JSON), *self._ours()], body)

    # ── failing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fail(self, exc: ProxyError) -> None:
        """Answer with an error: as an HTTP response, or as the last event of a stream that is then broken off."""
        incoming, error = self._incoming, exc.error
        dialect = self.dialect or caller(incoming.headers, incoming.target.path, DIALECTS[_DEFAULT_DIALECT])
        # What an upstream says may quote a key; its words are for the client, not for the log.
        said = error.message if error.frame is None else f"the upstream answered with an error ({error.kind})"
        said = self._without_secrets(said)[:_TEXT]
        theirs = error.frame is not None or error.status in _UPSTREAMS_FAULT
        self._record.failed(said, by_upstream=error.kind if theirs else "")
        if error.status == _NOT_SPOKEN:
            self._record.end = f"refused: {said}"  # Codex tries it each time, and nobody has to act
        # A stage may have made the error, with whatever in it: it must still be possible to send.
        status = error.status if 400 <= error.status <= 599 else 500
        if status == _OVERLOADED and error.frame is None and dialect.name != "anthropic":
            status = 503  # which is what OpenAI's clients know
        message = self._without_secrets(error.message)[:_TEXT]
        error = replace(error, status=status, message=message.encode(errors="replace").decode())
        try:
            if not incoming.responded:
                headers = [(b"content-type", _JSON), *self._ours(), *self._kept, *exc.headers]
                if status == 401 and not get(headers, b"x-should-retry"):
                    # Claude Code 2.1 asks for minutes otherwise, and says nothing: it may have a new token of its own.
                    headers.append((b"x-should-retry", b"false"))
                self._record.status = status
                await incoming.respond(status, headers, dialect.write_error(error, self._record.id))
            elif self._stream and not incoming.complete:
                # A blank line first, should the stream have broken off within an event.
                gap = b"" if self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) or not self._tail else b"\n\n"
                await trio.sleep(_APART)
                await incoming.send(gap + dialect.write_error_event(error, self._record.id))
                if not dialect.breaks_off:
                    await incoming.finish()
        except Gone:
            self._record.end = "client left"

    def _without_secrets(self, message: str) -> str:
        """What an upstream says may quote the key it was given (hazard H107)."""
        for secret in self.secrets():
            if len(secret) >= _SECRET:
                message = message.replace(secret, "***")
        return message

    async def failed_somewhere(self, exc: Exception) -> None:
        """Sort out what the tasks of the exchange raised: what matters most first."""
        causes = list(leaves(exc))
        failures = [cause for cause in causes if isinstance(cause, ProxyError)]
        bugs = [cause for cause in causes if not isinstance(cause, ProxyError | Gone)]
        if bugs:
            where = next((note for note in getattr(bugs[0], "__notes__", ())), "")
            log.error("exchange %s: %s", self._record.id, where or "internal error", exc_info=bugs[0])
            stage = where.removeprefix("in ")
            said = f"{stage} failed" if stage else "internal error in the proxy"
            await self.fail(ProxyError(Error("internal", said, 500)))
        elif failures:
            await self.fail(failures[0])
        else:
            self._record.end = "client left"


def _gives(spec: StageSpec) -> Iterable[type]:
    return (given for given in spec.cls.gives if given is not Error)
