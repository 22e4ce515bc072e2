"""Proxies for tests, and an upstream behind them: small ones that speak the RFCs, and real programs where they are.

async with origin() as up, http_proxy() as proxy:
    reach = Reach(proxy=Proxy.read(proxy.url))
"""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
import trustme

from tests.peers import free_port

CA = trustme.CA()
USER, PASSWORD = "me", "pass word/@ä"  # what a URL cannot hold as it is
CREDENTIALS = "me:pass%20word%2F%40%C3%A4@"

_Stream = trio.abc.Stream


def trusting(ca: trustme.CA = CA) -> Callable[[], ssl.SSLContext]:
    """What makes contexts that trust `ca` alone."""

    def context() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ca.configure_trust(context)
        return context

    return context


def server_tls(name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(name).configure_cert(context)
    return context


@dataclass
class Peer:
    """A server of ours: where it is, and what it has heard."""

    port: int
    scheme: str = "http"
    guarded: bool = False
    """Whether it asks for credentials."""
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    received: int = 0  # bytes of bodies

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"

    def url_for(self, credentials: str) -> str:
        return f"{self.scheme}://{credentials}localhost:{self.port}"


@asynccontextmanager
async def serving(
    scheme: str, handler: Callable[[_Stream, Peer], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """A server on a free port that gives each connection to `handler`, with its TLS done if there is any."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        peer = Peer(listeners[0].socket.getsockname()[1], scheme)

        async def serve(stream: trio.SocketStream) -> None:
            peer.connections += 1
            peer.open += 1
            try:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    if tls:
                        await handler(trio.SSLStream(stream, tls, server_side=True, https_compatible=True), peer)
                    else:
                        await handler(stream, peer)
            finally:
                peer.open -= 1
                stream.socket.close()

        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield peer
        nursery.cancel_scope.cancel()


async def until(stream: _Stream, end: bytes, data: bytes = b"") -> tuple[bytes, bytes]:
    """What comes up to and with `end`, and what came behind it; empty if there is no end to come."""
    while end not in data:
        piece = await stream.receive_some(65536)
        if not piece:
            return b"", b""
        data += piece
    head, end, rest = data.partition(end)
    return head + end, rest


async def rest_of(stream: _Stream, head: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The body that a head announces, of which `data` has come already, and what came behind it."""
    _, _, value = head.lower().partition(b"\r\ncontent-length:")
    size = int(value.partition(b"\r\n")[0] or 0)
    while len(data) < size:
        data += await stream.receive_some(65536)
    return data[:size], data[size:]


@asynccontextmanager
async def origin(tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    """An upstream that answers each request with three pieces, each when `go_on` allows it."""
    send, receive = trio.open_memory_channel[None](10)

    async def handler(stream: _Stream, peer: Peer) -> None:
        rest = b""
        while True:
            head, rest = await until(stream, b"\r\n\r\n", rest)
            if not head:
                return
            peer.heads.append(head.decode())
            body, rest = await rest_of(stream, head, rest)
            peer.received += len(body)
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            await stream.send_all(b"transfer-encoding: chunked\r\n\r\n")
            for piece in PIECES:
                await receive.receive()
                await stream.send_all(b"%x\r\n%s\r\n" % (len(piece), piece))
            await stream.send_all(b"0\r\n\r\n")
            if b"connection: close" in head.lower():
                return

    async with serving("https" if tls else "http", handler, tls) as peer:
        yield Origin(peer, send)


PIECES = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]


@dataclass
class Origin:
    peer: Peer
    _send: trio.MemorySendChannel[None]

    def go_on(self) -> None:
        self._send.send_nowait(None)


# ── ours ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def relay(left: _Stream, right: _Stream) -> None:
    """Bytes both ways until one side ends."""
    async with trio.open_nursery() as nursery:

        async def pump(source: _Stream, sink: _Stream) -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await source.receive_some(65536):
                    await sink.send_all(data)
            nursery.cancel_scope.cancel()

        nursery.start_soon(pump, left, right)
        nursery.start_soon(pump, right, left)


@asynccontextmanager
async def http_proxy(*, tls: bool = False, guarded: bool = False) -> AsyncIterator[Peer]:
    """CONNECT, and whole URLs of `http://` requests."""
    expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    async def handler(stream: _Stream, peer: Peer) -> None:
        head, rest = await until(stream, b"\r\n\r\n")
        if not head:
            return
        peer.heads.append(head.decode())
        method, target, _ = head.decode().split(" ", 2)
        if guarded and f"proxy-authorization: Basic {expected}\r\n" not in head.decode():
            await stream.send_all(b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 6\r\n\r\nsecret")
            return
        where = urlsplit(f"//{target}" if method == "CONNECT" else target)
        try:
            upstream = await trio.open_tcp_stream(where.hostname or "", where.port or 80)
        except OSError:
            await stream.send_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            return
        async with upstream:
            if method == "CONNECT":
                await stream.send_all(b"HTTP/1.1 200 Tunnel\r\ncontent-length: 5\r\n\r\n")  # which means nothing
                await relay(stream, upstream)
            else:
                await forward(stream, upstream, head, rest)

    async with serving("https" if tls else "http", handler, server_tls() if tls else None) as peer:
        peer.guarded = guarded
        yield peer


async def forward(stream: _Stream, upstream: _Stream, head: bytes, rest: bytes) -> None:
    """One request, and its answer until the upstream closes."""
    method, target, lines = head.decode().split(" ", 2)
    kept = "\r\n".join(line for line in lines.split("\r\n") if not line.lower().startswith("proxy-"))
    body, _ = await rest_of(stream, head, rest)
    await upstream.send_all(f"{method} {urlsplit(target).path} {kept}".encode() + body)
    while data := await upstream.receive_some(65536):
        await stream.send_all(data)


@asynccontextmanager
async def socks_proxy(*, guarded: bool = False) -> AsyncIterator[Peer]:
    """SOCKS5; `heads` are the hosts that were asked for."""

    async def exactly(stream: _Stream, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := await stream.receive_some(size - len(data))):
            data += piece
        return data

    async def handler(stream: _Stream, peer: Peer) -> None:
        _, count = await exactly(stream, 2)
        methods = await exactly(stream, count)
        method = 2 if guarded else 0
        await stream.send_all(bytes([5, method if method in methods else 0xFF]))
        if method not in methods:
            return
        if guarded:
            _, size = await exactly(stream, 2)
            user = await exactly(stream, size)
            password = await exactly(stream, (await exactly(stream, 1))[0])
            right = (user.decode(), password.decode()) == (USER, PASSWORD)
            await stream.send_all(bytes([1, not right]))
            if not right:
                return
        *_, kind = await exactly(stream, 4)
        if kind == 3:
            host = (await exactly(stream, (await exactly(stream, 1))[0])).decode()
        else:
            host = ".".join(str(part) for part in await exactly(stream, 4))
        peer.heads.append(host)
        port = int.from_bytes(await exactly(stream, 2), "big")
        try:
            upstream = await trio.open_tcp_stream(host, port)
        except OSError:
            await stream.send_all(b"\x05\x05\0\x01\0\0\0\0\0\0")
            return
        async with upstream:
            await stream.send_all(b"\x05\0\0\x03\x04here\0\0")
            await relay(stream, upstream)

    async with serving("socks5", handler) as peer:
        peer.guarded = guarded
        yield peer


# ── real ones ───────────────────────────────────────────────────────────────────────────────────────────────────────

REAL_PASSWORD = "pass-word"  # not every one of them takes another character
REAL_CREDENTIALS = f"{USER}:{REAL_PASSWORD}@"
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(name, path=_PATH), reason=f"{name} is not installed")


@asynccontextmanager
async def program(*command: str | Path, ports: Sequence[int]) -> AsyncIterator[None]:
    """A program that listens on `ports`."""
    path = shutil.which(command[0], path=_PATH)
    assert path
    process = await trio.lowlevel.open_process(
        [path, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(20):
            for port in ports:
                while not await listens(port):
                    assert process.returncode is None, f"{command[0]} ended with {process.returncode}"
                    await trio.sleep(0.02)
        yield
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


async def listens(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await trio.aclose_forcefully(stream)
    return True


@asynccontextmanager
async def tinyproxy(directory: Path) -> AsyncIterator[list[Peer]]:
    async with AsyncExitStack() as stack:
        peers = []
        for guarded in (False, True):
            port, file = free_port(), directory / f"{guarded}.conf"
            lines = [f"Port {port}", "Listen 127.0.0.1", "LogLevel Error", f'LogFile "{directory / "log"}"']
            lines += [f"BasicAuth {USER} {REAL_PASSWORD}"] * guarded
            file.write_text("\n".join(lines) + "\n")
            await stack.enter_async_context(program("tinyproxy", "-d", "-c", file, ports=[port]))
            peers.append(Peer(port, guarded=guarded))
        yield peers


@asynccontextmanager
async def microsocks(directory: Path) -> AsyncIterator[list[Peer]]:
    async with AsyncExitStack() as stack:
        peers = []
        for guarded in (False, True):
            port, who = free_port(), ["-u", USER, "-P", REAL_PASSWORD] * guarded
            command = ["microsocks", "-i", "127.0.0.1", "-p", str(port), *who]
            await stack.enter_async_context(program(*command, ports=[port]))
            peers.append(Peer(port, "socks5", guarded))
        yield peers


@asynccontextmanager
async def squid(directory: Path) -> AsyncIterator[list[Peer]]:
    peers = [Peer(free_port(), scheme, guarded) for guarded in (False, True) for scheme in ("http", "https")]
    certificate, helper = directory / "proxy.pem", directory / "helper"
    CA.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    right = f'"$user $password" = "{USER} {REAL_PASSWORD}"'
    helper.write_text(f"while read user password; do if [ {right} ]; then echo OK; else echo ERR; fi; done\n")
    for file in (certificate, helper):
        file.chmod(0o644)  # it gives up being root
    ports = [
        f"{peer.scheme}_port 127.0.0.1:{peer.port}" + f" tls-cert={certificate}" * (peer.scheme == "https")
        for peer in peers
    ]
    lines = [
        *ports,
        f"auth_param basic program /bin/sh {helper}",
        "auth_param basic children 1",
        f"acl open localport {' '.join(str(peer.port) for peer in peers if not peer.guarded)}",
        "acl known proxy_auth REQUIRED",
        "http_access allow open",
        "http_access allow known",
        "http_access deny all",
        "pid_filename none",
        "access_log none",
        "cache_log /dev/null",
        "cache deny all",
        "pinger_enable off",
        "shutdown_lifetime 0 seconds",
    ]
    (directory / "squid.conf").write_text("\n".join(lines) + "\n")
    async with program("squid", "-N", "-f", directory / "squid.conf", ports=[peer.port for peer in peers]):
        yield peers
