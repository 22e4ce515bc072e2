"""The other fields of a chat request → `max_tokens` and the fields that Anthropic has for them."""

from typing import Any

from trioproxy.dialects.openai.read_options import (
    HARMLESS,
    read_limit,
    read_reasoning,
    read_rest,
    read_sampling,
    read_schema,
    read_stop,
    read_user,
)
from trioproxy.dialects.openai.told import Lost, Wire, shown, typed
from trioproxy.items import Extra

__all__ = ["read_options"]


def read_options(wire: Wire, lost: Lost) -> tuple[int | None, Extra]:
    extra: Extra = {}
    for read in (read_sampling, read_stop, read_user, read_reasoning, _format):
        read(wire, extra, lost)
    read_rest(wire, _READ, _HARMLESS, lost)
    return read_limit(wire, _LIMITS, lost), extra


_LIMITS = ("max_completion_tokens", "max_tokens")  # the newer name wins (H133)


def _format(wire: Wire, extra: Extra, lost: Lost) -> None:
    said = typed(wire, "response_format", lambda value: isinstance(value, dict), "an object") or {}
    kind = said.get("type")
    if kind == "json_schema":
        outer = inner if isinstance(inner := said.get("json_schema"), dict) else {}
        read_schema(outer, "response_format.json_schema", extra, lost)
    elif kind not in (None, "text"):
        # Without a schema Anthropic has nothing that makes JSON certain (H140).
        lost.setdefault("response_format", f"{shown(kind)} cannot be forced: only the prompt asks for it")


_READ = {"model", "messages", "stream", "tools", "functions", "tool_choice", "function_call", *_LIMITS}
_READ |= {"temperature", "top_p", "top_k", "stop", "user", "safety_identifier", "metadata"}
_READ |= {"reasoning", "reasoning_effort", "thinking", "response_format"}
_READ |= {"stream_options"}  # about the answer: whoever writes it reads this from the source
_READ |= {"prompt_cache_key"}  # where a cache is

_HARMLESS: dict[str, tuple[Any, ...]] = {
    **HARMLESS,
    "best_of": (1,),
    "echo": (False,),
    "modalities": (["text"],),
    "verbosity": ("medium",),
}
