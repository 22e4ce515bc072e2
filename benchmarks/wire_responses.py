"""Responses, as api.openai.com sends them, where what closes a text says all of it again; asked for as Codex does."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.wire import JSON_TEXT, PACED_TEXT_SIZE, Wire, flood_text

_ID = "resp_0ad52f880f4d28470068fe7430700c81988903bdf1e07c18c7"
_ITEM = "msg_0ad52f880f4d28470068fe7432247c81989f19a135fc8b480f"
_PADDING = "x3J5CuhsXoP0qL2m"  # against eavesdroppers: a delta is filled up to a multiple of so many characters
_SAID = "%(said)b"
_TEXT = {"item_id": _ITEM, "output_index": 0, "content_index": 0}  # where the text is
_USAGE = {
    "input_tokens": 25,
    "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
    "output_tokens": 194,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 219,
}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _item(status: str, *parts: dict[str, Any]) -> dict[str, Any]:
    head = {"id": _ITEM, "type": "message", "status": status, "content": parts}
    return head | {"phase": "final_answer", "role": "assistant"}


def _response(status: str, *items: dict[str, Any]) -> dict[str, Any]:
    """The whole answer so far, with what was asked for repeated."""
    over = status == "completed"
    return {
        "id": _ID,
        "object": "response",
        "created_at": 1782321954,
        "status": status,
        "background": False,
        "completed_at": 1782321958 if over else None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": "You are a helpful assistant.",
        "max_output_tokens": 1024,
        "max_tool_calls": None,
        "model": "gpt-5.4-2026-03-05",
        "moderation": None,
        "output": items,
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": "24h",
        "reasoning": {"context": "current_turn", "effort": "none", "summary": None},
        "safety_identifier": None,
        "service_tier": "default" if over else "auto",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 0.98,
        "truncation": "disabled",
        "usage": _USAGE if over else None,
        "user": None,
        "metadata": {},
    }


def _sse(kind: str, at: int | str, **fields: Any) -> bytes:
    """The event `kind`, whose fields stand in the order of their names, as they do there; `at` may be for `%`."""
    wire = {"type": kind, **dict(sorted({**fields, "sequence_number": "<at>"}.items()))}
    data = json.dumps(wire, separators=(",", ":"), ensure_ascii=False).replace('"<at>"', str(at))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _delta(at: int | str, text: str, size: int) -> bytes:
    """A delta with `text`, which stands there as it is and has `size` characters."""
    padding = _PADDING[: -size % len(_PADDING)]
    event = _sse("response.output_text.delta", at, **_TEXT, delta="<text>", logprobs=[], obfuscation=padding)
    return event.replace(b"<text>", text.encode())


def _flood_delta(number: int) -> bytes:
    text = flood_text(number)
    return _delta(len(_OPENING) + number, text, len(json.loads(f'"{text}"')))


_OPENING = (
    _sse("response.created", 0, response=_response("in_progress")),
    _sse("response.in_progress", 1, response=_response("in_progress")),
    _sse("response.output_item.added", 2, output_index=0, item=_item("in_progress")),
    _sse("response.content_part.added", 3, **_TEXT, part=_part("")),
)
_SPOKEN = _item("completed", _part(_SAID))
_CLOSING = (
    _sse("response.output_text.done", "%(at)d", **_TEXT, logprobs=[], text=_SAID),
    _sse("response.content_part.done", "%(at)d", **_TEXT, part=_part(_SAID)),
    _sse("response.output_item.done", "%(at)d", output_index=0, item=_SPOKEN),
    _sse("response.completed", "%(at)d", response=_response("completed", _SPOKEN)),
)


def _body(model: str, stream: bool) -> dict[str, Any]:
    """What Codex asks, without its tools: the other clients here offer none either."""

    def message(role: str, text: str) -> dict[str, Any]:
        return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}

    return {
        "model": model,
        "stream": stream,
        "input": [
            message("developer", "You are a helpful assistant."),
            message("user", "Tell me something about streams, please."),
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "01a1ff71-3810-7cf0-92ec-ccb543b47ef4",
    }


RESPONSES = Wire(
    name="openai-responses",
    opening=_OPENING,
    closing=_CLOSING,
    delta=_delta("%(at)d", "%(text)b", PACED_TEXT_SIZE),
    flood_delta=_flood_delta,
    json_body=json.dumps(
        _response("completed", _item("completed", _part(JSON_TEXT))), separators=(",", ":"), ensure_ascii=False
    ).encode(),
    headers=(
        b"date: Fri, 21 Nov 2025 10:00:00 GMT\r\n"
        b"openai-version: 2020-10-01\r\n"
        b"openai-processing-ms: 399\r\n"
        b"x-request-id: req_4f3c1b6d0e5a4d0a9a8e6f0f6f1f2c3d\r\n"
        b"x-ratelimit-remaining-requests: 9999\r\n"
        b"cache-control: no-cache\r\n"
    ),
    asks="POST /v1/responses HTTP/1.1\r\nauthorization: Bearer sk-none\r\n",
    body=_body,
)
