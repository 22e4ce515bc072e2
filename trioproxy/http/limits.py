"""The named bounds of the server side: what a client may send and how long it may take. `[limits]` in the TOML file."""

import msgspec

from trioproxy.units import Seconds, Size

__all__ = ["Limits"]


class Limits(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Every bound has a default that suits coding agents, and nginx's where there is no reason for another."""

    head: Size = Size(64 * 1024)
    """Request line and headers, in bytes: 431. h11's own default is 16 KiB, too little for some cookies and traces."""
    head_lines: int = 100
    """Header lines: 431."""
    body: Size = Size(64 * 1024 * 1024)
    """Request body: 413. Room for a conversation with many images."""
    head_timeout: Seconds = Seconds(15)
    """From a request's first byte to the end of its head: 408."""
    body_timeout: Seconds = Seconds(60)
    """Silence within a request body: 408."""
    body_total: Seconds = Seconds(600)
    """A whole request body: 408."""
    keep_alive: Seconds = Seconds(75)
    """An idle connection is closed after this."""
    write_timeout: Seconds = Seconds(300)
    """A client that takes no byte for so long is taken for gone."""
    connections: int = 4096
    """Open connections; further ones wait to be accepted."""
    event: Size = Size(16 * 1024 * 1024)
    """One server-sent event, or one whole answer that has to be read, from an upstream."""
