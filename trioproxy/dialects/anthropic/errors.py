"""Errors ⇄ Anthropic's envelope: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

Source: platform.claude.com/docs/en/api/errors.
"""

import msgspec

from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import Error, ErrorKind

__all__ = ["ERROR_KINDS", "ERROR_NAMES", "ERROR_STATUS", "read_error", "write_error", "write_error_event"]

# kind here, name there, HTTP status. The first row of a kind is the one it is written as.
_TABLE: tuple[tuple[ErrorKind, str, int], ...] = (
    ("invalid_request", "invalid_request_error", 400),
    ("authentication", "authentication_error", 401),
    ("permission", "billing_error", 402),
    ("permission", "permission_error", 403),
    ("not_found", "not_found_error", 404),
    ("too_large", "request_too_large", 413),
    ("rate_limit", "rate_limit_error", 429),
    ("internal", "api_error", 500),
    ("upstream", "api_error", 502),
    ("timeout", "timeout_error", 504),
    ("overloaded", "overloaded_error", 529),
)
ERROR_NAMES: dict[ErrorKind, str] = {kind: name for kind, name, _ in _TABLE} | {"permission": "permission_error"}
ERROR_KINDS: dict[str, ErrorKind] = {name: kind for kind, name, _ in reversed(_TABLE)} | {"api_error": "upstream"}
ERROR_STATUS: dict[str, int] = {name: status for _, name, status in reversed(_TABLE)}
_BY_STATUS: dict[int, ErrorKind] = {status: kind for kind, _, status in _TABLE} | {500: "upstream"}  # 500: not ours

_TEXT_LIMIT = 500  # characters of a foreign error body that are worth showing


class _Inner(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Envelope(msgspec.Struct):
    error: _Inner


def read_error(status: int, body: bytes) -> Error:
    """The error of an HTTP response with `status` ≥ 400; a body in no known shape is quoted, shortened."""
    kind = _BY_STATUS.get(status, "upstream" if status >= 500 else "invalid_request")
    try:
        inner = msgspec.json.decode(body, type=_Envelope).error
    except BAD_JSON:
        text = body[: 4 * _TEXT_LIMIT].decode("utf-8", "replace")[:_TEXT_LIMIT].strip()
        return Error(kind, text or f"the upstream answered {status} without a message", status)
    return Error(ERROR_KINDS.get(inner.type, kind), inner.message or inner.type, status)


def write_error(error: Error, request_id: str) -> bytes:
    inner = {"type": ERROR_NAMES[error.kind], "message": error.message}
    return msgspec.json.encode({"type": "error", "error": inner, "request_id": request_id})


def write_error_event(error: Error, request_id: str) -> bytes:
    return b"event: error\ndata: " + write_error(error, request_id) + b"\n\n"
