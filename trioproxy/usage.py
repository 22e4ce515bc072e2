"""What the operating system knows of this process, under the names that Prometheus' own clients give it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["Usage", "usage"]

_SELF = Path("/proc/self")


class Usage(NamedTuple):
    name: str
    kind: Literal["counter", "gauge"]
    help: str
    number: float


def usage() -> Iterator[Usage]:
    """As much as this system tells: CPU time everywhere, the rest where there is a /proc."""
    times = os.times()
    cpu = times.user + times.system
    yield Usage("process_cpu_seconds_total", "counter", "CPU time that the process has used.", cpu)
    with suppress(OSError, ValueError, IndexError):
        # Behind the name, which may hold anything: man proc_pid_stat.
        fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
        boot = float((Path("/proc/stat").read_text().partition("\nbtime ")[2]).split()[0])
        started = boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        pages = os.sysconf("SC_PAGE_SIZE")
        yield Usage("process_start_time_seconds", "gauge", "When it was started, in seconds since 1970.", started)
        yield Usage("process_virtual_memory_bytes", "gauge", "Its virtual memory.", float(fields[20]))
        yield Usage("process_resident_memory_bytes", "gauge", "Its resident memory.", int(fields[21]) * pages)
        yield Usage("process_open_fds", "gauge", "Its open files and sockets.", len(os.listdir(_SELF / "fd")))
