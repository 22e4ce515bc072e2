"""`listen` and `trusted-proxies` in the file."""

import platform
import re
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from trioproxy import config
from trioproxy.config import Config
from trioproxy.config.clients import check_listeners
from trioproxy.config.file import File
from trioproxy.errors import ConfigError
from trioproxy.http.forwarded import Trusted
from trioproxy.http.listen import Address, Listen, open_listeners

UP = '[upstreams.a]\nurl = "http://x"\n'
LEAF, OTHER = (trustme.CA().issue_cert("proxy.test") for _ in range(2))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the file is, with a certificate and keys beside it."""
    LEAF.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    LEAF.private_key_pem.write_to_path(tmp_path / "key.pem")
    LEAF.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    OTHER.private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "empty.pem").touch()
    return tmp_path


def read(text: str, directory: Path) -> Config:
    # Who may ask is not what this is about.
    return config.read(f"allow-anonymous = true\n{text}\n{UP}", directory / "stages.toml", {"WHERE": "[::1]:9"})


def test_every_way_to_say_where(directory: Path) -> None:
    loaded = read(
        """listen = [
            ":80",
            { env = "WHERE" },
            { address = "0.0.0.0:443", certificate = "cert.pem", key = "key.pem" },
            { address = "unix:/run/x.sock", certificate = "both.pem", proxy-protocol = true },
            { address = { env = "NOBODY", default = "systemd:web" } },
        ]
        trusted-proxies = ["unix:"]""",
        directory,
    )
    assert loaded.listen == (
        Listen(Address(":80")),
        Listen(Address("[::1]:9")),
        Listen(Address("0.0.0.0:443"), directory / "cert.pem", directory / "key.pem"),
        Listen(Address("unix:/run/x.sock"), directory / "both.pem", None, True),
        Listen(Address("systemd:web")),
    )


@pytest.mark.parametrize(
    "text", ['listen = { address = ":1", proxy-protocol = true }', '[[listen]]\naddress = ":1"\nproxy-protocol = true']
)
def test_a_table_alone(text: str, directory: Path) -> None:
    trusted = 'trusted-proxies = ["10.0.0.7"]\n'
    assert read(trusted + text, directory).listen == (Listen(Address(":1"), proxy_protocol=True),)


def test_whom_one_trusts(directory: Path) -> None:
    assert read("", directory).trusted == Trusted()
    loaded = read('trusted-proxies = ["10.0.0.0/8", "::1", "unix:"]', directory)
    assert loaded.trusted == Trusted((ip_network("10.0.0.0/8"), ip_network("::1/128")), unix=True)


MISTAKES = {
    "no address": ("listen = { proxy-protocol = true }", "2:10: listen: a table needs an address"),
    "no address at all": ("listen = []", "2:10: listen: Expected at least one address"),
    "unknown key": ('listen = [":1", { address = ":2", cert = "x" }]', "2:35: [listen.1] has no key 'cert'"),
    "a bad address in a table": ('listen = { address = "x" }', "2:22: address: Expected an address such as"),
    "a number": ("listen = [4567]", "2:11: listen: Expected an address such as"),
    "not true or false": ('listen = { address = ":1", proxy-protocol = 1 }', "2:45: proxy-protocol: Expected `bool`"),
    "a key without a certificate": (
        'listen = { address = ":1", key = "key.pem" }',
        "2:28: key: is of no use without its certificate",
    ),
    "no such file": (
        'listen = [{ address = ":1", certificate = "nothing.pem", key = "key.pem" }]',
        "2:43: certificate: …nothing.pem cannot be read: No such file or directory",
    ),
    "no such key": (
        'listen = [{ address = ":1", certificate = "cert.pem", key = "nothing.pem" }]',
        "2:61: key: …nothing.pem cannot be read: No such file or directory",
    ),
    "no certificate in it": (
        'listen = [{ address = ":1", certificate = "empty.pem", key = "key.pem" }]',
        "2:43: certificate: …empty.pem has no certificate in PEM form",
    ),
    "the key left out": (
        '[[listen]]\naddress = ":1"\ncertificate = "cert.pem"',
        "4:15: key: …cert.pem has no private key in PEM form",
    ),
    "the key of another": (
        'listen = [{ address = ":1", certificate = "cert.pem", key = "other.pem" }]',
        "2:61: key: …other.pem is not the key of …cert.pem",
    ),
    "no network": ('trusted-proxies = ["10.0.0.0/8", "lb.lan"]', "2:34: trusted-proxies: Expected a network such as"),
    "host bits": ('trusted-proxies = ["10.0.0.1/8"]', "2:20: trusted-proxies: …(10.0.0.1/8 has host bits set)"),
    "nobody who may send a PROXY header": (
        'listen = [":1", { address = ":2", proxy-protocol = true }]',
        "2:52: proxy-protocol: nobody could connect, as a PROXY header is read from `trusted-proxies` alone",
    ),
    "nobody either": (
        "listen = { address = ':1', proxy-protocol = true }",
        "2:45: proxy-protocol: nobody could connect",
    ),
    "a PROXY header for the admin listener": (
        "admin.listen = { address = '127.0.0.1:1', proxy-protocol = true }",
        "2:16: listen: this listener takes no PROXY header",
    ),
    "one address for two purposes": (
        "listen = ':1'\nadmin.listen = 'localhost:1'",
        "3:16: [admin] listens on localhost:1, and so does `listen`: :1",
    ),
    "the usual address of both": (
        "listen = '127.0.0.1:4568'\nadmin = {}",
        "3:9: [admin] listens on 127.0.0.1:4568, and so does `listen`: 127.0.0.1:4568",
    ),
    "a number for a network": ("trusted-proxies = [167772160]", "2:20: trusted-proxies: Expected a network such as"),
    "no list": ('trusted-proxies = "10.0.0.0/8"', "2:19: trusted-proxies: Expected `array`, got `str`"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake(case: str, directory: Path) -> None:
    """One mistake, one problem, at its place (… is anything)."""
    text, expected = MISTAKES[case]
    with pytest.raises(ConfigError) as info:
        read(text, directory)
    [problem] = info.value.problems
    assert problem.at
    shown = f"{problem.at.line}:{problem.at.column}: {problem.message}"
    assert re.match(".*".join(map(re.escape, expected.split("…"))), shown), shown


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:1", "http://127.0.0.1:1"),
        ("127.0.0.1:1", "https://LOCALHOST:1/v1"),
        ("localhost:1", "http://[::1]:1"),
        ("[::1]:80", "http://[::1]"),
        (":1", "http://127.0.0.1:1"),
        ("0.0.0.0:1", f"http://{platform.node()}:1"),
        ("127.0.0.1:1", "http://0.0.0.0:1"),
        ("proxy.lan:1", "http://proxy.lan:1"),
    ],
)
def test_an_upstream_that_is_the_proxy_itself(listen: str, url: str, tmp_path: Path) -> None:
    up = '[upstreams.up]\nurl = { env = "URL" }\n'
    with pytest.raises(ConfigError) as info:
        config.read(f'allow-anonymous = true\nlisten = "{listen}"\n{up}', tmp_path / "stages.toml", {"URL": url})
    [problem] = info.value.problems
    assert problem.at
    assert problem.at.line == 4
    assert problem.message.endswith(
        f"is this proxy itself, which listens on {listen}: each request would come back as another one"
    )
    assert problem.hint.endswith("\nthe value is that of $URL")


@pytest.mark.parametrize(
    ("listen", "up"),
    [
        ("127.0.0.1:1", 'url = "http://127.0.0.1:2"'),
        ("127.0.0.1:1", 'url = "http://127.0.0.2:1"'),
        ("127.0.0.1:1", 'url = "http://up.lan:1"'),
        (":1", 'url = "http://up.lan:1"'),
        ("127.0.0.1:0", 'url = "http://127.0.0.1:1"'),
        ("systemd", 'url = "http://127.0.0.1:1"'),
        ("127.0.0.1:1", 'url = "http://127.0.0.1:1"\nproxy = "http://there.lan:3128"'),
        ("127.0.0.1:1", 'url = "http://127.0.0.1:1"\nsocket = "up.sock"'),
        ("unix:proxy.sock", 'url = "http://127.0.0.1:1"'),
    ],
)
def test_an_upstream_that_is_another_one(listen: str, up: str, tmp_path: Path) -> None:
    text = f'allow-anonymous = true\nlisten = "{listen}"\n[upstreams.up]\n{up}'
    assert config.read(text, tmp_path / "stages.toml", {}).upstreams


def test_targets_sockets_and_what_the_command_line_says_are_looked_at_too(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    own = f'listen = "unix:{tmp_path}/own.sock"\n'
    for text, place in (
        (f'{own}[upstreams.up]\nurl = "http://up"\nsocket = "own.sock"', 4),
        ('[targets.a]\nmodel = "a"\nurl = "http://127.0.0.1:4567"', 3),
        (f'{UP}\n[admin]\nlisten = "127.0.0.1:2"\n[upstreams.b]\nurl = "http://localhost:2"\n[routes]\n"/"="b"', 7),
    ):
        with pytest.raises(ConfigError, match="is this proxy itself") as info:
            config.read(text, file, {})
        assert [problem.at.line for problem in info.value.problems if problem.at] == [place]
    with pytest.raises(ConfigError, match=r"^upstream 'up': http://127\.0\.0\.1:1 is this proxy itself"):
        File(path=file, listen=(Listen(Address("127.0.0.1:1")),)).read('[upstreams.up]\nurl = "http://127.0.0.1:1"', {})


async def test_a_port_that_only_the_open_listener_tells_is_looked_at_then() -> None:
    [bound] = await open_listeners([Listen(Address("127.0.0.1:0"))])
    try:
        ours = f'listen = "127.0.0.1:0"\n[upstreams.up]\nurl = "http://{bound.address}"'
        with pytest.raises(ConfigError, match="is this proxy itself"):
            check_listeners(config.read(ours, Path("stages.toml"), {}), [bound])
    finally:
        bound.close()


def test_every_mistake_at_once(directory: Path) -> None:
    with pytest.raises(ConfigError) as info:
        read('trusted-proxies = ["x"]\nlisten = ["y", { address = ":1", certificate = "z" }, { }]', directory)
    assert len(info.value.problems) == 4
