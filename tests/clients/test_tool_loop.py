"""Tool loops of the official SDKs across dialects: two calls at once, their results, and the answer made of them.

The upstream is a script. It checks what the second turn brings as a provider would, and only then answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.peers import Line, proxy, upstream

from . import answers, anthropic_upstream, responses_upstream
from .anthropic_upstream import MODELS, AnthropicUpstream, Step
from .fake_router import FakeRouter
from .responses_upstream import ResponsesUpstream, Voice, says
from .wire import Answer, Request

if TYPE_CHECKING:
    import anthropic
    import openai
else:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")
    openai = pytest.importorskip("openai", reason="the openai package is not installed")

Wire = dict[str, Any]  # a JSON object; `Any` because either side may have put anything into it

SECONDS = 20.0
MODEL = "the-model-asked-for"
QUESTION, BEFORE, GO_ON, FINAL = "What do you see?", "Let me look. ", "And be brief.", "Die Würzburger Residenz."
# The second is as MCP servers have them: longer than OpenAI takes (H063).
TOOLS = ["look", "mcp__a_server_of_files_that_says_at_length_what_it_is__read_a_file_from_the_disk"]
# Not ASCII, a number that no double holds, and an order of keys that is not the alphabet's (H122, H124).
ARGUMENTS: list[Wire] = [
    {"path": "Würzburg.png", "at": 9007199254740993},
    {"path": "/etc/none", "lines": [1, 2], "also": {"deep": None}},
]
WRITTEN = [json.dumps(each, ensure_ascii=False) for each in ARGUMENTS]
FAILURE = "no such file: /etc/none"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA: Wire = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
    "additionalProperties": False,
}


class Checks:
    """What the upstream has made sure of, in order."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def equal(self, what: str, got: object, wanted: object) -> None:
        assert got == wanted, what
        self.made.append(what)


Play = Callable[[Line, Checks], Awaitable[None]]


@asynccontextmanager
async def between(dialect: str, play: Play, checks: Checks) -> AsyncIterator[str]:
    """The address of a proxy whose upstream speaks `dialect`, and plays."""

    async def script(line: Line) -> None:
        await play(line, checks)

    async with upstream(script) as up, proxy(up.toml().replace('"anthropic"', f'"{dialect}"')) as port:
        yield f"http://127.0.0.1:{port}"


async def in_pieces(line: Line, events: Sequence[bytes]) -> None:
    await line.head()
    for event in events:
        await line.chunk(event)
    await line.end()


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


# ── a client of Anthropic's, an upstream that speaks OpenAI's chat ──────────────────────────────────────────────────

CHAT_TURNS = ["tools", "usage", "question", "tools", "usage", "order", "call", "ids", "picture", "error", "words"]


async def plays_chat(line: Line, checks: Checks, ids: Sequence[str] = ()) -> None:
    body = json.loads(line.asked.body)
    names = [tool["function"]["name"] for tool in body["tools"]]
    fine = [bool(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)) for name in names]
    checks.equal("tools", (names[0], fine, len({*names})), (TOOLS[0], [True, True], 2))
    streamed = body.get("stream", False)
    checks.equal("usage", body.get("stream_options"), {"include_usage": True} if streamed else None)  # H041
    if len(body["messages"]) == 1:
        checks.equal("question", body["messages"], [{"role": "user", "content": QUESTION}])
        calls = [
            {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for index, (id, name, arguments) in enumerate(zip(ids, names, WRITTEN, strict=True))
        ]
        await (calls_in_pieces(line, calls) if streamed else whole_chat(line, BEFORE, calls))
        return
    check_chat(checks, body["messages"], names, ids)
    if streamed:
        await in_pieces(line, [*map(said, FINAL.partition(" ")), *chat_end("stop")])
    else:
        await whole_chat(line, FINAL, [])


def check_chat(checks: Checks, messages: list[Wire], names: list[str], ids: Sequence[str]) -> None:
    """Results directly behind their calls, and what no tool message can hold behind them all (H062, H070)."""
    checks.equal("order", [each["role"] for each in messages], ["user", "assistant", "tool", "tool", "user"])
    _, turn, looked, failed, user = messages
    made = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in turn["tool_calls"]]
    wanted = [(id, name, json.loads(text)) for id, name, text in zip(ids, names, WRITTEN, strict=True)]
    checks.equal("call", (turn["content"], [(id, name, json.loads(text)) for id, name, text in made]), (BEFORE, wanted))
    checks.equal("ids", [looked["tool_call_id"], failed["tool_call_id"]], list(ids))
    pictures = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
    checks.equal("picture", (pictures, PNG in str(looked)), ([f"data:image/png;base64,{PNG}"], False))
    checks.equal("error", (FAILURE in failed["content"], "error" in failed["content"]), (True, True))  # H061
    checks.equal("words", user["content"][-1], {"type": "text", "text": GO_ON})


def chunk(delta: Wire, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c1", "model": "m", "choices": [choice]}).encode() + b"\n\n"


def said(text: str) -> bytes:
    return chunk({"content": text})


def chat_end(reason: str) -> list[bytes]:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    counts = json.dumps({"id": "c1", "model": "m", "choices": [], "usage": usage}).encode()
    return [chunk({}, reason), b"data: " + counts + b"\n\n", b"data: [DONE]\n\n"]


async def calls_in_pieces(line: Line, calls: list[Wire]) -> None:
    """The arguments of both calls in turns, as one model or another writes them (H006)."""
    begun = [call | {"function": call["function"] | {"arguments": ""}} for call in calls]
    texts = [halves(call["function"]["arguments"]) for call in calls]
    pieces = [{"index": index, "function": {"arguments": texts[index][half]}} for half in (0, 1) for index in (0, 1)]
    deltas = [chunk({"tool_calls": [piece]}) for piece in (*begun, *pieces)]
    await in_pieces(line, [chunk({"role": "assistant", "content": ""}), said(BEFORE), *deltas, *chat_end("tool_calls")])


async def whole_chat(line: Line, text: str, calls: list[Wire]) -> None:
    message: Wire = {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    await line.whole(json.dumps({"id": "c1", "model": "m", "choices": [choice], "usage": usage}).encode())


def loop_of_anthropic(
    url: str, *, streamed: bool, **options: Any
) -> tuple[anthropic.types.Message, anthropic.types.Message]:
    """A conversation as the SDK's documentation has it: the first turn's answer, and the last one's."""
    asked: Any = {"model": MODEL, "max_tokens": 900} | options
    tools: Any = [{"name": name, "description": "A tool.", "input_schema": SCHEMA} for name in TOOLS]
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    turns: list[anthropic.types.Message] = []
    with anthropic.Anthropic(
        base_url=url,
        api_key="dummy",
        max_retries=0,
        timeout=SECONDS,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),  # without the proxies that the environment may name
    ) as client:
        while not turns or turns[-1].stop_reason == "tool_use":
            if streamed:
                with client.messages.stream(**asked, tools=tools, messages=messages) as stream:
                    turns.append(stream.get_final_message())
            else:
                turns.append(client.messages.create(**asked, tools=tools, messages=messages))
            calls = [block for block in turns[-1].content if block.type == "tool_use"]
            results = [run(call) for call in calls]
            messages.append({"role": "assistant", "content": turns[-1].content})
            messages.append({"role": "user", "content": [*results, {"type": "text", "text": GO_ON}]})
    first, last = turns
    return first, last


def run(call: anthropic.types.ToolUseBlock) -> Wire:
    result: Wire = {"type": "tool_result", "tool_use_id": call.id}
    if call.name == TOOLS[0]:
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        return result | {"content": [{"type": "text", "text": "A picture:"}, {"type": "image", "source": source}]}
    return result | {"content": FAILURE, "is_error": True}


# Kimi's ids are none that Anthropic's clients take: they must come back to it as they were (H030c, H064).
@pytest.mark.parametrize("ids", [("call_1", "call_2"), ("functions.look:0", "functions.read:1")], ids=["usual", "kimi"])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_tool_loop_of_an_anthropic_client(streamed: bool, ids: tuple[str, str]) -> None:
    checks = Checks()
    async with between("openai-chat", partial(plays_chat, ids=ids), checks) as url:
        first, last = await trio.to_thread.run_sync(partial(loop_of_anthropic, url, streamed=streamed))
    assert checks.made == CHAT_TURNS
    assert [block.type for block in first.content] == ["text", "tool_use", "tool_use"]
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == list(zip(TOOLS, ARGUMENTS, strict=True))
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", call.id) for call in calls)
    assert (first.stop_reason, last.stop_reason) == ("tool_use", "end_turn")
    assert [block.text for block in last.content if block.type == "text"] == [FINAL]
    for turn in (first, last):
        assert turn.model == MODEL
        usage = turn.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (6, 4, 5)  # H044


# ── a client of OpenAI's, an upstream that speaks Anthropic's messages ──────────────────────────────────────────────

IDS = ["toolu_01Look", "toolu_02Read"]
MESSAGES_TURNS = ["tools", "question", "tools", "order", "call", "results", "words"]


async def plays_messages(line: Line, checks: Checks) -> None:
    body = json.loads(line.asked.body)
    assert body["max_tokens"] > 0
    checks.equal(
        "tools", [(tool["name"], tool["input_schema"]) for tool in body["tools"]], [(n, SCHEMA) for n in TOOLS]
    )
    blocks: list[Wire]
    if len(body["messages"]) == 1:
        checks.equal("question", text_of(body["messages"][0]["content"]), QUESTION)
        calls = [
            {"type": "tool_use", "id": id, "name": name, "input": arguments}
            for id, name, arguments in zip(IDS, TOOLS, ARGUMENTS, strict=True)
        ]
        blocks = [answers.text_block(BEFORE), *calls]
    else:
        check_messages(checks, body["messages"])
        blocks = [answers.text_block(FINAL)]
    reason = "tool_use" if len(blocks) > 1 else "end_turn"
    if body.get("stream"):
        events = [event for index, block in enumerate(blocks) for event in events_of(index, block)]
        await in_pieces(line, [answers.message_start(), answers.PING, *events, *answers.message_end(reason)])
    else:
        await line.whole(json.dumps(answers.message(blocks, stop_reason=reason)).encode())


def check_messages(checks: Checks, messages: list[Wire]) -> None:
    """Every call is answered in the very next turn, the results first, in one message with the words (H055, H070)."""
    checks.equal("order", [each["role"] for each in messages], ["user", "assistant", "user"])
    _, turn, user = messages
    text, *calls = turn["content"]
    made = [(call["type"], call["id"], call["name"], call["input"]) for call in calls]
    wanted = [("tool_use", *each) for each in zip(IDS, TOOLS, ARGUMENTS, strict=True)]
    checks.equal("call", (text_of([text]).rstrip(), made), (BEFORE.rstrip(), wanted))
    *results, words = user["content"]
    given = sorted((each["type"], each["tool_use_id"], text_of(each["content"])) for each in results)
    checks.equal("results", given, [("tool_result", IDS[0], "A castle."), ("tool_result", IDS[1], FAILURE)])
    checks.equal("words", (words["type"], words["text"]), ("text", GO_ON))


def text_of(content: str | list[Wire]) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def events_of(index: int, block: Wire) -> list[bytes]:
    """A block as Anthropic streams it; the first piece of a call's arguments is empty."""
    if block["type"] == "text":
        start, deltas = block | {"text": ""}, [{"type": "text_delta", "text": each} for each in halves(block["text"])]
    else:
        pieces = ("", *halves(json.dumps(block["input"], ensure_ascii=False)))
        start, deltas = block | {"input": {}}, [{"type": "input_json_delta", "partial_json": each} for each in pieces]
    return [
        answers.event("content_block_start", index=index, content_block=start),
        *(answers.event("content_block_delta", index=index, delta=delta) for delta in deltas),
        answers.event("content_block_stop", index=index),
    ]


def loop_of_openai(url: str, *, streamed: bool, **options: Any) -> list[Any]:
    """A conversation as the SDK's documentation has it: the completions of its turns."""
    asked: Any = {"model": MODEL} | options
    function = {"description": "A tool.", "parameters": SCHEMA, "strict": True}
    tools: Any = [{"type": "function", "function": function | {"name": name}} for name in TOOLS]
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    turns: list[Any] = []
    with openai.OpenAI(
        base_url=f"{url}/v1",
        api_key="dummy",
        max_retries=0,
        timeout=SECONDS,
        http_client=openai.DefaultHttpxClient(trust_env=False),  # without the proxies that the environment may name
    ) as client:
        while not turns or turns[-1].choices[0].finish_reason == "tool_calls":
            if streamed:
                counted: Any = {"include_usage": True}
                with client.chat.completions.stream(
                    **asked, tools=tools, messages=messages, stream_options=counted
                ) as stream:
                    turns.append(stream.get_final_completion())
            else:
                turns.append(client.chat.completions.create(**asked, tools=tools, messages=messages))
            message = turns[-1].choices[0].message
            messages.append(message)
            # The one that was asked for last is done first.
            for call in reversed(message.tool_calls or []):
                content = "A castle." if call.function.name == TOOLS[0] else FAILURE
                messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
            messages.append({"role": "user", "content": GO_ON})
    return turns


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_tool_loop_of_an_openai_client(streamed: bool) -> None:
    checks = Checks()
    async with between("anthropic", plays_messages, checks) as url:
        first, last = await trio.to_thread.run_sync(partial(loop_of_openai, url, streamed=streamed))
    assert checks.made == MESSAGES_TURNS
    message = first.choices[0].message
    assert message.content == BEFORE
    made = [
        (call.id, call.type, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls
    ]
    wanted = zip(IDS, ["function"] * 2, TOOLS, ARGUMENTS, strict=True)
    assert made == list(wanted)
    assert last.choices[0].message.content == FINAL
    assert last.choices[0].message.tool_calls is None
    assert (first.choices[0].finish_reason, last.choices[0].finish_reason) == ("tool_calls", "stop")
    for turn in (first, last):
        assert turn.model == MODEL
        assert (turn.usage.prompt_tokens, turn.usage.completion_tokens, turn.usage.total_tokens) == (12, 9, 21)


# ── a client of OpenAI's that speaks Responses ──────────────────────────────────────────────────────────────────────

PICTURE = [
    {"type": "input_text", "text": "A picture:"},
    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
]


def loop_of_responses(
    url: str, outputs: Sequence[Any], *, streamed: bool, names: Sequence[str] = TOOLS, **options: Any
) -> list[Any]:
    """A conversation as the SDK's documentation has it, without the provider's memory: the responses of its turns."""
    function = {"type": "function", "description": "A tool.", "parameters": SCHEMA, "strict": True}
    tools: Any = [function | {"name": name} for name in names]
    body: Any = {"model": MODEL, "store": False, "include": ["reasoning.encrypted_content"], "tools": tools} | options
    conversation: list[Any] = [{"role": "user", "content": QUESTION}]
    turns: list[Any] = []
    calls: list[Any] = []
    with openai.OpenAI(
        base_url=f"{url}/v1",
        api_key="dummy",
        max_retries=0,
        timeout=SECONDS,
        http_client=openai.DefaultHttpxClient(trust_env=False),  # without the proxies that the environment may name
    ) as client:
        while not turns or calls:
            if streamed:
                with client.responses.stream(**body, input=conversation) as stream:
                    turns.append(stream.get_final_response())
            else:
                turns.append(client.responses.create(**body, input=conversation))
            conversation += turns[-1].output
            calls = [item for item in turns[-1].output if item.type == "function_call"]
            for call in calls:
                output = outputs[names.index(call.name)]
                conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
            conversation.append({"role": "user", "content": GO_ON})
    return turns


def assert_answered(
    turns: Sequence[Any], ids: Sequence[str] | None, counted: tuple[int, int, int], names: Sequence[str] = TOOLS
) -> None:
    first, last = turns
    message, *calls = [item for item in first.output if item.type != "reasoning"]
    assert message.content[0].text == BEFORE
    assert [(call.name, json.loads(call.arguments)) for call in calls] == list(zip(names, ARGUMENTS, strict=True))
    assert ids is None or [call.call_id for call in calls] == list(ids)
    assert last.output_text == FINAL
    for turn in turns:
        assert (turn.status, turn.model) == ("completed", MODEL)
        usage = turn.usage
        assert (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens) == counted
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_tool_loop_of_a_responses_client_on_messages(streamed: bool) -> None:
    checks = Checks()
    async with between("anthropic", plays_messages, checks) as url:
        loop = partial(loop_of_responses, url, ["A castle.", FAILURE], streamed=streamed)
        turns = await trio.to_thread.run_sync(loop)
    assert checks.made == MESSAGES_TURNS
    assert_answered(turns, IDS, (12, 0, 9))


@pytest.mark.parametrize("ids", [("call_1", "call_2"), ("functions.look:0", "functions.read:1")], ids=["usual", "kimi"])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_tool_loop_of_a_responses_client_on_chat(streamed: bool, ids: tuple[str, str]) -> None:
    checks = Checks()
    async with between("openai-chat", partial(plays_chat, ids=ids), checks) as url:
        loop = partial(loop_of_responses, url, [PICTURE, f"error: {FAILURE}"], streamed=streamed)
        turns = await trio.to_thread.run_sync(loop)
    assert checks.made == CHAT_TURNS
    assert_answered(turns, ids, (10, 4, 5))


@asynccontextmanager
async def before(upstream: FakeRouter, dialect: str, more: str = "") -> AsyncIterator[str]:
    """The address of a proxy before a strict upstream."""
    with upstream:
        table = f'[upstreams.up]\nurl = "{upstream.url}"\ndialect = "{dialect}"\n'
        async with proxy(more + table) as port:
            yield f"http://127.0.0.1:{port}"


THOUGHTS = ["Zwei Dinge sind zu sehen. ", "Enough."]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("model", MODELS)
async def test_signed_thoughts_are_carried_by_a_responses_client(model: str, streamed: bool) -> None:
    """In the encrypted content, which is all that such a client gives back of them: to the byte."""
    calls = [anthropic_upstream.Call(name, arguments) for name, arguments in zip(TOOLS, ARGUMENTS, strict=True)]
    first: Step = [anthropic_upstream.Think(THOUGHTS[0]), anthropic_upstream.Say(BEFORE), *calls]
    last: Step = [anthropic_upstream.Think(THOUGHTS[1]), anthropic_upstream.Say(FINAL)]
    upstream = AnthropicUpstream([first, last])
    async with before(upstream, "anthropic") as url:
        asked: Any = {"model": model, "reasoning": {"effort": "high", "summary": "auto"}}
        loop = partial(loop_of_responses, url, ["A castle.", FAILURE], streamed=streamed, **asked)
        turns = await trio.to_thread.run_sync(loop)
    assert upstream.refused == upstream.problems == []
    assert [(seen.thinking, len(seen.thoughts), seen.changed) for seen in upstream.seen] == [
        (True, 0, ()),
        (True, 1, ()),
    ]
    thought = turns[0].output[0]
    assert (thought.type, [part.text for part in thought.summary]) == ("reasoning", [THOUGHTS[0]])
    assert turns[1].output_text == FINAL


# ── an upstream that speaks Responses ───────────────────────────────────────────────────────────────────────────────

TURN = ["reasoning", "message", "function_call", "function_call", "function_call_output", "function_call_output"]


def thinks_and_calls(voice: Voice, request: Request) -> Answer:
    """By the names that the tools have here."""
    names = [tool["name"] for tool in request.json["tools"]]
    calls = [responses_upstream.Call(name, made) for name, made in zip(names, ARGUMENTS, strict=True)]
    thought = responses_upstream.Think((THOUGHTS[0].strip(),))
    return says(thought, responses_upstream.Say(BEFORE), *calls)(voice, request)


PLAYS: list[responses_upstream.Play] = [
    thinks_and_calls,
    says(responses_upstream.Think(), responses_upstream.Say(FINAL)),
]
# The dialect's own names for what is asked for, and what the client's own SDK calls it.
TO_RESPONSES = f'[models]\n"{MODEL}" = "{responses_upstream.MODEL}"\n\n'


def assert_asked(upstream: ResponsesUpstream, *, strict: bool, picture: bool) -> None:
    """The second request is as OpenAI has it: what was thought before what it led to, and results of every kind."""
    assert upstream.refused == upstream.problems == []
    first, second = (request.json for request in upstream.requests)
    assert [tool["strict"] for tool in first["tools"]] == [strict, strict]
    assert first["store"] is False
    known = len(first["input"])
    assert second["input"][:known] == first["input"]
    thought, said, *rest = second["input"][known:]
    assert [item.get("type", "message") for item in (thought, said, *rest)] == [*TURN, "message"]
    assert said["content"][0]["text"].rstrip() == BEFORE.rstrip()
    assert [json.loads(call["arguments"]) for call in rest[:2]] == ARGUMENTS
    outputs = {item["call_id"]: item["output"] for item in rest[2:4]}
    looked, failed = (outputs[call["call_id"]] for call in rest[:2])
    assert FAILURE in failed
    assert [part["type"] for part in looked] == ["input_text", "input_image"] if picture else looked == "A castle."
    assert GO_ON in json.dumps(rest[-1])


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_sealed_thoughts_are_carried_by_an_anthropic_client(streamed: bool) -> None:
    """In the signature of the block of thinking."""
    upstream = ResponsesUpstream(PLAYS)
    async with before(upstream, "openai-responses", TO_RESPONSES) as url:
        asked = {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 4096}}
        first, last = await trio.to_thread.run_sync(partial(loop_of_anthropic, url, streamed=streamed, **asked))
    assert_asked(upstream, strict=False, picture=True)
    thought, text, *calls = first.content
    assert thought.type == "thinking"
    assert thought.thinking == THOUGHTS[0].strip()
    assert [call.name for call in calls if call.type == "tool_use"] == TOOLS
    assert text.type == "text"
    assert [block.text for block in last.content if block.type == "text"] == [FINAL]
    assert (first.stop_reason, last.stop_reason) == ("tool_use", "end_turn")
    for turn in (first, last):
        usage = turn.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (7, 5, 9)  # H044


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_sealed_thoughts_are_kept_for_a_chat_client(streamed: bool) -> None:
    """Which has no place for them: the proxy keeps them, and puts them back."""
    upstream = ResponsesUpstream(PLAYS)
    async with before(upstream, "openai-responses", TO_RESPONSES) as url:
        loop = partial(loop_of_openai, url, streamed=streamed, reasoning_effort="high")
        first, last = await trio.to_thread.run_sync(loop)
    assert_asked(upstream, strict=True, picture=False)
    message = first.choices[0].message
    assert (message.content, message.reasoning_content) == (BEFORE, THOUGHTS[0].strip())
    assert [call.function.name for call in message.tool_calls] == TOOLS
    assert last.choices[0].message.content == FINAL
    assert (first.choices[0].finish_reason, last.choices[0].finish_reason) == ("tool_calls", "stop")
    for turn in (first, last):
        assert (turn.usage.prompt_tokens, turn.usage.completion_tokens, turn.usage.total_tokens) == (12, 9, 21)


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_responses_client_on_its_own_dialect(streamed: bool) -> None:
    """Its thoughts pass as they are, in both directions; names that are too long would be refused as they are."""
    upstream = ResponsesUpstream(PLAYS)
    names = ["look", "read"]
    async with before(upstream, "openai-responses", TO_RESPONSES) as url:
        asked: Any = {"reasoning": {"effort": "high", "summary": "auto"}, "names": names}
        outputs = [PICTURE, f"error: {FAILURE}"]
        turns = await trio.to_thread.run_sync(partial(loop_of_responses, url, outputs, streamed=streamed, **asked))
    assert_asked(upstream, strict=True, picture=True)
    assert_answered(turns, None, (12, 5, 9), names)
    sent = upstream.requests[1].json["input"][1]
    assert sent["encrypted_content"] == turns[0].output[0].encrypted_content
