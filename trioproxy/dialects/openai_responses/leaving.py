"""Frames of an upstream's as they leave for a client of the same dialect.

Nothing of them is changed but the model's name, if the client knows it by another, until somebody has touched the
answer: from there on they are numbered anew.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from trioproxy.dialects.openai.frames import is_plain
from trioproxy.dialects.openai_responses.events import NULL, Told
from trioproxy.dialects.openai_responses.telling import Telling
from trioproxy.dialects.peek import BAD_JSON, with_fields, with_model
from trioproxy.items import Frame

__all__ = ["Leaving"]


class _Numbered(msgspec.Struct):
    sequence_number: int = -1


class Leaving:
    """Of one answer. `telling` tells the rest of it, and numbers what both tell."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._renamed = telling.response.renamed
        self.touched = False
        """Whether a stage has added, changed or left out anything."""
        self._passed = 0  # how many frames with data have left
        self._last: Frame | None = None

    def touch(self) -> None:
        """From here on frames are numbered anew: `telling` goes on where the upstream is."""
        if not self.touched:
            self.touched = True
            try:
                number = msgspec.json.decode(self._last.data, type=_Numbered).sequence_number if self._last else -1
            except BAD_JSON:
                number = -1
            self._telling.sequence = number + 1 if number >= 0 else self._passed

    def plain(self, frame: Frame) -> bool:
        """Whether `frame` leaves as it is: what stands around its data is one line of each kind."""
        around = len(b"event: \ndata: \n\n") + len(frame.event) if frame.event else len(b"data: \n\n")
        return not self.touched and len(frame.raw) - len(frame.data) == around

    def left(self, frame: Frame) -> None:
        """Note that a frame has left as it is."""
        self._passed, self._last = self._passed + 1, frame

    def frame(self, frame: Frame, told: Told | None, changed: dict[str, Any] | None = None) -> Iterator[Frame]:
        """The frame, with the fields that are `changed` once somebody has touched the answer."""
        if not frame.data:
            if is_plain(frame.raw):
                yield frame  # a comment; a lone `id:` or `retry:` is nothing that the OpenAI SDK survives
            return
        fields: dict[str, Any] = {}
        if told is not None:
            if told.response != NULL and (self._renamed or self._telling.response.named):
                fields["response"] = self._as_begun(told.response)
            if self.touched:
                fields |= {**(changed or {}), "sequence_number": self._telling.sequence}
                self._telling.sequence += 1
        self.left(frame)
        if fields:
            yield Frame(with_fields(frame.data, fields), frame.event)
        else:
            yield frame if is_plain(frame.raw) else Frame(frame.data, frame.event)

    def _as_begun(self, response: msgspec.Raw) -> msgspec.Raw:
        """A response that an upstream tells, by the names that the client knows."""
        try:
            if named := self._telling.response.named:
                return msgspec.Raw(with_fields(bytes(response), named))
            return msgspec.Raw(with_model(bytes(response), self._renamed))
        except BAD_JSON:
            return response
