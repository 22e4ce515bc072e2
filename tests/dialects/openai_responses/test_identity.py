"""Written as Responses and read again, an answer is the same: the laws of reader and writer together."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from tests.anthropic import flow
from tests.events import messages
from tests.hazards.test_laws import answers, content_of
from trioproxy.dialects.carried import opened
from trioproxy.items import (
    BlockStart,
    Event,
    MessageDelta,
    RedactedThinking,
    Request,
    SignatureDelta,
    Source,
    ToolInputDelta,
    ToolUse,
    Usage,
    replace,
)
from trioproxy.stage import Exchange
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

R = "openai-responses"
ASKED = Request("m")
WIRE: dict[str, Any] = {"reasoning": {"summary": "auto"}, "tools": [{"type": "custom", "name": "write"}]}
R_ON_A = Exchange(
    id="test", client_dialect=R, request=replace(ASKED, source=Source(R, WIRE, ASKED)), model="m", provenance="up"
)
A_ON_R = Exchange(id="test", upstream_dialect=R, model="m", provenance="here")
few = settings(max_examples=200, deadline=None, derandomize=True)


def again(events: list[Event], *, stream: bool) -> list[Event]:
    """What a client of another dialect reads of what is written for a Responses client."""
    body = flow([Translate(), Reframe()], [[event] for event in events], replace(R_ON_A, stream=stream))
    return flow([Deframe(), Parse()], [body], replace(A_ON_R, upstream_stream=stream))


def told(events: list[Event]) -> list[Event]:
    """Calls of the custom tool as they can be: with a text for their `input`."""
    custom = {each.index for each in events if isinstance(each, BlockStart) and _is_custom(each)}
    kept = [each for each in events if not (isinstance(each, ToolInputDelta) and each.index in custom)]
    for place, each in reversed(list(enumerate(kept))):
        if isinstance(each, BlockStart) and each.index in custom:
            pieces = [ToolInputDelta(each.index, piece) for piece in ('{"input":"*** é\\', 'n\\"', 'x"}')]
            kept[place + 1 : place + 1] = pieces
    return kept


def _is_custom(event: BlockStart) -> bool:
    return isinstance(event.block, ToolUse) and event.block.name == "write"


@few
@given(answers())
def test_what_is_written_and_read_again_is_the_same(
    answer: tuple[list[Event], list[tuple[str, Any]], str],
) -> None:
    events = told(answer[0])
    content, reason = content_of(events)
    for stream in (True, False):
        assert content_of(again(events, stream=stream)) == (content, reason)


@few
@given(messages(signed=True))
def test_the_signatures_come_back_with_what_they_are_over(events: list[Event]) -> None:
    wanted = [each.signature for each in events if isinstance(each, SignatureDelta)]
    wanted += [
        each.block.data for each in events if isinstance(each, BlockStart) and isinstance(each.block, RedactedThinking)
    ]
    for stream in (True, False):
        found = []
        for each in again(told(events), stream=stream):
            if isinstance(each, SignatureDelta):
                item = opened(each.signature)
                assert item is not None
                assert (item.dialect, item.provenance) == (R, "here")
                block = opened(item.block["encrypted_content"])
                assert block is not None
                assert (block.dialect, block.provenance) == ("anthropic", "up")
                found.append(block.block.get("signature") or block.block.get("data"))
        assert sorted(map(str, found)) == sorted(wanted)


@few
@given(messages())
def test_the_tokens_are_counted_the_same(events: list[Event]) -> None:
    counted = Usage(7, 5, 3, 2)
    events = [replace(each, usage=counted) if isinstance(each, MessageDelta) else each for each in told(events)]
    for stream in (True, False):
        assert [each.usage for each in again(events, stream=stream) if isinstance(each, MessageDelta)][-1] == counted
