"""Which TOML file, and what the command line changes of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from trioproxy import config
from trioproxy.errors import ConfigError, Problem
from trioproxy.http.server import Address

__all__ = ["read_config", "read_settings"]


def read_config(
    file: Path | None,
    *,
    listen: Sequence[str] | None = None,
    log_level: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> config.Config:
    """Read `file`, or `$TRIOPROXY_CONFIG`, or `./stages.toml`. Raises `ConfigError`."""
    with _found(file, environ) as path:
        loaded = config.load(path, environ)
    if listen:
        loaded = replace(loaded, listen=tuple(map(_address, listen)))
    if log_level:
        loaded = replace(loaded, log=replace(loaded.log, level=log_level, enabled=True))
    return loaded


def read_settings(
    stage: str, file: Path | None, *, environ: Mapping[str, str] = os.environ
) -> tuple[Path, Mapping[str, Any]]:
    """Where stages of one's own are looked for, and what the file, chosen as in `read_config`, says of `stage`.

    It is fine if there is no file and none was asked for. Raises `ConfigError`.
    """
    with _found(file, environ) as path:
        if file is None and not environ.get("TRIOPROXY_CONFIG") and not path.exists():
            return Path.cwd(), {}
        return path.absolute().parent, config.load_settings(path, stage)


@contextmanager
def _found(file: Path | None, environ: Mapping[str, str]) -> Iterator[Path]:
    """The file to read; that it cannot be read is told in plain words."""
    variable = environ.get("TRIOPROXY_CONFIG") if file is None else None
    path = file or Path(variable or "stages.toml")
    try:
        yield path
    except FileNotFoundError as exc:
        where = " (from $TRIOPROXY_CONFIG)" if variable else "" if file else " here"
        hint = "give one with --config FILE, or see one work first: python -m trioproxy demo"
        if not variable and not file:
            hint += f"; this is enough:\n{config.SMALLEST}"
        raise ConfigError([Problem(f"there is no {path}{where}", hint)]) from exc
    except OSError as exc:
        raise ConfigError([Problem(f"{path} cannot be read: {exc.strerror}")]) from exc


def _address(text: str) -> Address:
    try:
        return Address.read(text)
    except ValueError as exc:
        raise ConfigError([Problem(f"--listen: {exc}, got {text!r}")]) from exc
