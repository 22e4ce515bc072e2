"""Anthropic's Messages, as api.anthropic.com sends and Claude Code asks for them."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.wire import JSON_TEXT, Wire, flood_text

_MODEL = "claude-sonnet-4-5-20250929"
_ID = "msg_01XFDUDYJgAACzvnptvVoYEL"


def _sse(kind: str, data: str) -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()


# api.anthropic.com puts a random number of spaces in front of the closing brace and a space into ping only. A proxy has
# to keep them, so they are here.
_OPENING = (
    _sse(
        "message_start",
        f'{{"type":"message_start","message":{{"model":"{_MODEL}","id":"{_ID}",'
        '"type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
        '{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,'
        '"service_tier":"standard"}}   }',
    ),
    _sse(
        "content_block_start",
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}       }',
    ),
    _sse("ping", '{"type": "ping"}'),
)
_CLOSING = (
    _sse("content_block_stop", '{"type":"content_block_stop","index":0    }'),
    _sse(
        "message_delta",
        '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":25,'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":194}          }',
    ),
    _sse("message_stop", '{"type":"message_stop"    }'),
)


def _flood_delta(number: int) -> bytes:
    padding = " " * (number * 7 % 16)
    return _sse(
        "content_block_delta",
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
        f'{flood_text(number)}"}}{padding}}}',
    )


DELTA_START = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
)
DELTA_END = b'"}   }\n\n'


def _body(model: str, stream: bool) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": 1024,
        "stream": stream,
        "system": "You are a helpful assistant.",
        "messages": [{"role": "user", "content": "Tell me something about streams, please."}],
    }


ANTHROPIC = Wire(
    name="anthropic",
    opening=_OPENING,
    closing=_CLOSING,
    delta=DELTA_START + b"%(text)b" + DELTA_END,
    flood_delta=_flood_delta,
    json_body=json.dumps(
        {
            "model": _MODEL,
            "id": _ID,
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": JSON_TEXT}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 12},
        },
        separators=(",", ":"),
    ).encode(),
    headers=(
        b"date: Fri, 21 Nov 2025 10:00:00 GMT\r\n"
        b"request-id: req_011CQVvjJ2DpFuLP4Jk3mVdA\r\n"
        b"anthropic-ratelimit-requests-remaining: 3999\r\n"
        b"cache-control: no-cache\r\n"
    ),
    asks="POST /v1/messages HTTP/1.1\r\nx-api-key: sk-none\r\nanthropic-version: 2023-06-01\r\n",
    body=_body,
)
