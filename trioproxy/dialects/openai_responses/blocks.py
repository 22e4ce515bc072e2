"""The blocks that the output items of one answer become, and what has been told of their texts.

Every text is told several times: in deltas, in its own `done`, in those of its part and its item, and in the response
that ends the stream. Any of these may be missing, and each may say more than all before it (hazard H019).
"""

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from trioproxy.items import Block, BlockStart, BlockStop, Event, TextDelta, ThinkingDelta, ToolInputDelta
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange

__all__ = ["Blocks", "Item", "Live", "Said", "TextEvent"]


class Said:
    """What has been told of one text. Once it is `over` nothing more is, and nothing is remembered."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.size = 0  # characters of these
        self.over = False

    @property
    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def rest(self, whole: str) -> str:
        """What a repetition of all of it says beyond what was told; nothing if it says something else."""
        told = self.text
        return whole[len(told) :] if whole.startswith(told) else ""


class Item:
    """An output item while it is told."""

    kind: ClassVar[str]
    waits: ClassVar[bool] = False
    """Whether its block stays open where another begins."""

    def __init__(self, number: int, id: str, index: int | None) -> None:
        self.number, self.id, self.index = number, id, index
        self.block: int | None = None  # its open block
        self.awaits: tuple[str, int] | None = None  # the deltas that go there: their type, and the index of the item
        self.over = False


TextEvent = type[TextDelta] | type[ThinkingDelta] | type[ToolInputDelta]


class Live(msgspec.Struct, frozen=True):
    """Where the usual deltas of one item go, without looking further: those of `part`."""

    item: Item
    block: int
    part: int
    said: Said
    event: TextEvent


class Blocks:
    """Numbers the blocks in the order of their start. Text and reasoning end where anything else begins.

    Only calls overlap: models make them in parallel. That reasoning is over is told by some only after the text that
    follows it (OpenRouter, recorded), which would have to wait for it.
    """

    def __init__(self, exchange: Exchange, ledger: Ledger) -> None:
        self.renamed, self.provenance, self.ledger = exchange.renamed, exchange.provenance, ledger
        self.same = exchange.client_dialect == exchange.upstream_dialect
        self.answer = ""
        """What names the answer, for calls without an id."""
        self.held = 0
        """About how many bytes are held."""
        self.live: dict[tuple[str, int], Live] = {}
        """By type of the delta and index of the item."""
        self._last: Item | None = None  # whose block ends where the next begins
        self._next = 0

    def start(self, item: Item, block: Block) -> Iterator[Event]:
        """Start the next block, of `item`."""
        if self._last is not None:
            yield from self.stop(self._last)
        self._last = None if item.waits else item
        item.block = self._next
        self._next += 1
        yield BlockStart(item.block, block)

    def stop(self, item: Item) -> Iterator[Event]:
        """Stop the block of `item`, if it has one that is open."""
        if item.block is None:
            return
        yield BlockStop(item.block)
        item.block = None
        if item.awaits is not None:
            self.live.pop(item.awaits, None)

    def say(self, said: Said, text: str) -> None:
        """Note that `text` is told."""
        said.pieces.append(text)
        said.size += len(text)
        self.held += len(text)

    def let_go(self, said: Said) -> None:
        """The text is over: it need not be remembered."""
        self.held -= said.size
        said.pieces, said.size, said.over = [], 0, True

    def expect(self, item: Item, type: str, part: int, said: Said, event: TextEvent) -> None:
        """Tell where the next delta of this type and part goes, now that its block is open."""
        if item.index is not None and item.block is not None:
            item.awaits = type, item.index
            self.live[item.awaits] = Live(item, item.block, part, said, event)
