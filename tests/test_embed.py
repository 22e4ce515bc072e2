"""The proxy inside a program: what it says of itself, how it ends, and that it leaves the program alone."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import trioproxy
from tests.anthropic import texts
from tests.peers import ask, connect, upstream
from tests.test_examples import block
from tests.test_proxy import DELTA, STREAM, streams
from tests.test_serve import Held, begin
from trioproxy import ConfigError, ProxyError, Stage, TextDelta, replace

PACKAGE = Path(trioproxy.__file__).parent


class Shout(Stage[TextDelta, TextDelta]):
    def feed(self, delta: TextDelta, /) -> Iterator[TextDelta]:
        yield replace(delta, text=delta.text.upper())


def to(port: int, listen: str = "127.0.0.1:0", *stages: object, **more: Any) -> trioproxy.Config:
    """A configuration that sends everything to an upstream."""
    up = {"url": f"http://127.0.0.1:{port}"} | more
    response = ["deframe", "parse", *stages, "translate", "reframe"]
    return trioproxy.configure(listen=listen, upstreams={"up": up}, pipeline={"response": response})


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


RECORDED = {"url": "replay:recordings/metadata-then-answer.sse"}


# ── in trio ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_proxy_serves_while_its_block_lasts() -> None:
    async with upstream(streams) as up:
        async with trioproxy.open_proxy(to(up.port, "127.0.0.1:0", Shout)) as proxy:
            assert proxy.url == f"http://{proxy.addresses[0]}"
            assert proxy.config.upstreams.keys() == {"up"}
            got = await ask(port_of(proxy.url), STREAM)
        with pytest.raises(OSError, match="all attempts to connect"):
            await connect(port_of(proxy.url))
    assert texts(got.body) == ["HI"]
    assert up.open == 0


async def test_a_file_is_served_too(tmp_path: Path) -> None:
    async with upstream(streams) as up:
        file = tmp_path / "stages.toml"
        file.write_text(up.toml('listen = "127.0.0.1:0"'))
        async with trioproxy.open_proxy(trioproxy.load_config(str(file))) as proxy:
            assert (await ask(port_of(proxy.url), STREAM)).complete
    with pytest.raises(FileNotFoundError):
        trioproxy.load_config(tmp_path / "none.toml")


async def test_several_serve_side_by_side() -> None:
    async with (
        upstream(streams) as up,
        trioproxy.open_proxy(to(up.port, "127.0.0.1:0", Shout)) as loud,
        trioproxy.open_proxy(to(up.port)) as quiet,
    ):
        answers = [await ask(port_of(proxy.url), STREAM) for proxy in (loud, quiet, loud)]
    assert [texts(each.body) for each in answers] == [["HI"], ["hi"], ["HI"]]


async def test_a_proxy_in_a_nursery_says_where_it_is_and_ends_with_it() -> None:
    async with upstream(streams) as up, trio.open_nursery() as nursery:
        proxy = await nursery.start(trioproxy.serve, to(up.port))
        assert isinstance(proxy, trioproxy.Running)
        assert (await ask(port_of(proxy.url), STREAM)).complete
        nursery.cancel_scope.cancel()
    with pytest.raises(OSError, match="all attempts to connect"):
        await connect(port_of(proxy.url))


async def test_a_drained_proxy_returns_when_the_last_answer_is_complete() -> None:
    held = Held()
    async with upstream(held) as up, trio.open_nursery() as nursery:
        proxy = await nursery.start(trioproxy.serve, to(up.port))
        async with await connect(port_of(proxy.url)) as stream:
            seen = await begin(stream)
            proxy.drain()
            held.go_on.set()
            while b"message_stop" not in seen:
                seen += await stream.receive_some()
    assert DELTA in seen  # and the nursery ended by itself


async def test_without_a_drain_an_answer_under_way_is_cut_off() -> None:
    held = Held()
    async with upstream(held) as up:
        async with trioproxy.open_proxy(to(up.port)) as proxy:
            stream = await connect(port_of(proxy.url))
            await begin(stream)
        got = await rest(stream)
        await up.gone.wait()
    assert b"message_stop" not in got


async def test_with_a_drain_it_is_completed() -> None:
    held = Held()
    async with upstream(held) as up, trio.open_nursery() as nursery:
        async with trioproxy.open_proxy(to(up.port), drain=5) as proxy:
            stream = await connect(port_of(proxy.url))
            await begin(stream)
            nursery.start_soon(_soon, held.go_on)
        got = await rest(stream)
    assert b"message_stop" in got
    assert got.endswith(b"\r\n0\r\n\r\n")


async def _soon(event: trio.Event) -> None:
    """Set it when the proxy has begun to drain."""
    await trio.testing.wait_all_tasks_blocked()
    event.set()


async def test_a_drain_ends_in_time(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream(Held()) as up:
        async with trioproxy.open_proxy(to(up.port), drain=5) as proxy:
            stream = await connect(port_of(proxy.url))
            await begin(stream)
            left = trio.current_time()
        assert trio.current_time() - left == pytest.approx(5)
        assert b"message_stop" not in await rest(stream)


async def rest(stream: trio.SocketStream) -> bytes:
    """What comes until the connection ends."""
    got = b""
    async with stream:
        try:
            async for piece in stream:
                got += piece
        except trio.BrokenResourceError:
            pass
    return got


async def test_what_the_block_raises_comes_out_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async def fail(port: int) -> None:
        async with (
            trioproxy.open_proxy(to(port), drain=3600) as proxy,
            await connect(port_of(proxy.url)) as stream,
        ):
            await begin(stream)
            raise KeyError("mine")

    began = trio.current_time()
    async with upstream(Held()) as up:
        with pytest.raises(KeyError, match="mine"):
            await fail(up.port)
    assert trio.current_time() - began < 3600  # it did not wait for the answer under way


async def test_a_block_may_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream(streams) as up:
        with trio.move_on_after(1) as scope:
            async with trioproxy.open_proxy(to(up.port)) as proxy:
                await trio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(OSError, match="all attempts to connect"):
            await connect(port_of(proxy.url))


async def in_a_block(config: trioproxy.Config) -> None:
    async with trioproxy.open_proxy(config):
        pass


async def in_a_nursery(config: trioproxy.Config) -> None:
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(trioproxy.serve, config)
    except* (OSError, TypeError) as group:  # trio's own doing
        [exc] = group.exceptions
        raise exc from None


async def in_a_thread(config: trioproxy.Config) -> None:
    with trioproxy.run_in_thread(config):
        pass


@pytest.mark.parametrize("way", [in_a_block, in_a_nursery, in_a_thread])
async def test_a_port_that_is_taken_is_told_to_the_caller(way: Callable[[trioproxy.Config], Awaitable[None]]) -> None:
    async with upstream(streams) as up:
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{up.port}: "):
            await way(to(1, f"127.0.0.1:{up.port}"))
    assert "trioproxy" not in [thread.name for thread in threading.enumerate()]


# ── another configuration ───────────────────────────────────────────────────────────────────────────────────────────


async def test_what_comes_after_a_reload_is_served_as_it_says() -> None:
    held = Held()
    async with (
        upstream(held) as before,
        upstream(streams) as after,
        trioproxy.open_proxy(to(before.port)) as proxy,
        await connect(port_of(proxy.url)) as stream,
    ):
        await begin(stream)
        await proxy.reload(to(after.port, "127.0.0.1:0", Shout))
        got = await ask(port_of(proxy.url), STREAM)
        held.go_on.set()
        seen = b""
        while b"message_stop" not in seen:
            seen += await stream.receive_some()
    assert texts(got.body) == ["HI"]
    assert (len(before.requests), len(after.requests)) == (1, 1)


async def test_a_reload_that_cannot_be_leaves_all_as_it_was() -> None:
    async with upstream(streams) as up, trioproxy.open_proxy(to(up.port)) as proxy:
        other = trioproxy.configure(upstreams={"up": RECORDED}, store={"url": "off"})
        with pytest.raises(ConfigError, match="store: cannot be another one while it serves"):
            await proxy.reload(other)
        traced = trioproxy.configure(upstreams={"up": RECORDED}, tracing={"endpoint": "http://127.0.0.1:4318"})
        with pytest.raises(ConfigError, match="tracing: cannot be another one while it serves"):
            await proxy.reload(traced)
        with pytest.raises(OSError, match="cannot listen on"):
            await proxy.reload(to(1, f"127.0.0.1:{up.port}", Shout))
        assert texts((await ask(port_of(proxy.url), STREAM)).body) == ["hi"]


# ── targets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_target_is_registered_reached_and_forgotten() -> None:
    async with upstream(streams) as other, trioproxy.open_proxy(to(1)) as proxy:
        url = f"http://127.0.0.1:{other.port}"
        target = await proxy.register_target(model="qwen", url=url, token="sk-up", mode="anthropic_messages")
        assert target.url == f"{proxy.url}/targets/{target.key}"
        assert target.token is not None
        assert target.token not in repr(target)
        assert target == await proxy.register_target(model="qwen", url=url, token="sk-up", mode="anthropic_messages")
        path = f"/targets/{target.key}/v1/messages"
        got = await ask(port_of(proxy.url), STREAM, path=path, headers=(f"x-api-key: {target.token}",))
        assert (got.status, texts(got.body)) == (200, ["hi"])
        await proxy.forget_target(target.key)
        assert (await ask(port_of(proxy.url), STREAM, path=path)).status == 404
        with pytest.raises(ProxyError, match="there is no target"):
            await proxy.forget_target(target.key)
        with pytest.raises(ConfigError, match="did you mean 'model'"):
            await proxy.register_target(modell="qwen", url=url)
    assert other.requests[0].header("x-api-key") == "sk-up"


# ── a token for each request ────────────────────────────────────────────────────────────────────────────────────────


async def test_m4_2_a_token_function_is_asked_for_each_request() -> None:
    given: list[str] = []

    async def token() -> str:
        given.append(f"sk-{len(given)}")
        return given[-1]

    async with upstream(streams) as up, trioproxy.open_proxy(to(up.port, token=token)) as proxy:
        for _ in range(3):
            assert (await ask(port_of(proxy.url), STREAM)).complete
    assert [asked.header("x-api-key") for asked in up.requests] == given == ["sk-0", "sk-1", "sk-2"]


async def test_m4_2_a_token_function_that_fails_is_a_502_without_its_words() -> None:
    async def token() -> str:
        raise LookupError("the vault at 10.0.0.1 is sealed")

    async with upstream(streams) as up, trioproxy.open_proxy(to(up.port, token=token)) as proxy:
        got = await ask(port_of(proxy.url), STREAM)
    assert got.status == 502
    assert b"'up'" in got.body
    assert b"vault" not in got.body
    assert up.requests == []


# ── in a thread ─────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(url: str) -> bytes:
    """What a program without trio gets."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/messages", data=STREAM), timeout=10) as response:
        return bytes(response.read())


def test_a_program_without_trio_has_it_in_a_thread() -> None:
    config = trioproxy.configure(listen="127.0.0.1:0", upstreams={"demo": RECORDED})
    with trioproxy.run_in_thread(config) as proxy, trioproxy.run_in_thread(config) as other:
        assert proxy.url == f"http://{proxy.addresses[0]}" != other.url
        assert asked(proxy.url) == asked(other.url)
        pipeline = {"response": ["deframe", "parse", Shout, "translate", "reframe"]}
        proxy.reload(trioproxy.configure(listen="127.0.0.1:0", upstreams={"demo": RECORDED}, pipeline=pipeline))
        assert b"HELLO" in asked(proxy.url)
        target = proxy.register_target(model="qwen", url="http://127.0.0.1:1")
        assert target.url.startswith(f"{proxy.url}/targets/")
        proxy.forget_target(target.key)
        assert b"HELLO" not in asked(other.url)
        assert proxy.config.routes[0].response[2].cls is Shout
        other.drain()
        with pytest.raises(OSError, match=r"refused|reset"):
            asked(other.url)
    assert "trioproxy" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(OSError, match="refused"):
        asked(proxy.url)


def test_what_the_block_of_a_thread_raises_comes_out_as_it_is() -> None:
    config = trioproxy.configure(listen="127.0.0.1:0", upstreams={"demo": RECORDED})
    with pytest.raises(KeyError, match="mine"), trioproxy.run_in_thread(config):
        raise KeyError("mine")
    assert "trioproxy" not in [thread.name for thread in threading.enumerate()]


# ── mistakes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", [in_a_block, in_a_nursery, in_a_thread])
@pytest.mark.parametrize("what", ["stages.toml", {"upstreams": {"up": RECORDED}}])
async def test_what_is_no_configuration_is_told_how_to_become_one(
    way: Callable[[Any], Awaitable[None]], what: object
) -> None:
    expected = r"^expected a Config: trioproxy\.configure\(…\) or trioproxy\.load_config\(FILE\), got (str|dict)$"
    with pytest.raises(TypeError, match=expected):
        await way(what)


def test_under_asyncio_the_way_in_a_thread_is_named() -> None:
    config = trioproxy.configure(listen="127.0.0.1:0", upstreams={"demo": RECORDED})
    with pytest.raises(RuntimeError, match=r"^open_proxy and serve need trio; elsewhere run_in_thread"):
        in_a_block(config).__await__().send(None)  # as an event loop does that is not trio's


# ── what the documentation shows ────────────────────────────────────────────────────────────────────────────────────


def test_the_configuration_of_the_docs_works_as_printed() -> None:
    names: dict[str, Any] = {}
    exec(block("docs/embedding.md", "python", "class Shout"), names)
    config = names["config"]
    assert [route.prefix for route in config.routes] == ["/local", "/"]
    assert [[spec.name for spec in route.response if "hout" in spec.name] for route in config.routes] == [
        ["Shout 2"],
        ["Shout"],
    ]
    with pytest.raises(ConfigError) as caught:
        trioproxy.configure(
            upstreams={"claude": {"url": "http://up", "first_byte_timeout": "soon"}},
            routes={"/": {"upstream": "cloud"}},
        )
    shown = block("docs/embedding.md", "text", "did you mean")
    assert sorted(str(caught.value).split("\n\n")) == sorted(shown.strip().split("\n\n"))


async def test_the_test_of_the_docs_works_as_printed() -> None:
    async def my_program(url: str) -> str:
        [text] = texts((await ask(port_of(url), STREAM)).body)
        return text

    names: dict[str, Any] = {"trioproxy": trioproxy, "my_program": my_program}
    exec(block("docs/embedding.md", "python", "test_my_program"), names)
    await names["test_my_program"]()


# ── what it leaves alone ────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_programs_signals_and_logging_stay_its_own() -> None:
    logger = logging.getLogger("trioproxy")

    def state() -> list[object]:
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return [*signals, *logger.handlers, logger.level, logger.propagate]

    before = state()
    async with upstream(streams) as up, trioproxy.open_proxy(to(up.port)) as proxy:
        assert (await ask(port_of(proxy.url), STREAM)).complete
        assert state() == before


async def test_the_programs_own_log_says_what_became_of_a_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trioproxy.access"):
        async with upstream(streams) as up, trioproxy.open_proxy(to(up.port)) as proxy:
            got = await ask(port_of(proxy.url), STREAM)
    [message] = [record.getMessage() for record in caplog.records if record.name == "trioproxy.access"]
    assert got.headers["x-trioproxy-id"] in message
    assert "'path': '/v1/messages', 'status': 200" in message


def test_a_name_is_imported_when_it_is_asked_for() -> None:
    code = "import sys, trioproxy; trioproxy.configure; print('trioproxy.proxy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout == "False\n"
    with pytest.raises(AttributeError, match="module 'trioproxy' has no attribute 'serv'"):
        trioproxy.serv  # type: ignore[attr-defined]  # noqa: B018  # mypy sees that too
