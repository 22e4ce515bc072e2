"""Anthropic Messages: `POST /v1/messages`, API versions 2023-06-01 and 2026-10-21.

Source: platform.claude.com/docs/en/api/messages and …/build-with-claude/streaming; what real providers send beyond it
is in the tests' recordings.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from trioproxy.dialects.anthropic.errors import write_error, write_error_event
from trioproxy.dialects.anthropic.fit import fit, fit_metadata
from trioproxy.dialects.anthropic.reader import Reader
from trioproxy.dialects.anthropic.request import read_request, write_request
from trioproxy.dialects.anthropic.writer import Fold, StreamWriter
from trioproxy.dialects.fold import FoldWriter
from trioproxy.dialects.models import LATEST, Model, read_listing
from trioproxy.dialects.peek import Peek, fields_of, peeked
from trioproxy.dialects.style import Style
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Error, Event, Frame, Request
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage

__all__ = ["Anthropic"]


class _Peek(msgspec.Struct):
    model: str = ""
    stream: Any = False  # `read_request` says what is wrong with it
    metadata: msgspec.Raw = msgspec.Raw()


_PEEK = msgspec.json.Decoder(_Peek)
_VERSION = "2023-06-01"  # what is spoken where nobody says otherwise: under it everything a client may say is valid


class Anthropic:
    """See `Dialect` for what each method takes and gives."""

    name = "anthropic"
    paths = ("/v1/messages",)
    beside = ("/v1/messages/", "/v1/complete", "/v1/skills", "/v1/organizations", "/api/event_logging", "/api/claude_")

    counts_first = True
    # Claude Code 2.0.77 does not ask again after an error event alone (tests/clients).
    breaks_off = True

    def peek(self, body: bytes, /) -> Peek | None:
        wire = peeked(body, _PEEK)
        return Peek(wire.model, wire.stream is True, metadata=fields_of(wire.metadata)) if wire else None

    def read_request(self, body: bytes, /) -> Request:
        return read_request(body)

    def amend(self, peek: Peek, target: Target, /) -> Mapping[str, Any]:
        metadata = fit_metadata(peek.metadata, target)
        return {} if metadata is peek.metadata else {"metadata": metadata}

    def fit(self, request: Request, target: Target, ledger: Ledger, /) -> Request:
        return fit(request, target, ledger)

    def write_request(self, request: Request, target: Target, ledger: Ledger, /) -> Written:
        return write_request(request, target, ledger)

    def reader(self, exchange: Exchange, /) -> Stage[Frame, Event]:
        return Reader(exchange)

    def writer(self, exchange: Exchange, style: Style, /) -> Stage[Event, Frame | Error]:
        same = exchange.upstream_dialect == self.name and not exchange.answered_here
        if exchange.stream:
            return StreamWriter(exchange, same=same)
        shown = exchange.model if exchange.model != exchange.upstream_model else ""
        return FoldWriter(Fold(exchange, same=same), same=same, limit=exchange.event_limit, model=shown)

    def credentials(self, token: str, target: Target, /) -> list[tuple[bytes, bytes]]:
        if target.version == "2026-10-21":
            return [(b"authorization", b"Bearer " + token.encode("ascii"))]
        return [(b"x-api-key", token.encode("ascii"))]

    def asks(self, target: Target, /) -> list[tuple[bytes, bytes]]:
        return [(b"anthropic-version", (target.version or _VERSION).encode())]

    def write_error(self, error: Error, request_id: str, /) -> bytes:
        return write_error(error, request_id)

    def write_error_event(self, error: Error, request_id: str, /) -> bytes:
        return write_error_event(error, request_id)

    def read_models(self, body: bytes, /) -> list[Model]:
        return [
            Model(
                id,
                name if isinstance(name := each.get("display_name"), str) else "",
                _seconds(each.get("created_at")),
                _count(each.get("max_input_tokens")),
                _count(each.get("max_tokens")),
            )
            for id, each in read_listing(body)
        ]

    def write_model(self, model: Model, /) -> bytes:
        return msgspec.json.encode(_write_model(model))

    def write_models(self, models: Iterable[Model], /) -> bytes:
        data = [_write_model(model) for model in models]
        ids = [each["id"] for each in data] or [None]
        return msgspec.json.encode({"data": data, "has_more": False, "first_id": ids[0], "last_id": ids[-1]})


def _write_model(model: Model) -> dict[str, Any]:
    seconds = model.created if 0 <= model.created <= LATEST else 0
    created = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wire = {"type": "model", "id": model.id, "display_name": model.name or model.id, "created_at": created}
    limits = {"max_input_tokens": model.context, "max_tokens": model.answer}
    return wire | {key: value for key, value in limits.items() if value is not None}


_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def _seconds(value: object) -> int:
    if not isinstance(value, str) or not _DATE.match(value):
        return 0
    try:
        return max(0, int(datetime.fromisoformat(value[:19] + "+00:00").timestamp()))
    except ValueError:
        return 0


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
