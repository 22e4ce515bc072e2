"""Bodies of Responses requests for tests: written for a host, and checked by the API's rules."""

from __future__ import annotations

from typing import Any

import msgspec
from openai.types.responses import ResponseInputItemParam, ToolParam
from pydantic import TypeAdapter

from trioproxy.dialects.anthropic.request import read_request
from trioproxy.dialects.openai_responses.write_request import write_request
from trioproxy.dialects.target import Target, Written
from trioproxy.ledger import Ledger

OPENAI = "api.openai.com"
CODEX = "chatgpt.com"
TOOL = {"name": "Bash", "description": "Runs it", "input_schema": {"type": "object", "properties": {"a": {}}}}

_ITEMS: TypeAdapter[Any] = TypeAdapter(list[ResponseInputItemParam])
_TOOLS: TypeAdapter[Any] = TypeAdapter(list[ToolParam])
_KINDS = {"message", "reasoning", "function_call", "function_call_output"}


def written(wire: dict[str, Any], host: str = "localhost", **target: Any) -> tuple[Any, Ledger]:
    """The body for `host`, which keeps the rules, and what was lost. What a test does not say is filled in."""
    sent, ledger = sent_for(wire, host, **target)
    body = msgspec.json.decode(sent.body)
    check(body)
    return body, ledger


def sent_for(wire: dict[str, Any], host: str = "localhost", **target: Any) -> tuple[Written, Ledger]:
    wire = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **wire}
    ledger = Ledger()
    request = read_request(msgspec.json.encode(wire))
    return write_request(request, Target(host=host, **target), ledger), ledger


def lost(wire: dict[str, Any], host: str = "localhost", **target: Any) -> list[str]:
    """The paths of what was lost."""
    return [loss.partition(" (")[0] for loss in str(written(wire, host, **target)[1]).split("; ") if loss]


def check(body: Any) -> None:
    """Fails if the API, or a server that checks requests against the types of OpenAI's SDK, would refuse the body."""
    assert body["store"] is False
    assert list(body)[-1] == "input"
    assert body.get("max_output_tokens", 16) >= 16
    _TOOLS.validate_python(body.get("tools", []))
    assert all("strict" in tool for tool in body.get("tools", []) if tool["type"] == "function")
    items = body["input"]
    assert items
    _ITEMS.validate_python([_as_answered(item) for item in items])
    called = [item["call_id"] for item in items if item["type"] == "function_call"]
    answered = [item["call_id"] for item in items if item["type"] == "function_call_output"]
    assert sorted(called) == sorted(answered)
    assert all(0 < len(id) <= 64 for id in called)
    before: set[str] = set()
    for item, after in zip(items, [*items[1:], None], strict=True):
        assert item["type"] in _KINDS
        if item["type"] == "message":
            assert item["content"]
            assert all(part.get("text", "x").strip() for part in item["content"])
        if item["type"] == "reasoning":
            assert after is not None
            assert after.get("role", "assistant") == "assistant"
            assert after["type"] != "function_call_output"
        if item["type"] == "function_call_output":
            assert item["call_id"] in before
        before.add(item.get("call_id", ""))


def _as_answered(item: Any) -> Any:
    """What the assistant said, as the SDK's type has it; the API itself does without an id and a status."""
    return {"id": "msg_1", "status": "completed"} | item if item.get("role") == "assistant" else item


# ── conversations of Anthropic clients ──────────────────────────────────────────────────────────────────────────────

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PNG_PART = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [text(each) if isinstance(each, str) else each for each in content]}


def assistant(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "assistant"}


def system(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "system"}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def call(id: str = "t1", name: str = "Bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def result(id: str = "t1", content: Any = "done", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def thought(thinking: str = "hm", signature: str = "Ersz") -> dict[str, Any]:
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def input_text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def said(role: str, *content: Any) -> dict[str, Any]:
    """A message as an item; the assistant's as the API takes it."""
    if role == "assistant":
        parts = [{"type": "output_text", "text": each, "annotations": []} for each in content]
    else:
        parts = [input_text(each) if isinstance(each, str) else each for each in content]
    return {"type": "message", "role": role, "content": parts}
