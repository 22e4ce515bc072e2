"""Over sockets: who is let in, in which words others are turned away, and that no token of ours reaches an upstream."""

from pathlib import Path

import msgspec
import pytest

from tests.peers import Line, Upstream, ask, proxy, upstream
from tests.test_proxy import STREAM, streams

ALICE, BOB, KEY, OTHER = "sk-canary-of-alice-1", "sk-canary-of-bob-123", "sk-canary-of-upstream", "sk-canary-unknown-1"
CLIENTS = f'[clients]\nalice = "{ALICE}"\nbob = "{BOB}"\n'


def toml(up: Upstream, route: str = "", own: str = "", dialect: str = "anthropic") -> str:
    return f"""
{CLIENTS}
[upstreams.up]
url = "http://127.0.0.1:{up.port}"
dialect = "{dialect}"
{own}
[routes]
"/" = {{ upstream = "up"{route} }}
"""


def shown(up: Upstream) -> list[str]:
    """The values of all fields that the upstream has seen."""
    return [value for asked in up.requests for _, value in asked.headers]


@pytest.mark.parametrize("field", [f"x-api-key: {ALICE}", f"api-key: {ALICE}", f"Authorization: Bearer {ALICE}"])
@pytest.mark.parametrize("own", ["", f'token = "{KEY}"'])
@pytest.mark.parametrize("response", ["", ", response = []"])
async def test_a_clients_token_lets_it_in_and_goes_no_further(
    field: str, own: str, response: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trioproxy.access")
    async with upstream(streams) as up, proxy(toml(up, response, own)) as port:
        got = await ask(port, STREAM, headers=(field, f"X-Api-Key: {OTHER}", "Cookie: session=canary"))
        beside = await ask(port, method="GET", path="/v1/files", headers=(field,))
    assert (got.status, got.complete, beside.status) == (200, True, 200)
    assert not [value for value in shown(up) if "canary" in value and value != KEY]
    assert [asked.header("x-api-key") for asked in up.requests] == ([KEY] * 2 if own else [None] * 2)
    assert [record.exchange["client"] for record in caplog.records if hasattr(record, "exchange")] == ["alice"] * 2


ASKED = ["/v1/messages", "/v1/chat/completions", "/v1/responses"]


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("dialect", ["anthropic", "openai-chat", "openai-responses"])
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ((), "a token is needed: send x-api-key: TOKEN or authorization: Bearer TOKEN"),
        ((f"x-api-key: {OTHER}",), "the token is none that may ask here"),
    ],
)
async def test_others_are_turned_away_in_their_own_words(
    path: str, dialect: str, fields: tuple[str, ...], told: str
) -> None:
    async with upstream(streams) as up, proxy(toml(up, dialect=dialect)) as port:
        got = await ask(port, STREAM, path=path, headers=fields)
    error = msgspec.json.decode(got.body)["error"]
    assert (got.status, got.headers["www-authenticate"], error["message"]) == (401, "Bearer", told)
    assert got.headers["x-should-retry"] == "false"  # else Claude Code goes on for minutes
    assert error["type"] == "authentication_error" if path == "/v1/messages" else error["code"] == "invalid_api_key"
    assert up.requests == []
    assert OTHER.encode() not in got.body


@pytest.mark.parametrize("path", ["/v1/models", "/", "/v1/messages/count_tokens", "/api/hello", "/whatever"])
async def test_nothing_is_answered_to_others(path: str) -> None:
    async with upstream(streams) as up, proxy(toml(up, dialect="openai-chat")) as port:
        for method in ("GET", "POST"):
            assert (await ask(port, method=method, path=path)).status == 401
    assert up.connections == 0


async def test_a_token_in_the_url_is_refused_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with upstream(streams) as up, proxy(toml(up)) as port:
        got = await ask(port, STREAM, path=f"/v1/messages?key={ALICE}", headers=(f"x-api-key: {ALICE}",))
    assert got.status == 400
    assert b"ends up in logs" in got.body
    assert up.requests == []
    assert ALICE not in got.body.decode() + caplog.text + str([vars(record) for record in caplog.records])


async def test_routes_ask_for_their_own_clients() -> None:
    routes = """
"/bob" = { upstream = "up", clients = ["bob"] }
"/free" = { upstream = "up", allow-anonymous = true }
"""
    async with upstream(streams) as up, proxy(toml(up) + routes) as port:
        for path, token, status in [
            ("/v1/messages", ALICE, 200),
            ("/bob/v1/messages", ALICE, 401),
            ("/bob/v1/messages", BOB, 200),
            ("/free/v1/messages", OTHER, 200),
        ]:
            assert (await ask(port, STREAM, path=path, headers=(f"x-api-key: {token}",))).status == status
    assert [asked.header("x-api-key") for asked in up.requests] == [None, None, OTHER]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_forwarded_credentials_are_those_that_are_not_ours(path: str) -> None:
    forward = ", forward-credentials = true"
    fields = (f"x-api-key: {ALICE}", f"Authorization: Bearer {OTHER}")
    body = b'{"model": "m", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}'
    async with upstream(streams) as up, proxy(toml(up, forward)) as port:
        assert (await ask(port, body, path=path, headers=fields)).status == 200
    [asked] = up.requests
    assert OTHER in (asked.header("authorization") or "") + (asked.header("x-api-key") or "")
    assert not [value for value in shown(up) if ALICE in value]


@pytest.mark.parametrize("response", ["", ", response = []"])
async def test_a_route_that_asks_nobody_can_keep_credentials_here(response: str) -> None:
    access = f"{response}, allow-anonymous = true, forward-credentials = false"
    fields = (f"x-api-key: {OTHER}", f"Authorization: Bearer {OTHER}", f"api-key: {OTHER}", f"Cookie: a={OTHER}")
    async with upstream(streams) as up, proxy(toml(up, access)) as port:
        assert (await ask(port, STREAM, headers=fields)).status == 200
    assert not [value for value in shown(up) if OTHER in value]


async def test_where_the_upstream_has_a_token_no_other_credentials_go_there() -> None:
    fields = (f"x-api-key: {OTHER}", f"Authorization: Bearer {OTHER}", f"api-key: {OTHER}", f"Cookie: a={OTHER}")
    access = ", allow-anonymous = true"
    async with upstream(streams) as up, proxy(toml(up, access, f'token = "{KEY}"')) as port:
        assert (await ask(port, STREAM, headers=fields)).status == 200
        assert (await ask(port, method="GET", path="/v1/files", headers=fields)).status == 200
    assert not [value for value in shown(up) if OTHER in value]


async def test_a_client_of_openai_reads_its_own_listing_with_a_token_of_ours() -> None:
    async def listing(line: Line) -> None:
        await line.whole(b'{"data": [{"type": "model", "id": "m", "display_name": "M"}], "has_more": false}')

    async with upstream(listing) as up, proxy(toml(up)) as port:
        got = await ask(port, method="GET", path="/v1/models", headers=(f"Authorization: Bearer {ALICE}",))
    assert got.status == 200
    assert msgspec.json.decode(got.body)["object"] == "list"


async def test_clients_do_not_share_what_is_kept_for_them(tmp_path: Path) -> None:
    """Responses that are kept by their id: another client's token does not find them."""
    chat = b'{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'

    async def answers(line: Line) -> None:
        await line.whole(chat)

    pipeline = """
[pipeline]
request = ["replay-responses"]
response = ["deframe", "parse", "translate", "remember-responses", "reframe"]
"""
    async with upstream(answers) as up, proxy(toml(up, dialect="openai-chat") + pipeline) as port:
        alice, bob = (f"Authorization: Bearer {ALICE}",), (f"Authorization: Bearer {BOB}",)
        got = await ask(port, b'{"model": "m", "input": "x"}', path="/v1/responses", headers=alice)
        where = f"/v1/responses/{msgspec.json.decode(got.body)['id']}"
        assert (await ask(port, method="GET", path=where, headers=alice)).status == 200
        assert (await ask(port, method="GET", path=where, headers=(f"x-api-key: {ALICE}",))).status == 200
        assert (await ask(port, method="GET", path=where, headers=bob)).status == 404


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("allow-anonymous = true", [f"authorization: Bearer {ALICE}", f"x-api-key: {BOB}", f"api-key: tp-{'x' * 43}"]),
        (
            'clients = ["alice"], forward-credentials = true',
            [f"x-api-key: {ALICE}", f"api-key: {BOB}", f"authorization: Basic {ALICE}"],
        ),
    ],
)
async def test_a_token_of_ours_reaches_no_upstream_by_a_route_that_it_is_not_for(route: str, fields: list[str]) -> None:
    async with upstream(streams) as up, proxy(toml(up, f", {route}")) as port:
        got = await ask(port, STREAM, headers=(*fields, "authorization: Bearer sk-own"))
    assert got.status == 200
    kept = [value for name, value in up.requests[0].headers if name in ("authorization", "x-api-key", "api-key")]
    assert kept == ["Bearer sk-own"]
