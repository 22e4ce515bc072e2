"""Events → the output of a response: the events that tell its items, and the items as they are in the end.

One message for a block of text, one reasoning item for a block of thinking, one call for a call. Blocks that overlap
stay so: every event says which item it is about. What Responses cannot say is left out, and noted.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import msgspec

from trioproxy.dialects.openai.facts import Facts
from trioproxy.dialects.openai_responses.ladder import (
    Call,
    Item,
    Message,
    Reasoning,
    Wire,
)
from trioproxy.dialects.openai_responses.making import Making
from trioproxy.dialects.openai_responses.sealing import sealed
from trioproxy.dialects.style import Style
from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherDelta,
    RedactedThinking,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange

__all__ = ["TEXTS", "Output", "Told"]

TEXTS: dict[type[Event], str] = {TextDelta: "text", ThinkingDelta: "thinking", ToolInputDelta: "partial_json"}
"""The events that most of a stream consists of, each with the field that has its text."""

Told = Iterable[Wire | Error]

_WEIGHT = 512  # bytes that an item takes besides its text

# stop_reason → why the response is incomplete (hazard H150i); it is complete for every other reason.
_INCOMPLETE: dict[str | None, str] = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "pause_turn": "max_output_tokens",  # not over, and must not look so
    "compaction": "max_output_tokens",
    "refusal": "content_filter",
}
_APPROXIMATED = frozenset({"pause_turn", "compaction"})


class Output:
    """Of one answer. `same`: the upstream speaks Responses too, and `follow` takes of items what it tells itself."""

    def __init__(self, exchange: Exchange, style: Style, *, same: bool) -> None:
        self._id, self._limit = exchange.id, exchange.event_limit
        self._ledger = Ledger() if same else exchange.ledger  # within a dialect nothing is lost
        self._exchange, self._same = exchange, same
        self.making = Making(exchange, style, self._ledger, same=same)
        self._untold = "this client is told no reasoning" if style.reasoning == "drop" and not same else ""
        self.facts = Facts("openai-responses", self._ledger)
        self.open: dict[int, Item | None] = {}
        """By the index of their block; None for one that is left out."""
        self.items: dict[int, msgspec.Raw] = {}
        """Those that have ended, by their place."""
        self.known: dict[int, Item] = {}
        """By the index of a block that is about to begin: the item that it is, where that is known."""
        self.next = 0
        """The place of the next item."""
        self.incomplete = ""
        """Why the response is incomplete, if it is: if one of the messages is that it is made of."""
        self._reason = ""  # … why this message is
        self._due: list[Message] = []  # over, but whether they are whole is known only with what follows
        self._cut: list[Call] = []  # with arguments that are no object: made only if nobody wants them made
        self._size = 0
        self.over = False
        """Whether the message has stopped."""
        self._failed = False

    @property
    def cut(self) -> bool:
        """Whether the message has been said to end before its time."""
        return bool(self._reason)

    @property
    def told(self) -> list[msgspec.Raw]:
        """The items that have ended, in their order."""
        return [self.items[place] for place in sorted(self.items)]

    @property
    def full(self) -> bool:
        """Whether more is held than may be: a response repeats at its end all that was told."""
        return self._size > self._limit

    def weigh(self, size: int) -> None:
        """So many bytes are held elsewhere for this answer."""
        self._size += size

    def too_large(self) -> Error:
        return Error("upstream", f"the upstream's answer is larger than {self._limit} bytes", 502)

    def feed(self, event: Event) -> Told:
        """The events that tell an event, but for their `sequence_number`; or an error."""
        tell = _TELL.get(type(event))
        if tell is None or self._failed or (self.over and not isinstance(event, MessageStart)):
            return  # an error is the last of all, and what comes behind the end is a ghost (hazard H024)
        for wire in tell(self, event):
            self._failed = self._failed or isinstance(wire, Error)
            yield wire
            if self._failed:
                return
        if self.full:
            self._failed = True
            yield self.too_large()

    def plain(self, event: Event, text: str) -> Item | None:
        """The item that `text`, what `event` says, is only one more piece of, and which has it now.

        None where there is more to it.
        """
        item = self.open.get(event.index)  # type: ignore[attr-defined]  # the events that have a text have an index
        if item is None or not (text and item.flows) or item.takes is not type(event) or self._size > self._limit:
            return None
        item.pieces.append(text)
        self._size += len(text)
        return item

    def follow(self, event: Event) -> None:
        """Take what the client has been told already, in the upstream's words."""
        match event:
            case TextDelta(index=index, text=text) if isinstance(item := self.open.get(index), Message):
                self._piece(item, text)
            case ThinkingDelta(index=index, thinking=text) if isinstance(item := self.open.get(index), Reasoning):
                self._piece(item, item.within(text))
            case ToolInputDelta(index=index, partial_json=text) if isinstance(item := self.open.get(index), Call):
                self._piece(item, item.take(text))
            case SignatureDelta():
                self._sign(event)
            case BlockStop(index=index):
                self.open.pop(index, None)

    def _keep(self, item: Item, text: str) -> None:
        item.pieces.append(text)
        self._size += len(text)

    # ── items ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def item_of(self, block: Block) -> Item | None:
        """An item for a block, which has not begun; None if there is none such here."""
        self._size += _WEIGHT + (len(block.id) + len(block.name) if isinstance(block, ToolUse) else 0)
        return self.making.item_of(block)

    def announce(self, item: Any) -> None:
        """An upstream of the same dialect tells of an item: see `making`."""
        self._size += _WEIGHT
        self.making.announce(item)

    def _begin(self, item: Item) -> list[Wire]:
        item.place, item.begun = self.next, True
        item.id = item.id or f"{item.prefix}_{self._id}_{item.place}"
        self.next += 1
        return item.begin()

    def finish(self, item: Item, status: str = "completed") -> list[Wire]:
        """The end of an item that has begun."""
        item.done = True
        if isinstance(item, Reasoning) and not item.sealed:
            item.sealed = sealed(item, self._exchange, same=self._same)
        raw = msgspec.Raw(msgspec.json.encode(item.wire(status)))
        told = item.end(raw)
        self.record(item.place, raw, item)
        return told

    def record(self, place: int, raw: msgspec.Raw, item: Item | None) -> None:
        """The item at `place` has ended, as `raw`. What was held of its text is held no longer."""
        self.items[place] = raw
        self._size += len(raw)
        if item is not None:
            self._size -= len(item.text)
            item.pieces = []

    # ── what each kind of event tells ───────────────────────────────────────────────────────────────────────────────

    def _start(self, event: MessageStart) -> Told:
        yield from self._rest("")
        self.making.answer, self.over = self.making.answer or event.id, False
        self.facts.add(event.usage, event.extra)
        # Programmatic tool calling begins messages with blocks: each is told whole.
        for index, block in enumerate(event.content):
            yield from self._block(BlockStart(index, block))
            yield from self._stop(BlockStop(index))

    def _block(self, event: BlockStart) -> Told:
        if event.index in self.open:
            yield from self._stop(BlockStop(event.index))  # it begins again without having ended
        yield from self.settle()
        block = event.block
        if isinstance(block, ToolUse) and not block.name:
            yield Error("upstream", "the upstream called a tool without saying which", 502)
            return
        item = self.open[event.index] = self.known.pop(event.index, None) or self.item_of(block)
        match block:
            case ToolUse() if item is not None and not item.begun:
                yield from self._begin(item)
            case Text(text=text) if text:
                yield from self._say(event.index, text)
            case Thinking(thinking=text, signature=signature):
                yield from self._think(event.index, text)
                self._sign(SignatureDelta(event.index, signature))
            case RedactedThinking(data=data) if isinstance(item, Reasoning):
                item.redacted = data

    def _say(self, index: int, text: str) -> Told:
        item = yield from self._taking(index, Message, Text())
        if isinstance(item, Message) and text:
            yield from self._ready(item)
            yield self._piece(item, text)

    def _think(self, index: int, text: str) -> Told:
        item = yield from self._taking(index, Reasoning, Thinking())
        if not (isinstance(item, Reasoning) and text):
            return
        blank = not item.begun and not text.strip()  # white space alone begins no item (hazard H091)
        if blank or not item.shown:
            if self._untold:
                self._ledger.note("content[].thinking", self._untold)
            self._keep(item, text)
            if not (blank or item.begun):
                yield from self._begin(item)
            return
        if not item.spoken:
            text, item.pieces = item.text + text, []
        yield from self._ready(item)
        yield self._piece(item, item.within(text))

    def _ready(self, item: Item) -> Told:
        """What has to be told before a piece of the item's text can be."""
        if not item.begun:
            yield from self._begin(item)
        if item.passed:
            yield from item.rest()
            if not item.proceed():
                yield Error("internal", "a stage has changed what a tool is called with after it was told whole", 500)
                return
        if not item.spoken:
            yield from item.speak()

    def _piece(self, item: Item, text: str) -> Wire:
        self._keep(item, text)
        item.flows = item.streams
        return item.piece(text)

    def _taking(self, index: int, kind: type[Item], empty: Block) -> "Generator[Wire | Error, None, Item | None]":
        """The item that takes a delta: where none of its kind is open, one of its own begins (hazards H001, H009)."""
        item = self.open.get(index)
        left_out = item is None and index in self.open
        if not left_out and (not isinstance(item, kind) or item.done):
            yield from self._block(BlockStart(index, empty))
            item = self.open[index]
        return item

    def _sign(self, event: SignatureDelta) -> Told:
        item = self.open.get(event.index)
        if isinstance(item, Reasoning):  # over what is no thinking it is worth nothing (hazard H002)
            item.signature.append(event.signature)
            self._size += len(event.signature)
        return ()

    def _input(self, event: ToolInputDelta) -> Told:
        item = self.open.get(event.index)
        if isinstance(item, Call) and not item.done:
            if event.partial_json:
                yield from self._arguments(item, event.partial_json)
        elif not (event.index in self.open and item is None):
            yield Error("upstream", "the upstream sent arguments of a tool call that had not begun or was over", 502)

    def _arguments(self, item: Call, text: str) -> Told:
        self._size += 0 if type(item) is Call else len(text)  # the others keep the JSON besides
        if told := item.take(text):
            yield from self._ready(item)
            yield self._piece(item, told)

    def _other(self, event: OtherDelta) -> Told:
        citation = (event.extra.get("delta") or {}).get("citation")
        url = citation.get("url") if isinstance(citation, dict) else None
        if not isinstance(citation, dict) or not isinstance(url, str):
            self._ledger.note(f"content[].{event.kind}", self.facts.no_such)
            return
        item = self.open.get(event.index)
        if not isinstance(item, Message):
            return  # only text is cited
        yield from self._ready(item)
        title = citation.get("title")
        title = title if isinstance(title, str) else ""
        self._size += _WEIGHT + len(url) + len(title)
        yield item.cite({"type": "url_citation", "url": url, "title": title, "start_index": 0, "end_index": 0})

    # ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _stop(self, event: BlockStop) -> Told:
        item = self.open.pop(event.index, None)
        match item:
            case Item(done=True):
                pass
            case Message(begun=True):
                yield from self.settle()
                self._due.append(item)
            case Reasoning():
                item.sealed = sealed(item, self._exchange, same=self._same)
                if not (item.begun or item.sealed):
                    return
                if not item.begun:
                    yield from self._begin(item)
                yield from self.finish(item)
            case Call():
                if item.input:
                    yield from self._arguments(item, item.input)
                if (rest := item.close()) is None:
                    self._cut.append(item)
                    return
                if rest:
                    yield from self._ready(item)
                    yield self._piece(item, rest)
                yield from self.finish(item)

    def settle(self, status: str = "completed", besides: Item | None = None) -> Iterator[Wire]:
        """What was said last is whole, as something else follows it than more of `besides`; or cut."""
        due, self._due = self._due, []
        for message in due:
            if not (message.done or message is besides):
                yield from self.finish(message, status)

    def _conclude(self, event: MessageDelta) -> Told:
        self.facts.add(event.usage, event.extra)
        if event.stop_sequence:
            self._ledger.note("stop_sequence", "openai-responses does not tell which one was met")
        if event.stop_reason:
            if event.stop_reason in _APPROXIMATED:
                self._ledger.note("stop_reason", f"{event.stop_reason} is told as an answer cut short")
            self._reason = _INCOMPLETE.get(event.stop_reason, "")
        return ()  # a chat upstream's calls may end behind it: they are whole only once nothing more can come

    def _close(self, _: MessageStop) -> Told:
        yield from self._rest(self._reason)
        self.incomplete, self._reason, self.over = self.incomplete or self._reason, "", True

    def _rest(self, incomplete: str) -> Told:
        """The message is over, and so is what it left open."""
        for index in list(self.open):
            yield from self._stop(BlockStop(index))
        yield from self.settle("incomplete" if incomplete else "completed")
        cut, self._cut = self._cut, []
        for item in cut:
            if not incomplete:  # a call in pieces must not pass for a whole one (hazard H109)
                got = f"{item.kind}, not an object" if item.kind else "cut, or no JSON"
                text = f"the upstream called {item.tool.name[:64]!r} with arguments that are {got}"
                yield Error("upstream", text, 502)
                return
            yield from self.finish(item, "incomplete")


# `Any`, because each entry takes the one kind of event it stands under.
_TELL: dict[type[Event], Callable[[Output, Any], Told]] = {
    MessageStart: Output._start,
    BlockStart: Output._block,
    TextDelta: lambda output, event: output._say(event.index, event.text),
    ThinkingDelta: lambda output, event: output._think(event.index, event.thinking),
    SignatureDelta: Output._sign,
    ToolInputDelta: Output._input,
    OtherDelta: Output._other,
    BlockStop: Output._stop,
    MessageDelta: Output._conclude,
    MessageStop: Output._close,
}
