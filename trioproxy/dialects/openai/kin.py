"""What OpenAI's two dialects both say and Anthropic has no word for: between them it goes as the client said it.

It is taken from the body that the request was read from, and only for upstreams that are known to take it.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from trioproxy.dialects.openai.hosts import FROM_5_6
from trioproxy.dialects.target import Target
from trioproxy.items import Request, Source, replace

__all__ = ["Kin", "kin_of"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's

_NOT_KNOWN = "this upstream is not known to take it"
_CONVERSATION = {"openai-chat": "messages", "openai-responses": "input"}
_SCHEMA = {"openai-chat": "response_format.json_schema", "openai-responses": "text.format"}
# The path in Chat, that in Responses, and the models that take it.
_FIELDS = (
    ("service_tier", "service_tier", ""),
    ("metadata", "metadata", ""),
    # All but gpt-5-chat-latest and Codex's take more than medium: enricoros/big-AGI#930 and #947, openai/codex#9035.
    ("verbosity", "text.verbosity", r"gpt-(?:5(?!-chat)|[6-9])(?!.*codex)"),
    ("prompt_cache_key", "prompt_cache_key", ""),
    # "prompt_cache_retention is not supported on this model", of 4.1 at Azure: OpenHands/software-agent-sdk#2295.
    ("prompt_cache_retention", "prompt_cache_retention", r"gpt-(?:5(?!-(?:mini|nano))|[6-9])"),
    ("prompt_cache_options", "prompt_cache_options", FROM_5_6),
)
# "The 'metadata' parameter is only allowed when 'store' is enabled": tmc/langchaingo#1484, looplj/axonhub#1380.
_REFUSED = {("openai-chat", "metadata"): "Chat Completions takes labels only of what it stores, and nothing is stored"}


class Kin(msgspec.Struct, frozen=True):
    """What a request says in the words of both; of a request of any other dialect, nothing."""

    request: Request
    """Without the losses that are none here, and with the reasons of those that are."""
    fields: Wire = {}
    """By their path."""
    form: Wire = {}
    """Of the answer's schema: its name, its description, and whether it must be kept to."""
    details: dict[str, str] = {}
    """How closely to look at each image, by its address or data."""

    def write_fields(self, body: Wire) -> None:
        for path, value in self.fields.items():
            *outer, key = path.split(".")
            wire = body
            for name in outer:
                wire = wire.setdefault(name, {})
            wire[key] = value

    def write_details(self, conversation: list[Wire]) -> None:
        for image, holder in _images(conversation) if self.details else ():
            if image in self.details:
                holder["detail"] = self.details[image]


def kin_of(request: Request, dialect: str, target: Target, *, known: bool, schemas: bool) -> Kin:
    """What `dialect` is to say of `request`. `known` is whether the host is known to take all of OpenAI's fields,
    `schemas` whether it can hold an answer to a schema."""
    source = request.source
    if source is None or source.dialect not in _CONVERSATION or source.dialect == dialect:
        return Kin(request)
    fields, reasons = _fields(source, dialect, request.model, target, known)
    outer = _at(source.wire, _SCHEMA[source.dialect])
    form: Wire = {}
    if isinstance(outer, dict):
        form = {key: outer[key] for key in ("name", "description") if outer.get(key)}
        form["strict"] = outer.get("strict") is True
        reasons[f"{_SCHEMA[source.dialect]}.description"] = "" if schemas else _NOT_KNOWN
    said = _CONVERSATION[source.dialect]
    paths = [
        loss.path for loss in request.unsaid if loss.path.startswith(f"{said}[]") and loss.path.endswith(".detail")
    ]
    details = _details(source.wire.get(said)) if paths else {}
    if "" not in details:
        reasons |= dict.fromkeys(paths, "" if known else _NOT_KNOWN)
    unsaid = [replace(loss, reason=reasons.get(loss.path, loss.reason)) for loss in request.unsaid]
    request = replace(request, unsaid=tuple(loss for loss in unsaid if loss.reason))
    return Kin(request, fields, form, details if known else {})


def _fields(source: Source, dialect: str, model: str, target: Target, known: bool) -> tuple[Wire, dict[str, str]]:
    """Those to say, by their path here; and why each is lost, by its path there: empty if it is not."""
    fields: Wire = {}
    reasons: dict[str, str] = {}
    for chat, responses, models in _FIELDS:
        there, here = (chat, responses) if source.dialect == "openai-chat" else (responses, chat)
        asked = chat == "prompt_cache_key" and target.cache_key is not None  # then the host takes one
        taken = (known and re.search(models, model) is not None) or asked
        reasons[there] = _REFUSED.get((dialect, here), "" if taken else _NOT_KNOWN)
        value = _at(source.wire, there)
        if value is not None and not reasons[there]:
            fields[here] = value
    return fields, reasons


def _at(wire: Any, path: str) -> Any:
    for key in path.split("."):
        wire = wire.get(key) if isinstance(wire, dict) else None
    return wire


def _details(conversation: Any) -> dict[str, str]:
    """Of the images; with "" among them, if anything else has one, or the same image has two."""
    details: dict[str, str] = {}
    for image, holder in _images(conversation):
        detail = holder.get("detail") or "auto"
        if detail != details.setdefault(image, detail):
            details[""] = detail
    return details


def _images(wire: Any) -> Iterator[tuple[str, Wire]]:
    """Each image of a conversation, by its address or data, and the object that has its detail."""
    for each in wire if isinstance(wire, list) else [wire]:
        match each:
            case {"image_url": dict(), "detail": _}:
                yield "", each  # not where it belongs
            case {"image_url": {"url": str(url)} as holder} | ({"image_url": str(url)} as holder):
                yield url.rpartition(";base64,")[2], holder  # what is before the data may be said in other words
            case {"detail": _}:
                yield "", each
            case {"content": list(inner)} | {"output": list(inner) | dict(inner)}:
                yield from _images(inner)
