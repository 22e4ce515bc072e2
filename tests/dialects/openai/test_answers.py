"""What the answers of OpenAI's two dialects say alike."""

from __future__ import annotations

from typing import Any

import pytest

from trioproxy.dialects.openai.answers import citation, kind_of, read_usage, thought
from trioproxy.items import Usage


@pytest.mark.parametrize(("asked", "answered"), [("prompt", "completion"), ("input", "output")])
def test_usage_goes_by_the_names_of_the_dialect(asked: str, answered: str) -> None:
    wire = {
        f"{asked}_tokens": 100,
        f"{asked}_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        f"{answered}_tokens": 20,
        f"{answered}_tokens_details": {"reasoning_tokens": 5},
    }
    assert read_usage(wire, asked, answered) == (Usage(10, 20, 30, 60), 5)
    assert read_usage({f"{asked}_tokens": 7}, asked, answered) == (Usage(7, 0), 0)
    assert read_usage({f"{answered}_tokens": 7}, asked, answered) == (Usage(0, 7), 0)


@pytest.mark.parametrize(
    "wire", [None, {}, [], "x", {"total_tokens": 3}, {"input_tokens": "9"}, {"input_tokens": None}]
)
def test_usage_that_says_nothing_is_none(wire: Any) -> None:
    assert read_usage(wire, "input", "output") is None


def test_h044_more_cached_than_asked_is_nothing_fresh() -> None:
    usage = read_usage({"input_tokens": 5, "input_tokens_details": {"cached_tokens": 9}}, "input", "output")
    assert usage == (Usage(0, 0, None, 9), 0)


def test_h049_reasoning_that_is_counted_beside_the_output_is_part_of_it() -> None:
    inside = {
        "input_tokens": 1,
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 10,
    }
    assert read_usage(inside, "input", "output") == (Usage(1, 9), 5)
    assert read_usage(inside | {"total_tokens": 15}, "input", "output") == (Usage(1, 14), 5)


def test_thought_is_said_as_anthropic_says_it() -> None:
    assert thought(5) == {"usage": {"output_tokens_details": {"thinking_tokens": 5}}}
    assert thought(0) == {}


@pytest.mark.parametrize("cited", [None, [], {}, {"url": None}, {"url": 1}])
def test_what_has_no_address_is_no_citation(cited: Any) -> None:
    assert citation(cited) is None


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ('{"a": 1}', "an object"),
        ('{"a": "\\ud83d"}', "an object"),
        ('{"a": "\ud83d"}', ""),
        ("[]", "a list"),
        ('"x"', "a text"),
        ("true", "a truth value"),
        ("1", "a number"),
        ("null", "null"),
        ('{"a": ', ""),
        ("", ""),
        ("[" * 5000, ""),
    ],
)
def test_the_kind_of_arguments(arguments: str, kind: str) -> None:
    assert kind_of(arguments) == kind
