"""A table of the TOML file, taken apart key by key; every problem is noted with its place, and reading goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from trioproxy import registry, toml
from trioproxy.errors import Problem
from trioproxy.units import Seconds

__all__ = ["MISSING", "Table"]

T = TypeVar("T")

MISSING: Any = object()
"""No value: a problem is noted."""


class Table:
    """A table of the file. What nobody asked for is a problem when it is `done`."""

    def __init__(
        self, document: toml.Document, problems: list[Problem], environ: Mapping[str, str], path: toml.Path, raw: Any
    ) -> None:
        self._document, self._problems, self._environ, self._path = document, problems, environ, path
        self.raw: dict[str, Any] = raw if isinstance(raw, dict) else {}
        self.broken = not isinstance(raw, dict)
        self._asked: set[str] = set()
        if self.broken:
            got = "array" if isinstance(raw, list) else type(raw).__name__
            self.problem((), Problem(f"{self.name}: Expected a table, got `{got}`"))

    @property
    def name(self) -> str:
        return ".".join(str(part) for part in self._path)

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment, of which nothing is read but what the file asks for."""
        return self._environ

    def problem(self, below: toml.Path, problem: Problem, *, at_key: bool = False) -> None:
        """Note a problem of this table, or of the key or value `below` it."""
        if (variable := self._source(below)) in self._environ:
            problem = replace(problem, hint=f"{problem.hint}\nthe value is that of ${variable}".strip())
        self._problems.append(self._document.placed(problem, self._path + below, at_key=at_key))

    def get(self, key: str, kind: Any, default: T) -> Any | T:
        """The value of `key` as a `kind`; `default` if it is missing or wrong (and then noted)."""
        self._asked.add(key)
        return self._convert((key,), self.raw[key], kind, default) if key in self.raw else default

    def array(self, key: str, kind: Any, default: list[Any]) -> list[Any]:
        """The array `key`, each element as a `kind`, or `MISSING` if it is wrong; `default` if there is no array."""
        raw = self.raw.get(key)
        if not isinstance(raw, list):
            return self.get(key, list[kind], default)
        self._asked.add(key)
        return [self._convert((key, index), element, kind, MISSING) for index, element in enumerate(raw)]

    def one(self, key: str, index: int, kind: Any) -> Any:
        """The element `index` of the array `key` as a `kind`; `MISSING` if it is wrong (and noted)."""
        self._asked.add(key)
        return self._convert((key, index), self.raw[key][index], kind, MISSING)

    def element(self, key: str, index: int) -> Table:
        """The table `index` of the array `key`."""
        self._asked.add(key)
        return Table(self._document, self._problems, self._environ, (*self._path, key, index), self.raw[key][index])

    def get_positive(self, key: str, default: Seconds) -> Seconds:
        """The time `key`, where none at all would mean that nothing works."""
        seconds: Seconds = self.get(key, Seconds, default)
        if not seconds:
            self.problem((key,), Problem(f"{key}: Expected a time of more than 0, got {self.resolve(key)[0]!r}"))
        return seconds

    def table(self, key: str) -> Table:
        """The table `key`; an empty one if it is missing."""
        self._asked.add(key)
        return Table(self._document, self._problems, self._environ, (*self._path, key), self.raw.get(key, {}))

    def tables(self) -> list[tuple[str, Table]]:
        """Every key of this table, as a table."""
        return [(key, self.table(key)) for key in self.raw]

    def resolve(self, key: str) -> tuple[Any, bool]:
        """The value of `key`, or each element of it, read from the environment if it says `{ env = "NAME", default =
        "…" }`; `MISSING` if it is not there. And whether its type must be exact: text of the environment may spell a
        number.
        """
        return self._resolve((key,), self.raw[key])

    def is_table(self, key: str) -> bool:
        """Whether the value of `key` is a table, and not one that stands for a value of the environment."""
        return isinstance(self.raw[key], dict) and "env" not in self.raw[key]

    def known(self, *keys: str) -> None:
        """These keys are fine, whether or not anything is read from them."""
        self._asked.update(keys)

    def done(self) -> None:
        """Everything was asked for: what is left over is not known."""
        for key in self.raw:
            if key not in self._asked:
                where = f"[{self.name}]" if self._path else "the file"
                known = sorted(self._asked)
                hint = registry.did_you_mean(key, known) or f"known here: {', '.join(known)}"
                self.problem((key,), Problem(f"{where} has no key '{key}'", hint), at_key=True)

    def _convert(self, below: toml.Path, raw: Any, kind: Any, default: Any) -> Any:
        """What stands `below` as a `kind`; `default` if it is wrong (and noted)."""
        value, strict = self._resolve(below, raw)
        if value is MISSING:
            return default
        try:
            return registry.convert(value, kind, strict=strict)
        except registry.Misfit as exc:
            self.problem((*below, *exc.below), Problem(f"{below[0]}: {exc}", exc.hint))
            return default

    def _resolve(self, below: toml.Path, value: Any) -> tuple[Any, bool]:
        if isinstance(value, list):
            resolved = [self._resolve((*below, index), element) for index, element in enumerate(value)]
            missing = any(element is MISSING for element, _ in resolved)
            return MISSING if missing else [element for element, _ in resolved], all(strict for _, strict in resolved)
        if not isinstance(value, dict) or "env" not in value:
            return value, True
        key = below[0]
        stray = [other for other in value if other not in ("env", "default")]
        for other in stray:
            hint = registry.did_you_mean(other, ["default"]) or 'known here: { env = "NAME", default = "…" }'
            self.problem((*below, other), Problem(f"{key} = {{ env = … }} has no key '{other}'", hint), at_key=True)
        variable = _variable(value)
        if not variable:
            self.problem((*below, "env"), Problem(f"{key}: env: Expected the name of a variable"))
        elif self._environ.get(variable) or (variable in self._environ and "default" not in value):
            return self._environ[variable], False  # an empty one is as good as none, as in a shell's ${NAME:-…}
        elif "default" in value:
            return value["default"], not isinstance(value["default"], str)
        elif not stray:
            hint = 'set it, or give a default: { env = "NAME", default = "…" }'
            self.problem(below, Problem(f"{key}: the environment variable {variable} is not set", hint))
        return MISSING, True

    def _source(self, below: toml.Path) -> str:
        """The environment variable that the value at `below`, or what it stands in, comes from, if it does."""
        value: Any = self.raw
        for step in below:
            value = value.get(step) if isinstance(value, dict) else None if value is None else value[step]
            if not isinstance(value, dict | list):
                break
            if variable := _variable(value):
                return variable
        return ""


def _variable(value: Any) -> str:
    """The environment variable that `value` names, if it names one."""
    name = value.get("env") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""
