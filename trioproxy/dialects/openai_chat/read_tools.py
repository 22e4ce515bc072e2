"""Tools of a chat and the choice among them → as Anthropic has them."""

from trioproxy.dialects.openai.offered import Offer
from trioproxy.dialects.openai.read_parts import cached
from trioproxy.dialects.openai.read_tools import Tools, listed, read_choice, read_custom, read_function
from trioproxy.dialects.openai.told import Lost, Wire, label, named, note_fields, refusal
from trioproxy.items import Extra

__all__ = ["read_tool_choice", "read_tools"]


def read_tools(wire: Wire, lost: Lost) -> Tools:
    tools = listed(wire, "tools")
    legacy = [{"type": "function", "function": each} for each in listed(wire, "functions")]
    read = [_read_tool(Offer(f"tools[{index}]", tool), lost) for index, tool in enumerate(tools or legacy)]
    return tuple(tool for tool in read if tool)


def _read_tool(offer: Offer, lost: Lost) -> Extra | None:
    tool, kind = offer.wire, offer.kind
    if not isinstance(tool, dict):
        raise refusal(f"{offer.path}: expected an object, got {named(tool)}")
    if (read_one := _READERS.get(kind)) is None:
        lost.setdefault(f"tools[type={label(tool.get('type'))}]", "runs at the provider the client meant, not here")
        return None
    inner = offer.inner  # Cursor sends the flat shape of Responses (H150h)
    if not isinstance(inner, dict):
        raise refusal(f"{offer.path}.{kind}: expected an object, got {named(inner)}")
    if (read := read_one(inner, f"{offer.path}.{kind}", f"tools[].{kind}", lost)) is None:
        return None
    if offer.nested:
        note_fields(tool, {"type", kind, "cache_control"}, "tools[]", lost)
    return read | cached(tool)


_READERS = {"function": read_function, "custom": read_custom}


def read_tool_choice(wire: Wire, tools: Tools, lost: Lost) -> tuple[Tools, Extra | None]:
    """The choice, None for the default; and the tools, fewer if only some are allowed."""
    said = wire.get("tool_choice")
    if said is None:
        said = wire.get("function_call")
    return read_choice(said, wire.get("parallel_tool_calls"), tools, lost)
