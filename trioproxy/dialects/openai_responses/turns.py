"""Items of a Responses request, in turns: which items each message of the one vocabulary is made of.

A turn of the model's is many items here: its reasoning, its words, each of its calls. Everyone else's is one.
"""

from typing import Any

import msgspec

from trioproxy.dialects.openai.told import Wire

__all__ = ["ASSISTANT", "Turn", "items_in", "kind_of", "turned"]

ASSISTANT = "assistant"
_SYSTEM = ("system", "developer")


class Turn(msgspec.Struct, frozen=True):
    """Neighbouring items of one speaker. Between them may be some that nobody says, as they tell of tools."""

    role: str
    """As Anthropic names it; empty for one that it has no name for."""
    items: tuple[int, ...]
    """Where they are in the input."""


def items_in(wire: Wire) -> list[Any]:
    """The items of a request's `input`; a string is one of the user's."""
    said = wire.get("input")
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    return said if isinstance(said, list) else []


def turned(items: list[Any]) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """The turns in front, which are the system's or nobody's, and those of the conversation: a message is made of each.

    What nobody says belongs to the turn before it.
    """
    roles, members = [""], [list[int]()]  # the first is of what nobody says in front
    for index, item in enumerate(items):
        role = _role(item)
        if role is None or role == roles[-1] == ASSISTANT:
            members[-1].append(index)
        else:
            roles.append(role)
            members.append([index])
    turns = tuple(Turn(role, tuple(each)) for role, each in zip(roles, members, strict=True))
    begun = next((number for number, role in enumerate(roles) if number and role != "system"), len(turns))
    return turns[:begun], turns[begun:]


def kind_of(item: Any) -> str:
    """The type of an item, which the commonest need not say (H150c)."""
    if not isinstance(item, dict):
        return ""
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else "item_reference" if "id" in item else ""
    if not isinstance(kind, str):
        return ""
    return "hosted" if kind in _HOSTED or (kind in _SEARCHES and not item.get("call_id")) else kind


def _role(item: Any) -> str | None:
    kind = kind_of(item)
    if kind != "message":
        return _ROLES.get(kind)
    role = item.get("role")
    return "system" if role in _SYSTEM else role if isinstance(role, str) and role in ("user", ASSISTANT) else ""


# Who says an item; of all others, nobody does.
_ROLES = {
    "reasoning": ASSISTANT,
    "function_call": ASSISTANT,
    "custom_tool_call": ASSISTANT,
    "local_shell_call": ASSISTANT,
    "shell_call": ASSISTANT,
    "apply_patch_call": ASSISTANT,
    "computer_call": ASSISTANT,
    "tool_search_call": ASSISTANT,
    "hosted": ASSISTANT,
    "function_call_output": "user",
    "custom_tool_call_output": "user",
    "local_shell_call_output": "user",
    "shell_call_output": "user",
    "apply_patch_call_output": "user",
    "computer_call_output": "user",
    "tool_search_output": "user",
    "agent_message": "user",  # of another agent of Codex's to this one
    "input_text": "user",
    "input_image": "user",
    "input_file": "user",
    "item_reference": "",
    "compaction_trigger": "",
}

# What ran at the provider, between the model's words.
_HOSTED = {
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "program",
    "program_output",
}
_SEARCHES = {"tool_search_call", "tool_search_output"}  # those that the client ran have a call's id
