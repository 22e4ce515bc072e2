"""The input of a Responses request → system and turns. Nothing is reordered: that depends on who gets them."""

from typing import Any

from trioproxy.dialects.openai.offered import offered
from trioproxy.dialects.openai.read_calls import OpenCalls
from trioproxy.dialects.openai.told import Lost, Wire, named, refusal, typed
from trioproxy.dialects.openai_responses.read_items import Content, read_item
from trioproxy.dialects.openai_responses.turns import Turn, items_in, turned
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Message, OtherBlock, Text

__all__ = ["System", "contents", "read_input"]

System = str | tuple[Block, ...] | None


def read_input(wire: Wire, lost: Lost) -> tuple[System, tuple[Message, ...]]:
    """What is said to the model in front, and the conversation: a message for each of its turns.

    Later system messages stay where they are (H051).
    """
    said = wire.get("input")
    if not isinstance(said, str | list | None):
        raise refusal(f"input: expected a string or an array of items, got {named(said)}")
    if said is None and isinstance(wire.get("messages"), list):
        raise refusal("input: expected a string or an array of items; this looks like a request to chat/completions")
    items, calls = items_in(wire), OpenCalls(offered(wire))
    front, turns = turned(items)
    instructions = typed(wire, "instructions", lambda value: isinstance(value, str), "a string")
    ahead = [instructions] if instructions else []
    ahead += [content for turn in front if (content := _read(turn, items, calls, lost)) or turn.role]
    return _system(ahead), tuple(Message(turn.role, _read(turn, items, calls, lost)) for turn in turns)


def contents(turn: Turn, items: list[Any], calls: OpenCalls, lost: Lost) -> list[Content]:
    """What each item of `turn` says; `calls` are those of the items before."""
    return [_read_item(items[index], f"input[{index}]", calls, lost) for index in turn.items]


def _read(turn: Turn, items: list[Any], calls: OpenCalls, lost: Lost) -> Content:
    said = [content for content in contents(turn, items, calls, lost) if content != ()]
    if len(said) == 1:
        return said[0]
    return tuple(block for content in said for block in _blocks(content))


def _read_item(item: Any, where: str, calls: OpenCalls, lost: Lost) -> Content:
    if not isinstance(item, dict):
        raise refusal(f"{where}: expected an object, got {named(item)}")
    try:
        return read_item(item, where, calls, lost)
    except ProxyError as exc:  # for an upstream of this dialect it may be fine
        lost.refuse(exc, "input[]")
        return (OtherBlock(kind="item", extra=item),)


def _system(said: list[Content]) -> System:
    if not said:
        return None
    if len(said) == 1 and isinstance(said[0], str):
        return said[0]
    return tuple(block for content in said for block in _blocks(content))


def _blocks(content: Content) -> tuple[Block, ...]:
    return (Text(text=content),) if isinstance(content, str) else content
