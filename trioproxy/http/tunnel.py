"""Asking a proxy for a way through: HTTP's CONNECT (RFC 9110 section 9.3.6), and SOCKS5 (RFC 1928, RFC 1929).

SOCKS by hand, as python-socks 3.2 connects by itself and to the first address of a name alone, and dies of a password
that is not ASCII with a `UnicodeEncodeError`.
"""

from __future__ import annotations

import ipaddress
from binascii import b2a_base64
from typing import Protocol

import h11

from trioproxy.http.headers import Headers
from trioproxy.http.reach import Origin, Proxy
from trioproxy.http.wire import complaint

__all__ = ["Refused", "Way", "authorization", "open_tunnel", "refusal"]

_HEAD = 16 * 1024  # bytes of a proxy's answer to CONNECT; it may explain itself in a page, which is not read
_INTERIM = 16
_CLOSED = "closed the connection before answering"
# Neither TLS nor HTTP lets the other side speak first: it would be an answer to a question nobody asked.
_EARLY = "sent something before it was asked"


class Refused(Exception):
    """A proxy did not let us through; why not, in words that follow its name."""


class Way(Protocol):
    """What a tunnel needs of a `Wire`."""

    async def receive(self) -> bytes: ...
    async def send(self, data: bytes, /) -> None: ...


async def open_tunnel(way: Way, origin: Origin, proxy: Proxy) -> None:
    """From now on `way`, a connection to `proxy`, is one to `origin`.

    Raises `Refused`; `Gone` if the connection breaks.
    """
    if proxy.scheme == "socks5":
        await _socks(_Answers(way), origin, proxy)
    else:
        await _connect(way, origin, proxy)


def authorization(proxy: Proxy) -> Headers:
    """The field that tells an HTTP proxy who we are (RFC 7617), if it has to know."""
    if proxy.user is None:
        return []
    credentials = b2a_base64(f"{proxy.user}:{proxy.password}".encode(), newline=False)
    return [(b"proxy-authorization", b"Basic " + credentials)]


def refusal(status: int) -> str:
    """What an HTTP proxy means with a status, in words that follow its name."""
    return f"answered {status} {_REFUSALS.get(status, '')}".strip()


# Our words, and not the proxy's: these it chooses itself.
_REFUSALS = {
    400: "(it does not understand CONNECT)",
    401: "(it wants other credentials)",  # tinyproxy, which means 407
    403: "(it does not let us there)",
    405: "(it has no CONNECT)",
    407: "(it wants other credentials)",
    502: "(it cannot reach the upstream)",
    503: "(it cannot reach the upstream)",
    504: "(it cannot reach the upstream in time)",
}


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _connect(way: Way, origin: Origin, proxy: Proxy) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}".encode()  # always with its port
    ask = h11.Request(method="CONNECT", target=target, headers=[(b"host", target), *authorization(proxy)])
    await way.send((connection.send(ask) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    try:
        answer = await _answer(way, connection)
    except h11.RemoteProtocolError as exc:
        raise Refused(f"does not speak HTTP/1.1: {complaint(exc)}") from exc
    if not 200 <= answer.status_code < 300:
        raise Refused(refusal(answer.status_code))
    if connection.trailing_data[0]:
        raise Refused(_EARLY)


async def _answer(way: Way, connection: h11.Connection) -> h11.Response:
    interim = 0
    while not isinstance(event := connection.next_event(), h11.Response):
        if isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > _INTERIM:
                raise Refused(f"sent more than {_INTERIM} interim responses")
        elif piece := await way.receive():
            connection.receive_data(piece)
        else:
            raise Refused(_CLOSED)
    return event


# ── SOCKS5 ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_VERSION, _NO_CREDENTIALS, _CREDENTIALS, _NOTHING = 5, 0, 2, 0xFF
_CONNECT, _IPV4, _NAME, _IPV6 = 1, 1, 3, 4
_REPLIES = {
    1: "it failed",
    2: "it does not let us there",
    3: "the network is unreachable",
    4: "the upstream is unreachable",
    5: "the upstream refused the connection",
    6: "the way to the upstream is too long",
    7: "it cannot connect",
    8: "it does not know this kind of address",
}


async def _socks(answers: _Answers, origin: Origin, proxy: Proxy) -> None:
    methods = [_NO_CREDENTIALS] if proxy.user is None else [_NO_CREDENTIALS, _CREDENTIALS]
    await answers.ask(bytes([_VERSION, len(methods), *methods]))
    version, method = await answers.exactly(2)
    if version != _VERSION:
        raise Refused("does not speak SOCKS5")
    if method not in methods:
        raise Refused(
            "wants other credentials" if method in (_CREDENTIALS, _NOTHING) else "wants an unknown kind of them"
        )
    if method == _CREDENTIALS:
        parts = [part.encode() for part in (proxy.user or "", proxy.password)]
        await answers.ask(b"\x01" + b"".join(bytes([len(part)]) + part for part in parts))
        _, status = await answers.exactly(2)
        if status:
            raise Refused("wants other credentials")
    await answers.ask(bytes([_VERSION, _CONNECT, 0]) + _address(origin.host) + origin.port.to_bytes(2, "big"))
    version, code, _, kind = await answers.exactly(4)
    if version != _VERSION:
        raise Refused("does not speak SOCKS5")
    if code:
        raise Refused(f"answered {code}: {_REPLIES.get(code, 'which means nothing')}")
    # Where it connects from, which nobody has to know.
    size = {_IPV4: 4, _IPV6: 16}.get(kind) or (await answers.exactly(1))[0]
    await answers.exactly(size + 2)
    answers.end()


class _Answers:
    """What a SOCKS proxy says, cut where its sizes say."""

    def __init__(self, way: Way) -> None:
        self._way, self._come = way, b""

    async def ask(self, data: bytes) -> None:
        self.end()
        await self._way.send(data)

    async def exactly(self, size: int) -> bytes:
        while len(self._come) < size:
            if not (piece := await self._way.receive()):
                raise Refused(_CLOSED)
            self._come += piece
        data, self._come = self._come[:size], self._come[size:]
        return data

    def end(self) -> None:
        if self._come:
            raise Refused(_EARLY)


def _address(host: str) -> bytes:
    """As SOCKS5 has it; a name goes as it is, so that it is looked up where the proxy is."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        if len(name) > 255:
            raise Refused("cannot be told a name of more than 255 bytes") from None
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed
