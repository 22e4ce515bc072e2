"""The laws of `test_laws` where one of the two speaks Responses, and what holds for its requests on their way."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.anthropic import cut, cuts
from tests.hazards.chat import (
    A,
    C,
    Completion,
    Message,
    between,
    chat,
    read,
    says,
    text_block,
    thinks,
    through,
    written,
)
from tests.hazards.chat import message as answer_of
from tests.hazards.responses import R, asked
from tests.hazards.test_laws import answers, anything, arguments, content_of, names, pieces, spoken, together
from tests.hazards.test_laws import events as any_events
from tests.responses import (
    Wire,
    begun,
    call,
    check,
    custom_call,
    ended,
    event,
    frames,
    message,
    reasoning,
    refusal,
    response,
    search,
    stream,
)
from trioproxy import Exchange
from trioproxy.dialects import DIALECTS
from trioproxy.dialects.target import Target
from trioproxy.errors import ProxyError
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStop,
    RedactedThinking,
    SignatureDelta,
    Thinking,
    Usage,
)
from trioproxy.ledger import Ledger

many = settings(max_examples=100, deadline=None)
few = settings(max_examples=25, deadline=None)

SHOWN: Wire = {"reasoning": {"summary": "auto"}}


# ── any events at all ───────────────────────────────────────────────────────────────────────────────────────────────


@many
@given(st.lists(any_events, max_size=16), st.sampled_from([A, C, R]), st.booleans())
def test_any_events_are_a_legal_response_or_an_error(sequence: list[Event], upstream_: str, streamed: bool) -> None:
    """Of a Responses upstream too: these are events of stages, that no frame of its own tells."""
    got = written([*sequence, MessageStop()], asked(upstream_, SHOWN, stream=streamed))
    if streamed:
        check(got.body, whole=not got.errors)
    else:
        assert bool(got.body) != bool(got.errors)
        assert not got.body or msgspec.json.decode(got.body)["object"] == "response"


@many
@given(st.lists(any_events, max_size=12), st.integers(0, 12), st.sampled_from([A, C, R]))
def test_nothing_leaves_behind_an_error(sequence: list[Event], at: int, upstream_: str) -> None:
    got = written([*sequence[:at], Error("upstream", "x"), *sequence[at:]], asked(upstream_))
    assert got.errors
    assert not any(b"response." + status in got.body for status in (b"completed", b"incomplete", b"failed"))


# ── messages as they should be ──────────────────────────────────────────────────────────────────────────────────────


def said(content: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Content without what Responses has no border for, or no item: texts in a row, and white space that is thought."""
    kept = [each for each in content if each[0] != "thinking" or each[1].strip()]
    runs = [list(run) for _, run in groupby(kept, key=lambda each: each[0] if each[0] == "text" else id(each))]
    return [("text", "".join(text for _, text in run)) if run[0][0] == "text" else run[0] for run in runs]


@many
@given(answers(), st.booleans())
def test_written_and_read_again_it_is_the_same_message(
    answer: tuple[list[Event], list[tuple[str, Any]], str], streamed: bool
) -> None:
    sequence, content, reason = answer
    sent = written(sequence, asked(A, SHOWN, stream=streamed))
    assert not sent.errors
    again = read(sent.body, between(A, R, upstream_stream=streamed))
    got, stopped = content_of(again)
    assert said(got) == said(content)
    assert stopped == reason
    assert [each.usage for each in again if isinstance(each, MessageDelta)] == [Usage(3, 9, 0, 0)]


@st.composite
def signed(draw: st.DrawFn) -> list[Event]:
    """Thinking of Anthropic's, signed or redacted."""
    events: list[Event] = []
    for index in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            events.append(BlockStart(index, RedactedThinking(data=draw(spoken))))
        else:
            block = Thinking(thinking=draw(st.text(max_size=4)))
            events += [BlockStart(index, block), SignatureDelta(index, draw(spoken))]
        events.append(BlockStop(index))
    return events


@many
@given(signed(), st.booleans(), st.booleans())
def test_what_is_signed_comes_back_as_it_was(events: list[Event], shown: bool, streamed: bool) -> None:
    """Whether a client is shown it or not, it carries each block to whoever made it, in one piece and in order."""
    got = written([*events, MessageStop()], asked(A, SHOWN if shown else {}, provenance="up", stream=streamed))
    wire = check(got.body) if streamed else msgspec.json.decode(got.body)
    body = {"model": "m", "input": [{"role": "user", "content": "hi"}, *wire["output"], CALLED, RESULT], "tools": TOOLS}
    request = DIALECTS[R].read_request(msgspec.json.encode(body))
    sent = DIALECTS[A].write_request(request, Target(provenance="up"), Ledger()).body
    blocks = msgspec.json.decode(sent)["messages"][1]["content"][:-1]
    expected: list[Any] = []
    for each in events:
        match each:
            case BlockStart(block=RedactedThinking(data=data)):
                expected.append({"type": "redacted_thinking", "data": data})
            case BlockStart(block=Thinking(thinking=thinking)):
                expected.append({"type": "thinking", "thinking": thinking, "signature": ""})
            case SignatureDelta(signature=signature):
                expected[-1]["signature"] += signature
    assert blocks == expected
    elsewhere = DIALECTS[A].write_request(request, Target(provenance="other"), Ledger()).body
    assert msgspec.json.decode(elsewhere)["messages"][1]["content"][:-1] == []


CALLED = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "ok"}
TOOLS = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]


# ── answers of a Responses upstream ─────────────────────────────────────────────────────────────────────────────────


@st.composite
def items(
    draw: st.DrawFn, *, most: int = 4, kinds: str = "message refusal reasoning call custom search"
) -> list[list[Wire]]:
    """The events of some items, each in its place."""
    found: list[list[Wire]] = []
    for place in range(draw(st.integers(1, most))):
        kind, texts = draw(st.sampled_from(kinds.split())), draw(st.lists(spoken, max_size=3))
        match kind:
            case "message":
                found.append(message(place, *texts, id=f"msg_{place}"))
            case "refusal":
                found.append(refusal(place, *texts, id=f"msg_{place}"))
            case "reasoning":
                found.append(reasoning(place, *texts, id=f"rs_{place}"))
            case "call":
                told = pieces(draw(arguments), draw(cuts))
                found.append(call(place, *told, id=f"fc_{place}", call_id=f"call_{place}", name=draw(names)))
            case "custom":
                wires = custom_call(place, *texts, id=f"ctc_{place}")
                for wire in (wires[0], wires[-1]):
                    wire["item"]["call_id"] = f"call_{place}"
                found.append(wires)
            case "search":
                found.append(search(place, id=f"ws_{place}"))
    return found


def whole(told: list[list[Wire]]) -> bytes:
    return msgspec.json.encode(response("completed", *(wires[-1]["item"] for wires in told)))


@many
@given(items(), st.sampled_from([A, C]))
def test_a_stream_folds_into_what_the_whole_answer_says(told: list[list[Wire]], client: str) -> None:
    folded = through(stream(*told), between(client, R, stream=False, provenance="up"))
    unfolded = through(whole(told), between(client, R, stream=False, upstream_stream=False, provenance="up"))
    assert not folded.errors
    assert msgspec.json.decode(folded.body) == msgspec.json.decode(unfolded.body)


@many
@given(items(kinds="call custom", most=3), st.data())
def test_however_calls_interleave_they_are_the_same_calls(told: list[list[Wire]], random: st.DataObject) -> None:
    left = {place: list(wires) for place, wires in enumerate(told)}
    order: list[Wire] = []
    while any(left.values()):
        order.append(left[random.draw(st.sampled_from([place for place in left if left[place]]))].pop(0))
    body, straight = frames(*begun(), *order, ended()), stream(*told)
    for client in (A, C):
        got, expected = (_calls(through(each, between(client, R)).body, client) for each in (body, straight))
        assert got == expected
        assert len(got) == len(told)


def _calls(body: bytes, client: str) -> dict[str, tuple[str, Any]]:
    if client == C:
        return {id: (name, said) for id, name, said in Completion(body).called}
    got = Message(body)
    return dict(zip(got.ids, (each for each in got.content if not isinstance(each[1], str)), strict=True))


@many
@given(items(), st.data())
def test_whatever_is_told_less_often_is_told_all_the_same(told: list[list[Wire]], random: st.DataObject) -> None:
    """Any of the events that repeat a text may be missing, as long as the last of all has it."""
    wires = [wire for each in told for wire in each]
    repeat = [number for number, wire in enumerate(wires) if _repeats(wire)]
    gone = random.draw(st.sets(st.sampled_from(repeat)) if repeat else st.just(set[int]()))
    left = [wire for number, wire in enumerate(wires) if number not in gone]
    end = ended(*(each[-1]["item"] for each in told))
    for client in (A, C):
        bodies = (frames(*begun(), *left, end), stream(*told))
        got, expected = (through(body, between(client, R, provenance="up")) for body in bodies)
        assert not got.errors
        assert _prose(got.body, client) == _prose(expected.body, client)
        assert _calls(got.body, client) == _calls(expected.body, client)


def _repeats(wire: Wire) -> bool:
    """Not the end of reasoning: what is encrypted stands there first, and where it stands is its place."""
    told = wire["type"].endswith((".done", "part.added"))
    return told and not (wire["type"] == "response.output_item.done" and wire["item"]["type"] == "reasoning")


def _prose(body: bytes, client: str) -> Any:
    if client == A:
        return together([(kind, text) for kind, text in Message(body).content if isinstance(text, str)])
    got = Completion(body)
    return got.content, got.reasoning


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

TOLD = stream(reasoning(0, "hé", "m"), message(1, "té", "🙂"), call(2, '{"p":', '"🙂"}'), custom_call(3, "é", '"'))
OTHERS = {A: answer_of(text_block(0, "té", "🙂")), C: chat(thinks("hé"), says("té"), says("🙂"))}


@few
@given(cuts, st.sampled_from([b"\n", b"\r\n", b"\r"]))
@pytest.mark.parametrize("way", [(A, R), (C, R), (R, R), (R, A), (R, C)])
@pytest.mark.parametrize("streamed", [True, False])
def test_where_the_bytes_are_cut_changes_nothing(
    way: tuple[str, str], streamed: bool, places: list[int], end: bytes
) -> None:
    client, upstream_ = way
    body = (TOLD if upstream_ == R else OTHERS[upstream_]).replace(b"\n", end)

    def exchange() -> Exchange:
        return asked(upstream_, SHOWN, stream=streamed) if client == R else between(*way, stream=streamed)

    assert through(cut(body, places), exchange()).body == through(body, exchange()).body


_FIELDS = (
    "id object model output usage error status incomplete_details reason item part annotation delta text refusal "
    "arguments input output_index item_id content_index summary_index logprobs content summary encrypted_content role "
    "name namespace call_id phase annotations url title code message param response sequence_number input_tokens "
    "output_tokens input_tokens_details cached_tokens output_tokens_details reasoning_tokens total_tokens type"
)
_KINDS = (
    "message reasoning function_call custom_tool_call web_search_call mcp_call output_text refusal summary_text "
    "reasoning_text url_citation completed incomplete failed in_progress max_output_tokens content_filter assistant"
)
_EVENTS = (
    "created in_progress queued completed incomplete failed cancelled output_item.added output_item.done "
    "content_part.added content_part.done output_text.delta output_text.done output_text.annotation.added "
    "refusal.delta refusal.done reasoning_summary_part.added reasoning_summary_part.done reasoning_summary_text.delta "
    "reasoning_summary_text.done reasoning_text.delta reasoning_text.done function_call_arguments.delta "
    "function_call_arguments.done custom_tool_call_input.delta custom_tool_call_input.done web_search_call.searching"
)
fields, kinds = st.sampled_from(_FIELDS.split()), st.sampled_from(_KINDS.split())
types = st.sampled_from([*(f"response.{name}" for name in _EVENTS.split()), "error", "keepalive", "odd"])
small = st.integers(0, 2)
objects = st.dictionaries(fields, anything | kinds, max_size=5)
typed = st.builds(lambda kind, more: {**more, "type": kind}, kinds, objects)
told_wires = st.one_of(
    st.builds(lambda type, more: {**more, "type": type}, types, objects),
    st.builds(lambda type, place, item: {"type": type, "output_index": place, "item": item}, types, small, typed),
    st.builds(
        lambda type, place, inner, delta: {"type": type, "output_index": place, "content_index": inner, "delta": delta},
        types,
        small,
        small,
        anything | spoken,
    ),
    st.builds(
        lambda type, place, part: {"type": type, "output_index": place, "summary_index": 0, "part": part},
        types,
        small,
        typed,
    ),
    st.builds(lambda type, wire: {"type": type, "response": wire}, types, objects),
    st.builds(lambda output, more: ended(*output, **more), st.lists(typed, max_size=3), objects),
    st.sampled_from([*message(0, "a"), *call(1, '{"a":', "1}"), *reasoning(2, "t"), ended()]),
)


@many
@given(st.lists(told_wires, max_size=8), st.sampled_from([A, C, R]))
def test_any_json_of_a_responses_upstream_never_raises(wires: list[Wire], client: str) -> None:
    body = b"".join(event({**wire, "type": str(wire["type"])}) for wire in wires)
    for streamed in (True, False):
        got = through(body, between(client, R, stream=streamed))
        if streamed and client == A:
            Message(got.body, whole=not got.errors)
        elif streamed and client == C and got.body:
            Completion(got.body, whole=not got.errors)
        elif not streamed and client != R and got.body and not got.errors:
            assert msgspec.json.decode(got.body).keys() >= {"id", "model"}


@many
@given(
    st.one_of(
        anything.map(msgspec.json.encode),
        st.builds(
            lambda output, more: msgspec.json.encode(response("completed", *output) | more),
            st.lists(typed, max_size=3),
            st.dictionaries(fields, anything | kinds, max_size=3),
        ),
    ),
    st.sampled_from([A, C, R]),
)
def test_any_whole_json_never_raises(body: bytes, client: str) -> None:
    for streamed in (True, False):
        exchange = asked(R) if client == R else between(client, R)
        got = through(body, msgspec.structs.replace(exchange, stream=streamed, upstream_stream=False))
        assert got.body or got.errors
        if streamed and client == A:
            Message(got.body, whole=not got.errors)
        elif streamed and client == C and got.body:
            Completion(got.body, whole=not got.errors)


# ── requests there and back ─────────────────────────────────────────────────────────────────────────────────────────

odd = st.sampled_from(["functions.read:0", "call|1", "çall"])
ids = st.one_of(st.from_regex("[a-zA-Z0-9_-]{1,40}", fullmatch=True), odd)
words = spoken.map(str.strip).filter(bool)  # Anthropic wants no white space at the end of all


@st.composite
def conversations(draw: st.DrawFn) -> list[Wire]:
    """The user's words, what the model says, and what it calls with what that gives; each call has an id of its own."""
    conversation: list[Wire] = []
    of_calls = iter(draw(st.lists(ids, min_size=6, max_size=6, unique=True)))
    for _ in range(draw(st.integers(1, 3))):
        conversation.append(_says("user", draw(words)))
        made = [(next(of_calls), draw(names), draw(arguments)) for _ in range(draw(st.integers(0, 2)))]
        if not made or draw(st.booleans()):
            conversation.append(_says("assistant", draw(words)))
        conversation += [{"type": "function_call", "call_id": i, "name": n, "arguments": said} for i, n, said in made]
        outputs = [draw(words) for _ in made]
        conversation += [
            {"type": "function_call_output", "call_id": i, "output": output}
            for (i, _, _), output in zip(made, outputs, strict=True)
        ]
    return conversation


def _says(role: str, text: str) -> Wire:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def _plainly(item: Wire) -> Any:
    """What an item says, without what only one host wants of it: ids, statuses, empty annotations."""
    if item["type"] == "message":
        return item["role"], "".join(part["text"] for part in item["content"])
    return {key: item[key] for key in ("type", "call_id", "name", "arguments", "output") if key in item}


@many
@given(conversations(), st.sampled_from([A, C]), st.sampled_from(["api.openai.com", "localhost"]))
def test_there_and_back_a_conversation_is_the_same(conversation: list[Wire], through_: str, host: str) -> None:
    """From a Responses client over another dialect to a Responses upstream: every item, in its order, to the letter."""
    body = msgspec.json.encode({"model": "gpt-4o", "input": conversation, "tools": TOOLS})
    for client, upstream_ in ((R, through_), (through_, R)):
        request = DIALECTS[client].read_request(body)
        body = DIALECTS[upstream_].write_request(request, Target(host=host), Ledger()).body
    assert list(map(_plainly, msgspec.json.decode(body)["input"])) == list(map(_plainly, conversation))


@many
@given(st.lists(anything, max_size=5), st.dictionaries(fields, anything, max_size=3), st.sampled_from([A, C, R]))
def test_any_request_is_read_and_written_or_refused_in_words(input: list[Any], more: Wire, upstream_: str) -> None:
    refused = None
    try:
        request = DIALECTS[R].read_request(msgspec.json.encode({"model": "m", "input": input} | more))
        DIALECTS[upstream_].write_request(request, Target(), Ledger())
    except ProxyError as exc:
        refused = exc.error
    assert refused is None or (refused.kind, refused.status, bool(refused.message)) == ("invalid_request", 400, True)
