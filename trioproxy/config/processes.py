"""`workers` and `reload`: in how many processes the file is served, and when it is read again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from trioproxy.config.model import Config
from trioproxy.config.table import Table
from trioproxy.errors import Problem

__all__ = ["Reload", "available", "kept_apart", "read_reload", "read_workers"]

Reload = Literal["signal", "watch"]

_MOST = 512  # processes: nginx's own bound; more is a slip of the finger
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of CPU time in so many: kernel.org, cgroup-v2
_KEPT_BY = frozenset({"remember-thinking", "remember-responses"})


def read_workers(root: Table) -> int:
    """How many processes serve; of a wrong number the problem is noted."""
    number: int = root.get("workers", _Workers, _Workers(1))
    if number > 1 and sys.platform == "win32":
        hint = "workers = 1, or several proxies behind a load balancer"
        root.problem(("workers",), Problem("workers: Expected 1: Windows cannot share a listener's socket", hint))
    return number


def read_reload(root: Table) -> Reload:
    """When the file is read again."""
    return root.get("reload", Reload, "signal")


class _Workers(int):
    """A number of processes, or "auto" (either of which the environment may say)."""

    @classmethod
    def read(cls, value: object) -> _Workers:
        if value == "auto":
            return cls(available())
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST:
            return cls(value)
        raise ValueError(f'Expected a number of processes from 1 to {_MOST}, or "auto", got {value!r}')


def available(quota: Path = _QUOTA) -> int:
    """How many CPUs this process may use: those it may run on, and no more than its container's share of time."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return max(1, min(cpus, -(-int(share) // int(period))))
    except (OSError, ValueError):  # no such file, or "max": no share is set
        return cpus


def kept_apart(config: Config) -> Iterator[str]:
    """What several processes would each keep for themselves, to the surprise of clients: sentences for the operator."""
    stages = {
        spec.name
        for first in config.routes
        for route in (first, *first.others)
        for spec in route.response
        if spec.name in _KEPT_BY and spec.about(None, route.upstream.dialect)
    }
    if config.workers > 1 and stages and config.store.url == "memory:":
        kept = " and ".join(sorted(stages))
        yield f'what {kept} keeps in one worker the others miss: [store] url = "sqlite:thinking.db" shares it'
