"""The file, read again while it is served: its news are for new exchanges, those under way end as they began."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import trio
from msgspec.structs import replace

from trioproxy import registry
from trioproxy.config import Config
from trioproxy.config.differences import changes, fixed
from trioproxy.config.file import File
from trioproxy.errors import ConfigError, Problem
from trioproxy.notify import Notify
from trioproxy.stamp import stamp

__all__ = ["Reloading", "stages_of", "within_reach"]

log = logging.getLogger("trioproxy.reload")

_LOOK = 1.0  # seconds between two looks at the files; an editor that writes in two steps is done within one


class Reloading:
    """Reads the file when asked to, one time after the other. What it says is for `apply` to bring about."""

    def __init__(self, file: File, config: Config, apply: Callable[[Config, str], Awaitable[None]]) -> None:
        self.file, self.config = file, config
        """The file, and what is served."""
        self._apply, self._notify = apply, Notify()
        self._one = trio.Lock()
        self._done = trio.lowlevel.ParkingLot()  # for who waits for the next reload
        self._seen = self._served = self._state()

    async def reload(self) -> Mapping[str, list[str]]:
        """Serve what the file says now: the `changes`, a line each, and `warnings` of what stays as it was.

        Raises `ConfigError` if the file is wrong, `OSError` if it cannot be read or a listener cannot be opened. Then
        all is as before. Either way it is logged.
        """
        async with self._one:
            self._notify.reloading()
            try:
                done = await self._reload()
            except (ConfigError, OSError) as exc:
                for each in _said(exc):
                    log.error("%s", each)
                log.error("%s was not reloaded: what was served before still is", self.file.path)
                raise
            except Exception as exc:  # a bug, ours or of a stage beside the file, and no reason to end what is served
                log.exception("%s was not reloaded: what was served before still is", self.file.path)
                raise ConfigError([Problem(f"reading it failed with {type(exc).__name__}: see the log")]) from exc
            finally:
                self._notify.ready()
            self._done.unpark_all()
            log.info("%s was reloaded: %s", self.file.path, _counted(len(done["changes"])))
            for line in done["changes"]:
                log.info("%s", line)
            for line in done["warnings"]:
                log.warning("%s", line)
            return done

    async def _reload(self) -> Mapping[str, list[str]]:
        self._seen = now = self._state()
        text = self.file.text()
        with registry.anew(self.config.directory, stages_of(self.config)):
            said = self.file.read(text)
            config, stuck = within_reach(self.config, said)
            await self._apply(config, text)
        anew = [each.said for each in now if each.said and each not in self._served]
        done = {"changes": [*changes(self.config, config), *dict.fromkeys(anew)], "warnings": stuck}
        self.config = config
        read = {each.path: each for each in now}
        self._served = [read.get(each.path, each) for each in self._state()]
        return done

    async def watch(self) -> None:
        """Reload whenever the file, or what stands beside it, has changed, while it says `reload = "watch"`."""
        while True:
            while self.config.reload != "watch":  # then nothing wakes this process up that does nothing
                await self._done.park()
            await trio.sleep(_LOOK)
            if (now := self._state()) == self._seen:
                continue
            while now != self._seen:  # it may still be being written
                self._seen = now
                await trio.sleep(_LOOK)
                now = self._state()
            with suppress(ConfigError, OSError):  # which is logged
                await self.reload()

    def _state(self) -> list[_Seen]:
        """The files that are read, the TOML file first, as they are now."""
        files = [(self.file.path, "")]
        own = registry.beside(self.config.directory, stages_of(self.config)).values()
        files += [(file, f"{file.relative_to(self.config.directory)} imported anew") for file in own]
        for listen in self.config.listen:
            certificates = [each for each in (listen.certificate, listen.key) if each]
            files += [(file, f"certificate of {listen.address} read anew") for file in certificates]
        return [_Seen(file, stamp(file), said) for file, said in files]


class _Seen(NamedTuple):
    """A file as it was at some time."""

    path: Path
    mark: object
    """Another one when the file has changed."""
    said: str
    """What a reload does with it then, if the configurations do not tell."""


def _counted(changes: int) -> str:
    return f"{changes} change{'s' if changes > 1 else ''}" if changes else "nothing changed"


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
    stuck = fixed(old, new)
    return replace(new, **{name: getattr(old, name) for name in stuck}), [
        f"{name} was changed in the file: needs a restart, and stays as it was until then" for name in stuck
    ]
