"""What the answers of both dialects say alike: token counts, citations, and the arguments of calls."""

from typing import Any

from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.items import Usage

__all__ = ["citation", "kind_of", "read_usage", "thought"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the provider's

# OpenAI (Moonshot: outside the details); DeepSeek; Mistral; gateways to Claude.
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "num_cached_tokens", "cache_read_input_tokens")
# OpenAI and OpenRouter; LiteLLM; vLLM; gateways to Claude.
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "created_cache_tokens", "cache_creation_input_tokens")

_KINDS = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}


def read_usage(wire: Any, asked: str, answered: str) -> tuple[Usage, int] | None:
    """The counts of a `usage` object, and how many of the output tokens were reasoning; None if it says nothing.

    `asked` and `answered` are what the dialect calls both sides: `prompt` and `completion`, `input` and `output`.

    Cached tokens are inside OpenAI's count of what was asked and outside Anthropic's `input_tokens` (hazard H044), by
    whatever name. `total_tokens` tells of providers that count reasoning beside what was answered (xAI; hazard H049).
    """
    if not isinstance(wire, dict):
        return None
    prompt, completion = _count(wire, f"{asked}_tokens"), _count(wire, f"{answered}_tokens")
    if prompt is None and completion is None:
        return None
    inside, outside = _object(wire, f"{asked}_tokens_details"), _object(wire, f"{answered}_tokens_details")
    cached, written = _told(_CACHED, inside, wire), _told(_WRITTEN, inside, wire)
    reasoning = _count(outside, "reasoning_tokens") or 0
    input, output = prompt or 0, completion or 0
    if reasoning and _count(wire, "total_tokens") == input + output + reasoning:
        output += reasoning
    fresh = max(0, input - (cached or 0) - (written or 0))
    return Usage(fresh, output, written, cached), reasoning


def thought(tokens: int) -> Wire:
    """What a `MessageDelta` has in `extra` where so many of the output tokens were reasoning: Anthropic's own field."""
    return {"usage": {"output_tokens_details": {"thinking_tokens": tokens}}} if tokens else {}


def citation(cited: Any) -> Wire | None:
    """OpenAI's citation of a web page as Anthropic has it; None if it is none."""
    if not isinstance(cited, dict) or not isinstance(cited.get("url"), str):
        return None
    return {
        "type": "web_search_result_location",
        "url": cited["url"],
        "title": cited.get("title"),
        "encrypted_index": "",
        "cited_text": cited.get("content") or "",
    }


def kind_of(arguments: str) -> str:
    """What the JSON of a call's arguments is, in words: `an object` if it is fine. Empty if it is no JSON."""
    try:
        value, _ = decode(arguments.encode(errors="surrogatepass"))  # half an emoji is no reason to give up
    except BAD_JSON:
        return ""
    return "an object" if isinstance(value, dict) else _KINDS.get(type(value), "null")


def _told(keys: tuple[str, ...], *wires: Wire) -> int | None:
    """The count that goes by one of these names: the first that is more than zero."""
    counts = [_count(wire, key) for wire in wires for key in keys]
    return next(filter(None, counts), 0 if 0 in counts else None)


def _object(wire: Wire, key: str) -> Wire:
    value = wire.get(key)
    return value if isinstance(value, dict) else {}


def _count(wire: Wire, key: str) -> int | None:
    value = wire.get(key)
    return max(0, int(value)) if isinstance(value, int | float) else None
