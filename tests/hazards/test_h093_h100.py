"""Hazards H093-H100: writing chunks for a Chat Completions client, from an Anthropic or a Responses upstream."""

from typing import Any

import msgspec
import pytest

from tests.hazards.chat import (
    ASKS_A,
    CHAT,
    CLAUDE,
    OPENAI,
    A,
    C,
    Completion,
    at,
    between,
    block,
    chat,
    completion,
    event,
    gives,
    judge_chat,
    message,
    message_end,
    message_start,
    read,
    says,
    streams,
    text_block,
    through,
    to_anthropic,
    to_chat,
    tool_block,
    written,
)
from tests.hazards.responses import R, for_chat, reaches
from tests.peers import ask, proxy, upstream
from tests.responses import begun, call, ended, frames, reasoning, search, stream
from tests.responses import message as message_of
from trioproxy.items import BlockStart, BlockStop, MessageDelta, MessageStart, MessageStop, Text, TextDelta, replace

THINKING = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "hm"},
    {"type": "signature_delta", "signature": "c2ln"},
)


def test_h093_role_in_the_first_delta_only() -> None:
    for body in (
        message(text_block(0, "a", "b")),
        message(tool_block(0, "{}"), reason="tool_use"),
        message(THINKING),
        message(),
    ):
        roles = [choice["delta"].get("role") for each in to_chat(body).chunks for choice in each["choices"]]
        assert roles[0] == "assistant"
        assert not any(roles[1:])


def test_h093_role_is_there_even_if_a_stage_took_the_start_away() -> None:
    got = written([BlockStart(0, Text()), TextDelta(0, "a"), MessageStop()], between(C, A))
    assert Completion(got.body).content == "a"


def test_h093_two_messages_are_one_answer() -> None:
    """A router that says something of its own first (M0) sends a message in front of the message."""
    first = [MessageStart("m", "m"), BlockStart(0, Text()), TextDelta(0, "a"), BlockStop(0), MessageDelta("end_turn")]
    second = [
        MessageStart("n", "n"),
        BlockStart(0, Text()),
        TextDelta(0, "b"),
        BlockStop(0),
        MessageDelta("max_tokens"),
    ]
    got = Completion(written([*first, MessageStop(), *second, MessageStop()], between(C, A)).body)
    assert (got.content, got.finish) == ("ab", "length")


def test_h094_a_running_index_for_each_call() -> None:
    blocks = [THINKING, tool_block(1, '{"p":', "1}", id="a"), text_block(2, "x"), tool_block(3, "{}", id="b", name="w")]
    got = to_chat(message(*blocks, reason="tool_use"))
    assert got.called == [("a", "read", {"p": 1}), ("b", "w", {})]
    pieces = [piece for each in got.chunks for ch in each["choices"] for piece in ch["delta"].get("tool_calls", ())]
    assert sorted({piece["index"] for piece in pieces}) == [0, 1]
    assert got.finish == "tool_calls"


def test_h095_the_form_of_chunks() -> None:
    chunks = to_chat(message(THINKING, text_block(1, "a"), tool_block(2, "{}"), reason="tool_use")).chunks
    assert all(isinstance(each["choices"], list) for each in chunks)
    assert all(choice["index"] == 0 for each in chunks for choice in each["choices"])
    *_, finish, usage = chunks
    assert finish["choices"][0]["delta"] == {}
    assert usage["choices"] == []
    assert len({(each["id"], each["created"]) for each in chunks}) == 1
    assert chunks[0]["created"] == 1600000000  # when the client asked


def test_h095_what_a_stage_changed_looks_like_the_rest() -> None:
    """Between two that speak Chat Completions the upstream's own chunks pass; ours among them have their head."""
    events = read(chat(says("a"), says("b"), says("c")), between(C, C, model="", upstream_model=""))
    changed = [replace(each, text="B") if isinstance(each, TextDelta) and each.text == "b" else each for each in events]
    got = written(changed, between(C, C, model="", upstream_model=""))
    assert Completion(got.body).content == "aBc"


def test_h096_done_ends_a_chat_stream_and_nothing_else() -> None:
    body = message(text_block(0, "a"))
    assert through(body, between(C, A)).body.endswith(b"\n\ndata: [DONE]\n\n")
    assert b"[DONE]" not in through(body, between(A, A, model="", upstream_model="")).body
    assert b"[DONE]" not in through(chat(says("a")), between(A, C)).body
    for client, upstream_, sent in ((C, A, body), (A, C, chat(says("a")))):
        assert b"[DONE]" not in through(sent, between(client, upstream_, stream=False)).body


async def test_h096_done_over_http() -> None:
    async with upstream(streams(message(text_block(0, "a")))) as up, proxy(up.toml()) as port:
        streamed = await ask(port, b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}', path=CHAT)
        whole = await ask(port, b'{"model":"m","messages":[{"role":"user","content":"x"}]}', path=CHAT)
    assert streamed.body.endswith(b"data: [DONE]\n\n")
    assert b"[DONE]" not in whole.body
    assert msgspec.json.decode(whole.body)["object"] == "chat.completion"
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml())) as port:
        assert b"[DONE]" not in (await ask(port, ASKS_A, headers=CLAUDE)).body


@pytest.mark.parametrize("pieces", [['{"p":', '"x"}'], ["", '{"p":"x"}'], ['{"p":"x"}']])
def test_h097_input_of_the_start_is_no_arguments(pieces: list[str]) -> None:
    got = to_chat(message(tool_block(0, *pieces), reason="tool_use"))
    assert got.calls == [{"id": "toolu_1", "name": "read", "arguments": '{"p":"x"}'}]


@pytest.mark.parametrize("pieces", [[], [""], ["", ""], ["{}"]])
def test_h097_h017_no_arguments_are_an_empty_object(pieces: list[str]) -> None:
    assert to_chat(message(tool_block(0, *pieces), reason="tool_use")).calls[0]["arguments"] == "{}"
    folded = through(message(tool_block(0, *pieces), reason="tool_use"), between(C, A, stream=False)).body
    [call] = msgspec.json.decode(folded)["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "read", "arguments": "{}"}


def test_h097_input_that_stands_in_the_start_alone() -> None:
    """Some upstreams of Anthropic's dialect send the whole input with the start, and no delta."""
    start = block(0, {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"p": "x"}})
    got = to_chat(message(start, reason="tool_use"))
    assert got.called == [("toolu_1", "read", {"p": "x"})]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_h098_stop_reasons(reason: str | None, finish: str) -> None:
    body = message(text_block(0, "a"), reason=reason)
    assert to_chat(body).finish == finish
    folded = through(body, between(C, A, stream=False)).body
    assert msgspec.json.decode(folded)["choices"][0]["finish_reason"] == finish


def test_h098_a_paused_turn_does_not_look_finished() -> None:
    exchange = between(C, A)
    got = Completion(through(message(text_block(0, "a"), reason="pause_turn"), exchange).body)
    assert got.finish not in ("stop", "tool_calls", None)
    assert exchange.ledger


def test_h098_calls_without_a_reason_are_calls() -> None:
    got = to_chat(message(tool_block(0, "{}"), reason=None))
    assert got.finish == "tool_calls"


SEARCH = [
    block(
        0,
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"query":"x"}'},
    ),
    block(1, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"url": "http://x"}]}),
]
CITATION = {
    "type": "web_search_result_location",
    "url": "https://example.org/",
    "title": "Example",
    "encrypted_index": "abc",
    "cited_text": "words",
}


def test_h099_server_tools_and_citations() -> None:
    cited = block(
        2,
        {"type": "text", "text": "", "citations": []},
        {"type": "citations_delta", "citation": CITATION},
        {"type": "text_delta", "text": "found"},
    )
    exchange = between(C, A)
    got = Completion(through(message(*SEARCH, cited), exchange).body)
    assert (got.calls, got.content, got.finish) == ([], "found", "stop")
    assert got.annotations[0]["url_citation"]["url"] == "https://example.org/"
    assert "server_tool_use" in exchange.ledger.header().decode()
    whole = msgspec.json.decode(through(message(*SEARCH, cited), between(C, A, stream=False)).body)
    assert "tool_calls" not in whole["choices"][0]["message"]
    assert whole["choices"][0]["message"]["annotations"] == got.annotations


def test_h099_annotations_for_an_anthropic_client() -> None:
    annotation = {"type": "url_citation", "url_citation": {"url": "https://example.org/", "title": "Example"}}
    got = to_anthropic(chat(says("found"), {"annotations": [annotation]}))
    assert got.content == [("text", "found")]
    assert got.blocks[0]["citations"][0]["url"] == "https://example.org/"


ALL = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"50256": -100},
    "seed": 7,
    "user": "user-1",
    "store": True,
    "metadata": {"a": "b"},
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
}


async def test_h100_parameters_without_a_shape_are_named() -> None:
    async with upstream(streams(message(text_block(0, "a")))) as up, proxy(up.toml()) as port:
        got = await ask(port, msgspec.json.encode(ALL), path=CHAT, headers=OPENAI)
    assert got.status == 200
    lost = got.headers["x-trioproxy-lossy"]
    for name in ("n", "logprobs", "logit_bias", "seed", "store", "frequency_penalty", "presence_penalty"):
        assert name in {each.strip().partition(" ")[0].partition("=")[0] for each in lost.replace(";", ",").split(",")}
    sent = msgspec.json.decode(up.requests[0].body)
    assert sent["metadata"] == {"user_id": "user-1"}
    assert not sent.keys() & (ALL.keys() - {"model", "messages", "metadata"})


async def test_h100_a_strict_route_refuses_what_would_be_lost() -> None:
    toml = '\n[routes]\n"/" = { upstream = "up", strict = true }\n'
    async with upstream(gives(b"{}")) as up, proxy(up.toml() + toml) as port:
        got = await ask(port, msgspec.json.encode(ALL), path=CHAT, headers=OPENAI)
    assert got.status == 400
    error = msgspec.json.decode(got.body)["error"]
    assert error["type"] == "invalid_request_error"
    assert "logit_bias" in error["message"]
    assert up.requests == []


async def test_h100_between_two_that_speak_chat_nothing_is_lost() -> None:
    async with upstream(gives(completion({"content": "a"}))) as up, proxy(at(up.toml())) as port:
        got = await ask(port, msgspec.json.encode(ALL), path=CHAT, headers=OPENAI)
    assert "x-trioproxy-lossy" not in got.headers
    assert msgspec.json.decode(up.requests[0].body) == ALL


def test_h026_h096_an_answer_that_breaks_off_has_no_end() -> None:
    """Of an Anthropic upstream too: no finish_reason, no [DONE]."""
    for body in (
        message_start() + text_block(0, "a"),
        message_start() + tool_block(0, '{"p":', stop=False),
        message_start() + text_block(0, "a") + event({"type": "error", "error": {"type": "api_error", "message": "x"}}),
    ):
        got = through(body, between(C, A))
        assert got.errors
        chunks: list[Any] = judge_chat(got.body, whole=False)
        assert not any(choice["finish_reason"] for each in chunks for choice in each["choices"])
        assert b"[DONE]" not in got.body
    assert to_chat(message_start() + text_block(0, "a") + message_end()).finish == "stop"


# ── from a Responses upstream ───────────────────────────────────────────────────────────────────────────────────────

RICH = stream(
    reasoning(0, "hm"),
    call(1, '{"p":', "1}", id="fc_a", call_id="a"),
    message_of(2, "x", "y"),
    call(3, "{}", id="fc_b", call_id="b", name="now"),
)


@pytest.mark.parametrize("body", [RICH, stream(message_of(0, "a")), stream(call(0, "{}")), stream(), frames(ended())])
def test_h093_h095_chunks_of_a_response_have_the_form_of_all_others(body: bytes) -> None:
    chunks = for_chat(body).chunks
    roles = [choice["delta"].get("role") for each in chunks for choice in each["choices"]]
    assert roles[0] == "assistant"
    assert not any(roles[1:])
    *_, finish, usage = chunks
    assert finish["choices"][0]["delta"] == {}
    assert usage["choices"] == []
    assert len({(each["id"], each["created"]) for each in chunks}) == 1
    assert chunks[0]["created"] == 1600000000  # when the client asked


def test_h094_a_running_index_for_each_call_of_a_response() -> None:
    got = for_chat(RICH)
    assert got.called == [("a", "read", {"p": 1}), ("b", "now", {})]
    pieces = [piece for each in got.chunks for ch in each["choices"] for piece in ch["delta"].get("tool_calls", ())]
    assert sorted({piece["index"] for piece in pieces}) == [0, 1]
    assert (got.content, got.reasoning, got.finish) == ("xy", "hm", "tool_calls")


def test_h096_done_ends_the_chunks_of_a_response() -> None:
    assert through(RICH, between(C, R)).body.endswith(b"\n\ndata: [DONE]\n\n")
    # OpenRouter ends its Responses so, too; a Responses client gets it only if it is the upstream's own.
    assert through(RICH + b"data: [DONE]\n\n", between(C, R)).body.count(b"[DONE]") == 1
    assert b"[DONE]" not in through(RICH + b"data: [DONE]\n\n", between(A, R)).body
    assert b"[DONE]" not in through(chat(says("a")), between(R, C)).body


@pytest.mark.parametrize(
    ("status", "reason", "finish"),
    [
        ("completed", None, "stop"),
        ("incomplete", "max_output_tokens", "length"),
        ("incomplete", "content_filter", "content_filter"),
        ("incomplete", "something_new", "length"),
    ],
)
def test_h098_how_a_response_ended(status: str, reason: str | None, finish: str) -> None:
    body = stream(message_of(0, "a"), status=status, incomplete_details={"reason": reason} if reason else None)
    assert for_chat(body).finish == finish
    folded = through(body, between(C, R, stream=False)).body
    assert msgspec.json.decode(folded)["choices"][0]["finish_reason"] == finish


def test_h099_citations_of_a_response() -> None:
    cited = {
        "type": "url_citation",
        "url": "https://example.org/",
        "title": "Example",
        "start_index": 0,
        "end_index": 5,
    }
    other = {"type": "file_citation", "file_id": "file_1", "index": 0}
    wires_ = message_of(1, "found")
    at_ = {key: wires_[2][key] for key in ("output_index", "item_id", "content_index")}
    added = [
        {"type": "response.output_text.annotation.added", **at_, "annotation_index": number, "annotation": each}
        for number, each in enumerate((cited, other))
    ]
    wires_[-1]["item"]["content"][0]["annotations"] = wires_[-2]["part"]["annotations"] = [cited, other]
    body = frames(*begun(), *search(0), *wires_[:3], *added, *wires_[3:], ended())
    exchange = between(C, R)
    got = Completion(through(body, exchange).body)
    assert (got.calls, got.content, got.finish) == ([], "found", "stop")
    assert [each["url_citation"]["url"] for each in got.annotations] == ["https://example.org/"]
    lost = exchange.ledger.header().decode()
    assert "web_search_call" in lost
    assert "annotations" in lost


async def test_h100_what_only_one_of_openais_two_dialects_can_say_is_named() -> None:
    got = await reaches(R, C, {key: value for key, value in ALL.items() if key != "model"})
    assert got.status == 200
    for name in ("n", "logprobs", "logit_bias", "seed", "store", "frequency_penalty", "presence_penalty"):
        assert name in {
            each.strip().partition(" ")[0].partition("=")[0] for each in got.lost.replace(";", ",").split(",")
        }
    assert got.body["store"] is False  # the whole conversation is in each request
    assert got.body.keys() <= {"model", "store", "input", "safety_identifier", "user", "metadata"}
    only = {"truncation": "auto", "include": ["message.output_text.logprobs"], "prompt_cache_retention": "24h"}
    got = await reaches(C, R, {"input": "hi", **only, "text": {"verbosity": "low"}, "parallel_tool_calls": True})
    assert got.status == 200
    assert all(name in got.lost for name in ("truncation", "include", "prompt_cache_retention", "text.verbosity"))


@pytest.mark.parametrize("cut", [message_of(0, "a")[:3], call(0, '{"p":', "1}")[:2], []])
def test_h026_h096_a_response_that_breaks_off_has_no_end(cut: list[Any]) -> None:
    failed = ended(status="failed", error={"code": "server_error", "message": "x"})
    for end in ([], [{"type": "error", "message": "x", "code": None}], [failed]):
        got = through(frames(*begun(), *cut, *end), between(C, R))
        assert got.errors
        chunks = judge_chat(got.body, whole=False)
        assert not any(choice["finish_reason"] for each in chunks for choice in each["choices"])
        assert b"[DONE]" not in got.body


async def test_h100_between_two_that_speak_responses_nothing_is_lost() -> None:
    body = {"input": [{"role": "user", "content": "hi"}], "store": True, "odd": {"x": 1.0}, "truncation": "auto"}
    got = await reaches(R, R, body)
    assert (got.body, got.lost) == ({"model": "m", **body}, "")
