import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioproxy.errors import ProxyError
from trioproxy.http.incoming import ClientConnection, Incoming, Malformed
from trioproxy.http.limits import Limits
from trioproxy.http.wire import Gone, SocketWire
from trioproxy.units import Seconds, Size


@dataclass
class Peer:
    """The client's end of a connection, and the server's."""

    client: trio.SocketStream
    connection: ClientConnection

    async def next(self, data: bytes = b"") -> Incoming:
        if data:
            await self.client.send_all(data)
        incoming = await self.connection.next_request()
        assert incoming is not None
        return incoming

    async def rest(self) -> bytes:
        """Everything the server still sends, up to its end."""
        self.connection.wire.close()
        return await read_all(self.client)


async def read_all(stream: trio.SocketStream) -> bytes:
    return b"".join([bytes(piece) async for piece in stream])


@asynccontextmanager
async def connected(limits: Limits | None = None) -> AsyncIterator[Peer]:
    near, far = socket.socketpair()
    near.setblocking(False)
    client = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    wire = SocketWire(far)
    try:
        yield Peer(client, ClientConnection(wire, limits or Limits()))
    finally:
        client.socket.close()
        wire.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# ── heads ───────────────────────────────────────────────────────────────────────────────────────────────────────────

MALFORMED = {
    "length and chunked": (400, POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    "chunked and length": (400, POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, POST + CHUNKED * 2 + b"\r\n0\r\n\r\n"),
    "gzip, chunked": (400, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked, identity": (400, POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    "xchunked": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "chunked behind a vertical tab": (400, POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nHost: x\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    "a space before the colon": (400, POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    "the same length twice": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "two lengths in one field": (400, POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    "length +5": (400, POST + b"Content-Length: +5\r\n\r\nhello"),
    "length -5": (400, POST + b"Content-Length: -5\r\n\r\nhello"),
    "length 0x5": (400, POST + b"Content-Length: 0x5\r\n\r\nhello"),
    "length 1_0": (400, POST + b"Content-Length: 1_0\r\n\r\nhello"),
    "an empty length": (400, POST + b"Content-Length: \r\n\r\n"),
    "length 5 behind a non-breaking space": (400, POST + b"Content-Length: \xa05\r\n\r\nhello"),
    "length of 16 digits": (400, POST + b"Content-Length: 0000000000000005\r\n\r\nhello"),
    "length beyond 64 bits": (400, POST + b"Content-Length: 18446744073709551621\r\n\r\nhello"),
    "a folded line": (400, POST + b"X: 1\r\n 2\r\n\r\n"),
    "a line folded with a tab": (400, POST + b"X: 1\r\n\t2\r\n\r\n"),
    "a folded first line": (400, b"GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
    "a bare CR": (400, POST + b"X: 1\rContent-Length: 5\r\n\r\n"),
    "a bare LF": (400, POST + b"X: 1\nContent-Length: 5\r\n\r\n"),
    "bare LF throughout": (400, b"GET / HTTP/1.1\nHost: x\n\n"),
    "a NUL": (400, POST + b"X: 1\x002\r\n\r\n"),
    "a NUL in the target": (400, b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a control byte": (400, POST + b"X: 1\x082\r\n\r\n"),
    "an empty name": (400, POST + b": 1\r\n\r\n"),
    "no colon": (400, POST + b"X\r\n\r\n"),
    "a name of two words": (400, POST + b"X Y: 1\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    "Host with a path": (400, b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    "Host with a user": (400, b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n"),
    "Host with a huge port": (400, b"GET / HTTP/1.1\r\nHost: x:99999999\r\n\r\n"),
    "Host in latin-1": (400, b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    "HTTP/1.2": (505, b"GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "HTTP/2's preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, bytes.fromhex("16030100f8010000f4030300") + b"\r\n\r\n"),
    "CONNECT": (501, b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"),
    "TRACE": (501, b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a method in lower case": (501, b"get / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a long method": (501, b"A" * 40 + b" / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a relative target": (400, b"GET v1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "target *": (400, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    "target @host": (400, b"GET @evil/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    "target with dots": (400, b"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "another expectation": (417, POST + b"Expect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    "a body over the bound": (413, POST + b"Content-Length: 67108865\r\n\r\n"),
    "a head over the bound": (431, GET[:-2] + b"X: " + b"y" * 65536 + b"\r\n\r\n"),
    "a head over the bound without end": (431, GET[:-2] + b"X: " + b"y" * 65536),
    "a target over the bound": (431, b"GET /" + b"y" * 65536),
    "101 lines": (431, GET[:-2] + b"X: 1\r\n" * 100 + b"\r\n"),
}


@pytest.mark.parametrize(("status", "data"), MALFORMED.values(), ids=MALFORMED)
async def test_what_is_malformed_or_ambiguous_is_refused(status: int, data: bytes) -> None:
    async with connected() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(peer.client.send_all, data)
        with pytest.raises(Malformed) as caught:
            await peer.connection.next_request()
        assert caught.value.status == status
        # Nothing behind a refused request is ever read as another one.
        nursery.start_soon(peer.connection.refuse, status, [], b"no")
        with trio.fail_after(1):
            answer = bytes(await peer.client.receive_some())
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert answer.lower().endswith(b"connection: close\r\n\r\nno")
            assert await read_all(peer.client) == b""
        await peer.client.aclose()


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nx-api-key : sk-secret\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer sk-secret\r\n\r\n",
        b"POST /?key=sk-secret HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"POST /?key=sk-secret#a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /../?key=sk-secret HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: sk-secret@x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: sk-secret\r\n\r\n",
    ],
)
async def test_a_refusal_does_not_quote_what_may_be_a_secret(head: bytes) -> None:
    # It ends up in the log.
    async with connected() as peer:
        await peer.client.send_all(head)
        with pytest.raises(Malformed) as caught:
            await peer.connection.next_request()
        assert "sk-secret" not in str(caught.value)


async def test_a_head_may_fill_its_bounds() -> None:
    async with connected() as peer, trio.open_nursery() as nursery:
        filler = 64 * 1024 - len(GET) - len("X: \r\n")
        nursery.start_soon(peer.client.send_all, GET[:-2] + b"X: " + b"y" * filler + b"\r\n\r\n")
        assert len((await peer.next()).headers[1][1]) == filler
    async with connected() as peer:
        assert len((await peer.next(GET[:-2] + b"X: 1\r\n" * 99 + b"\r\n")).headers) == 100


async def test_what_a_request_says() -> None:
    async with connected() as peer:
        data = b"PUT http://Example.com:80/a%20b?c HTTP/1.1\r\nHost: Other\r\nX-One: 1 \r\nx-one: \xe9\r\n\r\n"
        incoming = await peer.next(data)
        assert (incoming.method, str(incoming.target), incoming.host) == ("PUT", "/a%20b?c", "Example.com:80")
        assert incoming.headers == [(b"host", b"Other"), (b"x-one", b"1"), (b"x-one", b"\xe9")]
        assert (incoming.has_body, incoming.length) == (False, 0)


async def test_an_empty_line_before_a_request_is_skipped() -> None:
    async with connected() as peer:
        assert (await peer.next(b"\r\n" + GET)).method == "GET"


@settings(deadline=None, max_examples=30)
@given(at=st.lists(st.integers(0, 150), max_size=6))
async def test_requests_are_the_same_wherever_the_bytes_are_cut(at: list[int]) -> None:
    data = (
        GET + POST + b"Content-Length: 5\r\n\r\nhello" + POST + CHUNKED + b"\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + GET
    )

    async def send(stream: trio.SocketStream) -> None:
        edges = [0, *sorted(each % len(data) for each in at), len(data)]
        for start, end in pairwise(edges):
            await stream.send_all(data[start:end])
            await trio.testing.wait_all_tasks_blocked()  # so that each piece is a read of its own

    async with connected() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(send, peer.client)
        got = []
        for _ in range(4):
            incoming = await peer.next()
            got.append((incoming.method, await incoming.body()))
            await incoming.respond(200, [], b"")
            assert await incoming.conclude()
        assert got == [("GET", b""), ("POST", b"hello"), ("POST", b"abcde"), ("GET", b"")]


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

BAD_BODIES = {
    "a size that is none": (400, b"xyz\r\n"),
    "a size with 0x": (400, b"0x3\r\nabc\r\n0\r\n\r\n"),
    "bare LF": (400, b"3\nabc\n0\n\n"),
    "bare CR in an extension": (400, b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "a chunk longer than its size": (400, b"3\r\nabcd\r\n0\r\n\r\n"),
    "a request for a trailer": (400, b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    "a chunk over the bound": (413, b"fffffff\r\n"),
    "chunks that are over the bound together": (413, b"3\r\nabc\r\n" * 4),
}


@pytest.mark.parametrize(("status", "body"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_bad_chunked_body(status: int, body: bytes) -> None:
    async with connected(Limits(body=Size(10))) as peer:
        incoming = await peer.next(POST + CHUNKED + b"\r\n" + body)
        with pytest.raises(ProxyError) as caught:
            await incoming.body()
        assert caught.value.error.status == status
        await incoming.respond(status, [], b"no")
        await peer.client.aclose()
        assert not await incoming.conclude()


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\nabc", CHUNKED + b"\r\n5\r\nabc"])
async def test_a_client_that_leaves_within_its_body(framing: bytes) -> None:
    async with connected() as peer:
        incoming = await peer.next(POST + framing)
        await peer.client.send_eof()
        with pytest.raises(Gone):
            await incoming.body()
        assert incoming.left


async def test_trailers_are_read_and_forgotten() -> None:
    async with connected() as peer:
        incoming = await peer.next(POST + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        assert await incoming.body() == b"abc"
        assert incoming.length is None
        assert incoming.received == 3


async def test_continue_is_said_when_the_body_is_wanted_and_not_before() -> None:
    async with connected() as peer:
        incoming = await peer.next(POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def client() -> None:
                assert await peer.client.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
                await peer.client.send_all(b"hello")

            nursery.start_soon(client)
            assert await incoming.body() == b"hello"
        await incoming.respond(200, [], b"")
        assert await incoming.conclude()
        # And a request that is refused unseen gets its answer alone.
        incoming = await peer.next(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await incoming.respond(403, [], b"")
        assert b"100 Continue" not in await peer.rest()


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_head_that_takes_too_long(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as peer, trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in GET:
                await peer.client.send_all(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(drip)
        with pytest.raises(Malformed) as caught:
            await peer.connection.next_request()
        assert caught.value.status == 408
        assert trio.current_time() == pytest.approx(autojump_start + 15, abs=0.1)
        nursery.cancel_scope.cancel()


autojump_start = 0.0  # where the mock clock begins


@pytest.mark.parametrize(("served", "seconds"), [(False, 15), (True, 75)])
async def test_an_idle_connection_ends_without_a_word(
    autojump_clock: trio.testing.MockClock, served: bool, seconds: float
) -> None:
    async with connected() as peer:
        if served:
            incoming = await peer.next(GET)
            await incoming.respond(200, [], b"")
            assert await incoming.conclude()
            await peer.client.receive_some()
        began = trio.current_time()
        assert await peer.connection.next_request() is None
        assert trio.current_time() - began == pytest.approx(seconds)
        assert await peer.rest() == b""


@pytest.mark.parametrize(
    ("pause", "limits"),
    [(1000, Limits(body_timeout=Seconds(60))), (10, Limits(body_total=Seconds(60)))],
    ids=["silence", "one byte now and then"],
)
async def test_a_body_that_takes_too_long(autojump_clock: trio.testing.MockClock, pause: float, limits: Limits) -> None:
    async with connected(limits) as peer, trio.open_nursery() as nursery:

        async def drip() -> None:
            for _ in range(100):
                await trio.sleep(pause)
                await peer.client.send_all(b"x")

        incoming = await peer.next(POST + b"Content-Length: 100\r\n\r\n")
        nursery.start_soon(drip)
        began = trio.current_time()
        with pytest.raises(ProxyError) as caught:
            await incoming.body()
        assert (caught.value.error.status, caught.value.error.kind) == (408, "timeout")
        assert trio.current_time() - began == pytest.approx(60, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_a_client_that_takes_no_byte_is_taken_for_gone(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as peer:
        incoming = await peer.next(GET)
        incoming.begin(200, [])
        with pytest.raises(Gone):
            await incoming.send(bytes(10_000_000))
        assert incoming.left
        assert trio.current_time() == pytest.approx(300, abs=1)


# ── leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_gone_returns_when_the_client_leaves_and_keeps_what_it_sent() -> None:
    async with connected() as peer, trio.open_nursery() as nursery:
        incoming = await peer.next(GET)
        nursery.start_soon(incoming.gone)
        await peer.client.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        assert not incoming.left
        assert peer.connection.buffer == GET
        await peer.client.send_eof()
    assert incoming.left


async def test_a_client_that_pipelines_without_end_fills_no_memory() -> None:
    async with connected() as peer, trio.open_nursery() as nursery:
        incoming = await peer.next(GET)
        nursery.start_soon(incoming.gone)
        with trio.move_on_after(0.2) as scope:
            await peer.client.send_all(bytes(10_000_000))
        assert scope.cancelled_caught
        assert len(peer.connection.buffer) < 256 * 1024
        nursery.cancel_scope.cancel()


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_is_chunked_and_its_head_leaves_with_the_first_bytes() -> None:
    async with connected() as peer:
        incoming = await peer.next(GET)
        incoming.begin(200, [(b"content-type", b"text/event-stream")])
        await trio.testing.wait_all_tasks_blocked()
        await incoming.send(b"one")
        first = bytes(await peer.client.receive_some())
        assert first.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        assert first.lower().endswith(b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await incoming.finish(b"two")
        assert (incoming.complete, incoming.sent) == (True, 6)
        assert await incoming.conclude()
        assert await peer.rest() == b"3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(status: int) -> None:
    async with connected() as peer:
        incoming = await peer.next(GET)
        incoming.begin(status, [])
        await incoming.send(b"")
        await incoming.finish()
        assert await incoming.conclude()
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.endswith(b"\r\n\r\n")
        assert b"chunked" not in answer.lower()


async def test_head_gets_a_head() -> None:
    async with connected() as peer:
        incoming = await peer.next(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        await incoming.respond(200, [], b"hello")
        assert incoming.sent == 0
        assert await incoming.conclude()
        assert await peer.rest() == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


async def test_http_1_0_gets_a_body_that_the_end_of_the_connection_ends() -> None:
    async with connected() as peer:
        incoming = await peer.next(b"GET / HTTP/1.0\r\n\r\n")
        incoming.begin(200, [])
        await incoming.send(b"one")
        await incoming.finish(b"two")
        assert not await incoming.conclude()
        head, _, body = (await read_all(peer.client)).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert body == b"onetwo"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_that_is_broken_off_cannot_pass_for_whole(version: bytes) -> None:
    # Over TCP, as a Unix socket has no reset.
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = await trio.open_tcp_stream("127.0.0.1", server.getsockname()[1])
        wire = SocketWire(server.accept()[0])
    async with client:
        connection = ClientConnection(wire, Limits())
        await client.send_all(b"GET / HTTP/%s\r\nHost: x\r\n\r\n" % version)
        incoming = await connection.next_request()
        assert incoming
        incoming.begin(200, [])
        await incoming.send(b"one")
        assert (await client.receive_some()).rstrip().endswith(b"one")
        assert not await incoming.conclude()
        if version == b"1.1":
            assert await client.receive_some() == b""  # and no last chunk before it
        else:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        POST + b"Content-Length: 5\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ],
    ids=["asked to", "body not read", "body not asked for"],
)
async def test_who_closes_says_so(request_head: bytes) -> None:
    async with connected() as peer, trio.open_nursery() as nursery:
        incoming = await peer.next(request_head)
        await incoming.respond(403, [], b"no")

        async def client() -> None:
            assert b"\r\nconnection: close\r\n" in (await read_all(peer.client)).lower()
            await peer.client.aclose()

        nursery.start_soon(client)
        with trio.fail_after(1):
            assert not await incoming.conclude()


async def test_a_request_without_a_body_need_not_be_read_to_go_on() -> None:
    async with connected() as peer:
        incoming = await peer.next(GET + GET)
        await incoming.respond(404, [], b"no")
        assert await incoming.conclude()
        assert (await peer.next()).method == "GET"


async def test_upgrades_are_not_done() -> None:
    async with connected() as peer:
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
        incoming = await peer.next(b"GET / HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n" + GET)
        assert await incoming.body() == b""
        await incoming.respond(200, [], b"")
        assert await incoming.conclude()
        assert (await peer.next()).method == "GET"


# ── anything at all ─────────────────────────────────────────────────────────────────────────────────────────────────

LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /v1/messages HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n",
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        CHUNKED,
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"hello",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ]
)


@given(pieces=st.lists(LINES | st.binary(max_size=12), max_size=16), read=st.booleans())
@settings(max_examples=300, deadline=None)
async def test_any_bytes_are_requests_or_refusals(pieces: Sequence[bytes], read: bool) -> None:
    statuses: list[int] = []
    async with connected() as peer:
        await peer.client.send_all(b"".join(pieces))
        await peer.client.send_eof()
        with trio.fail_after(5):
            try:
                while incoming := await peer.connection.next_request():
                    if read:
                        await incoming.body()
                    await incoming.respond(200, [], b"ok")
                    if not await incoming.conclude():
                        return
            except Malformed as exc:
                statuses.append(exc.status)
                await peer.connection.refuse(exc.status, [], b"no")
            except ProxyError as exc:
                statuses.append(exc.error.status)
            except Gone:
                pass
    assert all(400 <= status <= 505 for status in statuses)
