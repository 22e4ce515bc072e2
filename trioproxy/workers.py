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
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from trioproxy.config import Config
from trioproxy.config.clients import check_listeners
from trioproxy.config.file import File
from trioproxy.control import Channel, Passed, Serve, Unanswered, What, Worker
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
_START = 30.0  # seconds to import all that it needs, and begin to serve
_EVERY, _MISSES = 10.0, 3  # seconds between two askings of how it is, and how many of them it may leave unanswered
_OLD = 2  # for each worker, that may finish their answers while others serve in their place


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
        self._leaving: deque[Worker] = deque()  # the first to go first
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
                nursery.start_soon(self._keep, number, nursery)

    async def apply(self, config: Config, text: str) -> None:
        """Have all of them serve `config`, which is what `text` says. A worker that cannot is replaced.

        Raises as `Serving.reload` does, and `OSError` if it was told to end: then all is as before.
        """
        if self._stopping.is_set():
            raise OSError("nothing more is served: it was told to end")
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
        """Tell all of them what was registered or taken away; once this returns, they know it, or are replaced."""

        async def tell(number: int, worker: Worker) -> None:
            try:
                with trio.fail_after(_GLANCE):
                    await worker.ask("targets", change)
            except (Unanswered, trio.TooSlowError) as exc:
                if worker.ready:  # else it reads this before it begins
                    self._replace(number, worker, "does not take over a target", exc)

        async with trio.open_nursery() as nursery:
            for number, worker in self._workers.items():
                nursery.start_soon(tell, number, worker)

    async def metrics(self) -> Snapshot:
        """What all of them, and those before them, have counted."""
        for worker, answer in await self._ask_all("metrics"):
            _note(worker, answer)
        # Two processes of one number cannot both say what is true of it now.
        old = [worker.last for worker in self._leaving]
        return merged([worker.last for worker in self._workers.values()], [*old, self._dead])

    async def drain(self) -> int:
        """Accept nothing more, let all of them finish, and end; how many answers are under way."""
        self._stopping.set()
        self.close()  # or who connects from now on would wait in the queue of a socket that nobody accepts from
        return sum(int(answer) for _, answer in await self._ask_all("drain"))

    async def stop(self) -> None:
        """End them at once. What has not ended after a while is killed."""
        self._stopping.set()
        self.close()
        await self._ask_all("stop")
        await trio.sleep(_PATIENCE)
        for worker in self._all():
            worker.process.kill()

    def close(self) -> None:
        """Stop listening."""
        for listener in self.listeners:
            listener.close()

    def _all(self) -> list[Worker]:
        return [*self._workers.values(), *self._leaving]

    async def _ask_all(self, what: What, data: bytes = b"") -> list[tuple[Worker, bytes]]:
        """What those that answer in time answer."""
        answers: list[tuple[Worker, bytes]] = []

        async def ask(worker: Worker) -> None:
            with trio.move_on_after(_GLANCE), suppress(Unanswered):  # the one in its place knows what it knew
                answers.append((worker, await worker.ask(what, data)))

        async with trio.open_nursery() as nursery:
            for worker in self._all():
                nursery.start_soon(ask, worker)
        return answers

    async def _follow(self, number: int, worker: Worker) -> None:
        try:
            with trio.fail_after(_PATIENCE):
                await worker.serve(self._said, self.listeners)
        except (Unanswered, trio.TooSlowError) as exc:
            self._replace(number, worker, "cannot follow the reload", exc)

    def _replace(self, number: int, worker: Worker, why: str, exc: Exception) -> None:
        if not self._stopping.is_set():
            log.error("worker %d %s, and is replaced: %s", number, why, exc if str(exc) else "it does not answer")
        worker.left.set()
        worker.process.terminate()

    def _said(self, number: int) -> Serve:
        listeners = tuple(Passed(number, listener.listen) for number, listener in self._listeners.items())
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

    async def _keep(self, number: int, nursery: trio.Nursery) -> None:
        """Start worker `number`, and another whenever it has left, until we stop."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = trio.current_time()
            said = await self._live(number, nursery)
            if self._stopping.is_set():
                return
            if trio.current_time() - began >= _STABLE:
                pause = _FIRST_PAUSE
            if self._failures >= _TRIES * self._config.workers and not self.serving:
                self.failure = StartError(f"no worker can serve: {said}")
                nursery.cancel_scope.cancel()
            how = f"ended ({said})" if said else "accepts nothing more"
            log.error("worker %d %s; another one is started in %g s", number, how, pause)
            with trio.move_on_after(pause):
                await self._stopping.wait()
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _live(self, number: int, nursery: trio.Nursery) -> str:
        """Start one, and wait until it accepts nothing more. Why it has ended; empty if it still finishes answers."""
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
        nursery.start_soon(self._attend, worker)
        said = ""
        try:
            with trio.fail_after(_START):
                await worker.serve(self._said, self.listeners)
        except (Unanswered, trio.TooSlowError) as exc:
            self._failures += 1
            said = f": {exc if str(exc) else f'it did not begin within {_START:g} s'}"
            worker.hang_up()  # it ends, if it has not: of one that starts while we end, the listeners are closed
            with trio.move_on_after(_PATIENCE if isinstance(exc, Unanswered) else 0):
                await worker.ended.wait()
            process.kill()
            await worker.ended.wait()
        else:
            self._serves(number, worker)
            nursery.start_soon(self._watch, number, worker)
            await worker.left.wait()
        del self._workers[number]
        if process.returncode is None:
            nursery.start_soon(self._see_off, number, worker)
            return ""
        return f"{_ending(process.returncode)}{said}"

    async def _attend(self, worker: Worker) -> None:
        """Hear one until it has ended."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker.listen)
                await worker.process.wait()
        finally:
            if worker.process.returncode is None:
                worker.process.kill()
                with trio.CancelScope(shield=True):
                    await worker.process.wait()
            worker.hang_up()
            self._dead = merged([], [self._dead, worker.last])
            worker.last = Snapshot()
            self.cut += worker.cut
            worker.left.set()
            worker.ended.set()

    async def _watch(self, number: int, worker: Worker) -> None:
        """Kill one that hangs: whoever it should answer would wait for ever. What it had counted by then is kept."""
        missed = 0
        while missed < _MISSES:
            missed += 1
            with trio.move_on_after(_EVERY):
                with suppress(Unanswered):  # it is ending
                    _note(worker, await worker.ask("metrics"))
                    missed = 0
                await worker.ended.wait()
                return
        log.error("worker %d has not answered for %g s, and is killed", number, _MISSES * _EVERY)
        worker.process.kill()

    async def _see_off(self, number: int, worker: Worker) -> None:
        """Let one finish its answers while another serves in its place: for `drain`, and only so many at once."""
        self._leaving.append(worker)
        if len(self._leaving) > _OLD * self._config.workers:
            log.error("%d workers before these finish their answers: the first is killed", len(self._leaving))
            self._leaving[0].process.kill()
        with trio.move_on_after(self._config.drain + _PATIENCE):
            await worker.ended.wait()
        worker.process.kill()
        await worker.ended.wait()
        self._leaving.remove(worker)
        log.info("worker %d: the one before it ended (%s)", number, _ending(worker.process.returncode or 0))

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


def _note(worker: Worker, counted: bytes) -> None:
    """Keep what a worker says that it has counted."""
    if not worker.ended.is_set():  # else it has said its last
        worker.last = msgspec.json.decode(counted, type=Snapshot)


def _ending(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
