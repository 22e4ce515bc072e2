"""What holds for every answer between the two dialects, whatever comes: checked with answers nobody thought of."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.anthropic import cut, cuts
from tests.chat import DONE, data
from tests.chat import piece as call
from tests.hazards.chat import (
    ROLE,
    A,
    C,
    Completion,
    Message,
    between,
    calls,
    chat,
    chunk,
    completion,
    event,
    message,
    message_start,
    read,
    says,
    text_block,
    thinks,
    through,
    to_anthropic,
    tool_block,
    written,
)
from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherBlock,
    OtherDelta,
    Ping,
    RedactedThinking,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Unknown,
    Usage,
)

WAYS = [(A, C), (C, A), (C, C), (A, A)]  # client, upstream
many = settings(max_examples=120, deadline=None)

# ── any events at all ───────────────────────────────────────────────────────────────────────────────────────────────

indices = st.integers(0, 3)
words = st.text(max_size=4)
names = st.sampled_from(["read", "write", "now"])
reasons = st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal", "pause_turn", "stop_sequence", "odd", None])
counts = st.none() | st.integers(0, 9)
usages = st.builds(Usage, counts, counts, counts, counts)
blocks: st.SearchStrategy[Block] = st.one_of(
    st.builds(Text, text=words),
    st.builds(Thinking, thinking=words, signature=words),
    st.builds(RedactedThinking, data=words),
    st.builds(ToolUse, id=words, name=names),
    st.just(OtherBlock(kind="server_tool_use", extra={"type": "server_tool_use", "id": "s", "input": {}})),
)
CITATION = {"delta": {"citation": {"type": "web_search_result_location", "url": "https://example.org/"}}}
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(MessageStart, words, words, usages),
    st.builds(BlockStart, indices, blocks),
    st.builds(TextDelta, indices, words),
    st.builds(ThinkingDelta, indices, words),
    st.builds(SignatureDelta, indices, words),
    st.builds(ToolInputDelta, indices, words),
    st.builds(OtherDelta, indices, st.just("citations_delta"), st.just(CITATION)),
    st.builds(OtherDelta, indices, st.just("odd_delta"), st.just({"delta": {"x": 1}})),
    st.builds(BlockStop, indices),
    st.builds(MessageDelta, reasons, st.none() | words, st.none() | usages),
    st.just(MessageStop()),
    st.just(Ping()),
    st.just(Unknown("", b"")),
)


@many
@given(st.lists(events, max_size=16))
def test_any_events_are_a_legal_message_or_an_error(sequence: list[Event]) -> None:
    got = written([*sequence, MessageStop()], between(A, C))
    Message(got.body, whole=not got.errors)


@many
@given(st.lists(events, max_size=16))
def test_any_events_are_legal_chunks_or_an_error(sequence: list[Event]) -> None:
    got = written([*sequence, MessageStop()], between(C, A))
    Completion(got.body, whole=not got.errors)


@many
@given(st.lists(events, max_size=16), st.sampled_from(WAYS))
def test_any_events_fold_into_one_body_or_an_error(sequence: list[Event], way: tuple[str, str]) -> None:
    got = written(sequence, between(*way, stream=False))
    if got.body:
        wire = msgspec.json.decode(got.body)
        assert not got.errors
        assert wire["type"] == "message" if way[0] == A else wire["object"] == "chat.completion"


@many
@given(st.lists(events, max_size=12), st.integers(0, 12), st.sampled_from(WAYS))
def test_nothing_leaves_behind_an_error(sequence: list[Event], at: int, way: tuple[str, str]) -> None:
    got = written([*sequence[:at], Error("upstream", "x"), *sequence[at:]], between(*way))
    assert got.errors
    ends = (b"message_stop", b"[DONE]") if MessageStop() not in sequence[:at] else ()
    assert not any(end in got.body for end in ends)


# ── messages as they should be ──────────────────────────────────────────────────────────────────────────────────────

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 1 << 70) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(words, values, max_size=3).map(lambda value: msgspec.json.encode(value).decode())
spoken = st.text(min_size=1, max_size=6)


def pieces(text: str, places: list[int]) -> list[str]:
    return [piece.decode() for piece in cut_text(text, places)]


def cut_text(text: str, places: list[int]) -> list[bytes]:
    """`text` cut between characters."""
    inner = sorted({place % (len(text) + 1) for place in places})
    ends = [0, *inner, len(text)]
    return [text[start:end].encode() for start, end in pairwise(ends) if start < end]


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Event], list[tuple[str, Any]], str]:
    """A legal message: its events, its content, and its stop_reason."""
    sequence: list[Event] = [MessageStart("m", "m", Usage(3, 1))]
    content: list[tuple[str, Any]] = []
    called = 0
    for index in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["text", "thinking", "tool"]))
        places = draw(cuts)
        if kind == "tool":
            text, name = draw(arguments), draw(names)
            called += 1
            sequence.append(BlockStart(index, ToolUse(id=f"toolu_{called}", name=name)))
            sequence += [ToolInputDelta(index, piece) for piece in pieces(text, places)] if text != "{}" else []
            content.append((name, (f"toolu_{called}", text)))
        elif kind == "text":
            text = draw(spoken)
            sequence += [BlockStart(index, Text()), *(TextDelta(index, piece) for piece in pieces(text, places))]
            content.append(("text", text))
        else:
            text = draw(spoken.filter(lambda text: bool(text.strip())))
            sequence += [BlockStart(index, Thinking()), *(ThinkingDelta(index, each) for each in pieces(text, places))]
            content.append(("thinking", text))
        sequence.append(BlockStop(index))
    reason = "tool_use" if called else draw(st.sampled_from(["end_turn", "max_tokens", "refusal"]))
    return [*sequence, MessageDelta(reason, usage=Usage(3, 9)), MessageStop()], content, reason


def together(content: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Content as far as Chat Completions has an order: no borders between blocks of one kind, calls by themselves."""
    prose = [each for each in content if isinstance(each[1], str)]
    merged: list[tuple[str, Any]] = []
    for kind, group in groupby(prose, key=lambda each: each[0]):
        if text := "".join(text for _, text in group):
            merged.append((kind, text))
    return merged + [each for each in content if not isinstance(each[1], str)]


def content_of(sequence: list[Event]) -> tuple[list[tuple[str, Any]], str | None]:
    """What was read: content and stop_reason."""
    kinds: dict[int, list[Any]] = {}
    reason = None
    for each in sequence:
        match each:
            case BlockStart(index=index, block=ToolUse() as block):
                kinds[index] = [block.name, block.id, ""]
            case BlockStart(index=index, block=block):
                kinds[index] = ["thinking" if isinstance(block, Thinking) else "text", ""]
            case TextDelta(index=index, text=text) | ThinkingDelta(index=index, thinking=text):
                kinds[index][-1] += text
            case ToolInputDelta(index=index, partial_json=text):
                kinds[index][-1] += text
            case MessageDelta(stop_reason=str(found)):
                reason = found
            case Error():
                raise AssertionError(each)
    content = [(kind, (*rest[:-1], rest[-1] or "{}") if len(rest) > 1 else rest[0]) for kind, *rest in kinds.values()]
    return content, reason


@many
@given(answers())
def test_written_and_read_again_it_is_the_same_message(
    answer: tuple[list[Event], list[tuple[str, Any]], str],
) -> None:
    sequence, content, reason = answer
    for through_ in (C, A):
        sent = written(sequence, between(through_, C if through_ == A else A))
        assert not sent.errors
        got, stopped = content_of(read(sent.body, between(A if through_ == C else C, through_)))
        assert together(got) == together(content)
        assert stopped == reason


@many
@given(answers())
def test_whole_and_streamed_it_is_the_same_message(answer: tuple[list[Event], list[tuple[str, Any]], str]) -> None:
    sequence, content, reason = answer
    for client in (C, A):
        folded = written(sequence, between(client, C if client == A else A, stream=False))
        assert not folded.errors
        other = between(A if client == C else C, client, upstream_stream=False)
        got, stopped = content_of(read(folded.body, other))
        assert stopped == reason
        if client == A:
            assert together(got) == together(content)
        else:  # a whole chat completion does not tell in which order its parts came
            assert "".join(text for kind, text in got if kind == "text") == "".join(
                text for kind, text in content if kind == "text"
            )
            assert [each for each in got if isinstance(each[1], tuple)] == [
                each for each in content if isinstance(each[1], tuple)
            ]


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

CHATTED = chat(
    thinks("hé"),
    says("te 🙂"),
    calls(call(0, '{"p"', id="a", name="read"), call(1, "", id="b", name="now")),
    calls(call(1, "{}"), call(0, ':"🙂"}')),
    finish="tool_calls",
)
TOLD = message(text_block(0, "té", "🙂"), tool_block(1, '{"p":', '"🙂"}'), text_block(2, "x"), reason="tool_use")


@settings(max_examples=40, deadline=None)
@given(cuts, st.sampled_from([b"\n", b"\r\n", b"\r"]))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", [True, False])
def test_where_the_bytes_are_cut_changes_nothing(
    way: tuple[str, str], stream: bool, places: list[int], end: bytes
) -> None:
    body = (CHATTED if way[1] == C else TOLD).replace(b"\n", end)
    assert (
        through(cut(body, places), between(*way, stream=stream)).body
        == through(body, between(*way, stream=stream)).body
    )


_FIELDS = (
    "id object created model choices usage error index delta message finish_reason content role tool_calls function "
    "name arguments reasoning_content reasoning reasoning_details refusal annotations url_citation url audio "
    "transcript function_call prompt_tokens completion_tokens total_tokens prompt_tokens_details cached_tokens "
    "completion_tokens_details reasoning_tokens type code detail text x_groq custom "
    "content_block partial_json thinking signature stop_reason stop_sequence input_tokens output_tokens citations "
    "citation input data id tool_use_id"
)
_KINDS = (
    "text thinking redacted_thinking tool_use server_tool_use tool_result image text_delta input_json_delta "
    "thinking_delta signature_delta citations_delta message_start content_block_start content_block_delta "
    "content_block_stop message_delta message_stop ping error message url_citation stop length tool_calls "
    "assistant"
)
fields, kinds = st.sampled_from(_FIELDS.split()), st.sampled_from(_KINDS.split())
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
    | kinds,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields | words, inner, max_size=5),
    max_leaves=20,
)
chunks = st.one_of(
    anything.map(data),
    # A chunk, and one of its fields is anything.
    st.builds(lambda key, value: chunk({key: value}), fields, anything),
    st.builds(
        lambda value, key: chunk(says("a"), **{key: value}), anything, st.sampled_from(["usage", "id", "model", "x"])
    ),
    st.builds(lambda value: chunk({"tool_calls": [value]}), st.dictionaries(fields, anything, max_size=4)),
    st.builds(
        lambda index, function, id: chunk({"tool_calls": [{"index": index, "id": id, "function": function}]}),
        anything,
        st.fixed_dictionaries({"name": anything | names, "arguments": anything | arguments}),
        anything,
    ),
    st.builds(lambda value: data({"id": "x", "choices": [value]}), anything),
    st.builds(
        lambda reason: data({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}), anything
    ),
    st.sampled_from([chunk(ROLE), chunk(says("a")), chunk({}, "stop"), DONE]),
)
told = st.one_of(
    st.builds(lambda kind, value: event({**value, "type": kind}), kinds, st.dictionaries(fields, anything, max_size=4)),
    st.builds(
        lambda index, value: event({"type": "content_block_start", "index": index, "content_block": value}),
        indices,
        st.dictionaries(fields, anything, max_size=4),
    ),
    st.builds(
        lambda index, value: event({"type": "content_block_delta", "index": index, "delta": value}),
        indices,
        st.dictionaries(fields, anything, max_size=4),
    ),
    st.builds(
        lambda usage: event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}), anything
    ),
    st.sampled_from([message_start(), text_block(0, "a"), tool_block(1, "{}"), message()[len(message_start()) :]]),
)


def legal(got: Any, client: str, upstream: str) -> None:
    """What came out of a translation is legal, as far as it goes; between two of one dialect anything may pass."""
    if client == upstream:
        return
    if client == A:
        Message(got.body, whole=not got.errors)
    elif got.body:
        Completion(got.body, whole=not got.errors)


@settings(max_examples=120, deadline=None)
@given(st.lists(chunks, max_size=6), st.sampled_from([A, C]))
def test_any_json_of_a_chat_upstream_never_raises(frames: list[bytes], client: str) -> None:
    body = b"".join(frames)
    for stream in (True, False):
        got = through(body, between(client, C, stream=stream))
        if stream:
            legal(got, client, C)
        elif got.body and not got.errors and client == A:
            assert msgspec.json.decode(got.body)["type"] == "message"


@settings(max_examples=120, deadline=None)
@given(st.lists(told, max_size=6), st.sampled_from([A, C]))
def test_any_json_of_an_anthropic_upstream_never_raises(frames: list[bytes], client: str) -> None:
    body = b"".join(frames)
    for stream in (True, False):
        got = through(body, between(client, A, stream=stream))
        if stream:
            legal(got, client, A)
        elif got.body and not got.errors and client == C:
            assert msgspec.json.decode(got.body)["object"] == "chat.completion"


wholes = st.one_of(
    anything.map(msgspec.json.encode),
    st.dictionaries(fields, anything, max_size=4).map(completion),
    st.builds(
        lambda content, more: msgspec.json.encode({"type": "message", "role": "assistant", "content": content, **more}),
        st.lists(
            st.builds(lambda kind, more: {"type": kind, **more}, kinds, st.dictionaries(fields, anything, max_size=4)),
            max_size=3,
        ),
        st.dictionaries(
            st.sampled_from(["id", "model", "usage", "stop_reason", "stop_sequence"]), anything, max_size=4
        ),
    ),
)


@settings(max_examples=120, deadline=None)
@given(wholes, st.sampled_from(WAYS))
def test_any_whole_json_never_raises(body: bytes, way: tuple[str, str]) -> None:
    for stream in (True, False):
        got = through(body, between(*way, stream=stream, upstream_stream=False))
        if stream:
            legal(got, *way)
        assert got.body or got.errors


# ── parallel calls ──────────────────────────────────────────────────────────────────────────────────────────────────


@many
@given(st.lists(st.tuples(names, arguments, cuts), min_size=1, max_size=4), st.data())
def test_however_calls_interleave_they_are_the_same_calls(
    wanted: list[tuple[str, str, list[int]]], random: st.DataObject
) -> None:
    left = {
        index: [
            call(index, "", id=f"call_{index}", name=name),
            *(call(index, piece) for piece in pieces(text, places)),
        ]
        for index, (name, text, places) in enumerate(wanted)
    }
    deltas = []
    while any(left.values()):
        index = random.draw(st.sampled_from([index for index, fragments in left.items() if fragments]))
        deltas.append(calls(left[index].pop(0)))
    body = chat(*deltas, finish="tool_calls")
    got = to_anthropic(body)
    expected = {f"call_{index}": (name, text) for index, (name, text, _) in enumerate(wanted)}
    found = {id: (name, text or "{}") for id, (name, _), text in zip(got.ids, got.content, got.arguments, strict=True)}
    assert found == expected
    whole = msgspec.json.decode(through(body, between(C, C, stream=False, model="", upstream_model="")).body)
    assert {
        each["id"]: (each["function"]["name"], each["function"]["arguments"])
        for each in whole["choices"][0]["message"]["tool_calls"]
    } == expected
