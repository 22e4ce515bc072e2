"""Anthropic Messages: `POST /v1/messages`, API versions 2023-06-01 and 2026-10-21.

Source: platform.claude.com/docs/en/api/messages and …/build-with-claude/streaming; what real providers send beyond it
is in the tests' recordings.
"""

import msgspec

from trioproxy.dialects.anthropic.errors import read_error, write_error, write_error_event
from trioproxy.dialects.anthropic.reader import Reader
from trioproxy.dialects.anthropic.request import read_request, write_request
from trioproxy.dialects.anthropic.writer import FoldWriter, StreamWriter
from trioproxy.dialects.peek import BAD_JSON, Peek
from trioproxy.items import Error, Event, Frame, Request
from trioproxy.stage import Exchange, Stage

__all__ = ["Anthropic"]

_PEEK = msgspec.json.Decoder(Peek)


class Anthropic:
    """See `Dialect` for what each method takes and gives."""

    name = "anthropic"
    paths = frozenset({"/v1/messages"})

    def peek(self, body: bytes, /) -> Peek | None:
        try:
            return _PEEK.decode(body)
        except BAD_JSON:
            return None

    def read_request(self, body: bytes, /) -> Request:
        return read_request(body)

    def write_request(self, request: Request, /) -> bytes:
        return write_request(request)

    def reader(self, exchange: Exchange, /) -> Stage[Frame, Event]:
        return Reader(expects_answer=not exchange.answered_here)

    def writer(self, exchange: Exchange, /) -> Stage[Event, Frame | Error]:
        same = exchange.upstream_dialect == self.name
        return StreamWriter(same_dialect=same) if exchange.stream else FoldWriter(limit=exchange.event_limit)

    def credentials(self, token: str, /) -> list[tuple[bytes, bytes]]:
        return [(b"x-api-key", token.encode("ascii"))]

    def read_error(self, status: int, body: bytes, /) -> Error:
        return read_error(status, body)

    def write_error(self, error: Error, request_id: str, /) -> bytes:
        return write_error(error, request_id)

    def write_error_event(self, error: Error, request_id: str, /) -> bytes:
        return write_error_event(error, request_id)
