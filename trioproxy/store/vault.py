"""What the proxy remembers: values of many clients, which cannot come to see each other's.

This process's memory is in front; behind it may be a file or a server that other processes use too, and that outlives
this one. What is behind may be slow, full or away: a request waits for it for a bounded time, and goes on without.
"""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from trioproxy.store import Settings, Store
from trioproxy.store.breaker import Breaker
from trioproxy.store.memory import Memory

if TYPE_CHECKING:
    from trioproxy.store.seal import Seal

__all__ = ["Drawer", "Vault", "open_vault"]

_LARGEST = 16 * 1024 * 1024  # bytes of a value from behind: what is larger was never kept by us
_EXPIRES = struct.Struct(">d")  # in front of each value: when it does, in seconds since 1970
_VERSION = "1"  # of the keys; another one, and nothing that was kept before is found


class Vault:
    """Gives every client a drawer of its own. `behind` is None where this process's memory is all."""

    def __init__(
        self,
        settings: Settings,
        behind: Store | None = None,
        seal: Seal | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._off = settings.url == "off"
        self._expires = settings.expires
        self._memory = Memory(entries=settings.entries, size=settings.size)
        self._behind, self._seal, self._clock = behind, seal, clock
        # What is sealed with one key, or not at all, stands apart: nothing is ever opened the wrong way.
        self._mark = seal.mark if seal else ""
        # Apart, for a store that is full can still be read.
        self._reading, self._writing = Breaker("read", settings.timeout), Breaker("written", settings.timeout)

    def drawer(self, *whose: str) -> Drawer | None:
        """What is kept for `whose`: the same words open the same drawer, in every process. None if nothing is kept."""
        if self._off:
            return None
        scope = blake2b(digest_size=32, person=b"trioproxy scope")
        for word in (_VERSION, self._mark, *whose):
            text = word.encode(errors="surrogatepass")
            scope.update(len(text).to_bytes(8, "big") + text)
        return Drawer(self, scope.digest())

    @property
    def health(self) -> Mapping[str, bool]:
        """Whether what is behind can be read, and written; nothing where there is nothing behind."""
        both = {"read": self._reading, "write": self._writing} if self._behind is not None else {}
        return {use: not breaker.paused for use, breaker in both.items()}

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those of `keys` that have one."""
        now = self._clock()
        found = {key: value for key in keys if (value := self._memory.get(key, now)) is not None}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        for key, kept in zip(missing, await self._ask_behind(missing), strict=False):
            if kept is None or len(kept) > _LARGEST:
                continue
            if (kept := self._opened(key, kept)) and len(kept) >= _EXPIRES.size:
                [expires] = _EXPIRES.unpack_from(kept)
                if expires > now:
                    found[key] = kept[_EXPIRES.size :]
                    self._memory.put(key, found[key], expires)
        return found

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values; once this returns, every process that shares the store behind has them, if it could be had."""
        expires = self._clock() + self._expires
        for key, value in values.items():
            self._memory.put(key, value, expires)
        if self._behind is not None and self._writing.lets():
            front = _EXPIRES.pack(expires)
            entries = [(key, self._sealed(key, front + value)) for key, value in values.items()]
            with self._writing.bounded():
                await self._behind.put(entries, self._expires)

    async def _ask_behind(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        values: Sequence[bytes | None] = ()
        if keys and self._behind is not None and self._reading.lets():
            with self._reading.bounded():
                values = await self._behind.get(keys)
        return values

    def _sealed(self, key: bytes, value: bytes) -> bytes:
        return self._seal.seal(key, value) if self._seal else value

    def _opened(self, key: bytes, value: bytes) -> bytes | None:
        return self._seal.open(key, value) if self._seal else value


class Drawer:
    """What is kept for one client: see `trioproxy.stage.Memory`."""

    def __init__(self, vault: Vault, scope: bytes) -> None:
        self._vault, self._scope = vault, scope

    async def recall(self, kind: str, names: Sequence[str], /) -> Mapping[str, bytes]:
        keys = {name: self._key(kind, name) for name in names}
        found = await self._vault.get(list(keys.values()))
        return {name: found[key] for name, key in keys.items() if key in found}

    async def keep(self, kind: str, values: Mapping[str, bytes], /) -> None:
        await self._vault.put({self._key(kind, name): value for name, value in values.items()})

    def _key(self, kind: str, name: str) -> bytes:
        """A key tells nothing of what it stands for: neither the credentials that are in the scope nor the name."""
        text = f"{kind}\0{name}".encode(errors="surrogatepass")
        return blake2b(text, digest_size=32, key=self._scope, person=b"trioproxy key").digest()


@asynccontextmanager
async def open_vault(settings: Settings, directory: Path) -> AsyncIterator[Vault]:
    """The vault that `settings` ask for; a file is looked for in `directory`.

    Raises `StoreError` or `OSError` if it can never work: what it needs is not installed, a file that cannot be made. A
    server that is away may come back.
    """
    seal = None
    if settings.key is not None:
        from trioproxy.store.seal import Seal  # noqa: PLC0415  # an extra: only who names a key needs it

        seal = Seal(settings.key)
    scheme, _, rest = settings.url.partition(":")
    if scheme == "sqlite":
        from trioproxy.store.sqlite import open_sqlite  # noqa: PLC0415  # who does not use it starts faster

        async with open_sqlite(directory / rest.removeprefix("//"), size=settings.file_size) as store:
            yield Vault(settings, store, seal)
    elif scheme in ("memory", "off"):
        yield Vault(settings)
    else:
        from trioproxy.store.valkey import open_valkey  # noqa: PLC0415  # who does not use it starts faster

        async with open_valkey(settings.url, timeout=settings.timeout) as store:
            yield Vault(settings, store, seal)
