"""The log: one line per exchange, as text for people or JSON for programs. What is in it is for `record` to know."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal, TextIO

import msgspec

__all__ = ["set_up"]

_TRACES, _QUIET = "opentelemetry", 60.0  # whose lines are many, and the seconds between two of them


class _Text(logging.Formatter):
    """`12:00:01 info  1f3a9c0e POST /v1/messages 200 …`."""

    def __init__(self, *, colour: bool, worker: int | None) -> None:
        super().__init__()
        self._colour = colour
        self._worker = "" if worker is None else f" [{worker}]"

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = record.levelname.lower()
        fields = getattr(record, "exchange", None)
        if fields is None:
            text = f"{_shown(record.getMessage())}{_traceback(self, record)}"
        else:
            fields = dict(fields)
            front = " ".join(str(fields.pop(key)) for key in ("id", "method", "path", "status") if key in fields)
            text = _shown(front) + "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
        if self._colour and record.levelno >= logging.WARNING:
            level = f"\x1b[31m{level}\x1b[0m"
        return f"{clock} {level}{self._worker} {text}"


class _Json(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, *, worker: int | None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, object] = {"time": when, "level": record.levelname.lower(), "logger": record.name}
        line |= {} if self._worker is None else {"worker": self._worker}
        line |= getattr(record, "exchange", None) or {"message": f"{record.getMessage()}{_traceback(self, record)}"}
        return _shown(msgspec.json.encode(line).decode())


class _Seldom(logging.Filter):
    """Lets one line a minute pass of a library that else says for each batch of spans that the collector is away."""

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_TRACES):
            return True
        if record.created < self._quiet_until:
            return False
        self._quiet_until = record.created + _QUIET
        return True


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """What was raised, behind the message: indented, or it might quote what looks like another line of the log."""
    if not record.exc_info:
        return ""
    return "".join(f"\n  {_shown(line)}" for line in formatter.formatException(record.exc_info).split("\n"))


def _quoted(value: object) -> str:
    text = str(value)
    plain = text and text.isprintable() and not set(text) & set(' "=')
    return text if plain else _shown(msgspec.json.encode(text).decode())


def _shown(text: str) -> str:
    """The text with JSON's `\\u…` for what a terminal obeys or hides: ESC, U+009B, U+202E, the end of a line."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _numbered(letter) for letter in text)


def _numbered(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def set_up(
    level: str,
    form: Literal["auto", "text", "json"],
    stream: TextIO = sys.stderr,
    *,
    colour: bool,
    enabled: bool = True,
    worker: int | None = None,
) -> None:
    """Send trioproxy's log lines to `stream`, or nowhere at all if it is not `enabled`.

    Each line is one write, so those of several processes do not mix; `worker` is the number of this one of them.

    Only the command line calls this; embedded, logging is the program's.
    """
    handler = logging.StreamHandler(stream) if enabled else logging.NullHandler()
    text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(_Text(colour=colour, worker=worker) if text else _Json(worker=worker))
    quiet = logging.CRITICAL + 1
    for name, least in (("trioproxy", level.upper() if enabled else quiet), (_TRACES, logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False
    handler.addFilter(_Seldom())
