"""Tools of Anthropic clients as Responses has them: which, under what names, with what schemas."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dialects.openai_responses.bodies import OPENAI, TOOL, assistant, call, lost, result, sent_for, user, written
from tests.dialects.openai_responses.test_write_request import STRICT

SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def tools(wire: dict[str, Any], host: str = "localhost") -> list[Any]:
    found: list[Any] = written(wire, host)[0].get("tools", [])
    return found


def test_a_tool_is_a_flat_function_that_is_not_strict_unasked() -> None:
    schema = TOOL["input_schema"]
    function = {"type": "function", "name": "Bash", "description": "Runs it", "parameters": schema, "strict": False}
    assert tools({"tools": [TOOL]}) == [function]


def test_h132_strict_is_passed_on_where_the_schema_allows_it() -> None:
    assert tools({"tools": [{**TOOL, "input_schema": STRICT, "strict": True}]})[0]["strict"] is True
    assert tools({"tools": [{**TOOL, "strict": True}]})[0]["strict"] is False
    assert lost({"tools": [{**TOOL, "strict": True}]}) == ["tools[].strict"]


def test_h068_h069_what_a_tool_does_not_say_is_filled_in_and_what_only_anthropic_knows_left_out() -> None:
    assert tools({"tools": [{"name": "a"}]})[0]["parameters"] == {"type": "object", "properties": {}}
    keys = {"cache_control": {"type": "ephemeral"}, "eager_input_streaming": True}
    assert tools({"tools": [TOOL | keys]}) == tools({"tools": [TOOL]})
    assert lost({"tools": [TOOL | keys]}) == [f"tools[].{key}" for key in keys]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "Bash"}, {"type": "function", "name": "Bash"}),
    ],
)
def test_h065_tool_choice(choice: Any, expected: Any) -> None:
    body, ledger = written({"tools": [TOOL], "tool_choice": choice})
    assert body["tool_choice"] == expected
    assert not ledger
    assert "tool_choice" not in written({"tool_choice": choice})[0]


def test_h066_calls_one_at_a_time() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert written({"model": "o3", "tools": [TOOL], "tool_choice": choice}, OPENAI)[0]["parallel_tool_calls"] is False


def test_h063_a_long_name_is_short_everywhere_and_can_be_told_back() -> None:
    name = "mcp__server__" + "long" * 20
    messages = [user("hi"), assistant(call(name=name)), user(result())]
    sent, _ = sent_for({"tools": [{"name": name}], "tool_choice": {"type": "tool", "name": name}, "messages": messages})
    body = msgspec.json.decode(sent.body)
    short = body["tools"][0]["name"]
    assert len(short) <= 64
    assert body["tool_choice"]["name"] == body["input"][1]["name"] == short
    assert sent.renamed == {short: name}


def test_deferred_tools_are_offered_once_they_were_found() -> None:
    offered = [{"name": "ToolSearch"}, {"name": "a", "defer_loading": True}, {"name": "b", "defer_loading": True}]
    found = [
        assistant(call(name="ToolSearch")),
        user(result(content=[{"type": "tool_reference", "tool_name": "b"}])),
    ]
    body, _ = written({"tools": offered, "messages": found})
    assert [each["name"] for each in body["tools"]] == ["ToolSearch", "b"]
    assert body["input"][1]["output"] == "Tool available: b\n"


def test_h067_anthropics_web_search_is_the_hosts_own() -> None:
    where = {"type": "approximate", "city": "Bern", "country": "CH"}
    said = SEARCH | {"allowed_domains": ["a.org"], "user_location": where}
    assert tools({"tools": [TOOL, said]}, OPENAI)[1] == {
        "type": "web_search",
        "filters": {"allowed_domains": ["a.org"]},
        "user_location": where,
    }
    assert lost({"tools": [said]}, OPENAI) == []
    assert lost({"tools": [SEARCH | {"max_uses": 8, "blocked_domains": ["b.org"]}]}, OPENAI) == [
        "tools[web_search].max_uses",
        "tools[web_search].blocked_domains",
    ]
    assert tools({"tools": [SEARCH | {"blocked_domains": ["b.org"]}]}, "api.x.ai") == [
        {"type": "web_search", "filters": {"excluded_domains": ["b.org"]}}
    ]


def test_h067_elsewhere_it_is_dropped_visibly_as_all_other_tools_of_anthropics_servers() -> None:
    assert lost({"tools": [SEARCH]}) == ["tools[web_search]"]
    assert lost({"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}, OPENAI) == ["tools[mcp_toolset]"]
    assert "tools" not in written({"tools": [SEARCH]})[0]


def test_h067_there_is_one_search_and_it_can_be_chosen() -> None:
    newer = SEARCH | {"type": "web_search_20260318", "name": "newer"}
    assert tools({"tools": [SEARCH, newer]}, OPENAI) == [{"type": "web_search"}]
    chosen = {"tool_choice": {"type": "tool", "name": "web_search"}}
    assert written({"tools": [SEARCH], **chosen}, OPENAI)[0]["tool_choice"] == "required"
    assert written({"tools": [SEARCH, TOOL], **chosen}, OPENAI)[0]["tool_choice"] == {"type": "web_search"}
    own = {"name": "web_search", "description": "the client's own"}
    assert written({"tools": [own], **chosen}, OPENAI)[0]["tool_choice"]["type"] == "function"
