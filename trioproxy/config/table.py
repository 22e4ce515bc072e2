"""A table of the TOML file, taken apart key by key; every problem is noted with its place, and reading goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from trioproxy import registry, toml
from trioproxy.errors import Position, Problem
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

    def problem(self, below: toml.Path, problem: Problem, *, at_key: bool = False) -> None:
        """Note a problem of this table, or of the key or value `below` it."""
        path = self._path + below
        at = self._document.key(path) if at_key else self._document.value(path)
        if (variable := self._variable(self.raw.get(str(below[0])) if below else None)) in self._environ:
            problem = replace(problem, hint=f"{problem.hint}\nthe value is that of ${variable}".strip())
        # What is missing altogether has no place of its own: it is shown at the file's first character.
        self._problems.append(replace(problem, at=at or Position(1, 1)))

    def get(self, key: str, kind: Any, default: T) -> Any | T:
        """The value of `key` as a `kind`; `default` if it is missing or wrong (and then noted)."""
        self._asked.add(key)
        if key not in self.raw:
            return default
        value, strict = self.resolve(key)
        if value is MISSING:
            return default
        try:
            return registry.convert(value, kind, strict=strict)
        except registry.Misfit as exc:
            self.problem((key, *exc.below), Problem(f"{key}: {exc}", exc.hint))
            return default

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
        """The value of `key`, read from the environment if it says `{ env = "NAME", default = "…" }`; `MISSING` if it
        is not there. And whether its type must be exact: text of the environment may spell a number.
        """
        value = self.raw[key]
        if not isinstance(value, dict) or "env" not in value:
            return value, True
        stray = [other for other in value if other not in ("env", "default")]
        for other in stray:
            hint = registry.did_you_mean(other, ["default"]) or 'known here: { env = "NAME", default = "…" }'
            self.problem((key, other), Problem(f"{key} = {{ env = … }} has no key '{other}'", hint), at_key=True)
        variable = self._variable(value)
        if not variable:
            self.problem((key, "env"), Problem(f"{key}: env: Expected the name of a variable"))
        elif variable in self._environ:
            return self._environ[variable], False
        elif "default" in value:
            return value["default"], not isinstance(value["default"], str)
        elif not stray:
            hint = 'set it, or give a default: { env = "NAME", default = "…" }'
            self.problem((key,), Problem(f"{key}: the environment variable {variable} is not set", hint))
        return MISSING, True

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

    def _variable(self, value: Any) -> str:
        """The environment variable that `value` names, if it names one."""
        name = value.get("env") if isinstance(value, dict) else None
        return name if isinstance(name, str) else ""
