"""How a connection to an upstream is made, beside where it is: through which proxy or socket, and whom TLS believes."""

from pathlib import Path

import msgspec

__all__ = ["Reach"]


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Connections that were made alike are pooled together."""

    proxy: str | None = None
    """The URL of an HTTP(S) or SOCKS5 proxy, which may hold credentials; "env": what the environment says."""
    socket: Path | None = None
    """A Unix socket to connect to, whatever host the URL names."""
    ca: Path | None = None
    """Certificates to trust beside the system's."""
    certificate: Path | None = None
    """What we show of ourselves, with its key in the same file if `key` is None."""
    key: Path | None = None
    insecure: bool = False
    """Whether any certificate is believed."""
