import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.peers import Answer, answer
from trioproxy.http.forwarded import Trusted
from trioproxy.http.headers import Headers
from trioproxy.http.incoming import Incoming, Malformed
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Address, Listen, Listener, open_listeners
from trioproxy.http.server import Server
from trioproxy.units import Seconds

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

Handler = Callable[[Incoming, Listener], Awaitable[None]]


async def echo(incoming: Incoming, listener: Listener) -> None:
    """Answers with the request's path and body."""
    await incoming.respond(200, [], incoming.target.path.encode() + await incoming.body())


def refusal(exc: Malformed, peer: str) -> tuple[Headers, bytes]:
    return [(b"x-why", str(exc).encode())], b"no"


@asynccontextmanager
async def serving(
    handler: Handler = echo, *addresses: str | Listen, limits: Limits | None = None, trusted: Trusted | None = None
) -> AsyncIterator[tuple[Server, list[Listener]]]:
    listens = [Listen(Address(each)) if isinstance(each, str) else each for each in addresses or ("127.0.0.1:0",)]
    listeners = await open_listeners(listens)
    server = Server(handler, refusal, limits or Limits(), trusted or Trusted())
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listeners)
            yield server, listeners
            nursery.cancel_scope.cancel()


async def connect(listener: Listener) -> trio.SocketStream:
    if listener.unix:
        return await trio.open_unix_socket(listener.socket.getsockname())
    host, port = listener.socket.getsockname()[:2]
    return await trio.open_tcp_stream(host, port)


async def get(listener: Listener, path: str = "/") -> Answer:
    async with await connect(listener) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return await answer(stream)


async def read_all(stream: trio.SocketStream) -> bytes:
    return b"".join([bytes(piece) async for piece in stream])


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_several_listeners_of_every_kind(tmp_path: Path) -> None:
    async with serving(echo, "127.0.0.1:0", "[::1]:0", f"unix:{tmp_path}/proxy.sock") as (_, listeners):
        assert [(await get(listener)).body for listener in listeners] == [b"/"] * 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def late_first(incoming: Incoming, listener: Listener) -> None:
        if incoming.target.path == "/0":
            await trio.testing.wait_all_tasks_blocked()
        await echo(incoming, listener)

    async with serving(late_first) as (_, (listener,)), await connect(listener) as stream:
        requests = [b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % each for each in range(20)]
        await stream.send_all(b"".join(requests))
        await stream.send_all(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = (await read_all(stream)).decode()
    bodies = [part.partition("\r\n\r\n")[2] for part in got.split("HTTP/1.1 200 OK")[1:]]
    assert bodies == [f"/{each}abc" for each in range(20)] + ["/last"]


async def test_a_refusal_is_answered_and_what_follows_is_not() -> None:
    seen: list[str] = []

    async def note(incoming: Incoming, listener: Listener) -> None:
        seen.append(incoming.target.path)
        await incoming.respond(200, [], b"")

    async with serving(note) as (_, (listener,)), await connect(listener) as stream:
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        bad = b"POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        await stream.send_all(b"GET /good HTTP/1.1\r\nHost: x\r\n\r\n" + bad + smuggled)
        await stream.send_eof()
        got = await read_all(stream)
    assert got.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 400 Bad Request\r\nx-why: Transfer-Encoding goes with neither" in got
    assert seen == ["/good"]


async def test_an_answer_reaches_a_client_that_is_still_sending() -> None:
    # Closing with unread data would reset the connection, and take the answer away from the client.
    async with serving() as (_, (listener,)), await connect(listener) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(bytes(1_000_000))
                await stream.send_eof()

            nursery.start_soon(send)
            got = await answer(stream)
        assert await stream.receive_some() == b""  # no reset
    assert (got.status, got.complete) == (413, True)


async def test_an_answer_left_unfinished_is_broken_off() -> None:
    async def give_up(incoming: Incoming, listener: Listener) -> None:
        incoming.begin(200, [])
        await incoming.send(b"half")

    async with serving(give_up) as (_, (listener,)):
        got = await get(listener)
    assert (got.status, got.body, got.complete) == (200, b"half", False)


async def test_a_client_that_comes_and_goes_harms_nobody() -> None:
    async with serving() as (_, (listener,)):
        for data in (b"", b"GET / HT", GET):
            stream = await connect(listener)
            if data:
                await stream.send_all(data)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            await trio.aclose_forcefully(stream)
        assert (await get(listener)).status == 200


async def test_connections_are_bounded_and_further_ones_wait() -> None:
    async with serving(limits=Limits(connections=2)) as (_, (listener,)):
        first, second = [await connect(listener) for _ in range(2)]
        for stream in (first, second):
            await stream.send_all(GET)
            assert (await answer(stream)).status == 200
        async with await connect(listener) as third:
            await third.send_all(GET)
            with trio.move_on_after(0.1) as scope:
                await answer(third)
            assert scope.cancelled_caught
            await first.aclose()
            assert (await answer(third)).status == 200
        await second.aclose()


async def test_running_out_of_descriptors_neither_kills_nor_spins(caplog: pytest.LogCaptureFixture) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving() as (_, (listener,)):
        assert (await get(listener)).status == 200
        waiting = [socket.socket() for _ in range(3)]
        lowest_free = os.dup(0)
        os.close(lowest_free)
        caplog.set_level(logging.ERROR, "trioproxy.http")
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(listener.socket.getsockname())
            await trio.sleep(0.35)  # a few times the pause; spinning would log thousands of lines
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert 1 <= len(caplog.records) <= 8
        assert "cannot accept a connection: Too many open files" in caplog.text
        for sock in waiting:
            async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
                await stream.send_all(GET)
                assert (await answer(stream)).status == 200


# ── stopping ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_drain_lets_answers_finish_and_accepts_nothing_more() -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slow(incoming: Incoming, listener: Listener) -> None:
        incoming.begin(200, [])
        await incoming.send(b"first ")
        begun.set()
        await go_on.wait()
        await incoming.finish(b"last")

    listeners = await open_listeners([Listen(Address("127.0.0.1:0"))])
    server = Server(slow, refusal, Limits())
    stopped, got = trio.Event(), list[Answer]()

    async def serve() -> None:
        await server.serve(listeners)
        stopped.set()

    async def ask() -> None:
        got.append(await get(listeners[0]))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(ask)
            idle = await connect(listeners[0])
            await begun.wait()
            assert server.busy == 1
            port = listeners[0].socket.getsockname()[1]
            server.drain()
            async with idle:
                assert await idle.receive_some() == b""  # an idle connection is closed at once
            assert not stopped.is_set()
            with pytest.raises(OSError, match="failed"):
                await trio.open_tcp_stream("127.0.0.1", port)
            go_on.set()
            await stopped.wait()
    assert server.busy == 0
    assert (got[0].body, got[0].complete) == (b"first last", True)


async def test_drain_does_not_begin_the_next_pipelined_request() -> None:
    served: list[str] = []
    begun = trio.Event()

    async def handler(incoming: Incoming, listener: Listener) -> None:
        served.append(incoming.target.path)
        begun.set()
        await trio.testing.wait_all_tasks_blocked()
        await incoming.respond(200, [], b"")

    async with serving(handler) as (server, (listener,)), await connect(listener) as stream:
        await stream.send_all(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        await begun.wait()
        server.drain()
        assert (await read_all(stream)).count(b"200 OK") == 1
    assert served == ["/1"]


async def test_what_is_cut_off_still_counts_as_busy() -> None:
    # So that whoever stopped the server can say how many answers that cost.
    begun = trio.Event()

    async def endless(incoming: Incoming, listener: Listener) -> None:
        incoming.begin(200, [])
        await incoming.send(b"half")
        begun.set()
        await trio.sleep_forever()

    listeners = await open_listeners([Listen(Address("127.0.0.1:0"))])
    server = Server(endless, refusal, Limits())
    with trio.fail_after(5):
        async with await connect(listeners[0]) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listeners)
            await stream.send_all(GET)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert server.busy == 1


async def test_timeouts_of_the_file_are_those_of_the_wire() -> None:
    async with serving(limits=Limits(head_timeout=Seconds(0.1), keep_alive=Seconds(0.1))) as (_, (listener,)):
        async with await connect(listener) as stream:
            await stream.send_all(GET[:-1])
            assert (await answer(stream)).status == 408
        async with await connect(listener) as stream:
            await stream.send_all(GET)
            assert (await answer(stream)).status == 200
            assert await stream.receive_some() == b""


# ── changing while it serves ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_listener_is_opened_and_closed_while_others_serve(tmp_path: Path) -> None:
    file = tmp_path / "proxy.sock"
    async with serving() as (server, (first,)), await connect(first) as idle:
        [second] = await open_listeners([Listen(Address(f"unix:{file}"))])
        server.open(second)
        assert (await get(second)).body == b"/"
        async with await connect(second) as kept:
            await kept.send_all(GET)
            assert (await answer(kept)).status == 200
            server.close(second)
            assert not file.exists()
            await kept.send_all(GET)  # what it gave goes on
            assert (await answer(kept)).status == 200
        await idle.send_all(GET)
        assert (await answer(idle)).status == 200
        port = first.socket.getsockname()[1]
        server.close(first)
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", port)
        [third] = await open_listeners([Listen(Address("127.0.0.1:0"))])
        server.open(third)
        assert (await get(third)).status == 200
        server.drain()
        [late] = await open_listeners([Listen(Address("127.0.0.1:0"))])
        server.open(late)
        assert late.fileno() == -1


async def test_a_listener_may_be_opened_before_it_serves() -> None:
    listeners = await open_listeners([Listen(Address("127.0.0.1:0"))])
    server = Server(echo, refusal, Limits())
    server.open(listeners[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        assert (await get(listeners[0])).status == 200
        server.drain()
    assert listeners[0].fileno() == -1


async def test_limits_change_for_those_who_come_later() -> None:
    async with serving(limits=Limits(connections=1, head_lines=2)) as (server, (listener,)):
        many = b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\n\r\n"
        async with await connect(listener) as first, await connect(listener) as second:
            await first.send_all(GET)
            assert (await answer(first)).status == 200
            await second.send_all(many)
            await trio.testing.wait_all_tasks_blocked()
            server.limits = Limits(connections=2)  # now the second is let in, with the new bounds
            assert (await answer(second)).status == 200
            await first.send_all(many)
            assert (await answer(first)).status == 431
