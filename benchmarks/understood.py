"""What a client understands of an answer: for rows that translate, where no two proxies write the same bytes.

Strict about what clients insist on (the order of events, one text block, the reason of the end), loose about the rest
(ids, token counts, spaces, pings).
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from benchmarks.answers import WrongAnswerError
from benchmarks.wire import Wire
from benchmarks.wire_anthropic import ANTHROPIC
from benchmarks.wire_chat import CHAT

WIRES: dict[str, Wire] = {wire.name: wire for wire in (ANTHROPIC, CHAT)}


class Message(Protocol):
    """One stream, as the client takes it in."""

    done: bool  # the end of the message has come

    def feed(self, event: bytes) -> str:
        """Take one server-sent event, without its blank line; give the text it adds."""


# An event of Anthropic's → those that may follow it.
_NEXT = {
    "": ("message_start",),
    "message_start": ("content_block_start",),
    "content_block_start": ("content_block_delta", "content_block_stop"),
    "content_block_delta": ("content_block_delta", "content_block_stop"),
    "content_block_stop": ("message_delta",),
    "message_delta": ("message_delta", "message_stop"),
}


class AnthropicMessage:
    def __init__(self) -> None:
        self.done = False
        self._last = ""
        self._reason: str | None = None

    def feed(self, event: bytes) -> str:
        data = _data(event)
        if not data:
            return ""
        wire = json.loads(data)
        kind = wire["type"]
        if kind == "ping":
            return ""
        if kind not in _NEXT.get(self._last, ()):
            raise WrongAnswerError(f"after {self._last or 'nothing'} came an event not expected there: {event!r}")
        self._last = kind
        if kind == "content_block_delta":
            return str(wire["delta"]["text"])
        if kind == "message_delta":
            self._reason = wire["delta"].get("stop_reason") or self._reason
        if kind == "message_stop":
            self.done = True
            if self._reason != "end_turn":
                raise WrongAnswerError(f"stop_reason is {self._reason!r}, end_turn was expected")
        return ""


class ChatMessage:
    def __init__(self) -> None:
        self.done = False
        self._reason: str | None = None

    def feed(self, event: bytes) -> str:
        data = _data(event)
        if not data:
            return ""
        if self.done:
            raise WrongAnswerError(f"nothing was expected after [DONE]: {event!r}")
        if data == b"[DONE]":
            self.done = True
            if self._reason != "stop":
                raise WrongAnswerError(f"finish_reason is {self._reason!r}, stop was expected")
            return ""
        text = ""
        for choice in json.loads(data)["choices"]:
            text += choice["delta"].get("content") or ""
            if text and self._reason:
                raise WrongAnswerError(f"no text was expected after finish_reason: {event!r}")
            self._reason = choice.get("finish_reason") or self._reason
        return text


MESSAGES: dict[str, type[AnthropicMessage | ChatMessage]] = {
    ANTHROPIC.name: AnthropicMessage,
    CHAT.name: ChatMessage,
}


def _data(event: bytes) -> bytes:
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))


def stream_text(body: bytes, message: Message) -> str:
    """The text of a whole stream."""
    *events, rest = body.split(b"\n\n")
    if rest:
        raise WrongAnswerError(f"a stream was expected to end with a blank line: {rest!r}")
    try:
        text = "".join([message.feed(event) for event in events])
    except (KeyError, TypeError, ValueError) as problem:
        raise WrongAnswerError(f"not an event as expected: {problem!r} in {body[-300:]!r}") from problem
    if not message.done:
        raise WrongAnswerError(f"the end of the message was expected after {body[-300:]!r}")
    return text


def json_text(wire: dict[str, Any], client: str) -> str:
    """The text of a whole answer that is not streamed."""
    try:
        if client == CHAT.name:
            (choice,) = wire["choices"]
            text, reason, good = choice["message"]["content"], choice["finish_reason"], "stop"
        else:
            # claude-code-router makes a web search of OpenAI's empty `annotations`: that is not what is measured here
            said = [block["text"] for block in wire["content"] if block["type"] == "text"]
            text, reason, good = "".join(said), wire["stop_reason"], "end_turn"
    except (KeyError, TypeError, ValueError) as problem:
        raise WrongAnswerError(f"not an answer as expected: {problem!r} in {wire!r}") from problem
    if reason != good:
        raise WrongAnswerError(f"the reason of the end is {reason!r}, {good} was expected")
    return str(text)
