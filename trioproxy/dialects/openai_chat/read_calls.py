"""Tool calls of a chat, and which of them a tool's message answers."""

from typing import Any

from trioproxy.dialects.openai.read_calls import OpenCalls, encoded, read_arguments
from trioproxy.dialects.openai.told import Lost, Wire, named, note_fields, refusal
from trioproxy.items import Block, Text, ToolUse

__all__ = ["read_calls"]

_CALL = "messages[].tool_calls[]"


def read_calls(wire: Wire, where: str, calls: OpenCalls, lost: Lost) -> list[Block]:
    """The calls of an assistant's message."""
    made = wire.get("tool_calls")
    if made is None:
        made = []
    if not isinstance(made, list):
        raise refusal(f"{where}.tool_calls: expected an array, got {named(made)}")
    blocks = [_call(call, f"{where}.tool_calls[{index}]", calls, lost) for index, call in enumerate(made)]
    if isinstance(legacy := wire.get("function_call"), dict):
        blocks.append(_call({"function": legacy}, f"{where}.function_call", calls, lost))
    return blocks


def _call(call: Any, where: str, calls: OpenCalls, lost: Lost) -> Block:
    if not isinstance(call, dict):
        raise refusal(f"{where}: expected an object, got {named(call)}")
    if isinstance(custom := call.get("custom"), dict):
        lost.setdefault("messages[].tool_calls[type=custom]", "approximated as text: Anthropic has no custom tools")
        return Text(text=f"[called {_text(custom, 'name')} with]\n{_text(custom, 'input')}")
    function = call.get("function")
    if not isinstance(function, dict):
        raise refusal(f"{where}.function: expected an object, got {named(function)}")
    name = function.get("name")
    if not isinstance(name, str):
        raise refusal(f"{where}.function.name: expected a string, got {named(name)}")
    input = read_arguments(function.get("arguments"), f"{_CALL}.function.arguments", lost)
    note_fields(call, {"id", "type", "function", "index"}, _CALL, lost)
    note_fields(function, {"name", "arguments"}, f"{_CALL}.function", lost)
    return ToolUse(id=calls.made(call.get("id"), name, input, where), name=name, input=input)


def _text(wire: Wire, key: str) -> str:
    value = wire.get(key)
    return value if isinstance(value, str) else encoded(value)
