"""Answers for laws: any legal sequence of events, in messages and blocks that follow each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherBlock,
    Ping,
    RedactedThinking,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Usage,
)

words = st.sampled_from(["", "a", "Hm. ", "é", "\n", '"}', "two words", "😀"])
inputs = st.sampled_from(["{}", '{"a": 1}', '{"path": "x", "n": [1, 2.50]}', '{"s": "\\u00e9 }"}'])

# A block: what it starts with, and the kinds and pieces of its deltas.
texts: Any = st.tuples(st.just(Text()), st.lists(words, max_size=4))
thoughts: Any = st.tuples(st.just(Thinking()), st.lists(words, max_size=4))
redacted: Any = st.tuples(st.builds(RedactedThinking, data=st.sampled_from(["x", "yy=="])), st.just([]))
others: Any = st.tuples(st.just(OtherBlock(kind="server_tool_use")), st.lists(st.just("{}"), max_size=1))
names = st.sampled_from(["read", "write"])


@st.composite
def tools(draw: st.DrawFn) -> tuple[Block, list[str]]:
    text = draw(inputs)
    cut = draw(st.integers(0, len(text)))
    # No delta at all is an empty object.
    return ToolUse(id=draw(st.uuids()).hex, name=draw(names)), draw(st.sampled_from([[text[:cut], text[cut:]], []]))


@st.composite
def messages(draw: st.DrawFn, *, calls: bool = True, signed: bool = False) -> list[Event]:
    """A message; without `calls` of tools if need be, and with each thinking block `signed` if all are to be."""
    kinds = [texts, thoughts, redacted, others, *([tools()] if calls else [])]
    events: list[Event] = [MessageStart(draw(st.sampled_from(["msg_1", "msg_2"])), "claude", Usage(3, 1))]
    called = False
    for index, (block, pieces) in enumerate(draw(st.lists(st.one_of(kinds), max_size=5))):
        events.append(BlockStart(index, block))
        for piece in pieces:
            match block:
                case Text():
                    events.append(TextDelta(index, piece))
                case Thinking():
                    events.append(ThinkingDelta(index, piece))
                case _:
                    events.append(ToolInputDelta(index, piece))
            if draw(st.booleans()):
                events.append(Ping())
        if isinstance(block, Thinking) and (signed or draw(st.booleans())):
            events.append(SignatureDelta(index, draw(st.sampled_from(["sig", "s=="]))))
        events.append(BlockStop(index))
        called = called or isinstance(block, ToolUse)
    reason = "tool_use" if called else draw(st.sampled_from(["end_turn", "max_tokens"]))
    return [*events, MessageDelta(reason, usage=Usage(output_tokens=5)), MessageStop()]


def answers(*, calls: bool = True, signed: bool = False) -> st.SearchStrategy[list[Event]]:
    """Messages of one stream, one after the other."""
    several = st.lists(messages(calls=calls, signed=signed), min_size=1, max_size=3)
    return several.map(lambda each: [event for message in each for event in message])


def in_batches(events: list[Event], sizes: list[int]) -> list[list[Event]]:
    """The events in batches of these sizes, and the rest one by one."""
    batches, at = [], 0
    for size in sizes:
        batches.append(events[at : at + size])
        at += size
    return [*batches, *([event] for event in events[at:])]
