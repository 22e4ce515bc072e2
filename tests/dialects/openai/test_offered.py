"""Tools of a request, under names that every dialect can say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.openai.offered import Offered, flat_name, offered, offers


@pytest.mark.parametrize(
    ("namespace", "name", "flat"),
    [
        (None, "f", "f"),
        ("", "f", "f"),
        ("functions", "f", "f"),  # where Codex looks if no namespace is said
        ("agents", "spawn", "agents__spawn"),
        ("mcp__files__", "read", "mcp__files__read"),
    ],
)
def test_h150_a_namespace_goes_in_front_of_the_name(namespace: str | None, name: str, flat: str) -> None:
    assert flat_name(namespace, name) == flat


def test_h150_every_tool_that_the_client_runs_is_found_by_its_flat_name() -> None:
    tools = [
        {"type": "function", "name": "f", "parameters": {}},
        {"name": "typeless"},
        {"type": "function", "function": {"name": "nested"}},  # as chat has it
        {"type": "custom", "name": "patch", "format": {"type": "text"}},
        {"type": "custom", "custom": {"name": "nested_custom"}},
        {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}]},
        {"type": "web_search"},
    ]
    items = [
        {"role": "user", "content": "hi"},
        {
            "type": "additional_tools",
            "role": "developer",
            "tools": [{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}],
        },
        {"type": "tool_search_output", "call_id": "c", "tools": [{"type": "function", "name": "found"}]},
    ]
    assert offered({"tools": tools, "input": items}) == {
        "f": Offered("f", None, False),
        "typeless": Offered("typeless", None, False),
        "nested": Offered("nested", None, False, nested=True),
        "patch": Offered("patch", None, True),
        "nested_custom": Offered("nested_custom", None, True, nested=True),
        "agents__spawn": Offered("spawn", "agents", False),
        "exec": Offered("exec", "functions", True),
        "found": Offered("found", None, False),
    }


def test_a_tool_offered_again_counts_as_it_was_offered_last() -> None:
    items = [{"type": "additional_tools", "tools": [{"type": "custom", "name": "f"}]}]
    wire = {"tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "g"}], "input": items}
    assert offered(wire)["f"] == Offered("f", None, False)  # the input's is older, wherever it stands
    again = {"input": [*items, {"type": "additional_tools", "tools": [{"type": "function", "name": "f"}]}]}
    assert offered(again) == {"f": Offered("f", None, False)}


def test_h150_a_search_for_tools_is_a_tool_if_the_client_runs_it() -> None:
    ours = {"type": "tool_search", "execution": "client", "parameters": {}}
    assert offered({"tools": [ours]}) == {"tool_search": Offered("tool_search", None, False, True)}
    assert offered({"tools": [{"type": "tool_search"}, {**ours, "execution": "server"}]}) == {}


def test_every_tool_has_its_path_and_the_first_of_a_namespace_its_introduction() -> None:
    inner = [{"type": "function", "name": "a"}, {"type": "function", "name": "b"}]
    tools = [{"type": "namespace", "name": "n", "description": " About n. ", "tools": inner}]
    found = list(offers({"input": [{"type": "additional_tools", "tools": [1, *tools]}]}))
    assert [(each.path, each.introduction) for each in found] == [
        ("input[0].tools[0]", ""),
        ("input[0].tools[1].tools[0]", "About n."),
        ("input[0].tools[1].tools[1]", ""),
    ]


words = st.sampled_from(["function", "custom", "namespace", "additional_tools", "n", ""])
keys = st.sampled_from(["type", "name", "tools", "input", "function", "custom", "description"])
json = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, json))
def test_whatever_a_client_sends_is_looked_through(wire: dict[str, Any]) -> None:
    for flat, tool in offered(wire).items():
        assert flat == flat_name(tool.namespace, tool.name)
