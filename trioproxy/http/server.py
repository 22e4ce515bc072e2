"""The server: accepts connections, hands each request to a handler, and stops gracefully.

One task per connection. Requests on a connection are handled one after the other, pipelined ones in their order.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from trioproxy.http.gate import is_loopback
from trioproxy.http.headers import Headers
from trioproxy.http.incoming import ClientConnection, Incoming, Malformed
from trioproxy.http.limits import Limits
from trioproxy.http.wire import Gone, SocketWire

__all__ = ["Address", "Handler", "Listener", "Refusal", "Server", "open_listeners"]

log = logging.getLogger("trioproxy.http")

Handler = Callable[[Incoming, "Listener"], Awaitable[None]]
"""Answers one request. It must not raise; a response it leaves unfinished is aborted."""
Refusal = Callable[[int, str], tuple[Headers, bytes]]
"""The headers and body that say to a client why its request could not be read."""

_BACKLOG = 1024
# Out of file descriptors: wait for some to be closed instead of spinning.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_EXHAUSTED_PAUSE = 0.1


class Address(str):
    """Where to listen: `host:port`, `[v6]:port`, `:port` (all addresses) or `unix:/path`."""

    @classmethod
    def read(cls, value: object) -> Address:
        """From a TOML value or an option. Raises `ValueError` that says what was expected."""
        expected = 'Expected an address such as "127.0.0.1:4567", "[::1]:4567" or "unix:/run/trioproxy.sock"'
        if not isinstance(value, str):
            raise ValueError(expected)
        if value.startswith("unix:") and len(value) > len("unix:"):
            return cls(value)
        _, colon, port = value.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError(expected)
        return cls(value)

    @property
    def unix(self) -> str | None:
        return self.removeprefix("unix:") if self.startswith("unix:") else None

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


class Listener:
    """A bound socket that listens. `address` is where, the port a real one."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.socket = sock
        name = sock.getsockname()
        self.unix = sock.family not in (socket.AF_INET, socket.AF_INET6)
        if self.unix:
            self.address, self.loopback = f"unix:{name}", False
        else:
            host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
            self.address, self.loopback = f"{host}:{name[1]}", is_loopback(name[0])

    def close(self) -> None:
        """Stop listening, and take a Unix socket's file away."""
        name = self.socket.getsockname() if self.unix and self.socket.fileno() >= 0 else None
        self.socket.close()
        if name:
            with suppress(FileNotFoundError):  # somebody else took it away
                os.unlink(name)


async def open_listeners(addresses: Sequence[Address]) -> list[Listener]:
    """Bind them all or none. Raises `OSError` whose `strerror` says which address and why."""
    listeners: list[Listener] = []
    try:
        for address in addresses:
            listeners += await _open(address)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


async def _open(address: Address) -> list[Listener]:
    try:
        if address.unix is not None:
            return [_open_unix(address.unix)]
        streams = await trio.open_tcp_listeners(address.port, host=address.host or None, backlog=_BACKLOG)
        return [Listener(stream.socket) for stream in streams]
    except OSError as exc:
        raise OSError(exc.errno or 0, f"cannot listen on {address}: {exc.strerror or exc}") from exc


def _open_unix(path: str) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.bind(path)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            os.unlink(path)
            sock.bind(path)
        os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)  # this user alone; the operator may widen it
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Listener(trio.socket.from_stdlib_socket(sock))


def _is_stale(path: str) -> bool:
    """Whether the file is a socket that nobody listens on any more: left by a process that was killed."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError as exc:
            return exc.errno == errno.ECONNREFUSED
    return False


class Server:
    """Serves HTTP/1.1 on listeners it then owns."""

    def __init__(self, handler: Handler, refusal: Refusal, limits: Limits) -> None:
        self._handler = handler
        self._refusal = refusal
        self._limits = limits
        self._open: set[ClientConnection] = set()
        self._busy = 0
        self._room = trio.Semaphore(limits.connections)
        self._draining = trio.Event()

    @property
    def busy(self) -> int:
        """How many requests are being answered; after a cancellation, how many answers that cut off."""
        return self._busy

    async def serve(self, listeners: Sequence[Listener]) -> None:
        """Serve until cancelled, or until `drain` was called and the last answer is complete."""
        try:
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, connections, name=f"accept {listener.address}")
                    await self._draining.wait()
                    accepting.cancel_scope.cancel()
                for listener in listeners:
                    listener.close()
                for connection in self._open:
                    if connection.waiting is not None:
                        connection.waiting.cancel()
        finally:
            for listener in listeners:
                listener.close()

    def drain(self) -> None:
        """Accept nothing more; let `serve` return when every answer under way is complete."""
        self._draining.set()

    async def _accept(self, listener: Listener, connections: trio.Nursery) -> None:
        while True:
            await self._room.acquire()
            try:
                sock, _ = await listener.socket.accept()
            except OSError as exc:
                self._room.release()
                if exc.errno in _EXHAUSTED:
                    log.error("cannot accept a connection: %s; trying again", exc.strerror)
                    await trio.sleep(_EXHAUSTED_PAUSE)
                continue  # otherwise the client left before it was accepted
            except BaseException:
                self._room.release()
                raise
            wire = SocketWire(socket.socket(fileno=sock.detach()))
            connections.start_soon(self._serve, wire, listener, name=f"client of {listener.address}")

    async def _serve(self, wire: SocketWire, listener: Listener) -> None:
        connection = ClientConnection(wire, self._limits)
        self._open.add(connection)
        try:
            await self._requests(connection, listener)
        except Gone:
            pass  # there is nobody to answer
        finally:
            self._open.discard(connection)
            self._room.release()
            wire.close()

    async def _requests(self, connection: ClientConnection, listener: Listener) -> None:
        while not self._draining.is_set():
            try:
                incoming = await connection.next_request()
            except Malformed as exc:
                await connection.refuse(exc.status, *self._refusal(exc.status, str(exc)))
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
