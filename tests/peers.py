"""The two neighbours of the proxy, for tests over real sockets: an upstream that does what a script says, and a client.

async with upstream(script) as up, proxy(up.toml()) as port:
    answer = await ask(port, body=b'{"stream": true}')
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h11
import trio

from tests import told
from trioproxy import config
from trioproxy.http.listen import Address, Listen, Listener, open_listeners
from trioproxy.http.server import Server
from trioproxy.proxy import Proxy
from trioproxy.store.vault import open_vault


@dataclass
class Asked:
    """A request as the upstream got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass
class Line:
    """The upstream's end of one connection: raw bytes to the proxy, and what became of it."""

    stream: trio.SocketStream
    asked: Asked
    closed: trio.Event  # set when the proxy has closed or reset the connection

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def head(self, kind: str = "text/event-stream", status: int = 200, *extra: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {kind}", "transfer-encoding: chunked", *extra]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        """Close the connection as a crash does. The script must return then."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.stream.socket.close()
        self.closed.set()

    async def whole(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        head = f"HTTP/1.1 {status} Whatever\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)


Script = Callable[[Line], Awaitable[None]]


@dataclass
class Upstream:
    port: int
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    gone: trio.Event = field(default_factory=trio.Event)  # set when the proxy leaves while a script still runs

    def toml(self, more: str = "", upstream: str = "") -> str:
        """A configuration that sends everything here; `more` goes in front, `upstream` into the upstream's table."""
        return f"""{more}
[upstreams.up]
url = "http://127.0.0.1:{self.port}"
dialect = "anthropic"
{upstream}
"""


@asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[Upstream]:
    """An upstream on a free port. `script` answers each request; cancelled when the proxy closes the connection."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        up = Upstream(listeners[0].socket.getsockname()[1])

        async def serve(stream: trio.SocketStream) -> None:
            up.connections += 1
            up.open += 1
            try:
                await _serve(stream, script, up)
            finally:
                up.open -= 1
                await trio.aclose_forcefully(stream)

        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield up
        nursery.cancel_scope.cancel()


async def _serve(stream: trio.SocketStream, script: Script, up: Upstream) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
    while True:
        asked = await _read(stream, connection)
        if asked is None:
            return
        up.requests.append(asked)
        line = Line(stream, asked, trio.Event())

        async with trio.open_nursery() as nursery:

            async def watch(line: Line = line, scope: trio.CancelScope = nursery.cancel_scope) -> None:
                try:
                    # Only a look: the next request may be here while the script still returns.
                    if await line.stream.socket.recv(1, socket.MSG_PEEK):
                        return
                except (OSError, trio.ClosedResourceError):
                    pass  # reset, by the proxy or the script
                line.closed.set()
                up.gone.set()
                scope.cancel()

            nursery.start_soon(watch)
            try:
                await script(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                line.closed.set()
                up.gone.set()
            nursery.cancel_scope.cancel()
        if line.closed.is_set():
            return
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)


async def _read(stream: trio.SocketStream, connection: h11.Connection) -> Asked | None:
    asked = None
    while True:
        try:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
                continue
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            return None  # the proxy left within the request, as its client did
        if isinstance(event, h11.Request):
            headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
            asked = Asked(event.method.decode(), event.target.decode(), headers)
        elif isinstance(event, h11.Data):
            assert asked
            asked.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return asked
        else:
            return None


@asynccontextmanager
async def proxy(toml: str, *, directory: Path | None = None) -> AsyncIterator[int]:
    """The proxy itself, in this process, on a free port: its number."""
    told.now.serves(toml)
    loaded = config.read(toml, (directory or Path()) / "stages.toml", {})
    async with running(loaded, [Address("127.0.0.1:0")]) as (listeners, _):
        yield int(listeners[0].address.rpartition(":")[2])


@asynccontextmanager
async def running(loaded: config.Config, addresses: list[Address]) -> AsyncIterator[tuple[list[Listener], Server]]:
    """A configuration served on `addresses`."""
    told.now.loads(loaded)
    async with open_vault(loaded.store, loaded.directory) as vault:
        listeners = await open_listeners([Listen(address) for address in addresses])
        answering = Proxy(loaded, vault)
        server = Server(answering.handle, answering.refusal, loaded.limits, loaded.trusted)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve, listeners)
                yield listeners, server
                nursery.cancel_scope.cancel()
        finally:
            answering.close()


@dataclass
class Answer:
    """A response as the client got it. `complete` is False if the connection broke before its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool
    interim: list[int] = field(default_factory=list)


async def connect(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


def request(
    body: bytes = b"", *, method: str = "POST", path: str = "/v1/messages", headers: tuple[str, ...] = ()
) -> bytes:
    """The bytes of a request as clients send them."""
    told.now.asks(headers)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def ask(
    port: int,
    body: bytes = b"{}",
    *,
    method: str = "POST",
    path: str = "/v1/messages",
    headers: tuple[str, ...] = (),
) -> Answer:
    """One request on a connection of its own."""
    async with await connect(port) as stream:
        await stream.send_all(request(body, method=method, path=path, headers=headers))
        return await answer(stream, method=method)


async def exchange(port: int, data: bytes, *, method: str = "POST") -> Answer:
    """Send these very bytes, and read one answer."""
    async with await connect(port) as stream:
        await stream.send_all(data)
        return await answer(stream, method=method)


async def answer(stream: trio.SocketStream, *, method: str = "POST") -> Answer:
    """Read one response. A broken one is given as far as it came; none at all has status 0."""
    got = await _answer(stream, method)
    told.now.says("the header of an answer", str(got.headers))
    told.now.says("the body of an answer", got.body)
    return got


async def _answer(stream: trio.SocketStream, method: str) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1024 * 1024)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    got = Answer(0, {}, b"", complete=False)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return got
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive_some(65536))
            except trio.BrokenResourceError:
                return got
        elif isinstance(event, h11.InformationalResponse):
            got.interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            got.status = event.status_code
            got.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            got.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            got.complete = True
            return got
        else:
            return got


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
