"""Content blocks ⇄ Anthropic's wire objects. A block that does not read as its type becomes an `OtherBlock`, whole."""

from typing import Any

import msgspec

from trioproxy.dialects.extra import difference, merge
from trioproxy.items import Block, OtherBlock, RedactedThinking, Text, Thinking, ToolUse

__all__ = ["read_block", "write_block"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the provider's

_TYPES: dict[str, type[Block]] = {
    "text": Text,
    "thinking": Thinking,
    "redacted_thinking": RedactedThinking,
    "tool_use": ToolUse,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


def read_block(wire: Wire) -> Block:
    """A block of `wire`, its unknown fields in `extra`."""
    kind = wire.get("type")
    cls = _TYPES.get(kind) if isinstance(kind, str) else None
    fields = {key: wire[key] for key in cls.__struct_fields__ if key in wire and key != "extra"} if cls else {}
    if cls is ToolUse and "input" in fields:
        fields["input"] = msgspec.json.encode(fields["input"]).decode()
    try:
        block = msgspec.convert(fields, cls) if cls else None
    except msgspec.ValidationError:
        block = None
    if block is None:
        return OtherBlock(kind=kind if isinstance(kind, str) else "", extra=wire)
    extra = difference(wire, write_block(block))
    return msgspec.structs.replace(block, extra=extra) if extra else block


def write_block(block: Block) -> Wire:
    """The wire object of `block`."""
    if isinstance(block, OtherBlock):
        return block.extra
    known: Wire = {"type": _NAMES[type(block)]}
    for key in block.__struct_fields__:
        if key != "extra":
            known[key] = getattr(block, key)
    if isinstance(block, ToolUse):
        known["input"] = msgspec.Raw(block.input.encode())
    return merge(known, block.extra)
