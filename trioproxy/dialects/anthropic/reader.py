"""Frames → events: what the `parse` stage is for an Anthropic upstream.

Every event notes the frame it was read from. What is no event we know is carried as `Unknown`. An answer that stops
before its `message_stop` is an error, never an end.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from trioproxy.dialects.anthropic.blocks import read_block
from trioproxy.dialects.anthropic.events import read_delta, read_event, read_usage
from trioproxy.dialects.extra import difference
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherBlock,
    OtherDelta,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Unknown,
    Usage,
)
from trioproxy.stage import Exchange, Stage

__all__ = ["Reader"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the provider's


class Reader(Stage[Frame, Event]):
    """Reads one answer: a stream of frames, or one whole body unfolded into the events its stream would have had."""

    def __init__(self, exchange: Exchange) -> None:
        self._renamed = exchange.renamed
        self._same = exchange.client_dialect == exchange.upstream_dialect
        self._begun = False
        self._done = exchange.answered_here  # then no answer is to come
        self._errors = 0

    def feed(self, frame: Frame, /) -> Iterable[Event]:
        if frame.event == "content_block_delta" and (event := read_delta(frame.data)):
            event.__dict__["frame"] = frame  # read_from, without a call: most of a stream passes here
            return (event,)
        return self._unfold(frame) if frame.whole else (self._read(frame),)

    def close(self) -> Iterable[Event]:
        if not self._done:
            got = "in the middle of a message" if self._begun else "before any message"
            yield Error("upstream", f"the upstream's answer ended {got}", 502)

    def stats(self) -> Mapping[str, int]:
        return {"upstream_errors": self._errors} if self._errors else {}

    def _read(self, frame: Frame) -> Event:
        if not frame.data:
            return Unknown("", b"").read_from(frame)  # a comment, or a lone id: or retry: field
        try:
            wire = msgspec.json.decode(frame.data)
        except BAD_JSON:
            # `[DONE]` and the like are the upstream's own affair. A broken event of ours must not pass for a whole one:
            # this error is made here, and does not leave as the frame it is about.
            return _broken(frame) if frame.event in _OURS else Unknown(frame.event, frame.data).read_from(frame)
        event = read_event(wire) if isinstance(wire, dict) else None
        if isinstance(event, MessageStop) and not self._begun and not self._same:
            self._done = True
            return Error("upstream", "the upstream's answer ended before any message", 502)
        if isinstance(event, MessageStart):
            self._begun, self._done = True, False
        elif isinstance(event, MessageStop | Error):
            self._done = True
            self._errors += isinstance(event, Error)
        if event is None and not self._same and frame.event in _OURS:
            return _broken(frame)  # what cannot be read cannot be translated, and must not be left out unseen
        if isinstance(event, BlockStart) and self._renamed:
            event = self._named(event)
        return (event or Unknown(frame.event, frame.data)).read_from(frame)

    def _named(self, event: BlockStart) -> BlockStart:
        """A tool call, by the name that the client knows."""
        block = event.block
        if not isinstance(block, ToolUse) or block.name not in self._renamed:
            return event
        return msgspec.structs.replace(event, block=msgspec.structs.replace(block, name=self._renamed[block.name]))

    def _unfold(self, frame: Frame) -> Iterator[Event]:
        self._done = True
        try:
            wire = msgspec.json.decode(frame.data)
        except BAD_JSON:
            yield Error("upstream", "the upstream's answer is not JSON, or was cut", 502)
            return
        try:
            events = list(_unfold(wire, frame.data)) if _is_message(wire) else [self._read(frame)]
        except msgspec.ValidationError:
            events = [Unknown("", frame.data)]
        for event in events:
            named = self._named(event) if self._renamed and isinstance(event, BlockStart) else event
            yield named.read_from(frame, parts=len(events))


_OURS = frozenset({"message_start", "content_block_start", "content_block_delta", "content_block_stop"}) | frozenset(
    {"message_delta", "message_stop", "error"}
)


def _broken(frame: Frame) -> Error:
    return Error("upstream", f"the upstream sent a {frame.event} event that cannot be read", 502)


class _Inputs(msgspec.Struct):
    """The content of a whole body, undecoded: to have each tool's arguments as the very text the model wrote."""

    content: list[msgspec.Raw]


class _Input(msgspec.Struct):
    input: msgspec.Raw = msgspec.Raw(b"{}")


# The fields of a body that its events say in fields of their own.
_SPREAD = frozenset({"id", "type", "model", "content", "stop_reason", "stop_sequence"})


def _is_message(wire: Any) -> bool:
    content = wire.get("content") if isinstance(wire, dict) and wire.get("type") == "message" else None
    return isinstance(content, list) and all(isinstance(block, dict) for block in content)


def _unfold(wire: Wire, body: bytes) -> Iterator[Event]:
    usage = read_usage(wire.get("usage")) or Usage()
    start = MessageStart(
        msgspec.convert(wire.get("id") or "", str), msgspec.convert(wire.get("model") or "", str), usage
    )
    rest = {key: value for key, value in wire.items() if key not in _SPREAD}
    extra = difference(rest, {"role": "assistant", "usage": msgspec.to_builtins(usage)})
    yield msgspec.structs.replace(start, extra={"message": extra} if extra else {})
    raws = msgspec.json.decode(body, type=_Inputs).content
    for index, (block, raw) in enumerate(zip(wire["content"], raws, strict=True)):
        text = bytes(msgspec.json.decode(raw, type=_Input).input) if "input" in block else b""
        empty, deltas = _unfold_block(index, block, text.decode())
        yield BlockStart(index, empty)
        yield from deltas
        yield BlockStop(index)
    reason, sequence = wire.get("stop_reason"), wire.get("stop_sequence")
    yield MessageDelta(msgspec.convert(reason, str | None), msgspec.convert(sequence, str | None), usage)
    yield MessageStop()


def _unfold_block(index: int, wire: Wire, arguments: str) -> tuple[Block, list[Event]]:
    """The block as its start event would show it, and the deltas that fill it."""
    deltas: list[Event] = []
    citations = wire.get("citations")
    if isinstance(citations, list):
        # Citations come before the text they support (as recorded from the API).
        deltas += [OtherDelta(index, "citations_delta", {"delta": {"citation": each}}) for each in citations]
        wire = wire | {"citations": []}
    block = read_block(wire)
    if isinstance(block, Text):
        return msgspec.structs.replace(block, text=""), [*deltas, TextDelta(index, block.text)]
    if isinstance(block, Thinking):
        deltas = [ThinkingDelta(index, block.thinking)] if block.thinking else []
        deltas += [SignatureDelta(index, block.signature)] if block.signature else []
        return msgspec.structs.replace(block, thinking="", signature=""), deltas
    called = isinstance(block, OtherBlock) and block.kind.endswith("tool_use") and isinstance(wire.get("input"), dict)
    if isinstance(block, ToolUse) or called:
        # The API's stream says "no arguments" with an empty string, never with `{}`.
        delta = ToolInputDelta(index, "" if wire.get("input") == {} else arguments)
        return read_block(wire | {"input": {}}), [delta]
    return block, []
