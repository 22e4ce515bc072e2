"""Conversations taken apart in rounds: whatever the client sent, every call is answered once, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.names import safe_id
from trioproxy.dialects.openai.write_turns import blocks_of, call_id, reminder, rounds
from trioproxy.items import Block, Message, Request, Text, ToolResult, ToolUse
from trioproxy.ledger import Ledger

ids = st.sampled_from("abc")
blocks = st.one_of(
    st.builds(Text, st.text("xy", max_size=2)),
    st.builds(ToolUse, id=ids, name=st.just("t")),
    st.builds(ToolResult, tool_use_id=ids, content=st.text("xy", max_size=2)),
)
messages = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "system"]),
    st.text("xy", max_size=2) | st.lists(blocks, max_size=4).map(tuple),
)


def of(kind: type[Block], *found: Block) -> list[Block]:
    return [block for block in found if isinstance(block, kind)]


@given(st.lists(messages, max_size=6))
def test_h070_every_call_is_answered_once_and_every_word_is_in_its_place(said: list[Message]) -> None:
    made = rounds(Request("m", tuple(said)), Ledger())
    for each in made:
        calls = of(ToolUse, *each.blocks)
        assert [call for call, _ in each.answers] == calls
        assert len({call.id for call, _ in each.answers}) == len(calls)
        assert all(result is None or result.tool_use_id == call.id for call, result in each.answers)
    told = [each.blocks + sum((tuple(blocks_of(message.content)) for message in each.others), ()) for each in made]
    words = of(Text, *(block for message in said for block in blocks_of(message.content)))
    assert of(Text, *(block for each in told for block in each)) == words


def test_the_last_of_several_results_counts_and_strangers_stay_with_the_user() -> None:
    call = ToolUse(id="a", name="t")
    results = tuple(ToolResult(tool_use_id=id, content=text) for id, text in (("a", "old"), ("z", "?"), ("a", "new")))
    ledger = Ledger()
    (only,) = rounds(Request("m", (Message("assistant", (call,)), Message("user", results))), ledger)
    assert only.answers == ((call, results[2]),)
    assert only.others == (Message("user", (results[1],)),)
    assert str(ledger) == "messages[].content[].tool_use_id (several results of one call: the last is sent)"


@pytest.mark.parametrize(
    ("id", "limit", "nine", "sent"),
    [
        ("call_1", 64, False, "call_1"),
        (safe_id("functions.add:0"), 64, False, "functions.add:0"),
        ("i" * 40, 40, False, "i" * 40),
        ("abcdefghi", 64, True, "abcdefghi"),
    ],
)
def test_h064_an_id_that_fits_goes_back_as_it_was_said(id: str, limit: int, nine: bool, sent: str) -> None:
    assert call_id(id, limit, nine=nine) == sent


@pytest.mark.parametrize(("limit", "nine", "length"), [(40, False, 37), (64, True, 9)])
def test_h064_h130_one_that_does_not_is_another_one_and_always_the_same(limit: int, nine: bool, length: int) -> None:
    for id in ("i" * 65, "j" * 65, ""):
        made = call_id(id, limit, nine=nine)
        assert (len(made), made) == (length, call_id(id, limit, nine=nine))
    assert call_id("i" * 65, limit, nine=nine) != call_id("j" * 65, limit, nine=nine)


def test_h051_a_reminder_is_wrapped_once() -> None:
    wrapped = reminder("Be brief.")
    assert wrapped == "<system-reminder>\nBe brief.\n</system-reminder>"
    assert reminder(wrapped) == wrapped
