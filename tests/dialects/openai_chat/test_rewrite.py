"""A chat request for a chat upstream, changed by stages: only what they changed changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.carried import carried
from trioproxy.dialects.openai_chat.read_request import read_request
from trioproxy.dialects.openai_chat.rewrite import fit, rewrite
from trioproxy.dialects.target import Target
from trioproxy.items import Message, Request, Text, ToolResult, ToolUse, replace
from trioproxy.ledger import Ledger

CALL = {"id": "functions.add:0", "type": "function", "function": {"name": "add", "arguments": '{"b":1, "a":2}'}}
BODY: dict[str, Any] = {
    "seed": 7,
    "model": "gpt",
    "messages": [
        {"role": "developer", "content": "be brief", "name": "boss"},
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "hi", "odd": True}], "name": "ann"},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "functions.add:0", "content": [{"type": "text", "text": "3"}]},
        {"role": "assistant", "content": None, "audio": {"id": "a"}},
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": "AA"}}, {"type": "text", "text": "?"}],
        },
        {"role": "ipython", "content": "3"},
    ],
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {"z": 1, "a": 2}}, "odd": 1}],
    "temperature": 1.9,
}
REQUEST = read_request(msgspec.json.encode(BODY))


def rewritten(request: Request) -> Any:
    assert request.source is not None
    return msgspec.json.decode(rewrite(request, request.source, Target()).body)


def changed(index: int, message: Message | None) -> Any:
    """The messages as they go out, with one of them changed, or gone."""
    messages = [*REQUEST.messages[:index], *([message] if message else []), *REQUEST.messages[index + 1 :]]
    got = rewritten(replace(REQUEST, messages=tuple(messages)))
    assert got | {"messages": None} == BODY | {"messages": None}
    return got["messages"]


def test_what_nobody_changed_stays() -> None:
    assert rewritten(REQUEST) == BODY


def test_a_changed_field_beside_the_messages() -> None:
    assert rewritten(replace(REQUEST, model="other", max_tokens=5)) == BODY | {"model": "other", "max_tokens": 5}


def test_a_changed_text() -> None:
    sent = BODY["messages"]
    assert changed(0, Message("user", (Text(text="hello"),))) == [
        *sent[:2],
        {"role": "user", "content": "hello", "name": "ann"},
        *sent[3:],
    ]
    assert changed(1, Message("user", "never"))[3] == {"role": "user", "content": "never"}


def test_a_changed_call_and_its_result() -> None:
    call = REQUEST.messages[2].content[0]
    assert isinstance(call, ToolUse)
    got = changed(2, Message("assistant", (replace(call, name="sum"),)))[4]
    assert got["tool_calls"][0] == CALL | {"function": {"name": "sum", "arguments": '{"b":1, "a":2}'}}
    assert got["reasoning_content"] == "hm"
    result = REQUEST.messages[3].content[0]
    assert isinstance(result, ToolResult)
    assert changed(3, Message("user", (replace(result, content="4"),)))[5] == {
        "role": "tool",
        "tool_call_id": "functions.add:0",
        "content": "4",
    }


def test_a_change_beside_what_only_chat_can_say() -> None:
    content = REQUEST.messages[5].content
    assert isinstance(content, tuple)
    audio, text = content
    assert isinstance(text, Text)
    assert changed(5, Message("user", (audio, replace(text, text="!"))))[7]["content"] == [
        BODY["messages"][7]["content"][0],
        {"type": "text", "text": "!"},
    ]
    more = rewritten(replace(REQUEST, messages=(*REQUEST.messages[5:], Message("user", "new"))))["messages"]
    assert more[2:] == [*BODY["messages"][7:], {"role": "user", "content": "new"}]


def test_a_message_less_and_one_more() -> None:
    sent = BODY["messages"]
    assert changed(1, None) == [*sent[:3], *sent[4:]]
    more = (*REQUEST.messages[:1], Message("user", "new"), *REQUEST.messages[1:])
    got = rewritten(replace(REQUEST, messages=more))["messages"]
    assert got == [*sent[:3], {"role": "user", "content": "new"}, *sent[3:]]


def test_a_changed_system_prompt() -> None:
    got = rewritten(replace(REQUEST, system="new"))["messages"]
    assert got == [{"role": "developer", "content": "new"}, *BODY["messages"][2:]]
    assert rewritten(replace(REQUEST, system=None))["messages"] == BODY["messages"][2:]


@given(st.permutations(range(len(REQUEST.messages))), st.integers(0, len(REQUEST.messages)))
def test_any_choice_of_messages_can_be_written(order: list[int], count: int) -> None:
    chosen = tuple(REQUEST.messages[index] for index in order[:count])
    assert rewritten(replace(REQUEST, messages=chosen))["messages"][:2] == BODY["messages"][:2]


@pytest.mark.parametrize("role", ["developer", "system"])
@pytest.mark.parametrize("content", [[{"type": "image_url", "image_url": {"url": "https://x"}}], 5])
def test_h052_a_message_in_front_that_only_its_upstream_can_read(role: str, content: Any) -> None:
    messages = [{"role": role, "content": content}, {"role": "user", "content": "hi"}]
    request = read_request(msgspec.json.encode({"model": "m", "messages": messages}))
    assert rewritten(replace(request, model="n", max_tokens=3)) == {"model": "n", "messages": messages, "max_tokens": 3}
    assert isinstance(request.system, tuple)
    more = rewritten(replace(request, system=(*request.system, Text(text="new"))))["messages"]
    assert more == [messages[0], {"role": role, "content": "new"}, messages[1]]


@pytest.mark.parametrize(
    ("said", "host", "sent"),
    [
        ({"max_completion_tokens": 9}, "localhost", {"max_completion_tokens": 5}),
        ({"max_tokens": 9}, "api.openai.com", {"max_tokens": 5}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, "localhost", {"max_completion_tokens": 5}),
        ({"max_completion_tokens": None}, "localhost", {"max_tokens": 5}),
        ({}, "localhost", {"max_tokens": 5}),
        ({}, "api.openai.com", {"max_completion_tokens": 5}),
    ],
)
def test_h133_a_changed_limit_stands_where_the_client_said_it(
    said: dict[str, int | None], host: str, sent: dict[str, int]
) -> None:
    request = read_request(msgspec.json.encode({"model": "m", "messages": [], **said}))
    assert request.source
    target = Target(host=host, max_tokens=7)
    wire = {"model": "m", "messages": []}
    assert msgspec.json.decode(rewrite(request, request.source, target).body) == wire | said
    assert msgspec.json.decode(rewrite(replace(request, max_tokens=5), request.source, target).body) == wire | sent
    gone = msgspec.json.decode(rewrite(replace(request, max_tokens=None), request.source, target).body)
    assert gone == wire | {key: value for key, value in said.items() if value is None}


# ── tools that take a text ──────────────────────────────────────────────────────────────────────────────────────────

GRAMMAR = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
PATCHING: dict[str, Any] = {
    "model": "gpt",
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "1"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
        {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "ApplyPatch", "arguments": "*** x"}}]},
    ],
    "tools": [
        {"type": "custom", "custom": {"name": "sql", "description": "Asks.", "format": GRAMMAR}, "odd": 1},
        {"type": "custom", "name": "ApplyPatch", "description": "Patches."},
        {"type": "function", "name": "flat", "parameters": {"type": "object"}},
    ],
    "tool_choice": {"type": "custom", "custom": {"name": "sql"}},
}


def test_custom_tools_and_calls_that_nobody_changed_stay() -> None:
    request = read_request(msgspec.json.encode(PATCHING))
    assert rewritten(request) == PATCHING
    assert rewritten(replace(request, model="other")) == PATCHING | {"model": "other"}
    more = rewritten(replace(request, tools=(*request.tools, {"name": "new", "input_schema": {"type": "object"}})))
    new = {"type": "function", "function": {"name": "new", "parameters": {"type": "object", "properties": {}}}}
    assert more == PATCHING | {"tools": [*PATCHING["tools"], new]}


def test_changed_custom_tools_are_custom_still() -> None:
    request = read_request(msgspec.json.encode(PATCHING))
    tools = tuple(tool | {"description": "New."} for tool in request.tools)
    choice = {"type": "tool", "name": "ApplyPatch"}
    got = rewritten(replace(request, tools=tools, extra=request.extra | {"tool_choice": choice}))
    sql, patch, flat = PATCHING["tools"]
    assert got["tools"] == [
        sql | {"custom": sql["custom"] | {"description": "New."}},
        patch | {"description": "New."},
        flat | {"description": "New."},
    ]
    assert got["tool_choice"] == {"type": "custom", "name": "ApplyPatch"}


def test_changed_custom_calls_are_in_the_clients_words() -> None:
    request = read_request(msgspec.json.encode(PATCHING))
    messages = []
    for message in request.messages:
        blocks = message.content if isinstance(message.content, tuple) else ()
        uses = tuple(replace(each, input='{"input":"new"}') for each in blocks if isinstance(each, ToolUse))
        messages.append(replace(message, content=uses) if uses else message)
    got = rewritten(replace(request, messages=tuple(messages)))["messages"]
    assert got[1]["tool_calls"] == [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "new"}}]
    assert got[3]["tool_calls"] == [CALL | {"function": {"name": "ApplyPatch", "arguments": "new"}}]


def test_h075_reasoning_that_we_carried_for_another_upstream_is_taken_out() -> None:
    """What a vendor has told in a field of its own stays: the client knows its upstream."""
    ours = carried("openai-responses", "elsewhere", {"type": "reasoning"})
    own = {"type": "reasoning.encrypted", "data": "abc", "format": "vendor"}
    told = {"role": "assistant", "content": "x", "reasoning_details": [own, own | {"data": ours}]}
    blocks = {"role": "assistant", "content": "y", "thinking_blocks": [{"type": "thinking", "signature": ours}]}
    request = read_request(msgspec.json.encode({"model": "m", "messages": [told, blocks, {"role": "user"}]}))
    ledger = Ledger()
    fitted = fit(request, Target(), ledger)
    assert fitted is not request
    assert rewritten(fitted)["messages"] == [
        told | {"reasoning_details": [own]},
        {"role": "assistant", "content": "y"},
        {"role": "user"},
    ]
    assert "reasoning_details" in str(ledger)
    assert fit(REQUEST, Target(), ledger) is REQUEST
