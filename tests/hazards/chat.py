"""Chat Completions streams for tests: made chunk by chunk, sent through the proxy's stages, and judged by a grammar.

The grammar is written from OpenAI's specification (platform.openai.com/docs/api-reference/chat-streaming), not from our
code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tests.anthropic import flow, judge
from tests.chat import DONE, data
from tests.peers import Line
from trioproxy import Exchange, Stage
from trioproxy.items import Error, Event
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

Wire = dict[str, Any]

ID, CREATED, MODEL = "chatcmpl-up1", 1700000000, "gpt-up"
A, C = "anthropic", "openai-chat"
USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}


# ── what an upstream sends ──────────────────────────────────────────────────────────────────────────────────────────


def chunk(delta: Wire | None = None, finish: str | None = None, **more: Any) -> bytes:
    """A chunk with one choice; `more` are fields beside `choices`."""
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}
    return data({**head, "choices": [choice], **more})


def calls(*pieces: Wire) -> Wire:
    return {"tool_calls": list(pieces)}


def says(text: str) -> Wire:
    return {"content": text}


def thinks(text: str) -> Wire:
    return {"reasoning_content": text}


ROLE: Wire = {"role": "assistant", "content": ""}


def counted(usage: Any = None) -> bytes:
    """The chunk with the usage that comes last."""
    head = {"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}
    return data({**head, "choices": [], "usage": USAGE if usage is None else usage})


def chat(*deltas: Wire, finish: str | None = "stop", usage: Any = None, done: bool = True) -> bytes:
    """A whole answer as OpenAI streams it."""
    body = b"".join([chunk(ROLE), *map(chunk, deltas)])
    if finish is not None:
        body += chunk({}, finish)
    return body + counted(usage) + (DONE if done else b"")


def completion(message: Wire, finish: str = "stop", **more: Any) -> bytes:
    """A whole answer as one body."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    head = {"id": ID, "object": "chat.completion", "created": CREATED, "model": MODEL}
    return msgspec.json.encode({**head, "choices": [choice], "usage": USAGE, **more})


# What an Anthropic upstream sends.


def event(wire: Wire) -> bytes:
    return f"event: {wire['type']}\n".encode() + data(wire)


def message_start(**usage: Any) -> bytes:
    counts = usage or {"input_tokens": 10, "output_tokens": 1}
    message = {"id": "msg_up1", "type": "message", "role": "assistant", "model": "claude-up", "content": []}
    return event(
        {
            "type": "message_start",
            "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": counts},
        }
    )


def block(index: int, start: Wire, *deltas: Wire, stop: bool = True) -> bytes:
    events: list[Wire] = [{"type": "content_block_start", "index": index, "content_block": start}]
    events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    events += [{"type": "content_block_stop", "index": index}] if stop else []
    return b"".join(map(event, events))


def text_block(index: int, *texts: str) -> bytes:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts))


def tool_block(index: int, *pieces: str, id: str = "toolu_1", name: str = "read", stop: bool = True) -> bytes:
    start = {"type": "tool_use", "id": id, "name": name, "input": {}}
    return block(index, start, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces), stop=stop)


def message_end(reason: str | None = "end_turn", **usage: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return event({"type": "message_delta", "delta": delta, "usage": usage or {"output_tokens": 5}}) + event(
        {"type": "message_stop"}
    )


def message(*blocks: bytes, reason: str | None = "end_turn") -> bytes:
    return message_start() + b"".join(blocks) + message_end(reason)


# ── what the proxy makes of it ──────────────────────────────────────────────────────────────────────────────────────


def between(client: str, upstream: str, **more: Any) -> Exchange:
    """An exchange, with a ledger of its own."""
    facts: Wire = {"model": "asked", "upstream_model": "up", "created": 1600000000, "input_tokens": 42}
    return Exchange(id="test", client_dialect=client, upstream_dialect=upstream, **(facts | more))


class Sent:
    """What the client gets: bytes, and the error that ends them if there is one: the proxy stops there."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.body, self.errors = b"", list[Error]()
        for item in items:
            if isinstance(item, Error):
                self.errors.append(item)
                break
            assert isinstance(item, bytes), item
            self.body += item

    @property
    def error(self) -> Error:
        assert self.errors
        return self.errors[0]


def through(sent: bytes | list[bytes], exchange: Exchange) -> Sent:
    """What the default stages make of an upstream's bytes."""
    pieces = [sent] if isinstance(sent, bytes) else sent
    stages: list[Stage[Any, Any]] = [Deframe(), Parse(), Translate(), Reframe()]
    return Sent(flow(stages, [[piece] for piece in pieces if piece], exchange))


def written(events: Iterable[Event], exchange: Exchange) -> Sent:
    """What the client's dialect makes of events, each a batch of its own."""
    return Sent(flow([Translate(), Reframe()], [[each] for each in events], exchange))


def read(sent: bytes, exchange: Exchange) -> list[Event]:
    """The events that an upstream's bytes are."""
    return flow([Deframe(), Parse()], [[sent]], exchange)


def to_anthropic(sent: bytes | list[bytes], **more: Any) -> Message:
    """The answer of a Chat Completions upstream as an Anthropic client reads it: whole and legal, or it fails."""
    got = through(sent, between(A, C, **more))
    assert not got.errors, got.errors
    return Message(got.body)


def to_chat(sent: bytes | list[bytes], **more: Any) -> Completion:
    """The answer of an Anthropic upstream as a Chat Completions client reads it."""
    got = through(sent, between(C, A, **more))
    assert not got.errors, got.errors
    return Completion(got.body)


# ── how clients read it ─────────────────────────────────────────────────────────────────────────────────────────────

_FILLS = {
    "text_delta": ("text", "text"),
    "citations_delta": ("text", "citations"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}


class Message:
    """An Anthropic stream as SDKs accumulate it; a delta that its block does not take fails, as in Claude Code."""

    def __init__(self, stream: bytes, *, whole: bool = True) -> None:
        self.objects = judge(stream) if whole else judge_begun(stream)
        self.start: Wire = {}
        self.blocks: list[Wire] = []
        self.stopped: list[int] = []
        self.stop_reason: str | None = None
        self.usage: Wire = {}
        for each in self.objects:
            self._take(each)

    def _take(self, each: Wire) -> None:
        match each["type"]:
            case "message_start":
                self.start = each["message"]
                self.usage |= self.start["usage"]
            case "content_block_start":
                self.blocks.append({**each["content_block"], "json": ""})
            case "content_block_delta":
                delta, filled = each["delta"], self.blocks[each["index"]]
                kind, key = _FILLS.get(delta["type"], (filled["type"], delta["type"]))
                # What nobody knows, SDKs pass over.
                assert filled["type"] in (kind, "server_tool_use"), f"{delta['type']} into {filled['type']}"
                if key == delta["type"]:
                    pass
                elif key == "citations":
                    filled.setdefault("citations", []).append(delta["citation"])
                else:
                    into = "json" if key == "partial_json" else key
                    filled[into] = filled.get(into, "") + delta[key]
            case "content_block_stop":
                self.stopped.append(each["index"])
            case "message_delta":
                self.stop_reason = each["delta"]["stop_reason"]
                self.usage |= each["usage"]

    @property
    def content(self) -> list[tuple[str, Any]]:
        """The blocks: `("text", "…")`, `("thinking", "…")`, `("name of a tool", arguments)`."""
        return [
            (each["name"], msgspec.json.decode(each["json"]) if each["json"] else each["input"])
            if each["type"] == "tool_use"
            else (each["type"], each.get(each["type"]))
            for each in self.blocks
        ]

    @property
    def ids(self) -> list[str]:
        """Of the tool calls."""
        return [each["id"] for each in self.blocks if each["type"] == "tool_use"]

    @property
    def arguments(self) -> list[str]:
        """Of the tool calls, as text."""
        return [each["json"] for each in self.blocks if each["type"] == "tool_use"]


class Completion:
    """A Chat Completions stream as SDKs accumulate it."""

    def __init__(self, stream: bytes, *, whole: bool = True) -> None:
        self.chunks = judge_chat(stream, whole=whole)
        self.content = self.reasoning = ""
        self.calls: list[Wire] = []
        self.annotations: list[Wire] = []
        self.finish: str | None = None
        self.usage: Wire | None = None
        for each in self.chunks:
            self.usage = each.get("usage") or self.usage
            for choice in each["choices"]:
                self.finish = choice["finish_reason"] or self.finish
                self._take(choice["delta"])

    def _take(self, delta: Wire) -> None:
        self.content += delta.get("content") or ""
        self.reasoning += delta.get("reasoning_content") or ""
        self.annotations += delta.get("annotations") or ()
        for piece in delta.get("tool_calls") or ():
            if "id" in piece:
                self.calls.append({"id": piece["id"], "name": piece["function"]["name"], "arguments": ""})
            self.calls[piece["index"]]["arguments"] += piece["function"].get("arguments") or ""

    @property
    def called(self) -> list[tuple[str, str, Any]]:
        """Id, name and arguments of each call."""
        return [(each["id"], each["name"], msgspec.json.decode(each["arguments"])) for each in self.calls]


def judge_begun(stream: bytes) -> list[Wire]:
    """The wire objects of an Anthropic stream that may stop anywhere but is legal as far as it goes."""
    ends = (
        b"",
        event({"type": "message_stop"}),
        message_end(),
        event({"type": "content_block_stop", "index": stream.count(b"event: content_block_start\n") - 1})
        + message_end(),
    )
    for end in ends:
        try:
            objects = judge(stream + end)
        except (AssertionError, KeyError):
            continue
        return objects[: len(objects) - end.count(b"event: ")]
    raise AssertionError(f"no end makes this a legal stream: {stream!r}")


# ── the grammar ─────────────────────────────────────────────────────────────────────────────────────────────────────

_CHUNK = {"id", "object", "created", "model", "choices"}
_FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}


def judge_chat(stream: bytes, *, whole: bool = True) -> list[Wire]:
    """The chunks of a stream, after making sure that it is legal: `whole`, or else as far as it goes."""
    assert not stream or stream.endswith(b"\n\n")
    chunks: list[Wire] = []
    done = False
    for frame in stream.split(b"\n\n")[:-1]:
        if frame.startswith(b":"):
            assert b"\n" not in frame  # a comment
            continue
        assert frame.startswith(b"data: "), frame
        assert b"\n" not in frame, frame
        assert not done, f"behind [DONE]: {frame!r}"
        if frame == b"data: [DONE]":
            done = True
            continue
        each = msgspec.json.decode(frame.removeprefix(b"data: "))
        assert each.keys() >= _CHUNK, each
        assert each.keys() <= {*_CHUNK, "usage", "service_tier", "system_fingerprint"}, each
        chunks.append(each)
    _judge_head(chunks)
    finished = _judge_choices(chunks)
    if whole:
        assert finished, "no finish_reason"
        assert done, "no [DONE]"
    return chunks


def _judge_head(chunks: list[Wire]) -> None:
    assert all(each["object"] == "chat.completion.chunk" for each in chunks)
    assert all(isinstance(each["id"], str) and each["id"] for each in chunks)
    assert all(isinstance(each["created"], int) and each["created"] > 0 for each in chunks)
    assert all(isinstance(each["model"], str) for each in chunks)
    assert len({(each["id"], each["created"], each["model"]) for each in chunks}) <= 1


def _judge_choices(chunks: list[Wire]) -> bool:
    """Whether the answer finished."""
    finished = counted = False
    begun = 0  # the tool calls
    for number, each in enumerate(chunks):
        assert not counted, "a chunk behind that of the usage"
        if not each["choices"]:
            assert each["choices"] == []
            assert finished, "usage before finish_reason"
            _judge_usage(each["usage"])
            counted = True
            continue
        assert not finished, "a chunk behind that of the finish_reason"
        assert each.get("usage") is None
        [choice] = each["choices"]
        assert choice.keys() <= {"index", "delta", "logprobs", "finish_reason"}
        assert choice["index"] == 0
        delta, reason = choice["delta"], choice["finish_reason"]
        assert ("role" in delta) == (number == 0)
        assert delta.get("role", "assistant") == "assistant"
        if reason is not None:
            assert reason in _FINISHES
            assert delta == {}
            finished = True
        else:
            assert delta
        for key in ("content", "reasoning_content", "refusal"):
            assert isinstance(delta.get(key) or "", str)
        for piece in delta.get("tool_calls", ()):
            begun = _judge_piece(piece, begun)
    return finished


def _judge_piece(piece: Wire, begun: int) -> int:
    function = piece["function"]
    assert isinstance(function["arguments"], str)
    assert type(piece["index"]) is int
    if piece["index"] == begun:
        assert isinstance(piece["id"], str)
        assert piece["id"]
        assert piece["type"] == "function"
        assert isinstance(function["name"], str)
        assert function["name"]
        return begun + 1
    assert 0 <= piece["index"] < begun
    assert piece.keys() <= {"index", "type", "function"}
    assert function.keys() == {"arguments"}
    return begun


def _judge_usage(usage: Wire) -> None:
    for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert type(usage[key]) is int
        assert usage[key] >= 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


# ── over real sockets ───────────────────────────────────────────────────────────────────────────────────────────────

CLAUDE = ("anthropic-version: 2023-06-01", "x-api-key: sk-client-secret")
OPENAI = ("authorization: Bearer sk-client-secret",)
ASKS_A = b'{"model":"asked","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"hi"}]}'
WHOLE_A = ASKS_A.replace(b',"stream":true', b"")
ASKS_C = b'{"model":"asked","stream":true,"messages":[{"role":"user","content":"hi"}]}'
WHOLE_C = ASKS_C.replace(b',"stream":true', b"")
CHAT = "/v1/chat/completions"

Script = Callable[[Line], Any]


def at(toml: str, dialect: str = C) -> str:
    """A configuration of `tests.peers` for an upstream that speaks `dialect`."""
    return toml.replace('dialect = "anthropic"', f'dialect = "{dialect}"')


def streams(*pieces: bytes) -> Script:
    """An upstream that answers with a stream in these pieces, and then ends it."""

    async def script(line: Line) -> None:
        await line.head()
        for piece in pieces:
            await line.chunk(piece)
        await line.end()

    return script


def gives(body: bytes, kind: str = "application/json", status: int = 200) -> Script:
    """An upstream that answers with one whole body."""

    async def script(line: Line) -> None:
        await line.whole(body, kind, status)

    return script
