"""How a client is told an answer where its dialect leaves a choice: the options of `translate`, as writers get them.

Only OpenAI Chat leaves one. It has no field for reasoning, so everyone has a name of their own for it (hazard H071),
and it lets arguments of tool calls come in any number of pieces.
"""

from typing import Literal

import msgspec

__all__ = ["Reasoning", "Style", "ToolCalls"]

Reasoning = Literal["reasoning_content", "reasoning", "reasoning_details", "drop"]
ToolCalls = Literal["single", "delta"]


class Style(msgspec.Struct, frozen=True):
    reasoning: Reasoning | None = None
    """The field in which thinking is told. None: as the upstream says it, where it speaks the same dialect, and as
    `reasoning_content` where it does not."""
    tool_calls: ToolCalls = "delta"
    """delta: arguments as they come; single: a call at once, when it is complete."""
