"""The PROXY protocol, versions 1 and 2: what a load balancer says in front of a connection about whose it is.

The specification is HAProxy's proxy-protocol.txt. Not one byte behind the header is read: it may be of a TLS handshake.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

__all__ = ["BadHeader", "read_header"]

Exactly = Callable[[int], Awaitable[bytes]]
"""Gives so many bytes of the connection, and none behind them."""

_LONGEST_V1 = 107  # bytes, section 2.1
_LONGEST_V2 = 4096  # bytes; our own bound: room for what balancers add, such as the name of a TLS client
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_SHORTEST = len(b"PROXY UNKNOWN\r\n")  # no header is shorter; of version 2 it is all but the last byte of the length
_LINE = re.compile(rb"PROXY (?:UNKNOWN(?: .*)?|(TCP[46]) (\S+) (\S+) (\S+) (\S+))\r\n")
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
# Of each address family of version 2: the bytes of its two addresses and ports, and of the first address.
_FAMILIES = {0x1: (12, 4), 0x2: (36, 16), 0x3: (216, 0)}
_STREAM = (0x0, 0x1)  # or not said


class BadHeader(Exception):
    """What came is no PROXY header; says why, without its bytes."""


async def read_header(exactly: Exactly) -> str | None:
    """The client's address; None if the balancer speaks for itself, as it does in health checks, or does not know.

    Raises `BadHeader`, and what `exactly` raises.
    """
    start = await exactly(_SHORTEST)
    if start.startswith(_SIGNATURE):
        return await _read_v2(start + await exactly(1), exactly)
    if start.startswith(b"PROXY "):
        while not start.endswith(b"\r\n"):
            if len(start) >= _LONGEST_V1 or b"\n" in start:
                raise BadHeader(f"a line of PROXY without its end within {_LONGEST_V1} bytes")
            start += await exactly(1 if start.endswith(b"\r") or len(start) == _LONGEST_V1 - 1 else 2)
        return _read_v1(start)
    raise BadHeader("no PROXY header; does the peer send one?")


def _read_v1(line: bytes) -> str | None:
    match = _LINE.fullmatch(line)
    if not match:
        raise BadHeader("a line of PROXY that cannot be read")
    family, source, destination, *ports = match.groups()
    if family is None:
        return None
    kind = IPv4Address if family == b"TCP4" else IPv6Address
    try:
        addresses = [kind(address.decode("ascii")) for address in (source, destination)]
    except ValueError:
        raise BadHeader(f"a line of PROXY whose addresses are not of {family.decode()}") from None
    if not all(_PORT.fullmatch(port) and int(port) <= 65535 for port in ports):
        raise BadHeader("a line of PROXY with a port that is none")
    return str(addresses[0])


async def _read_v2(head: bytes, exactly: Exactly) -> str | None:
    version, command, family, protocol = head[12] >> 4, head[12] & 15, head[13] >> 4, head[13] & 15
    length = int.from_bytes(head[14:], "big")
    if len(head) + length > _LONGEST_V2:
        raise BadHeader(f"a PROXY header of more than {_LONGEST_V2} bytes")
    body = await exactly(length) if length else b""
    if version != 2 or command not in (0, 1):
        raise BadHeader("a PROXY header of another version, or with an unknown command")
    if command == 0 or family == 0:  # LOCAL, or nothing known
        return None
    size, own = _FAMILIES.get(family, (0, 0))
    if not size or length < size or protocol not in _STREAM:
        raise BadHeader("a PROXY header whose addresses are not those of a stream, or too short")
    if not own:
        return None  # somebody on the balancer's own machine
    return str((IPv4Address if own == 4 else IPv6Address)(body[:own]))
