"""Events → what an OpenAI chat client is told of them: the pieces of `delta`, the same for a stream and a whole answer.

What Anthropic has and Chat Completions cannot say (signatures, blocks of server tools) is left out, and noted.
"""

from collections.abc import Callable
from typing import Any

from trioproxy.dialects.openai.facts import Facts
from trioproxy.dialects.openai.offered import offered
from trioproxy.dialects.openai_chat.thoughts import Thoughts
from trioproxy.dialects.openai_chat.told_calls import ToldCalls
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
    OtherBlock,
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

__all__ = ["Chat", "Wire", "fault_of", "write_usage"]

Wire = dict[str, Any]  # a JSON object as it goes out; `Any` because its inside is the provider's

# stop_reason → finish_reason (hazard H098). A paused turn is not over, and must not look so.
_FINISH_REASONS: dict[str | None, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "compaction": "length",
    "refusal": "content_filter",
}
_WEIGHT = 256  # bytes of an annotation besides what it says
_APPROXIMATED = frozenset({"pause_turn", "compaction"})
_CUT = frozenset({"length", "content_filter"})  # that the answer is broken off


def fault_of(event: Event) -> Error | None:
    """What ends the answer: an error, or a call that no client could make."""
    if isinstance(event, BlockStart) and isinstance(event.block, ToolUse) and not event.block.name:
        return Error("upstream", "the upstream called a tool without saying which", 502)
    return event if isinstance(event, Error) else None


class Chat:
    """Of one answer; gathers its usage, and how it ended. `whole`: the answer is told at once, and so is each call."""

    def __init__(self, exchange: Exchange, style: Style, *, same: bool, whole: bool = False) -> None:
        self._ledger = Ledger() if same else exchange.ledger  # within a dialect nothing is lost, unless we are told to
        claude = exchange.upstream_dialect == "anthropic" and not exchange.answered_here
        self._thoughts = Thoughts(style.reasoning or "reasoning_content", exchange.ledger, claude=claude)
        self.thinks = self._thoughts.plain
        source = None if same or exchange.request is None else exchange.request.source
        single = style.tool_calls == "single"
        self.calls = ToldCalls(offered(source.wire) if source else {}, single=single or whole)
        self._calls_first = single and not whole
        self._answer = ""
        self._facts = Facts("openai-chat", self._ledger)
        self.finish = ""
        # Told all at once, at the end: the OpenAI SDK for Python fails on a second delta that has any.
        self.annotations: list[Wire] = []
        self._cited = 0  # about how many bytes of these

    def deltas(self, event: Event) -> list[Wire]:
        """The `delta` objects for an event; most have one, many none."""
        tell = _TELL.get(type(event))
        return tell(self, event) if tell else []

    def fault(self, limit: int) -> Error | None:
        """That more than `limit` bytes are held, if they are."""
        if self._cited > limit:
            return Error("upstream", f"the upstream cited pages in more than {limit} bytes", 502)
        if self.calls.held > limit:
            return Error("upstream", f"the upstream sent more than {limit} bytes of tool calls", 502)
        return None

    def told_annotations(self) -> None:
        self.annotations.clear()
        self._cited = 0

    @property
    def ending(self) -> str:
        """The finish_reason. Calls that were made win over an end that does not tell of them (hazard H022)."""
        finish = self.finish or "stop"
        return "tool_calls" if finish == "stop" and self.calls.made else finish

    @property
    def torn(self) -> Error | None:
        """That a call is broken off, where the end does not say that the answer is. It must not look whole (H109)."""
        if not self.calls.torn or self.finish in _CUT:
            return None
        text = f"the upstream called {self.calls.torn[:64]!r} with arguments that are cut, or no object"
        return Error("upstream", text, 502)

    def usage(self) -> Wire:
        return write_usage(self._facts)

    def _start(self, event: MessageStart) -> list[Wire]:
        self._answer = self._answer or event.id
        self._facts.add(event.usage, event.extra)
        # Programmatic tool calling begins messages with blocks: each is told whole.
        return [
            delta
            for index, block in enumerate(event.content)
            for delta in (*self._block(BlockStart(index, block)), *_told(self.calls.stop(index)))
        ]

    def _block(self, event: BlockStart) -> list[Wire]:
        block: Block = event.block
        left = _told(self.calls.stop(event.index))  # by a block whose end never came
        match block:
            case ToolUse():
                return left + _told(self.calls.start(event.index, block, self._answer))
            case Text():
                return left + ([{"content": block.text}] if block.text else [])
            case Thinking():
                return left + self._thoughts.start(event.index, block)
            case RedactedThinking():
                return left + self._thoughts.redacted(event.index, block.data)
            case OtherBlock():
                # Never as a call that the client would run (hazard H099).
                self._ledger.note(f"content[].{block.kind or 'block'}", "openai-chat has no such block")
        return left

    def _rest(self) -> list[Wire]:
        """The message is over, and so are the calls that it left open."""
        self._thoughts.end()
        return _told(self.calls.rest())

    def _other(self, event: OtherDelta) -> list[Wire]:
        citation = (event.extra.get("delta") or {}).get("citation")
        url = citation.get("url") if isinstance(citation, dict) else None
        if not isinstance(citation, dict) or not isinstance(url, str):
            self._ledger.note(f"content[].{event.kind}", self._facts.no_such)
            return []
        title = citation.get("title")
        title = title if isinstance(title, str) else ""
        self._cited += _WEIGHT + len(url) + len(title)
        cited = {"url": url, "title": title, "start_index": 0, "end_index": 0}
        self.annotations.append({"type": "url_citation", "url_citation": cited})
        return []

    def _end(self, event: MessageDelta) -> list[Wire]:
        self._facts.add(event.usage, event.extra)
        if event.stop_sequence:
            self._ledger.note("stop_sequence", "openai-chat does not tell which one was met")
        if event.stop_reason:
            if event.stop_reason in _APPROXIMATED:
                self._ledger.note("stop_reason", f"{event.stop_reason} is told as an answer cut short")
            self.finish = _FINISH_REASONS.get(event.stop_reason, "stop")
            if self._calls_first:
                return self._rest()
            self._thoughts.end()
        return []


# `Any`, because each entry takes the one kind of event it stands under.
_TELL: dict[type[Event], Callable[[Chat, Any], list[Wire]]] = {
    MessageStart: Chat._start,
    BlockStart: Chat._block,
    TextDelta: lambda _, event: [{"content": event.text}] if event.text else [],
    ThinkingDelta: lambda chat, event: chat._thoughts.piece(event.index, event.thinking),
    SignatureDelta: lambda chat, event: chat._thoughts.signature(event.index, event.signature),
    ToolInputDelta: lambda chat, event: _told(chat.calls.feed(event.index, event.partial_json)),
    OtherDelta: Chat._other,
    BlockStop: lambda chat, event: _told(chat.calls.stop(event.index)),
    MessageDelta: Chat._end,
    MessageStop: lambda chat, _: chat._rest(),
}


def _told(calls: list[Wire]) -> list[Wire]:
    return [{"tool_calls": [call]} for call in calls]


def write_usage(facts: Facts) -> Wire:
    """OpenAI's `usage`."""
    inside: Wire = {"cached_tokens": facts.cached} | ({"cache_write_tokens": facts.written} if facts.written else {})
    return {
        "prompt_tokens": facts.input,
        "completion_tokens": facts.output,
        "total_tokens": facts.input + facts.output,
        "prompt_tokens_details": inside,
        "completion_tokens_details": {"reasoning_tokens": facts.thinking_tokens},
    }
