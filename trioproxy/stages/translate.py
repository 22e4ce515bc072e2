"""events → frames: speak the client's dialect. The dialect's writer does the work."""

from collections.abc import Iterable

from trioproxy.dialects import DIALECTS
from trioproxy.items import Error, Event, Frame
from trioproxy.stage import Batch, Exchange, Stage

__all__ = ["Translate"]


class Translate(Stage[Event, Frame | Error]):
    """Speak the client's dialect: events become frames, untouched ones the very frames they were."""

    _writer: Stage[Event, Frame | Error]

    def open(self, exchange: Exchange, /) -> Iterable[Frame | Error]:
        self._writer = DIALECTS[exchange.client_dialect].writer(exchange)
        return self._writer.open(exchange)

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        return self._writer.feed(event)

    def feed_all(self, items: Batch) -> Batch:
        return self._writer.feed_all(items)

    def close(self) -> Iterable[Frame | Error]:
        return self._writer.close()
