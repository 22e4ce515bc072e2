"""Items of a Responses request, in turns."""

from __future__ import annotations

from typing import Any

import pytest

from trioproxy.dialects.openai_responses.turns import Turn, items_in, kind_of, turned

USER = {"role": "user", "content": "hi"}
SAID = {"type": "message", "role": "assistant", "content": "x"}
THOUGHT = {"type": "reasoning", "summary": []}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "r"}
TOOLS = {"type": "additional_tools", "tools": []}
SEARCH = {"type": "web_search_call"}


def told(role: str) -> dict[str, Any]:
    return {"role": role, "content": "s"}


def test_what_the_assistant_does_is_one_turn_and_all_else_one_each() -> None:
    items = [USER, USER, THOUGHT, SAID, CALL, SEARCH, CALL, RESULT, RESULT, THOUGHT, SAID]
    front, turns = turned(items)
    assert front == (Turn("", ()),)
    assert turns == (
        *(Turn("user", (0,)), Turn("user", (1,)), Turn("assistant", (2, 3, 4, 5, 6))),
        *(Turn("user", (7,)), Turn("user", (8,)), Turn("assistant", (9, 10))),
    )


def test_h051_only_what_is_told_in_front_is_in_front() -> None:
    front, turns = turned([TOOLS, told("developer"), told("system"), TOOLS, USER, told("developer"), SAID])
    assert front == (Turn("", (0,)), Turn("system", (1,)), Turn("system", (2, 3)))
    assert turns == (Turn("user", (4,)), Turn("system", (5,)), Turn("assistant", (6,)))


def test_what_nobody_says_belongs_to_the_turn_before_it() -> None:
    _, turns = turned([USER, TOOLS, THOUGHT, {"type": "some_future_item"}, SAID])
    assert turns == (Turn("user", (0, 1)), Turn("assistant", (2, 3, 4)))


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (USER, "message"),  # H150c
        ({"id": "x"}, "item_reference"),
        ({"type": None, "role": "user"}, "message"),
        (CALL, "function_call"),
        (SEARCH, "hosted"),
        ({"type": "tool_search_call", "call_id": None}, "hosted"),
        ({"type": "tool_search_call", "call_id": "c"}, "tool_search_call"),
        ({"type": ["message"]}, ""),
        ({}, ""),
        ("x", ""),
    ],
)
def test_kinds_of_items(item: Any, kind: str) -> None:
    assert kind_of(item) == kind


@pytest.mark.parametrize(("said", "items"), [("hi", [USER]), ([SAID], [SAID]), (None, []), (5, [])])
def test_input_may_be_a_string(said: Any, items: list[Any]) -> None:
    assert items_in({"input": said}) == items


@pytest.mark.parametrize("items", [[], [TOOLS], [told("system")], [{"role": "pilot"}, {"type": "item_reference"}]])
def test_every_item_is_in_one_turn(items: list[Any]) -> None:
    front, turns = turned(items)
    assert [index for turn in (*front, *turns) for index in turn.items] == list(range(len(items)))
