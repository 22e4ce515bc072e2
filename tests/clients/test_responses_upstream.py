"""The scripted Responses upstream itself: it takes a conversation as it gave it out, and refuses every other."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from .responses_input import Past
from .responses_rules import faults
from .responses_upstream import (
    CONTEXT_TOO_LONG,
    MODEL,
    SERVED,
    Call,
    Play,
    ResponsesUpstream,
    Say,
    Think,
    Voice,
    Write,
    breaks,
    error_object,
    fails,
    says,
)
from .responses_words import Wire

if TYPE_CHECKING:
    import openai
else:
    openai = pytest.importorskip("openai", reason="the openai package is not installed")

SECONDS = 20.0
SCHEMA: Wire = {
    "type": "object",
    "properties": {"at": {"type": "string"}},
    "required": ["at"],
    "additionalProperties": False,
}
LOOK: Wire = {"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /./"}
PATCH: Wire = {"type": "custom", "name": "patch", "description": "Patch.", "format": GRAMMAR}
THOUGHT = {
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "high", "summary": "auto"},
}
FIRST = (
    Think(("Zwei Dinge sind zu sehen.", "Ein Schloß und ein Fluß.")),
    Say("Let me look."),
    Call("look", {"at": "Würzburg"}),
    Write("patch", "*** Begin\n+Ein Schloß\n"),
)


@contextmanager
def client_of(upstream: ResponsesUpstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{upstream.url}/v1",
        api_key="dummy",
        max_retries=0,
        timeout=SECONDS,
        http_client=openai.DefaultHttpxClient(trust_env=False),  # without the proxies that the environment may name
    ) as client:
        yield client


# ── conversations that are fine ─────────────────────────────────────────────────────────────────────────────────────


def answered(client: openai.OpenAI, body: Wire, *, streamed: bool) -> Any:
    if not streamed:
        return client.responses.create(**body)
    with client.responses.stream(**body) as stream:
        return stream.get_final_response()


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_what_comes_back_as_it_was_made_is_taken(streamed: bool) -> None:
    """Two loops of tools by the SDK, which gives back what it got."""
    script = [
        says(*FIRST),
        says(Think(), Say("A castle.")),
        says(Think(("Again?",)), Call("look")),
        says(Say("Still.")),
    ]
    conversation: list[Any] = []
    made: list[list[str]] = []
    with ResponsesUpstream(script) as upstream, client_of(upstream) as client:
        for question in ("What do you see?", "And now?"):
            conversation.append({"role": "user", "content": question})
            calls: list[Any] = [None]
            while calls:
                body = THOUGHT | {"model": MODEL, "input": conversation, "tools": [LOOK, PATCH]}
                response = answered(client, body, streamed=streamed)
                made.append([item.type for item in response.output])
                conversation += response.output
                calls = [item for item in response.output if item.type.endswith("_call")]
                conversation += [output(call) for call in calls]
    assert upstream.refused == upstream.problems == []
    assert made == [
        ["reasoning", "message", "function_call", "custom_tool_call"],
        ["reasoning", "message"],
        ["reasoning", "function_call"],
        ["message"],
    ]
    assert (response.output_text, response.model, response.usage.total_tokens) == ("Still.", SERVED[MODEL], 21)


def output(call: Any) -> Wire:
    return {"type": f"{call.type}_output", "call_id": call.call_id, "output": "As it always was."}


def test_an_answer_says_the_same_streamed_and_whole() -> None:
    with ResponsesUpstream([says(*FIRST), says(*FIRST)]) as upstream, client_of(upstream) as client:
        body: Any = THOUGHT | {"model": MODEL, "input": "What do you see?", "tools": [LOOK, PATCH]}
        whole = client.responses.create(**body)
        events = list(client.responses.create(**body, stream=True))
    told = [event.response for event in events if event.type == "response.completed"]
    assert [_said(response) for response in told] == [_said(whole)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["Let", " me", " look."]


def _said(response: Any) -> list[Wire]:
    """Its items without what is new in every answer."""
    fresh = {"id", "call_id", "encrypted_content"}
    return [{key: value for key, value in item.to_dict().items() if key not in fresh} for item in response.output]


@pytest.mark.parametrize(
    ("asked", "seal", "summary"),
    [
        ({}, False, []),
        ({"include": ["reasoning.encrypted_content"]}, True, []),
        ({"reasoning": {"summary": "auto"}}, False, ["Hm.", "Aha."]),
    ],
    ids=["nothing", "the-seal", "the-summary"],
)
def test_only_what_is_asked_for_is_told_of_a_thought(asked: Wire, seal: bool, summary: list[str]) -> None:
    [item, _] = Voice().items([Think(("Hm.", "Aha.")), Say("Yes.")], {"model": MODEL} | asked)
    assert ("encrypted_content" in item, [part["text"] for part in item["summary"]]) == (seal, summary)


def test_without_effort_nothing_is_thought() -> None:
    items = Voice().items([Think(), Say("Yes.")], {"model": MODEL, "reasoning": {"effort": "none"}})
    assert [item["type"] for item in items] == ["message"]


# ── answers that are none ───────────────────────────────────────────────────────────────────────────────────────────


def test_too_many_requests_are_told_to_wait() -> None:
    slow_down = fails(429, "Rate limit reached.", ("retry-after", "7"), kind="requests", code="rate_limit_exceeded")
    with (
        ResponsesUpstream([slow_down]) as upstream,
        client_of(upstream) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.responses.create(model=MODEL, input="hi")
    assert (caught.value.code, caught.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "7")


@pytest.mark.parametrize(
    ("play", "kinds"),
    [
        (breaks(Say("Words of an answer.")), ["response.output_text.done"]),
        (
            breaks(Say("Words."), less=3, failed=error_object(CONTEXT_TOO_LONG, "invalid_request_error")),
            ["error", "response.failed"],
        ),
        (breaks(failed=error_object("Sorry.", "server_error")), ["response.in_progress", "error", "response.failed"]),
    ],
    ids=["cut", "failed-after-words", "failed-at-once"],
)
def test_a_stream_that_breaks(play: Play, kinds: list[str]) -> None:
    with (
        ResponsesUpstream([play]) as upstream,
        client_of(upstream) as client,
        client.responses.with_streaming_response.create(model=MODEL, input="hi", stream=True) as response,
    ):
        frames = response.read().decode().split("\n\n")[:-1]
    events = [json.loads(frame.partition("data: ")[2]) for frame in frames]
    assert [event["type"] for event in events][-len(kinds) :] == kinds
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_an_answer_that_is_cut_says_so() -> None:
    cut = says(Say("Words of"), incomplete="max_output_tokens")
    with ResponsesUpstream([cut]) as upstream, client_of(upstream) as client:
        *_, last = client.responses.create(model=MODEL, input="hi", stream=True)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert [item.to_dict()["status"] for item in last.response.output] == ["incomplete"]


# ── what it takes and refuses ───────────────────────────────────────────────────────────────────────────────────────

USER: Wire = {"role": "user", "content": "hi"}
CALLED: Wire = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
RESULT: Wire = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
WROTE: Wire = {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "x"}
WRITTEN: Wire = {
    "type": "custom_tool_call_output",
    "call_id": "call_2",
    "output": [{"type": "input_text", "text": "x"}],
}
PNG = "data:image/png;base64,iVBORw0KGgo="


def told(*parts: Wire, role: str = "user") -> Wire:
    return {"input": [{"role": role, "content": list(parts)}]}


def function(**fields: Any) -> Wire:
    return {"tools": [LOOK | fields]}


def text_of(**fields: Any) -> Wire:
    return {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA} | fields}}


def image(**fields: Any) -> Wire:
    return told({"type": "input_image", "detail": "auto"} | fields)


@pytest.mark.parametrize(
    "body",
    [
        {"input": "hi"},
        {"tools": []},  # as Codex asks for a summary
        {"input": [USER, CALLED, RESULT, USER], "tools": [LOOK], "tool_choice": {"type": "function", "name": "look"}},
        {"input": [USER, WROTE, CALLED, WRITTEN, RESULT], "tools": [LOOK, PATCH, {"type": "web_search"}]},
        {"tools": [{"type": "namespace", "name": "eyes", "description": "", "tools": [LOOK, PATCH]}]},
        {"input": [{"type": "additional_tools", "role": "developer", "tools": [PATCH]}, USER]},
        image(image_url=PNG),
        image(image_url="https://example.org/a.png"),
        told({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}),
        {"input": [{"role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}, USER]},
        {"instructions": "Be brief.", "max_output_tokens": 16, "stream": True, "store": False},
        function(strict=False, parameters={"type": "object", "properties": {"a": {"type": "string"}}}),
        text_of(strict=True),
        {"model": "gpt-4.1", "temperature": 0.5, "top_p": 1},
    ],
    ids=str,
)
def test_it_takes_what_openai_takes(body: Wire) -> None:
    assert list(faults({"model": MODEL, "input": [USER]} | body, Past())) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"thinking": {"type": "adaptive"}}, "Unknown parameter: 'thinking'."),
        ({"stop": ["x"]}, "Unknown parameter: 'stop'."),
        ({"messages": [USER]}, "has moved to 'input'"),
        ({"max_tokens": 99}, "has moved to 'max_output_tokens'"),
        ({"model": "claude-opus-5-5"}, "The requested model 'claude-opus-5-5' does not exist."),
        ({"max_output_tokens": 15}, "Expected a value >= 16, but got 15 instead."),
        ({"temperature": 1}, "'temperature' is not supported with this model"),
        ({"model": "gpt-4.1", "top_p": 2}, "between 0 and 1"),
        ({"model": "gpt-4.1", "reasoning": {"effort": "low"}}, "'reasoning.effort' is not supported"),
        ({"model": "gpt-4.1", "include": ["reasoning.encrypted_content"]}, "Encrypted content is not supported"),
        ({"reasoning": {"effort": "max"}}, "Unsupported value: 'max' is not supported with the 'gpt-5.4' model."),
        ({"reasoning": {"summary": "all"}}, "Invalid value: 'all'"),
        ({"reasoning": {"budget": 5}}, "reasoning.budget"),
        ({"include": ["thoughts"]}, "Invalid value: 'thoughts'"),
        ({"stream_options": {}}, "only allowed when 'stream' is enabled"),
        ({"prompt_cache_key": "x" * 65}, "Expected a string with maximum length 64"),
        ({"metadata": {"user": "x" * 513}}, "maximum length 512"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "at most 16 properties"),
        ({"service_tier": "standard_only"}, "Invalid value: 'standard_only'"),
        ({"text": {"format": {"type": "json_object"}}}, "must contain the word 'json'"),
        (text_of(name="an answer"), "string does not match pattern"),
        (text_of(strict=True, schema={"type": "object", "properties": {}}), "'additionalProperties' is required"),
        ({"tools": [{"type": "function", "function": LOOK}]}, "tools[0].function"),
        ({"tools": [LOOK, LOOK]}, "is there twice"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "Invalid value: 'bash_20250124'"),
        ({"tool_choice": "any"}, "Invalid value: 'any'"),
        ({"tool_choice": "required"}, "must be specified with 'tools'"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "see"}}, "Tool choice 'see' not found"),
        (function(input_schema={}), "tools[0].input_schema"),
        (function(name="n" * 65), "but got a string with length 65 instead"),
        (function(name="mcp.server"), "string does not match pattern"),
        (function(parameters={"$schema": "x"}), "must be a JSON Schema of 'type: \"object\"'"),
        (function(parameters={"type": "object"}), "object schema missing properties"),
        (function(parameters=SCHEMA | {"required": []}), "Missing 'at'"),
        (function(strict=False, parameters=SCHEMA | {"properties": {"at": {"type": "array"}}}), "missing items"),
        ({"input": []}, "must be provided"),
        ({"previous_response_id": "resp_1"}, "Previous response with id 'resp_1' not found."),
        ({"input": [{"role": "tool", "content": "x"}]}, "Invalid value: 'tool'"),
        ({"input": [{"type": "tool_result"}]}, "Invalid value: 'tool_result'"),
        ({"input": [USER | {"cache_control": {}}]}, "input[0].cache_control"),
        ({"input": [USER | {"type": "message", "id": "item_1"}]}, "Expected an ID that begins with 'msg'"),
        ({"input": [USER | {"id": "msg_1"}, USER | {"id": "msg_1"}]}, "Duplicate item found with id msg_1"),
        (told({"type": "output_text", "text": "hi"}), "Invalid value: 'output_text'"),
        (told({"type": "input_text", "text": "hi"}, role="assistant"), "Invalid value: 'input_text'"),
        (told({"type": "text", "text": "hi"}), "Invalid value: 'text'"),
        (told({"type": "input_text", "text": "hi", "cache_control": {}}), "content[0].cache_control"),
        (told(), "empty array"),
        (image(image_url={"url": PNG}), "expected an image URL, but got an object instead"),
        (image(image_url="data:image/bmp;base64,Qk0="), "unsupported MIME type 'image/bmp'"),
        (image(image_url="a.png"), "a value with an invalid format"),
        (told({"type": "input_file", "file_data": "JVBERi0=", "filename": "a.pdf"}), "Invalid file data"),
        ({"input": [USER, CALLED]}, "No tool output found for function call call_1."),
        ({"input": [USER, CALLED, USER, RESULT]}, "No tool output found for function call call_1."),
        ({"input": [USER, RESULT]}, "No tool call found for function call output with call_id call_1."),
        ({"input": [USER, WROTE, WRITTEN | {"type": "function_call_output"}]}, "No tool call found"),
        ({"input": [CALLED | {"call_id": "x" * 65}]}, "Expected a string with maximum length 64"),
        ({"input": [CALLED | {"arguments": ""}, RESULT]}, "expected a JSON object in a string"),
        ({"input": [CALLED | {"arguments": {}}, RESULT]}, "expected a JSON object in a string"),
        ({"input": [CALLED, RESULT | {"output": {"a": 1}}]}, "but got an object instead"),
    ],
    ids=str,
)
def test_it_refuses_what_openai_refuses(wrong: Wire, words: str) -> None:
    found = list(faults({"model": MODEL, "input": [USER]} | wrong, Past()))
    assert any(words in fault for fault in found), found


# ── thoughts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def conversation(**asked: Any) -> tuple[Wire, Past]:
    """A request that gives back what the model thought, with its call and the output of this."""
    voice = Voice()
    asked = {"model": MODEL, **THOUGHT, **asked}
    items = copy.deepcopy(voice.items([Think(("Hm.",)), Call("look")], asked))
    [call] = [item for item in items if item["type"] == "function_call"]
    return asked | {"input": [USER, *items, RESULT | {"call_id": call["call_id"]}]}, voice.past


def test_thoughts_are_taken_back_as_they_were() -> None:
    assert list(faults(*conversation())) == []


def test_thoughts_that_are_stored_need_no_seal() -> None:
    assert list(faults(*conversation(store=True, include=[]))) == []


def foreign(items: list[Wire]) -> None:
    items[1]["encrypted_content"] = "ErUBCkYIB"


def renamed(items: list[Wire]) -> None:
    items[1]["id"] = "rs_another"


def unsealed(items: list[Wire]) -> None:
    del items[1]["encrypted_content"]


def told_aloud(items: list[Wire]) -> None:
    items[1]["content"] = [{"type": "reasoning_text", "text": "Hm."}]


def finished(items: list[Wire]) -> None:
    items[1]["status"] = "completed"


def alone(items: list[Wire]) -> None:
    del items[2:]


def elsewhere(items: list[Wire]) -> None:
    items.append(items.pop(1))


def forgotten(items: list[Wire]) -> None:
    del items[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (foreign, "Encrypted content could not be decrypted or parsed."),
        (renamed, "Encrypted content item_id did not match the target item id."),
        (unsealed, "Items are not persisted when `store` is set to false."),
        (told_aloud, "Expected an array with maximum length 0"),
        (finished, "Unknown parameter: 'input[1].status'."),
        (alone, "was provided without its required following item."),
        (elsewhere, "was provided without its required following item."),
        (forgotten, "was provided without its required 'reasoning' item"),
    ],
)
def test_thoughts_that_are_not_as_they_were_are_refused(change: Callable[[list[Wire]], None], words: str) -> None:
    body, past = conversation()
    change(body["input"])
    found = list(faults(body, past))
    assert any(words in fault for fault in found), found


def test_a_seal_that_was_told_too_early_is_none() -> None:
    """The one in `output_item.added`: whoever gives that back has read the wrong event."""
    with ResponsesUpstream([says(Think(), Say("Yes."))]) as upstream, client_of(upstream) as client:
        body: Any = THOUGHT | {"model": MODEL, "input": "hi"}
        events: Any = client.responses.create(**body, stream=True)
        [begun] = [e.item.to_dict() for e in events if e.type == "response.output_item.added" and e.output_index == 0]
    assert upstream.voice.past.seals.keys().isdisjoint({begun["encrypted_content"]})


def test_what_is_refused_is_told_in_the_envelope_of_openai() -> None:
    with ResponsesUpstream() as upstream, client_of(upstream) as client:
        with pytest.raises(openai.BadRequestError, match="Expected a value >= 16") as caught:
            client.responses.create(model=MODEL, input="hi", max_output_tokens=1)
        with pytest.raises(openai.NotFoundError, match="Invalid URL"):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert caught.value.type == "invalid_request_error"
    assert [words.split()[0] for words in upstream.refused] == ["Invalid", "Invalid"]
