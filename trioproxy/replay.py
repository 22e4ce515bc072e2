"""An upstream that is a recording: it answers every request with the same bytes, at the pace it is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import trio

from trioproxy.errors import ProxyError
from trioproxy.http.headers import Headers
from trioproxy.items import Error

__all__ = ["ReplayReply"]

_EVENT = re.compile(rb".+?(?:\r\n\r\n|\n\n|\r\r|\Z)", re.DOTALL)


class ReplayReply:
    """One answer from `file`: an event stream, or a whole body if the file's name ends in `.json`.

    It has the methods of `http.client.Reply` and takes every request body.
    """

    def __init__(self, file: Path, *, pace: float = 0.0, chunk: int | None = None) -> None:
        try:
            data = file.read_bytes()
        except OSError as exc:
            raise ProxyError(Error("upstream", f"the recording {file.name!r} cannot be read: {exc.strerror}")) from exc
        kind = b"application/json" if file.suffix == ".json" else b"text/event-stream; charset=utf-8"
        self.status = 200
        self.headers: Headers = [(b"content-type", kind), (b"cache-control", b"no-cache")]
        self.received = 0
        self.complete = False
        self._pieces = _pieces(data, chunk, whole=file.suffix == ".json")
        self._pace = pace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def send(self, data: bytes) -> None:
        """Take some of the request body."""

    async def end(self, data: bytes = b"") -> None:
        """Take the last of the request body."""

    async def head(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.status

    async def receive(self) -> bytes:
        """The next event or chunk, after the pace; empty at the end."""
        piece = next(self._pieces, b"")
        self.complete = not piece
        if piece and self.received:
            await trio.sleep(self._pace)
        else:
            await trio.lowlevel.checkpoint()
        self.received += len(piece)
        return piece

    def ready(self) -> bytes:
        """A recording never has anything ready: it takes its time."""
        return b""

    async def read(self, limit: int) -> bytes:
        """All of it; recordings are shorter than any limit that matters."""
        return b"".join(self._pieces)[:limit]

    def close(self) -> None:
        """Nothing is open."""


def _pieces(data: bytes, chunk: int | None, *, whole: bool) -> Iterator[bytes]:
    if chunk:
        return (data[at : at + chunk] for at in range(0, len(data), chunk))
    return iter([data] if whole else _EVENT.findall(data))
