"""The `[store]` section: where what stages remember is kept, how much of it, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import msgspec

from trioproxy import registry
from trioproxy.config.model import Secret
from trioproxy.config.table import Table
from trioproxy.errors import Problem
from trioproxy.store import KEY_LENGTH, Settings, StoreError
from trioproxy.units import Seconds, show_seconds, show_size

__all__ = ["lacking", "read_store"]

_NOWHERE = {"memory": "memory:", "off": "off"}  # either may be written with or without a colon
_SERVERS = ("valkey", "redis", "valkeys", "rediss", "unix")
_EXAMPLES = '"memory:", "sqlite:thinking.db", "valkey://127.0.0.1:6379" or "off"'
_SMALLEST, _LONGEST = 1024 * 1024, 10 * 365 * 24 * 3600.0  # bytes of an SQLite file; seconds
_POSITIVE = Annotated[int, msgspec.Meta(ge=1)]


def read_store(table: Table) -> Settings:
    """The settings; of wrong ones the problems are noted."""
    values: dict[str, Any] = {"url": _url(table), "key": _key(table)}
    for field in msgspec.structs.fields(Settings):
        key = field.name.replace("_", "-")
        if field.type is Seconds:
            values[field.name] = table.get_positive(key, field.default)
        elif field.name not in values:
            values[field.name] = table.get(key, _POSITIVE if field.type is int else field.type, field.default)
    if values["file_size"] < _SMALLEST:
        got = show_size(values["file_size"])
        table.problem(("file-size",), Problem(f"file-size: Expected at least {show_size(_SMALLEST)}, got {got}"))
    if values["expires"] > _LONGEST:
        table.problem(("expires",), Problem(f"expires: Expected at most {show_seconds(_LONGEST)}, which are ten years"))
    table.done()
    return Settings(**values)


def lacking(settings: Settings, directory: Path) -> Iterator[str]:
    """What is missing for the store to be opened here, where that can be seen: sentences for the operator."""
    scheme, _, rest = settings.url.partition(":")
    folder = (directory / rest.removeprefix("//")).parent
    if scheme == "sqlite" and not folder.is_dir():
        yield f"the store cannot be opened here: there is no directory {folder}"


class _Place(Secret):
    """Where the store is. It may hold a password, so it is never quoted."""

    @classmethod
    def read(cls, value: object) -> _Place:
        if isinstance(value, str) and value.strip() and value.isprintable():
            return cls(value.strip())
        raise ValueError(f"Expected a text such as {_EXAMPLES}")


def _url(table: Table) -> str:
    usual = Settings().url
    url = table.get("url", _Place, _Place(usual))
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    where = _Place(f"{scheme}{colon}{rest}")
    if not rest and scheme in _NOWHERE:
        return _NOWHERE[scheme]
    if scheme not in (*_NOWHERE, "sqlite", *_SERVERS):
        hint = registry.did_you_mean(scheme, (*_NOWHERE, "sqlite", *_SERVERS)) or f"for instance {_EXAMPLES}"
        table.problem(("url",), Problem("url: is no store that is known here", hint))
    elif scheme in _SERVERS:
        from trioproxy.store.valkey import read_url  # noqa: PLC0415  # who does not use it starts faster

        try:
            read_url(where)
        except StoreError as exc:
            table.problem(("url",), Problem(f"url: {exc}"))
    elif scheme in _NOWHERE or not rest.strip("/ ") or rest.endswith(("/", ".toml")):
        table.problem(("url",), Problem("url: does not say which file", f"for instance {_EXAMPLES}"))
    return where


def _key(table: Table) -> str | None:
    key: Secret | None = table.get("key", Secret, None)
    if key is None:
        return None
    if len(key) < KEY_LENGTH:
        hint = "openssl rand -base64 32 makes one"
        message = f"key: Expected at least {KEY_LENGTH} characters, got {len(key)}"
        table.problem(("key",), Problem(message, hint))
    elif find_spec("cryptography") is None:
        message = "key: needs the package cryptography, which is not installed"
        table.problem(("key",), Problem(message, "in a checkout: pip install '.[encryption]'"))
    return key
