"""How hard to think (H082-H084, H088): Anthropic's efforts and budgets as OpenAI's efforts."""

from typing import Any

from trioproxy.dialects.openai.write_options import NO_FIELD
from trioproxy.ledger import Ledger

__all__ = ["EFFORTS", "asked_effort", "asked_thinking", "nearest"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""From least to most."""
_BUDGETS = ((4096, "low"), (16384, "medium"))  # thinking up to so many tokens is that much effort; above: high


def asked_thinking(said: Wire, known: set[str], ledger: Ledger) -> Wire:
    """The field `thinking`, without nulls; what of it is not `known` is noted."""
    thinking = said.get("thinking")
    if not isinstance(thinking, dict):
        if thinking is not None:
            ledger.note("thinking", NO_FIELD)
        return {}
    for key, value in thinking.items():
        if key not in known and value not in (None, "summarized"):  # as it is shown to whoever does not say
            ledger.note(f"thinking.{key}", NO_FIELD)
    return {key: value for key, value in thinking.items() if value is not None}


def asked_effort(said: Wire, thinking: Wire, ledger: Ledger) -> tuple[str | None, str]:
    """How hard the client wants the model to think, and where it said so."""
    config, budget = said.get("output_config"), thinking.get("budget_tokens")
    effort = config.get("effort") if isinstance(config, dict) else None
    if effort is not None:
        if budget is not None:
            ledger.note("thinking.budget_tokens", "the effort is sent instead")
        return str(effort), "output_config.effort"
    if thinking.get("type") != "enabled" or not isinstance(budget, int):
        return None, "thinking"
    level = next((level for most, level in _BUDGETS if budget <= most), "high")
    ledger.note("thinking.budget_tokens", "there are no budgets, only an effort")
    return level, "thinking.budget_tokens"


def nearest(effort: str, taken: tuple[str, ...], path: str, ledger: Ledger) -> str:
    """The value of `taken` that is nearest to `effort`, of two the greater; no thinking only for no thinking."""
    if effort in taken:
        return effort
    rank = EFFORTS.index(effort)
    thinking = [each for each in taken if each != "none"]
    sent = min(thinking, key=lambda each: (abs(EFFORTS.index(each) - rank), -EFFORTS.index(each)))
    ledger.note(path, f"this model takes {', '.join(taken)}: {sent} is sent")
    return sent
