"""What all exchanges share, and what outlives a reload of the file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from trioproxy.collector import Waste
from trioproxy.config import Config
from trioproxy.config.targets import PREFIX
from trioproxy.guard import Guards, State
from trioproxy.http.client import Pool
from trioproxy.keys import Keys
from trioproxy.metrics import Metrics
from trioproxy.store.vault import Vault
from trioproxy.targets import Targets
from trioproxy.tracing import Tracer

__all__ = ["Shared"]


class Shared:
    """Of one proxy."""

    def __init__(
        self, vault: Vault, targets: Targets, metrics: Metrics | None = None, tracer: Tracer | None = None
    ) -> None:
        self.vault, self.targets = vault, targets
        self.metrics, self.tracer = metrics or Metrics(), tracer or Tracer()
        self.pool = Pool()
        self.keys = Keys()
        self.guards = Guards()
        self.waste = Waste()
        targets.on_gone = self.guards.forget
        self.metrics.target = partial(_target, targets)
        self.ours = frozenset[bytes]()
        """The digests of the tokens in the file that we ask others for."""
        self._tell()

    def use(self, config: Config) -> None:
        """Follow a reload."""
        asked = [*config.clients, *(client for route in config.routes for client in route.clients)]
        asked += [spec.client for spec in config.targets.values() if spec.client]
        if config.admin and config.admin.client:
            asked.append(config.admin.client)
        self.ours = frozenset(client.digest for client in asked)
        named = {target.upstream.name: target.upstream for target in config.targets.values()}
        self.guards.use({**config.upstreams, **named}, self.targets.upstreams)
        self.targets.use(config)

    def _tell(self) -> None:
        """What the metrics tell of the moment."""
        guards, vault = self.guards, self.vault
        told: dict[str, tuple[str, Callable[[State], float]]] = {
            "requests_open": ("Requests under way.", lambda state: state.active),
            "requests_waiting": ("Requests that wait for one of these to end.", lambda state: state.waiting),
            "passed_over": (
                "Whether others are asked first, as it has failed or is busy.",
                lambda state: state.passed_over,
            ),
        }
        for name, (help, number) in told.items():
            read = partial(_each, guards, self.targets, number)
            self.metrics.gauge(f"upstream_{name}", help, ("upstream",), read)
        health = "Whether the store can be used; 0 while requests go on without it."
        living = "Tasks that live in the process."
        self.metrics.gauge("tasks", living, (), lambda: [((), trio.lowlevel.current_statistics().tasks_living)])
        self.metrics.gauge("store_up", health, ("use",), lambda: [((use,), up) for use, up in vault.health.items()])

    def close(self) -> None:
        """Close what is kept open to upstreams, and end what is being asked for tokens."""
        self.pool.close()
        self.keys.close()


def _target(targets: Targets, route: str) -> str:
    """What metrics call the target of a route; empty if it is of none."""
    return targets.label(route.removeprefix(f"{PREFIX}/")) if route.startswith(f"{PREFIX}/") else ""


def _each(guards: Guards, targets: Targets, number: Callable[[State], float]) -> list[tuple[tuple[str], float]]:
    """Of each upstream; targets that have one label are added up."""
    told: dict[str, float] = {}
    for name, state in guards:
        key = name.removeprefix("targets.")
        label = name if key == name else targets.label(key)
        told[label] = told.get(label, 0) + number(state)
    return [((label,), total) for label, total in told.items()]
