"""What an answer says, whoever said it how: read from recordings, and from what the official SDKs make of an answer.

Small readers of the tests' own, one for each dialect. They were written from the recordings' facts and the list of
hazards (H…), and share no code with the proxy, so that what a client must get is worked out independently of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Dialect = Literal["anthropic", "openai-chat", "openai-responses"]
DIALECTS: tuple[Dialect, ...] = ("anthropic", "openai-chat", "openai-responses")
Form = Literal["stream", "whole"]
Wire = dict[str, Any]  # a JSON object; `Any` because its inside is a provider's


@dataclass
class Counts:
    """Tokens; those that were cached are part of the prompt (H044), and those of reasoning of the completion (H049)."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0


@dataclass
class Call:
    """Of a tool. Where it takes a text, and no arguments, that is the argument `input`."""

    id: str
    name: str
    text: str = ""

    @property
    def arguments(self) -> tuple[str, object]:
        """As a JSON value; no text is no arguments (H017); what was cut stays what it is."""
        try:
            return "whole", json.loads(self.text or "{}")
        except ValueError:
            return "cut", self.text


@dataclass
class Other:
    """A block that only its own dialect has."""

    kind: str


# Reasoning that is `sealed` has no text: all of it is signed or encrypted.
Part = tuple[Literal["text", "thinking", "sealed"], str] | Call | Other


@dataclass
class Said:
    """An answer: its parts in order, and how it ended (in the words of the dialect it was read from)."""

    parts: list[Part] = field(default_factory=list)
    stop: str | None = None
    usage: Counts | None = None
    urls: list[str] = field(default_factory=list)  # of the pages cited
    seals: int = 0  # reasoning with something that has to come back with it: a signature, or encrypted
    failed: bool = False

    def say(self, kind: Literal["text", "thinking"], text: str) -> None:
        """More text: of the last part, if that is of its kind."""
        if self.parts and isinstance(last := self.parts[-1], tuple) and last[0] == kind:
            self.parts[-1] = (kind, last[1] + text)
        elif text:
            self.parts.append((kind, text))

    @property
    def calls(self) -> list[Call]:
        return [part for part in self.parts if isinstance(part, Call)]

    def joined(self, kind: str) -> str:
        return "".join(part[1] for part in self.parts if isinstance(part, tuple) and part[0] == kind)


def data_of(body: bytes) -> Iterator[str]:
    """The payloads of a stream of server-sent events."""
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        data = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if data:
            yield "\n".join(data)


def events_of(body: bytes) -> Iterable[Wire]:
    """The payloads before the `[DONE]` that some end with. Raises `ValueError` for one that is no JSON."""
    for data in data_of(body):
        if data.strip() == "[DONE]":
            return
        yield json.loads(data)
