"""Signed thinking for clients that cannot carry it: remembered when a message calls tools, put back when it returns.

Claude signs what it thinks, and wants it back, byte for byte, with the results of the tools that it called while it
thought. A chat client never sees a signature. So the thinking of a message that calls tools is kept under the ids of
its calls, and a request that brings these calls again gets it back in its place (hazards H074-H077). Sources:
platform.claude.com/docs/en/build-with-claude/extended-thinking and …/preserved-thinking.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

import msgspec

from trioproxy.items import (
    Block,
    BlockStart,
    Event,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    RedactedThinking,
    Request,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    replace,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Receive, Send, Stage
from trioproxy.units import Size

__all__ = ["RememberThinking", "ReplayThinking"]

_KIND = "thinking"
_CLIENTS, _UPSTREAMS = frozenset({"openai-chat"}), frozenset({"anthropic"})


# ── what is kept of a message: its parts, in order ──────────────────────────────────────────────────────────────────


class _Thought(msgspec.Struct, frozen=True, array_like=True, tag="thinking"):
    thinking: str
    signature: str
    extra: dict[str, Any] = {}


class _Redacted(msgspec.Struct, frozen=True, array_like=True, tag="redacted"):
    data: str
    extra: dict[str, Any] = {}


class _Said(msgspec.Struct, frozen=True, array_like=True, tag="text"):
    """A block of text: how many characters it has, and with the option `texts` which."""

    length: int
    text: str = ""


class _Called(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    id: str


_Part = _Thought | _Redacted | _Said | _Called
_Parts = tuple[_Part, ...]
_READ = msgspec.json.Decoder(_Parts)


# ── the response ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Draft:
    """A block that is still coming in."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.pieces: list[str] = []
        self.signature: list[str] = []
        self.length = 0

    def part(self, *, texts: bool) -> _Part | None:
        """None for what is of no use: thinking that nobody signed, text without a character, blocks of other kinds."""
        match self.block:
            case Thinking(thinking=thinking, signature=signature, extra=extra):
                signature = "".join([signature, *self.signature])
                return _Thought("".join([thinking, *self.pieces]), signature, extra) if signature else None
            case RedactedThinking(data=data, extra=extra):
                return _Redacted(data, extra) if data else None
            case Text(text=text):
                length = len(text) + self.length
                return _Said(length, "".join([text, *self.pieces]) if texts else "") if length else None
            case ToolUse(id=id):
                return _Called(id) if id else None
        return None


class RememberThinking(Stage[Event, Event]):
    """Remember the signed thinking of messages that call tools, for clients that cannot carry it.

    `replay-thinking`, a request stage, puts it back; `[store]` says where it is kept and for how long. Kept of a
    message are its thinking, the ids of its calls, and how long the texts between them are. With `texts` these are kept
    too, and put back where the client has no text in that message: for clients that do not send back what `tool-text`
    has shown them as thinking. Nothing is kept of a message with more than `within` of all that.
    """

    clients, upstreams = _CLIENTS, _UPSTREAMS

    def __init__(self, *, texts: bool = False, within: Size = Size(4 * 1024 * 1024)) -> None:
        self._texts, self._within = texts, within
        self._asked = False
        self._drafts: dict[int, _Draft] = {}  # of the message that is coming in, by the index of the block
        self._size = 0
        self._due: dict[str, bytes] = {}
        self._remembered = 0

    def open(self, exchange: Exchange, /) -> Iterable[Event]:
        self._asked = exchange.thinking
        return ()

    def feed(self, event: Event, /) -> Iterable[Event]:
        if look := _LOOK.get(type(event)):
            look(self, event)
        return (event,)

    async def run(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        memory = exchange.memory
        if memory is None:
            await super().run(exchange, receive, send)
            return
        self.open(exchange)
        async for batch in receive:
            self.feed_all(batch)
            if due := self.due():
                # Before the client learns that the message is over: its next request may go to another process.
                await memory.keep(_KIND, due)
            await send.send(batch)

    def stats(self) -> Mapping[str, int]:
        return {"remembered": self._remembered} if self._remembered else {}

    def due(self) -> Mapping[str, bytes]:
        """What is to be kept of the messages that have ended since it was last asked for, by the id of a call."""
        due, self._due = self._due, {}
        return due

    def _begin(self, event: MessageStart) -> None:
        # Programmatic tool calling begins messages with blocks, which have no index of their own.
        self._drafts = {-1 - number: _Draft(block) for number, block in enumerate(event.content)}
        self._size = 0

    def _block(self, event: BlockStart) -> None:
        self._drafts[event.index] = _Draft(event.block)

    def _text(self, event: TextDelta) -> None:
        if draft := self._drafts.get(event.index):
            draft.length += len(event.text)
            if self._texts:
                self._keep(draft.pieces, event.text)

    def _thinking(self, event: ThinkingDelta) -> None:
        if draft := self._drafts.get(event.index):
            self._keep(draft.pieces, event.thinking)

    def _signature(self, event: SignatureDelta) -> None:
        if draft := self._drafts.get(event.index):
            self._keep(draft.signature, event.signature)

    def _keep(self, pieces: list[str], text: str) -> None:
        self._size += len(text)
        if self._size <= self._within:
            pieces.append(text)

    def _end(self, event: MessageDelta | MessageStop) -> None:
        parts = [part for draft in self._drafts.values() if (part := draft.part(texts=self._texts))]
        self._drafts = {}
        calls = [part.id for part in parts if isinstance(part, _Called)]
        # A message without thinking is remembered too if it could have had some: it needs none when it returns.
        if calls and self._size <= self._within and (self._asked or any(map(_is_thinking, parts))):
            self._due |= dict.fromkeys(calls, msgspec.json.encode(parts))
            self._remembered += any(map(_is_thinking, parts))


# `Any`, because each entry takes the one kind of event it stands under.
_LOOK: dict[type[Event], Callable[[RememberThinking, Any], None]] = {
    MessageStart: RememberThinking._begin,
    BlockStart: RememberThinking._block,
    TextDelta: RememberThinking._text,
    ThinkingDelta: RememberThinking._thinking,
    SignatureDelta: RememberThinking._signature,
    MessageDelta: RememberThinking._end,
    MessageStop: RememberThinking._end,
}


def _is_thinking(part: _Part) -> bool:
    return isinstance(part, _Thought | _Redacted)


# ── the request ─────────────────────────────────────────────────────────────────────────────────────────────────────


class ReplayThinking(Stage[Request, Request]):
    """Put signed thinking back where it was, before the calls it led to, for clients that cannot carry it.

    It is what `remember-thinking`, a response stage, has kept. Signed blocks that the client carries itself are left as
    they are. What is not remembered any more, or was thought by another model, is not sent: thinking is then turned off
    for the turn, if the model wants it back. With `thinking-with-tools` false, requests that offer tools go without
    thinking in the first place.
    """

    clients, upstreams = _CLIENTS, _UPSTREAMS

    def __init__(self, *, thinking_with_tools: bool = True) -> None:
        self._thinking_with_tools = thinking_with_tools
        self._ledger = Ledger()
        self._replayed = 0

    def open(self, exchange: Exchange, /) -> Iterable[Request]:
        self._ledger = exchange.ledger
        return ()

    def feed(self, request: Request, /) -> Iterable[Request]:
        return (request if self._thinking_with_tools else _unthinking(request, self._ledger),)

    async def run(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        memory = exchange.memory
        self.open(exchange)
        async for batch in receive:
            items = []
            for item in self.feed_all(batch):
                if isinstance(item, Request) and (ids := [use.id for use in _calls(item.messages)]):
                    kept = await memory.recall(_KIND, ids) if memory else {}
                    request = replayed(item, kept, self._ledger)
                    self._replayed = sum(any(map(_is_signed, _blocks([each]))) for each in request.messages)
                    items.append(request)
                else:
                    items.append(item)
            await send.send(items)

    def stats(self) -> Mapping[str, int]:
        return {"replayed": self._replayed} if self._replayed else {}


def _unthinking(request: Request, ledger: Ledger) -> Request:
    if not request.tools:
        return request
    if request.extra.get("thinking", {}).get("type", "disabled") != "disabled":
        ledger.note("thinking (with tools)", "turned off by thinking-with-tools = false")
    return replace(request, extra=request.extra | {"thinking": {"type": "disabled"}})


def replayed(request: Request, kept: Mapping[str, bytes], ledger: Ledger) -> Request:
    """The request with all thinking in its place that `kept` has, by the ids of calls."""
    messages: list[Message] = []
    forgotten = 0
    for role, group in groupby(request.messages, key=lambda message: message.role):
        turn = list(group)
        if role != "assistant" or any(map(_is_signed, _blocks(turn))) or not (ids := [use.id for use in _calls(turn)]):
            messages += turn
        elif parts := [part for record in _records(ids, kept) for part in record]:
            # As one message: a client may have taken it apart, and it has to begin with its thinking. Or it is several
            # that the client has moved together, each with a record of its own.
            known = {part.id for part in parts if isinstance(part, _Called)}
            content = tuple(_rebuilt(parts, _blocks(turn)))
            messages.append(Message("assistant", content, turn[0].extra, thought=known.issuperset(ids)))
        else:
            messages += turn
            forgotten += 1
    if forgotten and (kept or request.extra.get("thinking", {}).get("type") in ("enabled", "adaptive")):
        ledger.note("messages[].content[].thinking", "not remembered of some turns that called tools")
    return replace(request, messages=tuple(messages)) if kept else request


def _records(ids: Iterable[str], kept: Mapping[str, bytes]) -> Iterable[_Parts]:
    """What is kept under these ids, each message once; those that began with thinking first, as all together must."""
    records = {kept[id]: parts for id in ids if (parts := _record(id, kept))}
    return sorted(records.values(), key=lambda parts: not _is_thinking(parts[0]))


def _record(id: str, kept: Mapping[str, bytes]) -> _Parts:
    """What is kept under the id of a call; nothing if that is not about this call."""
    try:
        parts = _READ.decode(kept[id]) if id in kept else ()
    except msgspec.DecodeError:  # somebody else wrote it
        return ()
    return parts if any(isinstance(part, _Called) and part.id == id for part in parts) else ()


def _calls(messages: Iterable[Message]) -> Iterator[ToolUse]:
    return (block for block in _blocks(messages) if isinstance(block, ToolUse))


def _blocks(messages: Iterable[Message]) -> Iterator[Block]:
    for message in messages:
        if message.role == "assistant":
            content = message.content
            yield from (Text(text=content),) if isinstance(content, str) else content


def _is_signed(block: Block) -> bool:
    return isinstance(block, RedactedThinking) or (isinstance(block, Thinking) and bool(block.signature))


def _rebuilt(parts: Sequence[_Part], blocks: Iterable[Block]) -> Iterator[Block]:
    """The client's blocks of a message with its thinking between them, where it was.

    Clients know one text where there were several: it is cut where they began, if it still is as long as they were
    together, and else stands where the first of them was; where there is none, what was kept of them does. Calls that
    the client has dropped are not made again.
    """
    rest = [block for block in blocks if not isinstance(block, Thinking)]
    uses = [block for block in rest if isinstance(block, ToolUse)]
    said = [block for block in rest if not isinstance(block, ToolUse)]
    cut = _cut(said, [part.length for part in parts if isinstance(part, _Said)])
    texts = cut or [said]
    if not said:
        cut = texts = [[Text(text=part.text)] if part.text else [] for part in parts if isinstance(part, _Said)]
    for part in parts:
        match part:
            case _Thought(thinking=thinking, signature=signature, extra=extra):
                yield Thinking(thinking=thinking, signature=signature, extra=extra)
            case _Redacted(data=data, extra=extra):
                yield RedactedThinking(data=data, extra=extra)
            case _Said() if texts:
                yield from texts.pop(0)
            case _Called(id=id):
                if texts and not cut:  # words that were not there stand before the calls at least
                    yield from texts.pop()
                if use := next((use for use in uses if use.id == id), None):
                    uses.remove(use)
                    yield use
    for left in texts:
        yield from left
    yield from uses


def _cut(said: Sequence[Block], lengths: Sequence[int]) -> list[list[Block]]:
    """What was said as so many texts of these lengths, which it was once; nothing if that is not what it is."""
    texts = [block for block in said if isinstance(block, Text)]
    text = "".join(block.text for block in texts)
    if not lengths or len(texts) < len(said) or len(text) != sum(lengths):
        return []
    pieces = [text[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]
    cut: list[list[Block]] = [[Text(text=piece)] for piece in pieces]
    cut[-1] = [Text(text=pieces[-1], extra=texts[-1].extra)]  # a cache mark is about all before it
    return cut
