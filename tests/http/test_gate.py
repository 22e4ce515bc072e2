import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.http.gate import Gate, is_loopback
from trioproxy.http.headers import Headers

ORIGIN, SITE = b"origin", b"sec-fetch-site"


@pytest.mark.parametrize(
    ("host", "headers", "passes"),
    [
        ("127.0.0.1:4567", [], True),
        ("localhost", [], True),
        ("LOCALHOST:1", [], True),
        ("app.localhost", [], True),
        ("[::1]:4567", [], True),
        ("127.8.9.1", [], True),
        ("", [], True),  # HTTP/1.0, which no browser speaks
        ("evil.example", [], False),
        ("localhost.evil.example", [], False),
        ("127.0.0.1.evil.example", [], False),
        ("192.168.0.1", [], False),
        ("0.0.0.0", [], False),
        ("localhost", [(ORIGIN, b"http://localhost:3000")], True),
        ("localhost", [(ORIGIN, b"http://127.0.0.1")], True),
        ("localhost", [(ORIGIN, b"https://evil.example")], False),
        ("localhost", [(ORIGIN, b"null")], False),
        ("localhost", [(ORIGIN, b"http://localhost@evil.example")], False),
        ("localhost", [(ORIGIN, b"http://localhost"), (ORIGIN, b"https://evil.example")], False),
        ("localhost", [(ORIGIN, b"http://[")], False),
        ("localhost", [(ORIGIN, b"\xff")], False),
        ("localhost", [(SITE, b"cross-site")], False),
        ("localhost", [(SITE, b"same-origin")], True),
        ("localhost", [(SITE, b"none")], True),
    ],
)
def test_who_passes(host: str, headers: Headers, passes: bool) -> None:
    assert (Gate().refusal(headers, host) is None) is passes


@pytest.mark.parametrize(
    ("host", "headers", "passes"),
    [
        ("Proxy.Lan:4567", [], True),
        ("other.lan", [], False),
        ("only.lan:80", [], True),
        ("only.lan:81", [], False),
        ("localhost", [(ORIGIN, b"https://Chat.example"), (SITE, b"cross-site")], True),
        ("localhost", [(ORIGIN, b"http://chat.example")], False),
        ("evil.example", [(ORIGIN, b"https://chat.example")], False),
    ],
)
def test_hosts_and_origins_open_it(host: str, headers: Headers, passes: bool) -> None:
    gate = Gate(hosts=["proxy.lan", "only.lan:80"], origins=["https://chat.example/"])
    assert (gate.refusal(headers, host) is None) is passes


def test_a_star_opens_it_to_every_page_but_not_to_rebound_names() -> None:
    gate = Gate(origins=["*"])
    assert gate.refusal([(ORIGIN, b"https://any.example")], "localhost") is None
    assert gate.refusal([(ORIGIN, b"https://any.example")], "any.example")


def test_a_refusal_says_what_was_got_and_what_opens_it() -> None:
    assert "'evil.example'" in str(Gate().refusal([], "evil.example"))
    assert "`origins`" in str(Gate().refusal([(ORIGIN, b"https://evil.example")], "localhost"))


@given(
    origin=st.binary(max_size=40) | st.text("[]:@/.a1", max_size=8).map(lambda text: b"http://" + text.encode()),
    host=st.just("localhost") | st.text(max_size=20),
)
def test_no_origin_and_no_host_makes_it_raise(origin: bytes, host: str) -> None:
    refusal = Gate().refusal([(ORIGIN, origin)], host)
    assert refusal is None or refusal


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
