"""A connection's bytes: what HTTP needs of the network, and a non-blocking socket that has it. TLS: `secure`.

`trio.SocketStream` would do; but its send and receive cost 26 µs a pair where these cost 8 (no conflict detector, no
checkpoint after a call that did not have to wait), and a stream is thousands of pairs.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import ssl
import struct
from contextlib import suppress
from typing import Protocol, Self

import trio

__all__ = ["Gone", "SocketWire", "Stalled", "Wire", "complaint", "reason_of", "system_tls"]

# Bytes: one read, so one batch; some 110 small events. Every stage may hold a batch, and an event takes ten times its
# bytes: 200 slow readers cost 160 MiB with it, and 520 with 64 KiB, which would be 13 % faster in a flood.
READ_SIZE = 16 * 1024


class Gone(Exception):
    """The peer is gone: it reset the connection, or closed it while we wrote."""


class Stalled(Exception):
    """The peer did nothing for longer than it may."""


class Wire(Protocol):
    """What an HTTP connection needs of the network."""

    async def receive(self, timeout: float = float("inf")) -> bytes:
        """Some bytes, at most `READ_SIZE`; empty at the end. Raises `Gone`, and `Stalled` after `timeout` seconds."""

    async def send(self, data: bytes, timeout: float = float("inf")) -> None:
        """Send all. Raises `Gone`, and `Stalled` when not a byte could be sent for `timeout` seconds."""

    def offer(self, data: bytes) -> None:
        """Send it if there is room for it now: a last word, which nobody waits for."""

    def idle(self) -> bool:
        """Whether the peer has sent nothing since we last read, not even the end."""

    def hung_up(self) -> bool:
        """Whether the peer will send no more, even if there is something left to read (where the system tells)."""

    def shut_down(self) -> None:
        """Say that we shall send no more."""

    def close(self) -> None: ...

    def abort(self) -> None:
        """Close with a reset, so that the peer cannot take what it has for all there is."""


class SocketWire:
    """A connected TCP or Unix socket. It owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Events are small and must not wait for the acknowledgement of the one before.
            with suppress(OSError):  # reset by now, which macOS tells here, and who reads will be told
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._more = False  # the last read filled its buffer, so there may be more without waiting

    @classmethod
    def of(cls, stream: trio.SocketStream) -> Self:
        """The socket of `stream`, taken over."""
        return cls(socket.socket(fileno=stream.socket.detach()))

    async def receive(self, timeout: float = float("inf")) -> bytes:
        if self._more:
            # A busy peer must not keep its task running for ever: one turn for the others per full read.
            await trio.lowlevel.checkpoint()
        while True:
            if not self._more:
                await self._wait(trio.lowlevel.wait_readable, timeout)
            try:
                data = self._sock.recv(READ_SIZE)
            except BlockingIOError:
                self._more = False
                continue
            except OSError as exc:
                raise Gone(_reason(exc)) from exc
            self._more = len(data) == READ_SIZE
            return data

    async def exactly(self, size: int) -> bytes:
        """So many bytes, and none of what is behind them. Raises `Gone` if there will not be as many."""
        data = b""
        while len(data) < size:
            try:
                piece = self._sock.recv(size - len(data))
            except BlockingIOError:
                await self._wait(trio.lowlevel.wait_readable, float("inf"))
                continue
            except OSError as exc:
                raise Gone(_reason(exc)) from exc
            if not piece:
                raise Gone("the end came too early")
            data += piece
        return data

    def offer(self, data: bytes) -> None:
        with suppress(OSError):
            self._sock.send(data)

    async def send(self, data: bytes, timeout: float = float("inf")) -> None:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            raise Gone(_reason(exc)) from exc
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            await self._wait(trio.lowlevel.wait_writable, timeout)
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                continue
            except OSError as exc:
                raise Gone(_reason(exc)) from exc

    def idle(self) -> bool:
        return not _readable(self._sock)

    def hung_up(self) -> bool:
        return _hung_up(self._sock)

    def shut_down(self) -> None:
        with suppress(OSError):  # gone already: nobody to tell
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def abort(self) -> None:
        if self._sock.fileno() >= 0:
            # Linger for 0 seconds: close() sends RST and drops what was not sent.
            with suppress(OSError):  # the same
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    async def _wait(self, wait: _Wait, timeout: float) -> None:
        try:
            if timeout == float("inf"):
                await wait(self._sock)
                return
            with trio.move_on_after(timeout) as scope:
                await wait(self._sock)
        except trio.ClosedResourceError as exc:
            raise Gone("closed by us") from exc
        if scope.cancelled_caught:
            raise Stalled(f"nothing for {timeout:g} seconds")


class _Wait(Protocol):
    async def __call__(self, sock: socket.socket, /) -> None: ...


def _readable(sock: socket.socket | trio.socket.SocketType) -> bool:
    """Whether there is something to read, or the end, right now."""
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _hung_up(sock: socket.socket | trio.socket.SocketType) -> bool:
    poll = select.poll()
    poll.register(sock.fileno(), _HUNG_UP)
    return bool(poll.poll(0))


# POLLRDHUP is Linux's: the peer has closed its sending half. POLLHUP and POLLERR are always told.
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


def complaint(exc: Exception) -> str:
    """What h11 complains about, without the bytes it quotes: they may be a secret, and 64 KiB of it."""
    return _QUOTED.split(str(exc), 1)[0]


_QUOTED = re.compile(r":? b(?:ytearray\(b)?['\"]")


def _reason(exc: BaseException) -> str:
    cause = exc.__cause__ if isinstance(exc, trio.BrokenResourceError) and exc.__cause__ else exc
    if isinstance(cause, OSError) and cause.errno in (errno.ECONNRESET, errno.EPIPE):
        return "connection reset"
    return str(cause) or type(cause).__name__


def system_tls() -> ssl.SSLContext:
    """What the system trusts, a company's own authority included."""
    import truststore  # noqa: PLC0415  # only where there is TLS

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def reason_of(exc: BaseException) -> str:
    """The system's own words: `Connection refused`, `Name or service not known`."""
    if isinstance(exc, socket.gaierror):
        return exc.strerror or str(exc)
    if isinstance(exc, ssl.SSLError):  # an OSError too, whose errno is none of the system's
        return f"TLS failed: {exc.reason or exc}"
    if isinstance(exc, OSError) and exc.errno:
        return os.strerror(exc.errno)
    cause = exc.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return reason_of(cause) if cause is not None else str(exc) or type(exc).__name__
