"""What of a request reaches an upstream, and what of the upstream reaches the client, over real sockets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.anthropic import judge, message, texts, wire
from tests.chat import chunk, stream
from tests.peers import Answer, Line, ask, proxy, upstream
from trioproxy.config import Route, Upstream
from trioproxy.dialects import DIALECTS, Target
from trioproxy.dialects.carried import carried
from trioproxy.dialects.peek import Peek
from trioproxy.models import Models
from trioproxy.stage import Exchange
from trioproxy.translation import has_to_be_read, written

A_HEADERS = ("anthropic-version: 2023-06-01", "x-api-key: client-key")
C_HEADERS = ("Authorization: Bearer client-key",)
CHAT = "/v1/chat/completions"

HELLO: dict[str, Any] = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def body(**more: Any) -> bytes:
    return msgspec.json.encode(HELLO | more)


def toml(upstream_toml: str, dialect: str = "openai-chat", more: str = "") -> str:
    return upstream_toml.replace('"anthropic"', f'"{dialect}"') + more


async def chat_upstream(line: Line) -> None:
    """Answers as a Chat Completions upstream: a stream, or a whole body."""
    if b'"stream":true' in line.asked.body:
        await line.head()
        await line.chunk(stream(chunk({"content": "Hel"}), chunk({"content": "lo"})))
        await line.end()
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        await line.whole(msgspec.json.encode({"id": "c", "model": "gpt-test", "choices": [choice]}))


async def messages_upstream(line: Line) -> None:
    """Answers as a Messages upstream."""
    if b'"stream":true' in line.asked.body:
        await line.head()
        await line.chunk(wire(message("Hel", "lo")))
        await line.end()
    else:
        content = [{"type": "text", "text": "Hello"}]
        whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-9", "content": content}
        await line.whole(msgspec.json.encode(whole | {"stop_reason": "end_turn", "usage": {"output_tokens": 1}}))


def sent(request: bytes) -> Any:
    return msgspec.json.decode(request)


# ── the four routes ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_anthropic_client_on_a_chat_upstream() -> None:
    async with upstream(chat_upstream) as up, proxy(toml(up.toml())) as port:
        streamed = await ask(port, body(stream=True), path="/v1/messages?beta=true", headers=A_HEADERS)
        whole = await ask(port, body(), headers=A_HEADERS)
    judge(streamed.body)
    assert texts(streamed.body) == ["Hello"]
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["cache-control"] == "no-cache"
    assert b"[DONE]" not in streamed.body
    answer = sent(whole.body)
    assert (answer["type"], answer["model"], answer["content"]) == (
        "message",
        "claude-x",
        [{"type": "text", "text": "Hello"}],
    )
    assert [request.target for request in up.requests] == [CHAT, CHAT]
    first = up.requests[0]
    assert sent(first.body)["stream_options"] == {"include_usage": True}
    assert first.header("authorization") == "Bearer client-key"
    assert [first.header(name) for name in ("x-api-key", "anthropic-version")] == [None, None]


async def test_a_chat_client_on_an_anthropic_upstream() -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml()) as port:
        streamed = await ask(port, body(stream=True), path=CHAT, headers=C_HEADERS)
        whole = await ask(port, body(), path="/chat/completions", headers=C_HEADERS)
    assert streamed.body.endswith(b"data: [DONE]\n\n")
    assert b'"usage"' not in streamed.body  # nobody asked for it
    assert b'"content":"Hel"' in streamed.body
    assert sent(whole.body)["choices"][0]["message"]["content"] == "Hello"
    first = up.requests[0]
    assert first.target == "/v1/messages"
    assert (first.header("x-api-key"), first.header("authorization")) == ("client-key", None)
    assert first.header("anthropic-version") == "2023-06-01"


async def test_within_a_dialect_bytes_stay_bytes() -> None:
    odd = b'{ "messages":[{"role":"user","content":"hi","name":"x"}],  "model":"m","stream":true, "seed":1.0 }'
    async with upstream(chat_upstream) as up, proxy(toml(up.toml())) as port:
        got = await ask(port, odd, path=CHAT, headers=C_HEADERS)
    assert up.requests[0].body == odd
    assert got.body == stream(chunk({"content": "Hel"}), chunk({"content": "lo"}))


async def test_the_answer_of_another_mode_than_was_asked_for() -> None:
    """Hazard H040d: JSON for a stream, a stream for JSON."""

    async def contrary(line: Line) -> None:
        line.asked.body = b"" if b'"stream":true' in line.asked.body else b'"stream":true'
        await chat_upstream(line)

    async with upstream(contrary) as up, proxy(toml(up.toml())) as port:
        streamed = await ask(port, body(stream=True), headers=A_HEADERS)
        whole = await ask(port, body(), headers=A_HEADERS)
    judge(streamed.body)
    assert texts(streamed.body) == ["Hello"]
    assert sent(whole.body)["content"] == [{"type": "text", "text": "Hello"}]


async def test_what_only_chat_can_say_reaches_a_chat_upstream_and_no_other() -> None:
    audio = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]}
    async with upstream(chat_upstream) as up, proxy(toml(up.toml())) as port:
        got = await ask(port, body(messages=[audio]), path=CHAT, headers=C_HEADERS)
    assert (got.status, up.requests[0].body) == (200, body(messages=[audio]))
    async with upstream(messages_upstream) as up, proxy(up.toml()) as port:
        got = await ask(port, body(messages=[audio]), path=CHAT, headers=C_HEADERS)
    assert (got.status, up.requests) == (400, [])
    assert "audio cannot be passed on" in sent(got.body)["error"]["message"]


async def test_the_billing_line_never_reaches_a_chat_upstream() -> None:
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1f2e3;"},
        {"type": "text", "text": "Be."},
    ]
    async with upstream(chat_upstream) as up, proxy(toml(up.toml())) as port:
        await ask(port, body(system=system), headers=A_HEADERS)
    assert sent(up.requests[0].body)["messages"][0] == {"role": "system", "content": "Be."}


# ── names of models ─────────────────────────────────────────────────────────────────────────────────────────────────

ALIASES = '\n[models]\n"claude-*" = "gpt-test"\n"pre/*" = "*"\n'


@pytest.mark.parametrize("path", ["/v1/messages", CHAT])
async def test_an_alias_is_what_the_client_sees(path: str) -> None:
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), more=ALIASES)) as port:
        streamed = await ask(port, body(stream=True), path=path, headers=A_HEADERS)
        whole = await ask(port, body(), path=path, headers=A_HEADERS)
    assert {sent(request.body)["model"] for request in up.requests} == {"gpt-test"}
    assert b'"model":"claude-x"' in streamed.body
    assert b"gpt-test" not in streamed.body
    assert sent(whole.body)["model"] == "claude-x"


async def test_only_the_name_changes_where_only_the_name_has_to() -> None:
    odd = b'{"messages":[{"role":"user","content":"hi","name":"x"}],"model":"pre/m","n":1.0,"x":18446744073709551617}'
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), more=ALIASES)) as port:
        await ask(port, odd, path=CHAT, headers=C_HEADERS)
    assert up.requests[0].body == odd.replace(b"pre/m", b"m")


async def test_the_upstreams_own_model_wins() -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml(upstream='model = "mine"')) as port:
        got = await ask(port, body(stream=True), headers=A_HEADERS)
    assert sent(up.requests[0].body)["model"] == "mine"
    assert b'"model":"claude-x"' in got.body


# ── what is lost ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_losses_are_told_in_the_header() -> None:
    async with upstream(chat_upstream) as up, proxy(toml(up.toml())) as port:
        got = await ask(port, body(top_k=3, made_up=1), headers=A_HEADERS)
        clean = await ask(port, body(), headers=A_HEADERS)
    assert "top_k (" in got.headers["x-trioproxy-lossy"]
    assert "made_up (" in got.headers["x-trioproxy-lossy"]
    assert "x-trioproxy-lossy" not in clean.headers


async def test_a_strict_route_refuses_before_anything_is_sent() -> None:
    routes = '\n[routes]\n"/" = { upstream = "up", strict = true }\n'
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), more=routes)) as port:
        got = await ask(port, body(top_k=3), headers=A_HEADERS)
        fine = await ask(port, body(), headers=A_HEADERS)
    assert (got.status, fine.status) == (400, 200)
    assert "top_k" in sent(got.body)["error"]["message"]
    assert len(up.requests) == 1


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def fails(status: int, said: bytes, *headers: str, kind: str = "application/json") -> Any:
    async def script(line: Line) -> None:
        await line.head(kind, status, *headers)
        await line.chunk(said) if said else None
        await line.end()

    return script


async def failed(script: Any, dialect: str = "openai-chat", path: str = "/v1/messages") -> Answer:
    async with upstream(script) as up, proxy(toml(up.toml(), dialect)) as port:
        return await ask(port, body(stream=True), path=path, headers=A_HEADERS)


async def test_h104_what_tells_when_to_ask_again_is_kept() -> None:
    hints = ("retry-after: 7", "retry-after-ms: 6500", "x-should-retry: true", "x-request-id: r1", "server: x")
    got = await failed(fails(429, b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', *hints))
    assert got.status == 429
    assert sent(got.body)["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert [got.headers[name] for name in ("retry-after", "retry-after-ms", "x-should-retry", "x-request-id")] == [
        "7",
        "6500",
        "true",
        "r1",
    ]
    assert "server" not in got.headers


async def test_errors_of_an_anthropic_upstream_for_a_chat_client() -> None:
    said = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    got = await failed(fails(529, said), "anthropic", CHAT)
    assert got.status == 529
    assert sent(got.body)["error"] == {
        "message": "Overloaded",
        "type": "server_error",
        "param": None,
        "code": "overloaded",
    }


async def test_h110_an_error_in_a_200() -> None:
    got = await failed(fails(200, b'{"error":{"message":"no credits","code":402}}'))
    assert (got.status, sent(got.body)["error"]["message"]) == (402, "no credits")


async def test_a_web_page_is_no_answer() -> None:
    got = await failed(fails(200, b"<html><title>Sign in</title>", kind="text/html"))
    assert got.status == 502
    assert "Sign in" in sent(got.body)["error"]["message"]


async def test_an_error_within_the_stream() -> None:
    said = chunk({"content": "Hi"}) + b'data: {"error":{"message":"boom","code":500}}\n\n'
    got = await failed(fails(200, said, kind="text/event-stream"))
    assert not got.complete
    assert b"event: error" in got.body
    assert b"boom" in got.body
    assert b"message_stop" not in got.body


async def test_an_error_whose_body_breaks_off_keeps_its_status_and_its_words() -> None:
    async def script(line: Line) -> None:
        await line.head("text/plain", 429, "retry-after: 3")
        await line.chunk(b"slow down, plea")
        line.reset()

    got = await failed(script)
    assert (got.status, got.headers["retry-after"]) == (429, "3")
    assert "slow down" in sent(got.body)["error"]["message"]


async def test_a_secret_of_the_file_is_not_quoted_and_a_short_one_garbles_nothing() -> None:
    script = fails(401, b'{"error":{"message":"bad key AZURE-SECRET-1, x"}}')
    headers = 'headers = { api-key = "AZURE-SECRET-1" }\ntoken = "x"'
    async with upstream(script) as up, proxy(toml(up.toml(upstream=headers))) as port:
        got = await ask(port, body(), headers=A_HEADERS)
    assert sent(got.body)["error"]["message"] == "bad key ***, x"


async def test_what_a_client_says_fills_neither_an_error_nor_the_log() -> None:
    huge = body(messages=[{"role": "R" * 500_000, "content": "x"}])
    async with upstream(chat_upstream) as up, proxy(toml(up.toml())) as port:
        got = await ask(port, huge, headers=A_HEADERS)
        crossed = await ask(port, huge, path=CHAT, headers=C_HEADERS)
    assert (got.status, crossed.status) == (400, 200)
    assert len(got.body) < 3000


async def test_h107_a_key_is_not_quoted() -> None:
    got = await failed(fails(401, b'{"error":{"message":"Incorrect API key: client-key","code":"invalid_api_key"}}'))
    assert sent(got.body)["error"] == {"type": "authentication_error", "message": "Incorrect API key: ***"}


@pytest.mark.parametrize("path", ["/v1/messages", CHAT])
@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b'{"model":1}', b'{"model":"m","messages":1}'])
async def test_a_request_that_cannot_be_read_is_refused_in_the_clients_dialect(path: str, bad: bytes) -> None:
    other = "anthropic" if path == CHAT else "openai-chat"
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), other)) as port:
        got = await ask(port, bad, path=path)
    assert got.status == 400
    assert sent(got.body)["error"]["type"] == "invalid_request_error"
    assert ("type" in sent(got.body)) == (path != CHAT)
    assert not up.requests


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_configured_version_is_spoken() -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml(upstream='version = "2026-10-21"')) as port:
        await ask(port, body(temperature=1), headers=A_HEADERS)
        await ask(port, body(temperature=1), path=CHAT, headers=C_HEADERS)
    for request in up.requests:
        assert request.header("anthropic-version") == "2026-10-21"
        assert (request.header("authorization"), request.header("x-api-key")) == ("Bearer client-key", None)
        assert "temperature" not in sent(request.body)


async def test_the_clients_version_passes_where_none_is_configured() -> None:
    newest = ("anthropic-version: 2026-10-21", "Authorization: Bearer k")
    async with upstream(messages_upstream) as up, proxy(up.toml()) as port:
        await ask(port, body(), headers=newest)
    assert up.requests[0].header("anthropic-version") == "2026-10-21"
    assert up.requests[0].header("authorization") == "Bearer k"


async def test_a_compressed_request_is_read() -> None:
    """Hazard H039."""
    import gzip

    async with upstream(chat_upstream) as up, proxy(toml(up.toml())) as port:
        packed = ("content-encoding: gzip", *A_HEADERS)
        got = await ask(port, gzip.compress(body()), headers=packed)
        unknown = await ask(port, body(), headers=("content-encoding: zstd", *A_HEADERS))
    assert got.status == 200
    assert (up.requests[0].header("content-encoding"), sent(up.requests[0].body)["model"]) == (None, "claude-x")
    assert unknown.status == 415


STRICT = '\n[routes]\n"/" = { upstream = "up", strict = true }\n'


async def test_packed_or_not_the_upstream_gets_the_same() -> None:
    """A client cannot step round aliases and `strict` by compressing, nor by half an emoji."""
    import gzip

    packed = ("content-encoding: gzip", *A_HEADERS)
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), more=ALIASES)) as port:
        for dialect_path in ("/v1/messages", CHAT):
            await ask(port, body(stream=True), path=dialect_path, headers=A_HEADERS)
            await ask(port, gzip.compress(body(stream=True)), path=dialect_path, headers=packed)
            cut = body(stream=True).replace(b'"hi"', rb'"hi\ud83d"')
            await ask(port, cut, path=dialect_path, headers=A_HEADERS)
    plain, compressed, mended = up.requests[:3]
    assert compressed.body == plain.body
    assert sent(mended.body)["messages"] == [{"role": "user", "content": "hi\ufffd"}]
    assert {sent(request.body)["model"] for request in up.requests} == {"gpt-test"}
    assert {request.header("content-encoding") for request in up.requests} == {None}
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), more=STRICT)) as port:
        for lossy in (body(top_k=3), gzip.compress(body(top_k=3)), body(top_k=3).replace(b'"hi"', rb'"\ud83d"')):
            headers = packed if lossy[:1] == b"\x1f" else A_HEADERS
            assert (await ask(port, lossy, headers=headers)).status == 400
    assert not up.requests


async def test_a_route_that_does_not_translate_says_where_to_ask() -> None:
    pipes = "\n[pipeline]\nrequest = []\nresponse = []\n"
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), more=pipes)) as port:
        refused = await ask(port, body(), headers=A_HEADERS)
        fine = await ask(port, body(), path=CHAT, headers=C_HEADERS)
    assert (refused.status, fine.status, len(up.requests)) == (404, 200, 1)
    assert (
        "does not translate, and its upstream speaks openai-chat: ask at /v1/chat"
        in sent(refused.body)["error"]["message"]
    )


async def test_a_bomb_is_refused() -> None:
    import gzip

    limit = '[limits]\nbody = "100KB"\n'
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(limit))) as port:
        got = await ask(port, gzip.compress(b"x" * 10_000_000), headers=("content-encoding: gzip", *A_HEADERS))
    assert got.status == 413


# ── without sockets ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_has_to_be_read() -> None:
    plain = Route("/", Upstream("up", "anthropic", None))
    assert not has_to_be_read(plain, DIALECTS["anthropic"], body())
    assert has_to_be_read(plain, DIALECTS["openai-chat"], body())
    assert has_to_be_read(plain, DIALECTS["anthropic"], body(signature=carried("openai-responses", "p", {})))
    limited = Route("/", Upstream("up", "anthropic", None, target=Target(max_tokens=9)))
    assert has_to_be_read(limited, DIALECTS["anthropic"], body())


def test_an_untouched_request_keeps_its_very_bytes() -> None:
    route = Route("/", Upstream("up", "anthropic", None), models=Models({"claude-x": "claude-y"}))
    request = DIALECTS["anthropic"].read_request(body())
    exchange = Exchange(id="x", request=request, model="claude-x", upstream_model="claude-y")
    result, _ = written(route, exchange, body(), request, Peek("claude-x"))
    assert result.body == body().replace(b"claude-x", b"claude-y")
