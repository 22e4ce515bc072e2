"""A chat upstream's own chunks and answers in another style: what of them has to be said otherwise, and nothing else.

The reasoning of every answer is told in the field that was asked for, whatever the upstream calls it. Fields that have
nothing to do with it stay as they are.
"""

from typing import Any

import msgspec

from trioproxy.dialects.openai_chat.chunks import Delta, is_signed, reasoning_of, segments
from trioproxy.dialects.openai_chat.thoughts import BESIDE_DETAILS, details
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.dialects.style import Reasoning
from trioproxy.ledger import Ledger

__all__ = ["Respeller", "first_delta", "says_more", "take_calls", "unknown_fields"]

Wire = dict[str, Any]  # a JSON object of the upstream; `Any` because its inside is the provider's

_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_KNOWN = frozenset({"index", "id", "type", "function"})  # of a call
_BESIDE = ("usage", "x_groq", "error", "citations", "search_results")  # what a chunk may say beside its choices


class Respeller:
    """Tells reasoning in `field`. What is lost by it is noted in `ledger`."""

    def __init__(self, field: Reasoning, ledger: Ledger) -> None:
        self._field, self._ledger = field, ledger

    def body(self, data: bytes) -> bytes:
        """A whole answer; the very same bytes if there is nothing to be said otherwise."""
        try:
            wire, _ = decode(data)
            return msgspec.json.encode(wire) if self.apply(wire) else data
        except BAD_JSON:
            return data

    def apply(self, wire: Any) -> bool:
        """Change a chunk, or a whole answer, in place; whether there was anything to change."""
        changed = False
        for choice in choices(wire):
            for part in ("delta", "message"):
                if isinstance(choice.get(part), dict):
                    told = self._told(choice[part])
                    changed = changed or told is not choice[part]
                    choice[part] = told
        return changed

    def _told(self, said: Wire) -> Wire:
        """A `delta` or `message`; the very same if it has no reasoning, or tells it in this field and no other."""
        text = reasoning_of(Delta(**{field: said.get(field) for field in _FIELDS}))
        content: list[Any] = said["content"] if isinstance(said.get("content"), list) else []
        parts = segments(content)  # Mistral: some are reasoning
        mixed = any(thinks for thinks, _ in parts)
        found = [field for field in _FIELDS if said.get(field)]
        detailed = self._field == "reasoning_details"
        wanted = [BESIDE_DETAILS, self._field] if detailed and text else [self._field]
        fine = isinstance(said.get(self._field), list if detailed else str)  # hazard H072
        if not mixed and (not found or (found == wanted and fine)):
            return said
        told = {key: value for key, value in said.items() if key not in _FIELDS}
        if mixed:
            rest = [part for part in content if not any(thinks for thinks, _ in segments([part]))]
            plain = all(isinstance(part, dict) and part.get("type") == "text" for part in rest)
            told["content"] = "".join(words for _, words in segments(rest)) if plain else rest
            text += "".join(words for thinks, words in parts if thinks)
        if self._field == "drop":
            told.pop("thinking_blocks", None)  # LiteLLM: Anthropic's blocks
            self._ledger.note("content[].thinking", "this client is told no reasoning")
        elif detailed:
            told |= {BESIDE_DETAILS: text} if text else {}
            if given := (said[self._field] if fine else []) or details(text):
                told[self._field] = given
        else:
            told |= {self._field: text} if text else {}
            if is_signed(said.get("reasoning_details")):
                self._ledger.note("choices[].message.reasoning_details", "a text has no place for signatures")
        return told


def choices(wire: Any) -> list[Wire]:
    """The answers in a chunk or a body."""
    found = wire.get("choices") if isinstance(wire, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def first_delta(wire: Any) -> Wire:
    """The `delta` of the first answer in a chunk, itself; an empty one if there is none."""
    for choice in choices(wire):
        if choice.get("index") in (0, None, "0") and isinstance(choice.get("delta"), dict):
            delta: Wire = choice["delta"]
            return delta
    return {}


def take_calls(wire: Any) -> list[Wire]:
    """Take the calls of functions, or pieces of them, out of the first answer's `delta`: what was there.

    Calls of what is no function stay where they are.
    """
    delta = first_delta(wire)
    pieces = delta.get("tool_calls")
    if not isinstance(pieces, list):
        return []
    if left := [each for each in pieces if not is_function(each)]:
        delta["tool_calls"] = left
    else:
        del delta["tool_calls"]
    return [each for each in pieces if is_function(each)]


def is_function(call: Any) -> bool:
    return isinstance(call, dict) and call.get("custom") is None


def unknown_fields(call: Wire) -> Wire:
    """What a piece of a call has beside what everyone's has."""
    return {key: value for key, value in call.items() if key not in _KNOWN and value is not None}


def says_more(wire: Wire) -> bool:
    """Whether a chunk still says anything once its calls are taken out; a role is nothing new."""
    if any(map(wire.get, _BESIDE)):
        return True
    for choice in choices(wire):
        delta = choice.get("delta")
        if choice.get("finish_reason") or (isinstance(delta, dict) and any(map(delta.get, delta.keys() - {"role"}))):
            return True
    return False
