"""frames → events: read the upstream's dialect. The dialect's reader does the work; what it tells of tokens is counted.

`tokens_in` is all of the request, `tokens_cached` of them what the provider had in its cache, `tokens_out` the answer:
OpenAI counts so, and so do OpenTelemetry's conventions. Anthropic's `input_tokens` are without the cached ones.
"""

from collections.abc import Iterable, Mapping

from trioproxy.dialects import DIALECTS
from trioproxy.items import Event, Frame, MessageDelta, MessageStart, Usage
from trioproxy.stage import Batch, Exchange, Stage

__all__ = ["Parse"]


class Parse(Stage[Frame, Event]):
    """Read the upstream's dialect: frames become events."""

    _reader: Stage[Frame, Event]

    def __init__(self) -> None:
        self._spent: list[Usage] = []  # of each message; almost always there is one
        self._model = self._reason = ""

    def open(self, exchange: Exchange, /) -> Iterable[Event]:
        self._answered_here = exchange.answered_here  # then no upstream has spent anything
        self._reader = DIALECTS[exchange.upstream_dialect].reader(exchange)
        return self._reader.open(exchange)

    def feed(self, frame: Frame, /) -> Iterable[Event]:
        return self._reader.feed(frame)

    def feed_all(self, items: Batch) -> Batch:
        batch = self._reader.feed_all(items)
        for event in batch:
            if type(event) in _TELLING and not self._answered_here:
                self._note(event)
        return batch

    def close(self) -> Iterable[Event]:
        for event in self._reader.close():
            if isinstance(event, MessageDelta):
                self._note(event)
            yield event

    def stats(self) -> Mapping[str, int | str]:
        reader = getattr(self, "_reader", None)  # missing if the exchange ended before this task could begin
        if reader is None:
            return {}
        counts: dict[str, int | str] = dict(reader.stats())
        for usage in self._spent:
            cached = usage.cache_read_input_tokens or 0
            whole = (usage.input_tokens or 0) + cached + (usage.cache_creation_input_tokens or 0)
            for name, number in (("tokens_in", whole), ("tokens_cached", cached), ("tokens_out", usage.output_tokens)):
                if number:
                    counts[name] = int(counts.get(name, 0)) + number
        words = {"stop": self._reason, "answered": self._model}
        return counts | {name: word for name, word in words.items() if word}

    def _note(self, event: MessageStart | MessageDelta) -> None:
        if isinstance(event, MessageStart):
            self._spent.append(event.usage)
            self._model = event.model
            return
        self._reason = event.stop_reason or self._reason
        if event.usage is not None:
            # It is cumulative, and a provider that says zero at the end has not said anything (H043, H046).
            before = self._spent.pop() if self._spent else Usage()
            fields = Usage.__struct_fields__
            self._spent.append(Usage(*(getattr(event.usage, each) or getattr(before, each) for each in fields)))


_TELLING = frozenset({MessageStart, MessageDelta})
