from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.errors import ProxyError
from trioproxy.replay import ReplayReply, _pieces

EVENTS = [b"event: a\ndata: 1\n\n", b"data: 2\r\n\r\n", b": comment\r\r", b"data: no blank line"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "hello.sse"
    file.write_bytes(b"".join(EVENTS))
    return file


async def read(reply: ReplayReply) -> list[bytes]:
    pieces = []
    while piece := await reply.receive():
        pieces.append(piece)
    return pieces


async def test_gives_one_event_after_the_other(recording: Path) -> None:
    with ReplayReply(recording) as reply:
        await reply.send(b"a request ")
        await reply.end(b"of any kind")
        assert await reply.head() == reply.status == 200
        assert (b"content-type", b"text/event-stream; charset=utf-8") in reply.headers
        assert await read(reply) == EVENTS
        assert reply.received == len(b"".join(EVENTS))
        assert await reply.receive() == b""  # the end stays the end


async def test_chunks(recording: Path) -> None:
    pieces = await read(ReplayReply(recording, chunk=7))
    assert {len(piece) for piece in pieces[:-1]} == {7}
    assert b"".join(pieces) == b"".join(EVENTS)


async def test_waits_the_pace_between_two_pieces_and_not_before_the_first(
    recording: Path, autojump_clock: trio.testing.MockClock
) -> None:
    reply = ReplayReply(recording, pace=10)
    began = trio.current_time()
    await reply.receive()
    assert trio.current_time() == began
    await read(reply)
    assert trio.current_time() - began == pytest.approx(10 * (len(EVENTS) - 1))


async def test_a_json_file_is_one_whole_body(tmp_path: Path) -> None:
    file = tmp_path / "hello.json"
    file.write_bytes(b'{"a":\n\n1}')
    reply = ReplayReply(file)
    assert (b"content-type", b"application/json") in reply.headers
    assert await read(reply) == [b'{"a":\n\n1}']


async def test_read_gives_all_up_to_the_limit(recording: Path) -> None:
    assert await ReplayReply(recording).read(1_000_000) == b"".join(EVENTS)
    assert await ReplayReply(recording).read(5) == EVENTS[0][:5]


def test_a_recording_that_cannot_be_read_names_the_file_but_not_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match=r"'gone\.sse' cannot be read") as caught:
        ReplayReply(tmp_path / "gone.sse")
    assert str(tmp_path) not in caught.value.error.message


@given(data=st.text("a\r\n", max_size=30).map(str.encode), chunk=st.none() | st.integers(1, 9))
def test_no_byte_is_lost_or_added(data: bytes, chunk: int | None) -> None:
    assert b"".join(_pieces(data, chunk, whole=False)) == data
