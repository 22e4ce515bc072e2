"""A pipeline is an ordered list of stages: checked before anything listens, then run as one task per stage.

The channels between the tasks have buffer 0, so at most one batch per stage is under way: a slow client slows every
stage before it, and at last the upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import trio

from trioproxy.errors import Problem
from trioproxy.items import Error, Event, Request

if TYPE_CHECKING:
    from trioproxy.stage import Batch, Exchange, Receive, Send, Stage

__all__ = ["after", "check", "reaches_client", "start"]

Flow = tuple[type, ...]
Stages = Sequence[tuple[str, type["Stage[Any, Any]"]]]
Known = Mapping[str, type["Stage[Any, Any]"]]


class _Send:
    """The writing end of a memory channel that hands over at once where the reader already waits.

    Trying first saves the turn of the scheduler that `MemorySendChannel.send` takes to be fair; with buffer 0 every
    second call waits for the reader, so a task cannot run away.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._channel.close()


def start(
    nursery: trio.Nursery,
    stages: Sequence[tuple[str, Stage[Any, Any]]],
    exchange: Exchange,
    receive: Receive,
    send: Send,
) -> None:
    """Start one task per stage, a memory channel between each two.

    The first stage reads `receive` and the last writes `send`: with no channel there, what reads the network is the
    first stage's own task, and what writes it the last one's. Each end is left (`with`) when its stage is done.
    """
    last = len(stages) - 1
    for index, (name, stage) in enumerate(stages):
        tail: trio.MemoryReceiveChannel[Batch] | None = None
        out = send
        if index < last:
            channel: tuple[trio.MemorySendChannel[Batch], trio.MemoryReceiveChannel[Batch]]
            channel = trio.open_memory_channel(0)  # without its type in brackets: that costs as much as the channel
            tail = channel[1]
            out = _Send(channel[0])
        nursery.start_soon(_run, name, stage, exchange, receive, out, name=f"stage {name}")
        if tail is not None:
            receive = tail


async def _run(name: str, stage: Stage[Any, Any], exchange: Exchange, receive: Receive, send: Send) -> None:
    with receive, send:
        try:
            await stage.run(exchange, receive, send)
        except trio.BrokenResourceError:
            if not (isinstance(send, _Send) and send.reader_left):
                raise  # not our channel: the stage's own trouble
            # Whoever came after us has left; leaving `receive` tells whoever comes before.
        except SystemExit as exc:
            failure = RuntimeError(f"it wanted to exit with status {exc.code}, and with it the whole proxy")
            failure.add_note(f"in stage {name!r}")
            raise failure from exc
        except Exception as exc:
            exc.add_note(f"in stage {name!r}")
            raise


# ── the order of a pipeline ─────────────────────────────────────────────────────────────────────────────────────────


def check(
    direction: str, stages: Sequence[tuple[str, type[Stage[Any, Any]]]], known: Mapping[str, type[Stage[Any, Any]]]
) -> tuple[list[tuple[int, Problem]], list[Flow]]:
    """Check the order of `stages` in `direction`, "request" or "response".

    Returns the problems, each with the index of the stage at fault (`len(stages)` for the end), and the types in flow
    after the start and after each stage. `known` are the stages that a hint may name.
    """
    # A stage that answers requests is no way from one type to another: no hint names it.
    known = {name: stage for name, stage in known.items() if Request not in stage.takes}
    flow: Flow = (Request,) if direction == "request" else (bytes,)
    flows, problems = [flow], list[tuple[int, Problem]]()
    before = "the client's request" if direction == "request" else "the upstream"
    for index, (name, stage) in enumerate(stages):
        if not any(_meets_any(item, stage.takes) for item in flow):
            takes, gives = _names(stage.takes), _names(flow)
            message = f"{direction} stage {index + 1}, '{name}', takes {takes}, but {before} gives {gives}"
            hint = _back(flows, stages, index, known) or _hint(flow, stage.takes, f"before '{name}'", stages, known)
            hint = hint or _other_list(direction, name, stage)
            problems.append((index, Problem(message, hint)))
        flow = after(flow, stage)
        flows.append(flow)
        before = f"'{name}'"
    if direction == "response" and not problems and (left := tuple(item for item in flow if item is not bytes)):
        message = f"the last response stage, {before}, gives {_names(left)}, but the client needs bytes"
        problems.append((len(stages), Problem(message, _hint(left, (bytes,), f"after {before}", stages, known))))
    if (
        direction == "request"
        and not problems
        and (left := tuple(i for i in flow if not issubclass(i, Request | Event)))
    ):
        message = f"the last request stage, {before}, gives {_names(left)}, but the upstream needs a Request"
        problems.append((len(stages), Problem(message)))
    return problems, flows


def reaches_client(flow: Flow, stages: Sequence[tuple[str, type[Stage[Any, Any]]]]) -> Flow:
    """What is left, other than bytes, when `flow` enters the response stages: for the answers of request stages."""
    for _, stage in stages:
        flow = after(flow, stage)
    return tuple(item for item in flow if item is not bytes)


def after(flow: Flow, stage: type[Stage[Any, Any]]) -> Flow:
    """The types in flow behind a stage. `Error` is left out: it may flow anywhere, the proxy itself can write it."""
    past = [item for item in flow if not issubclass(item, stage.takes)]
    return tuple(dict.fromkeys([*past, *(given for given in stage.gives if given is not Error)]))


def _meets(item: type, taken: type) -> bool:
    """A stage of Events takes a TextDelta; a stage of TextDeltas finds some among Events."""
    return issubclass(item, taken) or issubclass(taken, item)


def _names(flow: Iterable[type]) -> str:
    return " or ".join(item.__name__ for item in flow) or "nothing"


def _other_list(direction: str, name: str, stage: type[Stage[Any, Any]]) -> str:
    """For a stage of the other direction."""
    meant = "request" if any(_meets(Request, taken) for taken in stage.takes) else "response"
    return f"'{name}' is a {meant} stage" if meant != direction else ""


def _back(flows: Sequence[Flow], stages: Stages, index: int, known: Known) -> str:
    """For a stage that stands too late: where what it takes was still in flow."""
    name, stage = stages[index]
    behind = [each for each, _ in stages[index:]]
    if any(each not in dict(stages) or each in behind for each in _way(flows[-1], stage.takes, known)[0]):
        return ""  # what it needs is missing, or comes later: it is not this stage that has to move
    for flow, (before, _) in reversed(list(zip(flows, stages[:index], strict=False))):
        if found := tuple(item for item in flow if _meets_any(item, stage.takes)):
            return f"{_names(found)} flows until '{before}': move '{name}' before it"
    return ""


def _hint(flow: Flow, wanted: Flow, where: str, stages: Stages, known: Known) -> str:
    """Which stages lead from `flow` to `wanted`, and where to put them."""
    way, taken, given = _way(flow, wanted, known)
    if not way:
        return ""
    verb = "move" if any(name in dict(stages) for name in way) else "put"
    turn, them = ("turns", "it") if len(way) == 1 else ("turn", "them")
    return f"{_steps(way)} {turn} {_names(taken)} into {_names(given)}: {verb} {them} {where}"


def _way(flow: Flow, wanted: Flow, known: Known) -> tuple[tuple[str, ...], Flow, Flow]:
    """The shortest way from `flow` to `wanted`, breadth first over the known stages; what it takes and gives."""
    ways: list[tuple[Flow, tuple[str, ...]]] = [(flow, ())]
    seen = set(flow)
    for have, way in ways:
        if way and (given := tuple(item for item in have if _meets_any(item, wanted))):
            return way, tuple(item for item in flow if issubclass(item, known[way[0]].takes)), given
        for name, stage in known.items():
            if any(issubclass(item, stage.takes) for item in have) and not seen.issuperset(stage.gives):
                seen.update(stage.gives)
                ways.append((after(have, stage), (*way, name)))
    return (), (), ()


def _meets_any(item: type, wanted: Flow) -> bool:
    return any(_meets(item, target) for target in wanted)


def _steps(way: tuple[str, ...]) -> str:
    return " then ".join(f"'{name}'" for name in way)
