from __future__ import annotations

import pytest

from tests.peers import Line, ask, proxy, upstream
from trioproxy.upstream import Kind, kind_of, token_of


async def answers(line: Line) -> None:
    await line.whole(b"{}")


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        ("", "/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/", "/v1/messages", "/v1/messages"),
        ("/v1", "/v1/messages", "/v1/messages"),
        ("/v1/", "/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/api/v1", "/v1/models", "/api/v1/models"),
        ("/api", "/v1/models?", "/api/v1/models?"),
        ("/v1", "/v10", "/v1/v10"),
        ("/v1/account/anthropic", "/v1/messages", "/v1/account/anthropic/v1/messages"),
    ],
)
async def test_the_path_of_the_url_goes_in_front_and_v1_is_not_doubled(base: str, path: str, target: str) -> None:
    async with upstream(answers) as up:
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{up.port}{base}"'
        async with proxy(toml) as port:
            await ask(port, path=path)
    assert up.requests[0].target == target


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/openai/v1/", "/openai/v1/chat/completions"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/v1/account/gateway/openai", "/v1/account/gateway/openai/chat/completions"),
        ("/proxy", "/proxy/v1/chat/completions"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/v1/chat/completions", "/chat/completions"])
async def test_h145b_the_base_urls_of_chat_upstreams(base: str, target: str, path: str) -> None:
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
    async with upstream(answers) as up:
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{up.port}{base}"\ndialect = "openai-chat"'
        async with proxy(toml) as port:
            await ask(port, body, path=path)
    assert up.requests[0].target == target


async def test_what_of_a_clients_header_reaches_another_dialect() -> None:
    sent = (
        "User-Agent: me",
        "traceparent: 00-1",
        "anthropic-beta: x",
        "x-stainless-os: y",
        "cookie: z",
        "x-api-key: k",
    )
    async with upstream(answers) as up:
        toml = (
            f'[upstreams.up]\nurl = "http://127.0.0.1:{up.port}"\ndialect = "openai-chat"\nheaders = {{ x-team = "a" }}'
        )
        async with proxy(toml) as port:
            body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
            await ask(port, body, headers=sent)
    assert {name for name, _ in up.requests[0].headers} == {
        *("host", "user-agent", "traceparent", "accept", "accept-encoding"),
        *("content-type", "content-length", "authorization", "x-team"),
    }


async def test_an_answer_we_have_to_read_is_asked_for_without_coding() -> None:
    async with upstream(answers) as up, proxy(up.toml()) as port:
        for path in ("/v1/messages", "/v1/models"):
            await ask(port, path=path, headers=("Accept-Encoding: br",))
    assert [asked.header("accept-encoding") for asked in up.requests] == ["identity", "br"]


@pytest.mark.parametrize(
    ("content_type", "asked", "kind"),
    [
        ("text/event-stream; charset=utf-8", "whole", "stream"),
        ("Application/JSON", "stream", "whole"),
        ("", "stream", "stream"),
        ("", "whole", "whole"),
        ("text/html", "stream", None),
    ],
)
def test_kind_of(content_type: str, asked: Kind, kind: Kind | None) -> None:
    headers = [(b"content-type", content_type.encode())] if content_type else []
    assert kind_of(headers, asked=asked) == kind


def test_a_clients_token_in_either_form() -> None:
    assert token_of([(b"x-api-key", b" k ")]) == "k"
    assert token_of([(b"authorization", b"bearer  k")]) == "k"
    assert token_of([(b"authorization", b"Basic eA==")]) is None
    assert token_of([(b"x-api-key", "ü".encode())]) is None
    assert token_of([]) is None


@pytest.mark.parametrize(
    ("own", "asked", "target"),
    [
        ("?api-version=2", "", "/v1/messages?api-version=2"),
        ("?api-version=2", "?beta=true", "/v1/messages?api-version=2&beta=true"),
        ("?api-version=2&x", "?a&api-version=1&%78=y&b", "/v1/messages?api-version=2&x&a&b"),
        ("?a", "?", "/v1/messages?a"),
        ("?", "?", "/v1/messages?"),
    ],
)
async def test_the_query_of_the_url_stands_above_the_clients(own: str, asked: str, target: str) -> None:
    async with upstream(answers) as up:
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{up.port}/v1/{own}"'
        async with proxy(toml) as port:
            await ask(port, path=f"/v1/messages{asked}")
    assert up.requests[0].target == target


@pytest.mark.parametrize("dialect", ["anthropic", "openai-chat"])
async def test_fields_that_are_taken_out(dialect: str) -> None:
    sent = ("User-Agent: me", "X-Foo: a", "x-foo: b", "X-Bar: c")
    own = 'token = "t"\nremove-headers = ["X-Foo", "user-agent", "accept"]'
    async with upstream(answers) as up:
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{up.port}"\ndialect = "{dialect}"\n{own}'
        async with proxy(toml) as port:
            body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
            await ask(port, body, headers=(*sent, "Accept: */*"))
    names = {name for name, _ in up.requests[0].headers}
    assert not names & {"x-foo", "user-agent", "accept"}
    assert names & {"x-api-key", "authorization"}
    assert ("x-bar" in names) == (dialect == "anthropic")
