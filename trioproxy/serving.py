"""A configuration being served: its listeners, what is remembered, and the proxy behind them.

The command line, its workers and programs that embed the proxy all begin here. It sets up no log, takes no signal and
keeps nothing global: several may run side by side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from trioproxy.config import Config
from trioproxy.config.clients import check_listeners
from trioproxy.errors import ProxyError
from trioproxy.exposition import write
from trioproxy.http.listen import Listener, open_listeners
from trioproxy.http.relisten import Turn, turn
from trioproxy.http.server import Server
from trioproxy.items import Error
from trioproxy.metrics import Metrics
from trioproxy.proxy import Proxy
from trioproxy.store.vault import open_vault
from trioproxy.targets import Targets, open_targets
from trioproxy.tracing import open_tracer

if TYPE_CHECKING:
    from trioproxy.admin import Admin

__all__ = ["Serving", "local_url", "open_serving"]


class Serving:
    """What `open_serving` gives."""

    def __init__(
        self, config: Config, listeners: list[Listener], proxy: Proxy, server: Server, administered: list[Listener]
    ) -> None:
        self.config, self.listeners, self.proxy, self.server = config, listeners, proxy, server
        self.administered = administered
        """The listeners of `[admin]`."""
        self.on_reload: Callable[[], Awaitable[Mapping[str, Sequence[str]]]] = _of_a_program
        """What POST /reload does there: reads the file, and gives the `changes` and the `warnings`."""
        self._ready = False
        self._admin: Admin | None = None

    @property
    def targets(self) -> Targets:
        """What is reached under a key of its own: to register some, and to take them away."""
        return self.proxy.targets

    @property
    def metrics(self) -> Metrics:
        """What is counted."""
        return self.proxy.metrics

    async def serve(self) -> None:
        """Serve until cancelled, or until `drain` was called and the last answer is complete."""
        self._ready = True
        if not self.administered:
            await self.server.serve(self.listeners)
            return
        from trioproxy.admin import LIMITS, Admin  # noqa: PLC0415  # who has no admin listener needs none of it

        self._admin = admin = Admin(
            self.config,
            self.targets,
            base=lambda: self.url,
            metrics=self._counted,
            reload=self.on_reload,
            ready=lambda: self._ready,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server(admin.handle, admin.refusal, LIMITS).serve, self.administered)
            await self.server.serve(self.listeners)
            nursery.cancel_scope.cancel()

    async def _counted(self) -> bytes:
        return write(self.metrics.snapshot())

    def drain(self) -> None:
        """Accept nothing more."""
        self._ready = False
        self.server.drain()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with real ports: `127.0.0.1:40123`, `[::1]:40123`, `unix:/run/trioproxy.sock`."""
        return tuple(listener.address for listener in self.listeners)

    @property
    def url(self) -> str:
        """The URL at which programs of this machine reach it; empty if it has only Unix sockets."""
        return local_url(self.listeners)

    @property
    def busy(self) -> int:
        """How many requests are being answered; after a cancellation, how many answers that cut off."""
        return self.server.busy

    async def reload(self, config: Config) -> None:
        """Serve what comes from now on as `config` says; what is under way ends as it began.

        Listeners that it names too stay open, their certificates are read anew. Raises `OSError` if a listener cannot
        be opened, or a certificate not be read, `ConfigError` if nobody may listen there: then all is as before.
        """
        self.follow(config, await turn(self.listeners, config.listen, partial(check_listeners, config)))

    def follow(self, config: Config, listening: Turn) -> None:
        """As `reload`, with listeners that are open already."""
        self.use(config)
        for listener in listening.opened:
            self.server.open(listener)
        for listener in listening.gone:
            self.server.close(listener)
        self.listeners[:] = listening.now

    def use(self, config: Config) -> None:
        """Serve what comes from now on as `config` says; what is under way ends as it began."""
        self.config = config
        self.proxy.use(config)
        self.server.limits, self.server.trusted = config.limits, config.trusted
        if self._admin is not None:
            self._admin.use(config)


@asynccontextmanager
async def open_serving(
    config: Config, listeners: list[Listener] | None = None, *, worker: int | None = None
) -> AsyncIterator[Serving]:
    """Listen where `config` says, or on `listeners` that are open already; requests wait until `serve` is called.

    `worker` is the number of this process, if it is one of several.

    Raises `OSError` if a listener cannot be opened, `ConfigError` if nobody may listen there, `StoreError` if the store
    can never be used.
    """
    async with open_tracer(config.tracing) as tracer, open_vault(config.store, config.directory) as vault:
        listeners = await open_listeners(config.listen) if listeners is None else listeners
        administered: list[Listener] = []
        proxy: Proxy | None = None
        try:
            check_listeners(config, listeners)
            # Of several processes the supervisor knows what is registered, and is asked about it.
            targets = await open_targets(config) if worker is None else Targets(config)
            proxy = Proxy(config, vault, targets=targets, metrics=Metrics(worker=worker), tracer=tracer)
            if config.admin is not None and worker is None:
                from trioproxy.admin import open_admin  # noqa: PLC0415  # as above

                administered = await open_admin(config)
            server = Server(proxy.handle, proxy.refusal, config.limits, config.trusted)
            yield Serving(config, listeners, proxy, server, administered)
        finally:
            for listener in (*listeners, *administered):
                listener.close()
            if proxy is not None:
                proxy.close()


async def _of_a_program() -> Mapping[str, Sequence[str]]:
    raise ProxyError(Error("invalid_request", "no file is served here: the program says what is", 409))


def local_url(listeners: Sequence[Listener]) -> str:
    """The URL at which programs of this machine reach one of them, IPv4 before IPv6; empty if all are Unix sockets."""
    url = min((each.url for each in listeners if not each.unix), key=lambda each: "//[" in each, default="")
    for everywhere, here in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(everywhere, here)
    return url
