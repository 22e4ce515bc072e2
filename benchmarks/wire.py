"""What goes over the wire: the mock upstream sends it, the load expects exactly it, or what a proxy should make of it.

Everything is built once, at import, so that neither side spends time on it under load. Only the text deltas of a paced
stream are made as they leave, because each carries the time of its sending, and what ends it, which may repeat them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FLOOD_EVENTS = 200
SHORTEST_STREAM = 9  # events of a paced stream; every dialect has a text delta in it
LAST_CHUNK = b"0\r\n\r\n"

# The text of a paced delta: when it was sent, in nanoseconds, and its position in the stream. `%` fills it in.
PACED_TEXT = "%020d %05d a token"
PACED_TEXT_SIZE = 34
_PACED_TEXT = PACED_TEXT.encode()

JSON_TEXT = "Hello! How can I help you today?"

# As they stand in JSON, so that what has to be escaped is.
_PIECES = (" the stream of", ' \\"quoted\\" and', " caf\u00e9 \u2013 na\u00efve", "\\n\\n## Next", " plain words here")


def flood_text(number: int) -> str:
    """A delta's text as it stands in JSON; the number makes a lost or swapped event show."""
    return f"{number:03d}{_PIECES[number % len(_PIECES)]}"


@dataclass(frozen=True)
class Wire:
    """One dialect: what its upstream answers, and what its client asks."""

    name: str
    opening: tuple[bytes, ...]  # the events before the text …
    closing: tuple[bytes, ...]  # … and those behind it; for `%`: %(at)d is its place, %(said)b all that was said before
    delta: bytes  # a paced text delta, for `%`: %(at)d is its place in the stream, %(text)b its text
    flood_delta: Callable[[int], bytes]
    json_body: bytes
    headers: bytes  # of every answer
    asks: str  # the request's line and its own header fields
    body: Callable[[str, bool], dict[str, Any]]  # of a request: the model's name, and whether it streams

    @property
    def flood(self) -> tuple[bytes, ...]:
        deltas = map(self.flood_delta, range(self.flood_deltas))
        return (*self.opening, *deltas, *self.ending(FLOOD_EVENTS, self.flood_said))

    def ending(self, length: int, said: bytes) -> tuple[bytes, ...]:
        """The events that end a stream of `length` events; `said` is its text as it stands in JSON."""
        first = length - len(self.closing)
        return tuple(event % {b"at": at, b"said": said} for at, event in enumerate(self.closing, first))

    @property
    def flood_deltas(self) -> int:
        return FLOOD_EVENTS - len(self.opening) - len(self.closing)

    @property
    def flood_said(self) -> bytes:
        """The text of the flood as it stands in JSON."""
        return "".join(map(flood_text, range(self.flood_deltas))).encode()

    @property
    def flood_text(self) -> str:
        """What a client should understand of the flood."""
        return str(json.loads(b'"%b"' % self.flood_said))

    @property
    def stream_head(self) -> bytes:
        kind = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        return kind + self.headers + b"transfer-encoding: chunked\r\n\r\n"

    @property
    def json_answer(self) -> bytes:
        kind = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        return kind + self.headers + b"content-length: %d\r\n\r\n" % len(self.json_body) + self.json_body

    def paced_chunk(self, position: int, length: int, now_ns: int, said: bytearray) -> bytes:
        """The chunk with event number `position` of a paced stream of `length` events; `said` gathers what they say."""
        if position < len(self.opening):
            return chunk(self.opening[position])
        if position < length - len(self.closing):
            text = _PACED_TEXT % (now_ns, position)
            said += text
            return chunk(self.delta % {b"at": position, b"text": text})
        return chunk(self.closing[position - length] % {b"at": position, b"said": said})

    def request(self, behaviour: str, *, stream: bool, prefix: str = "") -> bytes:
        """A client's request. The behaviour of the mock rides in the model's name, which every proxy forwards.

        `prefix` is what a proxy wants in front of a model's name, and takes off again.
        """
        wanted = self.body(f"{prefix}mock-{behaviour}", stream)
        body = json.dumps(wanted, separators=(",", ":"), ensure_ascii=False).encode()
        head = (
            f"{self.asks}host: 127.0.0.1\r\nuser-agent: trioproxy-benchmarks\r\naccept: application/json\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)
