"""What a chunk of a Chat Completions stream, or a whole answer, looks like to the reader.

Types are as loose as providers are: what is `Any` was seen as something else than the documentation says.
"""

from typing import Any, Literal

import msgspec

from trioproxy.dialects.peek import BAD_JSON

__all__ = ["Call", "Choice", "Chunk", "Delta", "is_signed", "read_text", "reasoning_of", "segments"]


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None  # text; Ollama: an object


class Call(msgspec.Struct):
    """A tool call, or a piece of one."""

    index: Any = None
    id: Any = None
    type: Any = None
    function: Function | None = None
    custom: Any = None


class Delta(msgspec.Struct):
    """What a choice's `delta` or `message` holds."""

    content: Any = None  # text; Mistral: a list of parts; Cloudflare: an object
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    thinking: Any = None
    refusal: Any = None
    audio: Any = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    annotations: Any = None
    images: Any = None  # OpenRouter


class Choice(msgspec.Struct):
    index: Any = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = None
    stop_reason: Any = None  # vLLM: the stop sequence that was met, or the number of a token
    matched_stop: Any = None  # SGLang: the same
    logprobs: Any = None


class Chunk(msgspec.Struct):
    id: Any = ""
    model: Any = ""
    choices: list[Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None
    citations: Any = None  # Perplexity: addresses, which the text names by number
    search_results: Any = None  # Perplexity


# ── the usual chunk: a piece of text and nothing else ───────────────────────────────────────────────────────────────


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: str | None = None
    refusal: None = None
    reasoning: None = None
    reasoning_content: None = None
    tool_calls: None = None


class _TextChoice(msgspec.Struct):
    delta: _Text
    index: Literal[0] = 0
    finish_reason: None = None
    message: None = None


class _TextChunk(msgspec.Struct):
    choices: tuple[_TextChoice]
    usage: None = None
    x_groq: None = None
    error: None = None


_TEXT = msgspec.json.Decoder(_TextChunk)


def read_text(data: bytes) -> str:
    """The text of the chunk that most of a stream consists of; empty for any other, which has to be looked at."""
    try:
        return _TEXT.decode(data).choices[0].delta.content
    except BAD_JSON:
        return ""


# ── reasoning, under all its names (hazard H071) ────────────────────────────────────────────────────────────────────


def reasoning_of(delta: Delta) -> str:
    """The reasoning in a delta, once, whatever fields say it; always text (hazard H072)."""
    for value in (delta.reasoning_content, delta.reasoning, delta.thinking):
        if value and (text := _text(value)):
            return text
    return _text(delta.reasoning_details) if delta.reasoning_details else ""


def is_signed(details: Any) -> bool:
    """Whether `reasoning_details` hold what a text cannot: signatures, or what is encrypted."""
    if not isinstance(details, list):
        return False
    return any(isinstance(each, dict) and (each.get("signature") or each.get("data")) for each in details)


def segments(content: Any) -> list[tuple[bool, str]]:
    """Content in order: whether it is reasoning, and its text."""
    if isinstance(content, str):
        return [(False, content)]
    if isinstance(content, list):
        return [
            (isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"), text)
            for part in content
            if (text := _text(part))
        ]
    # Cloudflare gives an object where a schema was asked for.
    return [] if content is None else [(False, msgspec.json.encode(content).decode())]


def _text(value: Any, depth: int = 16) -> str:
    """The text in a part, or in parts within parts; no provider has more than two or three of these."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth:
        return "".join(_text(each, depth - 1) for each in value)
    if isinstance(value, dict) and depth:
        texts = (_text(value.get(key), depth - 1) for key in ("text", "thinking", "summary", "content"))
        return next(filter(None, texts), "")
    return ""
