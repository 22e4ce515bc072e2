"""Prompts that Anthropic is asked to cache, for clients that cannot ask for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.peers import ask, proxy, upstream
from tests.test_translation import messages_upstream
from trioproxy.items import Message, Request, Text, ToolResult
from trioproxy.stages.cache_prompt import CachePrompt
from trioproxy.testing import check_stage

MARK = {"type": "ephemeral"}
PIPELINE = '\n[pipeline]\nrequest = ["cache-prompt"]\n'
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "claude-x", "input": "hi"},
    "/v1/messages": {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
}


@pytest.mark.parametrize("path", BODIES)
async def test_openais_clients_get_their_conversations_cached(path: str) -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml(PIPELINE)) as port:
        got = await ask(port, msgspec.json.encode(BODIES[path]), path=path)
    [asked] = [msgspec.json.decode(request.body) for request in up.requests]
    assert got.status == 200
    assert "x-trioproxy-lossy" not in got.headers
    # Anthropic's own clients set marks where they want them.
    assert asked.get("cache_control") == (None if path == "/v1/messages" else MARK)


def test_for_an_hour() -> None:
    [request] = CachePrompt(ttl="1h").feed(Request("m"))
    assert request.extra == {"cache_control": MARK | {"ttl": "1h"}}


MARKED = Text(text="a", extra={"cache_control": MARK})


@pytest.mark.parametrize(
    "request_",
    [
        Request("m", system=(MARKED,)),
        Request("m", (Message("user", (Text(text="b"), MARKED)),)),
        Request("m", (Message("user", (ToolResult(tool_use_id="t", content=(MARKED,)),)),)),
        Request("m", tools=({"name": "f", "cache_control": MARK},)),
        Request("m", extra={"cache_control": MARK | {"ttl": "1h"}}),
    ],
)
def test_marks_of_the_client_stand_alone(request_: Request) -> None:
    [request] = CachePrompt().feed(request_)
    assert request is request_


def test_it_is_a_stage() -> None:
    check_stage(CachePrompt, [Request("m"), Request("n", system="s")])
