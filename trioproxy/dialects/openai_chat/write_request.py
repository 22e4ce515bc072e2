"""A request in Anthropic's vocabulary as the body of `POST /v1/chat/completions`.

What rarely changes comes first and the messages last, so that requests of one conversation begin alike (H123).
"""

import re
from hashlib import sha256
from typing import Any

import msgspec

from trioproxy.dialects.names import Names
from trioproxy.dialects.openai_chat.hosts import EFFORTS, Ways, ways_of
from trioproxy.dialects.openai_chat.told import refusal
from trioproxy.dialects.openai_chat.write_content import NO_FIELD
from trioproxy.dialects.openai_chat.write_messages import write_messages
from trioproxy.dialects.openai_chat.write_tools import is_strict, offered_tools, write_tool, write_tool_choice
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Request, ToolUse
from trioproxy.ledger import Ledger

__all__ = ["cache_key", "write_request"]

Wire = dict[str, Any]  # a JSON object of the body; `Any` because what is inside came from the client

_NAME_LENGTH = 64  # of a tool: `^[a-zA-Z0-9_-]{1,64}$` at OpenAI and whoever is compatible (H063)
_USER_LENGTH = 64  # of `safety_identifier` and `user`: OpenAI's API reference
_CACHE_KEY_LENGTH = 64  # "string too long. Expected a string with maximum length 64": theopenco/llmgateway#3110
# Fields that have a place here; each of the others in `Request.extra` is noted by its name (H136).
_SAID = {
    "model", "messages", "system", "max_tokens", "stream", "tools",
    "temperature", "top_p", "top_k", "stop_sequences", "tool_choice", "thinking", "output_config", "output_format",
    "metadata", "service_tier",
}  # fmt: skip


def cache_key(target: Target) -> str:
    """What `prompt_cache_key` says of the session (H128), or a digest if that is too long; empty if nothing is said."""
    session = target.session
    return session if len(session) <= _CACHE_KEY_LENGTH else sha256(session.encode()).hexdigest()


def write_request(request: Request, target: Target, ledger: Ledger) -> Written:
    """The body for `target` of a request that was read from another dialect.

    Raises `ProxyError` (invalid_request) for what can neither be said nor left out.
    """
    try:
        return _write(request, target, ledger)
    except RecursionError as exc:
        raise refusal("the request is nested too deeply") from exc


def _write(request: Request, target: Target, ledger: Ledger) -> Written:
    ways, said = ways_of(target, request.model), _without_nulls(request.extra)
    ledger.add(request.unsaid)
    for key in said:
        if key not in _SAID:
            ledger.note(key, NO_FIELD)
    offered = offered_tools(request, ledger)
    names = Names([*(tool["name"] for tool in offered), *_called(request)], _NAME_LENGTH)
    answer, postscript = _write_format(said, ways, ledger)

    body: Wire = {"model": request.model}
    if offered:
        body["tools"] = [write_tool(tool, ways, names, ledger) for tool in offered]
    choice = said.get("tool_choice")
    body |= write_tool_choice(choice, {tool["name"] for tool in offered}, ways, names, ledger)
    body |= answer
    body |= _write_limit(request.max_tokens, target, ways, ledger)
    body |= _write_sampling(said, ways, ledger)
    body |= _write_thinking(said, ways, bool(offered), ledger)
    body |= _write_user(said.get("metadata"), ways, ledger)
    body |= _write_tier(said.get("service_tier"), ways, ledger)
    if key := cache_key(target):
        body["prompt_cache_key"] = key
    if request.stream:
        body["stream"] = True
        if ways.usage:
            body["stream_options"] = {"include_usage": True}
    body["messages"] = write_messages(request, ways, names, ledger, postscript)
    return Written(msgspec.json.encode(body), names.renamed)


def _called(request: Request) -> list[str]:
    """The tools of earlier calls, which keep their names though they may be gone."""
    blocks = (block for message in request.messages if isinstance(message.content, tuple) for block in message.content)
    return [block.name for block in blocks if isinstance(block, ToolUse)]


def _without_nulls(fields: Wire) -> Wire:
    return {key: value for key, value in fields.items() if value is not None}  # H135


def _write_limit(asked: int | None, target: Target, ways: Ways, ledger: Ledger) -> Wire:
    limit = target.max_tokens if asked is None else asked
    if limit is None:
        return {}
    if target.max_tokens is not None and limit > target.max_tokens:  # H134
        ledger.note("max_tokens", f"cut to {target.max_tokens}, the most this model answers with")
        limit = target.max_tokens
    return {ways.limit: limit}  # H133


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


# ── thinking (H082-H084, H088) ──────────────────────────────────────────────────────────────────────────────────────

_BUDGETS = ((4096, "low"), (16384, "medium"))  # thinking up to so many tokens is that much effort; above: high


def _write_thinking(said: Wire, ways: Ways, tools: bool, ledger: Ledger) -> Wire:
    """The fields that say whether and how hard to think."""
    thinking, config = said.get("thinking"), said.get("output_config")
    if not isinstance(thinking, dict):
        if thinking is not None:
            ledger.note("thinking", NO_FIELD)
        thinking = {}
    for key, value in thinking.items():
        if key not in {"type", "budget_tokens"} and value is not None:
            ledger.note(f"thinking.{key}", NO_FIELD)
    effort, path = _asked_effort(thinking, config if isinstance(config, dict) else {}, ledger)
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
    sent = _nearest(effort, ways.efforts)
    if sent != effort:
        ledger.note(path, f"this model takes {', '.join(ways.efforts)}: {sent} is sent")
    return {"reasoning": {"effort": sent}} if ways.effort == "reasoning" else {"reasoning_effort": sent}


def _asked_effort(thinking: Wire, config: Wire, ledger: Ledger) -> tuple[str | None, str]:
    """How hard the client wants the model to think, and where it said so."""
    budget = thinking.get("budget_tokens")
    effort = config.get("effort")
    if effort is not None:
        if budget is not None:
            ledger.note("thinking.budget_tokens", "the effort is sent instead")
        return str(effort), "output_config.effort"
    if thinking.get("type") != "enabled" or not isinstance(budget, int):
        return None, "thinking"
    level = next((level for most, level in _BUDGETS if budget <= most), "high")
    ledger.note("thinking.budget_tokens", "there are no budgets, only an effort")
    return level, "thinking.budget_tokens"


def _nearest(effort: str, taken: tuple[str, ...]) -> str:
    """The value of `taken` that is nearest to `effort`, of two the greater; no thinking only for no thinking."""
    if effort in taken:
        return effort
    rank = EFFORTS.index(effort)
    thinking = [each for each in taken if each != "none"]
    return min(thinking, key=lambda each: (abs(EFFORTS.index(each) - rank), -EFFORTS.index(each)))


# ── the answer's form, who asks, and how urgently ───────────────────────────────────────────────────────────────────


def _write_format(said: Wire, ways: Ways, ledger: Ledger) -> tuple[Wire, str]:
    """The fields that hold the answer to a JSON schema, and what the system prompt must say for it (H140)."""
    config = said.get("output_config")
    if config is not None and not isinstance(config, dict):
        ledger.note("output_config", NO_FIELD)
    config = _without_nulls(config) if isinstance(config, dict) else {}
    for key in config:
        if key not in {"effort", "format"}:
            ledger.note(f"output_config.{key}", NO_FIELD)
    path = "output_config.format" if "format" in config else "output_format"
    match config.get("format", said.get("output_format")):
        case None:
            return {}, ""
        case {"type": "json_schema", "schema": dict(schema)} if ways.schemas:
            form: Wire = {"name": _form_name(schema), "schema": schema}
            if is_strict(schema):
                form["strict"] = True
            else:
                ledger.note(path, "OpenAI's strict mode does not take this schema: the answer may stray from it")
            return {"response_format": {"type": "json_schema", "json_schema": form}}, ""
        case {"type": "json_schema", "schema": dict(schema)}:
            ledger.note(path, "this host knows no schemas: the system prompt tells it, and any JSON is taken")
            text = msgspec.json.encode(schema).decode()
            told = f"Answer with one JSON object, and nothing else, that is valid under this JSON schema:\n{text}"
            return {"response_format": {"type": "json_object"}}, told
        case _:
            ledger.note(path, NO_FIELD)
            return {}, ""


def _form_name(schema: Wire) -> str:
    title = schema.get("title")
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", title)[:64] if isinstance(title, str) else ""
    return name if name.strip("_") else "answer"


def _write_user(metadata: Any, ways: Ways, ledger: Ledger) -> Wire:
    """Who the user is, for hosts that ask for it. Claude Code's id is longer than they take: a digest stands for it."""
    if not isinstance(metadata, dict):
        if metadata is not None:
            ledger.note("metadata", NO_FIELD)
        return {}
    user = metadata.get("user_id")
    for key, value in metadata.items():
        if key == "session_id" or value is None:
            continue  # the session is told to us
        if key != "user_id" or not ways.user or not isinstance(user, str):
            ledger.note(f"metadata.{key}", NO_FIELD if key != "user_id" else "not told to this host")
    if not ways.user or not isinstance(user, str) or not user:
        return {}
    if len(user) > _USER_LENGTH:
        ledger.note("metadata.user_id", "too long for this host: its SHA-256 is sent")
        user = sha256(user.encode(errors="surrogatepass")).hexdigest()
    return {ways.user: user}


def _write_tier(tier: Any, ways: Ways, ledger: Ledger) -> Wire:
    """Anthropic's `auto` is everyone's default; its `standard_only` is OpenAI's `default` (H144)."""
    if tier == "standard_only" and ways.tier:
        return {"service_tier": "default"}
    if tier is not None and tier != "auto":
        ledger.note("service_tier", NO_FIELD)
    return {}
