"""A configuration built in Python: the tables of the file as dicts, read and checked by what reads the file.

What a file can only name may be given as it is: a stage as its class, or as a function that makes one; a token as an
async function. The keys of tables may be written `first_byte_timeout` or as the file has them, `first-byte-timeout`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Required, TypedDict, Unpack

from msgspec.structs import replace

from trioproxy import registry, toml
from trioproxy.config.model import Config, StageSpec
from trioproxy.config.pipelines import Given
from trioproxy.config.sections import read_sections
from trioproxy.config.table import Table
from trioproxy.errors import ConfigError, Problem
from trioproxy.stage import Stage

__all__ = ["configure"]

_NAMES = frozenset({"upstreams", "routes", "stages", "targets"})
"""Sections whose keys are names, each of a table."""
_FREE = frozenset({"models", "clients"})
"""Sections whose keys are names, and their values no tables."""
_FRESH = "each exchange needs a fresh one: give the class, or a function that makes one"


class Tables(TypedDict, total=False):
    """What the file may say. What stands in the tables is known to those who read them."""

    listen: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
    drain: float | str
    hosts: Sequence[str]
    origins: Sequence[str]
    trusted_proxies: Sequence[str]
    allow_anonymous: bool
    upstreams: Required[Mapping[str, Mapping[str, Any]]]
    routes: Mapping[str, str | Mapping[str, Any]]
    models: Mapping[str, Any]
    pipeline: Mapping[str, Sequence[Any]]
    stages: Mapping[str, Mapping[str, Any]]
    clients: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, Any]]
    admin: Mapping[str, Any]
    limits: Mapping[str, Any]
    store: Mapping[str, Any]
    log: Mapping[str, Any]
    tracing: Mapping[str, Any]
    workers: int | str
    reload: str


def configure(**tables: Unpack[Tables]) -> Config:
    """A configuration of the file's tables and keys, each an argument:

        configure(
            listen="127.0.0.1:0",
            upstreams={"claude": {"url": "https://api.anthropic.com", "token": get_token}},
            routes={"/": {"upstream": "claude", "response": ["deframe", "parse", Shout, "translate", "reframe"]}},
        )

    Files that it names are looked for in the current directory. Raises `ConfigError` with all that is wrong.
    """
    document = _Tables({key: _table(key, value) for key, value in _dashed(tables).items()}, {}, {})
    problems: list[Problem] = []
    given = _Stages(document, problems)
    for kind in (type, object):  # classes first: each goes by its own name, under which its options are
        for path, listed in _lists_of_stages(document.tables):
            for at, each in enumerate(listed):
                if isinstance(each, kind):
                    listed[at] = given.name((*path, at), each)
    config = read_sections(Table(document, problems, os.environ, (), document.tables), None, given.by_name)
    if problems:
        raise ConfigError(problems)
    return config


class _Tables(toml.Document):
    """Tables of no file: a problem names the way to what it is about, instead of a line."""

    def placed(self, problem: Problem, path: toml.Path, *, at_key: bool = False) -> Problem:
        if not path:
            return problem
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{toml.key(step)}" for step in path)[1:]
        key = next(step for step in reversed(path) if isinstance(step, str))
        return replace(problem, message=f"{where}: {problem.message.removeprefix(f'{key}: ')}")


def _table(key: str, value: Any) -> Any:
    """The value of a top-level key as the file would have it."""
    value = _plain(value)
    if not isinstance(value, dict):
        return [_dashed(each) if isinstance(each, dict) else each for each in value] if _is_list(value) else value
    if key in _NAMES:
        return {name: _dashed(table) if isinstance(table, dict) else table for name, table in value.items()}
    return value if key in _FREE else _dashed(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _dashed(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in table.items()}


def _plain(value: Any) -> Any:
    """A copy made of what a TOML file is made of, and of what only a program can give."""
    match value:
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case Path():
            return str(value)
    return value


def _lists_of_stages(tables: Mapping[str, Any]) -> Iterator[tuple[toml.Path, list[Any]]]:
    """Every list of stages, and the way to it."""
    routes = tables.get("routes")
    places: list[tuple[toml.Path, Any]] = [(("pipeline",), tables.get("pipeline"))]
    places += [(("routes", prefix), route) for prefix, route in routes.items()] if isinstance(routes, dict) else []
    for path, table in places:
        for direction in ("request", "response"):
            if isinstance(table, dict) and isinstance(listed := table.get(direction), list):
                yield (*path, direction), listed


class _Stages:
    """The stages that a program gives, and the names that stand for them in its tables."""

    def __init__(self, document: _Tables, problems: list[Problem]) -> None:
        self._document, self._problems = document, problems
        settings = document.tables.get("stages")
        self._settings = settings if isinstance(settings, dict) else {}
        self._names: dict[int, str] = {}  # by the identity of what was given, which the tables keep alive
        self.by_name: dict[str, Given] = {}

    def name(self, path: toml.Path, each: Any) -> Any:
        """The name of what stands at `path` in a list: its own if it is one, or else one that stands for it."""
        if not callable(each) and not isinstance(each, Stage):
            return each
        if id(each) not in self._names:
            try:
                cls, make = _read(each)
            except registry.Unusable as exc:
                self._problems.append(self._document.placed(exc.problem, path))
                name, given = self._free(type(each).__name__), None  # more is not to be said of it
            else:
                name = self._free(cls.__name__, optional=make is cls)
                given = cls if make is cls else StageSpec(name, cls, make)
            self._names[id(each)], self.by_name[name] = name, given
        return self._names[id(each)]

    def _free(self, name: str, *, optional: bool = False) -> str:
        """`name`, or with a number behind it if that is taken; options of that name are a class's alone."""
        found, number = name, 1
        while found in self.by_name or (found in self._settings and not optional):
            number += 1
            found = f"{name} {number}"
        return found


def _read(make: Any) -> tuple[registry.StageClass, Callable[[], Stage[Any, Any]]]:
    """The class of the stages that a program gives, and what makes one: that class, or a function.

    A function is called twice, to see what it makes. Raises `Unusable`.
    """
    if isinstance(make, Stage):
        raise registry.Unusable(f"this is one stage of {type(make).__name__}, already made", _FRESH)
    if isinstance(make, type):
        cls = registry.check(make.__name__, make)
        return cls, cls
    what = getattr(make, "__name__", type(make).__name__)
    if inspect.iscoroutinefunction(make):
        raise registry.Unusable(f"{what} must give a stage at once, and is async", _FRESH)
    try:
        first, second = make(), make()
    except Exception as exc:  # a program's own function may raise anything; it is told what and where
        raised = registry.told(exc, getattr(make, "__module__", ""))
        raise registry.Unusable(f"{what} should make a stage, and raised {raised}") from exc
    cls = registry.check(type(first).__name__, type(first))
    if first is second:
        raise registry.Unusable(f"{what} gives the same stage each time", _FRESH)
    return cls, make
