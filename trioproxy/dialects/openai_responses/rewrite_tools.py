"""Tools of a request, and what stages made of them: each in place of what the client sent for it."""

from collections.abc import Iterator
from typing import Any

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai.offered import Offer, flat_name
from trioproxy.dialects.openai.write_tools import NAME_LENGTH, write_function
from trioproxy.dialects.patch import patched
from trioproxy.items import Request
from trioproxy.ledger import Ledger

__all__ = ["Tools"]

Wire = dict[str, Any]  # a tool; `Any` because what is inside came from the client


class Tools:
    """The tools `before` and `after` the change, by their flat names."""

    def __init__(self, before: Request, after: Request) -> None:
        self._before = {tool["name"]: tool for tool in before.tools}
        self._after = {name: tool for tool in after.tools if isinstance(name := tool.get("name"), str)}

    @property
    def new(self) -> list[Wire]:
        """Those that the client has not offered."""
        return [_plain(tool) for name, tool in self._after.items() if name not in self._before]

    @property
    def same(self) -> bool:
        return self._before == self._after

    def changed(self, wires: list[Any], namespace: str | None = None) -> list[Any]:
        """`wires`, of which what nobody here has read stays as it is."""
        return [each for wire in wires for each in self._changed(wire, namespace)]

    def _changed(self, wire: Any, namespace: str | None) -> Iterator[Any]:
        inner = wire.get("tools") if isinstance(wire, dict) and wire.get("type") == "namespace" else None
        if isinstance(inner, list):
            name = wire.get("name")
            if kept := self.changed(inner, name if isinstance(name, str) else None):
                yield wire if kept == inner else wire | {"tools": kept}
            return
        offer = Offer("", wire, namespace)
        name = flat_name(namespace, offer.name) if isinstance(offer.name, str) else ""
        if name not in self._before or self._before[name] == self._after.get(name):
            yield wire
        elif name in self._after:
            was, now = _plain(self._before[name]), _plain(self._after[name])
            inner = patched(offer.inner, _said(was), _said(now))
            yield inner if offer.inner is offer.wire else offer.wire | {offer.kind: inner}


def _plain(tool: Wire) -> Wire:
    return {"type": "function"} | write_function(tool, Names((), NAME_LENGTH), Ledger())


def _said(tool: Wire) -> Wire:
    """What a change may be about: names stay what the client calls them, and a custom tool has no schema."""
    return {key: tool[key] for key in ("description", "parameters", "strict") if key in tool}
