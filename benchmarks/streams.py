"""One paced stream as it comes in: each event is checked against its place in the order, and says when it was sent."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from benchmarks import wire
from benchmarks.answers import ChunkedBody, WrongAnswerError, is_chunked, split_head
from benchmarks.understood import MESSAGES, WIRES
from benchmarks.wire_anthropic import ANTHROPIC, DELTA_END, DELTA_START

_TIME_AT = len(DELTA_START)
_POSITION_AT = _TIME_AT + 21
_DELTA_END = wire.PACED_TEXT.partition("%05d")[2].encode() + DELTA_END[:-2]  # what follows the position


class Stream(ABC):
    """Takes the stream out of the HTTP around it. Subclasses know what the events should be."""

    def __init__(self, length: int) -> None:
        self.length = length  # in events of the upstream
        self.text = b""
        self.body: ChunkedBody | None = None  # None while the head is not all there
        self.asked = 0  # when its request was sent, in nanoseconds
        self.heard = False  # whether a text delta has come

    def feed(self, data: bytes, sent: list[int]) -> int:
        """Take what one read gave; append the sending times of its deltas to `sent`; return the number of events."""
        if self.body is None:
            self.text += data
            split = split_head(self.text)
            if split is None:
                return 0
            if not is_chunked(split[0]):
                raise WrongAnswerError(f"a stream that is not chunked: {split[0]!r}")
            data = self.text[split[1] :]
            self.text = b""
            self.body = ChunkedBody()
        *events, self.text = (self.text + self.body.feed(data)).split(b"\n\n")
        for event in events:
            self.check(event, sent)
        if self.body.done and (not self.complete or self.text):
            raise WrongAnswerError(f"a stream ended after {self.where}, then {self.text!r}")
        return len(events)

    @property
    def done(self) -> bool:
        return self.body is not None and self.body.done

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether all that is due has come."""

    @property
    @abstractmethod
    def where(self) -> str:
        """How far it has come."""

    @abstractmethod
    def check(self, event: bytes, sent: list[int]) -> None:
        """Take the next event; the times at which its parts were sent go to `sent`. Raises `WrongAnswerError`."""


class SameStream(Stream):
    """Anthropic's events, each of which must come as the bytes that were sent."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.position = 0

    @property
    def complete(self) -> bool:
        return self.position == self.length

    @property
    def where(self) -> str:
        return f"{self.position} of {self.length} events"

    def check(self, event: bytes, sent: list[int]) -> None:
        position = self.position
        self.position = position + 1
        if position < len(ANTHROPIC.opening):
            good = event == ANTHROPIC.opening[position][:-2]
        elif position >= self.length:
            good = False
        elif position >= self.length - len(ANTHROPIC.closing):
            good = event == ANTHROPIC.closing[position - self.length][:-2]
        else:
            good = (
                event.startswith(DELTA_START)
                and event[_POSITION_AT : _POSITION_AT + 5] == b"%05d" % position
                and event[_POSITION_AT + 5 :] == _DELTA_END
            )
            if good:
                sent.append(int(event[_TIME_AT : _TIME_AT + 20]))
        if not good:
            raise WrongAnswerError(f"event {position} of {self.length} is not the expected one: {event!r}")


class SaidStream(Stream):
    """Events a proxy has written anew: what they say must be what was sent, however it is cut into events."""

    def __init__(self, length: int, client: str, upstream: str) -> None:
        super().__init__(length)
        self.message = MESSAGES[client]()
        # A usual delta, whose text alone is looked at: to read them all as JSON would keep the core of the mock busy.
        self._delta = re.compile(rb'"%b": ?"((\d{20}) (\d{5}) a token)"' % self.message.delta_key)
        self.said = ""  # a text that is not all there
        self.position = len(WIRES[upstream].opening)
        self.end = length - len(WIRES[upstream].closing)

    @property
    def complete(self) -> bool:
        return self.message.done and self.position == self.end and not self.said

    @property
    def where(self) -> str:
        return f"the text of event {self.position} of {self.length}, where {self.end} was expected"

    def check(self, event: bytes, sent: list[int]) -> None:
        usual = self._delta.search(event) if self.heard and not self.said else None
        if usual is not None:
            self.message.skip(usual[1].decode())
            self._piece(int(usual[2]), int(usual[3]), event, sent)
            return
        try:
            self.said += self.message.feed(event)
            while len(self.said) >= wire.PACED_TEXT_SIZE:
                piece, self.said = self.said[: wire.PACED_TEXT_SIZE], self.said[wire.PACED_TEXT_SIZE :]
                time, position = int(piece[:20]), int(piece[21:26])
                if piece != wire.PACED_TEXT % (time, position):
                    raise ValueError(piece)
                self._piece(time, position, event, sent)
        except (KeyError, TypeError, ValueError) as problem:
            raise WrongAnswerError(f"not the expected event: {event!r} ({problem!r})") from problem

    def _piece(self, time: int, position: int, event: bytes, sent: list[int]) -> None:
        if position != self.position:
            raise WrongAnswerError(f"event {self.position} of {self.length} was expected, came {event!r}")
        self.position += 1
        sent.append(time)
