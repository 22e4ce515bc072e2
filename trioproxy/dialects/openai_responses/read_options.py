"""The other fields of a Responses request → `max_tokens` and the fields that Anthropic has for them."""

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
from trioproxy.dialects.openai.told import UNSAID, Lost, Wire, note_fields, refusal, shown, typed
from trioproxy.items import Extra

__all__ = ["read_options"]


def read_options(wire: Wire, lost: Lost) -> tuple[int | None, Extra]:
    extra: Extra = {}
    for read in (_kept, read_sampling, read_stop, read_user, _reasoning, _text, _include):
        read(wire, extra, lost)
    read_rest(wire, _READ, _HARMLESS, lost)
    return read_limit(wire, _LIMITS, lost), extra


# Cursor sends such a body to chat/completions, with the names of that (H150h).
_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")


def _kept(wire: Wire, extra: Extra, lost: Lost) -> None:
    """What only an API that keeps things can do (H150f): nothing can be said instead."""
    for key, (wanted, advice) in _FATAL.items():
        value = wire.get(key)
        if value is not None and value is not False and value != "":
            lost.refuse(refusal(f"{key}: {wanted}; {advice}"), key)


_FATAL = {
    "previous_response_id": (
        "no responses are kept here",
        "send the whole conversation as input, or let the route keep them: replay-responses, remember-responses",
    ),
    "conversation": ("no conversations are kept here", "send the whole conversation as input"),
    "prompt": ("no prompts are kept here", "send the prompt's text as instructions and input"),
    "background": ("nothing runs on here after a request", "ask without it, and stream the answer"),
}


def _reasoning(wire: Wire, extra: Extra, lost: Lost) -> None:
    """A summary is for those who want to see what was thought: so it is to be thought, and shown. Newer models of
    Anthropic's show nothing unless they are told to (platform.claude.com/docs/en/build-with-claude/thinking)."""
    read_reasoning(wire, extra, lost, _SILENT)
    reasoning = wire.get("reasoning") or {}
    if reasoning.get("mode") not in (None, "standard"):
        lost.setdefault("reasoning.mode", UNSAID)
    if any(reasoning.get(key) in _SUMMARIES for key in ("summary", "generate_summary")):
        thinking = extra.get("thinking", {"type": "adaptive"})
        if thinking.get("type") != "disabled":
            extra["thinking"] = thinking | {"display": thinking.get("display", "summarized")}


_SILENT = ("summary", "generate_summary", "context", "mode")
_SUMMARIES = ("auto", "concise", "detailed")


def _text(wire: Wire, extra: Extra, lost: Lost) -> None:
    text = typed(wire, "text", lambda value: isinstance(value, dict), "an object") or {}
    form = text.get("format")
    kind = form.get("type") if isinstance(form, dict) else form
    if kind == "json_schema" and isinstance(form, dict):
        read_schema(form, "text.format", extra, lost)
    elif kind not in (None, "text"):
        # Without a schema Anthropic has nothing that makes JSON certain (H140).
        lost.setdefault("text.format", f"{shown(kind)} cannot be forced: only the prompt asks for it")
    if text.get("verbosity") not in (None, "medium"):
        lost.setdefault("text.verbosity", UNSAID)
    note_fields(text, {"format", "verbosity"}, "text", lost)


def _include(wire: Wire, extra: Extra, lost: Lost) -> None:
    """What is thought is always carried; all else that can be included is of tools that run at OpenAI, or logprobs."""
    included = wire.get("include")
    if isinstance(included, list):
        included = [each for each in included if each != "reasoning.encrypted_content"]
    if included:
        lost.setdefault("include", "there is nothing more to tell of an answer here")


_READ = {"model", "input", "instructions", "stream", "tools", "tool_choice", "text", "include", *_LIMITS, *_FATAL}
_READ |= {"temperature", "top_p", "top_k", "stop", "user", "safety_identifier", "metadata"}
_READ |= {"reasoning", "reasoning_effort", "thinking"}
_READ |= {"stream_options"}  # about the answer: whoever writes it reads this from the source
_READ |= {"client_metadata", "prompt_cache_key"}  # about the client, and where a cache is
_READ |= {"max_tool_calls"}  # of tools that run at OpenAI, of which there is none

_HARMLESS: dict[str, tuple[Any, ...]] = {
    **HARMLESS,
    "truncation": ("disabled",),
}
