"""Tool calls from their fragments: the same calls, however a provider cuts, numbers and names them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import flow, judge
from tests.chat import A_ON_C, A_ON_C_WHOLE, DONE, call, chunk, stream
from trioproxy.items import BlockStop, Error, replace
from trioproxy.stage import Exchange
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

X, Y = '{"p":"x"}', '{"p":"y","big":18446744073709551617}'


def calls(*chunks: bytes, finish: str = "tool_calls") -> list[tuple[str, str, Any]]:
    """Id, name and input of each call, as an Anthropic client gets them, streaming and not."""
    body = stream(*chunks, finish=finish)
    judge(b"".join(flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], A_ON_C)))
    (folded,) = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], A_ON_C_WHOLE)
    message = msgspec.json.decode(folded)
    assert message["stop_reason"] == "tool_use"
    return [(each["id"], each["name"], each["input"]) for each in message["content"] if each["type"] == "tool_use"]


def several(*fragments: dict[str, Any]) -> bytes:
    return chunk({"tool_calls": list(fragments)})


def whole(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


BOTH = [("a", "f", {"p": "x"}), ("b", "g", {"p": "y", "big": 18446744073709551617})]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([call(0, X, id="a", name="f"), call(1, Y, id="b", name="g")], id="whole"),
        pytest.param(
            [call(0, "", id="a", name="f"), call(0, X[:3]), call(0, X[3:]), call(1, "", id="b", name="g"), call(1, Y)],
            id="one after the other",
        ),
        pytest.param(
            [call(0, X[:2], id="a", name="f"), call(1, Y[:4], id="b", name="g"), call(0, X[2:]), call(1, Y[4:])],
            id="interleaved",
        ),
        pytest.param(
            [call(0, X[:2], id="a", name="f"), call(0, X[2:], id="a", name="f"), call(1, Y, id="b", name="g")],
            id="id and name resent",
        ),
        pytest.param([call(0, X, id="a", name="f"), call(0, Y, id="b", name="g")], id="the same index"),
        pytest.param([call(None, X, id="a", name="f"), call(None, Y, id="b", name="g")], id="no index"),
        pytest.param([several(whole("f", X, id="a"), whole("g", Y, id="b"))], id="in one delta"),
        pytest.param([call(1, X, id="a", name="f"), call(2, Y, id="b", name="g")], id="from 1"),
        pytest.param(
            [call(0, X[:3], id="a"), call(0, X[3:], name="f"), call(1, id="b"), call(1, Y, name="g")], id="name late"
        ),
        pytest.param(
            [call(0, id="a", name="f"), call(0, "{}"), call(0, X), call(1, Y, id="b", name="g")], id="placeholder"
        ),
        pytest.param(
            [call(0, X[:4], id="a", name="f"), call(0, X[4:]), call(0, X), call(1, Y, id="b", name="g")],
            id="all of it once more",
        ),
        pytest.param(
            [call(0, X, id="a", name="f"), chunk({"content": ""}), call(1, Y, id="b", name="g")],
            id="empty text between",
        ),
        pytest.param(
            [several(whole("f", {"p": "x"}, id="a")), several(whole("g", msgspec.Raw(Y.encode()), id="b"))],
            id="objects",
        ),
    ],
)
def test_two_calls(chunks: list[bytes]) -> None:
    assert calls(*chunks) == BOTH
    assert calls(*chunks, finish="stop") == BOTH


def test_a_call_without_an_id_gets_the_same_one_each_time() -> None:
    first, again = calls(several(whole("f", X, index=0))), calls(call(0, X[:3], name="f"), call(0, X[3:]))
    assert first == again
    assert first[0][0].startswith("toolu_")


@pytest.mark.parametrize("arguments", [None, "", "{}", " {} "])
def test_h017_a_call_without_arguments(arguments: str | None) -> None:
    assert calls(call(0, arguments, id="a", name="f")) == [("a", "f", {})]


def test_two_calls_of_one_tool_without_ids() -> None:
    got = calls(several(whole("f", X), whole("f", Y)))
    assert [(name, input) for _, name, input in got] == [("f", BOTH[0][2]), ("f", BOTH[1][2])]
    assert got[0][0] != got[1][0]


@given(st.data())
def test_interleaving_changes_no_call(data: st.DataObject) -> None:
    """Fragments of several calls in any order that keeps each call's own."""
    wanted = data.draw(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=8), max_size=3), max_size=4))
    queues: list[list[bytes]] = []
    for index, arguments in enumerate(wanted):
        text = msgspec.json.encode(arguments).decode()
        at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
        pieces = [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]
        queues.append([call(index, "", id=f"c{index}", name="f"), *(call(index, piece) for piece in pieces)])
    sent: list[bytes] = []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        sent.append(queue.pop(0))
    if wanted:
        got = {id: input for id, _, input in calls(*sent)}
        assert got == {f"c{index}": arguments for index, arguments in enumerate(wanted)}


# ── whole bodies, and several calls in one delta ────────────────────────────────────────────────────────────────────


def of_a_body(*calls: dict[str, Any], reason: str = "tool_calls", **message: Any) -> list[tuple[str, str, Any]]:
    """Id, name and input of each call of a whole body, which a client that streams gets too."""
    choice = {"index": 0, "message": {"tool_calls": list(calls), **message}, "finish_reason": reason}
    body = msgspec.json.encode({"id": "c", "choices": [choice]})
    judge(
        b"".join(flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], replace(A_ON_C, upstream_stream=False)))
    )
    exchange = replace(A_ON_C_WHOLE, upstream_stream=False)
    (folded,) = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)
    assert not isinstance(folded, Error), folded
    content = msgspec.json.decode(folded)["content"]
    return [(each["id"], each["name"], each["input"]) for each in content if each["type"] == "tool_use"]


LOOK_ALIKES = [
    [whole("n", "{}"), whole("n", "{}")],
    [whole("n", X), whole("n", X)],
    [whole("n", ""), whole("n", X)],
    [whole("read", "{}"), whole("read_file", X)],
    [whole("n", X, id=""), whole("n", X, id="")],
    [whole("n", X, id="same"), whole("m", X, id="same")],
    [whole("n", X, id="same"), whole("n", X, id="same"), whole("n", X, id="same")],
]


@pytest.mark.parametrize("sent", LOOK_ALIKES)
@pytest.mark.parametrize("indices", [None, 0])
def test_h008_every_call_of_a_whole_body_is_one_of_its_own(sent: list[dict[str, Any]], indices: int | None) -> None:
    got = of_a_body(*(each | ({} if indices is None else {"index": indices}) for each in sent))
    assert [(name, input) for _, name, input in got] == [
        (each["function"]["name"], msgspec.json.decode(each["function"]["arguments"] or "{}")) for each in sent
    ]
    assert len({id for id, _, _ in got}) == len(sent)


@pytest.mark.parametrize("sent", LOOK_ALIKES)
def test_h008_several_calls_without_an_index_in_one_delta(sent: list[dict[str, Any]]) -> None:
    got = calls(several(*sent))
    assert [name for _, name, _ in got] == [each["function"]["name"] for each in sent]
    assert len({id for id, _, _ in got}) == len(sent)


def test_h008_several_pieces_without_an_index_go_on_with_their_calls() -> None:
    first = several(whole("f", X[:3], id="a"), whole("g", Y[:3], id="b"))
    assert calls(first, several(whole("f", X[3:], id="a"), whole("g", Y[3:], id="b"))) == BOTH


def test_a_whole_body_may_say_a_call_in_the_old_way_too() -> None:
    old = {"name": "f", "arguments": X}
    assert of_a_body(whole("f", X, id="a"), function_call=old) == BOTH[:1]
    assert [each[1:] for each in of_a_body(function_call=old)] == [BOTH[0][1:]]


# ── arguments that are none ─────────────────────────────────────────────────────────────────────────────────────────

BROKEN = {
    '{"a":': "cut",
    "not json": "cut, or no JSON",
    '{"a":1}}': "cut, or no JSON",
    "[1]": "a list",
    '[{"a":1}]': "a list",
    '"str"': "a text",
    "true": "a truth value",
    "1": "a number",
    "null": "null",
}


@pytest.mark.parametrize("arguments", BROKEN)
@pytest.mark.parametrize("finish", ["tool_calls", "stop", None])
@pytest.mark.parametrize("exchange", [A_ON_C, A_ON_C_WHOLE])
@pytest.mark.parametrize("body", ["stream", "pieces", "whole"])
def test_h109_a_call_that_cannot_be_made_is_an_error(
    arguments: str, finish: str | None, exchange: Exchange, body: str
) -> None:
    if body == "whole":
        message = {"tool_calls": [whole("f", arguments, id="a")]}
        sent = msgspec.json.encode({"choices": [{"message": message, "finish_reason": finish or "stop"}]})
        exchange = replace(exchange, upstream_stream=False)
    else:
        pieces = list(arguments) if body == "pieces" else [arguments]
        sent = call(0, "", id="a", name="f") + b"".join(call(0, piece) for piece in pieces)
        sent += (chunk(finish=finish) if finish else b"") + DONE
    out = flow([Deframe(), Parse(), Translate(), Reframe()], [[sent]], exchange)
    assert isinstance(out[-1], Error)
    assert BROKEN[arguments] in out[-1].message or "in the middle of a tool's arguments" in out[-1].message
    assert not any(b"message_stop" in each or b'tool_use"}' in each for each in out[:-1])


def test_h109_a_piece_behind_the_end_of_a_call_is_an_error() -> None:
    late = [call(0, X, id="a", name="f"), call(1, Y, id="b", name="g"), call(0, "more")]
    out = flow([Deframe(), Parse(), Translate(), Reframe()], [[stream(*late, finish="tool_calls")]], A_ON_C)
    assert isinstance(out[-1], Error)


@pytest.mark.parametrize("arguments", BROKEN)
def test_h070b_a_call_cut_by_the_limit_of_tokens_is_left_out(arguments: str) -> None:
    body = stream(call(0, arguments, id="a", name="f"), finish="length")
    (folded,) = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], A_ON_C_WHOLE)
    message = msgspec.json.decode(folded)
    assert (message["stop_reason"], message["content"]) == ("max_tokens", [{"type": "text", "text": ""}])
    assert judge(b"".join(flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], A_ON_C)))


@pytest.mark.parametrize("text", ['{"a":"}"}', '{"a":"\\\\"}', '{"a":"\\"}{"}', '{"a":{"b":"{"},"c":[{}]}', " { } "])
def test_braces_and_quotes_within_arguments(text: str) -> None:
    """Where the arguments end is found piece by piece; a call behind them tells that it was found."""
    pieces = [call(0, "", id="a", name="f"), *(call(0, letter) for letter in text), call(1, X, id="b", name="g")]
    assert [each[2] for each in calls(*pieces)] == [msgspec.json.decode(text), {"p": "x"}]


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["f", None])
def test_what_calls_hold_has_a_bound(name: str | None) -> None:
    small = replace(A_ON_C, event_limit=20_000)
    pieces = [call(0, '{"p":"', id="a", name=name), *[call(0, "x" * 1000)] * 40]
    out = flow([Deframe(), Parse()], [[piece] for piece in pieces], small)
    assert [each.message for each in out if isinstance(each, Error)] == [
        "the upstream sent more than 20000 bytes of tool calls"
    ]


def test_calls_that_are_over_are_held_no_longer() -> None:
    """Forty rounds of two calls that overlap: each by itself is far below the limit."""
    rounds = []
    for at in range(0, 80, 2):
        rounds += [call(at, '{"p":"', id=f"c{at}", name="f"), call(at + 1, '{"p":"', id=f"c{at + 1}", name="f")]
        rounds += [call(at + 1, "y" * 50_000), call(at, '"}'), call(at + 1, '"}')]
    body = stream(*rounds, finish="tool_calls")
    out = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], replace(A_ON_C, event_limit=1 << 20))
    judge(b"".join(out))


def test_calls_that_wait_for_their_turn_may_be_many() -> None:
    others = [call(index, X, id=f"c{index}", name="f") for index in range(1, 1500)]
    got = calls(call(0, '{"p":', id="c0", name="f"), *others, call(0, '"x"}'))
    assert got == [(f"c{index}", "f", {"p": "x"}) for index in range(1500)]


def test_h124_half_an_emoji_in_arguments_is_no_reason_to_give_up() -> None:
    body = stream(call(0, r'{"p":"\ud83d"}', id="a", name="f"), finish="tool_calls")
    for exchange in (A_ON_C, A_ON_C_WHOLE):
        out = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)
        assert rb"\ud83d" in b"".join(out)


def test_many_parallel_calls_take_no_longer_than_they_must() -> None:
    """Once half a minute's work: with each call that began all before it were looked at, as none had ended."""
    numbers = range(8000)
    begun = [call(number, "", id=f"c{number}", name="f") for number in numbers]
    body = stream(*begun, *(call(number, '{"p":1}') for number in numbers))
    out = flow([Deframe(), Parse()], [[body]], replace(A_ON_C, event_limit=1 << 26))
    assert sum(isinstance(each, BlockStop) for each in out) == len(numbers)
