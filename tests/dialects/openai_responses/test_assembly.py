"""Which item an event is about, whatever of indices and ids is there, and nothing told twice, whatever is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.openai_responses.told import (
    A_ON_R,
    Gathered,
    Wire,
    answer,
    call,
    complaint,
    created,
    custom,
    ended,
    event,
    ladder,
    message,
    read,
    reasoning,
    stream,
    text,
)
from trioproxy.items import Text, replace

CITED = {"type": "url_citation", "url": "https://example.org", "title": None}
ITEMS = (
    reasoning("First.", "Then."),
    message("Hello", text("World", annotations=[CITED])),
    call('{"path": "x"}'),
    custom("print(1)"),
    call("", id="fc_2", call_id="call_3"),
    message("Bye", id="msg_2"),
)


def told(got: Gathered) -> Any:
    return sorted(map(repr, got.blocks)), got.citations, got.end


EXPECTED = answer(stream(*ITEMS))


def changed(events: list[bytes], change: Callable[[Wire], Wire]) -> list[bytes]:
    """The events with `change` made to each of their objects."""
    lines = [line for each in events for line in each.split(b"\n")]
    return [event(**change(msgspec.json.decode(line[6:]))) for line in lines if line.startswith(b"data: ")]


def rotated(value: Any, ids: Iterator[int]) -> Any:
    """With a new id wherever there is one: GitHub Copilot has another in every event (recorded)."""
    if isinstance(value, list):
        return [rotated(each, ids) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: f"id_{next(ids)}" if key in ("id", "item_id") else rotated(each, ids) for key, each in value.items()}


IDS = count()


def without(*fields: str) -> Callable[[Wire], Wire]:
    return lambda wire: {key: value for key, value in wire.items() if key not in fields}


def nameless(wire: Wire) -> Wire:
    """Without any id of an item."""
    return {
        key: {name: each for name, each in value.items() if name != "id"} if key == "item" else value
        for key, value in wire.items()
        if key != "item_id"
    }


def one_index(wire: Wire) -> Wire:
    return wire | ({"output_index": 0} if "output_index" in wire else {})


def later_index(wire: Wire) -> Wire:
    return wire | ({"output_index": wire["output_index"] + 1} if "output_index" in wire else {})


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        lambda wire: rotated(wire, IDS),
        lambda wire: without("output_index")(rotated(wire, IDS)),
        without("output_index"),
        without("item_id"),
        without("output_index", "item_id"),
        without("sequence_number", "content_index"),
        nameless,
        lambda wire: without("output_index")(nameless(wire)),
        one_index,
        lambda wire: one_index(nameless(wire)),
        later_index,
        lambda wire: later_index(rotated(wire, IDS)),
    ],
)
def test_items_are_found_by_index_or_id_or_by_being_the_last(change: Callable[[Wire], Wire], repeat: bool) -> None:
    items = [each for each in ITEMS if each["type"] != "message"] + [message("Hello")]
    assert told(answer(changed(stream(*items, repeat=repeat), change))) == told(answer(stream(*items)))


def test_parallel_calls_of_one_index_are_found_by_their_ids() -> None:
    calls = [call('{"a":1}'), call('{"b":2}', id="fc_2", call_id="call_2")]
    one, two = (changed(ladder(index, each), one_index) for index, each in enumerate(calls))
    mixed = [each for pair in zip(one, two, strict=True) for each in pair]
    assert answer([created(), *mixed, ended(*calls)]).calls == [
        ("call_1", "look", '{"a":1}'),
        ("call_2", "look", '{"b":2}'),
    ]


def test_ids_that_all_items_share_do_not_confuse_their_indices() -> None:
    calls = [call('{"a":1}', id="x"), call('{"b":2}', id="x", call_id="call_2")]
    one, two = (ladder(index, each) for index, each in enumerate(calls))
    mixed = [each for pair in zip(one, two, strict=True) for each in pair]
    assert [made[2] for made in answer([created(), *mixed, ended(*calls)]).calls] == ['{"a":1}', '{"b":2}']


def test_an_item_that_is_announced_twice_is_one() -> None:
    first, *rest = ladder(0, call('{"a":1}'))
    assert answer([created(), first, first, *rest, ended()]).calls == [("call_1", "look", '{"a":1}')]


# ── the same several times, or once ─────────────────────────────────────────────────────────────────────────────────


TYPES = sorted({msgspec.json.decode(each.split(b"data: ")[1])["type"] for each in stream(*ITEMS)[1:-1]})


def type_of(told: bytes) -> str:
    return told.partition(b"\n")[0].removeprefix(b"event: ").decode()


@st.composite
def incomplete(draw: st.DrawFn) -> list[bytes]:
    """A stream without some of the events that tell again what others tell, or with half of their pieces."""
    repeat, events = draw(st.booleans()), list[bytes]()
    missing = draw(st.sets(st.sampled_from(TYPES), max_size=len(TYPES)))
    if "response.output_text.delta" in missing:
        missing.add("response.output_text.annotation.added")  # no page is cited before there is a text
    halves = draw(st.booleans())  # then the end of a text tells the rest, before another begins
    missing -= {each for each in TYPES if each.endswith("text.done")} if halves else set()
    for index, item in enumerate(ITEMS):
        *steps, done = ladder(index, item)
        if repeat and "response.output_item.done" in missing:
            # Then what has begun goes on to its end, for at the last event other blocks have followed.
            events += draw(st.sampled_from([[], steps]))
            continue
        kept = [each for each in steps if type_of(each) not in missing]
        if halves:
            before = ["", *map(type_of, kept)]
            kept = [each for each, last in zip(kept, before, strict=False) if type_of(each) != last]
        events += [*kept, done]
    return [created(), *events, ended(*(ITEMS if repeat else ()))]


@settings(max_examples=300)
@given(incomplete())
def test_h019_whatever_is_told_less_often_is_told_once(body: list[bytes]) -> None:
    assert told(answer(body)) == told(EXPECTED)


def test_items_may_be_told_by_the_last_event_alone() -> None:
    got = answer(ended(*ITEMS))
    assert got.blocks == EXPECTED.blocks
    assert (got.start.id, got.start.model) == ("resp_1", "gpt-test")


def test_of_items_that_go_by_other_ids_at_the_end_as_many_are_the_same() -> None:
    extra = message("And one more", id="msg_9")
    [end] = changed([ended(*ITEMS, extra)], lambda wire: rotated(wire, IDS))
    for body in (stream(*ITEMS), changed(stream(*ITEMS), without("output_index"))):
        assert answer([*body[:-1], end]).texts == [*EXPECTED.texts, "And one more"]


def test_what_is_held_has_a_bound() -> None:
    small = replace(A_ON_R, event_limit=5000)
    place = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    endless = [event("response.output_text.delta", **place, delta="x" * 1000)] * 9
    items = [event("response.output_item.added", output_index=n, item=message(id=f"m{n}")) for n in range(9)]
    parts = [event("response.output_text.done", **place | {"content_index": n}, text="") for n in range(20)]
    for body in (endless, items, parts):
        error = complaint(read([created(), *body], small))
        assert error.message == "the upstream sent an answer of more than 5000 bytes"


def test_what_is_over_is_not_held_any_longer() -> None:
    small = replace(A_ON_R, event_limit=12_000)
    items = [message("x" * 6000), reasoning("y" * 6000), call(f'{{"a":"{"z" * 6000}"}}')]
    bodies = [each for index, item in enumerate(items) for each in ladder(index, item)]
    assert answer([created(), *bodies, ended()], small).texts == ["x" * 6000]


def test_calls_that_only_their_ends_tell_are_found_by_what_they_are_called() -> None:
    """Without ids and with one index for all: the ids of the calls are all that tells them apart."""
    ends = [ladder(0, call("{}", call_id=f"call_{n}"))[-1] for n in (1, 2, 2)]
    assert [made[0] for made in answer([created(), *changed(ends, nameless), ended()]).calls] == ["call_1", "call_2"]


def test_calls_without_anything_to_tell_them_apart_are_told_one_after_the_other() -> None:
    told = [each for n in "12" for each in ladder(0, call(f'{{"a":{n}}}', call_id=None))]
    got = answer([created(), *changed(told, lambda wire: without("output_index")(nameless(wire))), ended()])
    assert [made[2] for made in got.calls] == ['{"a":1}', '{"a":2}']


def test_text_of_a_message_is_text_though_it_goes_by_the_id_of_reasoning() -> None:
    begun = ladder(0, reasoning())[:1]
    said = changed(ladder(1, message("Hi")), lambda wire: wire | ({"item_id": "rs_1"} if "item_id" in wire else {}))
    assert answer([created(), *begun, *said, ended()]).blocks == [Text(text="Hi")]
