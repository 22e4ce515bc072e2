"""A pipeline is an ordered list of stages: checked before anything listens, then run as one task per stage.

The channels between the tasks have buffer 0, so at most one batch per stage is under way: a slow client slows every
stage before it, and at last the upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import trio

from trioproxy.errors import Problem
from trioproxy.items import Error, Event, Request

if TYPE_CHECKING:
    from trioproxy.stage import Batch, Exchange, Stage

__all__ = ["Receive", "Send", "check", "start"]

Flow = tuple[type, ...]


class Send:
    """The writing end of a memory channel: hands over at once where the reader already waits.

    Trying first costs 5-6 µs a hop where the plain awaiting form costs 12-13; buffer 0 still makes every second call
    wait for the reader, so a task cannot run away.
    """

    def __init__(self, channel: trio.MemorySendChannel[Batch]) -> None:
        self._channel = channel

    async def send(self, batch: Batch, /) -> None:
        """Raises `trio.BrokenResourceError` when the reader has left."""
        try:
            self._channel.send_nowait(batch)
        except trio.WouldBlock:
            await self._channel.send(batch)

    @property
    def reader_left(self) -> bool:
        return not self._channel.statistics().open_receive_channels

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._channel.close()


class Receive:
    """The reading end of a memory channel."""

    def __init__(self, channel: trio.MemoryReceiveChannel[Batch]) -> None:
        self._channel = channel

    async def receive(self) -> Batch:
        """Raises `trio.EndOfChannel` when the writer has closed."""
        try:
            return self._channel.receive_nowait()
        except trio.WouldBlock:
            return await self._channel.receive()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._channel.close()


def start(
    nursery: trio.Nursery, stages: Iterable[tuple[str, Stage[object, object]]], exchange: Exchange
) -> tuple[Send, Receive]:
    """Start one task per stage; return the two ends of the pipeline."""
    head, receive = _channel()
    for name, stage in stages:
        send, tail = _channel()
        nursery.start_soon(_run, name, stage, exchange, receive, send, name=f"stage {name}")
        receive = tail
    return head, receive


def _channel() -> tuple[Send, Receive]:
    send, receive = trio.open_memory_channel["Batch"](0)
    return Send(send), Receive(receive)


async def _run(
    name: str, stage: Stage[object, object], exchange: Exchange, receive: Receive, send: Send
) -> None:
    with receive, send:
        try:
            await stage.run(exchange, receive, send)
        except trio.BrokenResourceError:
            if not send.reader_left:
                raise  # not our channel: the stage's own trouble
            # Whoever came after us has left; closing `receive` tells whoever comes before.
        except Exception as exc:
            exc.add_note(f"in stage {name!r}")
            raise


# ── the order of a pipeline ─────────────────────────────────────────────────────────────────────────────────────────


def check(
    direction: str, stages: Sequence[tuple[str, type[Stage[object, object]]]], known: Mapping[str, type[Stage[object, object]]]
) -> tuple[list[tuple[int, Problem]], list[Flow]]:
    """Check the order of `stages` in `direction`, "request" or "response".

    Returns the problems, each with the index of the stage at fault (`len(stages)` for the end), and the types in flow
    after the start and after each stage. `known` are the stages that a hint may name.
    """
    flow: Flow = (Request,) if direction == "request" else (bytes,)
    flows, problems = [flow], list[tuple[int, Problem]]()
    before = "the client's request" if direction == "request" else "the upstream"
    for index, (name, stage) in enumerate(stages):
        if not any(_meets(item, taken) for item in flow for taken in stage.takes):
            message = (
                f"{direction} stage {index + 1}, '{name}', takes {_names(stage.takes)}, but {before} gives {_names(flow)}"
            )
            problems.append((index, Problem(message, _hint(flow, stage.takes, f"before '{name}'", stages, known))))
        flow = after(flow, stage)
        flows.append(flow)
        before = f"'{name}'"
    if direction == "response" and not problems and (left := tuple(item for item in flow if item is not bytes)):
        message = f"the last response stage, {before}, gives {_names(left)}, but the client needs bytes"
        problems.append((len(stages), Problem(message, _hint(left, (bytes,), f"after {before}", stages, known))))
    if direction == "request" and (left := tuple(i for i in flow if not issubclass(i, Request | Event))):
        message = f"the last request stage, {before}, gives {_names(left)}, but the upstream needs a Request"
        problems.append((len(stages), Problem(message)))
    return problems, flows


def reaches_client(
    flow: Flow, stages: Sequence[tuple[str, type[Stage[object, object]]]]
) -> Flow:
    """What is left, other than bytes, when `flow` enters the response stages: for the answers of request stages."""
    for _, stage in stages:
        flow = after(flow, stage)
    return tuple(item for item in flow if item is not bytes)


def after(flow: Flow, stage: type[Stage[object, object]]) -> Flow:
    """The types in flow behind a stage. `Error` is left out: it may flow anywhere, the proxy itself can write it."""
    past = [item for item in flow if not issubclass(item, stage.takes)]
    return tuple(dict.fromkeys([*past, *(given for given in stage.gives if given is not Error)]))


def _meets(item: type, taken: type) -> bool:
    """A stage of Events takes a TextDelta; a stage of TextDeltas finds some among Events."""
    return issubclass(item, taken) or issubclass(taken, item)


def _names(flow: Iterable[type]) -> str:
    return " or ".join(item.__name__ for item in flow) or "nothing"


def _hint(
    flow: Flow,
    wanted: Flow,
    where: str,
    stages: Sequence[tuple[str, type[Stage[object, object]]]],
    known: Mapping[str, type[Stage[object, object]]],
) -> str:
    """Which stages lead from `flow` to `wanted`: the shortest way, breadth first over the known stages."""
    ways: list[tuple[Flow, tuple[str, ...]]] = [(flow, ())]
    seen = set(flow)
    for have, way in ways:
        if way and any(_meets(item, target) for item in have for target in wanted):
            listed = [name for name in way if name in dict(stages)]
            verb = "move" if listed else "put"
            return f"{_steps(way)} {'turns' if len(way) == 1 else 'turn'} {_names(flow)} into {_names(have)}: " + (
                f"{verb} {'it' if len(way) == 1 else 'them'} {where}"
            )
        for name, stage in known.items():
            if any(issubclass(item, stage.takes) for item in have) and not seen.issuperset(stage.gives):
                seen.update(stage.gives)
                ways.append((after(have, stage), (*way, name)))
    return ""


def _steps(way: tuple[str, ...]) -> str:
    return " then ".join(f"'{name}'" for name in way)
