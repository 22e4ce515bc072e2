"""Messages of a chat → system and turns. Nothing is merged or reordered: that depends on who gets them."""

from collections.abc import Callable, Mapping
from typing import Any

from trioproxy.dialects.openai.offered import Offered
from trioproxy.dialects.openai.read_calls import OpenCalls
from trioproxy.dialects.openai.read_parts import marked, read_content, read_text
from trioproxy.dialects.openai.told import Lost, Wire, named, note_fields, refusal, shown
from trioproxy.dialects.openai_chat.read_calls import read_calls
from trioproxy.dialects.openai_chat.read_parts import PARTS
from trioproxy.dialects.openai_chat.read_thinking import UNSIGNED, read_thinking
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Message, OtherBlock, Text, ToolResult, replace

__all__ = ["read_messages"]

System = str | tuple[Block, ...] | None

_SYSTEM = ("system", "developer")


def read_messages(
    messages: list[Any], offered: Mapping[str, Offered], lost: Lost
) -> tuple[System, tuple[Message, ...]]:
    """What is said to the model in front, and the conversation. Later system messages stay where they are (H051)."""
    calls = OpenCalls(offered)
    turns: list[Message] = []
    front: list[Message] = []
    for index, wire in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(wire, dict):
            raise refusal(f"{where}: expected an object, got {named(wire)}")
        try:
            message = _reader(wire, where)(wire, where, calls, lost)
            message = replace(message, content=marked(message.content, wire))
        except ProxyError as exc:  # for an upstream of this dialect it may be fine
            lost.refuse(exc, "messages[]")
            role = wire.get("role")
            role = "system" if role in _SYSTEM else role if isinstance(role, str) else ""
            message = Message(role, (OtherBlock(kind="message", extra=wire),))
        note_fields(wire, _READ | {"name"} if wire.get("role") == "function" else _READ, "messages[]", lost)
        (front if message.role == "system" and not turns else turns).append(message)
    return _system(front), tuple(turns)


def _reader(wire: Wire, where: str) -> "Callable[[Wire, str, OpenCalls, Lost], Message]":
    role = wire.get("role")
    reader = _ROLES.get(role) if isinstance(role, str) else None
    if reader is None:
        raise refusal(f"{where}.role: expected one of {', '.join(_ROLES)}, got {shown(role)}")
    return reader


def _system(messages: list[Message]) -> System:
    if not messages:
        return None
    if len(messages) == 1 and isinstance(messages[0].content, str):
        return messages[0].content
    return tuple(block for message in messages for block in _blocks(message.content))


def _blocks(content: str | tuple[Block, ...]) -> tuple[Block, ...]:
    return (Text(text=content),) if isinstance(content, str) else content


def _read_system(wire: Wire, where: str, calls: OpenCalls, lost: Lost) -> Message:
    return Message("system", read_text(wire.get("content"), f"{where}.content", PARTS, lost))


def _read_user(wire: Wire, where: str, calls: OpenCalls, lost: Lost) -> Message:
    return Message("user", read_content(wire.get("content"), f"{where}.content", PARTS, lost))


def _read_assistant(wire: Wire, where: str, calls: OpenCalls, lost: Lost) -> Message:
    content = wire.get("content")
    if isinstance(content, list):
        # Mistral's reasoning is a part of the content, and never signed.
        said_aloud = [part for part in content if not (isinstance(part, dict) and part.get("type") == "thinking")]
        if len(said_aloud) < len(content):
            lost.setdefault("messages[].content[].thinking", UNSIGNED)
            content = said_aloud
    said = read_content(content, f"{where}.content", PARTS, lost)
    refused = wire.get("refusal")
    before = read_thinking(wire, lost)
    after = [Text(text=refused)] if isinstance(refused, str) and refused else []
    uses = read_calls(wire, where, calls, lost)
    if isinstance(said, str) and not (before or after or uses):
        return Message("assistant", said)
    middle = _blocks(said) if said else ()
    return Message("assistant", (*before, *middle, *after, *uses))


def _read_result(wire: Wire, where: str, calls: OpenCalls, lost: Lost) -> Message:
    content = read_content(wire.get("content"), f"{where}.content", PARTS, lost)
    result = ToolResult(tool_use_id=calls.answered(wire.get("tool_call_id"), wire.get("name"), where), content=content)
    return Message("user", (result,))


_ROLES: dict[str, Callable[[Wire, str, OpenCalls, Lost], Message]] = {
    "system": _read_system,
    "developer": _read_system,
    "user": _read_user,
    "assistant": _read_assistant,
    "tool": _read_result,
    "function": _read_result,  # as it was before tools
}

# Of a message, what is read above; and what repeats something or says nothing to a model.
_READ = {"role", "content", "refusal", "tool_calls", "function_call", "tool_call_id", "cache_control", "id"}
_READ |= {"reasoning", "reasoning_content", "reasoning_details", "thinking_blocks"}
