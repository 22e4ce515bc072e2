"""How a file says that an upstream is reached, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from trioproxy import config
from trioproxy.config import Tolerance, Upstream
from trioproxy.errors import ConfigError
from trioproxy.http.reach import Origin, Proxy, Reach
from trioproxy.units import Seconds

SECRET = "Secret-1"
CA = trustme.CA()
US = CA.issue_cert("trioproxy")


def read(text: str, environ: Mapping[str, str] = {}, *, beside: Path = Path()) -> Upstream:
    (upstream,) = config.read(f"[upstreams.up]\n{text}", beside / "stages.toml", environ).upstreams.values()
    return upstream


def problems(text: str, environ: Mapping[str, str] = {}, *, beside: Path = Path()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, environ, beside=beside)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    return [problem.message for problem in caught.value.problems]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    CA.cert_pem.write_to_path(str(tmp_path / "corp.pem"))
    US.cert_chain_pems[0].write_to_path(str(tmp_path / "me.pem"))
    US.private_key_pem.write_to_path(str(tmp_path / "me.key"))
    US.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    CA.issue_cert("other").private_key_pem.write_to_path(str(tmp_path / "other.key"))
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    (tmp_path / "bad.pem").write_text(f"{begin}\nAAAA\n{end}\n")
    (tmp_path / "text.pem").write_text("no certificate\n")
    return tmp_path


HTTPS, HTTP = 'url = "https://api.example/v1"\n', 'url = "http://api.example/v1"\n'


def test_everything_there_is_to_say(files: Path) -> None:
    up = read(
        f"""
        url = "https://api.example/v1?api-version=2&key={SECRET}"
        proxy = "https://me:{SECRET}@proxy.lan:8443"
        ca = "corp.pem"
        certificate = "me.pem"
        key = "me.key"
        insecure = true
        remove-headers = ["X-Foo", "anthropic-beta"]
        concurrency = 50
        queue = 0
        queue-timeout = "10s"
        retries = 3
        retry-within = 0
        max-fails = 0
        fail-timeout = "1m"
        """,
        beside=files,
    )
    assert up.reach == Reach(
        proxy=Proxy("https", "proxy.lan", 8443, "me", SECRET),
        ca=files / "corp.pem",
        certificate=files / "me.pem",
        key=files / "me.key",
        insecure=True,
    )
    assert (up.path, up.query) == ("/v1", f"api-version=2&key={SECRET}")
    assert up.removed == ("x-foo", "anthropic-beta")
    assert up.tolerance == Tolerance(
        concurrency=50,
        queue=0,
        queue_timeout=Seconds(10),
        retries=3,
        retry_within=Seconds(0),
        max_fails=0,
        fail_timeout=Seconds(60),
    )
    assert SECRET not in f"{up!r} {up}"


def test_nothing_is_said() -> None:
    up = read(HTTPS)
    assert (up.reach, up.query, up.removed, up.tolerance) == (Reach(), "", (), Tolerance())


def test_a_socket(tmp_path: Path) -> None:
    assert read(HTTP + 'socket = "llama.sock"', beside=tmp_path).reach.socket == tmp_path / "llama.sock"
    assert read(HTTP + 'socket = "/run/llama.sock"').reach.socket == Path("/run/llama.sock")


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxys_url_from_the_environment(scheme: str) -> None:
    up = read(HTTPS + 'proxy = { env = "P" }', {"P": f"{scheme}://me:{SECRET}@proxy.lan"})
    assert up.reach.proxy
    assert (up.reach.proxy.scheme, up.reach.proxy.password) == (scheme, SECRET)


MISTAKES = {
    "no scheme": ('proxy = "proxy.lan:3128"', "proxy: Expected the URL of a proxy such as "),
    "a password with a slash": (f'proxy = "http://me:{SECRET}/@proxy"', "proxy: Expected the URL of a proxy such as "),
    "a number": ("proxy = 3128", "proxy: Expected `str`, got `int`"),
    "a socket behind a proxy": (
        'socket = "x"\nproxy = "http://p"',
        "socket: a Unix socket is not reached through a proxy",
    ),
    "no such file": ('ca = "none.pem"', "ca: {files}/none.pem cannot be read: No such file or directory"),
    "no certificate": ('ca = "text.pem"', "ca: {files}/text.pem has no certificate in PEM form"),
    "no certificate inside": ('ca = "bad.pem"', "ca: {files}/bad.pem cannot be read by OpenSSL: "),
    "no file": ('ca = ""', "ca: Expected the name of a file"),
    "no key": ('certificate = "me.pem"', "key: {files}/me.pem has no private key in PEM form"),
    "another's key": (
        'certificate = "me.pem"\nkey = "other.key"',
        "key: {files}/other.key is not the key of {files}/me.pem",
    ),
    "a key alone": (f'key = "{SECRET}"', "key: is of no use without its certificate"),
    "insecure in words": ('insecure = "yes"', "insecure: Expected `bool`, got `str`"),
    "framing removed": (
        'remove-headers = ["Host"]',
        "remove-headers: Expected the name of a header field that does not",
    ),
    "removed and set": (
        'remove-headers = ["X-A"]\nheaders = { x-a = "1" }',
        "remove-headers: 'x-a' is set in headers, which already stands for the client's",
    ),
    "no requests at all": ("concurrency = 0", "concurrency: Expected `int` >= 1, got 0"),
    "too many retries": ("retries = 11", "retries: Expected `int` <= 10, got 11"),
    "no time to wait": ("queue-timeout = 0", "queue-timeout: Expected a time of more than 0, got 0"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake(files: Path, case: str) -> None:
    text, expected = MISTAKES[case]
    (message,) = problems(HTTPS + text, beside=files)
    assert message.startswith(expected.replace("{files}", str(files)))


@pytest.mark.parametrize("text", ['ca = "corp.pem"', 'certificate = "both.pem"', "insecure = true"])
def test_tls_where_there_is_none(files: Path, text: str) -> None:
    (message,) = problems(HTTP + text, beside=files)
    assert message == f"{text.partition(' ')[0]}: only where there is TLS, and the url begins with http://"


def test_the_authority_of_a_proxy_alone(files: Path) -> None:
    assert read(HTTP + 'ca = "corp.pem"\nproxy = "https://p"', beside=files).reach.ca


def test_nothing_of_it_is_for_recordings() -> None:
    text = 'url = "replay:recordings/metadata-then-answer.sse"\n'
    message = "proxy: not for replay: upstreams, to which nothing connects"
    assert problems(text + 'proxy = "env"') == [message]


@pytest.mark.parametrize("url", ["http://x/v1?key=Secret-1#x", "x:80/v1?key=Secret-1", "http://me:Secret-1/@x?q"])
def test_a_query_is_not_shown(url: str) -> None:
    assert len(problems(f'url = "{url}"')) == 1
    assert problems(f'url = {{ env = "URL" }}\nx = "{url}"', {"URL": url})[1:] == ["[upstreams.up] has no key 'x'"]


# ── the environment ─────────────────────────────────────────────────────────────────────────────────────────────────

PROXY = Proxy("http", "proxy", 3128)
ENVIRONMENTS: dict[str, tuple[dict[str, str], str, bool]] = {
    "nothing": ({}, "https", False),
    "https": ({"HTTPS_PROXY": "http://proxy:3128"}, "https", True),
    "for https alone": ({"HTTPS_PROXY": "http://proxy:3128"}, "http", False),
    "small letters": ({"http_proxy": "http://proxy:3128", "HTTP_PROXY": "http://other"}, "http", True),
    "all": ({"ALL_PROXY": "http://proxy:3128"}, "http", True),
    "one before all": ({"ALL_PROXY": "http://other", "HTTPS_PROXY": "http://proxy:3128"}, "https", True),
    "empty is none": ({"https_proxy": "", "HTTPS_PROXY": "http://proxy:3128"}, "https", True),
    "without a scheme": ({"HTTPS_PROXY": "proxy:3128"}, "https", True),
    "an exception": ({"HTTPS_PROXY": "proxy:3128", "NO_PROXY": "x, api.example"}, "https", False),
    "another exception": ({"HTTPS_PROXY": "proxy:3128", "no_proxy": "x,y"}, "https", True),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_proxies_of_the_environment(case: str) -> None:
    environ, scheme, proxied = ENVIRONMENTS[case]
    up = read(f'url = "{scheme}://api.example"\nproxy = "env"', environ)
    assert up.reach.proxy == (PROXY if proxied else None)
    assert read(f'url = "{scheme}://api.example"', environ).reach == Reach()


EXCEPTIONS = {
    "*": True,
    "api.example": True,
    "API.example": True,
    "example": True,
    ".example": True,
    "*.example": False,  # curl has no such thing
    "other.example": False,
    "pi.example": False,
    "api.example:443": True,
    "api.example:444": False,
    "": False,
    ".": False,
    "10.0.0.0/8": False,
}


@pytest.mark.parametrize(("exception", "excepted"), EXCEPTIONS.items(), ids=map(repr, EXCEPTIONS))
def test_exceptions(exception: str, excepted: bool) -> None:
    environ = {"HTTPS_PROXY": "proxy:3128", "NO_PROXY": exception}
    assert read('url = "https://api.example"\nproxy = "env"', environ).reach.proxy == (None if excepted else PROXY)


ADDRESSES = {
    ("10.1.2.3", "10.0.0.0/8"): True,
    ("11.1.2.3", "10.0.0.0/8"): False,
    ("10.1.2.3", "10.1.2.3"): True,
    ("10.1.2.3", "10.1.2.3:443"): True,
    ("10.1.2.3", "10.1.2.3:80"): False,
    ("[::1]", "::1"): True,
    ("[::1]", "[::1]:443"): True,
    ("[fd00::1]", "fd00::/8"): True,
    ("[::1]", "127.0.0.1"): False,
}


@pytest.mark.parametrize(("host", "exception"), ADDRESSES, ids=map(" ".join, ADDRESSES))
def test_addresses(host: str, exception: str) -> None:
    environ = {"HTTPS_PROXY": "proxy:3128", "NO_PROXY": exception}
    up = read(f'url = "https://{host}"\nproxy = "env"', environ)
    assert (up.reach.proxy is None) == ADDRESSES[host, exception]


def test_a_wrong_one_of_the_environment_is_named_and_not_shown() -> None:
    environ = {"HTTPS_PROXY": f"ftp://me:{SECRET}@proxy"}
    (message,) = problems(HTTPS + 'proxy = "env"', environ)
    assert message.startswith("proxy: the environment variable HTTPS_PROXY: Expected the URL of a proxy")


def test_the_origin_of_a_url_with_a_query() -> None:
    up = read('url = "https://api.example:8443/v1/?a=b&c"')
    assert (up.origin, up.path, up.query) == (Origin("https", "api.example", 8443), "/v1", "a=b&c")
    assert str(up) == "https://api.example:8443/v1"
