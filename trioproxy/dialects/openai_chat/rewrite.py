"""A chat request that stages changed, for an upstream that speaks chat too: what the client sent, with those changes.

Nothing is merged, paired or repaired here: the client knows its upstream. A message that nobody changed stays the very
object that came, whatever is in it.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import msgspec

from trioproxy.dialects.carried import TAG
from trioproxy.dialects.openai.inputs import unpacked
from trioproxy.dialects.openai.offered import Offered, offered
from trioproxy.dialects.openai.told import refusal
from trioproxy.dialects.openai.write_content import is_text, texts, write_parts
from trioproxy.dialects.openai.write_options import cache_key
from trioproxy.dialects.openai_chat.hosts import ways_of
from trioproxy.dialects.openai_chat.write_content import PARTS
from trioproxy.dialects.openai_chat.write_request import write_request
from trioproxy.dialects.patch import patched
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Block, Message, OtherBlock, Request, Source, Text, ToolResult, ToolUse, replace
from trioproxy.ledger import Ledger

__all__ = ["fit", "rewrite"]

Wire = dict[str, Any]  # a JSON object of the body; `Any` because what is inside came from the client
Tools = Mapping[str, Offered]

_SYSTEM = ("system", "developer")
_LIMITS = ("max_completion_tokens", "max_tokens")  # the newer name counts (H133)
# Reasoning that a chat client gives back in objects, and their opaque fields: see `read_thinking`.
_SIGNED = ("reasoning_details", "thinking_blocks")
_SEALS = ("signature", "data")


def fit(request: Request, target: Target, ledger: Ledger) -> Request:
    """The request with the limit of `target` (H134), and so that reasoning of others is taken out when it is written
    (H075); all else the client knows of its upstream. The very same object if nothing has to change."""
    most, said, source = target.max_tokens, request.max_tokens, request.source
    messages = source.wire["messages"] if source is not None and source.dialect == PARTS.dialect else []
    if any(_own(message) is not message for message in messages):
        ledger.note("messages[].reasoning_details", "another upstream or model has thought it")
        request = replace(request)
    if most is None or (said is not None and said <= most):
        return request
    if said is not None:
        ledger.note("max_tokens", f"lowered from {said} to {most}, the most this upstream answers")
    return replace(request, max_tokens=most)


def rewrite(request: Request, source: Source, target: Target) -> Written:
    """The body for `request`, which was made of `source`. Raises `ProxyError` for what cannot be said."""
    try:
        return _rewritten(request, source, target)
    except RecursionError as exc:
        raise refusal("the request is nested too deeply") from exc


def _rewritten(request: Request, source: Source, target: Target) -> Written:
    before = replace(source.request, model=request.model)  # whose ways count for both
    tools = offered(source.wire)
    wire = patched(source.wire, _beside(before, target, tools), _beside(request, target, tools))
    wire = wire | {"model": request.model}
    if request.max_tokens != source.request.max_tokens:
        wire = _limited(wire, request.max_tokens, ways_of(target, request.model).limit)
    if (key := cache_key(target)) and wire.get("prompt_cache_key") is None:
        wire = wire | {"prompt_cache_key": key}
    messages = [_own(message) for message in source.wire["messages"]]
    begun = next((index for index, each in enumerate(messages) if each.get("role") not in _SYSTEM), len(messages))
    front = messages[:begun]
    if request.system != source.request.system:
        role = front[0]["role"] if front else "system"
        front = _leading(request.system, role)
    turns = _aligned(messages[begun:], source.request.messages, request.messages, tools)
    return Written(msgspec.json.encode(wire | {"messages": front + turns}))


def _own(message: Wire) -> Wire:
    """The message without the reasoning that we carried: no chat upstream has made any of that."""
    for key in _SIGNED:
        told = message.get(key)
        kept = [each for each in told if not _sealed(each)] if isinstance(told, list) else told
        if kept != told:
            message = {name: value for name, value in message.items() if name != key} | ({key: kept} if kept else {})
    return message


def _sealed(detail: Any) -> bool:
    """Whether something of ours stands in an opaque field."""
    fields = [detail.get(key) for key in _SEALS] if isinstance(detail, dict) else []
    return any(isinstance(text, str) and text.startswith(TAG) for text in fields)


def _beside(request: Request, target: Target, tools: Tools) -> Wire:
    """What the request says beside its messages and its limit."""
    alone = replace(request, system=None, messages=(), max_tokens=None, unsaid=())
    wire: Wire = msgspec.json.decode(write_request(alone, target, Ledger()).body)
    del wire["messages"]
    if "tools" in wire:
        wire["tools"] = [_as_offered(each, tools) for each in wire["tools"]]
    if isinstance(choice := wire.get("tool_choice"), dict):
        wire["tool_choice"] = _as_offered(choice, tools)
    return wire


def _as_offered(wire: Wire, tools: Tools) -> Wire:
    """A function, or the choice of one, in the shape that the client gave it. One that takes a text has no schema."""
    said = wire["function"]
    if (tool := tools.get(said["name"])) is None:
        return wire
    if tool.custom:
        said = {key: said[key] for key in ("name", "description") if key in said}
    kind = "custom" if tool.custom else "function"
    return {"type": kind, kind: said} if tool.nested else {"type": kind, **said}


def _limited(wire: Wire, limit: int | None, default: str) -> Wire:
    """With another limit, under the one name that the client gave it."""
    name = next((each for each in _LIMITS if wire.get(each) is not None), default)
    kept = {key: value for key, value in wire.items() if key not in _LIMITS or (key == name and limit is not None)}
    return kept if limit is None else kept | {name: limit}


def _leading(system: str | tuple[Block, ...] | None, role: str) -> list[Wire]:
    """What is said in front; what could not be read of it, as the very messages that came."""
    if isinstance(system, str):
        return [{"role": role, "content": system}] if system else []
    wires: list[Wire] = []
    for unread, group in groupby(system or (), key=_is_unread):
        blocks = tuple(group)
        wires += [block.extra for block in blocks] if unread else [{"role": role, "content": _text(blocks)}]
    return wires


def _is_unread(block: Block) -> bool:
    """Whether it is a whole message that only its upstream may be able to read."""
    return isinstance(block, OtherBlock) and block.kind == "message"


def _aligned(wire: list[Wire], before: tuple[Message, ...], after: tuple[Message, ...], tools: Tools) -> list[Wire]:
    """The messages `after` the change, each in place of what the client sent for it."""
    if len(before) == len(after):
        pairs = zip(wire, before, after, strict=True)
        return [each for old, was, new in pairs for each in _changed(old, was, new, tools)]
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    made = [each for message in after[head : len(after) - tail] for each in _plain(message, tools)]
    return wire[:head] + made + wire[len(wire) - tail :]


def _changed(wire: Wire, before: Message, after: Message, tools: Tools) -> list[Wire]:
    if before == after:
        return [wire]
    was, new = _plain(before, tools), _plain(after, tools)
    return [patched(wire, was[0], new[0])] if len(was) == len(new) == 1 else new


def _common(left: tuple[Message, ...], right: tuple[Message, ...]) -> int:
    """How many messages both begin with."""
    count = 0
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _plain(message: Message, tools: Tools) -> list[Wire]:
    """A message as chat has it: the results of tools each for itself, and then what else it says."""
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    if message.content and _is_unread(message.content[0]):
        return [message.content[0].extra]
    results = [block for block in message.content if isinstance(block, ToolResult)]
    calls = [_call(block, tools.get(block.name)) for block in message.content if isinstance(block, ToolUse)]
    said = [block for block in message.content if isinstance(block, Text) or message.role == "user"]
    parts = [part for block in said if not isinstance(block, ToolResult) for part in _parts(block)]
    wires: list[Wire] = [
        {"role": "tool", "tool_call_id": result.tool_use_id, "content": _text(result.content)} for result in results
    ]
    if parts or calls or not results:
        plain = all(is_text(part) and part.get("type") == "text" for part in parts)
        content = (texts(parts) or None) if calls else parts if not plain or len(parts) > 1 else texts(parts)
        wires.append({"role": message.role, "content": content} | ({"tool_calls": calls} if calls else {}))
    return wires


def _parts(block: Block) -> list[Wire]:
    """What a block says; of one that only chat has, the very part that it was."""
    if isinstance(block, OtherBlock) and block.kind != "document":
        return [block.extra]
    return write_parts(block, "", PARTS, Ledger())


def _call(call: ToolUse, tool: Offered | None) -> Wire:
    """A call in the words that the client has for it (see `told_calls`)."""
    text = unpacked(call.input) if tool is not None and tool.custom else None
    if text is not None and tool is not None and tool.nested:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": text}}
    arguments = call.input if text is None else text
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _text(content: str | tuple[Block, ...] | None) -> str:
    if isinstance(content, str):
        return content
    return texts(part for block in content or () for part in write_parts(block, "", PARTS, Ledger()))
