"""The program against a recording: its own code, its own stages, a real port, and no model."""

from greet import configuration, greet

import trioproxy

RECORDED = {"url": "replay:recordings/metadata-then-answer.sse"}


async def test_greet() -> None:
    async with trioproxy.open_proxy(configuration(RECORDED)) as proxy:
        assert await greet("Ada", proxy.url) == "hello! how can i help you today?"


async def test_many_at_once() -> None:
    async with (
        trioproxy.open_proxy(configuration(RECORDED)) as one,
        trioproxy.open_proxy(configuration(RECORDED | {"pace": "1ms"})) as other,
    ):
        assert await greet("Ada", one.url) == await greet("Ada", other.url)


def test_without_trio() -> None:
    with trioproxy.run_in_thread(configuration(RECORDED)) as proxy:
        assert proxy.url.startswith("http://127.0.0.1:")
