"""What other translators' tests expect of answers: `shared/peer-cases`, beside the checkout; absent, its tests skip.

An answer is compared by what it says, and only with others in the same dialect.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.chat import gathered

BESIDE = Path(__file__).parent.parent.parent / "shared" / "peer-cases"

Wire = dict[str, Any]


class Case(msgspec.Struct):
    """An answer of an upstream's, and what a translator made of it for a client, or assertions on that."""

    id: str
    direction: str
    kind: str
    input: Any
    expected: Any = None
    assertions: list[Wire] = []

    @property
    def upstream(self) -> str:
        return self.direction.partition("->")[0]

    @property
    def client(self) -> str:
        return self.direction.partition("->")[2].partition(" ")[0]


_CASES = msgspec.json.Decoder(list[Case])


@cache
def cases(dialect: str) -> tuple[Case, ...]:
    """Every answer that is translated to or from `dialect`. Skips the test that asks if they are not here."""
    if not BESIDE.is_dir():
        pytest.skip("the cases of other translators are not beside this checkout")
    found = [case for file in sorted(BESIDE.glob("*.json")) for case in _CASES.decode(file.read_bytes())]
    return tuple(case for case in found if dialect in case.direction and case.kind in ("response", "stream"))


# ── what an answer says: its content, how it ended, and what it cost ────────────────────────────────────────────────


def said(dialect: str, wire: Wire) -> tuple[Any, ...]:
    """Of a whole answer. An empty text or thought says nothing."""
    content, *rest = _SAYS[dialect](wire)
    return [each for each in content if each[1:] not in (("",), (None,))], *rest


def _anthropic(wire: Wire) -> tuple[Any, ...]:
    fields = {"text": ["text"], "thinking": ["thinking"], "tool_use": ["id", "name", "input"]}
    content = [(each["type"], *(each[key] for key in fields.get(each["type"], ()))) for each in wire["content"]]
    counts = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return content, wire["stop_reason"], _counts(wire.get("usage"), *counts)


def _chat(wire: Wire) -> tuple[Any, ...]:
    [choice] = wire["choices"]
    message, usage = choice["message"], wire.get("usage") or {}
    content = [("thinking", message.get("reasoning_content") or message.get("reasoning"))]
    content += [(key, message.get(key)) for key in ("content", "refusal")]
    content += [_call(call["id"], **call["function"]) for call in message.get("tool_calls") or ()]
    inside = _counts(usage.get("prompt_tokens_details"), "cached_tokens")
    inside += _counts(usage.get("completion_tokens_details"), "reasoning_tokens")
    return content, choice["finish_reason"], _counts(usage, "prompt_tokens", "completion_tokens") + inside


def _responses(wire: Wire) -> tuple[Any, ...]:
    content: list[Any] = []
    for item in wire["output"]:
        match item["type"]:
            case "message":
                content += [tuple(part.get(key) for key in ("type", "text")) for part in item["content"]]
            case "reasoning":
                content.append(("thinking", "\n\n".join(part["text"] for part in item["summary"])))
            case "function_call":
                content.append(_call(item["call_id"], item["name"], item["arguments"]))
            case "custom_tool_call":
                content.append(("custom", item["call_id"], item["name"], item["input"]))
            case kind:
                content.append((kind, item))
    usage = wire.get("usage") or {}
    inside = _counts(usage.get("input_tokens_details"), "cached_tokens", "cache_write_tokens")
    inside += _counts(usage.get("output_tokens_details"), "reasoning_tokens")
    end = wire["status"], (wire.get("incomplete_details") or {}).get("reason")
    return content, end, _counts(usage, "input_tokens", "output_tokens") + inside


def _call(id: Any, name: Any, arguments: str) -> tuple[Any, ...]:
    try:
        return "call", id, name, msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return "call", id, name, arguments


def _counts(usage: Wire | None, *names: str) -> list[int]:
    return [(usage or {}).get(name) or 0 for name in names]


# ── a stream of theirs as a whole answer ────────────────────────────────────────────────────────────────────────────


def whole(case: Case) -> Wire:
    """What is expected."""
    if case.kind == "response":
        return dict(case.expected)
    return _FOLDS[case.client](_events(case.expected))


def _events(stream: Any) -> list[Wire]:
    if not isinstance(stream, str):
        return list(stream)
    lines = [line.removeprefix("data:").strip() for line in stream.splitlines() if line.startswith("data:")]
    return [msgspec.json.decode(line) for line in lines if line != "[DONE]"]


def _fold_anthropic(events: list[Wire]) -> Wire:
    wire: Wire = {"content": []}
    for each in events:
        match each["type"]:
            case "content_block_start":
                wire["content"].append(dict(each["content_block"]))
            case "content_block_delta":
                [(key, text)] = [(key, value) for key, value in each["delta"].items() if key != "type"]
                key, block = "input" if key == "partial_json" else key, wire["content"][each["index"]]
                block[key] = (block.get(key) or "") + text
            case "message_delta":
                wire |= each["delta"] | {"usage": each.get("usage")}
    for block in wire["content"]:
        if isinstance(block.get("input"), str):
            block["input"] = msgspec.json.decode(block["input"])
    return wire


def _fold_chat(events: list[Wire]) -> Wire:
    message = gathered(b"\n\n".join(b"data: " + msgspec.json.encode(event) for event in events))
    choice = {"message": message, "finish_reason": message["finish_reason"]}
    return {"choices": [choice], "usage": next((each["usage"] for each in reversed(events) if each.get("usage")), None)}


def _fold_responses(events: list[Wire]) -> Wire:
    wire = events[-1]["response"]
    done = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    return dict(wire) | {"output": wire.get("output") or [done[place] for place in sorted(done)]}


_SAYS = {"anthropic": _anthropic, "openai-chat": _chat, "openai-responses": _responses}
_FOLDS = {"anthropic": _fold_anthropic, "openai-chat": _fold_chat, "openai-responses": _fold_responses}
