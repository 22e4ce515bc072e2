"""A request of another dialect as one that Anthropic's API takes: what is legal there, and what the model takes."""

import re
from collections.abc import Iterator
from typing import Any

from trioproxy.dialects.anthropic.abilities import Abilities, abilities
from trioproxy.dialects.anthropic.signed import own_thinking
from trioproxy.dialects.anthropic.thinking import options
from trioproxy.dialects.anthropic.turns import turns
from trioproxy.dialects.names import Names
from trioproxy.dialects.target import Target
from trioproxy.errors import ProxyError
from trioproxy.items import Error, Extra, Request, ToolUse, replace
from trioproxy.ledger import Ledger

__all__ = ["translated"]

_NAME_LIMIT = 128  # characters of a tool's name
_ID_LIMIT = 256  # characters of metadata.user_id
# "user_id appears to contain an email address", says the API
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


def translated(request: Request, target: Target, ledger: Ledger) -> tuple[Request, Names]:
    """The request, and the names that its tools go by."""
    able = abilities(request.model)
    if fatal := next((loss for loss in request.unsaid if loss.fatal), None):
        raise ProxyError(Error("invalid_request", fatal.reason, 400))
    ledger.add(request.unsaid)
    request = own_thinking(request, target, ledger)
    request = replace(request, extra=_sound(dict(request.extra), ledger))
    request = _with_tools(request, able, ledger)
    request = turns(request, able, target, ledger)
    request = options(request, able, target, ledger)
    names = Names(_names(request), _NAME_LIMIT)
    return _renamed(request, names), names


def _sound(extra: Extra, ledger: Ledger) -> Extra:
    said = extra.pop("stop_sequences", [])
    if stops := [each for each in said if each.strip()]:
        extra["stop_sequences"] = stops
    if len(stops) < len(said):
        ledger.note("stop_sequences", "Anthropic takes none that are only white space")
    user = extra.get("metadata", {}).get("user_id", "")
    if len(user) > _ID_LIMIT or _EMAIL.search(user):
        ledger.note("metadata.user_id", f"Anthropic takes no email addresses, and no more than {_ID_LIMIT} characters")
        del extra["metadata"]
    return extra


def _with_tools(request: Request, able: Abilities, ledger: Ledger) -> Request:
    tools: dict[str, Extra] = {}
    for tool in request.tools:
        if tool["name"] in tools:
            ledger.note("tools[].name", "a name can be given once: the first stays")
        elif "strict" in tool and not able.schemas:
            ledger.note("tools[].strict", "this model cannot be held to a schema")
            tools[tool["name"]] = {key: value for key, value in tool.items() if key != "strict"}
        else:
            tools[tool["name"]] = tool
    if tools:
        return replace(request, tools=tuple(tools.values()))
    called = dict.fromkeys(use.name for use in _uses(request))
    if not called:
        return request
    # "Requests which include `tool_use` or `tool_result` blocks must define tools" (H070c)
    ledger.note("tools", "declared those of the conversation, and that none may be used")
    schema = {"type": "object", "properties": {}}
    made = tuple({"name": name, "input_schema": schema} for name in called)
    return replace(request, tools=made, extra=request.extra | {"tool_choice": {"type": "none"}})


def _uses(request: Request) -> Iterator[ToolUse]:
    for message in request.messages:
        if not isinstance(message.content, str):
            yield from (block for block in message.content if isinstance(block, ToolUse))


def _names(request: Request) -> Iterator[str]:
    yield from (tool["name"] for tool in request.tools)
    yield from (use.name for use in _uses(request))


def _renamed(request: Request, names: Names) -> Request:
    def of(wire: Extra) -> Any:
        return wire | {"name": names(wire["name"])}

    if not names.renamed:
        return request
    extra = request.extra
    if "name" in extra.get("tool_choice", {}):
        extra = extra | {"tool_choice": of(extra["tool_choice"])}
    messages = [
        message
        if isinstance(message.content, str)
        else replace(
            message,
            content=tuple(
                replace(block, name=names(block.name)) if isinstance(block, ToolUse) else block
                for block in message.content
            ),
        )
        for message in request.messages
    ]
    return replace(request, tools=tuple(map(of, request.tools)), messages=tuple(messages), extra=extra)
