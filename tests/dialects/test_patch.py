"""A three-way merge: the client's own JSON, with what the stages changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.patch import patched

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from("abcd"), json, max_size=4)


@given(json, json)
def test_no_change_is_the_wire(wire: Any, before: Any) -> None:
    assert patched(wire, before, before) is wire


@given(json, json)
def test_of_what_we_write_ourselves_it_is_the_change(before: Any, after: Any) -> None:
    assert patched(before, before, after) == after


@given(objects, objects, st.dictionaries(st.sampled_from("xyz"), json, min_size=1))
def test_unknown_fields_survive_a_change_elsewhere(before: dict[str, Any], after: dict[str, Any], unknown: Any) -> None:
    assert patched(unknown | before, before, after) == unknown | after


@given(st.lists(json, max_size=4), json, st.integers(0, 4))
def test_an_added_element_leaves_the_others_alone(before: list[Any], new: Any, at: int) -> None:
    wire = [{"wire": each} for each in before]
    after = [*before[:at], {"new": new}, *before[at:]]
    got = patched(wire, before, after)
    assert [each for each in got if "wire" in each] == wire
    assert {"new": new} in got


@pytest.mark.parametrize(
    ("wire", "before", "after", "merged"),
    [
        ({"b": 1, "x": [0], "a": 2}, {"a": 2, "b": 1}, {"a": 3, "b": 1}, {"b": 1, "x": [0], "a": 3}),
        ({"a": 1, "x": 2}, {"a": 1}, {}, {"x": 2}),
        ({"x": 2}, {"model": "m"}, {"model": "n"}, {"x": 2, "model": "n"}),
        ({"x": 2}, {"max": 1}, {"max": 1, "top": 5}, {"x": 2, "top": 5}),
        ([{"role": "user", "id": 7}], [{"role": "user"}], [{"role": "system"}], [{"role": "system", "id": 7}]),
        ([{"id": 1}, {"id": 2}, {"id": 3}], ["a", "b", "c"], ["a", "c"], [{"id": 1}, {"id": 3}]),
        (["wire"], ["a", "b"], ["a", "c"], ["a", "c"]),  # in another shape than we write it
        ("text", [{"type": "text"}], [{"type": "text"}, 1], [{"type": "text"}, 1]),
        (1, 1, True, True),
        (1.0, 1, 1, 1.0),
    ],
)
def test_changes(wire: Any, before: Any, after: Any, merged: Any) -> None:
    got = patched(wire, before, after)
    assert got == merged
    assert type(got) is type(merged)
    if isinstance(got, dict):
        assert list(got) == list(merged)  # the client's order (H122)


def test_nothing_is_changed_in_place() -> None:
    wire: Any = {"a": [{"b": 1}]}
    patched(wire, {"a": [{"b": 1}]}, {"a": [{"b": 2}, 3], "c": 1})
    assert wire == {"a": [{"b": 1}]}


def test_nesting_without_end_never_raises() -> None:
    before: Any = 1
    after: Any = 2
    for _ in range(5000):
        before, after = [before], [after]
    assert patched(before, before, after)
