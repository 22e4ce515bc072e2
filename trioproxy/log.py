"""What is logged: one line per exchange, as text for people or JSON for programs. Never bodies, never secrets."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Literal, Protocol, Self, TextIO

import msgspec
import trio

from trioproxy.ledger import Ledger

__all__ = ["Record", "set_up"]

log = logging.getLogger("trioproxy.access")

_TEXT = 1000  # characters of what is said in a field: it may quote what a client sent


class _Request(Protocol):
    method: str
    sent: int
    received: int

    @property
    def target(self) -> _Target: ...


class _Target(Protocol):
    @property
    def path(self) -> str: ...


class Record:
    """What the log line of one exchange says, gathered while it lasts. Leaving the `with` writes the line."""

    def __init__(self, id: str, *, incoming: _Request | None = None) -> None:
        self.id = id
        self.started = trio.current_time()
        self.route = self.upstream = self.session = self.model = self.asked = ""
        self.status = 0
        self.bytes_in = 0
        self.ledger = Ledger()
        self.end = "cancelled"
        self._incoming = incoming
        self._first: float | None = None
        self._counts: dict[str, int] = {}

    def first_byte(self) -> None:
        """The first byte of the answer's body is about to leave."""
        if self._first is None:
            self._first = trio.current_time()

    def count(self, stats: Mapping[str, int]) -> None:
        """Add what a stage counted."""
        for name, value in stats.items():
            self._counts[name] = self._counts.get(name, 0) + value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        level = logging.WARNING if self.end.startswith("failed") else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "exchange", extra={"exchange": self._fields()})

    def _fields(self) -> dict[str, str | int | float]:
        now, incoming = trio.current_time(), self._incoming
        fields: dict[str, str | int | float] = {"id": self.id}
        if incoming:
            fields |= {"method": incoming.method, "path": incoming.target.path}
        if self.status:
            fields["status"] = self.status
        if self.upstream:
            fields |= {"upstream": self.upstream}
        if self.session:
            fields["session"] = self.session[:80]
        if self.model:
            fields["model"] = self.model[:80]
        if self.asked and self.asked != self.model:
            fields["asked"] = self.asked[:80]
        if incoming:
            fields |= {"bytes_up": incoming.received, "bytes_in": self.bytes_in, "bytes_out": incoming.sent}
        fields |= self._counts
        if self.ledger:
            fields["lossy"] = str(self.ledger)[:_TEXT]
        if self._first is not None:
            fields["first_byte"] = round(self._first - self.started, 4)
        fields |= {"seconds": round(now - self.started, 4), "end": self.end[:_TEXT]}
        return fields


class _Text(logging.Formatter):
    """`12:00:01 info  1f3a9c0e POST /v1/messages 200 …`."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = record.levelname.lower()
        fields = getattr(record, "exchange", None)
        if fields is None:
            text = f"{record.getMessage()}{_traceback(self, record)}"
        else:
            fields = dict(fields)
            front = " ".join(str(fields.pop(key)) for key in ("id", "method", "path", "status") if key in fields)
            text = front + "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
        if self._colour and record.levelno >= logging.WARNING:
            level = f"\x1b[31m{level}\x1b[0m"
        return f"{clock} {level} {text}"


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, object] = {"time": when, "level": record.levelname.lower(), "logger": record.name}
        line |= getattr(record, "exchange", None) or {"message": f"{record.getMessage()}{_traceback(self, record)}"}
        return msgspec.json.encode(line).decode()


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else msgspec.json.encode(text).decode()


def set_up(
    level: str,
    form: Literal["auto", "text", "json"],
    stream: TextIO = sys.stderr,
    *,
    colour: bool,
    enabled: bool = True,
) -> None:
    """Send trioproxy's log lines to `stream`, or nowhere at all if it is not `enabled`.

    Only the command line calls this; embedded, logging is the program's.
    """
    handler = logging.StreamHandler(stream) if enabled else logging.NullHandler()
    text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(_Text(colour=colour) if text else _Json())
    logger = logging.getLogger("trioproxy")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper() if enabled else logging.CRITICAL + 1)
    logger.propagate = False
