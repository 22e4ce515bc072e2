"""The items of an upstream's answer, for a client of the same dialect: which of them an event or a frame is about."""

from collections.abc import Hashable, Iterator
from typing import Any

import msgspec

from trioproxy.dialects.openai_responses.events import Told
from trioproxy.dialects.openai_responses.ladder import Item, Message, Wire
from trioproxy.dialects.openai_responses.native import ADDED, DONE, Native
from trioproxy.dialects.openai_responses.output import Output
from trioproxy.items import Block, Event, ToolUse

__all__ = ["Announced"]


class Announced:
    """Of one answer."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._items: dict[Hashable, Native] = {}
        self._owners: dict[Item, Native] = {}
        self._places = set[int]()
        self._latest: Native | None = None
        self._at_last: dict[Any, Wire] = {}  # by id, as the event has them that ends the stream

    def __iter__(self) -> Iterator[Native]:
        return iter(self._items.values())

    def about(self, event: Event, told: Told) -> Native | None:
        """The item that an event is about, and the frame that it was read from; None if they are about none."""
        item = self._output.open.get(getattr(event, "index", -1))
        if item is not None and event.about < 0 and (owner := self._owners.get(item)):
            return owner
        key: Hashable = event.about if event.about >= 0 else _key(told)
        if key is None:
            return None
        native = self._items.get(key)
        again = native is not None and told.type == ADDED and native.over
        late = native is not None and told.type in (ADDED, DONE) and native.nameless
        if native is None or again or late:
            native = self._items[key] = self._new(told, foreign=event.about < 0)
        return native

    def _new(self, told: Told, *, foreign: bool) -> Native:
        wire = told.item if told.type in (ADDED, DONE) else None
        self._output.announce(wire)
        self._output.weigh(len(msgspec.json.encode(wire)))  # it is known until the end
        native = Native(wire, foreign=foreign)
        if native.foreign is None:
            self._latest = native
        return native

    def owns(self, item: Item | None) -> bool:
        """Whether `item` is one of the upstream's, which says itself when it ends."""
        return item in self._owners

    def begin(self, native: Native, item: Item) -> None:
        """A block has begun that is this item, told as `item`."""
        native.adopt(item)
        self._output.making.taken(native.call_id)
        self._owners[item] = native

    def goes_on(self, about: int, block: Block) -> Item | None:
        """The message that has begun and of which `block` is another part."""
        native = self._items.get(about) if about >= 0 else None
        going = native is not None and native.adopted and not native.over and native.suits(block)
        return native.item if native is not None and going and isinstance(native.item, Message) else None

    def meant(self, about: int, block: Block) -> Native | None:
        """The item that a block of a stage's may be, as it was announced or changed: the latest, if nothing tells."""
        native = self._items.get(about) if about >= 0 else self._latest
        if native is None or not native.suits(block) or native.adopted or native.over:
            return None
        if isinstance(block, ToolUse) and native.call_id != block.id:
            return None
        return native if native.place < 0 or native.announces(block) else None

    def admit(self, native: Native, place: Any) -> None:
        """The client hears of it: from now on it has a place, which is `place` if that can be."""
        if not isinstance(place, int) or place < 0 or place in self._places:
            place = self._output.next
        self._places.add(place)
        self._output.next = max(self._output.next, place + 1)
        native.admit(place)

    def end(self, output: list[Any]) -> None:
        """The stream ends, and the upstream says once more which items there were."""
        self._at_last = {_id(item): item for item in output if isinstance(item, dict)}

    def last_of(self, wire: Wire) -> Wire:
        """What the upstream has said last of an item that it announced as `wire`."""
        return self._at_last.get(_id(wire), wire)


def _id(item: Wire) -> str | None:
    id = item.get("id")
    return id if isinstance(id, str) else None


def _key(told: Told) -> Hashable:
    """What tells those items apart that no event is about."""
    if isinstance(told.output_index, int):
        return "place", told.output_index
    return _id(told.item) if isinstance(told.item, dict) else _id({"id": told.item_id})
