"""Functions, tools that take a text, and the choice among them → as Anthropic has tools."""

from typing import Any

from trioproxy.dialects.openai.told import Lost, Wire, named, note_fields, refusal, shown
from trioproxy.items import Extra

__all__ = ["Tools", "listed", "name_in", "read_choice", "read_custom", "read_function"]

Tools = tuple[Extra, ...]

_MODES = {"auto": "auto", "none": "none", "required": "any", "any": "any"}  # `any` is Mistral's


def listed(wire: Wire, key: str) -> list[Any]:
    """The array `wire[key]`, empty if it is absent or null."""
    value = wire.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise refusal(f"{key}: expected an array, got {named(value)}")
    return value


def read_function(function: Wire, where: str, path: str, lost: Lost) -> Extra | None:
    """The tool, None if it has no name. `path` is where such an object stands, for what is lost of it.

    `strict` only if it was asked for: where Responses has none said, it tries and promises nothing.
    """
    name = function.get("name")
    if not (isinstance(name, str) and name):
        lost.setdefault(f"{path}.name", "a tool without a name cannot be called")
        return None
    read: Extra = {"name": name}
    if isinstance(description := function.get("description"), str) and description:
        read["description"] = description
    elif description:
        lost.setdefault(f"{path}.description", f"expected a string, got {named(description)}")
    read["input_schema"] = _schema(function.get("parameters"), f"{where}.parameters")
    if function.get("strict") is True:
        read["strict"] = True
    note_fields(function, _FUNCTION, path, lost)
    return read


_FUNCTION = {"name", "description", "parameters", "strict", "type", "cache_control"}  # the last two of the flat shape


def read_custom(custom: Wire, where: str, path: str, lost: Lost) -> Extra | None:
    """A tool that takes a text takes it as its one argument here; its grammar can only be told.

    The arguments are those of `read_function`.
    """
    form = custom.get("format")
    function = {key: custom[key] for key in custom if key != "format"} | {"parameters": _TEXT}
    read = read_function(function, where, path, lost)
    if read is None or not isinstance(form, dict) or form.get("type") != "grammar":
        return read
    lost.setdefault(f"{path}.format", "told in the description: nobody else is held to a grammar")
    within = form.get("grammar")
    said = within if isinstance(within, dict) else form  # as Chat Completions has it, or Responses
    kind = f"{said['syntax']} grammar" if isinstance(said.get("syntax"), str) else "grammar"
    grammar = f"`input` must be in the language of this {kind}:\n{said.get('definition')}"
    return read | {"description": "\n\n".join(filter(None, (read.get("description"), grammar)))}


_TEXT = {
    "type": "object",
    "properties": {
        "input": {
            "type": "string",
            "description": "The text that this tool takes, verbatim and with nothing around it.",
        }
    },
    "required": ["input"],
    "additionalProperties": False,
}


def _schema(parameters: Any, where: str) -> Wire:
    """Order within is meaning: models answer in the order of the properties (hazard H122)."""
    if parameters is None:
        return {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise refusal(f"{where}: expected an object, got {named(parameters)}")
    if parameters.get("type") is None:
        return {"type": "object"} | {key: value for key, value in parameters.items() if key != "type"}
    return parameters


def read_choice(said: Any, parallel: Any, tools: Tools, lost: Lost) -> tuple[Tools, Extra | None]:
    """What `said` chooses among `tools`, None for the default; and the tools, fewer if only some are allowed.

    `parallel` is what the client says of calling several at once.
    """
    if not tools:
        # Without tools a choice is an error (H065); it can only be missed if it forced one.
        if said not in (None, "auto", "none"):
            lost.setdefault("tool_choice", "there are no tools to choose from")
        return tools, None
    if isinstance(said, dict) and (allowed := _allowed(said)) is not None:
        kept = tuple(tool for tool in tools if tool["name"] in allowed)
        tools = kept or tools
        mode = said["allowed_tools"].get("mode")
        choice = {"type": "tool", "name": kept[0]["name"]} if mode == "required" and len(kept) == 1 else _choice(mode)
        if not kept:
            choice = {"type": "none"}  # all that is allowed was skipped
    else:
        choice = _choice(said)
    if choice and choice["type"] == "tool" and choice["name"] not in {tool["name"] for tool in tools}:
        lost.setdefault("tool_choice", f"there is no tool {shown(choice['name'])} to choose")
        choice = {"type": "auto"}
    if parallel is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True  # where Anthropic has it (H066)
    return tools, choice


def _allowed(said: Wire) -> set[str] | None:
    """The names of `{"type": "allowed_tools", "allowed_tools": {"mode", "tools": […]}}`."""
    inner = said.get("allowed_tools")
    if not isinstance(inner, dict):
        return None
    tools = inner.get("tools")
    names = [name_in(tool) for tool in tools] if isinstance(tools, list) else []
    return {name for name in names if name}


def _choice(said: Any) -> Extra | None:
    if said is None:
        return None
    if isinstance(said, str) and said in _MODES:
        return {"type": _MODES[said]}
    if isinstance(said, dict):
        if name := name_in(said):
            return {"type": "tool", "name": name}
        if isinstance(kind := said.get("type"), str) and kind in _MODES:
            return {"type": _MODES[kind]}
    expected = '"auto", "none", "required" or a function with its name'
    raise refusal(f"tool_choice: expected {expected}, got {shown(said)}")


def name_in(wire: Any) -> str | None:
    """The name that `{"type": "function", "function": {"name"}}` says, or its flat or legacy form."""
    if not isinstance(wire, dict):
        return None
    inner = wire.get("function") or wire.get("custom")
    name = (inner if isinstance(inner, dict) else wire).get("name")
    return name if isinstance(name, str) and name else None
