"""Tool calls of a chat, and which of them a tool's message answers."""

from collections import OrderedDict, defaultdict
from typing import Any

import msgspec

from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai_chat.told import Lost, Wire, named, note_fields, refusal
from trioproxy.dialects.peek import BAD_JSON, decode, mended
from trioproxy.items import Block, Text, ToolUse

__all__ = ["Calls", "read_arguments"]


class Calls:
    """The calls that are not answered yet, of one conversation: id → the tool's name, in order."""

    def __init__(self) -> None:
        self._open = OrderedDict[str, str]()  # of which the first is found at once, however many were taken out
        self._of_tool = defaultdict[str, OrderedDict[str, None]](OrderedDict)

    def read(self, wire: Wire, where: str, lost: Lost) -> list[Block]:
        """The calls of an assistant's message."""
        calls = wire.get("tool_calls")
        if calls is None:
            calls = []
        if not isinstance(calls, list):
            raise refusal(f"{where}.tool_calls: expected an array, got {named(calls)}")
        blocks = [self._call(call, f"{where}.tool_calls[{index}]", lost) for index, call in enumerate(calls)]
        if isinstance(legacy := wire.get("function_call"), dict):
            blocks.append(self._call({"function": legacy}, f"{where}.function_call", lost))
        return blocks

    def answered(self, wire: Wire, where: str) -> str:
        """The id of the call that a tool's message answers: as it says, by its name, or the first that is open."""
        id, name = wire.get("tool_call_id"), wire.get("name")
        if not (isinstance(id, str) and id):
            fitting = (self._of_tool.get(name) if isinstance(name, str) else None) or self._open
            id = next(iter(fitting), None) or made_id("result", where)
        self._close(id)
        return id

    def _close(self, id: str) -> None:
        if (name := self._open.pop(id, None)) is not None:
            del self._of_tool[name][id]

    def _call(self, call: Any, where: str, lost: Lost) -> Block:
        if not isinstance(call, dict):
            raise refusal(f"{where}: expected an object, got {named(call)}")
        if isinstance(custom := call.get("custom"), dict):
            lost.setdefault("messages[].tool_calls[type=custom]", "approximated as text: Anthropic has no custom tools")
            return Text(text=f"[called {_text(custom, 'name')} with]\n{_text(custom, 'input')}")
        function = call.get("function")
        if not isinstance(function, dict):
            raise refusal(f"{where}.function: expected an object, got {named(function)}")
        id, name = call.get("id"), function.get("name")
        if not isinstance(name, str):
            raise refusal(f"{where}.function.name: expected a string, got {named(name)}")
        input = read_arguments(function.get("arguments"), lost)
        note_fields(call, {"id", "type", "function", "index"}, "messages[].tool_calls[]", lost)
        note_fields(function, {"name", "arguments"}, "messages[].tool_calls[].function", lost)
        if not (isinstance(id, str) and id):
            id = made_id(where, name, input)  # the same in every turn (H130)
        self._close(id)
        self._open[id] = name
        self._of_tool[name][id] = None
        return ToolUse(id=id, name=name, input=input)


def read_arguments(arguments: Any, lost: Lost) -> str:
    """The JSON text of an object: the very text if it is one already, or else one that keeps it visible (H070b)."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return "{}"
    if not isinstance(arguments, str):
        return _encoded(arguments if isinstance(arguments, dict) else {"input": arguments})
    try:
        value, cut = decode(arguments.encode())
    except BAD_JSON:
        lost.setdefault("messages[].tool_calls[].function.arguments", "not JSON: passed on as text")
        return _encoded({"unparsed_arguments": arguments})
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        return _encoded({"input": value})
    return mended(arguments.encode()).decode() if cut else arguments


def _text(wire: Wire, key: str) -> str:
    value = wire.get(key)
    return value if isinstance(value, str) else _encoded(value)


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
