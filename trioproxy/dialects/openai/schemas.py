"""JSON Schema as OpenAI and those who are compatible with it take it (H068, H131, H132)."""

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["is_strict", "parameters", "without"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's


def parameters(schema: Any) -> Wire:
    """Arguments are an object, and OpenAI refuses one whose properties are not told (H068, H132)."""
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    bare = schema.get("type") == "object" and not schema.keys() & {"properties", "$ref", "anyOf", "oneOf", "allOf"}
    return {**schema, "properties": {}} if bare else schema


# Where schemas stand inside a schema. Everywhere else is data, and a property may be called like a keyword.
_NAMED = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_LISTED = {"anyOf", "oneOf", "allOf", "prefixItems", "items"}
_SINGLE = {
    "items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties",
}  # fmt: skip


def without(schema: Any, forbidden: frozenset[str]) -> Any:
    """`schema` without the keywords of `forbidden`, at whatever depth, in its own order (H122)."""
    if not forbidden or not isinstance(schema, dict):
        return schema
    return {key: _inside(key, value, forbidden) for key, value in schema.items() if key not in forbidden}


def _inside(key: str, value: Any, forbidden: frozenset[str]) -> Any:
    if key in _NAMED and isinstance(value, dict):
        return {name: without(each, forbidden) for name, each in value.items()}
    if key in _LISTED and isinstance(value, list):
        return [without(each, forbidden) for each in value]
    return without(value, forbidden) if key in _SINGLE else value


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
