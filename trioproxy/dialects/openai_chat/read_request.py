"""OpenAI's body of `POST /v1/chat/completions` → a request in the one vocabulary.

Source: platform.openai.com/docs/api-reference/chat/create; what real clients send beyond it is in the recordings.
Nothing is lost for an upstream of the same dialect: what cannot be said here is in `unsaid`, and still in `source`.
"""

from trioproxy.dialects.openai.offered import offered
from trioproxy.dialects.openai.read_body import read_body
from trioproxy.dialects.openai.told import Lost, Wire, named, refusal
from trioproxy.dialects.openai_chat.read_messages import read_messages
from trioproxy.dialects.openai_chat.read_options import read_options
from trioproxy.dialects.openai_chat.read_tools import read_tool_choice, read_tools
from trioproxy.items import Request

__all__ = ["read_request"]


def read_request(body: bytes) -> Request:
    """Raises `ProxyError` (invalid_request) that says what is wrong with the body."""
    return read_body(body, "openai-chat", _read)


def _read(wire: Wire, lost: Lost) -> Request:
    messages = wire.get("messages")
    if not isinstance(messages, list):
        hint = "; this looks like a request to /v1/responses" if "input" in wire else ""  # as Cursor sends (H150h)
        raise refusal(f"messages: expected an array, got {named(messages)}{hint}")
    system, turns = read_messages(messages, offered(wire), lost)
    tools = read_tools(wire, lost)
    max_tokens, extra = read_options(wire, lost)
    tools, choice = read_tool_choice(wire, tools, lost)
    if choice:
        extra["tool_choice"] = choice
    return Request(model="", messages=turns, system=system, max_tokens=max_tokens, tools=tools, extra=extra)
