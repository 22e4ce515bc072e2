import pytest
import trio
import trio.testing
from msgspec.structs import replace

from tests.anthropic import STREAM
from trioproxy import Batch, Exchange, Seconds
from trioproxy.items import Ping, TextDelta, Unknown
from trioproxy.stages.keepalive import Keepalive
from trioproxy.testing import check_stage

A, B = TextDelta(0, "a"), TextDelta(0, "b")


async def run(
    nursery: trio.Nursery, exchange: Exchange = STREAM, after: float = 10
) -> tuple[trio.MemorySendChannel[Batch], trio.MemoryReceiveChannel[Batch]]:
    send, receive = trio.open_memory_channel[Batch](0)
    out, tail = trio.open_memory_channel[Batch](0)

    async def task() -> None:
        with receive, out:
            await Keepalive(after=Seconds(after)).run(replace(exchange, started=trio.current_time()), receive, out)

    nursery.start_soon(task)
    return send, tail


async def test_pings_after_silence_and_again(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        send, tail = await run(nursery)
        begun = trio.current_time()
        for number in (1, 2, 3):
            assert await tail.receive() == [Ping()]
            assert trio.current_time() - begun == pytest.approx(10 * number)
        await send.send([A])
        assert await tail.receive() == [A]
        send.close()
        with pytest.raises(trio.EndOfChannel):
            await tail.receive()


async def test_silence_counts_from_the_last_item(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        send, tail = await run(nursery)
        for _ in range(5):
            await trio.sleep(9)
            await send.send([A])
            assert await tail.receive() == [A]
        last = trio.current_time()
        assert await tail.receive() == [Ping()]
        assert trio.current_time() - last == pytest.approx(10)
        nursery.cancel_scope.cancel()


async def test_what_is_said_to_clients_of_another_dialect_alone_breaks_no_silence(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A comment of the upstream's, or its own tools at work: it leaves only for a client of the same dialect."""
    for dialect, spoken in (("openai-chat", [Ping()]), ("anthropic", [Unknown("", b"")])):
        async with trio.open_nursery() as nursery:
            send, tail = await run(nursery, replace(STREAM, upstream_dialect=dialect))
            for _ in range(3):
                await trio.sleep(3)
                await send.send([Unknown("", b"")])
                await tail.receive()
            await trio.sleep(3)
            nursery.start_soon(send.send, [Unknown("", b"")])
            assert await tail.receive() == spoken
            nursery.cancel_scope.cancel()


async def test_a_slow_client_loses_nothing_and_gets_no_ping(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        send, tail = await run(nursery)
        await send.send([A])
        await trio.sleep(35)  # the stage is held in its send, across several deadlines
        assert await tail.receive() == [A]
        await send.send([B])
        assert await tail.receive() == [B]
        send.close()
        with pytest.raises(trio.EndOfChannel):
            await tail.receive()


async def test_a_client_without_a_stream_gets_no_ping(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        send, tail = await run(nursery, replace(STREAM, stream=False))
        with trio.move_on_after(100) as scope:
            await tail.receive()
        assert scope.cancelled_caught
        await send.send([A])
        assert await tail.receive() == [A]
        send.close()


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 0s"):
        Keepalive(after=Seconds(0))


def test_is_a_good_stage() -> None:
    check_stage(Keepalive)
