"""One connection of a client, and each request on it: the server's half of HTTP/1.1.

h11 keeps the protocol's state. Around it stands what h11 leaves to its user: the bytes of a head are checked before h11
sees them, a body's end is found here, so that bytes of the next request never mix in, and everything has a bound.
"""

from __future__ import annotations

from http import HTTPStatus

import h11
import trio

from trioproxy.errors import ProxyError
from trioproxy.http.chunks import BadChunk, ChunkGuard
from trioproxy.http.forwarded import Trusted, who_asks
from trioproxy.http.head import Malformed, asked, check_fields, check_lines, find_end
from trioproxy.http.headers import Headers, get
from trioproxy.http.limits import Limits
from trioproxy.http.target import Target, parse_target
from trioproxy.http.wire import Gone, Stalled, Wire, complaint

__all__ = ["ClientConnection", "Incoming", "Malformed"]

_LOOK = 0.25  # seconds between two looks whether a client has hung up, where that cannot be waited for
_PIPELINED = 64 * 1024  # bytes of further requests kept while one is answered
# What is still read of a body that nobody wants, so that the answer arrives.
_LINGER_BYTES, _LINGER_SECONDS = 4 * 1024 * 1024, 2.0


class ClientConnection:
    """A client's connection: gives one `Incoming` after the other.

    `peer` is the address at its other end; `trusted` says whose word for another one is taken.
    """

    def __init__(self, wire: Wire, limits: Limits, peer: str = "", trusted: Trusted = Trusted()) -> None:
        self.wire = wire
        self.limits = limits
        self.peer = peer
        self.trusted = trusted
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * limits.head)
        self.buffer = bytearray()
        self.waiting: trio.CancelScope | None = None  # set between requests: cancelled to close the connection
        self._requests = 0

    async def next_request(self) -> Incoming | None:
        """The next request, or None when there will be none. Raises `Malformed`."""
        try:
            head = await self._read_head()
        except Gone:
            return None
        if head is None:
            return None
        self._requests += 1
        try:
            return Incoming(self, *self._parse_head(head))
        except Malformed as exc:
            exc.asked = asked(head)
            raise

    async def _read_head(self) -> bytes | None:
        limits = self.limits
        if not self.buffer:
            # A new connection has as long as a head may take; one that served before may idle.
            with trio.move_on_after(limits.keep_alive if self._requests else limits.head_timeout) as self.waiting:
                self.buffer += await self.wire.receive()
            self.waiting = None
        if not self.buffer:
            return None
        deadline = trio.current_time() + limits.head_timeout
        looked = 0
        while True:
            if self.buffer[:2] == b"\r\n":
                del self.buffer[:2]  # an empty line before the request line is to be ignored (RFC 9112 section 2.2)
            if end := find_end(self.buffer, limits, looked):
                head = bytes(self.buffer[:end])
                del self.buffer[:end]
                return head
            data = b""
            with trio.CancelScope(deadline=deadline) as self.waiting:
                data = await self.wire.receive()
            self.waiting = None
            if trio.current_time() >= deadline:
                raise Malformed(408, f"the request head took longer than {limits.head_timeout:g} seconds")
            if not data:
                return None  # the client left, or we are shutting down
            looked = len(self.buffer)
            self.buffer += data

    def _parse_head(self, head: bytes) -> tuple[h11.Request, Target]:
        check_lines(head, self.limits)
        try:
            self.h11.receive_data(head)
            request = self.h11.next_event()
        except h11.RemoteProtocolError as exc:
            # h11 calls an unknown transfer coding not implemented; for us it is one more thing nobody can read.
            status = 431 if exc.error_status_hint == 431 else 400
            raise Malformed(status, f"the request is not valid HTTP: {complaint(exc)}") from exc
        if not isinstance(request, h11.Request):
            raise Malformed(400, "the request is not valid HTTP")
        check_fields(request)
        try:
            return request, parse_target(request.target)
        except ValueError as exc:
            raise Malformed(400, str(exc)) from exc

    async def refuse(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer what could not be read, and close."""
        if self.h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        response = h11.Response(
            status_code=status,
            headers=[*headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")],
            reason=reason(status),
        )
        out = self.h11.send(response) or b""
        try:
            await self.wire.send(out + body, self.limits.write_timeout)
            await self.linger()
        except (Gone, Stalled):
            pass  # nobody is left to tell

    async def linger(self) -> None:
        """Read on for a moment, so that closing does not reset the connection before the client has our answer."""
        self.wire.shut_down()
        left = _LINGER_BYTES
        with trio.move_on_after(_LINGER_SECONDS):
            try:
                while left > 0 and (data := await self.wire.receive()):
                    left -= len(data)
            except Gone:
                pass


class Incoming:
    """A request as it came in, and the way to answer it."""

    def __init__(self, connection: ClientConnection, request: h11.Request, target: Target) -> None:
        self._connection = connection
        self._wire, self._h11, self._limits = connection.wire, connection.h11, connection.limits
        self.method = request.method.decode("ascii")
        self.target = target
        self.http_version = request.http_version
        self.headers: Headers
        self.peer, self.headers = who_asks(connection.peer, list(request.headers), connection.trusted)
        """The client's address, as far as it can be known."""
        self.keep_alive = True  # set to False to close the connection after the answer
        self.left = False  # the client has gone
        self._framed = False  # the response's end is marked, so that closing early shows
        self.responded = False  # the response head is on its way, or ready to go with the first bytes
        self.complete = False  # the whole response has been handed to the network
        self.received = 0  # bytes of body
        self.sent = 0  # bytes of body
        length = get(self.headers, b"content-length")
        chunked = get(self.headers, b"transfer-encoding")
        self._guard = ChunkGuard() if chunked else None
        self.length = None if chunked else int(length or 0)
        """The body's length in bytes; None if it comes in chunks."""
        self._left_to_read = self.length or 0
        self._due: float | None = None  # when the body has to be there, from the moment it is asked for
        self.has_body = self.length != 0
        if not self.has_body:
            self._h11.next_event()  # its end: nobody has to read it before the connection can go on
        self._head = b""

    @property
    def host(self) -> str:
        """Whom the client believes to talk to: an absolute target's authority, else the Host field."""
        return self.target.authority or get(self.headers, b"host").decode("latin-1")

    # ── the request body ────────────────────────────────────────────────────────────────────────────────────────────

    async def body(self) -> bytes:
        """The whole body. Raises what `piece` raises."""
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def piece(self) -> bytes:
        """The body's next bytes; empty at its end. Raises `Gone`, and `ProxyError` if it is malformed or too slow."""
        if self._due is None:
            self._due = trio.current_time() + self._limits.body_total
            if self.has_body and self._h11.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                await self._wire.send(self._h11.send(go_on) or b"", self._limits.write_timeout)
        while self._h11.their_state is h11.SEND_BODY:
            event = self._next_event()
            if isinstance(event, h11.Data):
                self.received += len(event.data)
                return bytes(event.data)
            if event is h11.NEED_DATA:
                await self._receive(self._due)
        return b""

    @property
    def unread(self) -> bool:
        """Whether there may be more of the body to come."""
        if self._h11.their_state is h11.SEND_BODY and not self._left_to_read and self._guard is None:
            self._next_event()  # the end of a body of known length is there as soon as its last byte
        return self._h11.their_state is h11.SEND_BODY

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            self.keep_alive = False
            raise _bad(400, f"the request body is malformed: {complaint(exc)}") from exc

    async def _receive(self, deadline: float) -> None:
        """Hand h11 some more of the body, and nothing behind it."""
        buffer = self._connection.buffer
        if not buffer:
            seconds = min(self._limits.body_timeout, deadline - trio.current_time())
            try:
                data = await self._wire.receive(max(0.0, seconds))
            except Stalled:
                self.keep_alive = False
                raise _bad(408, "the request body came too slowly") from None
            except Gone:
                data = b""
            if not data:
                self.left = True
                raise Gone("the client left while sending its request")
            buffer += data
        try:
            taken = self._take(buffer)
        except BadChunk as exc:
            self.keep_alive = False
            raise _bad(400, f"the request body is malformed: {exc}") from exc
        self._h11.receive_data(bytes(buffer[:taken]))
        del buffer[:taken]

    def _take(self, buffer: bytearray) -> int:
        if self._guard is None:
            taken = min(len(buffer), self._left_to_read)
            self._left_to_read -= taken
            return taken
        taken = self._guard.take(bytes(buffer))
        if self._guard.size > self._limits.body:
            self.keep_alive = False
            raise _bad(413, f"the request body is larger than {self._limits.body} bytes")
        return taken

    async def gone(self) -> None:
        """Return when the client has left. Call it as a task of its own.

        What arrives behind the body is the next request, kept up to a bound. A client that shuts down its sending half
        counts as gone, as it does for nginx and Go.
        """
        buffer = self._connection.buffer
        try:
            # While the body is read elsewhere, or enough is kept, reading is out: the kernel tells of the end as well.
            while self._h11.their_state is h11.SEND_BODY:
                if self._wire.hung_up():
                    break
                await trio.sleep(_LOOK)
            else:
                while len(buffer) < _PIPELINED and (data := await self._wire.receive()):
                    buffer += data
                while len(buffer) >= _PIPELINED and not self._wire.hung_up():  # noqa: ASYNC110  # no event tells
                    await trio.sleep(_LOOK)
        except Gone:
            pass  # as good as the end
        self.left = True

    # ── the response ────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, status: int, headers: Headers) -> None:
        """Set the response head; it leaves with the first bytes of the body. Without Content-Length it is a stream."""
        if self._h11.their_state is h11.SEND_BODY:
            self.keep_alive = False  # what is still to come of the request stands before the next one
        close = [] if self.keep_alive else [(b"connection", b"close")]
        response = h11.Response(status_code=status, headers=[*headers, *close], reason=reason(status))
        self._framed = self.http_version == b"1.1" or bool(get(headers, b"content-length"))
        self._head = self._h11.send(response) or b""
        self.responded = True

    async def send(self, data: bytes) -> None:
        """Send some of the body, and the head before the first. Raises `Gone`."""
        out = self._head
        self._head = b""
        if data and self.method != "HEAD":
            out += self._h11.send(h11.Data(data=data)) or b""
            self.sent += len(data)
        await self._write(out)

    async def finish(self, data: bytes = b"") -> None:
        """End the response, with `data` as the last of its body. Raises `Gone`."""
        out, self._head = self._head, b""
        if data and self.method != "HEAD":
            out += self._h11.send(h11.Data(data=data)) or b""
            self.sent += len(data)
        out += self._h11.send(h11.EndOfMessage()) or b""
        await self._write(out)
        self.complete = True

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole response. Raises `Gone`."""
        self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.finish(body)

    async def _write(self, out: bytes) -> None:
        try:
            if out:
                await self._wire.send(out, self._limits.write_timeout)
        except (Gone, Stalled) as exc:
            self.left = True
            raise Gone(str(exc)) from exc

    # ── afterwards ──────────────────────────────────────────────────────────────────────────────────────────────────

    def break_off(self) -> None:
        """Close in the middle of the response, so that it cannot pass for whole.

        A body with a length or in chunks lacks its end then; one that only the connection's end would end needs a
        reset, at the price that what was sent last may be lost.
        """
        if self._framed and not self.left:
            self._wire.close()
        else:
            self._wire.abort()

    async def conclude(self) -> bool:
        """Leave the connection ready for the next request: True. Or closed, and False."""
        if not self.complete or self.left:
            self.break_off()
            return False
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and self.keep_alive:
            self._h11.start_next_cycle()
            return True
        if self._h11.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            await self._connection.linger()
        else:
            self._wire.shut_down()
        self._wire.close()
        return False


def _bad(status: int, message: str) -> ProxyError:
    return ProxyError(Malformed(status, message).error)


def reason(status: int) -> bytes:
    """The customary words for a status."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b"Overloaded" if status == 529 else b""
