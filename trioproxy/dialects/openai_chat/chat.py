"""Events → what an OpenAI chat client is told of them: the pieces of `delta`, the same for a stream and a whole answer.

What Anthropic has and Chat Completions cannot say (signatures, blocks of server tools) is left out, and noted.
"""

from collections.abc import Callable
from typing import Any

from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai.facts import Facts
from trioproxy.dialects.openai_chat.thoughts import Thoughts
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
_WEIGHT = 256  # bytes of an annotation, or of a call that is held, besides what it says
_APPROXIMATED = frozenset({"pause_turn", "compaction"})


def fault_of(event: Event) -> Error | None:
    """What ends the answer: an error, or a call that no client could make."""
    if isinstance(event, BlockStart) and isinstance(event.block, ToolUse) and not event.block.name:
        return Error("upstream", "the upstream called a tool without saying which", 502)
    return event if isinstance(event, Error) else None


class Chat:
    """Of one answer: numbers its tool calls, and gathers its usage and how it ended.

    In the style "single" a call is held until its block ends, or the message that left it open. If the answer breaks
    off before, nobody hears of it.
    """

    def __init__(self, exchange: Exchange, style: Style, *, same: bool) -> None:
        self._ledger = Ledger() if same else exchange.ledger  # within a dialect nothing is lost, unless we are told to
        claude = exchange.upstream_dialect == "anthropic" and not exchange.answered_here
        self._thoughts = Thoughts(style.reasoning or "reasoning_content", exchange.ledger, claude=claude)
        self.thinks = self._thoughts.plain
        self._single = style.tool_calls == "single"
        self._held: dict[int, tuple[Wire, list[str]]] = {}  # the calls that have not ended, by the index of their block
        self._beside: dict[str, Wire] = {}
        self._held_bytes = 0
        self._numbers: dict[int, int] = {}  # the tool calls, by the index of their block
        self._calls = 0
        self._answer = ""
        self._silent: dict[int, str] = {}  # the calls whose deltas have not begun, and the input they started with
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
        if self._held_bytes > limit:
            return Error("upstream", f"the upstream sent more than {limit} bytes of tool calls", 502)
        return None

    def told_annotations(self) -> None:
        self.annotations.clear()
        self._cited = 0

    def beside(self, id: str, fields: Wire, size: int) -> None:
        """What the call `id` is to be told with beside what is known here: some `size` bytes of a chat upstream's own.

        Google's signatures are such, without which it takes no call back.
        """
        self._beside[id] = self._beside.get(id, {}) | fields
        self._held_bytes += size  # and never less: a bound for the whole answer will do

    @property
    def ending(self) -> str:
        """The finish_reason. Calls that were made win over an end that does not tell of them (hazard H022)."""
        finish = self.finish or "stop"
        return "tool_calls" if finish == "stop" and self._calls else finish

    def usage(self) -> Wire:
        return write_usage(self._facts)

    def _start(self, event: MessageStart) -> list[Wire]:
        self._answer = self._answer or event.id
        self._facts.add(event.usage, event.extra)
        # Programmatic tool calling begins messages with blocks: each is told whole.
        return [
            delta
            for index, block in enumerate(event.content)
            for delta in (*self._block(BlockStart(index, block)), *self._stop(BlockStop(index)))
        ]

    def _block(self, event: BlockStart) -> list[Wire]:
        block: Block = event.block
        # What comes now is no argument of a call of an earlier message, or of one whose end never came.
        self._numbers.pop(event.index, None)
        self._silent.pop(event.index, None)
        match block:
            case ToolUse():
                number = self._numbers[event.index] = self._calls
                self._calls += 1
                self._silent[event.index] = block.input if block.input.startswith("{") else "{}"
                function = {"name": block.name, "arguments": ""}
                id = block.id or made_id(self._answer, number, block.name)
                call = {"index": number, "id": id, "type": "function", "function": function}
                if not self._single:
                    return [{"tool_calls": [call]}]
                cut = self._whole(event.index)  # one whose end never came
                self._held[event.index] = call, []
                self._held_bytes += _WEIGHT + len(id) + len(block.name)
                return cut
            case Text():
                return [{"content": block.text}] if block.text else []
            case Thinking():
                return self._thoughts.start(event.index, block)
            case RedactedThinking():
                return self._thoughts.redacted(event.index, block.data)
            case OtherBlock():
                # Never as a call that the client would run (hazard H099).
                self._ledger.note(f"content[].{block.kind or 'block'}", "openai-chat has no such block")
        return []

    def _input(self, event: ToolInputDelta) -> list[Wire]:
        if event.index not in self._numbers or not event.partial_json:
            return []
        self._silent.pop(event.index, None)  # where deltas follow, the start's input stands for nothing (hazard H097)
        return self._arguments(event.index, event.partial_json)

    def _stop(self, event: BlockStop) -> list[Wire]:
        # No arguments are an empty object (hazard H017); those of a programmatic call stand in its start.
        silent = self._silent.pop(event.index, "")
        told = self._arguments(event.index, silent) if silent else []
        return told + self._whole(event.index)

    def _arguments(self, index: int, text: str) -> list[Wire]:
        if not self._single:
            return [{"tool_calls": [{"index": self._numbers[index], "function": {"arguments": text}}]}]
        if index in self._held:
            self._held[index][1].append(text)
            self._held_bytes += len(text)
        return []

    def _whole(self, index: int) -> list[Wire]:
        """The call that was held under this index, if one was."""
        if index not in self._held:
            return []
        call, pieces = self._held.pop(index)
        function = call["function"]
        function["arguments"] = "".join(pieces)
        self._held_bytes -= _WEIGHT + len(call["id"]) + len(function["name"]) + len(function["arguments"])
        return [{"tool_calls": [self._beside.pop(call["id"], {}) | call]}]

    def _rest(self) -> list[Wire]:
        """The message is over, and so are the calls that it left open."""
        self._thoughts.end()
        return [delta for index in list(self._held) for delta in self._stop(BlockStop(index))]

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
            return self._rest()  # calls stand before the end
        return []


# `Any`, because each entry takes the one kind of event it stands under.
_TELL: dict[type[Event], Callable[[Chat, Any], list[Wire]]] = {
    MessageStart: Chat._start,
    BlockStart: Chat._block,
    TextDelta: lambda _, event: [{"content": event.text}] if event.text else [],
    ThinkingDelta: lambda chat, event: chat._thoughts.piece(event.index, event.thinking),
    SignatureDelta: lambda chat, event: chat._thoughts.signature(event.index, event.signature),
    ToolInputDelta: Chat._input,
    OtherDelta: Chat._other,
    BlockStop: Chat._stop,
    MessageDelta: Chat._end,
    MessageStop: lambda chat, _: chat._rest(),
}


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
