"""The proxy inside a program: with trio, in a nursery or a block of its own; without, in a thread.

It sets up no log, takes no signal and keeps nothing global: several may run side by side. What is served is a `Config`,
from a file (`load_config`) or made in Python (`configure`).
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import trio

from trioproxy.config import Config, load
from trioproxy.config.differences import fixed
from trioproxy.errors import ConfigError, Problem
from trioproxy.serving import Serving, open_serving

__all__ = ["InThread", "Registered", "Running", "load_config", "open_proxy", "run_in_thread", "serve"]

T = TypeVar("T")


def load_config(file: str | Path) -> Config:
    """Read a TOML file. Raises `ConfigError` with all that is wrong with it, `OSError` if it cannot be read."""
    return load(Path(file))


def _check(config: object) -> None:
    """Raises `TypeError` for what is no configuration: its tables, say, or the name of its file."""
    if not isinstance(config, Config):
        expected = "expected a Config: trioproxy.configure(…) or trioproxy.load_config(FILE)"
        raise TypeError(f"{expected}, got {type(config).__name__}")


def _check_here(config: object) -> None:
    """As `_check`. Raises `RuntimeError` if no trio runs here."""
    _check(config)
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError("open_proxy and serve need trio; elsewhere run_in_thread serves in a thread of its own")


class Registered(NamedTuple):
    """A target that was registered: clients ask at its URL, with its token."""

    url: str
    key: str
    """What it is taken away by."""
    token: str | None
    """None if it is one of the file that says only the token's hash. Its `repr` does not show it."""


class Running:
    """A proxy that serves."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    @property
    def config(self) -> Config:
        """What it serves."""
        return self._serving.config

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with real ports: `127.0.0.1:40123`, `[::1]:40123`, `unix:/run/trioproxy.sock`."""
        return self._serving.addresses

    @property
    def url(self) -> str:
        """The URL at which programs of this machine reach it; empty if it has only Unix sockets."""
        return self._serving.url

    def drain(self) -> None:
        """Accept nothing more, and end when the answers under way are complete."""
        self._serving.drain()

    async def reload(self, config: Config) -> None:
        """Serve what comes from now on as `config` says; what is under way ends as it began.

        Raises `ConfigError` if that cannot be had without a new start, `OSError` if a listener cannot be opened: then
        all is as before.
        """
        _check(config)
        if names := fixed(self.config, config):
            raise ConfigError([Problem(f"{name}: cannot be another one while it serves") for name in names])
        await self._serving.reload(config)

    async def register_target(self, **said: Any) -> Registered:
        """Give a model somewhere a URL and a token of its own: `model=…, url=…`, and what else `[targets]` may say.

        The same target has the same ones each time, and where the store is a file, after a restart. Raises
        `ConfigError` if something is wrong with it, `StoreError` if it cannot be kept.
        """
        done = await self._serving.targets.register(said)
        return Registered(self.url + done.path, done.key, done.token)

    async def forget_target(self, key: str) -> None:
        """Take a registered target away. Raises `ProxyError` if there is none of that `key`."""
        await self._serving.targets.forget(key)


async def serve(config: Config, *, task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled, which cuts off the answers under way: `proxy = await nursery.start(serve, config)`.

    `proxy.drain()` ends it too, once the last answer is complete.

    Raises `OSError` if a listener cannot be opened, `StoreError` if the store can never be used.
    """
    _check_here(config)
    async with open_serving(config) as serving:
        task_status.started(Running(serving))
        await serving.serve()


@asynccontextmanager
async def open_proxy(config: Config, *, drain: float = 0) -> AsyncIterator[Running]:
    """Serve while the `async with` block lasts.

    Its end lets answers under way go on for `drain` seconds, then cuts them off; at once if it ended with an exception.
    Raises as `serve` does.
    """
    _check_here(config)
    failure: BaseException | None = None
    async with open_serving(config) as serving:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.serve)
            try:
                yield Running(serving)
            except BaseException as exc:
                failure = exc  # to be raised outside: the nursery would put it into a group
                nursery.cancel_scope.cancel()
            nursery.cancel_scope.deadline = trio.current_time() + drain
            serving.drain()
        if failure is not None:
            raise failure


class InThread:
    """A proxy that serves in a thread of its own. Any other thread may call its methods."""

    def __init__(self, running: Running, token: trio.lowlevel.TrioToken) -> None:
        self._running, self._token = running, token

    @property
    def config(self) -> Config:
        """As `Running.config`."""
        return self._running.config

    @property
    def addresses(self) -> tuple[str, ...]:
        """As `Running.addresses`."""
        return self._running.addresses

    @property
    def url(self) -> str:
        """As `Running.url`."""
        return self._running.url

    def drain(self) -> None:
        """As `Running.drain`."""
        trio.from_thread.run_sync(self._running.drain, trio_token=self._token)

    def reload(self, config: Config) -> None:
        """As `Running.reload`."""
        self._wait_for(self._running.reload, config)

    def register_target(self, **said: Any) -> Registered:
        """As `Running.register_target`."""
        return self._wait_for(partial(self._running.register_target, **said))

    def forget_target(self, key: str) -> None:
        """As `Running.forget_target`."""
        self._wait_for(self._running.forget_target, key)

    def _wait_for(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        return trio.from_thread.run(function, *arguments, trio_token=self._token)


@contextmanager
def run_in_thread(config: Config, *, drain: float = 0) -> Iterator[InThread]:
    """Serve in a thread while the `with` block lasts, for programs without trio; `drain` as in `open_proxy`.

    Raises as `serve` does; and if something ended the thread before its time, that, at the end of the block.
    """
    _check(config)
    ready, left, stop = threading.Event(), threading.Event(), trio.Event()
    running: list[tuple[Running, trio.lowlevel.TrioToken]] = []
    failures: list[BaseException] = []

    async def main() -> None:
        async with open_proxy(config, drain=drain) as proxy:
            running.append((proxy, trio.lowlevel.current_trio_token()))
            ready.set()
            if not left.is_set():  # by Ctrl-C, before there was anything to stop
                await stop.wait()

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as exc:
            failures.append(exc)  # for the thread that waits for it
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="trioproxy")
    thread.start()
    try:
        ready.wait()
        if running:
            yield InThread(*running[0])
    finally:
        left.set()
        for _, token in running:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(stop.set)
        thread.join()
    if failures:
        raise failures[0]
