"""What the OpenAI Responses API refuses about tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .responses_words import Wire, bad_name, unknown_keys, unsupported

_TOOL_KEYS = {
    "function": {
        "type", "name", "description", "parameters", "strict", "defer_loading", "allowed_callers", "output_schema"
    },
    "custom": {"type", "name", "description", "format", "defer_loading", "allowed_callers"},
    "namespace": {"type", "name", "description", "tools"},
    "web_search": {
        "type", "external_web_access", "filters", "search_context_size", "search_content_types", "user_location"
    },
    "tool_search": {"type", "execution", "description", "parameters"},
}  # fmt: skip
_FORMAT_KEYS = {"text": {"type"}, "grammar": {"type", "syntax", "definition"}}


def tool_faults(body: Wire) -> Iterator[str]:
    tools = body.get("tools")
    if tools is not None:
        yield from offered_faults(tools, "tools")
    yield from _choice(body.get("tool_choice"), tools or [])


def offered_faults(tools: list[Any], path: str) -> Iterator[str]:
    names: set[Any] = set()
    for number, tool in enumerate(tools):
        where = f"{path}[{number}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        yield from unsupported(kind, tuple(_TOOL_KEYS), where)
        if kind not in _TOOL_KEYS:
            continue
        yield from unknown_keys(tool, _TOOL_KEYS[kind], where)
        if kind not in _OF_TOOL:
            continue
        if not isinstance(tool.get("name"), str):
            yield f"Missing required parameter: '{where}.name'."
            continue
        yield from bad_name(tool["name"], f"{where}.name")
        if tool["name"] in names:
            # OpenAI is not known to refuse this either; which of the two is called nobody can tell.
            yield f"{where}.name: '{tool['name']}' is there twice"
        names.add(tool["name"])
        if not isinstance(tool.get("description"), str | None):
            yield f"Invalid type for '{where}.description': expected a string."
        yield from _OF_TOOL[kind](tool, where)


def _function(tool: Wire, where: str) -> Iterator[str]:
    if not isinstance(tool.get("strict"), bool | None):
        yield f"Invalid type for '{where}.strict': expected a boolean."
    if tool.get("parameters") is not None:
        yield from schema_faults(tool["parameters"], f"function '{tool['name']}'", strict=tool.get("strict"))


def _custom(tool: Wire, where: str) -> Iterator[str]:
    form = tool.get("format") or {"type": "text"}
    yield from unsupported(form.get("type"), tuple(_FORMAT_KEYS))
    yield from unknown_keys(form, _FORMAT_KEYS.get(str(form.get("type")), set()), f"{where}.format")
    if form.get("type") == "grammar":
        yield from unsupported(form.get("syntax"), ("lark", "regex"))
        if not isinstance(form.get("definition"), str):
            yield f"Missing required parameter: '{where}.format.definition'."


def _namespace(tool: Wire, where: str) -> Iterator[str]:
    yield from (
        f"Missing required parameter: '{where}.{key}'." for key in ("description", "tools") if tool.get(key) is None
    )
    yield from offered_faults(tool.get("tools") or [], f"{where}.tools")


_OF_TOOL: Mapping[str, Callable[[Wire, str], Iterator[str]]] = {
    "function": _function,
    "custom": _custom,
    "namespace": _namespace,
}


def schema_faults(schema: Any, whose: str, *, strict: bool | None) -> Iterator[str]:
    begun = f"Invalid schema for {whose}:"
    if not isinstance(schema, dict) or schema.get("type") != "object":
        kind = schema.get("type") if isinstance(schema, dict) else schema
        yield f"{begun} schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
        return
    if not schema.keys() & {"properties", "$ref", "anyOf", "oneOf", "allOf"}:
        yield f"{begun} In context=(), object schema missing properties."
    for each in _inner(schema):
        if each.get("type") == "array" and "items" not in each:
            yield f"{begun} array schema missing items."
        # Left out it is "as strict as can be": only who says so is refused.
        if strict is True and each.get("type") == "object":
            if each.get("additionalProperties") is not False:
                yield f"{begun} In context=(), 'additionalProperties' is required to be supplied and to be false."
            for name in (each.get("properties") or {}).keys() - set(each.get("required") or ()):
                yield (
                    f"{begun} In context=(), 'required' is required to be supplied and to be an array including every"
                    f" key in properties. Missing '{name}'."
                )


def _inner(schema: Any) -> Iterator[Wire]:
    """The schema and all within it."""
    if not isinstance(schema, dict):
        return
    yield schema
    nested = [*(schema.get("properties") or {}).values(), *(schema.get("anyOf") or ())]
    for each in [*nested, schema.get("items"), schema.get("additionalProperties")]:
        yield from _inner(each)


def _choice(choice: Any, tools: list[Wire]) -> Iterator[str]:
    if choice is None:
        return
    if isinstance(choice, str):
        yield from unsupported(choice, ("none", "auto", "required"))
        if choice == "required" and not tools:
            yield "Tool choice 'required' must be specified with 'tools' parameter."
        return
    kind = choice.get("type")
    if kind == "allowed_tools":
        yield from unknown_keys(choice, {"type", "mode", "tools"}, "tool_choice")
        return
    yield from unsupported(kind, ("function", "custom", "web_search"), "tool_choice")
    yield from unknown_keys(choice, {"type"} if kind == "web_search" else {"type", "name"}, "tool_choice")
    if not any(tool.get("type") == kind and tool.get("name") == choice.get("name") for tool in tools):
        yield f"Tool choice '{choice.get('name') or kind}' not found in 'tools' parameter."
