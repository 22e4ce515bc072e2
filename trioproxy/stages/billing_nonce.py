"""requests → requests: take Claude Code's billing line out of the system prompt.

Its first system block is `x-anthropic-billing-header: cc_version=…; cch=NONCE;` with a nonce of its own for every
request. Anthropic's servers take it off again; anywhere else no prefix cache can hit below it, and a turn that takes
four seconds takes fifty (hazard H121).
"""

import re
from collections.abc import Iterable

from trioproxy.items import Block, Request, Text, replace
from trioproxy.stage import Exchange, Stage

__all__ = ["BillingNonce"]

# With the end of its line. It is looked for only where a text begins: elsewhere somebody is talking about it.
_LINE = re.compile(r"\s*x-anthropic-billing-header:[^\r\n]*(?:\r?\n)?", re.IGNORECASE)


class BillingNonce(Stage[Request, Request]):
    """Take Claude Code's billing line, different in each request, out of the system prompt: prefix caches then hit.

    A block that is nothing else goes as a whole. Requests to upstreams of the Anthropic dialect keep the line, unless
    `everywhere` is true: for a server that speaks it and is not Anthropic's.
    """

    clients = frozenset({"anthropic"})  # nobody but Claude Code sends it

    def __init__(self, *, everywhere: bool = False) -> None:
        self._everywhere = everywhere
        self._wanted = True

    def open(self, exchange: Exchange, /) -> Iterable[Request]:
        self._wanted = self._everywhere or exchange.upstream_dialect != "anthropic"
        return ()

    def feed(self, request: Request, /) -> Iterable[Request]:
        system = request.system
        if not self._wanted or not system:
            return (request,)
        if isinstance(system, str):
            kept: str | tuple[Block, ...] = _without(system)
        else:
            kept = tuple(block for old in system if (block := _cleaned(old)) is not None)
        return (request,) if kept == system else (replace(request, system=kept or None),)


def _cleaned(block: Block) -> Block | None:
    """The block without the line; None if it was nothing else."""
    if not isinstance(block, Text) or not _LINE.match(block.text):
        return block
    rest = _without(block.text)
    return replace(block, text=rest) if rest else None


def _without(text: str) -> str:
    """The text without the line; empty if nothing that can be seen is left."""
    if not (line := _LINE.match(text)):
        return text
    rest = text[line.end() :]
    return rest if rest.strip() else ""
