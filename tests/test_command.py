"""Programs that print a token, or do not."""

import os
import signal
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from trioproxy.command import NoToken, printed

FIRST = "sk-canary-first-0001"


async def shell(script: str) -> str:
    return await printed(("/bin/sh", "-c", script), patience=10)


async def refused(script: str) -> str:
    """Why there is no token."""
    with pytest.raises(NoToken) as caught:
        await shell(script)
    assert FIRST not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (f"echo {FIRST}; exit 3", "exited with status 3; run it yourself to see why"),
        (f"echo {FIRST} >&2; false", "exited with status 1; run it yourself to see why"),
        ("kill -9 $$", "was ended by signal 9; run it yourself to see why"),
        ("true", "prints nothing"),
        (f"echo {FIRST}; echo {FIRST}", "prints no token of printable ASCII characters"),
        ("yes", "prints more than 64 KiB"),
    ],
)
async def test_a_program_that_gives_none_is_not_quoted(
    script: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await refused(script) == told
    assert capfd.readouterr() == ("", "")


def running(marker: str) -> list[str]:
    """The processes whose command line has `marker`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [entry.parent.name] if marker in entry.read_text() else []
        except OSError:
            continue
    return found


async def ended(marker: str) -> None:
    """Wait for the last of them; what a shell has just forked dies a moment later than the shell."""
    while running(marker):
        await trio.lowlevel.checkpoint()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
async def test_a_program_that_takes_too_long_ends_with_all_it_started(
    mock_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    marker = f"[{tmp_path.name}]"
    script = f"sh -c 'sleep 50; : {marker}' & sleep 50; : {marker}"
    told: list[str] = []

    async def ask() -> None:
        told.append(await refused(script))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        while len(running(marker)) < 2:
            await trio.lowlevel.checkpoint()
        while not told:
            mock_clock.jump(10)
            await trio.lowlevel.checkpoint()
    assert told == ["took more than 10 s"]
    await ended(marker)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
async def test_what_a_program_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    # As agents are started that keep a vault open: they have its output.
    marker = f"[{tmp_path.name}]"
    with trio.fail_after(5):
        assert await shell(f"sh -c 'sleep 50; : {marker}' & echo {FIRST}") == FIRST
    left = {int(pid) for pid in running(marker)}
    assert left
    for pid in left:
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    await ended(marker)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at itself in /proc")
async def test_a_program_has_nothing_to_read_and_a_session_without_a_terminal() -> None:
    told = await shell("echo $(readlink /proc/$$/fd/0) $(cut -d ' ' -f 1,5,6,7 /proc/$$/stat)")
    stdin, process, group, session, terminal = told.split()
    assert (stdin, group, session, terminal) == ("/dev/null", process, process, "0")
