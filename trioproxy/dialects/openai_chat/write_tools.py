"""Tools as Chat Completions has them."""

from typing import Any

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai.schemas import without
from trioproxy.dialects.openai.write_tools import write_function
from trioproxy.dialects.openai_chat.hosts import Ways
from trioproxy.ledger import Ledger

__all__ = ["write_choice", "write_tool"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's


def write_tool(tool: Wire, ways: Ways, names: Names, ledger: Ledger) -> Wire:
    function = write_function(tool, names, ledger)
    schema = function["parameters"]
    function["parameters"] = without(schema, ways.forbidden)
    if function["parameters"] != schema:
        ledger.note("tools[].input_schema", "keywords that this host refuses are left out")  # H131
    return {"type": "function", "function": function}


def write_choice(name: str, names: Names) -> Wire:
    """The choice of the one tool that the client calls `name`."""
    return {"type": "function", "function": {"name": names(name)}}
