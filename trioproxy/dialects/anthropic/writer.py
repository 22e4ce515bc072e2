"""Events → frames: what the `translate` stage is for an Anthropic client.

Every event goes through the state machine of `legal`. One that it leaves alone and that still knows the frame it was
read from, in the same dialect, leaves as that frame. An error of ours is passed on as it is: the proxy gives it the
right HTTP status, or ends the stream with it.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from trioproxy.dialects.anthropic.blocks import write_block
from trioproxy.dialects.anthropic.events import write_event
from trioproxy.dialects.anthropic.marks import Marks
from trioproxy.dialects.extra import merge
from trioproxy.dialects.fold import UNENDED
from trioproxy.dialects.legal import Legal
from trioproxy.dialects.names import FORBIDDEN
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.items import (
    BlockStart,
    Error,
    Event,
    Frame,
    MessageDelta,
    MessageStart,
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
    replace,
)
from trioproxy.stage import Exchange, Stage

__all__ = ["Fold", "StreamWriter"]

Wire = dict[str, Any]  # a JSON object as it goes out; `Any` because its inside is the provider's

# The deltas that make up a stream, each with the block it fills: the state machine is asked only about the others.
_USUAL: dict[type[Event], type] = {
    TextDelta: Text,
    ThinkingDelta: Thinking,
    ToolInputDelta: ToolUse,
}


class _Start:
    """How an answer's message_start is to look: `model` as the client named it, an id as the API's are."""

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        self._same, self._usage = same, Usage(exchange.input_tokens, 0)
        asked = exchange.model if not same or exchange.model != exchange.upstream_model else ""
        self._model, self._id = asked, f"msg_{exchange.id}"

    def __call__(self, event: MessageStart) -> MessageStart:
        changed = replace(event, model=self._model) if self._model and self._model != event.model else event
        if self._same:
            return changed
        id = event.id if event.id.startswith("msg_") else f"msg_{event.id}" if event.id else self._id
        return replace(changed, id=FORBIDDEN.sub("_", id), usage=event.usage if _any_tokens(event) else self._usage)


def _any_tokens(event: MessageStart) -> bool:
    return bool(event.usage.input_tokens or event.usage.output_tokens)


class StreamWriter(Stage[Event, Frame | Error]):
    """Writes a stream of server-sent events. `same`: the upstream speaks Anthropic too."""

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        self._same = same
        self._legal = Legal(same=same, limit=exchange.event_limit)
        self._start = _Start(exchange, same=same)
        self._marks = Marks(exchange, same=same)

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        legal, wanted = self._legal, _USUAL.get(type(event))
        # The table's events all have an index; asking mypy's way, with isinstance, costs as much as all the rest here.
        if wanted is None or legal.kind is not wanted or legal.open != event.index or legal.shift:  # type: ignore[attr-defined]
            return self._mended(event)
        if self._same and event.frame is not None and not event.frame.whole:
            return (event.frame,)
        return (_frame(event),)

    def close(self) -> Iterable[Frame | Error]:
        return (UNENDED,) if self._legal.unended else ()

    def _mended(self, event: Event) -> Iterator[Frame | Error]:
        for each in (signed for legal in self._legal.feed(event) for signed in self._marks.feed(legal)):
            known = self._start(each) if isinstance(each, MessageStart) else each
            frame = known.frame if self._same else None
            if frame is not None and not frame.whole:
                yield frame
            elif isinstance(known, Error):
                yield known
            elif not isinstance(known, Unknown):
                yield _frame(known)
            elif frame is not None:
                yield Error("upstream", "the upstream answered with JSON that is no message", 502)
            elif known.data and known.frame is None:
                yield Frame(known.data, known.name)  # a stage's own


# The usual deltas as JSON around their text: of these only the text itself has to be encoded.
_AROUND: dict[type[Event], str] = {
    TextDelta: '{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":',
    ThinkingDelta: '{"type":"content_block_delta","index":%d,"delta":{"type":"thinking_delta","thinking":',
    ToolInputDelta: '{"type":"content_block_delta","index":%d,"delta":{"type":"input_json_delta","partial_json":',
}


@lru_cache(maxsize=64)
def _before(around: str, index: int) -> bytes:
    return (around % index).encode()


def _frame(event: Event) -> Frame:
    around = _AROUND.get(type(event))
    if around is not None and not event.extra:  # type: ignore[attr-defined]  # all in the table have it
        index, text, _ = msgspec.structs.astuple(event)
        return Frame(_before(around, index) + msgspec.json.encode(text) + b"}}", "content_block_delta")
    wire = write_event(event)
    return Frame(msgspec.json.encode(wire), wire["type"])


# The names of the events that make up a message: one of these that could not be read leaves a hole in the fold.
_PARTS = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta"})


def _fault(event: Unknown) -> Error | None:
    """An event that is part of the message and cannot be read must not be left out of the fold unseen."""
    if not event.data or event.data.strip() == b"[DONE]":
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

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        self._same = same
        self._legal = Legal(same=same, limit=exchange.event_limit)
        self._start = _Start(exchange, same=same)
        self._marks = Marks(exchange, same=same)
        self._message: Wire | None = None
        self._blocks: list[_Filling] = []
        self._open: dict[int, _Filling] = {}

    def add(self, event: Event, /) -> Error | None:
        if isinstance(event, Unknown):
            return _fault(event) if self._same else None
        for each in self._legal.feed(event):
            if isinstance(each, Error):
                return each
            for signed in self._marks.feed(each):
                self._add(signed)
        return None

    def _add(self, event: Event) -> None:
        match event:
            case MessageStart():
                message = write_event(self._start(event))["message"]
                message.pop("content")  # what is no list of blocks is in the message too
                self._blocks += [_Filling(dict(write_block(block))) for block in event.content]
                self._message = message if self._message is None else merge(message, self._message)
                self._open.clear()
            case BlockStart():
                self._open[event.index] = _Filling(dict(write_block(event.block)))
                self._blocks.append(self._open[event.index])
            case MessageDelta() if self._message is not None:
                wire = write_event(event)
                usage = _object(self._message.get("usage")) | _object(wire.pop("usage"))
                wire.pop("type")
                self._message |= wire.pop("delta") | wire | {"usage": usage}
            case TextDelta() | ThinkingDelta() | SignatureDelta() | ToolInputDelta() | OtherDelta():
                if event.index in self._open:
                    self._open[event.index].add(write_event(event)["delta"])

    def whole(self) -> bytes | Error | None:
        """The message, or None if none began. Raises `msgspec.DecodeError` if a tool's arguments are cut.

        Cut off by the limit of tokens, or by a stop sequence, is another thing: the call that was cut is left out, and
        `stop_reason` says why. Claude Code insists on a block, so that one without any gets an empty text.
        """
        if self._message is None:
            return None
        if self._legal.unended:
            return UNENDED
        blocks = self._blocks
        if self._message.get("stop_reason") in ("max_tokens", "stop_sequence") and blocks and blocks[-1].cut:
            blocks = blocks[:-1] or ([] if self._same else [_Filling({"type": "text", "text": ""})])
        return msgspec.json.encode(self._message | {"content": [filling.block() for filling in blocks]})


def _object(value: Any) -> Wire:
    """What a provider says of usage, if it is what it should be."""
    return value if isinstance(value, dict) else {}


class _Filling:
    """A block being filled: its start, and the pieces of its text fields, joined once at the end."""

    def __init__(self, start: Wire) -> None:
        self._start = start
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    def add(self, delta: Wire) -> None:
        if delta["type"] == "citations_delta":
            self._citations.append(delta.get("citation"))
            return
        for key, value in delta.items():
            if key == "type":
                continue
            if isinstance(value, str):
                self._pieces.setdefault("input" if key == "partial_json" else key, []).append(value)
            else:
                self._start[key] = value

    @property
    def cut(self) -> bool:
        """Whether it is a tool call whose arguments are no JSON object."""
        try:
            self.block()
        except BAD_JSON:
            return True
        return False

    def block(self) -> Wire:
        block = dict(self._start)
        if self._citations:
            cited = block.get("citations")
            block["citations"] = [*(cited if isinstance(cited, list) else ()), *self._citations]
        for key, pieces in self._pieces.items():
            text = "".join(pieces)
            if key != "input":
                block[key] = (block[key] if isinstance(block.get(key), str) else "") + text
            elif text:
                value, _ = decode(text.encode())  # whole, or an error: never repaired into something executable
                if not isinstance(value, dict):
                    raise msgspec.ValidationError("arguments that are no object")
                block[key] = msgspec.Raw(text.encode())
        return block
