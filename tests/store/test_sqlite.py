"""Values in real files: they last, within bounds, whatever happens to the file, the disk and the processes."""

import logging
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from trioproxy.store import Store, StoreError
from trioproxy.store.sqlite import open_sqlite

ROOT = Path(__file__).parent.parent.parent
MIB = 1024 * 1024
DAY = 24 * 3600.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "thinking.db"


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def value(number: int, length: int = 3000) -> bytes:
    return random.Random(number).randbytes(length)


async def fill(store: Store, numbers: range, length: int = 3000) -> None:
    for number in numbers:
        await store.put([(key(number), value(number, length))], DAY)


async def found(store: Store, numbers: range, length: int = 3000) -> set[int]:
    """Which of the values are there; and whatever is there is right."""
    values = dict(zip(numbers, await store.get([key(number) for number in numbers]), strict=True))
    there = {number for number, got in values.items() if got is not None}
    assert all(values[number] == value(number, length) for number in there)
    return there


class Clock:
    """Seconds that pass when told to. The thread that works with the file asks for them, and so it can be held up."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.inside = self.most = 0

    def __call__(self) -> float:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.asked.set()
        self.go_on.wait(10)
        self.inside -= 1
        return self.now

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile the disk does not answer."""
        self.asked.clear()
        self.go_on.clear()
        try:
            yield
        finally:
            self.go_on.set()

    async def reached(self) -> None:
        """Wait until a thread is held up."""
        assert await trio.to_thread.run_sync(self.asked.wait, 10)


# What tests do with the file themselves, while nobody waits.


def read(file: Path, end: str = "") -> bytes:
    return Path(f"{file}{end}").read_bytes()


def names(file: Path) -> list[str]:
    """What is in its directory."""
    return sorted(each.name for each in file.parent.iterdir())


def rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as db:
        [[count]] = db.execute("SELECT count(*) FROM kept")
        assert isinstance(count, int)
        return count


def is_sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


# ── keeping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_put_is_got_also_after_a_restart(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await store.put([(key(1), b"one"), (key(2), b"")], DAY)
        assert await store.get([key(2), key(3), key(1), key(2)]) == [b"", None, b"one", b""]
    async with open_sqlite(file, size=MIB) as store:
        assert await store.get([key(1), key(3)]) == [b"one", None]
        await store.put([(key(1), b"another")], DAY)
        assert await store.get([key(1)]) == [b"another"]


async def test_nothing_asked_nothing_done(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        assert await store.get([]) == []
        await store.put([], DAY)


async def test_more_keys_than_go_into_a_statement(file: Path) -> None:
    async with open_sqlite(file, size=4 * MIB) as store:
        await store.put([(key(number), value(number, 10)) for number in range(1, 1400)], DAY)
        assert await found(store, range(1500), 10) == set(range(1, 1400))


async def test_a_value_is_there_until_it_expires_and_is_deleted_by_and_by(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=MIB, clock=clock) as store:
        await store.put([(key(number), value(number)) for number in range(20)], 60)
        await store.put([(key(20), value(20))], 3600)
        clock.now += 59.9
        assert await found(store, range(21)) == set(range(21))
        clock.now += 0.1
        assert await found(store, range(21)) == {20}
        assert rows(file) == 21
        await fill(store, range(21, 24))
        assert rows(file) == 21 + 3 - 6
        await fill(store, range(24, 34))
        assert await found(store, range(34)) == set(range(20, 34))
        assert rows(file) == 14


async def test_the_time_is_that_of_the_wall(file: Path) -> None:
    """Else it would mean nothing to the next process."""
    async with open_sqlite(file, size=MIB) as store:
        await store.put([(key(1), b"one")], DAY)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT expires FROM kept").fetchone()[0] == pytest.approx(time.time() + DAY, abs=60)


async def test_it_is_for_this_user_only(file: Path) -> None:
    def modes() -> dict[str, int]:
        return {each.name: each.stat().st_mode & 0o777 for each in file.parent.iterdir()}

    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(1))
        assert modes() == dict.fromkeys(["thinking.db", "thinking.db-wal", "thinking.db-shm"], 0o600)


# ── how much ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("length", "at_once"), [(100, 150), (500, 1), (2100, 12), (20_000, 1)])
async def test_a_full_file_gives_up_the_oldest(file: Path, length: int, at_once: int) -> None:
    size = MIB // 8
    many = 3 * size // (length + 200) // at_once * at_once
    async with open_sqlite(file, size=size) as store:
        for start in range(0, many, at_once):
            await store.put([(key(each), value(each, length)) for each in range(start, start + at_once)], DAY)
        there = await found(store, range(many), length)
    assert len(read(file)) <= size
    assert there == set(range(min(there), many))  # all of the newest
    assert len(there) * length > size / 5
    assert is_sound(file)


async def test_a_file_full_of_small_puts_makes_room_for_a_large_one(file: Path) -> None:
    def free_pages() -> int:
        with closing(sqlite3.connect(file)) as db:
            [[count], [free]] = [db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count")]
            assert isinstance(count, int)
            assert isinstance(free, int)
            return MIB // 4096 - count + free

    last = 0
    async with open_sqlite(file, size=MIB) as store:
        while free_pages() > 1:
            await fill(store, range(last, last + 1), 2100)  # each takes a page, of which half stays unused
            last += 1
        await store.put([(key(last + each), value(last + each, 2100)) for each in range(120)], DAY)
        assert await found(store, range(last, last + 120), 2100) == set(range(last, last + 120))


async def test_a_full_file_gives_up_what_has_expired_first(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=512 * 1024, clock=clock) as store:
        await fill(store, range(50))
        await store.put([(key(number), value(number, 1000)) for number in range(50, 110)], 60)
        clock.now += 60
        for number in range(150, 170):
            await fill(store, range(number, number + 1), 10_000)
        assert await found(store, range(50)) == set(range(50))
        assert await found(store, range(150, 170), 10_000) == set(range(150, 170))


async def test_too_much_at_once_is_refused_and_harms_nothing(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(20))
        with pytest.raises(StoreError, match=r"thinking\.db: \d+ bytes at once are too many"):
            await store.put([(key(20), value(20)), (key(21), bytes(MIB // 4))], DAY)
        assert await found(store, range(22)) == set(range(20))


async def test_where_nothing_can_be_given_up_it_is_full(file: Path) -> None:
    def occupy(statement: str) -> None:
        with closing(sqlite3.connect(file)) as db:
            db.execute(statement)
            db.commit()

    many = [(key(number), value(number)) for number in range(10, 60)]
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(10))
        occupy(f"CREATE TABLE other AS SELECT zeroblob({MIB - 100_000})")
        with pytest.raises(StoreError, match=r"thinking\.db: database or disk is full"):
            await store.put(many, DAY)
        occupy("DROP TABLE other")
        await store.put(many, DAY)
        assert await found(store, range(10, 60)) == set(range(10, 60))


async def test_a_file_that_had_more_room_is_made_smaller(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(200))
    before = len(read(file))
    async with open_sqlite(file, size=MIB // 4) as store:
        there = await found(store, range(200))
        assert there == set(range(min(there), 200))
        assert 30 < len(there) < 60
        await fill(store, range(200, 400))
        assert 399 in await found(store, range(400))
    assert len(read(file)) <= MIB // 4 < before


async def test_one_that_is_in_use_keeps_its_size(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(200))
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            async with open_sqlite(file, size=MIB // 4) as smaller:
                assert await found(smaller, range(200)) == set(range(200))


async def test_a_file_too_small_for_anything_refuses_everything(file: Path) -> None:
    async with open_sqlite(file, size=1) as store:
        with pytest.raises(StoreError, match="too many for a file of this size"):
            await fill(store, range(1))


# ── many at once ────────────────────────────────────────────────────────────────────────────────────────────────────


def commits(file: Path) -> int:
    """How many transactions its log holds: of frames that say how large the file is then (sqlite.org/fileformat2)."""
    log = read(file, "-wal")
    page = int.from_bytes(log[8:12], "big")
    return sum(any(log[at + 4 : at + 8]) for at in range(32, len(log), 24 + page))


async def test_what_comes_while_the_disk_is_busy_is_written_together(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=MIB, clock=clock) as store:
        before = commits(file)
        async with trio.open_nursery() as nursery:
            with clock.held():
                nursery.start_soon(fill, store, range(1))
                await clock.reached()
                for number in range(1, 50):
                    nursery.start_soon(fill, store, range(number, number + 1))
                await trio.testing.wait_all_tasks_blocked()
        assert commits(file) == before + 2
        assert await found(store, range(50)) == set(range(50))
    assert clock.most == 1


async def test_but_no_more_than_fits_into_a_file_of_its_size(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=MIB, clock=clock) as store:
        async with trio.open_nursery() as nursery:
            with clock.held():
                for number in range(100):
                    nursery.start_soon(fill, store, range(number, number + 1), 20_000)
                await clock.reached()
        assert 10 < len(await found(store, range(100), 20_000)) < 100


async def test_gets_that_come_together_each_get_their_own(file: Path) -> None:
    got = dict[int, list[bytes | None]]()

    async def ask(number: int) -> None:
        got[number] = await store.get([key(number), key(number + 1)])

    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(20))
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
    assert got == {each: [value(each), value(each + 1) if each < 19 else None] for each in range(20)}


async def test_a_mistake_of_one_harms_nobody_else(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        with pytest.raises(TypeError):
            await store.put([(key(1), value(1)), (key(2), "text")], DAY)  # type: ignore[list-item]
        await fill(store, range(3, 5))
        assert await found(store, range(5)) == {3, 4}


async def test_what_waits_is_bounded(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=100 * MIB, clock=clock) as store:
        async with trio.open_nursery() as nursery:
            with clock.held():
                for number in range(8):
                    nursery.start_soon(store.put, [(key(number), bytes(2 * MIB))], DAY)
                await clock.reached()
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(StoreError, match=r"thinking\.db: the disk is too slow"):
                    await store.put([(key(9), b"")], DAY)
                with pytest.raises(StoreError, match=r"thinking\.db: the disk is too slow"):
                    await store.get([key(9)])
        assert await store.get([key(7), key(9)]) == [bytes(2 * MIB), None]


# ── who does not want to wait ───────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_waits_longer_than_they_want_and_two_never_work_at_once(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=MIB, clock=clock) as store:
        await fill(store, range(1))
        with clock.held():
            for number in range(1, 4):  # the first leads and is abandoned; the others wait for its thread
                with trio.move_on_after(0.02) as scope:
                    await fill(store, range(number, number + 1))
                assert scope.cancelled_caught
            with trio.move_on_after(0.02) as scope:
                await store.get([key(0)])
            assert scope.cancelled_caught
            await clock.reached()
            assert clock.inside == 1
        assert await found(store, range(5)) == {0, 1, 2, 3}  # it was written all the same
        await fill(store, range(4, 5))
        assert await found(store, range(5)) == set(range(5))
    assert clock.most == 1


async def test_who_waits_behind_a_caller_that_leaves_is_served(file: Path) -> None:
    clock, leader = Clock(), trio.CancelScope()

    async def lead() -> None:
        with leader:
            await fill(store, range(1))

    async with open_sqlite(file, size=MIB, clock=clock) as store:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                with clock.held():
                    nursery.start_soon(lead)
                    await clock.reached()
                    nursery.start_soon(fill, store, range(1, 3))
                    await trio.testing.wait_all_tasks_blocked()
                    leader.cancel()
                    await trio.testing.wait_all_tasks_blocked()
        assert leader.cancelled_caught
        assert await found(store, range(3)) == {0, 1, 2}


async def test_what_waits_is_written_before_the_end(file: Path) -> None:
    clock = Clock()
    with trio.CancelScope() as scope:  # the end may come by being cancelled
        async with open_sqlite(file, size=MIB, clock=clock) as store:
            with clock.held():
                for number in range(3):
                    with trio.move_on_after(0.02):
                        await fill(store, range(number, number + 1))
            scope.cancel()
    assert names(file) == ["thinking.db"]
    async with open_sqlite(file, size=MIB, clock=clock) as store:
        assert await found(store, range(3)) == {0, 1, 2}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_end_does_not_wait_for_ever(
    file: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def closed() -> bool:
        deadline = time.monotonic() + 5
        while names(file) != ["thinking.db"] and time.monotonic() < deadline:
            time.sleep(0.001)
        return names(file) == ["thinking.db"]

    clock = Clock()
    with ExitStack() as held:
        async with open_sqlite(file, size=MIB, clock=clock) as store:
            held.enter_context(clock.held())
            with trio.move_on_after(1):
                await fill(store, range(1))
            before = trio.current_time()
        assert trio.current_time() - before == pytest.approx(1)
    assert warnings(caplog) == [f"{file}: the disk has not answered for 1 s: the file is left as it is"]
    assert closed()  # by the thread, when the disk answers
    assert rows(file) == 1


async def test_what_has_expired_meanwhile_is_gone_from_the_file_at_the_next_start(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=MIB, clock=clock) as store:
        await fill(store, range(5))
        clock.now += DAY / 2
        await fill(store, range(5, 7))
    clock.now += DAY / 2
    assert rows(file) == 7
    async with open_sqlite(file, size=MIB, clock=clock) as store:
        assert await found(store, range(9)) == {5, 6}
    assert rows(file) == 2


async def test_after_the_end_it_is_closed(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(1))
    with pytest.raises(StoreError, match="closed"):
        await store.get([key(0)])
    assert names(file) == ["thinking.db"]


# ── several processes ───────────────────────────────────────────────────────────────────────────────────────────────

# Writes pairs without end, in four tasks: a value under its name, and the name under the number they are made from.
WRITER = """
import random, sys, trio
from pathlib import Path
from trioproxy.store.sqlite import open_sqlite

async def write(store, start):
    for number in range(start, 10**9, 8):
        name = random.Random(number).randbytes(32)
        await store.put([(name, name * (number % 700)), (number.to_bytes(32, "big"), name)], 3600)
        if number < 8:
            print("ready", flush=True)

async def main(file, start):
    async with open_sqlite(Path(file), size=2**20) as store, trio.open_nursery() as nursery:
        for each in range(4):
            nursery.start_soon(write, store, start + 2 * each)

trio.run(main, sys.argv[1], int(sys.argv[2]))
"""


@contextmanager
def writer(file: Path, start: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(file), str(start)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()  # SIGKILL


def begun(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout
    assert process.stderr
    return process.stdout.readline() == b"ready\n" or pytest.fail(process.stderr.read().decode())


def numbers(file: Path) -> dict[int, bytes]:
    """The names, by number, that writers have left."""
    with closing(sqlite3.connect(file)) as db:
        pairs = db.execute("SELECT key, value FROM kept WHERE key < ?", (key(10**9),))
        return {int.from_bytes(number, "big"): name for number, name in pairs}


def test_processes_that_share_a_file_and_are_killed_leave_it_sound(file: Path) -> None:
    async def check() -> None:
        async with open_sqlite(file, size=MIB) as store:
            named = numbers(file)
            assert len(named) >= 8
            for (number, name), got in zip(named.items(), await store.get(list(named.values())), strict=True):
                assert got == name * (number % 700)

    chance = random.Random(5)
    for _ in range(2):
        with writer(file, 0) as one, writer(file, 1) as two:  # the first time, both make the file
            assert begun(one)
            assert begun(two)
            time.sleep(chance.uniform(0.01, 0.1))
            two.kill()
            time.sleep(chance.uniform(0.01, 0.1))
        assert is_sound(file)
        trio.run(check)
    assert len(read(file)) <= MIB
    assert names(file) == ["thinking.db"]


async def test_two_stores_on_one_file_see_each_others_values(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as one, open_sqlite(file, size=MIB) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill, one, range(50))
            nursery.start_soon(fill, two, range(50, 100))
        assert await found(one, range(100)) == await found(two, range(100)) == set(range(100))


async def test_opening_waits_for_others_who_do_the_same(tmp_path: Path) -> None:
    async def use(file: Path) -> None:
        async with open_sqlite(file, size=MIB):
            opened.append(file)

    files, opened = [tmp_path / "one.db", tmp_path / "two.db"], list[Path]()
    with (
        closing(sqlite3.connect(files[0], isolation_level=None)) as one,
        closing(sqlite3.connect(files[1], isolation_level=None)) as two,
    ):
        one.execute("BEGIN IMMEDIATE")
        two.execute("BEGIN EXCLUSIVE")
        async with trio.open_nursery() as nursery:
            for file in files:
                nursery.start_soon(use, file)
            await trio.sleep(0.55)  # longer than a put would wait
            assert not opened
            one.execute("COMMIT")
            two.execute("COMMIT")
    assert sorted(opened) == files


async def test_a_locked_file_is_an_error_soon_and_can_be_read(file: Path) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(2))
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            assert await found(store, range(3)) == {0, 1}
            before = trio.current_time()
            with pytest.raises(StoreError, match=r"thinking\.db: database is locked"):
                await fill(store, range(2, 3))
            assert trio.current_time() - before < 3
        await fill(store, range(2, 3))
        assert await found(store, range(3)) == {0, 1, 2}


# ── damage ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def nonsense(file: Path) -> None:
    file.write_bytes(b"this is no database\n" * 1000)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwritten(file: Path) -> None:
    with file.open("r+b") as data:
        data.write(random.Random(1).randbytes(20_000))


def schema_overwritten(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data.replace(b"CREATE TABLE", b"CREA\xd7E TABLE"))


def overwritten_after_its_header(file: Path) -> None:
    with file.open("r+b") as data:
        data.seek(4096)
        data.write(random.Random(1).randbytes(file.stat().st_size - 4096))


@pytest.mark.parametrize("damage", [nonsense, cut_off, overwritten, schema_overwritten, overwritten_after_its_header])
async def test_a_damaged_file_is_set_aside(
    file: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(40))
    damage(file)
    damaged = read(file)
    async with open_sqlite(file, size=MIB) as store:
        assert await found(store, range(40)) == set()
        await fill(store, range(40, 45))
    async with open_sqlite(file, size=MIB) as store:
        assert await found(store, range(50)) == set(range(40, 45))
    assert read(file, ".corrupt") == damaged
    [warning] = warnings(caplog)
    assert warning.startswith(f"{file}: ")
    assert warning.endswith(f": it is set aside as {file}.corrupt, and a new one begun")
    assert is_sound(file)


async def test_a_file_that_is_damaged_while_in_use_is_set_aside_too(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(40))
    async with open_sqlite(file, size=MIB) as store, open_sqlite(file, size=MIB) as other:
        overwritten_after_its_header(file)
        await fill(store, range(40, 50))
        assert {"thinking.db.corrupt", "thinking.db.corrupt-wal", "thinking.db.corrupt-shm"} < set(names(file))
        await fill(other, range(50, 60))  # it sees that there is another file
        assert await found(store, range(60)) == await found(other, range(60)) == set(range(40, 60))
    assert len(warnings(caplog)) == 1
    assert is_sound(file)
    assert rows(file) == 20


async def test_two_who_find_the_damage_at_once_set_aside_one_file(file: Path) -> None:
    clock = Clock()
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(40))
    async with open_sqlite(file, size=MIB) as store, open_sqlite(file, size=MIB, clock=clock) as slow:
        overwritten_after_its_header(file)
        async with trio.open_nursery() as nursery:
            with clock.held():
                nursery.start_soon(found, slow, range(40))
                await clock.reached()
                await fill(store, range(40, 50))
        assert await found(store, range(50)) == set(range(40, 50))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE kept SET value = zeroblob(3000)",
        "UPDATE kept SET value = CAST(x'd7ff' AS TEXT)",  # which is not UTF-8
        "UPDATE kept SET value = 7",
        "UPDATE kept SET key = zeroblob(32)",
    ],
)
async def test_a_row_that_is_not_as_it_was_put_is_not_given(file: Path, change: str) -> None:
    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(1, 4))
        with closing(sqlite3.connect(file)) as db:
            db.execute(f"{change} WHERE key = ?", (key(2),))
            db.commit()
        assert await found(store, range(4)) == {1, 3}


@cache
def ordinary() -> bytes:
    """A file with twelve values."""

    async def make(file: Path) -> None:
        async with open_sqlite(file, size=MIB) as store:
            await fill(store, range(12))

    with TemporaryDirectory() as directory:
        file = Path(directory, "thinking.db")
        trio.run(make, file)
        return read(file)


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40)), min_size=1))
@settings(max_examples=20, deadline=None)
def test_whatever_is_written_over_a_file_no_wrong_value_is_given(spots: list[tuple[float, bytes]]) -> None:
    async def use(file: Path) -> None:
        async with open_sqlite(file, size=MIB) as store:
            await found(store, range(12))
            await store.put([(key(number), value(number)) for number in range(10, 20)], DAY)
            await found(store, range(20))

    data = bytearray(ordinary())
    for where, what in spots:
        at = int(where * len(data))
        data[at : at + len(what)] = what
    with TemporaryDirectory() as directory, suppress(StoreError):
        file = Path(directory, "thinking.db")
        file.write_bytes(data)
        trio.run(use, file)


async def test_a_file_that_is_deleted_or_replaced_is_followed(file: Path) -> None:
    def delete() -> None:
        file.unlink()

    def move() -> None:
        file.rename(file.with_name("moved.db"))

    async with open_sqlite(file, size=MIB) as store:
        await fill(store, range(3))
        delete()
        assert await found(store, range(3)) == set()
        await fill(store, range(3, 6))
        move()
        async with open_sqlite(file, size=MIB) as other:
            await fill(other, range(6, 9))
            assert await found(store, range(9)) == {6, 7, 8}
            await fill(store, range(9, 12))
        assert await found(store, range(12)) == set(range(6, 12))
    assert rows(file) == 6
    assert is_sound(file)


# ── files that cannot be used ───────────────────────────────────────────────────────────────────────────────────────


ADVICE = ": this user must be able to write it, and into its directory"


async def refusal(file: Path) -> str:
    """What opening it says."""
    with pytest.raises(StoreError) as caught:
        async with open_sqlite(file, size=MIB):
            pass
    return str(caught.value)


async def test_without_its_directory(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "thinking.db"
    assert await refusal(file) == f"{file}: its directory does not exist"


async def test_a_directory_instead_of_a_file(tmp_path: Path) -> None:
    assert await refusal(tmp_path) == f"{tmp_path}: unable to open database file{ADVICE}"


async def test_below_a_file(file: Path) -> None:
    async with open_sqlite(file, size=MIB):
        pass
    assert await refusal(file / "thinking.db") == f"{file}/thinking.db: Not a directory"


@contextmanager
def ordinary_user(directory: int, file: int | None) -> Iterator[Path]:
    """A file of this mode in a directory of that, which count, because nobody is root meanwhile."""
    user = os.geteuid()
    other = user or 65534
    with TemporaryDirectory() as name:  # pytest's own is closed to others
        path = Path(os.path.realpath(name), "thinking.db")
        if file is not None:
            path.touch(file)
            os.chown(path, other, -1)
        os.chown(path.parent, other, -1)
        path.parent.chmod(directory)
        os.seteuid(other)
        try:
            yield path
        finally:
            os.seteuid(user)
            path.parent.chmod(0o700)


@pytest.mark.parametrize(
    ("directory", "mode", "why"),
    [
        (0o500, None, "Permission denied"),
        (0o500, 0o600, f"attempt to write a readonly database{ADVICE}"),
        (0o700, 0, f"unable to open database file{ADVICE}"),
        (0o700, 0o400, f"attempt to write a readonly database{ADVICE}"),
    ],
)
async def test_without_permission(directory: int, mode: int | None, why: str) -> None:
    with ordinary_user(directory, mode) as file:
        assert await refusal(file) == f"{file}: {why}"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("CREATE TABLE bookmarks (url)", "is a database of another program: give the store a file of its own"),
        ("PRAGMA user_version = 2", "was made by a later release: give this one a file of its own"),
    ],
)
async def test_what_is_not_ours_is_left_alone(file: Path, statement: str, why: str) -> None:
    if "user_version" in statement:
        async with open_sqlite(file, size=MIB):
            pass
    with closing(sqlite3.connect(file)) as db:
        db.execute(statement)
    before = read(file)
    assert await refusal(file) == f"{file}: {why}"
    assert read(file) == before
    assert names(file) == ["thinking.db"]
