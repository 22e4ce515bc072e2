from collections.abc import Sequence
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.http.chunks import BadChunk, ChunkGuard

NEXT = b"GET /next HTTP/1.1\r\n\r\n"

GOOD = {
    "empty": b"0\r\n\r\n",
    "one": b"5\r\nhello\r\n0\r\n\r\n",
    "upper and lower case": b"A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
    "leading zeros": b"0005\r\nhello\r\n000\r\n\r\n",
    "extension": b"5;name=value\r\nhello\r\n0;last\r\n\r\n",
    "space before extension": b"5 ; name\r\nhello\r\n0\r\n\r\n",
    "trailers": b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other: \xe9\r\n\r\n",
    "content like framing": b"7\r\n0\r\n\r\nab\r\n0\r\n\r\n",
}

BAD = {
    "no size": b"\r\nhello\r\n",
    "signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nhello\r\n",
    "leading space": b" 5\r\nhello\r\n0\r\n\r\n",
    "trailing space": b"5 \r\nhello\r\n0\r\n\r\n",
    "unicode space": b"5\x85\r\nhello\r\n0\r\n\r\n",
    "not hexadecimal": b"g\r\n",
    "16 digits": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare LF after size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF after data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR in extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "long extension": b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"a" * 300,
    "data longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "data shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    "request for a trailer": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "folded trailer": b"0\r\nX-A: 1\r\n 2\r\n\r\n",
    "trailer with a bare LF": b"0\r\nX-A: 1\n\r\n",
    "trailer with a space in its name": b"0\r\nX-A : 1\r\n\r\n",
    "33 trailers": b"0\r\n" + b"X-A: 1\r\n" * 33 + b"\r\n",
    "long trailer": b"0\r\nX-A: " + b"a" * 8192 + b"\r\n\r\n",
}


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(each % (len(data) + 1) for each in at), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def take(guard: ChunkGuard, pieces: Sequence[bytes]) -> int:
    return sum(guard.take(piece) for piece in pieces)


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
@given(at=st.lists(st.integers(0, 200), max_size=8))
def test_finds_the_end_of_a_right_body_wherever_it_is_cut(body: bytes, at: list[int]) -> None:
    guard = ChunkGuard()
    assert take(guard, cut(body + NEXT, at)) == len(body)
    assert guard.done


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
@given(at=st.lists(st.integers(0, 9000), max_size=8))
def test_refuses_a_wrong_body_wherever_it_is_cut(body: bytes, at: list[int]) -> None:
    with pytest.raises(BadChunk):
        take(ChunkGuard(), cut(body, at))


def test_counts_what_is_declared_before_it_comes() -> None:
    # So that a body over the bound is refused before any of it is read.
    guard = ChunkGuard()
    guard.take(b"fffffffff\r\n")
    assert guard.size == 0xFFFFFFFFF
    assert not guard.done


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    tail=st.binary(max_size=20),
    at=st.lists(st.integers(0, 400), max_size=8),
)
def test_agrees_with_h11_on_where_a_body_ends(chunks: list[bytes], tail: bytes, at: list[int]) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.next_event()
    guard, got = ChunkGuard(), b""
    for piece in cut(body + tail, at):
        if taken := guard.take(piece):
            server.receive_data(piece[:taken])
        while isinstance(event := server.next_event(), h11.Data):
            got += bytes(event.data)
    assert guard.done
    assert isinstance(event, h11.EndOfMessage) or server.their_state is h11.DONE
    assert got == b"".join(chunks)
    assert guard.size == len(got)
    assert server.trailing_data[0] == b""


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    guard = ChunkGuard()
    try:
        taken = guard.take(data)
    except BadChunk:
        return
    assert taken == len(data) or guard.done
