"""Requests ⇄ Anthropic's body of `POST /v1/messages`."""

from typing import Any

import msgspec

from trioproxy.dialects.anthropic.abilities import abilities
from trioproxy.dialects.anthropic.blocks import read_block, write_block
from trioproxy.dialects.anthropic.fit import fit, fit_metadata
from trioproxy.dialects.anthropic.thinking import BINDING, thinks
from trioproxy.dialects.anthropic.translate import translated
from trioproxy.dialects.extra import difference, merge
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.dialects.target import Target, Written
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Error, Message, Request, replace
from trioproxy.ledger import Ledger

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
        wire, _ = decode(body)  # cut emoji are mended (H124)
        return _read(wire, msgspec.convert(wire, _Body))
    except BAD_JSON as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        message = f"the request body is not a Messages request: {reason}"
        raise ProxyError(Error("invalid_request", message, 400)) from exc


def _read(wire: Wire, known: _Body) -> Request:
    messages = tuple(_read_message(each, whole) for each, whole in zip(known.messages, wire["messages"], strict=True))
    request = Request(
        model=known.model,
        messages=messages,
        system=_read_content(known.system),
        max_tokens=known.max_tokens,
        stream=known.stream,
        tools=tuple(known.tools or ()),
    )
    beside = {key: value for key, value in wire.items() if key != "messages"}  # of which each keeps its own extra
    extra = difference(beside, _write_known(replace(request, messages=())))
    return replace(request, extra=extra) if extra else request


def write_request(request: Request, target: Target, ledger: Ledger) -> Written:
    """The body; `messages` come last, so that what rarely changes makes a common prefix (hazard H123).

    A request that was read here is written as it was; one of another dialect as the API takes it.
    """
    names, thinking = None, False
    if not request.tools and "mcp_servers" not in request.extra:  # whose tools are chosen among, too
        request = replace(request, extra={key: request.extra[key] for key in request.extra if key != "tool_choice"})
    try:
        if request.source is not None and request.source.dialect != "anthropic":
            request, names = translated(request, target, ledger)
            thinking = thinks(request, abilities(request.model))
        request = fit(request, target, ledger)
        known = _write_known(request)
        messages = known.pop("messages")
        # What was null or false gives way to what stages said since.
        beside = {key: value for key, value in request.extra.items() if key not in known}
        if isinstance(metadata := beside.get("metadata"), dict):
            beside["metadata"] = fit_metadata(metadata, target)
        body = msgspec.json.encode(known | beside | {"messages": messages})
    except RecursionError as exc:
        raise ProxyError(Error("invalid_request", "the request is nested too deeply", 400)) from exc
    bound = names is not None and "block_binding" in request.extra.get("thinking", {})
    headers = ((b"anthropic-beta", BINDING),) if bound else ()
    return Written(body, names.renamed if names else {}, thinking, headers)


def _read_message(message: _Message, wire: Wire) -> Message:
    content = _read_content(message.content)
    extra = {key: value for key, value in wire.items() if key not in ("role", "content")}
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
