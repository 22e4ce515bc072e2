"""events → events: drop whole messages whose text is something the client must not see.

The case it was made for: an upstream answers Claude Code's question for a topic (`{"isNewTopic": true, "title": …}`)
with a message of its own, ahead of the real one in the same stream, and the client hangs on it.

A message is held only while its text can still fit the pattern: the `regex` package's partial matching tells, so
ordinary prose leaves at its first character. Thinking, tool calls and whatever else is not text rule a match out.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

import regex

from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    Text,
    TextDelta,
    Unknown,
    replace,
)
from trioproxy.stage import Stage

__all__ = ["SignatureFilter"]

_TOPIC = r'"isNewTopic"\s*:\s*(?:true|false)'
_TITLE = r'"title"\s*:\s*(?:null|"(?:[^"\\]|\\.)*")'
METADATA = rf"\s*(?:```(?:json)?\s*)?\{{\s*(?:{_TOPIC}(?:\s*,\s*{_TITLE})?|{_TITLE}\s*,\s*{_TOPIC})\s*\}}\s*(?:```\s*)?"
"""The metadata block in any spacing, fenced or bare, its two keys in either order, and nothing after it."""

# How many events may be held beside the text: pings and empty deltas add no characters, yet must not add up for ever.
_HELD_EVENTS = 2048
_HELD_BYTES = 1024 * 1024  # … and of their frames, which may be large although nothing is said in them
# How long one look at a text may take (seconds): a pattern that backtracks for ever must not stop the proxy.
_TIMEOUT = 0.1


@lru_cache(maxsize=16)  # regex's own cache costs more to ask than all the rest of a stage's beginning
def _compiled(pattern: str) -> "regex.Pattern[str]":
    return regex.compile(pattern, regex.DOTALL)


class SignatureFilter(Stage[Event, Event]):
    """Drop every message whose whole text fits `pattern`.

    `pattern` is a regular expression (the `regex` package's) for the whole assembled text of a message, from its first
    character to its last; the default fits Claude Code's topic metadata. A text of more than `within` characters fits
    no more. `when-empty` says what the client gets if nothing but dropped messages came: "blank", a complete message
    with one empty text block, or "keep", the last dropped message after all.
    """

    def __init__(
        self, *, pattern: str = METADATA, within: int = 512, when_empty: Literal["blank", "keep"] = "blank"
    ) -> None:
        try:
            self._pattern = _compiled(pattern)
        except regex.error as exc:
            raise ValueError(f"pattern is no regular expression: {exc}") from exc
        if within < 1:
            raise ValueError(f"within must be 1 or more, got {within}")
        self._within = within
        self._when_empty = when_empty
        self._holding = False
        self._held: list[Event] = []
        self._text = ""
        self._size = 0  # bytes of the frames that are held
        self._passed = False  # whether anything of an answer has passed
        self._last_dropped: list[Event] = []
        self._dropped = self._kept = self._held_back = self._timeouts = 0

    def feed(self, event: Event, /) -> Iterable[Event]:
        if isinstance(event, MessageStart):
            # A message that never stopped ends where the next begins.
            return [*self._decide(), *self._begin(event)]
        if not self._holding:
            self._passed = self._passed or not isinstance(event, Ping | Unknown)
            return (event,)
        self._held.append(event)
        if event.frame is not None and not event.frame.whole:
            self._size += len(event.frame.data)
        match event:
            case TextDelta(text=text) | BlockStart(block=Text(text=text)):
                return self._look(text) if text else self._bounded()
            case Unknown(data=data) if data:
                return self._release()  # nobody knows what it says: it must not be lost with the message
            case BlockStart() | Error():
                return self._release()
            case MessageStop():
                return self._decide()
            case BlockStop() | MessageDelta() | Ping() | Unknown():
                return self._bounded()
        return self._release()  # a delta of anything but text

    def close(self) -> Iterable[Event]:
        released = self._decide()
        if self._passed or not self._last_dropped:
            return released
        return self._last_dropped if self._when_empty == "keep" else _blank(self._last_dropped)

    def stats(self) -> Mapping[str, int]:
        counts = {"dropped": self._dropped, "kept": self._kept, "held_back": self._held_back}
        return counts | ({"pattern_timeouts": self._timeouts} if self._timeouts else {})

    def _begin(self, event: MessageStart) -> Iterable[Event]:
        self._holding, self._held, self._text, self._size = True, [event], "", 0
        return self._release() if event.content else ()

    def _look(self, text: str) -> Iterable[Event]:
        """Hold on while the text so far may still grow into a match."""
        if not self._text:
            self._held_back += 1
        self._text += text
        if len(self._text) <= self._within and self._fits(partial=True):
            return self._bounded()
        if len(self._text) == len(text):
            self._held_back -= 1  # its first text ruled it out: nothing was held back
        return self._release()

    def _bounded(self) -> Iterable[Event]:
        return self._release() if len(self._held) > _HELD_EVENTS or self._size > _HELD_BYTES else ()

    def _release(self) -> list[Event]:
        held, self._held, self._holding = self._held, [], False
        self._passed = True
        self._kept += 1
        return held

    def _decide(self) -> list[Event]:
        """The message is over: drop it or let it go."""
        if not self._holding:
            return []
        if not (self._text and self._fits(partial=False)):
            return self._release()
        self._last_dropped, self._held, self._holding = self._held, [], False
        self._dropped += 1
        return []

    def _fits(self, *, partial: bool) -> bool:
        try:
            return self._pattern.fullmatch(self._text, partial=partial, timeout=_TIMEOUT) is not None
        except TimeoutError:
            self._timeouts += 1
            return False


def _blank(dropped: list[Event]) -> list[Event]:
    """A complete message with one empty text block, in place of `dropped`. Claude Code refuses one without a block."""
    start = next(event for event in dropped if isinstance(event, MessageStart))
    ends = [event for event in dropped if isinstance(event, MessageDelta)]
    end = ends[-1] if ends else MessageDelta()
    return [
        replace(start),
        BlockStart(0, Text()),
        BlockStop(0),
        replace(end, stop_reason=end.stop_reason or "end_turn"),
        MessageStop(),
    ]
