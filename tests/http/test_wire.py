import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from trioproxy.http.wire import READ_SIZE, Gone, SocketWire, Stalled


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return near, server.accept()[0]


PAIRS: dict[str, Callable[[], tuple[socket.socket, socket.socket]]] = {"tcp": tcp_pair, "unix": socket.socketpair}


@asynccontextmanager
async def wires(
    pair: Callable[[], tuple[socket.socket, socket.socket]],
) -> AsyncIterator[tuple[SocketWire, SocketWire]]:
    near, far = map(SocketWire, pair())
    try:
        with trio.fail_after(5):
            yield near, far
    finally:
        near.close()
        far.close()


each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


async def read_all(wire: SocketWire, *, most: int) -> bytes:
    got = b""
    while len(got) < most and (data := await wire.receive()):
        assert len(data) <= READ_SIZE
        got += data
    return got


@each_pair
async def test_every_byte_arrives_in_order(pair: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    data = bytes(range(256)) * 20_000  # more than any socket buffers: send has to wait
    async with wires(pair) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(near.send, data)
        assert await read_all(far, most=len(data)) == data


@each_pair
async def test_the_end_is_empty(pair: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    async with wires(pair) as (near, far):
        await near.send(b"last words")
        near.shut_down()
        assert await far.receive() == b"last words"
        assert await far.receive() == b""
        await far.send(b"the other half still speaks")
        assert await near.receive() == b"the other half still speaks"


async def test_a_reset_is_no_end() -> None:
    async with wires(tcp_pair) as (near, far):
        near.abort()
        with pytest.raises(Gone, match="reset"):
            await far.receive()


@each_pair
async def test_writing_to_one_who_left(pair: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    async with wires(pair) as (near, far):
        far.abort()
        with pytest.raises(Gone):
            await near.send(bytes(10_000_000))


async def test_silence_is_stalled(autojump_clock: trio.testing.MockClock) -> None:
    async with wires(socket.socketpair) as (near, _):
        with pytest.raises(Stalled):
            await near.receive(timeout=2)


async def test_one_who_takes_no_byte_is_stalled(autojump_clock: trio.testing.MockClock) -> None:
    async with wires(socket.socketpair) as (near, _):
        with pytest.raises(Stalled):
            await near.send(bytes(10_000_000), timeout=2)


async def test_a_timeout_is_for_each_wait_and_not_for_all_of_it(autojump_clock: trio.testing.MockClock) -> None:
    async with wires(socket.socketpair) as (near, far), trio.open_nursery() as nursery:
        autojump_clock.autojump_threshold = 0.02  # sockets need a moment of their own
        nursery.start_soon(near.send, bytes(1_000_000), 1.0)
        got = 0
        while got < 1_000_000:
            await trio.sleep(0.05)
            got += len(await far.receive())
        assert trio.current_time() > 2


async def test_closing_wakes_who_waits() -> None:
    async with wires(tcp_pair) as (near, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(Gone, match="closed by us"):
                await near.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        near.close()


async def test_idle_sees_data_and_the_end() -> None:
    for say in (lambda wire: wire.send(b"x"), lambda wire: trio.to_thread.run_sync(wire.shut_down)):
        async with wires(socket.socketpair) as (near, far):
            assert near.idle()
            await say(far)
            assert not near.idle()


async def test_a_busy_wire_lets_others_run() -> None:
    async with wires(socket.socketpair) as (near, far), trio.open_nursery() as nursery:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async def flood() -> None:
            while True:
                await near.send(bytes(READ_SIZE))

        nursery.start_soon(flood)
        nursery.start_soon(other)
        await read_all(far, most=100 * READ_SIZE)
        assert turns >= 99  # one for each full read
        nursery.cancel_scope.cancel()


def test_a_socket_that_takes_no_setting_may_still_be_used() -> None:
    """As one that was reset before it was accepted does, on macOS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(OSError, match="Errno"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        SocketWire(sock)
