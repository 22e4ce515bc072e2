"""Reading OpenAI chat answers: recordings of real providers through the whole chain, and what they taught."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import cut, cuts, flow, judge, texts
from tests.chat import A_ON_C, A_ON_C_WHOLE, C_ON_C, DONE, USAGE, call, chunk, data, stream
from tests.corpus import streams, wholes
from trioproxy.dialects import DIALECTS
from trioproxy.items import Error, Event, Frame, Unknown, replace
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

CHAT = DIALECTS["openai-chat"]

# Recordings that leave with one thing added: the [DONE] that the provider did not send.
WITHOUT_DONE = {"langchaingo-tools-perplexity-testtool-integration", "prism-perplexity-stream-basic-text-1"}


def through(body: bytes, exchange: Exchange = A_ON_C) -> bytes:
    items = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)
    errors = [item for item in items if isinstance(item, Error)]
    assert not errors, errors
    return b"".join(items)


def is_answer(body: bytes) -> bool:
    wire = msgspec.json.decode(body)
    choices = wire.get("choices") if isinstance(wire, dict) else None
    return isinstance(choices, list) and bool(choices) and "message" in choices[0]


def has_error(body: bytes) -> bool:
    return any(b'"error":' in line and b'"error":null' not in line for line in body.splitlines())


def test_every_recorded_stream_becomes_a_legal_anthropic_one() -> None:
    seen = 0
    for case in streams("openai-chat"):
        if has_error(case.body):
            continue
        seen += 1
        judge(through(case.body))
        folded = msgspec.json.decode(through(case.body, A_ON_C_WHOLE))
        assert folded["stop_reason"], case.id
        assert folded["model"] == "claude-test"
    assert seen > 120


def test_every_recorded_stream_leaves_for_a_chat_client_as_the_very_bytes() -> None:
    for case in streams("openai-chat"):
        if has_error(case.body):
            continue
        done = b"data: [DONE]\n\n" if case.id in WITHOUT_DONE else b""
        assert through(case.body, C_ON_C) == case.body + done, case.id


def test_every_recorded_body_is_the_fold_of_the_stream_it_unfolds_to() -> None:
    seen = 0
    for case in wholes("openai-chat"):
        if not is_answer(case.body):
            continue
        seen += 1
        whole = replace(A_ON_C_WHOLE, upstream_stream=False)
        assert through(case.body, replace(C_ON_C, stream=False, upstream_stream=False)) == case.body
        streamed = through(case.body, replace(A_ON_C, upstream_stream=False))
        judge(streamed)
        back = replace(A_ON_C_WHOLE, upstream_dialect="anthropic", upstream_stream=True)
        again = msgspec.json.decode(through(streamed, replace(back, model="", upstream_model="")))
        folded = msgspec.json.decode(through(case.body, whole))
        for key in ("content", "stop_reason", "model"):
            assert again[key] == folded[key], case.id
    assert seen > 120


@given(cuts)
def test_chunking_is_invisible(at: list[int]) -> None:
    body = stream(
        chunk({"reasoning": "hm"}), chunk({"content": "Grüße"}), call(0, '{"a":', id="c", name="f"), call(0, "1}")
    )
    pieces = [[piece] for piece in cut(body, at)]
    assert b"".join(flow([Deframe(), Parse(), Translate(), Reframe()], pieces, A_ON_C)) == through(body)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "before any answer"),
        (chunk({"content": "Hi"}), "in the middle of an answer"),
        (chunk({"content": "Hi"}) + USAGE, "in the middle of an answer"),
        (DONE, "before any answer"),
        (call(0, '{"a":', id="c", name="f") + DONE, "in the middle of a tool's arguments"),
    ],
)
def test_a_cut_stream_is_an_error(body: bytes, complaint: str) -> None:
    for exchange in (A_ON_C, A_ON_C_WHOLE, C_ON_C):
        out = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]] if body else [], exchange)
        last = out[-1]
        assert isinstance(last, Error)
        assert complaint in last.message


@pytest.mark.parametrize("value", [b"null", b"{}", b"1", b"[]", b"heartbeat", b"", b'{"object":"x"}'])
def test_data_that_is_no_chunk_changes_nothing(value: bytes) -> None:
    odd = stream(chunk({"content": "Hi"})).replace(DONE, data(value) + DONE)
    assert through(odd) == through(stream(chunk({"content": "Hi"})))
    assert through(odd, C_ON_C) == odd


def test_a_broken_chunk_is_an_error() -> None:
    for broken in (b'{"choices":[{"delta":{"content":"Hi', b'{"choices":"no"}', b'{"choices":[1]}'):
        out = flow([Deframe(), Parse()], [[stream().replace(DONE, data(broken) + DONE)]], A_ON_C)
        assert any(isinstance(item, Error) for item in out), broken


def test_every_event_knows_its_frame_and_how_many_share_it() -> None:
    body = stream(chunk({"content": "Hi", "reasoning": "hm"}), call(0, "{}", id="c", name="f"))
    frames: dict[int, list[Event]] = {}
    for event in flow([Deframe(), Parse()], [[body]], C_ON_C):
        frames.setdefault(id(event.frame), []).append(event)
    assert all(len(events) == events[0].parts for events in frames.values())


def test_several_choices_pass_to_a_chat_client_and_the_first_is_the_answer() -> None:
    second = data({"id": "1", "choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": None}]})
    body = stream(chunk({"content": "one"}), second)
    assert through(body, C_ON_C) == body
    assert texts(through(body)) == ["one"]


def test_what_comes_behind_the_end_is_not_heard() -> None:
    assert through(stream(chunk({"content": "a"})) + chunk({"content": "ghost"})) == through(
        stream(chunk({"content": "a"}))
    )
    assert through(stream() + chunk({"content": "ghost"}), C_ON_C) == stream()


def test_a_refusal_and_a_transcript_are_text() -> None:
    body = stream(chunk({"refusal": "I can"}), chunk({"refusal": "not"}), chunk({"audio": {"transcript": "!"}}))
    assert texts(through(body)) == ["I cannot!"]


def test_the_name_of_the_tool_is_the_clients() -> None:
    renamed = replace(A_ON_C, renamed={"short": "a very long name"})
    assert b'"name":"a very long name"' in through(stream(call(0, "{}", id="c", name="short")), renamed)


FIELDS = (
    *("choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "index", "id"),
    *("finish_reason", "usage", "error", "reasoning", "reasoning_details", "annotations", "audio"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS]),
            values,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4), st.sampled_from([A_ON_C, A_ON_C_WHOLE, C_ON_C]))
def test_no_json_of_an_upstream_raises(values: list[object], exchange: Exchange) -> None:
    body = b"".join(data(msgspec.json.encode(value)) for value in values)
    flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)
    for value in values:
        flow([Parse(), Translate(), Reframe()], [[Frame(msgspec.json.encode(value), whole=True)]], exchange)


def test_a_stream_that_is_answered_here_has_no_frames_to_wait_for() -> None:
    reader = CHAT.reader(replace(C_ON_C, answered_here=True))
    assert list(reader.close()) == []
    assert isinstance(next(iter(reader.feed(Frame(b"")))), Unknown)


def nested(depth: int, key: str | None) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


@pytest.mark.parametrize("depth", [20, 600])
@pytest.mark.parametrize("key", [None, "text", "content"])
@pytest.mark.parametrize("field", ["content", "reasoning", "reasoning_details", "annotations", "audio", "refusal"])
def test_parts_within_parts_never_raise(field: str, key: str | None, depth: int) -> None:
    for exchange in (A_ON_C, A_ON_C_WHOLE, C_ON_C):
        flow([Deframe(), Parse(), Translate(), Reframe()], [[stream(chunk({field: nested(depth, key)}))]], exchange)


@pytest.mark.parametrize("index", ["1" * 5000, "1", "²", -1, [1], 1.5])
def test_odd_indices_of_a_call_never_raise(index: Any) -> None:
    fragment = {"index": index, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert b'"name":"f"' in through(stream(chunk({"tool_calls": [fragment]})))


def test_a_number_too_large_where_nobody_looks_changes_nothing() -> None:
    odd = data(b'{"choices":[],"usage":{"prompt_tokens":1},"x":1e999}')
    assert texts(through(stream(chunk({"content": "Hi"})).replace(DONE, odd + DONE))) == ["Hi"]
    failed = data(b'{"choices":[],"error":{"message":"boom"},"x":1e999}')
    [error] = [each for each in flow([Deframe(), Parse()], [[failed]], A_ON_C) if isinstance(each, Error)]
    assert error.message == "boom"


def test_h091_white_space_that_is_held_has_a_bound() -> None:
    blank = [chunk({"reasoning": " " * 1000})]
    small = replace(A_ON_C, event_limit=5000)
    out = flow([Deframe(), Parse()], [blank] * 9, small)
    assert [each.message for each in out if isinstance(each, Error)] == [
        "the upstream sent more than 5000 bytes of white space"
    ]


@pytest.mark.parametrize(
    ("body", "noted"),
    [
        (chunk({"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]}), "choices[].message.images"),
        (chunk({"content": [{"type": "image_url"}]}), "choices[].message.content[].image_url"),
        (chunk({"content": "a"}, citations=["https://example.org"]), "citations"),
        (chunk({"content": "a"}, search_results=[{"url": "https://example.org"}]), "search_results"),
        (data({"choices": [{"index": 1, "delta": {"content": "other"}}]}), "choices[]"),
        (
            data({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}]}),
            "choices[].logprobs",
        ),
    ],
)
def test_what_an_anthropic_client_is_not_told_is_noted(body: bytes, noted: str) -> None:
    exchange = replace(A_ON_C, ledger=Ledger())
    through(stream(body), exchange)
    assert str(exchange.ledger).startswith(f"{noted} (")
    same = replace(C_ON_C, ledger=Ledger())
    through(stream(body), same)
    assert not same.ledger
