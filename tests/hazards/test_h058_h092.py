"""Hazards of content and reasoning that are about both directions at once; those about requests alone have their tests
in tests/dialects.
"""

from __future__ import annotations

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
    text_block,
    thinks,
    to_anthropic,
    to_chat,
    tool_block,
)
from tests.peers import ask, proxy, upstream

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
