"""Names and ids that the other side takes: pure, collision-safe, and reversible where they must come back."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from trioproxy.dialects.names import Names, kind_of, made_id, restored_id, safe_id
from trioproxy.items import OtherBlock, RedactedThinking, Text

TAKEN = re.compile(r"[a-zA-Z0-9_-]{1,64}")
LONG = "mcp__a-server-with-a-long-name__" + "a_tool_with_a_long_name" * 3


def test_a_name_that_fits_is_not_touched() -> None:
    names = Names(["Bash", "mcp__server__tool", "a" * 64], 64)
    assert [names("Bash"), names("mcp__server__tool"), names("a" * 64)] == ["Bash", "mcp__server__tool", "a" * 64]
    assert names.renamed == {}


def test_h063_a_long_name_is_shortened_and_known_again() -> None:
    names = Names([LONG], 64)
    assert TAKEN.fullmatch(names(LONG))
    assert names(LONG).startswith("mcp__a-server-with")
    assert names.renamed == {names(LONG): LONG}


def test_h063_names_that_shorten_alike_stay_apart() -> None:
    names = Names([LONG + "1", LONG + "2"], 64)
    assert names(LONG + "1") != names(LONG + "2")


def test_h063_a_tool_named_like_another_ones_short_name_keeps_its_own() -> None:
    """Whatever the order, and though somebody made it to collide."""
    short = Names([LONG], 64)(LONG)
    for order in ([LONG, short], [short, LONG]):
        names = Names(order, 64)
        assert names(short) == short
        assert names(LONG) != short


def test_a_name_not_told_at_first_is_shortened_too() -> None:
    names = Names([], 64)
    assert TAKEN.fullmatch(names("a.b/c"))
    assert names.renamed == {names("a.b/c"): "a.b/c"}


@given(st.lists(st.text(max_size=100), max_size=8))
def test_names_are_taken_distinct_and_reversible(given_names: list[str]) -> None:
    names = Names(given_names, 64)
    sent = {name: names(name) for name in given_names}
    assert all(TAKEN.fullmatch(each) for each in sent.values())
    assert len(set(sent.values())) == len(sent)
    assert {names.renamed.get(each, each) for each in sent.values()} == set(given_names)


@given(st.lists(st.text(max_size=100), min_size=1, max_size=8))
def test_h130_a_name_is_shortened_the_same_in_every_turn(given_names: list[str]) -> None:
    first, later = Names(given_names, 64), Names([*given_names, "another"], 64)
    assert [first(name) for name in given_names] == [later(name) for name in given_names]


@given(st.text())
def test_h064_an_id_comes_back_as_it_was(id: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", safe_id(id))
    assert restored_id(safe_id(id)) == id


def test_h064_only_what_must_change_does() -> None:
    assert safe_id("toolu_01-A") == "toolu_01-A"
    assert restored_id("toolu_01-A") == "toolu_01-A"
    assert restored_id(safe_id("functions.add:0")) == "functions.add:0"
    assert safe_id("functions.add:0") != safe_id("functions.add:1")


@given(st.text())
@example("7aCA")  # half a surrogate pair
@example("YQ")  # of an id that nobody would have encoded
def test_an_id_that_only_looks_like_ours_does_no_harm(text: str) -> None:
    id = "call-b64-" + text
    restored_id(id).encode()  # does not raise
    assert restored_id(id) == id or safe_id(restored_id(id)) == id


def test_h130_a_made_id_is_the_same_for_the_same_call() -> None:
    assert made_id("Bash", 0) == made_id("Bash", 0) != made_id("Bash", 1)
    assert re.fullmatch(r"toolu_[0-9a-f]{24}", made_id())


def test_blocks_are_called_as_the_wire_calls_them() -> None:
    assert [kind_of(each) for each in (Text(), RedactedThinking(), OtherBlock(kind="audio"))] == [
        "text",
        "redacted_thinking",
        "audio",
    ]
