"""Targets in a real file: they last, and nothing is lost without a word."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
import trio

from trioproxy.store import Settings, StoreError
from trioproxy.store.targets import Book, book_of, file_of

SEALED = "a text of thirty-two characters or more"


def book(directory: Path, key: str | None = None) -> Book:
    found = book_of(Settings(url="sqlite:thinking.db", key=key), directory)
    assert found is not None
    return found


async def entries(directory: Path, key: str | None = None) -> Mapping[str, bytes | None]:
    """What another process finds."""
    return await book(directory, key).entries()


async def test_what_is_kept_is_there_for_the_next_process(tmp_path: Path) -> None:
    mine = book(tmp_path)
    assert await mine.entries() == {}
    await mine.keep("one", b"1")
    await mine.keep("two", b"2")
    await mine.keep("one", b"another")
    assert await entries(tmp_path) == {"one": b"another", "two": b"2"}
    await mine.forget("two")
    await mine.forget("three")
    assert await entries(tmp_path) == {"one": b"another"}


def test_the_file_is_its_owners_alone_and_beside_the_store(tmp_path: Path) -> None:
    trio.run(book(tmp_path).entries)
    assert not list(tmp_path.iterdir()), "it is made when there is something to keep"
    trio.run(book(tmp_path).keep, "one", b"1")
    [file] = tmp_path.iterdir()
    assert file.name == "thinking.targets.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:x/store", "x/store.targets"),
        ("sqlite:///srv/a.b.db", "/srv/a.b.targets.db"),
        ("memory:", None),
        ("off", None),
        ("valkey://127.0.0.1", None),
    ],
)
def test_where_the_file_is(url: str, name: str | None) -> None:
    directory = Path("/etc/trioproxy")
    assert file_of(Settings(url=url), directory) == (None if name is None else directory / name)
    assert (book_of(Settings(url=url), directory) is None) == (name is None)


async def test_with_a_key_the_file_tells_nothing(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    await book(tmp_path, SEALED).keep("one", b"sk-canary-in-the-book")
    assert b"canary" not in (tmp_path / "thinking.targets.db").read_bytes()
    assert await entries(tmp_path, SEALED) == {"one": b"sk-canary-in-the-book"}
    assert await entries(tmp_path, SEALED[::-1]) == {"one": None}


async def test_a_sealed_value_does_not_open_under_another_key(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    await book(tmp_path, SEALED).keep("one", b"1")
    with closing(sqlite3.connect(tmp_path / "thinking.targets.db")) as db, db:
        db.execute("UPDATE targets SET key = 'two'")
    assert await entries(tmp_path, SEALED) == {"two": None}


async def test_a_damaged_file_is_said_to_be_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "thinking.targets.db"
    await book(tmp_path).keep("one", b"1")
    damaged = file.read_bytes()[:-4096] + b"x" * 4096
    file.write_bytes(b"x" * 100 + damaged[100:])
    before = file.read_bytes()
    with pytest.raises(StoreError, match=r"thinking\.targets\.db: is damaged .*put a copy of it back, or move it away"):
        await entries(tmp_path)
    with pytest.raises(StoreError, match="is damaged"):
        await book(tmp_path).keep("two", b"2")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("PRAGMA application_id = 1", "is a database of another program"),
        ("PRAGMA user_version = 2", "was made by a later release"),
    ],
)
async def test_a_file_of_others_is_left_alone(tmp_path: Path, statement: str, says: str) -> None:
    await book(tmp_path).keep("one", b"1")
    with closing(sqlite3.connect(tmp_path / "thinking.targets.db")) as db, db:
        db.execute(statement)
    with pytest.raises(StoreError, match=says):
        await book(tmp_path).forget("one")


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="its directory does not exist"):
        await book(tmp_path / "gone").keep("one", b"1")


async def test_processes_that_begin_at_once_share_the_file(tmp_path: Path) -> None:
    async def keep(number: int) -> None:
        code = f"""
import sys, trio
from pathlib import Path
from trioproxy.store import Settings
from trioproxy.store.targets import book_of
book = book_of(Settings(url="sqlite:thinking.db"), Path(sys.argv[1]))
async def main():
    for each in range(20):
        await book.keep(f"{number}-{{each}}", b"x")
trio.run(main)
"""
        await trio.run_process([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.STDOUT)

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(keep, number)
    assert len(await entries(tmp_path)) == 40


async def test_who_is_cancelled_leaves_at_once_and_it_is_kept_all_the_same(tmp_path: Path) -> None:
    mine = book(tmp_path)
    await mine.keep("zero", b"0")
    with closing(sqlite3.connect(tmp_path / "thinking.targets.db")) as db:
        db.execute("BEGIN EXCLUSIVE")  # as another process that writes
        with trio.move_on_after(0.1) as waiting:
            await mine.keep("one", b"1")
        assert waiting.cancelled_caught
        db.execute("ROLLBACK")
    assert await mine.entries() == {"one": b"1", "zero": b"0"}  # who asks next waits for it
