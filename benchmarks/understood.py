"""What a client understands of an answer: for rows that translate, where no two proxies write the same bytes.

Strict about what clients insist on (the order of events, one text block, the reason of the end, one number after the
other, nothing else said again than was said), loose about the rest (which ids, token counts, spaces, pings).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar

from benchmarks.answers import WrongAnswerError
from benchmarks.wire import Wire
from benchmarks.wire_anthropic import ANTHROPIC
from benchmarks.wire_chat import CHAT
from benchmarks.wire_responses import RESPONSES

WIRES: dict[str, Wire] = {wire.name: wire for wire in (ANTHROPIC, CHAT, RESPONSES)}


class Message(ABC):
    """One stream, as the client takes it in."""

    delta_key: ClassVar[bytes]  # the field of a delta that has its text

    def __init__(self) -> None:
        self.done = False  # the end of the message has come

    @abstractmethod
    def feed(self, event: bytes) -> str:
        """Take one server-sent event, without its blank line; give the text it adds."""

    def skip(self, text: str) -> None:  # noqa: B027 (most need not know)
        """A delta with this text came, which the caller has read itself."""


# An event of Anthropic's → those that may follow it.
_NEXT = {
    "": ("message_start",),
    "message_start": ("content_block_start",),
    "content_block_start": ("content_block_delta", "content_block_stop"),
    "content_block_delta": ("content_block_delta", "content_block_stop"),
    "content_block_stop": ("message_delta",),
    "message_delta": ("message_delta", "message_stop"),
}


class AnthropicMessage(Message):
    delta_key = b"text"

    def __init__(self) -> None:
        super().__init__()
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
        self._last = _next(_NEXT, self._last, kind, event)
        if kind == "content_block_delta":
            return str(wire["delta"]["text"])
        if kind == "message_delta":
            self._reason = wire["delta"].get("stop_reason") or self._reason
        if kind == "message_stop":
            self.done = True
            if self._reason != "end_turn":
                raise WrongAnswerError(f"stop_reason is {self._reason!r}, end_turn was expected")
        return ""


class ChatMessage(Message):
    delta_key = b"content"

    def __init__(self) -> None:
        super().__init__()
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


# The events of a Responses stream, in their order; only deltas come more than once.
_LADDER = (
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
)
_DELTA = "response.output_text.delta"
_CLIMB: dict[str, tuple[str, ...]] = {last: (kind,) for last, kind in pairwise(("", *_LADDER))}
_CLIMB[_DELTA] += (_DELTA,)


def _item_text(item: dict[str, Any]) -> Any:
    (part,) = item["content"]
    return _part_text(part)


def _part_text(part: dict[str, Any]) -> Any:
    if part["type"] != "output_text":
        raise WrongAnswerError(f"a part with output_text was expected: {part!r}")
    return part["text"]


def _response_text(response: dict[str, Any]) -> Any:
    if response["status"] != "completed":
        raise WrongAnswerError(f"the status is {response['status']!r}, completed was expected")
    (item,) = response["output"]
    return _item_text(item)


# Events that say all of the text again, and where.
_AGAIN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "response.output_text.done": lambda wire: wire["text"],
    "response.content_part.done": lambda wire: _part_text(wire["part"]),
    "response.output_item.done": lambda wire: _item_text(wire["item"]),
    "response.completed": lambda wire: _response_text(wire["response"]),
}


class ResponsesMessage(Message):
    delta_key = b"delta"

    def __init__(self) -> None:
        super().__init__()
        self._last = ""
        self._number = 0
        self._said: list[str] = []
        self._ids: dict[str, str] = {}  # of the response and of its one item, which their events must have

    def feed(self, event: bytes) -> str:
        data = _data(event)
        if not data:
            return ""
        wire = json.loads(data)
        kind = wire["type"]
        if not event.startswith(b"event: %b\n" % kind.encode()):
            raise WrongAnswerError(f"the event's name and its type were expected to be the same: {event!r}")
        if wire["sequence_number"] != self._number:
            raise WrongAnswerError(f"sequence_number {self._number} was expected: {event!r}")
        self._number += 1
        self._last = _next(_CLIMB, self._last, kind, event)
        self._place(wire, event)
        if kind == _DELTA:
            self._said.append(wire["delta"])
            return str(wire["delta"])
        if kind in _AGAIN and _AGAIN[kind](wire) != (said := "".join(self._said)):
            raise WrongAnswerError(f"what the deltas said was expected, {said!r}: {event!r}")
        self.done = kind == _LADDER[-1]
        return ""

    def skip(self, text: str) -> None:
        self._number += 1
        self._said.append(text)

    def _place(self, wire: dict[str, Any], event: bytes) -> None:
        """Everything must be of one response, its first item and that one's first part."""
        if "response" in wire:
            whose, got, place = "response", wire["response"]["id"], 0
        elif "item" in wire:
            whose, got, place = "item", wire["item"]["id"], wire["output_index"]
        else:
            whose, got, place = "item", wire["item_id"], wire["output_index"] or wire["content_index"]
        if self._ids.setdefault(whose, got) != got or place != 0:
            raise WrongAnswerError(f"the same {whose} and place as before were expected: {event!r}")


MESSAGES: dict[str, type[Message]] = {
    ANTHROPIC.name: AnthropicMessage,
    CHAT.name: ChatMessage,
    RESPONSES.name: ResponsesMessage,
}


def _next(order: Mapping[str, tuple[str, ...]], last: str, kind: str, event: bytes) -> str:
    if kind not in order.get(last, ()):
        raise WrongAnswerError(f"after {last or 'nothing'} came an event not expected there: {event!r}")
    return kind


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
        elif client == RESPONSES.name:
            text, reason, good = _response_text(wire), wire["status"], "completed"
        else:
            # claude-code-router makes a web search of OpenAI's empty `annotations`: that is not what is measured here
            said = [block["text"] for block in wire["content"] if block["type"] == "text"]
            text, reason, good = "".join(said), wire["stop_reason"], "end_turn"
    except (KeyError, TypeError, ValueError) as problem:
        raise WrongAnswerError(f"not an answer as expected: {problem!r} in {wire!r}") from problem
    if reason != good:
        raise WrongAnswerError(f"the reason of the end is {reason!r}, {good} was expected")
    return str(text)
