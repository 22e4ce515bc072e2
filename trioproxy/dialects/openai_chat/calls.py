"""Tool calls put together from their fragments, which every provider cuts, numbers and names in its own way.

Seen: several calls interleaved by index; the same index with new ids, or always 0, or none; ids and names resent with
every fragment, or late, or never; arguments whole, in pieces, as an object, as an empty string, as a `{}` that real
arguments replace, and once more complete at the end (hazards H006-H019).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai.answers import kind_of
from trioproxy.dialects.openai_chat.chunks import Call
from trioproxy.items import BlockStart, BlockStop, Event, ToolInputDelta, ToolUse

__all__ = ["Calls"]

_WEIGHT = 1024  # bytes that a call takes besides its arguments
_KEY = 64  # … and that each index takes which it goes by
_DIGITS = 9  # of an index that is text

# What tells where an object ends: quotes, braces, and what is escaped (a fragment may end within an escape).
_MARK = re.compile(r'\\.?|["{}]', re.DOTALL)


class _Assembly:
    """One call while its fragments come. Each is looked at once, however many there are."""

    def __init__(self, number: int) -> None:
        self.number = number  # among the calls of the answer
        self.id = self.name = ""
        self.block: int | None = None  # its block's index, once it has started
        self.pieces: list[str] = []
        self.placeholder = ""  # a `{}` that may be all, or stand in for what is to come
        self.stopped = False
        self._depth = 0  # of the braces that are open
        self._quoted = self._escaped = False
        self.ended = False  # they have closed: only white space may follow
        self._whole: bool | None = None  # whether what has ended is an object; None: not looked at yet
        self._told: int | None = None  # the hash of arguments that were let go

    def add(self, text: str) -> None:
        self.pieces.append(text)
        if self.ended:
            if text.strip():
                self._whole = False
            return
        start, self._escaped = int(self._escaped), False
        for mark in _MARK.findall(text, start):
            if mark[0] == "\\":
                self._escaped = len(mark) == 1
            elif mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if mark == "{" else -1
                self.ended = self.ended or not self._depth

    @property
    def arguments(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def complete(self) -> bool:
        """Whether the arguments are a whole object: then nothing can follow."""
        if self.ended and self._whole is None:
            self._whole = kind_of(self.arguments) == "an object"
        return bool(self._whole)

    def repeats(self, arguments: str) -> bool:
        """Whether these are its own arguments once more, or none."""
        return not arguments or hash(arguments) == (hash(self.arguments) if self._told is None else self._told)

    def let_go(self) -> int:
        """Forget the arguments, which are complete and told; how long they were."""
        text, self.pieces = self.arguments, []
        self._told = hash(text)
        return len(text)

    @property
    def kind(self) -> str:
        """What the arguments are; empty if they are no JSON."""
        return "an object" if self.complete or not self.pieces else kind_of(self.arguments)


class Calls:
    """The tool calls of one answer. `renamed`: upstream's name of a tool → the client's, where they differ."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        self._renamed = renamed
        self._calls: list[_Assembly] = []
        self._live: dict[int, _Assembly] = {}  # by number: those that have not stopped
        # Of these, so that many parallel calls cost no more than as many one after the other:
        self._named: list[_Assembly] = []  # those that have a name since the last look
        self._over: list[_Assembly] = []  # … and those whose braces have closed
        self._by_index: dict[int, _Assembly] = {}
        self._by_id: dict[str, _Assembly] = {}
        self.answer = ""
        """What names the answer, for calls without an id."""
        self.held = 0
        """About how many bytes are held."""

    def __bool__(self) -> bool:
        """Whether there are any that have started."""
        return any(call.block is not None for call in self._calls)

    @property
    def cut(self) -> bool:
        """Whether a call's arguments are broken off."""
        return any(not call.kind for call in self._calls)

    @property
    def nameless(self) -> bool:
        """Whether a call with arguments never got a name."""
        return any(not call.name and call.pieces for call in self._calls)

    @property
    def fault(self) -> str:
        """Why the calls cannot be made as they are; empty if they can. Arguments are an object, or there are none."""
        for call in self._calls:
            if call.kind != "an object":
                got = f"{call.kind}, not an object" if call.kind else "cut, or no JSON"
                return f"the upstream called {call.name[:64]!r} with arguments that are {got}"
        return ""

    def begun(self, fragments: list[Call]) -> list[bool]:
        """Which fragments of one delta begin a call for certain: of several without an index, each that is named.

        All but those that go on with a call of an earlier delta, as their id tells.
        """
        if len(fragments) == 1:  # almost always
            return [False]
        several = sum(_index_of(each) is None for each in fragments) > 1
        return [
            several and _index_of(each) is None and bool(_name_of(each)) and _id_of(each) not in self._by_id
            for each in fragments
        ]

    def feed(self, fragment: Call, next_block: int, *, begins: bool = False) -> Iterator[Event]:
        """The events of a fragment; a block that it begins gets the index `next_block`. `begins`: it is a new call."""
        index, id, name = _index_of(fragment), _id_of(fragment), _name_of(fragment)
        arguments = _arguments_of(fragment.function.arguments if fragment.function else None)
        call = None if begins else self._find(index, id, name, arguments)
        if call is None:
            call = _Assembly(len(self._calls))
            self.held += _WEIGHT
            for event in self._waiting(next_block):  # they stand before it (hazard H006)
                next_block += isinstance(event, BlockStart)
                yield event
            yield from self._stop(last=False)
            self._calls.append(call)
            self._live[call.number] = call
        if index is not None:
            self.held += 0 if index in self._by_index else _KEY
            self._by_index[index] = call
        if id and not call.id and id not in self._by_id:
            call.id = id
            self._by_id[id] = call
            self.held += len(id)
        if call.block is None:
            before, call.name = call.name, _longer(call.name, name)
            if call.name and not before:
                self._named.append(call)
            self.held += len(call.name) - len(before)
        yield from self._arguments(call, arguments, next_block)

    def settle(self, next_block: int, *, last: bool) -> Iterator[Event]:
        """Start the calls that have waited for arguments in vain, and stop those that are whole, or all if `last`."""
        yield from self._waiting(next_block)
        yield from self._stop(last=last)

    def _waiting(self, next_block: int) -> Iterator[Event]:
        """Start the calls that have a name, and have waited for arguments or got them before it (hazard H014)."""
        named, self._named = sorted(self._named, key=_number), []
        for call in named:
            if call.block is None:
                yield self._start(call, next_block)
                next_block += 1
                if call.pieces:
                    assert call.block is not None
                    yield ToolInputDelta(call.block, call.arguments)

    def _find(self, index: int | None, id: str, name: str, arguments: str) -> _Assembly | None:
        """The call that a fragment belongs to; None for a new one."""
        call = self._by_id.get(id) if id else None
        if call is not None and (index is None or self._by_index.get(index, call) is call):
            # One id under two indices, both named: two calls, whatever their id says.
            return None if name and index is not None and index not in self._by_index and call.complete else call
        call = self._by_index.get(index) if index is not None else self._calls[-1] if self._calls else None
        if call is None:
            return None
        if index is None and not id and name and call.name and not name.startswith(call.name):
            return None  # neither number nor id: only the name tells
        if name and id and call.id and id != call.id:
            return None  # another id under the same index, or under none (hazard H007)
        if name and not id and call.block is not None and call.complete:
            # Complete, and named again without an id: the same once more, or another call (hazard H008).
            return call if name == call.name and call.repeats(arguments) else None
        return call

    def _arguments(self, call: _Assembly, text: str, next_block: int) -> Iterator[Event]:
        if not text or (not call.pieces and not text.strip()):
            return
        begins = text.lstrip().startswith("{")
        if begins and call.complete:
            return  # all of it once more (hazard H019)
        self.held += len(text)
        if not call.pieces and not call.placeholder and text.strip() == "{}":
            call.placeholder = text
            return
        if call.placeholder:
            if begins:
                call.placeholder = ""  # it stood in for these (hazard H018)
            else:
                text, call.placeholder = call.placeholder + text, ""
        ended = call.ended
        call.add(text)
        if call.ended and not ended:
            self._over.append(call)
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
        if call.ended:
            self._over.append(call)
        # The same call gets the same id every time it is answered (hazards H015, H130).
        id = call.id or made_id(self.answer, call.number, call.name)
        name = self._renamed.get(call.name, call.name)
        return BlockStart(block, ToolUse(id=id, name=name))

    def _stop(self, *, last: bool) -> Iterator[Event]:
        """Stop the calls that are complete; all that have started, if `last`."""
        over, self._over = sorted(self._over, key=_number), []
        for call in list(self._live.values()) if last else over:
            if call.block is None or call.stopped or not (last or call.complete):
                continue
            if call.placeholder:
                yield ToolInputDelta(call.block, call.placeholder)
                call.placeholder = ""
            call.stopped = True
            yield BlockStop(call.block)
            del self._live[call.number]
            if call.complete:
                self.held -= call.let_go()


def _number(call: _Assembly) -> int:
    return call.number


def _index_of(fragment: Call) -> int | None:
    index = fragment.index
    if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) <= _DIGITS:
        return int(index)
    return index if isinstance(index, int) else None


def _name_of(fragment: Call) -> str:
    return (fragment.function.name if fragment.function else None) or ""


def _id_of(fragment: Call) -> str:
    id = fragment.id
    return id if isinstance(id, str) else str(id) if isinstance(id, int | float) else ""


def _arguments_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _longer(name: str, more: str) -> str:
    """A name after one more piece of it, or the whole once more."""
    if not more or name == more:
        return name
    return more if more.startswith(name) else name + more
