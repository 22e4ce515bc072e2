"""What the supervisor and a worker say to each other, over a socket pair.

A message is a line of JSON, and listeners' descriptors come beside it. The supervisor asks, the worker answers.
"""

from __future__ import annotations

import array
import itertools
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import trio

from trioproxy.config.file import File
from trioproxy.exposition import Snapshot
from trioproxy.http.listen import Listen, Listener

__all__ = ["Answer", "Ask", "Channel", "Last", "Leaving", "Message", "Passed", "Serve", "Unanswered", "What", "Worker"]

_LONGEST = 64 * 1024 * 1024  # bytes of a message: ten thousand targets take some megabytes
_PIECE = 64 * 1024
_DESCRIPTORS = 250  # with one message: Linux passes 253 at most (SCM_MAX_FD)


What = Literal["metrics", "targets", "drain", "stop"]


class Passed(msgspec.Struct, frozen=True):
    """A listener that the supervisor has opened. The descriptor of each comes along, in the same order."""

    number: int
    listen: Listen


class Serve(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Serve this from now on."""

    number: int
    file: File
    first: str
    """The file's text when the supervisor started, which says what cannot change any more."""
    text: str
    """What is served, whatever stands in the file by now."""
    listeners: tuple[Passed, ...]
    targets: bytes
    """What was registered, as `Targets.snapshot` says it."""
    colour: bool
    """Whether the log is read on a terminal that shows colours."""


class Ask(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Anything else that is asked of a worker."""

    number: int
    what: What
    data: bytes = b""


class Answer(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What a worker answers; an `error` says what went wrong."""

    number: int
    data: bytes = b""
    error: str = ""


class Leaving(msgspec.Struct, frozen=True, tag=True):
    """What a worker says that accepts nothing more, though nobody of us has told it to."""


class Last(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The last that a worker says."""

    cut: int
    """How many answers were cut off."""
    metrics: Snapshot


Message = Serve | Ask | Answer | Leaving | Last

_encoder = msgspec.json.Encoder(enc_hook=str)  # a path, and what is a text by another name


def _decoded(kind: Callable[[str], object], value: object) -> object:
    return kind(str(value))  # a path or an address


_decoder = msgspec.json.Decoder(Message, dec_hook=_decoded)


class Channel:
    """One end. Raises `trio.BrokenResourceError` from `send`, and `trio.EndOfChannel` from `receive`, once the other
    process is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._one = trio.Lock()
        self._unread = bytearray()
        self._descriptors: deque[int] = deque()

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, and copies of `descriptors` with it."""
        data = memoryview(_encoder.encode(message) + b"\n")
        if len(data) > _LONGEST or len(descriptors) > _DESCRIPTORS:
            raise ValueError(f"a message of {len(data)} bytes and {len(descriptors)} descriptors is too long")
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sent = 0
        async with self._one:
            try:
                sent = await self._socket.sendmsg([data], beside)
                while sent < len(data):
                    sent += await self._socket.send(data[sent:])
            except (OSError, trio.ClosedResourceError) as exc:
                raise trio.BrokenResourceError from exc
            except trio.Cancelled:
                if sent:
                    self.close()  # half a message: nothing that follows could be understood
                raise

    async def receive(self) -> tuple[Message, list[int]]:
        """The next message, and the descriptors that came with it: ours to close."""
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > _LONGEST:
                raise trio.EndOfChannel
            await self._read()
        message = _decoder.decode(bytes(self._unread[:end]))
        del self._unread[: end + 1]
        count = len(message.listeners) if isinstance(message, Serve) else 0
        return message, [self._descriptors.popleft() for _ in range(count)]

    async def _read(self) -> None:
        try:
            space = socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize)
            data, beside, flags, _ = await self._socket.recvmsg(_PIECE, space)
        except (OSError, trio.ClosedResourceError) as exc:
            raise trio.EndOfChannel from exc
        for level, kind, content in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found = array.array("i")
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
                self._descriptors += found
        if not data or flags & socket.MSG_CTRUNC:
            raise trio.EndOfChannel
        self._unread += data

    def close(self) -> None:
        """The other end is told that nobody is here any more."""
        self._socket.close()
        while self._descriptors:
            socket.close(self._descriptors.popleft())


class Unanswered(Exception):
    """The worker is no longer there, or said no; the text says why."""


class Worker:
    """One of them as the supervisor sees it: its process, and what it was asked."""

    def __init__(self, process: trio.Process, channel: Channel) -> None:
        self.process, self._channel = process, channel
        self.ready = False
        self.left = trio.Event()
        """It accepts nothing more, or has ended."""
        self.ended = trio.Event()
        self.last = Snapshot()
        """What it had counted when it was last heard of."""
        self.cut = 0
        self._numbers = itertools.count(1)
        self._asked: dict[int, trio.MemorySendChannel[Answer]] = {}

    async def ask(self, what: What, data: bytes = b"") -> bytes:
        """What it answers. Raises `Unanswered`."""
        return await self._send(Ask(number=next(self._numbers), what=what, data=data), ())

    async def serve(self, say: Callable[[int], Serve], listeners: Sequence[Listener]) -> None:
        """Have it serve something. Raises `Unanswered`."""
        await self._send(say(next(self._numbers)), [listener.fileno() for listener in listeners])

    async def _send(self, message: Ask | Serve, descriptors: Sequence[int]) -> bytes:
        send, receive = trio.open_memory_channel[Answer](1)
        self._asked[message.number] = send
        try:
            await self._channel.send(message, descriptors)
            answer = await receive.receive()
        except (trio.BrokenResourceError, trio.EndOfChannel):
            raise Unanswered("it ended") from None
        finally:
            self._asked.pop(message.number, None)
        if answer.error:
            raise Unanswered(answer.error)
        return answer.data

    async def listen(self) -> None:
        """Hear its answers until it is gone."""
        while True:
            try:
                message, _ = await self._channel.receive()
            except (trio.EndOfChannel, msgspec.DecodeError):
                break
            if isinstance(message, Last):
                self.last, self.cut = message.metrics, message.cut
            elif isinstance(message, Leaving):
                self.left.set()
            elif isinstance(message, Answer) and message.number in self._asked:
                self._asked[message.number].send_nowait(message)
        for waiting in self._asked.values():
            waiting.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Have nothing more to do with it: then it ends, once its answers are complete."""
        self._channel.close()
