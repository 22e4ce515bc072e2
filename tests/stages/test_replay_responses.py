"""Responses that are kept under their ids: a client that sends only what is new, over real sockets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.peers import Answer, Line, ask, proxy, upstream
from tests.responses import check
from trioproxy.dialects.openai_responses.kept import kept_of
from trioproxy.dialects.openai_responses.read_request import read_request
from trioproxy.items import Frame
from trioproxy.ledger import Ledger
from trioproxy.stage import Batch, Exchange
from trioproxy.stages.replay_responses import RememberResponses, ReplayResponses
from trioproxy.units import Size

RESPONSES = "/v1/responses"
PIPELINE = """
[pipeline]
request = ["replay-responses"]
response = ["deframe", "parse", "translate", "remember-responses", "reframe"]
"""
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


async def claude(line: Line) -> None:
    """Calls the tool if it is offered and has not been called, and else says how many messages it was sent."""
    asked = msgspec.json.decode(line.asked.body)
    calls = "tools" in asked and b"tool_result" not in line.asked.body
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    content = [use if calls else {"type": "text", "text": f"{len(asked['messages'])} messages"}]
    whole: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
    whole["content"] = content
    whole |= {"stop_reason": "tool_use" if calls else "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
    await line.whole(msgspec.json.encode(whole))


def wire(answer: Answer) -> Any:
    return msgspec.json.decode(answer.body)


async def turn(port: int, input: Any, previous: str | None = None, **more: Any) -> Any:
    body = {"model": "m", "input": input, **more} | ({"previous_response_id": previous} if previous else {})
    return wire(await ask(port, msgspec.json.encode(body), path=RESPONSES))


def text(response: Any) -> str:
    return "".join(part["text"] for item in response["output"] for part in item.get("content", ()))


def sent(request: Any) -> list[Any]:
    return [(message["role"], message["content"]) for message in msgspec.json.decode(request.body)["messages"]]


async def test_a_client_goes_on_from_a_response_by_its_id() -> None:
    async with upstream(claude) as up, proxy(up.toml(PIPELINE)) as port:
        first = await turn(port, "one")
        second = await turn(port, [{"role": "user", "content": "two"}], first["id"])
        third = await turn(port, "three", second["id"])
        beside = await turn(port, "other", first["id"])  # two may go on from one
    assert [text(each) for each in (first, second, third, beside)] == [f"{n} messages" for n in (1, 3, 5, 3)]
    assert sent(up.requests[2]) == [
        ("user", "one"),
        ("assistant", "1 messages"),
        ("user", "two"),
        ("assistant", "3 messages"),
        ("user", "three"),
    ]
    assert third["previous_response_id"] == second["id"]


async def test_the_result_of_a_call_is_all_that_is_new() -> None:
    async with upstream(claude) as up, proxy(up.toml(PIPELINE)) as port:
        first = await turn(port, "look", tools=[TOOL])
        [call] = first["output"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "a cat"}
        second = await turn(port, [result], first["id"], tools=[TOOL])
    assert text(second) == "3 messages"
    [_, (_, [use]), (_, [found])] = sent(up.requests[1])
    assert (use["name"], found["tool_use_id"], found["content"]) == ("look", use["id"], "a cat")


async def test_what_other_request_stages_have_made_of_a_request_stays(tmp_path: Path) -> None:
    """Wherever they stand: a stage that takes something out must not be undone by the next."""
    (tmp_path / "quiet.py").write_text(
        "from trioproxy import Stage\nfrom trioproxy.items import Message, Request, replace\n"
        "class Quiet(Stage[Request, Request]):\n"
        "    def feed(self, request):\n"
        "        *before, last = request.messages\n"
        '        last = Message("user", "quiet")\n'
        '        yield replace(request, system="hush", messages=(*before, last), tools=())\n'
    )
    bodies: list[list[Any]] = []
    for order in ('"quiet:Quiet", "replay-responses"', '"replay-responses", "quiet:Quiet"'):
        pipeline = PIPELINE.replace('"replay-responses"', order)
        async with upstream(claude) as up, proxy(up.toml(pipeline), directory=tmp_path) as port:
            first = await turn(port, "one", tools=[TOOL])
            await turn(port, "two", first["id"], tools=[TOOL], instructions="shout")
        bodies.append([msgspec.json.decode(request.body) for request in up.requests])
    assert bodies[0] == bodies[1]
    assert bodies[0][1]["system"] == "hush"
    assert "tools" not in bodies[0][1]
    assert bodies[0][1]["messages"][0] == {"role": "user", "content": "one"}  # as it was kept
    assert bodies[0][1]["messages"][-1] == {"role": "user", "content": "quiet"}


async def test_that_it_is_stored_is_no_loss_and_the_response_says_so() -> None:
    async with upstream(claude) as up, proxy(up.toml(PIPELINE)) as port:
        body = msgspec.json.encode({"model": "m", "input": "one", "store": True})
        got = await ask(port, body, path=RESPONSES)
        assert wire(got)["store"] is True
        assert "x-trioproxy-lossy" not in got.headers
        assert (await turn(port, "one", store=False))["store"] is False
    async with upstream(claude) as up, proxy(up.toml()) as port:
        got = await ask(port, body, path=RESPONSES)
        assert wire(got)["store"] is False
        assert got.headers["x-trioproxy-lossy"] == "store (nothing is stored)"


async def test_a_streamed_response_is_kept_before_the_client_has_its_end() -> None:
    async def streams(line: Line) -> None:
        asked = msgspec.json.decode(line.asked.body)
        if not asked.get("stream"):
            await claude(line)
            return
        await line.head()
        for name, more in (
            ("message_start", {"message": {"id": "m", "type": "message", "role": "assistant", "content": []}}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
            ("message_stop", {}),
        ):
            data = msgspec.json.encode({"type": name} | more)
            await line.chunk(f"event: {name}\ndata: ".encode() + data + b"\n\n")
        await line.end()

    async with upstream(streams) as up, proxy(up.toml(PIPELINE)) as port:
        body = msgspec.json.encode({"model": "m", "input": "one", "stream": True})
        streamed = await ask(port, body, path=RESPONSES)
        [end] = [each for each in streamed.body.split(b"\n\n") if b"event: response.completed" in each]
        response = msgspec.json.decode(end.partition(b"data: ")[2])["response"]
        assert check(streamed.body)["store"] is True
        id = response["id"]
        assert text(await turn(port, "two", id)) == "3 messages"


async def test_a_response_can_be_had_again_and_deleted() -> None:
    async with upstream(claude) as up, proxy(up.toml(PIPELINE)) as port:

        async def get(path: str, method: str = "GET") -> tuple[int, Any]:
            got = await ask(port, b"", method=method, path=path)
            return got.status, wire(got)

        first = await turn(port, "one")
        at = f"{RESPONSES}/{first['id']}"
        assert await get(at) == (200, first)
        assert (await get(f"{at}/input_items"))[1]["data"] == [{"role": "user", "content": "one"}]
        assert await get(at, "DELETE") == (200, {"id": first["id"], "object": "response", "deleted": True})
        status, gone = await get(at)
        assert (status, gone["error"]["message"].partition(":")[0]) == (
            404,
            f"Response with id '{first['id']}' not found",
        )
        status, _ = await get(f"{at}/cancel", "POST")
        assert status == 404
        assert len(up.requests) == 1


@pytest.mark.parametrize(
    ("more", "headers"),
    [({"store": False}, ()), ({}, ("Authorization: Bearer another",)), ({}, ("session-id: another",))],
    ids=["not to be stored", "another client", "another session"],
)
async def test_what_is_not_there_is_an_error_in_the_apis_words(more: Any, headers: Sequence[str]) -> None:
    async with upstream(claude) as up, proxy(up.toml(PIPELINE)) as port:
        first = await turn(port, "one", **more)
        body = msgspec.json.encode({"model": "m", "input": "two", "previous_response_id": first["id"]})
        got = await ask(port, body, path=RESPONSES, headers=tuple(headers))
    assert got.status == 400
    error = wire(got)["error"]
    assert error["message"].startswith(f"Previous response with id '{first['id']}' not found")
    # By these clients know that they have to send the whole conversation.
    assert (error["code"], error["param"]) == ("previous_response_not_found", "previous_response_id")
    assert len(up.requests) == 1


async def test_without_the_stages_the_client_is_told_what_to_do() -> None:
    """H150f."""
    async with upstream(claude) as up, proxy(up.toml()) as port:
        got = await turn(port, "two", "resp_1")
    assert "previous_response_id" in got["error"]["message"]
    assert "input" in got["error"]["message"]
    assert up.requests == []


async def test_an_upstream_of_the_same_dialect_keeps_its_own() -> None:
    async def openai(line: Line) -> None:
        await line.whole(b'{"id":"resp_1","object":"response","status":"completed","output":[]}')

    async with upstream(openai) as up, proxy(up.toml(PIPELINE).replace('"anthropic"', '"openai-responses"')) as port:
        await turn(port, "two", "resp_0")
        await ask(port, b"", method="GET", path=f"{RESPONSES}/resp_1?include=x")
    asked, got = up.requests
    assert msgspec.json.decode(asked.body)["previous_response_id"] == "resp_0"
    assert (got.method, got.target) == ("GET", f"{RESPONSES}/resp_1?include=x")


async def test_what_is_kept_survives_a_restart(tmp_path: Path) -> None:
    toml = PIPELINE + '\n[store]\nurl = "sqlite:kept.db"\n'
    async with upstream(claude) as up:
        async with proxy(up.toml(toml), directory=tmp_path) as port:
            first = await turn(port, "one")
        async with proxy(up.toml(toml), directory=tmp_path) as port:
            assert text(await turn(port, "two", first["id"])) == "3 messages"


# ── bounds, without sockets ─────────────────────────────────────────────────────────────────────────────────────────


class Drawer:
    """A memory of the test's own."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def recall(self, kind: str, names: Sequence[str], /) -> dict[str, bytes]:
        return {name: self.kept[name] for name in names if name in self.kept}

    async def keep(self, kind: str, values: Any, /) -> None:
        self.kept |= values


async def run(stage: Any, exchange: Exchange, *items: Any) -> list[Any]:
    """What a stage makes of `items`."""
    send, receive = trio.open_memory_channel[Batch](1)
    out_send, out = trio.open_memory_channel[Batch](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run, exchange, receive, out_send)
        await send.send(list(items))
        got = await out.receive()
        send.close()
    return got


def asking(**more: Any) -> Any:
    return read_request(msgspec.json.encode({"model": "m", "input": "x", **more}))


def ended(id: str, output: Sequence[Any] = ()) -> Frame:
    response = {"id": id, "object": "response", "status": "completed", "output": output}
    return Frame(msgspec.json.encode({"type": "response.completed", "response": response}), "response.completed")


async def test_a_response_that_is_too_long_is_not_kept() -> None:
    drawer = Drawer()
    exchange = Exchange(id="x", request=asking(), memory=drawer, ledger=Ledger())
    frames = [ended("resp_1", ["x" * 5000]), ended("resp_2")]
    assert await run(RememberResponses(within=Size(4096)), exchange, *frames) == frames
    assert list(drawer.kept) == ["resp_2"]


async def test_a_conversation_that_is_too_long_is_not_put_together() -> None:
    drawer = Drawer()
    for number in range(3):
        kept = kept_of(ended(f"resp_{number + 1}"), asking(previous_response_id=f"resp_{number}" if number else None))
        assert kept is not None
        drawer.kept |= dict([kept])
    exchange = Exchange(id="x", memory=drawer)
    [whole] = await run(ReplayResponses(turns=3), exchange, asking(previous_response_id="resp_3"))
    assert len(whole.messages) == 4
    for bounded in (ReplayResponses(turns=2), ReplayResponses(within=Size(10))):
        [error] = await run(bounded, exchange, asking(previous_response_id="resp_3"))
        assert (error.kind, error.status) == ("too_large", 413)
    del drawer.kept["resp_1"]
    [error] = await run(ReplayResponses(), exchange, asking(previous_response_id="resp_3"))
    assert "'resp_1', is gone" in error.message


async def test_a_chain_that_leads_back_to_itself_ends() -> None:
    drawer = Drawer()
    kept = kept_of(ended("resp_1"), asking(previous_response_id="resp_1"))
    assert kept is not None
    drawer.kept |= dict([kept])
    [error] = await run(ReplayResponses(), Exchange(id="x", memory=drawer), asking(previous_response_id="resp_1"))
    assert error.kind == "too_large"


def test_turns_have_to_be_some() -> None:
    with pytest.raises(ValueError, match="turns must be 1 or more, got 0"):
        ReplayResponses(turns=0)
