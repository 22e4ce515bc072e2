"""The response object, which the first events of an answer have in them, and the last.

It says again what the client asked for. Every field is there that the API always sends, and SDKs declare as required;
what only OpenAI could know (`completed_at`, `service_tier`) is not.
"""

from typing import Any

import msgspec

from trioproxy.dialects.openai.facts import Facts
from trioproxy.dialects.openai_responses.ladder import Wire
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import MessageStart
from trioproxy.stage import Exchange

__all__ = ["NAMES", "Response"]

NAMES = {
    "in_progress": "response.in_progress",
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
}
"""The event that tells a response, by its status."""

# What the client may have said, of which kinds it must be to be said again, and what the API says if it is none.
_ECHO: dict[str, tuple[type | tuple[type, ...], Any]] = {
    "background": (bool, False),
    "instructions": ((str, list), None),
    "max_output_tokens": (int, None),
    "max_tool_calls": (int, None),
    "metadata": (dict, {}),
    "parallel_tool_calls": (bool, True),
    "previous_response_id": (str, None),
    "prompt_cache_key": (str, None),
    "reasoning": (dict, {"effort": None, "summary": None}),
    "safety_identifier": (str, None),
    "temperature": ((int, float), 1.0),
    "text": (dict, {"format": {"type": "text"}}),
    "tool_choice": ((str, dict), "auto"),
    "tools": (list, []),
    "top_logprobs": (int, 0),
    "top_p": ((int, float), 1.0),
    "truncation": (str, "disabled"),
    "user": (str, None),
}

_NAMED = ("id", "created_at", "model")
_OURS = frozenset({"status", "error", "incomplete_details", "output"})  # what depends on the content


class Response:
    """Of one answer. `same`: the upstream speaks Responses too, and what it says of itself holds."""

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        source = exchange.request.source if exchange.request else None
        wire = source.wire if source is not None and source.dialect == "openai-responses" else {}
        # Encoded once: the tools alone may be a hundred thousand bytes.
        self._echo = {key: msgspec.Raw(msgspec.json.encode(_said(wire, key))) for key in _ECHO}
        self._id, self._created = f"resp_{exchange.id}", exchange.created
        self._shown, self._same = exchange.model, same
        self.renamed = exchange.model if same and exchange.model != exchange.upstream_model else ""
        """The model's name as the client knows it, if the upstream says another."""
        self._model = exchange.model if self.renamed or not same else ""
        self._own: Wire = {}
        self.named: Wire = {}
        """What must be the same from the first event to the last, once it has been told in words of ours."""

    def read(self, event: MessageStart) -> None:
        """Of several messages in a row the first names the answer."""
        self._model = self._model or event.model or self._shown
        if self._same and event.id:
            self._id = event.id

    def read_own(self, response: msgspec.Raw) -> None:
        """What an upstream of the same dialect says of its response holds for what we say of it; the later counts."""
        try:
            wire = msgspec.json.decode(response, type=dict[str, msgspec.Raw] | None) or {}
        except BAD_JSON:
            return
        self._own |= {key: value for key, value in wire.items() if key not in _OURS and not _uncounted(key, value)}

    def write(
        self,
        status: str,
        output: list[Any] | None = None,
        *,
        incomplete: str = "",
        facts: Facts | None = None,
    ) -> Wire:
        """`facts` once the tokens are counted."""
        head: Wire = {"id": self._id, "object": "response", "created_at": self._created, "status": status}
        said = self._own or {**self._echo, "model": self._model or self._shown, "store": False}
        usage = self._own.get("usage") or _usage(facts) if facts else None
        ours: Wire = {"status": status, "error": None, "output": output or [], "usage": usage}
        ours["incomplete_details"] = {"reason": incomplete} if incomplete else None
        wire = head | said | ours | ({"model": self.renamed} if self.renamed else {})
        self.named = self.named or {key: wire.get(key) for key in _NAMED}
        return wire | self.named


def _said(wire: Wire, key: str) -> Any:
    """What is to be said of a field of the client's."""
    value, (kinds, default) = wire.get(key), _ECHO[key]
    if isinstance(value, dict) and isinstance(default, dict):
        return default | value
    return value if isinstance(value, kinds) else default


def _uncounted(key: str, value: msgspec.Raw) -> bool:
    return key == "usage" and value == msgspec.Raw(b"null")


def _usage(facts: Facts) -> Wire:
    return {
        "input_tokens": facts.input,
        "input_tokens_details": {"cache_write_tokens": facts.written, "cached_tokens": facts.cached},
        "output_tokens": facts.output,
        "output_tokens_details": {"reasoning_tokens": facts.thinking_tokens},
        "total_tokens": facts.input + facts.output,
    }
