"""A request in Anthropic's vocabulary as the body of `POST /v1/responses`.

What rarely changes comes first and the input last, so that requests of one conversation begin alike (H123). The whole
conversation is in it, and nothing is to be stored.
"""

from functools import partial
from typing import Any

import msgspec

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai.kin import kin_of
from trioproxy.dialects.openai.told import refusal
from trioproxy.dialects.openai.write_options import (
    NO_FIELD,
    answer_form,
    cache_key,
    limited,
    said_by,
    write_tier,
    write_user,
)
from trioproxy.dialects.openai.write_thinking import EFFORTS, asked_effort, asked_thinking, nearest
from trioproxy.dialects.openai.write_tools import NAME_LENGTH, called, is_search, offered_tools, write_tool_choice
from trioproxy.dialects.openai_responses.hosts import Ways, ways_of
from trioproxy.dialects.openai_responses.write_input import PARTS, write_input
from trioproxy.dialects.openai_responses.write_tools import write_choice, write_tool
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Request
from trioproxy.ledger import Ledger

__all__ = ["LEAST", "write_request"]

Wire = dict[str, Any]  # a JSON object of the body; `Any` because what is inside came from the client

LEAST = 16
"""Tokens: "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16"."""
_ENCRYPTED = "reasoning.encrypted_content"


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
    tools = offered_tools(request, ledger, search=ways.search)
    functions = [tool["name"] for tool in tools if not is_search(tool)]
    names = Names([*functions, *called(request)], NAME_LENGTH)
    form, postscript = answer_form(said, ways.schemas, ledger, kin.form)
    system, input = write_input(request, target, ways, names, ledger)
    kin.write_details(input)
    instructions = "\n\n".join(text for text in (system, postscript) if text)
    reasoning = _write_reasoning(said, ways, ledger)

    body: Wire = {"model": request.model, "store": False}
    if instructions or ways.instructions:
        body["instructions"] = instructions
    if tools:
        body["tools"] = [write_tool(tool, ways, names, ledger) for tool in tools]
    choose = partial(write_choice, tools=tools, names=names)
    body |= write_tool_choice(said.get("tool_choice"), {tool["name"] for tool in tools}, choose, ledger)
    if form:
        body["text"] = {"format": form}
    kin.write_fields(body)
    body |= reasoning
    body |= _write_limit(limited(request.max_tokens, target, ledger), ways, ledger)
    body |= _write_sampling(said, ways, ledger)
    body |= write_user(said.get("metadata"), ways.user, ledger)
    body |= write_tier(said.get("service_tier"), ways.tier, ledger)
    if key := cache_key(target):
        body.setdefault("prompt_cache_key", key)  # the client's own stands
    if request.stream or ways.streams:
        body["stream"] = True
    body["input"] = input
    return Written(msgspec.json.encode(body), names.renamed, "include" in body)


def _write_limit(limit: int | None, ways: Ways, ledger: Ledger) -> Wire:
    if limit is None:
        return {}
    if not ways.limit:
        ledger.note("max_tokens", "this host takes no limit")
        return {}
    if limit < LEAST:
        ledger.note("max_tokens", f"raised to {LEAST}, the least there is")
    return {"max_output_tokens": max(limit, LEAST)}  # H133


def _write_sampling(said: Wire, ways: Ways, ledger: Ledger) -> Wire:
    for key in ("top_k", "stop_sequences"):
        if said.get(key):
            ledger.note(key, NO_FIELD)
    fields: Wire = {key: said[key] for key in ("temperature", "top_p") if key in said}
    if fields and not ways.sampling:
        for key in fields:
            ledger.note(key, "this model takes none")
        return {}
    return fields


# ── thinking (H082-H084) ────────────────────────────────────────────────────────────────────────────────────────────


def _write_reasoning(said: Wire, ways: Ways, ledger: Ledger) -> Wire:
    """The fields that say whether and how hard to think, and what is to be told of it."""
    thinking = asked_thinking(said, {"type", "budget_tokens", "display"}, ledger)
    effort, path = asked_effort(said, thinking, ledger)
    if thinking.get("type") == "disabled":
        return _write_unthinking(effort, path, ways, ledger)
    wanted = bool(thinking) or effort is not None
    reasoning: Wire = {}
    if effort is not None and (effort not in EFFORTS or not ways.effort):
        ledger.note(path, "this model takes no effort" if effort in EFFORTS else "not a known effort")
    elif effort is not None:
        reasoning["effort"] = nearest(effort, ways.efforts, path, ledger)
    if thinking and ways.summaries and thinking.get("display") != "omitted":  # H089
        reasoning["summary"] = "auto"
    fields: Wire = {"reasoning": reasoning} if reasoning else {}
    if ways.encrypted == "always" or (ways.encrypted == "asked" and wanted):
        fields["include"] = [_ENCRYPTED]
    return fields


def _write_unthinking(effort: str | None, path: str, ways: Ways, ledger: Ledger) -> Wire:
    if effort is not None:
        ledger.note(path, "thinking is disabled")
    if ways.effort and "none" in ways.efforts:
        return {"reasoning": {"effort": "none"}}
    if ways.effort:
        ledger.note("thinking", "whether the model thinks is left to the host")
    return {"include": [_ENCRYPTED]} if ways.encrypted == "always" else {}
