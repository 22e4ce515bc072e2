"""Several processes that serve on the same listeners, and the supervisor that starts, watches and stops them.

The supervisor opens the listeners and accepts nothing on them: a worker that dies takes the connections it had with it,
while those that still wait in the sockets' queues are for the others.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from trioproxy.config import Config
from trioproxy.config.clients import check_listeners
from trioproxy.config.file import File
from trioproxy.control import Channel, Serve, Shared, Unanswered, What, Worker
from trioproxy.exposition import Snapshot, merged
from trioproxy.http.listen import Listener
from trioproxy.http.relisten import turn

__all__ = ["StartError", "Supervisor"]

log = logging.getLogger("trioproxy.workers")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before another is started in the place of one that died
_STABLE = 10.0  # seconds: one that lived so long was not started in vain
_TRIES = 5  # for each worker, while none of them comes to serve
_PATIENCE = 10.0  # seconds to follow a reload, and to end when told to stop at once
_GLANCE = 1.0  # seconds for its counts, and to take over a target


class StartError(OSError):
    """No worker can serve: its text says what the last one said."""


class Supervisor:
    """Keeps as many workers as the file says. `registered` gives what was registered of targets, for new ones."""

    def __init__(
        self,
        file: File,
        text: str,
        config: Config,
        listeners: Sequence[Listener],
        *,
        registered: Callable[[], bytes],
        colour: bool,
    ) -> None:
        self._file, self._first, self._text, self._config = file, text, text, config
        self._registered, self._colour = registered, colour
        self._numbers = itertools.count(1)
        self._listeners = {next(self._numbers): listener for listener in listeners}
        self._workers: dict[int, Worker] = {}
        self._dead = Snapshot()
        self._failures = 0  # in a row
        self._stopping = trio.Event()
        self.ready = trio.Event()
        """All of them serve, for the first time."""
        self.cut = 0
        """How many answers were cut off at the end."""
        self.failure: StartError | None = None
        """Why there are no workers any more, if it is not that they were told to end."""

    @property
    def listeners(self) -> list[Listener]:
        """What they accept from."""
        return list(self._listeners.values())

    @property
    def serving(self) -> int:
        """How many workers serve now."""
        return sum(worker.ready for worker in self._workers.values())

    @property
    def accepting(self) -> bool:
        """Whether there is anybody to take a request, and it was not told to stop."""
        return self.serving > 0 and not self._stopping.is_set()

    async def run(self) -> None:
        """Keep workers alive until `drain` or `stop` ends them, or none of them can serve: see `failure`."""
        async with trio.open_nursery() as nursery:
            for number in range(1, self._config.workers + 1):
                nursery.start_soon(self._keep, number, nursery.cancel_scope)

    async def apply(self, config: Config, text: str) -> None:
        """Have all of them serve `config`, which is what `text` says. A worker that cannot is replaced.

        Raises as `Serving.reload` does: then all is as before.
        """
        done = await turn(self.listeners, config.listen, partial(check_listeners, config))
        self._listeners = {
            number: listener for number, listener in self._listeners.items() if listener not in done.gone
        } | {next(self._numbers): listener for listener in done.opened}
        self._config, self._text = config, text
        async with trio.open_nursery() as nursery:
            for number, worker in self._workers.items():
                nursery.start_soon(self._follow, number, worker)
        for listener in done.gone:
            listener.close()

    async def publish(self, change: bytes) -> None:
        """Tell all of them what was registered or taken away; once this returns, they know it."""
        await self._ask_all("targets", change)

    async def metrics(self) -> Snapshot:
        """What all of them, and those before them, have counted."""
        for worker, answer in await self._ask_all("metrics"):
            worker.last = msgspec.json.decode(answer, type=Snapshot)
        return merged([worker.last for worker in self._workers.values()], [self._dead])

    async def drain(self) -> int:
        """Let all of them finish, and end; how many answers are under way."""
        self._stopping.set()
        return sum(int(answer) for _, answer in await self._ask_all("drain"))

    async def stop(self) -> None:
        """End them at once. What has not ended after a while is killed."""
        self._stopping.set()
        await self._ask_all("stop")
        await trio.sleep(_PATIENCE)
        for worker in self._workers.values():
            worker.process.kill()

    def close(self) -> None:
        """Stop listening."""
        for listener in self.listeners:
            listener.close()

    async def _ask_all(self, what: What, data: bytes = b"") -> list[tuple[Worker, bytes]]:
        """What those that answer in time answer."""
        answers: list[tuple[Worker, bytes]] = []

        async def ask(worker: Worker) -> None:
            with trio.move_on_after(_GLANCE), suppress(Unanswered):  # the one in its place knows what it knew
                answers.append((worker, await worker.ask(what, data)))

        async with trio.open_nursery() as nursery:
            for worker in self._workers.values():
                nursery.start_soon(ask, worker)
        return answers

    async def _follow(self, number: int, worker: Worker) -> None:
        try:
            with trio.fail_after(_PATIENCE):
                await worker.serve(self._said, self.listeners)
        except (Unanswered, trio.TooSlowError) as exc:
            log.error("worker %d cannot follow the reload, and is replaced: %s", number, exc or "it does not answer")
            worker.process.terminate()

    def _said(self, number: int) -> Serve:
        listeners = tuple(Shared(number, listener.listen) for number, listener in self._listeners.items())
        return Serve(
            number=number,
            file=self._file,
            first=self._first,
            text=self._text,
            listeners=listeners,
            targets=self._registered(),
            colour=self._colour,
        )

    # ── one worker after the other ──────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, number: int, scope: trio.CancelScope) -> None:
        """Start worker `number`, and another whenever it ends, until we stop."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = trio.current_time()
            said = await self._live(number)
            if self._stopping.is_set():
                return
            if trio.current_time() - began >= _STABLE:
                pause = _FIRST_PAUSE
            if self._failures >= _TRIES * self._config.workers and not self.serving:
                self.failure = StartError(f"no worker can serve: {said}")
                scope.cancel()
            log.error("worker %d ended (%s); another one is started in %g s", number, said, pause)
            with trio.move_on_after(pause):
                await self._stopping.wait()
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _live(self, number: int) -> str:
        """The life of one; why it ended."""
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        with theirs:
            try:
                process = await _start(theirs.fileno(), number)
            except OSError as exc:
                channel.close()
                self._failures += 1
                return f"it cannot be started: {exc.strerror}"
        worker = self._workers[number] = Worker(process, channel)
        said = ""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker.listen)
                try:
                    await worker.serve(self._said, self.listeners)
                except Unanswered as exc:
                    self._failures += 1
                    said = str(exc)
                else:
                    self._serves(number, worker)
                status = await process.wait()
        finally:
            del self._workers[number]
            if process.returncode is None:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
            self._dead = merged([], [self._dead, worker.last])
            self.cut += worker.cut
        return f"{_ending(status)}{f': {said}' if said else ''}"

    def _serves(self, number: int, worker: Worker) -> None:
        worker.ready, self._failures = True, 0
        if self.ready.is_set():
            log.info("worker %d: another one serves in its place", number)
        if self.serving == self._config.workers:
            self.ready.set()


async def _start(descriptor: int, number: int) -> trio.Process:
    # As we were started ourselves: without the current directory on the path, if it is not on ours.
    safe = [] if {"", os.getcwd()} & set(sys.path) else ["-P"]
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}  # that is ours to talk to
    return await trio.lowlevel.open_process(
        [sys.executable, *safe, "-m", "trioproxy.worker", str(descriptor), str(number)],
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        env=environ,
        process_group=0,  # Ctrl-C is for the supervisor, which tells them
    )


def _ending(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
