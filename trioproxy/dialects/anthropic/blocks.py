"""Content blocks ⇄ Anthropic's wire objects. A block that does not read as its type becomes an `OtherBlock`, whole."""

from collections.abc import Callable
from typing import Any

import msgspec

from trioproxy.dialects.extra import difference, merge
from trioproxy.items import Block, Image, OtherBlock, RedactedThinking, Text, Thinking, ToolResult, ToolUse

__all__ = ["read_block", "read_content", "write_block", "write_content"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the provider's

_TYPES: dict[str, type[Block]] = {
    "text": Text,
    "thinking": Thinking,
    "redacted_thinking": RedactedThinking,
    "tool_use": ToolUse,
    "tool_result": ToolResult,
    "image": Image,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}
_SOURCES: dict[str, Callable[[Wire], Wire]] = {
    "base64": lambda source: {"media_type": source["media_type"], "data": source["data"]},
    "url": lambda source: {"url": source["url"]},
}


def read_block(wire: Wire) -> Block:
    """A block of `wire`, its unknown fields in `extra`."""
    kind = wire.get("type")
    cls = _TYPES.get(kind) if isinstance(kind, str) else None
    fields = {key: wire[key] for key in cls.__struct_fields__ if key in wire and key != "extra"} if cls else {}
    try:
        if cls is ToolUse and "input" in fields:
            fields["input"] = msgspec.json.encode(fields["input"]).decode()
        elif cls is Image:
            fields = _SOURCES[wire["source"]["type"]](wire["source"])
        content = fields.pop("content", None) if cls is ToolResult else None
        block = msgspec.convert(fields, cls) if cls else None
        if isinstance(block, ToolResult) and content is not None:
            block = msgspec.structs.replace(block, content=read_content(content))
    except (msgspec.ValidationError, ValueError, KeyError, TypeError, AttributeError):
        block = None
    if block is None:
        return OtherBlock(kind=kind if isinstance(kind, str) else "", extra=wire)
    extra = difference(wire, write_block(block))
    return msgspec.structs.replace(block, extra=extra) if extra else block


def read_content(wire: Any) -> str | tuple[Block, ...]:
    """Text, or a list of blocks. Raises `TypeError` and the like for anything else."""
    return wire if isinstance(wire, str) else tuple(_read_inner(dict(block.items())) for block in list(wire))


def _read_inner(wire: Wire) -> Block:
    """A block of a result. One result inside another is nothing that anybody takes, however deep it goes on."""
    return OtherBlock(kind="tool_result", extra=wire) if wire.get("type") == "tool_result" else read_block(wire)


def write_content(content: str | tuple[Block, ...]) -> str | list[Wire]:
    return content if isinstance(content, str) else [write_block(block) for block in content]


def write_block(block: Block) -> Wire:
    """The wire object of `block`."""
    if isinstance(block, OtherBlock):
        return block.extra
    if isinstance(block, Image):
        inline = {"type": "base64", "media_type": block.media_type, "data": block.data}
        source = {"type": "url", "url": block.url} if block.url else inline
        return merge({"type": "image", "source": source}, block.extra)
    known: Wire = {"type": _NAMES[type(block)]}
    for key in block.__struct_fields__:
        if key != "extra":
            known[key] = getattr(block, key)
    if isinstance(block, ToolResult):
        known = {key: value for key, value in known.items() if value is not None}
        if block.content is not None:
            known["content"] = write_content(block.content)
    if isinstance(block, ToolUse):
        known["input"] = msgspec.Raw(block.input.encode())
    return merge(known, block.extra)
