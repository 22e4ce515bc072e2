"""Tool calls put together from their fragments, which every provider cuts, numbers and names in its own way.

Seen: several calls interleaved by index; the same index with new ids, or always 0, or none; ids and names resent with
every fragment, or late, or never; arguments whole, in pieces, as an object, as an empty string, as a `{}` that real
arguments replace, and once more complete at the end (hazards H006-H019).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai_chat.chunks import Call
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import BlockStart, BlockStop, Event, ToolInputDelta, ToolUse

__all__ = ["Calls"]


class _Assembly:
    """One call while its fragments come."""

    def __init__(self, number: int) -> None:
        self.number = number  # among the calls of the answer
        self.id = self.name = ""
        self.block: int | None = None  # its block's index, once it has started
        self.pieces: list[str] = []
        self.placeholder = ""  # a `{}` that may be all, or stand in for what is to come
        self.stopped = False

    @property
    def arguments(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def complete(self) -> bool:
        """Whether the arguments are whole: then nothing can follow."""
        arguments = self.arguments
        return arguments.rstrip().endswith("}") and _is_json(arguments)


class Calls:
    """The tool calls of one answer. `renamed`: upstream's name of a tool → the client's, where they differ."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        self._renamed = renamed
        self._calls: list[_Assembly] = []
        self._by_index: dict[int, _Assembly] = {}
        self._by_id: dict[str, _Assembly] = {}
        self.answer = ""
        """What names the answer, for calls without an id."""

    def __bool__(self) -> bool:
        """Whether there are any that have started."""
        return any(call.block is not None for call in self._calls)

    @property
    def cut(self) -> bool:
        """Whether a call's arguments are broken off."""
        return any(call.pieces and call.arguments.strip() and not _is_json(call.arguments) for call in self._calls)

    @property
    def nameless(self) -> bool:
        """Whether a call with arguments never got a name."""
        return any(not call.name and call.arguments.strip() for call in self._calls)

    def feed(self, fragment: Call, next_block: int) -> Iterator[Event]:
        """The events of a fragment; a block that it begins gets the index `next_block`."""
        function = fragment.function
        name = (function.name if function else None) or ""
        arguments = _arguments_of(function.arguments if function else None)
        call = self._find(fragment, name, arguments)
        if call is None:
            call = _Assembly(len(self._calls))
            for event in self._waiting(next_block):  # they stand before it (hazard H006)
                next_block += isinstance(event, BlockStart)
                yield event
            for before in self._calls:
                if before.complete:
                    yield from self._stop(before)
            self._calls.append(call)
        index, id = _index_of(fragment), _id_of(fragment)
        if index is not None:
            self._by_index[index] = call
        if id and not call.id and id not in self._by_id:
            call.id = id
            self._by_id[id] = call
        if call.block is None:
            call.name = _longer(call.name, name)
        yield from self._arguments(call, arguments, next_block)

    def settle(self, next_block: int, *, last: bool) -> Iterator[Event]:
        """Start the calls that have waited for arguments in vain, and stop those that are whole, or all if `last`."""
        yield from self._waiting(next_block)
        for call in self._calls:
            if last and call.block is not None and call.placeholder and not call.stopped:
                yield ToolInputDelta(call.block, call.placeholder)
                call.placeholder = ""
            if last or call.complete:
                yield from self._stop(call)

    def _waiting(self, next_block: int) -> Iterator[Event]:
        """Start the calls that have a name, and have waited for arguments or got them before it (hazard H014)."""
        for call in self._calls:
            if call.block is None and call.name:
                yield self._start(call, next_block)
                next_block += 1
                if call.pieces:
                    assert call.block is not None
                    yield ToolInputDelta(call.block, call.arguments)

    def _find(self, fragment: Call, name: str, arguments: str) -> _Assembly | None:
        """The call that a fragment belongs to; None for a new one."""
        index, id = _index_of(fragment), _id_of(fragment)
        call = self._by_id.get(id) if id else None
        if call is not None and (index is None or self._by_index.get(index, call) is call):
            # One id under two indices, both named: two calls, whatever their id says.
            return None if name and call.complete and index is not None and index not in self._by_index else call
        call = self._by_index.get(index) if index is not None else self._calls[-1] if self._calls else None
        if call is None:
            return None
        if index is None and not id and name and call.name and not name.startswith(call.name):
            return None  # neither number nor id: only the name tells
        if name and id and call.id and id != call.id:
            return None  # another id under the same index, or under none (hazard H007)
        if name and call.block is not None and call.complete and not id:
            # Complete, and named again without an id: the same once more, or another call (hazard H008).
            same = name == call.name and arguments in ("", call.arguments)
            return call if same else None
        return call

    def _arguments(self, call: _Assembly, text: str, next_block: int) -> Iterator[Event]:
        if not text:
            return
        if not call.pieces and not call.placeholder and text.strip() == "{}":
            call.placeholder = text
            return
        begins = text.lstrip().startswith("{")
        if call.pieces and begins and call.complete:
            return  # all of it once more (hazard H019)
        if call.placeholder:
            if begins:
                call.placeholder = ""  # it stood in for these (hazard H018)
            else:
                text, call.placeholder = call.placeholder + text, ""
        call.pieces.append(text)
        if call.block is None:
            if not call.name:
                return  # a client cannot be told of a call without a name: they wait for it (hazard H014)
            yield self._start(call, next_block)
            text = call.arguments
        if not call.stopped:
            assert call.block is not None
            yield ToolInputDelta(call.block, text)

    def _start(self, call: _Assembly, block: int) -> Event:
        call.block = block
        # The same call gets the same id every time it is answered (hazards H015, H130).
        id = call.id or made_id(self.answer, call.number, call.name)
        name = self._renamed.get(call.name, call.name)
        return BlockStart(block, ToolUse(id=id, name=name))

    def _stop(self, call: _Assembly) -> Iterator[Event]:
        if call.block is not None and not call.stopped and not (call.placeholder and not call.pieces):
            call.stopped = True
            yield BlockStop(call.block)


def _index_of(fragment: Call) -> int | None:
    index = fragment.index
    if isinstance(index, str) and index.isascii() and index.isdigit():
        return int(index)
    return index if isinstance(index, int) else None


def _id_of(fragment: Call) -> str:
    return fragment.id if isinstance(fragment.id, str) else "" if fragment.id is None else str(fragment.id)


def _arguments_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _longer(name: str, more: str) -> str:
    """A name after one more piece of it, or the whole once more."""
    if not more or name == more:
        return name
    return more if more.startswith(name) else name + more


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except BAD_JSON:
        return False
    return True
