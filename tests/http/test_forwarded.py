from ipaddress import ip_network

import pytest

from trioproxy.http.forwarded import UNIX, Trusted, plain, who_asks
from trioproxy.http.headers import Headers

BALANCERS = Trusted((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
HERE = (b"host", b"x")


def fields(*values: tuple[str, str]) -> Headers:
    return [HERE, *((name.encode(), value.encode("latin-1")) for name, value in values)]


def test_what_a_stranger_claims_is_taken_out() -> None:
    claims = fields(
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-user", "root"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x-forward", "kept"),
    )
    for trusted, peer in ((BALANCERS, "192.0.2.1"), (BALANCERS, UNIX), (Trusted(), "127.0.0.1"), (BALANCERS, "")):
        assert who_asks(peer, claims, trusted) == (peer, fields(("x-forward", "kept")))


def test_what_a_balancer_claims_is_kept() -> None:
    claims = fields(("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"))
    assert who_asks("10.0.0.1", claims, BALANCERS) == ("1.1.1.1", claims)


def test_nothing_is_changed_where_nothing_is_claimed() -> None:
    nothing = fields(("accept", "*/*"))
    for peer in ("192.0.2.1", "10.0.0.1"):
        assert who_asks(peer, nothing, BALANCERS) == (peer, nothing)


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
        # What a client made up stands to the left of what the balancer added.
        ([("x-forwarded-for", "9.9.9.9, 1.1.1.1")], "1.1.1.1"),
        ([("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
        # Through two balancers.
        ([("x-forwarded-for", "9.9.9.9, 1.1.1.1, 10.2.3.4")], "1.1.1.1"),
        ([("x-forwarded-for", "fd00::7,10.2.3.4")], "fd00::7"),  # all trusted: the first of them
        ([("x-forwarded-for", "1.1.1.1:4711")], "1.1.1.1"),
        ([("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
        ([("x-forwarded-for", "[2001:db8::1]:4711")], "2001:db8::1"),
        ([("x-forwarded-for", "::ffff:1.1.1.1")], "1.1.1.1"),
        ([("x-forwarded-for", "2001:DB8:0::1")], "2001:db8::1"),
        # What is no address tells nothing; who wrote it is known.
        ([("x-forwarded-for", "unknown")], "10.0.0.1"),
        ([("x-forwarded-for", "9.9.9.9, unknown, 10.2.3.4")], "10.2.3.4"),
        ([("x-forwarded-for", "")], "10.0.0.1"),
        ([("x-forwarded-for", "1.1.1.1,")], "10.0.0.1"),
        ([("x-forwarded-for", "\xff, 1.1.1.1x")], "10.0.0.1"),
        ([("forwarded", "for=1.1.1.1;proto=https;by=10.0.0.1")], "1.1.1.1"),
        ([("forwarded", 'For="[2001:db8::1]:4711"')], "2001:db8::1"),
        ([("forwarded", "for=9.9.9.9, for=1.1.1.1, for=10.2.3.4")], "1.1.1.1"),
        ([("forwarded", "proto=https; for=1.1.1.1")], "1.1.1.1"),
        ([("forwarded", "for=_hidden")], "10.0.0.1"),
        ([("forwarded", "proto=https")], "10.0.0.1"),
        # X-Forwarded-For stands above Forwarded, which balancers that write the former pass on as it came.
        ([("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=9.9.9.9")], "1.1.1.1"),
        ([("x-real-ip", "9.9.9.9")], "10.0.0.1"),
    ],
)
def test_who_asks(values: list[tuple[str, str]], client: str) -> None:
    assert who_asks("10.0.0.1", fields(*values), BALANCERS)[0] == client


def test_only_the_last_of_a_long_chain_are_looked_at() -> None:
    chain = fields(("x-forwarded-for", "9.9.9.9" + ", 10.0.0.2" * 1000))
    assert who_asks("10.0.0.1", chain, BALANCERS)[0] == "10.0.0.2"


def test_whom_one_trusts() -> None:
    assert not Trusted().covers("127.0.0.1")
    assert BALANCERS.covers("10.255.0.1")
    assert BALANCERS.covers("fd12::1")
    assert not BALANCERS.covers("11.0.0.1")
    assert not BALANCERS.covers("not an address")
    assert not BALANCERS.covers(UNIX)
    assert Trusted(unix=True).covers(UNIX)
    assert not Trusted(unix=True).covers("10.0.0.1")


def test_an_address_on_a_socket_for_both_kinds() -> None:
    assert plain("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain("::ffff:0:0:1") == "::ffff:0:0:1"
    assert plain("2001:db8::1") == "2001:db8::1"
    assert plain("10.0.0.1") == "10.0.0.1"
