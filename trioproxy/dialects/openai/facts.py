"""What an answer tells beside its content: how many tokens it took, and what OpenAI's dialects have no place for."""

from typing import Any

from trioproxy.items import Usage
from trioproxy.ledger import Ledger

__all__ = ["Facts"]

Wire = dict[str, Any]  # a JSON object as it goes out; `Any` because its inside is the provider's

# What Anthropic tells of an answer beside its content, by the way to it, and what there is to say of it.
_BESIDE: dict[tuple[str, ...], str] = {
    ("context_management",): "",
    ("container",): "",
    ("usage", "server_tool_use"): "",
    ("input_transformations",): "the API left out earlier thinking: what was said before it has changed",
}


class Facts:
    """Of one answer, in `dialect`; what that cannot say is noted in `ledger`."""

    def __init__(self, dialect: str, ledger: Ledger) -> None:
        self.no_such = f"{dialect} has no such thing"
        self._ledger = ledger
        self._usage = Usage()
        self.thinking_tokens = 0
        """How many of the output tokens were thinking."""

    @property
    def cached(self) -> int:
        return self._usage.cache_read_input_tokens or 0

    @property
    def written(self) -> int:
        """Tokens that were written to the cache."""
        return self._usage.cache_creation_input_tokens or 0

    @property
    def input(self) -> int:
        """What was cached is part of the prompt here (hazard H044)."""
        return (self._usage.input_tokens or 0) + self.cached + self.written

    @property
    def output(self) -> int:
        return self._usage.output_tokens or 0

    def add(self, usage: Usage | None, extra: Wire) -> None:
        """Take what an event tells. Usage is cumulative, and zeros at the end say nothing (hazard H046)."""
        if usage is not None:
            before = self._usage
            self._usage = Usage(*(getattr(usage, field) or getattr(before, field) for field in Usage.__struct_fields__))
        if not extra:
            return
        for place in (extra, extra.get("delta"), extra.get("message")):
            counts = place.get("usage") if isinstance(place, dict) else None
            details = counts.get("output_tokens_details") if isinstance(counts, dict) else None
            if isinstance(details, dict) and isinstance(details.get("thinking_tokens"), int):
                self.thinking_tokens = details["thinking_tokens"]
            self._note(place)

    def _note(self, place: Any) -> None:
        """What is told there and has anything to say."""
        for (*within, key), reason in _BESIDE.items():
            wire = place
            for name in within:
                wire = wire.get(name) if isinstance(wire, dict) else None
            value = wire.get(key) if isinstance(wire, dict) else None
            if any(value.values()) if isinstance(value, dict) else value:
                self._ledger.note(".".join([*within, key]), reason or self.no_such)
