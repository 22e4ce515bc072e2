"""events → events: what a model says in a turn that calls tools, shown as thinking.

Models say what they are about to do ("Let me look at that file.") before they call a tool. Chat clients show it as part
of the answer, turn after turn; as thinking it is folded away, and the last turn's text alone is content.

The price is the hold: that a text belongs to such a turn is known only when the turn calls a tool, or ends. So answers
to requests that offer tools come in one piece (hazard H092), which is why there is a switch.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    Request,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    Unknown,
)
from trioproxy.stage import Exchange, Stage
from trioproxy.units import Size

__all__ = ["ToolText"]

_WEIGHT = 64  # bytes that a held event takes besides its text
_APART = "\n\n"


class ToolText(Stage[Event, Event]):
    """Show the text of a turn that calls tools as thinking, to chat clients.

    With `show = "reasoning"` the text of a message is held until the message calls a tool, which makes thinking of it,
    or ends, which lets it go as it came. More than `within` is not held: it goes as text, and so does the rest of the
    message. What comes behind held text waits with it, so that blocks stay one after the other; pings do not wait. If
    the request offers no tools nothing is held, and nothing at all with `show = "content"`. Put it before `keepalive`,
    which then pings meanwhile.
    """

    clients = frozenset({"openai-chat"})

    def __init__(
        self, *, show: Literal["reasoning", "content"] = "reasoning", within: Size = Size(1024 * 1024)
    ) -> None:
        self._idle, self._within = show == "content", within
        self._state: Literal["waiting", "calling", "passing"] = "waiting"  # what is known of this message
        self._held: list[Event] = []
        self._size = 0
        self._reasoned = False  # whether the client has been shown any thinking
        self._in_text = False  # … and text as the last of it, from blocks that follow each other
        self._last = 0  # the last block of text that became thinking
        self._stop: BlockStop | None = None  # its end, held until it is known what follows
        self._counted = False
        self._shown = 0  # messages whose text became thinking

    def open(self, exchange: Exchange, /) -> Iterable[Event]:
        self._idle = self._idle or (exchange.request is not None and not _offers_tools(exchange.request))
        return ()

    def feed(self, event: Event, /) -> Iterable[Event]:
        if self._idle or isinstance(event, Ping) or (isinstance(event, Unknown) and not event.data):
            return (event,)
        if isinstance(event, MessageStart):
            return [*self.close(), *self._begin(event)]
        if self._state == "calling":
            return self._as_thinking(event)
        if self._state == "passing" or not (self._held or _is_text(event) or _decides(event)):
            self._reasoned = self._reasoned or bool(_thought(event))
            return (event,)
        return self._wait(event)

    def close(self) -> Iterable[Event]:
        return [*self._release(), *self._end()]

    def stats(self) -> Mapping[str, int]:
        return {"tool_text": self._shown} if self._shown else {}

    def _begin(self, event: MessageStart) -> Iterable[Event]:
        self._state, self._in_text, self._counted = "waiting", False, False
        if any(isinstance(block, ToolUse) for block in event.content):
            self._state = "calling"
        return (event,)

    def _wait(self, event: Event) -> Iterable[Event]:
        match event:
            case BlockStart(block=ToolUse()):
                self._state = "calling"
                return [each for one in (*self._release(), event) for each in self._as_thinking(one)]
            case MessageDelta() | MessageStop() | Error():
                self._state = "passing"
                return [*self._release(), event]
        self._held.append(event)
        self._size += _weight(event)
        if self._size <= self._within:
            return ()
        self._state = "passing"
        return self._release()

    def _release(self) -> list[Event]:
        held, self._held, self._size = self._held, [], 0
        return held

    # ── in a message that calls tools ───────────────────────────────────────────────────────────────────────────────

    def _as_thinking(self, event: Event) -> list[Event]:
        """What an event becomes there: text becomes thinking, set apart from thinking before and behind it."""
        match event:
            case BlockStart(block=Text(text=text)):
                self._last, before = event.index, self._end()
                return [*before, BlockStart(event.index, Thinking(thinking=self._apart(text)))]
            case TextDelta():
                return [*self._end(), ThinkingDelta(event.index, self._apart(event.text))]
            case BlockStop(index=index) if self._in_text and index == self._last and self._stop is None:
                self._stop = event
                return []
            case BlockStart(block=Thinking()) if self._in_text:
                # Signed text cannot be set apart by a change of it: the blank line ends the block before.
                apart, self._in_text = ThinkingDelta(self._last, _APART), False
                return [apart, *self._end(), *self._as_thinking(event)]
        self._reasoned = self._reasoned or bool(_thought(event))
        self._in_text = self._in_text and not isinstance(event, BlockStart | ThinkingDelta)
        return [*self._end(), event]

    def _apart(self, text: str) -> str:
        if not text:
            return text
        before = _APART if self._reasoned and not self._in_text else ""
        self._shown += not self._counted
        self._reasoned = self._in_text = self._counted = True
        return before + text

    def _end(self) -> list[Event]:
        stop, self._stop = self._stop, None
        return [stop] if stop else []


def _offers_tools(request: Request) -> bool:
    choice = request.extra.get("tool_choice")
    return bool(request.tools) and not (isinstance(choice, dict) and choice.get("type") == "none")


def _is_text(event: Event) -> bool:
    return isinstance(event, TextDelta) or (isinstance(event, BlockStart) and isinstance(event.block, Text))


def _decides(event: Event) -> bool:
    """Whether the event settles what the message is, or that it is over."""
    if isinstance(event, BlockStart):
        return isinstance(event.block, ToolUse)
    return isinstance(event, MessageDelta | MessageStop | Error)


def _thought(event: Event) -> str:
    """The thinking in an event."""
    if isinstance(event, ThinkingDelta):
        return event.thinking
    return event.block.thinking if isinstance(event, BlockStart) and isinstance(event.block, Thinking) else ""


def _weight(event: Event) -> int:
    """About how many bytes an event is. A whole body's events share the one frame, which is held anyway."""
    match event:
        case TextDelta(text=text) | BlockStart(block=Text(text=text)):
            return _WEIGHT + len(text)
        case ThinkingDelta(thinking=text) | BlockStart(block=Thinking(thinking=text)):
            return _WEIGHT + len(text)
    return _WEIGHT + (len(event.frame.data) if event.frame is not None and not event.frame.whole else 0)
