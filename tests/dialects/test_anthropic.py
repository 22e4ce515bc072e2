"""The Anthropic dialect: reading, writing, folding and unfolding, on recordings and by law."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import FOLDED, STREAM, UNFOLDED, WHOLE, answer, flow, judge, message, texts, wire
from tests.corpus import MENDED, cases, legal_streams, streams, wholes
from trioproxy import Exchange, ProxyError
from trioproxy.dialects import DIALECTS, Model, Target, spoken_at
from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherBlock,
    OtherDelta,
    Text,
    TextDelta,
    Thinking,
    ToolInputDelta,
    ToolResult,
    ToolUse,
    Unknown,
    Usage,
    replace,
)
from trioproxy.ledger import Ledger
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

ANTHROPIC = DIALECTS["anthropic"]


def read(data: bytes, exchange: Exchange = STREAM) -> list[Event]:
    return flow([Deframe(), Parse()], [[data]], exchange)


def rewrite(events: list[Event], exchange: Exchange = STREAM) -> bytes:
    """The bytes of events that no longer know where they came from."""
    return b"".join(flow([Translate(), Reframe()], [[replace(event) for event in events]], exchange))


def objects(stream: bytes) -> list[Any]:
    frames = flow([Deframe()], [[stream]])
    return [msgspec.json.decode(frame.data) for frame in frames if frame.data[:1] == b"{"]


# ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_recorded_stream_leaves_as_the_very_bytes() -> None:
    assert len(legal_streams()) > 100
    for case in legal_streams():
        assert answer(case.body) == case.body, case.id


def test_recorded_streams_that_are_not_legal_leave_as_ones_that_are() -> None:
    found = [case for case in streams("anthropic") if case.id in MENDED]
    assert len(found) == len(MENDED)
    for case in found:
        if "programmatic" in case.id:
            continue  # its messages begin with blocks of their own, which `judge` knows nothing of
        judge(answer(case.body).rstrip() + b"\n\n")
        assert texts(answer(case.body)) == texts(case.body) or case.id == "vercel-anthropic-spliced-message-start"


def test_every_recorded_event_written_anew_has_the_same_json() -> None:
    """Unknown fields, at whatever depth, survive a change."""
    for case in legal_streams():
        events = [event for event in read(case.body) if not isinstance(event, Unknown | Error)]
        got, sent = objects(rewrite(events)), [each for each in objects(case.body) if "type" in each]
        for mine, theirs in zip(got, sent, strict=True):
            for key in _added(mine, theirs):
                assert key in {"usage", "output_tokens", "input_tokens", "stop_sequence", "stop_reason", "signature"}, (
                    case.id
                )
        assert [each["type"] for each in got] == [each["type"] for each in sent]


def _added(mine: Any, theirs: Any) -> set[str]:
    """Keys that writing added; fails if a key was lost or a value changed."""
    added: set[str] = set()
    if isinstance(mine, dict) and isinstance(theirs, dict):
        added = mine.keys() - theirs.keys()
        for key, value in theirs.items():
            assert key in mine, f"lost {key}"
            if value is not None:
                added |= _added(mine[key], value)
    else:
        assert mine == theirs
    return added


def test_recorded_streams_are_never_unknown() -> None:
    for case in streams("anthropic"):
        unknown = [event for event in read(case.body) if isinstance(event, Unknown) and event.data]
        assert all(event.data == b"[DONE]" for event in unknown), case.id


@pytest.mark.parametrize(
    ("data", "event"),
    [
        ('{"type":"new_thing","x":1}', Unknown("e", b'{"type":"new_thing","x":1}')),
        ('{"no":"type"}', Unknown("e", b'{"no":"type"}')),
        ("[DONE]", Unknown("e", b"[DONE]")),
        ("[1]", Unknown("e", b"[1]")),
        ('{"type":"message_start"}', Unknown("e", b'{"type":"message_start"}')),
        ('{"type":"ping","x":{"y":1}}', None),
        (
            '{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a","new":2}}',
            TextDelta(1, "a", {"delta": {"new": 2}}),
        ),
        (
            '{"type":"content_block_delta","index":1,"delta":{"type":"odd_delta","odd":[1]}}',
            OtherDelta(1, "odd_delta", {"delta": {"odd": [1]}}),
        ),
        (
            '{"type":"content_block_start","index":0,"content_block":{"type":"image","source":{}}}',
            BlockStart(0, OtherBlock(kind="image", extra={"type": "image", "source": {}})),
        ),
        (
            '{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}',
            BlockStart(0, ToolUse(id="t", name="n", input="{}")),
        ),
        (
            '{"type":"message_delta","delta":{"stop_reason":"new_reason"},"usage":{"output_tokens":3,"new":1}}',
            MessageDelta("new_reason", None, Usage(output_tokens=3), {"usage": {"new": 1}}),
        ),
        ('{"type":"error","error":{"type":"overloaded_error","message":"busy"}}', Error("overloaded", "busy", 529)),
    ],
)
def test_reads(data: str, event: Event | None) -> None:
    frame = Frame(data.encode(), "e", b"raw")
    reader = ANTHROPIC.reader(STREAM)
    [got] = list(reader.feed(frame))
    assert got.frame is frame
    assert event is None or got == event


def test_an_event_of_ours_with_broken_data_is_an_error() -> None:
    """Hazard H040c: a middlebox broke the line; skipping it would lose text unseen."""
    reader = ANTHROPIC.reader(STREAM)
    [got] = list(reader.feed(Frame(b'{"type":"content_block_de', "content_block_delta", b"raw")))
    assert isinstance(got, Error)
    assert got.message == "the upstream sent a content_block_delta event that cannot be read"
    broken = wire(message("Hi")).replace(b'"text":"Hi"}}', b'"text":"H\n')
    out = flow([Deframe(), Parse(), Translate(), Reframe()], [[broken]])
    assert any(isinstance(item, Error) for item in out)
    assert b'"H' not in b"".join(item for item in out if isinstance(item, bytes))


@pytest.mark.parametrize(
    ("kept", "complaint"),
    [(0, "before any message"), (1, "in the middle of a message"), (-1, "in the middle of a message")],
)
def test_a_stream_that_ends_early_ends_in_an_error(kept: int, complaint: str) -> None:
    last = read(wire(message("Hi")[:kept]))[-1]
    assert isinstance(last, Error)
    assert complaint in last.message


def test_a_stream_that_ends_in_the_upstreams_own_error_gets_no_second_one() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'
    data = wire(message("Hi")[:3]) + error
    assert answer(data) == data


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=5))
def test_what_is_written_is_legal_and_reads_back(texts: list[str], id: str) -> None:
    events = message(*texts, id=id)
    assert judge(wire(events))
    assert read(wire(events)) == events


# ── whole bodies ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_recorded_body_leaves_as_the_very_bytes() -> None:
    assert len(wholes("anthropic")) > 80
    for case in wholes("anthropic"):
        assert answer(case.body, WHOLE) == case.body, case.id


def test_the_fold_of_a_body_unfolded_is_the_body() -> None:
    for case in wholes("anthropic"):
        body = msgspec.json.decode(case.body)
        if body.get("type") == "message":
            folded = answer(answer(case.body, UNFOLDED), FOLDED)
            assert msgspec.json.decode(folded) == body, case.id


def test_an_unfolded_body_is_a_legal_stream() -> None:
    for case in wholes("anthropic"):
        if msgspec.json.decode(case.body).get("type") == "message":
            judge(answer(case.body, UNFOLDED))


def test_the_fold_of_a_stream_unfolded_folds_the_same() -> None:
    cut_arguments = 0
    for case in streams("anthropic"):
        out = flow([Deframe(), Parse(), Translate(), Reframe()], [[case.body]], FOLDED)
        if isinstance(out[-1], Error):
            cut_arguments += 1
            continue
        again = answer(answer(out[0], UNFOLDED), FOLDED)
        assert msgspec.json.decode(again) == msgspec.json.decode(out[0]), case.id
    assert cut_arguments == 1


def test_arguments_stay_the_very_text() -> None:
    body = (
        b'{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"tool_use","id":"t","name":"n",'
    )
    body += b'"input":{"z":1.0,"a":123456789012345678901234567890,"\\u0041":1e2}}],"stop_reason":"tool_use","usage":{}}'
    [arguments] = [event for event in read(body, WHOLE) if isinstance(event, ToolInputDelta)]
    assert arguments.partial_json == '{"z":1.0,"a":123456789012345678901234567890,"\\u0041":1e2}'


def test_several_messages_fold_into_one() -> None:
    events = [*message("one", id="a"), *message("two", id="b")]
    folded = msgspec.json.decode(b"".join(flow([Translate(), Reframe()], [list(events)], FOLDED)))
    assert [block["text"] for block in folded["content"]] == ["one", "two"]
    assert folded["id"] == "a"


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"message","content":[{"type":"text","text":"a"}],"x":1.10}',
        b'{"id":"m","content":[],"usage":{"output_tokens":2},"type":"message"}',
        b'{"id":null,"model":null,"content":[],"type":"message","stop_reason":"end_turn","usage":{"input_tokens":1.0}}',
    ],
)
def test_an_untouched_body_leaves_byte_for_byte_whatever_it_lacks(body: bytes) -> None:
    assert answer(body, WHOLE) == body


@pytest.mark.parametrize(
    "broken", [b'{"index":"1"}', b'{"type":"content_block_delta","ind', b'{"type":"message_delta"}']
)
@pytest.mark.parametrize("name", [b"event: content_block_delta\n", b""])
def test_a_delta_that_cannot_be_read_leaves_no_hole_in_the_fold(broken: bytes, name: bytes) -> None:
    if not name and b'"type"' not in broken:
        return  # nothing says that it is part of the message
    data = wire(message("hello ", "world")[:-3]) + name + b"data: " + broken + b"\n\n" + wire(message()[-3:])
    out = flow([Deframe(), Parse(), Translate()], [[data]], FOLDED)
    assert [type(item) for item in out] == [Error]


def test_what_is_folded_has_a_bound() -> None:
    out = flow([Translate()], [message("x" * 50, "y" * 60)], replace(FOLDED, event_limit=100))
    assert [type(item) for item in out] == [Error]


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"usage":1e3}', b'{"type":"message"}', b'{"type":"message","content":[1]}', b'{"type":1}']
)
def test_odd_bodies_leave_as_they_came(body: bytes) -> None:
    assert answer(body, WHOLE) == body


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "index", "delta", "content", "usage", "message", "error", "x"]), inner
        )
    ),
    max_leaves=8,
)


@given(json, st.sampled_from(["message_start", "content_block_delta", "message_delta", "error", "message", "ping"]))
def test_arbitrary_json_never_raises(value: object, kind: str) -> None:
    if isinstance(value, dict):
        value = {"type": kind} | value
    data = msgspec.json.encode(value)
    flow([Deframe(), Parse(), Translate()], [[b"event: %s\ndata: %s\n\n" % (kind.encode(), data)]])
    flow([Deframe(), Parse(), Translate()], [[b"event: %s\ndata: %s\n\n" % (kind.encode(), data)]], FOLDED)
    for exchange in (WHOLE, UNFOLDED):
        flow([Deframe(), Parse(), Translate()], [[data]], exchange)


@pytest.mark.parametrize("exchange", [STREAM, WHOLE, FOLDED, UNFOLDED])
def test_nesting_without_end_never_raises(exchange: Exchange) -> None:
    deep = b"[" * 200_000
    flow(
        [Deframe(), Parse(), Translate()],
        [[b"data: " + deep + b"\n\n" if exchange.upstream_stream else deep]],
        exchange,
    )


@pytest.mark.parametrize("odd", [0, 5, "s", True, [1], {"a": 1}, None])
@pytest.mark.parametrize("exchange", [STREAM, FOLDED])
def test_odd_content_and_citations_never_raise(odd: Any, exchange: Exchange) -> None:
    start: Any = {"type": "message_start", "message": {"id": "m", "model": "m", "content": odd}}
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", "citations": odd}}
    delta = {"type": "citations_delta", "citation": odd}
    cited = {"type": "content_block_delta", "index": 0, "delta": delta}
    rest: list[Any] = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    for sent in ([start, text, cited, *rest], [text, cited, *rest]):
        frames = [f"event: {each['type']}\ndata: ".encode() + msgspec.json.encode(each) + b"\n\n" for each in sent]
        out = flow([Deframe(), Parse(), Translate(), Reframe()], [frames], exchange)
        if exchange is FOLDED and not isinstance(out[-1], Error):
            assert msgspec.json.decode(out[-1])["content"][0]["citations"][-1] == odd


def test_many_citations_fold_in_linear_time() -> None:
    cited = OtherDelta(0, "citations_delta", {"delta": {"citation": {"url": "u"}}})
    events = [MessageStart("m", "m"), BlockStart(0, Text()), *[cited] * 20_000, BlockStop(0), MessageStop()]
    started = time.process_time()
    [frame] = flow([Translate()], [events], FOLDED)
    assert time.process_time() - started < 3
    assert len(msgspec.json.decode(frame.data)["content"][0]["citations"]) == 20_000


def test_nothing_to_fold_is_an_error() -> None:
    assert [type(each) for each in flow([Translate()], [[Unknown("", b"")]], FOLDED)] == [Error]


def test_arguments_that_are_no_object_do_not_fold() -> None:
    call = [BlockStart(0, ToolUse(id="t", name="n")), ToolInputDelta(0, "[1]"), BlockStop(0)]
    events = [MessageStart("m", "m"), *call, MessageDelta("tool_use"), MessageStop()]
    assert [type(each) for each in flow([Translate()], [events], FOLDED)] == [Error]


@pytest.mark.parametrize("block", [OtherBlock(kind="x", extra={"type": "x", "data": "x" * 900}), Text(text="x" * 900)])
def test_what_blocks_begin_with_counts(block: Block) -> None:
    """Held for their turn, or gathered for a fold: a block may come whole with its start."""
    many = [BlockStart(index, block) for index in range(20)]
    for exchange in (STREAM, FOLDED):
        out = flow([Translate()], [[MessageStart("m", "m"), *many]], replace(exchange, event_limit=10_000))
        assert any(isinstance(each, Error) for each in out)


# ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("block", "wire_object"),
    [
        (Text(text="a"), {"type": "text", "text": "a"}),
        (Text(text="a", extra={"citations": None}), {"type": "text", "text": "a", "citations": None}),
        (Thinking(thinking="t", signature="s"), {"type": "thinking", "thinking": "t", "signature": "s"}),
        (
            ToolUse(id="t", name="n", input='{"b":1}', extra={"caller": {"type": "direct"}}),
            {"type": "tool_use", "id": "t", "name": "n", "input": {"b": 1}, "caller": {"type": "direct"}},
        ),
        (OtherBlock(kind="text", extra={"type": "text", "text": 1}), {"type": "text", "text": 1}),
        (OtherBlock(kind="", extra={"x": 1}), {"x": 1}),
    ],
)
def test_blocks_read_and_write(block: Block, wire_object: dict[str, Any]) -> None:
    from trioproxy.dialects.anthropic.blocks import read_block, write_block

    assert read_block(wire_object) == block
    assert msgspec.json.decode(msgspec.json.encode(write_block(block))) == wire_object


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────

REQUEST = {
    "model": "m",
    "max_tokens": 10,
    "stream": True,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "n", "input_schema": {"$schema": "x", "type": "object"}}],
    "metadata": {"user_id": "u"},
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"z": 1, "a": 2}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}], "new": 1},
    ],
}


def test_a_request_reads_and_writes_without_loss() -> None:
    request = ANTHROPIC.read_request(msgspec.json.encode(REQUEST))
    assert (request.model, request.max_tokens, request.stream) == ("m", 10, True)
    assert request.messages[0].content == "hi"
    assert msgspec.json.decode(ANTHROPIC.write_request(request, Target(), Ledger()).body) == REQUEST


def test_every_recorded_request_reads_and_writes_without_loss() -> None:
    from tests.corpus import BESIDE

    cases("anthropic")  # skips without the corpus
    seen = 0
    for file in (BESIDE / "anthropic").glob("*.json"):
        body = msgspec.json.decode(file.read_bytes())["request"]
        if isinstance(body, dict) and "messages" in body and "model" in body:
            seen += 1
            request = ANTHROPIC.read_request(msgspec.json.encode(body))
            again = msgspec.json.decode(ANTHROPIC.write_request(request, Target(), Ledger()).body)
            assert again == {**body}, file.name
    assert seen > 100


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"nonsense", "malformed"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"model":"m"}', "missing required field `messages`"),
        (b'{"model":1,"messages":[]}', r"Expected `str`, got `int` - at `\$.model`"),
        (b"[" * 200_000, "nested too deeply"),
        (b"\xff", "not a Messages request"),
    ],
)
def test_a_bad_request_says_what_is_wrong(body: bytes, complaint: str) -> None:
    with pytest.raises(ProxyError, match=complaint) as caught:
        ANTHROPIC.read_request(body)
    assert (caught.value.error.kind, caught.value.error.status) == ("invalid_request", 400)


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"stream":true,"model":"m","x":[1]}', "m", True),
        (b"{}", "", False),
        (rb'{"stream":true,"model":"m","x":"\ud83d"}', "m", True),  # H124
        (b'{"model":"m","stream":1}', "m", False),
    ],
)
def test_peek(body: bytes, model: str, stream: bool) -> None:
    peek = ANTHROPIC.peek(body)
    assert peek
    assert (peek.model, peek.stream) == (model, stream)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"model":1}', b"\xff", b"[" * 200_000])
def test_peek_at_what_is_no_request(body: bytes) -> None:
    assert ANTHROPIC.peek(body) is None


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_writes_errors() -> None:
    body = msgspec.json.decode(ANTHROPIC.write_error(Error("overloaded", "busy", 529), "id1"))
    assert body == {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "id1"}
    event = ANTHROPIC.write_error_event(Error("upstream", "gone"), "id1")
    assert event.startswith(b"event: error\ndata: {")
    assert event.endswith(b"}\n\n")


# ── where it is spoken ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/messages", "anthropic"),
        ("POST", "/v1/messages/", "anthropic"),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/messages/count_tokens", None),
        ("POST", "/v1/models", None),
    ],
)
def test_spoken_at(method: str, path: str, name: str | None) -> None:
    dialect = spoken_at(method, path)
    assert (dialect.name if dialect else None) == name


def test_listings_with_dates_that_are_none() -> None:
    for created in (-1, 1_700_000_000_000, 2**70):
        wire = msgspec.json.decode(ANTHROPIC.write_model(Model("m", created=created)))
        assert wire["created_at"] == "1970-01-01T00:00:00Z"
    for body in (b"{}", b"[", b'{"data":[{"id":"\xff"}]}', b'{"data":[{"id":"a","x":' + b"[" * 100_000):
        with pytest.raises(msgspec.DecodeError):
            ANTHROPIC.read_models(body)
    assert ANTHROPIC.read_models(b'{"data":[{"id":["a"]},{"id":"a","display_name":[1]}]}') == [Model("a")]


def test_results_inside_results_are_left_as_they_are() -> None:
    """Each level read would cost as much as all below it: 600 KB took 8 seconds."""
    content: list[dict[str, Any]] = [{"type": "text", "text": "a", "odd": True}]
    for _ in range(200):
        content = [{"type": "tool_result", "tool_use_id": "x", "content": content}]
    wire = {"model": "m", "messages": [{"role": "user", "content": content}]}
    request = ANTHROPIC.read_request(msgspec.json.encode(wire))
    assert request.messages[0].content == (
        ToolResult(tool_use_id="x", content=(OtherBlock(kind="tool_result", extra=content[0]["content"][0]),)),
    )
    assert msgspec.json.decode(ANTHROPIC.write_request(request, Target(), Ledger()).body) == wire


@pytest.mark.parametrize("nest", [b'{"content":', b"["])
@pytest.mark.parametrize("depth", [300, 450, 900, 985])
def test_nesting_at_the_edge_is_read_or_refused(nest: bytes, depth: int) -> None:
    close = b"}" if nest[:1] == b"{" else b"]"
    inner = nest * depth + b"0" + close * depth
    for place in (
        b'"messages":[{"role":"user","content":[%s]}]',
        b'"messages":[],"tools":[{"name":"a","input_schema":%s}]',
    ):
        with suppress(ProxyError):
            ANTHROPIC.read_request(b'{"model":"m",%s}' % (place % inner))


def test_what_a_stage_says_wins_over_an_empty_field() -> None:
    body = b'{"model":"m","messages":[],"tools":[],"system":null,"stream":false,"tool_choice":{"type":"auto"}}'
    request = replace(ANTHROPIC.read_request(body), tools=({"name": "a"},), system="s", stream=True)
    wire = msgspec.json.decode(ANTHROPIC.write_request(request, Target(), Ledger()).body)
    assert (wire["tools"], wire["system"], wire["stream"]) == ([{"name": "a"}], "s", True)
    assert wire["tool_choice"] == {"type": "auto"}


def test_h065_a_stage_that_takes_all_tools_takes_the_choice_among_them() -> None:
    body = b'{"model":"m","messages":[],"tools":[{"name":"a"}],"tool_choice":{"type":"any"}}'
    request = replace(ANTHROPIC.read_request(body), tools=())
    assert msgspec.json.decode(ANTHROPIC.write_request(request, Target(), Ledger()).body) == {
        "model": "m",
        "messages": [],
    }


def test_presents_a_token() -> None:
    assert ANTHROPIC.credentials("secret", Target()) == [(b"x-api-key", b"secret")]
    newest = Target(version="2026-10-21")
    assert ANTHROPIC.credentials("secret", newest) == [(b"authorization", b"Bearer secret")]
    assert ANTHROPIC.asks(newest) == [(b"anthropic-version", b"2026-10-21")]
    assert ANTHROPIC.asks(Target()) == [(b"anthropic-version", b"2023-06-01")]


def test_stop_without_blocks_folds() -> None:
    out = flow([Translate(), Reframe()], [[MessageStart("m", "m"), BlockStop(0), MessageStop()]], FOLDED)
    assert msgspec.json.decode(out[0])["content"] == []


@pytest.mark.parametrize("exchange", [STREAM, FOLDED])
@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
def test_an_answer_whose_end_a_stage_keeps_back_is_an_error(exchange: Exchange, client: str) -> None:
    out = flow([Translate()], [message("Hi")[:-1]], replace(exchange, client_dialect=client))
    assert isinstance(out[-1], Error)
    assert out[-1].kind == "internal"
    assert not any(isinstance(item, Frame) and b'stop_reason":"' in item.data for item in out)
