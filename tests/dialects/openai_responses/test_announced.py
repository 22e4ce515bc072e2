"""Responses upstreams that contradict themselves, for Responses clients: nobody here knows better than the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pytest

from tests.anthropic import flow
from tests.responses import begun, call, check, custom_call, ended, frames, message, reasoning, wires
from trioproxy.items import BlockStop, Error, Event, Text, TextDelta, ToolInputDelta, replace
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.signature_filter import SignatureFilter
from trioproxy.stages.translate import Translate

Wire = dict[str, Any]
R = "openai-responses"
R_ON_R = Exchange(id="test", client_dialect=R, upstream_dialect=R)

ITEMS = [
    reasoning(0, "hm"),
    message(1, "Hel", "lo"),
    call(2, '{"a"', ":1}"),
    custom_call(3, "pa", "tch"),
    call(4, "{}", id="fc_up2", call_id="call_3"),
]

Lie = Callable[[int, Wire], "Wire | None"]


def told(lie: Lie) -> bytes:
    """The stream of these items with a lie in each of its events; None leaves it out."""
    copies: list[Wire] = msgspec.json.decode(msgspec.json.encode([wire for item in ITEMS for wire in item]))
    lies = [wire for number, each in enumerate(copies) if (wire := lie(number, each)) is not None]
    return frames(*begun(), *lies, ended(*(item[-1]["item"] for item in ITEMS)))


def _always(place: int) -> Lie:
    return lambda _, wire: {**wire, "output_index": place}


def _rotating(number: int, wire: Wire) -> Wire:
    """GitHub Copilot gives an item another id in each event; this one says no place either."""
    del wire["output_index"]
    if "item" in wire:
        return {**wire, "item": {**wire["item"], "id": f"b{number}"}}
    return {**wire, "item_id": f"a{number}"}


def _without(kind: str) -> Lie:
    return lambda _, wire: None if wire["type"] == kind else wire


def _unlike(_: int, wire: Wire) -> Wire:
    """What is told whole is not what was told in pieces."""
    return {**wire, "text": "other"} if wire["type"].endswith("text.done") else wire


LIES = {
    "every item stands at 0": _always(0),
    "every item stands nowhere": _always(-1),
    "ids rotate": _rotating,
    "no item is announced": _without("response.output_item.added"),
    "no part is announced": _without("response.content_part.added"),
    "no item ends": _without("response.output_item.done"),
    "texts are told in two ways": _unlike,
}


def through(body: bytes, *stages: Stage[Any, Any], exchange: Exchange = R_ON_R) -> bytes:
    out = flow([Deframe(), Parse(), *stages, Translate(), Reframe()], [[body]], exchange)
    errors = [each for each in out if isinstance(each, Error)]
    assert not errors, errors
    return b"".join(out)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_no_stage_changes_leaves_as_the_very_bytes_however_odd(lie: Lie) -> None:
    body = told(lie)
    assert through(body) == body
    assert through(body, SignatureFilter()) == body


class Adding(Stage[Event, Event]):
    """Has the last word in each text."""

    def __init__(self) -> None:
        self._texts = set[int]()

    def feed(self, event: Event, /) -> Iterable[Event]:
        if isinstance(event, TextDelta):
            self._texts.add(event.index)
        if isinstance(event, BlockStop) and event.index in self._texts:
            yield TextDelta(event.index, "!")
        yield event


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_a_stage_has_changed_is_told_to_the_end_though_the_upstream_lies(lie: Lie) -> None:
    end = wires(through(told(lie), Adding()))[-1]["response"]
    by_kind = {kind: [item for item in end["output"] if item["type"] == kind] for kind in _KINDS}
    [said] = by_kind["message"]
    assert "".join(part["text"] for part in said["content"]) == "Hello!"
    assert [each["arguments"] for each in by_kind["function_call"]] == ['{"a":1}', "{}"]
    assert [each["input"] for each in by_kind["custom_tool_call"]] == ["patch"]


_KINDS = ("reasoning", "message", "function_call", "custom_tool_call")


def test_a_whole_answer_of_a_liar_has_all_its_calls() -> None:
    """Folded for a client that asked for no stream, from an upstream whose last event says nothing."""
    for lie in (LIES["every item stands at 0"], LIES["no item is announced"]):
        wires_ = wires(told(lie))
        body = frames(*({**wire, "sequence_number": 0} for wire in wires_[:-1]), ended())
        got = msgspec.json.decode(through(body, exchange=replace(R_ON_R, stream=False)))
        assert [item["type"] for item in got["output"]] == [
            *("reasoning", "message", "function_call", "custom_tool_call", "function_call")
        ]


def overlapping() -> bytes:
    """Two calls at once, both announced before either says anything."""
    first, other = call(0, '{"a"', ":1}", id="fc_a", call_id="a"), call(1, '{"b"', ":2}", id="fc_b", call_id="b")
    order = [first[0], other[0], first[1], other[1], first[2], *other[2:], *first[3:]]
    return frames(*begun(), *order, ended(first[-1]["item"], other[-1]["item"]))


def test_calls_that_overlap_keep_apart() -> None:
    body = overlapping()
    check(body)
    assert through(body) == body

    class Mending(Stage[ToolInputDelta, ToolInputDelta]):
        def feed(self, event: ToolInputDelta, /) -> Iterator[ToolInputDelta]:
            yield replace(event, partial_json=event.partial_json.replace("1", "10")) if event.index == 0 else event

    end = check(through(body, Mending()))
    assert [(item["call_id"], item["arguments"]) for item in end["output"]] == [("a", '{"a":10}'), ("b", '{"b":2}')]


def test_a_call_that_the_client_knows_of_cannot_be_taken_back() -> None:
    class Dropping(Stage[Event, Event]):
        def feed(self, event: Event, /) -> Iterable[Event]:
            return () if getattr(event, "index", None) == 1 else (event,)

    *out, error = flow([Deframe(), Parse(), Dropping(), Translate(), Reframe()], [[overlapping()]], R_ON_R)
    assert isinstance(error, Error)
    assert "left out a call of a tool that the client had been told of" in error.message
    check(b"".join(out), whole=False)


def test_a_block_that_begins_in_words_of_a_stage_is_the_one_announced() -> None:
    """A message keeps the upstream's id and what else it says of it, though its block is a copy."""

    class Copying(Stage[Event, Event]):
        def feed(self, event: Event, /) -> Iterable[Event]:
            return (replace(event) if getattr(event, "block", None) == Text() else event,)

    end = check(through(told(lambda _, wire: wire), Copying()))
    assert (end["output"][1]["id"], end["output"][1]["phase"]) == ("msg_up1", "final_answer")
