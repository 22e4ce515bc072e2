from __future__ import annotations

import gzip
from typing import Any

import pytest
import trio

from trioproxy import ProxyError
from trioproxy.ends import Body, From, Gathered, Items, Late, ToClient, only_bytes
from trioproxy.http.headers import Headers
from trioproxy.items import Error, Frame, TextDelta
from trioproxy.replay import ReplayReply

GONE = ProxyError(Error("upstream", "gone"))


class Scripted(ReplayReply):
    """A reply with a head and pieces of body; an exception among them is raised."""

    def __init__(self, *pieces: bytes | Exception, status: int = 200, headers: Headers | None = None) -> None:
        self.status = status
        self.headers = headers if headers is not None else [(b"content-type", b"text/event-stream")]
        self.received = 0
        self._script = list(pieces)

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        piece = self._script.pop(0) if self._script else b""
        if isinstance(piece, Exception):
            raise piece
        return piece


async def everything(source: Any) -> list[Any]:
    return [item async for batch in From(source) for item in batch]


async def test_a_pipeline_reads_its_source_to_the_end() -> None:
    assert await everything(Body(Scripted(b"a", b"b"))) == [b"a", b"b"]
    assert await everything(Items([1, 2])) == [1, 2]


async def test_what_goes_wrong_flows_behind_what_came_before() -> None:
    assert await everything(Body(Scripted(b"a", GONE, b"b"))) == [b"a", GONE.error]


async def test_a_content_coding_is_taken_off() -> None:
    coded = gzip.compress(b"hello")
    headers = [(b"content-encoding", b"gzip")]
    got = await everything(Body(Scripted(coded[:7], coded[7:], headers=headers)))
    assert b"".join(got) == b"hello"
    [error] = await everything(Body(Scripted(b"nonsense" * 9, headers=headers)))
    assert "cannot be read" in error.message
    with pytest.raises(ProxyError, match="content-encoding 'br'"):
        Body(Scripted(headers=[(b"content-encoding", b"br")]))


def late(reply: Scripted, *, heard: bool, limit: int = 1000) -> Late:
    return Late(reply, limit=limit, give_up=lambda: not heard)


async def test_a_late_stream_is_a_stream() -> None:
    assert await everything(late(Scripted(b"a"), heard=True)) == [b"a"]


JSON = [(b"content-type", b"application/json")]
BUSY = b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'


@pytest.mark.parametrize(
    ("reply", "item"),
    [
        (Scripted(BUSY, status=529, headers=JSON), Error("overloaded", "busy", 529)),
        (Scripted(b"{}", headers=JSON), Frame(b"{}", raw=b"{}", whole=True)),
        (Scripted(status=204, headers=[]), Error("upstream", "the upstream answered 204 with no stream of events")),
        (Scripted(b"x" * 2000, headers=JSON), Error("upstream", "the upstream sent an answer of more than 1000 bytes")),
    ],
)
async def test_what_else_comes_late_goes_into_the_stream_that_has_begun(reply: Scripted, item: object) -> None:
    assert await everything(late(reply, heard=True)) == [item]


async def test_what_else_comes_late_is_left_alone_if_the_client_has_heard_nothing() -> None:
    source = late(Scripted(BUSY, status=529, headers=JSON), heard=False)
    with trio.move_on_after(0.05) as scope:
        await source.receive()
    assert scope.cancelled_caught  # it waits to be cancelled, and has taken nothing of the body


async def test_to_client_begins_before_the_first_bytes() -> None:
    said: list[object] = []

    async def send(data: bytes) -> None:
        said.append(data)

    out = ToClient(lambda: said.append("head"), send)
    with out:
        await out.send([])
        assert not out.begun
        await out.send([b"a", b"b"])
    assert said == ["head", b"a", b"b"]
    assert out.closed.is_set()


async def nowhere(data: bytes) -> None:
    """Where bytes go that are never sent."""


@pytest.mark.parametrize("out", [Gathered(), ToClient(lambda: None, nowhere)])
async def test_an_end_that_failed_is_not_complete(out: Gathered | ToClient) -> None:
    with pytest.raises(ValueError, match="boom"), out:
        raise ValueError("boom")
    assert not out.closed.is_set()


def test_only_bytes_leave() -> None:
    assert only_bytes(b"a") == b"a"
    with pytest.raises(ProxyError, match="gone"):
        only_bytes(GONE.error)
    with pytest.raises(TypeError, match="a TextDelta came out of the response stages, where bytes were due"):
        only_bytes(TextDelta(0, "a"))
