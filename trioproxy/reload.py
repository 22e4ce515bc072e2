"""The file, read again while it is served: its news are for new exchanges, those under way end as they began."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import trio
from msgspec.structs import replace

from trioproxy import registry
from trioproxy.config import Config
from trioproxy.config.differences import changes
from trioproxy.config.file import File
from trioproxy.errors import ConfigError
from trioproxy.notify import Notify

__all__ = ["Reloading", "stages_of", "within_reach"]

log = logging.getLogger("trioproxy.reload")

# What is opened once, when the program starts.
_AT_START = ("store", "workers", "admin", "tracing")
_LOOK = 1.0  # seconds between two looks at the files; an editor that writes in two steps is done within one


class Reloading:
    """Reads the file when asked to, one time after the other. What it says is for `apply` to bring about."""

    def __init__(self, file: File, config: Config, apply: Callable[[Config, str], Awaitable[None]]) -> None:
        self.file, self.config = file, config
        """The file, and what is served."""
        self._apply, self._notify = apply, Notify()
        self._one = trio.Lock()
        self._seen = self._state()

    async def reload(self) -> list[str]:
        """Serve what the file says now: what changed, a line each.

        Raises `ConfigError` if the file is wrong, `OSError` if it cannot be read or a listener cannot be opened. Then
        all is as before. Either way it is logged.
        """
        async with self._one:
            self._notify.reloading()
            try:
                lines = await self._reload()
            except (ConfigError, OSError) as exc:
                for each in _said(exc):
                    log.error("%s", each)
                log.error("%s was not reloaded: what was served before still is", self.file.path)
                raise
            finally:
                self._notify.ready()
            log.info("%s was reloaded: %s", self.file.path, _counted(len(lines)))
            for line in lines:
                log.info("%s", line)
            return lines

    async def _reload(self) -> list[str]:
        self._seen = self._state()
        text = self.file.text()
        with registry.anew(self.config.directory, stages_of(self.config)):
            said = self.file.read(text)
            config, stuck = within_reach(self.config, said)
            await self._apply(config, text)
        lines = [*changes(self.config, config), *stuck]
        self.config = config
        return lines

    async def watch(self) -> None:
        """Reload whenever the file, or what stands beside it, has changed, while it says `reload = "watch"`."""
        while True:
            await trio.sleep(_LOOK)
            if self.config.reload != "watch" or (now := self._state()) == self._seen:
                continue
            while now != self._seen:  # it may still be being written
                self._seen = now
                await trio.sleep(_LOOK)
                now = self._state()
            with suppress(ConfigError, OSError):  # which is logged
                await self.reload()

    def _state(self) -> list[tuple[Path, object]]:
        """What tells that a file is another one than before."""
        own = registry.beside(self.config.directory, stages_of(self.config)).values()
        certificates = [each for listen in self.config.listen for each in (listen.certificate, listen.key) if each]
        return [(file, _mark(file)) for file in (self.file.path, *own, *certificates)]


def _counted(changes: int) -> str:
    return f"{changes} change{'s' if changes > 1 else ''}" if changes else "nothing changed"


def _mark(file: Path) -> object:
    try:
        found = file.stat()
    except OSError as exc:
        return exc.errno
    return found.st_mtime_ns, found.st_size, found.st_ino


def stages_of(config: Config) -> list[registry.StageClass]:
    """The classes of all stages that routes name."""
    routes = [each for route in config.routes for each in (route, *route.others)]
    return [spec.cls for route in routes for spec in (*route.request, *route.response)]


def _said(exc: ConfigError | OSError) -> list[str]:
    """What is wrong, a line each."""
    if isinstance(exc, OSError):
        return [f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc.strerror or exc)]
    lines = []
    for problem in exc.problems:
        where = f"{exc.file}:{problem.at.line}:{problem.at.column}: " if problem.at else ""
        hint = f" ({' '.join(problem.hint.split())})" if problem.hint else ""
        lines.append(f"{where}{problem.message}{hint}")
    return lines


def within_reach(old: Config, new: Config) -> tuple[Config, list[str]]:
    """`new`, but for what only a restart can change, and a line for each of that."""
    stuck = [name for name in _AT_START if getattr(old, name) != getattr(new, name)]
    return replace(new, **{name: getattr(old, name) for name in stuck}), [
        f"{name} was changed in the file: needs a restart, and stays as it was until then" for name in stuck
    ]
