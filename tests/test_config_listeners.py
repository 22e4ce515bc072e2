"""`listen` and `trusted-proxies` in the file."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from trioproxy import config
from trioproxy.config import Config
from trioproxy.errors import ConfigError
from trioproxy.http.forwarded import Trusted
from trioproxy.http.listen import Address, Listen

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
        ]""",
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
    assert read(text, directory).listen == (Listen(Address(":1"), proxy_protocol=True),)


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


def test_every_mistake_at_once(directory: Path) -> None:
    with pytest.raises(ConfigError) as info:
        read('trusted-proxies = ["x"]\nlisten = ["y", { address = ":1", certificate = "z" }, { }]', directory)
    assert len(info.value.problems) == 4
