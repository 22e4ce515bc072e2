"""Answers out of other translators' test suites that taught us something; `../shared/peer-cases` has all of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.anthropic import flow, judge
from tests.chat import A_ON_C, A_ON_C_WHOLE, DONE, call, chunk, data
from trioproxy.items import Error, Request, replace
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

ASKED = Request("claude-test", extra={"stop_sequences": ["</tool>", "</x>"]})


def through(body: bytes, exchange: Exchange) -> bytes:
    items = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], replace(exchange, ledger=Ledger()))
    errors = [item for item in items if isinstance(item, Error)]
    assert not errors, errors
    return b"".join(items)


def ended(body: bytes, request: Request | None = ASKED) -> tuple[str, str | None]:
    """How the answer ended for a client that gets a stream; one that gets it whole must read the same."""
    end = judge(through(body, replace(A_ON_C, request=request)))[-2]["delta"]
    whole = msgspec.json.decode(through(body, replace(A_ON_C_WHOLE, request=request)))
    assert (whole["stop_reason"], whole["stop_sequence"]) == (end["stop_reason"], end["stop_sequence"])
    return end["stop_reason"], end["stop_sequence"]


def finish(reason: str, **more: Any) -> bytes:
    return data({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": reason, **more}]})


def completion(message: dict[str, Any], reason: str = "stop", **more: Any) -> dict[str, Any]:
    """An answer as one body, folded from it for an Anthropic client."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    body = msgspec.json.encode({"id": "c", "model": "m", "choices": [choice], **more})
    exchange = replace(A_ON_C_WHOLE, upstream_stream=False, request=ASKED)
    wire: dict[str, Any] = msgspec.json.decode(through(body, exchange))
    return wire


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    wire: dict[str, Any] = completion({"content": "a"}, usage=usage)["usage"]
    return wire


@pytest.mark.parametrize("key", ["stop_reason", "matched_stop"])
def test_vllm_tells_the_stop_sequence_that_was_met(key: str) -> None:
    """vLLM (TestStopSequenceReason): Chat Completions has no word for it, vLLM and SGLang have a field beside."""
    says = chunk({"content": "hi"})
    assert ended(says + finish("stop", **{key: "</tool>"}) + DONE) == ("stop_sequence", "</tool>")
    assert ended(says + finish("stop", **{key: None}) + DONE) == ("end_turn", None)


@pytest.mark.parametrize("met", [154829, "end_turn", "</other>", ["</x>"], {"a": "</x>"}, True])
def test_only_what_was_asked_for_is_a_stop_sequence(met: Any) -> None:
    """The field is nobody's: it was recorded with the number of a token, and gateways to Claude have reasons in it."""
    assert ended(chunk({"content": "hi"}) + finish("stop", stop_reason=met) + DONE) == ("end_turn", None)


@pytest.mark.parametrize("stops", [None, "</x>", ["a"], []])
def test_no_stop_sequence_without_a_request_for_it(stops: Any) -> None:
    body = chunk({"content": "hi"}) + finish("stop", stop_reason="</x>") + DONE
    assert ended(body, replace(ASKED, extra={"stop_sequences": stops})) == ("end_turn", None)
    assert ended(body, None) == ("end_turn", None)


@pytest.mark.parametrize(
    ("arguments", "reason", "met", "expected"),
    [
        ('{"city": "Paris"}', "stop", None, ("tool_use", None)),
        ('{"city": "Paris"}', "tool_calls", "</x>", ("tool_use", None)),
        ('{"city": "Pa', "tool_calls", "</x>", ("stop_sequence", "</x>")),
        ('{"city": "Pa', "length", None, ("max_tokens", None)),
    ],
)
def test_vllm_a_call_that_is_cut_is_none_to_run(
    arguments: str, reason: str, met: str | None, expected: tuple[str, str | None]
) -> None:
    """vLLM (TestToolUseStopReason): a stop sequence may be met within the arguments of a call."""
    assert ended(call(0, arguments, id="call_1", name="f") + finish(reason, stop_reason=met) + DONE) == expected


@pytest.mark.parametrize(("reason", "met"), [("length", None), ("stop", "</x>")])
def test_agentgateway_a_whole_answer_without_its_cut_call_has_a_block(reason: str, met: str | None) -> None:
    """agentgateway (truncated_tool_call) gives `input` as a string there, which no client of Anthropic's takes."""
    cut = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "Par'}}
    choice = {
        "index": 0,
        "message": {"content": None, "tool_calls": [cut]},
        "finish_reason": reason,
        "stop_reason": met,
    }
    body = msgspec.json.encode({"id": "c", "choices": [choice]})
    wire = msgspec.json.decode(through(body, replace(A_ON_C_WHOLE, upstream_stream=False, request=ASKED)))
    assert wire["content"] == [{"type": "text", "text": ""}]


def test_agentgateway_says_once_what_is_content_and_transcript() -> None:
    """agentgateway (audio): with both modalities asked for, the text comes in `content` and in `audio`."""
    message = {"content": "Hello.", "audio": {"id": "a", "data": "ZmFrZQ==", "transcript": "Hello."}}
    assert completion(message)["content"] == [{"type": "text", "text": "Hello."}]
    assert completion(message | {"content": None})["content"] == [{"type": "text", "text": "Hello."}]


@pytest.mark.parametrize(
    ("usage", "read", "written"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 80, "created_cache_tokens": 10}}, 80, 10),  # vLLM
        ({"prompt_tokens_details": {"cached_tokens": 30, "cache_creation_tokens": 20}}, 30, 20),  # LiteLLM
        ({"cache_read_input_tokens": 60, "cache_creation_input_tokens": 20}, 60, 20),  # cc-switch
        ({"num_cached_tokens": 64}, 64, None),  # recorded from Mistral
        ({"prompt_tokens_details": {"cached_tokens": 0}}, 0, None),  # llama.cpp: zero is something said
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 5}, 5, None),
        ({}, None, None),
    ],
)
def test_what_was_cached_goes_by_many_names(usage: dict[str, Any], read: int | None, written: int | None) -> None:
    got = usage_of({"prompt_tokens": 100, "completion_tokens": 5, **usage})
    assert (got.get("cache_read_input_tokens"), got.get("cache_creation_input_tokens")) == (read, written)
    assert got["input_tokens"] == 100 - (read or 0) - (written or 0)


def test_cc_switch_cached_tokens_of_more_than_the_prompt() -> None:
    counts = {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 50}
    assert usage_of({"prompt_tokens": 100, "completion_tokens": 10, **counts})["input_tokens"] == 0


def test_litellm_the_last_of_the_reasoning_comes_with_the_first_of_the_text() -> None:
    """LiteLLM (boundary_reasoning_and_content): the line feed belongs to the reasoning, and opens nothing."""
    body = chunk({"reasoning_content": "Let me think."}) + chunk({"reasoning_content": "\n", "content": "Hi!"})
    deltas = [each["delta"] for each in judge(through(body + finish("stop"), A_ON_C)) if "delta" in each]
    assert [each for each in deltas[:-1] if each["type"] != "signature_delta"] == [
        {"type": "thinking_delta", "thinking": "Let me think."},
        {"type": "thinking_delta", "thinking": "\n"},
        {"type": "text_delta", "text": "Hi!"},
    ]


def test_vllm_what_comes_with_the_first_chunk_is_not_lost() -> None:
    """vLLM itself takes the first chunk for the role alone: the "hi" of its own test is gone from what it expects."""
    body = chunk({"role": "assistant", "content": "hi"}, usage={"prompt_tokens": 9, "total_tokens": 9})
    stream = judge(through(body + finish("stop") + DONE, A_ON_C))
    assert [each["delta"]["text"] for each in stream if each["type"] == "content_block_delta"] == ["hi"]
    assert stream[-2]["usage"]["input_tokens"] == 9
