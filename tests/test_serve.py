"""A real `python -m trioproxy` process: what it says, how it stops, and what it bears."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio

from tests import told
from tests.peers import Answer, Line, answer, ask, connect, request, upstream
from tests.test_proxy import DELTA, END, START, STREAM, streams

ROOT = Path(__file__).parent.parent


@dataclass
class Running:
    """The process, and what it has said so far."""

    process: trio.Process
    said: str = ""
    more: trio.Condition = field(default_factory=trio.Condition)
    silent: trio.Event = field(default_factory=trio.Event)  # it, and all that it started, have ended

    async def listen(self) -> None:
        assert self.process.stderr
        async for piece in self.process.stderr:
            async with self.more:
                self.said += piece.decode()
                self.more.notify_all()
        self.silent.set()
        told.now.says("what a process said", self.said)
        async with self.more:
            self.more.notify_all()

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until it has said something."""
        async with self.more:
            while not (match := re.search(pattern, self.said)):
                await self.more.wait()
            return match

    async def port(self) -> int:
        return int((await self.says(r"http://127\.0\.0\.1:(\d+)"))[1])

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def serving(toml: str, directory: Path, listen: str = '"127.0.0.1:0"') -> AsyncIterator[Running]:
    file = directory / "stages.toml"
    file.write_text(f"listen = {listen}\n{toml}")
    told.now.serves(toml)
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "trioproxy", "--config", str(file)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDEVMODE": ""},
            stderr=subprocess.PIPE,
        )
        async with trio.open_nursery() as nursery:
            running = Running(process)
            nursery.start_soon(running.listen)
            try:
                yield running
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()


@dataclass
class Held:
    """An upstream script that begins a stream and ends it when told to."""

    go_on: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, line: Line) -> None:
        await line.head()
        await line.chunk(START + DELTA)
        await self.go_on.wait()
        await line.chunk(END)
        await line.end()


async def begin(stream: trio.SocketStream, path: str = "/v1/messages") -> bytes:
    """Ask for a stream, and read its first event."""
    await stream.send_all(request(STREAM, path=path))
    seen = b""
    while DELTA not in seen:
        seen += await stream.receive_some()
    return seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_and_stops_when_told(tmp_path: Path, number: int) -> None:
    async with upstream(streams) as up, serving(up.toml(), tmp_path) as running:
        port = await running.port()
        got = await ask(port, STREAM)
        assert got.complete
        running.signal(number)
        assert await running.process.wait() == 0
    banner, line = running.said.rstrip().rsplit("\n", 1)
    assert re.match(r"trioproxy \S+ on http://127\.0\.0\.1:\d+ ", banner)
    assert f"/ → up, http://127.0.0.1:{up.port}" in banner
    assert "deframe → parse → " in banner
    assert msgspec.json.decode(line)["id"] == got.headers["x-trioproxy-id"]


async def test_without_a_log_only_the_banner_is_said(tmp_path: Path) -> None:
    toml = "\n[log]\nenabled = false"
    async with upstream(streams) as up, serving(up.toml() + toml, tmp_path) as running:
        got = await ask(await running.port(), STREAM)
        assert got.complete
        running.signal()
        assert await running.process.wait() == 0
    assert got.headers["x-trioproxy-id"] not in running.said
    assert running.said.startswith("trioproxy ")


async def test_systemd_is_told_of_start_reload_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        await manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with upstream(streams) as up, serving(up.toml(), tmp_path) as running:
            assert b"READY=1" in await manager.recv(4096)
            file = tmp_path / "stages.toml"
            file.write_text(f'drain = "5s"\n{file.read_text()}')
            running.signal(signal.SIGHUP)
            assert (await manager.recv(4096)).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert b"READY=1" in await manager.recv(4096)
            await running.says("drain 30s → 5s")
            running.signal()
            assert b"STOPPING=1" in await manager.recv(4096)
            assert await running.process.wait() == 0


async def test_it_ends_with_the_terminal_it_was_started_from(tmp_path: Path) -> None:
    (tmp_path / "stages.toml").write_text('listen = "127.0.0.1:0"\n[upstreams.up]\nurl = "http://127.0.0.1:1"\n')
    terminal, end = os.openpty()
    process = await trio.lowlevel.open_process(
        # A shell that sends SIGHUP to what it runs when its terminal is closed, as every one does.
        [
            sys.executable,
            "-c",
            "import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execv(os.sys.executable, [os.sys.executable, '-m', 'trioproxy'])",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDEVMODE": ""},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    said = b""
    with trio.fail_after(10):
        while b"clients:" not in said:
            await trio.lowlevel.wait_readable(terminal)
            said += os.read(terminal, 4096)
        os.close(terminal)
        assert await process.wait() == 0


async def test_several_listeners_and_each_is_said(tmp_path: Path) -> None:
    listen = f'["127.0.0.1:0", "[::1]:0", "unix:{tmp_path}/proxy.sock"]'
    async with upstream(streams) as up, serving(up.toml(), tmp_path, listen) as running:
        port = await running.port()
        six = int((await running.says(r"http://\[::1\]:(\d+)"))[1])
        assert f"unix:{tmp_path}/proxy.sock" in running.said
        for stream in (
            await connect(port),
            await trio.open_tcp_stream("::1", six),
            await trio.open_unix_socket(f"{tmp_path}/proxy.sock"),
        ):
            async with stream:
                await stream.send_all(request(STREAM))
                assert (await answer(stream)).complete
        running.signal()
        assert await running.process.wait() == 0
    assert not (tmp_path / "proxy.sock").exists()


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        toml = '[upstreams.up]\nurl = "http://127.0.0.1:1"\ndialect = "anthropic"'
        async with serving(toml, tmp_path, f'"127.0.0.1:{port}"') as running:
            assert await running.process.wait() == 1
    first, *hint = running.said.splitlines()
    assert first.startswith(f"error: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "--listen 127.0.0.1:0 takes a free one" in "".join([first, *hint])


async def test_streams_finish_after_a_signal(tmp_path: Path) -> None:
    held = Held()
    async with upstream(held) as up, serving(up.toml(), tmp_path) as running:
        port = await running.port()
        async with await connect(port) as stream:
            seen = await begin(stream)
            running.signal()
            await running.says("finishing 1 answer, at most 30 s")
            with trio.fail_after(2), suppress(OSError):
                while True:  # until nothing more is accepted, which is a moment after it was said
                    await trio.aclose_forcefully(await connect(port))
            held.go_on.set()
            seen += b"".join([bytes(piece) async for piece in stream])
            assert seen.endswith(b"0\r\n\r\n")
            assert END.splitlines()[-2] in seen
        assert await running.process.wait() == 0


@pytest.mark.parametrize(("drain", "signals"), [("30s", 2), ("200ms", 1)], ids=["second signal", "drain time over"])
async def test_what_does_not_finish_is_cut_off_and_shows(tmp_path: Path, drain: str, signals: int) -> None:
    async with (
        upstream(Held()) as up,
        serving(up.toml(f'drain = "{drain}"'), tmp_path) as running,
        await connect(await running.port()) as stream,
    ):
        seen = await begin(stream)
        for _ in range(signals):
            running.signal()
            await running.says("finishing 1 answer")
        with trio.fail_after(5):
            with suppress(trio.BrokenResourceError):
                seen += b"".join([bytes(piece) async for piece in stream])
            assert not seen.endswith(b"0\r\n\r\n")
            assert b"message_stop" not in seen
            assert await running.process.wait() == 1
            await up.gone.wait()
    assert "1 answer cut off" in running.said
    assert "Traceback" not in running.said


def resident(process: trio.Process) -> int:
    """The process's memory, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
async def test_slow_readers_slow_the_upstream_and_cost_no_memory(tmp_path: Path) -> None:
    readers, sent = 200, 0
    flood = DELTA * 100

    async def script(line: Line) -> None:
        nonlocal sent
        if line.asked.header("x-slow") is None:
            await streams(line)
            return
        line.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        await line.head()
        await line.chunk(START)
        while True:
            await line.chunk(flood)
            sent += len(flood)

    # Readers on a Unix socket: the kernel's buffers of a TCP one take 4 MB each, and long to fill.
    listen = f'["127.0.0.1:0", "unix:{tmp_path}/proxy.sock"]'
    async with upstream(script) as up, serving(up.toml(), tmp_path, listen) as running:
        port = await running.port()
        slow: list[trio.SocketStream] = []

        async def read_a_little() -> None:
            stream = await trio.open_unix_socket(f"{tmp_path}/proxy.sock")
            slow.append(stream)
            await stream.send_all(request(STREAM, headers=("X-Slow: yes",)))
            assert await stream.receive_some()

        async with trio.open_nursery() as nursery:
            for _ in range(readers):
                nursery.start_soon(read_a_little)
        before = -1
        while sent != before:  # until the flood has come to a halt
            before = sent
            await trio.sleep(0.4)
        assert up.open == readers
        assert sent / readers < 4 * 1024 * 1024  # it would have sent for ever
        assert resident(running.process) < 200
        got: list[Answer] = []
        with trio.fail_after(2):  # and others are served as ever
            got.append(await ask(port, STREAM))
        assert got[0].body == START + DELTA + END
        for stream in slow:
            await trio.aclose_forcefully(stream)
        with trio.fail_after(5):
            while up.open > 1:  # one is kept for the next request
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert resident(running.process) < 200
        running.signal()
        assert await running.process.wait() == 0
