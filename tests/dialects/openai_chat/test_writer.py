"""Writing OpenAI chat answers: recordings of Anthropic's through the whole chain, and the odd ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import METADATA, flow, message, texts, wire
from tests.chat import C_ON_A, C_ON_A_WHOLE, C_ON_C, chunk, data, gathered, stream
from tests.corpus import streams, wholes
from tests.events import answers, in_batches
from trioproxy.dialects.openai_chat.read_request import read_request
from trioproxy.dialects.openai_responses.read_request import read_request as read_response_request
from trioproxy.items import (
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
    replace,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate


def fresh(exchange: Exchange) -> Exchange:
    return replace(exchange, ledger=Ledger())


def written(*events: Event, exchange: Exchange = C_ON_A) -> list[Any]:
    """The chunks, and "[DONE]"."""
    out = b"".join(flow([Translate(), Reframe()], [list(events)], exchange))
    frames = [frame.removeprefix(b"data: ") for frame in out.split(b"\n\n") if frame]
    return [frame if not frame.startswith(b"{") else msgspec.json.decode(frame) for frame in frames]


def deltas(*events: Event) -> list[Any]:
    return [each["choices"][0]["delta"] for each in written(*events) if isinstance(each, dict) and each["choices"]]


START, END = MessageStart("msg_1", "claude"), (MessageDelta("end_turn", usage=Usage(3, 4, 5, 6)), MessageStop())


def through(body: bytes, exchange: Exchange) -> bytes:
    items = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)
    errors = [item for item in items if isinstance(item, Error)]
    assert not errors, errors
    return b"".join(items)


def test_every_recorded_anthropic_answer_becomes_a_chat_one() -> None:
    seen = 0
    for case in streams("anthropic"):
        # [DONE] ends it, one finish comes before; read back, it says what it said.
        chat = through(case.body, fresh(C_ON_A))
        assert chat.endswith(b"data: [DONE]\n\n"), case.id
        assert chat.count(b'"role":"assistant"') == 1, case.id
        assert sum(b'"finish_reason":null' not in line for line in chat.split(b"\n\n") if b'"choices":[{' in line) == 1
        if case.id == "vercel-anthropic-spliced-message-start":
            continue  # a call in it is cut, and what reads this as an answer must not make it whole
        again = through(chat, Exchange(id="x", upstream_dialect="openai-chat"))
        assert "".join(texts(again)) == "".join(texts(case.body)), case.id
        seen += 1
    for case in wholes("anthropic"):
        if msgspec.json.decode(case.body).get("type") == "message":
            got = msgspec.json.decode(through(case.body, replace(fresh(C_ON_A_WHOLE), upstream_stream=False)))
            assert got["object"] == "chat.completion"
            seen += 1
    assert seen > 150


def test_what_every_chunk_says() -> None:
    chunks = written(START, BlockStart(0, Text()), TextDelta(0, "Hi"), BlockStop(0), *END)
    assert chunks.pop() == b"[DONE]"
    assert {(each["id"], each["created"], each["model"], each["object"]) for each in chunks} == {
        ("msg_1", 1, "gpt-test", "chat.completion.chunk")
    }
    assert [each["choices"][0]["delta"] for each in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert [each["choices"][0]["finish_reason"] for each in chunks[:-1]] == [None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 14,
        "completion_tokens": 4,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_usage_only_if_it_was_asked_for() -> None:
    unasked = written(START, *END, exchange=replace(C_ON_A, usage_wanted=False))
    assert all("usage" not in each for each in unasked if isinstance(each, dict))


def test_thinking_is_text_and_its_signature_is_noted() -> None:
    exchange = fresh(C_ON_A)
    events = [START, BlockStart(0, Thinking()), ThinkingDelta(0, "hm"), SignatureDelta(0, "sig"), BlockStop(0)]
    chunks = written(*events, BlockStart(1, RedactedThinking("x")), BlockStop(1), *END, exchange=exchange)
    assert chunks[1]["choices"][0]["delta"] == {"reasoning_content": "hm"}
    assert "content[].signature" in str(exchange.ledger)
    assert "content[].redacted_thinking" in str(exchange.ledger)


def test_tool_calls_are_numbered_and_what_the_provider_runs_is_none_of_them() -> None:
    calls = [
        *(BlockStart(0, OtherBlock(kind="server_tool_use")), ToolInputDelta(0, '{"q":1}'), BlockStop(0)),
        *(BlockStart(1, ToolUse(id="a", name="f")), ToolInputDelta(1, ""), ToolInputDelta(1, "{}"), BlockStop(1)),
        *(BlockStart(2, ToolUse(id="b", name="g")), BlockStop(2)),
    ]
    assert deltas(START, *calls, *END)[1:-1] == [
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
    ]


def test_the_next_messages_blocks_are_no_part_of_a_call() -> None:
    first = [BlockStart(0, ToolUse(id="a", name="f")), ToolInputDelta(0, "{}"), BlockStop(0), *END]
    second = [BlockStart(0, OtherBlock(kind="server_tool_use")), ToolInputDelta(0, '{"q":1}'), BlockStop(0), *END]
    body = b"".join(flow([Translate(), Reframe()], [[START, *first, START, *second]], C_ON_A))
    assert gathered(body)["tool_calls"][0]["function"]["arguments"] == "{}"


def test_citations_are_annotations() -> None:
    citation = {"type": "web_search_result_location", "url": "https://x.example", "title": "X", "cited_text": "…"}
    got = deltas(
        START, BlockStart(0, Text()), OtherDelta(0, "citations_delta", {"delta": {"citation": citation}}), *END
    )
    cited = {"url": "https://x.example", "title": "X", "start_index": 0, "end_index": 0}
    told = [delta["annotations"] for delta in got if "annotations" in delta]
    assert told == [[{"type": "url_citation", "url_citation": cited}]]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "length"),
        ("news_to_us", "stop"),
    ],
)
def test_h098_stop_reasons(reason: str, finish: str) -> None:
    chunks = written(START, MessageDelta(reason), MessageStop())
    assert chunks[1]["choices"][0]["finish_reason"] == finish


def test_a_ping_is_a_comment_and_takes_nobodys_place() -> None:
    out = b"".join(flow([Translate(), Reframe()], [[Ping(), START, Ping(), *END]], C_ON_A))
    assert out.startswith(b": keepalive\n\ndata: {")
    assert out.count(b"\n\n: keepalive\n\n") == 1


def test_two_messages_in_one_stream_are_one_answer() -> None:
    body = wire([*message("one", id="msg_1"), *message("two", id="msg_2")])
    chat = through(body, C_ON_A)
    assert chat.count(b"[DONE]") == chat.count(b'"finish_reason":"stop"') == 1
    assert chat.index(b'"one"') < chat.index(b'"two"') < chat.index(b'"finish_reason":"stop"')
    folded = msgspec.json.decode(through(body, C_ON_A_WHOLE))
    assert folded["choices"][0]["message"]["content"] == "onetwo"


def test_the_fold_of_an_answer() -> None:
    events = [
        *(START, BlockStart(0, Thinking()), ThinkingDelta(0, "h"), ThinkingDelta(0, "m"), BlockStop(0)),
        *(BlockStart(1, Text()), TextDelta(1, "a"), TextDelta(1, "b"), BlockStop(1)),
        *(BlockStart(2, ToolUse(id="c", name="f")), ToolInputDelta(2, '{"b":1,'), ToolInputDelta(2, '"a":2}')),
        *(BlockStop(2), MessageDelta("tool_use", usage=Usage(1, 2)), MessageStop()),
    ]
    (body,) = flow([Translate(), Reframe()], [events], C_ON_A_WHOLE)
    choice = msgspec.json.decode(body)["choices"][0]
    function = {"name": "f", "arguments": '{"b":1,"a":2}'}
    assert choice["message"] == {
        "role": "assistant",
        "content": "ab",
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (b"id: 5\nretry: 10\n\n", b""),
        (b": comment\n\n", b": comment\n\n"),
        (b"id: 5\r\ndata: {}\r\n\r\n", b"data: {}\n\n"),
        (b"data: {}\nid: 5\n\n", b"data: {}\n\n"),
        (b'data: {"identity":1}\n\n', b'data: {"identity":1}\n\n'),
    ],
)
def test_no_id_or_retry_line_reaches_a_chat_client(lines: bytes, left: bytes) -> None:
    body = stream(chunk({"content": "a"}))
    first, rest = body[: len(body) // 2].rpartition(b"\n\n")[0] + b"\n\n", b""
    rest = body[len(first) :]
    assert through(first + lines + rest, C_ON_C) == first + left + rest


class Shout(Stage[TextDelta, TextDelta]):
    def feed(self, delta: TextDelta, /) -> Any:
        yield replace(delta, text=delta.text.upper())


def test_within_the_dialect_only_what_a_stage_changed_is_written_anew() -> None:
    both = chunk({"content": "a", "reasoning_content": "hm"}, x=1)
    body = stream(chunk({"refusal": None, "content": "quiet"}), both, chunk({"reasoning": "hm"}, kept=2))
    out = b"".join(flow([Deframe(), Parse(), Shout(), Translate(), Reframe()], [[body]], C_ON_C))
    assert b'"content":"QUIET"' in out
    assert b'"content":"A"' in out
    assert b'"kept":2' in out  # nobody touched that chunk
    assert out.endswith(body[body.index(b'data: {"id":"chatcmpl-1","choices":[]') :])


def test_a_model_by_another_name_is_told_by_the_clients() -> None:
    renamed = replace(C_ON_C, model="alias", upstream_model="gpt-test")
    out = through(stream(chunk({"content": "a"})), renamed)
    assert b"gpt-test" not in out
    choices = b'[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]'
    whole = b'{"id":"1","model":"gpt-test","x":1.50,"choices":%s}' % choices
    got = through(whole, replace(renamed, stream=False, upstream_stream=False))
    assert got == whole.replace(b"gpt-test", b"alias")


def test_json_that_is_no_answer_is_no_stream() -> None:
    out = flow([Parse(), Translate()], [[Frame(b'{"x":1}', raw=b'{"x":1}', whole=True)]], C_ON_C)
    assert [type(item) for item in out] == [Error]
    assert through(b'{"x":1}', replace(C_ON_C, stream=False, upstream_stream=False)) == b'{"x":1}'


def test_what_nobody_knows_is_not_told_in_another_dialect() -> None:
    assert written(START, Unknown("odd", b'{"type":"odd"}'), *END) == written(START, *END)


def test_metadata_that_is_dropped_leaves_an_answer() -> None:
    from trioproxy.stages.signature_filter import SignatureFilter

    body = stream(chunk({"content": METADATA}))
    out = b"".join(flow([Deframe(), Parse(), SignatureFilter(), Translate(), Reframe()], [[body]], C_ON_C))
    assert b"isNewTopic" not in out
    assert out.count(b'"finish_reason":"stop"') == 1
    assert out.endswith(data(b"[DONE]"))


def test_citations_that_are_held_have_a_bound() -> None:
    cited = OtherDelta(0, "citations_delta", {"delta": {"citation": {"url": "https://example.org/" + "x" * 1000}}})
    out = flow([Translate()], [[START, BlockStart(0, Text()), *[cited] * 20]], replace(fresh(C_ON_A), event_limit=9000))
    assert [each.message for each in out if isinstance(each, Error)] == [
        "the upstream cited pages in more than 9000 bytes"
    ]


@pytest.mark.parametrize("exchange", [C_ON_A, C_ON_A_WHOLE])
def test_h026_an_end_without_a_message_is_an_error(exchange: Exchange) -> None:
    """A complete answer of HTTP that says nothing at all must not be one here."""
    for body in (b'event: message_stop\ndata: {"type":"message_stop"}\n\n', b": nothing\n\n"):
        out = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)
        assert isinstance(out[-1], Error)
        assert "before any message" in out[-1].message


def test_a_message_whose_start_a_stage_took_away_is_folded_all_the_same() -> None:
    events = [BlockStart(0, Text()), TextDelta(0, "Hi"), BlockStop(0), *END]
    [frame] = flow([Translate()], [events], C_ON_A_WHOLE)
    assert msgspec.json.decode(frame.data)["choices"][0]["message"]["content"] == "Hi"
    [error] = flow([Translate()], [[MessageStop()]], C_ON_A_WHOLE)
    assert isinstance(error, Error)


def test_what_a_chat_client_is_not_told_is_noted() -> None:
    extra = {
        "context_management": {"applied_edits": [{"type": "clear_tool_uses_20250919"}]},
        "delta": {"container": {"id": "c"}},
        "usage": {"server_tool_use": {"web_search_requests": 3}},
    }
    exchange = fresh(C_ON_A)
    written(START, MessageDelta("stop_sequence", "###", extra=extra), MessageStop(), exchange=exchange)
    for path in ("stop_sequence", "context_management", "container", "usage.server_tool_use"):
        assert f"{path} (" in str(exchange.ledger)
    nothing = {"context_management": {"applied_edits": []}, "usage": {"server_tool_use": {"web_search_requests": 0}}}
    exchange = fresh(C_ON_A)
    written(START, MessageDelta("end_turn", extra=nothing), MessageStop(), exchange=exchange)
    assert not exchange.ledger


# ── calls at once ───────────────────────────────────────────────────────────────────────────────────────────────────


def styled(*batches: list[Event], calls: Any = "single", exchange: Exchange = C_ON_A) -> bytes:
    """What a client gets that is told each call at once."""
    items = flow([Translate(tool_calls=calls), Reframe()], batches, exchange)
    return b"".join(item for item in items if isinstance(item, bytes))


CALLS: list[Event] = [
    *(BlockStart(0, ToolUse(id="a", name="f")), ToolInputDelta(0, '{"x"'), ToolInputDelta(0, ":1}"), BlockStop(0)),
    *(BlockStart(1, ToolUse(id="b", name="g", input='{"y":2}')), BlockStop(1)),
    *(BlockStart(2, ToolUse(name="g")), BlockStop(2)),
]


def test_m1_5_a_call_is_told_in_one_delta() -> None:
    out = styled([START, *CALLS[:3]])
    assert b"tool_calls" not in out
    told = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": '{"y":2}'}},
    ]
    chunks = [msgspec.json.decode(each[6:]) for each in styled([START, *CALLS, *END]).split(b"\n\n")[:-2]]
    found = [call for each in chunks for choice in each["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert found[:2] == told
    assert found[2]["index"] == 2
    assert found[2]["id"] == gathered(styled([START, *CALLS, *END], calls="delta"))["tool_calls"][2]["id"]
    assert found[2]["function"] == {"name": "g", "arguments": "{}"}
    assert len(found) == 3


def test_of_a_call_that_breaks_off_nothing_was_told() -> None:
    for end in ([], [Error("upstream", "gone")]):
        out = styled([START, BlockStart(0, Text()), TextDelta(0, "a"), BlockStop(0), *CALLS[:3], *end])
        assert b'"content":"a"' in out
        assert b"tool_calls" not in out


def test_a_call_that_is_left_open_is_told_with_the_end_of_its_message() -> None:
    for cut in ([*CALLS[:3], *END], [*CALLS[:3], MessageStop()], [*CALLS[:3], START, *END], [*CALLS[:3], *CALLS, *END]):
        for calls in ("single", "delta"):
            found = gathered(styled([START, *cut], calls=calls))["tool_calls"]
            assert [call["id"] for call in found[:2]] == ["a", "a"][: len(found)]
            assert {call["function"]["arguments"] for call in found[:2]} == {'{"x":1}'}


def test_calls_that_are_held_have_a_bound() -> None:
    small = replace(fresh(C_ON_A), event_limit=2000)
    pieces = [ToolInputDelta(0, "x" * 100)] * 30
    out = flow([Translate(tool_calls="single")], [[START, CALLS[0], *pieces, *END]], small)
    assert [each.message for each in out if isinstance(each, Error)] == [
        "the upstream sent more than 2000 bytes of tool calls"
    ]
    # What was told is held no longer.
    ended = [CALLS[0], *pieces[:10], BlockStop(0)]
    out = flow([Translate(tool_calls="single")], [[START, *ended * 9, *END]], small)
    assert not [each for each in out if isinstance(each, Error)]


def test_h092_a_client_hears_something_while_a_call_is_held() -> None:
    out = styled([START, CALLS[0], *[ToolInputDelta(0, " ")] * 24, *CALLS[1:4], *END])
    assert out.count(b": keepalive\n\n") == 3


@given(answers(), st.lists(st.integers(0, 5), max_size=6))
def test_single_and_delta_come_to_the_same(events: list[Event], sizes: list[int]) -> None:
    single = styled(*in_batches(events, sizes))
    assert gathered(single) == gathered(styled(events, calls="delta"))
    assert single == styled(events)  # and batches do not show
    [body] = flow([Translate(tool_calls="single"), Reframe()], [events], C_ON_A_WHOLE)
    [plain] = flow([Translate(), Reframe()], [events], C_ON_A_WHOLE)
    assert body == plain
    told = [line for line in single.split(b"\n\n") if b'"tool_calls":[' in line]
    assert len(told) == sum(isinstance(event, BlockStart) and isinstance(event.block, ToolUse) for event in events)


# ── tools that take a text ──────────────────────────────────────────────────────────────────────────────────────────

PATCH = '*** Begin Patch\n+"é\\\n*** End Patch'
NESTED = {"type": "custom", "custom": {"name": "ApplyPatch"}}
FLAT = {"type": "custom", "name": "ApplyPatch"}
USER = {"role": "user", "content": "hi"}


def asked(*tools: Any, exchange: Exchange = C_ON_A, responses: bool = False) -> Exchange:
    """By a client that offers these, in the words of Chat, or in those of Responses as Cursor does."""
    said: dict[str, Any] = {"input": [USER]} if responses else {"messages": [USER]}
    read = read_response_request if responses else read_request
    return replace(fresh(exchange), request=read(msgspec.json.encode({"model": "m", "tools": list(tools), **said})))


def patching(text: str = PATCH, *, size: int = 7) -> list[Event]:
    """A call that says `text`, in pieces of so many characters."""
    packed = msgspec.json.encode({"input": text}).decode()
    pieces = [ToolInputDelta(0, packed[at : at + size]) for at in range(0, len(packed), size)]
    return [BlockStart(0, ToolUse(id="c", name="ApplyPatch")), *pieces, BlockStop(0)]


ENDED = (MessageDelta("tool_use", usage=Usage(3, 4)), MessageStop())


def entries(*events: Event, exchange: Exchange, calls: Any = "delta") -> list[Any]:
    """What stands in `tool_calls`, chunk by chunk."""
    out = styled([*events], calls=calls, exchange=exchange)
    chunks = [msgspec.json.decode(frame[6:]) for frame in out.split(b"\n\n") if frame.startswith(b"data: {")]
    return [call for each in chunks for choice in each["choices"] for call in choice["delta"].get("tool_calls", ())]


def test_a_custom_tool_is_called_as_one_and_its_text_comes_in_pieces() -> None:
    begun, *pieces = entries(START, *patching(), *ENDED, exchange=asked(NESTED))
    assert begun == {"index": 0, "id": "c", "type": "custom", "custom": {"name": "ApplyPatch", "input": ""}}
    assert len(pieces) > 3
    assert {(each["index"], *each.keys()) for each in pieces} == {(0, "index", "custom")}
    assert {tuple(each["custom"]) for each in pieces} == {("input",)}
    assert "".join(each["custom"]["input"] for each in pieces) == PATCH
    *_, end, _, done = written(START, *patching(), *ENDED, exchange=asked(NESTED))
    assert (end["choices"][0]["finish_reason"], done) == ("tool_calls", b"[DONE]")


def test_in_one_piece_if_calls_are_told_at_once() -> None:
    told = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "ApplyPatch", "input": PATCH}}
    assert entries(START, *patching(), *ENDED, exchange=asked(NESTED), calls="single") == [told]
    [body] = flow([Translate(), Reframe()], [[START, *patching(), *ENDED]], asked(NESTED, exchange=C_ON_A_WHOLE))
    choice = msgspec.json.decode(body)["choices"][0]
    assert choice["message"]["tool_calls"] == [{key: told[key] for key in ("id", "type", "custom")}]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")


@pytest.mark.parametrize("responses", [False, True])
def test_h150h_cursor_reads_a_function_whose_arguments_are_the_text(responses: bool) -> None:
    """It offers the tool in the shape of Responses, whatever the words it asks in."""
    exchange = asked(FLAT, responses=responses)
    begun, *pieces = entries(START, *patching(), *ENDED, exchange=exchange)
    assert begun == {"index": 0, "id": "c", "type": "function", "function": {"name": "ApplyPatch", "arguments": ""}}
    assert "".join(each["function"]["arguments"] for each in pieces) == PATCH
    single = entries(START, *patching(), *ENDED, exchange=exchange, calls="single")
    assert single == [begun | {"function": {"name": "ApplyPatch", "arguments": PATCH}}]


def test_of_two_kinds_of_calls_each_is_told_as_what_it_is() -> None:
    function = [BlockStart(1, ToolUse(id="d", name="f")), ToolInputDelta(1, '{"input":"x"}'), BlockStop(1)]
    [custom, *_, begun, arguments] = entries(START, *patching(), *function, *ENDED, exchange=asked(NESTED))
    assert (custom["type"], custom["index"], begun["type"], begun["index"]) == ("custom", 0, "function", 1)
    assert arguments == {"index": 1, "function": {"arguments": '{"input":"x"}'}}


def test_calls_that_overlap_are_whole_in_their_order() -> None:
    patch, function = patching(size=99), [BlockStart(1, ToolUse(id="d", name="f")), BlockStop(1)]
    events = [START, patch[0], *function, *patch[1:], *ENDED]
    [body] = flow([Translate(), Reframe()], [events], asked(NESTED, exchange=C_ON_A_WHOLE))
    made = msgspec.json.decode(body)["choices"][0]["message"]["tool_calls"]
    assert [call["type"] for call in made] == ["custom", "function"]
    assert made[1]["function"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize("input", ['{"input":"select 1"}', '{ "input" : "select 1", "why": "so" }'])
def test_a_text_that_comes_with_the_start_of_its_block(input: str) -> None:
    events = [BlockStart(0, ToolUse(id="c", name="ApplyPatch", input=input)), BlockStop(0)]
    for calls in ("single", "delta"):
        [call] = gathered(styled([START, *events, *ENDED], calls=calls, exchange=asked(NESTED)))["tool_calls"]
        assert call["custom"] == {"name": "ApplyPatch", "input": "select 1"}
    [call] = gathered(styled([START, events[0], *ENDED], exchange=asked(NESTED)))["tool_calls"]  # its end never came
    assert call["custom"]["input"] == "select 1"


def test_no_arguments_are_no_text_and_other_arguments_all_of_it() -> None:
    call = BlockStart(0, ToolUse(id="c", name="ApplyPatch"))
    for arguments, text in (("", ""), ("{}", ""), ('{"patch":"x"}', '{"patch":"x"}')):
        events = [START, call, ToolInputDelta(0, arguments), BlockStop(0), *ENDED]
        [made] = gathered(styled(events, exchange=asked(NESTED)))["tool_calls"]
        assert made["custom"]["input"] == text


CUT = [*patching("drop table users")[:3], BlockStop(0)]


@pytest.mark.parametrize("exchange", [C_ON_A, C_ON_A_WHOLE])
@pytest.mark.parametrize("cut", [CUT, CUT[:-1]])
def test_h109_a_text_that_is_cut_must_not_pass_for_a_whole_one(exchange: Exchange, cut: list[Event]) -> None:
    """Arguments that are cut show it themselves, being no JSON; half of a command is a command."""
    out = flow([Translate(), Reframe()], [[START, *cut, *ENDED]], asked(NESTED, exchange=exchange))
    assert isinstance(out[-1], Error)
    assert "'ApplyPatch' with arguments that are cut" in out[-1].message
    assert b"[DONE]" not in b"".join(item for item in out if isinstance(item, bytes))
    # Where the end says so, the client knows.
    short = [START, *cut, MessageDelta("max_tokens"), MessageStop()]
    out = flow([Translate(), Reframe()], [short], asked(NESTED, exchange=exchange))
    assert not [item for item in out if isinstance(item, Error)]
    assert b'"finish_reason":"length"' in b"".join(out)


def test_what_is_held_of_a_text_has_a_bound() -> None:
    small = replace(asked(NESTED), event_limit=2000)
    out = flow([Translate()], [[START, *patching("x" * 3000, size=99), *ENDED]], small)
    assert [each.message for each in out if isinstance(each, Error)] == [
        "the upstream sent more than 2000 bytes of tool calls"
    ]
    several = [event for _ in range(9) for event in patching("x" * 900)]  # what was told is held no longer
    assert not [each for each in flow([Translate()], [[START, *several, *ENDED]], small) if isinstance(each, Error)]


def test_what_a_chat_upstream_calls_custom_itself_passes() -> None:
    custom = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "ApplyPatch", "input": "x"}}
    function = {
        "index": 1,
        "id": "d",
        "type": "function",
        "function": {"name": "ApplyPatch", "arguments": '{"input":"x"}'},
    }
    body = stream(chunk({"tool_calls": [custom]}), chunk({"tool_calls": [function]}), finish="tool_calls")
    for tool in (NESTED, FLAT):
        assert through(body, asked(tool, exchange=C_ON_C)) == body
        out = flow(
            [Deframe(), Parse(), Translate(tool_calls="single"), Reframe()], [[body]], asked(tool, exchange=C_ON_C)
        )
        assert gathered(b"".join(out)) == gathered(body)  # nor has it other words for what is held


def test_h150h_what_a_chat_upstream_calls_a_function_is_told_cursor_in_its_words() -> None:
    """It was asked in other words than Cursor's, and so its answer is in others."""
    [call] = [
        {"index": 0, "id": "c", "type": "function", "function": {"name": "ApplyPatch", "arguments": '{"input":"x"}'}}
    ]
    body = stream(chunk({"tool_calls": [call]}), finish="tool_calls")
    out = gathered(through(body, asked(FLAT, exchange=C_ON_C, responses=True)))
    assert out["tool_calls"] == [call | {"function": {"name": "ApplyPatch", "arguments": "x"}}]
    assert out["finish_reason"] == "tool_calls"


texts_of_calls = st.text(alphabet=st.sampled_from([*'"\\/ \n\tu', "é", "😀", "\x7f"]), max_size=20)


@given(st.lists(texts_of_calls, max_size=3), st.integers(1, 9), st.sampled_from([NESTED, FLAT]))
def test_however_it_is_cut_and_told_the_text_is_the_same(said: list[str], size: int, tool: Any) -> None:
    kind, field = ("custom", "input") if tool is NESTED else ("function", "arguments")
    events = [event for text in said for event in patching(text, size=size)]
    for calls in ("single", "delta"):
        found = gathered(styled([START, *events, *ENDED], calls=calls, exchange=asked(tool))).get("tool_calls", [])
        assert [call[kind][field] for call in found] == said


def test_an_id_that_is_no_text_for_people_is_no_place_for_the_text() -> None:
    """The text of most chunks is put into a template, whose place is found by a character that nobody sends."""
    for field, event in (("content", TextDelta(0, "Hi")), ("reasoning_content", ThinkingDelta(0, "Hi"))):
        block = BlockStart(0, Text() if field == "content" else Thinking())
        chunks = written(MessageStart("\0", "m"), block, event, replace(event), BlockStop(0), MessageStop())
        deltas = [(each["id"], each["choices"][0]["delta"]) for each in chunks[:-1] if each["choices"]]
        assert [(id, delta[field]) for id, delta in deltas if delta.get(field)] == [("\0", "Hi")] * 2
