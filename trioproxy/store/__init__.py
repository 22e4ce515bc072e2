"""What outlives an exchange: values that stages remember for a while, within bounds.

A store keeps bytes under keys that tell nothing: what the bytes are, and whose, is for `vault` to know.
"""

import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from trioproxy.units import Seconds, Size

__all__ = ["KEY_LENGTH", "Settings", "Store", "StoreError", "TooLarge"]

KEY_LENGTH = 32
"""How many characters the text that encrypts must have: it is no password, but made by chance."""


class StoreError(Exception):
    """A store that cannot be used now. Its text is for the log: it says why, and holds no secret."""


class TooLarge(StoreError):
    """What was to be kept does not fit; the store is fine."""


class Store(Protocol):
    """Where values are kept. A key is 32 bytes, and its value never changes."""

    async def get(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        """The value of each of `keys`; None where there is none, or none any more. Raises `StoreError`."""

    async def put(self, entries: Sequence[tuple[bytes, bytes]], seconds: float, /) -> None:
        """Keep the value of each key for `seconds`. Raises `StoreError`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The `[store]` of the file."""

    url: str = "memory:"
    """`memory:`, `sqlite:` and a file, the URL of a Valkey or Redis server, or `off`. It may hold a password."""
    entries: int = 100_000
    """How many values are held in memory."""
    size: Size = Size(64 * 1024 * 1024)
    """How many bytes of them."""
    file_size: Size = Size(1024 * 1024 * 1024)
    """How large an SQLite file may become, in bytes."""
    expires: Seconds = Seconds(24 * 3600)
    """How long a value is kept."""
    timeout: Seconds = Seconds(0.25)
    """How long a request waits for a file or a server, each time; then it goes on without."""
    key: str | None = None
    """Encrypts what leaves this process; None: it is kept as it is."""

    @property
    def place(self) -> str:
        """Where the store is, without credentials: for people to read."""
        scheme, at, rest = self.url.partition("://")
        return f"{scheme}{at}{re.split('[?#]', rest.rpartition('@')[2])[0]}"
