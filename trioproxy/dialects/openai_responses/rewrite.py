"""A Responses request that stages changed, for an upstream that speaks Responses too: what the client sent, with those
changes.

Nothing is merged, paired or repaired here: the client knows its upstream. An item that nobody changed stays the very
object that came, whatever is in it; only reasoning that we carried for another upstream is taken out.
"""

from itertools import chain
from typing import Any

import msgspec

from trioproxy.dialects.carried import TAG, opened
from trioproxy.dialects.openai.offered import offered
from trioproxy.dialects.openai.read_calls import OpenCalls
from trioproxy.dialects.openai.told import Lost, refusal
from trioproxy.dialects.openai.write_options import cache_key
from trioproxy.dialects.openai_responses.read_input import contents
from trioproxy.dialects.openai_responses.rewrite_items import INSTRUCTIONS, Items, Part
from trioproxy.dialects.openai_responses.rewrite_tools import Tools
from trioproxy.dialects.openai_responses.turns import Turn, items_in, kind_of, turned
from trioproxy.dialects.openai_responses.write_request import write_request
from trioproxy.dialects.patch import patched
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Block, Message, Request, Source, Text, replace
from trioproxy.ledger import Ledger

__all__ = ["fit", "rewrite"]

Wire = dict[str, Any]  # a JSON object of the body; `Any` because what is inside came from the client

_LIMIT = "max_output_tokens"
_LIMITS = (_LIMIT, "max_completion_tokens", "max_tokens")  # as Cursor says it (H150h)


def fit(request: Request, target: Target, ledger: Ledger) -> Request:
    """The request with the limit of `target` (H134), and so that reasoning of others is taken out when it is written
    (H150g); all else the client knows of its upstream. The very same object if nothing has to change."""
    most, said, source = target.max_tokens, request.max_tokens, request.source
    if source is not None and any(_sealed(item) for item in items_in(source.wire)):
        if any(_own(item, target) is None for item in items_in(source.wire)):
            ledger.note("input[type=reasoning]", "another upstream or model has thought it")
        request = replace(request)
    if most is None or (said is not None and said <= most):
        return request
    if said is not None:
        ledger.note(_LIMIT, f"lowered from {said} to {most}, the most this upstream answers")
    return replace(request, max_tokens=most)


def rewrite(request: Request, source: Source, target: Target) -> Written:
    """The body for `request`, which was made of `source`. Raises `ProxyError` for what cannot be said."""
    try:
        return _rewritten(request, source, target)
    except RecursionError as exc:
        raise refusal("the request is nested too deeply") from exc


def _rewritten(request: Request, source: Source, target: Target) -> Written:
    before = replace(source.request, model=request.model)  # whose ways count for both
    wire = patched(source.wire, _beside(before, target), _beside(request, target)) | {"model": request.model}
    if request.max_tokens != source.request.max_tokens:
        wire = _limited(wire, request.max_tokens)
    if (key := cache_key(target)) and wire.get("prompt_cache_key") is None:
        wire = wire | {"prompt_cache_key": key}
    instructions, items = _items(request, source)
    items = [own for item in items if (own := _own(item, target)) is not None]
    if not (tools := Tools(source.request, request)).same:
        wire, items = _retooled(wire, items, tools)
    if items != items_in(source.wire):
        wire = wire | {"input": items}
    if instructions != (source.wire.get(INSTRUCTIONS) or ""):
        wire = _with(wire, INSTRUCTIONS, instructions)
    return Written(msgspec.json.encode(wire))


def _beside(request: Request, target: Target) -> Wire:
    """What the request says beside its conversation, its tools and its limit."""
    alone = replace(request, system=None, messages=(), max_tokens=None, unsaid=())
    wire: Wire = msgspec.json.decode(write_request(alone, target, Ledger()).body)
    return {key: value for key, value in wire.items() if key not in _ELSEWHERE}


_ELSEWHERE = ("model", "input", INSTRUCTIONS, "tools", "include", "store")  # the last two are the client's alone


def _with(wire: Wire, key: str, value: Any) -> Wire:
    """`wire` with that field, in its place; without it, if it says nothing."""
    return wire | {key: value} if value else {each: wire[each] for each in wire if each != key}


def _limited(wire: Wire, limit: int | None) -> Wire:
    """With another limit, under the one name that the client gave it."""
    name = next((each for each in _LIMITS if wire.get(each) is not None), _LIMIT)
    kept = {key: value for key, value in wire.items() if key not in _LIMITS or (key == name and limit is not None)}
    return kept if limit is None else kept | {name: limit}


def _retooled(wire: Wire, items: list[Any], tools: Tools) -> tuple[Wire, list[Any]]:
    """With changed tools, wherever they were offered."""
    listed = wire.get("tools")
    wire = _with(wire, "tools", [*tools.changed(listed if isinstance(listed, list) else []), *tools.new])
    added = [item | {"tools": tools.changed(item["tools"])} if _adds_tools(item) else item for item in items]
    return wire, [item for item in added if not _adds_tools(item) or item["tools"]]


def _adds_tools(item: Any) -> bool:
    return kind_of(item) == "additional_tools" and isinstance(item.get("tools"), list)


# ── the conversation ────────────────────────────────────────────────────────────────────────────────────────────────


def _items(request: Request, source: Source) -> tuple[str, list[Any]]:
    """The instructions, and the items of the input."""
    items, calls, writer = items_in(source.wire), OpenCalls(offered(source.wire)), Items(source.wire)
    front, turns = turned(items)
    said = source.wire.get(INSTRUCTIONS)
    ahead = [Part({INSTRUCTIONS: said}, _blocks(said))] if isinstance(said, str) and said else []
    ahead += chain.from_iterable(_parts(turn, items, calls) for turn in front)
    begun = _begun(ahead, request, source.request, writer)
    read = [_parts(turn, items, calls) for turn in turns]
    instructions = "\n\n".join(item[INSTRUCTIONS] for item in begun if INSTRUCTIONS in item)
    return instructions, [
        *(item for item in begun if INSTRUCTIONS not in item),
        *_aligned(read, source.request.messages, request.messages, writer),
    ]


def _parts(turn: Turn, items: list[Any], calls: OpenCalls) -> list[Part]:
    said = contents(turn, items, calls, Lost())
    return [Part(items[index], _blocks(content)) for index, content in zip(turn.items, said, strict=True)]


def _blocks(content: str | tuple[Block, ...] | None) -> tuple[Block, ...]:
    return content if isinstance(content, tuple) else (Text(text=content),) if content is not None else ()


def _begun(ahead: list[Part], request: Request, before: Request, writer: Items) -> list[Wire]:
    """What is said in front, after the change."""
    if request.system == before.system:
        return [part.item for part in ahead]
    if not any(part.blocks for part in ahead):
        ahead = [Part({INSTRUCTIONS: ""}, (Text(),)), *ahead]
    return writer.changed(ahead, _blocks(request.system), "system")


def _aligned(
    read: list[list[Part]], before: tuple[Message, ...], after: tuple[Message, ...], writer: Items
) -> list[Wire]:
    """The items of the messages `after` the change, each in place of what the client sent for it."""
    if len(before) == len(after):
        pairs = zip(read, before, after, strict=True)
        return [each for parts, was, now in pairs for each in _changed(parts, was, now, writer)]
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    made = [each for message in after[head : len(after) - tail] for each in _new(message, writer)]
    kept = [[part.item for part in parts] for parts in read]
    left = [part.item for parts in read[head : len(read) - tail] for part in parts if not part.blocks]
    return [*chain(*kept[:head]), *left, *made, *chain(*kept[len(read) - tail :])]


def _changed(parts: list[Part], before: Message, after: Message, writer: Items) -> list[Wire]:
    if before == after:
        return [part.item for part in parts]
    if before.role != after.role:
        return [part.item for part in parts if not part.blocks] + _new(after, writer)
    return writer.changed(parts, _blocks(after.content), after.role)


def _new(message: Message, writer: Items) -> list[Wire]:
    return writer.written(_blocks(message.content), message.role)


def _common(left: tuple[Message, ...], right: tuple[Message, ...]) -> int:
    """How many messages both begin with."""
    count = 0
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


# ── reasoning that we carried ───────────────────────────────────────────────────────────────────────────────────────


def _sealed(item: Any) -> str:
    """What of ours stands in an item's opaque field; empty if nothing does."""
    text = item.get("encrypted_content") if isinstance(item, dict) else None
    return text if isinstance(text, str) and text.startswith(TAG) else ""


def _own(item: Any, target: Target) -> Any:
    """`item`, or what of the target's own was carried in it; None if that is another's."""
    if not (text := _sealed(item)):
        return item
    found = opened(text)
    ours = found is not None and (found.dialect, found.provenance) == ("openai-responses", target.provenance)
    return found.block if found and ours else None
