"""Listings of models, as OpenAI gives them and those who are compatible with it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from trioproxy.dialects.models import LATEST, Model, read_listing

__all__ = ["read_models", "write_model", "write_models"]


def read_models(body: bytes) -> list[Model]:
    """What an upstream answers to `GET /v1/models`. Raises `msgspec.DecodeError`."""
    return [Model(id, "", _seconds(each.get("created")), _context(each)) for id, each in read_listing(body)]


def write_model(model: Model) -> bytes:
    return msgspec.json.encode(_write_model(model))


def write_models(models: Iterable[Model]) -> bytes:
    data = [_write_model(model) for model in models]
    return msgspec.json.encode({"object": "list", "data": data})


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _seconds(value: object) -> int:
    """Some tell milliseconds; what is no date even then says nothing."""
    count = _count(value)
    return next((each for each in (count, count // 1000) if each <= LATEST), 0)


def _context(wire: dict[str, Any]) -> int | None:
    """The most tokens of input: as OpenRouter, vLLM, Groq and Mistral say it. OpenAI says nothing."""
    names = ("context_length", "max_model_len", "context_window", "max_context_length")
    return next((_count(wire[name]) for name in names if _count(wire.get(name))), None)


def _write_model(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": "trioproxy"}
