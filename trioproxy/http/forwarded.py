"""Who a request is from, where a load balancer stands in front: X-Forwarded-For and Forwarded, if it may be believed.

Anybody can send these fields. From a peer that is not trusted they are taken out, so that neither we nor an upstream
take them for true.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

import msgspec

from trioproxy.http.headers import Headers, get

__all__ = ["UNIX", "Trusted", "plain", "who_asks"]

UNIX = "unix"
"""What stands for the address of whoever is on the other end of a Unix socket."""

_HOPS = 32  # of a chain that is longer, only so many are looked at
# What such fields begin with: X-Forwarded-For, -Proto, -Host; also -User and the like of authenticating proxies.
_CLAIMS = (b"x-forwarded-", b"forwarded", b"x-real-ip")
_FOR = re.compile(r'(?:^|[;,])\s*for\s*=\s*(?:"([^"]*)"|([^;,\s"]*))', re.IGNORECASE)
_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::\w+)?")


class Trusted(msgspec.Struct, frozen=True):
    """Peers whose word for a client's address is taken: the load balancers in front of this proxy."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False
    """Whether whoever reaches a Unix socket is one of them."""

    def covers(self, peer: str) -> bool:
        """Whether `peer`, an address or `UNIX`, is one of them."""
        if peer == UNIX:
            return self.unix
        if not self.networks:
            return False
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def plain(address: str) -> str:
    """The IPv4 address that an IPv6 one stands for, as sockets for both kinds tell it; else what came."""
    if not address.startswith("::ffff:"):
        return address
    mapped = IPv6Address(address).ipv4_mapped
    return str(mapped) if mapped else address


def who_asks(peer: str, headers: Headers, trusted: Trusted) -> tuple[str, Headers]:
    """The client's address, and the header without what its sender may not claim.

    `peer` is who is at the other end of the connection. If it is trusted, the client is the last of X-Forwarded-For (or
    else of Forwarded, RFC 7239) that is not trusted itself: what stands further left, anybody may have written.
    """
    rest = [field for field in headers if not field[0].startswith(_CLAIMS)]
    if len(rest) == len(headers) or not trusted.covers(peer):
        return peer, rest
    for hop in reversed(_hops(headers)[-_HOPS:]):
        address = _address(hop)
        if address is None:
            break  # "unknown", or a name made up: whoever wrote it is all that is known
        peer = address
        if not trusted.covers(peer):
            break
    return peer, headers


def _hops(headers: Headers) -> list[str]:
    """Every sender on the way, as each receiver wrote it down, the nearest last."""
    # Most balancers write X-Forwarded-For and pass a client's Forwarded on as it is: so the former is looked at first.
    if listed := get(headers, b"x-forwarded-for").decode("latin-1"):
        return listed.split(",")
    return [quoted or token for quoted, token in _FOR.findall(get(headers, b"forwarded").decode("latin-1"))]


def _address(hop: str) -> str | None:
    """The address of a hop, which may have brackets and a port; None if it is none."""
    match = _PORT.fullmatch(hop.strip())
    text = (match[1] or match[2]) if match else hop.strip()
    try:
        return plain(str(ip_address(text)))
    except ValueError:
        return None
