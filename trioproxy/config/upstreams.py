"""The `[upstreams]` section: where requests go."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
from msgspec.structs import replace

from trioproxy import registry
from trioproxy.config.model import Replay, Secret, Upstream
from trioproxy.config.reach import REACHED, read_reach
from trioproxy.config.sources import read_token
from trioproxy.config.table import MISSING, Table
from trioproxy.config.tolerance import read_tolerance
from trioproxy.config.urls import read_url
from trioproxy.dialects import DIALECTS
from trioproxy.dialects.target import Target
from trioproxy.errors import Problem
from trioproxy.http.client import Timeouts
from trioproxy.http.reach import Reach
from trioproxy.units import Seconds, Size

__all__ = ["SMALLEST", "TARGET", "TIMEOUTS", "read_upstream", "read_upstreams"]

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
_FIELD = re.compile(r"[A-Za-z0-9_-]+")
_REPLAYED = ("pace", "chunk")
# What the proxy itself says about the connection and the body.
_FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"})


def read_upstreams(section: Table, directory: Path, *, needed: bool = True) -> dict[str, Upstream | None]:
    """Every upstream by its name; None for one whose problems are noted. `directory` is where the TOML file is.

    It is a problem if there is none, where one is `needed`.
    """
    upstreams: dict[str, Upstream | None] = {}
    for name, table in section.tables():
        if not name.isprintable() or not name.strip():
            section.problem((name,), Problem(f"{name!r} cannot name an upstream"), at_key=True)
        upstreams[name] = None if table.broken else read_upstream(name, table, directory)
    if needed and not upstreams and not section.broken:
        hint = f"for instance:\n{SMALLEST}"
        section.problem((), Problem("the file names no upstream: where should requests go?", hint))
    return upstreams


def read_upstream(name: str, table: Table, directory: Path, *, dialect: str | None = None) -> Upstream | None:
    """The upstream that a table describes; None if its problems are noted. `dialect` stands where it has no such key.

    What is left in the table that nobody asked for is a problem too.
    """
    url = table.get("url", str, None)
    spoken: str = table.get("dialect", str, "anthropic") if dialect is None else dialect
    if spoken not in DIALECTS:
        hint = registry.did_you_mean(spoken, DIALECTS) or f"known: {', '.join(DIALECTS)}"
        table.problem(("dialect",), Problem(f"there is no dialect '{spoken}'", hint))
    target = _target(table, spoken)
    model = table.get("model", str, None)
    if model is not None and (not model.strip() or not model.isprintable() or "*" in model):
        hint = 'model = "qwen3-coder"; for more than one name there is [models]'
        table.problem(("model",), Problem(f"model: Expected the name of one model, got {model!r}", hint))
    headers = _headers(table.table("headers"))
    usual = Timeouts()
    timeouts = Timeouts(**{field: table.get_positive(key, getattr(usual, field)) for key, field in TIMEOUTS.items()})
    token = read_token(table, directory)
    place = replay = None
    if url is None:
        if "url" not in table.raw:
            table.problem((), Problem(f"[{table.name}] needs a url", _EXAMPLE), at_key=True)
    elif url.startswith("replay:"):
        replay = _replay(table, url, directory)
        _misplaced(table, REACHED, "not for replay: upstreams, to which nothing connects")
    else:
        place = read_url(table, url)
        _misplaced(table, _REPLAYED, "only for replay: upstreams")
    reach = Reach() if replay else read_reach(table, place and place.origin, directory)
    table.known(*_REPLAYED, *REACHED)
    upstream = Upstream(
        name,
        spoken,
        None if place is None else place.origin,
        "" if place is None else place.path,
        replay,
        token,
        headers,
        timeouts,
        replace(target, host="" if place is None else place.origin.host),
        model,
        query=Secret() if place is None else place.query,
        removed=_removed(table, headers),
        reach=reach,
        tolerance=read_tolerance(table),
    )
    table.done()
    return upstream if place or replay else None


def _misplaced(table: Table, keys: Iterable[str], why: str) -> None:
    for key in keys:
        if key in table.raw:
            table.problem((key,), Problem(f"{key}: {why}"), at_key=True)


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


def _removed(table: Table, headers: Iterable[tuple[str, Secret]]) -> tuple[str, ...]:
    names: list[Any] = table.array("remove-headers", _Field, [])
    set_here = {name for name, _ in headers}
    for index, name in enumerate(names):
        if name in set_here:
            problem = Problem(f"remove-headers: {str(name)!r} is set in headers, which already stands for the client's")
            table.problem(("remove-headers", index), problem)
    return tuple(str(name) for name in names if name is not MISSING)


class _Field(str):
    """A header field that can be taken out, in lower case."""

    @classmethod
    def read(cls, value: object) -> _Field:
        if isinstance(value, str) and _FIELD.fullmatch(value) and value.lower() not in _FRAMING:
            return cls(value.lower())
        raise ValueError(f"Expected the name of a header field that does not frame the message, got {value!r}")


def _replay(table: Table, url: str, directory: Path) -> Replay | None:
    where = url.removeprefix("replay:")
    pace, chunk = table.get("pace", Seconds, Seconds(0)), table.get("chunk", Size, None)
    for file in (directory / where, _PACKAGE / where):
        if file.is_file():
            return Replay(url, file, pace, chunk)
    problem = Problem(f"there is no recording '{where}'", "looked for beside the TOML file, then in the package")
    table.problem(("url",), problem)
    return None
