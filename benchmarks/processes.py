"""Starting the mock, the proxies and the loads: pinned to their cores, in time, and gone when we are gone."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import proc
from benchmarks.answers import TOO_SLOW
from benchmarks.proxies import ROOT, Command, Proxy

START_SECONDS = 40.0
STOP_SECONDS = 5.0
QUIET_SECONDS = 0.2
SETTLE_SECONDS = 20.0
QUIET = 0.15  # of a core: a tick or two of background work is always there
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class RunError(Exception):
    """A proxy did not start, a load failed, or time is up. The message says which and why."""


class TooSlowRunError(RunError):
    """A load came to nothing because the proxy, or the machine, was too slow; other loads may do."""


class TimeUpError(RunError):
    """The run as a whole has taken too long; what was measured so far still counts."""


class Cores:
    """Mock and load share a core, the proxy has one to itself; with three or more the load has its own too."""

    def __init__(self) -> None:
        usable = sorted(os.sched_getaffinity(0))
        self.pinned = len(usable) >= 2
        self.mock = {usable[0]} if self.pinned else set(usable)
        self.proxy = {usable[1]} if self.pinned else set(usable)
        self.load = {usable[2]} if len(usable) >= 3 else self.mock
        self.all = set(usable)


def in_child(cores: set[int]) -> Callable[[], None]:
    def prepare() -> None:
        os.sched_setaffinity(0, cores)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # even if this run is killed without a chance to clean up

    return prepare


class Server:
    """A child that listens on a port: the mock or a proxy. Its output goes to a file and is shown if it fails."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self.name, self.process, self.log, self.port = name, process, log, port

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def check(self) -> None:
        if not self.runs:
            raise RunError(f"{self.name} ended with status {self.process.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """Ask, then insist; the child leads a process group of its own, so its workers go with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not stop within {STOP_SECONDS:.0f} s of SIGTERM and was killed", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


class Bench:
    """All children of one run. Use as a context manager: at its end they are stopped, whatever happened."""

    def __init__(self, seconds: float, patience: float) -> None:
        self.cores = Cores()
        self.patience = patience
        self.deadline = time.monotonic() + seconds
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Bench:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="trioproxy-bench-")))
        os.chmod(self.directory, 0o755)  # nginx started as root runs its worker as another user
        # Compiled Python goes here: none is left in the checkouts, and each proxy's second start finds its own.
        self.environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self.environment["PYTHONPYCACHEPREFIX"] = str(self.directory / "compiled")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def start_mock(self) -> Server:
        port = free_port()
        arguments = [sys.executable, "-m", "benchmarks.mock_upstream", "--port", str(port)]
        return self._start("mock", Command(arguments), self.cores.mock, ROOT, port=port)[0]

    def start(self, proxy: Proxy, upstream: int) -> tuple[Server, float]:
        """Start a proxy; also how many seconds it took until its port could be connected to."""
        assert proxy.prepare is not None
        port = free_port()
        directory = Path(tempfile.mkdtemp(prefix=proxy.name + "-", dir=self.directory))
        os.chmod(directory, 0o755)
        command = proxy.prepare(directory, port, upstream)
        cores = self.cores.all if proxy.everywhere else self.cores.proxy
        return self._start(proxy.name, command, cores, directory, port=port)

    def _start(self, name: str, command: Command, cores: set[int], cwd: Path, *, port: int) -> tuple[Server, float]:
        log = self.directory / f"{name}-{port}.log"
        before = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**self.environment, **command.environment},
                start_new_session=True,
                preexec_fn=in_child(cores),  # noqa: PLW1509 - we have no threads
            )
        server = Server(name, process, log, port)
        self._stack.callback(server.stop)
        while True:
            server.check()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except ConnectionRefusedError:
                if time.monotonic() - before > START_SECONDS:
                    message = f"{name} did not listen within {START_SECONDS:.0f} s:\n{server.tail()}"
                    raise RunError(message) from None
                time.sleep(0.001)
            else:
                return server, time.monotonic() - before

    def load(self, arguments: list[str], port: int, mock: Server, proxy: Server | None) -> dict[str, Any]:
        """Run one load to its end and return its figures."""
        command = [sys.executable, "-m", "benchmarks.load", *arguments, "--port", str(port), "--mock", str(mock.pid)]
        if proxy is not None:
            command += ["--watch", str(proxy.pid)]
        self.wait_until_quiet()
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeUpError(f"time was up before {' '.join(arguments)}")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=in_child(self.cores.load),  # noqa: PLW1509 - we have no threads
        )
        try:
            output, errors = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            raise TimeUpError(f"time was up during {' '.join(arguments)}") from None
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            printed = f"the proxy's output ends:\n{proxy.tail()}" if proxy is not None and proxy.tail() else ""
            failure = TooSlowRunError if process.returncode == TOO_SLOW else RunError
            raise failure(errors.decode(errors="replace") + printed)
        mock.check()
        if proxy is not None:
            proxy.check()
        figures: dict[str, Any] = json.loads(output)
        return figures

    def wait_until_quiet(self) -> None:
        """Wait for other programs to leave our cores, as long as there is patience left for the run."""
        cores = self.cores.mock | self.cores.proxy | self.cores.load
        began = time.monotonic()
        while self.patience > 0:
            before = proc.core_seconds(cores)
            time.sleep(QUIET_SECONDS)  # what is measured: how busy the cores are meanwhile
            if proc.core_seconds(cores) - before < QUIET * QUIET_SECONDS:
                break
            self.patience -= QUIET_SECONDS
        if (waited := time.monotonic() - began) > 1:
            print(f"waited {waited:.1f} s for other programs", file=sys.stderr)


def settle(server: Server) -> None:
    """Let a proxy that was left with unfinished work get rid of it, so that it does not disturb the next one."""
    until = time.monotonic() + SETTLE_SECONDS
    pids = proc.tree(server.pid)
    while time.monotonic() < until:
        before = proc.cpu_seconds(pids)
        time.sleep(QUIET_SECONDS)  # what is measured: how busy it is meanwhile
        if proc.cpu_seconds(pids) - before < QUIET * QUIET_SECONDS:
            break


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
