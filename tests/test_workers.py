"""Several workers, as real processes: what becomes of them, and of what they serve. tests/stories tells more."""

import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest
import trio
from trio.testing import MockClock

from tests.peers import answer, ask, connect, free_port, request, upstream
from tests.test_proxy import END, STREAM, streams
from tests.test_serve import Held, Running, begin, serving
from trioproxy import config
from trioproxy.config.file import File
from trioproxy.config.processes import available, kept_apart
from trioproxy.errors import ConfigError
from trioproxy.http.listen import open_listeners
from trioproxy.targets import Targets
from trioproxy.workers import StartError, Supervisor

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")


UP = '[upstreams.up]\nurl = "http://127.0.0.1:1"\n'


def workers(running: Running) -> list[int]:
    """The pids of the workers, in their order."""
    tasks = Path(f"/proc/{running.process.pid}/task").iterdir()  # one of its threads may have started them
    found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return sorted(found, key=lambda pid: Path(f"/proc/{pid}/cmdline").read_bytes())


def test_how_many_workers() -> None:
    def number(workers: str, **environ: str) -> int:
        return config.read(f"workers = {workers}\n{UP}", Path("stages.toml"), environ).workers

    assert (number("1"), number("3"), number('{ env = "N" }', N="5")) == (1, 3, 5)
    assert number('"auto"') == number('{ env = "N" }', N="auto") == available()
    for wrong in ("0", "513", '"all"', "true", "2.5"):
        with pytest.raises(ConfigError, match='Expected a number of processes from 1 to 512, or "auto", got'):
            number(wrong)


@pytest.mark.parametrize(("quota", "cpus"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)])
def test_auto_is_no_more_than_a_containers_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    (tmp_path / "cpu.max").write_text(quota)
    assert available(tmp_path / "cpu.max") == cpus
    assert available(tmp_path / "none") == 64


def test_what_workers_would_keep_apart_is_warned_of() -> None:
    def warnings(text: str) -> list[str]:
        return list(kept_apart(config.read(text, Path("stages.toml"), {})))

    [warning] = warnings(f"workers = 2\n{UP}")
    assert warning.startswith("what remember-thinking keeps in one worker the others miss")
    assert not warnings(UP)
    assert not warnings(f'workers = 2\n{UP}[store]\nurl = "sqlite:thinking.db"')
    assert not warnings(f'workers = 2\n{UP}dialect = "openai-chat"')  # which gives nothing to keep


async def test_workers_that_never_serve_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    text = f'listen = "127.0.0.1:0"\nworkers = 2\n{UP}'
    file = File(path=tmp_path / "stages.toml")
    loaded = file.read(text)
    listeners = await open_listeners(loaded.listen)
    supervisor = Supervisor(file, text, loaded, listeners, registered=bytes, colour=False)
    with trio.fail_after(10):
        await supervisor.run()
    supervisor.close()
    assert isinstance(supervisor.failure, StartError)
    assert str(supervisor.failure) == "no worker can serve: exit status 7: it ended"
    assert not supervisor.ready.is_set()
    said = [record.getMessage() for record in caplog.records]
    assert "worker 1 ended (exit status 7: it ended); another one is started in 0.1 s" in said
    assert len(said) <= 2 * 5  # with ever longer pauses between


async def test_a_worker_that_never_says_a_word_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    file = File(path=tmp_path / "stages.toml")
    supervisor = Supervisor(file, UP, file.read(UP), [], registered=bytes, colour=False)
    await supervisor.run()
    assert str(supervisor.failure) == "no worker can serve: signal SIGKILL: it did not begin within 30 s"
    assert trio.current_time() >= 5 * 30


async def test_a_worker_that_hangs_is_killed_and_what_it_had_counted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trioproxy.workers._EVERY", 0.2)
    text = f'listen = "127.0.0.1:0"\n{UP}'
    file = File(path=tmp_path / "stages.toml")
    loaded = file.read(text)
    listeners = await open_listeners(loaded.listen)
    supervisor = Supervisor(file, text, loaded, listeners, registered=Targets(loaded).snapshot, colour=False)

    async def said(what: str) -> None:
        while what not in caplog.messages:  # noqa: ASYNC110  # a log wakes nobody
            await trio.sleep(0.02)

    caplog.set_level(logging.INFO, "trioproxy.workers")
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await supervisor.ready.wait()
            assert (await ask(int(listeners[0].address.rpartition(":")[2]), STREAM)).status == 502
            await trio.sleep(0.5)
            assert not caplog.messages  # as long as it answers
            [worker] = supervisor._workers.values()
            worker.process.send_signal(signal.SIGSTOP)
            await said("worker 1 has not answered for 0.6 s, and is killed")
            await said("worker 1 ended (signal SIGKILL); another one is started in 0.1 s")
            await said("worker 1: another one serves in its place")
            counted = {family.name: family.series for family in (await supervisor.metrics()).counted}
            [(_, [requests])] = counted["trioproxy_requests_total"]
            assert requests == 1
            await supervisor.drain()


async def test_what_a_worker_dies_of_at_the_start_is_told(tmp_path: Path) -> None:
    # Only workers run another module than the supervisor's.
    (tmp_path / "own_stage.py").write_text('import sys\nassert "trioproxy.cli" in sys.modules, "not in a worker"\n')
    stage = (
        "from trioproxy import Stage, Event\nclass Own(Stage[Event, Event]):\n    def feed(self, e):\n        yield e\n"
    )
    with (tmp_path / "own_stage.py").open("a") as file:
        file.write(stage)
    toml = (
        'workers = 2\n[upstreams.up]\nurl = "http://127.0.0.1:1"\n'
        '[pipeline]\nresponse = ["deframe", "parse", "own_stage:Own", "translate", "reframe"]\n'
    )
    async with serving(toml, tmp_path) as running:
        await running.says(r"worker \d ended \(exit status 1: .*AssertionError: not in a worker")
        running.signal()
        assert await running.process.wait() == 0
    assert "Traceback" not in running.said
    assert "trioproxy 0" not in running.said  # nothing was announced


async def test_workers_outlive_the_supervisor_for_as_long_as_their_streams(tmp_path: Path) -> None:
    held = Held()
    async with upstream(held) as up, serving(up.toml("workers = 2\n"), tmp_path) as running:
        async with await connect(await running.port()) as stream:
            seen = await begin(stream)
            os.kill(running.process.pid, SIGKILL)
            await running.says("the supervisor is gone")
            held.go_on.set()
            seen += b"".join([bytes(piece) async for piece in stream])
            assert END.splitlines()[-2] in seen
            assert seen.endswith(b"0\r\n\r\n")
        with trio.fail_after(5):
            await running.silent.wait()  # the workers have it open, too


async def test_listeners_come_and_go_on_every_worker_and_a_second_signal_cuts_off_what_they_answer(
    tmp_path: Path,
) -> None:
    port = free_port()
    one, two = '"127.0.0.1:0"', f'["127.0.0.1:0", "127.0.0.1:{port}"]'
    async with upstream(streams) as up, upstream(Held()) as held:
        toml = f"""workers = 2
[admin]
listen = "unix:{tmp_path}/admin"
[upstreams]
up = {{ url = "http://127.0.0.1:{up.port}" }}
held = {{ url = "http://127.0.0.1:{held.port}" }}
[routes]
"/" = "up"
"/held" = "held"
"""
        async with serving(toml, tmp_path) as running:
            first = await running.port()
            file = tmp_path / "stages.toml"
            file.write_text(file.read_text().replace(one, two))
            running.signal(SIGHUP)
            await running.says(f"listen 127.0.0.1:0 → 127.0.0.1:0, 127.0.0.1:{port}")
            for pid in workers(running):
                os.kill(pid, signal.SIGSTOP)  # only the other one can answer now
                for each in (first, port):
                    assert (await ask(each, STREAM)).status == 200
                os.kill(pid, signal.SIGCONT)
            file.write_text(file.read_text().replace(two, one))
            running.signal(SIGHUP)
            await running.says(f"listen 127.0.0.1:0, 127.0.0.1:{port} → 127.0.0.1:0")
            with pytest.raises(OSError, match="failed"):
                await connect(port)
            async with await connect(first) as stream:
                await begin(stream, path="/held/v1/messages")
                stuck, told = workers(running)
                os.kill(stuck, signal.SIGSTOP)
                os.kill(told, SIGTERM)
                how = r"(accepts nothing more|ended \(exit status 0\))"
                await running.says(rf"worker \d {how}; another one is started in 0\.1 s")
                async with await trio.open_unix_socket(tmp_path / "admin") as admin:
                    target = b'{"model": "m", "url": "http://127.0.0.1:1"}'
                    await admin.send_all(request(target, path="/targets"))
                    assert (await answer(admin)).status == 201
                await running.says(r"worker \d does not take over a target, and is replaced: it does not answer")
                assert (await ask(first, STREAM)).status == 200  # though one of them has not finished
                os.kill(stuck, signal.SIGCONT)
                running.signal(SIGTERM)
                await running.says("finishing [12] answers?, at most 30 s")  # the last one may still be logged
                with trio.fail_after(2), suppress(OSError):
                    while True:  # until who connects is refused, and does not wait for the answers of others
                        await trio.aclose_forcefully(await connect(first))
                running.signal(SIGTERM)
                with trio.fail_after(5):
                    assert not (await answer(stream)).complete
                    assert await running.process.wait() == 1
    assert "stopped; 1 answer cut off" in running.said
    assert "Traceback" not in running.said
