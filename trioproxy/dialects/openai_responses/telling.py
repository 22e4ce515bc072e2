"""Events → frames of our own: the stream of one response, from `response.created` to its one end (hazard H146)."""

from collections.abc import Iterable, Iterator

import msgspec

from trioproxy.dialects.fold import UNENDED
from trioproxy.dialects.openai.frames import KEEPALIVE
from trioproxy.dialects.openai_responses.ladder import Item, Wire
from trioproxy.dialects.openai_responses.output import TEXTS, Output
from trioproxy.dialects.openai_responses.response import NAMES, Response
from trioproxy.dialects.openai_responses.unrolled import unrolled
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.dialects.style import Style
from trioproxy.items import (
    Error,
    Event,
    Frame,
    MessageStart,
    MessageStop,
    Ping,
    ThinkingDelta,
    Unknown,
    replace,
)
from trioproxy.stage import Exchange

__all__ = ["Telling"]

_QUIET = 8  # pieces of reasoning that are not shown before the client gets a sign of life


class Telling:
    """Of one answer. `sequence` is the number of the next frame (hazard H147)."""

    def __init__(self, exchange: Exchange, style: Style, *, same: bool) -> None:
        self.output = Output(exchange, style, same=same)
        self.response = Response(exchange, same=same)
        self.sequence = 0
        self.begun = self.done = self.failed = False
        self.proceeding = False
        """Whether the client has been told that the response is in progress."""
        self._quiet = 0

    def feed(self, event: Event) -> Iterable[Frame | Error]:
        field = TEXTS.get(type(event))
        if field is not None:
            text = getattr(event, field)
            if (item := self.output.plain(event, text)) is not None:
                return (self._piece(item, text),)
        return self._write(event)

    def close(self) -> Iterator[Frame | Error]:
        """The end is written only now: a router may send one message after the other (M0), which make one answer."""
        if self.output.over and not (self.done or self.failed):
            yield from self.end()
        elif self.begun and not (self.done or self.failed):
            yield self.failing(UNENDED)

    def _write(self, event: Event) -> Iterator[Frame | Error]:
        if isinstance(event, Error):
            yield self.failing(event)
        elif isinstance(event, Ping):
            yield KEEPALIVE
        elif isinstance(event, Unknown):
            if event.frame is not None and event.frame.whole:
                yield self.failing(Error("upstream", "the upstream answered with JSON that is no response", 502))
        elif not (self.done or self.failed):
            if not self.begun and not isinstance(event, MessageStop):
                yield from self.start(event)
            elif self.begun and not (self.proceeding or self.output.next):
                yield from self.proceed()
            before = self.sequence
            for wire in self.output.feed(event):
                yield self.failing(wire) if isinstance(wire, Error) else self.frame(wire)
            if type(event) is ThinkingDelta and before == self.sequence:
                yield from self._breath()

    def _breath(self) -> Iterator[Frame]:
        """A sign of life now and then while reasoning is not shown: `keepalive` saw it pass, and gives none."""
        self._quiet += 1
        if self._quiet % _QUIET == 0:
            yield KEEPALIVE

    def start(self, event: Event | None = None) -> Iterator[Frame]:
        """The events that begin the stream; `event` may have more to say of it."""
        self.begun = True
        if isinstance(event, MessageStart):
            self.response.read(event)
        yield self.frame({"type": "response.created", "response": self.response.write("in_progress")})
        yield from self.proceed()

    def proceed(self) -> Iterator[Frame]:
        """The response is in progress: the second event of a stream."""
        self.proceeding = True
        yield self.frame({"type": NAMES["in_progress"], "response": self.response.write("in_progress")})

    def end(self) -> Iterator[Frame]:
        """The one event that ends the stream."""
        if not self.begun:
            yield from self.start()
        self.done = True
        status = "incomplete" if self.output.incomplete else "completed"
        wire = self.response.write(status, self.output.told, incomplete=self.output.incomplete, facts=self.output.facts)
        yield self.frame({"type": NAMES[status], "response": wire})

    def unrolled(self, frame: Frame) -> list[Frame]:
        """The stream of a whole body, to its end; empty if that cannot be written."""
        try:
            wire, _ = decode(frame.data)
            renamed = {"model": self.response.renamed} if self.response.renamed else {}
            stream = [self.frame(each) for each in unrolled(wire | renamed)]
        except (*BAD_JSON, UnicodeEncodeError):
            self.sequence = 0
            return []
        self.begun = self.done = True
        return stream

    def failing(self, error: Error) -> Error:
        """The error, with what the events that tell it need to know: see `failed`."""
        self.failed = True
        if not self.begun:
            return error
        wire = self.response.write("failed", self.output.told)
        known = replace(error, extra=error.extra | {"response": wire, "sequence_number": self.sequence})
        if error.frame is not None:
            known.read_from(error.frame)  # its words are the upstream's still, which the log must not quote
        return known

    # ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def frame(self, wire: Wire) -> Frame:
        wire["sequence_number"], self.sequence = self.sequence, self.sequence + 1
        return Frame(msgspec.json.encode(wire), wire["type"])

    def _piece(self, item: Item, text: str) -> Frame:
        """One more piece of a text, of which there are many: only the text itself is encoded."""
        if item.around is None:
            before, _, after = msgspec.json.encode(item.piece("\0")).rpartition(b'"\\u0000"')
            item.around = before, after[:-1] + b',"sequence_number":'
        before, after = item.around
        number, self.sequence = self.sequence, self.sequence + 1
        return Frame(before + msgspec.json.encode(text) + after + b"%d}" % number, item.delta)
