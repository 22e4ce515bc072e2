"""Fields of a request that both dialects have → the fields that Anthropic has for them.

A field that has no place there is noted, unless it says only what holds anyway (hazards H100, H133-H145).
"""

from collections.abc import Collection, Mapping
from typing import Any

from trioproxy.dialects.openai.told import UNSAID, Lost, Wire, named, note_fields, refusal, shown, typed
from trioproxy.items import Extra

__all__ = ["HARMLESS", "REASONS", "read_limit", "read_reasoning", "read_rest", "read_sampling", "read_schema"]
__all__ += ["read_stop", "read_user"]

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")  # the first is OpenAI's alone


def read_limit(wire: Wire, names: Collection[str], lost: Lost) -> int | None:
    """The most tokens of an answer: what the first of `names` says that says anything."""
    said = [(name, typed(wire, name, _whole, "an integer")) for name in names]
    name, most = next(((name, int(each)) for name, each in said if each is not None), ("", None))
    if most is not None and most < 1:
        lost.setdefault(name, f"{most} would be no answer: taken as no limit")
        return None
    return most


def read_sampling(wire: Wire, extra: Extra, lost: Lost) -> None:
    for name, fine, expected in _SAMPLING:
        if (value := typed(wire, name, fine, expected)) is not None:
            extra[name] = value


def read_stop(wire: Wire, extra: Extra, lost: Lost) -> None:
    stop = typed(wire, "stop", _strings, "a string or an array of strings")
    if stop:
        extra["stop_sequences"] = [stop] if isinstance(stop, str) else stop


def read_user(wire: Wire, extra: Extra, lost: Lost) -> None:
    """Who asks. `metadata` are labels for OpenAI's own listings; but the session in them is told to us."""
    said = [typed(wire, name, lambda value: isinstance(value, str), "a string") for name in _USER]
    if user := next((each for each in said if each), None):
        extra["metadata"] = {"user_id": user}
    labels = wire.get("metadata")
    if isinstance(labels, dict):
        labels = {key: value for key, value in labels.items() if key != "session_id"} or None
    if labels is not None:
        lost.setdefault("metadata", UNSAID)


_USER = ("safety_identifier", "user")  # the newer name wins


def read_reasoning(wire: Wire, extra: Extra, lost: Lost, silent: Collection[str] = ()) -> None:
    """Three spellings: OpenAI's `reasoning_effort`, which OpenRouter and Responses have as the `effort` of `reasoning`,
    and Anthropic's own `thinking`. The `silent` fields of `reasoning` are read elsewhere."""
    reasoning = typed(wire, "reasoning", lambda value: isinstance(value, dict), "an object") or {}
    effort, budget = reasoning.get("effort"), reasoning.get("max_tokens")
    path = "reasoning.effort" if effort is not None else "reasoning_effort"
    if effort is None:
        effort = typed(wire, path, lambda value: isinstance(value, str), "a string")
    if effort == "ultra":  # Codex's, which itself says max for it
        lost.setdefault(path, "approximated as max")
        effort = _EFFORTS[-1]
    if effort == "none" or (reasoning.get("enabled") is False and effort is None):
        extra["thinking"] = {"type": "disabled"}
    elif isinstance(budget, int) and budget > 0:
        extra["thinking"] = {"type": "enabled", "budget_tokens": budget}
    elif isinstance(effort, str) and effort in _EFFORTS:
        extra["thinking"] = {"type": "adaptive"}
        extra["output_config"] = {"effort": effort}
    elif effort is not None:
        lost.setdefault(path, f"no effort is called {shown(effort)}")
    elif reasoning.get("enabled") is True:
        extra["thinking"] = {"type": "adaptive"}
    note_fields(reasoning, {"effort", "max_tokens", "enabled", *silent}, "reasoning", lost)
    thinking = wire.get("thinking")
    if isinstance(thinking, dict) and isinstance(thinking.get("type"), str):
        extra["thinking"] = thinking  # what speaks Anthropic's own words is meant for it
        if thinking["type"] == "disabled":
            extra.pop("output_config", None)  # the two contradict each other (H084)
    elif thinking is not None:
        lost.setdefault("thinking", "not as Anthropic has it")


def read_schema(outer: Wire, path: str, extra: Extra, lost: Lost) -> None:
    """The form of the answer: `outer`, which stood at `path`, has its `schema`."""
    schema = outer.get("schema")
    if not isinstance(schema, dict):
        raise refusal(f"{path}.schema: expected an object, got {named(schema)}")
    extra.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
    # A name is there because OpenAI wants one; and Anthropic is always strict.
    note_fields(outer, {"type", "name", "schema", "strict"}, path, lost)


def read_rest(wire: Wire, read: Collection[str], harmless: Mapping[str, tuple[Any, ...]], lost: Lost) -> None:
    """Note the fields that are not `read`, and say more than what holds anyway."""
    for key, value in wire.items():
        if key not in read and value is not None and not any(value == each for each in harmless.get(key, ())):
            lost.setdefault(key[:60], REASONS.get(key, UNSAID))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return _number(value) and value == int(value)


def _strings(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


_SAMPLING = (
    ("temperature", _number, "a number"),
    ("top_p", _number, "a number"),
    ("top_k", _whole, "an integer"),
)

HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "parallel_tool_calls": (True, False),  # false is in the choice of tools, and needs tools
    "prompt_cache_retention": ("in_memory",),
    "prompt_cache_options": ({"mode": "implicit"},),
    "usage": ({"include": True},),  # OpenRouter's: we always tell it
}
"""What each field says where it says only what holds anyway."""

REASONS = {
    "n": "one answer is given",
    "seed": "no answer can be repeated",
    "logprobs": "none are told",
    "top_logprobs": "none are told",
    "store": "nothing is stored",
}
"""Why a field is lost."""
