"""`serve` with several workers: this process supervises them, and has the admin listener."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from trioproxy import exposition
from trioproxy.admin import LIMITS, Admin, open_admin
from trioproxy.cli.running import follow_log, hold
from trioproxy.cli.terminal import say, wants_colour
from trioproxy.config import Config
from trioproxy.config.clients import check_listeners
from trioproxy.config.file import File
from trioproxy.http.listen import Listener, open_listeners
from trioproxy.http.server import Server
from trioproxy.reload import Reloading
from trioproxy.serving import local_url
from trioproxy.store.vault import open_vault
from trioproxy.targets import open_targets
from trioproxy.workers import Supervisor

__all__ = ["supervise"]


async def supervise(
    file: File, text: str, config: Config, signals: AsyncIterable[int], banner: Callable[[list[Listener]], list[str]]
) -> int:
    """Serve with `config.workers` processes until a signal; how many answers that cut off.

    Raises `OSError` if a listener cannot be opened, `StoreError` if the store can never be used, `StartError`.
    """
    async with open_vault(config.store, config.directory):
        pass  # workers could only tell one after the other, and be started again, that it can never be used
    targets = await open_targets(config)
    listeners = await open_listeners(config.listen)
    supervisor = Supervisor(
        file,
        text,
        config,
        listeners,
        registered=targets.snapshot,
        colour=wants_colour(),
    )
    targets.on_change = supervisor.publish

    async def apply(new: Config, text: str) -> None:
        await supervisor.apply(new, text)
        targets.use(new)
        admin.use(new)
        follow_log(new)

    async def announce() -> None:
        await supervisor.ready.wait()
        say("\n".join(banner(supervisor.listeners)))

    async def metrics() -> bytes:
        return exposition.write(await supervisor.metrics())

    reloading = Reloading(file, config, apply)
    admin = Admin(
        config,
        targets,
        base=lambda: local_url(supervisor.listeners) or supervisor.listeners[0].address,
        metrics=metrics,
        reload=reloading.reload,
        ready=lambda: supervisor.accepting,
    )
    try:
        check_listeners(config, supervisor.listeners)
        async with _listening(config, admin):
            await hold(supervisor, reloading, signals, announce)
    finally:
        supervisor.close()
    if supervisor.failure:
        raise supervisor.failure
    return supervisor.cut


@asynccontextmanager
async def _listening(config: Config, admin: Admin) -> AsyncIterator[None]:
    """The admin listener, if the file has one."""
    server = Server(admin.handle, admin.refusal, LIMITS)
    listeners = await open_admin(config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listeners)
        yield
        nursery.cancel_scope.cancel()
