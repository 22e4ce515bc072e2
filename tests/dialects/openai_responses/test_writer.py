"""Writing OpenAI Responses answers: what each event becomes, how answers end, and laws over answers of any kind."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.anthropic import flow, message
from tests.corpus import streams, wholes
from tests.events import answers, in_batches
from tests.hazards.test_laws import events as any_events
from tests.responses import check, wires
from trioproxy.dialects.carried import carried, opened
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
    Request,
    SignatureDelta,
    Source,
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
from trioproxy.stages.signature_filter import SignatureFilter
from trioproxy.stages.translate import Translate

Wire = dict[str, Any]
SDK: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

START, END = MessageStart("m", "claude"), (MessageDelta("end_turn", usage=Usage(3, 4, 5, 6)), MessageStop())


def asked(wire: Wire | None = None, **more: Any) -> Exchange:
    """An exchange of a client that sent `wire` to an Anthropic upstream."""
    facts: Wire = {"model": "gpt-test", "upstream_model": "claude", "created": 7, "provenance": "up", **more}
    read = Request("gpt-test")
    request = replace(read, source=Source("openai-responses", wire or {}, read))
    return Exchange(id="test", client_dialect="openai-responses", request=request, ledger=Ledger(), **facts)


SHOWN: Wire = {"reasoning": {"summary": "auto"}}


def told(*events: Event, exchange: Exchange | None = None, **style: Any) -> bytes:
    """What the client gets, each event a batch of its own."""
    out = flow([Translate(**style), Reframe()], [[event] for event in events], exchange or asked())
    errors = [each for each in out if isinstance(each, Error)]
    assert not errors, errors
    return b"".join(out)


def output(*events: Event, exchange: Exchange | None = None, **style: Any) -> list[Wire]:
    """The items of a whole answer with these events, which is legal."""
    items: list[Wire] = check(told(START, *events, *END, exchange=exchange, **style))["output"]
    return items


def failing(*events: Event, stream: bool = True) -> Error:
    [*_, error] = flow([Translate(), Reframe()], [[START, *events]], asked(stream=stream))
    assert isinstance(error, Error), error
    return error


def fold(events: list[Event], exchange: Exchange) -> Any:
    [body] = flow([Translate(), Reframe()], [events], replace(exchange, stream=False))
    return msgspec.json.decode(body) if isinstance(body, bytes) else body


TEXT: list[Event] = [BlockStart(0, Text()), TextDelta(0, "H"), TextDelta(0, "i"), BlockStop(0)]


def call(index: int, *pieces: str, id: str = "toolu_1", name: str = "read") -> list[Event]:
    deltas = [ToolInputDelta(index, piece) for piece in pieces]
    return [BlockStart(index, ToolUse(id=id, name=name)), *deltas, BlockStop(index)]


# ── the ladder ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h147_a_text_goes_up_the_whole_ladder() -> None:
    kinds = [each["type"].removeprefix("response.") for each in wires(told(START, *TEXT, *END))]
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
    ]


def test_every_event_is_one_that_openais_sdk_declares() -> None:
    events = [
        *(BlockStart(0, Thinking()), ThinkingDelta(0, "hm"), SignatureDelta(0, "sig"), BlockStop(0)),
        *(BlockStart(1, Text()), TextDelta(1, "Hi"), CITED, BlockStop(1)),
        *call(2, '{"a"', ":1}"),
        *call(3, '{"input":"pa', 'tch"}', id="toolu_2", name="patch"),
    ]
    exchange = asked({**SHOWN, "tools": [{"type": "custom", "name": "patch"}]})
    body = told(START, *events, *END, exchange=exchange)
    check(body)
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for wire in wires(body):
        state.handle_event(SDK.validate_python(wire))


def test_a_response_says_again_what_the_client_asked_for() -> None:
    wire: Wire = {
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "f", "parameters": {"n": 1.50}, "strict": False}],
        "tool_choice": {"type": "function", "name": "f"},
        "temperature": 0.2,
        "top_p": None,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "metadata": {"a": "b"},
        "max_output_tokens": 99,
        "store": True,
        "parallel_tool_calls": False,
        "truncation": 3,
    }
    end = check(told(START, *TEXT, *END, exchange=asked(wire)))
    same = ("instructions", "tools", "tool_choice", "temperature", "metadata", "max_output_tokens")
    assert {key: end[key] for key in same} == {key: wire[key] for key in same}
    assert end["reasoning"] == {"effort": "low", "summary": None}
    assert end["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert (end["top_p"], end["truncation"], end["parallel_tool_calls"]) == (1.0, "disabled", False)
    assert end["store"] is False  # nobody here keeps it
    assert (end["id"], end["created_at"], end["model"]) == ("resp_test", 7, "gpt-test")


def test_h044_usage_has_what_was_cached_inside() -> None:
    delta = MessageDelta("end_turn", usage=Usage(3, 4, 5, 6), extra={"usage": THOUGHT})
    assert check(told(START, *TEXT, delta, MessageStop()))["usage"] == {
        "input_tokens": 14,
        "input_tokens_details": {"cache_write_tokens": 5, "cached_tokens": 6},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }


THOUGHT = {"output_tokens_details": {"thinking_tokens": 2}}


def test_each_text_is_a_message_and_an_empty_one_is_none() -> None:
    empty: list[Event] = [BlockStart(5, Text()), TextDelta(5, ""), BlockStop(5)]
    items = output(*empty, *TEXT, BlockStart(1, Text(text="x")), BlockStop(1))
    assert [item["content"][0]["text"] for item in items] == ["Hi", "x"]
    assert [item["id"] for item in items] == ["msg_test_0", "msg_test_1"]
    assert output(*empty) == []


CITATION = {"type": "web_search_result_location", "url": "https://x.example", "title": "X"}
CITED = OtherDelta(1, "citations_delta", {"delta": {"citation": CITATION}})


def test_citations_are_annotations() -> None:
    [item] = output(BlockStart(1, Text()), CITED, TextDelta(1, "a"), CITED, BlockStop(1))
    annotation = {"type": "url_citation", "url": "https://x.example", "title": "X", "start_index": 0, "end_index": 0}
    assert item["content"][0]["annotations"] == [annotation, annotation]


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_calls_keep_their_ids_and_every_byte_of_their_arguments() -> None:
    items = output(*call(0, '{"n": 1.50', ', "n": 2}'), *call(1, id="", name="now"), *call(2, "", id="toolu_3"))
    assert [item["arguments"] for item in items] == ['{"n": 1.50, "n": 2}', "{}", "{}"]  # H148
    assert items[0]["call_id"] == "toolu_1"
    assert items[1]["call_id"].startswith("toolu_")
    assert items[0]["id"] == "fc_test_0"  # H149
    again = output(*call(0, '{"n": 1.50', ', "n": 2}'), *call(1, id="", name="now"))
    assert again[1]["call_id"] == items[1]["call_id"]


def test_two_calls_with_one_id_get_two() -> None:
    first, second = output(*call(0, id="c"), *call(1, id="c"))
    assert first["call_id"] == "c"
    assert second["call_id"] not in ("c", "")


def test_arguments_that_stand_in_the_start_count_only_without_any_others() -> None:
    start = BlockStart(0, ToolUse(id="c", name="f", input='{"a":1}'))
    assert output(start, BlockStop(0))[0]["arguments"] == '{"a":1}'
    assert output(start, ToolInputDelta(0, '{"b":2}'), BlockStop(0))[0]["arguments"] == '{"b":2}'


def test_calls_that_overlap_are_told_side_by_side() -> None:
    first, second = call(0, '{"a"', ":1}"), call(1, '{"b"', ":2}", id="toolu_2")
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    assert [item["arguments"] for item in output(*mixed)] == ['{"a":1}', '{"b":2}']


def test_h150_a_tool_of_a_namespace_is_called_by_both_names() -> None:
    tools = [
        {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}]},
        {"type": "namespace", "name": "mcp__x__", "tools": [{"type": "custom", "name": "run"}]},
    ]
    events = [*call(0, "{}", name="agents__spawn"), *call(1, '{"input":"ls"}', id="t2", name="mcp__x__run")]
    first, second = output(*events, exchange=asked({"tools": tools}))
    assert (first["type"], first["namespace"], first["name"]) == ("function_call", "agents", "spawn")
    assert (second["type"], second["namespace"], second["name"]) == ("custom_tool_call", "mcp__x__", "run")
    assert (second["input"], second["id"]) == ("ls", "ctc_test_1")


def test_h150_a_custom_tool_gets_its_text_while_it_comes() -> None:
    exchange = asked({"tools": [{"type": "custom", "name": "patch"}]})
    pieces = ['{"input"', ': "*** Begin\\n', "+é", ' \\"x\\""', "}"]
    body = told(START, *call(0, *pieces, name="patch"), *END, exchange=exchange)
    assert check(body)["output"][0]["input"] == '*** Begin\n+é "x"'
    deltas = [each["delta"] for each in wires(body) if each["type"] == "response.custom_tool_call_input.delta"]
    assert deltas == ["*** Begin\n", "+é", ' "x"']
    # What the model put elsewhere, the tool is shown as it is: it is to refuse it.
    [odd] = output(*call(0, '{"patch":', '"x"}', name="patch"), exchange=exchange)
    assert odd["input"] == '{"patch":"x"}'
    assert output(*call(0, name="patch"), exchange=exchange)[0]["input"] == ""


SEARCHES: Wire = {"tools": [{"type": "tool_search", "execution": "client", "parameters": {"type": "object"}}]}


def test_h150_a_search_for_tools_is_an_item_of_its_own_kind() -> None:
    exchange = asked(SEARCHES)
    body = told(START, *call(0, '{"query":\n', ' "mail"}', name="tool_search"), *END, exchange=exchange)
    [item] = check(body)["output"]
    assert {**item, "id": "tsc"} == {
        "id": "tsc",
        "type": "tool_search_call",
        "status": "completed",
        "call_id": "toolu_1",
        "execution": "client",
        "arguments": {"query": "mail"},
    }
    assert [each["type"] for each in wires(body)][2:-1] == ["response.output_item.added", "response.output_item.done"]
    assert output(*call(0, name="tool_search"), exchange=exchange)[0]["arguments"] == {}


@pytest.mark.parametrize("tool", ["read", "patch"])
@pytest.mark.parametrize("cut", ['{"input":"x', "[1]", '{"input":"x"}}'])
def test_h109_a_call_in_pieces_is_never_one_to_be_made(tool: str, cut: str) -> None:
    exchange = asked({"tools": [{"type": "custom", "name": "patch"}]})
    broken = [*call(0, cut, name=tool), MessageDelta("tool_use"), MessageStop()]
    for stream in (True, False):
        out = flow([Translate(), Reframe()], [[START, *broken]], replace(exchange, stream=stream))
        assert isinstance(out[-1], Error)
        assert f"called '{tool}' with arguments that are" in out[-1].message
        assert not any(isinstance(each, bytes) and b"_call" in each and b'"completed"' in each for each in out)


@pytest.mark.parametrize("tool", ["read", "patch"])
def test_h150i_a_call_that_the_limit_has_cut_stays_and_says_so(tool: str) -> None:
    exchange = asked({"tools": [{"type": "custom", "name": "patch"}]})
    events = [*TEXT, *call(1, '{"input":"x', name=tool), MessageDelta("max_tokens"), MessageStop()]
    end = check(told(START, *events, exchange=exchange))
    assert end["incomplete_details"] == {"reason": "max_output_tokens"}
    said, cut = end["output"]
    assert (said["status"], cut["status"]) == ("completed", "incomplete")
    assert cut.get("arguments", cut.get("input")) == ('{"input":"x' if tool == "read" else "x")


def test_a_call_without_a_name_or_a_beginning_is_an_error() -> None:
    assert "without saying which" in failing(BlockStart(0, ToolUse(id="x"))).message
    assert "had not begun or was over" in failing(ToolInputDelta(3, "{}")).message
    assert "had not begun or was over" in failing(*call(0, "{}"), ToolInputDelta(0, "{}"), stream=False).message


def test_h099_what_the_provider_runs_itself_is_no_call() -> None:
    exchange = asked()
    search = [BlockStart(0, OtherBlock(kind="server_tool_use")), ToolInputDelta(0, '{"q":1}'), BlockStop(0)]
    assert output(*search, exchange=exchange) == []
    assert "content[].server_tool_use (" in str(exchange.ledger)


# ── reasoning ───────────────────────────────────────────────────────────────────────────────────────────────────────

HM: list[Event] = [
    BlockStart(0, Thinking()),
    ThinkingDelta(0, " "),
    ThinkingDelta(0, "h"),
    ThinkingDelta(0, "m"),
    SignatureDelta(0, "sig"),
    BlockStop(0),
]


def test_h089_reasoning_is_shown_to_who_asked_for_it_and_carried_for_all() -> None:
    for wire, summary in (({}, []), (SHOWN, [{"type": "summary_text", "text": " hm"}])):
        [item] = output(*HM, exchange=asked(wire))
        assert item["summary"] == summary
        known = opened(item["encrypted_content"])
        assert known is not None
        assert (known.dialect, known.provenance) == ("anthropic", "up")
        assert known.block == {"type": "thinking", "thinking": " hm", "signature": "sig"}
    assert output(*HM, exchange=asked({"reasoning": {"generate_summary": "auto"}}))[0]["summary"]


def test_a_route_may_show_no_reasoning_whoever_asks() -> None:
    exchange = asked(SHOWN)
    [item] = output(*HM, exchange=exchange, reasoning="drop")
    assert item["summary"] == []
    assert opened(item["encrypted_content"]) is not None
    assert "content[].thinking (" in str(exchange.ledger)


def test_reasoning_that_nobody_signed_is_carried_too() -> None:
    """DeepSeek and its like want it back as text."""
    [item] = output(*HM[:-2], BlockStop(0), exchange=asked(upstream_dialect="openai-chat"))
    known = opened(item["encrypted_content"])
    assert known is not None
    assert (known.dialect, known.block) == ("openai-chat", {"type": "thinking", "thinking": " hm"})


def test_encrypted_reasoning_is_carried_and_what_is_carried_already_is_not_packed_twice() -> None:
    [item] = output(BlockStart(0, RedactedThinking(data="x==")), BlockStop(0))
    known = opened(item["encrypted_content"])
    assert known is not None
    assert known.block == {"type": "redacted_thinking", "data": "x=="}
    text = carried("anthropic", "other", {"type": "thinking", "thinking": "x", "signature": "s"})
    [item] = output(BlockStart(0, Thinking(thinking="x", signature=text)), BlockStop(0))
    assert item["encrypted_content"] == text


def test_h091_white_space_alone_is_no_reasoning() -> None:
    assert output(BlockStart(0, Thinking()), ThinkingDelta(0, "\n \n"), BlockStop(0), exchange=asked(SHOWN)) == []
    [item] = output(BlockStart(0, Thinking()), SignatureDelta(0, "sig"), BlockStop(0), exchange=asked(SHOWN))
    assert (item["type"], item["summary"]) == ("reasoning", [])


def test_what_a_stage_thinks_is_nobodys_to_have_back() -> None:
    [item] = output(*HM[:-2], BlockStop(0), exchange=asked(SHOWN, answered_here=True))
    assert "encrypted_content" not in item


def test_h036_a_client_hears_something_while_reasoning_is_not_shown() -> None:
    body = told(START, BlockStart(0, Thinking()), *[ThinkingDelta(0, "hm ")] * 24, BlockStop(0), *END)
    assert body.count(b": keepalive\n\n") == 2  # the first piece began the item
    check(body)


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("end_turn", "completed", None),
        ("stop_sequence", "completed", None),
        ("tool_use", "completed", None),
        ("news_to_us", "completed", None),
        (None, "completed", None),
        ("max_tokens", "incomplete", "max_output_tokens"),
        ("model_context_window_exceeded", "incomplete", "max_output_tokens"),
        ("pause_turn", "incomplete", "max_output_tokens"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_how_answers_end(reason: str | None, status: str, why: str | None) -> None:
    exchange = asked()
    end = check(told(START, *TEXT, MessageDelta(reason), MessageStop(), exchange=exchange))
    assert (end["status"], (end["incomplete_details"] or {}).get("reason")) == (status, why)
    assert end["output"][0]["status"] == status  # what was said last is what was cut
    assert ("stop_reason (" in str(exchange.ledger)) == (reason == "pause_turn")


def test_what_is_left_open_ends_with_the_message() -> None:
    events = [*TEXT[:-1], *call(1, "{}")[:-1], BlockStart(2, Thinking()), ThinkingDelta(2, "hm")]
    assert {item["type"] for item in output(*events)} == {"message", "function_call", "reasoning"}


def test_two_messages_in_one_stream_are_one_answer() -> None:
    body = told(*message("one", id="msg_1"), *message("two", id="msg_2"))
    assert [item["content"][0]["text"] for item in check(body)["output"]] == ["one", "two"]
    assert body.count(b"event: response.completed") == 1


def test_h146_an_answer_that_has_no_end_never_looks_as_if_it_had() -> None:
    for events in (TEXT, [*TEXT, *END, START], [*TEXT, MessageDelta("end_turn")]):
        out = flow([Translate(), Reframe()], [[START, *events]], asked())
        assert isinstance(out[-1], Error)
        assert b"response.completed" not in b"".join(out[:-1])
    assert isinstance(fold([START, *TEXT], asked()), Error)


def test_h024_what_comes_behind_the_end_is_not_told() -> None:
    late = [BlockStart(3, Text()), TextDelta(3, "late"), *call(4, "{}"), MessageDelta("max_tokens")]
    assert told(START, *TEXT, *END, *late) == told(START, *TEXT, *END)


def test_a_ping_is_a_comment_and_what_nobody_knows_is_not_told() -> None:
    body = told(Ping(), START, Ping(), Unknown("odd", b'{"type":"odd"}'), *TEXT, *END)
    assert body.startswith(b": keepalive\n\nevent: response.created")
    assert body.replace(b": keepalive\n\n", b"") == told(START, *TEXT, *END)


def test_programmatic_calling_begins_a_message_with_blocks() -> None:
    start = replace(START, content=(Text(text="x"), ToolUse(id="c", name="f", input='{"a":1}')))
    items = check(told(start, *TEXT, *END))["output"]
    assert [item["type"] for item in items] == ["message", "function_call", "message"]


def test_what_the_client_is_not_told_is_noted() -> None:
    exchange = asked()
    extra = {"context_management": {"applied_edits": [{"type": "clear_tool_uses_20250919"}]}}
    odd = OtherDelta(0, "odd_delta", {"delta": {}})
    told(START, TEXT[0], odd, MessageDelta("stop_sequence", "###", extra=extra), MessageStop(), exchange=exchange)
    for path in ("stop_sequence", "context_management", "content[].odd_delta"):
        assert f"{path} (" in str(exchange.ledger)


def test_what_is_held_has_a_bound() -> None:
    """A response repeats at its end all that was told: so much has to be remembered."""
    pieces: list[Event] = [TextDelta(0, "x" * 100)] * 30
    small = asked(event_limit=2000)
    for events in ([*TEXT[:-1], *pieces], [*TEXT, *(call(0, f'{{"a":"{"x" * 900}"}}') * 3)]):
        for stream in (True, False):
            out = flow([Translate(), Reframe()], [[START, *events, *END]], replace(small, stream=stream))
            errors = [each.message for each in out if isinstance(each, Error)]
            assert errors[0] == "the upstream's answer is larger than 2000 bytes"
            assert b"response.completed" not in b"".join(each for each in out if isinstance(each, bytes))
    check(told(START, *TEXT[:-1], *pieces[:8], *END, exchange=small))


def test_json_that_is_no_answer_is_no_stream() -> None:
    event = Unknown("", b'{"x":1}')
    event.read_from(Frame(b'{"x":1}', whole=True))
    [error] = flow([Translate()], [[event]], asked())
    assert isinstance(error, Error)
    assert "no response" in error.message


def test_metadata_that_is_dropped_leaves_an_answer() -> None:
    events = message('{"isNewTopic": true, "title": "x"}')
    body = b"".join(flow([SignatureFilter(), Translate(), Reframe()], [events], asked()))
    assert check(body)["output"] == []


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────

few = settings(max_examples=200, deadline=None, derandomize=True)
exchanges = st.builds(
    asked,
    st.sampled_from([{}, SHOWN, {**SHOWN, "tools": [{"type": "custom", "name": "write"}]}]),
    upstream_dialect=st.sampled_from(["anthropic", "openai-chat"]),
)


@few
@given(st.lists(any_events, max_size=16), exchanges)
def test_any_events_are_a_legal_stream_or_an_error(sequence: list[Event], exchange: Exchange) -> None:
    body = b""
    for each in flow([Translate(), Reframe()], [[event] for event in [*sequence, MessageStop()]], exchange):
        if isinstance(each, Error):
            check(body, whole=False)
            return
        body += each
    check(body)


@few
@given(answers(), exchanges, st.lists(st.integers(0, 5), max_size=6))
def test_whole_and_streamed_it_is_the_same_response(events: list[Event], exchange: Exchange, sizes: list[int]) -> None:
    out = flow([Translate(), Reframe()], in_batches(events, sizes), exchange)
    if isinstance(out[-1], Error):
        assert fold(events, exchange).message == out[-1].message
        return
    body = b"".join(out)
    assert check(body) == fold(events, exchange)
    assert body == told(*events, exchange=exchange)  # and batches do not show


@few
@given(st.lists(any_events, max_size=12), st.integers(0, 12), exchanges)
def test_nothing_leaves_behind_an_error(sequence: list[Event], at: int, exchange: Exchange) -> None:
    events = [*sequence[:at], Error("upstream", "x"), *sequence[at:]]
    out = flow([Translate(), Reframe()], [events], exchange)
    first = next(place for place, each in enumerate(out) if isinstance(each, Error))
    assert not any(b"response.completed" in each for each in out[:first])


def stages() -> list[Stage[Any, Any]]:
    return [Deframe(), Parse(), Translate(), Reframe()]


@pytest.mark.parametrize("dialect", ["anthropic", "openai-chat"])
def test_every_recorded_answer_of_others_becomes_a_response(dialect: str) -> None:
    exchange, seen = asked(SHOWN, upstream_dialect=dialect), 0
    for case in streams(dialect):
        *out, last = flow(stages(), [[case.body]], replace(exchange, ledger=Ledger()))
        [folded] = flow(stages(), [[case.body]], replace(exchange, stream=False, ledger=Ledger()))
        body = b"".join(out) + (last if isinstance(last, bytes) else b"")
        end = check(body, whole=isinstance(last, bytes))
        for wire in wires(body):
            SDK.validate_python(wire)
        if isinstance(last, bytes):
            assert msgspec.json.decode(folded) == end, case.id
            seen += 1
        else:
            assert isinstance(folded, Error), case.id
    for case in wholes(dialect):
        [folded] = flow(stages(), [[case.body]], replace(exchange, stream=False, upstream_stream=False))
        if isinstance(folded, bytes):
            assert msgspec.json.decode(folded)["object"] == "response"
            seen += 1
    assert seen > 150
