"""Reasoning that a chat client sends back → signed thinking, if it still is that.

Anthropic takes back only what it signed (hazards H074, H075); all else, and there are many spellings of it (H071), is
noted as lost. The signed blocks win over the same text beside them.
"""

from collections.abc import Callable, Iterator
from typing import Any

from trioproxy.dialects.openai.told import Lost, Wire
from trioproxy.items import Block, RedactedThinking, Thinking

__all__ = ["UNSIGNED", "read_thinking"]

UNSIGNED = "thinking that is not signed cannot go back to whoever thought it"


def read_thinking(wire: Wire, lost: Lost) -> tuple[Block, ...]:
    """The blocks that an assistant's message must begin with."""
    for key, read in _SIGNED.items():
        thoughts = tuple(read(wire.get(key)))
        if blocks := tuple(block for block in thoughts if block):
            if len(blocks) < len(thoughts):
                lost.setdefault(f"messages[].{key}", UNSIGNED)
            return blocks
    for key in (*_SIGNED, "reasoning_content", "reasoning"):
        if wire.get(key):
            lost.setdefault(f"messages[].{key}", UNSIGNED)
    return ()


def _objects(value: Any) -> Iterator[Wire]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def _text(wire: Wire, key: str) -> str:
    value = wire.get(key)
    return value if isinstance(value, str) else ""


def _blocks(value: Any) -> Iterator[Block | None]:
    """LiteLLM's field: Anthropic's own blocks. None stands for one that was not signed."""
    for wire in _objects(value):
        if wire.get("type") == "thinking" and _text(wire, "signature"):
            yield Thinking(thinking=_text(wire, "thinking"), signature=_text(wire, "signature"))
        elif wire.get("type") == "redacted_thinking" and _text(wire, "data"):
            yield RedactedThinking(data=_text(wire, "data"))
        else:
            yield None


def _details(value: Any) -> Iterator[Block | None]:
    """OpenRouter's field. A client may have kept it in the pieces it was streamed in: the signature ends a block, and
    so does another number."""
    thinking, number = "", None
    for wire in _objects(value):
        if wire.get("format") != "anthropic-claude-v1":
            yield None  # another vendor's (H075)
        elif wire.get("type") == "reasoning.text":
            if thinking and wire.get("index") != number:
                yield None  # text that was shown as thinking is not signed
                thinking = ""
            number = wire.get("index")
            thinking += _text(wire, "text")
            if signature := _text(wire, "signature"):
                yield Thinking(thinking=thinking, signature=signature)
                thinking = ""
        elif wire.get("type") == "reasoning.encrypted" and _text(wire, "data"):
            yield RedactedThinking(data=_text(wire, "data"))
        else:
            yield None
    if thinking:
        yield None


_SIGNED: dict[str, Callable[[Any], Iterator[Block | None]]] = {
    "thinking_blocks": _blocks,
    "reasoning_details": _details,
}
