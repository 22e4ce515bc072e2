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
    named = file or (Path(environ["TRIOPROXY_CONFIG"]) if environ.get("TRIOPROXY_CONFIG") else None)
    path = named or Path("stages.toml")
    try:
        loaded = config.load(path, environ)
    except FileNotFoundError as exc:
        hint = "give one with --config FILE, or see one work first: python -m trioproxy demo"
        raise ConfigError([Problem(f"there is no {path}" + ("" if named else " here"), hint)]) from exc
    except OSError as exc:
        raise ConfigError([Problem(f"{path} cannot be read: {exc.strerror}")]) from exc
    if listen:
        try:
            loaded = replace(loaded, listen=tuple(Address.read(each) for each in listen))
        except ValueError as exc:
            raise ConfigError([Problem(f"--listen: {exc}, got {' '.join(listen)!r}")]) from exc
    if log_level:
        loaded = replace(loaded, log=replace(loaded.log, level=log_level))  # type: ignore[arg-type]  # cyclopts checked
    return loaded
