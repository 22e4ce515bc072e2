"""What the OpenAI Responses API refuses, in its own words where they are known: plain code without a socket.

The fields are those of the official SDK for Python; the words are those that recordings and issues quote. A few rules
are not OpenAI's but those of servers that speak its dialect: they say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .responses_input import Past, input_faults
from .responses_tools import schema_faults, tool_faults
from .responses_words import Wire, bad_name, json_kind, quoted, too_long, unknown_keys, unsupported

# model → the efforts it knows; none: it does not reason.
MODELS: dict[str, tuple[str, ...]] = {
    "gpt-5.4": ("none", "low", "medium", "high", "xhigh"),
    "gpt-5-mini": ("minimal", "low", "medium", "high"),
    "gpt-4.1": (),
    # Codex knows nothing of this one.
    "gpt-test": ("none", "low", "medium", "high", "xhigh"),
    "gpt-5.5": ("none", "low", "medium", "high", "xhigh"),
    # What Codex asks for when it is told nothing.
    "gpt-6.1-sol": ("none", "low", "medium", "high", "xhigh", "max"),
}


def faults(body: Any, past: Past) -> Iterator[str]:
    """What OpenAI would refuse a request for; nothing where it would answer."""
    if not isinstance(body, dict):
        yield "We could not parse the JSON body of your request."
        return
    for key in body:
        if key in _MOVED:
            yield (
                f"Unsupported parameter: '{key}'. In the Responses API, this parameter has moved to '{_MOVED[key]}'."
                " Try again with the new parameter."
            )
        elif key not in _FIELDS:
            yield f"Unknown parameter: '{key}'."
    if body.get("model") not in MODELS:
        yield f"The requested model '{body.get('model')}' does not exist."
        return
    yield from _options(body)
    yield from _reasoning(body)
    yield from _form((body.get("text") or {}), body)
    yield from tool_faults(body)
    yield from input_faults(body, past)


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_FIELDS = {
    "access_programs", "background", "background_options", "context_management", "conversation", "image", "include",
    "input", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation",
    "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream", "stream_options",
    "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
    "client_metadata",  # in no reference, but Codex sends it
}  # fmt: skip
_MOVED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
_LEAST_OUTPUT = 16
_SAMPLING = {"temperature": 2, "top_p": 1}
_IDENTIFIERS = {"user": 512, "safety_identifier": 64, "prompt_cache_key": 64}
_FLAGS = ("stream", "store", "parallel_tool_calls", "background")
_INCLUDABLE = {
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
    "reasoning.encrypted_content", "message.output_text.logprobs",
}  # fmt: skip
_TIERS = ("auto", "default", "flex", "scale", "priority")
_PAIRS, _VALUE = 16, 512


def _options(body: Wire) -> Iterator[str]:
    output = body.get("max_output_tokens")
    if output is not None and (type(output) is not int or output < _LEAST_OUTPUT):
        yield (
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >="
            f" {_LEAST_OUTPUT}, but got {output} instead."
        )
    yield from _sampling(body)
    for key in _FLAGS:
        if not isinstance(body.get(key), bool | None):
            yield f"Invalid type for '{key}': expected a boolean, but got {json_kind(body[key])} instead."
    for key, most in _IDENTIFIERS.items():
        if body.get(key) is not None:
            yield from too_long(body[key], key, most)
    if not isinstance(body.get("instructions"), str | None):
        yield f"Invalid type for 'instructions': expected a string, but got {json_kind(body['instructions'])} instead."
    if body.get("stream_options") is not None and body.get("stream") is not True:
        yield "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    yield from unknown_keys(body.get("stream_options") or {}, {"include_obfuscation"}, "stream_options")
    if body.get("service_tier") is not None:
        yield from unsupported(body["service_tier"], _TIERS)
    if body.get("truncation") is not None:
        yield from unsupported(body["truncation"], ("auto", "disabled"))
    yield from _metadata(body.get("metadata") or {})


def _sampling(body: Wire) -> Iterator[str]:
    for key, upper in _SAMPLING.items():
        value = body.get(key)
        if value is not None and MODELS[body["model"]]:
            yield f"Unsupported parameter: '{key}' is not supported with this model."
        elif value is not None and (type(value) not in {int, float} or not 0 <= value <= upper):
            yield f"Invalid '{key}': expected a value between 0 and {upper}, but got {value} instead."


def _metadata(metadata: Wire) -> Iterator[str]:
    if len(metadata) > _PAIRS:
        yield f"Invalid 'metadata': too many properties. Expected an object with at most {_PAIRS} properties."
    for key, value in metadata.items():
        yield from too_long(value, f"metadata.{key}", _VALUE)


def _reasoning(body: Wire) -> Iterator[str]:
    efforts, reasoning, include = MODELS[body["model"]], body.get("reasoning") or {}, body.get("include") or []
    yield from unknown_keys(reasoning, {"context", "effort", "generate_summary", "mode", "summary"}, "reasoning")
    for each in include:
        yield from unsupported(each, _INCLUDABLE)
    effort = reasoning.get("effort")
    if not efforts:
        if "reasoning.encrypted_content" in include:
            yield "Encrypted content is not supported with this model."
        yield from (
            f"Unsupported parameter: 'reasoning.{key}' is not supported with this model."
            for key, value in reasoning.items()
            if value is not None
        )
    elif effort not in (None, *efforts):
        yield (
            f"Unsupported value: '{effort}' is not supported with the '{body['model']}' model. Supported values are:"
            f" {quoted(efforts)}."
        )
    for key in ("summary", "generate_summary"):
        if reasoning.get(key) is not None:
            yield from unsupported(reasoning[key], ("auto", "concise", "detailed"))


def _form(text: Wire, body: Wire) -> Iterator[str]:
    yield from unknown_keys(text, {"format", "verbosity"}, "text")
    if text.get("verbosity") is not None:
        yield from unsupported(text["verbosity"], ("low", "medium", "high"))
    form = text.get("format") or {"type": "text"}
    kind = form.get("type")
    yield from unsupported(kind, ("text", "json_object", "json_schema"))
    known = {"type", "name", "description", "schema", "strict"} if kind == "json_schema" else {"type"}
    yield from unknown_keys(form, known, "text.format")
    if kind == "json_schema":
        yield from bad_name(form.get("name"), "text.format.name")
        yield from schema_faults(form.get("schema"), f"response_format '{form.get('name')}'", strict=form.get("strict"))
    if kind == "json_object" and "json" not in json.dumps(body.get("input")).lower():
        yield (
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type"
            " 'json_object'."
        )
