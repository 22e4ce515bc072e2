"""The keys of an upstream that say how it is reached: through a proxy or a socket, with which certificates."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from trioproxy.config.environment import proxy_of
from trioproxy.config.model import Secret
from trioproxy.config.table import Table
from trioproxy.errors import Problem
from trioproxy.http.client import Origin
from trioproxy.http.reach import Proxy, Reach
from trioproxy.http.tls import unusable

__all__ = ["REACHED", "read_reach"]

REACHED = ("proxy", "socket", "ca", "certificate", "key", "insecure")
"""The keys that are read here."""

_MEANT = 'certificate = "me.pem"; but a key of an API is a token: token = { env = "NAME" }'


def read_reach(table: Table, origin: Origin | None, directory: Path) -> Reach:
    """How the upstream at `origin` is reached; None: its URL is no good. Files are looked for beside the TOML file."""
    proxy = _proxy(table, origin)
    files = {key: _file(table, key, directory) for key in ("socket", "ca", "certificate", "key")}
    insecure = table.get("insecure", bool, False)
    if "socket" in table.raw and "proxy" in table.raw:
        table.problem(("socket",), Problem("socket: a Unix socket is not reached through a proxy"), at_key=True)
    if "key" in table.raw and "certificate" not in table.raw:
        table.problem(("key",), Problem("key: is of no use without its certificate", _MEANT))
    reach = Reach(proxy=proxy, insecure=insecure, **files)
    half = "key" in table.raw and files["key"] is None  # of a pair: why is noted
    for exc in unusable(replace(reach, certificate=None) if half else reach):
        part = exc.part if exc.part in table.raw else "certificate"
        hint = 'its key may stand in a file of its own: key = "me.key"' if part != exc.part else ""
        table.problem((part,), Problem(f"{exc.part}: {exc.strerror}", hint))
    if origin and origin.scheme == "http":
        for key in ("ca", "certificate", "key", "insecure"):
            if key in table.raw and not (key == "ca" and proxy and proxy.scheme == "https"):
                message = f"{key}: only where there is TLS, and the url begins with http://"
                table.problem((key,), Problem(message, "did you mean https://?"), at_key=True)
    return reach


def _proxy(table: Table, origin: Origin | None) -> Proxy | None:
    if table.raw.get("proxy") != "env":
        url: str | None = table.get("proxy", _Url, None)
        return None if url is None else Proxy.read(url)
    table.known("proxy")
    if origin is None:
        return None
    try:
        return proxy_of(origin, table.environ)
    except ValueError as exc:
        table.problem(("proxy",), Problem(f"proxy: {exc}"))
        return None


class _Url(Secret):
    """The URL of a proxy. It may hold a password, so it is never quoted."""

    @classmethod
    def read(cls, value: object) -> _Url:
        Proxy.read(value)
        return cls(value)


def _file(table: Table, key: str, directory: Path) -> Path | None:
    name: str | None = table.get(key, str, None)
    if name is None:
        return None
    if not name or "\0" in name:
        table.problem((key,), Problem(f"{key}: Expected the name of a file"))
        return None
    return directory / name
