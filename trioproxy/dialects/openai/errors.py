"""Errors → OpenAI's envelope: `{"error": {"message", "type", "param", "code"}}`.

Source: platform.openai.com/docs/guides/error-codes, and what the API sends.
"""

import re

import msgspec

from trioproxy.items import Error, ErrorKind

__all__ = ["error_object", "write_error"]

# kind → type, code
_NAMES: dict[ErrorKind, tuple[str, str | None]] = {
    "invalid_request": ("invalid_request_error", None),
    "authentication": ("invalid_request_error", "invalid_api_key"),
    "permission": ("permission_error", None),
    "not_found": ("invalid_request_error", "not_found"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "context_overflow": ("invalid_request_error", "context_length_exceeded"),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "overloaded": ("server_error", "overloaded"),
    "timeout": ("server_error", "timeout"),
    "upstream": ("server_error", None),
    "internal": ("server_error", None),
}

_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)


def error_object(error: Error) -> dict[str, str | None]:
    """The object that says what went wrong; `extra["openai"]` may have a `code` and a `param` that clients look for."""
    name, code = _NAMES[error.kind]
    if error.kind == "not_found" and _MODEL.search(error.message):
        code = "model_not_found"  # which clients look for
    return {"message": error.message, "type": name, "param": None, "code": code, **error.extra.get("openai", {})}


def write_error(error: Error, request_id: str) -> bytes:
    return msgspec.json.encode({"error": error_object(error), "request_id": request_id})
