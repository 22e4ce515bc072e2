"""Errors that end a stream, as clients of Responses read them."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from openai.types.responses import Response, ResponseErrorEvent
from openai.types.responses.response_error import ResponseError

from tests.anthropic import flow
from tests.responses import check, wires
from trioproxy.dialects.openai_responses.failed import write_error_event
from trioproxy.dialects.openai_responses.writer import StreamWriter
from trioproxy.dialects.style import Style
from trioproxy.items import BlockStart, BlockStop, Error, ErrorKind, Event, MessageStart, Text, TextDelta, ToolUse
from trioproxy.stage import Exchange
from trioproxy.stages.reframe import Reframe

R_ON_A = Exchange(id="test", client_dialect="openai-responses", model="gpt-test", created=1)
SAID: list[Event] = [
    *(MessageStart("m", "claude"), BlockStart(0, Text()), TextDelta(0, "Hi"), BlockStop(0)),
    *(BlockStart(1, ToolUse(id="c", name="f")), BlockStop(1), BlockStart(2, Text()), TextDelta(2, "cut")),
]


def failing(error: Error, events: list[Event], exchange: Exchange = R_ON_A) -> tuple[bytes, Error]:
    """What the client got of `events`, and the error as the proxy gets it to tell."""
    *told, known = flow([StreamWriter(exchange, Style(), same=False), Reframe()], [[*events, error]], exchange)
    assert isinstance(known, Error)
    return b"".join(told), known


def test_a_stream_that_fails_ends_with_error_and_response_failed() -> None:
    told, known = failing(Error("overloaded", "too many", 529), SAID)
    end = check(told + write_error_event(known, "test"))
    assert end["status"] == "failed"
    assert end["error"] == {"code": "server_error", "message": "too many"}
    # What was told whole is in it, and what was cut is not.
    assert [item["type"] for item in end["output"]] == ["message", "function_call"]
    assert end["usage"] is None


def test_before_a_stream_has_begun_there_is_a_response_all_the_same() -> None:
    told, known = failing(Error("rate_limit", "slow down", 429), [])
    assert told == b""
    error, failed = wires(write_error_event(known, "abc"))
    assert [error["sequence_number"], failed["sequence_number"]] == [0, 1]
    response = Response.model_validate(failed["response"])
    assert (response.id, response.status, response.output) == ("resp_abc", "failed", [])


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_every_kind_has_a_code_that_clients_know(kind: ErrorKind) -> None:
    error, failed = wires(write_error_event(Error(kind, "why"), "x"))
    # OpenAI's SDKs look at `error`, in either of the two shapes that the API has had.
    assert ResponseErrorEvent.model_validate(error).message == error["error"]["message"] == "why"
    assert error["code"] == error["error"]["code"]
    known = {*get_args(ResponseError.model_fields["code"].annotation), "context_length_exceeded"}
    assert failed["response"]["error"]["code"] in known


@pytest.mark.parametrize(
    ("kind", "does"),
    [
        ("context_overflow", "compacts"),
        ("invalid_request", "gives up"),
        ("authentication", "gives up"),
        ("not_found", "gives up"),
        ("rate_limit", "asks again"),
        ("overloaded", "asks again"),
        ("timeout", "asks again"),
        ("upstream", "asks again"),
    ],
)
def test_what_codex_does(kind: ErrorKind, does: str) -> None:
    """As codex-rs/codex-api/src/sse/responses.rs and codex-rs/protocol/src/error.rs have it."""
    decided: dict[str, str] = {
        "context_length_exceeded": "compacts",
        "insufficient_quota": "gives up",
        "usage_not_included": "gives up",
        "invalid_prompt": "gives up",
        "server_is_overloaded": "gives up",
        "slow_down": "gives up",
    }
    failed: dict[str, Any] = wires(write_error_event(Error(kind, "why"), "x"))[1]
    assert decided.get(failed["response"]["error"]["code"], "asks again") == does


def test_an_upstreams_words_are_still_known_as_such() -> None:
    """The log must not quote them: they may quote a key."""
    from trioproxy.items import Frame

    error = Error("upstream", "your key sk-… is bad")
    error.read_from(Frame(b"{}"))
    _, known = failing(error, SAID)
    assert known.frame is error.frame
    assert "response" in known.extra


def test_an_answer_that_a_stage_keeps_back_is_no_whole_one() -> None:
    out = flow([StreamWriter(R_ON_A, Style(), same=False)], [SAID], R_ON_A)
    assert isinstance(out[-1], Error)
    assert out[-1].extra["sequence_number"] == len(out) - 1
    assert msgspec.json.decode(msgspec.json.encode(out[-1].extra["response"]))["status"] == "failed"
