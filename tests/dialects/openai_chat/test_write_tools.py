"""Tools of Anthropic clients as Chat Completions functions: which, under what names, with what schemas."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.openai_chat.test_write_request import OPENAI, STRICT, TOOL, json, lost, written
from trioproxy.dialects.anthropic.request import read_request
from trioproxy.dialects.openai_chat.write_request import write_request
from trioproxy.dialects.target import Target
from trioproxy.ledger import Ledger


def functions(wire: dict[str, Any], host: str = "localhost") -> list[Any]:
    return [tool["function"] for tool in written(wire, host)[0].get("tools", [])]


def test_a_tool_is_a_function() -> None:
    body, ledger = written({"tools": [TOOL]})
    function = {"name": "Bash", "description": "Runs it", "parameters": TOOL["input_schema"]}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert not ledger


def test_h068_what_a_tool_does_not_say_is_filled_in() -> None:
    nothing = {"type": "object", "properties": {}}
    tools = [{"name": "a"}, {"name": "b", "type": "custom", "description": None, "input_schema": {"type": "object"}}]
    assert functions({"tools": tools}) == [{"name": "a", "parameters": nothing}, {"name": "b", "parameters": nothing}]
    assert lost({"tools": [{"description": "nameless"}]}) == ["tools[].name"]


def test_h069_fields_of_anthropics_tools_never_leak_into_the_schema() -> None:
    keys = {"cache_control": {"type": "ephemeral"}, "eager_input_streaming": True, "input_examples": [{}]}
    tool = {**TOOL, **keys, "allowed_callers": ["direct"], "defer_loading": False}
    assert functions({"tools": [tool]}) == functions({"tools": [TOOL]})
    assert lost({"tools": [tool]}) == [f"tools[].{key}" for key in (*keys, "allowed_callers", "defer_loading")]


def test_h132_strict_is_passed_on_where_the_schema_allows_it() -> None:
    assert functions({"tools": [{**TOOL, "input_schema": STRICT, "strict": True}]})[0]["strict"] is True
    assert functions({"tools": [{**TOOL, "strict": False}]})[0]["strict"] is False
    assert "strict" not in functions({"tools": [{**TOOL, "strict": True}]})[0]
    assert lost({"tools": [{**TOOL, "strict": True}]}) == ["tools[].strict"]


def test_h067_tools_of_anthropics_servers_are_dropped_visibly() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}, {"type": "mcp_toolset", "mcp_server_name": "x"}]
    body, _ = written({"tools": [TOOL, *tools]})
    assert len(body["tools"]) == 1
    assert lost({"tools": tools}) == ["tools[web_search]", "tools[mcp_toolset]"]
    assert "tools" not in written({"tools": tools})[0]


def test_an_empty_list_of_tools_is_none() -> None:
    """Claude Code 2.0 sends one; OpenAI answers 400."""
    body, ledger = written({"tools": [], "tool_choice": {"type": "auto"}})
    assert set(body) == {"model", "messages"}
    assert not ledger


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "Bash"}, {"type": "function", "function": {"name": "Bash"}}),
    ],
)
def test_h065_tool_choice(choice: Any, sent: Any) -> None:
    body, ledger = written({"tools": [TOOL], "tool_choice": choice})
    assert body["tool_choice"] == sent
    assert not ledger


def test_h065_a_choice_without_its_tool_is_dropped() -> None:
    gone = {"type": "tool", "name": "web_search"}
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert lost({"tools": [TOOL, search], "tool_choice": gone}) == ["tools[web_search]", "tool_choice"]
    body, ledger = written({"tool_choice": {"type": "any", "disable_parallel_tool_use": True}})
    assert set(body) == {"model", "messages"}
    assert "tool_choice" in str(ledger)


def test_h066_calls_one_at_a_time() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert written({"tools": [TOOL], "tool_choice": choice})[0]["parallel_tool_calls"] is False
    body, ledger = written({"model": "o3", "tools": [TOOL], "tool_choice": choice}, OPENAI)
    assert "parallel_tool_calls" not in body
    assert "disable_parallel_tool_use" in str(ledger)
    other = {"type": "auto", "disable_parallel_tool_use": False}
    assert "parallel_tool_calls" not in written({"tools": [TOOL], "tool_choice": other})[0]


def test_h063_a_long_name_is_short_everywhere_and_can_be_told_back() -> None:
    name = "mcp__server__" + "long" * 20
    call = {"type": "tool_use", "id": "t1", "name": name, "input": {}}
    wire = {
        "model": "m",
        "tools": [{"name": name}],
        "tool_choice": {"type": "tool", "name": name},
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [call]}],
    }
    sent = write_request(read_request(msgspec.json.encode(wire)), Target(), Ledger())
    body = msgspec.json.decode(sent.body)
    short = body["tools"][0]["function"]["name"]
    assert len(short) <= 64
    assert body["tool_choice"]["function"]["name"] == short
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == short
    assert sent.renamed == {short: name}


def found(*blocks: Any) -> list[Any]:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": list(blocks)}
    call = {"type": "tool_use", "id": "t1", "name": "ToolSearch", "input": {}}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def test_deferred_tools_are_offered_once_they_were_found() -> None:
    tools = [{"name": "ToolSearch"}, {"name": "a", "defer_loading": True}, {"name": "b", "defer_loading": True}]
    assert [each["name"] for each in functions({"tools": tools})] == ["ToolSearch"]
    wire = {"tools": tools, "messages": found({"type": "tool_reference", "tool_name": "b"})}
    assert [each["name"] for each in functions(wire)] == ["ToolSearch", "b"]
    assert "tools[a]" in lost(wire)
    chosen = {"tools": tools, "tool_choice": {"type": "tool", "name": "a"}}
    assert [each["name"] for each in functions(chosen)] == ["ToolSearch", "a"]
    assert written(wire)[0]["messages"][1]["content"] == "Tool available: b\n"


def test_deferred_tools_that_only_anthropic_could_find_are_offered() -> None:
    tools = [{"type": "tool_search_tool_regex_20251119", "name": "s"}, {"name": "a", "defer_loading": True}]
    assert [each["name"] for each in functions({"tools": tools})] == ["a"]


def changed(*blocks: Any) -> list[Any]:
    return [{"role": "user", "content": "hi"}, {"role": "system", "content": list(blocks)}]


def test_tools_that_the_conversation_adds_and_withdraws() -> None:
    tools = [{"name": "a"}, {"name": "b", "defer_loading": True}]
    add = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "b"}}
    new = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"name": "c"}}}
    gone = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}}
    wire = {"tools": tools, "messages": changed(add, new, gone)}
    assert [each["name"] for each in functions(wire)] == ["b", "c"]


def test_h131_keywords_a_host_refuses_go_but_properties_of_that_name_stay() -> None:
    inner = {"type": "object", "$schema": "x", "properties": {"$schema": {"type": "string"}, "uniqueItems": {}}}
    schema = {
        "$schema": "https://json-schema.org",
        "type": "object",
        "properties": {"additionalProperties": {"anyOf": [inner]}, "b": {"enum": [{"$schema": 1}]}},
        "additionalProperties": False,
    }
    tools = {"tools": [{"name": "a", "input_schema": schema}]}
    assert functions(tools)[0]["parameters"] == schema
    assert functions(tools, "generativelanguage.googleapis.com")[0]["parameters"] == {
        "type": "object",
        "properties": {
            "additionalProperties": {
                "anyOf": [{"type": "object", "properties": {"$schema": {"type": "string"}, "uniqueItems": {}}}]
            },
            "b": {"enum": [{"$schema": 1}]},
        },
    }
    assert lost(tools, "generativelanguage.googleapis.com") == ["tools[].input_schema"]


def flat(value: Any) -> Any:
    """A JSON value with its key order, for comparing."""
    if isinstance(value, dict):
        return [(key, flat(each)) for key, each in value.items()]
    return [flat(each) for each in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=8), json, min_size=1, max_size=5), st.dictionaries(st.text(max_size=8), json))
def test_h122_h124_schemas_and_arguments_keep_their_order_and_numbers(schema: Any, arguments: Any) -> None:
    schema = {**schema, "type": "object", "properties": {"z": {}, "a": {}}}
    call = {"type": "tool_use", "id": "t1", "name": "a", "input": arguments}
    messages = [{"role": "assistant", "content": [call]}]
    body, _ = written({"tools": [{"name": "a", "input_schema": schema}], "messages": messages})
    assert flat(body["tools"][0]["function"]["parameters"]) == flat(schema)
    sent = body["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert flat(msgspec.json.decode(sent)) == flat(arguments)
