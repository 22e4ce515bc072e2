"""Thinking that an upstream of another dialect has told an Anthropic client, and nobody has signed.

The client gives it back with whatever it asks next, and of whomever: the API would refuse it (H074, H075). So it gets a
mark of ours in place of a signature, which tells that it is from elsewhere: see `signed`.
"""

from collections.abc import Iterator

from trioproxy.dialects.carried import carried
from trioproxy.items import BlockStart, BlockStop, Event, SignatureDelta, Thinking
from trioproxy.stage import Exchange

__all__ = ["Marks"]


class Marks:
    """Of one answer. `same`: the upstream speaks Anthropic too, and what it does not sign is its own affair."""

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        ours = same or exchange.answered_here or exchange.upstream_dialect == exchange.client_dialect
        self._mark = "" if ours else carried(exchange.upstream_dialect, exchange.provenance, {})
        self._unsigned: int | None = None  # the index of the open block, if it is thinking without a signature

    def feed(self, event: Event) -> Iterator[Event]:
        """The events of a legal stream, in which all thinking is signed."""
        match event:
            case BlockStart(block=Thinking(signature="")) if self._mark:
                self._unsigned = event.index
            case SignatureDelta(signature=signature) if signature:
                self._unsigned = None
            case BlockStop(index=index) if index == self._unsigned:
                self._unsigned = None
                yield SignatureDelta(index, self._mark)
        yield event
