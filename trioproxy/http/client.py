"""The upstream side: a pool of keep-alive connections, and one request with its response on one of them.

Why no library: httpcore hands a stray second answer to whoever uses the connection next, and costs 10 times as much.
Rules: a connection with anything left to read is never used again; nothing is sent twice here, and `Stale` and
`Unreachable` say where a caller may; a response that ends early is an error; redirects are not followed; the address
comes from the caller alone.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

import h11
import msgspec
import trio

from trioproxy.errors import ProxyError
from trioproxy.http.dial import NoWay, dial, tunnels
from trioproxy.http.headers import Headers, get
from trioproxy.http.reach import Origin, Reach
from trioproxy.http.tls import Contexts
from trioproxy.http.tunnel import authorization, refusal
from trioproxy.http.wire import Gone, Stalled, Wire, complaint, system_tls
from trioproxy.items import Error
from trioproxy.units import Seconds

__all__ = ["Origin", "Pool", "Reply", "Stale", "Timeouts", "Unreachable"]

_HEAD = 64 * 1024  # bytes of a response head; nginx allows 32 KiB, SDKs more
_PIECE = 16 * 1024  # h11 bounds only what is incomplete, so a head is given to it in pieces
_INTERIM = 16  # interim (1xx) responses before the real one
_IDLE_CONNECTIONS = 64  # kept per origin and way to reach it
_IDLE_SECONDS = 30.0  # kept unused; nginx closes after 60 or 75
_ROUND_TRIP = 1.0  # seconds, at the most, until a connection that the upstream had closed shows it
_STRAIGHT = Reach()


class Unreachable(ProxyError):
    """No connection to the upstream could be made: it has got nothing of the request."""


class Stale(ProxyError):
    """A connection kept from an earlier request was gone at once, before a byte of this one's answer came.

    Its idle time was over, and the upstream has seen nothing of the request, as far as can be known.
    """


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long an upstream may take."""

    connect: Seconds = Seconds(10)
    """To accept a connection, TLS included."""
    first_byte: Seconds = Seconds(600)
    """From the request's last byte to the response's head. The SDKs wait 10 minutes for a long answer too."""
    between_bytes: Seconds = Seconds(300)
    """Silence within a response. Claude Code gives up after 3-5 minutes."""


class _Key(NamedTuple):
    """Connections with the same may stand for each other."""

    origin: Origin
    reach: Reach


class _Idle(NamedTuple):
    connection: _Connection
    until: float


class Pool:
    """Idle connections, last used first, and the TLS contexts that new ones need."""

    def __init__(self, tls: Callable[[], ssl.SSLContext] = system_tls) -> None:
        self._contexts = Contexts(tls)
        self._idle: dict[_Key, list[_Idle]] = {}

    async def request(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Headers,
        *,
        name: str,
        timeouts: Timeouts,
        reach: Reach = _STRAIGHT,
        fresh: bool = False,
    ) -> Reply:
        """Send a request's head, on a pooled connection or a new one; its body, if any, is the caller's to send.

        `name` is how errors call the upstream. `fresh`: one of those that are pooled had gone stale, so none is used,
        as its neighbours have idled as long. Raises `Unreachable`, and `ProxyError` for a head that cannot be sent.
        """
        key = _Key(origin, reach)
        if fresh:
            self._forget(key)
        connection = self._take(key)
        if connection is None:
            connection = _Connection(await self._connect(key, name, timeouts.connect))
        reply = Reply(self, key, connection, name, timeouts)
        fields = [(b"host", origin.authority.encode()), *headers]
        if reach.proxy and not tunnels(origin, reach):
            target = f"{origin}{target}"
            # One request to a connection: tinyproxy reads no other, and gives the next one to the upstream as it is,
            # with the credentials that are the proxy's.
            fields += [*authorization(reach.proxy), (b"connection", b"close")]
        try:
            await reply.begin(method, target, fields)
        except BaseException:
            reply.close()
            raise
        return reply

    def put(self, key: _Key, connection: _Connection, seconds: float) -> None:
        """Keep a connection for the next request, or close it if there are enough."""
        now = trio.current_time()
        for where, other in list(self._idle.items()):
            while other and other[0].until <= now:  # the oldest stand first
                other.pop(0).connection.wire.close()
            if not other:
                del self._idle[where]  # upstreams come and go while we run
        idle = self._idle.setdefault(key, [])
        if len(idle) >= _IDLE_CONNECTIONS or seconds <= 0:
            connection.wire.close()
        else:
            connection.used = True
            idle.append(_Idle(connection, now + seconds))

    def close(self) -> None:
        """Close what is idle."""
        for key in list(self._idle):
            self._forget(key)

    def _forget(self, key: _Key) -> None:
        for each in self._idle.pop(key, []):
            each.connection.wire.close()

    def _take(self, key: _Key) -> _Connection | None:
        idle = self._idle.get(key, [])
        now = trio.current_time()
        while idle:
            connection, until = idle.pop()
            # Anything to read now is the end, or an answer to a question nobody asked: never for the next client.
            if until > now and connection.wire.idle():
                return connection
            connection.wire.close()
        return None

    async def _connect(self, key: _Key, name: str, timeout: float) -> Wire:
        where = f"upstream {name!r} ({key.origin})"
        try:
            with trio.fail_after(timeout):
                return await dial(key.origin, key.reach, self._contexts)
        except trio.TooSlowError:
            through = f" through the proxy {key.reach.proxy}" if key.reach.proxy else ""
            message = f"{where} did not accept a connection within {timeout:g} seconds{through}"
            raise Unreachable(Error("timeout", message, 504)) from None
        except NoWay as exc:
            raise Unreachable(Error("upstream", f"{where} {exc}", 502)) from exc


class _Connection:
    """A connection to an upstream and h11's state of it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.used = False
        """Whether it has served a request before."""
        self.h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)


class Reply:
    """One request under way and its response. Use it in a `with`: leaving it early closes the connection."""

    def __init__(self, pool: Pool, key: _Key, connection: _Connection, name: str, timeouts: Timeouts) -> None:
        self._pool, self._key, self._timeouts = pool, key, timeouts
        self._name = name
        self._connection = connection
        self._wire, self._h11 = connection.wire, connection.h11
        self._out = b""
        self._sent_all = False
        self._unfed = b""
        self._heard = False  # a byte of the answer has come
        self._flushed = trio.current_time()  # when the last of the request went out
        self._status: int | None = None
        self._done = False
        self._due: float | None = None  # when the head has to be there
        self._fault: ProxyError | None = None
        self.headers: Headers = []
        self.received = 0  # bytes of body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def status(self) -> int:
        assert self._status is not None, "ask for head() first"
        return self._status

    # ── the request ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(self, method: str, target: str, headers: Headers) -> None:
        """Prepare the head; it leaves with the first of the body, or at its end."""
        try:
            self._out = self._h11.send(h11.Request(method=method, target=target, headers=headers)) or b""
        except h11.LocalProtocolError as exc:
            message = f"the request cannot be forwarded: {complaint(exc)}"
            raise ProxyError(Error("invalid_request", message, 400)) from exc

    async def send(self, data: bytes) -> None:
        """Send some of the request body. An upstream that answers before it has read all is not an error yet."""
        self._out += self._h11.send(h11.Data(data=data)) or b""
        await self._flush()

    async def end(self, data: bytes = b"") -> None:
        """End the request, with `data` as the last of its body."""
        if data:
            self._out += self._h11.send(h11.Data(data=data)) or b""
        self._out += self._h11.send(h11.EndOfMessage()) or b""
        await self._flush()
        self._sent_all = True

    async def _flush(self) -> None:
        out, self._out = self._out, b""
        if not out:
            return
        self._flushed = trio.current_time()
        try:
            await self._wire.send(out, self._timeouts.between_bytes)
        except Gone:
            pass  # it may have answered and closed (413 …): head() will tell
        except Stalled:
            raise self._failure("stopped reading the request", 504) from None

    # ── the response ────────────────────────────────────────────────────────────────────────────────────────────────

    async def head(self) -> int:
        """Wait for the response head; the status. May be cancelled and called again. Raises `ProxyError`."""
        interim, limit = 0, self._timeouts.first_byte
        if self._due is None:
            self._due = trio.current_time() + limit  # for the whole head, however it drips in
        while self._status is None:
            event = self._next_event()
            if event is h11.NEED_DATA:
                await self._fill(max(0.0, self._due - trio.current_time()), f"did not answer for {limit:g} seconds")
            elif isinstance(event, h11.Response):
                if event.http_version not in (b"1.1", b"1.0"):
                    raise self._failure("does not speak HTTP/1.1")
                if event.status_code == 407:
                    self._refused_by_proxy()
                self._status = event.status_code
                self.headers = list(event.headers)
            elif isinstance(event, h11.InformationalResponse):
                interim += 1
                if interim > _INTERIM:
                    raise self._failure(f"sent more than {_INTERIM} interim responses")
            else:
                raise self._failure("closed the connection before answering")
        return self._status

    def _refused_by_proxy(self) -> None:
        """Whoever asks us has no part in what a proxy between us and the upstream wants."""
        proxy = self._key.reach.proxy
        if proxy and not tunnels(*self._key):
            failure = self._failure(f"cannot be reached: the proxy {proxy} {refusal(407)}")
            raise Unreachable(failure.error)

    @property
    def complete(self) -> bool:
        """Whether all of the body has been given out: `receive` would give nothing more."""
        return self._done

    def ready(self) -> bytes:
        """What has come of the body and was not given out yet, without waiting. Raises `ProxyError`."""
        if self._fault is not None:
            raise self._fault
        data: list[bytes] = []
        while not self._done:
            try:
                event = self._next_event()
            except ProxyError as exc:
                if not data:
                    raise
                self._fault = exc  # behind all that came before it
                break
            if type(event) is h11.Data:
                data.append(event.data)
            elif event is h11.NEED_DATA:
                break
            else:
                self._done = True
        joined = data[0] if len(data) == 1 else b"".join(data)
        self.received += len(joined)
        return bytes(joined)

    async def receive(self) -> bytes:
        """The body's next bytes, all that one read gave; empty at its end. Raises `ProxyError` if it ends early."""
        while not (data := self.ready()) and not self._done:
            limit = self._timeouts.between_bytes
            await self._fill(limit, f"sent nothing for {limit:g} seconds")
        return data

    async def read(self, limit: int) -> bytes:
        """The whole body, up to `limit` bytes. Raises `ProxyError`."""
        pieces, size = [], 0
        while piece := await self.receive():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise self._failure(f"sent an answer of more than {limit} bytes")
        return b"".join(pieces)

    def _next_event(self) -> object:
        """h11's next event, with what was received fed to it in pieces while it reads a head."""
        try:
            event: object = self._h11.next_event()
            while event is h11.NEED_DATA and self._unfed:
                piece, self._unfed = self._unfed[:_PIECE], self._unfed[_PIECE:]
                self._h11.receive_data(piece)
                event = self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            if self._h11.their_state is h11.ERROR and self._status is not None and "closed" in str(exc):
                raise self._failure("closed the connection in the middle of its answer") from exc
            raise self._failure(f"does not speak HTTP/1.1: {complaint(exc)}") from exc
        return event

    async def _fill(self, timeout: float, what: str) -> None:
        try:
            data = await self._wire.receive(timeout)
        except Stalled:
            raise self._failure(what, 504) from None
        except Gone as exc:
            if self._status is None:
                raise self._unanswered(f": {exc}") from exc
            raise self._failure(f"closed the connection in the middle of its answer: {exc}") from exc
        if self._status is None:
            if not data:
                raise self._unanswered()
            self._heard = True
            self._unfed += data
            return
        try:
            self._h11.receive_data(data)
        except h11.RemoteProtocolError as exc:
            raise self._failure(f"does not speak HTTP/1.1: {complaint(exc)}") from exc

    def _unanswered(self, why: str = "") -> ProxyError:
        failure = self._failure(f"closed the connection before answering{why}")
        # An upstream that had closed an idle connection says so within a round trip; what comes later is of one that
        # has worked on the request, and may have done what it asks (RFC 9110 section 9.2.2).
        soon = trio.current_time() - self._flushed < _ROUND_TRIP
        return Stale(failure.error) if self._connection.used and not self._heard and soon else failure

    def _failure(self, what: str, status: int = 502) -> ProxyError:
        return _failed(f"upstream {self._name!r} ({self._key.origin}) {what}", status)

    # ── afterwards ──────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Give the connection back to the pool if request and response are complete, else close it."""
        connection = self._h11
        if (
            self._done
            and self._sent_all
            and connection.our_state is h11.DONE
            and connection.their_state is h11.DONE
            and not connection.trailing_data[0]
            and not self._unfed
            # Two framings at once: where this answer ended is a guess (RFC 9112 section 6.1).
            and not (get(self.headers, b"transfer-encoding") and get(self.headers, b"content-length"))
        ):
            connection.start_next_cycle()
            self._pool.put(self._key, self._connection, _idle_seconds(self.headers))
        elif not self._pooled_or_closed:
            self._wire.close()
        self._pooled_or_closed = True

    _pooled_or_closed = False


def _idle_seconds(headers: Headers) -> float:
    """How long the upstream keeps an idle connection; a second less than it says (`Keep-Alive: timeout=5`, Node)."""
    for part in get(headers, b"keep-alive").split(b","):
        name, _, value = part.strip().partition(b"=")
        if name.lower() == b"timeout" and value.isdigit():
            return min(_IDLE_SECONDS, int(value[:9]) - 1.0)
    return _IDLE_SECONDS


def _failed(message: str, status: int = 502) -> ProxyError:
    return ProxyError(Error("timeout" if status == 504 else "upstream", message, status))
