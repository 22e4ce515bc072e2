"""Items of a request, and what stages made of what they say: each in place of what the client sent for it."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from trioproxy.dialects.openai.inputs import unpacked
from trioproxy.dialects.openai.offered import Offered, offered
from trioproxy.dialects.openai.write_content import is_text, texts, write_parts
from trioproxy.dialects.openai.write_turns import result_parts
from trioproxy.dialects.openai_responses.turns import ASSISTANT, items_in, kind_of
from trioproxy.dialects.openai_responses.write_input import PARTS, write_output
from trioproxy.dialects.patch import patched
from trioproxy.items import Block, OtherBlock, RedactedThinking, Thinking, ToolResult, ToolUse
from trioproxy.ledger import Ledger

__all__ = ["INSTRUCTIONS", "Items", "Part"]

Wire = dict[str, Any]  # an item; `Any` because what is inside came from the client
Blocks = tuple[Block, ...]

INSTRUCTIONS = "instructions"
"""The one key of what stands for the field of that name among the items."""


class Part(NamedTuple):
    """An item, and what it says: nothing, if it is not for the model, or nobody here can read it."""

    item: Wire
    blocks: Blocks


class Items:
    def __init__(self, wire: Wire) -> None:
        self._offered = offered(wire)
        custom = (item.get("call_id") for item in items_in(wire) if kind_of(item) == "custom_tool_call")
        self._custom = {id for id in custom if isinstance(id, str)}

    def changed(self, parts: list[Part], after: Blocks, role: str) -> list[Wire]:
        """The items of `parts` with what is said `after` the change. Whatever says nothing stays."""
        items: list[Wire] = []
        done = said = 0
        for number, place in [*_anchors(parts, after), (len(parts), len(after))]:
            items += self._between(parts[done:number], after[said:place], role)
            if number < len(parts):
                items.append(parts[number].item)
                done, said = number + 1, place + len(parts[number].blocks)
        return items

    def written(self, blocks: Blocks, role: str, like: Wire | None = None) -> list[Wire]:
        """Items that say `blocks`, in the form of the item `like` if there is one."""
        items: list[Wire] = []
        words: list[Wire] = []
        for block in blocks:
            if (item := self._item(block, like or {})) is None:
                words += _words(block, role)
                continue
            items += [*_message(words, role, like), *item]
            words = []
        return items + _message(words, role, like)

    def _between(self, parts: list[Part], after: Blocks, role: str) -> list[Wire]:
        """What is neither in its place nor unchanged: as many items as before are the same ones, changed."""
        gone = [part for part in parts if part.blocks]
        if not after or not gone:
            return [part.item for part in parts if not part.blocks] + self.written(after, role)
        if len(gone) == 1:
            share = [after]
        elif len(gone) == len(after) and all(len(part.blocks) == 1 for part in gone):
            share = [(block,) for block in after]
        else:
            like = gone[0].item if INSTRUCTIONS in gone[0].item else None
            return [part.item for part in parts if not part.blocks] + self.written(after, role, like)
        rest = iter(share)
        made = [self._patched(part, next(rest), role) if part.blocks else [part.item] for part in parts]
        return [item for each in made for item in each]

    def _patched(self, part: Part, after: Blocks, role: str) -> list[Wire]:
        was, now = self.written(part.blocks, role, part.item), self.written(after, role, part.item)
        if len(was) == len(now) == 1 and kind_of(part.item) == kind_of(now[0]):
            return [patched(part.item, was[0], now[0])]
        return now

    # ── items that are no messages ──────────────────────────────────────────────────────────────────────────────────

    def _item(self, block: Block, like: Wire) -> list[Wire] | None:
        """The item that says `block`; None if that is a part of a message."""
        match block:
            case ToolUse():
                return [self._call(block, like)]
            case ToolResult():
                return [self._result(block, like)]
            case Thinking():
                summary = [{"type": "summary_text", "text": block.thinking}]
                # None but the API can make one.
                return [{"type": "reasoning", "summary": summary}] if kind_of(like) == "reasoning" else []
            case RedactedThinking():
                return []
            case OtherBlock(kind=kind) if kind == "item" or kind_of(block.extra) == "hosted":
                return [block.extra]
        return None

    def _call(self, call: ToolUse, like: Wire) -> Wire:
        tool = self._offered.get(call.name, Offered(call.name, None, kind_of(like) == "custom_tool_call"))
        name: Wire = {"call_id": call.id, "name": tool.name}
        if tool.namespace is not None:
            name["namespace"] = tool.namespace
        if not tool.custom:
            return {"type": "function_call"} | name | {"arguments": call.input}
        self._custom.add(call.id)
        text = unpacked(call.input)
        return {"type": "custom_tool_call"} | name | {"input": call.input if text is None else text}

    def _result(self, result: ToolResult, like: Wire) -> Wire:
        custom = kind_of(like) == "custom_tool_call_output" or result.tool_use_id in self._custom
        kind = "custom_tool_call_output" if custom else "function_call_output"
        output = write_output(result_parts(result, PARTS, Ledger()))
        return {"type": kind, "call_id": result.tool_use_id, "output": output}


def _words(block: Block, role: str) -> list[Wire]:
    """A block as parts of a message; what only Responses has is the very part that it was."""
    if isinstance(block, OtherBlock) and block.kind != "document":
        return [block.extra]
    parts = write_parts(block, "", PARTS, Ledger())
    return [{"type": "output_text", "text": part["text"]} if role == ASSISTANT else part for part in parts]


def _message(parts: list[Wire], role: str, like: Wire | None) -> list[Wire]:
    if not parts:
        return []
    if like is not None and INSTRUCTIONS in like:
        return [{INSTRUCTIONS: texts(parts)}]
    content: str | list[Wire] = parts
    if all(map(is_text, parts)) and (like is None or isinstance(like.get("content"), str)):
        content = texts(parts)
    said = like.get("role") if like else None
    role = {"system": "developer"}.get(role, role)
    return [{"type": "message", "role": said if isinstance(said, str) else role, "content": content}]


def _anchors(parts: list[Part], after: Blocks) -> Iterator[tuple[int, int]]:
    """Which items say the same as before: their numbers, and the places of what they say, both ascending."""
    ends = [len(part.blocks) for part in parts]
    head = place = 0
    while head < len(parts) and after[place : place + ends[head]] == parts[head].blocks:
        if ends[head]:
            yield head, place
        place += ends[head]
        head += 1
    tail, last = len(parts), len(after)
    while (
        tail > head and last - ends[tail - 1] >= place and after[last - ends[tail - 1] : last] == parts[tail - 1].blocks
    ):
        tail -= 1
        last -= ends[tail]
    yield from _scattered(parts, after, (head, tail), (place, last))
    for number in range(tail, len(parts)):
        if ends[number]:
            yield number, last
        last += ends[number]


def _scattered(
    parts: list[Part], after: Blocks, numbers: tuple[int, int], places: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """The same for what is between beginnings and ends that are the same: each item where it is found first."""
    found = defaultdict[Any, list[int]](list)
    for place in range(*places):
        found[_key(after[place])].append(place)
    least, most = places
    for number in range(*numbers):
        blocks = parts[number].blocks
        if not blocks:
            continue
        where = found[_key(blocks[0])]
        at = bisect_left(where, least)
        if at < len(where) and (end := where[at] + len(blocks)) <= most and after[where[at] : end] == blocks:
            yield number, where[at]
            least = end


def _key(block: Block) -> Any:
    return type(block).__name__, msgspec.json.encode(block)
