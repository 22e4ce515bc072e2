"""Reaching an upstream every way there is, through proxies of ours and real ones."""

from __future__ import annotations

import gc
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from tests.http import proxies
from tests.http.proxies import CREDENTIALS, PIECES, REAL_CREDENTIALS, Origin, Peer, needs, origin, server_tls, trusting
from tests.peers import free_port
from trioproxy.http import client
from trioproxy.http.client import Pool, Timeouts, Unreachable
from trioproxy.http.headers import Headers
from trioproxy.http.reach import Proxy, Reach
from trioproxy.units import Seconds

PATIENT = Timeouts(connect=Seconds(10), first_byte=Seconds(10), between_bytes=Seconds(10))
BODY = b"x" * 200_000
HASTY = Timeouts(connect=Seconds(0.2), first_byte=Seconds(5), between_bytes=Seconds(5))


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(tls=trusting())
    yield pool
    pool.close()


def origin_at(up: Origin) -> client.Origin:
    return client.Origin(up.peer.scheme, "localhost", up.peer.port)


async def streams(pool: Pool, up: Origin, reach: Reach) -> None:
    """One request, each piece of whose answer is sent when the one before has come."""
    where = origin_at(up)
    with trio.fail_after(20):
        length: Headers = [(b"content-length", b"%d" % len(BODY))]
        with await pool.request(where, "POST", "/v1/x", length, name="up", timeouts=PATIENT, reach=reach) as reply:
            await reply.end(BODY)
            for piece in PIECES:
                up.go_on()
                assert await reply.head() == 200
                assert await reply.receive() == piece
            assert await reply.receive() == b""


async def fails(pool: Pool, where: client.Origin, reach: Reach, timeouts: Timeouts = PATIENT) -> tuple[str, int]:
    """What is said about a request that cannot be sent."""

    async def ask() -> None:
        with await pool.request(where, "GET", "/", [], name="up", timeouts=timeouts, reach=reach) as reply:
            await reply.end()
            await reply.head()

    with trio.fail_after(20), pytest.raises(Unreachable) as caught:
        await ask()
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "pass" not in shown
    assert "wrong" not in shown
    return caught.value.error.message, caught.value.error.status


async def test_what_can_be_no_name_cannot_be_reached(pool: Pool) -> None:
    message, status = await fails(pool, client.Origin("http", ".lan", 1), Reach())
    assert message.startswith("upstream 'up' (http://.lan:1) cannot be reached: ")
    assert "label" in message
    assert status == 502


# ── every way, streaming, with TLS and without ──────────────────────────────────────────────────────────────────────

Ways = Callable[[Path], AbstractAsyncContextManager[list[Peer]]]


@asynccontextmanager
async def ours(directory: Path) -> AsyncIterator[list[Peer]]:
    async with AsyncExitStack() as stack:
        peers = []
        for guarded in (False, True):
            peers.append(await stack.enter_async_context(proxies.http_proxy(guarded=guarded)))
            peers.append(await stack.enter_async_context(proxies.http_proxy(guarded=guarded, tls=True)))
            peers.append(await stack.enter_async_context(proxies.socks_proxy(guarded=guarded)))
        yield peers


WAYS = {
    "ours": pytest.param(ours, CREDENTIALS),
    "tinyproxy": pytest.param(proxies.tinyproxy, REAL_CREDENTIALS, marks=needs("tinyproxy")),
    "microsocks": pytest.param(proxies.microsocks, REAL_CREDENTIALS, marks=needs("microsocks")),
    "squid": pytest.param(proxies.squid, REAL_CREDENTIALS, marks=needs("squid")),
}


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that a program may look into that is another user than we."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.mark.parametrize(("ways", "credentials"), WAYS.values(), ids=WAYS)
async def test_every_proxy(pool: Pool, directory: Path, ways: Ways, credentials: str) -> None:
    async with ways(directory) as peers:
        for peer in peers:
            who = credentials if peer.guarded else ""
            await it_streams(pool, peer, who)
            await it_says_that_it_cannot_reach(pool, peer, who)
            if peer.guarded:
                await it_refuses(pool, peer)


async def it_streams(pool: Pool, peer: Peer, who: str) -> None:
    for tls in (None, server_tls()):
        async with origin(tls) as up:
            for _ in range(2):
                await streams(pool, up, Reach(proxy=Proxy.read(peer.url_for(who))))
            assert [head.split(" ", 2)[1] for head in up.peer.heads] == ["/v1/x"] * 2
            for head in up.peer.heads:
                assert f"host: localhost:{up.peer.port}\r\n" in head.lower()
                assert "authorization" not in head.lower()
            assert up.peer.received == 2 * len(BODY)
            if tls or peer.scheme == "socks5":
                assert up.peer.connections == 1


async def it_says_that_it_cannot_reach(pool: Pool, peer: Peer, who: str) -> None:
    nobody = client.Origin("https", "localhost", free_port())
    message, status = await fails(pool, nobody, Reach(proxy=Proxy.read(peer.url_for(who))))
    assert message.startswith(f"upstream 'up' ({nobody}) cannot be reached: the proxy {peer.url} answered ")
    assert status == 502


async def it_refuses(pool: Pool, peer: Peer) -> None:
    async with origin() as plain, origin(server_tls()) as secure:
        for up, wrong in (
            (plain, ""),  # tinyproxy answers wrong ones with 401 here, which might as well be the upstream's
            (secure, ""),
            (secure, "me:wrong@"),
            (secure, "wrong:pass-word@"),
        ):
            message, status = await fails(pool, origin_at(up), Reach(proxy=Proxy.read(peer.url_for(wrong))))
            assert message.partition(f"cannot be reached: the proxy {peer.url} ")[2] in REFUSED
            assert status == 502
    assert plain.peer.connections == secure.peer.connections == 0


REFUSED = {
    "answered 407 (it wants other credentials)",
    "answered 401 (it wants other credentials)",  # tinyproxy, when it is shown wrong ones
    "wants other credentials",
}


# ── a proxy that is none ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_a_proxy_that_is_down(pool: Pool, scheme: str) -> None:
    port = free_port()
    reach = Reach(proxy=Proxy.read(f"{scheme}://{REAL_CREDENTIALS}localhost:{port}"))
    for origin_scheme in ("http", "https"):
        where = client.Origin(origin_scheme, "localhost", 1)
        cannot = f"upstream 'up' ({where}) cannot be reached: the proxy {scheme}://localhost:{port}: Connection refused"
        assert await fails(pool, where, reach) == (cannot, 502)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_a_proxy_that_hangs(pool: Pool, scheme: str) -> None:
    async def handler(stream: trio.abc.Stream, peer: Peer) -> None:
        while await stream.receive_some():
            pass

    async with proxies.serving(scheme, handler) as peer:
        where = client.Origin("https", "localhost", 1)
        message, status = await fails(pool, where, Reach(proxy=Proxy.read(peer.url)), HASTY)
        assert message.endswith(f"did not accept a connection within 0.2 seconds through the proxy {peer.url}")
        assert status == 504
        await closed(peer)


@pytest.mark.parametrize("bytes_first", [0, 1, 5, 50])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_cancelled_in_the_middle_it_leaves_no_socket(pool: Pool, scheme: str, bytes_first: int) -> None:
    """In whatever phase: each is cut off when the proxy has heard so many bytes."""
    heard = trio.Event()

    async def handler(stream: trio.abc.Stream, peer: Peer) -> None:
        size = 0
        while data := await stream.receive_some(1):
            size += len(data)
            if size == bytes_first:
                heard.set()
            elif scheme == "socks5" and size in (3, 4):
                await stream.send_all(b"\x05\0" if size == 3 else b"")

    async with proxies.serving(scheme, handler) as peer:
        reach = Reach(proxy=Proxy.read(peer.url))
        async with trio.open_nursery() as nursery:
            where = client.Origin("https", "some.example", 1)

            async def ask() -> None:
                await pool.request(where, "GET", "/", [], name="up", timeouts=PATIENT, reach=reach)

            nursery.start_soon(ask)
            with trio.move_on_after(0.1 if bytes_first else 0):
                await heard.wait()
            nursery.cancel_scope.cancel()
        await closed(peer)


async def closed(peer: Peer) -> None:
    """Every connection to the peer is closed, be it by us or because we never made it."""
    gc.collect()  # a socket that was forgotten would warn here
    with trio.fail_after(5):
        while peer.open:  # noqa: ASYNC110  # it is told by another task
            await trio.sleep(0.001)


async def test_a_proxy_whose_certificate_is_not_trusted() -> None:
    pool = Pool(tls=trusting(trustme.CA()))
    async with proxies.http_proxy(tls=True) as proxy, origin() as up:
        message, _ = await fails(pool, origin_at(up), Reach(proxy=Proxy.read(proxy.url), insecure=True))
        assert f"cannot be reached: the proxy {proxy.url} has a certificate that is not trusted: " in message
        assert not proxy.heads


async def test_an_upstream_behind_a_proxy_whose_certificate_is_not_trusted() -> None:
    pool = Pool(tls=trusting())
    async with proxies.http_proxy() as proxy, origin(server_tls("other.example")) as up:
        message, _ = await fails(pool, origin_at(up), Reach(proxy=Proxy.read(proxy.url)))
        assert f"({origin_at(up)}) has a certificate that is not trusted: " in message


async def test_tls_that_fails_behind_a_proxy(pool: Pool) -> None:
    async def handler(stream: trio.abc.Stream, peer: Peer) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with proxies.http_proxy() as proxy, proxies.serving("http", handler) as up:
        where = client.Origin("https", "localhost", up.port)
        message, _ = await fails(pool, where, Reach(proxy=Proxy.read(proxy.url)))
        assert f"cannot be reached through the proxy {proxy.url}: " in message


# ── what is kept for the next request ───────────────────────────────────────────────────────────────────────────────


async def test_connections_that_were_made_another_way_are_not_used(pool: Pool) -> None:
    async with proxies.http_proxy() as one, proxies.http_proxy() as two, origin(server_tls()) as up:
        for _ in range(2):
            for reach in (Reach(), Reach(proxy=Proxy.read(one.url)), Reach(proxy=Proxy.read(two.url))):
                await streams(pool, up, reach)
        assert (one.connections, two.connections, up.peer.connections) == (1, 1, 3)


async def test_a_stray_answer_in_tls_within_tls_is_never_the_next_requests(pool: Pool) -> None:
    async def handler(stream: trio.abc.Stream, peer: Peer) -> None:
        while (await proxies.until(stream, b"\r\n\r\n"))[0]:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nSTOLEN")

    async with (
        proxies.http_proxy(tls=True) as proxy,
        proxies.serving("https", handler, server_tls()) as up,
    ):
        reach = Reach(proxy=Proxy.read(proxy.url))
        where = client.Origin("https", "localhost", up.port)
        for _ in range(3):
            with await pool.request(where, "GET", "/", [], name="up", timeouts=PATIENT, reach=reach) as reply:
                await reply.end()
                assert await reply.head() == 200
                assert await reply.read(100) == b"hello"
                while reply._wire.idle():  # noqa: ASYNC110  # it has still to come through the proxy
                    await trio.sleep(0.001)
        assert up.connections == 3


# ── sockets and certificates ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_unix_socket(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(path))
    sock.listen()

    async def handler(stream: trio.SocketStream) -> None:
        head, _ = await proxies.until(stream, b"\r\n\r\n")
        assert b"host: llama.example\r\n" in head.lower()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        await stream.receive_some()

    where = client.Origin("http", "llama.example", 80)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handler, [trio.SocketListener(sock)])
        reach = Reach(socket=path)
        with await pool.request(where, "GET", "/", [], name="up", timeouts=PATIENT, reach=reach) as reply:
            await reply.end()
            assert await reply.head() == 200
            assert await reply.read(100) == b"hello"
        pool.close()
        nursery.cancel_scope.cancel()
    message, status = await fails(pool, where, Reach(socket=tmp_path / "none"))
    assert message == f"upstream 'up' ({where}) cannot be reached: {tmp_path / 'none'}: No such file or directory"
    assert status == 502


async def test_authorities_of_the_file_are_trusted_beside_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    companys = trustme.CA()
    proxies.CA.cert_pem.write_to_path(str(tmp_path / "system.pem"))
    companys.cert_pem.write_to_path(str(tmp_path / "corp.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))  # for this process it is the system's
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    companys.issue_cert("localhost").configure_cert(theirs)
    pool = Pool()
    async with origin(server_tls()) as known, origin(theirs) as own:
        await streams(pool, known, Reach())
        await streams(pool, known, Reach(ca=tmp_path / "corp.pem"))
        await streams(pool, own, Reach(ca=tmp_path / "corp.pem"))
        message, _ = await fails(pool, origin_at(own), Reach())
        assert "has a certificate that is not trusted" in message
        pool.close()


async def test_insecure_believes_anybody_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(tls=trusting(trustme.CA()))
    async with origin(server_tls("other.example")) as up:
        await streams(pool, up, Reach(insecure=True))
        pool.close()
    assert "insecure = true" in caplog.text


@pytest.mark.parametrize("together", [True, False], ids=["one file", "two files"])
async def test_a_client_certificate(pool: Pool, tmp_path: Path, together: bool) -> None:
    us = proxies.CA.issue_cert("trioproxy")
    certificate, key = tmp_path / "me.pem", tmp_path / "me.key"
    (us.private_key_and_cert_chain_pem if together else us.cert_chain_pems[0]).write_to_path(str(certificate))
    us.private_key_pem.write_to_path(str(key))
    asking = server_tls()
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 tells a client only behind the handshake
    proxies.CA.configure_trust(asking)
    async with origin(asking) as up:
        await streams(pool, up, Reach(certificate=certificate, key=None if together else key))
        message, _ = await fails(pool, origin_at(up), Reach())
        assert "cannot be reached: TLS failed: " in message
