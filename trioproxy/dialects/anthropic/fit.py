"""Requests to an upstream that speaks Anthropic, made to fit its version of the API and its limits.

Whatever the client speaks: its own words go through here too, so nothing is touched that would be taken.
"""

from collections.abc import Callable, Mapping
from typing import Any

from trioproxy.dialects.anthropic.signed import own_thinking
from trioproxy.dialects.anthropic.thinking import LEAST, starts_thinking
from trioproxy.dialects.target import Target
from trioproxy.items import Block, Extra, Message, OtherBlock, Request, Text, ToolResult, replace
from trioproxy.ledger import Ledger

__all__ = ["fit", "fit_metadata"]

# Refused by this version whatever they say (platform.claude.com/docs/en/api/migration-2026-10-21).
_STRICT = "2026-10-21"
_SAMPLING = ("temperature", "top_p", "top_k")
_CLEARING = "clear_thinking"
# Takes only `user_id` in `metadata`: "Extra inputs are not permitted" (BerriAI/litellm#24661). Others may want more.
_ONLY_USER = "api.anthropic.com"

Content = str | tuple[Block, ...]


def fit(request: Request, target: Target, ledger: Ledger) -> Request:
    """The request as `target` takes it, what had to go noted; the very same object if nothing had to."""
    if (left := own_thinking(request, target, ledger)) is not request:
        request = _with_less_thinking(left, ledger)
    if target.max_tokens is not None and request.max_tokens is None:
        request = replace(request, max_tokens=target.max_tokens)  # the API needs one; nothing the client said is lost
    if target.max_tokens is not None and (request.max_tokens or 0) > target.max_tokens:
        request = _clamped(request, target.max_tokens, ledger)
    if target.version == _STRICT:
        request = _without_sampling(request, ledger)
        messages = tuple(_strict(message, ledger) for message in request.messages)
        if any(new is not old for new, old in zip(messages, request.messages, strict=True)):
            request = replace(request, messages=tuple(each for each in messages if each.content != ()))
    return request


def fit_metadata(metadata: Mapping[str, Any], target: Target) -> Mapping[str, Any]:
    """Without the session, which is meant for us, if `target` would refuse it; the very same object if it would not."""
    if target.host != _ONLY_USER or "session_id" not in metadata:
        return metadata
    return {key: value for key, value in metadata.items() if key != "session_id"}


def _clamped(request: Request, most: int, ledger: Ledger) -> Request:
    ledger.note("max_tokens", f"lowered from {request.max_tokens} to {most}, the most this upstream answers")  # H134
    extra = request.extra
    thinking = extra.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if (
        isinstance(thinking, dict) and isinstance(budget, int) and budget >= most
    ):  # "`max_tokens` must be greater than `thinking.budget_tokens`"
        ledger.note("thinking.budget_tokens", "lowered to half of max_tokens, or thinking turned off")  # H082
        extra = {key: value for key, value in extra.items() if key != "thinking"}
        if most // 2 >= LEAST:
            extra["thinking"] = thinking | {"budget_tokens": most // 2}
        else:
            extra = _without_clearing(extra, ledger)
    return replace(request, max_tokens=most, extra=extra)


def _with_less_thinking(request: Request, ledger: Ledger) -> Request:
    """Without thinking if the turn that goes on no longer begins as it must with a budget for it (H074)."""
    thinking = request.extra.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled" or starts_thinking(request.messages):
        return request
    ledger.note("thinking", "turned off: the calls of this turn came without their signed thinking")
    extra = {key: value for key, value in request.extra.items() if key != "thinking"}
    return replace(request, extra=_without_clearing(extra, ledger))


def _without_clearing(extra: Extra, ledger: Ledger) -> Extra:
    """Without the edits that need thinking: "`clear_thinking_20251015` strategy requires `thinking`" (H087)."""
    managed = extra.get("context_management")
    edits = managed.get("edits") if isinstance(managed, dict) else None
    if not isinstance(managed, dict) or not isinstance(edits, list):
        return extra
    left = [edit for edit in edits if not (isinstance(edit, dict) and str(edit.get("type")).startswith(_CLEARING))]
    if len(left) == len(edits):
        return extra
    ledger.note("context_management.edits[type=clear_thinking]", "there is no thinking to clear")
    rest = {key: value for key, value in extra.items() if key != "context_management"}
    return rest | ({"context_management": managed | {"edits": left}} if left else {})


def _without_sampling(request: Request, ledger: Ledger) -> Request:
    gone = [key for key in _SAMPLING if key in request.extra]
    if not gone:
        return request
    for key in gone:
        ledger.note(key, f"API version {_STRICT} has none")
    return replace(request, extra={key: value for key, value in request.extra.items() if key not in gone})


def _strict(message: Message, ledger: Ledger) -> Message:
    """The very same object if nothing had to go."""
    change = _CHANGES.get(message.role)
    if change is None or isinstance(message.content, str):
        return message
    content = _changed(message.content, change, ledger)
    return message if content is message.content else replace(message, content=content)


def _changed(
    content: tuple[Block, ...], change: Callable[[Block, Ledger], Block | None], ledger: Ledger
) -> tuple[Block, ...]:
    blocks = [change(block, ledger) for block in content]
    if all(new is old for new, old in zip(blocks, content, strict=True)):
        return content
    return tuple(block for block in blocks if block)


def _no_document(block: Block, ledger: Ledger) -> Block | None:
    if isinstance(block, OtherBlock) and block.kind == "document":
        ledger.note("messages[role=assistant].content[] (document)", f"API version {_STRICT} refuses it there")
        return None
    return block


def _no_citations(block: Block, ledger: Ledger) -> Block:
    if isinstance(block, Text) and block.extra.get("citations"):
        ledger.note("messages[role=user].content[].citations", f"API version {_STRICT} refuses them there")
        return replace(block, extra={key: value for key, value in block.extra.items() if key != "citations"})
    if isinstance(block, ToolResult) and isinstance(block.content, tuple):
        content = _changed(block.content, _no_citations, ledger)
        return block if content is block.content else replace(block, content=content)
    return block


_CHANGES: dict[str, Callable[[Block, Ledger], Block | None]] = {"assistant": _no_document, "user": _no_citations}
