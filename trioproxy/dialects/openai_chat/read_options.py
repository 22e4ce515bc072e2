"""The other fields of a chat request → `max_tokens` and the fields that Anthropic has for them.

A field that has no place there is noted, unless it says only what holds anyway (hazards H100, H133-H145).
"""

from typing import Any

from trioproxy.dialects.openai_chat.told import Lost, Wire, named, note_fields, refusal, shown, typed
from trioproxy.items import Extra

__all__ = ["read_options"]

_HOTTEST = 1  # Anthropic's temperature ends there; OpenAI's at 2

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


def read_options(wire: Wire, lost: Lost) -> tuple[int | None, Extra]:
    extra: Extra = {}
    for read in (_sampling, _stop, _user, _metadata, _reasoning, _format):
        read(wire, extra, lost)
    for key, value in wire.items():
        if key not in _READ and value is not None and not any(value == harmless for harmless in _HARMLESS.get(key, ())):
            lost.setdefault(key[:60], _REASONS.get(key, "Anthropic has none"))
    return _max_tokens(wire, lost), extra


def _max_tokens(wire: Wire, lost: Lost) -> int | None:
    said = [typed(wire, key, _whole, "an integer") for key in ("max_completion_tokens", "max_tokens")]
    most = next((int(each) for each in said if each is not None), None)  # the newer name wins (H133)
    if most is not None and most < 1:
        lost.setdefault("max_tokens", f"{most} would be no answer: taken as no limit")
        return None
    return most


def _sampling(wire: Wire, extra: Extra, lost: Lost) -> None:
    temperature = typed(wire, "temperature", _number, "a number")
    if temperature is not None:
        if temperature > _HOTTEST:
            lost.setdefault("temperature", f"approximated: {temperature} is above Anthropic's most, {_HOTTEST}")
        extra["temperature"] = min(temperature, _HOTTEST)
    if (top_p := typed(wire, "top_p", _number, "a number")) is not None:
        extra["top_p"] = top_p
    if (top_k := typed(wire, "top_k", _whole, "an integer")) is not None:
        extra["top_k"] = top_k


def _stop(wire: Wire, extra: Extra, lost: Lost) -> None:
    stop = typed(wire, "stop", _strings, "a string or an array of strings")
    if stop:
        extra["stop_sequences"] = [stop] if isinstance(stop, str) else stop


def _user(wire: Wire, extra: Extra, lost: Lost) -> None:
    if user := typed(wire, "user", lambda value: isinstance(value, str), "a string"):
        extra["metadata"] = {"user_id": user}


def _metadata(wire: Wire, extra: Extra, lost: Lost) -> None:
    """Labels for OpenAI's own listings; but the session is told to us."""
    labels = wire.get("metadata")
    if isinstance(labels, dict):
        labels = {key: value for key, value in labels.items() if key != "session_id"} or None
    if labels is not None:
        lost.setdefault("metadata", "Anthropic has none")


def _reasoning(wire: Wire, extra: Extra, lost: Lost) -> None:
    """Three spellings: OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, and Anthropic's own `thinking`."""
    reasoning = typed(wire, "reasoning", lambda value: isinstance(value, dict), "an object") or {}
    effort, budget = reasoning.get("effort"), reasoning.get("max_tokens")
    if effort is None:
        effort = typed(wire, "reasoning_effort", lambda value: isinstance(value, str), "a string")
    if effort == "none" or (reasoning.get("enabled") is False and effort is None):
        extra["thinking"] = {"type": "disabled"}
    elif isinstance(budget, int) and budget > 0:
        extra["thinking"] = {"type": "enabled", "budget_tokens": budget}
    elif isinstance(effort, str) and effort in _EFFORTS:
        extra["thinking"] = {"type": "adaptive"}
        extra["output_config"] = {"effort": _EFFORTS[effort]}
    elif effort is not None:
        lost.setdefault("reasoning_effort", f"no effort is called {shown(effort)}")
    elif reasoning.get("enabled") is True:
        extra["thinking"] = {"type": "adaptive"}
    note_fields(reasoning, ("effort", "max_tokens", "enabled"), "reasoning", lost)
    thinking = wire.get("thinking")
    if isinstance(thinking, dict) and isinstance(thinking.get("type"), str):
        extra["thinking"] = thinking  # what speaks Anthropic's own words is meant for it
        if thinking["type"] == "disabled":
            extra.pop("output_config", None)  # the two contradict each other (H084)
    elif thinking is not None:
        lost.setdefault("thinking", "not as Anthropic has it")


def _format(wire: Wire, extra: Extra, lost: Lost) -> None:
    said = typed(wire, "response_format", lambda value: isinstance(value, dict), "an object") or {}
    kind = said.get("type")
    if kind == "json_schema":
        outer = inner if isinstance(inner := said.get("json_schema"), dict) else {}
        schema = outer.get("schema")
        if not isinstance(schema, dict):
            raise refusal(f"response_format.json_schema.schema: expected an object, got {named(schema)}")
        extra.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
        # A name is there because OpenAI wants one; and Anthropic is always strict.
        note_fields(outer, ("name", "schema", "strict"), "response_format.json_schema", lost)
    elif kind not in (None, "text"):
        # Without a schema Anthropic has nothing that makes JSON certain (H140).
        lost.setdefault("response_format", f"{shown(kind)} cannot be forced: only the prompt asks for it")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return _number(value) and value == int(value)


def _strings(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


_READ = {"model", "messages", "stream", "tools", "functions", "tool_choice", "function_call"}
_READ |= {"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "user", "metadata"}
_READ |= {"reasoning", "reasoning_effort", "thinking", "response_format"}
_READ |= {"stream_options"}  # about the answer: whoever writes it reads this from the source

# What each field says where it says only what holds anyway.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "store": (False,),
    "echo": (False,),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "parallel_tool_calls": (True, False),  # false is in the choice of tools, and needs tools
    "usage": ({"include": True},),  # OpenRouter's: we always tell it
}

_REASONS = {
    "n": "Anthropic gives one answer",
    "seed": "Anthropic's answers cannot be repeated",
    "logprobs": "Anthropic tells none",
    "store": "nothing is stored",
}
