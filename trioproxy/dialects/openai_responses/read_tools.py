"""Tools of a Responses request and the choice among them → as Anthropic has them, under flat names."""

from typing import Any

from trioproxy.dialects.openai.offered import Offer, flat_name, offers
from trioproxy.dialects.openai.read_parts import cached
from trioproxy.dialects.openai.read_tools import Tools, listed, name_in, read_choice, read_custom, read_function
from trioproxy.dialects.openai.told import Lost, Wire, label, named, note_fields, refusal, shown
from trioproxy.items import Extra

__all__ = ["read_tool_choice", "read_tools"]


def read_tools(wire: Wire, lost: Lost) -> Tools:
    """Every tool that the client runs, of two with one name the later in place of the former."""
    listed(wire, "tools")
    read: dict[str, Extra] = {}
    seen: dict[str, str | None] = {}  # flat name → namespace
    for offer in offers(wire):
        if (tool := _read_tool(offer, lost)) is None:
            continue
        name = tool["name"]
        if seen.setdefault(name, offer.namespace) != offer.namespace:
            lost.setdefault(f"tools[{label(name)}]", "two namespaces make this name: the later tool is offered")
            seen[name] = offer.namespace
        read[name] = tool
    return tuple(read.values())


def _read_tool(offer: Offer, lost: Lost) -> Extra | None:
    tool, inner = offer.wire, offer.inner
    if not isinstance(tool, dict):
        raise refusal(f"{offer.path}: expected an object, got {named(tool)}")
    if offer.kind not in _READERS:
        lost.setdefault(
            f"tools[type={label(tool.get('type'))}]",
            "runs at the provider the client meant, or only its models know it",
        )
        return None
    if not isinstance(inner, dict):
        raise refusal(f"{offer.path}.{offer.kind}: expected an object, got {named(inner)}")
    if inner.get("defer_loading") is True:
        lost.setdefault("tools[].defer_loading", "offered at once: there is no search for tools here")
    read = _READERS[offer.kind](offer, {key: inner[key] for key in inner if key not in _UNREAD}, lost)
    if read is None:
        return None
    if inner is not tool:
        note_fields(tool, {"type", offer.kind, "cache_control"}, "tools[]", lost)
    said = "\n\n".join(filter(None, (offer.introduction, read.pop("description", ""))))
    described = {"name": flat_name(offer.namespace, read.pop("name"))} | ({"description": said} if said else {})
    return described | read | cached(tool)


def _read_custom(offer: Offer, tool: Wire, lost: Lost) -> Extra | None:
    return read_custom(tool, offer.path, "tools[]", lost)


def _read_function(offer: Offer, tool: Wire, lost: Lost) -> Extra | None:
    return read_function(tool, offer.path, "tools[]", lost)


def _read_search(offer: Offer, tool: Wire, lost: Lost) -> Extra | None:
    """The search for tools that the client runs itself (H150): what it finds is offered from then on, see `offered`."""
    del tool["execution"]
    return read_function(tool | {"name": offer.name}, offer.path, "tools[]", lost)


_READERS = {"function": _read_function, "custom": _read_custom, "tool_search": _read_search}

# Callers other than the model itself are programs that it writes for OpenAI to run.
_UNREAD = {"defer_loading", "allowed_callers", "prompt_cache_breakpoint"}


def read_tool_choice(wire: Wire, tools: Tools, lost: Lost) -> tuple[Tools, Extra | None]:
    """The choice, None for the default; and the tools, fewer if only some are allowed."""
    said = wire.get("tool_choice")
    if isinstance(said, dict):
        said = _choice(said, lost)
    return read_choice(said, wire.get("parallel_tool_calls"), tools, lost)


def _choice(said: Wire, lost: Lost) -> Any:
    """The same as Chat Completions says it, with flat names."""
    if said.get("type") == "allowed_tools" and isinstance(allowed := said.get("tools"), list):
        flat = [{"name": name} for each in allowed if (name := _flat_name_in(each))]
        return {"type": "allowed_tools", "allowed_tools": {"mode": said.get("mode"), "tools": flat}}
    if name := _flat_name_in(said):
        return {"type": "function", "name": name}
    kind = said.get("type")
    if isinstance(kind, str) and kind not in _NAMED:
        lost.setdefault("tool_choice", f"{shown(kind)} is no tool of this upstream's: the choice is left to the model")
        return "auto"
    return said


def _flat_name_in(said: Any) -> str | None:
    name = name_in(said)
    if name is None or said.get("type") == "mcp":
        return None
    namespace = said.get("namespace")
    return flat_name(namespace if isinstance(namespace, str) else None, name)


_NAMED = {"function", "custom", "allowed_tools", "auto", "none", "required", "any"}
