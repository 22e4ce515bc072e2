"""Reading OpenAI Responses answers: frames and their events, the ways an answer ends, and what is no answer at all."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import METADATA, cut, cuts, flow
from tests.dialects.openai_responses.told import (
    A_ON_R,
    R_ON_R,
    answer,
    call,
    complaint,
    created,
    custom,
    ended,
    event,
    gathered,
    ladder,
    message,
    read,
    read_whole,
    reasoning,
    response,
    stream,
)
from trioproxy.dialects.openai_responses.reader import Reader
from trioproxy.items import Error, Event, Frame, MessageDelta, MessageStart, MessageStop, TextDelta, Unknown, replace
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.signature_filter import SignatureFilter
from trioproxy.testing import check_stage

ITEMS = (reasoning("Hm.", encrypted_content="gAAA="), message("Grüße"), call('{"a":1}'), custom("x"))
DONE = b"data: [DONE]\n\n"


def frames_of(body: bytes) -> list[Frame]:
    return [each for each in flow([Deframe()], [[body]]) if isinstance(each, Frame)]


def passed(events: list[Event]) -> bytes:
    """The bytes that a writer of the same dialect has of these events: each frame once all its events are there."""
    out, waiting = b"", 0
    for each in events:
        assert each.frame is not None
        waiting = (waiting or each.parts) - 1
        out += b"" if waiting else each.frame.raw
    assert not waiting
    return out


# ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_leaves_for_a_client_of_its_dialect_as_the_very_bytes() -> None:
    odd = [b": a comment\n\n", event("response.some_day"), event("keepalive", sequence_number=3), b"data: null\n\n"]
    body = b"".join([*odd, *stream(*ITEMS)[:-1], *odd, ended(*ITEMS), *odd, DONE])
    assert passed(read(body, R_ON_R)) == body
    assert passed(read(body.replace(b"\n", b"\r\n"), R_ON_R)) == body.replace(b"\n", b"\r\n")


@given(cuts)
def test_chunking_is_invisible(at: list[int]) -> None:
    body = b"".join(stream(*ITEMS))
    pieces = flow([Deframe(), Reader(A_ON_R)], [[piece] for piece in cut(body, at)], A_ON_R)
    assert pieces == read(body)


def test_batching_is_invisible() -> None:
    bodies = [stream(*ITEMS), [created(), *FAILURE], [created(), FAILURE[0], *stream()], [event("response.created")]]
    for body in bodies:
        for exchange in (A_ON_R, R_ON_R):
            check_stage(partial(Reader, exchange), frames_of(b"".join(body)), exchange=exchange)


@pytest.mark.parametrize("change", [b"", b"[DONE]", b": OPENROUTER PROCESSING", b"keepalive"])
def test_names_of_events_may_be_missing_and_the_stream_may_have_more_lines(change: bytes) -> None:
    """OpenRouter has no `event:` lines, comments, and `[DONE]` at the end (recorded)."""
    body = b"".join(line for each in stream(*ITEMS) for line in each.splitlines(True) if not line.startswith(b"event"))
    between = {b"[DONE]": DONE, b": OPENROUTER PROCESSING": change + b"\n\n", b"keepalive": event("keepalive")}
    assert gathered(read(body + between.get(change, b""))) == gathered(read(stream(*ITEMS)))
    mixed = body.replace(b"\n\n", b"\n\n" + between.get(change, b"")) if change != b"[DONE]" else body
    assert gathered(read(mixed)) == gathered(read(stream(*ITEMS)))


def test_the_type_within_counts_and_not_the_name_of_the_event() -> None:
    body = b"".join(stream(*ITEMS)).replace(b"event: response.", b"event: other.")
    assert gathered(read(body)) == gathered(read(stream(*ITEMS)))
    untyped = event("response.created", response={"id": "resp_1", "model": "gpt-test"}).replace(b'"type":', b'"t":')
    assert read(untyped)[0] == MessageStart("resp_1", "gpt-test")


def test_the_usual_deltas_are_read_like_all_others() -> None:
    """What goes the short way, and what does not for something that it says or lacks."""
    short = [created(), *(each for index, item in enumerate(ITEMS) for each in ladder(index, item)), ended(*ITEMS)]
    long = [re.sub(rb'"item_id":"\w+"', b'"item_id":null', each) for each in short]
    assert gathered(read(short)) == gathered(read(long))


def test_a_piece_without_text_says_nothing() -> None:
    place = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    pieces = [event("response.output_text.delta", **place, delta=each) for each in ("", "Hi", "")]
    assert sum(isinstance(each, TextDelta) for each in read([created(), *pieces, ended()])) == 1


def test_a_frame_that_says_nothing_of_its_own_has_no_data() -> None:
    quiet = [created(), *ladder(0, message("Hi"))]
    unknown = [each for each in read([*quiet, *ladder(0, message("Hi")), ended()]) if isinstance(each, Unknown)]
    assert {each.data for each in unknown} == {b""}
    assert {each.name for each in unknown} >= {
        *("response.in_progress", "response.output_item.added", "response.content_part.added"),
        *("response.output_text.done", "response.output_item.done"),
    }


@pytest.mark.parametrize(
    "told",
    [
        event("response.some_day", x=1),
        event("codex.rate_limits", plan_type="plus"),
        event("some.notice", code="x", message="no error"),
        event("response.code_interpreter_call_code.delta", output_index=0, delta="1"),
        event("response.output_item.added", output_index=0, item={"type": "web_search_call", "id": "ws_1"}),
        event("response.output_item.done", output_index=0, item={"type": "some_future_type", "id": "x"}),
        event("response.output_item.done", output_index=0, item="no item"),
    ],
)
def test_a_frame_that_nobody_understands_is_carried_with_its_data(told: bytes) -> None:
    [frame] = frames_of(told)
    events = read([created(), told, *ladder(1, message("Hi")), ended()])
    assert events[2] == Unknown(frame.event, frame.data)
    assert gathered(events)[0].texts == ["Hi"]


def test_tools_of_the_upstreams_own_are_noted_and_left_out() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    ledger = Ledger()
    assert answer(stream(search, message("Hi")), replace(A_ON_R, ledger=ledger)).texts == ["Hi"]
    assert str(ledger).startswith("output[type=web_search_call] (")
    [whole] = gathered(read_whole(response(search, {"type": "some_future_type", "content": []}, message("Hi"))))
    assert (whole.texts, whole.end.stop_reason) == (["Hi"], "end_turn")


def test_m0_a_metadata_message_is_dropped_from_a_stream_of_this_dialect_too() -> None:
    meta, real = b"".join(stream(message(METADATA))), b"".join(stream(message("Hello")))
    quiet = event("keepalive", sequence_number=1)
    chain: list[Any] = [Deframe(), Reader(R_ON_R), SignatureFilter()]
    assert (
        passed(flow(chain, [[meta.replace(ended(message(METADATA)), quiet + ended(message(METADATA))), real]])) == real
    )
    assert b"Hello" in passed(flow([Deframe(), Reader(R_ON_R), SignatureFilter()], [[real]]))


# ── how it ends ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_answer_may_follow_another() -> None:
    """A router sends its own ahead of the real one (M0); each has blocks and calls of its own."""
    first, second = stream(message("One"), call('{"a":1}')), stream(message("Two", id="msg_2"))
    one, two = gathered(read([*first, *second]))
    assert (one.texts, one.end.stop_reason) == (["One"], "tool_use")
    assert (two.texts, two.end.stop_reason, two.calls) == (["Two"], "end_turn", [])


def test_h024_what_comes_behind_the_end_is_not_heard() -> None:
    ghost = ladder(0, message("ghost", id="msg_9"))
    for exchange in (A_ON_R, R_ON_R):
        events = read([*stream(message("Hi")), *ghost, *FAILURE, ended(message("ghost"))], exchange)
        assert gathered(events)[0].texts == ["Hi"]
        assert isinstance(events[-1], Unknown)


def test_h004_a_second_beginning_within_an_answer_is_none() -> None:
    assert answer([created(), *ladder(0, message("Hi")), created("resp_2"), ended()]).start.id == "resp_1"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", "max_tokens"),
        ("content_filter", "refusal"),
        ("steered", "max_tokens"),
        (None, "max_tokens"),
    ],
)
def test_an_answer_that_is_cut_says_so(reason: str | None, expected: str) -> None:
    details = {"incomplete_details": {"reason": reason} if reason else None}
    ledger = Ledger()
    body = [created(), *ladder(0, message("Hi")), ended(message("Hi"), status="incomplete", **details)]
    assert answer(body, replace(A_ON_R, ledger=ledger)).end.stop_reason == expected
    assert bool(ledger) == (reason not in ("max_output_tokens", "content_filter"))
    [whole] = gathered(read_whole(response(message("Hi"), status="incomplete", **details)))
    assert whole.end.stop_reason == expected


def test_the_response_within_says_how_it_ended() -> None:
    body = [created(), event("response.completed", response=response(message("Hi"), status="incomplete"))]
    assert answer(body).end.stop_reason == "max_tokens"
    failed = event("response.completed", response=response(status="failed", error={"message": "no"}))
    assert complaint(read([created(), failed])).message == "no"
    assert answer([created(), event("response.completed")]).end == MessageDelta("end_turn")
    assert answer([created(), ended(output=None, usage="none")]).blocks == []


@pytest.mark.parametrize(
    ("body", "got"),
    [
        (b"", "before any answer"),
        (event("keepalive"), "before any answer"),
        (created(), "in the middle of an answer"),
        (b"".join(stream(message("Hi"))[:-1]), "in the middle of an answer"),
        (b"".join(stream(message("Hi"))[:-1]) + DONE, "in the middle of an answer"),
    ],
)
def test_h146_a_stream_without_an_end_is_an_error(body: bytes, got: str) -> None:
    for exchange in (A_ON_R, R_ON_R):
        last = read(body, exchange)[-1]
        assert last == Error("upstream", f"the upstream's answer ended {got}", 502)
        assert last.frame is None


@pytest.mark.parametrize("broken", [b'{"type":"response.output_text.delta","delta":"H', b'{"type":1,}', b'{"a":\xff}'])
def test_a_broken_event_is_an_error_and_does_not_leave(broken: bytes) -> None:
    for exchange in (A_ON_R, R_ON_R):
        events = read([created(), b"data: " + broken + b"\n\n", *ladder(0, message("Hi")), ended()], exchange)
        error = complaint(events)
        assert error.message == "the upstream sent a part of its answer that cannot be read"
        assert error.frame is None
        assert not any(isinstance(each, TextDelta) for each in events)


def test_half_an_emoji_does_not_break_an_answer() -> None:
    """A text that is cut within a surrogate pair (hazard H124)."""
    half = ladder(0, message("Hi"))[2].replace(b'"delta":"H"', rb'"delta":"\ud83d"')
    assert answer([created(), half, ended()]).texts == ["\ufffd"]


@pytest.mark.parametrize("value", [b"null", b"{}", b"1", b"[]", b"heartbeat", b'{"object":"x"}'])
def test_data_that_is_no_event_changes_nothing(value: bytes) -> None:
    odd = b"data: " + value + b"\n\n"
    assert answer([created(), odd, *ladder(0, message("Hi")), odd, ended()]).texts == ["Hi"]


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SLOW = {"code": "rate_limit_exceeded", "message": "Slow down."}
FAILURE = (
    event("error", sequence_number=2, error={"type": "tokens", **SLOW, "param": None}),
    ended(status="failed", error=SLOW),
)


@pytest.mark.parametrize(
    "told",
    [
        FAILURE,
        FAILURE[:1],
        FAILURE[1:],
        (FAILURE[0], b": keepalive\n\n", FAILURE[1]),
        (FAILURE[0], DONE),
        (FAILURE[0], *ladder(0, message("as if nothing had been"))),
        (*ladder(0, message("Hi"))[:3], FAILURE[0], *ladder(0, message("Hi"))[3:]),
        (*ladder(0, message("Hi"))[:3], FAILURE[1], *ladder(0, message("Hi"))[3:]),
        (event("error", sequence_number=2, param=None, **SLOW),),
        (event("error", sequence_number=2, param=None, **SLOW), ended(status="failed", error=None)),
        (b'data: {"error":{"message":"Slow down.","code":429}}\n\n',),
        (b'event: error\ndata: {"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}\n\n', DONE),
        (b'event: error\ndata: {"message":"Slow down.","code":"rate_limit_exceeded"}\n\n',),
        (b'data: {"code":"rate_limit_exceeded","message":"Slow down.","request_id":"1"}\n\n',),
    ],
)
def test_h027_however_an_error_is_told_it_is_one(told: tuple[bytes, ...]) -> None:
    for exchange in (A_ON_R, R_ON_R):
        body = [created(), *told]
        events = read(body, exchange)
        assert complaint(events) == Error("rate_limit", "Slow down.", 429)
        if b": keepalive\n\n" in body:  # it does not wait for what may follow the error
            body.remove(b": keepalive\n\n")
            events = [each for each in events if each.frame and each.frame.data]
        assert passed(events) == b"".join(body)
        assert {type(each) for each in events[events.index(complaint(events)) + 1 :]} <= {Unknown}
        reader = Reader(exchange)
        flow([Deframe(), reader], [body], exchange)
        assert reader.stats() == {"upstream_errors": 1}


def test_what_is_called_an_error_is_one() -> None:
    assert complaint(read(b'event: error\ndata: {"message":"no"}\n\n')) == Error("upstream", "no", 502)
    assert complaint(read(event("some.notice", error={"message": "no"}))) == Error("upstream", "no", 502)


def test_the_event_that_ends_the_stream_is_the_one_that_carries_the_error() -> None:
    events = read([created(), *FAILURE], R_ON_R)
    assert [type(each) for each in events[-3:]] == [Unknown, MessageDelta, Error]
    assert [each.frame.event for each in events[-3:] if each.frame] == ["error", *["response.failed"] * 2]


@pytest.mark.parametrize(
    ("status", "complains"),
    [
        ("failed", "the upstream failed to answer, and does not say why"),
        ("cancelled", "the upstream's answer was cancelled"),
    ],
)
def test_an_answer_that_failed_without_a_word_is_an_error(status: str, complains: str) -> None:
    for events in (read([created(), ended(status=status)]), read_whole(response(status=status))):
        assert complaint(events) == Error("upstream", complains, 502)


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("context_length_exceeded", "context_overflow", 400),
        ("server_is_overloaded", "overloaded", 503),
        ("slow_down", "overloaded", 503),
        ("insufficient_quota", "rate_limit", 429),
        ("invalid_prompt", "invalid_request", 400),
        ("image_too_large", "invalid_request", 400),
        ("vector_store_timeout", "timeout", 504),
        ("server_error", "upstream", 500),
        ("nobody_knows", "upstream", 502),
    ],
)
def test_the_codes_of_failures_say_who_must_act(code: str, kind: str, status: int) -> None:
    error = complaint(read([created(), ended(status="failed", error={"code": code, "message": "no"})]))
    assert (error.kind, error.status) == (kind, status)


# ── whole bodies ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_body_is_read_as_the_stream_it_would_have_been() -> None:
    whole = read_whole(response(*ITEMS))
    assert gathered(whole) == gathered(read(stream(*ITEMS)))
    assert [type(each) for each in whole[-2:]] == [MessageDelta, MessageStop]
    assert {each.parts for each in whole} == {len(whole)}
    assert {each.frame and each.frame.whole for each in whole} == {True}


def test_a_body_without_anything_but_its_output_is_an_answer() -> None:
    """Self-hosted servers leave out what they have no word for."""
    [got] = gathered(read_whole({"output": [{"type": "message", "content": "Hi"}]}))
    assert (got.texts, got.end) == (["Hi"], MessageDelta("end_turn"))
    [empty] = gathered(read_whole({"object": "response", "status": "completed"}))
    assert empty.blocks == []


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled", "failed"])
def test_a_body_that_is_no_answer_yet_or_never_passes_to_its_own_dialect_alone(status: str) -> None:
    body = response(status=status, error=SLOW if status == "failed" else None)
    [same] = read_whole(body, R_ON_R)
    assert isinstance(same, Unknown)
    [other] = read_whole(body)
    assert isinstance(other, Error)
    assert "in the background" in other.message or status not in ("queued", "in_progress")


@pytest.mark.parametrize("body", [{"object": "response.compaction", "output": [message("Hi")]}, {"x": 1}, [], 1, None])
def test_a_body_that_is_no_response(body: Any) -> None:
    [same] = read_whole(body, R_ON_R)
    assert isinstance(same, Unknown)
    assert read_whole(body) == [Error("upstream", "the upstream answered with JSON that is no response", 502)]


@pytest.mark.parametrize("body", [b'{"object":"response","output":[', b"<html>", b"", b'{"a":' * 5000])
def test_a_body_that_is_no_json(body: bytes) -> None:
    for exchange in (A_ON_R, R_ON_R):
        events = flow([Reader(exchange)], [[Frame(body or b" ", whole=True)]], exchange)
        assert events == [Error("upstream", "the upstream's answer is not JSON, or was cut", 502)]


@pytest.mark.parametrize(
    "body", [{"error": SLOW}, {"error": "Slow down.", "code": 429}, {"detail": "Slow down."} | SLOW]
)
def test_h110_an_error_that_comes_as_a_body_keeps_its_frame(body: Any) -> None:
    for exchange in (A_ON_R, R_ON_R):
        [error] = read_whole(body, exchange)
        assert error == Error("rate_limit", "Slow down.", 429)
        assert error.frame is not None


# ── hostile upstreams ───────────────────────────────────────────────────────────────────────────────────────────────

NAMES = (
    *("response.created", "response.completed", "response.incomplete", "response.failed", "error", "keepalive"),
    *("response.output_item.added", "response.output_item.done", "response.content_part.done"),
    *("response.output_text.delta", "response.output_text.done", "response.output_text.annotation.added"),
    *("response.refusal.delta", "response.refusal.done", "response.reasoning_summary_part.done"),
    *("response.reasoning_summary_text.delta", "response.reasoning_summary_text.done", "response.reasoning_text.delta"),
    *("response.function_call_arguments.delta", "response.function_call_arguments.done"),
    *("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"),
)
KINDS = ("message", "reasoning", "function_call", "custom_tool_call", "output_text", "summary_text", "url_citation")
FIELDS = (
    *("response", "item", "part", "annotation", "delta", "text", "refusal", "arguments", "input", "output"),
    *("output_index", "item_id", "content_index", "summary_index", "logprobs", "id", "call_id", "name", "namespace"),
    *("content", "summary", "annotations", "encrypted_content", "status", "usage", "error", "incomplete_details"),
    *("object", "url", "caller", "role", "code", "message", "model", "input_tokens", "reason"),
)
leaves = (
    st.none() | st.booleans() | st.integers(-1, 2) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", " ", "{}", '{"a":1}', "{", "incomplete", "failed", "response", "{}x", *KINDS])
)  # fmt: skip
objects = st.recursive(
    leaves,
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["type", *FIELDS]), values, max_size=6)
    ),
    max_leaves=15,
)
events = st.builds(
    lambda name, fields: {**fields, "type": name},
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(FIELDS), objects, max_size=6),
)


@given(st.lists(events | objects, max_size=8), st.sampled_from([A_ON_R, R_ON_R]))
def test_no_json_of_an_upstream_raises(values: list[Any], exchange: Exchange) -> None:
    told = read(b"".join(b"data: " + msgspec.json.encode(value) + b"\n\n" for value in values), exchange)
    if not any(isinstance(each, Error) for each in told):
        gathered(told)
    for value in values:
        whole = read_whole(value, exchange)
        assert sum(isinstance(each, Error) for each in whole) <= 1


@given(st.lists(events, max_size=8))
def test_what_is_read_of_any_json_passes_as_it_came(values: list[Any]) -> None:
    body = b"".join(b"data: " + msgspec.json.encode(value) + b"\n\n" for value in values)
    told = read(body, R_ON_R)
    if told[-1:] and told[-1].frame is None:
        told.pop()  # it has no end
    assert passed(told) == body


@pytest.mark.parametrize("depth", [100, 700, 5000])
@pytest.mark.parametrize("field", ["content", "summary", "encrypted_content", "arguments", "name", "annotations"])
def test_parts_within_parts_never_raise(field: str, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for kind in ("message", "reasoning", "function_call"):
        item = b'{"type":"%b","encrypted_content":"x","%b":%b}' % (kind.encode(), field.encode(), deep)
        body = b'data: {"type":"response.output_item.done","item":%b}\n\n' % item
        for exchange in (A_ON_R, R_ON_R):
            read([created(), body, ended()], exchange)
            read_whole(b'{"object":"response","output":[%b]}' % item, exchange)


def test_what_is_nested_as_deep_as_can_be_read_can_be_written_again() -> None:
    """An item is written into its signature, some frames of the stack deeper than it was read."""
    errors = 0
    for depth in range(700, 1000):
        item = b'{"type":"reasoning","encrypted_content":%b}' % (b"[" * depth + b"]" * depth)
        told = b'data: {"type":"response.output_item.done","item":%b}\n\n' % item
        errors += any(isinstance(each, Error) for each in read([created(), told, ended()]))
    assert 0 < errors < 300


def test_a_number_too_large_where_nobody_looks_changes_nothing() -> None:
    odd = b'data: {"type":"keepalive","x":1e999}\n\n'
    assert answer([created(), odd, *ladder(0, message("Hi")), ended()]).texts == ["Hi"]


def test_a_stream_that_is_answered_here_has_no_frames_to_wait_for() -> None:
    reader = Reader(replace(R_ON_R, answered_here=True))
    assert list(reader.close()) == []
    assert isinstance(next(iter(reader.feed(Frame(b"")))), Unknown)
