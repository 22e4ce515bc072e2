"""Values in an SQLite file: they outlive the process, and processes on one machine share them.

It is a cache that lives a day: what is lost costs a conversation some of its thinking, no more. So a damaged file is
set aside and not mended, and nobody waits until a commit has reached the disk: a crash of the process loses nothing,
a power cut the last moments, and neither harms the file. It has to be on a local disk, because the processes that use
it share memory (sqlite.org/wal.html).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import trio

from trioproxy.store import Store, StoreError, TooLarge

__all__ = ["open_sqlite"]

log = logging.getLogger("trioproxy.store")

T = TypeVar("T")

_TOGETHER = 4 * 1024 * 1024  # bytes that are written in one transaction, and deleted in one where the file is full
_WAITING = 16 * 1024 * 1024  # bytes that wait for the disk
_WEIGHT = 1024  # what each call counts beside its keys and values, so that the number of calls is bounded too
_CLOSING = 1.0  # seconds that the end of the program waits for the disk
_OPENING = 5.0  # seconds to wait for other processes while opening, which several may do at once
_LOCKED = 0.5  # and while another one writes: twice as long as a request waits, if not told otherwise
_ROW = 200  # bytes, about, that a row takes beside its value: the key twice, numbers, headers
_AT_START = 10_000  # expired rows that are deleted when the file is opened: some tenths of a second
_AT_ONCE = 500  # keys in one statement: SQLite before 3.32 takes 999 parameters

_APPLICATION = int.from_bytes(b"trio")  # in the file's header: whose it is, for us and for file(1)
_SCHEMA = 1
# Rows have a rowid: each is written at the end and found by an index, and what is old lies together, so deleting it
# frees whole pages. WITHOUT ROWID is for small rows; with values of 12 kB a put took 146 us instead of 80, a get 42
# instead of 12. `sum` is there because SQLite notices no flipped bit in a value, and an upstream refuses a conversation
# whose signed thinking has one.
_TABLES = [
    "CREATE TABLE IF NOT EXISTS kept"
    " (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL, sum INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS kept_by_expires ON kept (expires)",
]
_SETTINGS = [
    "synchronous = NORMAL",  # commits do not wait for the disk, checkpoints do
    f"journal_size_limit = {_TOGETHER}",  # the -wal file is cut to this after it had to be longer
    "secure_delete = FAST",  # what is deleted is overwritten where that writes no more pages; Debian's default does all
]


@asynccontextmanager
async def open_sqlite(file: Path, *, size: int, clock: Callable[[], float] = time.time) -> AsyncIterator[Store]:
    """A store in `file`, which grows to `size` bytes, and some MB of `-wal` beside it; the oldest values go first.

    A file that is missing is made, for this user only. One that is no database, or a damaged one, is renamed to
    `NAME.corrupt`, now or when that is found. One of a later release or of another program is left as it is. A file
    that was given more room before is made smaller.

    Raises `StoreError` if the file cannot be used; its text says which, and why. On leaving, what waits is written.
    """
    limiter = trio.CapacityLimiter(1)
    opened = await trio.to_thread.run_sync(_File, file, size, clock, limiter=limiter)
    store = _Sqlite(opened, limiter)
    try:
        yield store
    finally:
        await store.aclose()


# ── the asynchronous side: who waits for what ───────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class _Call:
    """A get or a put, and what has come of it. Written to by the thread until it is `done`, then read."""

    keys: Sequence[bytes] = ()
    entries: Sequence[tuple[bytes, bytes]] = ()
    seconds: float = 0.0
    found: Mapping[bytes, bytes] = field(default_factory=dict)
    error: str = "interrupted"
    done: bool = False

    @property
    def weight(self) -> int:
        return _WEIGHT + sum(map(len, self.keys)) + sum(len(key) + len(value) for key, value in self.entries)


class _Sqlite:
    """Calls queue up, and one of the callers leads a thread through a turn, which does all that wait by then.

    So fifty puts at once are one commit. Whoever is cancelled leaves at once, the leader too: its thread is abandoned,
    finishes its turn, and keeps the limiter's one token until then, so there are never two in the file. What a
    cancelled caller wanted to put is written nevertheless.
    """

    def __init__(self, file: _File, limiter: trio.CapacityLimiter) -> None:
        self._file, self._limiter = file, limiter
        self._queue = deque[_Call]()  # appended to here, popped from in the thread: both are atomic
        self._queued = self._taken = 0  # bytes so far, counted here and in the thread
        self._turn_over: trio.Event | None = None
        self._closed = self._left = False

    async def get(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        call = _Call(keys=keys)
        await self._do(call)
        return [call.found.get(key) for key in keys]

    async def put(self, entries: Sequence[tuple[bytes, bytes]], seconds: float, /) -> None:
        call = _Call(entries=entries, seconds=seconds)
        if call.weight > self._file.size // 4:
            raise TooLarge(f"{self._file.path}: {call.weight} bytes at once are too many for a file of this size")
        await self._do(call)

    async def _do(self, call: _Call) -> None:
        if self._closed:
            raise StoreError(f"{self._file.path}: closed")
        if self._queued - self._taken > _WAITING:
            raise StoreError(f"{self._file.path}: the disk is too slow, too much waits for it")
        self._queue.append(call)
        self._queued += call.weight
        while not call.done:
            if self._turn_over is not None:
                await self._turn_over.wait()
                continue
            over = self._turn_over = trio.Event()
            try:
                await trio.to_thread.run_sync(self._turn, limiter=self._limiter, abandon_on_cancel=True)
            finally:
                self._turn_over = None
                over.set()
        if call.error:
            raise StoreError(call.error)

    async def aclose(self) -> None:
        """Write what waits and close the file; a disk that does not answer is left alone after a while."""
        self._closed = True
        with trio.move_on_after(_CLOSING, shield=True) as scope:
            await trio.to_thread.run_sync(self._last_turns, limiter=self._limiter, abandon_on_cancel=True)
        if scope.cancelled_caught:
            self._left = True
            log.warning("%s: the disk has not answered for %g s: the file is left as it is", self._file.path, _CLOSING)

    # The rest runs in the thread.

    def _turn(self) -> None:
        calls, weight = list[_Call](), 0
        while self._queue and weight < min(_TOGETHER, self._file.size // 4):
            call = self._queue.popleft()
            calls.append(call)
            weight += call.weight
        puts = [call for call in calls if call.entries]
        gets = [call for call in calls if not call.entries]
        rows = [(key, value, call.seconds) for call in puts for key, value in call.entries]
        keys = list({key: None for call in gets for key in call.keys})
        try:
            _settle(puts, lambda: self._file.put(rows))
            _settle(gets, lambda: self._file.get(keys))
        finally:
            for call in calls:
                call.done = True
            self._taken += weight
            if self._left:
                self._file.close()

    def _last_turns(self) -> None:
        while self._queue:
            self._turn()
        self._file.close()


def _settle(calls: Sequence[_Call], work: Callable[[], Mapping[bytes, bytes]]) -> None:
    """Do the work of several calls, and let each have what comes of it."""
    if not calls:
        return
    found, error = dict[bytes, bytes](), ""
    try:
        found |= work()
    except StoreError as exc:
        error = str(exc)
    for call in calls:
        call.found, call.error = found, error


# ── the synchronous side: one thread at a time ──────────────────────────────────────────────────────────────────────


class _File:
    """The connection, and what is done about a file that is damaged, full, or gone. Raises nothing but `StoreError`."""

    def __init__(self, path: Path, size: int, clock: Callable[[], float]) -> None:
        self.path, self.size = Path(os.path.realpath(path)), size
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._use(lambda _: None)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those of `keys` that have one."""
        return self._use(lambda db: _read(db, keys, self._clock()))

    def put(self, rows: Sequence[tuple[bytes, bytes, float]]) -> dict[bytes, bytes]:
        """Write keys, values, and for how many seconds: all or none. Returns nothing found."""
        self._use(lambda db: self._put(db, rows))
        return {}

    def close(self) -> None:
        """Whoever is the last to close a file checkpoints it, and removes `-wal` and `-shm`."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work, on a fresh file if this one turns out to be damaged."""
        try:
            try:
                return work(self._current())
            except (sqlite3.Error, UnicodeDecodeError) as exc:
                if not _is_damage(exc):
                    raise
                self._set_aside(exc)
                return work(self._current())
        except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
            raise StoreError(f"{self.path}: {_why(exc)}") from exc

    def _current(self) -> sqlite3.Connection:
        """The connection, to another file if that has come in place of the first: it was deleted, or set aside."""
        if self._db is None or _identity(self.path) != self._identity:
            self.close()  # SQLite sees that the file is another one, and leaves its `-wal` and `-shm` alone
            self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        with suppress(FileExistsError):
            # `-wal` and `-shm` get the same mode. Only a new file is opened here, because closing any descriptor of a
            # file gives up all locks that this process has on it: sqlite.org/howtocorrupt.html 2.2
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._identity = _identity(self.path)
        db = sqlite3.connect(self.path, timeout=_OPENING, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.text_factory = bytes  # there is no text, unless the file is damaged: then it need not be UTF-8
        empty = db.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        if not empty and _number(db, "application_id") != _APPLICATION:
            raise StoreError(f"{self.path}: is a database of another program: give the store a file of its own")
        if not empty and _number(db, "user_version") > _SCHEMA:
            raise StoreError(f"{self.path}: was made by a later release: give this one a file of its own")
        for setting in _SETTINGS:
            db.execute(f"PRAGMA {setting}")
        _write_ahead(db)
        if empty:
            with _transaction(db):  # another process may do the same at this moment
                for statement in _TABLES:
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_SCHEMA}")
        _number(db, f"busy_timeout = {_LOCKED * 1000:.0f}")
        pages = self.size // _number(db, "page_size")
        if _number(db, f"max_page_count = {pages}") > pages:
            with suppress(sqlite3.OperationalError):  # another process is at it: the next start may find it alone
                _shrink(db, pages)
        with suppress(sqlite3.OperationalError), _transaction(db):  # as above
            _expire(db, self._clock(), _AT_START)

    def _put(self, db: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes, float]]) -> None:
        try:
            _write(db, rows, self._clock())
        except sqlite3.OperationalError as exc:
            if _code(exc) != sqlite3.SQLITE_FULL:
                raise
            # Twice the bytes, as half a page may stay unused; and some for the indexes, and so that not every put from
            # now on has to be done twice.
            needed = 2 * sum(_ROW + len(value) for _, value, _ in rows) + min(_TOGETHER, self.size // 8)
            _make_room(db, needed // _number(db, "page_size"))
            _write(db, rows, self._clock())

    def _set_aside(self, exc: Exception) -> None:
        self.close()
        if _identity(self.path) != self._identity:
            return  # another process has done it
        aside = f"{self.path}.corrupt"
        for end in ("-wal", "-shm", ""):  # the database last: with it in place, another process would use these
            with suppress(FileNotFoundError):
                os.replace(f"{self.path}{end}", f"{aside}{end}")
        log.warning("%s: %s: it is set aside as %s, and a new one begun", self.path, _why(exc), aside)


def _read(db: sqlite3.Connection, keys: Sequence[bytes], now: float) -> dict[bytes, bytes]:
    found = dict[bytes, bytes]()
    for at in range(0, len(keys), _AT_ONCE):
        some = keys[at : at + _AT_ONCE]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, value, sum FROM kept WHERE key IN ({marks}) AND expires > ?"
        for key, value, expected in db.execute(query, (*some, now)):
            if isinstance(key, bytes) and isinstance(value, bytes) and _sum(key, value) == expected:
                found[key] = value
    return found


def _write(db: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes, float]], now: float) -> None:
    with _transaction(db):
        _expire(db, now, 2 * len(rows))  # so there are never many, and a put never has to delete many
        db.executemany(
            "INSERT OR REPLACE INTO kept (key, value, expires, sum) VALUES (?, ?, ?, ?)",
            ((key, value, now + seconds, _sum(key, value)) for key, value, seconds in rows),
        )


def _expire(db: sqlite3.Connection, now: float, most: int) -> None:
    """Delete what has expired, `most` rows of it, the oldest first."""
    expired = "SELECT rowid FROM kept WHERE expires <= ? ORDER BY expires LIMIT ?"
    db.execute(f"DELETE FROM kept WHERE rowid IN ({expired})", (now, most))


def _make_room(db: sqlite3.Connection, pages: int) -> None:
    """Delete what expires first, expired or not, until so many more pages are free. What came together goes together.

    How many pages a row leaves free is known when it is gone, so this counts too many and looks again.
    """
    page, enough = _number(db, "page_size"), _number(db, "freelist_count") + pages
    with _transaction(db):
        while (missing := enough - _number(db, "freelist_count")) > 0:
            last = None
            with closing(db.execute("SELECT expires, ifnull(length(value), 0) FROM kept ORDER BY expires")) as oldest:
                while missing > 0 and (row := oldest.fetchone()):
                    last, missing = row[0], missing - 1 - row[1] // page
            if not db.execute("DELETE FROM kept WHERE expires <= ?", (last,)).rowcount:
                break


def _shrink(db: sqlite3.Connection, pages: int) -> None:
    """Make the file no larger than `pages`, which SQLite does not do when it is told a limit."""
    used = _number(db, "page_count") - _number(db, "freelist_count")
    _make_room(db, used - pages * 3 // 4)
    db.execute("VACUUM")
    _number(db, f"max_page_count = {pages}")


def _write_ahead(db: sqlite3.Connection) -> None:
    """Let nobody who reads wait for who writes. While another process asks for the same, SQLite refuses at once."""
    until = time.monotonic() + _OPENING
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if _code(exc) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # after some errors SQLite has rolled back
            db.execute("ROLLBACK")
        raise


def _number(db: sqlite3.Connection, pragma: str) -> int:
    [[number]] = db.execute(f"PRAGMA {pragma}")
    assert isinstance(number, int)
    return number


def _sum(key: bytes, value: bytes) -> int:
    return crc32(value, crc32(key))


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is that has this name now; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _code(exc: Exception) -> int:
    """SQLite's primary result code; 0 for what is not SQLite's."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF


def _is_damage(exc: Exception) -> bool:
    # Python cannot decode SQLite's message where that quotes a damaged schema.
    return isinstance(exc, UnicodeDecodeError) or _code(exc) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _why(exc: Exception) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "database disk image is malformed"
    if isinstance(exc, FileNotFoundError):
        return "its directory does not exist"
    if isinstance(exc, OSError):
        return exc.strerror or str(exc)
    if _code(exc) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return f"{exc}: this user must be able to write it, and into its directory"
    return str(exc)
