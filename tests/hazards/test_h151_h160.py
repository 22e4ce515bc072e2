"""Hazards H151-H160b: probes and endpoints beside the answers, for a client that speaks another dialect than the
upstream.
"""

import re
from typing import Any

import msgspec
import pytest

from tests.anthropic import flow
from tests.hazards.chat import (
    ASKS_A,
    ASKS_C,
    CHAT,
    CLAUDE,
    OPENAI,
    A,
    C,
    Completion,
    Message,
    Sent,
    at,
    between,
    chat,
    completion,
    gives,
    message,
    says,
    streams,
    text_block,
)
from tests.peers import Line, ask, proxy, upstream
from trioproxy import Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.signature_filter import SignatureFilter
from trioproxy.stages.translate import Translate

LISTING_C = (
    b'{"object":"list","data":[{"id":"gpt-x","object":"model","created":1700000000,"owned_by":"o"},{"id":"gpt-y"}]}'
)
LISTING_A = msgspec.json.encode(
    {
        "data": [
            {
                "type": "model",
                "id": "claude-x",
                "display_name": "Claude X",
                "created_at": "2026-01-02T03:04:05Z",
                "max_input_tokens": 200000,
                "max_tokens": 64000,
            }
        ],
        "has_more": False,
        "first_id": "claude-x",
        "last_id": "claude-x",
    }
)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_h151_a_probe_of_the_root(method: str) -> None:
    async with upstream(gives(b"{}", status=404)) as up, proxy(at(up.toml())) as port:
        for path in ("/", "/?beta=true"):
            got = await ask(port, method=method, path=path, headers=CLAUDE)
            assert got.status == 200
            assert got.complete
        assert up.requests == []


async def test_h152_models_in_the_callers_dialect() -> None:
    async with upstream(gives(LISTING_C)) as up, proxy(at(up.toml())) as port:
        asked = await ask(port, method="GET", path="/v1/models?limit=1000", headers=CLAUDE)
        plain = await ask(port, method="GET", path="/v1/models", headers=OPENAI)
        assert [each.target for each in up.requests] == ["/v1/models"] * 2
        assert up.requests[0].header("authorization") == "Bearer sk-client-secret"
    assert plain.body == LISTING_C
    wire = msgspec.json.decode(asked.body)
    assert (wire["has_more"], wire["first_id"], wire["last_id"]) == (False, "gpt-x", "gpt-y")
    for each in wire["data"]:
        assert each["type"] == "model"
        assert each["display_name"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each["created_at"])
    assert wire["data"][0]["created_at"] == "2023-11-14T22:13:20Z"


async def test_h152_models_of_anthropic_for_a_chat_client() -> None:
    async with upstream(gives(LISTING_A)) as up, proxy(up.toml()) as port:
        got = await ask(port, method="GET", path="/v1/models", headers=OPENAI)
        one = await ask(port, method="GET", path="/v1/models/claude-x", headers=OPENAI)
        none = await ask(port, method="GET", path="/v1/models/claude-z", headers=OPENAI)
        assert up.requests[0].header("x-api-key") == "sk-client-secret"
        assert up.requests[0].header("anthropic-version") == "2023-06-01"
    wire = msgspec.json.decode(got.body)
    assert wire["object"] == "list"
    assert [(each["id"], each["object"], each["created"]) for each in wire["data"]] == [
        ("claude-x", "model", 1767323045)
    ]
    assert msgspec.json.decode(one.body) == wire["data"][0]
    assert none.status == 404
    assert msgspec.json.decode(none.body)["error"].keys() == {"message", "type", "param", "code"}


async def test_h152_names_that_lead_somewhere() -> None:
    toml = '\n[models]\n"claude-opus-5" = "gpt-x"\n'
    async with upstream(gives(LISTING_C)) as up, proxy(at(up.toml()) + toml) as port:
        got = await ask(port, method="GET", path="/v1/models", headers=CLAUDE)
        assert "claude-opus-5" in [each["id"] for each in msgspec.json.decode(got.body)["data"]]
        one = await ask(port, method="GET", path="/v1/models/claude-opus-5", headers=CLAUDE)
    assert msgspec.json.decode(one.body)["id"] == "claude-opus-5"


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_h152_without_a_listing_upstream_what_the_file_names_is_there(status: int) -> None:
    toml = '\n[models]\n"claude-opus-5" = "gpt-x"\n'
    async with upstream(gives(b"<html>", "text/html", status)) as up, proxy(at(up.toml()) + toml) as port:
        got = await ask(port, method="GET", path="/v1/models", headers=CLAUDE)
    assert got.status == 200
    assert "claude-opus-5" in [each["id"] for each in msgspec.json.decode(got.body)["data"]]


TELEMETRY = ["/api/event_logging/batch", "/api/claude_code/metrics", "/api/claude_code/settings", "/api/hello"]


@pytest.mark.parametrize("path", TELEMETRY)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_h153_telemetry_is_answered_here(method: str, path: str) -> None:
    async with upstream(gives(b"{}", status=404)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, b'{"events":[]}' if method == "POST" else b"", method=method, path=path, headers=CLAUDE)
        assert 200 <= got.status < 300
        assert up.requests == []


async def counted(port: int, **more: Any) -> int:
    body = {"model": "asked", "messages": [{"role": "user", "content": "hello there"}], **more}
    got = await ask(port, msgspec.json.encode(body), path="/v1/messages/count_tokens?beta=true", headers=CLAUDE)
    assert got.status == 200
    wire = msgspec.json.decode(got.body)
    assert wire.keys() == {"input_tokens"}
    return int(wire["input_tokens"])


async def test_h154_count_tokens_counts_everything() -> None:
    words = "some words that take up room in the context " * 20
    user = {"role": "user", "content": "hello there"}
    tool = {"name": "read", "description": words, "input_schema": {"type": "object", "properties": {}}}
    use = {"type": "tool_use", "id": "t", "name": "read", "input": {"p": words}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": words}]}
    thought = {"type": "thinking", "thinking": words, "signature": "c2ln"}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    async with upstream(gives(b"{}")) as up, proxy(at(up.toml())) as port:
        plain = await counted(port)
        used = await counted(port, messages=[user, {"role": "assistant", "content": [use]}])
        answered = [user, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
        thinking = [user, {"role": "assistant", "content": [thought, use]}, {"role": "user", "content": [result]}]
        assert 0 < plain < 40
        assert await counted(port, system=words) > plain + 100
        assert await counted(port, system=[{"type": "text", "text": words}]) > plain + 100
        assert await counted(port, tools=[tool]) > plain + 100
        assert used > plain + 100
        assert await counted(port, messages=answered) > used + 100
        assert await counted(port, messages=thinking) > used + 100
        assert await counted(port, messages=[{"role": "user", "content": [picture]}]) > plain + 100
        assert up.requests == []


PROBE = b'{"model":"claude-haiku-4-5","max_tokens":1,"messages":[{"role":"user","content":"quota"}]}'
STAGES = '[pipeline]\nrequest = ["quota-probe"]\n'


async def test_h155_the_quota_probe_is_answered_here() -> None:
    async with upstream(gives(completion({"content": "a"}))) as up, proxy(at(up.toml(STAGES))) as port:
        got = await ask(port, PROBE, headers=CLAUDE)
        assert up.requests == []
    wire = msgspec.json.decode(got.body)
    assert (wire["stop_reason"], wire["model"]) == ("max_tokens", "claude-haiku-4-5")


@pytest.mark.parametrize(
    "change",
    [
        (b'"quota"', b'"count"'),
        (b'"max_tokens":1', b'"max_tokens":2'),
        (b'"max_tokens":1', b'"max_tokens":1,"system":"You are a check of a model"'),
        (b'"max_tokens":1', b'"max_tokens":1,"tools":[{"name":"a","input_schema":{"type":"object"}}]'),
    ],
)
async def test_h155_nothing_else_is(change: tuple[bytes, bytes]) -> None:
    async with upstream(gives(completion({"content": "a"}))) as up, proxy(at(up.toml(STAGES))) as port:
        await ask(port, PROBE.replace(*change), headers=CLAUDE)
        assert len(up.requests) == 1


METADATA = '```json\n{"isNewTopic": true, "title": "Initial \\"Greeting\\""}\n```'


def filtered(sent: bytes, client: str) -> Sent:
    stages: list[Stage[Any, Any]] = [Deframe(), Parse(), SignatureFilter(), Translate(), Reframe()]
    return Sent(flow(stages, [[sent]], between(client, C)))


@pytest.mark.parametrize("client", [A, C])
def test_h156_h157_topic_metadata_of_a_chat_upstream(client: str) -> None:
    """Cut between any two characters, escaped inside JSON: what is left is a legal message without it."""
    for cut in range(1, len(METADATA)):
        got = filtered(chat(says(METADATA[:cut]), says(METADATA[cut:])), client)
        assert not got.errors
        assert b"isNewTopic" not in got.body
        assert b"Greeting" not in got.body
        if client == A:
            assert Message(got.body).content == [("text", "")]
        else:
            assert Completion(got.body).content == ""


@pytest.mark.parametrize("client", [A, C])
def test_h157_what_only_looks_like_it_passes(client: str) -> None:
    text = METADATA + " and that is what it looks like"
    got = filtered(chat(*map(says, text)), client)
    assert (Message(got.body).content if client == A else Completion(got.body).content) == (
        [("text", text)] if client == A else text
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        "/v1/messages?beta=true",
        "/v1/messages?x=%00&y",
        "/v1/messages/",
    ],
)
async def test_h158_paths_and_queries(path: str) -> None:
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, path=path, headers=CLAUDE)
    assert Message(got.body).content == [("text", "a")]
    assert up.requests[0].target == "/v1/chat/completions"  # the query is about the client's own dialect


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", CHAT + "/", CHAT + "?api-version=1"])
async def test_h158_paths_of_chat_clients(path: str) -> None:
    async with upstream(streams(message(text_block(0, "a")))) as up, proxy(up.toml()) as port:
        got = await ask(port, ASKS_C, path=path, headers=OPENAI)
    assert Completion(got.body).content == "a"
    assert up.requests[0].target == "/v1/messages"


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/compatible-mode", "/compatible-mode/v1/chat/completions"),
    ],
)
async def test_h158_no_v1_v1(base: str, target: str) -> None:
    async with upstream(streams(chat(says("a")))) as up:
        toml = at(up.toml()).replace(f":{up.port}", f":{up.port}{base}")
        async with proxy(toml) as port:
            await ask(port, ASKS_A, headers=CLAUDE)
    assert up.requests[0].target == target


async def test_h158_a_doubled_version_is_refused_in_words() -> None:
    async with upstream(gives(b"{}", status=404)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, path="/v1/v1/messages", headers=CLAUDE)
    assert got.status == 404


async def test_h158_endpoints_that_nobody_can_serve_say_what_is_there() -> None:
    async with upstream(gives(b"{}")) as up, proxy(at(up.toml())) as port:
        got = await ask(port, b"{}", path="/v1/messages/batches", headers=CLAUDE)
        assert up.requests == []
    assert got.status == 404
    error = msgspec.json.decode(got.body)
    assert error["error"]["type"] == "not_found_error"
    assert "POST /v1/messages" in error["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        ("x-api-key: sk-1",),
        ("authorization: Bearer sk-1",),
        ("x-api-key: sk-1", "authorization: Bearer sk-1"),
        ("authorization: bearer sk-1",),
    ],
)
async def test_h159_the_clients_token_in_the_upstreams_form(headers: tuple[str, ...]) -> None:
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml())) as port:
        await ask(port, ASKS_A, headers=headers)
    assert (up.requests[0].header("authorization"), up.requests[0].header("x-api-key")) == ("Bearer sk-1", None)
    async with upstream(streams(message(text_block(0, "a")))) as up, proxy(up.toml()) as port:
        await ask(port, ASKS_C, path=CHAT, headers=headers)
    assert (up.requests[0].header("authorization"), up.requests[0].header("x-api-key")) == (None, "sk-1")


async def test_h159_the_files_token_replaces_it_and_the_query_has_none() -> None:
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml(upstream='token = "sk-file"'))) as port:
        await ask(port, ASKS_A, path="/v1/messages?api_key=sk-query", headers=CLAUDE)
    [asked] = up.requests
    assert asked.header("authorization") == "Bearer sk-file"
    assert "sk-client" not in str(asked.headers)
    assert "sk-query" not in asked.target + str(asked.headers)


async def test_h160_limits_of_models_are_passed_on() -> None:
    async with upstream(gives(LISTING_A)) as up, proxy(up.toml() + '\n[models]\n"opus" = "claude-x"\n') as port:
        got = await ask(port, method="GET", path="/v1/models", headers=CLAUDE)
    listed = {each["id"]: each for each in msgspec.json.decode(got.body)["data"]}
    assert (listed["opus"]["max_input_tokens"], listed["opus"]["max_tokens"]) == (200000, 64000)


async def test_h160b_who_the_user_is_does_not_vanish_unseen() -> None:
    asked = ASKS_A[:-1] + b',"metadata":{"user_id":"user_1_account__session_2"}}'
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml())) as port:
        got = await ask(port, asked, headers=(*CLAUDE, "x-claude-code-session-id: 2"))
    sent = msgspec.json.decode(up.requests[0].body)
    told = [value for value in sent.values() if value == "user_1_account__session_2"]
    assert told or "metadata.user_id" in got.headers["x-trioproxy-lossy"]


async def test_h160b_the_user_of_a_chat_client() -> None:
    async with upstream(streams(message(text_block(0, "a")))) as up, proxy(up.toml()) as port:
        await ask(port, ASKS_C[:-1] + b',"user":"user-1"}', path=CHAT, headers=OPENAI)
    assert msgspec.json.decode(up.requests[0].body)["metadata"] == {"user_id": "user-1"}


async def test_h151_h153_an_anthropic_upstream_is_asked_itself() -> None:
    async def script(line: Line) -> None:
        await line.whole(b'{"up":1}')

    async with upstream(script) as up, proxy(up.toml()) as port:
        got = await ask(port, b"{}", path="/api/event_logging/batch", headers=CLAUDE)
        assert (await ask(port, method="GET", path="/", headers=CLAUDE)).body == b'{"up":1}'
    assert got.body == b'{"up":1}'
    assert len(up.requests) == 2
