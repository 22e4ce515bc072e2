"""The proxy between a scripted upstream and a raw client, over real sockets: what passes, and every way to fail."""

import gc
import gzip
import io
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.anthropic import judge
from tests.http.test_incoming import BAD_BODIES, CHUNKED, MALFORMED
from tests.peers import Answer, Line, answer, ask, connect, exchange, free_port, proxy, request, upstream
from trioproxy import log
from trioproxy.conversation import Conversation
from trioproxy.items import Request

STREAM = b'{"model": "claude", "stream": true}'
WHOLE = b'{"model": "claude"}'


def event(name: str, more: str = "") -> bytes:
    return f'event: {name}\ndata: {{"type":"{name}"{more}}}\n\n'.encode()


START = event(
    "message_start",
    ',"message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,'
    '"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}',
) + event("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}')
DELTA = event("content_block_delta", ',"index":0,"delta":{"type":"text_delta","text":"hi"}')
END = (
    event("content_block_stop", ',"index":0')
    + event("message_delta", ',"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}')
    + event("message_stop")
)
MESSAGE = b'{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"hi"}]}'

Script = Callable[[Line], Awaitable[None]]


async def streams(line: Line) -> None:
    await line.head()
    await line.chunk(START + DELTA)
    await line.chunk(END)
    await line.end()


async def echoes(line: Line) -> None:
    await line.whole(line.asked.body, "application/octet-stream")


def sends(data: bytes, *, then: str = "end") -> Script:
    """An upstream that answers with these very bytes, and then ends, resets or stalls."""

    async def script(line: Line) -> None:
        await line.send(data)
        if then == "end":
            await line.stream.send_eof()
        elif then == "reset":
            await trio.testing.wait_all_tasks_blocked(0.01)  # a reset would overtake what was sent
            line.reset()
            return
        await line.closed.wait()

    return script


def error(got: Answer) -> dict[str, Any]:
    """The error of an answer in Anthropic's envelope."""
    assert got.complete
    assert got.headers["content-type"] == "application/json"
    envelope = msgspec.json.decode(got.body)
    assert envelope["type"] == "error"
    assert envelope["request_id"] == got.headers["x-trioproxy-id"]
    found: dict[str, Any] = envelope["error"]
    return found


# ── what passes ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND", "M-SEARCH"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models?a=%2F&b", "//a/%6d;x=1?", "/"])
async def test_any_method_and_path_and_body_pass_unchanged(method: str, path: str) -> None:
    body = b'{ "model":"x",\r\n "big": 18446744073709551617, "\xff\x00": 1e999 }'
    async with upstream(echoes) as up, proxy(up.toml()) as port:
        got = await ask(port, body, method=method, path=path)
        assert (got.status, got.complete) == (200, True)
        assert got.body == (b"" if method == "HEAD" else body)
    (asked,) = up.requests
    assert (asked.method, asked.target, asked.body) == (method, path, body)


@settings(max_examples=25, deadline=None)
@given(
    body=st.binary(max_size=2000),
    chunk=st.none() | st.integers(1, 2000),
    path=st.sampled_from(["/v1/messages", "/v1/other"]),
)
async def test_every_byte_of_every_body_passes(body: bytes, chunk: int | None, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
    if chunk is None:
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
        data = (
            head + CHUNKED + b"\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
        )
    async with upstream(echoes) as up, proxy(up.toml()) as port:
        got = await exchange(port, data)
    assert (got.body, got.complete) == (body, True)
    assert up.requests[0].body == body


async def test_headers_pass_and_those_of_a_hop_do_not() -> None:
    async def script(line: Line) -> None:
        hop = ["connection: x-named, keep-alive", "x-named: 1", "keep-alive: timeout=5", "proxy-authenticate: Basic"]
        await line.head("text/plain", 200, *hop, "x-kept: \u00e9", "set-cookie: a=1", "trailer: x-sum")
        await line.chunk(b"hello")
        await line.end()

    sent = (
        "Connection: X-Named, close",
        "X-Named: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMA",
        "Proxy-Authorization: Basic c2VjcmV0",
        "Proxy-Connection: keep-alive",
        "Accept: a",
        "X-Kept: \u00e9",
        "Accept: b",
        "Authorization: Bearer own",
    )
    async with upstream(script) as up, proxy(up.toml()) as port:
        head = ["POST /v1/other HTTP/1.1", "Host: localhost:1", *sent, "Content-Length: 0", "", ""]
        got = await exchange(port, "\r\n".join(head).encode("latin-1"))
    (asked,) = up.requests
    assert sorted(asked.headers) == [
        ("accept", "a"),
        ("accept", "b"),
        ("authorization", "Bearer own"),
        ("content-length", "0"),
        ("host", f"127.0.0.1:{up.port}"),
        ("x-kept", "\u00e9"),
    ]
    assert got.body == b"hello"
    assert {"set-cookie", "x-kept", "content-type", "x-trioproxy-id"} <= got.headers.keys()
    assert got.headers.keys().isdisjoint({"x-named", "keep-alive", "proxy-authenticate", "trailer"})


async def test_the_files_token_and_headers_replace_the_clients() -> None:
    own = 'token = "sk-own"\nheaders = { x-team = "blue" }'
    async with upstream(echoes) as up, proxy(up.toml(upstream=own)) as port:
        await ask(port, headers=("Authorization: Bearer theirs", "X-Api-Key: theirs", "X-Team: red"))
    (asked,) = up.requests
    assert asked.header("x-api-key") == "sk-own"
    assert asked.header("x-team") == "blue"
    assert asked.header("authorization") is None


async def test_a_stream_passes_byte_for_byte_and_event_by_event() -> None:
    go_on = trio.Event()

    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(START + DELTA)
        await go_on.wait()
        await line.chunk(END)
        await line.end()

    async with upstream(script) as up, proxy(up.toml()) as port, await connect(port) as stream:
        await stream.send_all(request(STREAM))
        seen = b""
        with trio.fail_after(5):
            while DELTA not in seen:  # it comes although the stream has not ended
                seen += await stream.receive_some()
            go_on.set()
            while not seen.endswith(b"0\r\n\r\n"):
                seen += await stream.receive_some()
    assert b"content-type: text/event-stream" in seen.lower()
    async with upstream(streams) as up, proxy(up.toml()) as port:
        got = await ask(port, STREAM)
    assert (got.body, got.complete) == (START + DELTA + END, True)


async def test_a_request_body_flows_while_the_client_still_sends() -> None:
    arrived = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        seen = b""
        while not seen.endswith(b"last"):
            seen += await stream.receive_some()
            if seen.endswith(b"first"):
                arrived.set()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{listener.socket.getsockname()[1]}"\ndialect = "anthropic"'
        async with proxy(toml) as port, await connect(port) as stream:
            with trio.fail_after(5):
                await stream.send_all(b"PUT /files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nfirst")
                await arrived.wait()
                await stream.send_all(b"last")
                assert (await answer(stream)).status == 200
        nursery.cancel_scope.cancel()


async def test_pipelined_requests_are_answered_in_order_over_one_upstream_connection() -> None:
    async def script(line: Line) -> None:
        await line.whole(line.asked.target.encode())

    async with upstream(script) as up, proxy(up.toml()) as port, await connect(port) as stream:
        await stream.send_all(b"".join(request(WHOLE, path=f"/v1/{each}") for each in range(5)))
        with trio.fail_after(5):
            assert [(await answer_one(stream)).body for _ in range(5)] == [b"/v1/%d" % each for each in range(5)]
    assert up.connections == 1


async def answer_one(stream: trio.SocketStream) -> Answer:
    """One answer, and not a byte of the next: `answer` would swallow it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += await stream.receive_some(1)
    length = int(data.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += await stream.receive_some(length - len(body))
    return Answer(int(data[9:12]), {}, body, complete=True)


async def test_http_1_0_and_continue() -> None:
    async with upstream(streams) as up, proxy(up.toml()) as port:
        async with await connect(port) as stream:
            head = b"POST /v1/messages HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(STREAM)
            await stream.send_all(head + STREAM)
            got = b"".join([bytes(piece) async for piece in stream])
            assert got.endswith(b"\r\n\r\n" + START + DELTA + END)
        async with await connect(port) as stream:
            await stream.send_all(request(STREAM, headers=("Expect: 100-continue",))[: -len(STREAM)])
            assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await stream.send_all(STREAM)
            assert (await answer(stream)).complete
    assert [asked.header("expect") for asked in up.requests] == [None, None]


TEXT = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n", 304, b""),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + TEXT + b"ok", 200, b"ok"),
        (b"HTTP/1.1 307 Over There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 307, b""),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", 200, b"<html>"),
        (b"HTTP/1.1 502 Bad\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", 502, b"<html>"),
        (b"HTTP/1.1 429 No\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}", 429, b"{}"),
        (b"HTTP/1.1 529 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", 529, b"{}"),
        (b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end", 200, b"until the end"),
    ],
    ids=["204", "304", "103", "307", "HTML", "HTML 502", "429", "529", "HTTP/1.0"],
)
@pytest.mark.parametrize("body_sent", [STREAM, WHOLE], ids=["stream", "whole"])
async def test_what_is_no_message_passes_as_it_is(body_sent: bytes, sent: bytes, status: int, body: bytes) -> None:
    async with upstream(sends(sent)) as up, proxy(up.toml()) as port:
        got = await ask(port, body_sent)
    assert (got.status, got.body, got.complete) == (status, body, True)
    assert got.interim == []
    for name in (b"retry-after", b"location", b"etag", b"content-type"):
        assert (name in sent) is (name.decode() in got.headers)
    assert up.connections == 1  # not followed, not asked again


async def test_a_compressed_answer_is_read_all_the_same() -> None:
    body = gzip.compress(START + DELTA + END)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    async with upstream(sends(head % len(body) + body)) as up, proxy(up.toml()) as port:
        got = await ask(port, STREAM, headers=("Accept-Encoding: gzip, br",))
    assert (got.body, got.complete) == (START + DELTA + END, True)
    assert "content-encoding" not in got.headers
    assert up.requests[0].header("accept-encoding") == "identity"


# ── what does not pass ──────────────────────────────────────────────────────────────────────────────────────────────

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
HOSTILE = {name: data for name, (_, data) in MALFORMED.items() if len(data) < 10_000} | {
    name: b"POST / HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"\r\n" + body for name, (_, body) in BAD_BODIES.items()
}


async def test_nothing_ambiguous_reaches_the_upstream() -> None:
    async with upstream(echoes) as up, proxy(up.toml("[limits]\nbody = 10")) as port:
        for name, data in HOSTILE.items():
            async with await connect(port) as stream:
                with trio.fail_after(5):
                    await stream.send_all(data.replace(b"Host: x\r\n", b"Host: localhost\r\n") + SMUGGLED)
                    await stream.send_eof()
                    got = await answer(stream)
            assert up.requests == [], name
            assert 400 <= got.status < 600 or got.status == 0, name  # 0: the half-closing client counts as gone
        assert (await ask(port, b"{}")).status == 200


@pytest.mark.parametrize(
    ("toml", "data", "status", "kind"),
    [
        ("head = 1000", request(headers=("X: " + "y" * 1000,)), 431, "invalid_request_error"),
        ("body = 10", request(b"x" * 11), 413, "request_too_large"),
        ("body = 10", b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\nb\r\n", 413, "request_too_large"),
        ('head-timeout = "100ms"', request()[:-2], 408, "timeout_error"),
        ('body-timeout = "100ms"', request(b"{}")[:-1], 408, "timeout_error"),
        ("", b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n", 400, "invalid_request_error"),
    ],
)
async def test_bounds_answer_in_the_clients_words_and_close(toml: str, data: bytes, status: int, kind: str) -> None:
    data = data.replace(b"Host: x\r\n", b"Host: localhost\r\n")
    async with upstream(echoes) as up, proxy(up.toml(f"[limits]\n{toml}")) as port, await connect(port) as stream:
        await stream.send_all(data)
        got = await answer(stream)
        with trio.fail_after(1):
            assert await stream.receive_some() == b""
    assert got.status == status
    assert error(got)["type"] == kind
    assert up.requests == []


async def test_no_request_chooses_the_upstream() -> None:
    async with upstream(echoes) as elsewhere, upstream(echoes) as up, proxy(up.toml()) as port:
        there = f"127.0.0.1:{elsewhere.port}"
        for data in (
            f"GET http://{there}/v1 HTTP/1.1\r\nHost: {there}\r\n\r\n",
            f"GET /v1 HTTP/1.1\r\nHost: {there}\r\nX-Forwarded-Host: {there}\r\nForwarded: host={there}\r\n\r\n",
            f"GET //{there}/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            assert (await exchange(port, data.encode())).status == 200
        body = b'{"model": "x", "api_base": "http://%s", "base_url": "http://%s"}' % (there.encode(), there.encode())
        assert (await ask(port, body)).status == 200
    assert elsewhere.connections == 0
    assert len(up.requests) == 4
    assert {asked.header("host") for asked in up.requests} == {f"127.0.0.1:{up.port}"}


@pytest.mark.parametrize(
    ("toml", "fields", "status"),
    [
        ("", "Host: evil.example", 403),
        ("", "Host: localhost\r\nOrigin: https://evil.example", 403),
        ("", "Host: localhost\r\nOrigin: http://[", 403),
        ("", "Host: localhost\r\nSec-Fetch-Site: cross-site", 403),
        ("", "Host: localhost\r\nOrigin: http://localhost:3000", 200),
        ('hosts = ["evil.example"]', "Host: evil.example", 200),
        ('origins = ["https://evil.example"]', "Host: localhost\r\nOrigin: https://evil.example", 200),
    ],
)
async def test_web_pages_and_rebound_names_are_refused(toml: str, fields: str, status: int) -> None:
    async with upstream(echoes) as up, proxy(up.toml(toml)) as port:
        got = await exchange(port, f"POST /v1/messages HTTP/1.1\r\n{fields}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        assert got.status == status
        assert not any(name.startswith("access-control") for name in got.headers)
        if status == 403:
            assert error(got)["type"] == "permission_error"
            assert up.connections == 0


async def test_a_path_that_no_route_serves_leaves_the_connection_open() -> None:
    toml = '\n[routes]\n"/local" = "up"'
    async with upstream(echoes) as up, proxy(up.toml() + toml) as port, await connect(port) as stream:
        nowhere = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await stream.send_all(nowhere + request(WHOLE, path="/local/v1/messages"))
        assert (await answer_one(stream)).status == 404
        assert (await answer_one(stream)).body == WHOLE
    assert [asked.target for asked in up.requests] == ["/v1/messages"]


# ── the client leaves ───────────────────────────────────────────────────────────────────────────────────────────────


async def silent(line: Line) -> None:
    await line.closed.wait()


async def stops_within_a_stream(line: Line) -> None:
    await line.head()
    await line.chunk(START + DELTA)
    await line.closed.wait()


async def stops_within_a_body(line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
    await line.closed.wait()


async def floods(line: Line) -> None:
    await line.head()
    await line.chunk(START)
    while True:
        await line.chunk(DELTA * 100)  # until it breaks


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    ("script", "method", "path", "body"),
    [
        (silent, "POST", "/v1/messages", STREAM),
        (silent, "POST", "/v1/messages", WHOLE),
        (silent, "GET", "/v1/models", b""),
        (silent, "POST", "/v1/other", WHOLE),
        (stops_within_a_stream, "POST", "/v1/messages", STREAM),
        (stops_within_a_stream, "POST", "/v1/messages", WHOLE),
        (stops_within_a_stream, "POST", "/v1/other", STREAM),
        (stops_within_a_body, "POST", "/v1/messages", WHOLE),
        (stops_within_a_body, "GET", "/v1/models", b""),
        (floods, "POST", "/v1/messages", STREAM),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
async def test_a_client_that_leaves_takes_the_upstream_connection_along(
    script: Script, method: str, path: str, body: bytes, how: str
) -> None:
    begun = trio.Event()

    async def noted(line: Line) -> None:
        begun.set()
        await script(line)

    async with upstream(noted) as up, proxy(up.toml()) as port:
        stream = await connect(port)
        await stream.send_all(request(body, method=method, path=path))
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        if how == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await trio.aclose_forcefully(stream)
        with trio.fail_after(1):
            await up.gone.wait()


async def test_a_client_that_leaves_as_the_proxy_stops_harms_nobody() -> None:
    async with upstream(floods) as up:
        async with proxy(up.toml()) as port:
            stream = await connect(port)
            await stream.send_all(request(STREAM))
            await trio.testing.wait_all_tasks_blocked(0.05)  # until the proxy waits for us to read
            await trio.aclose_forcefully(stream)  # a reset, as there is unread data; and the same moment, the end
        with trio.fail_after(1):
            await up.gone.wait()


async def test_a_client_that_leaves_within_its_upload_takes_the_upstream_connection_along() -> None:
    ended, begun = trio.Event(), trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        try:
            async for _ in stream:
                begun.set()
        except trio.BrokenResourceError:
            pass
        ended.set()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{listener.socket.getsockname()[1]}"\ndialect = "anthropic"'
        async with proxy(toml) as port:
            async with await connect(port) as stream:
                await stream.send_all(b"PUT /files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nfirst")
                await begun.wait()
            with trio.fail_after(1):
                await ended.wait()
        nursery.cancel_scope.cancel()


async def test_a_slow_client_slows_the_upstream() -> None:
    sent = 0

    async def script(line: Line) -> None:
        nonlocal sent
        await line.head()
        await line.chunk(START)
        while True:
            await line.chunk(DELTA * 400)
            sent += len(DELTA) * 400

    async with upstream(script) as up, proxy(up.toml()) as port, await connect(port) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        await stream.send_all(request(STREAM))
        await stream.receive_some()
        with trio.fail_after(20):
            await trio.testing.wait_all_tasks_blocked(0.3)  # nothing moves any more
        stopped_at = sent
        assert stopped_at < 30_000_000  # the kernel's buffers, and a batch a stage
        while sent == stopped_at:  # and on it goes when the client reads
            await stream.receive_some()


# ── the upstream fails ──────────────────────────────────────────────────────────────────────────────────────────────

NO_ANSWER = {
    "closes": (sends(b""), 502, "closed the connection before answering"),
    "resets": (sends(b"", then="reset"), 502, "closed the connection before answering"),
    "stalls": (sends(b"", then="stall"), 504, "did not answer for 0.3 seconds"),
    "cuts its head": (sends(b"HTTP/1.1 200 O"), 502, "closed the connection before answering"),
    "no HTTP": (sends(b"220 smtp ready\r\n\r\n"), 502, "does not speak HTTP/1.1"),
    "100 KiB of headers": (sends(b"HTTP/1.1 200 OK\r\n" + b"x-filler: 0123456789\r\n" * 5000 + b"\r\n"), 502, "HTTP"),
    "101": (sends(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"), 502, "does not speak HTTP/1.1"),
    "only interim answers": (sends(b"HTTP/1.1 103 Hint\r\n\r\n" * 99), 502, "interim"),
}
HASTY = 'first-byte-timeout = "300ms"\nidle-timeout = "300ms"'


@pytest.mark.parametrize("body", [STREAM, WHOLE], ids=["stream", "whole"])
@pytest.mark.parametrize(("script", "status", "message"), NO_ANSWER.values(), ids=NO_ANSWER)
async def test_an_upstream_without_an_answer(script: Script, status: int, message: str, body: bytes) -> None:
    async with upstream(script) as up, proxy(up.toml(upstream=HASTY)) as port:
        got = await ask(port, body)
        assert got.status == status
        found = error(got)
        assert found["type"] == {502: "api_error", 504: "timeout_error"}[status]
        assert message in found["message"]
        assert "'up'" in found["message"]
        assert (up.connections, len(up.requests)) == (1, 1)  # not asked twice


async def test_an_upstream_that_is_not_there() -> None:
    toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{free_port()}"\ndialect = "anthropic"'
    async with proxy(toml) as port:
        for body in (STREAM, WHOLE):
            got = await ask(port, body)
            assert got.status == 502
            assert "cannot be reached: Connection refused" in error(got)["message"]


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


BROKEN_STREAMS = {
    "closes": sends(HEAD + chunk(START + DELTA)),
    "closes within a chunk": sends(HEAD + chunk(START + DELTA) + b"fff\r\nevent: "),
    "closes within an event": sends(HEAD + chunk(START + DELTA + DELTA[:30])),
    "resets": sends(HEAD + chunk(START + DELTA), then="reset"),
    "stalls": sends(HEAD + chunk(START + DELTA), then="stall"),
    "a chunk that is none": sends(HEAD + chunk(START + DELTA) + b"xyz\r\n"),
    "ends well, but not its message": sends(HEAD + chunk(START + DELTA) + b"0\r\n\r\n"),
    "closes, HTTP/1.0": sends(PLAIN + START + DELTA),
    "an event that is too large": sends(HEAD + chunk(START + DELTA) + chunk(b"data: " + b"x" * 5000), then="stall"),
}


@pytest.mark.parametrize("script", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
async def test_a_broken_stream_says_so_and_never_looks_complete(script: Script) -> None:
    async with upstream(script) as up, proxy(up.toml("limits.event = 4096", HASTY)) as port:
        got = await ask(port, STREAM)
    assert got.status == 200
    assert got.body.startswith(START + DELTA)
    assert not got.complete
    assert b"message_stop" not in got.body
    *_, last, rest = got.body.split(b"\n\n")
    assert rest == b""
    name, data = last.split(b"\n")
    assert name == b"event: error"
    assert msgspec.json.decode(data.removeprefix(b"data: "))["error"]["type"] in ("api_error", "timeout_error")


@pytest.mark.parametrize("script", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
async def test_a_broken_stream_is_no_whole_answer(script: Script) -> None:
    async with upstream(script) as up, proxy(up.toml("limits.event = 4096", HASTY)) as port:
        got = await ask(port, WHOLE)
    assert got.status in (502, 504)
    assert error(got)["type"] in ("api_error", "timeout_error")


@pytest.mark.parametrize("then", ["end", "reset", "stall"])
async def test_a_broken_whole_answer(then: str) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (len(MESSAGE) + 1)
    async with upstream(sends(head + MESSAGE, then=then)) as up, proxy(up.toml(upstream=HASTY)) as port:
        got = await ask(port, WHOLE)
    assert got.status == (504 if then == "stall" else 502)
    assert error(got)


@pytest.mark.parametrize("framing", [b"content-length: 99", b"transfer-encoding: chunked"])
@pytest.mark.parametrize("then", ["end", "reset", "stall"])
async def test_what_passes_as_it_is_breaks_as_it_is(framing: bytes, then: str) -> None:
    head = b"HTTP/1.1 500 Oops\r\ncontent-type: text/html\r\n" + framing + b"\r\n\r\n"
    body = b"<html>" if b"length" in framing else chunk(b"<html>")
    async with upstream(sends(head + body, then=then)) as up, proxy(up.toml(upstream=HASTY)) as port:
        got = await ask(port, STREAM)
    assert (got.status, got.body, got.complete) == (500, b"<html>", False)


async def test_a_stray_second_answer_is_never_another_clients() -> None:
    stray = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nSTOLEN"
    script_bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" + stray

    async def script(line: Line) -> None:
        await line.send(script_bytes)

    async with upstream(script) as up, proxy(up.toml()) as port:
        for _ in range(3):
            assert (await ask(port, WHOLE)).body == b"{}"
    assert up.connections == 3


async def test_a_stray_answer_is_not_for_a_client_that_is_slow_to_send() -> None:
    """A pooled connection is taken only when there is something to send on it."""
    stolen = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nSTOLEN"

    async def script(line: Line) -> None:
        await line.whole(line.asked.body, "text/plain")
        if line.asked.body == b"first":
            await slow.wait()
            with suppress(trio.BrokenResourceError):
                await line.send(stolen)

    slow = trio.Event()
    async with upstream(script) as up, proxy(up.toml()) as port:
        assert (await ask(port, b"first", path="/raw")).body == b"first"
        async with await connect(port) as stream:
            await stream.send_all(request(b"second", path="/raw")[:-6])
            await trio.testing.wait_all_tasks_blocked(0.01)
            slow.set()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await stream.send_all(b"second")
            assert (await answer(stream)).body == b"second"


async def test_an_answer_at_once_keeps_the_clients_connection() -> None:
    """However soon it comes: a request that was there whole has been read."""
    async with upstream(echoes) as up, proxy(up.toml()) as port, await connect(port) as stream:
        for _ in range(50):
            await stream.send_all(request(b"hello", path="/raw"))
            got = await answer(stream)
            assert (got.body, got.headers.get("connection")) == (b"hello", None)


async def test_204_has_no_length() -> None:
    async with upstream(sends(b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n")) as up, proxy(up.toml()) as port:
        got = await ask(port, path="/raw")
    assert (got.status, "content-length" in got.headers) == (204, False)


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("body", [STREAM, WHOLE])
async def test_a_whole_answer_that_was_cut_is_no_answer(coding: str, body: bytes) -> None:
    whole = MESSAGE[:-1] + b',"pad":"' + bytes(range(97, 123)) * 20 + b'"}'
    data = (gzip.compress(whole) if coding == "gzip" else whole)[:-20]
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: {coding}\r\n\r\n"
    async with upstream(sends(head.encode() + data)) as up, proxy(up.toml()) as port:
        got = await ask(port, body)
    assert got.status == 502
    assert error(got)["type"] == "api_error"


@pytest.mark.parametrize(
    "whole", [b'{"error":{"message":"quota exceeded"}}', b'{"error":"quota exceeded"}', b"{}", b"[]"]
)
async def test_json_that_is_no_message_is_no_stream(whole: bytes) -> None:
    async def script(line: Line) -> None:
        await line.whole(whole)

    async with upstream(script) as up, proxy(up.toml()) as port:
        streamed = await ask(port, STREAM)
        plain = await ask(port, WHOLE)
    assert streamed.status == 502
    assert ("quota exceeded" in error(streamed)["message"]) is (b"quota" in whole)
    if b"error" in whole:
        assert (plain.status, error(plain)["message"]) == (502, "quota exceeded")  # an error is no 200 (hazard H110)
    else:
        assert (plain.status, plain.body) == (200, whole)  # a client that wanted a body gets the upstream's very own


async def test_a_content_coding_we_cannot_read() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx"
    async with upstream(sends(head)) as up, proxy(up.toml()) as port:
        got = await ask(port, STREAM)
    assert (got.status, "'br'" in error(got)["message"]) == (502, True)


# ── the upstream is silent ──────────────────────────────────────────────────────────────────────────────────────────

PINGS = 'stages.keepalive.after = "1200ms"'
NO_PINGS = 'stages.keepalive.after = "1h"'
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def late(data: bytes, *, seconds: float = 1.3, then: str = "end") -> Script:
    """An upstream that is silent beyond the proxy's patience (1 s), then sends this."""

    async def script(line: Line) -> None:
        await trio.sleep(seconds)  # this is the silence under test
        await sends(data, then=then)(line)

    return script


ERROR_BODY = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
LATE_ERROR = (
    b"HTTP/1.1 529 Overloaded\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: %d\r\n\r\n"
    % len(ERROR_BODY)
) + ERROR_BODY
LATE_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(MESSAGE) + MESSAGE

# script, more of the file, status, how the body begins, what it holds, whether it is complete
LATE: dict[str, tuple[Script, str, int, bytes, bytes, bool]] = {
    "a stream, after a ping": (
        late(HEAD + chunk(START + DELTA + END) + b"0\r\n\r\n"),
        PINGS,
        200,
        PING + START,
        b"message_stop",
        True,
    ),
    "a stream, before any ping": (
        late(HEAD + chunk(START + DELTA + END) + b"0\r\n\r\n"),
        NO_PINGS,
        200,
        START + DELTA + END,
        b"message_stop",
        True,
    ),
    "an error, before any ping": (late(LATE_ERROR), NO_PINGS, 529, ERROR_BODY, b"Overloaded", True),
    "an error, after a ping": (late(LATE_ERROR), PINGS, 200, PING + b"event: error\n", b"Overloaded", False),
    "a broken error, before any ping": (late(LATE_ERROR[:-9]), NO_PINGS, 529, ERROR_BODY[:-9], b"", False),
    "a broken error, after a ping": (late(LATE_ERROR[:-9]), PINGS, 200, PING + b"event: error\n", b"", False),
    "a whole answer, before any ping": (
        late(LATE_WHOLE),
        NO_PINGS,
        200,
        b"event: message_start\n",
        b"message_stop",
        True,
    ),
    "a whole answer, after a ping": (
        late(LATE_WHOLE),
        PINGS,
        200,
        PING + b"event: message_start\n",
        b"message_stop",
        True,
    ),
    "no answer, before any ping": (late(b""), NO_PINGS, 502, b'{"type":"error"', b"before answering", True),
    "no answer, after a ping": (late(b""), PINGS, 200, PING + b"event: error\n", b"before answering", False),
    "HTML, after a ping": (
        late(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"),
        PINGS,
        200,
        PING + b"event: error\n",
        b"no stream of events",
        False,
    ),
    "nothing for too long, before any ping": (
        late(b"", then="stall"),
        NO_PINGS,
        504,
        b'{"type":"error"',
        b"did not answer",
        True,
    ),
}


async def test_answers_that_come_late() -> None:
    # All at once: each has to be silent for longer than the proxy's patience.
    async def check(name: str) -> None:
        script, more, status, begins, holds, complete = LATE[name]
        own = 'first-byte-timeout = "1500ms"' if "for too long" in name else ""
        async with upstream(script) as up, proxy(up.toml(more, own)) as port:
            with trio.fail_after(8):
                got = await ask(port, STREAM)
        assert (name, got.status, got.complete) == (name, status, complete)
        assert got.body.startswith(begins), (name, got.body)
        assert holds in got.body, (name, got.body)
        assert ("retry-after" in got.headers) is (got.status == 529), name
        stream = got.headers["content-type"].startswith("text/event-stream")
        assert stream is (status == 200), name

    async with trio.open_nursery() as nursery:
        for name in LATE:
            nursery.start_soon(check, name)


async def test_an_upstream_that_is_merely_slow_keeps_its_headers() -> None:
    """What came late but before any ping is answered as if nothing had happened."""
    head = HEAD.replace(b"\r\n\r\n", b"\r\nrequest-id: req_1\r\nset-cookie: a=1\r\n\r\n")
    script = late(head + chunk(START + DELTA + END) + b"0\r\n\r\n")
    async with upstream(script) as up, proxy(up.toml(NO_PINGS)) as port:
        got = await ask(port, STREAM)
    assert got.body == START + DELTA + END
    assert (got.headers["request-id"], got.headers["set-cookie"]) == ("req_1", "a=1")


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    logger = logging.getLogger("trioproxy")
    before = logger.handlers[:], logger.level, logger.propagate
    out = io.StringIO()
    log.set_up("debug", "json", out, colour=False)
    yield out
    logger.handlers[:], logger.level, logger.propagate = before


SECRETS = ("X-Api-Key: sk-secret-1", "Authorization: Bearer sk-secret-2", "Cookie: sk-secret-3")


@pytest.mark.parametrize(
    ("script", "body", "facts"),
    [
        (streams, STREAM, {"status": 200, "end": "complete", "model": "claude", "events_in": 6, "events_out": 6}),
        (sends(LATE_WHOLE), WHOLE, {"status": 200, "end": "complete"}),
        (sends(LATE_ERROR), WHOLE, {"status": 529, "end": "failed: the upstream answered 529"}),
        (sends(b""), STREAM, {"status": 502}),
        (sends(b"HTTP/1.1 200 OK\r\nx-api-key : sk-secret-4\r\n\r\n"), STREAM, {"status": 502}),
        (BROKEN_STREAMS["closes"], STREAM, {"status": 200}),
    ],
    ids=["stream", "whole", "error", "no answer", "no HTTP", "broken"],
)
async def test_one_line_for_each_exchange_and_no_secrets(
    logged: io.StringIO, script: Script, body: bytes, facts: dict[str, object]
) -> None:
    async with upstream(script) as up, proxy(up.toml(upstream='token = "sk-secret-5"')) as port:
        got = await ask(port, body, path="/v1/messages?key=sk-secret-6", headers=SECRETS)
    (line,) = map(msgspec.json.decode, logged.getvalue().splitlines())
    assert "sk-secret" not in logged.getvalue()
    assert line["id"] == got.headers["x-trioproxy-id"]
    assert (line["method"], line["path"], line["upstream"]) == ("POST", "/v1/messages", "up")
    assert line["bytes_up"] == len(body)
    assert line["bytes_out"] == len(got.body)
    assert line["seconds"] >= 0
    assert facts.items() <= line.items()
    if "end" not in facts:
        assert line["end"].startswith("failed: upstream") or line["end"].startswith("failed: the upstream")


async def test_a_client_that_left_and_one_that_was_refused_are_logged(logged: io.StringIO) -> None:
    async with upstream(stops_within_a_stream) as up, proxy(up.toml()) as port:
        async with await connect(port) as stream:
            await stream.send_all(request(STREAM, headers=SECRETS))
            await stream.receive_some()
        await up.gone.wait()
        bad = b"POST /?key=sk-secret HTTP/1.1\r\nHost: x\r\nx-api-key : sk-secret\r\n\r\n"
        assert (await exchange(port, bad)).status == 400
    left, refused = map(msgspec.json.decode, logged.getvalue().splitlines())
    assert left["end"] == "client left"
    assert (refused["status"], refused["end"]) == (400, "refused: the request is not valid HTTP: illegal header line")
    assert "sk-secret" not in logged.getvalue()


# ── anything at all ─────────────────────────────────────────────────────────────────────────────────────────────────

ANSWERS = st.sampled_from(
    [
        *(HEAD, PLAIN, LATE_WHOLE, LATE_ERROR, b"HTTP/1.1 100 Go\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n"),
        *(b"HTTP/1.1 200 OK\r\n", b"content-type: text/event-stream\r\n", b"content-type: application/json\r\n"),
        *(b"content-length: 9\r\n", b"content-encoding: gzip\r\n", b"\r\n", b"\r\n\r\n"),
        *(chunk(START), chunk(DELTA), chunk(END), b"0\r\n\r\n", b"fff\r\n"),
        *(START, DELTA, END, b"data: {", b"event: message_stop\ndata: 1\n\n"),
    ]
)
some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@some
@given(
    pieces=st.lists(ANSWERS | st.binary(max_size=20), max_size=8), body=st.sampled_from([STREAM, WHOLE, b"{}", b"x"])
)
async def test_any_bytes_of_an_upstream_end_in_an_answer(pieces: list[bytes], body: bytes) -> None:
    async with upstream(sends(b"".join(pieces))) as up, proxy(up.toml()) as port:
        with trio.fail_after(5):
            got = await ask(port, body)
        assert 200 <= got.status < 1000
        if got.complete and got.status == 200 and got.headers.get("content-type", "").startswith("text/event-stream"):
            assert b"event: message_stop" in got.body or b"event: error" in got.body or b"event: " not in got.body
        with trio.fail_after(5):  # and the proxy still lives
            assert (await ask(port, b"", method="GET", path="/%00")).status


@some
@given(
    pieces=st.lists(
        st.sampled_from([request(STREAM), request(WHOLE)[:-3], SMUGGLED, *HOSTILE.values(), b"\r\n"])
        | st.binary(max_size=20),
        max_size=5,
    )
)
async def test_any_bytes_of_a_client_harm_nobody(pieces: list[bytes]) -> None:
    async with upstream(streams) as up, proxy(up.toml()) as port:
        async with await connect(port) as stream:
            with trio.fail_after(5):
                try:
                    await stream.send_all(b"".join(pieces))
                    await stream.send_eof()
                    async for _ in stream:
                        pass
                except trio.BrokenResourceError:
                    pass  # it had enough of us
        with trio.fail_after(5):
            assert (await ask(port, STREAM)).complete


# ── request stages ──────────────────────────────────────────────────────────────────────────────────────────────────

STAGES = """
from trioproxy import *

class Answers(Stage[Request, Request | Event]):
    def feed(self, request):
        if request.max_tokens != 1:
            yield request
            return
        yield MessageStart("msg_local", request.model)
        yield BlockStart(0, Text())
        yield TextDelta(0, "ok")
        yield BlockStop(0)
        yield MessageDelta("max_tokens")
        yield MessageStop()

class Renames(Stage[Request, Request]):
    def feed(self, request):
        yield replace(request, model="other")

class Refuses(Stage[Request, Request | Error]):
    def feed(self, request):
        yield Error("permission", "not today", 403)

class Loses(Stage[Request, Request]):
    def feed(self, request):
        return ()

class Fails(Stage[Event, Event]):
    def feed(self, event):
        raise ValueError("a secret of the stage")
"""


def staged(tmp_path: Path, request_stage: str = "", response_stage: str = "") -> str:
    """A configuration with stages of a module beside it, of a name that no other test has imported."""
    module = f"stages_of_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(STAGES)
    request = f'["{module}:{request_stage}"]' if request_stage else "[]"
    between = f'"{module}:{response_stage}", ' if response_stage else ""
    return f'[pipeline]\nrequest = {request}\nresponse = ["deframe", "parse", {between}"translate", "reframe"]\n'


async def test_a_request_stage_answers_itself_streaming_or_not(tmp_path: Path) -> None:
    toml = staged(tmp_path, "Answers")
    async with upstream(streams) as up, proxy(up.toml(toml), directory=tmp_path) as port:
        streamed = await ask(port, b'{"model":"m","messages":[],"max_tokens":1,"stream":true}')
        whole = await ask(port, b'{"model":"m","messages":[],"max_tokens":1}')
        assert up.requests == []
        body = b'{"model":"m",  "messages":[], "max_tokens":2, "stream":true}'
        passed = await ask(port, body)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.complete
    judge(streamed.body)
    assert b'"text":"ok"' in streamed.body
    assert msgspec.json.decode(whole.body)["content"] == [{"type": "text", "text": "ok"}]
    assert msgspec.json.decode(whole.body)["stop_reason"] == "max_tokens"
    assert passed.body == START + DELTA + END
    assert up.requests[0].body == body  # untouched: the very bytes


async def test_a_request_stage_changes_the_request(tmp_path: Path) -> None:
    toml = staged(tmp_path, "Renames")
    async with upstream(streams) as up, proxy(up.toml(toml), directory=tmp_path) as port:
        await ask(
            port, b'{"model":"m","messages":[{"role":"user","content":"hi","new":1}],"stream":true,"odd":{"a":1}}'
        )
    sent = msgspec.json.decode(up.requests[0].body)
    assert sent == {
        "model": "other",
        "messages": [{"role": "user", "content": "hi", "new": 1}],
        "stream": True,
        "odd": {"a": 1},
    }


@pytest.mark.parametrize(
    ("stage", "body", "status", "says"),
    [
        ("Refuses", b'{"model":"m","messages":[]}', 403, ("permission_error", "not today")),
        ("Loses", b'{"model":"m","messages":[]}', 500, ("api_error", "internal error in the proxy")),
        ("Answers", b'{"model":', 400, ("invalid_request_error", "not a Messages request")),
        ("Answers", b'{"model":"m"}', 400, ("invalid_request_error", "missing required field `messages`")),
    ],
)
async def test_a_request_stage_that_gives_no_request(
    tmp_path: Path, stage: str, body: bytes, status: int, says: tuple[str, str]
) -> None:
    toml = staged(tmp_path, stage)
    async with upstream(streams) as up, proxy(up.toml(toml), directory=tmp_path) as port:
        got = await ask(port, body)
    assert got.status == status
    assert error(got)["type"] == says[0]
    assert says[1] in error(got)["message"]
    assert up.requests == []


async def test_a_stage_that_raises_is_named_to_the_client_and_shown_in_the_log_only(
    tmp_path: Path, logged: io.StringIO
) -> None:
    toml = staged(tmp_path, response_stage="Fails")
    async with upstream(streams) as up, proxy(up.toml(toml), directory=tmp_path) as port:
        got = await ask(port, STREAM)
        assert (await ask(port, path="/v1/models")).status == 200  # and the server goes on
    assert got.status == 500
    assert error(got)["message"] == f"stage 'stages_of_{tmp_path.name}:Fails' failed"
    assert "a secret of the stage" in logged.getvalue()


BAD_STAGES = """
from trioproxy import *

class Quits(Stage[Event, Event]):
    def feed(self, event):
        raise SystemExit(3)

class Odd(Stage[Event, Event | Error]):
    def feed(self, event):
        yield Error("internal", "half a pair: \\ud800", 1000)
"""


@pytest.mark.parametrize(("stage", "says"), [("Quits", "Quits' failed"), ("Odd", "half a pair: ?")])
async def test_a_stage_that_means_it_badly_harms_nobody_else(tmp_path: Path, stage: str, says: str) -> None:
    module = f"stages_of_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(BAD_STAGES)
    toml = f'[pipeline]\nresponse = ["deframe", "parse", "{module}:{stage}", "translate", "reframe"]'
    async with upstream(streams) as up, proxy(up.toml(toml), directory=tmp_path) as port:
        got = await ask(port, STREAM)
        assert (await ask(port, path="/v1/models")).status == 200
    assert got.status == 500
    assert error(got)["message"].endswith(says)


# ── either side busy ────────────────────────────────────────────────────────────────────────────────────────────────


async def ask_while_sending(port: int, data: bytes) -> Answer:
    """As clients do that notice an early answer."""
    async with await connect(port) as stream, trio.open_nursery() as nursery:

        async def send() -> None:
            with suppress(trio.BrokenResourceError):  # the server closes once it has answered
                await stream.send_all(data)

        nursery.start_soon(send)
        got = await answer(stream)
        nursery.cancel_scope.cancel()
    return got


async def test_an_upstream_that_answers_before_it_has_read_all() -> None:
    """It refuses a large body unread, and stops reading: the client must not wait for it to go on."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def refuse(stream: trio.SocketStream) -> None:
            await stream.receive_some(10)
            await stream.send_all(b"HTTP/1.1 413 No\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nbig")
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, refuse, listeners)
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"'
        async with proxy(toml) as port:
            for path in ("/v1/messages", "/v1/files"):
                with trio.fail_after(5):
                    got = await ask_while_sending(port, request(b" " * 20_000_000, path=path))
                assert (got.status, got.body) == (413, b"big")
        nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_while_its_upload_is_stuck() -> None:
    """Nobody reads the client then: its bytes stand before its end."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        reached, closed = trio.Event(), trio.Event()

        async def stuck(stream: trio.SocketStream) -> None:
            reached.set()
            await proceed.wait()
            while True:
                try:
                    if not await stream.receive_some(1 << 20):
                        break
                except trio.BrokenResourceError:
                    break
            closed.set()

        proceed = trio.Event()
        nursery.start_soon(trio.serve_listeners, stuck, listeners)
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"'
        async with proxy(toml) as port, await connect(port) as stream:
            head = b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000000\r\n\r\n"
            with trio.move_on_after(1):
                await stream.send_all(head + b" " * 60_000_000)
            await reached.wait()
            await stream.aclose()
            await trio.sleep(1)  # the proxy has a second to notice
            proceed.set()
            with trio.fail_after(2):
                await closed.wait()
        nursery.cancel_scope.cancel()


# ── what is left behind ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dialect", ["anthropic", "openai-chat"])
@pytest.mark.parametrize("fails", [False, True], ids=["the client leaves", "the upstream fails"])
async def test_requests_that_came_to_nothing_do_not_pile_up(dialect: str, fails: bool) -> None:
    """They may be many megabytes each, and the garbage collector counts objects."""

    async def script(line: Line) -> None:
        if fails:
            line.reset()
        else:
            await line.closed.wait()

    def alive() -> int:
        return sum(type(each) in (Conversation, Request) for each in gc.get_objects())

    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 8 * 1024 * 1024)
    gc.collect()
    before, running = alive(), gc.isenabled()
    gc.disable()
    try:
        async with upstream(script) as up, proxy(up.toml().replace('"anthropic"', f'"{dialect}"')) as port:
            for _ in range(6):
                stream = await connect(port)
                await stream.send_all(request(body))
                if fails:
                    await stream.receive_some()
                await stream.aclose()
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert alive() - before < 2 * 6
    finally:
        if running:
            gc.enable()
