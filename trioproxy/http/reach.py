"""Where an upstream is, and how a connection to it is made: through which proxy or socket, and whom TLS believes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from trioproxy.http.target import is_name

__all__ = ["Origin", "Proxy", "Reach"]

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_EXAMPLES = '"http://proxy.lan:3128", "https://…" or "socks5://user:password@proxy.lan:1080"'
_LONGEST = 255  # bytes of a name, a password, a host: RFC 1928 and 1929 have one byte for each length


class Origin(NamedTuple):
    """Where an upstream is."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """For the Host field: without the scheme's own port."""
        return _authority(self.host, self.port, _PORTS[self.scheme])

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Proxy(msgspec.Struct, frozen=True):
    """A proxy on the way to an upstream. Neither `str` nor `repr` shows its credentials."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str = ""

    @classmethod
    def read(cls, value: object) -> Proxy:
        """From a URL. Raises `ValueError` that says what was expected, and quotes nothing: it may be a password."""
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        parts, port = _split(value)
        if parts is None or parts.scheme not in _PORTS or not (parts.hostname and is_name(parts.hostname)) or port == 0:
            spelled = "; in a password / is %2F, and @ is %40" if "@" in value else ""
            raise ValueError(f"Expected the URL of a proxy such as {_EXAMPLES}{spelled}")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("Expected the URL of a proxy without a path; in a password / is %2F, and ? is %3F")
        scheme = "socks5" if parts.scheme == "socks5h" else parts.scheme
        user, password = parts.username, unquote(parts.password or "")
        if user is not None:
            user = unquote(user)
            if ":" in user and scheme != "socks5":
                raise ValueError("Expected a user name without a colon (RFC 7617)")
            if not user or max(len(user.encode()), len(password.encode())) > _LONGEST:
                raise ValueError(f"Expected a user name and a password of at most {_LONGEST} bytes each")
        return cls(scheme, parts.hostname, port or _PORTS[scheme], user, password)

    @property
    def forwards(self) -> bool:
        """Whether it takes requests for `http://` origins itself, and no tunnel is needed for these."""
        return self.scheme != "socks5"

    def __str__(self) -> str:
        return f"{self.scheme}://{_authority(self.host, self.port)}"

    def __repr__(self) -> str:
        return f"Proxy({self}{'' if self.user is None else ', …'})"


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Connections that were made alike are pooled together."""

    proxy: Proxy | None = None
    socket: Path | None = None
    """A Unix socket to connect to, whatever host the URL names."""
    ca: Path | None = None
    """Certificates to trust beside the system's: the upstream's, and that of an `https://` proxy."""
    certificate: Path | None = None
    """What we show the upstream of ourselves, with its key in the same file if `key` is None."""
    key: Path | None = None
    insecure: bool = False
    """Whether any certificate of the upstream is believed."""


def _split(url: str) -> tuple[SplitResult | None, int | None]:
    """The parts of a URL and its port; None if it is none."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None, None
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:  # its words quote what may be a password
        return None, None


def _authority(host: str, port: int, usual: int | None = None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port == usual else f"{host}:{port}"
