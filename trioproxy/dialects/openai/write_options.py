"""The options of a request that both dialects say alike: how long, in what form, for whom and how urgently."""

import re
from hashlib import sha256
from typing import Any

import msgspec

from trioproxy.dialects.openai.schemas import is_strict
from trioproxy.dialects.openai.told import refusal
from trioproxy.dialects.target import Target
from trioproxy.items import Request
from trioproxy.ledger import Ledger

__all__ = [
    "NO_FIELD", "answer_form", "cache_key", "drop", "limited", "said_by", "write_tier", "write_user",
]  # fmt: skip

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's

NO_FIELD = "OpenAI has no such field"
_USER_LENGTH = 64  # of `safety_identifier` and `user`: OpenAI's API reference
_CACHE_KEY_LENGTH = 64  # "string too long. Expected a string with maximum length 64": theopenco/llmgateway#3110
# Fields that have a place; each of the others in `Request.extra` is noted by its name (H136).
_SAID = {
    "model", "messages", "system", "max_tokens", "stream", "tools",
    "temperature", "top_p", "top_k", "stop_sequences", "tool_choice", "thinking", "output_config", "output_format",
    "metadata", "service_tier",
}  # fmt: skip


def drop(ledger: Ledger, path: str, fields: Wire) -> None:
    """Note that none of `fields`, which stood at `path`, is sent. A null says nothing (H135)."""
    for key, value in fields.items():
        if value is not None:
            ledger.note(f"{path}.{key}", NO_FIELD)


def said_by(request: Request, ledger: Ledger) -> Wire:
    """The options of a request of another dialect; what has no place is noted.

    Raises `ProxyError` (invalid_request) if it cannot be asked of another dialect at all.
    """
    if fatal := next((loss for loss in request.unsaid if loss.fatal), None):
        raise refusal(fatal.reason)
    said = _without_nulls(request.extra)
    plain = _plain_json(request)
    ledger.add(loss for loss in request.unsaid if loss.path != plain)
    if plain:
        config = said.get("output_config", {})
        said["output_config"] = {"format": {"type": "json_object"}} | (config if isinstance(config, dict) else {})
    for key in said:
        if key not in _SAID:
            ledger.note(key, NO_FIELD)
    return said


def _plain_json(request: Request) -> str:
    """Where a client of the other dialect of OpenAI's asks for JSON of any schema, which Anthropic has no word for
    (H140); empty if it does not."""
    asked = request.source.wire if request.source else {}
    for path in ("response_format", "text.format"):
        value: Any = asked
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, dict) and value.get("type") == "json_object":
            return path
    return ""


def _without_nulls(fields: Wire) -> Wire:
    return {key: value for key, value in fields.items() if value is not None}  # H135


def cache_key(target: Target) -> str:
    """What `prompt_cache_key` says of the session (H128), or a digest if that is too long; empty if nothing is said."""
    session = target.session
    return session if len(session) <= _CACHE_KEY_LENGTH else sha256(session.encode()).hexdigest()


def limited(asked: int | None, target: Target, ledger: Ledger) -> int | None:
    """The most tokens to answer with; None if nobody has said any."""
    limit = target.max_tokens if asked is None else asked
    if limit is not None and target.max_tokens is not None and limit > target.max_tokens:  # H134
        ledger.note("max_tokens", f"cut to {target.max_tokens}, the most this model answers with")
        return target.max_tokens
    return limit


def answer_form(said: Wire, schemas: bool, ledger: Ledger, own: Wire) -> tuple[Wire, str]:
    """The form that the answer is held to (H140), as Responses has it, and what the system prompt must say for it.

    `schemas` is whether the host can hold it to a JSON schema; else only to JSON. Empty if the client asked for none.
    `own` is what a client of OpenAI's says of the schema itself (`Kin.form`); elsewhere than there, all are strict.
    """
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
        case {"type": "json_schema", "schema": dict(schema)} if schemas:
            form = {"type": "json_schema", "name": _form_name(schema), "schema": schema, "strict": True} | own
            if form["strict"] and not is_strict(schema):
                ledger.note(path, "OpenAI's strict mode does not take this schema: the answer may stray from it")
                del form["strict"]
            return form, ""
        case {"type": "json_schema", "schema": dict(schema)}:
            ledger.note(path, "this host knows no schemas: the system prompt tells it, and any JSON is taken")
            text = msgspec.json.encode(schema).decode()
            told = f"Answer with one JSON object, and nothing else, that is valid under this JSON schema:\n{text}"
            return {"type": "json_object"}, told
        case {"type": "json_object"}:
            return {"type": "json_object"}, ""
    ledger.note(path, NO_FIELD)
    return {}, ""


def _form_name(schema: Wire) -> str:
    title = schema.get("title")
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", title)[:64] if isinstance(title, str) else ""
    return name if name.strip("_") else "answer"


def write_user(metadata: Any, field: str, ledger: Ledger) -> Wire:
    """Who the user is, for hosts that ask for it in `field`; "" for those that do not.

    Claude Code's id is longer than they take: a digest stands for it.
    """
    if not isinstance(metadata, dict):
        if metadata is not None:
            ledger.note("metadata", NO_FIELD)
        return {}
    user = metadata.get("user_id")
    for key, value in metadata.items():
        if key == "session_id" or value is None:
            continue  # the session is told to us
        if key != "user_id" or not field or not isinstance(user, str):
            ledger.note(f"metadata.{key}", NO_FIELD if key != "user_id" else "not told to this host")
    if not field or not isinstance(user, str) or not user:
        return {}
    if len(user) > _USER_LENGTH:
        ledger.note("metadata.user_id", "too long for this host: its SHA-256 is sent")
        user = sha256(user.encode(errors="surrogatepass")).hexdigest()
    return {field: user}


def write_tier(tier: Any, known: bool, ledger: Ledger) -> Wire:
    """Anthropic's `auto` is everyone's default; its `standard_only` is OpenAI's `default` (H144)."""
    if tier == "standard_only" and known:
        return {"service_tier": "default"}
    if tier is not None and tier != "auto":
        ledger.note("service_tier", NO_FIELD)
    return {}
