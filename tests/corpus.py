"""The corpus of recorded provider answers, which lies beside the checkout (`shared/corpus`); absent, its tests skip."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import pytest

BESIDE = Path(__file__).parent.parent.parent / "shared" / "corpus"


@dataclass(frozen=True)
class Case:
    """One recorded answer."""

    id: str
    stream: bool
    status: int
    body: bytes


@cache
def cases(dialect: str) -> tuple[Case, ...]:
    """Every UTF-8 case of a dialect, by id. Skips the test that asks if the corpus is not here."""
    directory = Path(os.environ.get("TRIOPROXY_CORPUS", BESIDE)) / dialect
    if not directory.is_dir():
        pytest.skip("the corpus of recorded answers is not beside this checkout")
    found = []
    for file in sorted(directory.glob("*.json")):
        facts = msgspec.json.decode(file.read_bytes())
        if facts["response_body_encoding"] == "utf-8":
            body = file.with_suffix(".body").read_bytes()
            found.append(Case(facts["id"], facts["stream"], facts["response_status"], body))
    return tuple(found)


MENDED = {
    "ant-py-streaming-incomplete-partial-json-response": "edited by hand: no content_block_stop",
    "ant-ts-incomplete-partial-json-response": "edited by hand: no content_block_stop",
    "vercel-anthropic-anthropic-programmatic-tool-calling-1": "several answers in one file, most without message_delta",
    "vercel-anthropic-spliced-message-start": "of a broken gateway: a second message_start within the message",
}
"""Recorded Anthropic streams that are not legal, and leave as ones that are."""


def legal_streams() -> tuple[Case, ...]:
    """Anthropic streams that leave as the very bytes they came in."""
    return tuple(case for case in streams("anthropic") if case.id not in MENDED)


def streams(dialect: str) -> tuple[Case, ...]:
    return tuple(case for case in cases(dialect) if case.stream and case.status == 200)


def wholes(dialect: str) -> tuple[Case, ...]:
    return tuple(case for case in cases(dialect) if not case.stream and case.status == 200)
