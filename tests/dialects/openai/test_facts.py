"""What an answer tells beside its content, for clients of OpenAI's dialects."""

from __future__ import annotations

from typing import Any

import pytest

from trioproxy.dialects.openai.facts import Facts
from trioproxy.items import Usage
from trioproxy.ledger import Ledger


def test_h044_what_was_cached_is_part_of_the_prompt() -> None:
    facts = Facts("x", Ledger())
    facts.add(Usage(3, 4, 5, 6), {})
    assert (facts.input, facts.cached, facts.written, facts.output) == (14, 6, 5, 4)


def test_h046_counts_are_cumulative_and_zeros_at_the_end_say_nothing() -> None:
    facts = Facts("x", Ledger())
    for usage in (Usage(3, 1), None, Usage(0, 9), Usage(None, 0)):
        facts.add(usage, {})
    assert (facts.input, facts.output) == (3, 9)
    assert Facts("x", Ledger()).input == 0


def test_how_many_tokens_were_thinking() -> None:
    facts = Facts("x", Ledger())
    facts.add(None, {"usage": {"output_tokens_details": {"thinking_tokens": 7}}})
    facts.add(None, {"usage": 3})
    facts.add(None, {"usage": {"output_tokens_details": []}})
    facts.add(None, {"usage": {"output_tokens_details": {}}})
    assert facts.thinking_tokens == 7


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({"context_management": {"applied_edits": [1]}}, "context_management"),
        ({"delta": {"container": {"id": "c"}}}, "container"),
        ({"message": {"input_transformations": [1]}}, "input_transformations"),
        ({"usage": {"server_tool_use": {"web_search_requests": 3}}}, "usage.server_tool_use"),
    ],
)
def test_what_there_is_no_place_for_is_noted_if_it_says_anything(extra: dict[str, Any], path: str) -> None:
    ledger = Ledger()
    Facts("the-dialect", ledger).add(None, extra)
    assert str(ledger).startswith(f"{path} (")
    empty = Ledger()
    Facts("x", empty).add(None, {"context_management": {"applied_edits": []}, "container": None})
    assert not empty
