"""The words in which the OpenAI API refuses what is wrong with one field."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

Wire = dict[str, Any]  # a JSON object; `Any` because either side may have put anything into it

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_NAME_LENGTH = 64


def unknown_keys(wire: Wire, known: Collection[str], path: str) -> Iterator[str]:
    yield from (f"Unknown parameter: '{path}.{key}'." for key in wire if key not in known)


def unsupported(value: Any, values: Collection[str], path: str = "") -> Iterator[str]:
    if value not in values:
        where = f" ({path})" if path else ""
        yield f"Invalid value: '{value}'. Supported values are: {quoted(values)}.{where}"


def quoted(values: Collection[str]) -> str:
    return ", ".join(f"'{each}'" for each in values)


def too_long(value: Any, path: str, most: int) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"Invalid type for '{path}': expected a string, but got {json_kind(value)} instead."
    elif len(value) > most:
        yield (
            f"Invalid '{path}': string too long. Expected a string with maximum length {most}, but got a string with"
            f" length {len(value)} instead."
        )


def bad_name(value: Any, path: str) -> Iterator[str]:
    yield from too_long(value, path, _NAME_LENGTH)
    if isinstance(value, str) and not _NAME.fullmatch(value):
        yield (
            f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern"
            " '^[a-zA-Z0-9_-]+$'."
        )


def json_kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
