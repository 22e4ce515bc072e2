"""The nine routes between the three dialects over real sockets, and what Responses adds to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.anthropic import judge, message, texts, wire
from tests.chat import chunk, gathered
from tests.chat import stream as chat_stream
from tests.peers import Answer, Line, ask, proxy, upstream
from tests.responses import call, check, reasoning, response, stream, text_part
from tests.responses import message as said
from trioproxy.dialects.carried import TAG, carried

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
