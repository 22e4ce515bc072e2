"""Listings, counts, probes and telemetry, over real sockets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from tests.peers import Line, answer, ask, connect, proxy, upstream
from tests.test_translation import A_HEADERS, C_HEADERS, body, toml
from trioproxy.dialects import DIALECTS
from trioproxy.endpoints import answered_here, caller, is_endpoint, kept, refusal

LISTING = b'{"object":"list","data":[{"id":"gpt-a","object":"model","created":5},{"id":"gpt-b"}]}'
A_LISTING = b'{"data":[{"type":"model","id":"claude-a","display_name":"A","created_at":"2025-01-02T03:04:05Z"}]}'


def lists(listing: bytes, status: int = 200) -> Any:
    async def script(line: Line) -> None:
        await line.whole(listing, status=status)

    return script


async def listed(script: Any, dialect: str, headers: tuple[str, ...], more: str = "", path: str = "/v1/models") -> Any:
    async with upstream(script) as up, proxy(toml(up.toml(), dialect, more)) as port:
        got = await ask(port, method="GET", path=path, headers=headers, body=b"")
    return got.status, msgspec.json.decode(got.body)


async def test_h152_a_listing_for_anthropics_clients() -> None:
    status, got = await listed(lists(LISTING), "openai-chat", A_HEADERS)
    assert status == 200
    assert (got["first_id"], got["last_id"], got["has_more"]) == ("gpt-a", "gpt-b", False)
    assert got["data"][0] == {
        "type": "model",
        "id": "gpt-a",
        "display_name": "gpt-a",
        "created_at": "1970-01-01T00:00:05Z",
    }


async def test_a_listing_for_chat_clients_under_the_prefix_they_ask_with() -> None:
    prefix = '\n[models]\n"claude-openai-tools/*" = "*"\n'
    _, got = await listed(lists(A_LISTING), "anthropic", C_HEADERS, prefix)
    assert got["object"] == "list"
    assert [(each["id"], each["created"]) for each in got["data"]] == [("claude-openai-tools/claude-a", 1735787045)]


@pytest.mark.parametrize("script", [lists(b"no", 404), lists(b"no"), lists(b'{"data":[1]}')])
async def test_an_upstream_without_a_listing(script: Any) -> None:
    aliases = '\n[models]\n"opus" = "gpt-a"\n"x-*" = "gpt-b"\n'
    _, got = await listed(script, "openai-chat", A_HEADERS, aliases)
    assert [each["id"] for each in got["data"]] == ["opus", "gpt-a", "gpt-b"]


async def test_a_listing_that_fails_is_an_error_not_an_empty_one() -> None:
    status, got = await listed(lists(b'{"error":{"message":"bad key"}}', 401), "openai-chat", A_HEADERS)
    assert (status, got["error"]) == (401, {"type": "authentication_error", "message": "bad key"})


async def test_an_upstream_of_one_model_lists_it_alone() -> None:
    async with upstream(lists(LISTING)) as up, proxy(toml(up.toml(upstream='model = "gpt-b"'))) as port:
        got = await ask(port, method="GET", path="/v1/models", headers=A_HEADERS, body=b"")
    assert [each["id"] for each in msgspec.json.decode(got.body)["data"]] == ["gpt-b"]


@pytest.mark.parametrize("data", [b"GET /v1/models HTTP/1.1\r\n", b"POST /v1/messages/count_tokens HTTP/1.1\r\n"])
async def test_a_client_that_leaves_takes_the_question_along(data: bytes) -> None:
    asked = trio.Event()

    async def silent(line: Line) -> None:
        asked.set()
        await trio.sleep_forever()

    aliases = '\n[models]\n"claude-x" = "y"\n'
    async with upstream(silent) as up, proxy(toml(up.toml(), "anthropic", aliases)) as port:
        async with await connect(port) as stream:
            said = body()
            head = b"Host: 127.0.0.1\r\nx-api-key: k\r\nContent-Length: %d\r\n\r\n" % len(said)
            await stream.send_all(data + head + said)
            await asked.wait()
        with trio.fail_after(5):
            await up.gone.wait()


async def test_one_model() -> None:
    aliases = '\n[models]\n"x-*" = "gpt-b"\n'
    assert (await listed(lists(LISTING), "openai-chat", A_HEADERS, aliases, "/v1/models/gpt-a"))[1]["id"] == "gpt-a"
    assert (await listed(lists(LISTING), "openai-chat", A_HEADERS, aliases, "/v1/models/gpt%2Da"))[1]["id"] == "gpt-a"
    assert (await listed(lists(LISTING), "openai-chat", A_HEADERS, aliases, "/v1/models/x-1"))[1]["id"] == "x-1"
    status, got = await listed(lists(LISTING), "openai-chat", A_HEADERS, aliases, "/v1/models/nope")
    assert (status, got["error"]["type"]) == (404, "not_found_error")


async def test_a_listing_in_the_callers_own_dialect_passes_as_it_is() -> None:
    async with upstream(lists(LISTING)) as up, proxy(toml(up.toml())) as port:
        got = await ask(port, method="GET", path="/v1/models?x=1", headers=C_HEADERS, body=b"")
    assert got.body == LISTING
    assert up.requests[0].target == "/v1/models?x=1"


# ── counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────

COUNT = "/v1/messages/count_tokens"


async def test_h154_a_count_without_one_of_the_upstreams() -> None:
    tools = [{"name": "f", "description": "x" * 400, "input_schema": {"type": "object"}}]
    async with upstream(lists(b"{}")) as up, proxy(toml(up.toml())) as port:
        small = await ask(port, body(), path=COUNT, headers=A_HEADERS)
        large = await ask(port, body(tools=tools, system="y" * 400), path=COUNT, headers=A_HEADERS)
        bad = await ask(port, b"{", path=COUNT, headers=A_HEADERS)
    assert not up.requests
    first, second = (msgspec.json.decode(got.body)["input_tokens"] for got in (small, large))
    assert 1 < first < 30 < first + 50 < second
    assert bad.status == 400


async def test_the_upstreams_own_count_is_better() -> None:
    aliases = '\n[models]\n"claude-x" = "claude-y"\n'
    async with upstream(lists(b'{"input_tokens":77}')) as up, proxy(toml(up.toml(), "anthropic", aliases)) as port:
        got = await ask(port, body(), path=COUNT, headers=A_HEADERS)
    assert got.body == b'{"input_tokens":77}'
    assert msgspec.json.decode(up.requests[0].body)["model"] == "claude-y"


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_anthropic_upstream_that_cannot_count(status: int) -> None:
    async with upstream(lists(b"no", status)) as up, proxy(up.toml()) as port:
        got = await ask(port, body(), path=COUNT, headers=A_HEADERS)
    assert up.requests
    assert (got.status, msgspec.json.decode(got.body)["input_tokens"] > 0) == (200, True)


# ── probes and what is not there ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/"),
        ("GET", "/"),
        ("POST", "/api/event_logging/batch"),
        ("POST", "/api/event_logging/v2/batch"),
        ("GET", "/api/claude_code/settings"),
        ("GET", "/api/hello"),
    ],
)
async def test_h151_h153_probes_and_telemetry_are_answered_here(method: str, path: str) -> None:
    async with upstream(lists(b"{}")) as up, proxy(toml(up.toml())) as port:
        got = await ask(port, b'{"events":[]}' if method == "POST" else b"", method=method, path=path)
    assert (got.status, up.requests) == (200, [])


async def test_an_anthropic_upstream_gets_them_itself() -> None:
    async with upstream(lists(b'{"mine":1}')) as up, proxy(up.toml()) as port:
        got = await ask(port, b"", method="GET", path="/")
    assert (got.body, len(up.requests)) == (b'{"mine":1}', 1)


@pytest.mark.parametrize(
    ("dialect", "path", "envelope"),
    [
        ("openai-chat", "/v1/messages/batches", "type"),
        ("openai-chat", "/v1/complete", "type"),
        ("anthropic", "/v1/embeddings", "error"),
        ("anthropic", "/v1/responses/resp_1", "error"),
    ],
)
async def test_an_endpoint_of_another_dialect_is_refused_by_name(dialect: str, path: str, envelope: str) -> None:
    async with upstream(lists(b"{}")) as up, proxy(toml(up.toml(), dialect)) as port:
        got = await ask(port, b"{}", path=path)
    wire = msgspec.json.decode(got.body)
    assert (got.status, up.requests) == (404, [])
    assert next(iter(wire)) == envelope
    assert f"POST {path} is not served here" in wire["error"]["message"]
    assert "/v1/chat/completions" in wire["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/embeddings?x=%2F", "/v1/files", "/api/chat", "/v1/files/"])
async def test_other_endpoints_of_the_upstreams_dialect_pass(path: str) -> None:
    async with upstream(lists(b'{"v":1}')) as up, proxy(toml(up.toml())) as port:
        got = await ask(port, b"{}", path=path)
    assert (got.body, up.requests[0].target) == (b'{"v":1}', path)


# ── without sockets ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_calls() -> None:
    chat, messages = DIALECTS["openai-chat"], DIALECTS["anthropic"]
    assert caller([(b"anthropic-version", b"x"), (b"authorization", b"y")], "/v1/models", chat) is messages
    assert caller([(b"authorization", b"y")], "/v1/models", messages) is chat
    assert caller([], "/v1/models", messages) is messages
    assert caller([], "/v1/embeddings", messages) is chat


def test_what_is_kept_refused_and_answered() -> None:
    assert kept([(b"retry-after", b"1"), (b"server", b"x"), (b"anthropic-ratelimit-tokens", b"2")]) == [
        (b"retry-after", b"1"),
        (b"anthropic-ratelimit-tokens", b"2"),
    ]
    chat, messages = DIALECTS["openai-chat"], DIALECTS["anthropic"]
    assert refusal("GET", "/anything", chat, chat) is None
    assert refusal("GET", "/v1/files", messages, chat)
    assert refusal("GET", "/v1/embeddings", messages, chat) is None
    assert refusal("GET", "/anything", chat, messages) is None
    assert answered_here("GET", "/", DIALECTS["anthropic"]) is None


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/messages", True),
        ("/v1/messages/", True),
        ("/chat/completions", True),
        ("/v1/models", True),
        ("/v1/models/", True),
        ("/v1/models/a/b", True),
        ("/v1/messages/count_tokens", True),
        ("/v1/embeddings", True),
        ("/api/hello", True),
        ("/v1/modelling", False),
        ("/v1/messagess", False),
        ("/x/v1/messages", False),
        ("/", False),
        ("", False),
    ],
)
def test_what_clients_ask_for_somewhere(path: str, known: bool) -> None:
    assert is_endpoint(path) is known


@pytest.mark.parametrize("dialect", ["anthropic", "openai-chat", "openai-responses"])
async def test_h150f_a_websocket_is_refused_at_once_and_the_connection_goes_on(dialect: str) -> None:
    """Codex tries one first; what it needs to know is that it has to POST."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a\r\n"
    async with upstream(lists(b"{}")) as up, proxy(toml(up.toml(), dialect)) as port:
        stream = await connect(port)
        async with stream:
            await stream.send_all(b"GET /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\n" + upgrade + b"\r\n")
            got = await answer(stream)
            await stream.send_all(b"HEAD /api/hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert (await answer(stream, method="HEAD")).status == 200
    assert got.status == 426
    assert (got.headers["upgrade"], got.headers["connection"]) == ("HTTP/1.1", "upgrade")
    assert "POST" in msgspec.json.decode(got.body)["error"]["message"]
    assert not [each for each in up.requests if each.method == "GET"]
