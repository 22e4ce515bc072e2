import socket
import struct
from ipaddress import ip_address

import pytest
import trio

from trioproxy.http.proxy_protocol import BadHeader, read_header
from trioproxy.http.wire import Gone, SocketWire

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, body: bytes, *, version: int = 2, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack("!H", size) + body


def addresses(source: str, destination: str) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", 4711, 443)


V4, V6 = addresses("203.0.113.7", "10.0.0.1"), addresses("2001:db8::7", "fd00::1")
TLV = b"\x02\x00\x0bexample.com" + b"\x04\x00\x03\x00\x00\x00"  # PP2_TYPE_AUTHORITY, PP2_TYPE_NOOP

GOOD: dict[str, tuple[bytes, str | None]] = {
    "TCP4": (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "203.0.113.7"),
    "TCP6": (b"PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\n", "2001:db8::7"),
    "shortest": (b"PROXY UNKNOWN\r\n", None),
    "longest": (
        b"PROXY UNKNOWN " + b":".join([b"ffff"] * 8) + b" " + b":".join([b"ffff"] * 8) + b" 65535 65535\r\n",
        None,
    ),
    "longest that is known": (
        b"PROXY TCP6 " + b":".join([b"ffff"] * 8) + b" " + b":".join([b"ffff"] * 8) + b" 65535 65535\r\n",
        ":".join(["ffff"] * 8),
    ),
    "port 0": (b"PROXY TCP4 203.0.113.7 10.0.0.1 0 65535\r\n", "203.0.113.7"),
    "unknown with anything": (b"PROXY UNKNOWN whatever it says\r\n", None),
    "v2 IPv4": (v2(1, 0x11, V4), "203.0.113.7"),
    "v2 IPv6": (v2(1, 0x21, V6), "2001:db8::7"),
    "v2 with more about it": (v2(1, 0x11, V4 + TLV), "203.0.113.7"),
    "v2 protocol not said": (v2(1, 0x10, V4), "203.0.113.7"),
    "v2 health check": (v2(0, 0x00, b""), None),
    "v2 health check with an address": (v2(0, 0x11, V4), None),
    "v2 family not said": (v2(1, 0x00, b"anything"), None),
    "v2 from a Unix socket": (v2(1, 0x31, b"/run/a".ljust(216, b"\0")), None),
    "v2 longest": (v2(1, 0x11, V4 + b"\x04" + struct.pack("!H", 4065) + bytes(4065)), "203.0.113.7"),
}

BAD: dict[str, tuple[bytes, str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no PROXY header"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), "no PROXY header"),
    "lower case": (b"proxy TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "no PROXY header"),
    "too long": (b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n", "without its end within 107 bytes"),
    "one byte too long": (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "without its end within 107 bytes"),
    "bare LF": (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\nGET / HTTP/1.1\r\n", "without its end"),
    "early LF": (b"PROXY TCP4 1\r\n2.3.4 10.0.0.1 4711 443\r\n", "without its end"),
    "UDP": (b"PROXY UDP4 203.0.113.7 10.0.0.1 4711 443\r\n", "cannot be read"),
    "no ports": (b"PROXY TCP4 203.0.113.7 10.0.0.1\r\n", "cannot be read"),
    "one field too many": (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 1\r\n", "cannot be read"),
    "two spaces": (b"PROXY  TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "cannot be read"),
    "a tab": (b"PROXY TCP4\t203.0.113.7 10.0.0.1 4711 443\r\n", "cannot be read"),
    "unknown, and something": (b"PROXY UNKNOWNX\r\n", "cannot be read"),
    "no address": (b"PROXY TCP4 localhost 10.0.0.1 4711 443\r\n", "addresses are not of TCP4"),
    "another family": (b"PROXY TCP4 2001:db8::7 fd00::1 4711 443\r\n", "addresses are not of TCP4"),
    "another family for one": (b"PROXY TCP6 2001:db8::7 10.0.0.1 4711 443\r\n", "addresses are not of TCP6"),
    "leading zeros in the address": (b"PROXY TCP4 203.0.113.007 10.0.0.1 4711 443\r\n", "addresses are not of TCP4"),
    "not ASCII": (b"PROXY TCP4 203.0.113.\xb2 10.0.0.1 4711 443\r\n", "addresses are not of TCP4"),
    "port too large": (b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n", "a port that is none"),
    "port with a leading zero": (b"PROXY TCP4 203.0.113.7 10.0.0.1 04711 443\r\n", "a port that is none"),
    "port below 0": (b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 443\r\n", "a port that is none"),
    "v2 version 1": (v2(1, 0x11, V4, version=1), "another version"),
    "v2 version 3": (v2(1, 0x11, V4, version=3), "another version"),
    "v2 unknown command": (v2(2, 0x11, V4), "unknown command"),
    "v2 datagrams": (v2(1, 0x12, V4), "not those of a stream"),
    "v2 unknown family": (v2(1, 0x41, V4), "not those of a stream"),
    "v2 IPv4 too short": (v2(1, 0x11, V4[:-1]), "too short"),
    "v2 IPv6 too short": (v2(1, 0x21, V4), "too short"),
    "v2 Unix too short": (v2(1, 0x31, bytes(215)), "too short"),
    "v2 too long": (v2(1, 0x11, V4, length=4081), "more than 4096 bytes"),
    "v2 longest of all": (v2(1, 0x11, V4, length=65535), "more than 4096 bytes"),
}  # fmt: skip


class Giving:
    """The bytes of a connection that are all there; `rest` are those behind what was asked for."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    async def __call__(self, size: int) -> bytes:
        piece, self.rest = self.rest[:size], self.rest[size:]
        if len(piece) < size:
            raise Gone("the end came too early")
        return piece


@pytest.mark.parametrize("case", GOOD)
async def test_a_header_and_not_one_byte_behind_it(case: str) -> None:
    header, client = GOOD[case]
    exactly = Giving(header + b"\r\nGET")
    assert await read_header(exactly) == client
    assert exactly.rest == b"\r\nGET"


@pytest.mark.parametrize("case", BAD)
async def test_what_is_no_header(case: str) -> None:
    data, expected = BAD[case]
    with pytest.raises(BadHeader, match=expected):
        await read_header(Giving(data))


@pytest.mark.parametrize("case", GOOD)
async def test_a_header_that_never_ends(case: str) -> None:
    header, _ = GOOD[case]
    for size in range(0, len(header), 1 + len(header) // 100):
        with pytest.raises(Gone):
            await read_header(Giving(header[:size]))


@pytest.mark.parametrize("case", ["TCP4", "TCP6", "shortest", "longest", "v2 IPv4", "v2 with more about it"])
async def test_split_at_every_byte_on_a_socket(case: str, autojump_clock: trio.testing.MockClock) -> None:
    header, client = GOOD[case]
    for at in range(1, len(header)):
        near, far = map(SocketWire, socket.socketpair())
        async with trio.open_nursery() as nursery:

            async def send(near: SocketWire = near, at: int = at) -> None:
                await near.send(header[:at])
                await trio.sleep(1)
                await near.send(header[at:] + b"GET")

            nursery.start_soon(send)
            assert await read_header(far.exactly) == client
        assert await far.receive() == b"GET"
        near.close()
        far.close()
