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
            return (Frame(event.data, event.name),) if event.data else ()
        wire = write_event(event)
        return (Frame(msgspec.json.encode(wire), wire["type"]),)


class FoldWriter(Stage[Event, Frame | Error]):
    """Writes one whole body in `close`: the fold of the stream. `limit` (bytes) bounds what it gathers.

    Events unfolded from a whole body and not changed since fold to that very body again, byte for byte.
    """

    def __init__(self, *, limit: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._gathered = 0
        self._fold = Fold()
        self._source: Frame | None = None
        self._failed = False

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        if self._failed:
            return
        frame = event.frame
        whole = frame if frame is not None and frame.whole else None
        self._source = self._source or whole
        if whole and isinstance(event, Unknown | Error):
            self._failed = True  # no message, and nothing to fold: the body goes out as it came
            yield whole
        elif isinstance(event, Error):
            self._failed = True
            yield event
        else:
            self._gathered += _size(event)
            if self._gathered > self._limit:
                self._failed = True
                yield Error("upstream", f"the upstream's answer is larger than {self._limit} bytes", 502)
            self._fold.add(event)

    def close(self) -> Iterable[Frame | Error]:
        if self._failed:
            return
        try:
            wire = self._fold.message()
        except BAD_JSON:
            yield Error("upstream", "the upstream ended in the middle of a tool's arguments", 502)
            return
        if wire is None:
            return
        body = msgspec.json.encode(wire)
        source = self._source
        if source is not None and msgspec.json.decode(body) == msgspec.json.decode(source.data):
            yield source
        else:
            yield Frame(body, whole=True)


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
