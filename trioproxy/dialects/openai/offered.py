"""The tools of a request to OpenAI under the flat names that they have in the one vocabulary, and how to get back.

Only OpenAI has tools that take a text instead of arguments ("custom"), and only Responses has tools in namespaces. A
client such as Codex finds a tool by its namespace and its name, and calls a name it has to guess at unsupported
(openai/codex#20652), so the answer must say both again.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from trioproxy.dialects.openai.told import Wire

__all__ = ["Offer", "Offered", "flat_name", "offered", "offers"]

_DEFAULT = "functions"  # the namespace that a name without one is in: the same tool to Codex and to OpenAI
_SEARCH = "tool_search"
_KINDS = ("function", "custom", _SEARCH)
_BRINGS_TOOLS = ("additional_tools", "tool_search_output")  # items of the input


class Offered(msgspec.Struct, frozen=True):
    """What a client calls one of its tools."""

    name: str
    namespace: str | None
    custom: bool
    """Whether it takes a text, and no arguments."""
    searches: bool = False
    """Whether it finds further tools: such a call is an item of its own kind."""
    nested: bool = False
    """Whether it is offered in the shape of Chat Completions, as an object within the tool."""


class Offer(msgspec.Struct, frozen=True):
    """One tool, as it stands in a request."""

    path: str
    """Where it stands: `tools[0].tools[2]`."""
    wire: Any
    """The tool; within `function` or `custom` if the client has the shape of Chat Completions. `Any`: not checked."""
    namespace: str | None = None
    introduction: str = ""
    """What is said of the namespace, with its first tool."""

    @property
    def kind(self) -> str:
        """Its type; empty if that is no text, or a search for tools that OpenAI runs."""
        kind = _of(self.wire, "type")
        if kind == _SEARCH and _of(self.wire, "execution") != "client":
            return ""
        return "function" if kind is None else kind if isinstance(kind, str) else ""

    @property
    def inner(self) -> Any:
        """The object with the name."""
        inner = _of(self.wire, self.kind) if self.kind in _KINDS else None
        return inner if inner is not None else self.wire

    @property
    def nested(self) -> bool:
        return self.inner is not self.wire

    @property
    def name(self) -> Any:
        return _SEARCH if self.kind == _SEARCH else _of(self.inner, "name")


def flat_name(namespace: str | None, name: str) -> str:
    """`NAMESPACE__NAME`, as Codex has it (MCP's own habit: `mcp__server__tool`)."""
    if not namespace or namespace == _DEFAULT:
        return name
    return f"{namespace}{name}" if namespace.endswith("_") else f"{namespace}__{name}"


def offered(wire: Wire) -> dict[str, Offered]:
    """Flat name → what the client calls the tool, for all that can be called at all. `wire` is the request's body.

    Of two tools with one flat name the later counts: a tool that is offered again may have changed.
    """
    return {
        flat_name(offer.namespace, offer.name): Offered(
            offer.name, offer.namespace, offer.kind == "custom", searches=offer.kind == _SEARCH, nested=offer.nested
        )
        for offer in offers(wire)
        if offer.kind in _KINDS and isinstance(offer.name, str) and offer.name
    }


def offers(wire: Wire) -> Iterator[Offer]:
    """Every tool of the input and of `tools`, out of its namespace; whatever else stands in their place too.

    What the input says of tools may be old; `tools` is what is true now, and comes last.
    """
    items = wire.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if _of(item, "type") in _BRINGS_TOOLS:
            yield from _each(item.get("tools"), f"input[{index}].tools")
    yield from _each(wire.get("tools"), "tools")


def _each(tools: Any, path: str) -> Iterator[Offer]:
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        where = f"{path}[{index}]"
        if _of(tool, "type") != "namespace":
            yield Offer(where, tool)
            continue
        name, said, inner = tool.get("name"), tool.get("description"), tool.get("tools")
        namespace = name if isinstance(name, str) else None
        introduction = said.strip() if isinstance(said, str) else ""
        for number, each in enumerate(inner if isinstance(inner, list) else ()):
            yield Offer(f"{where}.tools[{number}]", each, namespace, "" if number else introduction)


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
