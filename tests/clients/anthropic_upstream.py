"""A scripted Anthropic upstream that refuses what the API refuses about thinking: the fake router, thinking.

It plays a model: its script says what it thinks, says and calls at each step of a conversation. What it thought it
signs, and whatever comes back unlike that is refused in the API's own words, which are those of the issues that quote
them. `faults` and `Claude` are plain code without a socket; `AnthropicUpstream` is Claude on loopback.

Sources: platform.claude.com/docs/en/build-with-claude (extended-thinking, thinking, preserved-thinking and its
prefix-checks), the types of the official SDK, and hazards H053-H087.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from . import answers
from .fake_router import FakeRouter
from .wire import Answer, Request, one_write

Wire = dict[str, Any]  # a JSON object; `Any` because either side may have put anything into it
Headers = Mapping[str, str]

# manual: told to think by a budget of tokens. adaptive: decides itself, where asked. preserved: always thinks, and
# takes its thinking back only behind the very conversation that led to it.
Mode = Literal["manual", "adaptive", "preserved"]
MODELS: dict[str, Mode] = {
    "claude-sonnet-4-5": "manual",
    "claude-haiku-4-5": "manual",
    "claude-opus-4-7": "adaptive",
    "claude-opus-5-5": "preserved",
}
PATH = "/v1/messages"
INTERLEAVED = "interleaved-thinking-2025-05-14"
BINDING = "thinking-binding-controls-2026-08-01"
CONTEXT = "context-management-2025-06-27"

# ── the script ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Think:
    """A block of thinking; without text, only its signature comes."""

    text: str = ""


@dataclass(frozen=True)
class Redact:
    """A block of thinking that is told to nobody."""


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Call:
    name: str
    input: Wire = field(default_factory=dict)


Part = Think | Redact | Say | Call
Step = Sequence[Part]
LAST = (Say("That is all."),)
_THOUGHTS = {"thinking", "redacted_thinking"}


# ── what it has made ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bound:
    """What a block of thinking is bound to: what was said before it, and the block of thinking before it."""

    said: bytes
    thought: bytes

    def holds(self, now: Bound) -> bool:
        """Thinking may be left out at the beginning of a conversation, but not between other thinking."""
        return self.said == now.said and now.thought in (self.thought, _NOTHING)


_NOTHING = bytes(16)
_HIDDEN = 24  # bytes of a seal that stand for what it encrypts
_SECRET = b"known to this upstream alone"


@dataclass(frozen=True)
class Made:
    """An assistant's message as it was made."""

    model: str
    thinking: bool
    """Whether it was asked to think; it need not have."""
    content: tuple[Wire, ...]

    @property
    def thoughts(self) -> list[Wire]:
        return [block for block in self.content if block["type"] in _THOUGHTS]


class Past:
    """Seals thinking, and knows every message with calls that it made, by the ids of these."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._made: dict[str, Made] = {}
        self.seals: list[str] = []
        """Every signature, and all redacted thinking."""

    def token(self, size: int) -> bytes:
        """Never the same twice, and the same in every run."""
        return hashlib.blake2b(b"%d" % next(self._numbers), digest_size=size).digest()

    def keep(self, made: Made) -> None:
        self._made |= {block["id"]: made for block in made.content if block["type"] == "tool_use"}

    def made(self, blocks: Iterable[Wire]) -> list[Made | None]:
        """The messages that the calls among `blocks` are of, each once; None for a call that it never made."""
        ids = [block.get("id", "") for block in blocks if block.get("type") == "tool_use"]
        found: list[Made | None] = []
        for made in map(self._made.get, ids):
            if made is None or all(made is not each for each in found):
                found.append(made)
        return found

    def seal(self, model: str, kind: str, text: str, bound: Bound) -> str:
        inner = self.token(_HIDDEN) + bound.said + bound.thought
        self.seals.append(base64.b64encode(inner + _code(model, kind, text, inner)).decode())
        return self.seals[-1]


def opened(model: str, block: Wire) -> Bound | None:
    """What a block of thinking is bound to; None if it is not as that model made it."""
    kind = block["type"]
    sealed, text = (block.get("signature"), block.get("thinking")) if kind == "thinking" else (block.get("data"), "")
    try:
        raw = base64.b64decode(sealed or "", validate=True)
    except (ValueError, TypeError):
        return None
    inner, code = raw[: _HIDDEN + 32], raw[_HIDDEN + 32 :]
    if not isinstance(text, str) or not hmac.compare_digest(code, _code(model, kind, text, inner)):
        return None
    return Bound(inner[_HIDDEN : _HIDDEN + 16], inner[_HIDDEN + 16 :])


def _code(model: str, kind: str, text: str, inner: bytes) -> bytes:
    return hmac.digest(_SECRET, json.dumps([model, kind, text]).encode() + inner, "sha256")


class Prefix:
    """All that stands before a place in a conversation, in a form in which only what is said counts."""

    def __init__(self, body: Wire) -> None:
        begun = [[_plain(each) for each in _content(body.get(key))] for key in ("system", "tools")]
        self._hash = hashlib.blake2b(_bytes(begun), digest_size=16)
        self._role = ""
        self._thought = _NOTHING

    @property
    def bound(self) -> Bound:
        """What a block that stood here would be bound to."""
        return Bound(self._hash.digest(), self._thought)

    def begin(self, role: str) -> None:
        """What follows is said by `role`; who goes on speaking has not begun again."""
        if role != self._role:
            self._role = role
            self._hash.update(_bytes(role))

    def add(self, block: Wire) -> None:
        if block["type"] in _THOUGHTS:
            self._thought = hashlib.blake2b(_bytes(_plain(block)), digest_size=16).digest()
        else:
            self._hash.update(_bytes(_plain(block)))


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"


def _content(content: Any) -> list[Wire]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _plain(block: Wire) -> Wire:
    """Without marks of the cache, and with a string as the block of text that it is short for."""
    plain = {key: value for key, value in block.items() if key != "cache_control" and value not in (None, False)}
    if block.get("type") == "tool_result":
        plain["content"] = [_plain(each) for each in _content(block.get("content"))]
    return plain


# ── what it takes ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Turn:
    """Neighbours of one role, which the API takes for one message; `blocks` with where each stands."""

    role: str
    where: str
    blocks: list[tuple[str, Wire]]

    @classmethod
    def all(cls, body: Wire) -> list[Self]:
        turns: list[Self] = []
        for number, message in enumerate(body["messages"]):
            if not turns or turns[-1].role != message["role"]:
                turns.append(cls(message["role"], f"messages.{number}", []))
            content = enumerate(_content(message["content"]))
            turns[-1].blocks += [(f"messages.{number}.content.{place}", block) for place, block in content]
        return turns

    @property
    def bare(self) -> list[Wire]:
        return [block for _, block in self.blocks]

    def of(self, *kinds: str) -> list[tuple[str, Wire]]:
        return [(where, block) for where, block in self.blocks if block["type"] in kinds]


_DOCS = "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
_CONSULT = f"Please consult our documentation at {_DOCS}"
_FIELDS = {
    "cache_control", "container", "context_management", "inference_geo", "max_tokens", "mcp_servers", "messages",
    "metadata", "model", "output_config", "service_tier", "stop_sequences", "stream", "system", "temperature",
    "thinking", "tool_choice", "tools", "top_k", "top_p",
}  # fmt: skip
_ROLES = {"user", "assistant"}
_LEAST = 1024


def faults(body: Any, headers: Headers, past: Past) -> Iterator[str]:
    """What the API would refuse a request for; nothing where it would answer. Names of `headers` in lower case."""
    if not isinstance(body, dict) or body.get("model") not in MODELS:
        yield "model: Input should be a valid string"
        return
    yield from (f"{key}: Extra inputs are not permitted" for key in body if key not in _FIELDS)
    if type(body.get("max_tokens")) is not int or body["max_tokens"] < 1:
        yield "max_tokens: Field required"
        return
    shapeless = list(_shape(body.get("messages")))
    yield from shapeless
    if shapeless:
        return
    yield from _options(body, headers)
    turns = Turn.all(body)
    yield from _pairs(body, turns)
    yield from _ends(body, turns)
    yield from _seals(body, turns)
    yield from _begins(body, turns, past)
    yield from _latest(turns, past)
    if not drops(body):
        for where in mismatched(body):
            yield (
                f"{where}: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
                ' Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
            )


def mode_of(body: Wire) -> Mode:
    return MODELS[body["model"]]


def thinks(body: Wire) -> bool:
    """Whether the model is to think."""
    kind = (body.get("thinking") or {}).get("type")
    return kind in ("enabled", "adaptive") if kind else mode_of(body) == "preserved"


def _betas(headers: Headers) -> set[str]:
    return {each.strip() for each in headers.get("anthropic-beta", "").split(",")}


def _shape(messages: Any) -> Iterator[str]:
    """Whether the rest can be looked at."""
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            yield f"messages.{number}.role: Input should be 'user' or 'assistant'"
        elif not isinstance(message.get("content"), str | list):
            yield f"messages.{number}.content: Input should be a valid list"
        elif not message["content"] and number < len(messages) - 1:
            said = "all messages must have non-empty content except for the optional final assistant message"
            yield f"messages.{number}: {said}"
        else:
            yield from (f"messages.{number}.{key}: Extra inputs are not permitted" for key in message.keys() - _SHAPE)
            for place, block in enumerate(_content(message["content"])):
                yield from _block(block, f"messages.{number}.content.{place}", message["role"])


_SHAPE = {"role", "content"}
_KINDS = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", *_THOUGHTS},
}
_NEEDED: dict[str, dict[str, type]] = {
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
}
_ID = re.compile(r"[a-zA-Z0-9_-]+")


def _block(block: Any, where: str, role: str) -> Iterator[str]:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in _KINDS[role]:
        yield f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
    elif kind == "text" and not (isinstance(block.get("text"), str) and block["text"].strip()):
        yield "messages: text content blocks must contain non-whitespace text"
    needed = _NEEDED.get(kind or "", {})
    yield from (
        f"{where}.{kind}.{key}: Field required" for key in needed if not isinstance(block.get(key), needed[key])
    )
    if kind in _THOUGHTS:
        extra = block.keys() - needed.keys() - {"type"}
        yield from (f"{where}.{kind}.{key}: Extra inputs are not permitted" for key in extra)
    if kind == "tool_use" and not _ID.fullmatch(str(block.get("id"))):
        yield f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _options(body: Wire, headers: Headers) -> Iterator[str]:
    yield from _thinking(body, headers)
    yield from _sampling(body)
    choice = (body.get("tool_choice") or {}).get("type")
    if choice is not None and not body.get("tools"):
        yield "tool_choice: tool_choice may only be specified while providing tools"
    if choice in ("any", "tool"):
        if mode_of(body) == "preserved":
            yield 'tool_choice: type "tool" and "any" are not supported for this model.'
        elif mode_of(body) == "manual" and thinks(body):
            yield "Thinking may not be enabled when tool_choice forces tool use."
    if mode_of(body) == "manual" and "effort" in (body.get("output_config") or {}):
        yield "This model does not support the effort parameter."
    context = body.get("context_management")
    if context is not None and CONTEXT not in _betas(headers):
        yield "context_management: Extra inputs are not permitted"
    for edit in (context or {}).get("edits") or ():
        if edit.get("type") == "clear_thinking_20251015" and not thinks(body):
            yield "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive"


_THINKING_KEYS = {
    "enabled": {"type", "budget_tokens", "display"},
    "adaptive": {"type", "display"},
    "disabled": {"type"},
}


def _thinking(body: Wire, headers: Headers) -> Iterator[str]:
    said = body.get("thinking")
    if said is None:
        return
    kind, mode = said.get("type"), mode_of(body)
    if kind not in _THINKING_KEYS:
        tags = "'adaptive', 'disabled', 'enabled'"
        yield f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}"
        return
    known = _THINKING_KEYS[kind] | ({"block_binding"} if BINDING in _betas(headers) else set())
    yield from (f"thinking.{key}: Extra inputs are not permitted" for key in said if key not in known)
    if (kind, mode) == ("adaptive", "manual"):
        yield "adaptive thinking is not supported on this model"
    if (kind, mode) == ("disabled", "preserved"):
        yield '"thinking.type.disabled" is not supported for this model.'
    if kind != "enabled":
        return
    budget = said.get("budget_tokens")
    if mode != "manual":
        yield (
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and'
            ' "output_config.effort" to control thinking behavior.'
        )
    elif type(budget) is not int:
        yield "thinking.enabled.budget_tokens: Field required"
    elif budget < _LEAST:
        yield f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_LEAST}"
    elif budget >= body["max_tokens"] and not (body.get("tools") and INTERLEAVED in _betas(headers)):
        consult = f"{_CONSULT}#max-tokens-and-context-window-size"
        yield f"`max_tokens` must be greater than `thinking.budget_tokens`. {consult}"


def _sampling(body: Wire) -> Iterator[str]:
    mode = mode_of(body)
    temperature, top_p, top_k = (body.get(key) for key in ("temperature", "top_p", "top_k"))
    if mode != "manual":
        yield from (
            f"`{key}` is deprecated for this model." for key in ("temperature", "top_p", "top_k") if key in body
        )
        return
    if temperature is not None and top_p is not None:
        yield "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    if not thinks(body):
        return
    consult = f"{_CONSULT}#important-considerations-when-using-extended-thinking"
    if temperature not in (None, 1):
        yield f"`temperature` may only be set to 1 when thinking is enabled. {consult}"
    if top_p is not None and top_p < 0.95:
        yield f"`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled. {consult}"
    if top_k is not None:
        yield f"`top_k` must be unset when thinking is enabled. {consult}"


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pairs(body: Wire, turns: list[Turn]) -> Iterator[str]:
    """Every call has its result at the beginning of the next turn, and no result is without its call (H062)."""
    if turns[0].role != "user":
        yield 'messages: first message must use the "user" role'
    if not body.get("tools") and any(turn.of("tool_use", "tool_result") for turn in turns):
        yield "Requests which include `tool_use` or `tool_result` blocks must define tools"
    ids = [block.get("id") for turn in turns for _, block in turn.of("tool_use")]
    if len({*ids}) < len(ids):
        yield "messages: `tool_use` ids must be unique"
    for before, turn, after in zip([None, *turns], turns, [*turns[1:], None], strict=False):
        calls = [block["id"] for _, block in turn.of("tool_use")]
        first = itertools.takewhile(lambda block: block["type"] == "tool_result", after.bare if after else ())
        given = [block["tool_use_id"] for block in first]
        if missing := [id for id in calls if id not in given]:
            yield (
                f"{turn.where}: `tool_use` ids were found without `tool_result` blocks immediately after:"
                f" {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the"
                " next message."
            )
        made = [block["id"] for _, block in before.of("tool_use")] if before else []
        for where, block in turn.of("tool_result"):
            if block["tool_use_id"] not in made:
                yield (
                    f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {block['tool_use_id']}. Each"
                    " `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        if len({*given}) < len(given):
            yield "messages: each tool_use must have a single result. Found multiple `tool_result` blocks"


def _ends(body: Wire, turns: list[Turn]) -> Iterator[str]:
    last = turns[-1]
    if last.role == "assistant":
        if mode_of(body) != "manual":
            said = "The conversation must end with a user message."
            yield f"This model does not support assistant message prefill. {said}"
        if not thinks(body):
            for where, block in last.of(*_THOUGHTS):
                yield (
                    f"{where}: When thinking is disabled, an `assistant` message in the final position cannot contain"
                    f" `{block['type']}`. To use thinking blocks, enable `thinking` in your request."
                )
    for turn in turns:
        if turn.blocks and turn.blocks[-1][1]["type"] in _THOUGHTS:
            yield f"{turn.where}: The final block in an assistant message cannot be `{turn.blocks[-1][1]['type']}`."


def _seals(body: Wire, turns: list[Turn]) -> Iterator[str]:
    """Another model's are none: stricter than the API, which leaves some of them out and says nothing (H075)."""
    for turn in turns:
        for where, block in turn.of(*_THOUGHTS):
            if opened(body["model"], block) is None:
                kind = block["type"]
                yield f"{where}: Invalid `{'signature' if kind == 'thinking' else 'data'}` in `{kind}` block"


def _begins(body: Wire, turns: list[Turn], past: Past) -> Iterator[str]:
    """H074: what was thought with the calls of the turn that goes on must be there."""
    if mode_of(body) != "manual" or not thinks(body):
        return
    for turn in running(turns):
        where, first = turn.blocks[0]
        if turn.role != "assistant" or first["type"] in _THOUGHTS:
            continue
        made = past.made(turn.bare)
        # Without interleaving only the first message of a turn begins with thinking; the others are as they were made.
        if not made or any(each is None or not _thoughtless(each, body["model"]) for each in made):
            yield (
                f"{where}.type: Expected `thinking` or `redacted_thinking`, but found `{first['type']}`. When"
                " `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the"
                " lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from"
                f" previous turns. To avoid this requirement, disable `thinking`. {_CONSULT}"
            )


def _thoughtless(made: Made, model: str) -> bool:
    """Whether it was to think, and did not begin with it."""
    return made.thinking and made.model == model and made.content[0]["type"] not in _THOUGHTS


def running(turns: list[Turn]) -> list[Turn]:
    """The turns since the user's last words: the loop of tools that goes on, or an answer begun for the model."""
    said = [number for number, turn in enumerate(turns) if turn.role == "user" and not turn.of("tool_result")]
    return turns[said[-1] + 1 :] if said else turns


def _latest(turns: list[Turn], past: Past) -> Iterator[str]:
    """The thinking of a message is all there or not at all; which it must be, others tell.

    A client may have made one message of several: then this goes for the thinking of each.
    """
    latest = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    made = past.made(latest.bare) if latest else []
    if latest is None or not made or None in made:
        return
    sent = latest.of(*_THOUGHTS)
    rest = [block for _, block in sent]
    for each in made:
        if each and rest[: len(each.thoughts)] == each.thoughts:
            rest = rest[len(each.thoughts) :]
    if rest:
        yield (
            f"{sent[-len(rest)][0]}: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot"
            " be modified. These blocks must remain as they were in the original response."
        )


def drops(body: Wire) -> bool:
    """Whether thinking of another conversation is to be left out, and not refused."""
    binding = (body.get("thinking") or {}).get("block_binding") or {}
    return bool(binding.get("prefix_mismatch_behavior") == "drop_block")


def mismatched(body: Wire) -> list[str]:
    """Where thinking stands that is bound to a different conversation, with all that was thought after it in a turn."""
    if mode_of(body) != "preserved":
        return []
    prefix, found, broken = Prefix(body), list[str](), False
    for turn in Turn.all(body):
        prefix.begin(turn.role)
        broken = broken and (turn.role == "assistant" or bool(turn.of("tool_result")))
        for where, block in turn.blocks:
            if block["type"] in _THOUGHTS and (bound := opened(body["model"], block)):
                broken = broken or not bound.holds(prefix.bound)
                found += [where] if broken else []
            prefix.add(block)
    return found


# ── what it says ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Seen:
    """What there was of thinking in a request that was answered."""

    model: str
    thinking: bool
    """Whether it was asked for."""
    thoughts: tuple[tuple[str, Wire], ...]
    """The blocks of it, and where they stood."""
    changed: tuple[str, ...]
    """Where messages stood that called tools and are not as they were made, block for block."""
    dropped: tuple[str, ...]
    """Where thinking stood that was left out, being bound to a different conversation."""
    headers: Headers
    body: Wire


class Claude:
    """Plays `script`: at each step what the model thinks, says and calls; beyond it, `LAST`.

    A conversation is as many steps long as it has assistant turns; `in_order`, as many as were asked for, as a client
    may sum up what was said and go on with that. What is thought is left out where the request turns
    thinking off, and behind results of tools where it does not ask for interleaved thinking.
    """

    def __init__(self, script: Sequence[Step], *, in_order: bool = False) -> None:
        self.past = Past()
        self.seen: list[Seen] = []
        self.refused: list[str] = []
        self._script = script
        self._in_order = in_order

    def answer(self, body: Any, headers: Headers) -> tuple[int, Wire]:
        """The status of the answer, and its body as it is without streaming."""
        if isinstance(body, dict) and isinstance(body.get("model"), str) and body["model"] not in MODELS:
            self.refused.append(f"model: {body['model']}")
            return 404, answers.error_body("not_found_error", f"model: {body['model']}")
        if fault := next(faults(body, headers, self.past), None):
            self.refused.append(fault)
            return 400, answers.error_body("invalid_request_error", fault)
        turns, dropped = Turn.all(body), tuple(mismatched(body))
        thoughts = tuple(each for turn in turns for each in turn.of(*_THOUGHTS))
        changed = tuple(turn.where for turn in turns if not self._is_as_made(turn))
        self.seen.append(Seen(body["model"], thinks(body), thoughts, changed, dropped, headers, body))
        steps = len(self.seen) - 1 if self._in_order else sum(turn.role == "assistant" for turn in turns)
        content = self._play(self._script[steps] if steps < len(self._script) else LAST, body, headers)
        self.past.keep(Made(body["model"], thinks(body), tuple(content)))
        message = answers.message(
            content,
            message_id=f"msg_{self.past.token(12).hex()}",
            stop_reason="tool_use" if content[-1]["type"] == "tool_use" else "end_turn",
        )
        message["model"] = body["model"]
        if BINDING in _betas(headers):
            reason = {"type": "thinking_dropped", "reason": "prefix_binding_mismatch"}
            message["input_transformations"] = [reason | {"path": where} for where in dropped]
        return 200, message

    def _is_as_made(self, turn: Turn) -> bool:
        made = self.past.made(turn.bare)
        content = [_plain(block) for each in made if each for block in each.content]
        return not made or (None not in made and [_plain(block) for block in turn.bare] == content)

    def _play(self, step: Step, body: Wire, headers: Headers) -> list[Wire]:
        turns, prefix = Turn.all(body), Prefix(body)
        interleaved = mode_of(body) != "manual" or INTERLEAVED in _betas(headers)
        on = thinks(body) and (interleaved or not running(turns))
        omitted = (body.get("thinking") or {}).get("display") == "omitted"
        for turn in turns:
            prefix.begin(turn.role)
            for block in turn.bare:
                prefix.add(block)
        prefix.begin("assistant")
        content: list[Wire] = []
        for part in step:
            if isinstance(part, Say):
                block = answers.text_block(part.text)
            elif isinstance(part, Call):
                id = f"toolu_01{self.past.token(11).hex()}"
                block = {"type": "tool_use", "id": id, "name": part.name, "input": part.input}
            elif not on:
                continue
            elif isinstance(part, Redact):
                block = {"type": "redacted_thinking"}
                block["data"] = self.past.seal(body["model"], block["type"], "", prefix.bound)
            else:
                block = {"type": "thinking", "thinking": "" if omitted else part.text}
                block["signature"] = self.past.seal(body["model"], block["type"], block["thinking"], prefix.bound)
            content.append(block)
            prefix.add(block)
        return content


# ── on the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────


class AnthropicUpstream(FakeRouter):
    """Claude on loopback, streamed or not, as the request asks. `refused` has the words of every refusal."""

    def __init__(self, script: Sequence[Step], *, in_order: bool = False) -> None:
        super().__init__()
        self.claude = Claude(script, in_order=in_order)
        self._one_at_a_time = threading.Lock()

    @property
    def refused(self) -> list[str]:
        return self.claude.refused

    @property
    def seen(self) -> list[Seen]:
        return self.claude.seen

    def answer(self, request: Request) -> Answer:
        headers = {name.lower(): value for name, value in request.headers}
        with self._one_at_a_time:
            self.requests.append(request)
            if fault := _turned_away(headers):
                self.refused.append(fault)
                kind = "authentication_error" if "key" in fault else "invalid_request_error"
                return _failed(401 if "key" in fault else 400, answers.error_body(kind, fault))
            if (request.method, request.path) == ("GET", "/v1/models"):
                return answers.json_answer(_listing())
            if (request.method, request.path) != ("POST", PATH):
                self.refused.append(f"{request.method} {request.target}")
                return _failed(404, answers.error_body("not_found_error", "Not found"))
            status, body = self.claude.answer(request.json, headers)
        if status != 200:
            return _failed(status, body)
        return answers.sse(one_write(list(_events(body)))) if request.wants_stream else answers.json_answer(body)


def _turned_away(headers: Headers) -> str | None:
    if "x-api-key" not in headers and "authorization" not in headers:
        return "x-api-key header is required"
    return None if "anthropic-version" in headers else "anthropic-version: header is required"


def _failed(status: int, body: Wire) -> Answer:
    return answers.json_answer(body, status=status)


def _listing() -> Wire:
    kind = {"type": "model", "created_at": "2026-01-01T00:00:00Z"}
    data = [kind | {"id": model, "display_name": model} for model in MODELS]
    return {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}


def _events(message: Wire) -> Iterator[bytes]:
    beside = {key: message.pop(key) for key in ("input_transformations",) if key in message}
    yield answers.event("message_start", message=message | {"content": [], "stop_reason": None})
    yield answers.PING
    for index, block in enumerate(message["content"]):
        start, deltas = _pieces(block)
        yield answers.event("content_block_start", index=index, content_block=start)
        yield from (answers.event("content_block_delta", index=index, delta=delta) for delta in deltas)
        yield answers.event("content_block_stop", index=index)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield answers.event("message_delta", delta=delta, usage=message["usage"], **beside)
    yield answers.PADDED_STOP


def _pieces(block: Wire) -> tuple[Wire, list[Wire]]:
    """How a block starts, and its deltas: text word by word, a signature last, redacted thinking none at all."""
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": each} for each in _words(block["text"])]
    if block["type"] == "tool_use":
        texts = ["", *_words(json.dumps(block["input"], ensure_ascii=False))]
        return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": each} for each in texts]
    if block["type"] == "redacted_thinking":
        return block, []
    deltas = [{"type": "thinking_delta", "thinking": each} for each in _words(block["thinking"])]
    signature = {"type": "signature_delta", "signature": block["signature"]}
    return block | {"thinking": "", "signature": ""}, [*deltas, signature]


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)
