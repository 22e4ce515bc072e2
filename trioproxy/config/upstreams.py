"""The `[upstreams]` section: where requests go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from trioproxy import registry
from trioproxy.config.model import Replay, Secret, Upstream
from trioproxy.config.table import Table
from trioproxy.dialects import DIALECTS
from trioproxy.dialects.target import Target
from trioproxy.errors import Problem
from trioproxy.http.client import Origin, Timeouts
from trioproxy.units import Seconds, Size

__all__ = ["SMALLEST", "TARGET", "TIMEOUTS", "read_upstreams"]

TIMEOUTS = {"connect-timeout": "connect", "first-byte-timeout": "first_byte", "idle-timeout": "between_bytes"}
"""What the file calls the fields of `Timeouts`."""
TARGET = {field.name.replace("_", "-"): field.name for field in msgspec.structs.fields(Target) if field.default is None}
"""What the file calls the fields of `Target` that it can say."""

# Each field's type without None, which is what no key means.
_KINDS: dict[str, Any] = {
    field.name: get_args(field.type)[0] for field in msgspec.structs.fields(Target) if field.name in TARGET.values()
}
_KINDS["max_tokens"] = Annotated[int, msgspec.Meta(ge=1)]
# What not every dialect has.
_OPENAI = ("openai-chat", "openai-responses")
_SPOKEN_IN = {"version": ("anthropic",), "reasoning": _OPENAI, "effort": _OPENAI, "cache-key": _OPENAI}

_PACKAGE = Path(__file__).parent.parent
_EXAMPLE = 'url = "http://127.0.0.1:3456"'
SMALLEST = f'[upstreams.mine]\n{_EXAMPLE}\ndialect = "anthropic"'
"""A file that is enough."""
_EXPECTED = 'Expected a URL such as "http://127.0.0.1:3456" or "replay:recordings/hello.sse"'
_FIELD = re.compile(r"[A-Za-z0-9_-]+")
_REPLAYED = frozenset({"pace", "chunk"})
_ASKED = sorted((path for dialect in DIALECTS.values() for path in dialect.paths), key=len, reverse=True)
# What the proxy itself says about the connection and the body.
_FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"})


def read_upstreams(section: Table, directory: Path) -> dict[str, Upstream | None]:
    """Every upstream by its name; None for one whose problems are noted. `directory` is where the TOML file is."""
    upstreams: dict[str, Upstream | None] = {}
    for name, table in section.tables():
        if not name.isprintable() or not name.strip():
            section.problem((name,), Problem(f"{name!r} cannot name an upstream"), at_key=True)
        upstreams[name] = None if table.broken else _upstream(name, table, directory)
    if not upstreams and not section.broken:
        hint = f"for instance:\n{SMALLEST}"
        section.problem((), Problem("the file names no upstream: where should requests go?", hint))
    return upstreams


def _upstream(name: str, table: Table, directory: Path) -> Upstream | None:
    url = table.get("url", str, None)
    dialect = table.get("dialect", str, "anthropic")
    if dialect not in DIALECTS:
        hint = registry.did_you_mean(dialect, DIALECTS) or f"known: {', '.join(DIALECTS)}"
        table.problem(("dialect",), Problem(f"there is no dialect '{dialect}'", hint))
    target = _target(table, dialect)
    model = table.get("model", str, None)
    if model is not None and (not model.strip() or "*" in model):
        hint = 'model = "qwen3-coder"; for more than one name there is [models]'
        table.problem(("model",), Problem(f"model: Expected the name of one model, got {model!r}", hint))
    headers = _headers(table.table("headers"))
    usual = Timeouts()
    timeouts = Timeouts(**{field: table.get_positive(key, getattr(usual, field)) for key, field in TIMEOUTS.items()})
    token = table.get("token", Secret, None)
    origin, path, replay = None, "", None
    if url is None:
        if "url" not in table.raw:
            table.problem((), Problem(f"[upstreams.{name}] needs a url", _EXAMPLE), at_key=True)
    elif url.startswith("replay:"):
        replay = _replay(table, url, directory)
    else:
        origin, path = _origin(table, url)
        for key in _REPLAYED & table.raw.keys():
            table.problem((key,), Problem(f"{key}: only for replay: upstreams"), at_key=True)
    table.known(*_REPLAYED)
    table.done()
    if not origin and not replay:
        return None
    target = replace(target, host=origin.host if origin else "")
    return Upstream(name, dialect, origin, path, replay, token, headers, timeouts, target, model)


def _target(table: Table, dialect: str) -> Target:
    for key, owners in _SPOKEN_IN.items():
        if key in table.raw and dialect in DIALECTS and dialect not in owners:
            speaks = " or ".join(f'"{owner}"' for owner in owners)
            hint = f"take it out, or say what the upstream speaks: dialect = {speaks}"
            problem = Problem(f"{key}: an upstream that speaks '{dialect}' has no such key", hint)
            table.problem((key,), problem, at_key=True)
    ways: dict[str, Any] = {field: table.get(key, _KINDS[field], None) for key, field in TARGET.items()}
    return Target(**ways)


def _headers(table: Table) -> tuple[tuple[str, Secret], ...]:
    fields: list[tuple[str, Secret]] = []
    for name in table.raw:
        if not _FIELD.fullmatch(name) or name.lower() in _FRAMING:
            table.problem((name,), Problem(f"headers: {name!r} is not a header field that can be set"), at_key=True)
        value = table.get(name, Secret, None)
        if value is not None:
            fields.append((name.lower(), value))
    return tuple(fields)


def _replay(table: Table, url: str, directory: Path) -> Replay | None:
    where = url.removeprefix("replay:")
    pace, chunk = table.get("pace", Seconds, Seconds(0)), table.get("chunk", Size, None)
    for file in (directory / where, _PACKAGE / where):
        if file.is_file():
            return Replay(url, file, pace, chunk)
    problem = Problem(f"there is no recording '{where}'", "looked for beside the TOML file, then in the package")
    table.problem(("url",), problem)
    return None


def _origin(table: Table, url: str) -> tuple[Origin | None, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        table.problem(("url",), Problem(f"url: {exc}", _EXPECTED))
        return None, ""
    problem = None
    # Whether before or after a scheme, an @ may follow a password: then the URL is not quoted.
    if parts.username is not None or parts.password is not None or ("@" in url and not parts.netloc):
        problem = Problem("url: must not hold credentials", 'token = { env = "NAME" }')
    elif parts.scheme not in ("http", "https") or not parts.hostname:
        problem = Problem(f"url: {_EXPECTED}, got {url!r}", _scheme_missing(url))
    elif parts.query or parts.fragment:
        problem = Problem("url: must have no query and no fragment; requests bring their own")
    elif not url.isascii() or not url.isprintable() or " " in url:
        problem = Problem("url: has characters that must be percent-encoded")
    elif port == 0:
        problem = Problem("url: there is no port 0 to connect to")
    elif asked := next((path for path in _ASKED if parts.path.rstrip("/").endswith(path)), None):
        base = url.rstrip("/").removesuffix(asked)
        problem = Problem(
            f"url: is the endpoint itself, and clients' requests name it: {asked}", f"did you mean '{base}'?"
        )
    if problem or not parts.hostname:
        table.problem(("url",), problem or Problem(_EXPECTED))
        return None, ""
    return Origin(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme]), parts.path.rstrip(
        "/"
    )


def _scheme_missing(url: str) -> str:
    """The hint for `localhost:8080` and the like."""
    return f"did you mean 'http://{url}'?" if re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", url, re.ASCII) else ""
