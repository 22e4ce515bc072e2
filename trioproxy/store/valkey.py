"""Values on a Valkey or Redis server, for proxies on several machines that share them.

Why no library: coredis 6.9 crashes the task group it lives in, and so the proxy, when a call is cancelled while it
connects; it loses a place of its pool for good with each connection that breaks under a pipeline; no option helps, and
its import takes 0.25 s and 17 MB. valkey-glide 2.6, the other one for trio, is 44 MB whose threads outlive it. All we
need of the protocol is two commands.

The same rules as for an upstream: a connection with anything left to read is never used again, so an answer nobody
waited for cannot become the next call's; and nothing runs in the background.

An account (ACL) on the server needs `+mget +set ~trioproxy:*`, and `+select` where the URL names a database. A cluster
is not supported.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import trio

from trioproxy.http.secure import ask_tls
from trioproxy.http.wire import Gone, SocketWire, Wire, reason_of, system_tls
from trioproxy.store import Store, StoreError

__all__ = ["open_valkey", "read_url"]

_CONNECTIONS = 16  # at once. One does some thousand calls a second; whoever finds none free waits within its timeout
_IDLE_SECONDS = 60.0  # kept unused: load balancers forget a silent connection after minutes, and tell nobody
_ANSWER = 64 * 1024 * 1024  # bytes of the answer to one call
_LINE = 4096  # bytes of a line of it that is not a value; Valkey's longest error has 1028
_QUOTE = 160  # characters of it that we repeat


@asynccontextmanager
async def open_valkey(url: str, *, timeout: float) -> AsyncIterator[Store]:
    """A store on the server at `url`: `valkey://`, `redis://`, with TLS `valkeys://`, `rediss://`, or `unix:///path`.

    A user, a password and a database may be in it: `valkey://user:password@host:6379/0`, `unix:///path?db=0`. They are
    percent-encoded, as everywhere in a URL. Nothing is connected before the first call, and a server that comes back is
    used again. A call takes no longer than `timeout` seconds, connecting included, then it raises `StoreError`.
    Raises `StoreError` at once if the URL is none.
    """
    store = _Valkey(read_url(url), timeout)
    try:
        yield store
    finally:
        store.close()


@dataclass(frozen=True, kw_only=True)
class _Server:
    """What a URL says. Its text is for logs and errors, and has no credentials."""

    scheme: str
    host: str
    port: int
    path: str
    """Of a Unix socket; else empty."""
    password: str = field(repr=False)
    greeting: tuple[bytes, ...] = field(repr=False)
    """The commands that a connection begins with."""

    @property
    def tls(self) -> bool:
        return self.scheme in ("valkeys", "rediss")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def read_url(url: str) -> _Server:
    """Raises `StoreError`, which quotes nothing: where a URL is wrong, any part of it may be of the password."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        port = parts.port or 6379
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        login = [word.encode() for word in (user, password)]
    except ValueError:
        raise _unreadable() from None
    if parts.scheme == "unix":
        host, path, db = "", unquote(parts.path), options.pop("db", "")
        there = len(path) > 1 and not parts.hostname
    else:
        host, path, db = unquote(parts.hostname or ""), "", parts.path.removeprefix("/")
        there = bool(host) and parts.scheme in ("valkey", "valkeys", "redis", "rediss")
    if not there or options or parts.fragment or not _DATABASE.fullmatch(db):
        raise _unreadable()
    greeting = []
    if user or password:
        # A password alone is the default user's, and all that servers knew before there were users.
        greeting.append(_command(b"AUTH", *(login if user else login[1:])))
    if db:
        greeting.append(_command(b"SELECT", db.encode()))
    return _Server(scheme=parts.scheme, host=host, port=port, path=path, password=password, greeting=tuple(greeting))


_DATABASE = re.compile(r"[0-9]{0,9}")


def _unreadable() -> StoreError:
    return StoreError(
        "the store's URL is not one of valkey://host:6379/0 (or redis://; valkeys:// or rediss:// with TLS) and "
        "unix:///path?db=0; special characters of a user:password@ in it are written as %40 and the like"
    )


class _Failed(Exception):
    """What went wrong, to stand behind the server's name."""


class _Idle(NamedTuple):
    connection: _Connection
    until: float


class _Valkey:
    """The store, and its connections: at most `_CONNECTIONS`, each for one call at a time, last used first."""

    def __init__(self, server: _Server, timeout: float) -> None:
        self._server, self._timeout = server, timeout
        self._places = trio.CapacityLimiter(_CONNECTIONS)
        self._idle: list[_Idle] = []
        self._context: ssl.SSLContext | None = None
        self._closed = False

    async def get(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        if not keys:
            return []
        async with self._connected() as connection:
            await connection.send(_command(b"MGET", *map(_name, keys)))
            return await connection.values(len(keys))

    async def put(self, entries: Sequence[tuple[bytes, bytes]], seconds: float, /) -> None:
        if not entries:
            return
        expiry = b"%d" % max(1, round(seconds * 1000))  # 0 is an error to the server
        async with self._connected() as connection:
            commands = (_command(b"SET", _name(key), value, b"PX", expiry) for key, value in entries)
            await connection.send(b"".join(commands))
            for _ in entries:
                await connection.ok()

    def close(self) -> None:
        """Close what is idle, and what is not as soon as it is."""
        self._closed = True
        for idle in self._idle:
            idle.connection.wire.close()
        self._idle.clear()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Connection]:
        """A connection for one call. What fails there becomes a `StoreError`, and closes it."""
        try:
            with trio.fail_after(self._timeout):
                async with self._places:
                    connection = self._take() or await self._connect()
                    try:
                        yield connection
                    except BaseException:
                        connection.wire.close()
                        raise
                    self._keep(connection)
        except trio.TooSlowError:
            raise StoreError(f"{self._server} did not answer within {self._timeout:g} seconds") from None
        except Gone as exc:
            raise self._error(f"closed the connection: {exc}") from None
        except _Failed as exc:
            raise self._error(str(exc)) from None  # its text may quote the password

    def _error(self, what: str) -> StoreError:
        password = self._server.password
        return StoreError(f"{self._server} {what.replace(password, '***') if password else what}")

    # ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self) -> _Connection | None:
        while self._idle:
            connection, until = self._idle.pop()
            # Anything to read now is the end, or an answer to nobody: never for the next call.
            if until > trio.current_time() and connection.wire.idle():
                return connection
            connection.wire.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        now = trio.current_time()
        while self._idle and self._idle[0].until <= now:  # the oldest stand first
            self._idle.pop(0).connection.wire.close()
        if self._closed or connection.unread:
            connection.wire.close()
        else:
            self._idle.append(_Idle(connection, now + _IDLE_SECONDS))

    async def _connect(self) -> _Connection:
        if self._closed:
            raise _Failed("is closed")
        server = self._server
        try:
            if server.path:
                wire: Wire = SocketWire.of(await trio.open_unix_socket(server.path))
            else:
                wire = SocketWire.of(await trio.open_tcp_stream(server.host, server.port))
            try:
                if server.tls:
                    self._context = self._context or system_tls()
                    wire = await ask_tls(wire, self._context, server.host)
            except BaseException:
                wire.close()
                raise
            connection = _Connection(wire)
        except ssl.SSLCertVerificationError as exc:
            raise _Failed(f"has a certificate that is not trusted: {exc.verify_message}") from exc
        except (OSError, ValueError, Gone) as exc:  # ValueError: no name that can be looked up
            raise _Failed(f"cannot be reached: {reason_of(exc)}") from exc
        try:
            # Before anything else is sent: a value must not land in another database because SELECT failed.
            await connection.send(b"".join(server.greeting))
            for _ in server.greeting:
                await connection.ok()
        except BaseException:
            connection.wire.close()
            raise
        return connection


# ── the protocol: RESP2, https://valkey.io/topics/protocol, which every version of every such server speaks ─────────


def _name(key: bytes) -> bytes:
    """A key's name on the server. Hexadecimal, so that what `valkey-cli --scan` shows can be pasted into a command."""
    return b"trioproxy:" + key.hex().encode()


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class _Connection:
    """Sends commands and reads answers. Whoever does not read an answer to its end must close the wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.unread = bytearray()

    async def send(self, data: bytes) -> None:
        with suppress(Gone):  # it may have said why before it closed: reading will tell
            await self.wire.send(data)

    async def ok(self) -> None:
        """Read that a command was done. Raises `_Failed`."""
        line = await self._line()
        if line != b"+OK":
            raise _refusal(line)

    async def values(self, count: int) -> list[bytes | None]:
        """Read an array of `count` values, None where there is none. Raises `_Failed`."""
        line = await self._line()
        if line != b"*%d" % count:
            raise _refusal(line)
        values: list[bytes | None] = []
        left = _ANSWER
        for _ in range(count):
            line = await self._line()
            if line == b"$-1":
                values.append(None)
                continue
            size = _SIZE.fullmatch(line)
            if size is None:
                raise _refusal(line)
            left -= int(size[1])
            if left < 0:
                raise _Failed(f"sent an answer of more than {_ANSWER} bytes")
            value = await self._bytes(int(size[1]) + 2)
            if not value.endswith(b"\r\n"):
                raise _refusal(b"")
            values.append(value[:-2])
        return values

    async def _line(self) -> bytes:
        while (end := self.unread.find(b"\r\n", 0, _LINE)) < 0:
            if len(self.unread) >= _LINE:
                raise _refusal(b"")
            await self._more()
        return (await self._bytes(end + 2))[:-2]

    async def _bytes(self, count: int) -> bytes:
        while len(self.unread) < count:
            await self._more()
        data = bytes(self.unread[:count])
        del self.unread[:count]
        return data

    async def _more(self) -> None:
        data = await self.wire.receive()
        if not data:
            raise _Failed("closed the connection before it had answered")
        self.unread += data


_SIZE = re.compile(rb"\$([0-9]{1,9})")


def _refusal(line: bytes) -> _Failed:
    """What a line says that is not the one expected; without what the server quotes, since that is what we sent."""
    if not line.startswith(b"-"):
        return _Failed("does not answer as Valkey or Redis do")
    text = _QUOTED.sub(" …", line[1:].decode("ascii", "replace"))
    text = "".join(letter for letter in text if letter.isprintable())
    return _Failed("refuses: " + (text if len(text) <= _QUOTE else f"{text[:_QUOTE]}…"))


_QUOTED = re.compile(r"(?:^|[^a-zA-Z])['\"`].*", re.DOTALL)  # but not the apostrophe of `can't`
