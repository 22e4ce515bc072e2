"""Responses upstreams for Responses clients: the very bytes, and what stays of them where a stage changes something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.anthropic import METADATA, cut, cuts, flow
from tests.corpus import streams, wholes
from tests.responses import (
    begun,
    call,
    check,
    custom_call,
    ended,
    event,
    frames,
    item_events,
    message,
    reasoning,
    refusal,
    response,
    search,
    stream,
    text_part,
    wires,
)
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    Unknown,
    replace,
)
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.signature_filter import SignatureFilter
from trioproxy.stages.translate import Translate

Wire = dict[str, Any]
R = "openai-responses"
R_ON_R = Exchange(id="test", client_dialect=R, upstream_dialect=R)
WHOLE = replace(R_ON_R, stream=False)

ITEMS = [
    *(reasoning(0, "one", "two three"), search(1), message(2, "Gr", "üße")),
    *(
        call(3, '{"a"', ":1}"),
        custom_call(4, "pa", "tch"),
        call(5, "{}", id="fc_up2", call_id="call_3"),
        refusal(6, "n", "o"),
    ),
]
STREAM = stream(*ITEMS)


class Changing(Stage[Event, Event]):
    """Gives for each event what a function makes of it."""

    def __init__(self, change: Callable[[Event], Iterable[Event]]) -> None:
        self._change = change

    def feed(self, event: Event, /) -> Iterable[Event]:
        return self._change(event)


def through(body: bytes, *stages: Stage[Any, Any], exchange: Exchange = R_ON_R) -> bytes:
    out = flow([Deframe(), Parse(), *stages, Translate(), Reframe()], [[body]], exchange)
    errors = [each for each in out if isinstance(each, Error)]
    assert not errors, errors
    return b"".join(out)


def changed(change: Callable[[Event], Iterable[Event]], body: bytes = STREAM) -> tuple[Wire, bytes]:
    """What ends the stream that a client gets, which is legal, and all of it."""
    out = through(body, Changing(change))
    return check(out, gaps=True), out


def without(*kinds: type[Event]) -> Callable[[Event], Iterable[Event]]:
    return lambda event: () if isinstance(event, kinds) else (event,)


def without_blocks_of(kind: type) -> Callable[[Event], Iterable[Event]]:
    gone = set[int]()

    def change(event: Event) -> Iterator[Event]:
        if isinstance(event, BlockStart) and isinstance(event.block, kind):
            gone.add(event.index)
        if getattr(event, "index", None) not in gone:
            yield event

    return change


def shout(event: Event) -> Iterator[Event]:
    yield replace(event, text=event.text.upper()) if isinstance(event, TextDelta) else event


# ── untouched ───────────────────────────────────────────────────────────────────────────────────────────────────────


@given(cuts)
def test_what_nobody_touches_leaves_as_the_very_bytes(at: list[int]) -> None:
    out = flow([Deframe(), Parse(), Translate(), Reframe()], [[piece] for piece in cut(STREAM, at)], R_ON_R)
    assert b"".join(out) == STREAM


ODD = {
    "vercel-openai-responses-openai-shell-container-1": "edited by hand: its text is told in two ways",
    "vercel-openai-responses-parallel-tool-call-wrapper-1": "edited by hand: no JSON",
}


def test_every_recorded_stream_leaves_as_the_very_bytes() -> None:
    seen = 0
    for case in streams(R):
        if ODD.get(case.id) != "edited by hand: no JSON":
            assert through(case.body) == case.body, case.id
            seen += 1
    assert seen > 90


def test_every_recorded_stream_is_whole_what_its_last_event_says() -> None:
    seen = 0
    for case in streams(R):
        out = flow([Deframe(), Parse(), Translate()], [[case.body]], WHOLE)
        frames_of = [each for each in flow([Deframe()], [[case.body]]) if b'"response.completed"' in each.data]
        if case.id in ODD or not frames_of or b'"output":[]' in frames_of[-1].data:
            continue
        native, got = msgspec.json.decode(frames_of[-1].data)["response"], msgspec.json.decode(out[0].data)
        said = ("type", "id", "call_id", "phase", "role", "arguments", "input", "name", "action", "summary")
        assert [{key: item.get(key) for key in said} for item in got["output"]] == [
            {key: item.get(key) for key in said} for item in native["output"]
        ], case.id
        assert {**got, "output": [], "incomplete_details": None} == {**got, **native, "output": [], "error": None}
        seen += 1
    assert seen > 60


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_comments_unknown_events_and_what_comes_behind_the_end(end: bytes) -> None:
    odd = b": hello\n\n" + event({"type": "response.new_thing", "x": 1.50}) + event({"type": "keepalive", "n": 3})
    first, rest = STREAM[: STREAM.index(b"event: response.output_item.added")], STREAM
    rest = STREAM[len(first) :]
    body = (first + odd + rest + b"data: [DONE]\n\n: bye\n\n").replace(b"\n", end)
    assert through(body) == body
    assert through(STREAM + event(message(9, "late")[0])) == STREAM  # H024


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (b"id: 5\nretry: 10\n\n", b""),
        (b"id: 5\r\nevent: keepalive\r\ndata: {}\r\n\r\n", b"event: keepalive\ndata: {}\n\n"),
        (b"event: keepalive\ndata: {}\nid: 5\n\n", b"event: keepalive\ndata: {}\n\n"),
    ],
)
def test_no_id_or_retry_line_reaches_a_client(lines: bytes, left: bytes) -> None:
    first = STREAM[: STREAM.index(b"event: response.output_item.added")]
    assert through(first + lines + STREAM[len(first) :]) == first + left + STREAM[len(first) :]


def test_a_model_by_another_name_is_told_by_the_clients() -> None:
    renamed = replace(R_ON_R, model="alias", upstream_model="gpt-up")
    assert through(STREAM, exchange=renamed) == STREAM.replace(b'"model":"gpt-up"', b'"model":"alias"')
    whole = msgspec.json.encode(response("completed", x=1.50))
    exchange = replace(renamed, stream=False, upstream_stream=False)
    assert through(whole, exchange=exchange) == whole.replace(b"gpt-up", b"alias")
    assert check(through(STREAM, Changing(shout), exchange=renamed))["model"] == "alias"


def test_what_the_upstream_says_of_its_failure_is_told_in_its_words() -> None:
    error = {"type": "error", "error": {"type": "x", "code": "server_error", "message": "no", "param": None}}
    failed = {"code": "server_error", "message": "no"}
    body = frames(*begun(), *message(0, "a")[:3], error, ended(status="failed", usage=None, error=failed))
    assert through(body) == body


def test_two_answers_in_one_stream_pass_and_one_that_is_dropped_leaves_the_other() -> None:
    both = stream(message(0, METADATA)) + STREAM
    assert through(both) == both
    assert through(both, SignatureFilter()) == STREAM
    assert check(through(stream(message(0, METADATA)), SignatureFilter()))["output"] == []


# ── changed ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_that_is_changed_is_changed_wherever_it_is_told() -> None:
    end, out = changed(shout)
    assert "üße" not in out.decode()
    assert b"\xc3\x9cSSE" in out
    texts = [part.get("text", part.get("refusal")) for item in end["output"] for part in item.get("content", ())]
    assert texts == ["GRÜSSE", "NO"]
    assert [item["type"] for item in end["output"]] == [each[-1]["item"]["type"] for each in ITEMS]
    # What nobody has changed is told as the upstream tells it, and so is the rest of what somebody has.
    kept = [each[-1]["item"] for each in ITEMS if each[-1]["item"]["type"] not in ("message",)]
    assert [item for item in end["output"] if item["type"] != "message"] == kept
    assert (end["output"][2]["id"], end["output"][2]["phase"]) == ("msg_up1", "final_answer")
    assert end["id"] == "resp_up1"
    assert end["usage"] == ended()["response"]["usage"]
    assert check(out) == end  # no number is left out


def test_only_the_frames_that_are_about_it_change() -> None:
    def change(each: Event) -> Iterator[Event]:
        yield replace(each, text="X") if isinstance(each, TextDelta) and each.text == "üße" else each

    _, out = changed(change)
    before, after = wires(STREAM), wires(out)
    assert len(before) == len(after)
    differ = {each["type"] for each, other in zip(before, after, strict=True) if each != other}
    assert differ == {
        *("response.output_text.delta", "response.output_text.done", "response.content_part.done"),
        *("response.output_item.done", "response.completed"),
    }


def test_a_text_that_is_left_out_is_left_out_wherever_it_is_told() -> None:
    end, out = changed(lambda each: () if isinstance(each, TextDelta) and each.text == "üße" else (each,))
    assert "üße" not in out.decode()
    assert end["output"][2]["content"] == [text_part("Gr")]


@pytest.mark.parametrize(
    ("kind", "gone"),
    [(Text, "message"), (Thinking, "reasoning"), (ToolUse, "function_call"), (ToolUse, "custom_tool_call")],
)
def test_a_block_that_is_left_out_leaves_nothing_behind(kind: type, gone: str) -> None:
    end, out = changed(without_blocks_of(kind))
    left = [item for item in end["output"] if item["type"] == gone]
    if gone == "reasoning":  # which was announced before anybody could know
        assert [[part["text"] for part in item["summary"]] for item in left] == [[""]]
        assert all("encrypted_content" not in item for item in left)
        assert b"two three" not in out
    else:
        assert not left
        assert f'"type":"{gone}"'.encode() not in out
    assert any(item["type"] == "web_search_call" for item in end["output"])


def test_a_tool_by_another_name_is_called_by_it_throughout() -> None:
    def change(each: Event) -> Iterator[Event]:
        if isinstance(each, BlockStart) and isinstance(each.block, ToolUse) and each.block.name == "read":
            each = replace(each, block=replace(each.block, name="fetch"))
        yield each

    end, out = changed(change)
    assert b'"read"' not in out
    calls = [item for item in end["output"] if "call" in item["type"] and "search" not in item["type"]]
    assert [(each["name"], each.get("arguments", each.get("input"))) for each in calls] == [
        *(("fetch", '{"a":1}'), ("apply_patch", "patch"), ("fetch", "{}")),
    ]


def test_text_that_becomes_reasoning_is_no_message() -> None:
    def change(each: Event) -> Iterator[Event]:
        if isinstance(each, BlockStart) and isinstance(each.block, Text):
            each = BlockStart(each.index, Thinking())
        yield ThinkingDelta(each.index, each.text) if isinstance(each, TextDelta) else each

    end, _ = changed(change)
    assert [item["type"] for item in end["output"]] == [
        *(
            "reasoning",
            "web_search_call",
            "reasoning",
            "function_call",
            "custom_tool_call",
            "function_call",
            "reasoning",
        )
    ]


def test_a_block_that_is_added_moves_the_others_behind_it() -> None:
    def change(each: Event) -> Iterator[Event]:
        yield each
        if isinstance(each, MessageStart):
            yield from (BlockStart(90, Text()), TextDelta(90, "mind!"), BlockStop(90))

    end, out = changed(change)
    assert end["output"][0]["content"][0]["text"] == "mind!"
    assert end["output"][1:] == [each[-1]["item"] for each in ITEMS]
    assert check(out) == end


def test_blocks_that_a_stage_holds_until_the_end_are_told_then() -> None:
    held: list[Event] = []

    def change(each: Event) -> Iterator[Event]:
        if isinstance(each, Unknown | MessageStart):
            yield each
            return
        held.append(each)
        if isinstance(each, MessageStop):
            yield from held

    end, _ = changed(change)
    assert sorted(item["type"] for item in end["output"]) == sorted(each[-1]["item"]["type"] for each in ITEMS)


def test_h075_a_signature_that_is_left_out_is_in_no_frame() -> None:
    end, out = changed(without(SignatureDelta))
    assert b"gAAA" not in out
    assert [part["text"] for part in end["output"][0]["summary"]] == ["one", "two three"]


@pytest.mark.parametrize("kind", [MessageStart, BlockStop, MessageDelta])
def test_a_stream_is_legal_whatever_is_left_out(kind: type[Event]) -> None:
    assert len(changed(without(kind))[0]["output"]) == len(ITEMS)


def test_an_end_that_is_changed_is_told_so() -> None:
    def change(each: Event) -> Iterator[Event]:
        yield replace(each, stop_reason="max_tokens") if isinstance(each, MessageDelta) else each

    end, _ = changed(change)
    assert (end["status"], end["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert end["output"] == [each[-1]["item"] for each in ITEMS]


def test_annotations_that_were_told_stay() -> None:
    cited = {"type": "url_citation", "url": "https://x.example", "title": "X", "start_index": 3, "end_index": 9}
    note: Wire = {"type": "file_citation", "file_id": "f", "filename": "n", "index": 1}
    items = message(0, "a", "b")
    added = "response.output_text.annotation.added"
    at = {"type": added, "output_index": 0, "item_id": "msg_up1", "content_index": 0}
    items[3:3] = [{**at, "annotation_index": number, "annotation": each} for number, each in enumerate([cited, note])]
    for each in items[-3:]:
        part = each.get("part") or (each["item"]["content"][0] if "item" in each else {})
        part["annotations"] = [cited, note]
    body = stream(items)
    assert through(body) == body
    end, _ = changed(shout, body)
    assert end["output"][0]["content"][0] == {**text_part("AB"), "annotations": [cited, note]}


def test_a_message_of_several_parts_stays_one() -> None:
    first, second = message(0, "a"), message(0, "b", "c")
    for each in second:
        each["content_index"] = 1
    done = {**first[-1]["item"], "content": [text_part("a"), text_part("bc")]}
    body = stream(item_events(0, first[0]["item"], *first[1:-1], *second[1:-1], done=done))
    check(body)
    assert through(body) == body
    end, _ = changed(lambda each: [replace(each, text="X") if getattr(each, "text", "") == "c" else each], body)
    assert [part["text"] for part in end["output"][0]["content"]] == ["a", "bX"]


def test_a_message_may_end_in_a_refusal() -> None:
    first, second = message(0, "a"), refusal(0, "n", "o", id="msg_up1")
    for each in second:
        each["content_index"] = 1
    parts = [text_part("a"), {"type": "refusal", "refusal": "no"}]
    done = {**first[-1]["item"], "content": parts}
    body = stream(item_events(0, first[0]["item"], *first[1:-1], *second[1:-1], done=done))
    check(body)
    assert through(body) == body
    end, _ = changed(lambda each: [replace(each, text="X") if getattr(each, "text", "") == "o" else each], body)
    assert end["output"][0]["content"] == [parts[0], {"type": "refusal", "refusal": "nX"}]


def test_an_error_of_ours_goes_on_where_the_upstream_was() -> None:
    body = STREAM[: STREAM.index("üße".encode())].rpartition(b"event: ")[0]
    *out, error = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], R_ON_R)
    assert isinstance(error, Error)
    assert b"".join(out) == body
    assert error.extra["sequence_number"] == len(wires(body))
    assert error.extra["response"]["id"] == msgspec.Raw(b'"resp_up1"')
    told = [msgspec.json.decode(item) for item in error.extra["response"]["output"]]
    assert told == [each[-1]["item"] for each in ITEMS[:2]]


def test_what_is_remembered_has_a_bound() -> None:
    small = replace(R_ON_R, event_limit=20_000)
    long = stream(*[message(place, "x" * 8000, id=f"msg_{place}") for place in range(9)])
    out = flow([Deframe(), Parse(), Translate()], [[long]], small)
    assert [type(each) for each in out if not isinstance(each, Frame)] == [Error]
    endless = frames(*begun(), message(0, "a")[0], *[message(0, "a")[1]] * 500)
    assert len(flow([Deframe(), Parse(), Translate()], [[endless]], R_ON_R)) > 400  # and is not held back


def test_a_ping_overtakes_what_waits() -> None:
    asleep = [BlockStart, TextDelta]
    out = through(STREAM, Changing(lambda each: [Ping(), each] if type(each) in asleep else [each]))
    assert out.count(b": keepalive\n\n") > 6
    assert out.replace(b": keepalive\n\n", b"") == STREAM


# ── whole bodies ────────────────────────────────────────────────────────────────────────────────────────────────────

ANSWER = response("completed", *[each[-1]["item"] for each in ITEMS])


def test_a_whole_answer_that_nobody_touches_leaves_as_the_very_bytes() -> None:
    exchange = replace(WHOLE, upstream_stream=False)
    body = msgspec.json.format(msgspec.json.encode(ANSWER), indent=2)
    assert through(body, exchange=exchange) == body
    for case in wholes(R):
        assert through(case.body, exchange=exchange) == case.body, case.id


def test_of_a_whole_answer_only_what_was_changed_changes() -> None:
    got = msgspec.json.decode(
        through(msgspec.json.encode(ANSWER), Changing(shout), exchange=replace(WHOLE, upstream_stream=False))
    )
    assert [item["type"] for item in got["output"]] == [item["type"] for item in ANSWER["output"]]
    same = [0, 1, 3, 4, 5]
    assert [got["output"][place] for place in same] == [ANSWER["output"][place] for place in same]
    assert got["output"][2]["content"][0]["text"] == "GRÜSSE"
    assert {**got, "output": []} == {**ANSWER, "output": []}


def test_a_stream_is_folded_into_what_its_last_event_says() -> None:
    assert msgspec.json.decode(through(STREAM, exchange=WHOLE)) == ANSWER
    # The Codex backend says nothing there: the items have said it all.
    empty = frames(*begun(), *(wire for each in ITEMS for wire in each), ended())
    assert msgspec.json.decode(through(empty, exchange=WHOLE)) == ANSWER


def test_a_whole_answer_is_streamed() -> None:
    body = msgspec.json.encode(response("completed", message(0, "Hi")[-1]["item"], call(1, "{}")[-1]["item"]))
    end = check(through(body, exchange=replace(R_ON_R, upstream_stream=False)))
    assert end["id"] == "resp_up1"
    assert [item["type"] for item in end["output"]] == ["message", "function_call"]


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────

words = st.text(min_size=1, max_size=4)
items = st.one_of(
    st.tuples(st.just("message"), st.lists(words, max_size=3)),
    st.tuples(st.just("reasoning"), st.lists(words.filter(str.strip), max_size=3)),
    st.tuples(st.just("custom_call"), st.lists(words, max_size=2)),
    st.tuples(st.just("refusal"), st.lists(words, min_size=1, max_size=2)),
    st.tuples(st.just("call"), st.sampled_from([["{}"], ['{"a"', ":1}"]])),
    st.just(("search", list[str]())),
)
answers = st.lists(items, max_size=4)


def streamed(answer: list[tuple[str, list[str]]]) -> bytes:
    """An answer with these items, each of a kind and with the pieces that it comes in."""
    making: dict[str, Callable[[int, list[str]], list[Wire]]] = {
        "message": lambda place, pieces: message(place, *pieces, id=f"msg_{place}"),
        "reasoning": lambda place, parts: reasoning(place, *parts, id=f"rs_{place}"),
        "custom_call": lambda place, pieces: custom_call(place, *pieces, id=f"ctc_{place}"),
        "refusal": lambda place, pieces: refusal(place, *pieces, id=f"msg_{place}"),
        "call": lambda place, pieces: call(place, *pieces, id=f"fc_{place}", call_id=f"call_{place}"),
        "search": lambda place, _: search(place, id=f"ws_{place}"),
    }
    return stream(*(making[kind](place, pieces) for place, (kind, pieces) in enumerate(answer)))


# What a stage does with the next event, over and over.
deeds = st.lists(st.sampled_from(["keep", "keep", "keep", "copy", "drop", "shout", "add"]), min_size=1, max_size=12)


class Meddling(Stage[Event, Event]):
    def __init__(self, deeds: list[str]) -> None:
        self._deeds, self._at = deeds, 0

    def feed(self, event: Event, /) -> Iterator[Event]:
        if isinstance(event, MessageStop | Error | Unknown):
            yield event
            return
        deed = self._deeds[self._at % len(self._deeds)]
        self._at += 1
        if deed == "copy":
            yield replace(event)
        elif deed == "shout":
            yield from shout(event)
        elif deed != "drop":
            yield event
        if deed == "add":
            yield from (BlockStart(70 + self._at, Text()), TextDelta(70 + self._at, "!"), BlockStop(70 + self._at))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(answers, deeds)
def test_whatever_a_stage_does_the_stream_is_legal_or_an_error(
    answer: list[tuple[str, list[str]]], done: list[str]
) -> None:
    body = streamed(answer)
    check(body)
    sent = b""
    for each in flow([Deframe(), Parse(), Meddling(done), Translate(), Reframe()], [[body]], R_ON_R):
        if isinstance(each, Error):
            check(sent, whole=False, gaps=True)
            return
        sent += each
    end = check(sent, gaps=True)
    if set(done) <= {"keep"}:
        assert sent == body
    if set(done) <= {"keep", "copy"}:  # copied or not, the same is said
        said = [(item["type"], item.get("arguments"), item.get("input")) for item in end["output"]]
        native = [each["item"] for each in wires(body) if each["type"] == "response.output_item.done"]
        assert [each for each in said if "call" in each[0]] == [
            (
                item["type"],
                item.get("arguments") or ("{}" if item["type"] == "function_call" else None),
                item.get("input"),
            )
            for item in native
            if "call" in item["type"]
        ]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(answers, deeds)
def test_batches_do_not_show(answer: list[tuple[str, list[str]]], done: list[str]) -> None:
    body = streamed(answer)

    def sent(batches: list[list[bytes]]) -> Any:
        out = flow([Deframe(), Parse(), Meddling(done), Translate(), Reframe()], batches, R_ON_R)
        return b"".join(each if isinstance(each, bytes) else each.message.encode() for each in out)

    pieces = [each + b"\n\n" for each in body.split(b"\n\n")[:-1]]
    assert sent([[body]]) == sent([[piece] for piece in pieces])


def test_what_is_announced_and_never_told_has_a_bound() -> None:
    """An upstream may announce items for ever, or pad what it says of one."""
    padded: Wire = {"type": "message", "role": "assistant", "content": [], "pad": "x" * 2000}
    announced = [
        {"type": "response.output_item.added", "output_index": place, "item": {**padded, "id": f"msg_{place}"}}
        for place in range(20)
    ]
    stages: list[Stage[Any, Any]] = [Deframe(), Parse(), Translate()]
    items = flow(stages, [[frames(*begun(), *announced)]], replace(R_ON_R, event_limit=10_000))
    error = next(item for item in items if isinstance(item, Error))
    assert "larger than 10000 bytes" in error.message
    assert items.index(error) < 10
