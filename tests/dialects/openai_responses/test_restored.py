"""What of an upstream's own items is told where a stage has changed others."""

from __future__ import annotations

from typing import Any

from tests.responses import call, custom_call, message, reasoning, search
from trioproxy.dialects.openai_responses.restored import restored

Wire = dict[str, Any]


def done(wires: list[Wire]) -> Wire:
    item: Wire = wires[-1]["item"]
    return item


SAID, HM, CALL, PATCH, SEARCH = (
    *(done(message(0, "Hi")), done(reasoning(1, "a", "b")), done(call(2, '{"a":1}'))),
    *(done(custom_call(3, "x")), done(search(4))),
)


def ours(item: Wire, **changed: Any) -> Wire:
    """The item as it is told without what only its upstream knows."""
    known = {key: value for key, value in item.items() if key not in ("phase", "id")}
    if item["type"] == "reasoning":
        known["summary"] = [{"type": "summary_text", "text": "\n\n".join(part["text"] for part in item["summary"])}]
    return {**known, "id": "ours", **changed}


def test_what_says_the_same_is_the_upstreams_own() -> None:
    native = [HM, SAID, CALL, PATCH]
    assert restored(native, [ours(each) for each in native]) == native


def test_calls_of_hosted_tools_stay_where_they_were() -> None:
    native = [SEARCH, HM, SEARCH, SAID, SEARCH]
    assert restored(native, [ours(HM), ours(SAID)]) == native
    changed = ours(SAID, content=[{"type": "output_text", "text": "HI"}])
    assert restored(native, [ours(HM), changed]) == [SEARCH, HM, SEARCH, changed, SEARCH]


def test_what_was_left_out_stays_out_and_what_was_added_is_in_its_place() -> None:
    added = ours(SAID, content=[{"type": "output_text", "text": "mind!"}])
    assert restored([HM, SEARCH, SAID], [ours(SAID)]) == [SEARCH, SAID]
    assert restored([HM, SAID], [added, ours(HM), ours(SAID)]) == [added, HM, SAID]
    assert restored([], [added]) == [added]
    assert restored([SEARCH, HM], []) == [SEARCH]


def test_a_call_by_another_name_is_another() -> None:
    renamed = ours(CALL, name="fetch")
    assert restored([CALL], [renamed]) == [renamed]
    named: Wire = {**CALL, "namespace": "agents"}
    assert restored([named], [ours(CALL, name="agents__read")]) == [named]


def test_items_that_say_nothing_in_the_vocabulary_stay() -> None:
    silent: Wire = {"type": "reasoning", "id": "rs_1", "summary": []}
    empty = {**SAID, "content": []}
    assert restored([silent, empty, SAID, "no item"], [ours(SAID)]) == [silent, empty, SAID]


def test_fields_of_other_types_than_they_should_be_are_no_exception() -> None:
    odd: list[Wire] = [
        {**HM, "summary": ["thought", {"text": "a"}]},
        {**CALL, "call_id": ["x"], "namespace": {"a": 1}},
        {"type": ["message"], "content": 1},
    ]
    assert ours(SAID) in restored(odd, [ours(SAID)])


def test_many_items_take_no_longer_than_they_must() -> None:
    """Once a minute's work: each of ours was compared with each of the upstream's."""
    native = [{**CALL, "call_id": f"c{number}"} for number in range(20_000)]
    assert restored(native, [ours(each) for each in native]) == native
