import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.peers import free_port
from trioproxy.http.certificate import BadCertificate
from trioproxy.http.listen import Address, Listen, Listener, listeners_from, open_listeners

AUTHORITY = trustme.CA()


def at(address: str) -> Listen:
    return Listen(Address.read(address))


def reached(listener: Listener) -> bool:
    """Whether a connection to it is accepted."""
    name = listener.socket.getsockname()
    with socket.socket(listener.socket.family) as client:
        client.connect(name)
        with socket.socket(fileno=os.dup(listener.fileno())) as same:
            same.accept()[0].close()
    return True


async def open_one(address: str | Listen, **environ: str) -> Listener:
    [listener] = await open_listeners([at(address) if isinstance(address, str) else address], environ)
    return listener


@contextmanager
def bound(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A socket that listens already: what a parent hands down."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        yield sock


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "host", "port", "unix"),
    [
        ("127.0.0.1:4567", "127.0.0.1", 4567, None),
        ("[::1]:0", "::1", 0, None),
        (":80", "", 80, None),
        ("unix:/run/a:b.sock", "", None, "/run/a:b.sock"),
    ],
)
def test_addresses(text: str, host: str, port: int | None, unix: str | None) -> None:
    address = Address.read(text)
    assert address.unix == unix
    assert not address.inherited
    if unix is None:
        assert (address.host, address.port) == (host, port)


@pytest.mark.parametrize("text", ["fd:3", "systemd", "systemd:web"])
def test_addresses_that_are_bound_already(text: str) -> None:
    assert Address.read(text).inherited


@pytest.mark.parametrize(
    "value",
    [
        *["", "localhost", "localhost:", "a:65536", "a:-1", "a:x", "a:²", "unix:", "fd:", "fd:x", "systemd:"],
        *[4567, None, ".lan:1", "a..b:1", f"{'a' * 64}.lan:1", "unix:/run/a\0b", "a\nb:1", f"a:{'9' * 5000}"],
    ],
)
def test_what_is_no_address(value: object) -> None:
    with pytest.raises(ValueError, match="Expected an address such as"):
        Address.read(value)


@pytest.mark.parametrize("text", [".lan:1", "unix:/a\0b"])
async def test_what_the_system_takes_for_no_address_is_told_like_what_it_cannot_open(text: str) -> None:
    with pytest.raises(OSError, match="cannot listen on "):
        await open_listeners([Listen(Address(text))])


# ── sockets that we bind ────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_kind_of_listener(tmp_path: Path) -> None:
    unix = f"unix:{tmp_path}/proxy.sock"
    listeners = await open_listeners([at("127.0.0.1:0"), at("[::1]:0"), at(unix)])
    shown = [(each.address.rstrip("0123456789"), each.url.rstrip("0123456789"), each.loopback) for each in listeners]
    assert shown == [
        ("127.0.0.1:", "http://127.0.0.1:", True),
        ("[::1]:", "http://[::1]:", True),
        (unix, unix, False),
    ]
    assert not any(listener.address.endswith(":0") for listener in listeners)
    assert [listener.listen.address for listener in listeners] == ["127.0.0.1:0", "[::1]:0", unix]
    for listener in listeners:
        assert reached(listener)
        listener.close()


async def test_the_file_of_a_unix_socket(tmp_path: Path) -> None:
    file = tmp_path / "proxy.sock"
    listener = await open_one(f"unix:{file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(OSError, match=r"cannot listen on unix:.*: Address already in use"):
        await open_one(f"unix:{file}")
    listener.close()
    assert not file.exists()
    listener.close()  # once more does no harm


async def test_a_unix_socket_that_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(file))
    listener = await open_one(f"unix:{file}")
    assert reached(listener)
    listener.close()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("data")
    with pytest.raises(OSError, match="cannot listen"):
        await open_one(f"unix:{file}")
    assert file.read_text() == "data"


async def test_all_listeners_or_none(tmp_path: Path) -> None:
    free, unix = free_port(), f"unix:{tmp_path}/proxy.sock"
    with bound() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            await open_listeners([at(unix), at(f"127.0.0.1:{free}"), at(f"127.0.0.1:{port}")])
    assert os.listdir(tmp_path) == []
    with socket.create_server(("127.0.0.1", free)):
        pass  # it is free again


# ── certificates ────────────────────────────────────────────────────────────────────────────────────────────────────


def shown_by(listener: Listener) -> list[str]:
    """The names in the certificate that a listener shows."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    AUTHORITY.configure_trust(trusting)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    assert listener.tls
    client = trusting.wrap_bio(to_client, to_server)
    server = listener.tls.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert (client.version(), client.selected_alpn_protocol()) == ("TLSv1.3", None)
    certificate = client.getpeercert()
    assert certificate
    return [str(name[1]) for name in certificate["subjectAltName"]]


async def test_a_certificate_is_read_again_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    AUTHORITY.issue_cert("old.test").private_key_and_cert_chain_pem.write_to_path(file)
    listener = await open_one(Listen(Address("127.0.0.1:0"), file))
    assert listener.url.startswith("https://127.0.0.1:")
    AUTHORITY.issue_cert("new.test").private_key_and_cert_chain_pem.write_to_path(file)
    assert shown_by(listener) == ["old.test"]
    listener.use(listener.listen)
    assert shown_by(listener) == ["new.test"]
    file.write_text("half a certifi")
    with pytest.raises(BadCertificate):
        listener.use(listener.listen)
    assert shown_by(listener) == ["new.test"]
    listener.close()


async def test_a_listener_receives_in_another_way(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    AUTHORITY.issue_cert("x.test").private_key_and_cert_chain_pem.write_to_path(file)
    plain = at("127.0.0.1:0")
    listener = await open_one(plain)
    wrong = Listen(plain.address, tmp_path / "nothing.pem", proxy_protocol=True)
    with pytest.raises(OSError, match=r"nothing\.pem cannot be read"):
        listener.use(wrong)
    assert (listener.tls, listener.listen) == (None, plain)
    listener.use(Listen(plain.address, file))
    assert shown_by(listener) == ["x.test"]
    listener.use(plain)
    assert (listener.tls, listener.listen) == (None, plain)
    listener.close()


async def test_a_bad_certificate_opens_nothing(tmp_path: Path) -> None:
    unix = tmp_path / "proxy.sock"
    with pytest.raises(OSError, match=r"cannot listen on unix:.*nothing\.pem cannot be read: No such file"):
        await open_one(Listen(Address(f"unix:{unix}"), tmp_path / "nothing.pem"))
    assert not unix.exists()


# ── sockets that others have bound ──────────────────────────────────────────────────────────────────────────────────


async def test_a_descriptor() -> None:
    with bound() as sock:
        for _ in range(2):  # closed and opened again: the descriptor itself stays
            listener = await open_one(f"fd:{sock.fileno()}")
            assert listener.address == f"127.0.0.1:{sock.getsockname()[1]}"
            assert listener.loopback
            assert reached(listener)
            assert not os.get_inheritable(listener.fileno())
            listener.close()


async def test_a_descriptor_that_does_not_listen(tmp_path: Path) -> None:
    idle, datagrams = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with idle, datagrams, (tmp_path / "file").open("w") as file:
        for each in (idle, datagrams):
            with pytest.raises(OSError, match=r"cannot listen on fd:\d+: descriptor \d+ is not a stream socket that"):
                await open_one(f"fd:{each.fileno()}")
        with pytest.raises(OSError, match=r"cannot listen on fd:\d+: Socket operation on non-socket"):
            await open_one(f"fd:{file.fileno()}")
    with pytest.raises(OSError, match=r"cannot listen on fd:99999: Bad file descriptor"):
        await open_one("fd:99999")


async def test_of_systemd_we_take_only_what_was_passed_to_us() -> None:
    for environ in ({}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getppid())}):
        with pytest.raises(OSError, match="cannot listen on systemd: systemd has passed this process no socket"):
            await open_one("systemd", **environ)


# ── sockets that processes share ────────────────────────────────────────────────────────────────────────────────────


async def test_a_listener_of_another_process(tmp_path: Path) -> None:
    file, certificate = tmp_path / "proxy.sock", tmp_path / "cert.pem"
    AUTHORITY.issue_cert("x.test").private_key_and_cert_chain_pem.write_to_path(certificate)
    own = await open_listeners([at("127.0.0.1:0"), Listen(Address(f"unix:{file}"), certificate)])
    shared = listeners_from([(os.dup(each.fileno()), each.listen) for each in own])
    assert [(each.address, each.listen) for each in shared] == [(each.address, each.listen) for each in own]
    assert [bool(each.tls) for each in shared] == [False, True]
    for listener in shared:
        listener.close()
    assert file.exists()
    for listener in own:
        assert reached(listener)
        listener.close()
    assert not file.exists()


def test_what_is_no_listener_of_another_process(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="non-socket"):
        listeners_from([(os.dup(file.fileno()), at("127.0.0.1:0"))])
