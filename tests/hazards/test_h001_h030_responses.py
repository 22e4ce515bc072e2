"""Hazards H001-H030d once more: streams for Anthropic and chat clients, from whatever a Responses upstream sends."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any

import msgspec
import pytest

from tests.chat import data
from tests.hazards.chat import (
    ASKS_A,
    ASKS_C,
    CHAT,
    CLAUDE,
    A,
    C,
    Completion,
    Message,
    at,
    between,
    gives,
    judge_begun,
    judge_chat,
    streams,
    through,
)
from tests.hazards.responses import R, for_anthropic, for_chat
from tests.peers import Line, ask, proxy, upstream
from tests.responses import (
    Wire,
    begun,
    call,
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

P, Q = {"p": "x"}, {"q": "y"}
READ = call(0, '{"p"', ':"x"}', id="fc_a", call_id="call_a")
WRITE = call(1, '{"q"', ':"y"}', id="fc_b", call_id="call_b", name="write")


def item(wires: list[Wire]) -> Wire:
    """The finished item."""
    done: Wire = wires[-1]["item"]
    return done


def without(wires: list[Wire], *keys: str) -> list[Wire]:
    """The events without these fields, and their items without them."""

    def left(wire: Wire) -> Wire:
        return {key: left(value) if key == "item" else value for key, value in wire.items() if key not in keys}

    return [left(wire) for wire in wires]


def by_turns(*items: list[Wire]) -> list[Wire]:
    return [wire for wires in zip_longest(*items) for wire in wires if wire]


def answer(*wires: Wire, end: Wire | None = None) -> bytes:
    """A stream of these events, between the beginning and an end that repeats nothing."""
    return frames(*begun(), *wires, end or ended())


def both(body: bytes) -> tuple[Message, Completion]:
    return for_anthropic(body), for_chat(body)


# ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h001_delta_of_an_item_that_was_never_announced() -> None:
    unannounced = [wire for wire in message(0, "a", "b") if wire["type"].endswith(".delta")]
    got, chatted = both(answer(*unannounced))
    assert got.content == [("text", "ab")]
    assert chatted.content == "ab"


@pytest.mark.parametrize("client", [A, C])
def test_h001_arguments_of_a_call_that_never_gets_a_name(client: str) -> None:
    deltas = [wire for wire in READ if wire["type"].endswith((".delta", "arguments.done"))]
    got = through(answer(*deltas), between(client, R))
    assert got.error.kind == "upstream"
    assert b"partial_json" not in got.body
    assert b"tool_calls" not in got.body
    assert b"message_stop" not in got.body


def test_h002_reasoning_and_text_that_share_an_index_are_two_blocks() -> None:
    """A delta is of the kind that its name says, whatever stands at its index."""
    mixed = by_turns(reasoning(0, "hm hm"), message(0, "a", "b"))
    got = for_anthropic(answer(*mixed))
    assert sorted({kind for kind, _ in got.content}) == ["text", "thinking"]
    assert "".join(text for kind, text in got.content if kind == "text") == "ab"


@pytest.mark.parametrize("client", [A, C])
@pytest.mark.parametrize("items", [message(0, "a"), reasoning(0, "t"), READ])
def test_h003_the_message_starts_whatever_comes_first(items: list[Wire], client: str) -> None:
    got = through(frames(*items, ended(item(items))), between(client, R))
    assert not got.errors
    if client == A:
        assert Message(got.body).objects[0]["type"] == "message_start"
    else:
        assert "role" in Completion(got.body).chunks[0]["choices"][0]["delta"]


def test_h004_the_answer_begins_twice() -> None:
    got, chatted = both(frames(*begun(), *begun(id="resp_up2"), *message(0, "a"), ended()))
    assert [each["type"] for each in got.objects].count("message_start") == 1
    assert got.content == [("text", "a")]
    assert chatted.content == "a"


@pytest.mark.parametrize(
    "change",
    [
        lambda wires: wires,
        lambda wires: [{**wire, "output_index": 0} for wire in wires],
        lambda wires: without(wires, "output_index"),
        lambda wires: without(wires, "item_id"),
        # GitHub Copilot: another id in every event.
        lambda wires: [{**wire, "item_id": f"fc_{number}"} for number, wire in enumerate(wires)],
    ],
    ids=["as OpenAI sends it", "H007: one index", "no index", "no ids", "ids that rotate"],
)
def test_h006_h007_calls_by_turns(change: Any) -> None:
    wires = change(by_turns(READ, WRITE))
    for end in (ended(), ended(item(READ), item(WRITE))):
        got, chatted = both(answer(*wires, end=end))
        assert got.content == [("read", P), ("write", Q)]
        assert (got.ids, got.stop_reason) == (["call_a", "call_b"], "tool_use")
        assert chatted.called == [("call_a", "read", P), ("call_b", "write", Q)]


def test_h006_the_first_of_two_calls_streams_live() -> None:
    begins = frames(*begun(), *by_turns(READ, WRITE)[:4])
    got = judge_begun(through(begins, between(A, R)).body)
    assert [each["delta"]["partial_json"] for each in got if "delta" in each] == ['{"p"']


@pytest.mark.parametrize("repeated", [0, 1])
def test_h008_several_whole_calls_in_the_last_event_alone(repeated: int) -> None:
    items = [item(READ), item(WRITE)]
    got, chatted = both(answer(*(READ if repeated else []), end=ended(*items)))
    assert got.content == [("read", P), ("write", Q)]
    assert [id for id, _, _ in chatted.called] == ["call_a", "call_b"]


def test_h009_reasoning_and_text_by_turns() -> None:
    items = [reasoning(0, "1", id="rs_1"), message(1, "2", id="msg_1"), reasoning(2, "3"), message(3, "4", "5")]
    got, chatted = both(stream(*items))
    assert got.content == [("thinking", "1"), ("text", "2"), ("thinking", "3"), ("text", "45")]
    assert (chatted.reasoning, chatted.content) == ("13", "245")


def test_h010_thinking_then_a_tool_without_text() -> None:
    got = for_anthropic(stream(reasoning(0, "t"), call(1, "{}")))
    assert got.content == [("thinking", "t"), ("read", {})]
    assert got.stopped == [0, 1]


def test_h012_empty_pieces_between_those_of_arguments() -> None:
    nothing = [{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": ""}]
    nothing += [{"type": "response.function_call_arguments.delta", "output_index": 0, "delta": ""}]
    spread = [each for wire in READ[:-2] for each in (*nothing, wire)]
    got, chatted = both(answer(*spread, *READ[-2:]))
    assert got.content == [("read", P)]
    assert (chatted.called, chatted.content) == ([("call_a", "read", P)], "")


@pytest.mark.parametrize("pieces", [['{"p": "x"}', "", ""], ["", "", '{"p": "x"}'], ["", '{"p":', ' "x"}']])
def test_h013_whole_arguments_in_one_piece(pieces: list[str]) -> None:
    assert for_anthropic(stream(call(0, *pieces))).arguments == ['{"p": "x"}']


@pytest.mark.parametrize("known", [("response.output_item.done",), ()], ids=["at its end", "in the last event"])
def test_h014_a_call_that_gets_its_name_late(known: tuple[str, ...]) -> None:
    wires = [wire if wire["type"] in known else without([wire], "name")[0] for wire in READ]
    got, chatted = both(
        answer(*wires, end=ended(item(READ))) if known else frames(*begun(), *wires[:-1], ended(item(READ)))
    )
    assert (got.content, got.ids) == ([("read", P)], ["call_a"])
    assert chatted.called == [("call_a", "read", P)]


def test_h015_calls_without_ids() -> None:
    body = answer(*without([*READ, *call(1, '{"p":"x"}')], "id", "call_id", "item_id"))
    got = for_anthropic(body)
    assert got.content == [("read", P), ("read", P)]
    assert len(set(got.ids)) == 2
    assert all(re.fullmatch(r"toolu_[a-zA-Z0-9_-]+", id) for id in got.ids)
    assert for_anthropic(body).ids == got.ids  # the same answer, the same ids
    assert [each["id"] for each in for_chat(body).calls] == got.ids


def test_h016_a_call_that_is_announced_before_each_piece() -> None:
    added, *rest = READ
    got, chatted = both(answer(*(each for wire in rest for each in (added, wire))))
    assert (got.content, got.ids) == ([("read", P)], ["call_a"])
    assert chatted.called == [("call_a", "read", P)]


@pytest.mark.parametrize("arguments", ["", "{}", "{ }", None])
@pytest.mark.parametrize("told", ["in pieces", "at the end"])
def test_h017_a_tool_without_arguments(arguments: str | None, told: str) -> None:
    wires = call(0, *([arguments] if arguments and told == "in pieces" else []), name="now")
    if arguments is None:
        wires = without(wires, "arguments")
    got, chatted = both(stream(wires))
    assert (got.content, got.stop_reason) == ([("now", {})], "tool_use")
    assert chatted.called == [("call_1", "now", {})]
    folded = through(stream(wires), between(A, R, stream=False)).body
    assert msgspec.json.decode(folded)["content"][0]["input"] == {}


def test_h018_a_placeholder_before_the_arguments() -> None:
    wires = call(0, '{"p":', '"x"}')
    wires[0]["item"]["arguments"] = "{}"
    got, chatted = both(stream(wires))
    assert got.content == [("read", P)]
    assert chatted.called == [("call_1", "read", P)]


DELTAS = [wire for wire in READ if not wire["type"].endswith("done")]


@pytest.mark.parametrize(
    "wires",
    [
        [*READ, *READ[-2:]],
        [*READ[:-1], READ[-2], READ[-1], READ[-1]],
        DELTAS,
        [READ[0], READ[-2]],
        [READ[0], READ[-1]],
        [READ[-1]],
        [],
    ],
    ids=["ends twice", "done twice", "deltas", "whole arguments", "whole item", "item alone", "nothing"],
)
def test_h019_complete_arguments_any_number_of_times(wires: list[Wire]) -> None:
    got, chatted = both(answer(*wires, end=ended(item(READ))))
    assert got.arguments == ['{"p":"x"}']
    assert [each["arguments"] for each in chatted.calls] == ['{"p":"x"}']


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wires", [message(0, "a"), READ], ids=["text", "call"])
@pytest.mark.parametrize("last", [b"", b"data: [DONE]\n\n"])
@pytest.mark.parametrize("client", [A, C])
def test_h021_no_event_that_ends_the_answer(client: str, wires: list[Wire], last: bytes) -> None:
    """Where the dialect has a word for the end, an answer without it was cut, whole though its items may be."""
    got = through(frames(*begun(), *wires) + last, between(client, R))
    assert got.error.kind == "upstream"
    assert b"message_stop" not in got.body
    assert b"[DONE]" not in got.body


def test_h022_a_call_makes_the_end_one_of_tool_use() -> None:
    got, chatted = both(stream(message(0, "a"), call(1, "{}"), message(2, "b", id="msg_2")))
    assert (got.stop_reason, chatted.finish) == ("tool_use", "tool_calls")


@pytest.mark.parametrize(
    ("status", "reason", "stopped", "finish"),
    [
        ("completed", None, "end_turn", "stop"),
        ("incomplete", "max_output_tokens", "max_tokens", "length"),
        ("incomplete", "content_filter", "refusal", "content_filter"),
        ("incomplete", "something_new", "max_tokens", "length"),
        ("incomplete", None, "max_tokens", "length"),
    ],
)
def test_h023_how_it_ended(status: str, reason: str | None, stopped: str, finish: str) -> None:
    details = {"reason": reason} if reason else None
    body = stream(message(0, "a"), status=status, incomplete_details=details)
    exchange = between(A, R)
    assert Message(through(body, exchange).body).stop_reason == stopped
    assert for_chat(body).finish == finish
    assert bool(exchange.ledger) == (reason in ("something_new", None) and status == "incomplete")


def test_h023_a_limit_beats_tool_use() -> None:
    cut = READ[:2]
    body = answer(*cut, end=ended(status="incomplete", incomplete_details={"reason": "max_output_tokens"}))
    got, chatted = both(body)
    assert (got.stop_reason, chatted.finish) == ("max_tokens", "length")
    assert got.arguments == ['{"p"']  # never repaired
    assert [each["arguments"] for each in chatted.calls] == ['{"p"']


@pytest.mark.parametrize("client", [A, C])
def test_h024_ghosts_behind_the_end(client: str) -> None:
    body = stream(message(0, "a"))
    ghosts = frames(*message(1, "ghost", id="msg_9"), *READ, ended(item(READ)))
    ghosts += event({"type": "error", "message": "late"}) + b"data: [DONE]\n\n"
    assert through(body + ghosts, between(client, R)).body == through(body, between(client, R)).body


def test_h025_duplicate_terminals() -> None:
    wires = message(0, "a")
    body = answer(*wires, *wires[-3:], wires[-1]) + event(ended()) * 2
    got, chatted = both(body)
    kinds = [each["type"] for each in got.objects]
    assert [kinds.count(kind) for kind in ("content_block_stop", "message_delta", "message_stop")] == [1, 1, 1]
    assert (got.content, chatted.content) == ([("text", "a")], "a")


@pytest.mark.parametrize("how", ["end", "reset", "cut"])
@pytest.mark.parametrize("wires", [message(0, "a")[:3], READ[:2], reasoning(0, "tt")[:3], []])
@pytest.mark.parametrize("client", [A, C])
async def test_h026_upstream_dies_within_the_stream(client: str, how: str, wires: list[Wire]) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(frames(*begun(), *wires))
        if how == "cut":
            await line.chunk(b'event: response.output_text.delta\ndata: {"type":"response.out')
        if how == "reset":
            line.reset()
        else:
            await line.end()

    async with upstream(script) as up, proxy(at(up.toml(), R)) as port:
        if client == A:
            got = await ask(port, ASKS_A, headers=CLAUDE)
        else:
            got = await ask(port, ASKS_C, path=CHAT)
    assert not any(end in got.body for end in (b"message_stop", b"message_delta", b"[DONE]", b'"finish_reason":"'))
    if got.status == 200:
        sent, _, last = got.body.partition(b"event: error\ndata: " if client == A else b'data: {"error":')
        if client == A:
            judge_begun(sent)
            assert b"content_block_stop" not in sent  # a call that was cut does not look complete
            assert not got.complete
            assert msgspec.json.decode(last)["error"]["type"] == "api_error"
        else:
            judge_chat(sent, whole=False)
            assert msgspec.json.decode(b'{"error":' + last)["error"]["type"] == "server_error"
    else:
        assert got.status == 502


SLOW: Wire = {"type": "server_error", "code": "rate_limit_exceeded", "message": "slow down"}
FAILED = ended(status="failed", error={"code": "rate_limit_exceeded", "message": "slow down"}, usage=None)
ERRORS: list[list[Wire]] = [
    [{"type": "error", "error": SLOW}, FAILED],
    [{"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}, FAILED],
    [{"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}],
    [FAILED],
    [{**ended(error={"code": "rate_limit_exceeded", "message": "slow down"}), "type": "response.failed"}],
]


@pytest.mark.parametrize("wires", ERRORS)
@pytest.mark.parametrize("bare", [False, True])
async def test_h027_error_within_a_200_stream(wires: list[Wire], bare: bool) -> None:
    body = frames(*begun(), *message(0, "a")[:3], *wires)
    if bare:  # OpenRouter: no lines with the names of events
        body = re.sub(rb"event: .*\n", b"", body)
    async with upstream(streams(body)) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
        chatted = await ask(port, ASKS_C, path=CHAT)
    sent, _, last = got.body.partition(b"event: error\n")
    assert judge_begun(sent)[-1]["delta"] == {"type": "text_delta", "text": "a"}
    assert last.count(b"\n\n") == 1
    error = {"type": "rate_limit_error", "message": "slow down"}
    assert msgspec.json.decode(last.removeprefix(b"data: "))["error"] == error
    assert not got.complete
    sent, _, last = chatted.body.partition(b'data: {"error":')
    judge_chat(sent, whole=False)
    assert msgspec.json.decode(b'{"error":' + last)["error"]["message"] == "slow down"


@pytest.mark.parametrize("wires", [[*begun()[:1], *ERRORS[0]], ERRORS[0], ERRORS[3]])
async def test_h027_error_before_anything_was_said(wires: list[Wire]) -> None:
    async with upstream(streams(frames(*wires))) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
    error = {"type": "rate_limit_error", "message": "slow down"}
    assert msgspec.json.decode(got.body.rpartition(b"data: ")[2])["error"] == error
    assert (got.status == 429) == (wires[0]["type"] != "response.created")


@pytest.mark.parametrize("wire", [{"error": {"message": "slow down", "code": 429}}, {"error": "slow down"}])
def test_h027_error_of_a_gateway_in_a_shape_of_its_own(wire: Wire) -> None:
    got = through(frames(*begun()) + data(wire), between(A, R))
    assert got.error.message == "slow down"


@pytest.mark.parametrize(
    ("items", "reason", "content", "stopped"),
    [
        ([], None, [("text", "")], "end_turn"),
        ([message(0)], None, [("text", "")], "end_turn"),
        ([], "content_filter", [("text", "")], "refusal"),
        ([reasoning(0, "t")], "max_output_tokens", [("thinking", "t")], "max_tokens"),
        ([], "max_output_tokens", [("text", "")], "max_tokens"),
    ],
)
def test_h028_empty_answer(items: list[list[Wire]], reason: str | None, content: Any, stopped: str) -> None:
    details = {"reason": reason} if reason else None
    body = stream(*items, status="incomplete" if reason else "completed", incomplete_details=details)
    got, chatted = both(body)
    assert (got.content, got.stop_reason) == (content, stopped)
    assert got.usage["output_tokens"] == 5
    assert chatted.content == ""
    assert chatted.calls == []


# ── numbers, names and fields ───────────────────────────────────────────────────────────────────────────────────────


def test_h029_indices_with_gaps() -> None:
    body = stream(search(0), message(3, "a"), search(4, id="ws_up2"), call(7, '{"p":"x"}'))
    got, chatted = both(body)
    assert got.content == [("text", "a"), ("read", P)]
    assert [each["index"] for each in got.objects if "content_block" in each] == [0, 1]
    assert chatted.called == [("call_1", "read", P)]


def test_h030_no_block_before_there_is_anything_in_it() -> None:
    got = for_anthropic(stream(reasoning(0, "", encrypted=""), message(1), message(2, "", id="msg_2"), call(3, "{}")))
    assert [each["type"] for each in got.blocks] == ["tool_use"]
    announced = frames(*begun(), *message(0, "a")[:2])
    assert [each["type"] for each in judge_begun(through(announced, between(A, R)).body)] == ["message_start"]


def nulls(value: Any, path: str = "") -> set[str]:
    """Where in a JSON value null stands."""
    if isinstance(value, dict):
        return {each for key, inner in value.items() for each in nulls(inner, f"{path}.{key}")}
    return {path} if value is None else set()


def test_h030b_optional_keys_are_absent_not_null() -> None:
    got = for_anthropic(stream(reasoning(0, "t", encrypted=""), message(1, "a"), call(2, "{}")))
    allowed = {".message.stop_reason", ".message.stop_sequence", ".delta.stop_sequence"}
    assert {path for each in got.objects for path in nulls(each)} <= allowed
    assert [each["content_block"] for each in got.objects if "content_block" in each] == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "call_1", "name": "read", "input": {}},
    ]
    deltas = [each["delta"] for each in got.objects if "delta" in each]
    assert all(each["signature"] for each in deltas if each.get("type") == "signature_delta")


@pytest.mark.parametrize("id", ["functions.read:0", "call|fc_1", "çall", "call_ok-1", "x" * 80])
def test_h030c_ids(id: str) -> None:
    body = stream(call(0, "{}", call_id=id))
    got = for_anthropic(body)
    assert re.fullmatch(r"msg_[a-zA-Z0-9_-]+", got.start["id"])
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", got.ids[0])
    folded = msgspec.json.decode(through(body, between(A, R, stream=False)).body)
    assert (folded["id"], folded["content"][0]["id"]) == (got.start["id"], got.ids[0])
    assert for_chat(body).calls[0]["id"] == id


@pytest.mark.parametrize("id", ["functions.read:0", "call_1"])
async def test_h030c_h064_an_id_that_had_to_change_goes_back_as_it_was(id: str) -> None:
    async with upstream(streams(stream(call(0, "{}", call_id=id)))) as up, proxy(at(up.toml(), R)) as port:
        got = Message((await ask(port, ASKS_A, headers=CLAUDE)).body)
        turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": got.ids[0], "name": "read", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": got.ids[0], "content": "ok"}]},
        ]
        body = {"model": "asked", "max_tokens": 99, "stream": True, "messages": turns}
        await ask(port, msgspec.json.encode(body), headers=CLAUDE)
    _, called, result = msgspec.json.decode(up.requests[1].body)["input"]
    assert called["call_id"] == result["call_id"] == id


async def test_h030d_model_is_what_the_client_asked_for() -> None:
    toml = '\n[models]\n"claude-*" = "gpt-up"\n'
    claude = ASKS_A.replace(b'"asked"', b'"claude-sonnet-5"')
    async with upstream(streams(stream(message(0, "a")))) as up, proxy(at(up.toml(), R) + toml) as port:
        got = Message((await ask(port, claude, headers=CLAUDE)).body)
    assert got.start["model"] == "claude-sonnet-5"
    assert msgspec.json.decode(up.requests[0].body)["model"] == "gpt-up"
    whole = gives(msgspec.json.encode(response("completed", item(message(0, "a")))))
    async with upstream(whole) as up, proxy(at(up.toml(), R) + toml) as port:
        answered = await ask(port, claude.replace(b'"stream":true,', b""), headers=CLAUDE)
    assert msgspec.json.decode(answered.body)["model"] == "claude-sonnet-5"


def test_h028_a_refusal_is_said_and_an_empty_one_is_nothing() -> None:
    got, chatted = both(stream(refusal(0, "I ", "cannot")))
    assert (got.content, chatted.content) == ([("text", "I cannot")], "I cannot")
    assert for_anthropic(stream(refusal(0), message(1, "a"))).content == [("text", "a")]


def test_h006_h150_a_custom_call_among_others() -> None:
    custom = custom_call(1, "*** Begin\n", '"Patch"')
    got, chatted = both(answer(*by_turns(call(0, '{"p":', '"x"}'), custom)))
    assert got.content == [("read", P), ("apply_patch", {"input": '*** Begin\n"Patch"'})]
    assert [(name, arguments) for _, name, arguments in chatted.called] == got.content
