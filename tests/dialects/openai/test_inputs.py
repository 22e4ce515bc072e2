"""The text of a custom tool's call, out of the JSON that it comes in."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.anthropic import cuts
from trioproxy.dialects.openai.inputs import Unpacking, packed, unpacked

# Quotes, backslashes, escapes that look like others, and both halves of a surrogate pair.
nasty = st.text(alphabet=st.sampled_from([*'"\\/ \n\tu0d83DE', "é", "😀", "\ud83d", "\ude00", "\x7f"]), max_size=12)


def piecemeal(text: str, places: list[int]) -> tuple[str, str | None]:
    """What is told while `text` comes, cut at these places; and at its end."""
    unpacking = Unpacking()
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    told = "".join(unpacking.feed(text[start:end]) for start, end in pairwise(ends))
    return told, unpacking.close()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(nasty, cuts, st.booleans(), st.sampled_from([None, 1]))
def test_wherever_it_is_cut_the_text_is_the_same(text: str, places: list[int], ascii_only: bool, indent: None) -> None:
    lone = any("\ud800" <= each < "\ue000" for each in text)
    packed = json.dumps({"input": text}, ensure_ascii=ascii_only or lone, indent=indent)
    # What is half of a surrogate pair is no text, wherever it comes from (hazard H124).
    wanted = "".join("�" if "\ud800" <= each < "\ue000" else each for each in json.loads(packed)["input"])
    assert piecemeal(packed, places) == (wanted, "")


def test_it_is_told_while_it_comes() -> None:
    unpacking = Unpacking()
    pieces = ['{"inp', 'ut": "*** Be', "gin\\", "nPatch \\ud83d", "\\ude00", '"', "}"]
    told = [unpacking.feed(piece) for piece in pieces]
    assert told == ["", "*** Be", "gin", "\nPatch ", "😀", "", ""]
    assert unpacking.close() == ""


@pytest.mark.parametrize("packed", ['{"patch":"x"}', '{"input":{"a":1}}', '{"a":1,"input":2}', '{"input":null}'])
def test_what_has_no_such_text_is_all_told_at_the_end(packed: str) -> None:
    assert piecemeal(packed, [3, 9]) == ("", packed)


def test_a_text_behind_other_fields_is_told_at_the_end() -> None:
    assert piecemeal('{"why":"%s","input":"x\\n"}' % ("so " * 40), [3, 9, 90]) == ("", "x\n")
    assert piecemeal('{"input":"x","why":"so"}', [3, 9, 14]) == ("x", "")


@pytest.mark.parametrize("packed", ["", "{}", " { } "])
def test_no_arguments_are_no_text(packed: str) -> None:
    assert piecemeal(packed, []) == ("", "")


@pytest.mark.parametrize(
    "cut", ['{"input":"abc', '{"input":"abc"', '{"inp', '{"input":"a\\', '{"input":"\\x"}', "[]", "1"]
)
def test_what_is_cut_or_no_object_is_no_call(cut: str) -> None:
    assert piecemeal(cut, [4])[1] is None


def test_a_character_that_no_string_may_have_ends_it() -> None:
    assert piecemeal('{"input":"ab\ncd"}', [11]) == ("a", None)


@given(st.text())
def test_a_text_is_the_one_argument(text: str) -> None:
    assert json.loads(packed(text)) == {"input": text}
    assert unpacked(packed(text)) == text
    assert piecemeal(packed(text), [9, 10]) == (text, "")


@pytest.mark.parametrize("arguments", ["", "x", "1", "[]", '{"patch":"x"}', '{"input":{"a":1}}', '{"input":"x"'])
def test_other_arguments_say_no_text(arguments: str) -> None:
    assert unpacked(arguments) is None


def test_what_follows_an_escape_that_there_is_none_of_is_not_kept_to_be_read() -> None:
    """Once each piece was looked at again with every one behind it."""
    for escape in ("\\q", "\\ud83d\\"):
        unpacking = Unpacking()
        assert unpacking.feed('{"input":"a' + escape) == "a"
        assert "x" not in "".join(unpacking.feed("x" * 100) for _ in range(20_000))
        assert unpacking.close() is None
