"""OpenAI's body of `POST /v1/responses` → a request in the one vocabulary.

Source: developers.openai.com/api/reference/resources/responses, the types of OpenAI's SDK, and what Codex sends.
Nothing is lost for an upstream of the same dialect: what cannot be said here is in `unsaid`, and still in `source`.
"""

from trioproxy.dialects.openai.read_body import read_body
from trioproxy.dialects.openai.told import Lost, Wire
from trioproxy.dialects.openai_responses.read_input import read_input
from trioproxy.dialects.openai_responses.read_options import read_options
from trioproxy.dialects.openai_responses.read_tools import read_tool_choice, read_tools
from trioproxy.items import Request

__all__ = ["read_request"]


def read_request(body: bytes) -> Request:
    """Raises `ProxyError` (invalid_request) that says what is wrong with the body."""
    return read_body(body, "openai-responses", _read)


def _read(wire: Wire, lost: Lost) -> Request:
    system, turns = read_input(wire, lost)
    tools = read_tools(wire, lost)
    max_tokens, extra = read_options(wire, lost)
    tools, choice = read_tool_choice(wire, tools, lost)
    if choice:
        extra["tool_choice"] = choice
    return Request(model="", messages=turns, system=system, max_tokens=max_tokens, tools=tools, extra=extra)
