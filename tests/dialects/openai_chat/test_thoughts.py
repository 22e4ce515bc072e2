"""How thinking is told, and that what is told can come back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import flow
from tests.chat import C_ON_A, C_ON_A_WHOLE, gathered
from tests.events import answers, in_batches
from trioproxy.dialects import DIALECTS
from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    RedactedThinking,
    SignatureDelta,
    Text,
    Thinking,
    ThinkingDelta,
    replace,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate
from trioproxy.store import Settings
from trioproxy.store.vault import Vault

START, END = MessageStart("msg_1", "claude"), [MessageDelta("end_turn"), MessageStop()]
THOUGHT: list[Event] = [
    *(BlockStart(0, Thinking()), ThinkingDelta(0, "h"), ThinkingDelta(0, "m"), SignatureDelta(0, "sig"), BlockStop(0)),
    *(BlockStart(1, RedactedThinking(data="xx")), BlockStop(1)),
]
CLAUDE = {"format": "anthropic-claude-v1"}


def told(events: list[Event], style: Any, exchange: Exchange = C_ON_A) -> dict[str, Any]:
    """The message that a client has in the end, without what is said of it."""
    body = b"".join(flow([Translate(reasoning=style), Reframe()], [[START, *events, *END]], exchange))
    message = gathered(body) if exchange.stream else msgspec.json.decode(body)["choices"][0]["message"]
    return {key: value for key, value in message.items() if key not in ("role", "content", "refusal", "finish_reason")}


@pytest.mark.parametrize("asked", [C_ON_A, C_ON_A_WHOLE])
@pytest.mark.parametrize("style", [None, "reasoning_content", "reasoning"])
def test_h072_as_text_and_never_anything_else(style: Any, asked: Exchange) -> None:
    exchange = replace(asked, ledger=Ledger())
    assert told(THOUGHT, style, exchange) == {style or "reasoning_content": "hm"}
    assert "content[].signature" in str(exchange.ledger)
    assert "content[].redacted_thinking" in str(exchange.ledger)
    assert "content[].thinking" not in str(exchange.ledger)


@pytest.mark.parametrize("asked", [C_ON_A, C_ON_A_WHOLE])
def test_what_a_stage_has_kept_is_not_lost(asked: Exchange) -> None:
    """A memory alone keeps nothing; and who is told no thinking at all has lost it."""
    exchange = replace(asked, ledger=Ledger(), memory=Vault(Settings()).drawer("mine"))
    exchange.ledger.spare("content[].signature")
    assert told(THOUGHT, None, exchange) == {"reasoning_content": "hm"}
    assert "signature" not in str(exchange.ledger)
    assert "redacted_thinking" in str(exchange.ledger)
    told(THOUGHT, "drop", exchange)
    assert "content[].thinking (this client is told no reasoning)" in str(exchange.ledger)


@pytest.mark.parametrize("asked", [C_ON_A, C_ON_A_WHOLE])
def test_dropped_it_is_noted(asked: Exchange) -> None:
    for some in (THOUGHT, THOUGHT[:3], THOUGHT[3:4], THOUGHT[-2:]):
        exchange = replace(asked, ledger=Ledger())
        assert told(some, "drop", exchange) == {}
        assert str(exchange.ledger) == "content[].thinking (this client is told no reasoning)"


def test_details_in_pieces() -> None:
    exchange = replace(C_ON_A, ledger=Ledger())
    assert told(THOUGHT, "reasoning_details", exchange) == {
        "reasoning": "hm",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "h", **CLAUDE, "index": 0},
            {"type": "reasoning.text", "text": "m", **CLAUDE, "index": 0},
            {"type": "reasoning.text", "signature": "sig", **CLAUDE, "index": 0},
            {"type": "reasoning.encrypted", "data": "xx", **CLAUDE, "index": 1},
        ],
    }
    assert not exchange.ledger


def test_details_in_one() -> None:
    exchange = replace(C_ON_A_WHOLE, ledger=Ledger())
    unsigned = [BlockStart(2, Thinking(thinking="a")), ThinkingDelta(2, "b"), BlockStop(2)]
    silent = [BlockStart(3, Thinking()), SignatureDelta(3, "only"), BlockStop(3)]
    assert told([*THOUGHT, *unsigned, *silent], "reasoning_details", exchange) == {
        "reasoning": "hmab",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "hm", "signature": "sig", **CLAUDE, "index": 0},
            {"type": "reasoning.encrypted", "data": "xx", **CLAUDE, "index": 1},
            {"type": "reasoning.text", "text": "ab", **CLAUDE, "index": 2},
            {"type": "reasoning.text", "signature": "only", **CLAUDE, "index": 3},
        ],
    }
    assert not exchange.ledger


@pytest.mark.parametrize("exchange", [replace(C_ON_A, upstream_dialect="x"), replace(C_ON_A, answered_here=True)])
def test_nobody_but_anthropic_signs_as_anthropic(exchange: Exchange) -> None:
    details = told(THOUGHT, "reasoning_details", exchange)["reasoning_details"]
    assert {each["format"] for each in details} == {"unknown"}


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def signed(events: list[Event]) -> list[Block]:
    """The blocks that can go back to Anthropic, as a client of Anthropic's would put them together."""
    blocks: list[Block] = []
    for event in events:
        match event:
            case BlockStart(block=Thinking() | RedactedThinking() as block):
                blocks.append(block)
            case ThinkingDelta():
                assert isinstance(blocks[-1], Thinking)
                blocks[-1] = replace(blocks[-1], thinking=blocks[-1].thinking + event.thinking)
            case SignatureDelta():
                blocks[-1] = replace(blocks[-1], signature=event.signature)
    return [block for block in blocks if not isinstance(block, Thinking) or block.signature]


def read_back(message: dict[str, Any]) -> list[Block]:
    """The thinking of a turn that a client sends back, as our own reader of requests has it."""
    turn = {"role": "assistant", "content": "x", "reasoning_details": message.get("reasoning_details", [])}
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}, turn]}
    request = DIALECTS["openai-chat"].read_request(msgspec.json.encode(body))
    content = request.messages[1].content
    return [block for block in content if isinstance(block, Block) and not isinstance(block, Text)]


@given(answers(), st.lists(st.integers(0, 5), max_size=6))
def test_what_is_told_in_details_is_read_back_the_same(events: list[Event], sizes: list[int]) -> None:
    exchange = replace(C_ON_A, ledger=Ledger())
    stages: list[Stage[Any, Any]] = [Translate(reasoning="reasoning_details"), Reframe()]
    message = gathered(b"".join(flow(stages, in_batches(events, sizes), exchange)))
    assert read_back(message) == signed(events)
    assert "thinking" not in str(exchange.ledger)
    assert "signature" not in str(exchange.ledger)


@given(answers())
def test_so_is_a_whole_answer(events: list[Event]) -> None:
    [body] = flow([Translate(reasoning="reasoning_details"), Reframe()], [events], C_ON_A_WHOLE)
    message = msgspec.json.decode(body)["choices"][0]["message"]
    assert read_back(message) == signed(events)
    said = [each for each in message.get("reasoning_details", []) if each["type"] == "reasoning.text"]
    assert len({each["index"] for each in said}) == len(said)


@given(answers(), st.sampled_from(["reasoning_content", "reasoning", "drop"]))
def test_text_is_told_in_one_field_and_whole(events: list[Event], style: Any) -> None:
    text = "".join(event.thinking for event in events if isinstance(event, ThinkingDelta))
    for exchange in (C_ON_A, C_ON_A_WHOLE):
        body = b"".join(flow([Translate(reasoning=style), Reframe()], [events], exchange))
        message = gathered(body) if exchange.stream else msgspec.json.decode(body)["choices"][0]["message"]
        assert message.get(style, "") == ("" if style == "drop" else text)
        assert not {"reasoning_content", "reasoning", "reasoning_details"} & message.keys() - {style}
