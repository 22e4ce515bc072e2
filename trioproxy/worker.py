"""One of several processes that serve: it does what the supervisor says, on listeners that all of them share.

If the supervisor is gone, it lets the answers under way finish, and ends.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress

import msgspec
import trio

from trioproxy import registry
from trioproxy.collector import tune_collector
from trioproxy.config import Config
from trioproxy.control import Answer, Ask, Channel, Last, Leaving, Message, Serve
from trioproxy.errors import ConfigError
from trioproxy.http.listen import Listener, listeners_from
from trioproxy.http.relisten import Turn
from trioproxy.log import set_up
from trioproxy.reload import stages_of, within_reach
from trioproxy.serving import Serving, open_serving
from trioproxy.store import StoreError

__all__ = ["main"]

log = logging.getLogger("trioproxy.worker")


def main(arguments: Sequence[str]) -> int:
    """Serve as the supervisor says, at the other end of a socket; the exit status.

    `arguments` are the socket's descriptor and the number of this worker. What is served is not among them: it may hold
    tokens, and the arguments of a process are for all to see.
    """
    descriptor, number = map(int, arguments)
    return trio.run(_Worker(Channel(socket.socket(fileno=descriptor)), number).work)


class _Worker:
    def __init__(self, channel: Channel, number: int) -> None:
        self._channel, self._number = channel, number
        self._listeners: dict[int, Listener] = {}  # by the supervisor's numbers
        self._leaving = False

    async def work(self) -> int:
        """Serve until told to stop; the exit status."""
        for ignored in (signal.SIGINT, signal.SIGHUP):  # of a terminal: they are for the supervisor
            signal.signal(ignored, signal.SIG_IGN)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            try:
                first, descriptors = await self._channel.receive()
            except trio.EndOfChannel:
                return 1  # the supervisor is gone already
            assert isinstance(first, Serve)
            try:
                return await self._serve(first, descriptors, signals)
            except (ConfigError, OSError, StoreError) as exc:
                await self._channel.send(Answer(number=first.number, error=str(exc)))
                return 1

    async def _serve(self, first: Serve, descriptors: list[int], signals: AsyncIterable[int]) -> int:
        began = first.file.read(first.first)
        config = self._read(first, began) if first.text != first.first else began
        self._log(first, config)
        listening = self._listen(first, descriptors)
        async with open_serving(config, listening.now, worker=self._number) as serving:
            serving.targets.load(first.targets)
            tune_collector()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, serving, nursery.cancel_scope)
                nursery.start_soon(self._drain_at, signals, serving, nursery.cancel_scope)
                await self._channel.send(Answer(number=first.number))
                await serving.serve()
                nursery.cancel_scope.cancel()
            with suppress(trio.BrokenResourceError):  # nobody is left to be told
                await self._channel.send(Last(cut=serving.busy, metrics=serving.metrics.snapshot()))
            return 1 if serving.busy else 0

    async def _obey(self, serving: Serving, scope: trio.CancelScope) -> None:
        """Do what the supervisor says, as long as there is one."""
        try:
            while True:
                message, descriptors = await self._channel.receive()
                await self._channel.send(self._answer(message, descriptors, serving, scope))
        except (trio.EndOfChannel, trio.BrokenResourceError):
            log.error("the supervisor is gone: this worker ends as soon as its answers are complete")
            self._leave(serving, scope)

    def _answer(self, message: Message, descriptors: list[int], serving: Serving, scope: trio.CancelScope) -> Answer:
        assert isinstance(message, Serve | Ask)
        data = b""
        match message:
            case Serve():
                try:
                    config = self._read(message, serving.config)
                    serving.follow(config, self._listen(message, descriptors))
                except (ConfigError, OSError) as exc:
                    return Answer(number=message.number, error=str(exc))
                except Exception as exc:  # a bug: whoever is replaced finishes its answers, and who dies of it does not
                    log.exception("the reload failed")
                    return Answer(number=message.number, error=f"it failed: {type(exc).__name__}")
                serving.targets.load(message.targets)
                self._log(message, config)
            case Ask(what="metrics"):
                data = msgspec.json.encode(serving.metrics.snapshot())
            case Ask(what="targets"):
                serving.targets.load(message.data)
            case Ask(what="drain"):
                data = b"%d" % serving.busy
                self._leave(serving, scope)
            case Ask(what="stop"):
                scope.cancel()
        return Answer(number=message.number, data=data)

    def _read(self, message: Serve, before: Config) -> Config:
        with registry.anew(before.directory, stages_of(before)):
            return within_reach(before, message.file.read(message.text))[0]

    def _listen(self, message: Serve, descriptors: list[int]) -> Turn:
        """The listeners of the message: those that are known stay, the descriptors of others are theirs from now on."""
        before, opened = self._listeners, []
        self._listeners = {}
        for shared, descriptor in zip(message.listeners, descriptors, strict=True):
            if listener := before.pop(shared.number, None):
                socket.close(descriptor)
                listener.use(shared.listen)
            else:
                [listener] = listeners_from([(descriptor, shared.listen)])
                opened.append(listener)
            self._listeners[shared.number] = listener
        return Turn(list(self._listeners.values()), opened, list(before.values()))

    def _log(self, message: Serve, config: Config) -> None:
        wanted = config.log
        set_up(wanted.level, wanted.format, colour=message.colour, enabled=wanted.enabled, worker=self._number)

    async def _drain_at(self, signals: AsyncIterable[int], serving: Serving, scope: trio.CancelScope) -> None:
        async for _ in signals:
            self._leave(serving, scope)
            with suppress(trio.BrokenResourceError):
                await self._channel.send(Leaving())  # another one can start in our place

    def _leave(self, serving: Serving, scope: trio.CancelScope) -> None:
        """Accept nothing more, and let the answers under way finish, for as long as the file says."""
        if not self._leaving:
            self._leaving = True
            scope.deadline = trio.current_time() + serving.config.drain
            serving.drain()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
