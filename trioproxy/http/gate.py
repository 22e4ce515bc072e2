"""Who may talk to a listener on a loopback address: programs of this machine, and no web page.

A page on any site can make its visitor's browser send requests to 127.0.0.1, and by rebinding a DNS name of its own
(CVE-2024-28224 in Ollama) even read the answers. A browser cannot hide the page's host in `Host`, `Origin` and
`Sec-Fetch-Site`, so these three tell.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from trioproxy.http.headers import Headers, get
from trioproxy.http.target import is_host

__all__ = ["Gate", "is_loopback"]


class Gate:
    """Checks Host, Origin and Sec-Fetch-Site. `hosts` and `origins` are let through beside the loopback names."""

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = {host.lower() for host in hosts}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    def refusal(self, headers: Headers, host: str) -> str | None:
        """Why a request to the loopback `host` is refused, or None if it is let through."""
        if host and not self._known(host):
            return f"Host {host[:100]!r} is not served on this loopback address; add it to `hosts` to open it"
        origin = get(headers, b"origin").decode("latin-1").lower()
        if origin in self._origins or "*" in self._origins:
            return None
        if origin and not self._known(_netloc(origin)):
            return f"requests from web pages of {origin[:100]!r} are refused; add it to `origins` to open them"
        if not origin and get(headers, b"sec-fetch-site") == b"cross-site":
            return "cross-site requests of web pages are refused; see `origins`"
        return None

    def _known(self, host: str) -> bool:
        name = _name(host)
        return bool(name) and (name in self._hosts or host.lower() in self._hosts or is_loopback(name))


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""  # `http://[` is nobody's origin


def _name(host: str) -> str:
    """The host without its port and brackets, in lower case; empty if it is none."""
    if not is_host(host):
        return ""
    name = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone. No name is looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
