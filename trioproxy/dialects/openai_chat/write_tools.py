"""Tools as Chat Completions has them: which are offered, their schemas, and which must be called."""

import re
from collections.abc import Iterator
from typing import Any

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai_chat.hosts import Ways
from trioproxy.dialects.openai_chat.told import named, shown
from trioproxy.dialects.openai_chat.write_content import NO_FIELD, drop
from trioproxy.items import Block, OtherBlock, Request, ToolResult, ToolUse
from trioproxy.ledger import Ledger

__all__ = ["is_strict", "offered_tools", "write_tool", "write_tool_choice"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's

_SENT = {"type", "name", "description", "input_schema", "strict"}


# ── which tools ─────────────────────────────────────────────────────────────────────────────────────────────────────


def offered_tools(request: Request, ledger: Ledger) -> list[Wire]:
    """The tools that go out, as the client said them: functions, of the deferred ones those that were found by now."""
    functions: dict[str, Wire] = {}
    searched = False  # by Anthropic's own search: nobody else can find the deferred ones
    for tool in request.tools:
        kind, name = tool.get("type"), tool.get("name")
        if kind is not None and kind != "custom":
            searched |= isinstance(kind, str) and kind.startswith("tool_search_tool")
            label = next(each for each in (name, kind, named(kind)) if isinstance(each, str) and each)
            ledger.note(f"tools[{label}]", f"a tool of type {shown(kind)} runs at Anthropic only")  # H067
        elif not isinstance(name, str) or not name:
            ledger.note("tools[].name", "a tool without a name cannot be called")  # H068
        else:
            functions[name] = tool
    found = _changes(request, functions)
    for name, tool in list(functions.items()):
        if found.get(name) is False:
            del functions[name]  # withdrawn in the conversation; the model is told so by nobody else
        elif tool.get("defer_loading") is True and not searched and name not in found:
            ledger.note(f"tools[{name}]", "deferred, and not yet found by a tool search")
            del functions[name]
    return list(functions.values())


def _changes(request: Request, functions: dict[str, Wire]) -> dict[str, bool]:
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
                    functions[name] = tool
                    found[name] = True
    match request.extra.get("tool_choice"):
        case {"type": "tool", "name": str(name)}:
            found[name] = True
    return found


def _blocks(request: Request) -> Iterator[Block]:
    for message in request.messages:
        for block in message.content if isinstance(message.content, tuple) else ():
            yield block
            if isinstance(block, ToolResult) and isinstance(block.content, tuple):
                yield from block.content


# ── how they are said ───────────────────────────────────────────────────────────────────────────────────────────────


def write_tool(tool: Wire, ways: Ways, names: Names, ledger: Ledger) -> Wire:
    drop(ledger, "tools[]", {key: tool[key] for key in tool if key not in _SENT})  # H069
    function: Wire = {"name": names(tool["name"])}
    if isinstance(description := tool.get("description"), str):
        function["description"] = description
    schema = _parameters(tool.get("input_schema"))
    function["parameters"] = _without(schema, ways.forbidden)
    if function["parameters"] != schema:
        ledger.note("tools[].input_schema", "keywords that this host refuses are left out")  # H131
    if isinstance(strict := tool.get("strict"), bool):
        if not strict or is_strict(schema):
            function["strict"] = strict
        else:
            ledger.note("tools[].strict", "OpenAI's strict mode does not take this schema")  # H132
    return {"type": "function", "function": function}


def _parameters(schema: Any) -> Wire:
    """Arguments are an object, and OpenAI refuses one whose properties are not told (H068, H132)."""
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    bare = schema.get("type") == "object" and not schema.keys() & {"properties", "$ref", "anyOf", "oneOf", "allOf"}
    return {**schema, "properties": {}} if bare else schema


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def write_tool_choice(choice: Any, offered: set[str], ways: Ways, names: Names, ledger: Ledger) -> Wire:
    """The fields that say which tool must be called; none if there is no tool to call (H065)."""
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
        fields["tool_choice"] = {"type": "function", "function": {"name": names(name)}}
    elif isinstance(kind, str) and kind in _CHOICES:
        fields["tool_choice"] = _CHOICES[kind]
    else:
        ledger.note("tool_choice", "it names a tool that is not offered" if kind == "tool" else NO_FIELD)
    if choice.get("disable_parallel_tool_use") is True:  # H066
        if ways.parallel:
            fields["parallel_tool_calls"] = False
        else:
            ledger.note("tool_choice.disable_parallel_tool_use", "this model refuses parallel_tool_calls")
    drop(ledger, "tool_choice", {key: choice[key] for key in choice if key not in _CHOICE})
    return fields


_CHOICE = {"type", "name", "disable_parallel_tool_use"}


# ── schemas ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# Where schemas stand inside a schema. Everywhere else is data, and a property may be called like a keyword.
_NAMED = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_LISTED = {"anyOf", "oneOf", "allOf", "prefixItems", "items"}
_SINGLE = {
    "items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties",
}  # fmt: skip


def _without(schema: Any, forbidden: frozenset[str]) -> Any:
    """`schema` without the keywords of `forbidden`, at whatever depth, in its own order (H122)."""
    if not forbidden or not isinstance(schema, dict):
        return schema
    return {key: _inside(key, value, forbidden) for key, value in schema.items() if key not in forbidden}


def _inside(key: str, value: Any, forbidden: frozenset[str]) -> Any:
    if key in _NAMED and isinstance(value, dict):
        return {name: _without(each, forbidden) for name, each in value.items()}
    if key in _LISTED and isinstance(value, list):
        return [_without(each, forbidden) for each in value]
    return _without(value, forbidden) if key in _SINGLE else value


# developers.openai.com/api/docs/guides/structured-outputs, "Supported schemas".
_STRICT = {
    "$schema", "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref",
    "$defs", "definitions", "description", "title", "format", "pattern", "multipleOf", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
}  # fmt: skip
_LOOKAROUND = re.compile(r"\(\?(?:[=!]|<[=!])")


def is_strict(schema: Any, *, root: bool = True) -> bool:
    """Whether OpenAI's strict mode takes `schema` (H132): it answers 400 to what it does not."""
    if not isinstance(schema, dict) or not schema.keys() <= _STRICT:
        return False
    if root and (schema.get("type") != "object" or "anyOf" in schema):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties, required = schema.get("properties"), schema.get("required")
        if not isinstance(properties, dict) or schema.get("additionalProperties") is not False:
            return False
        if not isinstance(required, list) or properties.keys() - {name for name in required if isinstance(name, str)}:
            return False
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and _LOOKAROUND.search(pattern):
        return False
    return all(is_strict(each, root=False) for each in _inner(schema))


def _inner(schema: Wire) -> Iterator[Any]:
    for key in ("properties", "$defs", "definitions"):
        yield from schema[key].values() if isinstance(schema.get(key), dict) else ()
    yield from schema["anyOf"] if isinstance(schema.get("anyOf"), list) else ()
    if "items" in schema:
        yield schema["items"]
