"""How hard to think, how freely and how long: the options of any request, made ones that the model takes.

The rules are the API's (hazards H082-H086); which model has which is in `abilities`. All that changed is noted.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from trioproxy.dialects.anthropic.abilities import EFFORTS, Abilities
from trioproxy.dialects.target import Target
from trioproxy.items import Extra, Message, RedactedThinking, Request, Thinking, ToolResult, ToolUse, replace
from trioproxy.ledger import Ledger

__all__ = ["BINDING", "LEAST", "options", "starts_thinking", "thinks"]

LEAST = 1024  # tokens that a budget for thinking must have
# Asked for if the client set no limit, which to OpenAI means the model's own. What Claude Code asks for: enough for any
# answer and for thinking, and far from the limits where long answers have to be streamed.
_ASKED = 32_000
_UNKNOWN = 8192  # what models of other makers can be trusted to have
_BUDGETS = {"low": 2048, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
_HOTTEST = 1  # the greatest temperature; OpenAI's is 2
_CALM = 0.95  # the least top_p that thinking allows
_SAMPLING = ("temperature", "top_p", "top_k")
_FORCING = ("any", "tool")
_THINKING = {"type", "budget_tokens", "display"}  # its fields
BINDING = b"thinking-binding-controls-2026-08-01"
"""The beta of `thinking.block_binding` (platform.claude.com/docs/en/build-with-claude/preserved-thinking)."""
_ON, _OFF = ("enabled", "adaptive"), ("disabled", "between_tools")


def options(request: Request, able: Abilities, target: Target, ledger: Ledger) -> Request:
    """The request with options that the model takes; `max_tokens`, which the API needs, always set."""
    extra = dict(request.extra)
    config = dict(extra.pop("output_config", {}))
    if config.get("effort") == "minimal":
        ledger.note("output_config.effort", f"{EFFORTS[0]} instead of minimal, which is OpenAI's alone")  # H083
        config["effort"] = EFFORTS[0]
    most = min((each for each in (target.max_tokens, able.answer) if each), default=None)
    max_tokens = _limit(request.max_tokens, most, target, ledger)

    _choice(extra, able, ledger)
    thinking = _thinking(extra, config, request.messages, able, ledger)
    if thinking and thinking["type"] == "enabled":
        thinking, max_tokens = _budget(thinking, max_tokens, most or max_tokens, ledger)
        thinking = thinking or _off(able)
    _effort(config, thinking, able, target, ledger)
    on = thinking["type"] in _ON if thinking else able.thinks
    _sampling(extra, on, able, ledger)
    # Of models that nobody here knows, some think unasked.
    off = not on and (thinking is not None or able.answer is not None)
    messages = _unthought(request.messages) if off else request.messages
    if on and able.bound and any(map(_is_thinking, _all(messages))):
        # Chat clients change what they send again: a date in the system prompt, text they left out. Thinking that no
        # longer fits what is before it is then dropped by the API, instead of the whole request refused.
        thinking = thinking or {"type": "adaptive"}
        thinking = thinking | {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    if "format" in config and not able.schemas:
        ledger.note("output_config.format", "this model cannot be held to a schema")
        del config["format"]
    if thinking:
        extra["thinking"] = thinking
    if config:
        extra["output_config"] = config
    return replace(request, max_tokens=max_tokens, messages=messages, extra=extra)


def thinks(request: Request, able: Abilities) -> bool:
    """Whether a request that has its options is answered with thinking."""
    return bool(request.extra["thinking"]["type"] in _ON) if "thinking" in request.extra else able.thinks


def _limit(said: int | None, most: int | None, target: Target, ledger: Ledger) -> int:
    if said is None:
        # The API needs a limit. Nothing is lost: the client left it to others to set one.
        return target.max_tokens or min(_ASKED if most else _UNKNOWN, most or _UNKNOWN)
    if most and said > most:
        ledger.note("max_tokens", f"lowered from {said} to {most}, the most the model can answer")  # H134
    return min(said, most) if most else said


def _choice(extra: Extra, able: Abilities, ledger: Ledger) -> None:
    choice = extra.get("tool_choice", {})
    if choice.get("type") in _FORCING and not able.forced:
        ledger.note("tool_choice", "approximated as auto: this model cannot be made to use a tool")
        kept = {key: value for key, value in choice.items() if key not in ("type", "name")}
        extra["tool_choice"] = {"type": "auto"} | kept


def _thinking(
    extra: Extra, config: Extra, messages: tuple[Message, ...], able: Abilities, ledger: Ledger
) -> Extra | None:
    """What is to be sent as `thinking`; a budget in it may still be too big. None: nothing."""
    said = extra.pop("thinking", None)
    for key in (said or {}).keys() - _THINKING:
        ledger.note(f"thinking.{key}", "Anthropic has none")
    forced = extra.get("tool_choice", {}).get("type") in _FORCING
    if forced and able.thinks:
        said = said or {"type": "adaptive"}  # it would, unasked
    if said is None:
        return None
    if said["type"] in _OFF:
        if able.unthinking is None:
            ledger.note("thinking", "this model always thinks: asked for its least effort")
            config["effort"] = EFFORTS[0]
        return _off(able)
    if able.thinking == "none":
        ledger.note("thinking", "this model cannot think")
        return None
    if forced:
        ledger.note("thinking", "turned off: a tool was forced, and both together are refused")  # H086
        return _off(able)
    rest = {key: value for key, value in said.items() if key in ("display",)}
    budget = _number(said.get("budget_tokens"))
    if able.thinking == "adaptive" or (able.thinking == "both" and budget is None):
        if budget is not None:
            ledger.note("thinking.budget_tokens", "approximated as an effort: this model takes no budget")
            config.setdefault("effort", next((name for name, most in _BUDGETS.items() if budget <= most), "max"))
        return {"type": "adaptive"} | rest
    if not starts_thinking(messages):
        ledger.note("thinking", "turned off: the calls of this turn came without their signed thinking")  # H074
        return _off(able)
    if budget is None:
        budget = _BUDGETS.get(config.get("effort", ""), _BUDGETS["medium"])
    return {"type": "enabled", "budget_tokens": budget} | rest


def _off(able: Abilities) -> Extra | None:
    """Models that do not think unasked are not told, as some of them know no way to say it."""
    said = able.thinks or able.answer is None
    return {"type": able.unthinking} if said and able.unthinking else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def starts_thinking(messages: tuple[Message, ...]) -> bool:
    """Whether every answer of the turn that goes on, if one with tools does, begins as it must with thinking on."""
    for message in reversed(messages):
        if message.role == "assistant":
            if not any(isinstance(block, ToolUse) for block in message.content):
                return True
            if not (message.thought or _is_thinking(message.content[0])):
                return False
        elif message.role == "user" and not any(isinstance(block, ToolResult) for block in message.content):
            return True
    return True


def _is_thinking(block: Any) -> bool:
    return isinstance(block, Thinking | RedactedThinking)


def _all(messages: Iterable[Message]) -> Iterator[Any]:
    return (block for message in messages for block in message.content)  # or letters, which are no blocks


def _unthought(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages without thinking, which says nothing to a model that is not to think."""
    if not any(map(_is_thinking, _all(messages))):
        return messages
    return tuple(
        message
        if isinstance(message.content, str)
        else replace(message, content=tuple(block for block in message.content if not _is_thinking(block)))
        for message in messages
    )


def _budget(thinking: Extra, max_tokens: int, most: int, ledger: Ledger) -> tuple[Extra | None, int]:
    """A budget below `max_tokens`: by lowering it, else by raising that, else without thinking (H082).

    `max_tokens` counts thinking too, here as in OpenAI's `max_completion_tokens`: it is what the client pays at most.
    """
    budget = max(LEAST, thinking["budget_tokens"])
    if budget >= max_tokens:
        budget = max(LEAST, min(budget, max_tokens // 2))
    if budget >= max_tokens:
        raised = min(most, budget + max_tokens)
        if raised <= budget:
            ledger.note("thinking", f"turned off: {most} tokens are no room for it")
            return None, max_tokens
        ledger.note("max_tokens", f"raised from {max_tokens} to {raised}: it counts the {budget} tokens of thinking")
        max_tokens = raised
    if budget != thinking["budget_tokens"]:
        ledger.note("thinking.budget_tokens", f"{budget} instead of {thinking['budget_tokens']}")
    return thinking | {"budget_tokens": budget}, max_tokens


def _effort(config: Extra, thinking: Extra | None, able: Abilities, target: Target, ledger: Ledger) -> None:
    effort = config.pop("effort", None)
    if effort is None:
        return
    if target.effort == "drop":
        ledger.note("output_config.effort", "this upstream is not told")
        return
    known = able.efforts
    if thinking and thinking["type"] in _OFF:
        known = tuple(each for each in known if each in ("low", "medium", "high"))  # more is refused without thinking
    if not known:
        return  # the budget says it, or nothing does
    if effort not in known:
        rank = EFFORTS.index(effort) if effort in EFFORTS else len(EFFORTS)
        nearest = next((each for each in reversed(known) if EFFORTS.index(each) <= rank), known[0])
        ledger.note("output_config.effort", f"{nearest} instead of {effort}: the nearest this model knows")  # H083
        effort = nearest
    config["effort"] = effort


def _sampling(extra: Extra, thinks: bool, able: Abilities, ledger: Ledger) -> None:
    """H085."""

    def drop(key: str, reason: str) -> None:
        if extra.pop(key, None) is not None:
            ledger.note(key, reason)

    if able.sampling == "none":
        for key in _SAMPLING:
            drop(key, "this model takes none")
        return
    if (said := extra.get("temperature", 0)) > _HOTTEST:
        ledger.note("temperature", f"approximated: {said} is above Anthropic's most, {_HOTTEST}")
        extra["temperature"] = _HOTTEST
    if thinks:
        drop("top_k", "not taken with thinking")
        if extra.get("temperature", 1) != 1:
            drop("temperature", "must be 1 with thinking")
        if extra.get("top_p", 1) < _CALM:
            drop("top_p", f"must be at least {_CALM} with thinking")
    if able.sampling == "one" and "temperature" in extra:
        drop("top_p", "this model takes temperature or top_p")
