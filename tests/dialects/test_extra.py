from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.extra import difference, merge

value = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)
wire_object = st.dictionaries(st.sampled_from("abcd"), value, max_size=4)


@given(wire_object, wire_object)
def test_what_is_taken_out_goes_back(wire: dict[str, Any], known: dict[str, Any]) -> None:
    assert holds(merge(known, difference(wire, known)), wire)


def holds(mine: Any, theirs: Any) -> bool:
    """Whether everything `theirs` says is in `mine`."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return all(key in mine and holds(mine[key], each) for key, each in theirs.items())
    return bool(mine == theirs)


@given(wire_object)
def test_what_agrees_is_no_difference(wire: dict[str, Any]) -> None:
    assert difference(wire, wire) == {}


def test_a_null_that_is_filled_and_raw_json_say_nothing_new() -> None:
    assert difference({"usage": None, "input": {"a": 1}}, {"usage": {}, "input": msgspec.Raw(b'{"a":1}')}) == {}


def test_neither_is_changed() -> None:
    known: dict[str, Any] = {"a": {"b": 1}}
    extra = {"a": {"c": 2}}
    assert merge(known, extra) == {"a": {"b": 1, "c": 2}}
    assert (known, extra) == ({"a": {"b": 1}}, {"a": {"c": 2}})
