"""Requests that are almost right: each is written for every upstream, or refused in words for the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioproxy.dialects import DIALECTS, Target
from trioproxy.dialects.carried import carried
from trioproxy.errors import ProxyError
from trioproxy.items import Message, Request, Text, replace
from trioproxy.ledger import Ledger

Wire = dict[str, Any]
A, C, R = DIALECTS

FUNCTION: Wire = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
OTHERS = carried(A, "elsewhere", {"type": "thinking", "thinking": "hm", "signature": "c2ln"})
BODIES: dict[str, Wire] = {
    A: {
        "model": "m",
        "max_tokens": 99,
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "t"}, {"type": "document", "source": {"type": "text"}}],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "h", "signature": OTHERS},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "o"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "w"}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 50},
        "output_config": {"effort": "high"},
    },
    C: {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": "u"}}],
            },
            {
                "role": "assistant",
                "content": "x",
                "reasoning_details": [{"type": "reasoning.encrypted", "data": OTHERS}],
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "o"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "o"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    },
    R: {
        "model": "m",
        "instructions": "i",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": OTHERS},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "namespace": "n", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "o"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "o"}]},
            {"type": "additional_tools", "tools": [FUNCTION]},
            {"type": "tool_search_call", "call_id": "c3", "arguments": {}, "execution": "client"},
            {"type": "web_search_call", "id": "w"},
        ],
        "tools": [
            FUNCTION,
            {"type": "custom", "name": "g"},
            {"type": "namespace", "name": "n", "tools": [FUNCTION]},
            {"type": "tool_search", "execution": "client"},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
    },
}

Path = tuple[str | int, ...]
VALUES: list[Any] = [
    None,
    True,
    -1,
    5,
    "",
    "x",
    "a\0b",
    [],
    {},
    ["x"],
    [{}],
    {"type": 5},
    {"type": "text"},
    {"a": {"b": 1}},
]
KEYS = ("type", "role", "content", "call_id", "name", "namespace", "tools", "text", "arguments", "encrypted_content")


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Where there is a value to be spoilt."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(each, (*at, key))


def spoilt(body: Wire, at: Path, value: Any, key: str | None) -> Wire:
    """`body` with another value there, or with a field of that name in what stands there."""
    copy: Any = msgspec.json.decode(msgspec.json.encode(body))
    inner = copy
    for step in at[:-1]:
        inner = inner[step]
    if key is not None and isinstance(inner[at[-1]], dict):
        inner[at[-1]][key] = value
    else:
        inner[at[-1]] = value
    return copy  # type: ignore[no-any-return]  # JSON has no types


def touched(request: Request) -> Iterator[Request]:
    """What a stage may make of it; first of all nothing."""
    yield request
    yield replace(request, system="be nice")
    yield replace(request, tools=tuple({**tool, "description": "x"} for tool in request.tools))
    yield replace(request, messages=tuple(map(_exclaimed, request.messages)))
    yield replace(request, messages=(*request.messages[1:], Message("user", "x")))


def _exclaimed(message: Message) -> Message:
    said = message.content
    return replace(message, content=f"{said}!" if isinstance(said, str) else (*said, Text(text="!")))


def write(dialect: str, body: Wire) -> None:
    """Read it, let each stage have its way, and write it for each upstream."""
    try:
        read = DIALECTS[dialect].read_request(msgspec.json.encode(body))
    except ProxyError:
        return
    target = Target(provenance="here", max_tokens=50)
    for request in touched(read):
        for upstream in DIALECTS.values():
            with suppress(ProxyError):
                fit = upstream.fit(request, target, Ledger())
                assert msgspec.json.decode(upstream.write_request(fit, target, Ledger()).body)


PLACES = [(dialect, at) for dialect, body in BODIES.items() for at in paths(body)]
SPOILT = st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES), st.one_of(st.none(), st.sampled_from(KEYS)))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(SPOILT)
def test_a_request_with_a_field_of_another_kind_is_written_or_refused(spoil: tuple[tuple[str, Path], Any, str]) -> None:
    (dialect, at), value, key = spoil
    write(dialect, spoilt(BODIES[dialect], at, value, key))


@pytest.mark.parametrize(
    ("dialect", "at", "value"),
    [
        (R, ("input", 5, "call_id"), {"a": 1}),
        (R, ("input", 5, "call_id"), ["a"]),
        (R, ("tools", 2, "name"), 5),
        (R, ("input", 7, "tools"), None),
        (R, ("input", 7), {"type": "additional_tools"}),
        (R, ("input", 2, "content", 0, "text"), 5),
        (C, ("messages", 1, "content", 0), {"a": 1}),
        (C, ("messages", 1, "content", 0), {"text": 5}),
    ],
)
def test_so_it_is_where_it_once_was_not(dialect: str, at: Path, value: Any) -> None:
    write(dialect, spoilt(BODIES[dialect], at, value, None))
