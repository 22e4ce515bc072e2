import pytest

from trioproxy.http.headers import Headers, end_to_end, get, without

HOP_BY_HOP = [
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
]


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_hop_by_hop_fields_stop_here(name: bytes) -> None:
    assert end_to_end([(b"a", b"1"), (name, b"x"), (b"b", b"2")]) == [(b"a", b"1"), (b"b", b"2")]


def test_fields_that_connection_names_stop_here() -> None:
    headers: Headers = [
        (b"connection", b"close, X-One"),
        (b"x-one", b"1"),
        (b"x-two", b"2"),
        (b"connection", b"x-two,,"),
    ]
    assert end_to_end([*headers, (b"x-three", b"3")]) == [(b"x-three", b"3")]


@pytest.mark.parametrize("name", [b"authorization", b"content-length", b"content-type", b"content-encoding", b"host"])
def test_connection_cannot_take_away_what_a_request_means(name: bytes) -> None:
    headers: Headers = [(b"connection", name), (name, b"x")]
    assert end_to_end(headers) == [(name, b"x")]


def test_everything_else_passes_in_order_and_unchanged() -> None:
    headers: Headers = [
        (b"set-cookie", b"a=1"),
        (b"x-odd", b"\xe9 , "),
        (b"set-cookie", b"b=2"),
        (b"anthropic-beta", b""),
    ]
    assert end_to_end(headers) == headers


def test_get_joins_what_was_sent_several_times() -> None:
    headers: Headers = [(b"accept", b"a"), (b"x", b"1"), (b"accept", b"b")]
    assert get(headers, b"accept") == b"a, b"
    assert get(headers, b"missing") == b""


def test_without() -> None:
    assert without([(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4")], b"a", b"c") == [(b"b", b"2")]
