"""Reasoning of one vendor, carried by a client of another dialect."""

from __future__ import annotations

import re
import zlib
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.carried import TAG, Carried, carried, opened

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3)
)
BLOCKS = st.dictionaries(st.text(), JSON, max_size=4)


@given(BLOCKS)
def test_what_is_carried_comes_back_as_it_was(block: dict[str, Any]) -> None:
    text = carried("openai-responses", "a-b_9", block)
    assert opened(text) == Carried("openai-responses", "a-b_9", block)
    # Any client can carry it: none of these has to be escaped in JSON, or is white space.
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)


def test_a_long_text_is_carried_as_a_shorter_one() -> None:
    block = {"type": "thinking", "thinking": "The user wants to know the weather. " * 100, "signature": "Ersz"}
    assert len(carried("anthropic", "p", block)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ErszCkYIBRgCKkD0",  # Anthropic's
        "gAAAAABo",  # OpenAI's
        TAG,
        f"{TAG}anthropic.p.",
        f"{TAG}anthropic.p.e30",  # no zlib
        f"{TAG}anthropic.p.{'A' * 99}é",
        f"{TAG}anthropic.{urlsafe_b64encode(zlib.compress(b'{}')).decode()}",
        f"{TAG}anthropic.p.{urlsafe_b64encode(zlib.compress(b'[]')).decode()}",
        f"{TAG}anthropic.p.{urlsafe_b64encode(zlib.compress(b'{')).decode()}",
        carried("anthropic", "p", {"type": "thinking"})[:-6],
    ],
)
def test_what_is_not_ours_or_was_changed_is_not_opened(text: str) -> None:
    assert opened(text) is None


def test_a_text_that_repeats_itself_for_ever_is_carried_too() -> None:
    block = {"type": "thinking", "thinking": "wait, " * 100_000}
    assert opened(carried("anthropic", "p", block)) == Carried("anthropic", "p", block)


def test_a_small_text_that_would_become_a_huge_one_is_not_opened() -> None:
    bomb = b'{"a":"' + b"a" * (32 * 1024 * 1024) + b'"}'
    assert opened(f"{TAG}anthropic.p.{urlsafe_b64encode(zlib.compress(bomb, 9)).decode()}") is None


@given(st.text().map(lambda text: TAG + text))
def test_whatever_a_client_makes_of_it_is_no_exception(text: str) -> None:
    opened(text)
