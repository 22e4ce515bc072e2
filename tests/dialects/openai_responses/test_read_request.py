"""Requests of OpenAI's Responses API, read into the one vocabulary."""

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
from trioproxy.dialects.carried import carried
from trioproxy.dialects.openai_responses.read_request import read_request
from trioproxy.dialects.openai_responses.turns import items_in, turned
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

USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
TOOLS: list[dict[str, Any]] = [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]
PNG = "data:image/png;base64,AA=="
PDF = "data:application/pdf;base64,AA=="


def read(*items: Any, **fields: Any) -> Request:
    return read_request(msgspec.json.encode({"model": "m", "input": list(items), **fields}))


def passed_on(request: Request) -> Request:
    """The request. Raises `ProxyError` if another dialect cannot be asked."""
    for loss in request.unsaid:
        if loss.fatal:
            raise ProxyError(Error("invalid_request", loss.reason, 400))
    return request


def lost(request: Request) -> dict[str, str]:
    return {loss.path: loss.reason for loss in passed_on(request).unsaid}


def call(id: str = "c", name: str = "f", arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments, **more}


def result(id: str = "c", output: Any = "r", **more: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output, **more}


def said(text: str = "x", **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content, **more}


def content_of(request: Request, index: int) -> tuple[Block, ...]:
    content = request.messages[index].content
    assert isinstance(content, tuple)
    return content


# ── recordings ──────────────────────────────────────────────────────────────────────────────────────────────────────

# What cannot be passed on, and says so.
REFUSED = ("no responses are kept", "no conversations are kept", "nothing runs on here", "got audio/mpeg")


def test_every_recorded_request_reads_or_says_why_not() -> None:
    cases("openai-responses")  # skips without the corpus
    seen, reasons = 0, list[str]()
    for file in (BESIDE / "openai-responses").glob("*.json"):
        body = msgspec.json.decode(file.read_bytes())["request"]
        if not isinstance(body, dict):
            continue
        request = read_request(msgspec.json.encode(body))
        assert request.source
        assert request.source.wire == body
        assert request.source.request == replace(request, source=None)
        assert len(request.messages) == len(turned(items_in(body))[1])
        try:
            write_anthropic(request, Target(), Ledger())
        except ProxyError as exc:
            reasons.append(str(exc))
            continue
        seen += 1
    assert seen > 120
    assert len(reasons) < 12
    assert [each for each in reasons if not any(reason in each for reason in REFUSED)] == []


# ── the body ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"nonsense", "not JSON: JSON is malformed"),
        (b"[]", "must be an object, got an array"),
        (b'{"input":[]}', "model: expected a string, got nothing"),
        (b'{"model":"m","input":{}}', "input: expected a string or an array of items, got an object"),
        (b'{"model":"m","messages":[]}', "looks like a request to chat/completions"),
        (b'{"model":"m","input":[1]}', r"input\[0\]: expected an object, got an integer"),
        (b'{"model":"m","input":[{"role":"pilot"}]}', r"input\[0\].role: expected user, .*, got 'pilot'"),
        (b'{"model":"m","input":[{"type":"message"}]}', r"input\[0\].role: .*, got nothing"),
        (b'{"model":"m","input":[{"type":"function_call"}]}', r"input\[0\].name: expected a string, got nothing"),
        (b'{"model":"m","input":"x","stream":"yes"}', "stream: expected true or false, got a string"),
        (b'{"model":"m","input":"x","instructions":["a"]}', "instructions: expected a string, got an array"),
        (b'{"model":"m","input":"x","max_output_tokens":"1"}', "max_output_tokens: expected an integer, got a string"),
        (b'{"model":"m","input":"x","reasoning":"low"}', "reasoning: expected an object, got a string"),
        (b'{"model":"m","input":"x","text":[]}', "text: expected an object, got an array"),
        (b'{"model":"m","input":"x","text":{"format":{"type":"json_schema"}}}', "text.format.schema: expected"),
        (b'{"model":"m","input":"x","tools":{}}', "tools: expected an array, got an object"),
        (b'{"model":"m","input":"x","tools":[1]}', r"tools\[0\]: expected an object, got an integer"),
        (b'{"model":"m","input":"x","tools":[{"name":"f","parameters":1}]}', r"tools\[0\].parameters: expected"),
        (b'{"model":"m","input":"x","tools":[{"type":"custom","custom":1}]}', r"tools\[0\].custom: expected an object"),
        (b'{"model":"m","input":"x","tools":[{"name":"f"}],"tool_choice":"x"}', "tool_choice: expected"),
        (
            b'{"model":"m","input":"x","tools":[{"name":"f"}],"tool_choice":{"type":"function"}}',
            "tool_choice: expected",
        ),
        (b'{"model":"m","input":[{"type":"additional_tools"}]}', r"input\[0\].tools: expected an array, got nothing"),
        (b"[" * 200_000, "nested too deeply"),
        (b"\xff", "not JSON"),
    ],
)
def test_a_bad_request_says_what_is_wrong(body: bytes, complaint: str) -> None:
    with pytest.raises(ProxyError, match=complaint) as caught:
        passed_on(read_request(body))
    assert (caught.value.error.kind, caught.value.error.status) == ("invalid_request", 400)


def test_h124_lone_surrogates_are_replaced_and_noted() -> None:
    request = read_request(rb'{"model":"m","input":"a\ud83d b"}')
    assert request.messages == (Message("user", "a\ufffd b"),)
    assert "lone surrogates" in lost(request)["*"]


def test_h150c_input_may_be_a_string_or_nothing() -> None:
    assert read_request(b'{"model":"m","input":"hi","stream":true}').messages == (Message("user", "hi"),)
    assert read().messages == read_request(b'{"model":"m"}').messages == ()


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: .* send the whole conversation as input"),
        ({"conversation": {"id": "conv_1"}}, "conversation: .* send the whole conversation as input"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt: .* send the prompt's text as instructions and input"),
        ({"background": True}, "background: .* ask without it"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, r"input\[0\]: no items are kept"),
        ({"input": [{"id": "msg_1"}]}, r"input\[0\]: no items are kept"),
        ({"input": [USER, {"type": "compaction_trigger"}]}, r"input\[1\]: this upstream does not compact"),
    ],
)
def test_h150f_what_only_openai_can_do_is_refused_with_advice(fields: dict[str, Any], advice: str) -> None:
    request = read_request(msgspec.json.encode({"model": "m", "input": "x", **fields}))
    with pytest.raises(ProxyError, match=advice):
        passed_on(request)


def test_nulls_and_falsehoods_ask_for_nothing() -> None:
    nothing = ["previous_response_id", "conversation", "prompt", "instructions", "tools", "tool_choice", "reasoning"]
    nothing += ["text", "include", "max_output_tokens", "temperature", "user", "metadata", "store", "truncation"]
    request = read(USER, background=False, **dict.fromkeys(nothing))
    assert (request.extra, request.unsaid, request.system, request.max_tokens) == ({}, (), None, None)


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h150b_instructions_and_what_is_told_in_front_are_the_system_in_order() -> None:
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "b"}]}
    assert read(USER, instructions="a").system == "a"
    assert read({"role": "system", "content": "a"}, USER).system == "a"
    request = read(developer, {"role": "system", "content": "c"}, USER, instructions="a")
    assert request.system == (Text(text="a"), Text(text="b"), Text(text="c"))
    assert request.messages == (Message("user", (Text(text="hi"),)),)


def test_h051_later_system_messages_stay_in_place() -> None:
    request = read(USER, {"role": "developer", "content": "b"}, said())
    assert [message.role for message in request.messages] == ["user", "system", "assistant"]
    assert request.system is None


def test_h052_a_system_message_can_only_be_text() -> None:
    picture = {"role": "developer", "content": [{"type": "input_image", "image_url": PNG}]}
    with pytest.raises(ProxyError, match="a system message can only be text"):
        passed_on(read(picture, USER))


def test_h150c_messages_need_no_type_and_their_content_may_be_a_string() -> None:
    request = read({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    assert request.messages == (Message("user", "a"), Message("assistant", "b"))


def test_what_the_assistant_did_is_one_message_in_order() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    request = read(USER, thought, said("a", phase="commentary"), call("c1"), said(""), call("c2"), result("c1"))
    assert request.messages[1:] == (
        Message(
            "assistant",
            (
                Thinking(thinking="hm"),
                Text(text="a"),
                ToolUse(id="c1", name="f", input="{}"),
                Text(text=""),  # H150d
                ToolUse(id="c2", name="f", input="{}"),
            ),
        ),
        Message("user", (ToolResult(tool_use_id="c1", content="r"),)),
    )
    assert not request.unsaid


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ("a", Text(text="a")),
        ({"type": "input_text", "text": ""}, Text(text="")),
        ({"type": "text", "text": "a"}, Text(text="a")),
        ({"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}]}, Text(text="a")),
        ({"type": "refusal", "refusal": "no"}, Text(text="no")),
        ({"type": "input_image", "image_url": PNG, "detail": "auto"}, Image(media_type="image/png", data="AA==")),
        ({"type": "input_image", "image_url": "https://x/y"}, Image(url="https://x/y")),
        ({"type": "image_url", "image_url": {"url": "https://x/y"}}, Image(url="https://x/y")),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
            OtherBlock(
                kind="document",
                extra={
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                    "title": "a.pdf",
                },
            ),
        ),
        *(
            (
                {"type": "input_file", key: "https://x/y.pdf"},
                OtherBlock(
                    kind="document", extra={"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}
                ),
            )
            for key in ("file_url", "file_data")
        ),
        ({"type": "input_file", "file_data": PNG}, Image(media_type="image/png", data="AA==")),
        (
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
            Text(text="a", extra={"cache_control": {"type": "ephemeral"}}),
        ),
    ],
)
def test_h141_parts(part: Any, block: Block) -> None:
    request = read({"role": "user", "content": [part]})
    assert (request.messages[0].content, request.unsaid) == ((block,), ())


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"type": "input_audio", "input_audio": {}}, "audio cannot be passed on"),
        ({"type": "input_image", "file_id": "f"}, r"input\[0\].content\[0\].file_id: .* send the image as image_url"),
        ({"type": "input_file", "file_id": "f"}, r"input\[0\].content\[0\].file_id: .* send its content as file_data"),
        ({"type": "input_file", "file_data": "data:text/plain;base64,AA=="}, "only PDF files and images"),
        ({"type": "input_image"}, r"image_url: expected an object with a url, got nothing"),
        ({"type": "input_image", "image_url": "ftp://x"}, "expected an http"),
        ({"type": "hologram"}, "a part of type 'hologram'"),
    ],
)
def test_h142_what_cannot_be_passed_on_is_refused_by_name(part: Any, complaint: str) -> None:
    request = read({"role": "user", "content": [part]})
    with pytest.raises(ProxyError, match=complaint):
        passed_on(request)
    block = content_of(request, 0)[0]  # for an upstream of this dialect it may be fine, and stays what it is
    assert isinstance(block, OtherBlock)
    assert block.extra == part


def test_a_part_may_stand_where_an_item_does() -> None:
    request = read({"type": "input_image", "image_url": PNG}, {"type": "input_file", "file_id": "f"})
    assert request.messages[0] == Message("user", (Image(media_type="image/png", data="AA=="),))
    with pytest.raises(ProxyError, match=r"input\[1\].file_id"):
        passed_on(request)


def test_a_cache_mark_on_a_message_is_on_its_last_part() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    request = read({**USER, **mark}, {"role": "user", "content": "a", **mark})
    assert [message.content for message in request.messages] == [
        (Text(text="hi", extra=mark),),
        (Text(text="a", extra=mark),),
    ]
    assert not request.unsaid


def test_messages_of_other_agents_are_the_users() -> None:
    content = [{"type": "input_text", "text": "done"}, {"type": "encrypted_content", "encrypted_content": "gAAA"}]
    request = read(USER, {"type": "agent_message", "author": "scout", "recipient": "root", "content": content})
    assert request.messages[1].role == "user"
    assert content_of(request, 1)[:2] == (Text(text="[from the agent scout]\n"), Text(text="done"))
    assert set(lost(request)) == {"input[].content[]"}


# ── calls and results ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "input"),
    [
        ("", "{}"),
        (None, "{}"),
        ('{"z": 1.0, "a":123456789012345678901234567890}', '{"z": 1.0, "a":123456789012345678901234567890}'),
        ({"a": 1}, '{"a":1}'),
        ('{"path": "/', '{"unparsed_arguments":"{\\"path\\": \\"/"}'),
    ],
)
def test_h070b_arguments_become_an_object_and_stay_visible(arguments: Any, input: str) -> None:
    request = read(USER, call(arguments=arguments))
    assert content_of(request, 1) == (ToolUse(id="c", name="f", input=input),)
    assert bool(request.unsaid) == ("unparsed" in input)


def test_h150_a_call_in_a_namespace_has_the_flat_name() -> None:
    request = read(USER, call(name="spawn", namespace="agents"), call("d", "exec", namespace="functions"))
    assert [block.name for block in content_of(request, 1) if isinstance(block, ToolUse)] == ["agents__spawn", "exec"]


def test_h150_custom_calls_have_their_text_as_the_argument() -> None:
    made = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": 'a "b"\n', "status": "completed"}
    request = read(USER, made, {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"})
    assert request.messages[1:] == (
        Message("assistant", (ToolUse(id="c", name="patch", input='{"input":"a \\"b\\"\\n"}'),)),
        Message("user", (ToolResult(tool_use_id="c", content="ok"),)),
    )
    assert not request.unsaid


def test_h150h_a_call_of_a_function_that_takes_a_text_has_it_as_its_arguments() -> None:
    """Cursor tells it so, as it was told so."""
    patch = {"type": "custom", "name": "ApplyPatch"}
    made = [call("c", "ApplyPatch", arguments="*** Begin Patch"), call("d", "ApplyPatch", arguments='{"input": "x"}')]
    request = read(USER, *made, result(), tools=[patch])
    assert content_of(request, 1) == (
        ToolUse(id="c", name="ApplyPatch", input='{"input":"*** Begin Patch"}'),
        ToolUse(id="d", name="ApplyPatch", input='{"input": "x"}'),
    )
    assert not request.unsaid


def test_h062_results_with_pictures_and_files() -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": PNG, "detail": "high"},
        {"type": "input_file", "file_data": PDF},
    ]
    request = read(USER, call(), result(output=parts))
    [answer] = content_of(request, 2)
    assert isinstance(answer, ToolResult)
    assert isinstance(answer.content, tuple)
    assert answer.content[:2] == (Text(text="a"), Image(media_type="image/png", data="AA=="))
    assert isinstance(answer.content[2], OtherBlock)
    assert set(lost(request)) == {"input[].output[].detail"}


@pytest.mark.parametrize(
    ("output", "pictures"),
    [
        (f'[{{"type":"input_image","image_url":"{PNG}","detail":"auto"}}]', 1),
        ('[{"type":"input_image"}, "and more"]', 0),
        ('[{"type":"input_image"', 0),
    ],
)
def test_h062_parts_that_came_as_their_json_are_parts(output: str, pictures: int) -> None:
    request = read(USER, call(), result(output=output))
    [answer] = content_of(request, 2)
    assert isinstance(answer, ToolResult)
    assert answer.content == ((Image(media_type="image/png", data="AA=="),) * pictures or output)


def test_a_result_that_is_neither_text_nor_parts_is_told_as_json() -> None:
    request = read(USER, call("c"), call("d"), result("c", {"a": [1]}), result("d", None))
    assert [message.content for message in request.messages[2:]] == [
        (ToolResult(tool_use_id="c", content='{"a":[1]}'),),
        (ToolResult(tool_use_id="d", content=""),),
    ]


def test_h130_h149_calls_without_an_id_get_the_same_ones_every_time_and_meet_their_results() -> None:
    made = {"type": "function_call", "name": "f", "arguments": "{}"}
    items = [
        USER,
        made,
        {**made, "name": "g"},
        {**made, "id": "fc_1"},
        result("", name="g"),
        result(""),
        result("fc_1"),
    ]
    request = read(*items)
    first, second, third = (block for block in content_of(request, 1) if isinstance(block, ToolUse))
    assert len({first.id, second.id, third.id}) == 3
    answered = [message.content[0] for message in request.messages[2:]]
    assert [block.tool_use_id for block in answered if isinstance(block, ToolResult)] == [second.id, first.id, "fc_1"]
    assert read(*items, USER).messages[:5] == request.messages


@pytest.mark.parametrize(
    ("made", "answer", "use", "content"),
    [
        (
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}},
            {"type": "local_shell_call_output", "id": "c", "output": "a.txt"},
            ToolUse(id="c", name="local_shell", input='{"type":"exec","command":["ls"]}'),
            ToolResult(tool_use_id="c", content="a.txt"),
        ),
        (
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
            {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "a", "stderr": ""}]},
            ToolUse(id="c", name="shell", input='{"commands":["ls"]}'),
            ToolResult(tool_use_id="c", content='[{"stdout":"a","stderr":""}]'),
        ),
        (
            {"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "a"}},
            {"type": "apply_patch_call_output", "call_id": "c", "status": "failed"},
            ToolUse(id="c", name="apply_patch", input='{"type":"delete_file","path":"a"}'),
            ToolResult(tool_use_id="c", content="failed", is_error=True),
        ),
        (
            {"type": "computer_call", "call_id": "c", "actions": [{"type": "wait"}]},
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {"type": "computer_screenshot", "image_url": PNG},
            },
            ToolUse(id="c", name="computer", input='{"actions":[{"type":"wait"}]}'),
            ToolResult(tool_use_id="c", content=(Image(media_type="image/png", data="AA=="),)),
        ),
        (
            {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "q"}},
            {
                "type": "tool_search_output",
                "call_id": "c",
                "tools": [{"type": "namespace", "name": "n", "tools": [{"name": "a"}, {"name": "b"}]}],
            },
            ToolUse(id="c", name="tool_search", input='{"query":"q"}'),
            ToolResult(tool_use_id="c", content="Tools found: n__a, n__b"),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_what_the_client_ran_is_a_call_and_its_result(
    made: dict[str, Any], answer: dict[str, Any], use: ToolUse, content: ToolResult
) -> None:
    request = read(USER, made, answer)
    assert request.messages[1:] == (Message("assistant", (use,)), Message("user", (content,)))
    assert not request.unsaid


@pytest.mark.parametrize("kind", ["web_search_call", "mcp_call", "code_interpreter_call", "tool_search_call"])
def test_h067_what_ran_at_openai_stays_the_item_it_is(kind: str) -> None:
    item = {"type": kind, "id": "x_1", "status": "completed"}
    request = read(USER, item, said())
    assert request.messages[1] == Message("assistant", (OtherBlock(kind=kind, extra=item), Text(text="x")))
    ledger = Ledger()
    written = msgspec.json.decode(write_anthropic(request, Target(), ledger).body)
    assert written["messages"][1] == {"role": "assistant", "content": "x"}
    assert kind in str(ledger)


@pytest.mark.parametrize("kind", ["compaction", "configuration_update", "mcp_approval_response", "some_future_item"])
def test_what_no_model_of_another_maker_reads_is_noted(kind: str) -> None:
    request = read(USER, {"type": kind, "encrypted_content": "gAAA"}, said())
    assert [message.role for message in request.messages] == ["user", "assistant"]
    assert set(lost(request)) == {f"input[type={kind}]"}


# ── reasoning ───────────────────────────────────────────────────────────────────────────────────────────────────────


def thought(*texts: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in texts], **more}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (thought("a", "b"), "a\n\nb"),  # H079
        (thought(content=[{"type": "reasoning_text", "text": "c"}]), "c"),  # H150e
        (thought("a", content=[{"type": "reasoning_text", "text": "c"}]), "a"),
    ],
)
def test_reasoning_is_one_block(item: dict[str, Any], text: str) -> None:
    request = read(USER, item, call())
    assert content_of(request, 1)[0] == Thinking(thinking=text)
    assert not request.unsaid


def test_reasoning_without_a_word_is_nothing() -> None:
    assert read(USER, thought(content=None, encrypted_content=None), said()).messages[1].content == (Text(text="x"),)


def test_h150g_openais_encrypted_reasoning_is_noted() -> None:
    request = read(USER, thought("a", encrypted_content="gAAAAB"), said())
    assert content_of(request, 1)[0] == Thinking(thinking="a")
    assert set(lost(request)) == {"input[type=reasoning].encrypted_content"}


def test_what_was_carried_here_goes_on_as_it_is() -> None:
    block = {"type": "thinking", "thinking": "all of it", "signature": "s"}
    sealed, redacted = carried("anthropic", "p", block), carried("anthropic", "p", {"type": "redacted_thinking"})
    request = read(USER, thought("shown", encrypted_content=sealed), thought(encrypted_content=redacted), call())
    assert content_of(request, 1)[:2] == (
        Thinking(thinking="all of it", signature=sealed),
        RedactedThinking(data=redacted),
    )
    assert not request.unsaid
    broken = read(USER, thought("shown", encrypted_content=sealed[:-8]), call())
    assert content_of(broken, 1)[0] == Thinking(thinking="shown")
    assert broken.unsaid


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h068_tools_of_every_shape() -> None:
    request = read(
        USER,
        tools=[
            {"type": "function", "name": "a", "description": "d", "strict": True, "parameters": {"type": "object"}},
            {"type": "function", "function": {"name": "nested", "parameters": {"properties": {"z": {}, "a": {}}}}},
            {"type": "function", "name": "bare", "parameters": None, "strict": None},
            {"type": "function", "description": "nameless"},
            {"type": "web_search", "external_web_access": True},
            {"type": ["x"]},
        ],
    )
    assert list(request.tools[1]["input_schema"]["properties"]) == ["z", "a"]  # H122
    assert request.tools == (
        {"name": "a", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {"name": "nested", "input_schema": {"type": "object", "properties": {"z": {}, "a": {}}}},
        {"name": "bare", "input_schema": {"type": "object", "properties": {}}},
    )
    assert set(lost(request)) == {"tools[].name", "tools[type=web_search]", "tools[type=an array]"}


def test_h150_a_custom_tool_takes_its_text_as_input_and_tells_its_grammar() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    request = read(
        USER,
        tools=[
            {"type": "custom", "name": "patch", "description": "Patches.", "format": grammar},
            {"type": "custom", "name": "free", "format": {"type": "text"}},
        ],
    )
    patch, free = request.tools
    assert patch["description"].startswith("Patches.\n\n`input` must be in the language of this lark grammar:\n")
    assert patch["description"].endswith("start: /.+/")
    assert "description" not in free
    for tool in request.tools:
        assert tool["input_schema"]["required"] == ["input"]
        assert tool["input_schema"]["properties"]["input"]["type"] == "string"
    assert set(lost(request)) == {"tools[].format"}


def test_h150_namespaces_are_flat_and_introduced_once() -> None:
    inner = [{"type": "function", "name": "a", "description": "A."}, {"type": "function", "name": "b"}]
    request = read(USER, tools=[{"type": "namespace", "name": "n", "description": "About n.", "tools": inner}])
    schema = {"type": "object", "properties": {}}
    assert request.tools == (
        {"name": "n__a", "description": "About n.\n\nA.", "input_schema": schema},
        {"name": "n__b", "input_schema": schema},
    )
    assert not request.unsaid


def test_two_tools_of_one_name_are_the_later_one() -> None:
    two = [{"type": "namespace", "name": name, "tools": [{"type": "function", "name": "b"}]} for name in ("a", "a__")]
    request = read(USER, tools=two)
    assert [tool["name"] for tool in request.tools] == ["a__b"]
    assert set(lost(request)) == {"tools[a__b]"}
    again = read({"type": "additional_tools", "tools": TOOLS}, USER, tools=[{"type": "custom", "name": "f"}])
    assert again.tools[0]["input_schema"]["required"] == ["input"]  # what `tools` says is newer than the input
    assert (len(again.tools), again.unsaid) == (1, ())


def test_h150_a_search_for_tools_that_the_client_runs_is_a_tool() -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    search = {"type": "tool_search", "execution": "client", "description": "Finds tools", "parameters": schema}
    request = read(USER, tools=[search])
    assert request.tools == ({"name": "tool_search", "description": "Finds tools", "input_schema": schema},)
    assert not request.unsaid


def test_deferred_tools_are_offered_at_once() -> None:
    request = read(USER, tools=[{"type": "function", "name": "f", "defer_loading": True}, {"type": "tool_search"}])
    assert [tool["name"] for tool in request.tools] == ["f"]
    assert set(lost(request)) == {"tools[].defer_loading", "tools[type=tool_search]"}


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "required"}}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "name": "f"}}, {"type": "tool", "name": "f"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"tool_choice": {"type": "function", "name": "g", "namespace": "n"}}, {"type": "tool", "name": "n__g"}),
        ({"tool_choice": {"type": "custom", "name": "c"}}, {"type": "tool", "name": "c"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_h065_h066_tool_choice(fields: dict[str, Any], choice: Any) -> None:
    namespace = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}
    request = read(USER, tools=[*TOOLS, namespace, {"type": "custom", "name": "c"}], **fields)
    assert request.extra.get("tool_choice") == choice
    assert not request.unsaid


def test_only_the_allowed_tools_are_offered() -> None:
    tools = [*TOOLS, {"type": "function", "name": "g"}, {"type": "web_search"}]
    allowed: list[Any] = [{"type": "function", "name": "g"}, {"type": "web_search"}, "h"]
    request = read(USER, tools=tools, tool_choice={"type": "allowed_tools", "mode": "required", "tools": allowed})
    assert [tool["name"] for tool in request.tools] == ["g"]
    assert request.extra["tool_choice"] == {"type": "tool", "name": "g"}
    only = read(USER, tools=tools, tool_choice={"type": "allowed_tools", "mode": "auto", "tools": allowed[1:]})
    assert only.extra["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    "choice", [{"type": "web_search_preview"}, {"type": "mcp", "server_label": "s", "name": "f"}, {"type": "shell"}]
)
def test_h067_the_choice_of_a_hosted_tool_is_left_to_the_model(choice: dict[str, Any]) -> None:
    request = read(USER, tools=TOOLS, tool_choice=choice)
    assert request.extra["tool_choice"] == {"type": "auto"}
    assert set(lost(request)) == {"tool_choice"}


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "extra"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"safety_identifier": "s", "user": "u"}, {"metadata": {"user_id": "s"}}),
        ({"metadata": {"session_id": "s"}}, {}),
        (
            {"reasoning": {"effort": "minimal"}},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "minimal"}},
        ),
        (
            {"reasoning": {"effort": "xhigh", "summary": None, "context": "all_turns"}},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
        ),
        ({"reasoning": {"effort": "none", "summary": "auto"}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"summary": "auto"}}, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        (
            {"reasoning": {"effort": "high", "generate_summary": "concise", "mode": "standard"}},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
        ),
        ({"reasoning": {}}, {}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
        ({"text": {"format": {"type": "text"}, "verbosity": "medium"}}, {}),
        ({"store": False, "include": ["reasoning.encrypted_content"], "truncation": "disabled"}, {}),
        (
            {"prompt_cache_key": "k", "client_metadata": {"a": "b"}, "stream_options": {"include_obfuscation": False}},
            {},
        ),
        ({"service_tier": "auto", "top_logprobs": 0, "max_tool_calls": 3, "prompt_cache_retention": "in_memory"}, {}),
        ({"stop": "x"}, {"stop_sequences": ["x"]}),
    ],
)
def test_options_without_loss(fields: dict[str, Any], extra: dict[str, Any]) -> None:
    request = read(USER, **fields)
    assert (request.extra, request.unsaid) == (extra, ())


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"store": True}, "store"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"truncation": "auto"}, "truncation"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "schema": {}, "description": "d"}}}, "text.format.description"),
        ({"reasoning": {"effort": "ludicrous"}}, "reasoning.effort"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"never_heard_of": 1}, "never_heard_of"),
    ],
)
def test_h100_what_cannot_be_said_is_noted(fields: dict[str, Any], path: str) -> None:
    assert set(lost(read(USER, **fields))) == {path}


def test_h100_no_field_is_lost_in_silence() -> None:
    odd = {"odd": 1}
    request = read(
        {"role": "user", "content": [{"type": "input_text", "text": "x", "of_part": 1}], "of_message": 1},
        call(of_call=1),
        result(output=[{"type": "input_text", "text": "x", "of_output": 1}], of_result=1),
        tools=[
            {"type": "function", "function": {"name": "f", **odd}, "of_tool": 1},
            {"type": "custom", "name": "c", "of_custom": 1},
        ],
    )
    paths = {"input[].content[].of_part", "input[].of_message", "input[].of_call", "input[].of_result"}
    assert set(lost(request)) == paths | {"input[].output[].of_output", "tools[].odd", "tools[].of_tool"} | {
        "tools[].of_custom"
    }


def test_h133_the_limit_has_three_names() -> None:
    assert read(USER, max_output_tokens=20).max_tokens == 20
    assert read(USER, max_completion_tokens=20, max_tokens=10).max_tokens == 20
    assert read(USER, max_output_tokens=0).max_tokens is None


# ── what clients really send ────────────────────────────────────────────────────────────────────────────────────────


def message(role: str, *texts: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{role}",
        "role": role,
        "content": [{"type": "input_text", "text": text} for text in texts],
        "internal_chat_message_metadata_passthrough": {"turn_id": "t", "content_item_kinds": ["user.text"]},
    }


def test_codex_as_it_asks_a_provider_of_its_configuration() -> None:
    """Codex 0.169: functions, one namespace, and OpenAI's web search."""
    spawn = {"type": "function", "name": "spawn", "description": "Spawns.", "strict": False, "parameters": {}}
    request = read(
        message("developer", "You are an agent."),
        message("developer", "Skills.", "Permissions."),
        message("user", "The directory."),
        message("user", "say hi"),
        model="claude-opus-5-5",
        stream=True,
        tools=[
            {"type": "function", "name": "exec_command", "description": "Runs.", "strict": False, "parameters": {}},
            {"type": "namespace", "name": "agents", "description": "Of agents.", "tools": [spawn]},
            {"type": "web_search", "external_web_access": True},
        ],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"summary": "auto"},
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="0a1f",
        client_metadata={"session_id": "0a1f", "x-codex-turn-metadata": "{}"},
    )
    assert request.system == (Text(text="You are an agent."), Text(text="Skills."), Text(text="Permissions."))
    assert [message.role for message in request.messages] == ["user", "user"]
    assert [tool["name"] for tool in request.tools] == ["exec_command", "agents__spawn"]
    assert set(lost(request)) == {"tools[type=web_search]"}


def test_codex_as_it_asks_openai() -> None:
    """Codex 0.169: no tools but those in front of the input, the most important of which takes a text."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: SOURCE\nSOURCE: /[\\s\\S]+/"}
    tools = [
        {"type": "custom", "name": "exec", "description": "Runs code.", "format": grammar},
        {"type": "function", "name": "wait", "description": "Waits.", "strict": False, "parameters": {}},
    ]
    sleep = {"type": "function", "name": "sleep", "description": "Sleeps.", "strict": False, "parameters": {}}
    namespaces = [
        {"type": "namespace", "name": "functions", "description": "", "tools": tools},
        {"type": "namespace", "name": "clock", "description": "Of time.", "tools": [sleep]},
    ]
    request = read(
        {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": namespaces},
        message("developer", "You are an agent."),
        message("user", "say hi"),
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "gAAAAB"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "exec", "input": "text(1)"},
        {"type": "custom_tool_call_output", "id": "ctco_1", "call_id": "c", "output": "1"},
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "low", "context": "all_turns"},
        text={"verbosity": "low"},
        store=False,
    )
    assert request.system == (Text(text="You are an agent."),)
    assert [tool["name"] for tool in request.tools] == ["exec", "wait", "clock__sleep"]
    assert request.extra == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    }
    assert request.messages[1:] == (
        Message("assistant", (Thinking(), ToolUse(id="c", name="exec", input='{"input":"text(1)"}'))),
        Message("user", (ToolResult(tool_use_id="c", content="1"),)),
    )
    assert set(lost(request)) == {"tools[].format", "text.verbosity", "input[type=reasoning].encrypted_content"}


def test_h150h_cursor_mixes_in_what_chat_has() -> None:
    request = read(
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}]},
        tools=[{"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "g"}],
        stream_options={"include_usage": True},
        max_tokens=100,
        user="u",
    )
    assert request.system == "s"
    assert content_of(request, 0) == (Text(text="a"), Image(media_type="image/png", data="AA=="))
    assert [tool["name"] for tool in request.tools] == ["f", "g"]
    assert (request.max_tokens, request.unsaid) == (100, ())


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = ["message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "tool_search_output"]
KINDS += ["additional_tools", "local_shell_call", "local_shell_call_output", "computer_call_output", "agent_message"]
KINDS += ["shell_call_output", "apply_patch_call_output", "web_search_call", "item_reference", "odd", "namespace"]
KEYS = [
    "role",
    "content",
    "type",
    "text",
    "call_id",
    "id",
    "name",
    "namespace",
    "arguments",
    "input",
    "output",
    "tools",
]
KEYS += ["summary", "encrypted_content", "image_url", "file_data", "detail", "format", "function", "mode", "effort"]
WORDS = ["user", "assistant", "developer", "input_text", "input_image", "input_file", "function", "custom", "auto"]
WORDS += ["required", "allowed_tools", "f", "", "{}", *KINDS]
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["tools", "tool_choice", "instructions", "reasoning", "text", "include", "max_output_tokens", "temperature"]
FIELDS += ["user", "parallel_tool_calls", "metadata", "prompt", "input", "stop", "thinking"]


@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), json, max_size=4), max_size=4),
    st.dictionaries(st.sampled_from(FIELDS), json, max_size=4),
    st.lists(st.sampled_from(KINDS), min_size=4, max_size=4),
)
def test_arbitrary_json_is_read_or_refused(items: list[Any], fields: dict[str, Any], kinds: list[str]) -> None:
    items = [{"type": kind, **item} for item, kind in zip(items, kinds, strict=False)]
    body = msgspec.json.encode({"model": "m", "input": items, **fields})
    with suppress(ProxyError):
        request = read_request(body)
        assert request == read_request(body)
        assert request.source
        assert len(request.messages) == len(turned(items_in(request.source.wire))[1])


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "wire",
    [
        {"input": [{"role": LONG}]},
        {"input": [{"type": LONG}]},
        {"input": [{"role": "user", "content": [{"type": LONG}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": LONG}]}]},
        {"tools": [{"type": LONG}]},
        {"tools": TOOLS, "tool_choice": LONG},
        {"tools": TOOLS, "tool_choice": {"type": LONG}},
        {"tools": TOOLS, "tool_choice": {"type": "function", "name": LONG}},
        {"reasoning": {"effort": LONG}},
        {"text": {"format": {"type": LONG}}},
        {LONG: 1},
    ],
)
def test_what_a_client_wrote_is_told_shortened(wire: dict[str, Any]) -> None:
    try:
        request = read_request(msgspec.json.encode({"model": "m", "input": [], **wire}))
        told = [each for loss in request.unsaid for each in (loss.path, loss.reason)]
    except ProxyError as exc:
        told = [exc.error.message]
    assert told
    assert all(len(each) < 200 for each in told)


@pytest.mark.parametrize("depth", [300, 480, 900, 975, 985])
@pytest.mark.parametrize(
    "place",
    [
        '"input":[{"type":"function_call","name":"f","arguments":%s}]',
        '"input":[{"type":"shell_call_output","output":%s}]',
        '"input":[{"role":%s}]',
        '"input":[{"type":%s}]',
        '"input":[],"tool_choice":%s,"tools":[{"name":"f"}]',
        '"input":[],"tools":[{"type":%s}]',
        '"input":[],"text":{"format":%s}',
    ],
)
def test_nesting_at_the_edge_is_read_or_refused(place: str, depth: int) -> None:
    with suppress(ProxyError):
        read_request(f'{{"model":"m",{place % ("[" * depth + "]" * depth)}}}'.encode())


@pytest.mark.parametrize(
    "items",
    [
        [USER] * 30_000,
        [said()] * 30_000,
        [*[call("")] * 20_000, *[result("")] * 20_000],
        [each for _ in range(10_000) for each in (call("i"), result("i"))],
        [{"type": "additional_tools", "tools": TOOLS}] * 30_000,
    ],
    ids=["users", "assistant", "answers", "same ids", "tools"],
)
def test_long_conversations_take_no_longer_than_they_must(items: list[Any]) -> None:
    """While one is read no stream of this process goes on."""
    body = msgspec.json.encode({"model": "m", "input": items})
    began = time.process_time()
    read_request(body)
    assert time.process_time() - began < 3
