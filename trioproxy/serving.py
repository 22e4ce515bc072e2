"""A configuration being served: its listeners, what is remembered, and the proxy behind them.

The command line, its workers and programs that embed the proxy all begin here. It sets up no log, takes no signal and
keeps nothing global: several may run side by side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trioproxy.config import Config
from trioproxy.http.server import Listener, Server, open_listeners
from trioproxy.proxy import Proxy
from trioproxy.store.vault import open_vault

__all__ = ["Serving", "open_serving"]


class Serving:
    """What `open_serving` gives."""

    def __init__(self, config: Config, listeners: list[Listener], proxy: Proxy, server: Server) -> None:
        self.config, self.listeners, self.proxy, self.server = config, listeners, proxy, server

    async def serve(self) -> None:
        """Serve until cancelled, or until `drain` was called and the last answer is complete."""
        await self.server.serve(self.listeners)

    def drain(self) -> None:
        """Accept nothing more."""
        self.server.drain()

    @property
    def busy(self) -> int:
        """How many requests are being answered; after a cancellation, how many answers that cut off."""
        return self.server.busy

    def use(self, config: Config) -> None:
        """Serve what comes from now on as `config` says; what is under way ends as it began."""
        self.config = config
        self.proxy.use(config)


@asynccontextmanager
async def open_serving(config: Config) -> AsyncIterator[Serving]:
    """Listen where `config` says; requests wait until `serve` is called.

    Raises `OSError` if a listener cannot be opened, `StoreError` if the store can never be used.
    """
    async with open_vault(config.store, config.directory) as vault:
        listeners = await open_listeners(config.listen)
        proxy = Proxy(config, vault)
        try:
            yield Serving(config, listeners, proxy, Server(proxy.handle, proxy.refusal, config.limits))
        finally:
            for listener in listeners:
                listener.close()
            proxy.close()
