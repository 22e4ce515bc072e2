"""An upstream's own frames on their way to a client of the same dialect: as they came, as far as they still hold.

A text is told many times: in deltas, whole, in its part, in its item, in the response. So where a stage has changed a
piece of an item, or left one out, the item is told in words of ours from there on, and so is the response at the end.
The frames of all the others stay, but for their numbers.
"""

from collections.abc import Generator, Hashable, Iterator
from typing import Any

import msgspec

from trioproxy.dialects.openai.frames import is_plain
from trioproxy.dialects.openai_responses.events import NULL, Told, read_event
from trioproxy.dialects.openai_responses.ladder import ANNOTATION, Call, Item, Message
from trioproxy.dialects.openai_responses.native import Native
from trioproxy.dialects.openai_responses.output import TEXTS
from trioproxy.dialects.openai_responses.telling import Telling
from trioproxy.dialects.peek import BAD_JSON, with_fields, with_model
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageStart,
    MessageStop,
    Ping,
    ThinkingDelta,
    Unknown,
)

__all__ = ["Passing"]

Sent = Iterator[Frame | Error]

_PIECES = tuple(TEXTS)
_HELD = 64  # frames that are held before they leave come what may
_HELD_BYTES = 4 * 1024 * 1024  # … and bytes of them
_WAITING = frozenset({"response.in_progress", "response.queued"})


class _Numbered(msgspec.Struct):
    sequence_number: int = -1


class Passing:
    """Of one answer. `telling` tells what has to be told in words of ours, and has what is known of the answer."""

    def __init__(self, telling: Telling) -> None:
        self._telling, self._output = telling, telling.output
        self._renamed = telling.response.renamed
        self._changed = False  # something was told in words of ours: frames get new numbers
        self._passed = 0  # how many frames with data have left
        self._last: Frame | None = None
        self._items: dict[Hashable, Native] = {}
        self._next: Hashable = None  # the item that was announced last, if no block of it has begun
        self._held: list[tuple[Frame, Told]] = []  # … and its first frames, where these have to wait for that
        self._source: Frame | None = None  # the frame that these events were read from
        self._gathered: list[Event] = []

    @property
    def over(self) -> bool:
        return self._telling.done

    def usual(self, event: Event, frame: Frame) -> bool:
        """Whether `frame` says no more than one more piece of a text, and leaves as it is. Most of a stream does."""
        field = TEXTS.get(type(event))
        if field is None or event.parts != 1 or self._changed or self._source or self._held:
            return False
        if len(frame.raw) - len(frame.data) != _around(frame) or not self._output.plain(event, getattr(event, field)):
            return False
        self._passed, self._last = self._passed + 1, frame
        return True

    def feed(self, event: Event, frame: Frame) -> Sent:
        """An event that still knows its frame, which leaves once all of its events have come."""
        if frame is not self._source:
            yield from self._give_up()
            if event.parts == 1:
                yield from self._pass([event], frame)
                return
        self._source = frame
        self._gathered.append(event)
        if len(self._gathered) == event.parts:
            events, self._gathered, self._source = self._gathered, [], None
            yield from self._pass(events, frame)

    def own(self, event: Event) -> Sent:
        """An event that a stage has made or changed, or that has no frame of its own."""
        if not isinstance(event, Ping | Unknown):
            yield from self._give_up()
            self._change()
            if isinstance(event, BlockStart) and (yield from self._replaces(event)):
                return
            item = self._item_of(event)
            if item is None and isinstance(event, _PIECES) and self._next is not None:
                self._disown(self._next)  # how it begins has been left out
            elif item is not None and item.native:
                self._disown(next(key for key, native in self._items.items() if native.item is item))
            if isinstance(event, MessageStart | MessageStop) and event.frame is not None:
                self._telling.response.read_own(msgspec.Raw(event.frame.data))  # a whole body is a response
        yield from self._tell(event)

    def close(self) -> Sent:
        yield from self._give_up()

    def _give_up(self) -> Sent:
        """Of what was read from a frame some has not come: a stage has changed it, or left it out."""
        events, frame, self._gathered, self._source = self._gathered, self._source, [], None
        if frame is None:
            return
        self._change()
        told = read_event(frame.data) or Told()
        native = self._items.get(_key(told))
        for event in events:
            item = self._item_of(event)
            if isinstance(event, BlockStart) and native and native.passes and native.fits(event.block):
                yield from self._adopt(event, _key(told), told)  # as it was announced
            elif isinstance(event, BlockStop) and item and item.native and not (native and native.item is item):
                self._output.follow(event)  # what it ends has been told, and not by this frame
            elif isinstance(event, MessageStart | MessageStop):
                self._begins(event, told)
                yield from self._tell(event)
            else:
                yield from self.own(event)

    # ── frames whose events have all come ───────────────────────────────────────────────────────────────────────────

    def _pass(self, events: list[Event], frame: Frame) -> Sent:
        told = read_event(frame.data) if frame.data else None
        if self._telling.done or self._telling.failed:
            if not frame.data or frame.data.strip() == b"[DONE]":  # all else there is a ghost (hazard H024)
                yield from self._as_it_is(frame, None)
            return
        if self._output.full:
            self._change()
            yield self._telling.failing(self._output.too_large())
            return
        if _key(told) is not None and not (self._telling.begun or isinstance(events[0], MessageStart)):
            self._change()  # how it begins has been left out
            yield from self._telling.start()
        if told is None:
            yield from self._release()
            yield from self._as_it_is(frame, None)
        elif any(isinstance(event, Error) for event in events):
            yield from self._release()
            self._telling.failed = True
            yield from self._as_it_is(frame, told)
        elif isinstance(events[-1], MessageStop):
            yield from self._end(events, frame, told)
        elif told.type == ANNOTATION and self._cites(told):
            yield from self._cite(told)
        elif isinstance(events[0], Unknown):
            yield from self._say_nothing(events[0], frame, told)
        else:
            yield from self._blocks(events, frame, told)

    def _say_nothing(self, event: Unknown, frame: Frame, told: Told) -> Sent:
        """A frame that says nothing of its own, or nothing that anybody here knows."""
        key = _key(told)
        if event.data or key is None:
            if key is not None and key not in self._items:
                yield from self._another()
                self._admit(self._known(key, None), told)
            yield from self._release()
            waits = told.type in _WAITING
            if not waits or (self._telling.begun and not self._telling.proceeding):  # once, behind the beginning
                self._telling.proceeding = told.type == "response.in_progress"
                yield from self._as_it_is(frame, told)
            return
        if key not in self._items:
            yield from self._another()
            self._next = key
            self._output.weigh(len(frame.data))  # what is announced of an item is known until the end
        native = self._known(key, told.item)
        left_out = _is_end(told) and native.item is not None and native.item in self._output.open.values()
        if left_out or not native.agrees(told):
            self._disown(key)
        if not native.passes:
            return
        if native.place < 0 and native.waits and key == self._next:
            self._held.append((frame, told))
            native.hinted = native.hinted or not str(told.type).endswith(".added")
            full = len(self._held) > _HELD or sum(len(each.data) for each, _ in self._held) > _HELD_BYTES
            if full or _is_end(told):  # nothing will ever come of it
                yield from self._release()
            return
        yield from self._release()
        self._admit(native, told)
        yield from self._as_it_is(frame, told)

    def _blocks(self, events: list[Event], frame: Frame, told: Told) -> Sent:
        key = _key(told)
        for event in events:
            native, item = self._items.get(key), self._item_of(event)
            if isinstance(event, MessageStart):
                self._telling.begun = True
                self._begins(event, told)
            elif isinstance(event, BlockStart) and (native is None or native.passes or native.lacks(event.block)):
                yield from self._adopt(event, ("block", event.index) if key is None else key, told)
            elif item is None or not item.native:
                if item is None and key is not None:
                    self._disown(key)  # how it begins has been left out
                self._change()
                yield from self._tell(event)
            elif not isinstance(event, _PIECES) and native and native.item is item and not native.agrees(told):
                yield from self.own(event)
            elif isinstance(event, ThinkingDelta) and isinstance(told.delta, str):
                self._output.follow(ThinkingDelta(event.index, told.delta))  # without blanks that had to wait for it
            else:
                self._output.follow(event)
        native = self._items.get(key)
        if native is None or native.passes:
            yield from self._release()
            yield from self._as_it_is(frame, told)

    def _end(self, events: list[Event], frame: Frame, told: Told) -> Sent:
        """The event that ends the stream repeats all that was told: it stays only if nobody has touched that."""
        if self._held:
            self._disown(self._next)
        stopped = {event.index for event in events if isinstance(event, BlockStop)}
        open = any(item is not None and index not in stopped for index, item in self._output.open.items())
        if self._telling.begun and not (self._changed or open or any(self._unended())):
            self._telling.done = True
            yield from self._as_it_is(frame, told)
            return
        self._change()
        self._begins(events[-1], told)
        for event in events:
            yield from self._tell(event)
        if not self._telling.failed:
            yield from self._telling.end()

    # ── items ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _item_of(self, event: Event) -> Item | None:
        return self._output.open.get(getattr(event, "index", -1))

    def _known(self, key: Hashable, announced: Any) -> Native:
        if key not in self._items:
            self._output.announce(announced)
            self._items[key] = Native(announced)
        return self._items[key]

    def _another(self) -> Sent:
        """Another item begins, and the one before has ended."""
        if self._held and self._items[self._next].hinted:
            self._disown(self._next)  # in a frame that was left out
        yield from self._release()
        for wire in self._output.settle():
            yield self._telling.frame(wire)

    def _replaces(self, event: BlockStart) -> Generator[Frame | Error, None, bool]:
        """A block of a stage's comes where one was announced: whether it is the same, and the announcement holds."""
        key, native = self._next, self._items.get(self._next)
        if native is None or not native.passes:
            return False
        fits = native.fits(event.block)
        if fits:
            yield from self._adopt(event, key, Told())
        self._disown(key)
        return fits

    def _adopt(self, event: BlockStart, key: Hashable, told: Told) -> Sent:
        """A block begins that is an item of the upstream's."""
        native = self._known(key, None)
        yield from self._release()
        self._admit(native, told)
        self._next = None
        item = None if native.suits(event.block) else self._output.item_of(event.block)
        self._output.open[event.index] = item = native.adopt(item, str(told.type))
        if item is not None:
            item.native = native.passes

    def _admit(self, native: Native, told: Told) -> None:
        """The client hears of an item in the upstream's words: it has a place from now on."""
        if native.place < 0:
            place = told.output_index
            native.place = self._output.next if self._changed or not isinstance(place, int) else place
            self._output.next = max(self._output.next, native.place + 1)
            if native.item is not None:
                native.item.place = native.place

    def _disown(self, key: Hashable) -> None:
        """No more of its frames pass."""
        self._change()
        native = self._known(key, None)
        native.passes = False
        if native.item is not None:
            native.item.native = False
        if key == self._next:
            self._next, self._held = None, []

    def _release(self) -> Sent:
        """The item whose first frames are held has begun, or something else has."""
        held, self._held = self._held, []
        for frame, told in held:
            self._admit(self._items[self._next], told)
            yield from self._as_it_is(frame, told)

    def _unended(self) -> Iterator[Item]:
        """The items that were announced, and nothing came of them."""
        for native in self._items.values():
            if native.item is not None and native.place >= 0 and not (native.adopted or native.done):
                yield native.item

    # ── what leaves ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, event: Event) -> Sent:
        if isinstance(event, MessageStop):
            for item in self._unended():
                for wire in self._output.finish(item, "incomplete" if isinstance(item, Call) else "completed"):
                    yield self._telling.frame(wire)
        yield from self._telling.feed(event)

    def _cites(self, told: Told) -> bool:
        """Whether a citation is about a text that is told in words of ours by now, and goes on with it."""
        native = self._items.get(_key(told))
        return native is not None and not native.passes and native.item in self._output.open.values()

    def _cite(self, told: Told) -> Sent:
        item = self._items[_key(told)].item
        if isinstance(item, Message) and item.begun:
            yield self._telling.frame(item.cite(told.annotation))

    def _change(self) -> None:
        """From here on frames are numbered anew: `telling` goes on where the upstream is."""
        if not self._changed:
            self._changed = True
            try:
                number = msgspec.json.decode(self._last.data, type=_Numbered).sequence_number if self._last else -1
            except BAD_JSON:
                number = -1
            self._telling.sequence = number + 1 if number >= 0 else self._passed

    def _begins(self, event: Event, told: Told) -> None:
        """What the upstream says of its response, as it begins or ends, holds for what we say of it."""
        if isinstance(event, MessageStart):
            self._telling.response.read(event)
        self._telling.response.read_own(told.response)

    def _as_it_is(self, frame: Frame, told: Told | None) -> Sent:
        if not frame.data:
            if is_plain(frame.raw):
                yield frame  # a comment; a lone `id:` or `retry:` is nothing that the OpenAI SDK survives
            return
        changed: dict[str, Any] = {}
        if told is not None:
            native = self._items.get(_key(told))
            if self._renamed and told.response != NULL:
                changed["response"] = self._with_our_model(told.response)
            if self._changed:
                changed["sequence_number"], self._telling.sequence = self._telling.sequence, self._telling.sequence + 1
            if native is not None:
                if self._changed and isinstance(told.output_index, int):
                    changed["output_index"] = native.place
                native.note(told)
                if _is_end(told):
                    self._output.record(native.place, msgspec.Raw(msgspec.json.encode(told.item)), native.item)
        self._passed, self._last = self._passed + 1, frame
        if changed:
            yield Frame(with_fields(frame.data, changed), frame.event)
        else:
            yield frame if is_plain(frame.raw) else Frame(frame.data, frame.event)

    def _with_our_model(self, response: msgspec.Raw) -> msgspec.Raw:
        try:
            return msgspec.Raw(with_model(bytes(response), self._renamed))
        except BAD_JSON:
            return response


def _key(told: Told | None) -> Hashable:
    """What tells the items of a stream apart: ids may be others in every event (Copilot)."""
    if told is None:
        return None
    if isinstance(told.output_index, int):
        return told.output_index
    id = told.item.get("id") if isinstance(told.item, dict) else told.item_id
    return id if isinstance(id, str) else None


def _is_end(told: Told) -> bool:
    """Whether it is the last that is told of an item: all of it once more."""
    return bool(told.type == "response.output_item.done")


def _around(frame: Frame) -> int:
    """How long what stands around the data of a frame is, if that is one line of each kind."""
    return len(b"event: \ndata: \n\n") + len(frame.event) if frame.event else len(b"data: \n\n")
