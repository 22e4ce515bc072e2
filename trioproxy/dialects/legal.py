"""The state machine that every Anthropic answer goes through: what it lets out is a legal stream, whatever came in.

One message_start, one open block at a time, indices from 0 without a gap, deltas of the open block's type, one
message_delta with usage, one message_stop, and nothing after it (hazards H001-H030). A legal stream passes as it is.

Blocks that overlap, as parallel tool calls of other dialects may, are put one after the other: what belongs to a block
that is not its turn waits, `limit` bytes in all.
"""

from collections.abc import Callable, Iterator

from trioproxy.dialects.fold import size_of
from trioproxy.dialects.names import safe_id
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherBlock,
    OtherDelta,
    Ping,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Unknown,
    Usage,
    replace,
)

__all__ = ["Delta", "Legal"]

Delta = TextDelta | ThinkingDelta | SignatureDelta | ToolInputDelta | OtherDelta

_WEIGHT = 64  # bytes of an event besides what it says
_BEHIND = 64  # pings and unknown events held behind a message_delta until its message stops; more go ahead of it

# The block that a delta may fill, and the empty one to open for it where none fits; None: there is no making one up.
_BLOCKS: dict[type[Event], tuple[type, Callable[[], Text | Thinking] | None]] = {
    TextDelta: (Text, Text),
    ThinkingDelta: (Thinking, Thinking),
    SignatureDelta: (Thinking, None),
    ToolInputDelta: (ToolUse, None),
}


class Legal:
    """Of one answer. `same`: the upstream speaks Anthropic too, so that another message may follow the first, and one
    without any block is left so. Else such a message gets an empty text block: Claude Code 2.0.77 insists on one.
    """

    def __init__(self, *, same: bool, limit: int) -> None:
        self._same, self._limit = same, limit
        self._started = self._ended = self._failed = False
        self._start = MessageStart("", "")
        self._begin()

    def _begin(self) -> None:
        self.open: int | None = None  # the index, as it comes in, of the block whose turn it is
        self.shift = 0  # what is to be added to it to make the index that goes out
        self.kind: type = Text  # of the open block
        self._next = 0  # the next index that goes out
        self._waiting: dict[int, list[Event]] = {}  # by index: the events of blocks whose turn has not come
        self._held = 0  # bytes of these
        self._turning = False  # while what has waited goes out
        self._tools = False
        self._end: MessageDelta | None = None  # held until the message stops: there may be more of it
        self._behind: list[Event] = []  # what came behind it meanwhile

    @property
    def unended(self) -> bool:
        """Whether a message has begun, and neither stopped nor failed."""
        return self._started and not (self._ended or self._failed)

    def feed(self, event: Event) -> Iterator[Event]:
        """What may go out now. An untouched event is given as the object it was."""
        self._failed = self._failed or isinstance(event, Error)
        match event:
            case Ping() | Unknown() if event.frame is not None and self._waits_for_the_end:
                self._behind.append(event)
            case Ping() | Unknown() | Error():
                yield event
            case MessageStart():
                yield from self._message(event)
            case _ if self._ended:
                pass  # ghosts behind the end (hazard H024)
            case _:
                if not self._started:
                    yield from self._message(MessageStart("", ""))
                yield from self._within(event)

    @property
    def _waits_for_the_end(self) -> bool:
        """Whether what is only noise must stay behind the message_delta that is held; no more than so much of it."""
        return self._end is not None and not self._ended and len(self._behind) < _BEHIND

    def _message(self, event: MessageStart) -> Iterator[Event]:
        if self._started and not (self._ended and self._same):
            return  # one message, one start (hazard H004)
        if self._started:
            self._begin()
        self._started, self._ended, self._start = True, False, event
        self._next = len(event.content)
        yield event

    def _within(self, event: Event) -> Iterator[Event]:
        match event:
            case BlockStart():
                yield from self._block(event)
            case BlockStop():
                yield from self._stop(event)
            case MessageDelta():
                self._message_delta(event)
            case MessageStop():
                yield from self._message_stop(event)
            case TextDelta() | ThinkingDelta() | SignatureDelta() | ToolInputDelta() | OtherDelta():
                yield from self._delta(event)

    # ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _block(self, event: BlockStart) -> Iterator[Event]:
        if not self._same and isinstance(event.block, ToolUse):
            event = replace(event, block=replace(event.block, id=safe_id(event.block.id)))  # hazard H030c
        if event.index == self.open or event.index in self._waiting:
            # It begins again without having ended: what was open under this index is over.
            yield from self._stop(BlockStop(event.index))
        if self.open is not None:
            yield from self._wait(event)
            return
        self.open, self.shift, self.kind = event.index, self._next - event.index, type(event.block)
        self._tools = self._tools or isinstance(event.block, ToolUse)
        self._next += 1
        yield event if not self.shift else replace(event, index=event.index + self.shift)

    def _delta(self, event: Delta) -> Iterator[Event]:
        if event.index in self._waiting:
            yield from self._wait(event)
            return
        wanted, make = _BLOCKS.get(type(event), (OtherBlock, None))
        if event.index == self.open:
            if getattr(event, "kind", "") == "citations_delta" and self.kind not in (Text, OtherBlock):
                return  # only text is cited
            if self.kind is wanted or OtherBlock in (self.kind, wanted):
                yield event if not self.shift else replace(event, index=event.index + self.shift)
                return
            if isinstance(event, SignatureDelta):
                return  # a signature over what is no thinking is worth nothing, and no client takes it (hazard H002)
        elif isinstance(event, SignatureDelta | OtherDelta):
            return  # it is about a block that is over
        if make is None:
            yield Error("upstream", "the upstream sent arguments of a tool call that had not begun or was over", 502)
            return
        # A delta that no open block takes opens one of its own (hazards H001, H002, H009).
        if event.index == self.open:
            yield from self._stop(BlockStop(event.index))
        yield from self._block(BlockStart(event.index, make()))
        yield from self._delta(event)

    def _stop(self, event: BlockStop) -> Iterator[Event]:
        if event.index in self._waiting:
            yield from self._wait(event)
            return
        if event.index != self.open:
            return  # it is closed already (hazard H025), or never was
        yield event if not self.shift else replace(event, index=event.index + self.shift)
        self.open = None
        yield from self._next_waiting()

    def _wait(self, event: BlockStart | BlockStop | Delta) -> Iterator[Event]:
        self._held += _WEIGHT + size_of(event)
        if self._held > self._limit:
            text = f"the upstream sent parallel tool calls of more than {self._limit} bytes, all at once"
            yield Error("upstream", text, 502)
            return
        self._waiting.setdefault(event.index, []).append(event)

    def _next_waiting(self) -> Iterator[Event]:
        """It is the turn of the block that has waited longest: what came of it goes out, and what comes at once."""
        if self._turning:
            return  # the loop below goes on
        self._turning = True
        while self._waiting and self.open is None:
            index = next(iter(self._waiting))
            events = self._waiting.pop(index)
            self._held -= sum(_WEIGHT + size_of(event) for event in events)
            for event in events:
                yield from self._within(event)
        self._turning = False

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _message_delta(self, event: MessageDelta) -> None:
        before, self._end = self._end, event
        if before is not None:
            # Usage is cumulative, and a provider that says zero at the end has not said anything (H043, H046).
            self._end = MessageDelta(
                event.stop_reason or before.stop_reason,
                event.stop_sequence or before.stop_sequence,
                _latest(before.usage, event.usage),
                before.extra | event.extra,
            )

    def _message_stop(self, event: MessageStop) -> Iterator[Event]:
        yield from self._close_blocks()
        end = self._end or MessageDelta()
        if not self._same and not self._next:
            yield from (BlockStart(0, Text()), BlockStop(0))
        if not self._same or end.frame is None:
            reason = end.stop_reason or ("tool_use" if self._tools else "end_turn")
            end = replace(end, stop_reason=reason, usage=end.usage or self._start.usage)
        yield end
        yield from self._behind
        self._ended, self._behind = True, []
        yield event

    def _close_blocks(self) -> Iterator[Event]:
        while self.open is not None:
            yield from self._stop(BlockStop(self.open))


def _latest(before: Usage | None, after: Usage | None) -> Usage | None:
    if before is None or after is None:
        return after or before
    counts = {
        field: getattr(after, field) or getattr(before, field)
        for field in Usage.__struct_fields__
        if getattr(after, field) is not None or getattr(before, field) is not None
    }
    return Usage(**counts)
