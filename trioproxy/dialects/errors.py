"""Errors as upstreams tell them, in whatever envelope: gateways answer in any, so one reader serves every dialect.

Shapes met in the recordings: `{"error": {…}}`, `{"error": "text"}`, `{"code", "error": "text"}`, `{"message", "type"}`
without a wrapper, `{"detail": …}`, `{"object": "error", …}`, numeric codes, HTML, text, nothing.
"""

import re
from typing import Any

import msgspec

from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import Error, ErrorKind

__all__ = ["is_error", "kind_of_status", "read_error", "read_error_object"]

_TEXT_LIMIT = 500  # characters of a foreign text that are worth showing
_TITLE_LIMIT = 4000  # characters of a web page that its title is looked for in

_BY_STATUS: dict[int, ErrorKind] = {
    400: "invalid_request",
    401: "authentication",
    402: "permission",
    403: "permission",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
# What OpenAI's Responses find wrong with a request, told within a stream, where no status says so (`ResponseError` of
# its SDK, and Codex).
_REFUSED = (
    *("bio_policy", "cyber_policy", "misalignment_policy_violation", "data_residency_mismatch"),
    *("invalid_image", "invalid_image_format", "invalid_image_mode", "invalid_image_url", "invalid_base64_image"),
    *("image_too_large", "image_too_small", "image_parse_error", "image_content_policy_violation"),
    *("image_file_too_large", "image_file_not_found", "empty_image_file", "unsupported_image_media_type"),
    "failed_to_download_image",
)
# What providers call their errors, in `type` or `code` → kind here, and the status that goes with it where none came.
_BY_NAME: dict[str, tuple[ErrorKind, int]] = {
    "invalid_request_error": ("invalid_request", 400),
    "invalid_request": ("invalid_request", 400),
    "invalid_prompt": ("invalid_request", 400),
    "authentication_error": ("authentication", 401),
    "invalid_api_key": ("authentication", 401),
    "billing_error": ("permission", 402),
    "permission_error": ("permission", 403),
    "permission_denied": ("permission", 403),
    "not_found_error": ("not_found", 404),
    "model_not_found": ("not_found", 404),
    "request_too_large": ("too_large", 413),
    "rate_limit_error": ("rate_limit", 429),
    "rate_limit_exceeded": ("rate_limit", 429),
    "rate_limit_reached": ("rate_limit", 429),
    "insufficient_quota": ("rate_limit", 429),
    "too_many_requests": ("rate_limit", 429),
    "api_error": ("upstream", 500),
    "server_error": ("upstream", 500),
    "internal_server_error": ("upstream", 500),
    "timeout_error": ("timeout", 504),
    "overloaded_error": ("overloaded", 529),
    "server_is_overloaded": ("overloaded", 503),
    "slow_down": ("overloaded", 503),
    "usage_limit_reached": ("rate_limit", 429),
    "usage_not_included": ("permission", 403),
    "vector_store_timeout": ("timeout", 504),
    **dict.fromkeys(_REFUSED, ("invalid_request", 400)),
    "context_length_exceeded": ("context_overflow", 400),
    "exceed_context_size_error": ("context_overflow", 400),  # llama.cpp
    "string_above_max_length": ("context_overflow", 400),
}
# How providers say that the conversation no longer fits (hazard H102): a client that understands it compacts.
_OVERFLOW = re.compile(
    r"prompt is too long|maximum context length|context[_ ](?:length|window|size)\b.{0,40}exceed"
    r"|exceed.{0,60}context[_ ](?:length|window|size|limit)|input (?:is|tokens?) .{0,30}too long"
    r"|too many (?:input |prompt )?tokens|reduce the length of the (?:messages|prompt)",
    re.IGNORECASE | re.DOTALL,
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>|<h1[^>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL)
_HTML = re.compile(r"\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)


def kind_of_status(status: int) -> ErrorKind:
    """What an error is by its HTTP status alone."""
    return _BY_STATUS.get(status, "upstream" if status >= 500 else "invalid_request")


def read_error(status: int, body: bytes) -> Error:
    """The error of an HTTP response, whose `status` is kept if it says error; a 200 gets the body's own, or 502."""
    known = status if 400 <= status <= 599 else None
    try:
        wire = msgspec.json.decode(body)
    except BAD_JSON:
        return _from_text(known, body)
    error = read_error_object(wire, known)
    if error is not None:
        return error
    text = body[:_TEXT_LIMIT].decode("utf-8", "replace")
    return _made(known, "", text if isinstance(wire, dict | list) and wire else str(wire or ""))


def is_error(wire: Any) -> bool:
    """Whether a JSON value is an error and nothing else."""
    if not isinstance(wire, dict):
        return False
    if wire.get("type") == "error" or wire.get("object") == "error" or wire.get("error"):
        return True
    return ("message" in wire and ("code" in wire or "type" in wire)) or "detail" in wire


def read_error_object(wire: Any, status: int | None = None) -> Error | None:
    """The error that a JSON value is; None if it is none. `status` is what HTTP said, if it said error."""
    if not is_error(wire):
        return None
    inner = wire.get("error") or wire
    if not isinstance(inner, dict):
        inner = {"message": _text(inner), "code": wire.get("code")}
    names = [inner.get(key) for key in ("code", "type", "status")]
    numbers = [_number(name) for name in (*names, wire.get("code"), inner.get("status_code"))]
    message = _text(inner.get("message") or inner.get("detail") or inner.get("msg") or "")
    named = [name for name in names if isinstance(name, str) and name.lower() in _BY_NAME]
    told = next((number for number in numbers if number), None)
    name = next(iter(named), "").lower()
    # OpenAI says `type: invalid_request_error, code: context_length_exceeded`: the code comes first, it tells more.
    if not message:
        message = next((str(each) for each in names if each), "")
    return _made(status or told, name, message)


def _made(status: int | None, name: str, message: str) -> Error:
    kind, usual = _BY_NAME.get(name, (None, None))
    status = status or usual or 502
    by_status = kind_of_status(status)
    # A name that says no more than "it is an error" must not hide what the status says, nor contradict it.
    if kind is None or (kind in ("invalid_request", "upstream") and status != usual):
        kind = by_status
    message = message.strip()
    if kind in ("invalid_request", "too_large", "upstream") and _OVERFLOW.search(message):
        kind = "context_overflow"
    if kind == "context_overflow":
        status = 400  # whatever it came with: clients know it by this
    return Error(kind, message or f"the upstream answered {status} without a message", status)


def _from_text(status: int | None, body: bytes) -> Error:
    text = body[:_TITLE_LIMIT].decode("utf-8", "replace")
    if _HTML.match(text):
        from html import unescape  # noqa: PLC0415  # what it takes up is more than a web page is worth before it comes

        found = _TITLE.search(text)
        title = " ".join(unescape(next(filter(None, found.groups()), "")).split()) if found else ""
        text = f"the upstream answered {status or 502} with a web page{f': {title}' if title else ''}"
    return _made(status, "", text[:_TEXT_LIMIT])


def _number(value: Any) -> int | None:
    """A code that is an HTTP status, as a number or as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()[:_TEXT_LIMIT]
    except BAD_JSON:
        return ""
