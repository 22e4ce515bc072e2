"""Anthropic Messages answers for the fake router, and the stream that hangs Claude Code (M0)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .wire import SSE_TYPE, Answer, Ending, Reply, Request, Step, one_write

REAL = "Hello! How can I help you today?"
MODEL = "claude-sonnet-4-6"
REQUEST_ID = "req_fake"
TOKENS = 4321
TOOL_ID = "toolu_01FakeRouterCall"
# The piece of the metadata that no client may show.
METADATA_MARK = "isNewTopic"

METADATA_TEXT = ' ```json\n{\n "isNewTopic": true,\n "title": "Initial Greeting"\n}\n```'


def event(name: str, /, **fields: Any) -> bytes:
    data = json.dumps({"type": name, **fields}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n".encode()


BLOCK_STOP = event("content_block_stop", index=0)
# The real API writes its pings with spaces and pads its data lines; neither may be lost on the way.
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
PADDED_STOP = b'event: message_stop\ndata: {"type":"message_stop"       }\n\n'


def message(
    content: Sequence[dict[str, Any]], *, message_id: str = "msg_real", stop_reason: str | None = "end_turn"
) -> dict[str, Any]:
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 9},
    }


def printed_delta(text: bytes) -> bytes:
    """`text` as it stands between the quotes on the wire."""
    delta = b'{"type":"text_delta","text":"%b"}' % text
    return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":%b}\n\n' % delta


def metadata_events(*, block_stop: bool) -> list[bytes]:
    """As the issue prints them: the fence, the cuts and the spacing; it leaves out the block's stop."""
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        event("message_start", message=message([], message_id="msg_meta", stop_reason=None)),
        event("content_block_start", index=0, content_block=text_block("")),
        printed_delta(rb" ```"),
        printed_delta(rb"json\n{\n \"isNew"),
        printed_delta(rb"Topic\": true,\n \""),
        printed_delta(rb"title\": \"Initial Greeting\"\n}\n```"),
        *([BLOCK_STOP] if block_stop else []),
        event("message_delta", delta=end, usage={"output_tokens": 24}),
        event("message_stop"),
    ]


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def message_start() -> bytes:
    started = message([], stop_reason=None) | {"usage": {"input_tokens": 12, "output_tokens": 1}}
    return event("message_start", message=started)


def message_end(stop_reason: str) -> list[bytes]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [event("message_delta", delta=delta, usage={"output_tokens": 9}), PADDED_STOP]


def text_deltas(text: str) -> list[bytes]:
    """The text word by word, so that a client that loses one delta shows it."""
    words = [word for word in text.split(" ") if word]
    parts = [words[0], *(f" {word}" for word in words[1:])]
    deltas = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": part}) for part in parts]
    return [event("content_block_start", index=0, content_block=text_block("")), *deltas]


def text_events(text: str = REAL) -> list[bytes]:
    return [message_start(), PING, *text_deltas(text), BLOCK_STOP, *message_end("end_turn")]


def cut_events(text: str = REAL) -> list[bytes]:
    """The beginning of an answer: all of its words, but no end of the block or the message."""
    return [message_start(), PING, *text_deltas(text)]


def tool_block(name: str, tool_input: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": TOOL_ID, "name": name, "input": tool_input}


def tool_events(name: str, tool_input: dict[str, Any]) -> list[bytes]:
    arguments = json.dumps(tool_input)
    middle = len(arguments) // 2
    parts = ["", arguments[:middle], arguments[middle:]]
    return [
        message_start(),
        event("content_block_start", index=0, content_block=tool_block(name, {})),
        *(
            event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
            for part in parts
        ),
        BLOCK_STOP,
        *message_end("tool_use"),
    ]


def sse(steps: Sequence[Step], *, ending: Ending = "finished") -> Answer:
    return Answer(tuple(steps), content_type=SSE_TYPE, headers=(("cache-control", "no-cache"),), ending=ending)


def json_answer(body: Any, *, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    return Answer((json.dumps(body, ensure_ascii=False).encode(),), status=status, headers=tuple(headers))


def always(answer: Answer) -> Reply:
    return lambda _: answer


def streamed_or_not(steps: Sequence[Step], body: dict[str, Any]) -> Reply:
    def reply(request: Request) -> Answer:
        return sse(steps) if request.wants_stream else json_answer(body)

    return reply


def text(answer: str = REAL) -> Reply:
    return streamed_or_not(one_write(text_events(answer)), message([text_block(answer)]))


def tool_use(name: str, tool_input: dict[str, Any]) -> Reply:
    body = message([tool_block(name, tool_input)], stop_reason="tool_use")
    return streamed_or_not(one_write(tool_events(name, tool_input)), body)


def metadata_first(steps: Sequence[Step]) -> Reply:
    """The stream begins with the metadata; the JSON form has room for one message, and that is the metadata too."""
    return streamed_or_not(steps, message([text_block(METADATA_TEXT)]))


def error_body(kind: str, words: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": words}, "request_id": REQUEST_ID}


def error(status: int, kind: str, words: str, *headers: tuple[str, str]) -> Reply:
    return always(json_answer(error_body(kind, words), status=status, headers=headers))


def aside(request: Request) -> Answer:
    """For what clients ask beside the conversation: a token count, or a few words."""
    if request.path.endswith("/count_tokens"):
        return json_answer({"input_tokens": TOKENS})
    return text("aside")(request)
