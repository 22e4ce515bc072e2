"""The dialect as the proxy sees it: peeking, listings, and requests that stay within it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trioproxy.dialects import DIALECTS, Model, Target, spoken_at
from trioproxy.items import Error, replace
from trioproxy.ledger import Ledger

RESPONSES = DIALECTS["openai-responses"]

BODY: dict[str, Any] = {
    "prompt_cache_retention": "24h",
    "model": "gpt",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be brief", "odd": True}]},
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
    ],
    "tools": [{"type": "web_search"}, {"type": "namespace", "name": "n", "description": "", "tools": []}],
    "temperature": 1.9,
}


def test_a_request_within_the_dialect_loses_nothing_to_a_change() -> None:
    request = RESPONSES.read_request(msgspec.json.encode(BODY))
    ledger = Ledger()
    assert msgspec.json.decode(RESPONSES.write_request(request, Target(), ledger).body) == BODY
    renamed = RESPONSES.write_request(replace(request, model="other"), Target(), ledger)
    assert msgspec.json.decode(renamed.body) == BODY | {"model": "other"}
    assert not ledger
    assert RESPONSES.fit(request, Target(), ledger) is request


@pytest.mark.parametrize(
    ("body", "stream", "own_key"),
    [
        (b'{"model":"m"}', False, False),
        (b'{"model":"m","stream":null,"prompt_cache_key":null}', False, False),
        (b'{"model":"m","stream":true,"prompt_cache_key":"k"}', True, True),
        (rb'{"model":"m","stream":true,"x":"\ud83d"}', True, False),  # H124
    ],
)
def test_peek(body: bytes, stream: bool, own_key: bool) -> None:
    peek = RESPONSES.peek(body)
    assert peek
    assert (peek.model, peek.stream, peek.cache_key, peek.dialect) == ("m", stream, own_key, "")
    assert peek.include_usage  # which every response has
    assert RESPONSES.peek(b"[]") is None


def test_codex_tells_its_session_among_its_own_metadata() -> None:
    peek = RESPONSES.peek(b'{"client_metadata":{"session_id":"a","x":"y"},"metadata":{"user_id":"u"}}')
    assert peek
    assert peek.metadata == {"session_id": "a", "x": "y", "user_id": "u"}


def test_h128_a_session_is_where_its_beginning_is_cached() -> None:
    target = Target(cache_key="session", session="s1")
    peek, own = RESPONSES.peek(b"{}"), RESPONSES.peek(b'{"prompt_cache_key":"k"}')
    assert peek
    assert own
    assert RESPONSES.amend(peek, target) == {"prompt_cache_key": "s1"}
    assert RESPONSES.amend(own, target) == {}
    assert RESPONSES.amend(peek, Target()) == {}


def test_where_it_is_spoken() -> None:
    assert spoken_at("POST", "/v1/responses") is RESPONSES
    assert spoken_at("POST", "/responses/") is RESPONSES
    assert spoken_at("GET", "/v1/responses") is None
    assert spoken_at("POST", "/v1/responses/resp_1/cancel") is None


def test_listings_are_openais() -> None:
    models = [Model("a", created=5), Model("b")]
    assert RESPONSES.write_models(models) == DIALECTS["openai-chat"].write_models(models)
    assert RESPONSES.write_model(models[0]) == DIALECTS["openai-chat"].write_model(models[0])
    assert RESPONSES.read_models(RESPONSES.write_models(models)) == models


def test_errors_are_openais() -> None:
    told = msgspec.json.decode(RESPONSES.write_error(Error("context_overflow", "too long", 400), "id"))
    assert told["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": None,
        "code": "context_length_exceeded",
    }


def test_presents_a_token() -> None:
    assert RESPONSES.credentials("secret", Target()) == [(b"authorization", b"Bearer secret")]
    assert RESPONSES.asks(Target()) == []
