"""An item as an upstream of the same dialect tells it, and what the client has been told of it so far.

Whatever the client has been told, in whose words ever, is in the item's ladder. So a frame of the upstream's can leave
as it came if it is the ladder's next rung, and says what that would say.
"""

from typing import Any

from trioproxy.dialects.openai.offered import Offered, flat_name
from trioproxy.dialects.openai_responses.events import Told
from trioproxy.dialects.openai_responses.ladder import (
    ANNOTATION,
    Call,
    CustomCall,
    Item,
    Message,
    Parted,
    Reasoning,
    Wire,
)
from trioproxy.dialects.openai_responses.told_items import arguments_of
from trioproxy.items import Block, Text, Thinking, ToolUse

__all__ = ["ADDED", "DONE", "OPENING", "Native"]

ADDED = "response.output_item.added"
"""The first that is told of an item."""
DONE = "response.output_item.done"
"""The last that is told of an item: all of it once more."""
OPENING = frozenset(
    {
        "response.content_part.added",
        "response.reasoning_part.added",
        "response.reasoning_summary_part.added",
    }
)
"""The events that announce a part."""
# What of an announced item is not known before its end.
_LATER = frozenset({"status", "content", "summary", "encrypted_content", "arguments", "input"})
_NAMES = frozenset({"name", "namespace", "call_id"})  # … and what a stage may have changed of a call
# Events that tell once more what has been told, in order: how many rungs of the end of a part have passed with it.
_RUNGS = {
    "response.output_text.done": 1,
    "response.refusal.done": 1,
    "response.content_part.done": 2,
    "response.reasoning_text.done": 1,
    "response.reasoning.done": 1,
    "response.reasoning_part.done": 2,
    "response.reasoning_summary_text.done": 1,
    "response.reasoning_summary_part.done": 2,
    "response.function_call_arguments.done": 1,
    "response.custom_tool_call_input.done": 1,
}
# What tells reasoning itself, and no summary of it.
_RAW = ("response.reasoning_text.", "response.reasoning.", "response.reasoning_part.", "response.content_part.")
_SILENT = ("", "{}")  # what may be said before it is known whether anything comes


class Native:
    """One item of the upstream's. `item` is its ladder, None for what nobody here knows."""

    def __init__(self, announced: Any, *, foreign: bool) -> None:
        self.item = item_of(announced) if isinstance(announced, dict) else None
        self.foreign: Wire | None = None
        """The item as it was announced, if it is of a kind that no event here is about."""
        if self.item is None and (foreign or isinstance(announced, dict)):
            self.foreign = announced if isinstance(announced, dict) else {}
        self.adopted = False
        """Whether a block has begun that is this item."""
        self.spoilt = False
        """Whether what it would have said, before a block began, has been left out."""
        self.ahead = ""
        """What the client has been told of its text, and no event has told here."""
        self._place = -1
        self._done = False

    @property
    def place(self) -> int:
        """Where it stands in the stream that the client gets; -1 as long as the client knows nothing of it."""
        return self._place if self.item is None else self.item.place

    @property
    def call_id(self) -> str:
        return self.item.call_id if isinstance(self.item, Call) else ""

    @property
    def over(self) -> bool:
        """Whether the client has been told its end."""
        return self._done if self.item is None else self.item.done

    @property
    def nameless(self) -> bool:
        """Whether nobody has heard what kind of item it is."""
        return self.item is None and not self.foreign and self.place < 0

    @property
    def waits(self) -> bool:
        """Whether its first frames have to wait until a block begins, or it could be announced and never be told.

        Reasoning may be all that there is for minutes, and nobody takes it for a call if nothing comes of it.
        """
        return not (self.adopted or self.foreign is not None or self.place >= 0 or isinstance(self.item, Reasoning))

    def admit(self, place: int) -> None:
        """The client hears of it."""
        self._place = place
        if self.item is not None:
            self.item.place, self.item.begun = place, True

    def suits(self, block: Block) -> bool:
        """Whether it was announced as what `block` is."""
        match self.item, block:
            case (Message(), Text()) | (Reasoning(), Thinking()) | (Call(), ToolUse()):
                return True
        return False

    def announces(self, block: Block) -> bool:
        """Whether what has been announced of it holds for `block`."""
        if isinstance(self.item, Call) and isinstance(block, ToolUse):
            tool = self.item.tool
            return (self.item.call_id, flat_name(tool.namespace, tool.name)) == (block.id, block.name)
        return self.suits(block)

    def adopt(self, item: Item) -> None:
        """A block has begun that is this item, told as `item`."""
        before, self.item, self.adopted = self.item, item, True
        if before is not None and before is not item:
            item.base, item.id = {key: value for key, value in before.base.items() if key not in _NAMES}, before.id
            if before.begun:
                self.admit(before.place)

    def listen(self, told: Told) -> None:
        """Note of a frame that waits whether it says something: then, if no block begins, somebody has left that out.

        Blank texts and empty arguments never are a block before their item ends.
        """
        text = _told(told)
        if text is None and told.type == DONE and isinstance(told.item, dict):
            text = "".join(_texts(told.item.get("content"))) or arguments_of(told.item.get("input"))
            text = text or arguments_of(told.item.get("arguments"))
        self.spoilt = self.spoilt or (text or "").strip() not in _SILENT

    # ── frames that leave as they came ──────────────────────────────────────────────────────────────────────────────

    def fits(self, told: Told) -> bool:
        """Whether the client, after what it has been told so far, can be told this so."""
        item, kind = self.item, told.type
        if self.place < 0 or self.over:
            return False
        if item is None or kind in OPENING:
            return True
        if kind == DONE:
            return isinstance(told.item, dict) and self._is_all(item, told.item)
        if (rung := _RUNGS.get(kind)) is not None:
            rungs = item.rungs()
            return (
                item.passed == rung - 1 < len(rungs)
                and _same(str(rungs[rung - 1]["type"]), kind)
                and _told(told) == item.text
                and _cited(told.part) == (item.cited if isinstance(item, Message) and rung == 2 else [])
            )
        if kind == ANNOTATION:
            return isinstance(item, Message) and item.spoken and not item.passed
        if kind.endswith(".delta"):
            return kind == item.delta and (item.spoken or isinstance(item, Call)) and not item.passed
        return True

    def begin(self, told: Told) -> None:
        """A piece of a text has come: the first tells whether it is of reasoning itself."""
        if isinstance(self.item, Reasoning) and not self.item.spoken and str(told.type).startswith(_RAW):
            self.item.bare(announced=False)

    def turn(self, told: Told) -> None:
        """A piece of a text is about to leave: it may be the first of another part, which nothing has announced."""
        number = told.content_index if isinstance(told.content_index, int) else told.summary_index
        item = self.item
        if isinstance(item, Parted) and item.spoken and isinstance(number, int) and number > len(item.before):
            item.proceed()

    def note(self, told: Told, *, said: bool) -> None:
        """A frame has left. `said`: an event has told what it says."""
        item, kind = self.item, str(told.type)
        if kind == DONE:
            self._done = True
        if item is None:
            return
        id = told.item.get("id") if isinstance(told.item, dict) else told.item_id
        if not item.id and isinstance(id, str):  # nothing has announced it
            item.id = id
        item.done = item.done or self._done
        if isinstance(item, Call) and (kind in _RUNGS or kind.endswith(".delta")):
            item.input = ""  # it has been told what it is made with
        if isinstance(item, Reasoning) and not item.spoken and kind.startswith(_RAW):
            item.bare(announced=kind in OPENING)
        if kind in OPENING and isinstance(item, Parted):
            if item.pieces or item.passed:
                item.proceed()
            item.spoken = True
            if isinstance(item, Message) and isinstance(told.part, dict) and told.part.get("type") == "refusal":
                item.refuse()
        elif kind in _RUNGS:
            item.passed, item.flows = _RUNGS[kind], False
        elif kind == ANNOTATION and isinstance(item, Message):
            item.cited.append(told.annotation)
        elif kind.endswith(".delta"):
            item.spoken = True
            if kind == item.delta and not said and isinstance(told.delta, str):
                item.pieces.append(told.delta)
                self.ahead += told.delta

    def whereabouts(self, told: Told) -> Wire:
        """The fields that say what a frame is about, as the client knows it."""
        at: Wire = {"output_index": self.place}
        if self.item is None:
            return at
        if isinstance(told.item, dict):
            return at | {"item": {**told.item, "id": self.item.id}}
        if told.type == ANNOTATION and isinstance(self.item, Message):
            at["annotation_index"] = len(self.item.cited) - 1
        return at | self.item.at

    def _is_all(self, item: Item, wire: Wire) -> bool:
        if item.fields("completed")["type"] != wire.get("type"):
            return False
        if isinstance(item, Call):
            named = all(wire.get(key) == value for key, value in item.head.items())
            return named and arguments_of(wire.get("input" if "input" in wire else "arguments")) == item.text
        if isinstance(item, Parted):
            listed = wire.get("content" if "content" in item.fields("completed") else "summary")
            ours = [(_texts([part]), _cited(part)) for part in item.parts]
            return ours == [(_texts([part]), _cited(part)) for part in (listed if isinstance(listed, list) else ())]
        return True


def _same(ours: str, theirs: str) -> bool:
    """Whether two events tell the same: those of reasoning itself have more names than one."""
    return ours == theirs or (theirs.startswith(_RAW) and ours.startswith(_RAW))


def _told(told: Told) -> str | None:
    """The text that an event tells: a piece of it, or all; None if it tells none."""
    said = (told.text, told.refusal, told.arguments, told.input, told.delta)
    text = next((each for each in said if each is not None), None)
    if text is None and isinstance(told.part, dict):
        return _texts([told.part])[0]
    return None if text is None else arguments_of(text)


def _texts(parts: Any) -> list[str]:
    listed = parts if isinstance(parts, list) else []
    return [str(each.get("text") or each.get("refusal") or "") if isinstance(each, dict) else "" for each in listed]


def _cited(part: Any) -> Any:
    return (part.get("annotations") or []) if isinstance(part, dict) else []


def item_of(announced: Wire) -> Item | None:
    """The ladder of an item of which no more is known than this."""
    item: Item
    match announced.get("type"):
        case "message":
            item = Message()
        case "reasoning":
            item = Reasoning(shown=True)
        case "function_call" | "custom_tool_call" as kind:
            name, namespace = str(announced.get("name") or ""), announced.get("namespace")
            tool = Offered(name, namespace if isinstance(namespace, str) else None, kind == "custom_tool_call")
            item = (CustomCall if tool.custom else Call)(str(announced.get("call_id") or ""), tool, "{}")
        case _:
            return None
    item.id = str(announced.get("id") or "")
    item.base = {key: value for key, value in announced.items() if key not in _LATER}
    return item
