from __future__ import annotations

import pytest

from trioproxy.http.reach import Proxy, Reach

PROXIES = {
    "http://proxy.lan:3128": Proxy("http", "proxy.lan", 3128),
    "http://proxy.lan": Proxy("http", "proxy.lan", 80),
    "HTTPS://Proxy.lan/": Proxy("https", "proxy.lan", 443),
    "socks5://[::1]": Proxy("socks5", "::1", 1080),
    "socks5h://proxy:9050": Proxy("socks5", "proxy", 9050),
    "http://me:p%40ss%2F%C3%A4@proxy:1": Proxy("http", "proxy", 1, "me", "p@ss/ä"),
    "http://me@proxy:1": Proxy("http", "proxy", 1, "me"),
    "socks5://a%3Ab:c@proxy": Proxy("socks5", "proxy", 1080, "a:b", "c"),
}


@pytest.mark.parametrize(("url", "proxy"), PROXIES.items(), ids=PROXIES)
def test_proxies(url: str, proxy: Proxy) -> None:
    assert Proxy.read(url) == proxy


NONE = {
    "": "such as",
    "proxy.lan:3128": "such as",
    "socks4://proxy": "such as",
    "http://": "such as",
    "http://proxy:0": "such as",
    "http://proxy:99999": "such as",
    "http://pro xy": "such as",
    "http://pröxy": "such as",
    "http://[::1": "such as",
    "http://me:Secret-/x@proxy": "in a password / is %2F",
    "http://proxy/path": "without a path",
    "http://proxy?Secret-": "without a path",
    "http://Secret-%3Ax:y@proxy": "without a colon",
    "socks5://:Secret-@proxy": "of at most 255 bytes",
    f"socks5://me:Secret-{'x' * 255}@proxy": "of at most 255 bytes",
}


@pytest.mark.parametrize(("url", "message"), NONE.items(), ids=map(str, range(len(NONE))))
def test_what_is_no_proxy_is_not_quoted(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Proxy.read(url)
    assert "Secret-" not in str(caught.value)


def test_a_proxy_does_not_show_its_credentials() -> None:
    proxy = Proxy.read("http://Secret-name:Secret-word@[::1]:3128")
    assert (str(proxy), repr(Reach(proxy=proxy))[:42]) == (
        "http://[::1]:3128",
        "Reach(proxy=Proxy(http://[::1]:3128, …), s",
    )
