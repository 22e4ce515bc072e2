"""Which header fields are forwarded. Framing is rebuilt on each side, so nothing that frames a message may pass."""

from collections.abc import Iterable

__all__ = ["Headers", "end_to_end", "get", "without"]

Headers = list[tuple[bytes, bytes]]
"""Fields in order, names in lower case, as h11 gives them."""

# RFC 9110 section 7.6.1: fields that are about one connection, each with why it stops here.
_HOP_BY_HOP = frozenset(
    {
        b"connection",  # names further fields that stop here
        b"keep-alive",  # how long *this* connection may idle
        b"proxy-connection",  # never standard, still sent by some clients
        b"proxy-authenticate",  # between a client and its proxy
        b"proxy-authorization",  # credentials for us, not for the upstream
        b"te",  # transfer codings this hop understands
        b"trailer",  # we do not forward trailers
        b"transfer-encoding",  # framing: rebuilt
        b"upgrade",  # we do not switch protocols: smuggling (nghttpx CVE-2026-58055)
        b"http2-settings",  # only ever with Upgrade: h2c
    }
)


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The fields that are meant for the other end: without hop-by-hop ones and those that `Connection` names.

    `Content-Length` is kept: it is the message's own, and whoever writes the message decides whether it still holds.
    """
    headers = list(headers)
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    # A sender must not list end-to-end fields that matter to us as connection options (RFC 9110 section 7.6.1).
    stop = _HOP_BY_HOP | (named - _NEVER_DROPPED)
    return [(name, value) for name, value in headers if name not in stop]


# Dropped because a client names them in `Connection`, these would change what the request means or who is asking.
_NEVER_DROPPED = frozenset({b"authorization", b"content-length", b"content-type", b"content-encoding", b"host"})


def get(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The value of a field, several joined with a comma (RFC 9110 section 5.3); empty if there is none."""
    found = [value for key, value in headers if key == name]
    return found[0] if len(found) == 1 else b", ".join(found)


def without(headers: Headers, *names: bytes) -> Headers:
    """The fields but those with these names."""
    return [field for field in headers if field[0] not in names]
