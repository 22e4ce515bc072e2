"""Reloads: what is told of them, what they cannot change, and what they do to a file, its stages and its listeners."""

import math
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from tests.peers import ask, connect, free_port, request, upstream
from tests.test_proxy import DELTA, STREAM, streams
from tests.test_serve import Held, begin
from trioproxy import config, registry
from trioproxy.config import Config
from trioproxy.config.differences import changes
from trioproxy.config.file import File
from trioproxy.errors import ConfigError
from trioproxy.http.listen import Address, Listen, open_listeners
from trioproxy.http.relisten import turn
from trioproxy.reload import Reloading, stages_of, within_reach
from trioproxy.serving import Serving, open_serving

CA = trustme.CA()
UP = '[upstreams.up]\nurl = "http://127.0.0.1:1"\n'


def read(text: str) -> Config:
    return config.read(text, Path("stages.toml"), {"NEW": "from-the-environment"})


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (UP, UP, []),
        (UP, f'drain = "5s"\n{UP}', ["drain 30s → 5s"]),
        (UP, f'listen = ["127.0.0.1:3", "127.0.0.1:2"]\n{UP}', ["listen 127.0.0.1:4567 → 127.0.0.1:3, 127.0.0.1:2"]),
        (UP, f'{UP}[limits]\nhead = "32 KiB"', ["limits.head 64 KiB → 32 KiB"]),
        (UP, f'{UP}connect-timeout = "5s"', ["upstream up: timeouts.connect 10s → 5s"]),
        (UP, UP.replace(":1", ":2"), ["upstream up: url http://127.0.0.1:1 → http://127.0.0.1:2"]),
        (
            f'{UP}[upstreams.b]\nurl = "http://b"\n[routes]\n"/" = "up"\n"/b" = "b"',
            f'{UP}[upstreams.c]\nurl = "http://c"\n[routes]\n"/" = "up"\n"/c" = "c"',
            ["upstream c: new, http://c", "upstream b: gone", "route /c: new, c", "route /b: gone"],
        ),
        (
            f'{UP}[pipeline]\nresponse = ["deframe", "reframe"]',
            f"{UP}[pipeline]\nresponse = []",
            ["route /: response deframe → reframe → bytes as they come"],
        ),
        (UP, f"{UP}[stages.signature-filter]\nwithin = 600", ["route /: signature-filter.within unset → 600"]),
        (
            f'{UP}[models]\n"a" = "x"\n"b" = "y"',
            f'{UP}[models]\n"a" = "z"',
            ['route /: models "a" x → z', 'route /: models "b" y → unset'],
        ),
        (UP, f'{UP}[routes]\n"/" = {{ upstream = "up", strict = true }}', ["route /: strict false → true"]),
        (f'{UP}[log]\nlevel = "debug"', UP, ["log.level debug → info"]),
    ],
)
def test_the_log_says_what_changed(old: str, new: str, told: list[str]) -> None:
    assert changes(read(old), read(new)) == told


def test_of_a_secret_only_that_it_changed_is_told() -> None:
    pattern = '[stages.signature-filter]\npattern = "hidden-%s"\n'
    store = '[store]\nurl = "valkey://user:hidden-%s@host/%d"\n'
    old = f'{UP}token = "hidden-1"\nheaders = {{ a = "hidden-1" }}\n{pattern % 1}{store % (1, 1)}'
    new = f'{UP}token = {{ env = "NEW" }}\nheaders = {{ a = "hidden-2" }}\n{pattern % 2}{store % (2, 1)}'
    assert changes(read(old), read(new)) == [
        "store.url changed",
        "upstream up: token changed",
        "upstream up: headers changed",
        "route /: signature-filter.pattern changed",
    ]
    assert changes(read(UP), read(old)) == [
        "store.url memory: → valkey://host/1",
        "upstream up: token set",
        "upstream up: headers set",
        "route /: signature-filter.pattern set",
    ]
    assert "upstream up: token taken away" in changes(read(old), read(UP))


def test_what_is_opened_once_needs_a_restart() -> None:
    old, new = read(UP), read(f'workers = 2\ndrain = "1s"\n{UP}[store]\nurl = "off"')
    config, lines = within_reach(old, new)
    assert (config.workers, config.store, float(config.drain)) == (1, old.store, 1.0)
    assert [line.partition(" ")[0] for line in lines] == ["store", "workers"]
    assert changes(old, config) == ["drain 30s → 1s"]


async def test_what_stays_until_a_restart_is_a_warning_and_no_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trioproxy.reload")
    async with edited(tmp_path, HERE + UP) as file:
        file.path.write_text(f'{HERE}{UP}[store]\nurl = "off"\n')
        done = await file.reloading.reload()
    stays = "store was changed in the file: needs a restart, and stays as it was until then"
    assert done == {"changes": [], "warnings": [stays]}
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("INFO", f"{file.path} was reloaded: nothing changed"),
        ("WARNING", stays),
    ]


# ── a file that is served ───────────────────────────────────────────────────────────────────────────────────────────


class Edited:
    """A file that is served in this process, and edited."""

    def __init__(self, path: Path, serving: Serving) -> None:
        self.path, self.serving = path, serving
        self.reloading = Reloading(File(path=path), serving.config, self.apply)

    async def apply(self, new: Config, _: str) -> None:
        await self.serving.reload(new)

    async def edit(self, text: str) -> list[str]:
        self.path.write_text(text)
        return (await self.reloading.reload())["changes"]

    @property
    def port(self) -> int:
        return int(self.serving.listeners[0].address.rpartition(":")[2])


@asynccontextmanager
async def edited(directory: Path, text: str) -> AsyncIterator[Edited]:
    path = directory / "stages.toml"
    path.write_text(text)
    async with open_serving(File(path=path).read(text)) as serving, trio.open_nursery() as nursery:
        nursery.start_soon(serving.serve)
        yield Edited(path, serving)
        nursery.cancel_scope.cancel()


HERE = 'listen = "127.0.0.1:0"\n'


async def test_new_exchanges_follow_the_new_file_and_those_under_way_end_on_the_old(tmp_path: Path) -> None:
    held = Held()
    async with (
        upstream(held) as old,
        upstream(streams) as new,
        edited(tmp_path, old.toml(HERE)) as file,
        await connect(file.port) as stream,
    ):
        seen = await begin(stream)
        told = await file.edit(new.toml(HERE))
        assert told == [f"upstream up: url http://127.0.0.1:{old.port} → http://127.0.0.1:{new.port}"]
        assert (await ask(file.port, STREAM)).status == 200
        assert (len(old.requests), len(new.requests)) == (1, 1)
        held.go_on.set()
        while not seen.endswith(b"0\r\n\r\n"):
            seen += await stream.receive_some()
        # The same connection's next request is a new exchange.
        await stream.send_all(request(STREAM))
        assert DELTA in await stream.receive_some()
        assert len(new.requests) == 2


async def test_a_bad_file_is_refused_and_the_old_one_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with upstream(streams) as up:
        text = up.toml(HERE)
        async with edited(tmp_path, text) as file:
            with pytest.raises(ConfigError):
                await file.edit(f"{text}\n[routes]\n'/' = 'nowhere'\n[limits]\nhaed = 1\n")
            file.path.unlink()
            with pytest.raises(OSError, match="No such file"):
                await file.reloading.reload()
            assert (await ask(file.port, STREAM)).status == 200
            assert await file.edit(text) == []
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [line.partition(" ")[0] for line in said if "haed" in line] == [f"{file.path}:11:1:"]
    assert [line for line in said if "nowhere" in line]
    assert said.count(f"{file.path} was not reloaded: what was served before still is") == 2


async def test_listeners_come_and_go_and_the_others_stay(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    first, second, third = (f'"127.0.0.1:{port}"' for port in ports)
    async with upstream(streams) as up, edited(tmp_path, up.toml(f"listen = [{first}, {second}]")) as file:
        staying, going = file.serving.listeners
        async with await connect(ports[1]) as kept:  # of a listener that goes: the connection stays
            await file.edit(up.toml(f"listen = [{first}, {third}]"))
            assert file.serving.listeners[0] is staying
            assert going.socket.fileno() == -1
            for port in (ports[0], ports[2]):
                assert (await ask(port, STREAM)).status == 200
            with pytest.raises(OSError, match="failed"):
                await connect(ports[1])
            await kept.send_all(request(STREAM))
            assert DELTA in await kept.receive_some()


async def test_certificates_are_read_anew(tmp_path: Path) -> None:
    def write() -> None:
        issued = CA.issue_cert("localhost")
        pems = [issued.private_key_pem, *issued.cert_chain_pems]
        (tmp_path / "both.pem").write_bytes(b"".join(each.bytes() for each in pems))

    async def shown(port: int) -> bytes:
        context = ssl.create_default_context()
        CA.configure_trust(context)
        stream = trio.SSLStream(await connect(port), context, server_hostname="localhost")
        await stream.do_handshake()
        certificate: bytes = stream.getpeercert(binary_form=True)
        await trio.aclose_forcefully(stream)
        return certificate

    write()
    text = f'listen = [{{ address = "127.0.0.1:0", certificate = "both.pem" }}]\n{UP}'
    async with edited(tmp_path, text) as file:
        before = await shown(file.port)
        assert await shown(file.port) == before
        write()
        assert await file.edit(text) == ["certificate of 127.0.0.1:0 read anew"]
        assert await shown(file.port) != before
        assert await file.edit(text) == []


async def test_a_listener_that_cannot_be_opened_refuses_it_all(tmp_path: Path) -> None:
    with_one, other = 'listen = "127.0.0.1:0"', free_port()
    async with upstream(streams) as up, edited(tmp_path, up.toml(with_one)) as file:
        taken = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        busy = taken.socket.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{busy}"):
            await file.edit(up.toml(f'drain = "1s"\nlisten = ["127.0.0.1:{other}", "127.0.0.1:{busy}"]'))
        assert float(file.serving.config.drain) == 30
        assert (await ask(file.port, STREAM)).status == 200
        with pytest.raises(OSError, match="failed"):
            await connect(other)  # nor is it opened in part
        await taken.aclose()


async def test_a_certificate_that_cannot_be_read_changes_no_listener(tmp_path: Path) -> None:
    pem, gone = tmp_path / "both.pem", tmp_path / "gone.pem"
    for file in pem, gone:
        CA.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
    certain = [Listen(Address("127.0.0.1:0"), pem), Listen(Address("[::1]:0"), gone)]
    listeners = await open_listeners(certain)
    before = [(each.listen, each.tls) for each in listeners]
    gone.unlink()
    with pytest.raises(OSError, match=r"gone\.pem cannot be read"):
        await turn(listeners, [Listen(Address("127.0.0.1:0"), pem, proxy_protocol=True), certain[1]], lambda _: None)
    assert [(each.listen, each.tls) for each in listeners] == before
    for listener in listeners:
        listener.close()


async def test_a_bug_refuses_the_reload_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def apply(new: Config, text: str) -> None:
        raise ExceptionGroup("of a nursery", [ZeroDivisionError()])

    path = tmp_path / "stages.toml"
    path.write_text(UP)
    file = File(path=path)
    reloading = Reloading(file, file.read(UP), apply)
    with pytest.raises(ConfigError, match="reading it failed with ExceptionGroup: see the log"):
        await reloading.reload()
    [said] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert said.getMessage() == f"{path} was not reloaded: what was served before still is"
    assert said.exc_info


# ── stages beside the file ──────────────────────────────────────────────────────────────────────────────────────────

STAGE = """
from trioproxy import Stage, TextDelta, replace
from own_words import WORD

class Say(Stage[TextDelta, TextDelta]):
    def feed(self, delta):
        yield replace(delta, text=WORD)
"""
OWN = '[pipeline]\nresponse = ["deframe", "parse", "own_stage:Say", "translate", "reframe"]\n'


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """A directory with a stage of one's own, which uses a module of one's own."""
    path = list(sys.path)
    (tmp_path / "own_stage.py").write_text(STAGE)
    (tmp_path / "own_words.py").write_text('WORD = "one"\n')
    yield tmp_path
    sys.path[:] = path
    for name in ("own_stage", "own_words"):
        sys.modules.pop(name, None)


async def test_stages_beside_the_file_are_imported_anew(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as it is for users
    async with upstream(streams) as up:
        text = up.toml(HERE) + OWN
        async with edited(beside, text) as file:
            old = file.serving.config.routes[0].response[2]
            assert b'"one"' in (await ask(file.port, STREAM)).body
            # A word of the same length within the same second: its byte code would pass for fresh.
            seconds = (beside / "own_words.py").stat().st_mtime
            (beside / "own_words.py").write_text('WORD = "two"\n')
            os.utime(beside / "own_words.py", (seconds, int(seconds)))
            assert await file.edit(text) == ["own_words.py imported anew"]
            assert b'"two"' in (await ask(file.port, STREAM)).body
            assert sys.modules["own_stage"].WORD == "two"
            assert old.cls.feed.__globals__["WORD"] == "one"  # for an exchange that began with it
            (beside / "own_words.py").write_text("import no_such_thing\n")
            with pytest.raises(ConfigError, match="no_such_thing"):
                await file.edit(text)
            assert b'"two"' in (await ask(file.port, STREAM)).body
            assert sys.modules["own_stage"].WORD == "two"


def test_only_what_stages_use_is_imported_anew(beside: Path) -> None:
    loaded = config.read(UP + OWN, beside / "stages.toml", {})
    found = registry.beside(beside, stages_of(loaded))
    assert found == {"own_stage": beside / "own_stage.py", "own_words": beside / "own_words.py"}
    assert registry.beside(beside.parent, stages_of(loaded)) == {}
    with registry.anew(beside, stages_of(loaded)):
        assert "own_stage" not in sys.modules
        assert "trioproxy.stages.parse" in sys.modules


# ── watching ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_watched_file_is_reloaded_once_it_is_complete(beside: Path, autojump_clock: trio.abc.Clock) -> None:
    path = beside / "stages.toml"
    text = f'reload = "watch"\n{UP}{OWN}'
    path.write_text(text)
    applied: list[str] = []

    async def apply(new: Config, text: str) -> None:
        applied.append(text)

    file = File(path=path)
    reloading = Reloading(file, file.read(text), apply)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reloading.watch)
        await trio.sleep(10)
        assert applied == []
        path.write_text("")  # an editor that writes in two steps
        await trio.sleep(1)
        path.write_text(f"drain = 5\n{text}")
        await trio.sleep(5)
        assert applied == [f"drain = 5\n{text}"]
        (beside / "own_words.py").write_text('WORD = "another"\n')
        await trio.sleep(5)
        assert len(applied) == 2
        (beside / "new.toml").write_text("this is [wrong")
        (beside / "new.toml").replace(path)  # an editor that renames
        await trio.sleep(5)
        path.write_text(text.replace("watch", "signal"))  # a bad file stops nobody from watching
        await trio.sleep(5)
        path.write_text(text)
        await trio.sleep(5)
        assert len(applied) == 3
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf, "it looks no more"
        await reloading.reload()
        path.write_text(f"drain = 5\n{text}")
        await trio.sleep(5)
        assert len(applied) == 5
        nursery.cancel_scope.cancel()
