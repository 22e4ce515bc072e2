"""Tool calls as a chat client is told them: numbered, in pieces or each at once.

A tool that was offered as `custom` is called so, with the very text that it takes (platform.openai.com, function
calling; openai/openai-openapi#576 for streams). Cursor offers such tools in the shape of Responses, where OpenAI's own
API has none of them. Of an answer it reads calls of functions only: without a `function` it fails, or forgets the call,
and its arguments must be the text itself (hazard H150h; icebear0828/codex-proxy#708, gabrii/Cursor-Azure-GPT-5).
"""

from collections.abc import Mapping
from typing import Any

from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai.inputs import Unpacking
from trioproxy.dialects.openai.offered import Offered
from trioproxy.items import ToolUse

__all__ = ["ToldCalls"]

Wire = dict[str, Any]  # an entry of `tool_calls`; `Any` because its inside is the provider's

_WEIGHT = 256  # bytes that a call takes besides what it says


class _Call:
    """One that has begun. `input` is what its arguments are if no piece of them comes, and else empty."""

    def __init__(self, number: int, id: str, block: ToolUse, tool: Offered | None) -> None:
        text = tool if tool is not None and tool.custom else None
        self.kind = "custom" if text is not None and text.nested else "function"
        self.field = "input" if self.kind == "custom" else "arguments"
        self.number, self.id, self.name = number, id, block.name
        # No arguments are an empty object (hazard H017); those of a programmatic call stand in its start.
        self.input = block.input if block.input.startswith("{") else "{}"
        self.unpacking = Unpacking() if text is not None else None
        self.pieces: list[str] = []  # that are held
        self.held = 0

    def begun(self, text: str = "") -> Wire:
        said = {"name": self.name, self.field: text}
        return {"index": self.number, "id": self.id, "type": self.kind, self.kind: said}

    def piece(self, text: str) -> Wire:
        return {"index": self.number, self.kind: {self.field: text}}


class ToldCalls:
    """Of one answer. `offered`: what the client offered, by the names that events have.

    `single`: a call is held until its block ends, or the message that left it open. If the answer breaks off before,
    nobody hears of it.
    """

    def __init__(self, offered: Mapping[str, Offered], *, single: bool) -> None:
        self._offered, self._single = offered, single
        self._open: dict[int, _Call] = {}  # by the index of their block
        self._beside: dict[str, Wire] = {}
        self.made = 0
        """How many have begun."""
        self.held = 0
        """About how many bytes are held."""
        self.torn = ""
        """The name of a call that was told and is not whole, which its text does not show."""

    def beside(self, id: str, fields: Wire, size: int) -> None:
        """What the call `id` is to be told with beside what is known here: some `size` bytes of a chat upstream's own.

        Google's signatures are such, without which it takes no call back.
        """
        self._beside[id] = self._beside.get(id, {}) | fields
        self.held += size  # and never less: a bound for the whole answer will do

    def pass_by(self, calls: Any) -> None:
        """Take note of calls that the client gets as the upstream tells them: they have numbers, too."""
        for call in calls if isinstance(calls, list) else ():
            self.made += isinstance(call, dict) and bool(call.get("id"))

    def start(self, index: int, block: ToolUse, answer: str) -> list[Wire]:
        """A call begins as the block `index`. `answer` names the whole, for a call without an id."""
        id = block.id or made_id(answer, self.made, block.name)
        call = self._open[index] = _Call(self.made, id, block, self._offered.get(block.name))
        self.made += 1
        if not self._single:
            return [call.begun()]
        self._hold(call, _WEIGHT + len(id) + len(block.name))
        return []

    def feed(self, index: int, json: str) -> list[Wire]:
        """A piece of its arguments."""
        if (call := self._open.get(index)) is None or not json:
            return []
        call.input = ""  # where deltas follow, the start's input stands for nothing (hazard H097)
        if call.unpacking is None:
            return self._say(call, json)
        self._hold(call, len(json))
        return self._say(call, call.unpacking.feed(json))

    def stop(self, index: int) -> list[Wire]:
        """Its block ends, or there is none."""
        if index not in self._open:
            return []
        told = self.feed(index, self._open[index].input)
        call = self._open.pop(index)
        if call.unpacking is not None:
            rest = call.unpacking.close()
            told += self._say(call, rest or "")
            if rest is None:
                self.torn = call.name
        self.held -= call.held
        if self._single:
            return [self._beside.pop(call.id, {}) | call.begun("".join(call.pieces))]
        return told

    def rest(self) -> list[Wire]:
        """The message is over, and so are the calls that it left open."""
        return [each for index in list(self._open) for each in self.stop(index)]

    def _say(self, call: _Call, text: str) -> list[Wire]:
        if not text:
            return []
        if not self._single:
            return [call.piece(text)]
        call.pieces.append(text)
        self._hold(call, len(text))
        return []

    def _hold(self, call: _Call, size: int) -> None:
        call.held += size
        self.held += size
