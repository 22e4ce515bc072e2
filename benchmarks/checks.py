"""What an answer is compared with: the bytes that were sent, or, where a proxy translates, what they say."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable

from benchmarks.answers import WrongAnswerError
from benchmarks.streams import SaidStream, SameStream, Stream
from benchmarks.understood import MESSAGES, WIRES, json_text, stream_text
from benchmarks.wire import JSON_TEXT, Wire
from benchmarks.wire_anthropic import ANTHROPIC

# The id of an answer, in its first event; what is in front tells its kind (`msg_`, `chatcmpl-`), and its other ids have
# the rest too.
_ID = re.compile(rb'"id": ?"(?:[a-z]+[_-])?([^"]{8,})"')

Check = Callable[[bytes], None]  # of a whole body; raises WrongAnswerError


class Checks:
    """The checks for a client that speaks one dialect and an upstream that speaks the same or another."""

    def __init__(self, client: str, upstream: str, prefix: str, *, loosely: bool) -> None:
        self.client, self.upstream, self.prefix = client, upstream, prefix
        self.exact = client == upstream == ANTHROPIC.name and not loosely

    @classmethod
    def of(cls, options: argparse.Namespace) -> Checks:
        return cls(options.client, options.upstream or options.client, options.prefix, loosely=options.loosely)

    def request(self, behaviour: str, *, stream: bool) -> bytes:
        return WIRES[self.client].request(behaviour, stream=stream, prefix=self.prefix)

    def paced(self, length: int) -> Stream:
        return SameStream(length) if self.exact else SaidStream(length, self.client, self.upstream)

    def flood(self) -> Check:
        return _same_bytes(b"".join(ANTHROPIC.flood)) if self.exact else _Said(self.client, WIRES[self.upstream])

    def json(self) -> Check:
        """JSON may be written anew within a dialect too, but must say the same."""
        expected = json.loads(WIRES[self.client].json_body)

        def check(body: bytes) -> None:
            got = json.loads(body)
            if self.exact and got != expected:
                raise WrongAnswerError(f"got {body!r}, expected {expected!r}")
            if json_text(got, self.client) != JSON_TEXT:
                raise WrongAnswerError(f"got {body!r}, expected the text {JSON_TEXT!r}")

        return check


def _same_bytes(expected: bytes) -> Check:
    def check(body: bytes) -> None:
        if body != expected:
            raise WrongAnswerError(_difference(body, expected))

    return check


def _difference(body: bytes, expected: bytes) -> str:
    shorter = min(len(body), len(expected))
    at = next((n for n in range(shorter) if body[n] != expected[n]), shorter)
    around = slice(max(0, at - 120), at + 120)
    return (
        f"an answer of {len(body)} bytes instead of {len(expected)}, different from byte {at} on:\n"
        f"  got      {body[around]!r}\n  expected {expected[around]!r}"
    )


class _Said:
    """A stream must say what the upstream's flood says. Only what differs from the last good one is read."""

    def __init__(self, client: str, upstream: Wire) -> None:
        self._client, self._text = client, upstream.flood_text
        self._good = b""  # the last good one, without its id

    def __call__(self, body: bytes) -> None:
        found = _ID.search(body, 0, max(0, body.find(b"\n\n")))
        same = body.replace(found[1], b"") if found else body
        if same == self._good:
            return
        text = stream_text(body, MESSAGES[self._client]())
        if text != self._text:
            raise WrongAnswerError("the text of a stream:\n" + _difference(text.encode(), self._text.encode()))
        self._good = same
