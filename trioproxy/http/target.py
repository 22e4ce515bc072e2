"""The request target, taken apart and checked (RFC 9112 section 3.2). It is rebuilt from the parts, never forwarded."""

import re
from typing import NamedTuple

__all__ = ["Target", "is_host", "is_name", "parse_target"]

# pchar and "/" of RFC 3986, and what browsers and SDKs send unescaped all the same; no "#", no "\", no control bytes.
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/|\[\]{}^`\"<>]|%[0-9A-Fa-f]{2})+")
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?|\[\]{}^`\"<>\\]|%[0-9A-Fa-f]{2})*")
# As some servers read them: with the slash encoded, a backslash for a slash, or parameters behind the dots.
_DOTS = re.compile(r"(?:/|%2f|%5c)(?:\.|%2e){1,2}(?=/|%2f|%5c|;|$)", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_\-.]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?")


class Target(NamedTuple):
    """Where a request wants to go. `query` is without its `?`; None means there was none."""

    path: str
    query: str | None
    authority: str | None
    """Host and port of an absolute-form target, which then stand for the Host field."""

    def __str__(self) -> str:
        return self.path if self.query is None else f"{self.path}?{self.query}"


def parse_target(raw: bytes) -> Target:
    """Origin form (`/path?query`) or absolute form (`http://host/path`). Raises `ValueError` saying what is wrong."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("the request target has bytes that must be percent-encoded") from None
    authority = None
    if not text.startswith("/"):
        scheme, separator, rest = text.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise ValueError("the request target must be a path that begins with '/'")
        authority, _, path = rest.partition("/")
        text = "/" + path
        if not is_host(authority):
            raise ValueError("the request target names no valid host")
    path, question, query = text.partition("?")
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise ValueError("the request target has characters that must be percent-encoded")
    if _DOTS.search(path):
        raise ValueError("the request target has '.' or '..' segments; send the path they lead to")
    return Target(path, query if question else None, authority)


def is_host(text: str) -> bool:
    """Whether a Host field is a host name or address, with a port or without."""
    match = _HOST.fullmatch(text)
    return match is not None and int(match[1] or 0) <= 65535


def is_name(host: str) -> bool:
    """Whether a host can be looked up: each label has 1 to 63 characters (RFC 1035 section 2.3.4), a last dot none."""
    return all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))
