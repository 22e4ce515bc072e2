"""Answers that users of other translators have met, and that taught us something."""

from __future__ import annotations

import pytest

from tests.anthropic import flow
from tests.dialects.openai_responses.told import R_ON_R, Wire, created, event, message, read, response, stream
from trioproxy.items import Error, MessageDelta, MessageStop, TextDelta, replace
from trioproxy.ledger import Ledger
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate


@pytest.mark.parametrize(
    ("status", "more", "reason"),
    [
        ("completed", {}, "end_turn"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "max_tokens"),
        (None, {}, "end_turn"),
    ],
)
def test_a_stream_that_ends_with_response_done(status: str | None, more: Wire, reason: str) -> None:
    """Codex's backend has ended some so, and its answers were taken for cut (jlcodes99/cockpit-tools#2328)."""
    *told, _ = stream(message("Hello."))
    end = {**response(message("Hello."), **more), "status": status}
    events = read([*told, event("response.done", response=end)])
    assert [each.text for each in events if isinstance(each, TextDelta)] == ["Hel", "lo."]
    assert [each.stop_reason for each in events if isinstance(each, MessageDelta)] == [reason]
    assert isinstance(events[-1], MessageStop)


def test_one_that_failed_may_end_with_response_done_too() -> None:
    end = response(status="failed", error={"code": "server_error", "message": "no, sorry"})
    [*_, last] = read([created(), event("response.done", response=end)])
    assert isinstance(last, Error)
    assert last.message == "no, sorry"


def test_response_done_passes_within_the_dialect() -> None:
    body = b"".join(stream(message("Hello."))).replace(b"response.completed", b"response.done")
    exchange = replace(R_ON_R, ledger=Ledger())
    assert b"".join(flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)) == body
