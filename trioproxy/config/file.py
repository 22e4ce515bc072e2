"""The file that is served, and what the command line changes of it: read at start, and again at each reload."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from trioproxy import config
from trioproxy.config.clients import check_listens
from trioproxy.http.listen import Listen

__all__ = ["File"]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A TOML file, and what holds whatever it says."""

    path: Path
    listen: tuple[Listen, ...] = ()
    """In place of the file's listeners, if there are any here."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None

    def text(self) -> str:
        """What stands in the file now. Raises `ConfigError`; `OSError` if it cannot be read."""
        return config.text_of(self.path)

    def read(self, text: str, environ: Mapping[str, str] = os.environ) -> config.Config:
        """The configuration that `text`, of the file, makes. Raises `ConfigError`."""
        loaded = config.read(text, self.path, environ)
        if self.listen:
            loaded = replace(loaded, listen=self.listen)
            check_listens(loaded, self.listen)
        if self.log_level:
            loaded = replace(loaded, log=replace(loaded.log, level=self.log_level, enabled=True))
        return loaded
