"""Anthropic streams for tests: made from events, cut up, and judged by a grammar of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import strategies as st

from trioproxy import Exchange, Stage
from trioproxy.dialects.fold import UNENDED
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Text,
    TextDelta,
    Usage,
)
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.keepalive import Keepalive
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.signature_filter import SignatureFilter
from trioproxy.stages.translate import Translate

STREAM = Exchange(id="test")
WHOLE = Exchange(id="test", stream=False, upstream_stream=False)
FOLDED = Exchange(id="test", stream=False, upstream_stream=True)
UNFOLDED = Exchange(id="test", stream=True, upstream_stream=False)

METADATA = ' ```json\n{\n "isNewTopic": true,\n "title": "Initial Greeting"\n}\n```'


def message(*texts: str, id: str = "msg_1", stop: bool = True) -> list[Event]:
    """A message with one text block that comes in these deltas."""
    start: list[Event] = [MessageStart(id, "m", Usage(input_tokens=1, output_tokens=1)), BlockStart(0, Text())]
    end: list[Event] = [BlockStop(0)] if stop else []
    return [
        *start,
        *(TextDelta(0, text) for text in texts),
        *end,
        MessageDelta("end_turn", None, Usage(output_tokens=1)),
        MessageStop(),
    ]


def wire(events: Sequence[Event]) -> bytes:
    """The events as an Anthropic upstream sends them; without an end they make a stream that is cut."""
    items: list[Any] = list(events)
    for stage in (Translate(), Reframe()):
        items = [*stage.open(STREAM), *stage.feed_all(items), *stage.close()]
    return b"".join(item for item in items if item is not UNENDED)


def chain() -> list[Stage[Any, Any]]:
    """The default response stages."""
    return [Deframe(), Parse(), SignatureFilter(), Keepalive(), Translate(), Reframe()]


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """`data` in pieces, cut at these places."""
    places = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in pairwise(places) if start < end]


def flow(stages: Sequence[Stage[Any, Any]], batches: Iterable[list[Any]], exchange: Exchange = STREAM) -> list[Any]:
    """What the stages give when these batches come one after the other, as the runner would do it."""
    out: list[Any] = []

    def push(items: list[Any], at: int) -> None:
        for index in range(at, len(stages)):
            items = stages[index].feed_all(items)
        out.extend(items)

    for index, opened in [(index, list(stage.open(exchange))) for index, stage in enumerate(stages)]:
        push(opened, index + 1)
    for batch in batches:
        push(list(batch), 0)
    for index, stage in enumerate(stages):
        push(list(stage.close()), index + 1)
    return out


def answer(data: bytes, exchange: Exchange = STREAM) -> bytes:
    """What the default chain makes of an upstream's bytes; an item that is no bytes is an error."""
    return b"".join(flow(chain(), [[data]] if data else [], exchange))


cuts = st.lists(st.integers(min_value=0, max_value=1 << 20), max_size=12)


def judge(stream: bytes) -> list[dict[str, Any]]:
    """The wire objects of a stream, after making sure that it is legal. Written from the API's documentation.

    Each message: message_start, blocks one after the other with indices from 0, message_delta, message_stop; pings and
    unknown events anywhere.
    """
    objects = []
    for block in stream.decode().split("\n\n")[:-1]:
        name, data = block.split("\n", 1)
        objects.append(msgspec.json.decode(data.removeprefix("data: ")))
        assert name == f"event: {objects[-1]['type']}"
    state, index = "out", 0
    for each in objects:
        match state, each["type"]:
            case _, "ping":
                pass
            case "out", "message_start":
                state, index = "between", 0
                assert each["message"]["content"] == []
                assert isinstance(each["message"]["usage"]["output_tokens"], int)
            case "between", "content_block_start":
                assert each["index"] == index
                state = "block"
            case "block", "content_block_delta":
                assert each["index"] == index
            case "block", "content_block_stop":
                assert each["index"] == index
                state, index = "between", index + 1
            case "between", "message_delta":
                assert "stop_reason" in each["delta"]
                assert isinstance(each["usage"]["output_tokens"], int)
                state = "ending"
            case "ending", "message_stop":
                state = "out"
            case _:
                raise AssertionError(f"{each['type']} must not come {state}: {stream!r}")
    assert state == "out", f"ended {state}"
    return objects


def texts(stream: bytes) -> list[str]:
    """The text of each message of a stream."""
    found: list[str] = []
    for block in stream.decode().replace("\r\n", "\n").split("\n\n"):
        data = block.partition("data:")[2].strip()
        each = msgspec.json.decode(data) if data.startswith("{") else {}
        if each.get("type") == "message_start":
            found.append("")
        elif found and each.get("type") == "content_block_delta":
            found[-1] += each["delta"].get("text", "")
    return found
