"""The nine routes between the three dialects over real sockets, and what Responses adds to them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.anthropic import judge, message, texts, wire
from tests.chat import call as chat_call
from tests.chat import chunk, gathered
from tests.chat import stream as chat_stream
from tests.peers import Answer, Line, ask, proxy, upstream
from tests.responses import call, check, custom_call, reasoning, response, stream, text_part
from tests.responses import message as said
from trioproxy.dialects.carried import TAG, carried
from trioproxy.items import (
    BlockStart,
    BlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    ToolInputDelta,
    ToolUse,
    Usage,
)

DIALECTS = ("anthropic", "openai-chat", "openai-responses")
PATHS = dict(zip(DIALECTS, ("/v1/messages", "/v1/chat/completions", "/v1/responses"), strict=True))
USER = {"role": "user", "content": "hi"}
BODIES: dict[str, dict[str, Any]] = {
    "anthropic": {"model": "m", "max_tokens": 99, "messages": [USER]},
    "openai-chat": {"model": "m", "messages": [USER]},
    "openai-responses": {"model": "m", "input": "hi"},
}
STREAMS = {
    "anthropic": wire(message("Hel", "lo")),
    "openai-chat": chat_stream(chunk({"content": "Hel"}), chunk({"content": "lo"})),
    "openai-responses": stream(said(0, "Hel", "lo")),
}
ITEM = {"id": "msg_up1", "type": "message", "status": "completed", "role": "assistant", "content": [text_part("Hello")]}
WHOLES: dict[str, Any] = {
    "anthropic": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "openai-chat": {
        "id": "c",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    },
    "openai-responses": response("completed", ITEM),
}


async def answers(line: Line) -> None:
    """As the upstream of the dialect that it is asked in."""
    dialect = next(name for name, path in PATHS.items() if line.asked.target.endswith(path))
    if msgspec.json.decode(line.asked.body).get("stream"):
        await line.head()
        await line.chunk(STREAMS[dialect])
        await line.end()
    else:
        await line.whole(msgspec.json.encode(WHOLES[dialect]))


def toml(up: Any, dialect: str, more: str = "") -> str:
    return str(up.toml(more)).replace('"anthropic"', f'"{dialect}"')


def streamed(dialect: str, answer: Answer) -> str:
    """The text of a stream, which must be a legal one."""
    if dialect == "anthropic":
        judge(answer.body)
        return "".join(texts(answer.body))
    if dialect == "openai-chat":
        return str(gathered(answer.body)["content"])
    return text_of(check(answer.body))


def text_of(wire: Any) -> str:
    return "".join(part["text"] for item in wire["output"] for part in item.get("content") or ())


TOLD: dict[str, Callable[[Any], str]] = {
    "anthropic": lambda wire: "".join(block["text"] for block in wire["content"]),
    "openai-chat": lambda wire: wire["choices"][0]["message"]["content"],
    "openai-responses": text_of,
}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_of_any_dialect_on_an_upstream_of_any(client: str, dialect: str) -> None:
    async with upstream(answers) as up, proxy(toml(up, dialect)) as port:
        stream = await ask(port, msgspec.json.encode(BODIES[client] | {"stream": True}), path=PATHS[client])
        whole = await ask(port, msgspec.json.encode(BODIES[client]), path=PATHS[client])
    assert (stream.status, whole.status) == (200, 200)
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert streamed(client, stream) == "Hello"
    assert TOLD[client](msgspec.json.decode(whole.body)) == "Hello"
    assert [request.target for request in up.requests] == [PATHS[dialect]] * 2
    if client == dialect:
        assert (stream.body, whole.body) == (STREAMS[client], msgspec.json.encode(WHOLES[client]))


@pytest.mark.parametrize("path", ["/responses", "/v1/responses/", "/v1/responses?x=1"])
async def test_responses_are_asked_for_at_either_path(path: str) -> None:
    async with upstream(answers) as up, proxy(toml(up, "openai-chat")) as port:
        got = await ask(port, msgspec.json.encode(BODIES["openai-responses"]), path=path)
    assert text_of(msgspec.json.decode(got.body)) == "Hello"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_h150h_a_responses_body_at_the_path_of_chat(dialect: str) -> None:
    """Cursor's agent mode: its words are those of Responses, and it reads chunks."""
    tool = {"type": "function", "name": "read", "parameters": {"type": "object", "properties": {}}}
    body = {"model": "m", "input": [USER], "stream": True, "tools": [tool], "stream_options": {"include_usage": True}}
    async with upstream(answers) as up, proxy(toml(up, dialect)) as port:
        got = await ask(port, msgspec.json.encode(body), path=PATHS["openai-chat"])
    assert gathered(got.body)["content"] == "Hello"
    [asked] = [msgspec.json.decode(request.body) for request in up.requests]
    if dialect == "openai-responses":
        assert asked["input"] == [USER]
    else:
        assert asked["messages"] == [USER]
        assert len(asked["tools"]) == 1


async def test_the_model_has_the_name_that_the_client_asked_for() -> None:
    alias = '\n[models]\nbest = "gpt-up"\n'
    async with upstream(answers) as up, proxy(toml(up, "openai-responses", alias)) as port:
        body = {"model": "best", "input": "hi"}
        stream = await ask(port, msgspec.json.encode(body | {"stream": True}), path=PATHS["openai-responses"])
        whole = await ask(port, msgspec.json.encode(body), path=PATHS["openai-responses"])
    assert check(stream.body)["model"] == msgspec.json.decode(whole.body)["model"] == "best"
    assert [msgspec.json.decode(request.body)["model"] for request in up.requests] == ["gpt-up"] * 2


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_an_error_of_the_upstream_in_the_words_of_responses(status: int) -> None:
    async def refuses(line: Line) -> None:
        await line.whole(b'{"type":"error","error":{"type":"x_error","message":"no, thanks"}}', status=status)

    async with upstream(refuses) as up, proxy(up.toml()) as port:
        got = await ask(port, msgspec.json.encode(BODIES["openai-responses"]), path=PATHS["openai-responses"])
    assert got.status == status
    assert msgspec.json.decode(got.body)["error"]["message"] == "no, thanks"


async def test_a_stream_that_breaks_off_ends_as_one_that_failed() -> None:
    async def cut(line: Line) -> None:
        await line.head()
        await line.chunk(STREAMS["anthropic"][:-200])
        line.reset()

    async with upstream(cut) as up, proxy(up.toml()) as port:
        body = BODIES["openai-responses"] | {"stream": True}
        got = await ask(port, msgspec.json.encode(body), path=PATHS["openai-responses"])
    end = check(got.body)  # one terminal event, numbered like all before it
    assert (end["status"], got.complete) == ("failed", True)
    assert b"event: error\n" in got.body


# ── tools that take a text, at the path of Chat ─────────────────────────────────────────────────────────────────────

PATCH = '*** Begin Patch\n*** Update File: "a"\n*** End Patch'
GRAMMAR = {"syntax": "lark", "definition": "start: begin_patch hunk+ end_patch"}
ABOUT = {"name": "apply.patch", "description": "Edits."}  # a name that no upstream takes
NESTED = {"type": "custom", "custom": {**ABOUT, "format": {"type": "grammar", "grammar": GRAMMAR}}}
FLAT = {"type": "custom", "name": "ApplyPatch", "description": "Edits.", "format": {"type": "grammar", **GRAMMAR}}


async def patches(line: Line) -> None:
    """An upstream that calls the one tool that it is offered, with a patch as its `input`."""
    asked = msgspec.json.decode(line.asked.body)
    dialect = next(name for name, path in PATHS.items() if line.asked.target.endswith(path))
    if asked.get("stream"):
        await line.head()
        await line.chunk(PATCHES[dialect](asked["tools"][0]))
        await line.end()
    else:
        await line.whole(msgspec.json.encode(WHOLE_PATCHES[dialect](asked["tools"][0])))


def packed(step: int = 9) -> list[str]:
    text = msgspec.json.encode({"input": PATCH}).decode()
    return [text[at : at + step] for at in range(0, len(text), step)]


def anthropic_patch(tool: Any) -> bytes:
    pieces = [ToolInputDelta(0, piece) for piece in packed()]
    use = [BlockStart(0, ToolUse(id="call_2", name=tool["name"])), *pieces, BlockStop(0)]
    return wire(
        [MessageStart("msg_1", "m", Usage(1, 1)), *use, MessageDelta("tool_use", usage=Usage(1, 5)), MessageStop()]
    )


def chat_patch(tool: Any) -> bytes:
    begun = chat_call(0, "", id="call_2", name=tool["function"]["name"])
    return chat_stream(begun, *(chat_call(0, piece) for piece in packed()), finish="tool_calls")


def responses_patch(tool: Any) -> bytes:
    if tool["type"] == "custom":
        return stream(custom_call(0, PATCH[:9], PATCH[9:], name=tool["name"]))
    return stream(call(0, *packed(), call_id="call_2", name=tool["name"]))


def whole_chat_patch(tool: Any) -> Any:
    function = {"name": tool["function"]["name"], "arguments": "".join(packed())}
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_2", "type": "function", "function": function}],
    }
    return WHOLES["openai-chat"] | {"choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}]}


def whole_anthropic_patch(tool: Any) -> Any:
    use = {"type": "tool_use", "id": "call_2", "name": tool["name"], "input": {"input": PATCH}}
    return WHOLES["anthropic"] | {"content": [use], "stop_reason": "tool_use"}


def whole_responses_patch(tool: Any) -> Any:
    said = {"type": "function_call", "arguments": "".join(packed())}
    said = {"type": "custom_tool_call", "input": PATCH} if tool["type"] == "custom" else said
    item = {"id": "i_1", "call_id": "call_2", "name": tool["name"], "status": "completed", **said}
    return response("completed", item)


PATCHES = dict(zip(DIALECTS, (anthropic_patch, chat_patch, responses_patch), strict=True))
WHOLE_PATCHES = dict(zip(DIALECTS, (whole_anthropic_patch, whole_chat_patch, whole_responses_patch), strict=True))


@pytest.mark.parametrize(
    ("said", "dialect"),
    [
        *(("input", dialect) for dialect in DIALECTS),
        *(("messages", dialect) for dialect in DIALECTS if dialect != "openai-chat"),  # which passes as it comes
    ],
)
async def test_h150h_cursor_reads_a_patch_as_the_arguments_of_a_function(said: str, dialect: str) -> None:
    """Whatever it asks in: of `custom` calls it knows nothing, nor of the object that others have the text in."""
    chat = pytest.importorskip("openai.types.chat", reason="the openai package is not installed")
    body = {"model": "m", said: [USER], "tools": [FLAT]}
    async with upstream(patches) as up, proxy(toml(up, dialect)) as port:
        streamed = await ask(port, msgspec.json.encode(body | {"stream": True}), path=PATHS["openai-chat"])
        whole = await ask(port, msgspec.json.encode(body), path=PATHS["openai-chat"])
    chunks = [
        chat.ChatCompletionChunk.model_validate_json(frame[6:])
        for frame in streamed.body.split(b"\n\n")
        if frame.startswith(b"data: {")
    ]
    calls = [each for chunk in chunks for choice in chunk.choices for each in choice.delta.tool_calls or ()]
    assert (calls[0].id, calls[0].type, calls[0].function.name) == ("call_2", "function", "ApplyPatch")
    assert "".join(each.function.arguments for each in calls) == PATCH
    assert len(calls) > 2
    completion = chat.ChatCompletion.model_validate_json(whole.body)
    [made] = completion.choices[0].message.tool_calls
    assert isinstance(made, chat.ChatCompletionMessageFunctionToolCall)
    assert (made.id, made.function.name, made.function.arguments) == ("call_2", "ApplyPatch", PATCH)
    assert completion.choices[0].finish_reason == gathered(streamed.body)["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("dialect", ["anthropic", "openai-responses"])
async def test_a_custom_tool_of_chat_is_called_as_one(dialect: str) -> None:
    chat = pytest.importorskip("openai.types.chat", reason="the openai package is not installed")
    choice = {"type": "custom", "custom": {"name": ABOUT["name"]}}
    body = {"model": "m", "messages": [USER], "tools": [NESTED], "tool_choice": choice}
    async with upstream(patches) as up, proxy(toml(up, dialect)) as port:
        streamed = await ask(port, msgspec.json.encode(body | {"stream": True}), path=PATHS["openai-chat"])
        whole = await ask(port, msgspec.json.encode(body), path=PATHS["openai-chat"])
    [offered] = msgspec.json.decode(up.requests[0].body)["tools"]
    assert GRAMMAR["definition"] in offered["description"]
    assert "." not in offered["name"]
    assert "tools[].custom.format" in whole.headers["x-trioproxy-lossy"]
    completion = chat.ChatCompletion.model_validate_json(whole.body)
    [made] = completion.choices[0].message.tool_calls
    assert isinstance(made, chat.ChatCompletionMessageCustomToolCall)
    assert (made.id, made.custom.name, made.custom.input) == ("call_2", ABOUT["name"], PATCH)
    told = gathered(streamed.body)
    assert [made.model_dump() | {"index": 0}] == told["tool_calls"]  # the SDK has no type for it in a chunk
    assert completion.choices[0].finish_reason == told["finish_reason"] == "tool_calls"


HISTORIES: dict[str, dict[str, Any]] = {
    "custom calls of chat": {
        "tools": [NESTED | {"custom": {"name": "ApplyPatch"}}],
        "messages": [
            USER,
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "ApplyPatch", "input": PATCH}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "done"},
        ],
    },
    "Cursor's in the words of chat": {
        "tools": [FLAT],
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": [],
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "ApplyPatch", "arguments": PATCH}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "done"},
        ],
    },
    "Cursor's in those of Responses": {
        "tools": [FLAT],
        "input": [
            USER,
            {"type": "function_call", "call_id": "c", "name": "ApplyPatch", "arguments": PATCH},
            {"type": "function_call_output", "call_id": "c", "output": "done"},
        ],
    },
}


@pytest.mark.parametrize("history", HISTORIES)
async def test_what_was_called_before_is_a_call_with_its_result(history: str) -> None:
    body = msgspec.json.encode({"model": "m", **HISTORIES[history]})
    async with upstream(answers) as up, proxy(toml(up, "anthropic")) as port:
        got = await ask(port, body, path=PATHS["openai-chat"])
    assert got.status == 200
    _, made, result = msgspec.json.decode(up.requests[0].body)["messages"]
    assert made["content"] == [{"type": "tool_use", "id": "c", "name": "ApplyPatch", "input": {"input": PATCH}}]
    [block] = result["content"]
    assert (block["type"], block["tool_use_id"], block["content"]) == ("tool_result", "c", "done")


async def test_between_chat_and_chat_a_custom_tool_and_its_calls_pass() -> None:
    custom = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "ApplyPatch", "input": PATCH}}
    sent = chat_stream(chunk({"tool_calls": [custom]}), finish="tool_calls")

    async def calls(line: Line) -> None:
        await line.head()
        await line.chunk(sent)
        await line.end()

    body = msgspec.json.encode({"model": "m", "stream": True, **HISTORIES["custom calls of chat"]})
    async with upstream(calls) as up, proxy(toml(up, "openai-chat")) as port:
        got = await ask(port, body, path=PATHS["openai-chat"])
    assert (up.requests[0].body, got.body) == (body, sent)


# ── reasoning on its way through a client of another dialect ────────────────────────────────────────────────────────

SEALED = stream(reasoning(0, "They want a file."), call(1, '{"a"', ":1}"))


async def thinks(line: Line) -> None:
    """A Responses upstream that reasons and calls, and answers once it has the result."""
    asked = msgspec.json.decode(line.asked.body)
    await line.head()
    done = any(item.get("type") == "function_call_output" for item in asked["input"])
    await line.chunk(STREAMS["openai-responses"] if done else SEALED)
    await line.end()


TOOLS = [{"name": "read", "input_schema": {"type": "object", "properties": {}}}]


async def step(port: int, *turns: Any) -> list[dict[str, Any]]:
    """An Anthropic client's next step: the blocks of the answer."""
    body: dict[str, Any] = {"model": "gpt-5.4", "max_tokens": 999, "messages": [USER, *turns], "stream": True}
    body["tools"] = TOOLS
    body["thinking"] = {"type": "adaptive"}
    got = await ask(port, msgspec.json.encode(body), path="/v1/messages")
    blocks: list[dict[str, Any]] = []
    for event in judge(got.body):
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            for key, value in event["delta"].items():
                name = "input" if key == "partial_json" else key
                if key != "type":
                    before = blocks[-1].get(name)
                    blocks[-1][name] = (before if isinstance(before, str) else "") + value
    return blocks


def turns(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    [thought, use] = blocks
    use = use | {"input": msgspec.json.decode(use["input"])}
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "done"}
    return [{"role": "assistant", "content": [thought, use]}, {"role": "user", "content": [result]}]


async def test_an_anthropic_client_carries_the_encrypted_reasoning_in_its_signature() -> None:
    async with upstream(thinks) as up, proxy(toml(up, "openai-responses")) as port:
        blocks = await step(port)
        assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
        assert blocks[0]["thinking"] == "They want a file."
        assert blocks[0]["signature"].startswith(TAG)
        await step(port, *turns(blocks))
    first, second = [msgspec.json.decode(request.body) for request in up.requests]
    assert (first["include"], first["store"]) == (["reasoning.encrypted_content"], False)
    kinds = [item.get("type", "message") for item in second["input"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
    assert second["input"][1]["encrypted_content"] == "gAAA"
    assert second["input"][1]["id"] == "rs_up1"


async def test_it_does_not_reach_another_upstream_or_model() -> None:
    other = '\n[models]\nother = "gpt-5.5"\n'
    async with upstream(thinks) as up, proxy(toml(up, "openai-responses", other)) as port:
        blocks = await step(port)
        body: dict[str, Any] = {"model": "other", "max_tokens": 999, "messages": [USER, *turns(blocks)], "tools": TOOLS}
        got = await ask(port, msgspec.json.encode(body | {"stream": True}), path="/v1/messages")
        assert "thinking" in got.headers["x-trioproxy-lossy"]
    assert b"gAAA" not in up.requests[1].body
    # Nor Anthropic's, who would refuse the request for it: bytes stay bytes but for what is not its own.
    body |= {"model": "claude-x"}
    async with upstream(answers) as up, proxy(up.toml()) as port:
        got = await ask(port, msgspec.json.encode(body), path="/v1/messages")
    asked = msgspec.json.decode(up.requests[0].body)
    assert got.status == 200
    assert TAG.encode() not in up.requests[0].body
    assert [block["type"] for block in asked["messages"][1]["content"]] == ["tool_use"]
    assert asked["messages"][2] == body["messages"][2]


async def test_h150g_a_responses_upstream_gets_no_reasoning_that_another_has_sealed() -> None:
    sealed = carried("anthropic", "elsewhere", {"type": "thinking", "thinking": "hm", "signature": "Ersz"})
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
    own = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"}
    spoken = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
    body = {"model": "m", "input": [USER, thought, spoken, own, spoken, USER], "odd": 1.0}
    async with upstream(answers) as up, proxy(toml(up, "openai-responses")) as port:
        got = await ask(port, msgspec.json.encode(body), path=PATHS["openai-responses"])
    assert got.status == 200
    assert msgspec.json.decode(up.requests[0].body) == body | {"input": [USER, spoken, own, spoken, USER]}


# ── upstreams that say odd things ───────────────────────────────────────────────────────────────────────────────────

ODD_TYPE = STREAMS["openai-responses"].replace(
    b"event: response.output_text.done", b'data: {"type":["x"]}\n\nevent: response.output_text.done', 1
)
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": ["thought"]}
CALLED = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": ["c"], "name": "f", "namespace": {}}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        ODD_TYPE,
        stream([{"type": "response.output_item.done", "output_index": 0, "item": THOUGHT}], said(1, "Hello")),
        stream([{"type": "response.output_item.done", "output_index": 0, "item": CALLED | {"arguments": {"a": 1}}}]),
        msgspec.json.encode(response("completed", CALLED | {"call_id": "c", "arguments": {"a": 1}})),
    ],
    ids=["a type that is a list", "a summary of texts", "ids that are lists", "arguments that are an object"],
)
@pytest.mark.parametrize("streams", [True, False])
async def test_odd_answers_are_no_failure_of_ours(
    client: str, body: bytes, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def odd(line: Line) -> None:
        if body.startswith(b"{"):
            await line.whole(body)
        else:
            await line.head()
            await line.chunk(body)
            await line.end()

    async with upstream(odd) as up, proxy(toml(up, "openai-responses")) as port:
        asked = msgspec.json.encode(BODIES[client] | {"stream": streams})
        got = await ask(port, asked, path=PATHS[client])
    assert got.status == 200
    assert not [record for record in caplog.records if record.exc_info]
    if client == "openai-responses" and streams and body.startswith(b"{"):
        assert b'"delta":"{\\"a\\":1}"' in got.body  # a text, whatever the body has


@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])  # its own dialect's reads what it says
@pytest.mark.parametrize("said", [{"status": "error"}, {"status": "expired"}, {"error": {"message": "boom"}}])
async def test_an_answer_that_failed_under_another_name_never_looks_like_one(client: str, said: Any) -> None:
    async def fails(line: Line) -> None:
        await line.whole(msgspec.json.encode(response("completed") | said))

    async with upstream(fails) as up, proxy(toml(up, "openai-responses")) as port:
        got = await ask(port, msgspec.json.encode(BODIES[client]), path=PATHS[client])
    assert got.status >= 400


async def test_h150g_what_another_has_sealed_is_found_in_a_compressed_body() -> None:
    sealed = carried("openai-responses", "elsewhere", {"type": "reasoning"})
    thought = {"type": "thinking", "thinking": "hm", "signature": sealed}
    turns: list[Any] = [USER, {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]}, USER]
    packed = gzip.compress(msgspec.json.encode(BODIES["anthropic"] | {"messages": turns}))
    plain = gzip.compress(msgspec.json.encode(BODIES["anthropic"]))
    async with upstream(answers_packed) as up, proxy(up.toml()) as port:
        for body in (packed, plain):
            await ask(port, body, path=PATHS["anthropic"], headers=("content-encoding: gzip",))
    assert TAG.encode() not in up.requests[0].body
    assert msgspec.json.decode(up.requests[0].body)["messages"][1]["content"] == [{"type": "text", "text": "a"}]
    assert up.requests[1].body == plain


async def answers_packed(line: Line) -> None:
    await line.whole(msgspec.json.encode(WHOLES["anthropic"]))
