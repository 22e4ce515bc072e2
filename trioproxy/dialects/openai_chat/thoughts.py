"""Thinking → the field in which a chat client is told it, for which everyone has another name (hazard H071).

`reasoning_content` (DeepSeek, then most) and `reasoning` (OpenRouter, Groq, Ollama) are text, never anything else
(H072): signatures have no place in them. `reasoning_details` (OpenRouter) is a list of objects that has one, told with
the text as `reasoning` beside it, which is what Open WebUI shows. What `read_thinking` reads of these is what was told
here.
"""

from typing import Any

from trioproxy.dialects.style import Reasoning
from trioproxy.items import Thinking
from trioproxy.ledger import Ledger

__all__ = ["BESIDE_DETAILS", "Thoughts", "details"]

Wire = dict[str, Any]  # a JSON object as it goes out; `Any` because its inside is the provider's

CLAUDE = "anthropic-claude-v1"
"""OpenRouter's word for what Anthropic signed."""
BESIDE_DETAILS = "reasoning"
"""The field in which OpenRouter tells the text of `reasoning_details` once more."""
_UNKNOWN = "unknown"  # … and for everything it has no word for: to say nothing is to say Anthropic's


def details(text: str, *, number: int = 0, form: str = _UNKNOWN, signature: str = "") -> list[Wire]:
    """A piece of the thinking of block `number`, or its `signature`, as OpenRouter tells it."""
    said: Wire = {"text": text} if text else {}
    if signature:
        said["signature"] = signature
    return [{"type": "reasoning.text", **said, "format": form, "index": number}] if said else []


class Thoughts:
    """Of one answer: the `delta` objects that tell its thinking in `field`.

    `claude`: it is Anthropic who signs.
    """

    def __init__(self, field: Reasoning, ledger: Ledger, *, claude: bool) -> None:
        self._field, self._ledger, self._form = field, ledger, CLAUDE if claude else _UNKNOWN
        self._lost: dict[str, str] = {}
        self._detailed = field == "reasoning_details"
        self.plain = "" if self._detailed or field == "drop" else field
        """The field in which thinking is told as text and nothing else; empty if it is not."""
        # Each block has a number of its own, so that whoever puts the pieces together knows where one ends.
        self._numbers: dict[int, int] = {}
        self._blocks = 0

    def start(self, index: int, block: Thinking) -> list[Wire]:
        self._number(index)
        if self._detailed:
            return self._details(index, block.thinking, block.signature)
        return self.piece(index, block.thinking)

    def piece(self, index: int, text: str) -> list[Wire]:
        if not text:
            return []
        if self.plain:
            return [{self.plain: text}]
        if self._detailed:
            return self._details(index, text)
        self._lose("thinking", "")
        return []

    def signature(self, index: int, signature: str) -> list[Wire]:
        if self._detailed:
            return self._details(index, "", signature)
        self._lose("signature", "openai-chat has no signed thinking")
        return []

    def redacted(self, index: int, data: str) -> list[Wire]:
        self._number(index)
        if self._detailed:
            told = {"type": "reasoning.encrypted", "data": data, "format": self._form, "index": self._numbers[index]}
            return [{self._field: [told]}]
        self._lose("redacted_thinking", "reasoning that the provider encrypted")
        return []

    def _number(self, index: int) -> None:
        self._numbers[index] = self._blocks
        self._blocks += 1

    def _details(self, index: int, text: str, signature: str = "") -> list[Wire]:
        told = details(text, number=self._numbers.get(index, 0), form=self._form, signature=signature)
        beside = {BESIDE_DETAILS: text} if text else {}
        return [{**beside, self._field: told}] if told else []

    def _lose(self, what: str, reason: str) -> None:
        if self._field == "drop":
            what, reason = "thinking", "this client is told no reasoning"
        self._lost[f"content[].{what}"] = reason

    def end(self) -> None:
        """The message is over: what was left out of it is lost, unless a stage has kept it by now."""
        for path, reason in self._lost.items():
            self._ledger.note(path, reason)
        self._lost.clear()
