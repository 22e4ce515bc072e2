"""What goes over the wire: the mock upstream sends it, the load expects exactly it.

Everything is built once, at import, so that neither side spends time on it under load. Only the text deltas of a paced
stream are made as they leave, because each carries the time of its sending; they have a fixed width, so the chunk size
in front of them is a constant too.
"""

from __future__ import annotations

import json

FLOOD_EVENTS = 200
FIXED_BEFORE, FIXED_AFTER = 3, 3  # message_start, content_block_start, ping / content_block_stop, message_delta, _stop
SHORTEST_STREAM = FIXED_BEFORE + 1 + FIXED_AFTER
LAST_CHUNK = b"0\r\n\r\n"


def sse(kind: str, data: str) -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


# api.anthropic.com puts a random number of spaces in front of the closing brace and a space into ping only. A proxy has
# to keep them, so they are here.
OPENING = (
    sse(
        "message_start",
        '{"type":"message_start","message":{"model":"claude-sonnet-4-5-20250929","id":"msg_01XFDUDYJgAACzvnptvVoYEL",'
        '"type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
        '{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,'
        '"service_tier":"standard"}}   }',
    ),
    sse(
        "content_block_start",
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}       }',
    ),
    sse("ping", '{"type": "ping"}'),
)
CLOSING = (
    sse("content_block_stop", '{"type":"content_block_stop","index":0    }'),
    sse(
        "message_delta",
        '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":25,'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":194}          }',
    ),
    sse("message_stop", '{"type":"message_stop"    }'),
)

_PIECES = (" the stream of", ' \\"quoted\\" and', " caf\u00e9 \u2013 na\u00efve", "\\n\\n## Next", " plain words here")


def _flood_delta(number: int) -> bytes:
    text = f"{number:03d}{_PIECES[number % len(_PIECES)]}"  # the number makes a lost or swapped event show
    padding = " " * (number * 7 % 16)
    return sse(
        "content_block_delta",
        f'{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}{padding}}}',
    )


FLOOD = (*OPENING, *(_flood_delta(n) for n in range(FLOOD_EVENTS - FIXED_BEFORE - FIXED_AFTER)), *CLOSING)
FLOOD_BODY = b"".join(FLOOD)

_HEADERS = (
    b"date: Fri, 21 Nov 2025 10:00:00 GMT\r\n"
    b"request-id: req_011CQVvjJ2DpFuLP4Jk3mVdA\r\n"
    b"anthropic-ratelimit-requests-remaining: 3999\r\n"
    b"cache-control: no-cache\r\n"
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\n" + _HEADERS + b"transfer-encoding: chunked\r\n\r\n"
)

JSON_BODY = json.dumps(
    {
        "model": "claude-sonnet-4-5-20250929",
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello! How can I help you today?"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 12},
    },
    separators=(",", ":"),
).encode()
JSON_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    + _HEADERS
    + b"content-length: %d\r\n\r\n" % len(JSON_BODY)
    + JSON_BODY
)

# --- the text delta of a paced stream: … "text":"<20 digits of time> <5 digits of position> token" … ------------------

DELTA_START = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
)
DELTA_END = b' a token"}   }\n\n'
TIME_AT = len(DELTA_START)
POSITION_AT = TIME_AT + 21
_DELTA_SIZE = len(DELTA_START) + 26 + len(DELTA_END)
_DELTA_CHUNK = b"%x\r\n" % _DELTA_SIZE + DELTA_START.replace(b"%", b"%%") + b"%020d %05d" + DELTA_END + b"\r\n"


def paced_chunk(position: int, length: int, now_ns: int) -> bytes:
    """The chunk with event number `position` of a paced stream that has `length` events."""
    if position < FIXED_BEFORE:
        return chunk(OPENING[position])
    if position < length - FIXED_AFTER:
        return _DELTA_CHUNK % (now_ns, position)
    return chunk(CLOSING[position - length])


# --- requests ---------------------------------------------------------------------------------------------------------


def request(behaviour: str, *, stream: bool) -> bytes:
    """A client's request. The behaviour of the mock rides in the model's name, the one thing every proxy forwards."""
    body = json.dumps(
        {
            "model": f"mock-{behaviour}",
            "max_tokens": 1024,
            "stream": stream,
            "system": "You are a helpful assistant.",
            "messages": [{"role": "user", "content": "Tell me something about streams, please."}],
        },
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: trioproxy-benchmarks\r\n"
        "accept: application/json\r\ncontent-type: application/json\r\nx-api-key: sk-none\r\n"
        f"anthropic-version: 2023-06-01\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
