"""What one process that serves, and the supervisor of several, have in common: signals, the file's reloads, systemd."""

import signal
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

import trio

from trioproxy import log
from trioproxy.cli.terminal import say, wants_colour
from trioproxy.config import Config
from trioproxy.errors import ConfigError
from trioproxy.notify import Notify
from trioproxy.reload import Reloading

__all__ = ["Runs", "follow_log", "hold", "streams", "take_signals"]

_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
_SIGNALS = [signal.SIGINT, signal.SIGTERM, *([_HANGUP] if _HANGUP else [])]


@contextmanager
def take_signals() -> Iterator[AsyncIterable[int]]:
    """Receive the signals that `hold` is about."""
    if _HANGUP:
        # A terminal that is closed sends it twice: what comes after the end must not make it look like a crash.
        signal.signal(_HANGUP, signal.SIG_IGN)
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        yield signals


class Runs(Protocol):
    """What signals are about."""

    async def run(self) -> None:
        """Serve until it is drained, or stopped."""

    async def drain(self) -> int:
        """Accept nothing more, and end with the last answer; how many are under way."""

    async def stop(self) -> None:
        """End at once."""


async def hold(
    running: Runs, reloading: Reloading, signals: AsyncIterable[int], began: Callable[[], Awaitable[None]]
) -> None:
    """Run until a signal ends it, and reload when one asks for that, or when the file says so and has changed.

    `began` returns when there is something to announce.
    """
    notify, terminal = Notify(), sys.stderr.isatty()
    async with trio.open_nursery() as nursery:

        async def announce() -> None:
            await began()
            notify.ready()

        nursery.start_soon(announce)
        nursery.start_soon(partial(_obey, running, reloading, signals, notify, nursery, terminal=terminal))
        nursery.start_soon(reloading.watch)
        nursery.start_soon(_alive, notify)
        await running.run()
        nursery.cancel_scope.cancel()


async def _obey(
    running: Runs,
    reloading: Reloading,
    signals: AsyncIterable[int],
    notify: Notify,
    nursery: trio.Nursery,
    *,
    terminal: bool,
) -> None:
    """The first signal lets running answers finish, the second ends them, and so does the drain time. SIGHUP reloads,
    unless it comes as the `terminal` that we were started from is closed.
    """
    asked = False
    async for number in signals:
        if number == _HANGUP and (asked or not terminal or sys.stderr.isatty()):
            nursery.start_soon(_reload, reloading)
        elif asked:
            await running.stop()
        else:
            asked = True
            notify.stopping()
            drain = reloading.config.drain
            if busy := await running.drain():
                say(f"finishing {streams(busy)}, at most {drain:g} s; Ctrl-C again to quit")
            nursery.start_soon(_give_up, running, drain)


async def _reload(reloading: Reloading) -> None:
    with suppress(ConfigError, OSError):  # which is logged
        await reloading.reload()


async def _give_up(running: Runs, drain: float) -> None:
    await trio.sleep(drain)
    await running.stop()


async def _alive(notify: Notify) -> None:
    while notify.watchdog is not None:
        notify.alive()
        await trio.sleep(notify.watchdog)


def follow_log(config: Config) -> None:
    """Log what `config` says, as it says."""
    log.set_up(config.log.level, config.log.format, colour=wants_colour(), enabled=config.log.enabled)


def streams(number: int) -> str:
    return f"{number} answer{'s' if number > 1 else ''}"
