"""Tool calls of a conversation: their arguments, and which call a result answers."""

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai.inputs import packed, unpacked
from trioproxy.dialects.openai.offered import Offered
from trioproxy.dialects.openai.told import Lost
from trioproxy.dialects.peek import BAD_JSON, decode, mended

__all__ = ["OpenCalls", "encoded", "read_arguments"]


class OpenCalls:
    """The calls that are not answered yet, of one conversation: id → the tool's name, in order.

    `offered`: what its tools are.
    """

    def __init__(self, offered: Mapping[str, Offered]) -> None:
        self._offered = offered
        self._open = OrderedDict[str, str]()  # of which the first is found at once, however many were taken out
        self._of_tool = defaultdict[str, OrderedDict[str, None]](OrderedDict)

    def arguments(self, name: str, said: Any, path: str, lost: Lost) -> str:
        """What the function `name` was called with, as `read_arguments` has it.

        Cursor calls a tool that takes a text as a function, whose arguments are that text (see `told_calls`).
        """
        tool = self._offered.get(name)
        if tool is not None and tool.custom and isinstance(said, str) and unpacked(said) is None:
            return packed(said)
        return read_arguments(said, path, lost)

    def made(self, id: Any, name: str, input: str, where: str) -> str:
        """The id of a new call of the tool `name`: as it says, or one that is the same in every turn (H130)."""
        own = id if isinstance(id, str) and id else made_id(where, name, input)
        self._close(own)
        self._open[own] = name
        self._of_tool[name][own] = None
        return own

    def answered(self, id: Any, name: Any, where: str) -> str:
        """The id of the call that is answered: as it says, of the tool `name`, or the first that is open."""
        own = id if isinstance(id, str) else ""
        if not own:
            fitting = (self._of_tool.get(name) if isinstance(name, str) else None) or self._open
            own = next(iter(fitting), None) or made_id("result", where)
        self._close(own)
        return own

    def _close(self, id: str) -> None:
        if (name := self._open.pop(id, None)) is not None:
            del self._of_tool[name][id]


def read_arguments(arguments: Any, path: str, lost: Lost) -> str:
    """The JSON text of an object: the very text if it is one already, or else one that keeps it visible (H070b)."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return "{}"
    if not isinstance(arguments, str):
        return encoded(arguments if isinstance(arguments, dict) else {"input": arguments})
    try:
        value, cut = decode(arguments.encode())
    except BAD_JSON:
        lost.setdefault(path, "not JSON: passed on as text")
        return encoded({"unparsed_arguments": arguments})
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        return encoded({"input": value})
    return mended(arguments.encode()).decode() if cut else arguments


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
