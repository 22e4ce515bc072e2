"""What proxies say, and what is made of it: every answer that is none, and every byte of a right one."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioproxy.http.reach import Origin, Proxy
from trioproxy.http.tunnel import Refused, authorization, open_tunnel
from trioproxy.http.wire import READ_SIZE

ORIGIN = Origin("https", "some.example", 443)
HTTP, SOCKS = Proxy.read("http://proxy:1"), Proxy.read("socks5://proxy:1")


class Script:
    """A proxy that says these pieces, whatever it hears."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces, self.heard = list(pieces), b""

    async def send(self, data: bytes, /) -> None:
        self.heard += data

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.pieces:
            return b""
        piece, rest = self.pieces[0][:READ_SIZE], self.pieces[0][READ_SIZE:]
        self.pieces[:1] = [rest] if rest else []
        return piece


async def refused(proxy: Proxy, *pieces: bytes) -> str:
    with pytest.raises(Refused) as caught:
        await open_tunnel(Script(*pieces), ORIGIN, proxy)
    return str(caught.value)


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("origin", "target"),
    [
        (ORIGIN, "some.example:443"),
        (Origin("https", "127.0.0.1", 8443), "127.0.0.1:8443"),
        (Origin("https", "::1", 443), "[::1]:443"),
    ],
)
async def test_what_connect_asks_for(origin: Origin, target: str) -> None:
    script = Script(b"HTTP/1.1 200 OK\r\n\r\n")
    await open_tunnel(script, origin, HTTP)
    assert script.heard.decode() == f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"


@pytest.mark.parametrize(
    ("credentials", "field"),
    [
        ("Aladdin:open%20sesame@", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 section 2
        ("test:123%C2%A3@", b"Basic dGVzdDoxMjPCow=="),  # section 2.1: UTF-8
        ("me@", b"Basic bWU6"),
    ],
)
async def test_who_we_are(credentials: str, field: bytes) -> None:
    proxy = Proxy.read(f"http://{credentials}proxy:1")
    assert authorization(proxy) == [(b"proxy-authorization", field)]
    script = Script(b"HTTP/1.1 200 OK\r\n\r\n")
    await open_tunnel(script, ORIGIN, proxy)
    assert b"proxy-authorization: " + field in script.heard.lower().replace(field.lower(), field)


OPENED = {
    "a length that means nothing": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    "chunks that mean nothing": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 Connection established\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "another 2xx": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("answer", OPENED.values(), ids=OPENED)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
async def test_a_tunnel_is_open(answer: bytes, cut: bool) -> None:
    script = Script(*(answer[at : at + 1] for at in range(len(answer)))) if cut else Script(answer)
    await open_tunnel(script, ORIGIN, HTTP)
    assert not script.pieces


REFUSALS = {
    "407": (
        b"HTTP/1.1 407 Say please, secret\r\ncontent-length: 0\r\n\r\n",
        "answered 407 (it wants other credentials)",
    ),
    "403": (b"HTTP/1.1 403 No\r\n\r\nA page", "answered 403 (it does not let us there)"),
    "302": (b"HTTP/1.1 302 Elsewhere\r\nlocation: http://evil/\r\n\r\n", "answered 302"),
    "nothing": (b"", "closed the connection before answering"),
    "half": (b"HTTP/1.1 200 OK\r\nx:", "closed the connection before answering"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP/1.1: illegal status line"),
    "the first word": (b"HTTP/1.1 200 OK\r\n\r\nhello", "sent something before it was asked"),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000, "does not speak HTTP/1.1: "),
    "a line without end": (b"HTTP/1.1 200 " + b"x" * 100_000, "does not speak HTTP/1.1: "),
    "interim without end": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 30, "sent more than 16 interim responses"),
}


@pytest.mark.parametrize(("answer", "message"), REFUSALS.values(), ids=REFUSALS)
async def test_a_tunnel_is_refused(answer: bytes, message: str) -> None:
    script = Script(answer)
    with pytest.raises(Refused) as caught:
        await open_tunnel(script, ORIGIN, HTTP)
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)
    if len(answer) > 50_000:
        assert sum(map(len, script.pieces)) > 25_000  # half of it was never read


# ── SOCKS5 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("some.example", b"\x03\x0csome.example"),
        ("127.0.0.1", b"\x01\x7f\0\0\x01"),
        ("::1", b"\x04" + bytes(15) + b"\x01"),
    ],
)
@pytest.mark.parametrize("bound", [b"\x01" + bytes(4), b"\x03\x04here", b"\x03\x00", b"\x04" + bytes(16)])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
async def test_what_socks_is_asked_and_how_much_of_its_answer_is_read(
    host: str, address: bytes, bound: bytes, cut: bool
) -> None:
    answers = [b"\x05\0", b"\x05\0\0" + bound + b"\0\0"]
    if cut:
        answers = [answer[at : at + 1] for answer in answers for at in range(len(answer))]
    script = Script(*answers, b"not ours")
    await open_tunnel(script, Origin("http", host, 0x1234), SOCKS)
    assert script.heard == b"\x05\x01\0" + b"\x05\x01\0" + address + b"\x12\x34"
    assert script.pieces == [b"not ours"]


async def test_socks_credentials_go_only_where_they_are_asked_for() -> None:
    proxy = Proxy.read("socks5://me:p%C3%A4ss@proxy")
    granted = b"\x05\0\0\x01" + bytes(6)
    script = Script(b"\x05\x02", b"\x01\0", granted)
    await open_tunnel(script, ORIGIN, proxy)
    assert script.heard.startswith(b"\x05\x02\0\x02" + b"\x01\x02me\x05p\xc3\xa4ss")
    script = Script(b"\x05\0", granted)
    await open_tunnel(script, ORIGIN, proxy)
    assert b"me" not in script.heard[:10]
    assert b"ss" not in script.heard


SOCKS_REFUSALS = {
    "nothing": ([], "closed the connection before answering"),
    "HTTP": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not speak SOCKS5"),
    "SOCKS4": ([b"\0\x5b"], "does not speak SOCKS5"),
    "credentials": ([b"\x05\xff"], "wants other credentials"),
    "credentials that we have not": ([b"\x05\x02"], "wants other credentials"),
    "Kerberos": ([b"\x05\x01"], "wants an unknown kind of them"),
    "not allowed": ([b"\x05\0", b"\x05\x02\0\x01"], "answered 2: it does not let us there"),
    "refused": ([b"\x05\0", b"\x05\x05\0\x01" + bytes(6)], "answered 5: the upstream refused the connection"),
    "an unknown answer": ([b"\x05\0", b"\x05\x63\0\x01"], "answered 99: which means nothing"),
    "half an answer": ([b"\x05\0", b"\x05\0\0\x01\0"], "closed the connection before answering"),
    "two answers at once": ([b"\x05\0" + b"\x05\0\0\x01" + bytes(6)], "sent something before it was asked"),
    "the first word": ([b"\x05\0", b"\x05\0\0\x01" + bytes(6) + b"hello"], "sent something before it was asked"),
    "another version": ([b"\x05\0", b"\x04\0\0\x01"], "does not speak SOCKS5"),
}


@pytest.mark.parametrize(("pieces", "message"), SOCKS_REFUSALS.values(), ids=SOCKS_REFUSALS)
async def test_socks_refuses(pieces: list[bytes], message: str) -> None:
    assert await refused(SOCKS, *pieces) == message


async def test_socks_wrong_credentials() -> None:
    assert await refused(Proxy.read("socks5://me:x@proxy"), b"\x05\x02", b"\x01\x01") == "wants other credentials"


async def test_socks_has_no_room_for_a_longer_name() -> None:
    with pytest.raises(Refused, match="255 bytes"):
        await open_tunnel(Script(b"\x05\0"), Origin("http", "x" * 256, 80), SOCKS)


@given(proxy=st.sampled_from([HTTP, SOCKS]), pieces=st.lists(st.binary(min_size=1, max_size=30), max_size=5))
@settings(max_examples=50, deadline=None)
async def test_any_bytes_are_a_tunnel_or_a_refusal(proxy: Proxy, pieces: list[bytes]) -> None:
    with suppress(Refused):
        await open_tunnel(Script(*pieces), ORIGIN, proxy)
