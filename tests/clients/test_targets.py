"""A target of each mode, with Anthropic's own SDK: streaming and not, its token in either header."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests import anthropic as a
from tests import chat, peers, responses
from tests.peers import Line
from tests.test_admin import UPSTREAMS, served

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")

QUESTION: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "hi"}],
}
CHAT = chat.stream(chat.chunk({"role": "assistant", "content": "Hello"}), chat.chunk({"content": "!"}))
STREAMS = {
    "anthropic_messages": a.wire(a.message("Hello", "!")),
    "chat_completions": CHAT,
    "codex_responses": responses.stream(responses.message(0, "Hello", "!")),
}


def streamed(client: anthropic.Anthropic) -> str:
    with client.messages.stream(**QUESTION) as stream:
        return "".join(stream.text_stream)


def whole(client: anthropic.Anthropic) -> str:
    message = client.messages.create(**QUESTION)
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("ask", [streamed, whole])
@pytest.mark.parametrize("mode", STREAMS)
async def test_a_target_with_the_sdk(mode: str, ask: Callable[[anthropic.Anthropic], str]) -> None:
    async def answers(line: Line) -> None:
        await line.head()
        await line.chunk(STREAMS[mode])
        await line.end()

    async with served() as proxy, peers.upstream(answers) as up:
        done = await proxy.registered(
            {"model": "qwen3", "url": f"http://127.0.0.1:{up.port}/v1", "mode": mode, "token": UPSTREAMS}
        )

        def call(**credentials: str) -> str:
            with anthropic.Anthropic(
                base_url=done["base_url"],
                max_retries=0,
                http_client=anthropic.DefaultHttpxClient(trust_env=False),
                **credentials,  # type: ignore[arg-type]  # the SDK has many more arguments than texts
            ) as client:
                return ask(client)

        said = [
            await trio.to_thread.run_sync(lambda: call(api_key=done["token"])),
            await trio.to_thread.run_sync(lambda: call(auth_token=done["token"])),
        ]
        with pytest.raises(anthropic.AuthenticationError):
            await trio.to_thread.run_sync(lambda: call(api_key="tp-another"))
    assert said == ["Hello!", "Hello!"]
    assert len(up.requests) == 2
    for asked in up.requests:
        assert json.loads(asked.body)["model"] == "qwen3"
        assert done["token"] not in str(asked)
        assert UPSTREAMS in str(asked.headers)
    if mode == "codex_responses":
        body = json.loads(up.requests[0].body)
        assert (body["store"], body["instructions"]) == (False, "Be brief.")
