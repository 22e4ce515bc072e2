"""Hazards H001-H030d: writing a stream for an Anthropic client, from whatever a Chat Completions upstream sends."""

import re
from typing import Any

import msgspec
import pytest

from tests.anthropic import judge
from tests.chat import DONE, data
from tests.chat import piece as call
from tests.hazards.chat import (
    ASKS_A,
    CLAUDE,
    ROLE,
    A,
    C,
    Message,
    at,
    between,
    calls,
    chat,
    chunk,
    completion,
    counted,
    gives,
    judge_begun,
    says,
    streams,
    thinks,
    through,
    to_anthropic,
    written,
)
from tests.peers import Line, ask, proxy, upstream
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Usage,
)

P, Q = {"p": "x"}, {"q": "y"}


def events(*within: Event, reason: str = "end_turn") -> list[Event]:
    return [MessageStart("m", "m"), *within, MessageDelta(reason, usage=Usage(output_tokens=1)), MessageStop()]


def test_h001_delta_before_start() -> None:
    got = written(events(TextDelta(3, "a"), ThinkingDelta(9, "b")), between(A, C))
    assert Message(got.body).content == [("text", "a"), ("thinking", "b")]
    refused = written(events(ToolInputDelta(3, "{}")), between(A, C))
    assert refused.errors
    assert b"input_json_delta" not in refused.body
    judge_begun(refused.body)


def test_h001_arguments_of_a_call_that_never_gets_a_name() -> None:
    got = through(chat(calls(call(0, '{"p":1}', id="c")), finish="tool_calls"), between(A, C))
    assert got.error.kind == "upstream"  # the model wanted something, and nobody will ever know what
    assert b"message_stop" not in got.body


def test_h002_wrong_delta_type() -> None:
    got = to_anthropic(chat(says("a"), thinks("b"), says("c")))
    assert got.content == [("text", "a"), ("thinking", "b"), ("text", "c")]
    mixed = [BlockStart(0, Text()), ThinkingDelta(0, "b"), SignatureDelta(0, "s"), TextDelta(0, "c"), BlockStop(0)]
    assert Message(written(events(*mixed), between(A, C)).body).content == [
        ("text", ""),
        ("thinking", "b"),
        ("text", "c"),
    ]


def test_h003_message_start_tied_to_role() -> None:
    first = chunk(calls(call(0, "{}", id="call_1", name="read")))
    got = to_anthropic(first + chunk({}, "tool_calls") + DONE)
    assert got.objects[0]["type"] == "message_start"
    assert got.content == [("read", {})]


def test_h004_duplicate_message_start() -> None:
    got = to_anthropic(chunk(ROLE) + chunk(ROLE) + chat(says("a")))
    assert [each["type"] for each in got.objects].count("message_start") == 1
    assert got.content == [("text", "a")]
    twice = [MessageStart("m", "m"), *events(TextDelta(0, "a"))]
    assert Message(written(twice, between(A, C)).body).content == [("text", "a")]


def test_h005_first_delta_of_a_new_block_swallowed() -> None:
    switch = {"content": "a", **calls(call(0, '{"p":', id="call_1", name="read"))}
    got = to_anthropic(chat(thinks("t"), switch, calls(call(0, '"x"}')), finish="tool_calls"))
    assert got.content == [("thinking", "t"), ("text", "a"), ("read", P)]


def test_h006_interleaved_parallel_tools() -> None:
    pieces = [
        calls(call(0, "", id="call_0", name="read")),
        calls(call(1, "", id="call_1", name="write")),
        calls(call(0, '{"p"')),
        calls(call(1, '{"q"')),
        calls(call(2, '{"p":', id="call_2", name="read")),
        calls(call(0, ':"x"}')),
        calls(call(2, '"x"}'), call(1, ':"y"}')),
    ]
    got = to_anthropic(chat(*pieces, finish="tool_calls"))
    assert got.content == [("read", P), ("write", Q), ("read", P)]
    assert got.ids == ["call_0", "call_1", "call_2"]
    assert got.stop_reason == "tool_use"


def test_h006_the_first_of_interleaved_tools_streams_live() -> None:
    first = chunk(ROLE) + chunk(calls(call(0, '{"p"', id="call_0", name="read")))
    both = first + chunk(calls(call(1, '{"q":"y"}', id="call_1", name="write"))) + chunk(calls(call(0, ":")))
    got = judge_begun(through(both, between(A, C)).body)
    assert [each["delta"]["partial_json"] for each in got if "delta" in each] == ['{"p"', ":"]


@pytest.mark.parametrize("index", [0, None])
def test_h007_two_calls_with_the_same_index(index: int | None) -> None:
    pieces = [
        calls(call(index, '{"p":', id="call_0", name="read")),
        calls(call(index, '"x"}')),
        calls(call(index, '{"q":', id="call_1", name="write")),
        calls(call(index, '"y"}')),
    ]
    got = to_anthropic(chat(*pieces, finish="tool_calls"))
    assert got.content == [("read", P), ("write", Q)]
    assert got.ids == ["call_0", "call_1"]


@pytest.mark.parametrize("indices", [(0, 1), (0, 0), (None, None)])
@pytest.mark.parametrize("ids", [("call_0", "call_1"), (None, None)])
def test_h008_several_complete_calls_in_one_delta(indices: tuple[Any, Any], ids: tuple[Any, Any]) -> None:
    both = calls(
        call(indices[0], '{"p":"x"}', id=ids[0], name="read"), call(indices[1], '{"q":"y"}', id=ids[1], name="write")
    )
    got = to_anthropic(chat(both, finish="tool_calls"))
    assert got.content == [("read", P), ("write", Q)]


def test_h008_the_same_tool_twice_in_one_delta() -> None:
    both = calls(call(0, '{"p":1}', id="a", name="read"), call(1, '{"p":2}', id="b", name="read"))
    assert to_anthropic(chat(both, finish="tool_calls")).content == [("read", {"p": 1}), ("read", {"p": 2})]


def test_h009_reasoning_and_text_by_turns() -> None:
    got = to_anthropic(chat(thinks("1"), says("2"), thinks("3"), says("4"), says("5")))
    assert got.content == [("thinking", "1"), ("text", "2"), ("thinking", "3"), ("text", "45")]


def test_h010_thinking_then_a_tool_without_text() -> None:
    got = to_anthropic(chat(thinks("t"), calls(call(0, "{}", id="c", name="read")), finish="tool_calls"))
    assert got.content == [("thinking", "t"), ("read", {})]
    assert got.stopped == [0, 1]


def test_h011_reasoning_and_content_in_the_same_delta() -> None:
    got = to_anthropic(chat({"content": "a", "reasoning_content": "t"}))
    assert got.content == [("thinking", "t"), ("text", "a")]


@pytest.mark.parametrize("nothing", ["", None])
def test_h012_no_content_between_the_pieces_of_arguments(nothing: str | None) -> None:
    empty = {"content": nothing, "reasoning_content": nothing}
    pieces = [
        {**empty, **calls(call(0, "", id="c", name="read"))},
        {"content": nothing},
        {**empty, **calls(call(0, '{"p":'))},
        empty,
        {**calls(call(0, '"x"}')), **empty},
    ]
    assert to_anthropic(chat(*pieces, finish="tool_calls")).content == [("read", P)]


@pytest.mark.parametrize("pieces", [['{"p": "x"}', "", ""], ["", "", '{"p": "x"}'], ["", '{"p":', ' "x"}']])
def test_h013_whole_arguments_in_one_piece(pieces: list[str]) -> None:
    first, *rest = pieces
    deltas = [calls(call(0, first, id="c", name="read")), *(calls(call(0, piece)) for piece in rest)]
    assert to_anthropic(chat(*deltas, finish="tool_calls")).arguments == ['{"p": "x"}']


@pytest.mark.parametrize(
    "pieces",
    [
        [call(0, id="c"), call(0, name="read_file"), call(0, '{"p":"x"}')],
        [call(0, '{"p":', id="c"), call(0, '"x"}'), call(0, name="read_file")],
        [call(0, id="c", name="read_"), call(0, name="file"), call(0, '{"p":"x"}')],
        [call(0, id="c", name="read_file"), call(0, '{"p":', name="read_file"), call(0, '"x"}', name="read_file")],
        [call(0, id="c", name="read"), call(0, name="read_file"), call(0, '{"p":"x"}')],
        [call(0, id="c", name=""), call(0, "", name="read_file"), call(0, '{"p":"x"}', name="")],
    ],
    ids=["late", "after the arguments", "in pieces", "repeated", "longer each time", "empty"],
)
def test_h014_name_late_in_pieces_or_repeated(pieces: list[Any]) -> None:
    got = to_anthropic(chat(*(calls(piece) for piece in pieces), finish="tool_calls"))
    assert got.content == [("read_file", P)]
    assert got.ids == ["c"]


def test_h015_tool_calls_without_ids() -> None:
    both = [calls(call(0, '{"p":"x"}', name="read")), calls(call(1, '{"p":"x"}', name="read"))]
    got = to_anthropic(chat(*both, finish="tool_calls"))
    assert got.content == [("read", P), ("read", P)]
    assert len(set(got.ids)) == 2
    assert all(re.fullmatch(r"toolu_[a-zA-Z0-9_-]+", id) for id in got.ids)
    assert to_anthropic(chat(*both, finish="tool_calls")).ids == got.ids  # the same answer, the same ids


def test_h016_id_and_name_sent_again_with_each_piece() -> None:
    pieces = [call(0, piece, id="c", name="read") for piece in ('{"p"', ":", '"x"}')]
    got = to_anthropic(chat(*(calls(piece) for piece in pieces), finish="tool_calls"))
    assert (got.content, got.ids) == ([("read", P)], ["c"])


@pytest.mark.parametrize("arguments", ["", "{}", "{ }", None])
def test_h017_a_tool_without_arguments(arguments: str | None) -> None:
    got = to_anthropic(chat(calls(call(0, arguments, id="c", name="now")), finish="tool_calls"))
    assert got.content == [("now", {})]
    assert got.stop_reason == "tool_use"
    whole = completion({"tool_calls": [call(None, arguments, id="c", name="now")]}, "tool_calls")
    folded = through(whole, between(A, C, stream=False, upstream_stream=False))
    assert msgspec.json.decode(folded.body)["content"] == [{"type": "tool_use", "id": "c", "name": "now", "input": {}}]


@pytest.mark.parametrize("pieces", [['{"p":"x"}'], ['{"p":', '"x"}'], ["", '{"p":"x"}']])
def test_h018_a_placeholder_before_the_arguments(pieces: list[str]) -> None:
    deltas = [calls(call(0, "{}", id="c", name="read")), *(calls(call(0, piece)) for piece in pieces)]
    assert to_anthropic(chat(*deltas, finish="tool_calls")).content == [("read", P)]


def test_h019_complete_arguments_once_more_at_the_end() -> None:
    deltas = [calls(call(0, "", id="c", name="read")), calls(call(0, '{"p":')), calls(call(0, '"x"}'))]
    again = [calls(call(0, '{"p":"x"}')), calls(call(0, '{"p": "x"}', id="c", name="read"))]
    assert to_anthropic(chat(*deltas, *again, finish="tool_calls")).content == [("read", P)]


def test_h019_complete_arguments_only_at_the_end() -> None:
    final = {"message": {"role": "assistant", "content": None, **calls(call(0, '{"p":"x"}', id="c", name="read"))}}
    body = chunk(ROLE) + data(
        {"id": "x", "choices": [{"index": 0, "delta": None, "finish_reason": "tool_calls", **final}]}
    )
    assert to_anthropic(body + DONE).content == [("read", P)]


def test_h020_finish_and_usage_on_the_last_piece_of_content() -> None:
    last = chunk(says("b"), "stop", usage={"prompt_tokens": 9, "completion_tokens": 2})
    got = to_anthropic(chunk(ROLE) + chunk(says("a")) + last + DONE)
    assert (got.content, got.stop_reason) == ([("text", "ab")], "end_turn")
    assert (got.usage["input_tokens"], got.usage["output_tokens"]) == (9, 2)


def test_h020_of_several_finishes_the_last_counts() -> None:
    body = chunk(ROLE) + chunk(says("a"), "stop") + chunk(says("b"), "stop") + chunk(says("c"), "length") + DONE
    got = to_anthropic(body)
    assert "".join(text for _, text in got.content) == "abc"
    assert got.stop_reason == "max_tokens"


def test_h021_done_without_a_finish_reason() -> None:
    got = to_anthropic(chat(says("a"), finish=None))
    assert (got.content, got.stop_reason) == ([("text", "a")], "end_turn")
    got = to_anthropic(chat(says("a"), calls(call(0, '{"p":"x"}', id="c", name="read")), finish=None))
    assert (got.content, got.stop_reason) == ([("text", "a"), ("read", P)], "tool_use")


@pytest.mark.parametrize("finish", ["stop", "other", "eos", "end_turn", "unknown"])
def test_h022_tool_calls_but_another_finish_reason(finish: str) -> None:
    got = to_anthropic(chat(calls(call(0, '{"p":"x"}', id="c", name="read")), finish=finish))
    assert (got.content, got.stop_reason) == ([("read", P)], "tool_use")


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
        ("weird", "end_turn"),
    ],
)
def test_h023_finish_map(finish: str, reason: str) -> None:
    exchange = between(A, C)
    assert Message(through(chat(says("a"), finish=finish), exchange).body).stop_reason == reason
    assert bool(exchange.ledger) == (finish == "weird")


@pytest.mark.parametrize("finish", ["tool_calls", "function_call"])
def test_h023_calls(finish: str) -> None:
    body = chat({"function_call": {"name": "read", "arguments": '{"p":"x"}'}}, finish=finish)
    assert to_anthropic(body).stop_reason == "tool_use"


def test_h023_length_beats_tool_use() -> None:
    got = to_anthropic(chat(calls(call(0, '{"p":"x', id="c", name="read")), finish="length"))
    assert got.stop_reason == "max_tokens"
    assert got.arguments == ['{"p":"x']  # never repaired


def test_h024_bytes_behind_done() -> None:
    ghosts = chunk(says("ghost")) + chunk(calls(call(0, "{}", id="g", name="ghost")), "tool_calls") + counted() + DONE
    body = chat(says("a"))
    assert through(body + ghosts, between(A, C)).body == through(body, between(A, C)).body
    assert to_anthropic(body + data({"error": {"message": "late"}})).content == [("text", "a")]


def test_h025_duplicate_terminals() -> None:
    body = chunk(ROLE) + chunk(says("a")) + chunk({}, "stop") * 3 + counted() * 2 + DONE * 2
    kinds = [each["type"] for each in to_anthropic(body).objects]
    assert [kinds.count(kind) for kind in ("content_block_stop", "message_delta", "message_stop")] == [1, 1, 1]
    ends = [BlockStop(0), BlockStop(0), MessageDelta("end_turn"), MessageStop(), BlockStop(0), MessageStop()]
    got = written([MessageStart("m", "m"), BlockStart(0, Text()), TextDelta(0, "a"), *ends], between(A, C))
    assert Message(got.body).content == [("text", "a")]


@pytest.mark.parametrize("how", ["end", "reset", "cut"])
@pytest.mark.parametrize("answer", [says("a"), calls(call(0, '{"p":', id="c", name="read")), thinks("t"), ROLE])
async def test_h026_upstream_dies_within_the_stream(how: str, answer: Any) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(chunk(ROLE) + chunk(answer))
        if how == "cut":
            await line.chunk(b'data: {"id":"c1","choices":[{"ind')
        if how == "reset":
            line.reset()
        else:
            await line.end()

    async with upstream(script) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
    assert b"message_stop" not in got.body
    assert b"message_delta" not in got.body
    if got.status == 200:
        # What came before is legal as far as it goes; a call that was cut does not look complete.
        sent, _, last = got.body.partition(b"event: error\n")
        judge_begun(sent)
        assert b"content_block_stop" not in sent
        assert not got.complete
        error = msgspec.json.decode(last.removeprefix(b"data: "))
    else:
        assert got.status == 502
        error = msgspec.json.decode(got.body)
    assert error["type"] == "error"
    assert error["error"]["type"] == "api_error"


ERRORS = [
    ({"error": {"message": "slow down", "type": "tokens", "code": "rate_limit_exceeded"}}, "rate_limit_error"),
    ({"error": {"message": "slow down", "code": 429}}, "rate_limit_error"),
    ({"error": "broke"}, "api_error"),
    ({"error": {"message": "busy", "type": "overloaded_error"}}, "overloaded_error"),
    ({"error": {"message": "boom", "code": "502"}, "choices": []}, "api_error"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "overloaded_error"),
    ({"object": "error", "message": "boom", "type": "BadRequestError", "code": 400}, "invalid_request_error"),
]


@pytest.mark.parametrize(("wire", "kind"), ERRORS)
@pytest.mark.parametrize("name", [b"", b"event: error\n"])
async def test_h027_error_within_a_200_stream(wire: Any, kind: str, name: bytes) -> None:
    body = chunk(ROLE) + chunk(says("a"))
    async with upstream(streams(body, name + data(wire), DONE)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
    sent, _, last = got.body.partition(b"event: error\n")
    assert judge_begun(sent)[-1]["delta"] == {"type": "text_delta", "text": "a"}
    assert last.count(b"\n\n") == 1
    assert msgspec.json.decode(last.removeprefix(b"data: "))["error"]["type"] == kind
    assert not got.complete


async def test_h027_error_as_the_first_thing_in_a_200_stream() -> None:
    async with upstream(streams(data(ERRORS[0][0]), DONE)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
    assert (got.status, got.headers["content-type"]) == (429, "application/json")
    assert msgspec.json.decode(got.body)["error"] == {"type": "rate_limit_error", "message": "slow down"}


@pytest.mark.parametrize(
    ("deltas", "finish", "content", "reason"),
    [
        ([], "stop", [("text", "")], "end_turn"),
        ([says("")], "content_filter", [("text", "")], "refusal"),
        ([thinks("t")], "length", [("thinking", "t")], "max_tokens"),
        ([], "length", [("text", "")], "max_tokens"),
    ],
)
def test_h028_empty_answer(deltas: list[Any], finish: str, content: Any, reason: str) -> None:
    got = to_anthropic(chat(*deltas, finish=finish))
    assert (got.content, got.stop_reason) == (content, reason)
    assert got.usage["output_tokens"] == 7


def test_h029_indices_with_gaps() -> None:
    pieces = [calls(call(7, '{"p":"x"}', id="a", name="read")), calls(call(3, '{"q":"y"}', id="b", name="write"))]
    assert to_anthropic(chat(thinks("t"), *pieces, finish="tool_calls")).content == [
        ("thinking", "t"),
        ("read", P),
        ("write", Q),
    ]
    gaps = [BlockStart(5, Text()), TextDelta(5, "a"), BlockStop(5), BlockStart(2, Thinking()), BlockStop(2)]
    starts = [each["index"] for each in judge(written(events(*gaps), between(A, C)).body) if "content_block" in each]
    assert starts == [0, 1]


def test_h030_no_block_before_its_type_is_known() -> None:
    got = to_anthropic(chat(says(""), calls(call(0, "{}", id="c", name="read")), says(""), finish="tool_calls"))
    assert [each["type"] for each in got.blocks] == ["tool_use"]
    assert [each["type"] for each in judge_begun(through(chunk(ROLE), between(A, C)).body)] == ["message_start"]
    got = to_anthropic(chat(thinks("\n"), thinks("\n"), says("a")))
    assert got.content == [("text", "a")]


def nulls(value: Any, path: str = "") -> set[str]:
    """Where in a JSON value null stands."""
    if isinstance(value, dict):
        return {each for key, inner in value.items() for each in nulls(inner, f"{path}.{key}")}
    return {path} if value is None else set()


def test_h030b_optional_keys_are_absent_not_null() -> None:
    got = to_anthropic(chat(thinks("t"), says("a"), calls(call(0, "{}", id="c", name="read")), finish="tool_calls"))
    allowed = {".message.stop_reason", ".message.stop_sequence", ".delta.stop_sequence"}
    assert {path for each in got.objects for path in nulls(each)} <= allowed
    # The signature is there and empty, as in the API's own stream; no delta of one says nothing.
    starts = [each["content_block"] for each in got.objects if "content_block" in each]
    assert starts == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "c", "name": "read", "input": {}},
    ]
    deltas = [each["delta"] for each in got.objects if "delta" in each]
    assert all(each["signature"] for each in deltas if each.get("type") == "signature_delta")


@pytest.mark.parametrize("id", ["functions.read:0", "call|fc_1", "çall", "call_ok-1", "x" * 80])
def test_h030c_ids(id: str) -> None:
    body = chat(calls(call(0, "{}", id=id, name="read")), finish="tool_calls")
    got = to_anthropic(body)
    assert re.fullmatch(r"msg_[a-zA-Z0-9_-]+", got.start["id"])
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", got.ids[0])
    folded = msgspec.json.decode(through(body, between(A, C, stream=False)).body)
    assert (folded["id"], folded["content"][0]["id"]) == (got.start["id"], got.ids[0])


async def test_h030c_an_id_that_had_to_change_goes_back_as_it_was() -> None:
    """The client answers the call by the id it was given; the upstream must know its own."""
    answer = chat(calls(call(0, "{}", id="functions.read:0", name="read")), finish="tool_calls")
    async with upstream(streams(answer)) as up, proxy(at(up.toml())) as port:
        got = Message((await ask(port, ASKS_A, headers=CLAUDE)).body)
        turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": got.ids[0], "name": "read", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": got.ids[0], "content": "ok"}]},
        ]
        body = {"model": "asked", "max_tokens": 9, "stream": True, "messages": turns}
        await ask(port, msgspec.json.encode(body), headers=CLAUDE)
    sent = msgspec.json.decode(up.requests[1].body)["messages"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "functions.read:0"


async def test_h030d_model_is_what_the_client_asked_for() -> None:
    toml = '\n[models]\n"claude-*" = "gpt-up"\n'
    asked = ASKS_A.replace(b'"asked"', b'"claude-sonnet-5"')
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml()) + toml) as port:
        got = Message((await ask(port, asked, headers=CLAUDE)).body)
    assert got.start["model"] == "claude-sonnet-5"
    assert msgspec.json.decode(up.requests[0].body)["model"] == "gpt-up"
    whole = gives(completion({"content": "a"}))
    async with upstream(whole) as up, proxy(at(up.toml()) + toml) as port:
        answer = await ask(port, asked.replace(b'"stream":true,', b""), headers=CLAUDE)
    assert msgspec.json.decode(answer.body)["model"] == "claude-sonnet-5"


def test_h004_h025_of_a_retry_within_the_stream() -> None:
    """An upstream that begins anew in the middle: one message all the same, or an error."""
    got = through(chunk(ROLE) + chunk(says("a")) + chat(says("a")), between(A, C))
    assert [type(error) for error in got.errors] in ([], [Error])
    assert Message(got.body).content == [("text", "aa")]


def test_h006_blocks_of_tools_that_overlap() -> None:
    overlapping = [
        BlockStart(0, ToolUse(id="a", name="read")),
        BlockStart(1, ToolUse(id="b", name="write")),
        ToolInputDelta(1, '{"q":"y"}'),
        ToolInputDelta(0, '{"p":"x"}'),
        BlockStop(1),
        BlockStop(0),
    ]
    got = Message(written(events(*overlapping, reason="tool_use"), between(A, C)).body)
    assert got.content == [("read", P), ("write", Q)]
