"""Tools that go out to an upstream of OpenAI's dialects: which are offered, and which must be called."""

from collections.abc import Callable, Iterator
from typing import Any

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai.schemas import is_strict, parameters
from trioproxy.dialects.openai.told import named, shown
from trioproxy.dialects.openai.write_options import NO_FIELD, drop
from trioproxy.items import Block, OtherBlock, Request, ToolResult, ToolUse
from trioproxy.ledger import Ledger

__all__ = ["NAME_LENGTH", "called", "is_search", "offered_tools", "write_function", "write_tool_choice"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's

NAME_LENGTH = 64
"""Of a tool: `^[a-zA-Z0-9_-]{1,64}$` at OpenAI and whoever is compatible (H063)."""
_SENT = {"type", "name", "description", "input_schema", "strict"}


# ── which tools ─────────────────────────────────────────────────────────────────────────────────────────────────────


def is_search(tool: Wire) -> bool:
    """Whether it is Anthropic's own web search."""
    kind = tool.get("type")
    return isinstance(kind, str) and kind.startswith("web_search_2")  # a date follows


def offered_tools(request: Request, ledger: Ledger, *, search: bool = False) -> list[Wire]:
    """The tools that go out, as the client said them: functions, of the deferred ones those that were found by now.

    `search` is whether the host can search the web itself: then that tool goes out, too.
    """
    tools: dict[str, Wire] = {}
    searched = False  # by Anthropic's own search: nobody else can find the deferred ones
    for tool in request.tools:
        kind, name = tool.get("type"), tool.get("name")
        if search and is_search(tool) and isinstance(name, str):
            if any(map(is_search, tools.values())):
                ledger.note(f"tools[{name}]", "one search is enough")
            else:
                tools[name] = tool
        elif kind is not None and kind != "custom":
            searched |= isinstance(kind, str) and kind.startswith("tool_search_tool")
            label = next(each for each in (name, kind, named(kind)) if isinstance(each, str) and each)
            ledger.note(f"tools[{label}]", f"a tool of type {shown(kind)} runs at Anthropic only")  # H067
        elif not isinstance(name, str) or not name:
            ledger.note("tools[].name", "a tool without a name cannot be called")  # H068
        else:
            tools[name] = tool
    found = _changes(request, tools)
    for name, tool in list(tools.items()):
        if found.get(name) is False:
            del tools[name]  # withdrawn in the conversation; the model is told so by nobody else
        elif tool.get("defer_loading") is True and not searched and name not in found:
            ledger.note(f"tools[{name}]", "deferred, and not yet found by a tool search")
            del tools[name]
    return list(tools.values())


def _changes(request: Request, tools: dict[str, Wire]) -> dict[str, bool]:
    """What the conversation says of tools, the last word on each: here, or withdrawn. Defined ones are added."""
    found: dict[str, bool] = {}
    for block in _blocks(request):
        if isinstance(block, ToolUse):
            found.setdefault(block.name, True)
        elif isinstance(block, OtherBlock):
            match block.extra:
                case {"type": "tool_reference", "tool_name": str(name)}:
                    found[name] = True
                case {"type": "tool_addition", "tool": {"type": "tool_reference", "name": str(name)}}:
                    found[name] = True
                case {"type": "tool_removal", "tool": {"type": "tool_reference", "name": str(name)}}:
                    found[name] = False
                case {"type": "tool_addition", "tool": {"definition": {"name": str(name)} as tool}} if name:
                    tools[name] = tool
                    found[name] = True
    match request.extra.get("tool_choice"):
        case {"type": "tool", "name": str(name)}:
            found[name] = True
    return found


def called(request: Request) -> list[str]:
    """The tools of earlier calls, which keep their names though they may be gone."""
    return [block.name for block in _blocks(request) if isinstance(block, ToolUse)]


def _blocks(request: Request) -> Iterator[Block]:
    for message in request.messages:
        for block in message.content if isinstance(message.content, tuple) else ():
            yield block
            if isinstance(block, ToolResult) and isinstance(block.content, tuple):
                yield from block.content


# ── how they are said ───────────────────────────────────────────────────────────────────────────────────────────────


def write_function(tool: Wire, names: Names, ledger: Ledger) -> Wire:
    """A function. `strict` is said if the client said it, unless OpenAI's strict mode refuses the schema."""
    drop(ledger, "tools[]", {key: tool[key] for key in tool if key not in _SENT})  # H069
    function: Wire = {"name": names(tool["name"])}
    if isinstance(description := tool.get("description"), str):
        function["description"] = description
    function["parameters"] = parameters(tool.get("input_schema"))
    if isinstance(strict := tool.get("strict"), bool):
        if not strict or is_strict(function["parameters"]):
            function["strict"] = strict
        else:
            ledger.note("tools[].strict", "OpenAI's strict mode does not take this schema")  # H132
    return function


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_CHOICE = {"type", "name", "disable_parallel_tool_use"}


def write_tool_choice(
    choice: Any, offered: set[str], choose: Callable[[str], Any], ledger: Ledger, *, parallel: bool = True
) -> Wire:
    """The fields that say which tool must be called; none if there is no tool to call (H065).

    `choose` says that it must be the one of that name; `parallel` is whether the model takes `parallel_tool_calls`.
    """
    if choice is None:
        return {}
    if not isinstance(choice, dict):
        ledger.note("tool_choice", NO_FIELD)
        return {}
    kind, name = choice.get("type"), choice.get("name")
    if not offered:
        if kind not in ("auto", "none"):
            ledger.note("tool_choice", "there is no tool to choose")
        return {}
    fields: Wire = {}
    if kind == "tool" and isinstance(name, str) and name in offered:
        fields["tool_choice"] = choose(name)
    elif isinstance(kind, str) and kind in _CHOICES:
        fields["tool_choice"] = _CHOICES[kind]
    else:
        ledger.note("tool_choice", "it names a tool that is not offered" if kind == "tool" else NO_FIELD)
    if choice.get("disable_parallel_tool_use") is True:  # H066
        if parallel:
            fields["parallel_tool_calls"] = False
        else:
            ledger.note("tool_choice.disable_parallel_tool_use", "this model refuses parallel_tool_calls")
    drop(ledger, "tool_choice", {key: choice[key] for key in choice if key not in _CHOICE})
    return fields
