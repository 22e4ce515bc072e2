"""OpenAI chat streams for tests: made of chunks, and an upstream that sends them."""

from __future__ import annotations

from typing import Any

import msgspec

from trioproxy import Exchange

# Who asks, and what the upstream speaks: client first.
A_ON_C = Exchange(id="test", upstream_dialect="openai-chat", model="claude-test", upstream_model="gpt-test")
A_ON_C_WHOLE = msgspec.structs.replace(A_ON_C, stream=False)
C_ON_A = Exchange(id="test", client_dialect="openai-chat", model="gpt-test", upstream_model="claude-test", created=1)
C_ON_A_WHOLE = msgspec.structs.replace(C_ON_A, stream=False)
C_ON_C = Exchange(id="test", client_dialect="openai-chat", upstream_dialect="openai-chat")


def data(value: Any) -> bytes:
    """A frame."""
    return b"data: " + (value if isinstance(value, bytes) else msgspec.json.encode(value)) + b"\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """A chunk with one choice."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-test"}
    return data(head | {"choices": [choice]} | more)


def piece(
    index: int | None, arguments: str | None = None, *, id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """A fragment of a tool call; what is None is not there."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fragment = {"index": index, "id": id, "type": "function" if id else None, "function": function}
    return {key: value for key, value in fragment.items() if value is not None}


def call(index: int | None, arguments: str | None = None, *, id: str | None = None, name: str | None = None) -> bytes:
    """A chunk with a fragment of a tool call."""
    return chunk({"tool_calls": [piece(index, arguments, id=id, name=name)]})


USAGE = data({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}})
DONE = data(b"[DONE]")


def stream(*chunks: bytes, finish: str = "stop") -> bytes:
    """A whole stream as OpenAI sends it."""
    return b"".join([chunk({"role": "assistant", "content": ""}), *chunks, chunk(finish=finish), USAGE, DONE])


def gathered(body: bytes) -> dict[str, Any]:
    """The message that a client puts together from a stream, as OpenAI's SDKs do: texts joined, calls by their index,
    and whatever is another list as it comes."""
    message: dict[str, Any] = {}
    calls: dict[int, dict[str, Any]] = {}
    for block in body.split(b"\n\n"):
        wire = msgspec.json.decode(block[6:]) if block.startswith(b"data: {") else {}
        for choice in wire.get("choices", ()):
            for key, value in choice["delta"].items():
                if key == "tool_calls":
                    for each in value:
                        kind, field = ("custom", "input") if "custom" in each else ("function", "arguments")
                        known = calls.setdefault(each["index"], {kind: {field: ""}})
                        said = {field: known[kind][field] + each[kind][field]}
                        known |= each | {kind: known[kind] | each[kind] | said}
                else:
                    message[key] = message[key] + value if key in message and value is not None else value
            message["finish_reason"] = choice["finish_reason"]
    return message | ({"tool_calls": [calls[index] for index in sorted(calls)]} if calls else {})
