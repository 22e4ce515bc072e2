"""Errors → Anthropic's envelope: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

Source: platform.claude.com/docs/en/api/errors.
"""

import msgspec

from trioproxy.items import Error, ErrorKind

__all__ = ["inner", "write_error", "write_error_event"]

_NAMES: dict[ErrorKind, str] = {
    "invalid_request": "invalid_request_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "too_large": "request_too_large",
    "context_overflow": "invalid_request_error",
    "rate_limit": "rate_limit_error",
    "overloaded": "overloaded_error",
    "timeout": "timeout_error",
    "upstream": "api_error",
    "internal": "api_error",
}
# Claude Code compacts the conversation when an error says so in these words (hazard H102).
_TOO_LONG = "prompt is too long"


def inner(error: Error) -> dict[str, str]:
    """The object that says what went wrong."""
    message = error.message
    if error.kind == "context_overflow" and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    return {"type": _NAMES[error.kind], "message": message}


def write_error(error: Error, request_id: str) -> bytes:
    return msgspec.json.encode({"type": "error", "error": inner(error), "request_id": request_id})


def write_error_event(error: Error, request_id: str) -> bytes:
    return b"event: error\ndata: " + write_error(error, request_id) + b"\n\n"
