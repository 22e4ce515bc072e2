"""Which TOML file, and what the command line changes of it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from trioproxy import config
from trioproxy.errors import ConfigError, Problem
from trioproxy.http.server import Address

__all__ = ["read_config"]


def read_config(
    file: Path | None,
    *,
    listen: Sequence[str] | None = None,
    log_level: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> config.Config:
    """Read `file`, or `$TRIOPROXY_CONFIG`, or `./stages.toml`. Raises `ConfigError`."""
    variable = environ.get("TRIOPROXY_CONFIG") if file is None else None
    path = file or Path(variable or "stages.toml")
    try:
        loaded = config.load(path, environ)
    except FileNotFoundError as exc:
        where = " (from $TRIOPROXY_CONFIG)" if variable else "" if file else " here"
        hint = "give one with --config FILE, or see one work first: python -m trioproxy demo"
        raise ConfigError([Problem(f"there is no {path}{where}", hint)]) from exc
    except OSError as exc:
        raise ConfigError([Problem(f"{path} cannot be read: {exc.strerror}")]) from exc
    if listen:
        loaded = replace(loaded, listen=tuple(map(_address, listen)))
    if log_level:
        loaded = replace(loaded, log=replace(loaded.log, level=log_level))
    return loaded


def _address(text: str) -> Address:
    try:
        return Address.read(text)
    except ValueError as exc:
        raise ConfigError([Problem(f"--listen: {exc}, got {text!r}")]) from exc
