"""What a Responses upstream tells, for tests of its reader: single events, whole streams, and what a client gathers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from tests.anthropic import flow
from trioproxy.dialects.openai_responses.reader import Reader
from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherDelta,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Unknown,
    replace,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange
from trioproxy.stages.deframe import Deframe

# Who asks, and what the upstream speaks: client first.
A_ON_R = Exchange(id="test", upstream_dialect="openai-responses", model="claude-test", upstream_model="gpt-test")
R_ON_R = replace(A_ON_R, client_dialect="openai-responses", model="gpt-test")

Wire = dict[str, Any]


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def event(type: str, **fields: Any) -> bytes:
    return b"event: " + type.encode() + b"\ndata: " + msgspec.json.encode({"type": type, **fields}) + b"\n\n"


def created(id: str = "resp_1") -> bytes:
    response = {"id": id, "object": "response", "model": "gpt-test", "status": "in_progress", "output": []}
    return event("response.created", response=response) + event("response.in_progress", response=response)


def ended(*output: Wire, status: str = "completed", **more: Any) -> bytes:
    """The last event: `output` is empty where the stream has told it all, as from the Codex backend."""
    return event(f"response.{status}", response=response(*output, status=status, **more))


def response(*output: Wire, status: str = "completed", **more: Any) -> Wire:
    head = {"id": "resp_1", "object": "response", "model": "gpt-test", "status": status, "error": None}
    return {**head, "incomplete_details": None, "output": list(output), "usage": USAGE, **more}


USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 13,
}


def text(text: str, **more: Any) -> Wire:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}


def message(*parts: Wire | str, id: str = "msg_1", **more: Any) -> Wire:
    content = [text(part) if isinstance(part, str) else part for part in parts]
    return {"type": "message", "id": id, "role": "assistant", "status": "completed", "content": content, **more}


def reasoning(*summary: str, id: str = "rs_1", **more: Any) -> Wire:
    return {
        "type": "reasoning",
        "id": id,
        "summary": [{"type": "summary_text", "text": each} for each in summary],
    } | more


def call(arguments: str, *, id: str = "fc_1", **more: Any) -> Wire:
    named = {"call_id": "call_1", "name": "look", "arguments": arguments, "status": "completed"}
    return {"type": "function_call", "id": id} | named | more


def custom(input: str, *, id: str = "ctc_1", **more: Any) -> Wire:
    return {"type": "custom_tool_call", "id": id, "call_id": "call_2", "name": "run", "input": input} | more


def ladder(index: int, item: Wire) -> list[bytes]:
    """Every event that the API tells an item in, each text in two pieces."""
    place = {"output_index": index, "item_id": item["id"]}
    empty: Wire = {"message": {"content": []}, "reasoning": {"summary": []}, "function_call": {"arguments": ""}}
    start = {"status": "in_progress", **empty.get(item["type"], {"input": ""}), "encrypted_content": None}
    events = [event("response.output_item.added", output_index=index, item=item | start)]
    match item["type"]:
        case "message":
            for number, part in enumerate(item["content"]):
                events += _part(place | {"content_index": number}, part)
        case "reasoning":
            for number, part in enumerate(item["summary"]):
                where = place | {"summary_index": number}
                events += [event("response.reasoning_summary_part.added", **where, part={**part, "text": ""})]
                events += _text("response.reasoning_summary_text", where, "text", part["text"])
                events += [event("response.reasoning_summary_part.done", **where, part=part)]
        case "function_call":
            events += _text("response.function_call_arguments", place, "arguments", item["arguments"])
        case "custom_tool_call":
            events += _text("response.custom_tool_call_input", place, "input", item["input"])
    return [*events, event("response.output_item.done", output_index=index, item=item)]


def _part(where: Wire, part: Wire) -> list[bytes]:
    empty = {**part, "annotations": []} | {key: "" for key in ("text", "refusal") if key in part}
    key = "refusal" if part["type"] == "refusal" else "text"
    name = "response.refusal" if key == "refusal" else "response.output_text"
    *pieces, done = _text(name, where, key, part[key])
    cited = [
        event("response.output_text.annotation.added", **where, annotation=each) for each in part.get("annotations", ())
    ]
    added = event("response.content_part.added", **where, part=empty)
    return [added, *pieces, *cited, done, event("response.content_part.done", **where, part=part)]


def _text(name: str, where: Wire, key: str, text: str) -> list[bytes]:
    half = len(text) // 2
    pieces = [event(f"{name}.delta", **where, delta=piece, obfuscation="xyz") for piece in (text[:half], text[half:])]
    return [*pieces, event(f"{name}.done", **where, **{key: text})]


def stream(*items: Wire, repeat: bool = True) -> list[bytes]:
    """A whole stream, as the API sends it; the last event repeats the items, unless it is the Codex backend's."""
    told = [each for index, item in enumerate(items) for each in ladder(index, item)]
    return [created(), *told, ended(*(items if repeat else ()))]


# ── what is made of it ──────────────────────────────────────────────────────────────────────────────────────────────


def read(body: bytes | Iterable[bytes], exchange: Exchange = A_ON_R) -> list[Event]:
    """The events that a stream is read as."""
    body = body if isinstance(body, bytes) else b"".join(body)
    exchange = replace(exchange, ledger=Ledger()) if exchange in (A_ON_R, R_ON_R) else exchange
    return flow([Deframe(), Reader(exchange)], [[body]] if body else [], exchange)


def read_whole(wire: Any, exchange: Exchange = A_ON_R) -> list[Event]:
    """The events that a body is read as."""
    data = wire if isinstance(wire, bytes) else msgspec.json.encode(wire)
    return flow([Reader(exchange)], [[Frame(data, whole=True)]], exchange)


class Gathered(msgspec.Struct):
    """What a client gathers of one message."""

    start: MessageStart
    blocks: list[Block] = []
    citations: list[Any] = []
    end: MessageDelta = MessageDelta()

    @property
    def texts(self) -> list[str]:
        return [block.text for block in self.blocks if isinstance(block, Text)]

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        return [(block.id, block.name, block.input) for block in self.blocks if isinstance(block, ToolUse)]

    @property
    def thoughts(self) -> list[tuple[str, str]]:
        return [(block.thinking, block.signature) for block in self.blocks if isinstance(block, Thinking)]


def gathered(events: Iterable[Event]) -> list[Gathered]:
    """The messages, after making sure of what every reader promises: blocks are numbered as they start, a delta comes
    within an open block of its kind, and each stops once."""
    messages: list[Gathered] = []
    blocks: dict[int, Block] = {}
    still_open: set[int] = set()
    for each in events:
        assert not isinstance(each, Error), each
        if isinstance(each, MessageStart):
            messages.append(Gathered(each))
            blocks, still_open = {}, set()
        elif isinstance(each, BlockStart):
            assert each.index == len(blocks)
            blocks[each.index] = each.block
            still_open.add(each.index)
        elif isinstance(each, BlockStop):
            still_open.remove(each.index)
        elif isinstance(each, MessageDelta):
            messages[-1].end = each
        elif isinstance(each, MessageStop):
            assert not still_open
            messages[-1].blocks = [
                replace(block, input=block.input or "{}") if isinstance(block, ToolUse) else block
                for block in blocks.values()
            ]
        elif isinstance(each, OtherDelta):
            assert isinstance(blocks[each.index], Text)
            messages[-1].citations.append((each.kind, each.extra))
        elif not isinstance(each, Unknown):
            assert each.index in still_open  # type: ignore[attr-defined]  # deltas have one
            blocks[each.index] = _grown(blocks[each.index], each)  # type: ignore[attr-defined]  # deltas have one
    return messages


def _grown(block: Block, delta: Event) -> Block:
    match block, delta:
        case Text(text=so_far), TextDelta(text=text):
            return replace(block, text=so_far + text)
        case Thinking(thinking=so_far), ThinkingDelta(thinking=text):
            return replace(block, thinking=so_far + text)
        case Thinking(signature=""), SignatureDelta(signature=text):
            return replace(block, signature=text)
        case ToolUse(input=so_far), ToolInputDelta(partial_json=text):
            return replace(block, input=text if so_far == "{}" else so_far + text)
    raise AssertionError(f"{delta} in {block}")


def answer(body: bytes | Iterable[bytes], exchange: Exchange = A_ON_R) -> Gathered:
    """The one message of a stream."""
    [message] = gathered(read(body, exchange))
    return message


def complaint(events: Iterable[Event]) -> Error:
    """The one error of an answer."""
    [error] = [each for each in events if isinstance(each, Error)]
    return error
