"""HTTP answers as the fake router plays them: writes, waits between them, and how the connection ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

SSE_TYPE = "text/event-stream; charset=utf-8"
# Longer than any client or proxy may take to react, shorter than the tests' own time limits.
GATE_SECONDS = 15.0


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `target` and `body` are untouched."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def wants_stream(self) -> bool:
        return bool(self.body) and bool(self.json.get("stream"))


@dataclass(frozen=True)
class Pause:
    """Silence on the wire between two writes."""

    seconds: float


@dataclass(frozen=True)
class Gate:
    """Hold the rest back until the test opens it: shows that what came before was not waiting for what comes after."""

    opened: threading.Event = field(default_factory=threading.Event)


# `bytes` is one write to the socket.
Step = bytes | Pause | Gate
# finished: as HTTP wants it. reset: TCP reset. closed: orderly TCP close in the middle of the body.
Ending = Literal["finished", "reset", "closed"]


@dataclass(frozen=True)
class Answer:
    steps: tuple[Step, ...]
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = "finished"

    @property
    def body(self) -> bytes:
        return b"".join(step for step in self.steps if isinstance(step, bytes))


Reply = Callable[[Request], Answer]


def one_write(events: Sequence[bytes]) -> tuple[Step, ...]:
    return (b"".join(events),)


def byte_by_byte(events: Sequence[bytes]) -> tuple[Step, ...]:
    return tuple(bytes([byte]) for byte in b"".join(events))


def with_pauses(events: Sequence[bytes]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for event in events:
        steps += [event, Pause(0.02)]
    return tuple(steps)


CHOPPINGS: dict[str, Callable[[Sequence[bytes]], tuple[Step, ...]]] = {
    "one-write": one_write,
    "byte-by-byte": byte_by_byte,
    "pauses": with_pauses,
}
