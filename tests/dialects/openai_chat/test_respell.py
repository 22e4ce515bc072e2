"""A chat upstream's own answers in another style: the reasoning elsewhere, calls at once, and all else as it came."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from tests.anthropic import cut, cuts, flow
from tests.chat import A_ON_C_WHOLE, C_ON_C, DONE, USAGE, call, chunk, data, gathered, piece, stream
from tests.corpus import streams, wholes
from trioproxy.items import Error, Event, TextDelta, ToolInputDelta, replace
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

ROLE = chunk({"role": "assistant", "content": ""})
FIELDS = ("reasoning_content", "reasoning", "reasoning_details")


def through(body: bytes | list[bytes], exchange: Exchange = C_ON_C, *between: Stage[Any, Any], **style: Any) -> bytes:
    """What a client gets of an upstream's answer, if it is no error."""
    pieces = body if isinstance(body, list) else [body]
    stages: list[Stage[Any, Any]] = [Deframe(), Parse(), *between, Translate(**style), Reframe()]
    items = flow(stages, [[each] for each in pieces], exchange)
    errors = [item for item in items if isinstance(item, Error)]
    assert not errors, errors
    return b"".join(items)


def deltas(body: bytes) -> list[dict[str, Any]]:
    frames = flow([Deframe()], [[body]], C_ON_C)
    wires = [msgspec.json.decode(frame.data) for frame in frames if frame.data.startswith(b"{")]
    return [choice["delta"] for wire in wires for choice in wire.get("choices") or () if "delta" in choice]


# ── reasoning ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("style", FIELDS)
@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.summary", "summary": "hm", "format": "x"}]},
        {"thinking": {"text": "hm"}},
        {"reasoning_content": {"text": "hm"}},
        {"reasoning": [{"text": "h"}, {"text": "m"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ],
)
def test_h071_reasoning_by_any_name_is_told_in_the_one_that_was_asked_for(said: dict[str, Any], style: Any) -> None:
    body = stream(chunk(said, x=1), chunk({"content": "so"}))
    out = through(body, reasoning=style)
    message = gathered(out)
    if style == "reasoning_details":
        told = said.get(style) or [{"type": "reasoning.text", "text": "hm", "format": "unknown", "index": 0}]
    else:
        told = "hm"
    assert message[style] == told
    beside = {"reasoning"} if style == "reasoning_details" else set()  # as OpenRouter has it
    assert {*FIELDS, "thinking"} & message.keys() == {style} | beside
    assert message.get("reasoning", "hm") == "hm"
    assert message["content"] == "so"
    assert b'"x":1' in out  # the rest of the chunk
    # Every other chunk is the very bytes it was.
    assert out.endswith(chunk({"content": "so"}) + chunk(finish="stop") + USAGE + DONE)


@pytest.mark.parametrize("style", FIELDS)
def test_what_is_told_there_already_stays_the_very_bytes(style: Any) -> None:
    said: dict[str, Any] = {style: "hm"}
    if style == "reasoning_details":
        said = {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}
    nothing: dict[str, Any] = {field: None for field in FIELDS if field not in said}
    body = stream(chunk(said | nothing), chunk({"content": "a"} | nothing))
    assert through(body, reasoning=style) == body
    whole = whole_answer(said | nothing | {"content": "a"})
    assert through(whole, replace(C_ON_C, stream=False, upstream_stream=False), reasoning=style) == whole


def test_text_and_reasoning_in_one_delta() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}]
    out = through(stream(chunk({"content": parts}), chunk({"content": "!", "reasoning": "x"})), reasoning="reasoning")
    assert [each for each in deltas(out) if each][1:] == [
        {"content": "so", "reasoning": "hm"},
        {"content": "!", "reasoning": "x"},
    ]
    cited = {"type": "reference", "reference_ids": [1]}
    out = through(stream(chunk({"content": [*parts, cited]})), reasoning="drop")
    assert {"content": [parts[1], cited]} in deltas(out)


def test_dropped() -> None:
    exchange = replace(C_ON_C, ledger=Ledger())
    block = {"type": "thinking", "thinking": "hm", "signature": "s"}  # LiteLLM
    body = stream(
        chunk({"reasoning": "hm", "thinking_blocks": [block]}),
        *(chunk({"content": "so", "reasoning_content": "x"}), chunk({"content": "!"})),
    )
    out = through(body, exchange, reasoning="drop")
    assert b"reasoning" not in out
    assert b"thinking" not in out
    assert gathered(out)["content"] == "so!"
    assert str(exchange.ledger) == "content[].thinking (this client is told no reasoning)"


def test_signatures_that_a_text_has_no_place_for_are_noted() -> None:
    signed = [{"type": "reasoning.text", "text": "hm", "signature": "s"}]
    for field, noted in (("reasoning", True), ("reasoning_details", False)):
        exchange = replace(C_ON_C, ledger=Ledger())
        through(stream(chunk({"reasoning_details": signed})), exchange, reasoning=field)
        assert ("reasoning_details" in str(exchange.ledger)) is noted
    exchange = replace(C_ON_C, ledger=Ledger())
    encrypted = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}
    assert "reasoning" not in gathered(through(stream(chunk(encrypted)), exchange, reasoning="reasoning"))
    assert "reasoning_details" in str(exchange.ledger)


def test_every_answer_of_several_is_respelled() -> None:
    both = [{"index": index, "delta": {"reasoning": f"hm {index}"}, "finish_reason": None} for index in (0, 1)]
    out = through(stream(data({"id": "1", "choices": both})), reasoning="reasoning_content")
    assert [each["reasoning_content"] for each in deltas(out) if "reasoning_content" in each] == ["hm 0", "hm 1"]
    both[0]["delta"] = {"content": "so"}
    out = through(stream(chunk({"content": "a"}), data({"id": "1", "choices": both})), reasoning="reasoning_content")
    assert {"reasoning_content": "hm 1"} in deltas(out)


def whole_answer(message: dict[str, Any]) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return msgspec.json.encode({"id": "1", "model": "gpt-test", "x": 1.5, "choices": [choice]})


def test_a_whole_answer_is_respelled_and_nothing_else_of_it() -> None:
    exchange = replace(C_ON_C, stream=False, upstream_stream=False)
    body = whole_answer({"content": "so", "reasoning": "hm", "y": 2})
    assert through(body, exchange, reasoning="reasoning_content") == whole_answer(
        {"content": "so", "y": 2, "reasoning_content": "hm"}
    )
    renamed = replace(exchange, model="alias", upstream_model="gpt-test")
    out = msgspec.json.decode(through(body, renamed, reasoning="drop"))
    assert (out["model"], out["choices"][0]["message"]) == ("alias", {"role": "assistant", "content": "so", "y": 2})
    assert through(body, exchange) == body


def test_a_model_by_another_name_is_told_by_the_clients_there_too() -> None:
    renamed = replace(C_ON_C, model="alias", upstream_model="gpt-test")
    out = through(stream(chunk({"reasoning": "hm"})), renamed, reasoning="reasoning_content")
    assert b"gpt-test" not in out
    assert b'"reasoning_content":"hm"' in out


# ── calls at once ───────────────────────────────────────────────────────────────────────────────────────────────────

TWO = [
    *(call(0, "", id="a", name="f"), call(0, '{"x"'), call(0, ":1}")),
    *(call(1, "", id="b", name="g"), call(1, "{}")),
]


def told(id: str, name: str, arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return more | {"index": index, "id": id, "type": "function", "function": function}


def test_calls_are_told_at_once() -> None:
    body = stream(chunk({"content": "Look:"}), *TWO, finish="tool_calls")
    out = through(body, tool_calls="single")
    assert [each for each in deltas(out) if each] == [
        {"role": "assistant", "content": ""},
        {"content": "Look:"},
        {"tool_calls": [told("a", "f", '{"x":1}')]},
        {"tool_calls": [told("b", "g", "{}", 1)]},
    ]
    assert out.startswith(ROLE + chunk({"content": "Look:"}))
    assert out.endswith(chunk(finish="tool_calls") + USAGE + DONE)
    assert through(body, tool_calls="delta") == body


def test_a_role_text_and_an_end_in_the_same_chunk_keep_their_order() -> None:
    first = chunk({"role": "assistant", "content": None, "tool_calls": [piece(0, "{}", id="a", name="f")]})
    out = through(first + call(1, "{}", id="b", name="g") + chunk(finish="tool_calls") + DONE, tool_calls="single")
    assert deltas(out) == [
        {"role": "assistant", "content": None},
        *({"tool_calls": [told("a", "f", "{}")]}, {"tool_calls": [told("b", "g", "{}", 1)]}),
        {},
    ]
    # Whole in one chunk with everything else, as Ollama and Google send it.
    calls = [piece(None, '{"x":1}', id="a", name="f"), piece(None, '{"y":2}', id="b", name="g")]
    out = through(ROLE + chunk({"content": "Look:", "tool_calls": calls}, "stop") + DONE, tool_calls="single")
    assert deltas(out)[1:] == [
        {"content": "Look:", "tool_calls": [told("a", "f", '{"x":1}'), told("b", "g", '{"y":2}', 1)]}
    ]
    out = through(chunk({"tool_calls": calls[:1]}, "stop") + DONE, tool_calls="single")
    assert deltas(out) == [{"tool_calls": [told("a", "f", '{"x":1}')]}]


def test_a_piece_beside_text_is_held_too() -> None:
    both = chunk({"content": "!", "tool_calls": [piece(0, "", id="a", name="f")]})
    out = through(stream(chunk({"content": "a"}), both, call(0, "{}")), tool_calls="single")
    assert deltas(out)[1:4] == [{"content": "a"}, {"content": "!"}, {"tool_calls": [told("a", "f", "{}")]}]


def test_what_a_call_has_beside_is_told_with_it() -> None:
    signed = piece(0, "{}", id="a", name="f") | {"extra_content": {"google": {"thought_signature": "s"}}}
    out = through(stream(chunk({"tool_calls": [signed]}), call(1, "{}", id="b", name="g")), tool_calls="single")
    found, _ = [each["tool_calls"] for each in deltas(out) if "tool_calls" in each]
    assert found == [told("a", "f", "{}", extra_content={"google": {"thought_signature": "s"}})]


def test_calls_in_a_way_without_pieces_stay_as_they_are() -> None:
    legacy = [chunk({"function_call": {"name": "f", "arguments": ""}}), chunk({"function_call": {"arguments": "{}"}})]
    body = stream(*legacy, finish="function_call")
    assert through(body, tool_calls="single") == body
    custom = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sql", "input": "select"}}
    body = stream(chunk({"tool_calls": [custom]}))
    assert through(body, tool_calls="single") == body
    both = [custom, piece(1, "{}", id="a", name="f")]
    out = through(
        stream(chunk({"tool_calls": both}), chunk({"tool_calls": [piece(2, "{}", id="b", name="g")]})),
        tool_calls="single",
    )
    assert [each["tool_calls"] for each in deltas(out) if "tool_calls" in each] == [
        [custom],
        [told("a", "f", "{}", index=1)],
        [told("b", "g", "{}", index=2)],
    ]


def test_the_other_of_several_answers_is_left_alone() -> None:
    other = {"index": 1, "delta": {"tool_calls": [piece(0, '{"x"', id="z", name="f")]}, "finish_reason": None}
    mine = {"index": 0, "delta": {"tool_calls": [piece(0, "{", id="a", name="f")]}, "finish_reason": None}
    both = data({"id": "1", "choices": [other, mine]})
    out = through(stream(both, call(0, "}")), tool_calls="single")
    assert {"tool_calls": [piece(0, '{"x"', id="z", name="f")]} in deltas(out)
    assert {"tool_calls": [told("a", "f", "{}")]} in deltas(out)


def test_counts_beside_a_call_are_not_lost() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    counted = chunk({"tool_calls": [piece(0, "{}", id="a", name="f")]}, usage=usage)
    assert b'"usage":{"prompt_tokens":9,"completion_tokens":1}' in through(stream(counted), tool_calls="single")


def test_m1_5_nothing_is_shown_of_a_call_that_breaks_off() -> None:
    body = ROLE + call(0, "", id="a", name="f") + call(0, '{"x"') + b'data: {"error": {"message": "gone"}}\n\n'
    out = flow([Deframe(), Parse(), Translate(tool_calls="single"), Reframe()], [[body]], C_ON_C)
    assert b"tool_calls" not in b"".join(item for item in out if isinstance(item, bytes))
    cut_off = flow([Deframe(), Parse(), Translate(tool_calls="single"), Reframe()], [[body[:-45]]], C_ON_C)
    assert isinstance(cut_off[-1], Error)
    assert b"tool_calls" not in b"".join(item for item in cut_off if isinstance(item, bytes))


def test_what_is_held_of_calls_has_a_bound() -> None:
    limited = replace(C_ON_C, event_limit=4000)
    pieces = [call(0, "", id="a", name="f"), *[call(0, "x" * 500)] * 20]
    out = flow([Deframe(), Parse(), Translate(tool_calls="single")], [[stream(*pieces)]], limited)
    assert [item.message for item in out if isinstance(item, Error)][:1] == [
        "the upstream sent more than 4000 bytes of tool calls"
    ]
    beside = [chunk({"tool_calls": [{"index": 0, "id": f"id{n}", "x": "x" * 900}]}) for n in range(8)]
    out = flow([Deframe(), Parse(), Translate(tool_calls="single")], [[stream(*beside)]], limited)
    assert [type(item) for item in out if isinstance(item, Error)] == [Error]


def test_a_held_call_gives_signs_of_life() -> None:
    """Its pieces have passed `keepalive`, which therefore does not ping."""
    body = stream(call(0, "", id="a", name="f"), *[call(0, " ")] * 24, call(0, "{}"))
    out = through(body, tool_calls="single")
    assert out.count(b": keepalive\n\n") == 3
    assert b"keepalive" not in through(body)


class Shout(Stage[Event, Event]):
    def feed(self, event: Event, /) -> Any:
        if isinstance(event, TextDelta):
            yield replace(event, text=event.text.upper())
        elif isinstance(event, ToolInputDelta):
            yield replace(event, partial_json=event.partial_json.replace("1", "2"))
        else:
            yield event


def test_what_a_stage_changed_is_told_in_the_same_style() -> None:
    body = stream(chunk({"content": "a", "reasoning": "hm"}), *TWO, finish="tool_calls")
    message = gathered(through(body, C_ON_C, Shout(), reasoning="reasoning_content", tool_calls="single"))
    assert (message["content"], message["reasoning_content"]) == ("A", "hm")
    assert [each["function"]["arguments"] for each in message["tool_calls"]] == ['{"x":2}', "{}"]
    assert message["finish_reason"] == "tool_calls"


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(cuts)
def test_batching_does_not_show(at: list[int]) -> None:
    body = stream(chunk({"reasoning": "hm"}), chunk({"content": "a"}), *TWO, finish="tool_calls")
    style: dict[str, Any] = {"reasoning": "reasoning_content", "tool_calls": "single"}
    assert through(cut(body, at), **style) == through(body, **style)


def understood(body: bytes, *, stream: bool = True) -> Any:
    """What an Anthropic client would be told of this answer: the texts and thoughts joined, and the calls."""
    exchange = replace(A_ON_C_WHOLE, upstream_stream=stream, ledger=Ledger())
    [item] = flow([Deframe(), Parse(), Translate(), Reframe()], [[body]], exchange)
    if isinstance(item, Error):
        return item.message
    message = msgspec.json.decode(item)
    blocks = message.pop("content")
    for kind in ("text", "thinking"):
        message[kind] = "".join(block[kind] for block in blocks if block["type"] == kind)
    return message, [block for block in blocks if block["type"] == "tool_use"]


@pytest.mark.parametrize("style", [*({"reasoning": field} for field in FIELDS), {"tool_calls": "single"}])
def test_every_recording_says_the_same_in_every_style(style: dict[str, Any]) -> None:
    changed = 0
    for case in streams("openai-chat"):
        plain = flow([Deframe(), Parse(), Translate(), Reframe()], [[case.body]], C_ON_C)
        if any(isinstance(item, Error) for item in plain):
            continue
        out = through(case.body, **style)
        assert understood(out) == understood(b"".join(plain)), case.id
        changed += out != b"".join(plain)
        if "tool_calls" in style:
            calls = [call for delta in deltas(out) for call in delta.get("tool_calls") or ()]
            assert all("name" in call["function"] for call in calls if "function" in call), case.id
        else:
            told = {key for delta in deltas(out) for key, value in delta.items() if value}
            beside = {"reasoning"} if style["reasoning"] == "reasoning_details" else set()
            assert not {*FIELDS} & told - {style["reasoning"]} - beside, case.id
    assert changed > 10


@pytest.mark.parametrize("field", FIELDS)
def test_every_recorded_whole_answer_says_the_same(field: Any) -> None:
    exchange, changed = replace(C_ON_C, stream=False, upstream_stream=False), 0
    for case in wholes("openai-chat"):
        items = flow([Deframe(), Parse(), Translate()], [[case.body]], exchange)
        if any(isinstance(item, Error) for item in items):
            continue
        out = through(case.body, exchange, reasoning=field, tool_calls="single")
        assert understood(out, stream=False) == understood(case.body, stream=False), case.id
        changed += out != case.body
    assert changed > 3
