"""The channel between the supervisor and a worker, over a real socket pair."""

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from trioproxy.config.file import File
from trioproxy.control import Answer, Ask, Channel, Last, Leaving, Message, Passed, Serve
from trioproxy.exposition import Family, Snapshot
from trioproxy.http.listen import Address, Listen

LISTEN = Listen(Address("127.0.0.1:0"), Path("cert.pem"), None, True)


def serve(*listens: Listen, text: str = "…") -> Serve:
    shared = tuple(Passed(number, listen) for number, listen in enumerate(listens))
    file = File(path=Path("stages.toml"), listen=(LISTEN,), log_level="debug")
    return Serve(number=1, file=file, first=text, text=text, listeners=shared, targets=b"\x00\xff", colour=True)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, Channel]]:
    ours, theirs = (Channel(sock) for sock in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "message",
    [
        serve(text="a line\nand another"),
        Ask(number=2, what="targets", data=bytes(range(256))),
        Answer(number=3, error="no"),
        Leaving(),
        Last(cut=2, metrics=Snapshot([Family("a", "counter", "b", ("c",), [(("d",), [1.0])])])),
    ],
)
async def test_a_message_arrives_as_it_was(ends: tuple[Channel, Channel], message: Message) -> None:
    ours, theirs = ends
    for _ in range(2):
        await ours.send(message)
    assert await theirs.receive() == (message, [])
    assert await theirs.receive() == (message, [])


async def test_descriptors_come_with_their_message(ends: tuple[Channel, Channel], tmp_path: Path) -> None:
    ours, theirs = ends
    files = [(tmp_path / name).open("w") for name in "abc"]
    numbers = [file.fileno() for file in files]
    large = "x" * 500_000  # more than the socket holds: it goes in many pieces
    first, second = serve(LISTEN, LISTEN, text=large), serve(LISTEN)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await ours.send(first, numbers[:2])
            await ours.send(second, numbers[2:])

        nursery.start_soon(send)
        got = [await theirs.receive(), await theirs.receive()]
    assert [message for message, _ in got] == [first, second]
    for file, copy in zip(files, [copy for _, copies in got for copy in copies], strict=True):
        assert copy != file.fileno()
        assert os.fstat(copy) == os.fstat(file.fileno())
        os.close(copy)
        file.close()


async def test_an_end_that_is_gone_is_noticed(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.close()
    with pytest.raises(trio.EndOfChannel):
        await ours.receive()
    with pytest.raises(trio.BrokenResourceError):
        await ours.send(Answer(number=1))


async def test_half_a_message_is_the_last(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    with trio.move_on_after(0.05) as scope:  # nobody reads
        await ours.send(serve(text="x" * 2_000_000))
    assert scope.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        await ours.send(Answer(number=1))
    with pytest.raises(trio.EndOfChannel):
        await theirs.receive()
