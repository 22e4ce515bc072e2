"""stages.toml → `Config`, typed and checked; or one `ConfigError` with every problem of the file.

`model` says what a configuration is, `table` takes a TOML table apart, and one module reads each section.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trioproxy import toml
from trioproxy.config.model import (
    Admin,
    Client,
    Config,
    Log,
    Replay,
    Route,
    Secret,
    StageSpec,
    TargetSpec,
    Token,
    TokenCommand,
    TokenFile,
    Tolerance,
    Tracing,
    Upstream,
)
from trioproxy.config.pipelines import DEFAULT_REQUEST, DEFAULT_RESPONSE
from trioproxy.config.sections import read_sections
from trioproxy.config.table import Table
from trioproxy.config.tolerance import TOLERANCE
from trioproxy.config.upstreams import SMALLEST, TARGET, TIMEOUTS
from trioproxy.errors import ConfigError, Position, Problem

__all__ = [
    "DEFAULT_REQUEST",
    "DEFAULT_RESPONSE",
    "SMALLEST",
    "TARGET",
    "TIMEOUTS",
    "TOLERANCE",
    "Admin",
    "Client",
    "Config",
    "Log",
    "Replay",
    "Route",
    "Secret",
    "StageSpec",
    "TargetSpec",
    "Token",
    "TokenCommand",
    "TokenFile",
    "Tolerance",
    "Tracing",
    "Upstream",
    "load",
    "load_settings",
    "read",
    "text_of",
]

_LARGEST = 1024 * 1024
"""Bytes of a file: what is served stands still while one is read anew."""


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a TOML file. Raises `ConfigError`; `OSError` if it cannot be read."""
    return read(text_of(file), file, environ)


def load_settings(file: Path, stage: str) -> Mapping[str, Any]:
    """The `[stages]` table of a stage as it stands in a file: whatever else is wrong with it. Raises as `load` does."""
    sections = toml.load(text_of(file), str(file)).tables.get("stages")
    table = sections.get(stage) if isinstance(sections, dict) else None
    return table if isinstance(table, dict) else {}


def text_of(file: Path) -> str:
    """The text of a TOML file. Raises `ConfigError` if it is none; `OSError` if it cannot be read."""
    kind = os.stat(file).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # of a directory the error of `open` says enough
        hint = "a pipe or a device would be waited for, and gives its text only once"
        raise ConfigError([Problem("this is no regular file", hint)], file=str(file))
    with file.open("rb") as opened:
        raw = opened.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        problem = Problem(f"the file is larger than {_LARGEST // 1024**2} MiB", "is it the right one?")
        raise ConfigError([problem], file=str(file))
    raw = raw.removeprefix(b"\xef\xbb\xbf")  # the BOM of Windows editors is not part of the text
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        before = raw[: exc.start].decode(errors="replace")
        at = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        problem = Problem(f"the file is not UTF-8: byte 0x{raw[exc.start]:02x}", "save it as UTF-8", at)
        raise ConfigError([problem], file=str(file), source=raw.decode(errors="replace")) from exc


def read(text: str, file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the `text` of a TOML `file`. Raises `ConfigError`."""
    document = toml.load(text, str(file))
    problems: list[Problem] = []
    config = read_sections(Table(document, problems, environ, (), document.tables), file)
    if problems:
        raise ConfigError(problems, file=str(file), source=text)
    return config
