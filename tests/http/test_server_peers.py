"""Who a request is from: the socket, a load balancer's PROXY header, or its X-Forwarded-For."""

import logging
import socket
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from tests.http.test_proxy_protocol import BAD, GOOD, V4, v2
from tests.http.test_server import connect, read_all, serving
from tests.peers import answer
from trioproxy.http.forwarded import Trusted
from trioproxy.http.headers import get
from trioproxy.http.incoming import Incoming
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Address, Listen, Listener
from trioproxy.units import Seconds

HERE = Trusted((ip_network("127.0.0.0/8"),))
BEHIND = Listen(Address("127.0.0.1:0"), proxy_protocol=True)


async def tell(incoming: Incoming, listener: Listener) -> None:
    """Answers with whom the request is from, and what of its header is about that."""
    claimed = get(incoming.headers, b"x-forwarded-for")
    await incoming.respond(200, [], incoming.peer.encode() + b" " + claimed)


def asking(*fields: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: x", *fields, "", ""]).encode()


async def told(listener: Listener, data: bytes) -> str:
    """What the server answers to these bytes; empty if it closes the connection."""
    async with await connect(listener) as stream:
        await stream.send_all(data)
        return (await answer(stream)).body.decode()


async def test_from_the_socket(tmp_path: Path) -> None:
    unix = f"unix:{tmp_path}/proxy.sock"
    async with serving(tell, "127.0.0.1:0", "[::1]:0", unix) as (_, listeners):
        asked = asking("X-Forwarded-For: 1.1.1.1")
        assert [await told(listener, asked) for listener in listeners] == ["127.0.0.1 ", "::1 ", "unix "]


async def test_from_a_socket_for_both_kinds() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        async with serving(tell, f"fd:{sock.fileno()}") as (_, (listener,)):
            async with await trio.open_tcp_stream("127.0.0.1", sock.getsockname()[1]) as stream:
                await stream.send_all(asking())
                assert (await answer(stream)).body == b"127.0.0.1 "
            assert listener.address.startswith("[::]:")


async def test_from_a_balancer_that_forwards(tmp_path: Path) -> None:
    unix = f"unix:{tmp_path}/proxy.sock"
    asked = asking("X-Forwarded-For: 9.9.9.9, 1.1.1.1")
    async with serving(tell, "127.0.0.1:0", unix, trusted=HERE) as (server, (tcp, file)):
        assert await told(tcp, asked) == "1.1.1.1 9.9.9.9, 1.1.1.1"
        assert await told(file, asked) == "unix "
        server.trusted = Trusted(unix=True)  # after a reload
        assert await told(tcp, asked) == "127.0.0.1 "
        assert await told(file, asked) == "1.1.1.1 9.9.9.9, 1.1.1.1"


async def test_each_request_on_a_connection_is_from_its_own_client() -> None:
    async with serving(tell, trusted=HERE) as (_, (listener,)), await connect(listener) as stream:
        for client in ("1.1.1.1", "2.2.2.2"):
            await stream.send_all(asking(f"X-Forwarded-For: {client}"))
            assert (await answer(stream)).body.decode() == f"{client} {client}"
        await stream.send_all(asking())
        assert (await answer(stream)).body == b"127.0.0.1 "


@pytest.mark.parametrize("case", GOOD)
async def test_from_a_balancer_with_the_proxy_protocol(case: str) -> None:
    header, client = GOOD[case]
    async with serving(tell, BEHIND, trusted=HERE) as (_, (listener,)):
        assert await told(listener, header + asking()) == f"{client or '127.0.0.1'} "


async def test_a_balancer_that_passes_bytes_on_does_not_vouch_for_them() -> None:
    # It has read no HTTP: the field is the client's own, unless the client is a balancer again.
    header, asked = v2(1, 0x11, V4), asking("X-Forwarded-For: 9.9.9.9")
    async with serving(tell, BEHIND, trusted=HERE) as (server, (listener,)):
        assert await told(listener, header + asked) == "203.0.113.7 "
        server.trusted = Trusted((*HERE.networks, ip_network("203.0.113.0/24")))
        assert await told(listener, header + asked) == "9.9.9.9 9.9.9.9"
        for header, client in GOOD.values():
            if client is None:  # nor for whoever it does not name
                assert await told(listener, header + asked) == "127.0.0.1 "


@pytest.mark.parametrize("case", ["HTTP", "TLS", "UDP", "v2 version 3", "too long"])
async def test_without_a_header_nothing_is_answered(case: str, caplog: pytest.LogCaptureFixture) -> None:
    data, reason = BAD[case]
    async with serving(tell, BEHIND, trusted=HERE) as (_, (listener,)):
        caplog.set_level(logging.DEBUG, "trioproxy.http")
        assert await told(listener, data) == ""
        assert await told(listener, GOOD["TCP4"][0] + asking()) == "203.0.113.7 "
    [record] = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    start = f"closed a connection of 127.0.0.1 to {listener.address}, which has proxy-protocol: "
    assert record.getMessage().startswith(start)
    assert reason in record.getMessage()


async def test_whoever_is_not_trusted_is_not_listened_to(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tell, BEHIND, trusted=Trusted((ip_network("10.0.0.0/8"),))) as (_, (listener,)):
        assert await told(listener, GOOD["TCP4"][0] + asking()) == ""
    [record] = caplog.records
    assert record.getMessage().endswith("which has proxy-protocol: it is not one of `trusted-proxies`")


async def test_a_header_that_does_not_come(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trioproxy.http")
    async with serving(tell, BEHIND, limits=Limits(head_timeout=Seconds(0.1)), trusted=HERE) as (_, (listener,)):
        for start in (b"", b"PROXY TCP4 203.0.113"):
            async with await connect(listener) as stream:
                await stream.send_all(start)
                assert await read_all(stream) == b""
        async with await connect(listener):
            pass  # a health check that says nothing
        assert await told(listener, GOOD["TCP4"][0] + asking()) == "203.0.113.7 "
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


async def test_drain_does_not_wait_for_a_header() -> None:
    async with serving(tell, BEHIND, trusted=HERE) as (server, (listener,)), await connect(listener) as stream:
        await stream.send_all(b"PROXY")
        await trio.testing.wait_all_tasks_blocked()
        server.drain()
        with trio.fail_after(2):
            assert await read_all(stream) == b""
