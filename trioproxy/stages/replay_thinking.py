"""Signed thinking for clients that cannot carry it: remembered when a message calls tools, put back when it returns.

Claude signs what it thinks, and wants it back, byte for byte, with the results of the tools that it called while it
thought. A chat client never sees a signature. So the thinking of a message that calls tools is kept under the ids of
its calls, and a request that brings these calls again gets it back in its place (hazards H074-H077). Sources:
platform.claude.com/docs/en/build-with-claude/extended-thinking and …/preserved-thinking.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, groupby
from typing import Annotated, Any

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
from trioproxy.stage import Exchange, Memory, Receive, Send, Stage
from trioproxy.units import Size

__all__ = ["RememberThinking", "ReplayThinking"]

_PARTS = 10_000  # of one message
_WEIGHT = 64  # bytes that a block takes beside what is in it
_CALLS = 10_000  # of one request that are looked for, the latest of them
_UNTOLD = ("content[].signature", "content[].redacted_thinking")  # what these clients are not told
_AS_TEXT = frozenset({"messages[].reasoning_content", "messages[].reasoning"})
_CLIENTS, _UPSTREAMS = frozenset({"openai-chat"}), frozenset({"anthropic", "openai-responses"})


def _kind(exchange: Exchange) -> str:
    """What a model thinks is for no other one."""
    return f"thinking {exchange.upstream_model}"


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

    length: Annotated[int, msgspec.Meta(ge=1)]
    text: str = ""


class _Called(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    id: str


_Part = _Thought | _Redacted | _Said | _Called
_Parts = Annotated[tuple[_Part, ...], msgspec.Meta(max_length=_PARTS)]
# Of parallel calls the first has the record, and each other one the id of the first.
_READ = msgspec.json.Decoder(_Parts | str)
# What somebody else wrote, or a bit that has turned, may be anything.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# ── the response ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Draft:
    """A block that is still coming in; of it only what is to be kept."""

    def __init__(self, block: Thinking | RedactedThinking | Text | ToolUse, *, texts: bool) -> None:
        self.pieces: list[str] = []
        self.signature: list[str] = []
        self.length = 0
        match block:
            case Thinking(thinking=said, signature=signature):
                self._block: Block = replace(block, thinking="", signature="")
                self.pieces, self.signature = [said], [signature]
                self.size = _WEIGHT + len(said) + len(signature)
            case RedactedThinking(data=data):
                self._block = block
                self.size = _WEIGHT + len(data)
            case Text(text=said):
                self._block = Text()
                self.length = len(said)
                self.pieces = [said] if texts else []
                self.size = _WEIGHT + len(said) * texts
            case ToolUse(id=id):
                self._block = ToolUse(id=id)
                self.size = _WEIGHT + len(id)

    def part(self) -> _Part | None:
        """None for what is of no use: thinking that nobody signed, text without a character."""
        match self._block:
            case Thinking(extra=extra) if signature := "".join(self.signature):
                return _Thought("".join(self.pieces), signature, extra)
            case RedactedThinking(data=data, extra=extra) if data:
                return _Redacted(data, extra)
            case Text() if self.length:
                return _Said(self.length, "".join(self.pieces))
            case ToolUse(id=id) if id:
                return _Called(id)
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
            self.timed(batch)
            if due := self.due():
                # Before the client learns that the message is over: its next request may go to another process.
                await memory.keep(_kind(exchange), due)
                for path in _UNTOLD:
                    exchange.ledger.spare(path)
            await send.send(batch)

    def stats(self) -> Mapping[str, int]:
        return {"remembered": self._remembered} if self._remembered else {}

    def due(self) -> Mapping[str, bytes]:
        """What is to be kept of the messages that have ended since it was last asked for, by the id of a call."""
        due, self._due = self._due, {}
        return due

    def _begin(self, event: MessageStart) -> None:
        self._drafts, self._size = {}, 0
        for number, block in enumerate(event.content):  # programmatic tool calling; these have no index of their own
            self._start(-1 - number, block)

    def _block(self, event: BlockStart) -> None:
        self._start(event.index, event.block)

    def _start(self, index: int, block: Block) -> None:
        self._drafts.pop(index, None)
        if isinstance(block, Thinking | RedactedThinking | Text | ToolUse):
            draft = _Draft(block, texts=self._texts)
            self._size += draft.size
            if self._size <= self._within:
                self._drafts[index] = draft
            else:
                self._drafts.clear()

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
        else:
            self._drafts.clear()

    def _end(self, event: MessageDelta | MessageStop) -> None:
        parts = [part for draft in self._drafts.values() if (part := draft.part())]
        self._drafts = {}
        calls = [part.id for part in parts if isinstance(part, _Called)]
        # A message without thinking is remembered too if it could have had some: it needs none when it returns.
        if calls and len(parts) <= _PARTS and self._size <= self._within:
            thought = any(map(_is_thinking, parts))
            self._remembered += thought
            if thought or self._asked:
                first, *others = calls
                self._due |= {first: msgspec.json.encode(parts)} | dict.fromkeys(others, msgspec.json.encode(first))


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


def _size(part: _Part) -> int:
    """About how many bytes there are of what the client does not have."""
    match part:
        case _Thought(thinking=text, signature=signature):
            return _WEIGHT + len(text) + len(signature)
        case _Redacted(data=text) | _Said(text=text):
            return _WEIGHT + len(text)
    return 0


# ── the request ─────────────────────────────────────────────────────────────────────────────────────────────────────


class ReplayThinking(Stage[Request, Request]):
    """Put signed thinking back where it was, before the calls it led to, for clients that cannot carry it.

    It is what `remember-thinking`, a response stage, has kept. Signed blocks that the client carries itself are left as
    they are. What is not remembered any more, or was thought by another model, is not sent: thinking is then turned off
    for the turn, if the model wants it back. With `thinking-with-tools` false, requests that offer tools go without
    thinking in the first place. No more than `within` is put back into a request, however often a client repeats calls.
    """

    clients, upstreams = _CLIENTS, _UPSTREAMS

    def __init__(self, *, thinking_with_tools: bool = True, within: Size = Size(32 * 1024 * 1024)) -> None:
        self._thinking_with_tools, self._within = thinking_with_tools, within
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
            for item in self.timed(batch):
                if isinstance(item, Request) and (ids := [use.id for use in _calls(item.messages)]):
                    records = await _recalled(memory, _kind(exchange), ids[-_CALLS:]) if memory else {}
                    request = replayed(item, records, self._ledger, within=self._within)
                    self._replayed = _signed(request) - _signed(item)
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


async def _recalled(memory: Memory, kind: str, ids: Sequence[str]) -> Mapping[str, _Parts]:
    """What is remembered of the messages that these calls are of, by the id of each call."""
    records = {id: read_record(kept) for id, kept in (await memory.recall(kind, ids)).items()}
    firsts = {record for record in records.values() if isinstance(record, str)}
    if missing := firsts - records.keys():  # calls that the client has dropped
        records |= {id: read_record(kept) for id, kept in (await memory.recall(kind, list(missing))).items()}
    return by_call(records)


def read_record(kept: bytes) -> _Parts | str:
    """What is kept under the id of a call: the parts of its message, or the id of the call that has them."""
    try:
        record: _Parts | str = _READ.decode(kept)
    except _UNREADABLE:
        return ()
    return record


def by_call(records: Mapping[str, _Parts | str]) -> dict[str, _Parts]:
    """The parts of the messages that calls are of. What is about other calls than the one it is kept under is not."""
    whole = {id: record for id, record in records.items() if not isinstance(record, str)}
    calls = {id: {part.id for part in parts if isinstance(part, _Called)} for id, parts in whole.items()}
    first = {id: record if isinstance(record, str) else id for id, record in records.items()}
    return {id: whole[at] for id, at in first.items() if id in calls.get(at, ())}


def replayed(request: Request, records: Mapping[str, _Parts], ledger: Ledger, *, within: int) -> Request:
    """The request with the thinking of `records`, which are by the ids of calls, in its place: `within` bytes of it."""
    messages: list[Message] = []
    sizes = {id(parts): sum(map(_size, parts)) for parts in records.values()}
    forgotten = 0
    for role, group in groupby(request.messages, key=lambda message: message.role):
        turn = list(group)
        ids = [use.id for use in _calls(turn)]
        if role != "assistant" or not ids or any(map(_is_signed, _blocks(turn))):
            messages += turn
            continue
        mine = {id(parts): parts for each in ids if (parts := records.get(each))}
        size = sum(sizes[each] for each in mine)
        if not mine or size > within:
            messages += turn
            forgotten += 1
            continue
        within -= size
        # As one message: a client may have taken it apart, and it has to begin with its thinking. Or it is several that
        # the client has moved together: then those that began with thinking come first.
        whole = list(chain(*sorted(mine.values(), key=lambda parts: not _is_thinking(parts[0]))))
        known = {part.id for part in whole if isinstance(part, _Called)}
        content = tuple(_rebuilt(whole, _blocks(turn)))
        messages.append(Message("assistant", content, turn[0].extra, thought=known.issuperset(ids)))
    if forgotten and (records or request.extra.get("thinking", {}).get("type") in ("enabled", "adaptive")):
        ledger.note("messages[].content[].thinking", "not remembered of some turns that called tools")
    if not records:
        return request
    # The same thinking as a text, which some clients send back, is no loss where it is back as it was.
    unsaid = request.unsaid if forgotten else tuple(loss for loss in request.unsaid if loss.path not in _AS_TEXT)
    return replace(request, messages=tuple(messages), unsaid=unsaid)


def _calls(messages: Iterable[Message]) -> Iterator[ToolUse]:
    return (block for block in _blocks(messages) if isinstance(block, ToolUse))


def _blocks(messages: Iterable[Message]) -> Iterator[Block]:
    for message in messages:
        if message.role == "assistant":
            content = message.content
            yield from (Text(text=content),) if isinstance(content, str) else content


def _signed(request: Request) -> int:
    """How many of its messages have signed thinking."""
    return sum(any(map(_is_signed, _blocks([message]))) for message in request.messages)


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
    first = {use.id: number for number, use in reversed(list(enumerate(uses)))}
    said = [block for block in rest if not isinstance(block, ToolUse)]
    placed = set[int]()
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
                if (number := first.get(id)) is not None and number not in placed:
                    placed.add(number)
                    yield uses[number]
    yield from chain(*texts)
    yield from (use for number, use in enumerate(uses) if number not in placed)


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
