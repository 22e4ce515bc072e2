import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.http.target import Target, is_host, is_name, parse_target


@pytest.mark.parametrize(
    ("raw", "path", "query", "authority"),
    [
        (b"/", "/", None, None),
        (b"/v1/messages", "/v1/messages", None, None),
        (b"/v1/messages?beta=true", "/v1/messages", "beta=true", None),
        (b"/v1/messages?", "/v1/messages", "", None),
        (b"/a?b?c=/d", "/a", "b?c=/d", None),
        (b"//twice//", "//twice//", None, None),
        (b"/%2Fa%20b", "/%2Fa%20b", None, None),
        (b"/a/...", "/a/...", None, None),
        (b"/models/gemini-pro:stream", "/models/gemini-pro:stream", None, None),
        (b"http://example.com/v1?x", "/v1", "x", "example.com"),
        (b"HTTP://example.com:8080", "/", None, "example.com:8080"),
        (b"http://[::1]:80/v1", "/v1", None, "[::1]:80"),
    ],
)
def test_takes_a_target_apart(raw: bytes, path: str, query: str | None, authority: str | None) -> None:
    assert parse_target(raw) == Target(path, query, authority)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"v1/messages",
        b"@evil.example/v1",
        b"example.com:443",
        b"ftp://example.com/",
        b"http:///v1",
        b"http://user@example.com/v1",
        b"http://example.com:99999/v1",
        b"http://exa mple.com/",
        b"/a/../b",
        b"/..",
        b"/a/./b",
        b"/a/%2e%2E/b",
        b"/a/.%2e",
        b"/a#fragment",
        b"/a\\..\\b",
        b"/a b",
        b"/a%2",
        b"/a%zz",
        b"/a?%0",
        b"/a\x7f",
        b"/a\x00",
        b"/\xc3\xa9",
        b"/a?b\tc",
    ],
)
def test_refuses(raw: bytes) -> None:
    with pytest.raises(ValueError, match="target"):
        parse_target(raw)


@given(st.binary(max_size=60) | st.text("/.%2eE?#:@ab\\ ", max_size=20).map(lambda text: ("/" + text).encode()))
def test_what_is_let_through_is_rebuilt_the_same_and_climbs_nowhere(raw: bytes) -> None:
    try:
        target = parse_target(raw)
    except ValueError:
        return
    if target.authority is None:
        assert str(target).encode() == raw
    assert target.path.startswith("/")
    segments = target.path.lower().replace("%2e", ".").split("/")
    assert "." not in segments
    assert ".." not in segments
    assert not set(str(target)) & set("\r\n \t\x00#")


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("localhost", True),
        ("127.0.0.1:4567", True),
        ("[::1]", True),
        ("[::1]:4567", True),
        ("my_host.example.", True),
        ("", False),
        (":80", False),
        ("a:65536", False),
        ("a:-1", False),
        ("a:", False),
        ("a b", False),
        ("a,b", False),
        ("a@b", False),
        ("a/b", False),
        ("<script>", False),
        ("[::1", False),
        ("::1", False),
    ],
)
def test_is_host(text: str, fine: bool) -> None:
    assert is_host(text) is fine


@pytest.mark.parametrize(
    ("host", "named"),
    [
        *[("a.lan", True), ("a.lan.", True), ("::1", True), ("a" * 63, True)],
        *[("", False), (".", False), (".lan", False), ("a..b", False), ("a" * 64, False)],
    ],
)
def test_what_can_be_looked_up(host: str, named: bool) -> None:
    assert is_name(host) is named
