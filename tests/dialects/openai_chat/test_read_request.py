"""OpenAI's chat requests, read into the one vocabulary."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus import BESIDE, cases
from trioproxy.dialects.anthropic.request import write_request as write_anthropic
from trioproxy.dialects.openai_chat.read_request import read_request
from trioproxy.dialects.target import Target
from trioproxy.errors import ProxyError
from trioproxy.items import (
    Block,
    Error,
    Image,
    Message,
    OtherBlock,
    RedactedThinking,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    replace,
)
from trioproxy.ledger import Ledger

USER = {"role": "user", "content": "hi"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def read(*messages: Any, **fields: Any) -> Request:
    body = {"model": "m", "messages": list(messages) or [USER], **fields}
    return read_request(msgspec.json.encode(body))


def passed_on(request: Request) -> None:
    """Raises `ProxyError` if another dialect cannot be asked."""
    for loss in request.unsaid:
        if loss.fatal:
            raise ProxyError(Error("invalid_request", loss.reason, 400))


def refused(*messages: Any) -> None:
    passed_on(read(*messages))


def lost(request: Request) -> dict[str, str]:
    return {loss.path: loss.reason for loss in request.unsaid}


def calls(*arguments: Any, **more: Any) -> dict[str, Any]:
    made = [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": each}}
        for i, each in enumerate(arguments)
    ]
    return {"role": "assistant", "content": None, "tool_calls": made, **more}


def content_of(request: Request, index: int) -> tuple[Block, ...]:
    content = request.messages[index].content
    assert isinstance(content, tuple)
    return content


# ── recordings ──────────────────────────────────────────────────────────────────────────────────────────────────────

# What cannot be passed on, and says so: a model that was in the URL (Azure), audio, video, and a content no API takes.
REFUSED = ("model: expected a string", "audio cannot be", "video cannot be", "a part without a type")


def test_every_recorded_request_reads_or_says_why_not() -> None:
    cases("openai-chat")  # skips without the corpus
    seen, reasons = 0, list[str]()
    for file in (BESIDE / "openai-chat").glob("*.json"):
        body = msgspec.json.decode(file.read_bytes())["request"]
        if not isinstance(body, dict):
            continue
        try:
            request = read_request(msgspec.json.encode(body))
            passed_on(request)
        except ProxyError as exc:
            reasons.append(str(exc))
            continue
        seen += 1
        assert request.source
        assert request.source.wire == body
        assert request.source.request == replace(request, source=None)
    assert seen > 200
    assert len(reasons) < 10
    assert [each for each in reasons if not any(reason in each for reason in REFUSED)] == []


# ── the body ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"nonsense", "not JSON: JSON is malformed"),
        (b"[]", "must be an object, got an array"),
        (b'{"messages":[]}', "model: expected a string, got nothing"),
        (b'{"model":1,"messages":[]}', "model: expected a string, got an integer"),
        (b'{"model":"m"}', "messages: expected an array, got nothing$"),
        (b'{"model":"m","input":"x"}', "looks like a request to /v1/responses"),
        (b'{"model":"m","messages":{}}', "messages: expected an array, got an object"),
        (b'{"model":"m","messages":[1]}', r"messages\[0\]: expected an object, got an integer"),
        (b'{"model":"m","messages":[{"role":"x"}]}', r"messages\[0\].role: expected one of system, .*, got 'x'"),
        (b'{"model":"m","messages":[{"content":"x"}]}', r"messages\[0\].role: .*, got nothing"),
        (b'{"model":"m","messages":[],"stream":"yes"}', "stream: expected true or false, got a string"),
        (b'{"model":"m","messages":[],"temperature":"1"}', "temperature: expected a number, got a string"),
        (b'{"model":"m","messages":[],"max_tokens":1.5}', "max_tokens: expected an integer, got a number"),
        (b'{"model":"m","messages":[],"stop":[1]}', "stop: expected a string or an array of strings"),
        (b'{"model":"m","messages":[],"tools":[{}],"tool_choice":1}', None),
        (b'{"model":"m","messages":[],"tools":[{"function":{"name":"f"}}],"tool_choice":"x"}', "tool_choice: expected"),
        (b'{"model":"m","messages":[],"response_format":{"type":"json_schema"}}', "response_format.json_schema.schema"),
        (b"[" * 200_000, "nested too deeply"),
        (b"\xff", "not JSON"),
    ],
)
def test_a_bad_request_says_what_is_wrong(body: bytes, complaint: str | None) -> None:
    if complaint is None:
        assert read_request(body)
        return
    with pytest.raises(ProxyError, match=complaint) as caught:
        passed_on(read_request(body))
    assert (caught.value.error.kind, caught.value.error.status) == ("invalid_request", 400)


def test_h124_lone_surrogates_are_replaced_and_noted() -> None:
    body = rb'{"model":"m","messages":[{"role":"user","content":"a\ud83d b\ude00 \ud83d\ude00 \\ud83d"}]}'
    request = read_request(body)
    assert request.messages[0].content == "a\ufffd b\ufffd \U0001f600 \\ud83d"
    assert "lone surrogates" in lost(request)["*"]


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h052_leading_system_and_developer_messages_are_the_system_in_order() -> None:
    one = read({"role": "system", "content": "a"}, USER)
    assert one.system == "a"
    several = read(
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        USER,
    )
    assert several.system == (Text(text="a"), Text(text="b"), Text(text="c"))
    assert several.messages == (Message("user", "hi"),)
    with pytest.raises(ProxyError, match="a system message can only be text, got 'image_url'"):
        refused({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]})


def test_h051_later_system_messages_stay_in_place() -> None:
    request = read({"role": "system", "content": "a"}, USER, {"role": "developer", "content": "b"})
    assert request.system == "a"
    assert [message.role for message in request.messages] == ["user", "system"]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "text", "text": ""}, Text(text="")),
        (
            {"type": "image_url", "image_url": {"url": "data:image/jpg;name=a.jpg;base64,AA=="}},
            Image(media_type="image/jpeg", data="AA=="),
        ),
        ({"type": "image_url", "image_url": "https://x/y.png"}, Image(url="https://x/y.png")),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
            OtherBlock(
                kind="document",
                extra={
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                    "title": "a.pdf",
                },
            ),
        ),
        (
            {"type": "document_url", "document_url": "https://x/y.pdf"},
            OtherBlock(
                kind="document", extra={"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}
            ),
        ),
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            Text(text="a", extra={"cache_control": {"type": "ephemeral"}}),
        ),
    ],
)
def test_h141_parts(part: dict[str, Any], block: Any) -> None:
    assert read({"role": "user", "content": [part]}).messages[0].content == (block,)


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"type": "input_audio", "input_audio": {}}, "audio cannot be passed on"),
        ({"type": "file", "file": {"file_id": "f1"}}, "file_id: the file is not at this upstream"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,AA=="}}, "only PDF files and images"),
        ({"type": "hologram"}, "a part of type 'hologram'"),
        ({"type": "image_url", "image_url": {"url": "ftp://x"}}, "expected an http"),
        ({"type": "image_url", "image_url": {"url": "data:text/html;base64,AA"}}, "expected an image, got text/html"),
        (7, "expected a part of a message, got an integer"),
    ],
)
def test_h142_what_cannot_be_passed_on_is_refused_by_name(part: Any, complaint: str) -> None:
    with pytest.raises(ProxyError, match=complaint):
        refused({"role": "user", "content": [part]})
    # For an upstream that speaks chat it may be fine, and stays what it is.
    block = content_of(read({"role": "user", "content": [part]}), 0)[0]
    assert isinstance(block, OtherBlock)
    assert block.extra == (part if isinstance(part, dict) else {"value": part})


def test_names_and_details_are_noted() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x/y", "detail": "high"}}
    request = read({"role": "user", "name": "bob", "content": [image]})
    assert set(lost(request)) == {"messages[].name", "messages[].content[].image_url.detail"}


def test_h070d_content_and_calls_and_refusal() -> None:
    request = read(USER, calls('{"a":1}', content="text", refusal="no"))
    assert request.messages[1].content == (
        Text(text="text"),
        Text(text="no"),
        ToolUse(id="c0", name="f", input='{"a":1}'),
    )
    assert read(USER, {"role": "assistant", "content": "x"}).messages[1].content == "x"


@pytest.mark.parametrize(
    ("arguments", "input"),
    [
        ("", "{}"),
        (None, "{}"),
        ("null", "{}"),
        ('{"z": 1.0, "a":123456789012345678901234567890}', '{"z": 1.0, "a":123456789012345678901234567890}'),
        ("[1]", '{"input":[1]}'),
        ('"x"', '{"input":"x"}'),
        ({"a": 1}, '{"a":1}'),
        ('{"path": "/', '{"unparsed_arguments":"{\\"path\\": \\"/"}'),
        (r'{"a":"\ud83d"}', r'{"a":"\ufffd"}'),
    ],
)
def test_h070b_arguments_become_an_object_and_stay_visible(arguments: Any, input: str) -> None:
    request = read(USER, calls(arguments))
    [call] = content_of(request, 1)
    assert isinstance(call, ToolUse)
    assert call.input == input
    assert bool(request.unsaid) == ("unparsed" in input)


def test_h130_calls_without_ids_get_the_same_ones_every_time_and_meet_their_results() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call, call]},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2"},
    ]
    request = read(*messages)
    first, second = content_of(request, 1)
    assert isinstance(first, ToolUse)
    assert isinstance(second, ToolUse)
    assert first.id != second.id
    assert [each.content[0] for each in request.messages[2:]] == [
        ToolResult(tool_use_id=first.id, content="1"),
        ToolResult(tool_use_id=second.id, content="2"),
    ]
    assert read(*messages, USER).messages[:4] == request.messages


def test_legacy_functions() -> None:
    request = read(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "r"},
        functions=[{"name": "f"}],
        function_call={"name": "f"},
    )
    [call] = content_of(request, 1)
    assert isinstance(call, ToolUse)
    assert request.messages[2].content == (ToolResult(tool_use_id=call.id, content="r"),)
    assert request.tools == ({"name": "f", "input_schema": {"type": "object", "properties": {}}},)
    assert request.extra["tool_choice"] == {"type": "tool", "name": "f"}
    assert not request.unsaid


def test_custom_calls_have_their_text_as_the_argument() -> None:
    call = {"id": "c", "type": "custom", "custom": {"name": "patch", "input": 'a "b"\n'}}
    request = read(
        USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "ok"}
    )
    assert request.messages[1:] == (
        Message("assistant", (ToolUse(id="c", name="patch", input='{"input":"a \\"b\\"\\n"}'),)),
        Message("user", (ToolResult(tool_use_id="c", content="ok"),)),
    )
    assert not request.unsaid


PATCH = "*** Begin Patch\n*** Delete File: a\n*** End Patch"
FLAT = {"type": "custom", "name": "ApplyPatch", "format": {"type": "text"}}


@pytest.mark.parametrize(
    ("arguments", "input"),
    [
        (PATCH, {"input": PATCH}),
        ('{"a": 1}', {"input": '{"a": 1}'}),  # a text, whatever it looks like
        ("", {"input": ""}),
        ('{"input": "x"}', {"input": "x"}),  # as others may have told it
        (None, {}),
    ],
)
def test_h150h_cursor_calls_a_tool_that_takes_a_text_as_a_function(arguments: Any, input: dict[str, str]) -> None:
    """And its arguments are the text, as it has been told the call."""
    made = {"id": "c", "type": "function", "function": {"name": "ApplyPatch", "arguments": arguments}}
    request = read(
        USER, {"role": "assistant", "content": [], "tool_calls": [made, *calls("{")["tool_calls"]]}, tools=[FLAT]
    )
    patch, other = content_of(request, 1)
    assert isinstance(patch, ToolUse)
    assert msgspec.json.decode(patch.input) == input
    assert other == ToolUse(id="c0", name="f", input='{"unparsed_arguments":"{"}')


def test_h062_results_with_images() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    request = read(USER, calls("{}"), {"role": "tool", "tool_call_id": "c0", "content": parts})
    content = (Text(text="a"), Image(media_type="image/png", data="AA"))
    assert request.messages[2].content == (ToolResult(tool_use_id="c0", content=content),)


# ── reasoning ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_h075_unsigned_reasoning_is_noted(key: str) -> None:
    request = read(USER, {"role": "assistant", "content": "x", key: "hm"})
    assert request.messages[1].content == "x"
    assert f"messages[].{key}" in lost(request)


def test_h074_signed_reasoning_comes_first() -> None:
    signed: dict[str, Any] = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    signed["thinking_blocks"] = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "thinking", "thinking": "unsigned"},
    ]
    request = read(USER, signed)
    blocks = (Thinking(thinking="hm", signature="s"), RedactedThinking(data="d"), Text(text="x"))
    assert request.messages[1].content == blocks
    assert list(lost(request)) == ["messages[].thinking_blocks"]  # of which one was not signed
    del signed["thinking_blocks"][2]
    assert not read(USER, signed).unsaid


def test_reasoning_details_of_anthropic_may_be_in_pieces() -> None:
    claude = {"format": "anthropic-claude-v1"}
    details = [
        {"type": "reasoning.text", "text": "a", **claude},
        {"type": "reasoning.text", "text": "b", "signature": "s", **claude},
        {"type": "reasoning.encrypted", "data": "d", **claude},
        {"type": "reasoning.encrypted", "data": "other", "format": "google-gemini-v1"},
    ]
    request = read(USER, {"role": "assistant", "content": "x", "reasoning_details": details})
    assert request.messages[1].content == (
        Thinking(thinking="ab", signature="s"),
        RedactedThinking(data="d"),
        Text(text="x"),
    )


def test_unsigned_reasoning_does_not_become_part_of_the_next_block() -> None:
    """Text that was shown as thinking, and comes back between two blocks that are signed."""
    claude = {"type": "reasoning.text", "format": "anthropic-claude-v1"}
    details = [
        {"text": "a", "signature": "s", "index": 0, **claude},
        {"text": "Let me look.", "index": 1, **claude},
        {"text": "b", "index": 2, **claude},
        {"signature": "t", "index": 2, **claude},
    ]
    request = read(USER, {"role": "assistant", "content": "x", "reasoning_details": details})
    assert request.messages[1].content == (
        *(Thinking(thinking="a", signature="s"), Thinking(thinking="b", signature="t")),
        Text(text="x"),
    )
    assert "messages[].reasoning_details" in lost(request)


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h068_tools_of_every_shape() -> None:
    request = read(
        tools=[
            {"type": "function", "function": {"name": "a", "description": "d", "strict": True}},
            {"type": "function", "name": "flat", "parameters": {"properties": {"z": {}, "a": {}}}},
            {"function": {"name": "typeless", "description": None, "parameters": {"type": "object"}}},
            {"type": "function", "function": {"description": "nameless"}},
            {"type": "mcp", "server_label": "m"},
        ]
    )
    assert list(request.tools[1]["input_schema"]["properties"]) == ["z", "a"]  # H122
    assert request.tools == (
        {"name": "a", "description": "d", "input_schema": {"type": "object", "properties": {}}, "strict": True},
        {"name": "flat", "input_schema": {"type": "object", "properties": {"z": {}, "a": {}}}},
        {"name": "typeless", "input_schema": {"type": "object"}},
    )
    assert set(lost(request)) == {"tools[].function.name", "tools[type=mcp]"}


def test_a_custom_tool_takes_its_text_as_input_and_tells_its_grammar() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}}
    mark = {"cache_control": {"type": "ephemeral"}}
    request = read(
        tools=[
            {"type": "custom", "custom": {"name": "patch", "description": "Patches.", "format": grammar}, **mark},
            {"type": "custom", "custom": {"name": "free", "format": {"type": "text"}}},
            FLAT | {"format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
            {"type": "custom", "custom": {"description": "nameless"}},
        ]
    )
    patch, free, flat = request.tools
    assert patch["description"] == "Patches.\n\n`input` must be in the language of this lark grammar:\nstart: /.+/"
    assert patch["cache_control"] == mark["cache_control"]
    assert "description" not in free
    assert (flat["name"], flat["description"].rpartition("\n")[2]) == ("ApplyPatch", "a+")
    assert {msgspec.json.encode(tool["input_schema"]) for tool in request.tools} == {
        msgspec.json.encode(free["input_schema"])
    }
    assert free["input_schema"]["required"] == ["input"]
    assert set(lost(request)) == {"tools[].custom.format", "tools[].custom.name"}


@pytest.mark.parametrize("tool", [{"type": "custom", "custom": 1}, {"type": "function", "function": 1}])
def test_a_tool_that_is_no_object_is_refused(tool: dict[str, Any]) -> None:
    with pytest.raises(ProxyError, match=rf"tools\[0\].{tool['type']}: expected an object, got an integer"):
        read(tools=[tool])


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ({}, None),
        ({"tool_choice": None}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"name": "f"}]}}},
            {"type": "auto"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_h065_h066_tool_choice(said: dict[str, Any], choice: Any) -> None:
    request = read(tools=TOOLS, **said)
    assert request.extra.get("tool_choice") == choice
    assert not request.unsaid


def test_h065_a_choice_without_tools_is_dropped() -> None:
    assert not read(tool_choice="auto", parallel_tool_calls=False).unsaid
    request = read(tool_choice="required")
    assert "tool_choice" not in request.extra
    assert "tool_choice" in lost(request)
    gone = read(tools=[*TOOLS, {"type": "mcp", "name": "c"}], tool_choice={"type": "mcp", "name": "c"})
    assert gone.extra["tool_choice"] == {"type": "auto"}


def test_a_custom_tool_can_be_chosen() -> None:
    tools = [*TOOLS, {"type": "custom", "custom": {"name": "c"}}]
    chosen = {"type": "custom", "custom": {"name": "c"}}
    assert read(tools=tools, tool_choice=chosen).extra["tool_choice"] == {"type": "tool", "name": "c"}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [chosen]}}
    request = read(tools=tools, tool_choice=allowed)
    assert [tool["name"] for tool in request.tools] == ["c"]
    assert request.extra["tool_choice"] == {"type": "tool", "name": "c"}


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "extra"),
    [
        ({"stop": "x"}, {"stop_sequences": ["x"]}),
        ({"stop": ["x", "y"]}, {"stop_sequences": ["x", "y"]}),
        ({"temperature": 1.5, "top_p": 0.9, "top_k": 3}, {"temperature": 1.5, "top_p": 0.9, "top_k": 3}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
        ({"reasoning_effort": "minimal"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "minimal"}}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"effort": "high"}}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ({"reasoning": {"max_tokens": 2000}}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ({"reasoning": {"enabled": True}}, {"thinking": {"type": "adaptive"}}),
        ({"reasoning": {"enabled": False}}, {"thinking": {"type": "disabled"}}),
        ({"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, {"thinking": {"type": "disabled"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
        ({"response_format": {"type": "text"}}, {}),
        ({"temperature": None, "max_tokens": None, "stop": None, "tools": None, "user": None}, {}),
        ({"n": 1, "frequency_penalty": 0, "logprobs": False, "store": False, "service_tier": "auto"}, {}),
        ({"stream_options": {"include_usage": True}}, {}),
    ],
)
def test_options_without_loss(said: dict[str, Any], extra: dict[str, Any]) -> None:
    request = read(**said)
    assert (request.extra, request.unsaid) == (extra, ())


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"n": 2}, "n"),
        ({"seed": 1}, "seed"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"verbosity": "low"}, "verbosity"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"never_heard_of": 1}, "never_heard_of"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning_effort": "ludicrous"}, "reasoning_effort"),
        ({"reasoning": {"effort": "low", "exclude": True}}, "reasoning.exclude"),
    ],
)
def test_h100_what_cannot_be_said_is_noted(said: dict[str, Any], path: str) -> None:
    assert set(lost(read(**said))) == {path}


def test_h133_the_newer_limit_wins() -> None:
    assert read(max_tokens=1, max_completion_tokens=2).max_tokens == 2
    assert read(max_tokens=1).max_tokens == 1
    assert read().max_tokens is None


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────

KEYS = ["role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "id", "image_url", "url"]
KEYS += ["reasoning", "reasoning_details", "cache_control", "tool_call_id", "file", "allowed_tools", "tools", "mode"]
WORDS = ["user", "assistant", "system", "tool", "text", "image_url", "function", "auto", "required", "f", "", "{}", " "]
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["tools", "tool_choice", "functions", "function_call", "stop", "thinking", "reasoning", "response_format"]
FIELDS += ["max_tokens", "temperature", "user", "n", "parallel_tool_calls", "metadata"]
roles = st.sampled_from(["user", "assistant", "system", "tool", "function", "developer"])


@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), json, max_size=4), max_size=4),
    st.dictionaries(st.sampled_from(FIELDS), json, max_size=4),
    st.lists(roles, min_size=4, max_size=4),
)
def test_arbitrary_json_is_read_or_refused(messages: list[Any], fields: dict[str, Any], roles: list[str]) -> None:
    messages = [{**message, "role": role} for message, role in zip(messages, roles, strict=False)]
    with suppress(ProxyError):
        assert read(*messages, **fields) == read(*messages, **fields)


# ── what has no place in another dialect ────────────────────────────────────────────────────────────────────────────


def test_h100_no_field_is_lost_in_silence() -> None:
    claude = {"type": "reasoning.text", "format": "anthropic-claude-v1"}
    odd = {"odd": 1}
    request = read(
        {"role": "system", "content": [{"type": "text", "text": "s", "of_system": 1}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x", "annotations": [1], "index": None},
                {"type": "image_url", "image_url": {"url": "https://x", "format": "png"}, **odd},
            ],
        },
        {
            **calls("{}"),
            "reasoning_details": [{**claude, "text": "a", "signature": "s"}, {**claude, "text": "unsigned"}],
        },
        {"role": "assistant", "tool_calls": [{"id": "c", "extra_content": {"a": 1}, "function": {"name": "f", **odd}}]},
        tools=[{"type": "function", "function": {"name": "f", "description": 5, **odd}, "tool_odd": 1}, {"name": "g"}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "strict": True, "schema": {}, "description": "d"},
        },
    )
    assert set(lost(request)) == {
        "messages[].content[].of_system",
        "messages[].content[].annotations",
        "messages[].content[].image_url.format",
        "messages[].content[].odd",
        "messages[].reasoning_details",
        "messages[].tool_calls[].extra_content",
        "messages[].tool_calls[].function.odd",
        "tools[].tool_odd",
        "tools[].function.odd",
        "tools[].function.description",
        "response_format.json_schema.description",
    }


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "wire",
    [
        {"messages": [{"role": LONG}]},
        {"messages": [{"role": [[LONG]]}]},
        {"messages": [{"role": "user", "content": [{"type": LONG}]}]},
        {"messages": [{"role": "system", "content": [{"type": LONG}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": LONG}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": f"data:{LONG};base64,"}}]}]},
        {"tools": TOOLS, "tool_choice": LONG},
        {"tools": TOOLS, "tool_choice": {"type": {LONG: LONG}}},
        {"tools": TOOLS, "tool_choice": {"name": LONG}},
        {"reasoning_effort": LONG},
        {"response_format": {"type": LONG}},
    ],
)
def test_what_a_client_wrote_is_told_shortened(wire: dict[str, Any]) -> None:
    try:
        request = read_request(msgspec.json.encode({"model": "m", "messages": [], **wire}))
        told = [loss.reason for loss in request.unsaid]
    except ProxyError as exc:
        told = [exc.error.message]
    assert told
    assert all(len(each) < 200 for each in told)


@pytest.mark.parametrize("depth", [300, 480, 900, 975, 985])
@pytest.mark.parametrize(
    "place",
    [
        '"messages":[{"role":"assistant","function_call":{"name":"f","arguments":%s}}]',
        '"messages":[{"role":%s}]',
        '"messages":[{"role":"user","content":[{"type":"file","file":{"file_data":%s}}]}]',
        '"messages":[],"tool_choice":%s,"tools":[{"function":{"name":"f"}}]',
        '"messages":[],"tools":[{"type":%s}]',
        '"messages":[],"response_format":{"type":%s}',
    ],
)
def test_nesting_at_the_edge_is_read_or_refused(place: str, depth: int) -> None:
    with suppress(ProxyError):
        read_request(f'{{"model":"m",{place % ("[" * depth + "]" * depth)}}}'.encode())


def test_h064_results_without_an_id_answer_the_first_call_that_is_open() -> None:
    said = calls("{}", "{}", "{}")
    said["tool_calls"][1]["function"]["name"] = "g"
    answers = [{"role": "tool", "name": name, "content": "r"} for name in ("g", None, "g", "f", None)]
    blocks = [message.content[0] for message in read(said, *answers).messages[1:]]
    ids = [block.tool_use_id for block in blocks if isinstance(block, ToolResult)]
    assert ids[:3] == ["c1", "c0", "c2"]
    assert len(set(ids)) == 5


@pytest.mark.parametrize(
    "wires",
    [
        [USER] * 30_000,
        [{"role": "assistant", "content": [{"type": "thinking", "x": n} for n in range(20_000)] + ["x"] * 20_000}],
        [calls(*["{}"] * 20_000), *[{"role": "tool", "content": "x"}] * 20_000],
        [
            {"role": "assistant", "tool_calls": [{"id": "i", "function": {"name": "f"}}] * 10_000},
            *[{"role": "tool", "tool_call_id": "i", "content": "x"}] * 10_000,
        ],
    ],
    ids=["users", "thoughts", "answers", "same ids"],
)
def test_long_conversations_take_no_longer_than_they_must(wires: list[Any]) -> None:
    """60 000 messages of one word took 24 seconds, in which no stream went on."""
    body = msgspec.json.encode({"model": "m", "messages": wires})
    began = time.process_time()
    write_anthropic(read_request(body), Target(), Ledger())
    assert time.process_time() - began < 3
