"""Schemas of tools and answers: what strict mode takes, and keywords that a host refuses."""

from __future__ import annotations

from typing import Any

import pytest

from trioproxy.dialects.openai.schemas import is_strict, parameters, without

STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        STRICT,
        {**STRICT, "properties": {"a": {"anyOf": [STRICT, {"type": "null"}]}}},
        {**STRICT, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": STRICT}},
        {**STRICT, "properties": {"a": {"type": "array", "items": STRICT}}},
    ],
)
def test_h132_what_strict_mode_takes(schema: Any) -> None:
    assert is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object", "properties": {"a": {}}},  # not closed, and nothing is required
        {**STRICT, "required": []},
        {**STRICT, "additionalProperties": True},
        {**STRICT, "allOf": []},
        {"anyOf": [STRICT]},
        {"type": "array", "items": STRICT},
        {**STRICT, "properties": {"a": {"type": "string", "pattern": "(?<!a)b"}}},
        {**STRICT, "properties": {"a": {"type": "object", "properties": {}}}},
        {**STRICT, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "object", "properties": {}}}},
    ],
)
def test_h132_what_it_refuses(schema: Any) -> None:
    assert not is_strict(schema)


def test_h068_arguments_are_an_object_whose_properties_are_told() -> None:
    empty = {"type": "object", "properties": {}}
    assert [parameters(each) for each in (None, {}, "x", {"type": "object"})] == [empty] * 4
    for told in (STRICT, {"type": "object", "anyOf": [STRICT]}, {"$ref": "#/$defs/a"}):
        assert parameters(told) is told


def test_h131_keywords_go_at_whatever_depth_but_properties_of_that_name_stay() -> None:
    schema = {"$id": 1, "properties": {"$id": {"$id": 1}}, "anyOf": [{"$id": 1, "enum": [{"$id": 1}]}]}
    assert without(schema, frozenset({"$id"})) == {"properties": {"$id": {}}, "anyOf": [{"enum": [{"$id": 1}]}]}
    assert without(schema, frozenset()) is schema
