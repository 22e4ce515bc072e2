"""A request's body, and what is the same in both dialects of OpenAI: how it is read, and how losses are kept."""

from collections.abc import Callable

from trioproxy.dialects.openai.told import Lost, Wire, named, refusal
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.items import Request, Source, replace

__all__ = ["read_body"]


def read_body(body: bytes, dialect: str, read: Callable[[Wire, Lost], Request]) -> Request:
    """The request that `read` makes of a JSON object with a `model`. Its source is kept, and what it could not say.

    Raises `ProxyError` (invalid_request) that says what is wrong with the body.
    """
    try:
        wire, cut = decode(body)
    except BAD_JSON as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise refusal(f"the request body is not JSON: {reason}") from exc
    if not isinstance(wire, dict):
        raise refusal(f"the request body must be an object, got {named(wire)}")
    model, stream = wire.get("model"), wire.get("stream")
    if not isinstance(model, str):
        raise refusal(f"model: expected a string, got {named(model)}")
    if not isinstance(stream, bool | None):
        raise refusal(f"stream: expected true or false, got {named(stream)}")
    lost = Lost()
    if cut:
        lost["*"] = "lone surrogates in strings were replaced with U+FFFD: they are no text"
    try:
        request = read(wire, lost)
    except RecursionError as exc:
        raise refusal("the request is nested too deeply") from exc
    request = replace(request, model=model, stream=bool(stream), unsaid=lost.losses)
    return replace(request, source=Source(dialect, wire, request))
