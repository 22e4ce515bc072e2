"""Where the server listens: sockets that we bind, that systemd or another parent has bound, or that workers share.

A socket that several processes accept from is shared by inheritance: whoever is free takes the next connection, and
what waits in its queue is not lost with a process that is killed (which with SO_REUSEPORT it would be).
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from trioproxy.http.certificate import server_tls
from trioproxy.http.gate import is_loopback
from trioproxy.http.target import is_name

__all__ = ["Address", "Listen", "Listener", "listeners_from", "open_listeners", "tls_of"]

_BACKLOG = 1024
_FIRST = 3  # the first descriptor that systemd passes: sd_listen_fds(3)
_INHERITED = re.compile(r"fd:[0-9]{1,9}|systemd(:[^:\s]{1,255})?", re.ASCII)


class Address(str):
    """Where to listen: `host:port`, `[v6]:port`, `:port` (all addresses) or `unix:/path`.

    Or what is bound already: `fd:3`, `systemd` for all that systemd passes, `systemd:NAME` for those of that name.
    """

    @classmethod
    def read(cls, value: object) -> Address:
        """From a TOML value or an option. Raises `ValueError` that says what was expected."""
        expected = 'Expected an address such as "127.0.0.1:4567", "[::1]:4567" or "unix:/run/trioproxy.sock"'
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError(expected)
        if (value.startswith("unix:") and len(value) > len("unix:")) or _INHERITED.fullmatch(value):
            return cls(value)
        host, colon, port = value.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
            raise ValueError(expected)
        if host and not is_name(host):
            raise ValueError(expected)
        return cls(value)

    @property
    def unix(self) -> str | None:
        return self.removeprefix("unix:") if self.startswith("unix:") else None

    @property
    def inherited(self) -> bool:
        """Whether another process has bound it: then only the open socket tells where it is."""
        return bool(_INHERITED.fullmatch(self))

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


class Listen(msgspec.Struct, frozen=True):
    """An address to listen on, and how."""

    address: Address
    certificate: Path | None = None
    """What we show of ourselves, with the key in the same file if `key` is None; no certificate: no TLS."""
    key: Path | None = None
    proxy_protocol: bool = False
    """Whether each connection begins with the PROXY header of a load balancer."""

    def __str__(self) -> str:
        how = [name for name, used in (("TLS", self.certificate), ("PROXY protocol", self.proxy_protocol)) if used]
        return f"{self.address} ({', '.join(how)})" if how else self.address


class Listener:
    """A bound socket that listens. `address` is where, the port a real one; `listen` is what asked for it."""

    def __init__(
        self, sock: trio.socket.SocketType, listen: Listen, tls: ssl.SSLContext | None = None, *, owned: bool = True
    ) -> None:
        self.socket = sock
        self._owned = owned
        self.listen, self.tls = listen, tls
        name = sock.getsockname()
        self.unix = sock.family not in (socket.AF_INET, socket.AF_INET6)
        if self.unix:
            self.address, self.loopback = f"unix:{name}", False
        else:
            host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
            self.address, self.loopback = f"{host}:{name[1]}", is_loopback(name[0])

    @property
    def url(self) -> str:
        """`https://127.0.0.1:4567`; of a Unix socket its address."""
        scheme = "https" if self.tls else "http"
        return self.address if self.unix else f"{scheme}://{self.address}"

    def use(self, listen: Listen) -> None:
        """Receive connections from now on as `listen` says, whose address is the same; its files are read anew.

        Raises `OSError` if its certificate is no good: then all stays as it was.
        """
        self.tls = tls_of(listen)
        self.listen = listen

    def fileno(self) -> int:
        """The descriptor, for `pass_fds` and SCM_RIGHTS."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stop listening, and take the file of a Unix socket that is ours away."""
        name = self.socket.getsockname() if self._owned and self.unix and self.socket.fileno() >= 0 else None
        self.socket.close()
        if name:
            with suppress(FileNotFoundError):  # somebody else took it away
                os.unlink(name)


async def open_listeners(listens: Sequence[Listen], environ: Mapping[str, str] = os.environ) -> list[Listener]:
    """Bind them all or none; one address may give several. Raises `OSError` whose `strerror` says which and why."""
    listeners: list[Listener] = []
    try:
        for listen in listens:
            listeners += await _open(listen, environ)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def listeners_from(shared: Iterable[tuple[int, Listen]]) -> list[Listener]:
    """Listeners on sockets that another process has opened: descriptors that are ours from now on, each with what its
    listener's `listen` was there. To close them stops nobody else from listening. Raises `OSError`.
    """
    return [Listener(_adopt(descriptor), listen, tls_of(listen), owned=False) for descriptor, listen in shared]


def tls_of(listen: Listen) -> ssl.SSLContext | None:
    """What TLS needs there, read from its files; None if there is none. Raises `OSError`."""
    return server_tls(listen.certificate, listen.key) if listen.certificate else None


async def _open(listen: Listen, environ: Mapping[str, str]) -> list[Listener]:
    address = listen.address
    try:
        tls = tls_of(listen)
        if address.inherited:
            sockets = _adopt_copies(_descriptors(address, environ))
        elif address.unix is not None:
            sockets = [_bind_unix(address.unix)]
        else:
            streams = await trio.open_tcp_listeners(address.port, host=address.host or None, backlog=_BACKLOG)
            sockets = [stream.socket for stream in streams]
        return [Listener(sock, listen, tls, owned=not address.inherited) for sock in sockets]
    except (OSError, ValueError) as exc:  # a name that none can be, or a path with a NUL
        why = exc.strerror if isinstance(exc, OSError) else None
        raise OSError(getattr(exc, "errno", None) or 0, f"cannot listen on {address}: {why or exc}") from exc


def _bind_unix(path: str) -> trio.socket.SocketType:
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
    return trio.socket.from_stdlib_socket(sock)


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


def _adopt_copies(descriptors: Iterable[int]) -> list[trio.socket.SocketType]:
    """The originals stay open: closed and opened again, as reloads may do, they must still be there."""
    sockets: list[trio.socket.SocketType] = []
    try:
        for descriptor in descriptors:
            sockets.append(_adopt(os.dup(descriptor)))
            os.set_inheritable(descriptor, False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _adopt(descriptor: int) -> trio.socket.SocketType:
    """A listening socket from its descriptor, which is closed if it is none."""
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        with suppress(OSError):  # nothing was open there
            os.close(descriptor)
        raise
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OSError(errno.EINVAL, f"descriptor {descriptor} is not a stream socket that listens")
    sock.set_inheritable(False)
    return trio.socket.from_stdlib_socket(sock)


def _descriptors(address: Address, environ: Mapping[str, str]) -> list[int]:
    """Those that an inherited address means, as sd_listen_fds_with_names(3) finds them. Raises `OSError`."""
    kind, _, name = address.partition(":")
    if kind == "fd":
        return [int(name)]
    if environ.get("LISTEN_PID") != str(os.getpid()):  # else it was passed to our parent, not to us
        raise OSError(errno.ENOENT, "systemd has passed this process no socket (LISTEN_FDS); is there a .socket unit?")
    count = int(environ.get("LISTEN_FDS") or 0)
    names = (environ.get("LISTEN_FDNAMES") or "").split(":")
    passed = {_FIRST + at: names[at] if at < len(names) else "" for at in range(count)}
    found = [descriptor for descriptor, each in passed.items() if name in ("", each)]
    if not found:
        known = ", ".join(sorted(set(passed.values()))) or "none at all"
        raise OSError(errno.ENOENT, f"systemd has passed no socket of that name (FileDescriptorName=), but {known}")
    return found
