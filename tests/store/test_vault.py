"""What is kept for whom, and what happens when the store behind fails: nothing that a request would notice."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.valkey import valkey_server
from trioproxy.store import Settings, StoreError
from trioproxy.store.vault import Drawer, Vault, open_vault
from trioproxy.units import Seconds, Size

KEY = "0123456789abcdef0123456789abcdef"
WHOSE = ("anthropic", "https://api.anthropic.com", "sk-theirs", "claude", "sk-mine", "")


class Shelf:
    """A store that is as good as a test says: what is put there, or why not."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.asked = 0
        self.fails: str | None = None
        self.hangs = False

    async def get(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        await self._use()
        return [self.kept.get(key) for key in keys]

    async def put(self, entries: Sequence[tuple[bytes, bytes]], seconds: float, /) -> None:
        await self._use()
        self.kept |= dict(entries)

    async def _use(self) -> None:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.fails:
            raise StoreError(self.fails)


def drawer(vault: Vault, *whose: str) -> Drawer:
    found = vault.drawer(*(whose or WHOSE))
    assert found is not None
    return found


async def test_what_is_kept_is_recalled() -> None:
    mine = drawer(Vault(Settings()))
    await mine.keep("thinking", {"a": b"1", "b": b"2"})
    assert await mine.recall("thinking", ["b", "c", "a", "b"]) == {"a": b"1", "b": b"2"}
    assert await mine.recall("other", ["a"]) == {}


@pytest.mark.parametrize("number", range(len(WHOSE)))
async def test_nobody_else_can_recall_it(number: int) -> None:
    vault = Vault(Settings())
    await drawer(vault).keep("thinking", {"a": b"1"})
    other = [*WHOSE]
    other[number] += "x"
    assert await drawer(vault, *other).recall("thinking", ["a"]) == {}
    assert await drawer(vault, *WHOSE).recall("thinking", ["a"]) == {"a": b"1"}


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_other_words_are_another_drawer(one: list[str], other: list[str]) -> None:
    """Also those that only together are the same: ("a", "bc") and ("ab", "c")."""
    vault = Vault(Settings())
    same = drawer(vault, "", *one)._key("kind", "name") == drawer(vault, "", *other)._key("kind", "name")
    assert same == (one == other)


def test_nothing_is_kept_if_the_file_says_so() -> None:
    assert Vault(Settings(url="off")).drawer(*WHOSE) is None


async def test_two_processes_share_what_is_behind() -> None:
    shelf = Shelf()
    await drawer(Vault(Settings(), shelf)).keep("thinking", {"a": b"1"})
    other = drawer(Vault(Settings(), shelf))
    assert await other.recall("thinking", ["a"]) == {"a": b"1"}
    asked = shelf.asked
    assert await other.recall("thinking", ["a"]) == {"a": b"1"}
    assert shelf.asked == asked  # by then it is in this process too


async def test_a_value_expires_when_it_should_in_whatever_process() -> None:
    now = 1000.0
    shelf, spec = Shelf(), Settings(expires=Seconds(60))
    one, other = (drawer(Vault(spec, shelf, clock=lambda: now)) for _ in range(2))
    await one.keep("thinking", {"a": b"1"})
    now += 59
    assert await other.recall("thinking", ["a"]) == {"a": b"1"}
    now += 1  # what the other got from behind does not begin to live anew
    assert await other.recall("thinking", ["a"]) == await one.recall("thinking", ["a"]) == {}


async def test_what_is_behind_tells_nothing_without_the_key() -> None:
    from trioproxy.store.seal import Seal

    shelf = Shelf()
    await drawer(Vault(Settings(), shelf, Seal(KEY))).keep("thinking", {"toolu_1": b"what it thought"})
    [(key, value)] = shelf.kept.items()
    for secret in (b"thought", b"toolu_1", b"sk-mine", b"thinking"):
        assert secret not in key + value
    assert await drawer(Vault(Settings(), shelf, Seal(KEY))).recall("thinking", ["toolu_1"])
    assert not await drawer(Vault(Settings(), shelf, Seal(KEY[::-1]))).recall("thinking", ["toolu_1"])
    assert not await drawer(Vault(Settings(), shelf)).recall("thinking", ["toolu_1"])


@settings(max_examples=30)
@given(st.binary(max_size=40))
def test_whatever_stands_behind_is_no_failure(rubbish: bytes) -> None:
    async def run() -> None:
        shelf = Shelf()
        mine = drawer(Vault(Settings(), shelf))
        await drawer(Vault(Settings(), shelf)).keep("thinking", {"a": b"1"})
        shelf.kept = dict.fromkeys(shelf.kept, rubbish)
        await mine.recall("thinking", ["a"])

    trio.run(run)


# ── a store that fails ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_failing_store_is_left_alone_for_a_while(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    shelf.fails = "it is full"
    mine = drawer(Vault(Settings(), shelf))
    with caplog.at_level(logging.INFO, "trioproxy.store"):
        for number in range(10):
            await mine.keep("thinking", {f"{number}": b"1"})
        assert shelf.asked == 3
        assert await mine.recall("thinking", ["0", "9"]) == {"0": b"1", "9": b"1"}  # from memory
        shelf.fails = None
        await trio.sleep(5)
        await mine.keep("thinking", {"10": b"1"})
        assert len(shelf.kept) == 1
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the store cannot be written: it is full; requests go on without it",
        "the store can be written again",
    ]


async def test_a_store_that_is_full_can_still_be_read(autojump_clock: trio.testing.MockClock) -> None:
    shelf = Shelf()
    await drawer(Vault(Settings(), shelf)).keep("thinking", {"a": b"1"})
    mine = drawer(Vault(Settings(), shelf))
    shelf.fails = "full"
    for number in range(9):
        await mine.keep("thinking", {f"{number}": b"1"})
    shelf.fails = None
    assert await mine.recall("thinking", ["a"]) == {"a": b"1"}


async def test_what_is_too_large_is_no_fault_of_the_store(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    spec = Settings(url="sqlite:thinking.db", file_size=Size(1024 * 1024), timeout=Seconds(5))
    async with open_vault(spec, tmp_path) as vault:
        for number in range(9):
            await drawer(vault).keep("thinking", {f"{number}": b"x" * 500_000})
        await drawer(vault).keep("thinking", {"a": b"1"})
    async with open_vault(spec, tmp_path) as vault:
        assert await drawer(vault).recall("thinking", ["0", "a"]) == {"a": b"1"}
    assert not caplog.records


async def test_a_store_that_does_not_answer_costs_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    shelf = Shelf()
    shelf.hangs = True
    mine = drawer(Vault(Settings(timeout=Seconds(0.25)), shelf))
    started = trio.current_time()
    await mine.keep("thinking", {"a": b"1"})
    assert trio.current_time() - started == pytest.approx(0.25)
    for _ in range(10):
        assert await mine.recall("thinking", ["a", "b"]) == {"a": b"1"}
    assert trio.current_time() - started == pytest.approx(1)  # to read three times, then it is not asked


async def test_of_many_requests_one_tries_again(autojump_clock: trio.testing.MockClock) -> None:
    shelf = Shelf()
    shelf.hangs = True
    mine = drawer(Vault(Settings(), shelf))
    for _ in range(3):
        await mine.recall("thinking", ["b"])
    for seconds in range(30):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(mine.recall, "thinking", ["b"])
            await trio.sleep(1)
        assert shelf.asked <= 4 + seconds / 5


async def test_a_process_that_was_too_busy_to_listen_does_not_blame_the_store(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Shelf):
        async def _use(self) -> None:
            self.asked += 1
            mock_clock.jump(5)  # as a large request that is read meanwhile
            await trio.sleep(1)

    shelf = Slow()
    mine = drawer(Vault(Settings(), shelf))
    for _ in range(9):
        assert await mine.recall("thinking", ["a"]) == {}
    assert shelf.asked == 9
    assert not caplog.records


async def test_who_leaves_meanwhile_is_no_failure_of_the_store(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    shelf.hangs = True
    mine = drawer(Vault(Settings(), shelf))
    for _ in range(9):
        with trio.move_on_after(0.01) as scope:
            await mine.recall("thinking", ["a"])
        assert scope.cancelled_caught
    assert shelf.asked == 9
    assert not caplog.records


# ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _valkey() -> AsyncIterator[str]:
    with valkey_server() as server:
        yield server.url


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
async def test_what_one_process_keeps_the_next_one_has(kind: str, key: str | None, tmp_path: Path) -> None:
    async with _valkey() if kind == "valkey" else _file() as url:
        spec = Settings(url=url, key=key, timeout=Seconds(5))
        async with open_vault(spec, tmp_path) as vault:
            await drawer(vault).keep("thinking", {"a": b"what it thought"})
        async with open_vault(spec, tmp_path) as vault:
            assert await drawer(vault).recall("thinking", ["a", "b"]) == {"a": b"what it thought"}
        if kind == "sqlite":
            assert (b"what it thought" in written(tmp_path)) == (key is None)


def written(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


@asynccontextmanager
async def _file() -> AsyncIterator[str]:
    yield "sqlite:thinking.db"


async def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises((OSError, StoreError), match=r"thinking\.db|none"):
        async with open_vault(Settings(url="sqlite:none/thinking.db"), tmp_path):
            pass


async def test_a_server_that_is_away_is_no_reason_not_to_start() -> None:
    async with open_vault(Settings(url="valkey://127.0.0.1:9"), Path()) as vault:
        await drawer(vault).keep("thinking", {"a": b"1"})
        assert await drawer(vault).recall("thinking", ["a", "b"]) == {"a": b"1"}
