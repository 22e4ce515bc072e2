"""The URL of an upstream, taken apart."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from trioproxy.config.model import Secret
from trioproxy.config.table import Table
from trioproxy.dialects import DIALECTS
from trioproxy.errors import Problem
from trioproxy.http.client import Origin
from trioproxy.http.target import is_name

__all__ = ["Place", "read_url"]

_EXPECTED = 'Expected a URL such as "http://127.0.0.1:3456" or "replay:recordings/hello.sse"'
_ASKED = sorted((path for dialect in DIALECTS.values() for path in dialect.paths), key=len, reverse=True)
_PORTS = {"http": 80, "https": 443}


class Place(NamedTuple):
    """Where an upstream is: the path without a slash at its end, the query without its `?`."""

    origin: Origin
    path: str
    query: Secret


def read_url(table: Table, url: str) -> Place | None:
    """What `url` says; None if a problem with it is noted. Its query is not quoted: a key may stand there."""
    shown = url.partition("?")[0]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        # What follows the colon of a password is taken for a port, and quoted.
        table.problem(("url",), Problem("url: must not hold credentials" if "@" in url else f"url: {exc}", _EXPECTED))
        return None
    problem = None
    # Whether before or after a scheme, an @ may follow a password: then the URL is not quoted.
    if parts.username is not None or parts.password is not None or ("@" in url and not parts.netloc):
        problem = Problem("url: must not hold credentials", 'token = { env = "NAME" }')
    elif parts.scheme not in _PORTS or not parts.hostname:
        problem = Problem(f"url: {_EXPECTED}, got {shown!r}", _scheme_missing(shown))
    elif parts.fragment or url.endswith("#"):
        problem = Problem("url: must have no fragment: it is for browsers alone")
    elif not url.isascii() or not url.isprintable() or " " in url:
        problem = Problem("url: has characters that must be percent-encoded")
    elif not is_name(parts.hostname):
        problem = Problem(f"url: no host has the name {parts.hostname!r}: between dots are 1 to 63 characters")
    elif port == 0:
        problem = Problem("url: there is no port 0 to connect to")
    elif asked := next((path for path in _ASKED if parts.path.rstrip("/").endswith(path)), None):
        base = shown.rstrip("/").removesuffix(asked)
        query = ", with its query behind it" if parts.query else ""
        problem = Problem(
            f"url: is the endpoint itself, and clients' requests name it: {asked}", f"did you mean '{base}'{query}?"
        )
    if problem or not parts.hostname:
        table.problem(("url",), problem or Problem(_EXPECTED))
        return None
    origin = Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
    return Place(origin, parts.path.rstrip("/"), Secret(parts.query))


def _scheme_missing(url: str) -> str:
    """The hint for `localhost:8080` and the like."""
    return f"did you mean 'http://{url}'?" if re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", url, re.ASCII) else ""
