import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers import Line, free_port, upstream
from trioproxy.errors import ProxyError
from trioproxy.http.client import Origin, Pool, Reply, Stale, Timeouts, Unreachable, _Connection, _idle_seconds, _Key
from trioproxy.http.headers import Headers
from trioproxy.http.reach import Reach
from trioproxy.http.wire import SocketWire
from trioproxy.units import Seconds

PATIENT = Timeouts(connect=Seconds(5), first_byte=Seconds(5), between_bytes=Seconds(5))
HASTY = Timeouts(connect=Seconds(0.1), first_byte=Seconds(0.1), between_bytes=Seconds(0.1))

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


async def begin(
    pool: Pool, port: int, *, method: str = "POST", headers: Headers | None = None, timeouts: Timeouts = PATIENT
) -> Reply:
    origin = Origin("http", "127.0.0.1", port)
    return await pool.request(origin, method, "/v1?q", headers or [], name="up", timeouts=timeouts)


async def fetch(
    pool: Pool, port: int, body: bytes = b"", *, method: str = "POST", timeouts: Timeouts = PATIENT
) -> tuple[int, bytes]:
    headers = [(b"content-length", b"%d" % len(body))]
    with await begin(pool, port, method=method, headers=headers, timeouts=timeouts) as reply:
        await reply.end(body)
        return await reply.head(), await reply.read(1_000_000)


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[int]:
    """A server of one's own on a free port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def says(data: bytes) -> Callable[[Line], Awaitable[None]]:
    """An upstream that answers with these very bytes and closes."""

    async def script(line: Line) -> None:
        await line.send(data)
        await line.stream.send_eof()
        await line.closed.wait()

    return script


async def hello(line: Line) -> None:
    await line.whole(b"hello")


# ── the usual course ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sends_what_it_is_told_and_its_own_host(pool: Pool) -> None:
    async with upstream(hello) as up:
        headers: Headers = [(b"x-one", b"1"), (b"transfer-encoding", b"chunked"), (b"x-one", b"2")]
        with await begin(pool, up.port, method="PATCH", headers=headers) as reply:
            await reply.send(b"first ")
            await reply.send(b"second")
            await reply.end()
            assert await reply.head() == 200
            assert await reply.read(100) == b"hello"
            assert reply.received == 5
    (asked,) = up.requests
    assert (asked.method, asked.target, asked.body) == ("PATCH", "/v1?q", b"first second")
    assert asked.header("host") == f"127.0.0.1:{up.port}"
    assert [value for name, value in asked.headers if name == "x-one"] == ["1", "2"]


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin("http", "a.example", 80), "a.example"),
        (Origin("https", "a.example", 443), "a.example"),
        (Origin("https", "a.example", 80), "a.example:80"),
        (Origin("http", "::1", 8080), "[::1]:8080"),
    ],
)
def test_authority(origin: Origin, authority: str) -> None:
    assert origin.authority == authority


async def test_one_connection_serves_one_request_after_the_other(pool: Pool) -> None:
    async with upstream(hello) as up:
        for _ in range(3):
            assert await fetch(pool, up.port, b"body") == (200, b"hello")
    assert (up.connections, len(up.requests)) == (1, 3)


BODILESS = {
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 200),
    "204": ("POST", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304),
}


@pytest.mark.parametrize(("method", "answer", "status"), BODILESS.values(), ids=BODILESS)
async def test_answers_that_have_no_body_end_with_their_head(
    pool: Pool, method: str, answer: bytes, status: int
) -> None:
    async def script(line: Line) -> None:
        await line.send(answer)

    async with upstream(script) as up:
        for _ in range(2):
            assert await fetch(pool, up.port, method=method) == (status, b"")
    assert up.connections == 1


async def test_interim_answers_are_read_past(pool: Pool) -> None:
    async def script(line: Line) -> None:
        await line.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        await line.whole(b"hello")

    async with upstream(script) as up:
        assert await fetch(pool, up.port) == (200, b"hello")


async def test_redirects_are_not_followed(pool: Pool) -> None:
    async with upstream(hello) as elsewhere:

        async def script(line: Line) -> None:
            location = f"location: http://127.0.0.1:{elsewhere.port}/"
            await line.send(f"HTTP/1.1 307 Over There\r\n{location}\r\ncontent-length: 0\r\n\r\n".encode())

        async with upstream(script) as up:
            assert await fetch(pool, up.port) == (307, b"")
    assert elsewhere.connections == 0


async def test_a_body_that_the_end_of_the_connection_ends(pool: Pool) -> None:
    async with upstream(says(b"HTTP/1.0 200 OK\r\n\r\nhello")) as up:
        assert await fetch(pool, up.port) == (200, b"hello")


async def test_an_answer_before_the_request_is_all_sent(pool: Pool) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(10)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await stream.receive_some()

    async with raw_server(handler) as port:
        with await begin(pool, port, headers=[(b"content-length", b"1000000")]) as reply:
            await reply.send(b"x" * 1000)
            assert await reply.head() == 413
            assert await reply.read(100) == b"no"
    assert not any(pool._idle.values())  # half a request is still to come on that connection


async def test_head_may_be_cancelled_and_asked_again(pool: Pool) -> None:
    go_on = trio.Event()

    async def script(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\ncontent-")
        await go_on.wait()
        await line.send(b"length: 2\r\n\r\nok")

    async with upstream(script) as up:
        with await begin(pool, up.port) as reply:
            await reply.end()
            with trio.move_on_after(0.05) as scope:
                await reply.head()
            assert scope.cancelled_caught
            go_on.set()
            assert await reply.head() == 200
            assert await reply.read(10) == b"ok"


async def test_a_field_that_would_split_the_request_is_refused(pool: Pool) -> None:
    async with upstream(hello) as up:
        with pytest.raises(ProxyError) as caught:
            await begin(pool, up.port, headers=[(b"x", b"a\r\nevil: 1")])
        assert caught.value.error.status == 400
    assert not up.requests


# ── answers that are none ───────────────────────────────────────────────────────────────────────────────────────────

BROKEN = {
    "closes at once": (b"", "closed the connection before answering"),
    "closes within the head": (b"HTTP/1.1 200 OK\r\ncontent-le", "closed the connection before answering"),
    "closes after an interim answer": (b"HTTP/1.1 100 Continue\r\n\r\n", "closed the connection before answering"),
    "fewer bytes than said": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "in the middle of its answer"),
    "a chunk cut short": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello",
        "in the middle of its answer",
    ),
    "no last chunk": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "in the middle of its answer",
    ),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP/1.1"),
    "binary": (bytes(range(256)), "does not speak HTTP/1.1"),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "does not speak HTTP/1.1",
    ),
    "a wrong chunk size": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
        "does not speak HTTP/1.1",
    ),
    "another transfer coding": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "does not speak HTTP/1.1"),
    "100 KiB of headers": (
        b"HTTP/1.1 200 OK\r\n" + b"x-filler: 0123456789\r\n" * 5000 + b"content-length: 0\r\n\r\n",
        "does not speak HTTP/1.1",
    ),
    "one header of 2 MiB": (
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2_000_000 + b"\r\ncontent-length: 0\r\n\r\n",
        "does not speak HTTP/1.1",
    ),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "does not speak HTTP/1.1",  # h11 knows that nobody asked for it
    ),
    "interim answers without end": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, "more than 16 interim responses"),
}


@pytest.mark.parametrize(("answer", "message"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_an_error_and_never_an_end(pool: Pool, answer: bytes, message: str) -> None:
    async with upstream(says(answer)) as up:
        with pytest.raises(ProxyError, match=message) as caught:
            await fetch(pool, up.port)
        error = caught.value.error
        assert (error.kind, error.status) == ("upstream", 502)
        assert f"upstream 'up' (http://127.0.0.1:{up.port})" in error.message
    assert not any(pool._idle.values())


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", b"HTTP/1.0 200 OK\r\n\r\nhello"]
)
async def test_a_reset_is_an_error_in_every_phase(pool: Pool, sent: bytes) -> None:
    received = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(sent)
        if sent:
            await received.wait()  # a reset may overtake what was sent
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        stream.socket.close()

    async with raw_server(handler) as port:
        with await begin(pool, port) as reply:
            await reply.end()
            if sent:
                assert await reply.head() == 200
                assert await reply.receive() == b"hello"
            received.set()
            with pytest.raises(ProxyError, match=r"closed the connection .*: connection reset"):
                await (reply.receive() if sent else reply.head())


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "did not answer for 0.1 seconds"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "did not answer for 0.1 seconds"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "sent nothing for 0.1 seconds"),
    ],
)
async def test_silence_is_a_timeout(pool: Pool, sent: bytes, message: str) -> None:
    async def script(line: Line) -> None:
        await line.send(sent)
        await line.closed.wait()

    async with upstream(script) as up:
        with pytest.raises(ProxyError, match=message) as caught:
            await fetch(pool, up.port, timeouts=HASTY)
        assert (caught.value.error.kind, caught.value.error.status) == ("timeout", 504)
        await up.gone.wait()


async def test_an_upstream_that_stops_reading_is_a_timeout(pool: Pool) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with raw_server(handler) as port:
        with pytest.raises(ProxyError, match="stopped reading the request") as caught:
            await fetch(pool, port, bytes(20_000_000), timeouts=HASTY)
        assert caught.value.error.status == 504


async def test_nobody_there(pool: Pool) -> None:
    with pytest.raises(Unreachable, match=r"upstream 'up' .* cannot be reached: Connection refused") as caught:
        await fetch(pool, free_port())
    assert caught.value.error.status == 502


async def test_more_than_the_limit(pool: Pool) -> None:
    async with upstream(hello) as up:
        with await begin(pool, up.port) as reply:
            await reply.end()
            await reply.head()
            with pytest.raises(ProxyError, match="more than 4 bytes"):
                await reply.read(4)


# ── the pool ────────────────────────────────────────────────────────────────────────────────────────────────────────

STRAY = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nSTOLEN"


@pytest.mark.parametrize("stray", [STRAY, b"\r\n", b"x"])
async def test_what_follows_an_answer_is_never_the_next_requests(pool: Pool, stray: bytes) -> None:
    # httpcore 1.0.9 hands the second answer to whoever asks next.
    async def script(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello" + stray)

    async with upstream(script) as up:
        for _ in range(3):
            assert await fetch(pool, up.port) == (200, b"hello")
    assert up.connections == 3


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_stray_answer_behind_many_pieces(pool: Pool, chunked: bool) -> None:
    body = b"x" * 100_000  # more than one read, more than one piece fed to h11

    async def script(line: Line) -> None:
        if chunked:
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            await line.send(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) + STRAY)
        else:
            await line.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body) + STRAY)

    async with upstream(script) as up:
        for _ in range(3):
            assert await fetch(pool, up.port) == (200, body)
    assert up.connections == 3


@pytest.mark.parametrize("stray", [STRAY, b""], ids=["an answer to nobody", "the end"])
async def test_an_idle_connection_with_something_to_read_is_not_used(pool: Pool, stray: bytes) -> None:
    idle, done = trio.Event(), trio.Event()

    async def script(line: Line) -> None:
        await line.whole(b"hello")
        await idle.wait()
        await (line.send(stray) if stray else line.stream.send_eof())
        done.set()

    async with upstream(script) as up:
        assert await fetch(pool, up.port) == (200, b"hello")
        assert any(pool._idle.values())
        idle.set()
        await done.wait()
        assert await fetch(pool, up.port) == (200, b"hello")
    assert up.connections == 2


async def test_a_post_is_not_sent_twice(pool: Pool) -> None:
    async def script(line: Line) -> None:
        if len(up.requests) == 1:
            await line.whole(b"hello")
        else:
            await trio.aclose_forcefully(line.stream)  # as an upstream does whose keep-alive time is just over

    async with upstream(script) as up:
        await fetch(pool, up.port)
        with pytest.raises(Stale, match="closed the connection before answering"):
            await fetch(pool, up.port)
    assert (len(up.requests), up.connections) == (2, 1)


@pytest.mark.parametrize("kept", [False, True], ids=["a new connection", "a kept one"])
@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1."], ids=["nothing", "interim", "half"]
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_stale_is_only_a_kept_connection_that_said_nothing(
    pool: Pool, kept: bool, said: bytes, reset: bool
) -> None:
    heard = trio.Event()

    async def script(line: Line) -> None:
        if kept and len(up.requests) == 1:
            await line.whole(b"hello")
            return
        await line.send(said)
        await heard.wait()  # a reset may overtake what was sent
        if reset:
            line.reset()
        else:
            await line.stream.send_eof()
            await line.closed.wait()

    async with upstream(script) as up:
        if kept:
            await fetch(pool, up.port)
        with await begin(pool, up.port) as reply:
            await reply.end()
            with trio.move_on_after(0.02) as scope:
                await reply.head()  # for as long as it takes to hear what is said
            assert scope.cancelled_caught
            heard.set()
            with pytest.raises(ProxyError, match="closed the connection before answering") as caught:
                await reply.head()
        assert up.connections == 1
    assert isinstance(caught.value, Stale) == (kept and not said)


@pytest.mark.parametrize("field", [b"connection: close", b"keep-alive: timeout=1"])
async def test_a_connection_that_the_upstream_will_close_is_not_kept(pool: Pool, field: bytes) -> None:
    async def script(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\n%s\r\ncontent-length: 0\r\n\r\n" % field)
        await line.closed.wait()

    async with upstream(script) as up:
        await fetch(pool, up.port)
        await up.gone.wait()
        await fetch(pool, up.port)
    assert up.connections == 2


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (None, 30),
        (b"timeout=5", 4),
        (b"max=100, Timeout=10", 9),
        (b"timeout=3600", 30),
        (b"timeout=x", 30),
        (b"timeout=" + b"9" * 5000, 30),
    ],
)
async def test_keep_alive_is_believed(
    pool: Pool, mock_clock: trio.testing.MockClock, field: bytes | None, seconds: float
) -> None:
    headers = [(b"keep-alive", field)] if field else []
    assert _idle_seconds(headers) == seconds

    async def script(line: Line) -> None:
        more = b"keep-alive: %s\r\n" % field if field else b""
        await line.send(b"HTTP/1.1 200 OK\r\n%scontent-length: 0\r\n\r\n" % more)

    timeouts = Timeouts(connect=Seconds(1e6), first_byte=Seconds(1e6), between_bytes=Seconds(1e6))
    async with upstream(script) as up:
        await fetch(pool, up.port, timeouts=timeouts)
        mock_clock.jump(min(seconds - 1, 2))
        await fetch(pool, up.port, timeouts=timeouts)
        assert up.connections == 1
        mock_clock.jump(seconds)
        await fetch(pool, up.port, timeouts=timeouts)
        assert up.connections == 2


async def test_leaving_early_closes_the_connection(pool: Pool) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(b"first")
        await line.closed.wait()

    async with upstream(script) as up:
        with await begin(pool, up.port) as reply:
            await reply.end()
            await reply.head()
            assert await reply.receive() == b"first"
        with trio.fail_after(1):
            await up.gone.wait()
    assert not any(pool._idle.values())


async def test_the_pool_keeps_no_more_than_its_bound(pool: Pool) -> None:
    waiting, all_here = 0, trio.Event()

    async def script(line: Line) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 70:
            all_here.set()
        await all_here.wait()
        await line.whole(b"hello")

    async with upstream(script) as up:
        async with trio.open_nursery() as nursery:
            for _ in range(70):
                nursery.start_soon(fetch, pool, up.port)
        (idle,) = pool._idle.values()
        assert len(idle) == 64
        pool.close()
        with trio.fail_after(2):
            while up.open:
                await trio.testing.wait_all_tasks_blocked()


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CA = trustme.CA()


def trusting(ca: trustme.CA = CA) -> Callable[[], ssl.SSLContext]:
    def context() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ca.configure_trust(context)
        return context

    return context


@asynccontextmanager
async def tls_server(
    script: Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]], name: str = "localhost"
) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(name).configure_cert(context)

    async def handler(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await script(tls)
        except trio.BrokenResourceError:
            pass  # the client did not like our certificate
        finally:
            stream.socket.close()

    async with raw_server(handler) as port:
        yield port


async def fetch_tls(pool: Pool, port: int, timeouts: Timeouts = PATIENT) -> tuple[int, bytes]:
    origin = Origin("https", "localhost", port)
    with await pool.request(origin, "GET", "/", [], name="up", timeouts=timeouts) as reply:
        await reply.end()
        return await reply.head(), await reply.read(1_000_000)


async def answers(stream: trio.SSLStream[trio.SocketStream]) -> None:
    while await stream.receive_some():
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


async def test_tls_and_its_connections_are_kept() -> None:
    connections = 0

    async def script(stream: trio.SSLStream[trio.SocketStream]) -> None:
        nonlocal connections
        connections += 1
        await answers(stream)

    pool = Pool(tls=trusting())
    with trio.fail_after(5):
        async with tls_server(script) as port:
            for _ in range(3):
                assert await fetch_tls(pool, port) == (200, b"hello")
            pool.close()
    assert connections == 1


async def test_tls_a_stray_answer_in_a_record_of_its_own_is_never_the_next_requests() -> None:
    send, sent = trio.open_memory_channel[None](10)

    async def script(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while await stream.receive_some():
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            await stream.send_all(STRAY)
            send.send_nowait(None)

    pool = Pool(tls=trusting())
    with trio.fail_after(5):
        async with tls_server(script) as port:
            for _ in range(3):
                assert await fetch_tls(pool, port) == (200, b"hello")
                await sent.receive()
            pool.close()


@pytest.mark.parametrize(
    ("ca", "name", "message"),
    [
        (trustme.CA(), "localhost", "not trusted: .*issuer"),
        (CA, "other.example", "not trusted: .*[Hh]ostname"),
    ],
    ids=["unknown authority", "another name"],
)
async def test_tls_that_cannot_be_trusted(ca: trustme.CA, name: str, message: str) -> None:
    pool = Pool(tls=trusting(ca))
    with trio.fail_after(5):
        async with tls_server(answers, name) as port:
            with pytest.raises(ProxyError, match=message) as caught:
                await fetch_tls(pool, port)
    assert caught.value.error.status == 502


async def test_tls_where_there_is_none() -> None:
    async with raw_server(lambda stream: stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        with trio.fail_after(5), pytest.raises(ProxyError, match="cannot be reached: TLS failed: "):
            await fetch_tls(Pool(tls=trusting()), port)


async def test_tls_handshake_without_end() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with raw_server(handler) as port:
        with (
            trio.fail_after(5),
            pytest.raises(ProxyError, match=r"did not accept a connection within 0\.1 s") as caught,
        ):
            await fetch_tls(Pool(tls=trusting()), port, HASTY)
    assert caught.value.error.status == 504
    gc.collect()  # a socket that was forgotten would warn here


# ── anything at all ─────────────────────────────────────────────────────────────────────────────────────────────────

LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 204 No\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 999 \xff\r\n",
        b"content-length: 5\r\n",
        b"content-length: 99999999999999999999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"connection: close\r\n",
        b"\r\n",
        b"\n",
        b"5\r\nhello\r\n",
        b"0\r\n",
        b"fffffffffffffffff\r\n",
        b"hello",
    ]
)


@given(
    pieces=st.lists(LINES | st.binary(max_size=20), max_size=12),
    ends=st.sampled_from(["end", "reset"]),
    method=st.sampled_from(["GET", "HEAD"]),
)
@settings(max_examples=150, deadline=None)
async def test_any_bytes_are_an_answer_or_an_error(pieces: list[bytes], ends: str, method: str) -> None:
    statuses: list[int] = []
    near, far = socket.socketpair()
    far.sendall(b"".join(pieces))
    if ends == "end":
        far.shutdown(socket.SHUT_WR)
    else:
        far.close()  # with our request unread: a reset
    reply = Reply(Pool(), _Key(Origin("http", "x", 80), Reach()), _Connection(SocketWire(near)), "up", PATIENT)
    try:
        with trio.fail_after(5), reply:
            await reply.begin(method, "/", [(b"host", b"x")])
            await reply.end()
            statuses.append(await reply.head())
            await reply.read(1_000_000)
    except ProxyError as exc:
        statuses.append(exc.error.status)
    finally:
        near.close()
        far.close()
    assert all(200 <= status < 1000 for status in statuses)
