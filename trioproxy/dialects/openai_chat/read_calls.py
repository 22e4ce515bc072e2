"""Tool calls of a chat, and which of them a tool's message answers."""

from typing import Any

from trioproxy.dialects.openai.inputs import packed
from trioproxy.dialects.openai.read_calls import OpenCalls
from trioproxy.dialects.openai.read_parts import text_of
from trioproxy.dialects.openai.told import Lost, Wire, named, note_fields, refusal
from trioproxy.items import Block, ToolUse

__all__ = ["read_calls"]

_CALL = "messages[].tool_calls[]"


def read_calls(wire: Wire, where: str, calls: OpenCalls, lost: Lost) -> list[Block]:
    """The calls of an assistant's message."""
    made = wire.get("tool_calls")
    if made is None:
        made = []
    if not isinstance(made, list):
        raise refusal(f"{where}.tool_calls: expected an array, got {named(made)}")
    blocks: list[Block] = [_call(call, f"{where}.tool_calls[{index}]", calls, lost) for index, call in enumerate(made)]
    if isinstance(legacy := wire.get("function_call"), dict):
        blocks.append(_call({"function": legacy}, f"{where}.function_call", calls, lost))
    return blocks


def _call(call: Any, where: str, calls: OpenCalls, lost: Lost) -> ToolUse:
    if not isinstance(call, dict):
        raise refusal(f"{where}: expected an object, got {named(call)}")
    kind = "custom" if isinstance(call.get("custom"), dict) else "function"
    said = call.get(kind)
    if not isinstance(said, dict):
        raise refusal(f"{where}.{kind}: expected an object, got {named(said)}")
    name = text_of(said, "name", f"{where}.{kind}")
    if kind == "custom":
        input = packed(text_of(said, "input", f"{where}.custom"))
    else:
        input = calls.arguments(name, said.get("arguments"), f"{_CALL}.function.arguments", lost)
    note_fields(call, {"id", "type", "index", kind}, _CALL, lost)
    note_fields(said, {"name", "input" if kind == "custom" else "arguments"}, f"{_CALL}.{kind}", lost)
    return ToolUse(id=calls.made(call.get("id"), name, input, where), name=name, input=input)
