"""The server: accepts connections, hands each request to a handler, and stops gracefully.

One task per connection. Requests on a connection are handled one after the other, pipelined ones in their order.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from trioproxy.http.forwarded import UNIX, Trusted, plain
from trioproxy.http.headers import Headers
from trioproxy.http.incoming import ClientConnection, Incoming, Malformed
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Listener
from trioproxy.http.proxy_protocol import BadHeader, read_header
from trioproxy.http.secure import accept_tls
from trioproxy.http.wire import Gone, SocketWire, Wire

__all__ = ["Handler", "Refusal", "Server"]

log = logging.getLogger("trioproxy.http")

Handler = Callable[[Incoming, Listener], Awaitable[None]]
"""Answers one request. It must not raise; a response it leaves unfinished is aborted."""
Refusal = Callable[[Malformed, str], tuple[Headers, bytes]]
"""The headers and body that say to a client, by its address, why its request could not be read."""

# Out of file descriptors: wait for some to be closed instead of spinning.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_EXHAUSTED_PAUSE = 0.1


class Server:
    """Serves HTTP/1.1 on listeners it then owns."""

    def __init__(self, handler: Handler, refusal: Refusal, limits: Limits, trusted: Trusted = Trusted()) -> None:
        self._handler = handler
        self._refusal = refusal
        self._room = trio.CapacityLimiter(limits.connections)
        self._limits = limits
        self.trusted = trusted
        """Whose word for a client's address is taken, on connections accepted from now on."""
        self._accepting: dict[Listener, trio.CancelScope] = {}
        self._tasks: trio.Nursery | None = None
        self._greeting: set[trio.CancelScope] = set()
        self._open: set[ClientConnection] = set()
        self._busy = 0
        self._draining = trio.Event()

    @property
    def busy(self) -> int:
        """How many requests are being answered; after a cancellation, how many answers that cut off."""
        return self._busy

    @property
    def limits(self) -> Limits:
        """The bounds of connections accepted from now on."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._room.total_tokens = limits.connections

    async def serve(self, listeners: Sequence[Listener] = ()) -> None:
        """Serve until cancelled, or until `drain` was called and the last answer is complete."""
        try:
            async with trio.open_nursery() as self._tasks:
                for listener in (*self._accepting, *listeners):
                    self.open(listener)
                await self._draining.wait()
                self._close_all()
                for scope in self._greeting:
                    scope.cancel()
                for connection in self._open:
                    if connection.waiting is not None:
                        connection.waiting.cancel()
        finally:
            self._tasks = None
            self._close_all()

    def open(self, listener: Listener) -> None:
        """Accept connections on one more listener; before `serve`, as soon as that is called."""
        if self._draining.is_set():
            listener.close()
            return
        scope = self._accepting[listener] = trio.CancelScope()
        if self._tasks is not None:
            self._tasks.start_soon(self._accept, listener, scope, self._tasks, name=f"accept {listener.address}")

    def close(self, listener: Listener) -> None:
        """Accept nothing more on a listener, and close it. The connections that it gave go on."""
        if scope := self._accepting.pop(listener, None):
            scope.cancel()
        listener.close()

    def _close_all(self) -> None:
        for listener in list(self._accepting):
            self.close(listener)

    def drain(self) -> None:
        """Accept nothing more; let `serve` return when every answer under way is complete."""
        self._draining.set()

    async def _accept(self, listener: Listener, scope: trio.CancelScope, connections: trio.Nursery) -> None:
        name = f"client of {listener.address}"
        with scope:
            while True:
                place = object()
                await self._room.acquire_on_behalf_of(place)
                try:
                    sock, address = await listener.socket.accept()
                    accepted = SocketWire(socket.socket(fileno=sock.detach()))
                except OSError as exc:
                    self._room.release_on_behalf_of(place)
                    if exc.errno in _EXHAUSTED:
                        log.error("cannot accept a connection: %s; trying again", exc.strerror)
                        await trio.sleep(_EXHAUSTED_PAUSE)
                    continue  # otherwise the client left before it was accepted, or at that moment
                except BaseException:
                    self._room.release_on_behalf_of(place)
                    raise
                peer = UNIX if listener.unix else plain(address[0])
                connections.start_soon(self._serve, accepted, peer, listener, place, name=name)

    async def _serve(self, accepted: SocketWire, peer: str, listener: Listener, place: object) -> None:
        wire: Wire = accepted
        trusted = self.trusted
        try:
            if listener.listen.proxy_protocol or listener.tls:
                wire, said = await self._greet(accepted, peer, listener)
                if said is not None:
                    peer = said
                elif listener.listen.proxy_protocol:
                    trusted = Trusted()  # whoever the balancer speaks for, it has not read their requests
            await self._converse(ClientConnection(wire, self._limits, peer, trusted), listener)
        except Gone:
            pass  # there is nobody to answer
        finally:
            self._room.release_on_behalf_of(place)
            wire.close()

    async def _greet(self, wire: SocketWire, peer: str, listener: Listener) -> tuple[Wire, str | None]:
        """What stands before the first request: a load balancer's header, and TLS. Raises `Gone`.

        Gives also the client's address, if the header says one.
        """
        said = None
        with trio.move_on_after(self._limits.head_timeout) as scope:
            self._greeting.add(scope)
            try:
                if listener.listen.proxy_protocol:
                    said = await self._announced(wire, peer)
                return await accept_tls(wire, listener.tls) if listener.tls else wire, said
            except BadHeader as exc:
                log.warning(
                    "closed a connection of %s to %s, which has proxy-protocol: %s", peer, listener.address, exc
                )
                raise Gone("closed by us") from exc
            except Gone as exc:
                log.debug("a client of %s left before its first request: %s", listener.address, exc)
                raise
            finally:
                self._greeting.discard(scope)
        if not self._draining.is_set():
            log.debug("a client of %s did not begin within %g seconds", listener.address, self._limits.head_timeout)
        raise Gone("closed by us")

    async def _announced(self, wire: SocketWire, peer: str) -> str | None:
        """The client's address, as a load balancer says it, if it does. Raises `BadHeader` and `Gone`."""
        if not self.trusted.covers(peer):
            raise BadHeader("it is not one of `trusted-proxies`")
        said = await read_header(wire.exactly)
        return None if said is None else plain(said)

    async def _converse(self, connection: ClientConnection, listener: Listener) -> None:
        self._open.add(connection)
        try:
            await self._requests(connection, listener)
        finally:
            self._open.discard(connection)

    async def _requests(self, connection: ClientConnection, listener: Listener) -> None:
        while not self._draining.is_set():
            try:
                incoming = await connection.next_request()
            except Malformed as exc:
                await connection.refuse(exc.status, *self._refusal(exc, connection.peer))
                return
            if incoming is None:
                return
            self._busy += 1
            try:
                await self._handler(incoming, listener)
            except Exception:
                # A handler's own trouble, and no reason to end the connections of others.
                log.exception("the handler of %s %s failed", incoming.method, incoming.target.path)
            finally:
                if not incoming.complete:
                    incoming.break_off()
            self._busy -= 1
            if not await incoming.conclude():
                return
            if connection.buffer:
                await trio.lowlevel.checkpoint()  # many requests in one piece must not keep the others waiting
