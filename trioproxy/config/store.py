"""The `[store]` section: where what stages remember is kept, how much of it, and for how long."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from trioproxy import registry
from trioproxy.config.model import Secret
from trioproxy.config.table import Table
from trioproxy.errors import Problem
from trioproxy.store import KEY_LENGTH, Settings
from trioproxy.units import Seconds

__all__ = ["read_store"]

_SERVERS = ("valkey", "redis", "valkeys", "rediss", "unix")
_SCHEMES = ("memory", "sqlite", "off", *_SERVERS)
_EXAMPLES = 'url = "memory:", "sqlite:thinking.db", "valkey://127.0.0.1:6379", or "off"'
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
    table.done()
    return Settings(**values)


def _url(table: Table) -> str:
    """Where the store is. It may hold a password, so it is never quoted."""
    url = table.get("url", Secret, Secret(Settings().url))
    scheme, colon, rest = url.partition(":")
    if not colon and scheme in ("memory", "off"):
        return scheme  # either way of writing these will do
    if scheme in ("memory", "off") and not rest:
        return scheme
    if scheme not in _SCHEMES:
        hint = registry.did_you_mean(scheme, _SCHEMES) or f"for instance {_EXAMPLES}"
        table.problem(("url",), Problem("url: is no store that is known here", hint))
    elif not _is_whole(scheme, url):
        table.problem(("url",), Problem("url: does not say where the store is", f"for instance {_EXAMPLES}"))
    return url


def _is_whole(scheme: str, url: str) -> bool:
    if scheme == "sqlite":
        return url.removeprefix("sqlite:").strip("/ ") != "" and not url.endswith("/")
    try:
        parts = urlsplit(url)
        return bool(parts.path.strip("/") if scheme == "unix" else parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


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
        table.problem(("key",), Problem(message, "pip install 'trioproxy[encryption]'"))
    return key
