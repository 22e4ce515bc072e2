"""A whole answer of a Responses upstream, streamed to a Responses client that asked for a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from tests.anthropic import flow
from tests.corpus import wholes
from tests.responses import (
    call,
    check,
    custom_call,
    frames,
    message,
    reasoning,
    refusal,
    response,
    search,
    wires,
)
from trioproxy.dialects.openai_responses.unrolled import unrolled
from trioproxy.items import Error, Event, MessageStop, Ping, TextDelta, replace
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

R = "openai-responses"
TYPE = itemgetter("type")
STREAMED = Exchange(id="test", client_dialect=R, upstream_dialect=R, upstream_stream=False)
ITEMS = [
    *(reasoning(0, "one", "two three"), search(1), message(2, "Gr", "üße"), call(3, '{"a"', ":1}")),
    *(custom_call(4, "pa", "tch"), refusal(5, "n", "o")),
]
ANSWER = response("completed", *(item[-1]["item"] for item in ITEMS))


class Changing(Stage[Event, Event]):
    """Gives for each event what a function makes of it."""

    def __init__(self, change: Callable[[Event], Iterable[Event]]) -> None:
        self._change = change

    def feed(self, event: Event, /) -> Iterable[Event]:
        return self._change(event)


def streamed(answer: object, *stages: Stage[Any, Any], exchange: Exchange = STREAMED) -> bytes:
    out = flow([Deframe(), Parse(), *stages, Translate(), Reframe()], [[msgspec.json.encode(answer)]], exchange)
    errors = [each for each in out if isinstance(each, Error)]
    assert not errors, errors
    return b"".join(out)


def test_the_stream_is_legal_and_ends_with_the_very_response() -> None:
    out = streamed(ANSWER)
    assert check(out) == ANSWER
    kinds = [each["item"]["type"] for each in wires(out) if each["type"] == "response.output_item.added"]
    assert kinds == [item["type"] for item in ANSWER["output"]]


def test_what_it_tells_of_an_item_is_what_the_api_tells() -> None:
    for item in (message(0, "Grüße"), call(0, "{}"), custom_call(0, "patch"), refusal(0, "no"), reasoning(0, "one")):
        told = [each for each in unrolled(response("completed", item[-1]["item"])) if "output_index" in each]
        # Whatever the pieces of a text.
        assert [kind for kind, _ in groupby(told, TYPE)] == [kind for kind, _ in groupby(item, TYPE)]


def test_citations_stand_before_the_end_of_their_text() -> None:
    cited = {"type": "url_citation", "url": "https://example.org", "title": "A", "start_index": 0, "end_index": 2}
    item = message(0, "Hi")[-1]["item"]
    item = item | {"content": [item["content"][0] | {"annotations": [cited]}]}
    assert check(streamed(response("completed", item)))["output"] == [item]


def test_an_answer_that_was_cut_ends_so() -> None:
    cut = response("incomplete", message(0, "Hi")[-1]["item"], incomplete_details={"reason": "max_output_tokens"})
    assert check(streamed(cut)) == cut


def test_the_model_has_the_name_that_the_client_knows() -> None:
    exchange = replace(STREAMED, model="alias", upstream_model="gpt-up")
    assert {each["response"]["model"] for each in wires(streamed(ANSWER, exchange=exchange)) if "response" in each} == {
        "alias"
    }


def test_every_recorded_whole_answer_is_streamed_with_all_that_it_has() -> None:
    seen = 0
    for case in wholes(R):
        answer = msgspec.json.decode(case.body)
        if answer.get("status") not in ("completed", "incomplete"):
            continue
        events = list(unrolled(answer))
        assert events[-1]["response"] == answer
        assert [each["item"] for each in events if each["type"] == "response.output_item.done"] == answer["output"]
        seen += 1
    assert seen > 80


# ── where a stage does something ────────────────────────────────────────────────────────────────────────────────────


def test_a_ping_between_the_events_changes_nothing() -> None:
    out = streamed(ANSWER, Changing(lambda event: (Ping(), event)))
    assert check(out.replace(b": keepalive\n\n", b"")) == ANSWER


def test_what_a_stage_has_changed_is_told() -> None:
    def shout(event: Event) -> Iterable[Event]:
        return (replace(event, text=event.text.upper()) if isinstance(event, TextDelta) else event,)

    end = check(streamed(ANSWER, Changing(shout)))
    texts = [part.get("text") for item in end["output"] if item["type"] == "message" for part in item["content"]]
    assert texts == ["GRÜSSE", "NO"]


def test_what_a_stage_leaves_out_is_left_out() -> None:
    end = check(streamed(ANSWER, Changing(lambda event: () if isinstance(event, TextDelta) else (event,))))
    assert "üße" not in str(end)


def test_a_stream_whose_end_a_stage_keeps_has_none() -> None:
    out = flow(
        [Deframe(), Parse(), Changing(lambda event: () if isinstance(event, MessageStop) else (event,)), Translate()],
        [[msgspec.json.encode(ANSWER)]],
        STREAMED,
    )
    assert isinstance(out[-1], Error)
    assert not any(b'"response.completed"' in frame.data for frame in out[:-1])


@pytest.mark.parametrize(
    "output", [[1, None, "x"], [{}], [{"type": "message", "content": 1}], [{"type": "message", "content": [1, {}]}]]
)
def test_items_that_are_none_are_no_reason_to_fail(output: list[object]) -> None:
    events = list(unrolled(response("completed") | {"output": output}))
    assert events[-1]["response"]["output"] == output
    assert frames(*events)
