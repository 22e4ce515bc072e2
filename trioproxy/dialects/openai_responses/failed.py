"""An error that ends a stream which has begun: `error`, then `response.failed`, as the API sends them.

SDKs look at the first, which says what OpenAI calls it; the AI SDK and Codex at the second.
"""

from typing import Any

import msgspec

from trioproxy.dialects.openai.errors import error_object
from trioproxy.dialects.openai_responses.ladder import Wire
from trioproxy.items import Error, ErrorKind

__all__ = ["write_error_event"]

# kind → the code of a response that failed. The list is closed (`ResponseError` in OpenAI's SDKs, and what the API has
# sent beyond it), and Codex decides by it (openai/codex, codex-rs/codex-api/src/sse/responses.rs): it shows the message
# of `invalid_prompt` and gives up, and asks again after any code that it does not know. It gives up as well after
# `server_is_overloaded`, the API's own word, so that is not what an upstream's overload is called here.
_CODES: dict[ErrorKind, str] = {
    "invalid_request": "invalid_prompt",
    "authentication": "invalid_prompt",
    "permission": "invalid_prompt",
    "not_found": "invalid_prompt",
    "too_large": "invalid_prompt",
    "context_overflow": "context_length_exceeded",  # Codex compacts the conversation
    "rate_limit": "rate_limit_exceeded",  # it waits as long as the message says: "try again in 20s"
    "overloaded": "server_error",
    "timeout": "server_error",
    "upstream": "server_error",
    "internal": "server_error",
}


def write_error_event(error: Error, request_id: str) -> bytes:
    """Both events. `error.extra` has what the stream was at, if it had begun: see `Telling.failing`."""
    told, number = error_object(error), error.extra.get("sequence_number", 0)
    response = error.extra.get("response") or _empty(request_id)
    failed = {"code": _CODES[error.kind], "message": error.message}
    # The recorded API nests what its reference has flat: both are told.
    flat = {"code": told["code"], "message": told["message"], "param": None}
    return b"".join(
        _event(wire)
        for wire in (
            {"type": "error", "sequence_number": number, **flat, "error": told},
            {
                "type": "response.failed",
                "sequence_number": number + 1,
                "response": {**response, "status": "failed", "error": failed},
            },
        )
    )


def _empty(request_id: str) -> Wire:
    """A response that has not begun, with the fields that SDKs declare as required."""
    return {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": 0,
        "status": "failed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _event(wire: dict[str, Any]) -> bytes:
    return f"event: {wire['type']}\ndata: ".encode() + msgspec.json.encode(wire) + b"\n\n"
