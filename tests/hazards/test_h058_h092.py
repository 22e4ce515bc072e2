"""Hazards of content and reasoning that are about both directions at once; those about requests alone have their tests
in tests/dialects.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from tests.hazards.chat import (
    CHAT,
    CLAUDE,
    OPENAI,
    A,
    C,
    at,
    block,
    chat,
    chunk,
    completion,
    gives,
    message,
    says,
    streams,
    text_block,
    thinks,
    to_anthropic,
    to_chat,
    tool_block,
)
from tests.hazards.responses import R, asked, for_anthropic, for_chat, for_responses
from tests.hazards.responses import reaches as asks
from tests.peers import ask, proxy, upstream
from tests.responses import message as message_of
from tests.responses import reasoning, search, stream, wires
from trioproxy.dialects.carried import TAG, carried, opened

HI = {"role": "user", "content": "hi"}


async def reaches(dialect: str, client: str, messages: list[Any], **more: Any) -> tuple[int, list[Any], bytes]:
    """The status, the messages as the upstream gets them (none if it is not asked), and the answer."""
    body = msgspec.json.encode({"model": "m", "max_tokens": 9, "messages": messages, **more})
    path, headers = ("/v1/messages", CLAUDE) if client == A else (CHAT, OPENAI)
    answer = completion({"role": "assistant", "content": "ok"}) if dialect == C else b'{"type":"message","content":[]}'
    async with upstream(gives(answer)) as up, proxy(at(up.toml(), dialect)) as port:
        got = await ask(port, body, path=path, headers=headers)
    return got.status, msgspec.json.decode(up.requests[0].body)["messages"] if up.requests else [], got.body


@pytest.mark.parametrize(
    "content",
    [
        "hi",
        [{"type": "text", "text": "hi"}],
        [{"type": "text", "text": "h"}, says("i") | {"type": "text", "text": "i"}],
    ],
)
async def test_h058_content_as_a_string_or_as_parts_says_the_same(content: Any) -> None:
    for dialect, client in ((C, A), (A, C)):
        status, sent, _ = await reaches(dialect, client, [{"role": "user", "content": content}])
        assert status == 200
        (turn,) = sent
        said = turn["content"]
        assert (said if isinstance(said, str) else "".join(part["text"] for part in said)) == "hi"


async def test_h058_a_block_nobody_knows_passes_within_the_dialect_and_is_refused_beyond_it() -> None:
    odd = {"role": "user", "content": [{"type": "hologram", "depth": 3}]}
    for dialect, other in ((A, C), (C, A)):
        assert (await reaches(dialect, dialect, [odd]))[:2] == (200, [odd])
        status, sent, body = await reaches(other, dialect, [odd])
        assert (status, sent) == (400, [])
        assert b"hologram" in body


async def test_h059_the_order_of_blocks_is_kept_where_it_can_be_said() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    turn = {"role": "assistant", "content": [{"type": "text", "text": "a"}, call, {"type": "text", "text": "b"}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "3"}]}
    assert (await reaches(A, A, [HI, turn, result]))[1] == [HI, turn, result]
    _, sent, _ = await reaches(C, A, [HI, turn, result])
    assert [each["role"] for each in sent] == ["user", "assistant", "tool"]
    assert sent[1]["content"] == "ab"


SPELLINGS: list[dict[str, Any]] = [
    {"reasoning_content": "hm"},
    {"reasoning": "hm"},
    {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    {"reasoning_content": "hm", "reasoning": "hm"},
    {"reasoning_content": {"text": "hm"}},
    {"thinking": "hm"},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
]


@pytest.mark.parametrize("delta", SPELLINGS)
def test_h071_reasoning_under_all_its_names(delta: dict[str, Any]) -> None:
    assert to_anthropic(chat(delta, says("ok"))).content == [("thinking", "hm"), ("text", "ok")]


def thought(*deltas: dict[str, Any]) -> bytes:
    return block(0, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)


def test_h072_reasoning_is_told_as_text_only() -> None:
    said = thought({"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "sig"})
    got = to_chat(message(said, text_block(1, "ok")))
    assert (got.reasoning, got.content) == ("hm", "ok")
    for each in got.chunks:
        for choice in each["choices"]:
            assert isinstance(choice["delta"].get("reasoning_content", ""), str)
            assert "signature" not in msgspec.json.encode(choice).decode()


def test_h076_a_block_of_a_signature_alone_says_nothing_to_a_chat_client() -> None:
    got = to_chat(message(thought({"type": "signature_delta", "signature": "sig"}), text_block(1, "ok")))
    assert (got.reasoning, got.content) == ("", "ok")


def test_h077_redacted_thinking_says_nothing_to_a_chat_client() -> None:
    got = to_chat(message(block(0, {"type": "redacted_thinking", "data": "x"}), text_block(1, "ok")))
    assert (got.reasoning, got.content) == ("", "ok")


async def test_h077_thinking_passes_byte_for_byte_within_the_dialect() -> None:
    blocks = [{"type": "redacted_thinking", "data": "x=="}, {"type": "thinking", "thinking": "hm", "signature": "s=="}]
    turn = {"role": "assistant", "content": [*blocks, {"type": "text", "text": "a"}]}
    assert (await reaches(A, A, [HI, turn, HI]))[1] == [HI, turn, HI]


async def test_h078_no_cache_mark_on_thinking() -> None:
    """A chat client marks a whole message; the mark goes to its last block that can have one."""
    mark = {"cache_control": {"type": "ephemeral"}}
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    turn = {"role": "assistant", "content": "a", "thinking_blocks": [signed], **mark}
    _, sent, _ = await reaches(A, C, [HI, turn, HI])
    thinking, text = sent[1]["content"]
    assert thinking == signed
    assert text == {"type": "text", "text": "a", **mark}


def test_h090_thinking_and_answer_do_not_mix() -> None:
    got = to_anthropic(chat(thinks("a"), says("1"), thinks("b"), says("2")))
    assert got.content == [("thinking", "a"), ("text", "1"), ("thinking", "b"), ("text", "2")]


def test_h091_white_space_alone_begins_no_thinking() -> None:
    assert to_anthropic(chat(thinks("\n"), thinks(" "), says("ok"))).content == [("text", "ok")]
    assert to_anthropic(chat(thinks("\n"), thinks("a \n b"), says("ok"))).content[0] == ("thinking", "\na \n b")


def test_h070d_text_and_calls_in_one_message() -> None:
    got = to_chat(message(text_block(0, "let me see"), tool_block(1, '{"a":', "1}"), reason="tool_use"))
    assert (got.content, got.finish) == ("let me see", "tool_calls")
    assert [call[2] for call in got.called] == [{"a": 1}]
    both = {"content": "see", "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    assert to_anthropic(chat(both, finish="tool_calls")).content == [("text", "see"), ("f", {})]
    assert b"null" not in chunk({"content": "x"}).partition(b'"delta"')[0]


# ── where one of the two speaks Responses ───────────────────────────────────────────────────────────────────────────

PNG, PDF = "data:image/png;base64,AAAA", "data:application/pdf;base64,AAAA"
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
OBJECT = {"type": "object", "properties": {}}
SHOT: list[Any] = [
    HI,
    {"type": "function_call", "call_id": "c1", "name": "shot", "arguments": "{}"},
    {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
    {
        "type": "function_call_output",
        "call_id": "c1",
        "output": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": PNG}],
    },
    {"type": "function_call_output", "call_id": "c2", "output": "9:00"},
]


async def test_h062_a_picture_in_a_result_of_a_responses_client() -> None:
    result = (await asks(A, R, {"input": SHOT})).body["messages"][2]["content"]
    assert [each["tool_use_id"] for each in result] == ["c1", "c2"]
    assert result[0]["content"] == [{"type": "text", "text": "look"}, IMAGE]
    # A chat upstream gets it behind all results, from the user.
    sent = (await asks(C, R, {"input": SHOT})).body["messages"]
    assert [each["role"] for each in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert sent[4]["content"][1] == {"type": "image_url", "image_url": {"url": PNG}}
    assert not any("AAAA" in str(each) for each in sent[:4])  # never as text: that is a hundred thousand tokens


@pytest.mark.parametrize(("model", "rich"), [("gpt-5.4", True), ("qwen3", False)])
async def test_h062_a_picture_in_a_result_for_a_responses_upstream(model: str, rich: bool) -> None:
    use = {"type": "tool_use", "id": "t1", "name": "shot", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "look"}, IMAGE]}
    turns = [HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    sent = (await asks(R, A, {"model": model, "max_tokens": 99, "messages": turns})).body["input"]
    answered, *after = sent[2:]
    picture = {"type": "input_image", "image_url": PNG, "detail": "auto"}
    if rich:
        assert answered["output"] == [{"type": "input_text", "text": "look"}, picture]
        assert after == []
    else:
        assert isinstance(answered["output"], str)
        assert [each["content"][-1] for each in after] == [picture]
    assert "AAAA" not in str([each for each in sent if each["type"] == "function_call"])


@pytest.mark.parametrize("id", ["toolu_" + "x" * 80, "toolu_01", "x" * 64])
async def test_h064_the_id_of_a_call_fits_its_upstream_and_its_result_has_the_same(id: str) -> None:
    use = {"type": "tool_use", "id": id, "name": "f", "input": {}}
    turns = [HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [_result(id)]}]
    first, second = [
        (await asks(R, A, {"model": "gpt-5.4", "max_tokens": 99, "messages": turns})).body["input"] for _ in "12"
    ]
    assert first == second  # whenever it is asked
    assert 0 < len(first[1]["call_id"]) <= 64
    assert first[1]["call_id"] == first[2]["call_id"]
    assert len(id) > 64 or first[1]["call_id"] == id


@pytest.mark.parametrize("id", ["functions.read:0", "call|fc_1", "c" * 90])
async def test_h064_the_id_of_a_responses_clients_call(id: str) -> None:
    items = [HI, {**SHOT[1], "call_id": id}, {**SHOT[3], "call_id": id, "output": "9:00"}]
    sent = (await asks(A, R, {"input": items})).body["messages"]
    assert re.fullmatch("[a-zA-Z0-9_-]+", sent[1]["content"][0]["id"])
    assert sent[2]["content"][0]["tool_use_id"] == sent[1]["content"][0]["id"]
    chatted = (await asks(C, R, {"input": items})).body["messages"]
    assert chatted[1]["tool_calls"][0]["id"] == chatted[2]["tool_call_id"]
    assert (await asks(R, R, {"input": items})).body["input"] == items  # the client knows its own upstream


def _result(id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": "ok"}


async def test_h067_tools_that_run_at_the_provider_are_left_out_and_that_is_said() -> None:
    function = {"type": "function", "name": "f", "parameters": OBJECT}
    for upstream_ in (A, C):
        got = await asks(
            upstream_,
            R,
            {"input": "hi", "tools": [{"type": "web_search"}, function], "tool_choice": {"type": "web_search"}},
        )
        assert len(got.body["tools"]) == 1
        assert got.body.get("tool_choice") in ({"type": "auto"}, "auto", None)
        assert "tools[type=web_search]" in got.lost
        assert "tool_choice" in got.lost
    anthropics = {"type": "web_search_20250305", "name": "web_search"}
    tools = {"tools": [anthropics, {"name": "f", "input_schema": OBJECT}]}
    choice = {"tool_choice": {"type": "tool", "name": "web_search"}}
    got = await asks(R, A, {"max_tokens": 99, "messages": [HI], **tools, **choice})
    assert [tool["name"] for tool in got.body["tools"]] == ["f"]
    assert "tool_choice" not in got.body
    assert "tools[web_search]" in got.lost


async def test_h067_h099_what_ran_at_openai_is_no_call_for_others() -> None:
    """It is neither text nor a call that the client would have to run; and the ledger says so."""
    body = stream(search(0), message_of(1, "found"))
    async with upstream(streams(body)) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, _asks(), path="/v1/messages", headers=CLAUDE)
        chatted = await ask(port, b'{"model":"m","messages":[{"role":"user","content":"x"}]}', path=CHAT)
        own = await ask(port, b'{"model":"m","stream":true,"input":"x"}', path="/v1/responses")
    assert [each["type"] for each in msgspec.json.decode(got.body)["content"]] == ["text"]
    assert "output[type=web_search_call]" in got.headers["x-trioproxy-lossy"]
    assert "tool_calls" not in msgspec.json.decode(chatted.body)["choices"][0]["message"]
    assert own.body == body
    assert "x-trioproxy-lossy" not in own.headers


def _asks() -> bytes:
    return msgspec.json.encode({"model": "m", "max_tokens": 99, "messages": [HI]})


def test_h072_reasoning_of_a_response_is_told_to_chat_clients_as_text_only() -> None:
    got = for_chat(stream(reasoning(0, "hm", "well"), message_of(1, "ok")))
    assert (got.reasoning, got.content) == ("hm\n\nwell", "ok")
    for each in got.chunks:
        for choice in each["choices"]:
            assert isinstance(choice["delta"].get("reasoning_content", ""), str)
            assert "gAAA" not in str(choice)  # what is encrypted is no text
            assert TAG not in str(choice)


def test_h079_the_parts_of_a_summary_are_one_block_with_one_signature() -> None:
    body = stream(reasoning(0, "one", "two", "three"), message_of(1, "ok"))
    got = for_anthropic(body, provenance="up")
    assert got.content == [("thinking", "one\n\ntwo\n\nthree"), ("text", "ok")]
    deltas = [each["delta"] for each in got.objects if each.get("delta", {}).get("type") == "signature_delta"]
    assert len(deltas) == 1
    found = opened(deltas[0]["signature"])
    assert found is not None
    # What is encrypted is that of the finished item: when it begins it is not yet all there.
    done = next(each["item"] for each in wires(body) if each["type"] == "response.output_item.done")
    assert found.block == done


def test_h075_reasoning_that_is_not_the_upstreams_own_is_never_told_as_if_it_were_signed() -> None:
    """What a chat model thought has no signature; for a Responses client it is carried so that only that one has it."""
    got = for_responses(chat(thinks("hm"), says("ok")), asked(C, {"reasoning": {"summary": "auto"}}, provenance="up"))
    assert got.content == [("thinking", "hm"), ("text", "ok")]
    found = opened(got.items[0]["encrypted_content"])
    assert found is not None
    assert (found.dialect, found.provenance, found.block) == (C, "up", {"type": "thinking", "thinking": "hm"})


@pytest.mark.parametrize(
    "signature",
    [
        "ErUBClaudeOwn",
        carried(R, "another upstream", {"type": "reasoning", "encrypted_content": "gAAA"}),
        carried(C, "up", {"type": "thinking", "thinking": "hm"}),
        TAG + "openai-responses.up.tampered",
        TAG,
        "",
    ],
)
async def test_h075_h150g_what_another_has_signed_or_nobody_reaches_no_responses_upstream(signature: str) -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": signature}
    turn = {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]}
    got = await asks(R, A, {"model": "gpt-5.4", "max_tokens": 99, "messages": [HI, turn, HI]})
    assert got.status == 200
    assert [item["type"] for item in got.body["input"]] == ["message"] * 3
    assert "thinking" in got.lost


@pytest.mark.parametrize(
    "sealed",
    ["gAAAAABopenai", carried(A, "another upstream", {"type": "thinking", "thinking": "hm", "signature": "s"})],
)
@pytest.mark.parametrize("upstream_", [A, C])
async def test_h075_h150g_encrypted_reasoning_of_others_reaches_no_upstream(upstream_: str, sealed: str) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
    got = await asks(upstream_, R, {"input": [HI, thought, said, HI]})
    assert got.status == 200
    assert sealed not in str(got.body)
    assert [each["role"] for each in got.body["messages"]] == ["user", "assistant", "user"]
    assert "encrypted_content" in got.lost or "thinking" in got.lost


FUNCTION = {"type": "function", "name": "f", "parameters": OBJECT}


async def test_h082_h083_budgets_and_efforts() -> None:
    """A budget is an effort at OpenAI; an effort is one for Claude, or a budget with room for it if it knows none."""
    budget = {"thinking": {"type": "enabled", "budget_tokens": 500}}  # as Claude Code's suggestions ask
    got = await asks(R, A, {"model": "gpt-5.4", "max_tokens": 600, "messages": [HI], **budget})
    assert got.body["reasoning"]["effort"] == "low"
    assert got.body["max_output_tokens"] == 600
    adaptive = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}
    got = await asks(R, A, {"model": "gpt-5.4", "max_tokens": 600, "messages": [HI], **adaptive})
    assert got.body["reasoning"]["effort"] == "xhigh"  # the nearest
    assert "output_config.effort" in got.lost
    high = {"input": "hi", "reasoning": {"effort": "high"}, "max_output_tokens": 500}
    got = await asks(A, R, {"model": "claude-sonnet-4-6", **high})
    assert (got.body["thinking"]["type"], got.body["output_config"]) == ("adaptive", {"effort": "high"})
    got = await asks(A, R, {"model": "claude-haiku-4-5", **high})
    assert got.body["max_tokens"] > got.body["thinking"]["budget_tokens"] >= 1024
    assert "max_tokens" in got.lost
    assert (await asks(C, R, high)).body["reasoning_effort"] == "high"


async def test_h084_thinking_that_is_turned_off_has_no_effort() -> None:
    off = {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}
    got = await asks(R, A, {"model": "gpt-5.4", "max_tokens": 99, "messages": [HI], **off})
    assert got.body["reasoning"] == {"effort": "none"}
    got = await asks(R, A, {"max_tokens": 99, "messages": [HI], **off})
    assert "reasoning" not in got.body
    got = await asks(A, R, {"model": "claude-haiku-4-5", "input": "hi", "reasoning": {"effort": "none"}})
    assert not {"thinking", "output_config"} & got.body.keys()


async def test_h085_sampling_goes_where_it_is_taken() -> None:
    sampled = {"temperature": 0.5, "top_p": 0.5}
    got = await asks(R, A, {"model": "gpt-5.4", "max_tokens": 99, "messages": [HI], **sampled, "top_k": 3})
    assert not got.body.keys() & {"temperature", "top_p", "top_k"}
    assert all(name in got.lost for name in ("temperature", "top_p", "top_k"))
    got = await asks(R, A, {"max_tokens": 99, "messages": [HI], **sampled})
    assert (got.body["temperature"], got.body["top_p"]) == (0.5, 0.5)
    thinks_too = {"model": "claude-sonnet-4-6", "input": "hi", "reasoning": {"effort": "low"}, **sampled}
    got = await asks(A, R, thinks_too)
    assert not got.body.keys() & {"temperature", "top_p"}
    assert "temperature" in got.lost


async def test_h086_a_forced_tool_and_thinking() -> None:
    forced = {"input": "hi", "reasoning": {"effort": "high"}, "tools": [FUNCTION], "tool_choice": "required"}
    got = await asks(A, R, {"model": "claude-sonnet-4-6", **forced})
    assert got.body["tool_choice"] == {"type": "any"}
    assert got.body.get("thinking", {"type": "disabled"})["type"] == "disabled"
    assert "thinking" in got.lost


async def test_h087_edits_of_thinking_have_no_place_and_that_is_said() -> None:
    edits = {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}
    got = await asks(R, A, {"max_tokens": 99, "messages": [HI], "thinking": {"type": "adaptive"}, **edits})
    assert "context_management" not in got.body
    assert "context_management" in got.lost


async def test_h088_tools_and_reasoning_go_together_at_a_responses_upstream() -> None:
    """Chat Completions refuses both at once of gpt-5.4; that is what Responses is for."""
    tools = {"tools": [{"name": "f", "input_schema": OBJECT}], "thinking": {"type": "adaptive"}}
    effort = {"output_config": {"effort": "high"}}
    got = await asks(R, A, {"model": "gpt-5.4", "max_tokens": 99, "messages": [HI], **tools, **effort})
    assert got.body["reasoning"]["effort"] == "high"
    assert [tool["name"] for tool in got.body["tools"]] == ["f"]


@pytest.mark.parametrize("summary", ["auto", None])
def test_h089_a_responses_client_sees_reasoning_only_if_it_asked(summary: str | None) -> None:
    said = thought({"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "sig"})
    exchange = asked(A, {"reasoning": {"effort": "high", "summary": summary}}, provenance="up")
    got = for_responses(message(said, text_block(1, "ok")), exchange)
    assert got.content == [("thinking", "hm" if summary else ""), ("text", "ok")]
    found = opened(got.items[0]["encrypted_content"])  # carried whether it is shown or not
    assert found is not None
    assert found.block == {"type": "thinking", "thinking": "hm", "signature": "sig"}


@pytest.mark.parametrize(
    ("thinking", "summary"), [({"type": "adaptive"}, "auto"), ({"type": "adaptive", "display": "omitted"}, None)]
)
async def test_h089_a_summary_is_asked_for_as_anthropics_client_wants_to_see_it(thinking: Any, summary: Any) -> None:
    got = await asks(R, A, {"model": "gpt-5.4", "max_tokens": 99, "messages": [HI], "thinking": thinking})
    assert got.body.get("reasoning", {}).get("summary") == summary
