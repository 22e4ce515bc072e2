"""Items as an upstream of the same dialect tells them itself, and whether that is still what the client is to hear."""

from collections import defaultdict, deque
from typing import Any

from trioproxy.dialects.openai.offered import Offered, flat_name
from trioproxy.dialects.openai_responses.events import Told
from trioproxy.dialects.openai_responses.ladder import (
    ANNOTATION,
    APART,
    Call,
    CustomCall,
    Item,
    Message,
    Reasoning,
    Wire,
)
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.items import Block, Text, Thinking, ToolUse

__all__ = ["Native", "restored"]

# What of an announced item is not known before its end.
_LATER = frozenset({"status", "content", "summary", "encrypted_content", "arguments", "input"})
# Events that tell the client once more what it has been told, in order: how many rungs of the end have passed with it.
_RUNGS = {
    "response.output_text.done": 1,
    "response.refusal.done": 1,
    "response.content_part.done": 2,
    "response.reasoning_summary_text.done": 1,
    "response.reasoning_summary_part.done": 2,
    "response.function_call_arguments.done": 1,
    "response.custom_tool_call_input.done": 1,
}
_NOTHING = ("", "{}")  # arguments that may stand in for what is to come, and are no event before the end of their item


class Native:
    """One item of the upstream's. `item` is what it would be in words of ours, None for what nobody here knows."""

    def __init__(self, announced: Any) -> None:
        self.item = _item(announced) if isinstance(announced, dict) else None
        self.place = -1
        """Where it stands in the stream that the client gets."""
        self.passes = True
        """Whether its frames leave as they came."""
        self.adopted = self.done = False
        """Whether a block has begun that is this item, and whether the item has ended, for the client."""
        self.hinted = False
        """Whether more than its beginning has been told, of which nobody knew whether it was all."""
        self._refuses = False  # whether the part that has begun is a refusal
        self._source = ""  # the kind of events that its text comes in

    @property
    def waits(self) -> bool:
        """Whether its first frames have to wait until a block begins, or it could be announced and never be told.

        Reasoning may be all that there is for minutes, and nobody takes it for a call if nothing comes of it.
        """
        return not isinstance(self.item, Reasoning)

    def suits(self, block: Block) -> bool:
        """Whether it was announced as what `block` is."""
        match self.item, block:
            case (Message(), Text()) | (Reasoning(), Thinking()) | (Call(), ToolUse()):
                return True
        return False

    def lacks(self, block: Block) -> bool:
        """Whether the client has been told that it begins, and `block` is what is to come."""
        return self.place >= 0 and not self.adopted and self.suits(block)

    def fits(self, block: Block) -> bool:
        """Whether `block`, which no frame of its tells of, goes on from what has been announced, and no further."""
        if not self.suits(block) or self.adopted or self.hinted:
            return False
        if isinstance(self.item, Call) and isinstance(block, ToolUse):
            tool = self.item.tool
            return (self.item.call_id, flat_name(tool.namespace, tool.name)) == (block.id, block.name)
        return block in (Text(), Thinking())

    def adopt(self, item: Item | None, kind: str) -> Item | None:
        """The item of a block that begins in an event of this `kind`; `item` where it was announced as nothing such."""
        self._source = kind.rpartition(".")[0]
        known = item or self.item
        if self.adopted and isinstance(known, Message) and isinstance(self.item, Message):  # another part of the same
            before, known = self.item, Message()
            known.before, known.id, known.base = [*before.before, before.part], before.id, before.base
        self.item, self.adopted = known, True
        if known is not None:
            known.place, known.begun = self.place, True
        if isinstance(known, Message):
            known.spoken = True
            if self._refuses:
                known.refuse()
        return known

    def agrees(self, told: Told) -> bool:
        """Whether a frame that tells a text whole says what the client was told: a stage may have left some out."""
        text = next((each for each in (told.text, told.refusal, told.arguments, told.input) if each is not None), None)
        if not self.adopted:
            if text is None and isinstance(told.part, dict):
                text = told.part.get("text")
            if text is None and isinstance(told.item, dict) and told.type == "response.output_item.done":
                text = _text_of(told.item.get("content"))
            return not isinstance(text, str) or text.strip() in _NOTHING
        if self.item is None or told.type != f"{self._source}.done" or not isinstance(text, str):
            return True
        return self.item.text == text

    def note(self, told: Told) -> None:
        """A frame has been passed on."""
        item, kind = self.item, str(told.type)
        self.done = self.done or kind == "response.output_item.done"
        if item is None:
            return
        item.passed = max(item.passed, _RUNGS.get(kind, 0))
        if isinstance(item, Reasoning) and kind == "response.reasoning_summary_part.added":
            item.proceed()
        if isinstance(item, Reasoning) and kind == item.delta and not self.adopted:
            item.pieces.append(str(told.delta))  # blanks, which begin no block
        if isinstance(item, Message) and kind == ANNOTATION:
            item.cited.append(told.annotation)
        if kind == "response.content_part.added" and isinstance(told.part, dict):
            self._refuses = told.part.get("type") == "refusal"
            if isinstance(item, Message) and not self.adopted:
                item.spoken = True


def restored(native: list[Any], ours: list[Wire]) -> list[Any]:
    """Our items, but for those that say the same as one of the upstream's: that, and in its place what only it can say.

    So an item that no stage has touched keeps its id and what else it has, and calls of hosted tools stay where they
    were, as OpenAI wants them back.
    """
    output, saying = list[Any](), [_says(item) for item in ours]
    kept, start = set(saying), 0  # where the upstream's items begin that are behind all those met so far
    theirs = [(each, _says(each)) for each in native if isinstance(each, dict)]
    same, changed = defaultdict[Any, deque[int]](deque), defaultdict[Any, deque[int]](deque)
    for place, (each, says) in enumerate(theirs):
        (same[says] if says in kept else changed[str(each.get("type"))]).append(place)
    for item, says in zip(ours, saying, strict=True):
        found = _from(same[says], start) if says is not None else None
        at = found if found is not None else _from(changed[item["type"]], start)
        if at is not None:
            output += [each for each, said in theirs[start:at] if said is None]
            start = at + 1
        output.append(item if found is None else theirs[found][0])
    return output + [each for each, said in theirs[start:] if said is None]


def _from(places: deque[int], start: int) -> int | None:
    """The first of `places` from `start` on; those before it are never asked for again."""
    while places and places[0] < start:
        places.popleft()
    return places[0] if places else None


def _says(item: Wire) -> tuple[Any, ...] | None:
    """What an item says in the one vocabulary; None if it says nothing there."""
    match item.get("type"):
        case "message":
            text = _text_of(item.get("content"))
            return ("message", text) if text else None
        case "reasoning":
            parts = item.get("summary") or item.get("content")
            parts = [each for each in parts if isinstance(each, dict)] if isinstance(parts, list) else []
            text = APART.join(str(each.get("text")) for each in parts)
            secret = item.get("encrypted_content")
            # Whether there is one: the same is encrypted to another text each time it is told.
            return ("reasoning", text, bool(secret)) if text or secret else None
        case "function_call" | "custom_tool_call":
            namespace = item.get("namespace")
            name = flat_name(namespace if isinstance(namespace, str) else None, str(item.get("name")))
            return "call", str(item.get("call_id")), name, _input_of(item)
    return None


def _input_of(item: Wire) -> str:
    """What a call is made with: the text of a tool that takes one stands in arguments where nobody offered the tool."""
    text = str(item.get("arguments") or item.get("input") or "")
    try:
        value, _ = decode(text.encode(errors="surrogatepass"))
    except BAD_JSON:
        return text
    told = value.get("input") if isinstance(value, dict) and len(value) == 1 else None
    return told if isinstance(told, str) and "arguments" in item else text


def _item(announced: Wire) -> Item | None:
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


def _text_of(content: Any) -> str:
    parts = [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    return "".join(str(each.get("text") or each.get("refusal") or "") for each in parts)
