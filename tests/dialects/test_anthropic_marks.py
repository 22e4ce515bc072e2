"""Thinking that an Anthropic client got from an upstream of another dialect, on its way to Anthropic's API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.anthropic import flow, judge
from tests.chat import chunk
from tests.chat import stream as chat
from tests.responses import message, reasoning
from tests.responses import stream as responses
from trioproxy.dialects import DIALECTS, Target
from trioproxy.dialects.carried import TAG, opened
from trioproxy.items import BlockStart, BlockStop, Event, MessageStart, MessageStop, Thinking, ThinkingDelta, replace
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

Wire = dict[str, Any]
A, C, R = DIALECTS
BODIES = {
    C: chat(chunk({"reasoning_content": "hm"}), chunk({"content": "Hi"})),
    R: responses(reasoning(0, "hm", encrypted=""), message(1, "Hi")),
}
FIELDS = {"thinking_delta": "thinking", "signature_delta": "signature", "text_delta": "text"}


def content(upstream: str, *, streamed: bool) -> list[Wire]:
    """The blocks that a client of Anthropic's gathers."""
    exchange = Exchange(id="test", upstream_dialect=upstream, stream=streamed, provenance="elsewhere")
    stages: list[Stage[Any, Any]] = [Deframe(), Parse(), Translate(), Reframe()]
    out = flow(stages, [[BODIES[upstream]]], exchange)
    if not streamed:
        return list(msgspec.json.decode(out[0])["content"])
    gathered: list[Wire] = []
    for each in judge(b"".join(out)):
        if each["type"] == "content_block_start":
            gathered.append(each["content_block"])
        elif each["type"] == "content_block_delta":
            field = FIELDS[each["delta"]["type"]]
            gathered[-1][field] += each["delta"][field]
    return gathered


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("upstream", [C, R])
def test_h075_what_nobody_has_signed_is_not_shown_to_anthropic(upstream: str, streamed: bool) -> None:
    """As where a route falls back from one upstream to another within a conversation."""
    thought, said = content(upstream, streamed=streamed)
    assert (thought["thinking"], said["text"]) == ("hm", "Hi")
    found = opened(thought["signature"])
    assert found is not None
    assert (found.dialect, found.provenance) == (upstream, "elsewhere")
    user: Wire = {"role": "user", "content": "q"}
    turns = [user, {"role": "assistant", "content": [thought, said]}, user]
    body = msgspec.json.encode({"model": "m", "max_tokens": 9, "messages": turns})
    assert TAG.encode() in body  # so it will be read
    anthropic, target, ledger = DIALECTS[A], Target(provenance="here"), Ledger()
    request = anthropic.fit(anthropic.read_request(body), target, ledger)
    sent = msgspec.json.decode(anthropic.write_request(request, target, ledger).body)
    assert sent["messages"][1]["content"] == [said]
    assert "thinking" in str(ledger)


def test_who_speaks_the_same_dialect_signs_for_itself_or_not() -> None:
    exchange = Exchange(id="test")
    thinking: list[Event] = [BlockStart(0, Thinking()), ThinkingDelta(0, "hm"), BlockStop(0)]
    events: list[Event] = [MessageStart("msg_1", "m"), *thinking, MessageStop()]
    for each in (exchange, replace(exchange, upstream_dialect=C, answered_here=True)):
        assert b"signature_delta" not in b"".join(flow([Translate(), Reframe()], [events], each))
