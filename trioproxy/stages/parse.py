"""frames → events: read the upstream's dialect. The dialect's reader does the work."""

from collections.abc import Iterable, Mapping

from trioproxy.dialects import DIALECTS
from trioproxy.items import Event, Frame
from trioproxy.stage import Batch, Exchange, Stage

__all__ = ["Parse"]


class Parse(Stage[Frame, Event]):
    """Read the upstream's dialect: frames become events."""

    _reader: Stage[Frame, Event]

    def open(self, exchange: Exchange, /) -> Iterable[Event]:
        self._reader = DIALECTS[exchange.upstream_dialect].reader(exchange)
        return self._reader.open(exchange)

    def feed(self, frame: Frame, /) -> Iterable[Event]:
        return self._reader.feed(frame)

    def feed_all(self, items: Batch) -> Batch:
        return self._reader.feed_all(items)

    def close(self) -> Iterable[Event]:
        return self._reader.close()

    def stats(self) -> Mapping[str, int]:
        reader = getattr(self, "_reader", None)  # missing if the exchange ended before this task could begin
        return reader.stats() if reader else {}
