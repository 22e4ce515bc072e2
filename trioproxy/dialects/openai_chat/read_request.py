"""OpenAI's body of `POST /v1/chat/completions` → a request in the one vocabulary.

Source: platform.openai.com/docs/api-reference/chat/create; what real clients send beyond it is in the recordings.
Nothing is lost for an upstream of the same dialect: what cannot be said here is in `unsaid`, and still in `source`.
"""

from typing import Any

from trioproxy.dialects.openai_chat.read_messages import read_messages
from trioproxy.dialects.openai_chat.read_options import read_options
from trioproxy.dialects.openai_chat.read_tools import read_tool_choice, read_tools
from trioproxy.dialects.openai_chat.told import Lost, named, refusal
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.items import Loss, Request, Source, replace

__all__ = ["read_request"]


def read_request(body: bytes) -> Request:
    """Raises `ProxyError` (invalid_request) that says what is wrong with the body."""
    try:
        wire, cut = decode(body)
    except BAD_JSON as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise refusal(f"the request body is not JSON: {reason}") from exc
    if not isinstance(wire, dict):
        raise refusal(f"the request body must be an object, got {named(wire)}")
    model, messages, stream = wire.get("model"), wire.get("messages"), wire.get("stream")
    if not isinstance(model, str):
        raise refusal(f"model: expected a string, got {named(model)}")
    if not isinstance(messages, list):
        hint = "; this looks like a request to /v1/responses" if "input" in wire else ""  # as Cursor sends (H150h)
        raise refusal(f"messages: expected an array, got {named(messages)}{hint}")
    if not isinstance(stream, bool | None):
        raise refusal(f"stream: expected true or false, got {named(stream)}")
    lost = Lost()
    if cut:
        lost["*"] = "lone surrogates in strings were replaced with U+FFFD: they are no text"
    try:
        request = _read(model, messages, bool(stream), wire, lost)
    except RecursionError as exc:
        raise refusal("the request is nested too deeply") from exc
    refused = [Loss("messages[]", lost.refused, fatal=True)] if lost.refused else []
    request = replace(request, unsaid=(*refused, *(Loss(path, reason) for path, reason in lost.items())))
    return replace(request, source=Source("openai-chat", wire, request))


def _read(model: str, messages: list[Any], stream: bool, wire: dict[str, Any], lost: Lost) -> Request:
    system, turns = read_messages(messages, lost)
    tools = read_tools(wire, lost)
    max_tokens, extra = read_options(wire, lost)
    tools, choice = read_tool_choice(wire, tools, lost)
    if choice:
        extra["tool_choice"] = choice
    return Request(
        model=model,
        messages=turns,
        system=system,
        max_tokens=max_tokens,
        stream=stream,
        tools=tools,
        extra=extra,
    )
