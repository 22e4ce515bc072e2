"""The output items of one answer: which of them an event is about, and what it says beyond what was told.

Items go by their index: GitHub Copilot gives the same item another id in every event (recorded). Others leave the
index out, or always say 0; then their ids tell, or else it is the last item of its kind.
"""

from collections.abc import Iterator
from typing import Any

from trioproxy.dialects.openai_responses.blocks import Blocks
from trioproxy.dialects.openai_responses.events import Delta, Told
from trioproxy.dialects.openai_responses.told_items import Call, Message, Reasoning, arguments_of, word
from trioproxy.items import Event
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange

__all__ = ["AnyItem", "Assembly"]

AnyItem = Message | Reasoning | Call

_WEIGHT = 1024  # bytes that an item takes besides what it says

_CLASSES: dict[Any, type[AnyItem]] = {
    "message": Message,
    "reasoning": Reasoning,
    "function_call": Call,
    "custom_tool_call": Call,
}
_KINDS = frozenset(cls.kind for cls in _CLASSES.values())
# The parts that are of reasoning, and which of its texts they are.
_REASONING: dict[str, str] = {"summary_text": "summary", "reasoning_text": "content"}


class Assembly:
    """Of one answer."""

    def __init__(self, exchange: Exchange, ledger: Ledger) -> None:
        self.blocks = Blocks(exchange, ledger)
        self._ledger = ledger
        self._items: list[AnyItem] = []
        self._by_index: dict[tuple[str, int], AnyItem] = {}
        self._by_id: dict[str, AnyItem] = {}
        self._latest: dict[str, AnyItem] = {}  # by kind
        self.about: AnyItem | None = None
        """The item that was looked at last."""

    @property
    def _calls(self) -> Iterator[Call]:
        return (item for item in self._items if isinstance(item, Call))

    @property
    def called(self) -> bool:
        """Whether the client has been told of a call."""
        return any(call.called for call in self._calls)

    @property
    def nameless(self) -> bool:
        """Whether a call with arguments never got a name."""
        return any(call.nameless for call in self._calls)

    @property
    def fault(self) -> str:
        """Why the calls cannot be made as they are; empty if they can. Arguments are an object, or there are none."""
        for call in self._calls:
            if call.arguments != "an object":
                got = f"{call.arguments}, not an object" if call.arguments else "cut, or no JSON"
                return f"the upstream called {call.name[:64]!r} with arguments that are {got}"
        return ""

    # ── what events tell ────────────────────────────────────────────────────────────────────────────────────────────

    def usual(self, delta: Delta, limit: int) -> Event | None:
        """The event of a delta that goes on with an open block; None for any other."""
        live = self.blocks.live.get((delta.type, delta.output_index))
        if live is None or not delta.delta or live.part != (delta.content_index or delta.summary_index):
            return None
        if (delta.item_id != live.item.id and delta.item_id in self._by_id) or self.blocks.held > limit:
            return None
        self.blocks.say(live.said, delta.delta)
        return live.event(live.block, delta.delta)

    def becomes_blocks(self, wire: Any) -> bool:
        """Whether an item does. What is none of the model's own words is left out, and noted (hazard H099)."""
        return self._class_of(wire) is not None

    def added(self, told: Told) -> Iterator[Event]:
        """Take note of an item that begins. It has no events yet."""
        cls = self._class_of(told.item)
        if cls is not None:
            index, id = _index(told), _id(told.item)
            item = self._find(cls, index, id)
            again = item is not None and not item.over and id and item.id in (id, "") and index in (item.index, None)
            if item is None or not again:
                item = self._new(cls, index, id)
            elif not item.id:  # a piece of it came first (hazard H014)
                item.id = id
                self._by_id[id] = item
            if isinstance(item, Call):
                item.added(told.item)
                if item.id_of_call:
                    self._by_id.setdefault(item.id_of_call, item)
        yield from ()

    def done(self, told: Told) -> Iterator[Event]:
        """The finished item."""
        cls = self._class_of(told.item)
        if cls is not None:
            index, id, call = _index(told), _id(told.item), _id(told.item, "call_id")
            item = self._find(cls, index, id, call)
            if item is None or (item.over and (id != item.id or (isinstance(item, Call) and call != item.id_of_call))):
                item = self._new(cls, index, id)
            if not item.over:
                yield from item.finish(told.item, cut=False)

    def mention(self, told: Told, cls: type[AnyItem]) -> None:
        """Look which item a part is of that says nothing yet."""
        wire = told.part if isinstance(told.part, dict) else {}
        cls = Reasoning if str(wire.get("type")) in _REASONING else cls
        self._find(cls, _index(told), told.item_id if isinstance(told.item_id, str) else "")

    def piece(self, told: Told, cls: type[AnyItem], source: str) -> Iterator[Event]:
        item = self._about(told, cls)
        if told.logprobs and isinstance(item, Message):
            item.probable()
        if isinstance(told.delta, str):
            yield from item.piece(source, _part(told), told.delta)

    def whole(self, told: Told, cls: type[AnyItem], source: str, value: Any) -> Iterator[Event]:
        text = arguments_of(value) if cls is Call else value
        if isinstance(text, str):
            yield from self._about(told, cls).whole(source, _part(told), text)

    def part(self, told: Told) -> Iterator[Event]:
        """All of a part: of a message, or of reasoning."""
        wire = told.part if isinstance(told.part, dict) else {}
        if (source := _REASONING.get(str(wire.get("type")))) is not None:
            yield from self.whole(told, Reasoning, source, wire.get("text"))
            return
        item = self._about(told, Message)
        if isinstance(item, Message):
            yield from item.part(_part(told), wire)

    def cite(self, told: Told) -> Iterator[Event]:
        item = self._about(told, Message)
        if isinstance(item, Message):
            yield from item.cite(_part(told), told.annotation)

    def end(self, output: Any, *, cut: bool) -> Iterator[Event]:
        """All items once more, of which the stream may have told none (H019); empty where it has told them all.

        What had not ended has now. `cut`: the answer was broken off, and so was an item that does not say otherwise.
        """
        output = output if isinstance(output, list) else []
        entries = [(index, wire, cls) for index, wire in enumerate(output) if (cls := self._class_of(wire))]
        known, told = dict[int, AnyItem](), set[AnyItem]()
        for index, wire, cls in entries:
            item = self._find(cls, index, _id(wire), _id(wire, "call_id"))
            if item is not None and item not in told:
                known[index] = item
                told.add(item)
        # Ids and indices may be others here: then as many as were told are the same ones, whatever they go by.
        spare = {
            kind: iter([each for each in self._items if each.kind == kind and each not in told]) for kind in _KINDS
        }
        for index, wire, cls in entries:
            item = known.get(index) or next(spare[cls.kind], None) or self._new(cls, index, _id(wire))
            if not item.over:
                yield from item.finish(wire, cut=cut)
        for item in self._items:
            if not item.over:
                yield from item.finish({}, cut=cut)
            if cut:
                yield from self.blocks.stop(item)

    # ── which item it is ────────────────────────────────────────────────────────────────────────────────────────────

    def _class_of(self, wire: Any) -> type[AnyItem] | None:
        kind = wire.get("type") if isinstance(wire, dict) else None
        cls = _CLASSES.get(kind) if isinstance(kind, str) else None
        if cls is Message and wire.get("role") not in ("assistant", None):
            cls = None
        if cls is None:
            self._ledger.note(f"output[type={word(kind)}]", "a tool of the upstream's own, or an item nobody knows")
        return cls

    def _about(self, told: Told, cls: type[AnyItem]) -> AnyItem:
        index, id = _index(told), told.item_id if isinstance(told.item_id, str) else ""
        item = self._find(cls, index, id)
        if item is None or (item.over and id and id != item.id):
            item = self._new(cls, index, id)
        return item

    def _find(self, cls: type[AnyItem], index: int | None, *ids: str) -> AnyItem | None:
        """The item of this index, unless an id names another; or that of an id; or the last one."""
        placed = self._by_index.get((cls.kind, index)) if index is not None else None
        named = next((self._by_id[id] for id in ids if id in self._by_id), None)
        if named is not None and named.kind != cls.kind:
            # vLLM has told reasoning as the text of an item that it had announced as reasoning.
            vllm = cls is Message and isinstance(named, Reasoning) and not (named.over or placed)
            named = named if vllm else None
        if placed is not None and (named is None or placed.id in ids):
            self.about = placed
        else:
            self.about = self._latest.get(cls.kind) if named is None and index is None else named
        return self.about

    def _new(self, cls: type[AnyItem], index: int | None, id: str) -> AnyItem:
        item = cls(self.blocks, len(self._items), id, index)
        self.blocks.held += _WEIGHT + len(id)
        self._items.append(item)
        self.about = item
        self._latest[cls.kind] = item
        if index is not None:
            self._by_index[cls.kind, index] = item
        if id:
            self._by_id[id] = item
        return item


def _index(told: Told) -> int | None:
    return told.output_index if isinstance(told.output_index, int) else None


def _part(told: Told) -> int:
    return next((number for number in (told.content_index, told.summary_index) if isinstance(number, int)), 0)


def _id(wire: Any, key: str = "id") -> str:
    id = wire.get(key)
    return id if isinstance(id, str) else ""
