"""`[models]`, and a route's own `models`: which name of the client's is which of the upstream's."""

from __future__ import annotations

from trioproxy.config.table import MISSING, Table
from trioproxy.errors import Problem
from trioproxy.models import Models

__all__ = ["read_models"]


def read_models(table: Table) -> Models:
    """The aliases of `table`, in their order; of wrong ones the problems are noted."""
    aliases: dict[str, str] = {}
    for alias in table.raw:
        name = table.get(alias, str, MISSING)
        _check(table, alias, alias, at_key=True)
        if name is not MISSING:
            _check(table, alias, name, at_key=False)
            if "*" in name and "*" not in alias:
                hint = f'"{alias}*" = "{name}", or a name without a *'
                table.problem((alias,), Problem(f"{name!r} repeats a * that {alias!r} does not have", hint))
            aliases[alias] = name
    return Models(aliases)


def _check(table: Table, alias: str, name: str, *, at_key: bool) -> None:
    if not name.strip():
        hint = '"gpt-4o" = "claude-sonnet-4-6"; for any model: "*" = "claude-sonnet-4-6"'
        table.problem((alias,), Problem("the name of a model is empty", hint), at_key=at_key)
    elif name.count("*") > 1:
        hint = "one * stands for one or more characters"
        table.problem((alias,), Problem(f"{name!r} has more than one *", hint), at_key=at_key)
