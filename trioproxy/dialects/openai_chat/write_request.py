"""A request in Anthropic's vocabulary as the body of `POST /v1/chat/completions`.

What rarely changes comes first and the messages last, so that requests of one conversation begin alike (H123).
"""

from functools import partial
from typing import Any

import msgspec

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai.kin import kin_of
from trioproxy.dialects.openai.told import refusal
from trioproxy.dialects.openai.write_options import answer_form, cache_key, limited, said_by, write_tier, write_user
from trioproxy.dialects.openai.write_thinking import EFFORTS, asked_effort, asked_thinking, nearest
from trioproxy.dialects.openai.write_tools import NAME_LENGTH, called, offered_tools, write_tool_choice
from trioproxy.dialects.openai_chat.hosts import Ways, ways_of
from trioproxy.dialects.openai_chat.write_content import PARTS
from trioproxy.dialects.openai_chat.write_messages import write_messages
from trioproxy.dialects.openai_chat.write_tools import write_choice, write_tool
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Request
from trioproxy.ledger import Ledger

__all__ = ["write_request"]

Wire = dict[str, Any]  # a JSON object of the body; `Any` because what is inside came from the client


def write_request(request: Request, target: Target, ledger: Ledger) -> Written:
    """The body for `target` of a request that was read from another dialect.

    Raises `ProxyError` (invalid_request) for what can neither be said nor left out.
    """
    try:
        return _write(request, target, ledger)
    except RecursionError as exc:
        raise refusal("the request is nested too deeply") from exc


def _write(request: Request, target: Target, ledger: Ledger) -> Written:
    ways = ways_of(target, request.model)
    kin = kin_of(request, PARTS.dialect, target, known=ways.tier, schemas=ways.schemas)
    request = kin.request
    said = said_by(request, ledger)
    offered = offered_tools(request, ledger)
    names = Names([*(tool["name"] for tool in offered), *called(request)], NAME_LENGTH)
    form, postscript = answer_form(said, ways.schemas, ledger, kin.form)

    body: Wire = {"model": request.model}
    if offered:
        body["tools"] = [write_tool(tool, ways, names, ledger) for tool in offered]
    choose = partial(write_choice, names=names)
    choosable = {tool["name"] for tool in offered}
    body |= write_tool_choice(said.get("tool_choice"), choosable, choose, ledger, parallel=ways.parallel)
    body |= _write_form(form)
    kin.write_fields(body)
    if (limit := limited(request.max_tokens, target, ledger)) is not None:
        body[ways.limit] = limit  # H133
    body |= _write_sampling(said, ways, ledger)
    body |= _write_thinking(said, ways, bool(offered), ledger)
    body |= write_user(said.get("metadata"), ways.user, ledger)
    body |= write_tier(said.get("service_tier"), ways.tier, ledger)
    if key := cache_key(target):
        body.setdefault("prompt_cache_key", key)  # the client's own stands
    if request.stream:
        body["stream"] = True
        if ways.usage:
            body["stream_options"] = {"include_usage": True}
    body["messages"] = write_messages(request, ways, names, ledger, postscript)
    kin.write_details(body["messages"])
    return Written(msgspec.json.encode(body), names.renamed)


def _write_form(form: Wire) -> Wire:
    """The form of the answer, whose fields are in an object of their own here."""
    if form.get("type") != "json_schema":
        return {"response_format": form} if form else {}
    schema = {key: value for key, value in form.items() if key != "type"}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _write_sampling(said: Wire, ways: Ways, ledger: Ledger) -> Wire:
    fields: Wire = {}
    taken = {"temperature": ways.sampling, "top_p": ways.sampling, "top_k": ways.top_k}
    for key in taken.keys() & said.keys():
        if not taken[key]:
            ledger.note(key, "this model takes none" if key != "top_k" else "this host is not known to take it")
    fields |= {key: said[key] for key in taken if taken[key] and key in said}
    stops = said.get("stop_sequences")
    if not isinstance(stops, list):
        if stops is not None:
            ledger.note("stop_sequences", "not a list")
        return fields
    sent = stops[: ways.stops]
    if len(sent) < len(stops):  # H139
        ledger.note("stop_sequences", f"this model takes {ways.stops or 'none'}")
    return fields | ({"stop": sent} if sent else {})


def _write_thinking(said: Wire, ways: Ways, tools: bool, ledger: Ledger) -> Wire:
    """The fields that say whether and how hard to think."""
    thinking = asked_thinking(said, {"type", "budget_tokens"}, ledger)
    effort, path = asked_effort(said, thinking, ledger)
    forced: Wire = {"reasoning_effort": "none"} if tools and ways.effort_with_tools == "none" else {}
    if thinking.get("type") == "disabled":
        if effort is not None:
            ledger.note(path, "thinking is disabled")
        if ways.switch:
            return {"thinking": {"type": "disabled"}}
        if ways.effort and not forced:
            ledger.note("thinking", "whether the model thinks is left to the host")
        return forced
    if effort is None:
        return forced
    if effort not in EFFORTS or not ways.effort:
        ledger.note(path, "this model takes no effort" if effort in EFFORTS else "not a known effort")
        return forced
    if tools and ways.effort_with_tools != "keep":
        ledger.note(path, "this model takes no effort beside tools in Chat Completions")
        return forced
    sent = nearest(effort, ways.efforts, path, ledger)
    return {"reasoning": {"effort": sent}} if ways.effort == "reasoning" else {"reasoning_effort": sent}
