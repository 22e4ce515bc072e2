import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from tests.http.test_wire import tcp_pair
from trioproxy.http.secure import SecureWire, accept_tls
from trioproxy.http.wire import READ_SIZE, Gone, SocketWire, Stalled

AUTHORITY = trustme.CA()
SERVER, CLIENT = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
AUTHORITY.issue_cert("proxy.test").configure_cert(SERVER)
AUTHORITY.configure_trust(CLIENT)


@asynccontextmanager
async def wires(client: ssl.SSLContext = CLIENT) -> AsyncIterator[tuple[SecureWire, SecureWire, SocketWire]]:
    """Both ends of a connection, and the wire below the first."""
    below, far_below = map(SocketWire, tcp_pair())
    near = SecureWire(below, client, "proxy.test")
    got: list[SecureWire] = []

    async def accept() -> None:
        got.append(await accept_tls(far_below, SERVER))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            nursery.start_soon(near.handshake)
        try:
            yield near, got[0], below
        finally:
            near.close()
            far_below.close()


async def read_all(wire: SecureWire, *, most: float = float("inf")) -> bytes:
    got = b""
    while len(got) < most and (data := await wire.receive()):
        assert len(data) <= READ_SIZE
        got += data
    return got


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_every_byte_arrives_in_order_both_ways_at_once(version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.maximum_version = version
    data, back = bytes(range(256)) * 8000, bytes(reversed(range(256))) * 8000  # more than any socket buffers
    async with wires(context) as (near, far, _), trio.open_nursery() as nursery:
        nursery.start_soon(near.send, data)
        nursery.start_soon(far.send, back)

        async def check() -> None:
            assert await read_all(far, most=len(data)) == data

        nursery.start_soon(check)
        assert await read_all(near, most=len(back)) == back


async def test_what_came_in_several_records_is_read_at_once() -> None:
    # One batch for the pipeline instead of ten.
    async with wires() as (near, far, _):
        for at in range(10):
            await far.send(b"%d" % at)
        await trio.testing.wait_all_tasks_blocked()
        assert await near.receive() == b"0123456789"


async def test_a_connection_with_a_record_that_was_not_asked_for_is_not_idle() -> None:
    async with wires() as (near, far, below):
        await far.send(b"a" * READ_SIZE)
        assert not near.idle()
        assert await read_all(near, most=READ_SIZE) == b"a" * READ_SIZE
        assert near.idle()
        assert not near.hung_up()
        await far.send(b"b" * READ_SIZE + b"stray")
        assert await read_all(near, most=READ_SIZE) == b"b" * READ_SIZE
        await trio.testing.wait_all_tasks_blocked()
        assert not near.idle()
        assert await near.receive() == b"stray"
        assert near.idle()
        assert below.idle()


async def test_the_end_that_is_said() -> None:
    async with wires() as (near, far, below):
        await near.send(b"last words")
        near.shut_down()
        assert await read_all(far) == b"last words"
        assert await far.receive() == b""
        await far.send(b"the other half still speaks")
        assert await near.receive() == b"the other half still speaks"
        with pytest.raises(Gone):
            await near.send(b"no more")
        near.shut_down()  # once more does no harm
        assert not below.hung_up()


async def test_the_end_that_is_not_said() -> None:
    async with wires() as (near, far, below):
        await near.send(b"last words")
        below.shut_down()
        assert await read_all(far) == b"last words"
        assert await far.receive() == b""


async def test_a_reset_is_no_end() -> None:
    async with wires() as (near, far, _):
        near.abort()
        with pytest.raises(Gone, match="reset"):
            await far.receive()
        with pytest.raises(Gone):
            await far.send(bytes(10_000_000))


async def test_what_was_changed_on_the_way() -> None:
    async with wires() as (_, far, below):
        await below.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(Gone, match="TLS failed: "):
            await far.receive()


async def test_silence_is_stalled_and_costs_no_byte() -> None:
    async with wires() as (near, far, _):
        with pytest.raises(Stalled):
            await far.receive(0.01)
        with trio.move_on_after(0.01) as scope:
            await far.receive()
        assert scope.cancelled_caught
        await near.send(b"all of it")
        assert await far.receive() == b"all of it"


async def test_a_peer_that_takes_nothing_is_stalled() -> None:
    async with wires() as (near, _, _):
        with pytest.raises(Stalled):
            await near.send(bytes(20_000_000), 0.05)


async def test_who_takes_a_little_now_and_then_is_not(autojump_clock: trio.testing.MockClock) -> None:
    size = 12_000_000
    async with wires() as (near, far, _), trio.open_nursery() as nursery:
        nursery.start_soon(near.send, bytes(size), 0.3)
        got, began = 0, trio.current_time()
        while got < size:
            got += len(await read_all(far, most=min(2_000_000, size - got)))
            await trio.sleep(0.2)
        assert trio.current_time() - began > 0.9  # three times what may pass between two bytes


async def test_a_client_that_does_not_trust_the_server() -> None:
    near, far = map(SocketWire, tcp_pair())
    client = SecureWire(near, CLIENT, "other.test")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def refuse() -> None:
                with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'other\.test'"):
                    await client.handshake()
                near.close()

            nursery.start_soon(refuse)
            with pytest.raises(Gone, match=r"TLS failed: .*CERTIFICATE"):  # the alert has said why
                await (await accept_tls(far, SERVER)).receive()
    far.close()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
async def test_what_is_no_handshake(data: bytes) -> None:
    near, far = map(SocketWire, tcp_pair())
    await near.send(data)
    near.shut_down()
    with trio.fail_after(5), pytest.raises(Gone, match="TLS failed: "):
        await accept_tls(far, SERVER)
    near.close()
    far.close()
