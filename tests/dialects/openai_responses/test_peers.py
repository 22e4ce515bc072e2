"""What other translators' tests expect of answers to and from Responses.

A second opinion: what an answer says there it has to say here as well, and where it does not, the reason stands here.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from tests.anthropic import flow
from tests.peer_cases import Case, Wire, cases, said, whole
from trioproxy.dialects import DIALECTS
from trioproxy.items import Error, Frame
from trioproxy.stage import Exchange
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

A, C, R = "anthropic", "openai-chat", "openai-responses"

# An R client that wants to see what is thought, and has the one custom tool that is called here.
ASKED = b'{"model":"m","input":"hi","reasoning":{"summary":"auto"},"tools":[{"type":"custom","name":"exec"}]}'

# Why ours says otherwise, and where.
OTHERWISE: dict[str, tuple[str, ...]] = {
    "what went in is no answer: it was not recorded, or is only a peer's own": (
        "ccproxy.stream.test_chat_stream_to_responses_emits_full_lifecycle",
        "ccproxy.stream.test_chat_stream_to_responses_includes_usage_from_final_chunk",
        "ccproxy.stream.test_chat_stream_tool_calls_emit_responses_events",
        "ccproxy.stream.test_convert__anthropic_message_to_openai_responses__stream_minimal",
        "ccproxy.stream.test_convert__anthropic_message_to_openai_responses__stream_with_thinking_and_tool",
        "ccproxy.stream.test_convert_chat_stream_uses_adapter",
        "ccproxy.stream.test_convert_responses_stream_uses_adapter",
        "ccproxy.response.test_responses_to_chat_handles_nested_summary_blocks",
        "cliproxyapi.claude_openai-responses_response."
        "TestConvertClaudeResponseToOpenAIResponsesNonStream_RestoresNamespaceFunctionCall",
        "cliproxyapi.codex_claude_response."
        "TestConvertCodexResponseToClaudeNonStream_WebSearchCallEmitsServerToolBlocks",
        "cliproxyapi.codex_claude_response.TestConvertCodexResponseToClaudeNonStream_WebSearchStopReasonEndTurn",
    ),
    "a body that says it is still in progress must not pass for a whole answer": (
        "ccproxy.response.test_openai_responses_to_anthropic[codex_responses_structured-expect1]",
        "ccproxy.response.test_openai_responses_to_anthropic[codex_responses_thinking-expect2]",
        "ccproxy.response.test_openai_responses_to_anthropic[codex_responses_tools-expect3]",
    ),
    "calls of tools that OpenAI runs are left out, and noted: a client has nothing to do for them": (
        "cc-switch.transform_responses.test_responses_to_anthropic_marks_unfinished_hosted_web_search_as_error",
        "cc-switch.transform_responses.test_responses_to_anthropic_pairs_every_hosted_web_search_call",
        "cc-switch.transform_responses.test_responses_to_anthropic_preserves_failed_hosted_web_search",
        "lingua.response.responses.anthropic.responsesToolSearchInputParam",
        "lingua.response.responses.anthropic.webSearchToolAdvancedParam",
        "lingua.response.responses.anthropic.webSearchToolParam",
    ),
    "tags around thinking are text like any other": (
        "cc-switch.transform_codex_chat.chat_response_to_responses_splits_inline_think_content",
        "ccproxy.response.test_chat_to_responses_extracts_thinking",
        "ccproxy.response.test_responses_to_chat_serializes_thinking",
    ),
    "a refusal is an answer like any other, told as text": (
        "agentgateway.stream.responses.stream-refusal.responses-messages",
    ),
    "a page that is cited is a citation, and no link within the text": (
        "cc-switch.transform_responses.test_responses_to_anthropic_preserves_url_citation_positions",
    ),
    "an upstream may want even unsigned thinking back": (
        "cc-switch.transform_codex_anthropic.test_unsigned_thinking_is_not_replayed_as_encrypted_reasoning",
    ),
    "ids are made here, and fields that no API has are not": (
        "cc-switch.transform_codex_anthropic.test_response_text_end_turn",
        "cc-switch.transform_codex_anthropic.test_response_usage_cache_no_double_count",
        "cc-switch.transform_codex_chat.chat_response_to_responses_maps_text_tool_calls_and_usage",
        "cc-switch.transform_responses.test_responses_to_anthropic_simple",
    ),
    "theirs hides the ids of calls": (
        "agentgateway.stream.completions.stream_tool_empty_content.completions-responses",
        "agentgateway.stream.responses.stream-custom-tool.responses-responses",
    ),
    "theirs asks for JSON by way of a tool, and knows which": (
        "lingua.response.anthropic.responses.textFormatJsonObjectParam",
    ),
    "theirs loses reasoning, or what follows it": (
        "agentgateway.response.completions.openrouter_reasoning.completions-responses",
        "agentgateway.response.responses.reasoning.responses-messages",
        "lingua.stream.anthropic.responses.reasoningRequest",
        "lingua.stream.anthropic.responses.reasoningWithOutput",
        "lingua.stream.anthropic.responses.simpleRequest",
    ),
    "theirs tells calls in parts of a message, which the API has not": (
        "ccproxy.response.test_anthropic_message_to_openai_responses[claude_messages_tools-expect1]",
    ),
    "theirs does not say why the answer is incomplete, or in words that are not the API's": (
        "agentgateway.response.completions.gemini_with_completion_tokens.completions-responses",
        "agentgateway.response.completions.gemini_zero_completion_tokens.completions-responses",
        "agentgateway.response.completions.truncated_tool_call.completions-responses",
        "lingua.response.anthropic.responses.simpleRequestTruncated",
        "lingua.stream.anthropic.responses.simpleRequestTruncated",
    ),
    "theirs says `stop` where a call was made (hazard H022)": (
        "lingua.stream.responses.chat-completions.toolCallRequest",
    ),
    "theirs counts cached tokens twice (hazard H044)": (
        "ccproxy.response.test_openai_responses_to_anthropic[codex_responses-expect0]",
    ),
}


def answer(case: Case) -> Wire | None:
    """What our client gets, whole; None if that is an error."""
    request = DIALECTS[R].read_request(ASKED) if case.client == R else None
    exchange = Exchange(
        id="test", client_dialect=case.client, upstream_dialect=case.upstream, stream=False, request=request
    )
    [body] = flow([Deframe(), Parse(), Translate(), Reframe()], [[_given(case)]], exchange)
    return None if isinstance(body, Error) else dict(msgspec.json.decode(body))


def _given(case: Case) -> bytes | Frame:
    if case.kind == "response":
        kind = {"type": "message"} if case.upstream == A else {}  # which tests are apt to leave out
        return Frame(msgspec.json.encode(kind | case.input), whole=True)
    if isinstance(case.input, str):
        return case.input.encode()
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), msgspec.json.encode(e)) for e in case.input)


def agrees(case: Case) -> bool:
    """Whether ours says what is expected; where only assertions are recorded, whether these hold."""
    got = answer(case)
    if got is None:
        return False
    if case.expected is None:
        return all(_holds(each, got) for each in case.assertions)
    return said(case.client, got) == said(case.client, whole(case))


def _holds(assertion: Wire, wire: Any) -> bool:
    try:
        for key in assertion["path"]:
            wire = wire[key]
    except (IndexError, KeyError):
        return False
    return bool((len(wire) if assertion["op"] == "len" else wire) == assertion["value"])


def test_an_answer_says_what_others_expect() -> None:
    otherwise = [id for ids in OTHERWISE.values() for id in ids]
    agreed = {case.id: agrees(case) for case in cases(R)}
    assert sorted(id for id, same in agreed.items() if not same) == sorted(otherwise)
    assert Counter((case.upstream, case.client) for case in cases(R) if agreed[case.id]) == {
        (A, R): 52,
        (C, R): 5,
        (R, A): 59,
        (R, C): 59,
        (R, R): 5,
    }
