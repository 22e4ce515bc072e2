"""Blocks → items that have not begun: of which kind each is, and by which name the client knows the tool it calls."""

from typing import Any

from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai.offered import Offered, flat_name, offered
from trioproxy.dialects.openai_responses.ladder import Call, CustomCall, Item, Message, Reasoning, SearchCall, Wire
from trioproxy.dialects.style import Style
from trioproxy.items import Block, OtherBlock, RedactedThinking, Text, Thinking, ToolUse
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange

__all__ = ["Making"]


class Making:
    """Of one answer. `same`: the upstream speaks Responses too."""

    def __init__(self, exchange: Exchange, style: Style, ledger: Ledger, *, same: bool) -> None:
        self._ledger = ledger
        source = exchange.request.source if exchange.request else None
        wire = source.wire if source is not None and source.dialect == "openai-responses" else {}
        self._offered = offered(wire)
        self._announced: dict[str, Offered] = {}  # by the id of a call
        self._shown = same or (style.reasoning != "drop" and _asks_for_summary(wire))
        self._calls = 0
        self._call_ids: set[str] = set()
        self.answer = ""
        """What names the answer, for calls without an id."""

    def item_of(self, block: Block) -> Item | None:
        """None if there is no such item."""
        match block:
            case Text():
                return Message()
            case Thinking() | RedactedThinking():
                return Reasoning(shown=self._shown)
            case ToolUse():
                tool = self._tool_of(block)
                # No arguments are an empty object (hazard H148); those of a programmatic call stand in its start.
                silent = block.input if block.input.startswith("{") else "{}"
                kind = SearchCall if tool.searches else CustomCall if tool.custom else Call
                return kind(self._call_id(block), tool, silent)
            case OtherBlock():
                # Never as a call that the client would run (hazard H099).
                self._ledger.note(f"content[].{block.kind or 'block'}", "openai-responses has no such block")
        return None

    def announce(self, item: Any) -> None:
        """An upstream of the same dialect tells of a call: which tool that is, a request that was not read cannot say.

        `Any`: an item as it came.
        """
        if isinstance(item, dict) and item.get("type") in ("function_call", "custom_tool_call"):
            namespace, custom = item.get("namespace"), item["type"] == "custom_tool_call"
            tool = Offered(str(item.get("name")), namespace if isinstance(namespace, str) else None, custom)
            self._announced[str(item.get("call_id"))] = tool

    def taken(self, call_id: str) -> None:
        """A call goes by this id: clients tell calls apart by nothing else."""
        self._call_ids.add(call_id)

    def _tool_of(self, block: ToolUse) -> Offered:
        known = self._announced.get(block.id)
        if known is not None and block.name == flat_name(known.namespace, known.name):
            return known
        return self._offered.get(block.name) or Offered(block.name, None, known is not None and known.custom)

    def _call_id(self, block: ToolUse) -> str:
        number, self._calls = self._calls, self._calls + 1
        id = block.id
        if not id or id in self._call_ids:
            id = made_id(self.answer, number, block.name)
        self.taken(id)
        return id


def _asks_for_summary(wire: Wire) -> bool:
    reasoning = wire.get("reasoning")
    return isinstance(reasoning, dict) and any(map(reasoning.get, ("summary", "generate_summary")))
