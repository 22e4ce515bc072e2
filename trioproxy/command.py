"""A program that is run for the token that it prints."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

import trio

from trioproxy.config.sources import TOKEN_SIZE, as_token

__all__ = ["NoToken", "printed"]


class NoToken(Exception):
    """A source gives no token; the text says why, and holds nothing that the source said."""


async def printed(command: tuple[str, ...], *, patience: float) -> str:
    """The token that a program prints, within `patience` seconds. Raises `NoToken`.

    It has no terminal to ask at and a process group of its own, which ends with it if it takes too long.
    """
    try:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # may quote what it was given
            start_new_session=True,
        )
    except OSError as exc:
        raise NoToken(f"cannot be run: {exc.strerror}") from exc
    ended = False
    try:
        with trio.fail_after(patience):
            printed = await _read(process)
            status = await process.wait()
            ended = True
    except trio.TooSlowError as exc:
        raise NoToken(f"took more than {patience:g} s") from exc
    finally:
        if not ended:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):  # what was killed is gone at once
            await process.wait()
    if status:
        how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        raise NoToken(f"{how}; run it yourself to see why")
    try:
        return as_token(printed)
    except ValueError as exc:
        raise NoToken(f"prints {exc}") from exc


async def _read(process: trio.Process) -> bytes:
    """What it prints, until it closes its output or ends: what it has started may go on, and keep the output open."""
    assert isinstance(process.stdout, trio.lowlevel.FdStream)
    printed = bytearray()
    async with process.stdout as output:  # closed, a program that goes on printing ends
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at_end, process, nursery.cancel_scope)
            async for piece in output:
                printed += piece
                if len(printed) > TOKEN_SIZE:
                    break
            nursery.cancel_scope.cancel()
        with suppress(BlockingIOError):  # no more was there when it ended
            while len(printed) <= TOKEN_SIZE and (piece := os.read(output.fileno(), TOKEN_SIZE)):
                printed += piece
    if len(printed) > TOKEN_SIZE:
        raise NoToken(f"prints more than {TOKEN_SIZE // 1024} KiB")
    return bytes(printed)


async def _cancel_at_end(process: trio.Process, scope: trio.CancelScope) -> None:
    await process.wait()
    scope.cancel()
