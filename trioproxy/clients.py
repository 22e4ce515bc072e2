"""Who may ask: the token that a client shows is one of its route's, and goes no further."""

from __future__ import annotations

import hmac
import re
from collections.abc import Container, Iterator
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import unquote_plus

from trioproxy.config import Client, Route
from trioproxy.errors import ProxyError
from trioproxy.http.headers import Headers
from trioproxy.items import Error

__all__ = ["CREDENTIALS", "MADE", "SHOWN_IN", "Admitted", "admit", "recognise"]

SHOWN_IN = (b"authorization", b"x-api-key", b"api-key")
"""Where a client shows its token: everybody's form, Anthropic's, and Azure's. Claude Code sends two of them, which need
not hold the same (hazard H159)."""
CREDENTIALS = (*SHOWN_IN, b"cookie")
"""Fields that say who a client is. Cookies of one port of a host are sent to all its ports (RFC 6265 section 8.5), so
a page's proxy may get those of whatever else runs beside it."""

# Servers and proxies on the way write the query into their logs, browsers into their history.
_IN_QUERY = frozenset({"key", "api_key", "api-key", "apikey", "x-api-key", "token", "access_token", "authorization"})
_CHALLENGE = [(b"www-authenticate", b"Bearer")]  # RFC 9110 section 15.5.2: a 401 must have one
MADE = re.compile(rb"tp-[A-Za-z0-9_-]{43}")
"""A token that was made for a target's clients."""
_WHERE = "x-api-key: TOKEN or authorization: Bearer TOKEN"


class Admitted(NamedTuple):
    """A request that may go on."""

    name: str
    """The client's; empty where nobody is asked."""
    headers: Headers
    """What of the request's header may go to an upstream, as far as who is asking is concerned."""


def admit(route: Route, headers: Headers, query: str | None, ours: Container[bytes] = ()) -> Admitted:
    """Let a request to `route` in. Raises `ProxyError` with 401 if it shows no token of the route's clients, and with
    400 if it has one in its `query`.

    `ours` are the digests of all tokens that this proxy asks anybody for: none goes on, whatever the route.
    """
    name, forwards = "", route.forward_credentials is not False
    if route.clients:
        found, headers = recognise(route.clients, headers, query)
        name, forwards = found.name, bool(route.forward_credentials)
    if not forwards:
        return Admitted(name, [field for field in headers if field[0] not in CREDENTIALS])
    if any(_is_ours(field, ours) for field in headers):
        headers = [field for field in headers if not _is_ours(field, ours)]
    return Admitted(name, headers)


def _is_ours(field: tuple[bytes, bytes], ours: Container[bytes]) -> bool:
    """Whether it shows a token of ours, in whatever form: be it to a route that asks nobody, or for another one."""
    name, value = field
    if name not in SHOWN_IN:
        return False
    shown = {value.strip(), value.strip().partition(b" ")[2].strip()}
    return any(MADE.fullmatch(each) or sha256(each).digest() in ours for each in shown if each)


def recognise(clients: tuple[Client, ...], headers: Headers, query: str | None) -> tuple[Client, Headers]:
    """Who of `clients` is asking, and the fields that do not say so. Raises as `admit` does."""
    if named := _named_in(query):
        message = f"a token in the URL ends up in logs: send it in the header, as {_WHERE}, and not as {named!r}"
        raise ProxyError(Error("invalid_request", message, 400))
    shown = False
    found: Client | None = None
    left: Headers = []
    for name, value in headers:
        client = None
        if token := _token(name, value):
            shown = True
            client = _whose(token, clients)
            found = found or client
        if client is None:
            left.append((name, value))
    if found is None:
        message = "the token is none that may ask here" if shown else f"a token is needed: send {_WHERE}"
        raise ProxyError(Error("authentication", message, 401), headers=_CHALLENGE)
    return found, left


def _token(name: bytes, value: bytes) -> bytes:
    """What a field shows as a token; empty if it shows none."""
    if name == b"authorization":
        scheme, _, value = value.strip().partition(b" ")
        return value.strip() if scheme.lower() == b"bearer" else b""
    return value.strip() if name in SHOWN_IN else b""


def _whose(token: bytes, clients: tuple[Client, ...]) -> Client | None:
    """Compared with every client's, and as hashes: how long it takes tells nothing of how near a guess was."""
    digest = sha256(token).digest()
    found = None
    for client in clients:
        if hmac.compare_digest(digest, client.digest):
            found = client
    return found


def _named_in(query: str | None) -> str:
    """The name under which a query has what must be a token; empty if it has none."""
    return next((name for name in _names(query or "") if name.lower() in _IN_QUERY), "")


def _names(query: str) -> Iterator[str]:
    for pair in re.split("[&;]", query):
        name, _, value = pair.partition("=")
        if value:
            yield unquote_plus(name)
