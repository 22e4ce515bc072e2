from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.http.head import Malformed, check_fields, check_lines, find_end
from trioproxy.http.limits import Limits
from trioproxy.units import Size

LIMITS = Limits(head=Size(200), head_lines=4, body=Size(1000))
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"


def read(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    return request


def test_finds_the_end_however_the_head_drips_in() -> None:
    buffer, looked = bytearray(), 0
    for at in range(len(HEAD)):
        assert find_end(buffer, LIMITS, looked) == 0
        looked = len(buffer)
        buffer += HEAD[at : at + 1]
    assert find_end(buffer, LIMITS, looked) == len(HEAD)
    assert find_end(bytearray(HEAD + b"more"), LIMITS) == len(HEAD)


@pytest.mark.parametrize("bad", [b"\n", b"\r", b"\x00", b"\x7f", b"\r\n "])
@given(at=st.integers(1, len(HEAD) - 5), cut=st.integers(0, len(HEAD)))
def test_what_is_ambiguous_is_found_wherever_it_stands_and_is_cut(bad: bytes, at: int, cut: int) -> None:
    data = HEAD[:at] + b"x" + bad + b"x" + HEAD[at:]
    buffer = bytearray(data[:cut])
    with pytest.raises(Malformed, match="bare CR, bare LF, control byte or folded line") as caught:  # noqa: PT012
        find_end(buffer, LIMITS)  # the first half may be enough
        buffer += data[cut:]
        find_end(buffer, LIMITS, cut)
    assert caught.value.status == 400


def test_a_large_head_is_refused_before_it_is_whole() -> None:
    with pytest.raises(Malformed, match="larger than 200 bytes") as caught:
        find_end(bytearray(b"GET / HTTP/1.1\r\nX: " + b"x" * 200), LIMITS)
    assert caught.value.status == 431


@pytest.mark.parametrize(
    ("lines", "status", "message"),
    [
        (b"A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5", 431, "more than 4 header lines"),
        (b"Content-Length: 1\r\nContent-Length: 1", 400, "more than one Content-Length"),
        (b"content-length: 1, 1", 400, "more than one Content-Length"),
        (b"Content-Length: +1", 400, "not a number"),
        (b"Content-Length: 0x1", 400, "not a number"),
        (b"Content-Length: 1_0", 400, "not a number"),
        (b"Content-Length:", 400, "not a number"),
        (b"Content-Length: 1234567890123456", 400, "up to 15 digits"),
        (b"Content-Length: 1001", 413, "larger than 1000 bytes"),
    ],
)
def test_lines_that_servers_read_differently(lines: bytes, status: int, message: str) -> None:
    with pytest.raises(Malformed, match=message) as caught:
        check_lines(b"GET / HTTP/1.1\r\n" + lines + b"\r\n\r\n", LIMITS)
    assert caught.value.status == status


@pytest.mark.parametrize("lines", [b"Content-Length:  1000 ", b"X-Content-Length: 1\r\nContent-Length: 1", b"A: 1"])
def test_lines_that_all_servers_read_alike(lines: bytes) -> None:
    check_lines(b"GET / HTTP/1.1\r\n" + lines + b"\r\n\r\n", LIMITS)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x:99999\r\n\r\n", 400),
    ],
)
def test_fields_that_are_not_served(head: bytes, status: int) -> None:
    with pytest.raises(Malformed) as caught:
        check_fields(read(head))
    assert caught.value.status == status


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"M-SEARCH / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n",
    ],
)
def test_fields_that_are_served(head: bytes) -> None:
    check_fields(read(head))
