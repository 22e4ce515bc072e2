"""Tool calls from their fragments: the same calls, however a provider cuts, numbers and names them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import flow, judge
from tests.chat import A_ON_C, A_ON_C_WHOLE, call, chunk, stream
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
