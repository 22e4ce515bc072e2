"""The measured window: what the proxy, the mock and the load generator used between its two edges."""

from __future__ import annotations

import os
import time

from benchmarks import proc
from benchmarks.figures import Figures


class Watch:
    def __init__(self, proxy: int, mock: int) -> None:
        self.proxy = proc.tree(proxy) if proxy else []
        self.mock = [mock] if mock else []
        self.open = self.closed = False
        self._used: Figures = {}
        self._proxy_cores = os.sched_getaffinity(proxy) if proxy else set()
        self._own_cores = os.sched_getaffinity(0) | (os.sched_getaffinity(mock) if mock else set())

    def start(self) -> None:
        self.open = True
        self._at_start = self._now()

    def stop(self) -> None:
        self.closed = True
        at_end = self._now()
        self._used = {name: at_end[name] - self._at_start[name] for name in at_end}

    def rss_kib(self) -> int:
        return proc.rss_kib(self.proxy)

    def figures(self) -> Figures:
        """What was used, in seconds; `others` is what other programs took of the cores, where each side has its own."""
        used = dict(self._used)
        proxy_cores, own_cores = used.pop("proxy_cores"), used.pop("own_cores")
        used["others"] = {}
        if not self._proxy_cores & self._own_cores:
            others = {
                "proxy": proxy_cores - used["proxy_cpu"],
                "harness": own_cores - used["mock_cpu"] - used["load_cpu"],
            }
            used["others"] = {side: max(0.0, share) / used["seconds"] for side, share in others.items()}
        return used

    def _now(self) -> dict[str, float]:
        return {
            "seconds": time.monotonic(),
            "proxy_cores": proc.core_seconds(self._proxy_cores),
            "own_cores": proc.core_seconds(self._own_cores),
            "proxy_cpu": proc.cpu_seconds(self.proxy),
            "mock_cpu": proc.cpu_seconds(self.mock),
            "load_cpu": time.process_time(),
        }
