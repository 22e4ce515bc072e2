"""Where an upstream's token comes from: files that change, programs that fail, functions that are asked each time."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.test_command import ended, running
from trioproxy.config import Secret, Token, TokenCommand, TokenFile, Upstream
from trioproxy.errors import ProxyError
from trioproxy.keys import Keys
from trioproxy.units import Seconds

FIRST, SECOND = "sk-canary-first-0001", "sk-canary-second-0002"


def up(token: Token | None) -> Upstream:
    return Upstream("up", "anthropic", None, token=token)


@asynccontextmanager
async def opened() -> AsyncIterator[Keys]:
    keys = Keys()
    try:
        yield keys
    finally:
        keys.close()


async def refused(keys: Keys, upstream: Upstream) -> str:
    """What the client is told where there is no token."""
    with pytest.raises(ProxyError) as caught:
        await keys.token(upstream)
    error = caught.value.error
    assert (error.kind, error.status) == ("upstream", 502)
    assert FIRST not in error.message
    return error.message.removeprefix("upstream 'up' has no token now: ")


async def test_what_the_file_says_is_the_token() -> None:
    async with opened() as keys:
        assert await keys.token(up(Secret(FIRST))) == FIRST
        assert await keys.another(up(Secret(FIRST)), FIRST) is None
        assert keys.known(up(Secret(FIRST))) == [FIRST]
        assert await keys.token(up(None)) is None
        assert await keys.another(up(None), FIRST) is None
        assert keys.known(up(None)) == []


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {FIRST}\n")
    upstream = up(TokenFile(file))
    async with opened() as keys:
        assert await keys.token(upstream) == FIRST
        (tmp_path / "new").write_text(SECOND)
        (tmp_path / "new").rename(file)  # as secrets are rolled, in one step
        assert await keys.token(upstream) == SECOND
        assert keys.known(upstream) == [FIRST, SECOND]


async def test_after_a_refusal_a_file_is_read_again_even_if_it_looks_the_same(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(FIRST)
    before = file.stat()
    upstream = up(TokenFile(file))
    async with opened() as keys:
        assert await keys.token(upstream) == FIRST
        assert await keys.another(upstream, FIRST) is None
        file.write_text("sk-canary-other-0003")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await keys.token(upstream) == FIRST
        assert await keys.another(upstream, FIRST) == "sk-canary-other-0003"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "holds nothing"),
        (b" \n", "holds nothing"),
        (FIRST.encode() + b"\n" + FIRST.encode(), "holds no token of printable ASCII characters"),
        (b"\xff" + FIRST.encode(), "holds no token of printable ASCII characters"),
        (FIRST.encode() * 4000, "holds more than 64 KiB"),
    ],
)
async def test_a_file_that_gives_none_is_named_and_not_quoted(
    tmp_path: Path, content: bytes | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    async with opened() as keys:
        assert await refused(keys, up(TokenFile(file))) == f"the file {file} {told}"
    assert [record.getMessage() for record in caplog.records] == [f"no token: the file {file} {told}"]


async def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    async with opened() as keys:
        assert (await refused(keys, up(TokenFile(tmp_path / "pipe")))).endswith("is no regular file")


async def test_the_last_token_serves_for_a_while_when_the_file_is_gone(
    tmp_path: Path, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text(FIRST)
    async with opened() as keys:
        assert await keys.token(up(TokenFile(file))) == FIRST
        file.unlink()
        for _ in range(2):
            assert await keys.token(up(TokenFile(file))) == FIRST
            mock_clock.jump(200)
        assert "No such file" in await refused(keys, up(TokenFile(file)))
        assert len(caplog.records) == 1
        file.write_text(SECOND)
        assert await keys.token(up(TokenFile(file))) == SECOND


# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def shell(script: str, ttl: float = 300) -> Upstream:
    return up(TokenCommand(("/bin/sh", "-c", script), Seconds(ttl)))


@pytest.fixture
def counted(tmp_path: Path) -> str:
    """A script that prints which time it is run."""
    return f"echo x >> {tmp_path}/runs; echo run-$(wc -l < {tmp_path}/runs | tr -d ' ')"


async def test_what_a_program_prints_holds_for_its_time_to_live(
    counted: str, mock_clock: trio.testing.MockClock
) -> None:
    async with opened() as keys:
        upstream = shell(counted, ttl=60)
        assert [await keys.token(upstream) for _ in range(3)] == ["run-1"] * 3
        mock_clock.jump(59)
        assert await keys.token(upstream) == "run-1"
        mock_clock.jump(1)
        assert await keys.token(upstream) == "run-2"
        assert keys.known(upstream) == ["run-1", "run-2"]


async def test_requests_that_come_meanwhile_wait_for_the_same_run(counted: str) -> None:
    got: list[str | None] = []

    async def ask(keys: Keys) -> None:
        got.append(await keys.token(shell(f"sleep 0.1; {counted}")))

    async with opened() as keys, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask, keys)
    assert got == ["run-1"] * 20


async def test_a_client_that_leaves_takes_no_run_with_it(counted: str) -> None:
    upstream = shell(f"sleep 0.2; {counted}")
    got: list[str | None] = []

    async def ask(keys: Keys) -> None:
        got.append(await keys.token(upstream))

    async with opened() as keys, trio.open_nursery() as nursery:
        with trio.move_on_after(0.05) as left:
            await keys.token(upstream)
        nursery.start_soon(ask, keys)
    assert left.cancelled_caught
    assert got == ["run-1"]


async def test_a_refused_token_is_asked_for_again_once(counted: str, mock_clock: trio.testing.MockClock) -> None:
    upstream = shell(counted)
    got: list[str | None] = []

    async def another(keys: Keys) -> None:
        got.append(await keys.another(upstream, "run-1"))

    async with opened() as keys:
        assert await keys.token(upstream) == "run-1"
        assert await keys.another(upstream, "run-1") is None  # it was asked just now
        mock_clock.jump(5)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(another, keys)
        assert got == ["run-2"] * 10
        assert await keys.another(upstream, "run-1") == "run-2"
        assert await keys.token(upstream) == "run-2"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("/bin/sh", "-c", f"echo {FIRST}; exit 3"), "the command sh exited with status 3; run it yourself to see why"),
        (("/nowhere/gone", FIRST), "the command gone cannot be run: No such file or directory"),
    ],
)
async def test_a_program_that_gives_none_is_named_and_not_quoted(
    command: tuple[str, ...], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as keys:
        assert await refused(keys, up(TokenCommand(command))) == told
    assert [record.getMessage() for record in caplog.records] == [f"no token: {told}"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
async def test_closing_ends_what_runs(tmp_path: Path) -> None:
    marker = f"[{tmp_path.name}]"
    async with trio.open_nursery() as nursery, opened() as keys:
        nursery.start_soon(refused, keys, shell(f"sleep 50; : {marker}"))
        while not running(marker):
            await trio.lowlevel.checkpoint()
    await ended(marker)


async def test_the_last_token_serves_for_a_while_when_the_program_fails(
    tmp_path: Path, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    vault = tmp_path / "open"
    vault.touch()
    upstream = shell(f"echo x >> {tmp_path}/runs; test -e {vault} && echo {FIRST}", ttl=60)

    def runs() -> int:
        return len((tmp_path / "runs").read_text().split())

    async with opened() as keys:
        assert await keys.token(upstream) == FIRST
        vault.unlink()
        mock_clock.jump(60)
        for _ in range(3):  # asked once, and not for each request
            assert await keys.token(upstream) == FIRST
        assert (runs(), len(caplog.records)) == (2, 1)
        assert await keys.another(upstream, FIRST) is None
        mock_clock.jump(300)
        assert "exited with status 1" in await refused(keys, upstream)
        assert runs() == 3
        vault.touch()
        assert "exited with status 1" in await refused(keys, upstream)  # that was just now
        mock_clock.jump(5)
        assert await keys.token(upstream) == FIRST


async def test_two_upstreams_with_one_command_share_its_runs(counted: str) -> None:
    async with opened() as keys:
        spec = TokenCommand(("/bin/sh", "-c", counted))
        names = [Upstream(name, "anthropic", None, token=spec) for name in "ab"]
        assert [await keys.token(upstream) for upstream in names] == ["run-1", "run-1"]


# ── functions ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_function_is_asked_for_each_request_and_after_each_refusal() -> None:
    given = iter([FIRST, SECOND, SECOND, SECOND])

    async def function() -> str:
        return next(given)

    async with opened() as keys:
        upstream = up(function)
        assert await keys.token(upstream) == FIRST
        assert await keys.another(upstream, FIRST) == SECOND
        assert await keys.token(upstream) == SECOND
        assert await keys.another(upstream, SECOND) is None
        assert keys.known(upstream) == [FIRST, SECOND]


async def test_what_a_function_raises_is_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def function() -> str:
        raise LookupError("no vault at vault.lan")

    async with opened() as keys:
        assert await refused(keys, up(function)) == "its token function failed: LookupError"
        assert await keys.another(up(function), FIRST) is None
    assert "no vault at vault.lan" in caplog.text


@pytest.mark.parametrize("given", [None, 1, "", f"{FIRST}\n{SECOND}", b"bytes"])
async def test_what_is_no_token_is_not_taken_for_one(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def function() -> str:
        return given  # type: ignore[no-any-return]  # that is the mistake

    async with opened() as keys:
        assert await refused(keys, up(function)) == "its token function failed: ValueError"
    assert FIRST not in caplog.text


async def test_a_function_that_is_not_async_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    function: Any = lambda: FIRST  # noqa: E731  # as programs write it
    async with opened() as keys:
        assert await refused(keys, up(function)) == "its token function must be async, and gave str"
    assert "no token: its token function must be async, and gave str" in caplog.text
    assert FIRST not in caplog.text


async def test_a_function_has_ten_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async def function() -> str:
        await trio.sleep_forever()
        raise AssertionError("never")

    async with opened() as keys:
        assert await refused(keys, up(function)) == "its token function took more than 10 s"
    assert trio.current_time() >= 10


async def test_many_sources_come_and_go() -> None:
    async with opened() as keys:
        for number in range(1100):

            async def function(number: int = number) -> str:
                return f"token-{number}"

            assert await keys.token(up(function)) == f"token-{number}"
        assert len(keys._sources) == 1000
