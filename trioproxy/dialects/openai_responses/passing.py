"""An upstream's own frames on their way to a client of the same dialect.

As long as every event comes that its reader has made, in order, nobody has touched anything, and every frame leaves as
it came, however odd: upstreams contradict themselves, and clients know theirs.

From the first event on that a stage has added, changed or left out, a frame leaves only if it says what is to be said:
a text is told many times, in deltas, whole, in its part, in its item, in the response. What is missing then is told in
words of ours. Frames are numbered anew, and say what the client knows their item by.
"""

from collections.abc import Generator, Iterator

import msgspec

from trioproxy.dialects.openai_responses.announced import Announced
from trioproxy.dialects.openai_responses.events import Told, read_answer, read_event
from trioproxy.dialects.openai_responses.ladder import ANNOTATION, Call, Item, Message, Parted
from trioproxy.dialects.openai_responses.leaving import Leaving
from trioproxy.dialects.openai_responses.native import ADDED, DONE, OPENING, Native
from trioproxy.dialects.openai_responses.output import TEXTS
from trioproxy.dialects.openai_responses.telling import Telling
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    ThinkingDelta,
    Unknown,
    replace,
)

__all__ = ["Passing"]

Sent = Iterator[Frame | Error]

_HELD = 64  # frames that are held before they leave come what may
_HELD_BYTES = 4 * 1024 * 1024  # … and bytes of them
# Events that say that a text is over, which wait for the next: a stage may add to it just before its block ends.
_OVER = frozenset({"response.output_text.done", "response.refusal.done"})
_WAITING = frozenset({"response.in_progress", "response.queued"})
_TAKEN_BACK = "a stage has changed or left out a call of a tool that the client had been told of"


class Passing:
    """Of one answer. `telling` tells what has to be told in words of ours, and has what is known of the answer."""

    def __init__(self, telling: Telling) -> None:
        self._telling, self._output, self._leaving = telling, telling.output, Leaving(telling)
        self._items = Announced(telling.output)
        self._number = -1  # of the last event that came
        # The first frames of items, until a block of them begins, and the last of texts, until one ends.
        self._held: list[tuple[Native, Frame, Told]] = []
        self._source: Frame | None = None  # the frame that these events were read from
        self._gathered: list[Event] = []

    @property
    def over(self) -> bool:
        return self._telling.done

    @property
    def _touched(self) -> bool:
        return self._leaving.touched

    def usual(self, event: Event, frame: Frame) -> bool:
        """Whether `frame` says no more than one more piece of a text, and leaves as it is. Most of a stream does."""
        field = TEXTS.get(type(event))
        if field is None or event.parts != 1 or event.number != self._number + 1 or self._source or self._held:
            return False
        if not self._leaving.plain(frame) or self._output.plain(event, getattr(event, field)) is None:
            return False
        self._number = event.number
        self._leaving.left(frame)
        return True

    def feed(self, event: Event, frame: Frame) -> Sent:
        """An event that still knows its frame, which leaves once all of its events have come."""
        late = event.number <= self._number
        if not self._follows(event):
            yield from self._give_up()
            self._leaving.touch()
        if late:  # it was held back, or is here again
            yield from self.own(event)
            return
        self._number = event.number
        if frame is not self._source:
            yield from self._give_up()
        self._source = frame
        self._gathered.append(event)
        if len(self._gathered) == event.parts:
            events, self._gathered, self._source = self._gathered, [], None
            yield from self._pass(events, frame)

    def own(self, event: Event) -> Sent:
        """An event that a stage has made or changed, or whose frame cannot leave."""
        if not isinstance(event, Ping | Unknown):
            yield from self._give_up()
            self._leaving.touch()
            if isinstance(event, BlockStart):
                yield from self._recognize(event)
            elif isinstance(event, MessageStart | MessageStop) and event.frame is not None:
                self._telling.response.read_own(msgspec.Raw(event.frame.data))  # a whole body is a response
        yield from self._tell(event)

    def close(self) -> Sent:
        yield from self._give_up()

    def _follows(self, event: Event) -> bool:
        """Whether no event is missing before this one. Whole messages may be, and nobody has touched the next."""
        if event.number == self._number + 1:
            return True
        if self._telling.begun or event.number <= self._number:
            return False
        told = isinstance(event, Unknown) and event.name.startswith("response.")
        return isinstance(event, MessageStart | Unknown) and not told

    def _give_up(self) -> Sent:
        """Of what was read from a frame some has not come: a stage has changed it, or left it out."""
        events, frame, self._gathered, self._source = self._gathered, self._source, [], None
        if frame is None:
            return
        self._leaving.touch()
        told = read_event(frame.data) or Told()
        native = self._items.about(events[0], told)
        for event in events:
            item = self._open(event)
            if isinstance(event, BlockStop) and native and self._items.owns(item) and item is not native.item:
                self._output.follow(event)  # another item's, whose end may still be told
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
                yield from self._leaving.frame(frame, None)
        elif self._output.full:
            self._leaving.touch()
            yield self._telling.failing(self._output.too_large())
        elif told is None or any(isinstance(event, Error) for event in events):
            yield from self._release()
            self._telling.failed = told is not None or any(isinstance(event, Error) for event in events)
            yield from self._leaving.frame(frame, told)
        elif isinstance(events[-1], MessageStop):
            yield from self._end(events, frame, told)
        elif (native := self._items.about(events[0], told)) is not None:
            yield from self._about(native, events, frame, told)
        else:
            yield from self._apart(events[0], frame, told)

    def _apart(self, event: Event, frame: Frame, told: Told) -> Sent:
        """A frame that is about no item: how a stream begins, that it goes on, and what nobody here knows."""
        yield from self._release()
        if isinstance(event, MessageStart):
            if self._touched and self._telling.begun:
                yield from self._tell(event)
                return
            self._telling.begun = True
            self._begins(event, told)
        if self._touched and told.type in _WAITING and (not self._telling.begun or self._telling.proceeding):
            return  # once, behind the beginning
        self._telling.proceeding = self._telling.proceeding or told.type == "response.in_progress"
        yield from self._leaving.frame(frame, told)

    def _end(self, events: list[Event], frame: Frame, told: Told) -> Sent:
        """The event that ends the stream repeats all that was told: it stays only if nobody has touched that."""
        if not self._touched:
            yield from self._release()
            self._telling.begun = self._telling.done = True
            yield from self._leaving.frame(frame, told)
            return
        self._begins(events[-1], told)
        for event in events:
            if isinstance(event, BlockStart):
                yield from self._recognize(event)
            yield from self._tell(event)
        if not self._telling.failed:
            yield from self._telling.end()

    def _about(self, native: Native, events: list[Event], frame: Frame, told: Told) -> Sent:
        """A frame about an item: it leaves, waits or is left out; what it says is noted, or told in words of ours."""
        if self._touched:
            if not self._telling.begun:
                yield from self._telling.start()  # how it begins has been left out
            elif not (self._telling.proceeding or self._output.next):
                yield from self._telling.proceed()
            if native.adopted:
                yield from self._release(native)
        texts = said = False
        for event in events:
            if type(event) in TEXTS:
                texts, said = True, (yield from self._text(event, native, told)) or said
            else:
                yield from self._block(event, native, told)
        if native.waits:
            yield from self._hold(native, frame, told)
        elif told.type in _OVER and isinstance(events[0], Unknown) and not self._held:
            self._held.append((native, frame, told))
        elif not self._touched:
            yield from self._release()
            yield from self._leave(native, frame, told, said=said)
        elif said or not (texts and str(told.type).endswith(".delta")):
            yield from self._next(native, frame, told, said=said)

    def _text(self, event: Event, native: Native, told: Told) -> Generator[Frame | Error, None, bool]:
        """A piece of a text: whether the frame tells just that, and may leave."""
        native.begin(told)
        field, theirs = TEXTS[type(event)], self._open(event) is native.item
        text, ahead, native.ahead = getattr(event, field), native.ahead, ""
        known = bool(ahead) and theirs and text.startswith(ahead)
        text = text.removeprefix(ahead) if known else text
        if self._touched and not (theirs and str(told.type).endswith(".delta") and native.fits(told)):
            if text or not known:
                yield from self._tell(replace(event, **{field: text}))
            return False
        if isinstance(event, ThinkingDelta) and isinstance(told.delta, str):
            text = told.delta  # without what had to wait for it, or sets it apart
        if not self._touched:
            native.turn(told)
        if text:
            self._output.follow(replace(event, **{field: text}))
        return True

    def _block(self, event: Event, native: Native, told: Told) -> Sent:
        """What else an event says that was read from a frame about `native`."""
        if isinstance(event, MessageStart):
            self._telling.begun = True
            self._begins(event, told)
        elif isinstance(event, BlockStart):
            yield from self._adopt(event, native)
        elif isinstance(event, BlockStop | SignatureDelta) and (not self._touched or self._ends(event, native, told)):
            self._output.follow(event)
        elif self._touched and not isinstance(event, Unknown) and told.type != ANNOTATION:
            yield from self._tell(event)

    def _ends(self, event: Event, native: Native, told: Told) -> bool:
        """Whether the upstream still says itself how the item of a block ends, in this frame or another."""
        item = self._open(event)
        told_here = isinstance(item, Call) and item is native.item
        return self._items.owns(item) and (native.fits(told) if told_here else True)

    # ── items ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, event: Event) -> Item | None:
        return self._output.open.get(getattr(event, "index", -1))

    def _adopt(self, event: BlockStart, native: Native) -> Sent:
        """A block begins that is an item of the upstream's."""
        for wire in self._output.settle(besides=native.item):
            yield self._telling.frame(wire)
        item = native.item
        if item is not None and native.adopted and not native.over and isinstance(item, Message):
            yield from self._start(event, item)  # another part of it
            return
        suits = native.suits(event.block)
        if native.adopted or (self._touched and native.place >= 0 and not suits):
            if self._touched:
                yield from self._tell(event)
            return
        item = item if suits else self._output.item_of(event.block)
        if item is None:
            return
        self._items.begin(native, item)
        yield from self._release(native)
        yield from self._start(event, item)

    def _start(self, event: BlockStart, item: Item) -> Sent:
        if self._touched:
            self._output.known[event.index] = item
            yield from self._tell(event)
        else:
            self._output.open[event.index] = item

    def _recognize(self, event: BlockStart) -> Sent:
        """A block of a stage's begins: it may be one that the upstream has announced, as it is, or changed."""
        if (item := self._items.goes_on(event.about, event.block)) is not None:
            self._output.known[event.index] = item
        native = self._items.meant(event.about, event.block)
        if native is None:
            return
        holds = native.announces(event.block) and not native.spoilt
        item = native.item if holds else self._output.item_of(event.block)
        if item is None:
            return
        self._items.begin(native, item)
        self._held = [each for each in self._held if each[0] is not native or (holds and _opens(each[2]))]
        yield from self._release(native)
        self._output.known[event.index] = item

    def _hold(self, native: Native, frame: Frame, told: Told) -> Sent:
        native.listen(told)
        self._held.append((native, frame, told))
        if told.type == DONE:  # nothing will ever come of it
            if self._touched and native.spoilt:
                self._held = [each for each in self._held if each[0] is not native]
            yield from self._release(native)
        elif len(self._held) > _HELD or sum(len(each.data) for _, each, _ in self._held) > _HELD_BYTES:
            for each in dict.fromkeys(each for each, _, _ in self._held):
                yield from self._release(each)

    def _release(self, native: Native | None = None) -> Sent:
        """What is held of an item leaves, as it has begun; of all of them, as long as nobody has touched anything."""
        held, self._held = self._held, []
        for each, frame, told in held:
            if not self._touched:
                yield from self._leave(each, frame, told, said=False)
            elif each is native:
                yield from self._next(each, frame, told, said=False)
            else:
                self._held.append((each, frame, told))

    def _finish(self, native: Native) -> Sent:
        """The end of an item, where the upstream's own cannot be told."""
        item = native.item
        if native.foreign:
            wire = self._items.last_of(native.foreign)
            self._output.record(native.place, msgspec.Raw(msgspec.json.encode(wire)), None)
            yield self._telling.frame({"type": DONE, "output_index": native.place, "item": wire})
        elif isinstance(item, Call) and not native.adopted:
            yield self._telling.failing(Error("internal", _TAKEN_BACK, 500))
        elif isinstance(item, Parted):
            for wire in self._output.finish(item, "incomplete" if self._output.cut else "completed"):
                yield self._telling.frame(wire)

    # ── what leaves ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _next(self, native: Native, frame: Frame, told: Told, *, said: bool) -> Sent:
        """A frame of an answer that somebody has touched: it leaves if it is what comes next."""
        item, fits = native.item, native.fits(told)
        if native.place < 0 and told.type == ADDED:
            yield from self._leave(native, frame, told, said=said)
        elif fits and told.type in OPENING and item is not None and item.spoken and not (item.pieces or item.passed):
            return  # that part has been announced
        elif fits:
            for wire in item.rest() if item is not None and (told.type in OPENING or told.type == DONE) else ():
                yield self._telling.frame(wire)
            yield from self._leave(native, frame, told, said=said)
        elif told.type == DONE and isinstance(item, Parted) and item.begun and not item.done:
            yield from self._finish(native)

    def _leave(self, native: Native, frame: Frame, told: Told, *, said: bool) -> Sent:
        if native.place < 0:
            self._items.admit(native, None if self._touched else told.output_index)
        native.note(told, said=said)
        at = native.whereabouts(told)
        if told.type == ANNOTATION:
            self._output.weigh(len(frame.data))  # the part repeats it
        if told.type == DONE:
            wire = at.get("item", told.item) if self._touched else told.item
            self._output.record(native.place, msgspec.Raw(msgspec.json.encode(wire)), native.item)
        return self._leaving.frame(frame, told, at)

    def _tell(self, event: Event) -> Sent:
        if isinstance(event, MessageStop):
            for index in list(self._output.open):
                yield from self._telling.feed(BlockStop(index))
            for native in self._items:
                if native.place >= 0 and not (native.over or self._telling.failed):
                    yield from self._finish(native)
        yield from self._telling.feed(event)

    def _begins(self, event: Event, told: Told) -> None:
        """What the upstream says of its response, as it begins or ends, holds for what we say of it."""
        if isinstance(event, MessageStart):
            self._telling.response.read(event)
        elif (answer := read_answer(told.response)) is not None and isinstance(answer.output, list):
            self._items.end(answer.output)
        self._telling.response.read_own(told.response)


def _opens(told: Told) -> bool:
    """Whether a frame says only that something begins."""
    return told.type == ADDED or told.type in OPENING
