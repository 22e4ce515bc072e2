"""The Responses side of `chat`: its upstream's answers as the others' clients read them, and theirs as its own do."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.hazards.chat import CHAT, A, C, Completion, Message, at, between, completion, gives, through
from tests.peers import ask, proxy, upstream
from tests.responses import Wire, check, response, text_part
from trioproxy import Exchange
from trioproxy.dialects import DIALECTS

R = "openai-responses"
RESPONSES = "/v1/responses"
ASKS_R = b'{"model":"asked","stream":true,"input":"hi"}'
WHOLE_R = ASKS_R.replace(b'"stream":true,', b"")


PATHS = {A: "/v1/messages", C: CHAT, R: RESPONSES}

_ITEM = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text_part("ok")]}
_ANSWERS = {
    A: b'{"type":"message","role":"assistant","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn"}',
    C: completion({"role": "assistant", "content": "ok"}),
    R: msgspec.json.encode(response("completed", _ITEM)),
}


class Reached(msgspec.Struct):
    """What became of a request."""

    status: int
    lost: str
    """What the client is told is lost."""
    body: Any
    """The body that the upstream got; None if it was not asked. `Any`: its inside is for the test to look at."""
    said: bytes
    """The answer's body."""


async def reaches(upstream_: str, client: str, body: Wire) -> Reached:
    """What an upstream gets of a client's request."""
    async with upstream(gives(_ANSWERS[upstream_])) as up, proxy(at(up.toml(), upstream_)) as port:
        got = await ask(port, msgspec.json.encode({"model": "m", **body}), path=PATHS[client])
    sent = msgspec.json.decode(up.requests[0].body) if up.requests else None
    return Reached(got.status, got.headers.get("x-trioproxy-lossy", ""), sent, got.body)


def for_anthropic(sent: bytes | list[bytes], **more: Any) -> Message:
    """The answer of a Responses upstream as an Anthropic client reads it: whole and legal, or it fails."""
    got = through(sent, between(A, R, **more))
    assert not got.errors, got.errors
    return Message(got.body)


def for_chat(sent: bytes | list[bytes], **more: Any) -> Completion:
    """The same, as a Chat Completions client reads it."""
    got = through(sent, between(C, R, **more))
    assert not got.errors, got.errors
    return Completion(got.body)


def asked(upstream: str, wire: Wire | None = None, **more: Any) -> Exchange:
    """An exchange of a Responses client that sent `wire`, of which the model and the input may be missing."""
    request = DIALECTS[R].read_request(msgspec.json.encode({"model": "asked", "input": "hi", **(wire or {})}))
    return between(R, upstream, request=request, **more)


def for_responses(sent: bytes | list[bytes], exchange: Exchange) -> Answer:
    """The answer of another upstream as a Responses client reads it: whole and legal, or it fails."""
    got = through(sent, exchange)
    assert not got.errors, got.errors
    return Answer(check(got.body))


class Answer:
    """A response, as its last event has it."""

    def __init__(self, response: Wire) -> None:
        self.response = response
        self.items: list[Wire] = response["output"]

    @property
    def content(self) -> list[tuple[str, Any]]:
        """The items: `("text", "…")`, `("thinking", "…")`, `("name of a tool", its arguments or its text)`."""
        return [_said(item) for item in self.items]

    @property
    def ended(self) -> tuple[str, str | None]:
        """Its status, and why it is incomplete if it is."""
        details = self.response["incomplete_details"]
        return self.response["status"], details and details["reason"]


def _said(item: Wire) -> tuple[str, Any]:
    match item["type"]:
        case "message":
            return "text", "".join(part["text"] for part in item["content"])
        case "reasoning":
            return "thinking", "\n\n".join(part["text"] for part in item["summary"])
        case "function_call":
            return item["name"], item["arguments"]
        case "custom_tool_call":
            return item["name"], item["input"]
    raise AssertionError(f"no client knows such an item: {item}")
