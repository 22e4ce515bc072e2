"""Requests ⇄ Anthropic's body of `POST /v1/messages`."""

from typing import Any

import msgspec

from trioproxy.dialects.anthropic.blocks import read_block, write_block
from trioproxy.dialects.extra import difference, merge
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Error, Message, Request

__all__ = ["read_request", "write_request"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's


class _Message(msgspec.Struct):
    role: str
    content: str | list[Wire] = ""


class _Body(msgspec.Struct):
    """The fields we know, for their types; the rest is taken from the untyped object."""

    model: str
    messages: list[_Message]
    system: str | list[Wire] | None = None
    max_tokens: int | None = None
    stream: bool = False
    tools: list[Wire] | None = None


def read_request(body: bytes) -> Request:
    """Raises `ProxyError` (invalid_request) that says what is wrong with the body."""
    try:
        wire = msgspec.json.decode(body)
        known = msgspec.convert(wire, _Body)
    except BAD_JSON as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        message = f"the request body is not a Messages request: {reason}"
        raise ProxyError(Error("invalid_request", message, 400)) from exc
    messages = tuple(_read_message(each, whole) for each, whole in zip(known.messages, wire["messages"], strict=True))
    request = Request(
        model=known.model,
        messages=messages,
        system=_read_content(known.system),
        max_tokens=known.max_tokens,
        stream=known.stream,
        tools=tuple(known.tools or ()),
    )
    extra = difference(wire, _write_known(request))
    return msgspec.structs.replace(request, extra=extra) if extra else request


def write_request(request: Request) -> bytes:
    """The body; `messages` come last, so that what rarely changes makes a common prefix."""
    known = _write_known(request)
    messages = known.pop("messages")
    return msgspec.json.encode(merge(known, request.extra) | {"messages": messages})


def _read_message(message: _Message, wire: Wire) -> Message:
    content = _read_content(message.content)
    extra = difference(wire, {"role": None, "content": None})
    return Message(message.role, "" if content is None else content, extra)


def _read_content(content: str | list[Wire] | None) -> str | tuple[Block, ...] | None:
    return tuple(map(read_block, content)) if isinstance(content, list) else content


def _write_known(request: Request) -> Wire:
    known: Wire = {"model": request.model}
    if request.max_tokens is not None:
        known["max_tokens"] = request.max_tokens
    if request.stream:
        known["stream"] = True
    if request.system is not None:
        known["system"] = _write_content(request.system)
    if request.tools:
        known["tools"] = list(request.tools)
    known["messages"] = [
        merge({"role": message.role, "content": _write_content(message.content)}, message.extra)
        for message in request.messages
    ]
    return known


def _write_content(content: str | tuple[Block, ...]) -> str | list[Wire]:
    return content if isinstance(content, str) else [write_block(block) for block in content]
