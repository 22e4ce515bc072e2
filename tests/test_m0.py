"""The story the signature filter was made for, over real sockets: a router that puts a metadata message first."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
import trio

import trioproxy
from tests.anthropic import judge, texts
from tests.corpus import MENDED, Case, streams, wholes
from tests.peers import Line, answer, ask, connect, proxy, request, upstream

RECORDING = next(iter(trioproxy.__path__)) + "/recordings/metadata-then-answer.sse"
ASK = b'{"model": "m", "stream": true, "max_tokens": 9, "messages": []}'


async def recording() -> tuple[bytes, bytes]:
    """The metadata message and the real one."""
    data = await trio.Path(RECORDING).read_bytes()
    at = data.index(b"event: message_start", 1)
    return data[:at], data[at:]


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
async def test_the_client_gets_exactly_the_real_message(size: int) -> None:
    metadata, real = await recording()
    data = metadata + real + metadata + real

    async def router(line: Line) -> None:
        await line.head()
        for at in range(0, len(data), size):
            await line.chunk(data[at : at + size])
        await line.end()

    async with upstream(router) as up, proxy(up.toml()) as port:
        got = await ask(port, ASK)
    assert got.complete
    assert got.body == real + real
    judge(got.body)
    assert up.requests[0].body == ASK


async def test_the_first_delta_arrives_while_the_upstream_still_holds_back_the_rest() -> None:
    metadata, real = await recording()
    at = real.index(b"\n\n", real.index(b"text_delta")) + 2
    seen = trio.Event()

    async def router(line: Line) -> None:
        await line.head()
        await line.chunk(metadata)
        await line.chunk(real[:at])
        await seen.wait()
        await line.chunk(real[at:])
        await line.end()

    async with upstream(router) as up, proxy(up.toml()) as port, await connect(port) as stream:
        await stream.send_all(request(ASK))
        got = b""
        with trio.fail_after(5):
            while b"Hello!" not in got:
                got += await stream.receive_some()
        assert b"isNew" not in got
        seen.set()
        with trio.fail_after(5):
            while b"message_stop" not in got:
                got += await stream.receive_some()


async def test_nothing_but_metadata_leaves_one_valid_empty_message() -> None:
    metadata, _ = await recording()

    async def router(line: Line) -> None:
        await line.head()
        await line.chunk(metadata + metadata)
        await line.end()

    async with upstream(router) as up, proxy(up.toml()) as port:
        streamed = await ask(port, ASK)
        whole = await ask(port, b"{}")
    assert texts(streamed.body) == [""]
    assert [each["type"] for each in judge(streamed.body)][1] == "content_block_start"
    body = msgspec.json.decode(whole.body)
    assert body["content"] == [{"type": "text", "text": ""}]
    assert whole.headers["content-type"] == "application/json"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("find", [streams, wholes])
async def test_every_recorded_answer_arrives_as_the_very_bytes(find: object) -> None:
    assert callable(find)
    cases: dict[bytes, Case] = {case.id.encode(): case for case in find("anthropic") if case.id not in MENDED}

    async def provider(line: Line) -> None:
        case = cases[line.asked.body.rpartition(b" ")[2]]
        if not case.stream:
            await line.whole(case.body)
            return
        await line.head()
        for at in range(0, len(case.body), 1000):
            await line.chunk(case.body[at : at + 1000])
        await line.end()

    hashes = {}
    async with upstream(provider) as up, proxy(up.toml()) as port, await connect(port) as stream:
        for name in cases:
            await stream.send_all(request(b"no json " + name))
            got = await answer(stream)
            assert got.status == 200, got
            assert got.complete
            hashes[name] = digest(got.body)
    assert hashes == {name: digest(case.body) for name, case in cases.items()}
    assert up.connections <= 3  # kept alive on both sides


@pytest.mark.parametrize("response", ['["deframe", "reframe"]', "[]", '["deframe", "parse", "translate", "reframe"]'])
async def test_other_orders_pass_the_metadata_on(response: str) -> None:
    metadata, real = await recording()

    async def router(line: Line) -> None:
        await line.head()
        await line.chunk(metadata + real)
        await line.end()

    async with upstream(router) as up, proxy(up.toml(f"[pipeline]\nresponse = {response}")) as port:
        got = await ask(port, ASK)
    if "parse" in response:  # then the block that the metadata leaves open is closed
        assert texts(got.body) == texts(metadata + real)
        judge(got.body)
    else:
        assert got.body == metadata + real


async def test_the_filter_behind_another_event_stage_works() -> None:
    metadata, real = await recording()

    async def router(line: Line) -> None:
        await line.head()
        await line.chunk(metadata + real)
        await line.end()

    toml = '[pipeline]\nresponse = ["deframe", "parse", "keepalive", "signature-filter", "translate", "reframe"]'
    async with upstream(router) as up, proxy(up.toml(toml)) as port:
        got = await ask(port, ASK)
    assert got.body == real
