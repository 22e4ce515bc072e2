"""What is served: where it is, how it ends, and what it does with a configuration that takes the place of another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

import trioproxy
from tests.peers import ask, connect, upstream
from tests.test_proxy import STREAM, streams
from tests.test_serve import Held, begin
from trioproxy.http.listen import Address, Listen, open_listeners
from trioproxy.serving import local_url, open_serving
from trioproxy.targets import open_targets


def serving(port: int, *listen: str) -> trioproxy.Config:
    return trioproxy.configure(
        listen=list(listen) or "127.0.0.1:0",
        upstreams={"up": {"url": f"http://127.0.0.1:{port}"}},
        allow_anonymous=True,
    )


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        (["127.0.0.1:0"], "http://127.0.0.1:PORT"),
        (["[::1]:0", "127.0.0.1:0"], "http://127.0.0.1:PORT"),
        (["[::1]:0"], "http://[::1]:PORT"),
        (["0.0.0.0:0"], "http://127.0.0.1:PORT"),
        (["[::]:0"], "http://[::1]:PORT"),
        (["unix:s", "127.0.0.1:0"], "http://127.0.0.1:PORT"),
        (["unix:s"], ""),
    ],
)
async def test_the_url_is_one_that_programs_here_can_ask_at(
    listen: list[str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listeners = await open_listeners([Listen(Address(each)) for each in listen])
    try:
        ports = [each.address.rpartition(":")[2] for each in listeners if not each.unix]
        assert local_url(listeners) in {url.replace("PORT", port) for port in [*ports, ""]}
    finally:
        for listener in listeners:
            listener.close()


async def test_who_is_cancelled_while_it_opens_leaves_nothing_open(tmp_path: Path) -> None:
    store = {"url": f"sqlite:{tmp_path}/thinking.db"}
    listen = [f"unix:{tmp_path}/s"]
    config = trioproxy.configure(listen=listen, upstreams={}, admin={"listen": f"unix:{tmp_path}/a"}, store=store)
    targets = await open_targets(config)
    await targets.register({"model": "m", "url": "http://127.0.0.1:1"})
    with closing(sqlite3.connect(tmp_path / "thinking.targets.db")) as db:
        db.execute("BEGIN EXCLUSIVE")  # another process writes
        with trio.move_on_after(0.2) as waited:
            async with open_serving(config):
                raise AssertionError("it cannot be read yet")
        assert waited.cancelled_caught
    assert not (tmp_path / "s").exists()


async def test_what_listens_before_it_serves_answers_then(tmp_path: Path) -> None:
    """A connection made in between is not lost, and a Unix socket is taken away with the block."""
    socket = tmp_path / "s"
    async with upstream(streams) as up, open_serving(serving(up.port, "127.0.0.1:0", f"unix:{socket}")) as served:
        address, unix = served.addresses
        assert unix == f"unix:{socket}"
        assert served.url == f"http://{address}"
        async with trio.open_nursery() as nursery:
            async with await connect(int(address.rpartition(":")[2])):
                nursery.start_soon(served.serve)
                assert (await ask(int(address.rpartition(":")[2]), STREAM)).complete
            nursery.cancel_scope.cancel()
    assert not socket.exists()


async def test_it_counts_the_answers_under_way_and_ends_with_the_last() -> None:
    held = Held()
    async with upstream(held) as up, open_serving(serving(up.port)) as served, trio.open_nursery() as nursery:
        nursery.start_soon(served.serve)
        assert served.busy == 0
        async with await connect(int(served.url.rpartition(":")[2])) as stream:
            await begin(stream)
            assert served.busy == 1
            served.drain()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(OSError, match="all attempts to connect"):
                await connect(int(served.url.rpartition(":")[2]))
            held.go_on.set()
            async for _ in stream:
                pass
    assert served.busy == 0


async def test_a_listener_that_is_named_again_stays_open_and_others_are_closed() -> None:
    async with (
        upstream(streams) as up,
        open_serving(serving(up.port, "127.0.0.1:0", "[::1]:0")) as served,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(served.serve)
        four, six = served.addresses
        await served.reload(serving(up.port, "127.0.0.1:0"))
        assert served.addresses == (four,)
        assert (await ask(int(four.rpartition(":")[2]), STREAM)).complete
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("::1", int(six.rpartition(":")[2]))
        nursery.cancel_scope.cancel()
