"""What Claude models can do and refuse, by family and version.

Source: platform.claude.com/docs/en/about-claude/models and the migration guides of each model, read in November 2026;
hazards H082-H086 tell what happens to those who send what a model refuses.
"""

import re
from typing import Literal

import msgspec

__all__ = ["EFFORTS", "Abilities", "abilities"]

EFFORTS = ("low", "medium", "high", "xhigh", "max")
_HIGH = ("low", "medium", "high")
_MAX = ("low", "medium", "high", "max")


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model. The defaults are for those we do not know: of other makers behind Anthropic's API."""

    answer: int | None = None
    """The most tokens of an answer."""
    thinking: Literal["none", "budget", "both", "adaptive"] = "budget"
    """How it can be told to think: by a budget of tokens, or to decide itself."""
    unthinking: Literal["disabled", "between_tools"] | None = "disabled"
    """The type of `thinking` that turns it off; None if nothing does."""
    thinks: bool = False
    """Whether it thinks unless told not to."""
    efforts: tuple[str, ...] = ()
    sampling: Literal["any", "one", "none"] = "any"
    """Whether `temperature` and `top_p` are taken: both, one of them, or none."""
    prefill: bool = True
    """Whether an answer can be begun for it."""
    forced: bool = True
    """Whether it can be made to use a tool."""
    schemas: bool = True
    """Whether it takes `output_config.format`, and `strict` of tools."""
    bound: bool = False
    """Whether it takes its thinking back only if nothing before it has changed ("preserved thinking")."""


_OLD = Abilities(answer=4096, thinking="none", schemas=False)
_NEW = Abilities(
    answer=128_000, thinking="adaptive", thinks=True, efforts=EFFORTS, sampling="none", prefill=False, forced=False
)

# The first row whose families and version fit; `version` and all later ones.
_ROWS: list[tuple[str, tuple[int, int], Abilities]] = [
    ("fable mythos", (0, 0), msgspec.structs.replace(_NEW, unthinking=None, bound=True)),
    ("opus", (5, 5), msgspec.structs.replace(_NEW, unthinking=None, bound=True)),
    ("sonnet", (5, 5), msgspec.structs.replace(_NEW, unthinking="between_tools", bound=True)),
    ("haiku", (5, 5), msgspec.structs.replace(_NEW, forced=True, bound=True)),
    ("haiku", (5, 0), msgspec.structs.replace(_NEW, forced=True)),
    ("opus sonnet", (5, 0), msgspec.structs.replace(_NEW, forced=True)),
    ("opus sonnet haiku", (4, 7), msgspec.structs.replace(_NEW, forced=True, thinks=False)),
    (
        "opus sonnet haiku",
        (4, 6),
        Abilities(answer=128_000, thinking="both", efforts=_MAX, sampling="one", prefill=False),
    ),
    ("opus", (4, 5), Abilities(answer=64_000, efforts=_HIGH, sampling="one")),
    ("sonnet haiku", (4, 5), Abilities(answer=64_000, sampling="one")),
    ("opus", (4, 1), Abilities(answer=32_000, sampling="one")),
    ("opus", (4, 0), Abilities(answer=32_000, schemas=False)),
    ("sonnet haiku", (4, 0), Abilities(answer=64_000, schemas=False)),
    ("sonnet", (3, 7), Abilities(answer=64_000, schemas=False)),
    ("sonnet haiku", (3, 5), msgspec.structs.replace(_OLD, answer=8192)),
    ("opus sonnet haiku instant claude", (0, 0), _OLD),
]

_FAMILY = re.compile(r"opus|sonnet|haiku|fable|mythos|instant")
# `3-5`, `4.6`, `4`; but no date, and no `v1` of Bedrock's names.
_VERSION = re.compile(r"(?<![\dv])(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_UNKNOWN = Abilities()


def abilities(model: str) -> Abilities:
    """Of a model by any name it goes by: `us.anthropic.claude-opus-4-6-v1:0`, `anthropic/claude-4.7-opus`, …"""
    name = model.lower()
    if "claude" not in name:
        return _UNKNOWN
    name = name[name.rindex("claude") :]
    family = match[0] if (match := _FAMILY.search(name)) else "claude"
    found = _VERSION.search(name)
    version = (int(found[1]), int(found[2] or 0)) if found else None
    if version is None and family == "claude":
        return _UNKNOWN
    for families, since, able in _ROWS:
        if family in families.split() and (version is None or version >= since):
            return able
    return _UNKNOWN
