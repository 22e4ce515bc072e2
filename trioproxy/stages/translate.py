"""events → frames: speak the client's dialect. The dialect's writer does the work."""

from collections.abc import Iterable

from trioproxy.dialects import DIALECTS
from trioproxy.dialects.style import Reasoning, Style, ToolCalls
from trioproxy.items import Error, Event, Frame
from trioproxy.stage import Batch, Exchange, Stage

__all__ = ["Translate"]


class Translate(Stage[Event, Frame | Error]):
    """Speak the client's dialect: events become frames, untouched ones the very frames they were.

    Both options are about chat clients alone. `reasoning` is the field in which they are told what the model thinks:
    `reasoning_content` if nothing is said, or what a chat upstream calls it; `reasoning_details` is OpenRouter's, and
    keeps signatures; with `drop` they are told nothing of it. `tool-calls`: "delta" tells arguments as they come,
    "single" each call at once, when it is complete.
    """

    _writer: Stage[Event, Frame | Error]

    def __init__(self, *, reasoning: Reasoning | None = None, tool_calls: ToolCalls = "delta") -> None:
        self._style = Style(reasoning, tool_calls)

    def open(self, exchange: Exchange, /) -> Iterable[Frame | Error]:
        self._writer = DIALECTS[exchange.client_dialect].writer(exchange, self._style)
        return self._writer.open(exchange)

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        return self._writer.feed(event)

    def feed_all(self, items: Batch) -> Batch:
        return self._writer.feed_all(items)

    def close(self) -> Iterable[Frame | Error]:
        return self._writer.close()
