"""Proxies as the environment names them: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case.

Nobody has written down what they mean; this is what curl makes of them, and networks (`10.0.0.0/8`) as Go takes them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from trioproxy.http.client import Origin
from trioproxy.http.reach import Proxy

__all__ = ["proxy_of"]


def proxy_of(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for `origin`, if there is one. Raises `ValueError` that names a variable which is no proxy's URL."""
    if _excepted(origin, _get(environ, "no_proxy")[1]):
        return None
    name, value = _get(environ, f"{origin.scheme}_proxy")
    if not value:
        name, value = _get(environ, "all_proxy")
    if not value:
        return None
    try:
        return Proxy.read(value if "://" in value else f"http://{value}")
    except ValueError as exc:
        raise ValueError(f"the environment variable {name}: {exc}") from None


def _get(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable and its value; small letters come first, as curl has it."""
    return next(((each, environ[each].strip()) for each in (name, name.upper()) if environ.get(each)), (name, ""))


def _excepted(origin: Origin, exceptions: str) -> bool:
    return any(_is_about(entry, origin) for entry in exceptions.replace(",", " ").split())


def _is_about(entry: str, origin: Origin) -> bool:
    """Whether an entry is about the host: `*`, a name and all below it, an address, a network; maybe with a port."""
    entry, host = entry.lower(), origin.host.rstrip(".")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name, or has a port
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal():
        if int(port) != origin.port:
            return False
        entry = name.strip("[]")
    entry = entry.strip(".")
    return entry in ("*", host) or (entry != "" and host.endswith(f".{entry}"))
