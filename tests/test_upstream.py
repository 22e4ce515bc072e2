from __future__ import annotations

import pytest

from tests.peers import Line, ask, proxy, upstream
from trioproxy.upstream import Kind, kind_of


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
    ],
)
async def test_the_path_of_the_url_goes_in_front_and_v1_is_not_doubled(base: str, path: str, target: str) -> None:
    async with upstream(answers) as up:
        toml = f'[upstreams.up]\nurl = "http://127.0.0.1:{up.port}{base}"'
        async with proxy(toml) as port:
            await ask(port, path=path)
    assert up.requests[0].target == target


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
