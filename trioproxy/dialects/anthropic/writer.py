"""Events → frames: what the `translate` stage is for an Anthropic client.

An event that still knows the frame it was read from, in the same dialect, leaves as that frame. An error of ours is
passed on as it is: the proxy gives it the right HTTP status, or ends the stream with it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from trioproxy.dialects.anthropic.blocks import write_block
from trioproxy.dialects.anthropic.events import write_event
from trioproxy.dialects.extra import merge
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import (
    BlockStart,
    Error,
    Event,
    Frame,
    MessageDelta,
    MessageStart,
    OtherDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    ToolInputDelta,
    Unknown,
)
from trioproxy.stage import Stage

__all__ = ["FoldWriter", "StreamWriter"]

Wire = dict[str, Any]  # a JSON object as it goes out; `Any` because its inside is the provider's


class StreamWriter(Stage[Event, Frame | Error]):
    """Writes a stream of server-sent events."""

    def __init__(self, *, same_dialect: bool = True) -> None:
        self._same = same_dialect

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        frame = event.frame
        if frame is not None and self._same and not frame.whole:
            return (frame,)
        if isinstance(event, Error):
            return (event,)
        if isinstance(event, Unknown):
            if frame is not None and frame.whole:
                return (Error("upstream", "the upstream answered with JSON that is no message", 502),)
            return (Frame(event.data, event.name),) if event.data else ()
        wire = write_event(event)
        return (Frame(msgspec.json.encode(wire), wire["type"]),)


class FoldWriter(Stage[Event, Frame | Error]):
    """Writes one whole body in `close`: the fold of the stream. `limit` (bytes) bounds what it gathers.

    A whole body whose events all arrive unchanged leaves as that very body, byte for byte.
    """

    def __init__(self, *, limit: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._gathered = 0
        self._fold = Fold()
        self._source: Frame | None = None  # the whole body that every event so far was unfolded from
        self._missing = 0  # how many of its events have not come yet
        self._begun = self._done = False

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        if self._done:
            return
        frame = event.frame if event.frame is not None and event.frame.whole else None
        if not self._begun:
            self._begun, self._source, self._missing = True, frame, event.parts
        if frame is None or frame is not self._source:
            self._source = None
        self._missing -= 1
        self._gathered += _size(event)
        fault = _fault(event) if frame is None else None
        if frame is not None and isinstance(event, Unknown | Error):
            self._done = True  # no message, and nothing to fold: the body goes out as it came
            yield frame
        elif isinstance(event, Error) or fault is not None or self._gathered > self._limit:
            self._done = True
            large = Error("upstream", f"the upstream's answer is larger than {self._limit} bytes", 502)
            yield event if isinstance(event, Error) else fault or large
        else:
            self._fold.add(event)

    def close(self) -> Iterable[Frame | Error]:
        if self._done or not self._begun:
            return
        if self._source is not None and not self._missing:
            yield self._source
            return
        try:
            wire = self._fold.message()
            if wire is not None:
                yield Frame(msgspec.json.encode(wire), whole=True)
        except (*BAD_JSON, UnicodeEncodeError):
            yield Error("upstream", "the upstream ended in the middle of a tool's arguments", 502)


# The names of the events that make up a message: one of these that could not be read leaves a hole in the fold.
_PARTS = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta"})


def _fault(event: Event) -> Error | None:
    """An event that is part of the message and cannot be read must not be left out of the fold unseen."""
    if not isinstance(event, Unknown) or not event.data or event.data.strip() == b"[DONE]":
        return None
    try:
        wire = msgspec.json.decode(event.data)
        name = str(wire.get("type")) if isinstance(wire, dict) else None
    except BAD_JSON:
        name = "content_block_delta"  # of what nobody can read, the worst has to be thought
    if name not in _PARTS and event.name not in _PARTS:
        return None
    return Error("upstream", "the upstream sent an event that cannot be read", 502)


class Fold:
    """The message a stream of events amounts to. Several messages fold into one: the blocks of all, in order."""

    def __init__(self) -> None:
        self._message: Wire | None = None
        self._blocks: list[_Filling] = []
        self._open: dict[int, _Filling] = {}

    def add(self, event: Event) -> None:
        match event:
            case MessageStart():
                message = write_event(event)["message"]
                self._blocks += map(_Filling, message.pop("content"))
                self._message = message if self._message is None else merge(message, self._message)
                self._open.clear()
            case BlockStart():
                self._open[event.index] = _Filling(dict(write_block(event.block)))
                self._blocks.append(self._open[event.index])
            case MessageDelta() if self._message is not None:
                wire = write_event(event)
                usage = (self._message.get("usage") or {}) | wire.pop("usage")
                wire.pop("type")
                self._message |= wire.pop("delta") | wire | {"usage": usage}
            case TextDelta() | ThinkingDelta() | SignatureDelta() | ToolInputDelta() | OtherDelta():
                if event.index in self._open:
                    self._open[event.index].add(write_event(event)["delta"])

    def message(self) -> Wire | None:
        """The message, or None if none began. Raises `msgspec.DecodeError` if a tool's arguments are cut."""
        content = [filling.block() for filling in self._blocks]
        return None if self._message is None else self._message | {"content": content}


class _Filling:
    """A block being filled: its start, and the pieces of its text fields, joined once at the end."""

    def __init__(self, start: Wire) -> None:
        self._start = start
        self._pieces: dict[str, list[str]] = {}

    def add(self, delta: Wire) -> None:
        if delta["type"] == "citations_delta":
            self._start["citations"] = [*(self._start.get("citations") or ()), delta.get("citation")]
            return
        for key, value in delta.items():
            if key == "type":
                continue
            if isinstance(value, str):
                self._pieces.setdefault("input" if key == "partial_json" else key, []).append(value)
            else:
                self._start[key] = value

    def block(self) -> Wire:
        block = self._start
        for key, pieces in self._pieces.items():
            text = "".join(pieces)
            if key != "input":
                block[key] = (block[key] if isinstance(block.get(key), str) else "") + text
            elif text:
                msgspec.json.decode(text)  # whole, or an error: never repaired into something executable
                block[key] = msgspec.Raw(text.encode())
        return block


def _size(event: Event) -> int:
    """Roughly the bytes an event adds to what is gathered."""
    match event:
        case TextDelta():
            return len(event.text)
        case ThinkingDelta():
            return len(event.thinking)
        case SignatureDelta():
            return len(event.signature)
        case ToolInputDelta():
            return len(event.partial_json)
    return len(event.frame.data) if event.frame and not event.frame.whole else 64
