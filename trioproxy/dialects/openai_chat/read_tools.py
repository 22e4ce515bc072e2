"""Tools of a chat and the choice among them → as Anthropic has them."""

from typing import Any

from trioproxy.dialects.openai.read_parts import cached
from trioproxy.dialects.openai.read_tools import Tools, listed, read_choice, read_function
from trioproxy.dialects.openai.told import Lost, Wire, label, named, note_fields, refusal
from trioproxy.items import Extra

__all__ = ["read_tool_choice", "read_tools"]


def read_tools(wire: Wire, lost: Lost) -> Tools:
    tools = listed(wire, "tools")
    legacy = [{"type": "function", "function": each} for each in listed(wire, "functions")]
    read = [_read_tool(tool, f"tools[{index}]", lost) for index, tool in enumerate(tools or legacy)]
    return tuple(tool for tool in read if tool)


def _read_tool(tool: Any, where: str, lost: Lost) -> Extra | None:
    if not isinstance(tool, dict):
        raise refusal(f"{where}: expected an object, got {named(tool)}")
    kind = tool.get("type")
    if kind not in (None, "function"):
        lost.setdefault(f"tools[type={label(kind)}]", "runs at the provider the client meant, not here")
        return None
    function = tool.get("function", tool)  # Cursor sends the flat shape of Responses (H150h)
    if not isinstance(function, dict):
        raise refusal(f"{where}.function: expected an object, got {named(function)}")
    read = read_function(function, f"{where}.function", "tools[].function", lost)
    if read is None:
        return None
    if function is not tool:
        note_fields(tool, {"type", "function", "cache_control"}, "tools[]", lost)
    return read | cached(tool)


def read_tool_choice(wire: Wire, tools: Tools, lost: Lost) -> tuple[Tools, Extra | None]:
    """The choice, None for the default; and the tools, fewer if only some are allowed."""
    said = wire.get("tool_choice")
    if said is None:
        said = wire.get("function_call")
    return read_choice(said, wire.get("parallel_tool_calls"), tools, lost)
