"""Targets that were registered, in an SQLite file: they outlive the process.

The file is its own, beside the store's, because what is true of a cache must not be true of them: there the oldest goes
when it is full, a damaged file is set aside, an operator may delete it, and a power cut may cost the last moments. Here
nothing is lost without a word. A connection lasts for one call: registering is rare, and who is not connected neither
locks the file nor overlooks that it is another one now.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from trioproxy.store import Settings, StoreError

if TYPE_CHECKING:
    from trioproxy.store.seal import Seal

__all__ = ["Book", "book_of", "file_of"]

T = TypeVar("T")

_LOCKED = 5.0  # seconds to wait for another process that writes
_APPLICATION = int.from_bytes(b"trit")  # in the file's header: whose it is, for us and for file(1)
_SCHEMA = 1
_TABLE = "CREATE TABLE targets (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"


class Book(Protocol):
    """What is kept for good, by key. Each method raises `StoreError`, and then nothing has changed."""

    async def entries(self) -> Mapping[str, bytes | None]:
        """Everything; None for what was sealed with another key."""

    async def keep(self, key: str, value: bytes, /) -> None:
        """Keep a value, in place of what was kept under the key; once this returns it is on the disk."""

    async def forget(self, key: str, /) -> None:
        """Keep it no longer; fine if it was not there."""


def book_of(settings: Settings, directory: Path) -> Book | None:
    """The book of a store, or None: a store in memory has none, nor has one on a server. Nothing is opened yet.

    Raises `StoreError` if it can never be used.
    """
    file = file_of(settings, directory)
    if file is None:
        return None
    seal = None
    if settings.key is not None:
        from trioproxy.store.seal import Seal  # noqa: PLC0415  # an extra: only who names a key needs it

        seal = Seal(settings.key)
    return _File(file, seal)


def file_of(settings: Settings, directory: Path) -> Path | None:
    """Where the targets are: `thinking.targets.db` beside `thinking.db`; None if there is no such file."""
    scheme, _, rest = settings.url.partition(":")
    if scheme != "sqlite":
        return None
    store = directory / rest.removeprefix("//")
    return store.with_name(f"{store.stem}.targets{store.suffix}")


class _File:
    def __init__(self, path: Path, seal: Seal | None) -> None:
        self._path, self._seal = Path(os.path.realpath(path)), seal
        self._one = trio.CapacityLimiter(1)  # at a time

    async def entries(self) -> Mapping[str, bytes | None]:
        if not self._path.exists():  # it is made when there is something to keep
            return {}
        rows: list[tuple[str, bytes]] = await self._use(
            lambda db: db.execute("SELECT key, value FROM targets ORDER BY key").fetchall()
        )
        return {key: self._seal.open(_bound(key), value) if self._seal else value for key, value in rows}

    async def keep(self, key: str, value: bytes, /) -> None:
        row = (key, self._seal.seal(_bound(key), value) if self._seal else value)
        await self._use(lambda db: db.execute("INSERT OR REPLACE INTO targets (key, value) VALUES (?, ?)", row))

    async def forget(self, key: str, /) -> None:
        await self._use(lambda db: db.execute("DELETE FROM targets WHERE key = ?", (key,)))

    async def _use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work in a thread, as one transaction. Who is cancelled leaves at once; it is done all the same."""

        def done() -> T:
            try:
                with closing(self._open()) as db, db:
                    return work(db)
            except (sqlite3.Error, OSError) as exc:
                raise StoreError(f"{self._path}: {_why(exc)}") from exc

        return await trio.to_thread.run_sync(done, limiter=self._one, abandon_on_cancel=True)

    def _open(self) -> sqlite3.Connection:
        with suppress(FileExistsError):  # for this user alone; SQLite gives its journal the same mode
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        db = sqlite3.connect(self._path, timeout=_LOCKED)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            with db:
                db.execute("BEGIN IMMEDIATE")  # another process may do the same at this moment
                if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                    db.execute(_TABLE)
                    db.execute(f"PRAGMA application_id = {_APPLICATION}")
                    db.execute(f"PRAGMA user_version = {_SCHEMA}")
        [[application]], [[schema]] = db.execute("PRAGMA application_id"), db.execute("PRAGMA user_version")
        if application != _APPLICATION:
            raise StoreError(f"{self._path}: is a database of another program: move it away")
        if schema > _SCHEMA:
            raise StoreError(f"{self._path}: was made by a later release: this one cannot use it")


def _bound(key: str) -> bytes:
    """What a value is sealed for: nothing else that is sealed with the same text opens in its place."""
    return b"target " + key.encode()


def _why(exc: Exception) -> str:
    if isinstance(exc, FileNotFoundError):
        return "its directory does not exist"
    if isinstance(exc, OSError):
        return exc.strerror or str(exc)
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"is damaged ({exc}): put a copy of it back, or move it away and register the targets again"
    return str(exc)
