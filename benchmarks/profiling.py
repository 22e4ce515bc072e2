"""py-spy on one proxy under one load: where its time goes, by function."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.processes import Bench, RunError
from benchmarks.proxies import Proxy

SECONDS = 8
RATE = 487  # not a multiple of the rate of the events, or the samples fall into step with them
TOP = 30
COMMANDS = {
    "hold": "hold --connections 400 --rate 10 --seconds 12",
    "paced": f"paced --seconds {SECONDS + 2}",
    "json": f"json --seconds {SECONDS + 2}",
    "flood": f"flood --seconds {SECONDS + 2}",
    "each": f"flood --each --seconds {SECONDS + 2}",
}
LEAD_IN = {"hold": 1.5, "paced": 1.8}  # seconds until the load is in its window


def run(bench: Bench, proxies: list[Proxy], options: argparse.Namespace) -> int:
    name, _, load = options.profile.partition(":")
    load = load or "paced"
    proxy = next((proxy for proxy in proxies if proxy.name == name), None)
    if proxy is None or proxy.prepare is None or load not in COMMANDS:
        raise RunError(f"--profile wants a row that runs and a load, such as stages:paced, not {options.profile!r}")
    py_spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    py_spy = py_spy or shutil.which("py-spy", path=str(Path(options.python).parent))
    if py_spy is None:
        raise RunError("py-spy is not installed")
    mock = bench.start_mock()
    server, _ = bench.start(proxy, mock.port)
    raw = options.profile_out or bench.directory / "stacks.txt"
    command = [py_spy, "record", "--pid", str(server.pid), "--format", "raw", "--output", str(raw), "--subprocesses"]
    command += ["--rate", str(RATE), "--duration", str(SECONDS), "--native" if options.native else "--nonblocking"]
    spied = _Later(LEAD_IN.get(load, 0.5), command, bench.cores.proxy)
    bench.patience = 0  # a wait would come between py-spy and the load
    spied.start()
    figures = bench.load([*COMMANDS[load].split(), *proxy.asks], server.port, mock, server)
    spied.join()
    if spied.status != 0 or not raw.exists():
        raise RunError(f"py-spy failed (it may need root or CAP_SYS_PTRACE):\n{spied.output}")
    stacks = raw.read_text()
    print(f"{name} under {load}: {figures['proxy_cpu']:.2f} s CPU in {figures['seconds']:.2f} s\n\n{summary(stacks)}")
    return 0


class _Later(threading.Thread):
    """Runs py-spy after a while, beside the load that the main thread waits for.

    On the core of the proxy: while py-spy runs there the proxy does not, so it need not be stopped to be read (which
    pushes the samples into system calls), and mock and load are not held up exactly when a sample is taken.
    """

    def __init__(self, delay: float, command: list[str], cores: set[int]) -> None:
        super().__init__(daemon=True)
        self.delay, self.command, self.cores = delay, command, cores
        self.status, self.output = -signal.SIGALRM, ""

    def run(self) -> None:
        time.sleep(self.delay)
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        os.sched_setaffinity(process.pid, self.cores)
        self.output, _ = process.communicate(timeout=SECONDS * 3)
        self.status = process.returncode


def summary(stacks: str) -> str:
    """Two tables from py-spy's raw format (`outer;…;inner count` lines): by own time, and by time with callees."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        names = [function(frame) for frame in frames.split(";")]
        own[names[-1]] += int(count)
        for name in set(names):
            total[name] += int(count)
    samples = max(1, own.total())

    def table(title: str, counts: Counter[str]) -> str:
        lines = [f"{100 * count / samples:5.1f} %  {name}" for name, count in counts.most_common(TOP)]
        return "\n".join([f"{title} ({samples} samples)", *lines])

    return table("own time", own) + "\n\n" + table("time with callees", total)


def function(frame: str) -> str:
    """A frame without its line number, so that the lines of a function add up: 'send (_channel.py:155)'."""
    name, _, place = frame.rpartition(" (")
    return f"{name} ({place.rpartition(':')[0]})" if ":" in place else frame
