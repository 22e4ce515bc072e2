"""Which TOML file, and what the command line changes of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from trioproxy import config
from trioproxy.config.file import File
from trioproxy.errors import ConfigError, Problem
from trioproxy.http.listen import Address, Listen

__all__ = ["find_file", "read_config", "read_settings"]

Level = Literal["debug", "info", "warning", "error"]


def find_file(
    file: Path | None,
    *,
    listen: Sequence[str] | None = None,
    log_level: Level | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[File, str]:
    """`file`, or `$TRIOPROXY_CONFIG`, or `./stages.toml`, with what is to hold whatever it says; and its text.

    Raises `ConfigError`.
    """
    listens = tuple(Listen(_address(text)) for text in listen or ())
    with _found(file, environ) as path:
        found = File(path=path, listen=listens, log_level=log_level)
        return found, found.text()


def read_config(
    file: Path | None,
    *,
    listen: Sequence[str] | None = None,
    log_level: Level | None = None,
    environ: Mapping[str, str] = os.environ,
) -> config.Config:
    """Read the file that `find_file` finds. Raises `ConfigError`."""
    found, text = find_file(file, listen=listen, log_level=log_level, environ=environ)
    return found.read(text, environ)


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
        write = f"python -m trioproxy init{'' if str(path) == 'stages.toml' else f' {path}'}"
        hint = f"give one with --config FILE, write one: {write}, or see one work first: python -m trioproxy demo"
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
