"""Tools as Responses has them: flat functions, and a web search of the host's own."""

from typing import Any

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai.write_options import drop
from trioproxy.dialects.openai.write_tools import is_search, write_function
from trioproxy.dialects.openai_responses.hosts import Ways
from trioproxy.ledger import Ledger

__all__ = ["write_choice", "write_tool"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's

_SEARCH = {"type": "web_search"}
_SENT = {"type", "name", "allowed_domains", "blocked_domains", "user_location"}


def write_tool(tool: Wire, ways: Ways, names: Names, ledger: Ledger) -> Wire:
    if is_search(tool):
        return _write_search(tool, ways, ledger)
    function = write_function(tool, names, ledger)
    # Who does not say `strict` asks for it, says the API's reference; and few schemas are made for it (H132).
    return {"type": "function"} | function | {"strict": function.get("strict", False)}


def write_choice(name: str, tools: list[Wire], names: Names) -> Wire | str:
    """The choice of the one of `tools`, as the client said them, that is called `name`."""
    if not any(is_search(tool) for tool in tools if tool["name"] == name):
        return {"type": "function", "name": names(name)}
    return _SEARCH if len(tools) > 1 else "required"  # which everybody takes who has a search


def _write_search(tool: Wire, ways: Ways, ledger: Ledger) -> Wire:
    """The host's web search for Anthropic's (H067)."""
    drop(ledger, "tools[web_search]", {key: tool[key] for key in tool if key not in _SENT})
    filters = {"allowed_domains": tool.get("allowed_domains"), ways.excluded: tool.get("blocked_domains")}
    if filters.pop("", None):
        ledger.note("tools[web_search].blocked_domains", "this host searches them, too")
    filters = {key: value for key, value in filters.items() if value}
    where = tool.get("user_location")
    return _SEARCH | ({"filters": filters} if filters else {}) | ({"user_location": where} if where else {})
