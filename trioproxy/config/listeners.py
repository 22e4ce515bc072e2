"""`listen` and `trusted-proxies`: where requests come in, and who may say whom they are from."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from trioproxy.config.table import MISSING, Table
from trioproxy.errors import Problem
from trioproxy.http.certificate import BadCertificate, server_tls
from trioproxy.http.forwarded import Trusted
from trioproxy.http.listen import Address, Listen

__all__ = ["read_listen", "read_trusted"]

_EXAMPLE = 'listen = [{ address = "0.0.0.0:443", certificate = "cert.pem", key = "key.pem" }]'


def read_listen(table: Table, directory: Path, usual: tuple[Listen, ...]) -> tuple[Listen, ...]:
    """What `listen` says in `table`: an address, a table of an address and how, or a list of either."""
    raw = table.raw.get("listen")
    table.known("listen")
    if not isinstance(raw, list):
        if raw is not None and table.is_table("listen"):
            return _some(_read(table.table("listen"), directory))
        address = table.get("listen", _Address, None)
        return (Listen(address),) if address else usual
    if not raw:
        table.problem(("listen",), Problem("listen: Expected at least one address", f'listen = "{usual[0].address}"'))
    found: list[Listen | None] = []
    for index, element in enumerate(raw):
        if isinstance(element, dict) and "env" not in element:
            found.append(_read(table.element("listen", index), directory))
        else:
            address = table.one("listen", index, _Address)
            found.append(None if address is MISSING else Listen(address))
    return _some(*found)


def _some(*found: Listen | None) -> tuple[Listen, ...]:
    return tuple(listen for listen in found if listen)


def _read(table: Table, directory: Path) -> Listen | None:
    if "address" not in table.raw:
        table.problem((), Problem("listen: a table needs an address", _EXAMPLE))
    address = table.get("address", _Address, None)
    certificate = _file(table, "certificate", directory)
    key = _file(table, "key", directory)
    proxy_protocol = table.get("proxy-protocol", bool, False)
    table.done()
    if key and "certificate" not in table.raw:
        table.problem(("key",), Problem("key: is of no use without its certificate", _EXAMPLE), at_key=True)
    elif certificate and (key or "key" not in table.raw):
        try:
            server_tls(certificate, key)
        except BadCertificate as exc:
            part = exc.part if exc.part in table.raw else "certificate"
            table.problem((part,), Problem(f"{exc.part}: {exc.strerror}"))
    return Listen(address, certificate, key, proxy_protocol) if address else None


def _file(table: Table, key: str, directory: Path) -> Path | None:
    name = table.get(key, str, None)
    return None if name is None else directory / name


class _Address(Address):
    """An address in the file, where what is no address can be shown: it is no secret."""

    @classmethod
    def read(cls, value: object) -> _Address:
        try:
            return cls(Address.read(value))
        except ValueError as exc:
            raise ValueError(f"{exc}, got {value!r}") from exc


def read_trusted(root: Table) -> Trusted:
    """What `trusted-proxies` says: networks, addresses, and "unix:" for whoever reaches a Unix socket."""
    entries: list[Any] = [entry for entry in root.array("trusted-proxies", _Peer, []) if entry is not MISSING]
    networks = tuple(ip_network(entry) for entry in entries if entry != "unix:")
    return Trusted(networks, unix="unix:" in entries)


class _Peer(str):
    """An entry of `trusted-proxies`."""

    @classmethod
    def read(cls, value: object) -> _Peer:
        try:
            if isinstance(value, str) and (value == "unix:" or ip_network(value)):
                return cls(value)
        except ValueError as exc:  # it says which bits, or what, is wrong
            expected = 'Expected a network such as "10.0.0.0/8", an address, or "unix:"'
            raise ValueError(f"{expected}, got {value!r} ({exc})") from exc
        raise ValueError(f'Expected a network such as "10.0.0.0/8", an address, or "unix:", got {value!r}')
