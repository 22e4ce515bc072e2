"""The dialect as the proxy sees it: peeking, listings, and requests that stay within it."""

from __future__ import annotations

import msgspec
import pytest

from trioproxy.dialects import DIALECTS, Model, Target, spoken_at
from trioproxy.items import Request, replace
from trioproxy.ledger import Ledger

CHAT = DIALECTS["openai-chat"]

BODY = {
    "seed": 7,
    "model": "gpt",
    "messages": [
        {"role": "system", "content": "be brief", "name": "boss"},
        {"role": "user", "content": [{"type": "text", "text": "hi", "odd": True}], "name": "ann"},
        {"role": "assistant", "content": None, "refusal": None, "audio": {"id": "a"}},
    ],
    "logit_bias": {"50256": -100},
    "temperature": 1.9,
}


def rewritten(request: Request) -> object:
    return msgspec.json.decode(CHAT.write_request(request, Target(), Ledger()).body)


def test_a_request_within_the_dialect_loses_nothing_to_a_change() -> None:
    request = CHAT.read_request(msgspec.json.encode(BODY))
    ledger = Ledger()
    assert msgspec.json.decode(CHAT.write_request(request, Target(), ledger).body) == BODY
    assert rewritten(replace(request, model="other")) == BODY | {"model": "other"}
    assert not ledger
    assert CHAT.fit(request, Target(), ledger) is request


@pytest.mark.parametrize(
    ("body", "stream", "usage"),
    [
        (b'{"model":"m"}', False, False),
        (b'{"model":"m","stream":null,"stream_options":null}', False, False),
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}', True, True),
    ],
)
def test_peek(body: bytes, stream: bool, usage: bool) -> None:
    peek = CHAT.peek(body)
    assert peek
    assert (peek.model, peek.stream, peek.include_usage) == ("m", stream, usage)
    assert CHAT.peek(b"[]") is None


def test_where_it_is_spoken() -> None:
    assert spoken_at("POST", "/v1/chat/completions") is CHAT
    assert spoken_at("POST", "/chat/completions/") is CHAT
    assert spoken_at("GET", "/v1/chat/completions") is None


def test_listings() -> None:
    models = [Model("a", created=5), Model("b")]
    wire = CHAT.write_models(models)
    assert CHAT.read_models(wire) == models
    assert msgspec.json.decode(CHAT.write_model(models[0]))["object"] == "model"
    with pytest.raises(msgspec.DecodeError):
        CHAT.read_models(b'{"data":[1]}')
    assert CHAT.read_models(b'{"data":[{"id":"x","max_model_len":8192}]}') == [Model("x", context=8192)]
    assert CHAT.read_models(b'{"data":[{"name":"nameless"},{"id":"x","created":"soon"}]}') == [Model("x")]


def test_presents_a_token() -> None:
    assert CHAT.credentials("secret", Target()) == [(b"authorization", b"Bearer secret")]
    assert CHAT.asks(Target()) == []
