"""The dialect as the proxy sees it: peeking, listings, and requests that stay within it."""

from __future__ import annotations

import msgspec
import pytest

from trioproxy.dialects import DIALECTS, Model, Target, spoken_at
from trioproxy.items import Error, Request, replace
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
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":"yes"}}', True, False),
        (b'{"model":"m","stream":true,"stream_options":[true]}', True, False),
        (rb'{"model":"m","stream":true,"x":"\ud83d"}', True, False),  # H124
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
    for body in (b"{}", b"[", b'{"data":[{"id":"\xff"}]}', b'{"data":[{"id":"a","x":' + b"[" * 100_000):
        with pytest.raises(msgspec.DecodeError):
            CHAT.read_models(body)
    assert CHAT.read_models(b'{"data":[{"name":"nameless"},{"id":"x","created":"soon"}]}') == [Model("x")]


@pytest.mark.parametrize(
    ("said", "created"),
    [(1_700_000_000, 1_700_000_000), (1_700_000_000_000, 1_700_000_000), (2**70, 0), (1e308, 0), (-1, 0), (1.5, 1)],
)
def test_a_date_in_milliseconds_or_none_at_all(said: float, created: int) -> None:
    models = CHAT.read_models(msgspec.json.encode({"data": [{"id": "x", "created": said}]}))
    assert models == [Model("x", created=created)]
    assert DIALECTS["anthropic"].write_models(models)


@pytest.mark.parametrize(
    ("said", "target", "sent", "noted"),
    [
        ({"max_tokens": 9}, 5, {"max_tokens": 5}, "lowered from 9 to 5"),
        ({"max_completion_tokens": 9}, 5, {"max_completion_tokens": 5}, "lowered from 9 to 5"),
        ({}, 5, {"max_tokens": 5}, ""),
        ({"max_tokens": 0}, 5, {"max_tokens": 5}, ""),
        ({"max_tokens": 5}, 5, None, ""),
        ({"max_tokens": 9}, None, None, ""),
        ({}, None, None, ""),
    ],
)
def test_h134_the_limit_of_an_upstream_holds_for_its_own_dialect(
    said: dict[str, int], target: int | None, sent: dict[str, int] | None, noted: str
) -> None:
    ledger, limit = Ledger(), Target(max_tokens=target)
    request = CHAT.read_request(msgspec.json.encode({"model": "m", "messages": [], **said}))
    fitted = CHAT.fit(request, limit, ledger)
    assert (fitted is request) == (sent is None)
    assert noted in str(ledger)
    assert bool(ledger) == bool(noted)
    body = msgspec.json.decode(CHAT.write_request(fitted, limit, ledger).body)
    assert body == {"model": "m", "messages": [], **(said if sent is None else sent)}


@pytest.mark.parametrize(
    ("message", "code"),
    [("there is no model 'x' here", "model_not_found"), ("nothing is served at /v1/models/x", "not_found")],
)
def test_a_model_that_is_not_there_is_told_in_openais_word(message: str, code: str) -> None:
    told = msgspec.json.decode(CHAT.write_error(Error("not_found", message, 404), "id"))
    assert told["error"]["code"] == code


def test_presents_a_token() -> None:
    assert CHAT.credentials("secret", Target()) == [(b"authorization", b"Bearer secret")]
    assert CHAT.asks(Target()) == []
