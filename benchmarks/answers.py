"""Reading answers: enough HTTP/1.1 to take a proxy's answer apart, and no more, since it runs under load."""

from __future__ import annotations

import re

from benchmarks import wire

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)


class WrongAnswerError(Exception):
    """The proxy lost, added, swapped or broke something: the measurement is worthless."""


def split_head(raw: bytes) -> tuple[bytes, int] | None:
    """The head of an answer with status 200, and where its body starts; None if the head is not all there."""
    end = raw.find(b"\r\n\r\n")
    if not raw.startswith(b"HTTP/1.1 200"[: len(raw)]):
        raise WrongAnswerError(f"not a 200: {raw[:600]!r}")
    return None if end < 0 else (raw[: end + 2], end + 4)


def body_of(raw: bytes) -> bytes | None:
    """The body of one complete answer; None if more of it has to come."""
    split = split_head(raw)
    if split is None:
        return None
    head, at = split
    if length := _LENGTH.search(head):
        size = int(length[1])
        if len(raw) > at + size:
            raise WrongAnswerError(f"{len(raw) - at - size} bytes after the end of an answer")
        return raw[at:] if len(raw) == at + size else None
    if not _CHUNKED.search(head):
        raise WrongAnswerError(f"neither content-length nor chunked: {head!r}")
    body = ChunkedBody()
    payload = body.feed(raw[at:])
    return payload if body.done else None


class ChunkedBody:
    """A chunked body, taken apart as it arrives."""

    __slots__ = ("done", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The payload in `data` (chunks that are not all there wait in `rest`)."""
        if self.rest:
            data = self.rest + data
        at, size, parts = 0, len(data), []
        while (line_end := data.find(b"\r\n", at)) >= 0:
            length = int(data[at:line_end], 16)
            start = line_end + 2
            end = start + length
            if end + 2 > size:
                break
            if data[end : end + 2] != b"\r\n":
                raise WrongAnswerError(f"a chunk of {length} bytes does not end with CRLF: {data[at : at + 40]!r}")
            at = end + 2
            if length == 0:
                self.done = True
                if at != size:
                    raise WrongAnswerError(f"bytes after the last chunk: {data[at : at + 40]!r}")
                break
            parts.append(data[start:end])
        self.rest = data[at:]
        return b"".join(parts)


class PacedStream:
    """One paced stream: checks each event against its place in the order and takes the time of sending out of it."""

    __slots__ = ("body", "length", "position", "text")

    def __init__(self, length: int) -> None:
        self.length = length
        self.position = 0
        self.text = b""
        self.body: ChunkedBody | None = None  # None while the head is not all there

    def feed(self, data: bytes, sent: list[int]) -> int:
        """Take what one read gave; append the sending times of its deltas to `sent`; return the number of events."""
        if self.body is None:
            self.text += data
            split = split_head(self.text)
            if split is None:
                return 0
            if not _CHUNKED.search(split[0]):
                raise WrongAnswerError(f"a stream that is not chunked: {split[0]!r}")
            data = self.text[split[1] :]
            self.text = b""
            self.body = ChunkedBody()
        *events, self.text = (self.text + self.body.feed(data)).split(b"\n\n")
        for event in events:
            self._check(event, sent)
        if self.body.done and (self.position != self.length or self.text):
            raise WrongAnswerError(f"a stream ended after {self.position} of {self.length} events, then {self.text!r}")
        return len(events)

    @property
    def done(self) -> bool:
        return self.body is not None and self.body.done

    def _check(self, event: bytes, sent: list[int]) -> None:
        position = self.position
        self.position = position + 1
        if position < wire.FIXED_BEFORE:
            good = event == wire.OPENING[position][:-2]
        elif position >= self.length:
            good = False
        elif position >= self.length - wire.FIXED_AFTER:
            good = event == wire.CLOSING[position - self.length][:-2]
        else:
            good = (
                event.startswith(wire.DELTA_START)
                and event[wire.POSITION_AT : wire.POSITION_AT + 5] == b"%05d" % position
                and event[wire.POSITION_AT + 5 :] == wire.DELTA_END[:-2]
            )
            if good:
                sent.append(int(event[wire.TIME_AT : wire.TIME_AT + 20]))
        if not good:
            raise WrongAnswerError(f"event {position} of {self.length} is not the expected one: {event!r}")
