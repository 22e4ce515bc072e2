"""Events → frames: what the `translate` stage is for an OpenAI Responses client.

An error of ours is passed on: the proxy gives it the right HTTP status, or ends the stream with it (see `failed`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from trioproxy.dialects.fold import UNENDED
from trioproxy.dialects.openai_responses.events import NULL, read_answer, read_event
from trioproxy.dialects.openai_responses.output import Output
from trioproxy.dialects.openai_responses.passing import Passing
from trioproxy.dialects.openai_responses.response import Response
from trioproxy.dialects.openai_responses.restored import restored
from trioproxy.dialects.openai_responses.telling import Telling
from trioproxy.dialects.style import Style
from trioproxy.items import BlockStop, Error, Event, Frame, MessageStart, MessageStop, Ping, Unknown
from trioproxy.stage import Exchange, Stage

_TELLING = (MessageStart, MessageStop, BlockStop, Unknown)  # events whose frames may tell more than they do

__all__ = ["Fold", "StreamWriter"]


class StreamWriter(Stage[Event, Frame | Error]):
    """Writes a stream of server-sent events. `same`: the upstream speaks Responses too."""

    def __init__(self, exchange: Exchange, style: Style, *, same: bool) -> None:
        self._exchange, self._style, self._same = exchange, style, same
        self._gathered: list[Event] = []  # of what a whole body says
        self._begin()

    def _begin(self) -> None:
        self._telling = Telling(self._exchange, self._style, same=self._same)
        self._passing = Passing(self._telling) if self._same else None

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        passing, frame = self._passing, event.frame
        if passing is None:
            return self._telling.feed(event)
        if frame is None or frame.whole:
            return self._unframed(passing, event)
        if passing.usual(event, frame):
            return (frame,)
        if passing.over and isinstance(event, MessageStart):
            self._begin()  # a router may send one answer after the other (M0)
            return self.feed(event)
        return passing.feed(event, frame)

    def _unframed(self, passing: Passing, event: Event) -> Iterator[Frame | Error]:
        """An event that no frame of a stream tells: a stage's own, or one of those that a whole body says.

        If nobody has touched any of these, the stream is made of the body, which says more than they do.
        """
        if event.frame is not None and (self._gathered or isinstance(event, MessageStart)):
            self._gathered.append(event)
            if len(self._gathered) == event.parts:
                if stream := self._telling.unrolled(event.frame):
                    self._gathered = []
                    yield from stream
                else:
                    yield from self._touched(passing)
            return
        if not isinstance(event, Ping):
            yield from self._touched(passing)
        yield from passing.own(event)

    def _touched(self, passing: Passing) -> Iterator[Frame | Error]:
        events, self._gathered = self._gathered, []
        for event in events:
            yield from passing.own(event)

    def close(self) -> Iterable[Frame | Error]:
        if self._passing is not None:
            yield from self._touched(self._passing)
            yield from self._passing.close()
        yield from self._telling.close()


class Fold:
    """The response that a stream of events amounts to. `same`: what nobody has changed is told as the upstream does."""

    def __init__(self, exchange: Exchange, style: Style, *, same: bool) -> None:
        self._output = Output(exchange, style, same=same)
        self._response = Response(exchange, same=same)
        self._same, self._begun = same, False
        self._seen: Frame | None = None
        self._items: dict[int, Any] = {}  # the upstream's own, by their place
        self._at_last: list[Any] = []  # … as the response has them that ends its answer

    def add(self, event: Event, /) -> Error | None:
        if isinstance(event, Error):
            return event
        if not self._begun and not isinstance(event, Ping | Unknown | MessageStop):
            self._begun = True
            if isinstance(event, MessageStart):  # of several messages in a row the first names the answer
                self._response.read(event)
        if self._same and event.frame is not None and event.frame is not self._seen and isinstance(event, _TELLING):
            self._seen = event.frame
            self._look(event.frame)
        return next((each for each in self._output.feed(event) if isinstance(each, Error)), None)

    def _look(self, frame: Frame) -> None:
        told = read_event(frame.data)
        response = msgspec.Raw(frame.data) if frame.whole else told.response if told is not None else NULL
        if told is not None and told.item is not None:
            self._output.announce(told.item)
            if told.type == "response.output_item.done":
                place = told.output_index
                self._items[place if isinstance(place, int) else len(self._items)] = told.item
        if (answer := read_answer(response)) is not None:
            self._response.read_own(response)
            self._at_last = answer.output if isinstance(answer.output, list) else []
            for item in self._at_last:
                self._output.announce(item)

    def whole(self) -> bytes | Error | None:
        if not self._begun:
            return None
        if not self._output.over:
            return UNENDED
        status = "incomplete" if self._output.incomplete else "completed"
        output: list[Any] = self._output.told
        if self._same:
            native = self._at_last or [self._items[place] for place in sorted(self._items)]
            output = restored(native, [msgspec.json.decode(item) for item in output])
        facts, incomplete = self._output.facts, self._output.incomplete
        return msgspec.json.encode(self._response.write(status, output, incomplete=incomplete, facts=facts))
