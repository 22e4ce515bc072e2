"""Chat Completions, as api.openai.com sends them: with usage at the end, and padding against eavesdroppers."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.wire import JSON_TEXT, Wire, flood_text

_ID = "chatcmpl-DuLeEBVm5LS4rIiGdSJtHqH8h1BgG"
_MODEL = "gpt-5.4-2026-03-05"
_START = (
    f'data: {{"id":"{_ID}","object":"chat.completion.chunk","created":1782321954,"model":"{_MODEL}",'
    '"service_tier":"default","system_fingerprint":null,"choices":'
)
_USAGE = {
    "prompt_tokens": 25,
    "completion_tokens": 194,
    "total_tokens": 219,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


def _sse(delta: str, finish: str = "null", padding: str = "x3J5CuhsX") -> bytes:
    choice = f'[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]'
    return f'{_START}{choice},"usage":null,"obfuscation":"{padding}"}}\n\n'.encode()


def _flood_delta(number: int) -> bytes:
    return _sse(f'{{"content":"{flood_text(number)}"}}', padding="x3J5CuhsXoP0qL2m"[number * 7 % 16 :])


def _body(model: str, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": 1024,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Tell me something about streams, please."},
        ],
    }
    return body | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})


CHAT = Wire(
    name="openai-chat",
    opening=(_sse('{"role":"assistant","content":"","refusal":null}'),),
    closing=(
        _sse("{}", '"stop"'),
        f'{_START}[],"usage":{json.dumps(_USAGE, separators=(",", ":"))},"obfuscation":"x3J"}}\n\n'.encode(),
        b"data: [DONE]\n\n",
    ),
    delta=_sse('{"content":"%(text)b"}'),
    flood_delta=_flood_delta,
    json_body=json.dumps(
        {
            "id": _ID,
            "object": "chat.completion",
            "created": 1782321954,
            "model": _MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": JSON_TEXT, "refusal": None, "annotations": []},
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
            "service_tier": "default",
            "system_fingerprint": None,
        },
        separators=(",", ":"),
    ).encode(),
    headers=(
        b"date: Fri, 21 Nov 2025 10:00:00 GMT\r\n"
        b"x-request-id: req_4f3c1b6d0e5a4d0a9a8e6f0f6f1f2c3d\r\n"
        b"x-ratelimit-remaining-requests: 9999\r\n"
        b"cache-control: no-cache\r\n"
    ),
    asks="POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer sk-none\r\n",
    body=_body,
)
