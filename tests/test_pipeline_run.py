"""The running half of pipeline.py; tests/test_pipeline.py has the order of stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from tests.anthropic import STREAM
from trioproxy import Batch, Exchange, Receive, Send, Stage, TextDelta, pipeline
from trioproxy.items import Ping


class Pass(Stage[TextDelta, TextDelta]):
    def feed(self, delta: TextDelta) -> Iterable[TextDelta]:
        return (delta,)


class Fail(Stage[TextDelta, TextDelta]):
    def feed(self, delta: TextDelta) -> Iterable[TextDelta]:
        raise ValueError("boom")


class First(Stage[TextDelta, TextDelta]):
    """Leaves after its first batch."""

    async def run(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        await send.send(await receive.receive())


class Ends(Stage[TextDelta, TextDelta]):
    """Notes its order of opening and closing, and adds items of its own at both ends."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name, self._notes = name, notes

    def open(self, exchange: Exchange) -> Iterable[TextDelta]:
        self._notes.append(f"open {self._name}")
        return (TextDelta(0, f"<{self._name}"),)

    def feed(self, delta: TextDelta) -> Iterable[TextDelta]:
        return (delta,)

    def close(self) -> Iterable[TextDelta]:
        self._notes.append(f"close {self._name}")
        return (TextDelta(0, f"{self._name}>"),)


Channels = tuple["trio.MemorySendChannel[Batch]", "trio.MemoryReceiveChannel[Batch]"]


def start(nursery: trio.Nursery, *stages: Stage[Any, Any]) -> Channels:
    """A running pipeline between two memory channels."""
    head, receive = trio.open_memory_channel[Batch](0)
    send, tail = trio.open_memory_channel[Batch](0)
    named: Sequence[tuple[str, Stage[Any, Any]]] = [(type(stage).__name__.lower(), stage) for stage in stages]
    pipeline.start(nursery, named, STREAM, receive, send)
    return head, tail


async def test_one_task_per_stage_named_after_it() -> None:
    async with trio.open_nursery() as nursery:
        start(nursery, Pass(), Pass(), Ends("x", []))
        await trio.testing.wait_all_tasks_blocked()
        names = sorted(task.name for task in nursery.child_tasks)
        assert names == ["stage ends", "stage pass", "stage pass"]
        nursery.cancel_scope.cancel()


async def test_items_arrive_in_order_and_the_end_travels_through() -> None:
    notes: list[str] = []
    async with trio.open_nursery() as nursery:
        head, tail = start(nursery, Ends("a", notes), Pass(), Ends("b", notes))

        async def feed() -> None:
            with head:
                for number in range(3):
                    await head.send([TextDelta(0, str(number)), Ping()])

        nursery.start_soon(feed)
        got = [item async for batch in tail for item in batch]
    said = [item.text for item in got if isinstance(item, TextDelta)]
    assert sorted(said[:2]) == ["<a", "<b"]
    assert said[2:] == ["0", "1", "2", "a>", "b>"]
    assert notes.index("close a") < notes.index("close b")


async def test_a_slow_reader_holds_up_the_source(autojump_clock: trio.testing.MockClock) -> None:
    produced = 0
    async with trio.open_nursery() as nursery:
        head, tail = start(nursery, Pass(), Pass(), Pass(), Pass())

        async def flood() -> None:
            nonlocal produced
            for produced in range(1, 1000):  # noqa: B007  # counted even if the send waits
                await head.send([TextDelta(0, "x")])

        nursery.start_soon(flood)
        for consumed in range(1, 6):
            await tail.receive()
            await trio.sleep(1)
            assert produced <= consumed + 4 + 2  # one batch in each stage, one on its way in, one being made
        nursery.cancel_scope.cancel()


async def test_a_stage_that_leaves_early_ends_those_before_and_after_it_quietly() -> None:
    async with trio.open_nursery() as nursery:
        head, tail = start(nursery, Pass(), First(), Pass())
        await head.send([TextDelta(0, "1")])
        assert await tail.receive() == [TextDelta(0, "1")]
        with pytest.raises(trio.EndOfChannel):
            await tail.receive()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012  # how many it takes is not promised
            for _ in range(5):
                await head.send([TextDelta(0, "2")])


async def test_a_stage_that_raises_is_named() -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # the nursery is what raises
        async with trio.open_nursery() as nursery:
            head, tail = start(nursery, Pass(), Fail(), Pass())
            await head.send([TextDelta(0, "1")])
            await tail.receive()
    [error] = [exc for exc in caught.value.exceptions if isinstance(exc, ValueError)]
    assert error.__notes__ == ["in stage 'fail'"]


async def test_cancelling_the_nursery_ends_every_stage() -> None:
    async with trio.open_nursery() as nursery:
        start(nursery, Pass(), Ends("a", []), Pass())
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not nursery.child_tasks
