"""Events → one whole body: what `translate` is for a client that did not ask for a stream. A dialect brings the fold.

A whole body of the same dialect whose events all arrive unchanged leaves as that very body, byte for byte.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from trioproxy.dialects.peek import BAD_JSON, with_model
from trioproxy.items import (
    Block,
    BlockStart,
    Error,
    Event,
    Frame,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    ToolInputDelta,
    Unknown,
)
from trioproxy.stage import Stage

__all__ = ["UNENDED", "Fold", "FoldWriter", "size_of"]

UNENDED = Error("internal", "the answer has no end: a stage has kept it back", 500)
"""What a writer says of an answer that began, and neither stopped nor failed: cut, it must not look whole."""


class Fold(Protocol):
    """What a stream of events amounts to in a dialect."""

    def add(self, event: Event, /) -> Error | None:
        """Take an event; an `Error` if it leaves a hole in what is gathered."""

    def whole(self) -> bytes | Error | None:
        """The body; None if no message began."""


class FoldWriter(Stage[Event, Frame | Error]):
    """Writes one whole body in `close`: the fold of the stream. `limit` (bytes) bounds what it gathers.

    `same`: the upstream speaks the same dialect, so that an untouched body of its can leave as it is, but for the
    name of the model where the client knows it by another (`model`), and for what `restyle` makes of it.
    """

    def __init__(
        self,
        fold: Fold,
        *,
        same: bool,
        limit: int,
        model: str = "",
        restyle: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._fold, self._same, self._limit, self._model, self._restyle = fold, same, limit, model, restyle
        self._gathered = 0
        self._source: Frame | None = None  # the whole body that every event so far was unfolded from
        self._missing = 0  # how many of its events have not come yet
        self._begun = self._done = False

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        if self._done:
            return
        frame = event.frame if self._same and event.frame is not None and event.frame.whole else None
        if not self._begun:
            self._begun, self._source, self._missing = True, frame, event.parts
        if frame is None or frame is not self._source:
            self._source = None
        self._missing -= 1
        self._gathered += size_of(event)
        fault: Error | None = None
        if isinstance(event, Error):
            fault = event
        elif self._gathered > self._limit:
            fault = Error("upstream", f"the upstream's answer is larger than {self._limit} bytes", 502)
        elif isinstance(event, Unknown) and event.frame is not None and event.frame.whole:
            if frame is None:
                fault = Error("upstream", "the upstream answered with JSON that is no message", 502)
            else:
                self._done = True  # no message, and nothing to fold: the body goes out as it came
                yield frame
        else:
            fault = self._fold.add(event)
        if fault is not None:
            self._done = True
            yield fault

    def close(self) -> Iterable[Frame | Error]:
        if self._done or not self._begun:
            return
        if self._source is not None and not self._missing:
            source = self._source
            data = self._restyle(source.data) if self._restyle else source.data
            if self._model:
                data = with_model(data, self._model)
            yield source if data is source.data else Frame(data, whole=True)
            return
        try:
            body = self._fold.whole()
        except (*BAD_JSON, UnicodeEncodeError):
            body = Error("upstream", "the upstream called a tool with arguments that are cut, or no object", 502)
        if body is None:
            body = Error("upstream", "the upstream's answer ended before any message", 502)
        yield body if isinstance(body, Error) else Frame(body, whole=True)


def size_of(event: Event) -> int:
    """Roughly the bytes an event adds to what is gathered."""
    match event:
        case TextDelta():
            return len(event.text)
        case ThinkingDelta():
            return len(event.thinking)
        case SignatureDelta():
            return len(event.signature)
        case ToolInputDelta():
            return len(event.partial_json)
    if event.frame is not None and not event.frame.whole:
        return len(event.frame.data)
    return 64 + (_weight(event.block) if isinstance(event, BlockStart) else 0)


def _weight(block: Block) -> int:
    try:
        return len(msgspec.json.encode(block))
    except (TypeError, ValueError, RecursionError):  # a stage's own, which no writer will take either
        return 0
