"""A listener with a certificate: what reaches it over TLS, what does not, and how the certificate is rolled."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import h11
import pytest
import trio
import trustme

from tests.http.test_proxy_protocol import GOOD
from tests.http.test_server import GET, connect, echo, serving
from tests.http.test_server_peers import tell
from trioproxy.http.forwarded import Trusted
from trioproxy.http.incoming import Incoming
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Address, Listen, Listener
from trioproxy.units import Seconds

AUTHORITY = trustme.CA()


def write(file: Path, *names: str) -> Path:
    """A certificate for these names, with its key, in the file."""
    AUTHORITY.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(file)
    return file


@pytest.fixture
def listen(tmp_path: Path) -> Listen:
    return Listen(Address("127.0.0.1:0"), write(tmp_path / "cert.pem", "proxy.test"))


@asynccontextmanager
async def secured(
    listener: Listener, name: str = "proxy.test", *, first: bytes = b"", **versions: ssl.TLSVersion
) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """A connection over TLS to a server that must be `name`; `first` goes in front of it."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    for which, version in versions.items():
        setattr(context, which, version)
    stream = await connect(listener)
    await stream.send_all(first)
    tls = trio.SSLStream(stream, context, server_hostname=name)
    try:
        await tls.do_handshake()
        yield tls
    finally:
        await trio.aclose_forcefully(tls)


async def body(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    """The body of one response."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    got = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            client.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Data):
            got += bytes(event.data)
    return got


async def test_requests_over_tls(listen: Listen) -> None:
    async with serving(echo, listen) as (_, (listener,)):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            async with secured(listener, minimum_version=version, maximum_version=version) as stream:
                assert stream.selected_alpn_protocol() == "http/1.1"
                for path in ("/1", "/2"):
                    await stream.send_all(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                    assert await body(stream) == path.encode()


async def test_large_bodies_both_ways(listen: Listen) -> None:
    sent = bytes(range(256)) * 4000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(sent)
    async with (
        serving(echo, listen) as (_, (listener,)),
        secured(listener) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(stream.send_all, head + sent)
        assert await body(stream) == b"/" + sent


async def test_on_a_unix_socket(listen: Listen, tmp_path: Path) -> None:
    unix = Listen(Address(f"unix:{tmp_path}/proxy.sock"), listen.certificate)
    async with serving(echo, unix) as (_, (listener,)), secured(listener) as stream:
        await stream.send_all(GET)
        assert await body(stream) == b"/"


async def test_behind_a_balancer_with_the_proxy_protocol(listen: Listen) -> None:
    trusted = Trusted((ip_network("127.0.0.1"),))
    async with serving(tell, Listen(listen.address, listen.certificate, None, True), trusted=trusted) as (
        _,
        (listener,),
    ):
        for header, client in GOOD.values():
            async with secured(listener, first=header) as stream:
                await stream.send_all(GET)
                assert (await body(stream)).decode() == f"{client or '127.0.0.1'} "


async def test_the_end_of_a_body_that_ends_with_the_connection(listen: Listen) -> None:
    # A client that reads until the end must be able to tell it from a connection that was cut.
    async def half(incoming: Incoming, listener: Listener) -> None:
        incoming.begin(200, [])
        await incoming.send(b"half")
        if incoming.target.path == "/whole":
            await incoming.finish()

    async def read_all(listener: Listener, path: bytes) -> bytes:
        async with secured(listener) as stream:
            await stream.send_all(b"GET %b HTTP/1.0\r\nHost: x\r\n\r\n" % path)
            return b"".join([bytes(piece) async for piece in stream])

    async with serving(half, listen) as (_, (listener,)):
        assert (await read_all(listener, b"/whole")).endswith(b"\r\n\r\nhalf")
        with pytest.raises(trio.BrokenResourceError):
            await read_all(listener, b"/half")


@pytest.mark.parametrize(
    "data",
    [GET, b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x00\x02", b"\0" * 4000, b""],
    ids=["plain HTTP", "no handshake", "SSL 2", "zeros", "nothing"],
)
async def test_what_is_no_tls_is_closed_without_noise(
    listen: Listen, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trioproxy.http")
    async with serving(echo, listen) as (_, (listener,)):
        async with await connect(listener) as stream:
            await stream.send_all(data)
            await stream.send_eof()
            got = b""
            with suppress(trio.BrokenResourceError):  # a reset says the same
                got = b"".join([bytes(piece) async for piece in stream])
            assert b"HTTP" not in got  # at most an alert of TLS
        async with secured(listener) as good:
            await good.send_all(GET)
            assert await body(good) == b"/"
    assert {(record.levelno, record.exc_info) for record in caplog.records} == {(logging.DEBUG, None)}


async def test_a_client_that_does_not_trust_us(listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo, listen) as (_, (listener,)):
        with pytest.raises(trio.BrokenResourceError):
            async with secured(listener, "other.test"):
                pass
    assert caplog.records == []


async def test_a_handshake_has_the_time_of_a_head(listen: Listen) -> None:
    limits = Limits(head_timeout=Seconds(0.1))
    async with serving(echo, listen, limits=limits) as (_, (listener,)), await connect(listener) as stream:
        await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
        assert await stream.receive_some() == b""


async def test_drain_does_not_wait_for_a_handshake(listen: Listen) -> None:
    async with serving(echo, listen) as (server, (listener,)), await connect(listener) as stream:
        await trio.testing.wait_all_tasks_blocked()
        server.drain()
        with trio.fail_after(2):
            assert await stream.receive_some() == b""


async def test_a_certificate_is_rolled_while_an_answer_runs(listen: Listen) -> None:
    go_on = trio.Event()

    async def slow(incoming: Incoming, listener: Listener) -> None:
        incoming.begin(200, [])
        await incoming.send(b"first ")
        await go_on.wait()
        await incoming.finish(b"last")

    async with serving(slow, listen) as (_, (listener,)), secured(listener) as old:
        await old.send_all(GET)
        assert b"first " in await old.receive_some()
        assert listen.certificate
        write(listen.certificate, "new.test")
        listener.use(listener.listen)
        async with secured(listener, "new.test") as new:
            await new.send_all(GET)
            assert b"first " in await new.receive_some()
            go_on.set()
            for stream in (old, new):
                assert b"last" in await stream.receive_some()


async def test_tls_is_switched_on_while_it_listens(listen: Listen) -> None:
    async with serving(echo) as (_, (listener,)), await connect(listener) as plain:
        await plain.send_all(GET)
        assert b"200 OK" in await plain.receive_some()
        listener.use(listen)
        async with secured(listener) as stream:
            await stream.send_all(GET)
            assert await body(stream) == b"/"
        await plain.send_all(GET)
        assert b"200 OK" in await plain.receive_some()
