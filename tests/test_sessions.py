"""Where a request's session is said, and the routes that have it in their paths: by themselves, and over sockets."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.anthropic import texts
from tests.peers import Asked, Line, Upstream, ask, proxy, upstream
from tests.test_translation import A_HEADERS, C_HEADERS, CHAT, body, chat_upstream, messages_upstream, sent, toml
from trioproxy import config, log
from trioproxy.endpoints import COUNT, MODELS
from trioproxy.sessions import in_headers, in_metadata, in_path, is_session

A, C = "/v1/messages", CHAT
ENDPOINTS = [A, C, "/chat/completions", MODELS, f"{MODELS}/m", COUNT, "/v1/embeddings", "/api/event_logging/batch"]
UUID = "01234567-89ab-cdef-0123-456789abcdef"
JSON_USER = msgspec.json.encode({"device_id": "d", "account_uuid": "", "session_id": UUID}).decode()
OLD_USER = f"user_{'0' * 64}_account__session_{UUID}"

unhurried = settings(deadline=None)  # a busy machine is no failure
IDS = st.from_regex(r"[A-Za-z0-9._~:@-]{1,128}", fullmatch=True).filter(lambda text: text not in (".", ".."))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=5,
)


# ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["a", "A.b_c~d:e@f-0", "...", "x" * 128, UUID])
def test_what_is_an_id(text: str) -> None:
    assert is_session(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "x" * 129, "a b", "a/b", "a\n", "ä", "a%40", "{session}", "a\0", "a,b"]
)
def test_what_is_none(text: str) -> None:
    assert not is_session(text)


@pytest.mark.parametrize(
    ("stem", "path", "found"),
    [
        ("", "/s/v1/messages", ("s", A)),
        ("", "/a%40b/v1/models", ("a@b", MODELS)),
        ("", "/a%2Fb/v1/models", ("a/b", MODELS)),
        ("", "/%ff/v1/models", ("\ufffd", MODELS)),
        ("", "/x+y/v1/messages/", ("x+y", "/v1/messages/")),
        ("/local", "/local/s/v1/messages", ("s", A)),
        ("/local", "/locals/s/v1/messages", None),
        ("/local", "/s/v1/messages", None),
        ("", "/v1/messages", None),
        ("", "//v1/messages", None),
        ("", "/s//v1/messages", None),
        ("", "/s/x/v1/messages", None),
        ("", "/favicon.ico", None),
        ("", "/s", None),
        ("", "/s/", None),
        ("", "/a/b", None),
        *(("", f"/{ours}/v1/messages", None) for ours in ("v1", "chat", "api", "%761")),
    ],
)
def test_what_a_path_says(stem: str, path: str, found: tuple[str, str] | None) -> None:
    assert in_path(stem, path) == found


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_is_there_within_a_session(endpoint: str) -> None:
    assert in_path("", f"/s{endpoint}") == ("s", endpoint)


def test_headers() -> None:
    claude, codex, older = (b"x-claude-code-session-id", b"c"), (b"session-id", b"x"), (b"session_id", b"o")
    assert in_headers([(b"host", b"h")]) == ""
    assert in_headers([older, codex, claude]) == "c"
    assert in_headers([older, codex]) == "x"
    assert in_headers([older]) == "o"


@pytest.mark.parametrize("value", [b"", b"a b", b"a\xff", b"x" * 129, b".."])
def test_a_header_that_is_no_id_says_nothing(value: bytes) -> None:
    name = b"x-claude-code-session-id"
    assert in_headers([(name, value)]) == ""
    assert in_headers([(name, b"a"), (name, b"b")]) == ""
    assert in_headers([(name, value), (b"session-id", b"codex")]) == "codex"


@pytest.mark.parametrize(
    ("metadata", "session"),
    [
        ({}, ""),
        ({"session_id": "s"}, "s"),
        ({"session_id": "s", "user_id": JSON_USER}, "s"),
        ({"session_id": "no id", "user_id": JSON_USER}, UUID),
        ({"session_id": 5, "user_id": OLD_USER}, UUID),
        ({"user_id": OLD_USER.replace("account_", f"account_{UUID}")}, UUID),
        ({"user_id": "user-1"}, ""),
        ({"user_id": f"{OLD_USER}/.."}, ""),
        ({"user_id": f"x{OLD_USER}"}, ""),
        ({"user_id": "{"}, ""),
        ({"user_id": "{}"}, ""),
        ({"user_id": '{"session_id":{}}'}, ""),
        ({"user_id": '{"session_id":"a b"}'}, ""),
        ({"user_id": "{" + '"a":[' * 100_000}, ""),
        ({"user_id": '{"session_id":"\udcff"}'}, ""),
        ({"user_id": {"session_id": "s"}}, ""),
    ],
)
def test_h160b_metadata(metadata: dict[str, Any], session: str) -> None:
    assert in_metadata(metadata) == session


@unhurried
@given(st.dictionaries(st.sampled_from(["session_id", "user_id", "x"]), JSON | st.sampled_from([JSON_USER, OLD_USER])))
def test_whatever_metadata_says_what_comes_of_it_is_an_id_or_nothing(metadata: dict[str, Any]) -> None:
    found = in_metadata(metadata)
    assert found == "" or is_session(found)


@unhurried
@given(st.lists(st.tuples(st.sampled_from([b"x-claude-code-session-id", b"session-id", b"x"]), st.binary(max_size=9))))
def test_whatever_headers_say_what_comes_of_it_is_an_id_or_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    found = in_headers(headers)
    assert found == "" or is_session(found)


# ── which route ─────────────────────────────────────────────────────────────────────────────────────────────────────

SEGMENT = st.from_regex(r"[a-z]{1,3}", fullmatch=True) | st.sampled_from(["v1", "api", "a.b", "messages"])
PREFIX = st.builds(
    lambda segments, session: "/" + "/".join([*segments, *["{session}"] * session]),
    st.lists(SEGMENT, max_size=2),
    st.booleans(),
)


PREFIXES = st.sets(PREFIX, min_size=1, max_size=6)


def found(prefixes: set[str], path: str) -> tuple[str, str, str] | None:
    """The route's prefix, the session and the path below, as the proxy finds them."""
    routes = "\n".join(f'"{prefix}" = "up"' for prefix in prefixes)
    loaded = config.read(f'[upstreams.up]\nurl = "http://up"\n[routes]\n{routes}', Path("stages.toml"), {})
    matches = ((route, route.match(path)) for route in loaded.routes)
    return next(((route.prefix, *match) for route, match in matches if match), None)


@unhurried
@given(PREFIXES, PREFIX.filter(lambda prefix: not prefix.endswith("}")), st.sampled_from(ENDPOINTS))
def test_what_a_route_calls_by_name_is_never_a_session(prefixes: set[str], fixed: str, endpoint: str) -> None:
    got = found(prefixes | {fixed}, f"{fixed.rstrip('/')}{endpoint}")
    assert got
    assert len(got[0]) >= len(fixed)
    assert not got[1]


@unhurried
@given(PREFIXES, st.lists(SEGMENT, max_size=1), IDS, st.sampled_from(ENDPOINTS), st.data())
def test_any_other_id_is_one_however_it_is_encoded(
    prefixes: set[str], stem: list[str], session: str, endpoint: str, data: st.DataObject
) -> None:
    front = "".join(f"/{segment}" for segment in stem)
    prefixes |= {f"{front}/{{session}}"}
    named = {prefix.removeprefix(front).split("/")[1] for prefix in prefixes if prefix.startswith(front + "/")}
    if session in named | {"v1", "api", "chat"}:
        return
    coded = data.draw(st.sets(st.sampled_from(session)))
    written = "".join(f"%{ord(each):02x}" if each in coded else quote(each, safe="~:@") for each in session)
    assert found(prefixes, f"{front}/{written}{endpoint}") == (f"{front}/{{session}}", session, endpoint)


@unhurried
@given(PREFIXES, st.text("av1/.%2f{}", max_size=12), st.sampled_from(["", *ENDPOINTS]))
def test_what_a_session_leaves_over_goes_where_it_went_without(prefixes: set[str], front: str, endpoint: str) -> None:
    path = f"/{front}{endpoint}"
    without = {prefix for prefix in prefixes if not prefix.endswith("{session}")} | {"/"}
    got = found(prefixes | {"/"}, path)
    assert got
    assert got[0].endswith("{session}") or got == found(without, path)


# ── over sockets ────────────────────────────────────────────────────────────────────────────────────────────────────

SESSIONS = '\n[routes]\n"/" = "up"\n"/{session}" = "up"\n'
RAW = "\n[pipeline]\nrequest = []\nresponse = []\n"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged, as JSON."""
    logger = logging.getLogger("trioproxy")
    before = logger.handlers[:], logger.level, logger.propagate
    out = io.StringIO()
    log.set_up("info", "json", out, colour=False)
    yield out
    logger.handlers[:], logger.level, logger.propagate = before


def sessions(logged: io.StringIO) -> list[str | None]:
    """The session of each exchange, as the log has it."""
    return [msgspec.json.decode(line).get("session") for line in logged.getvalue().splitlines()]


def said(path: str, text: bytes) -> str:
    """What an answer says at `path`."""
    if not text.startswith(b"{"):
        return texts(text)[0] if path == A else "".join(_pieces(text))
    whole = msgspec.json.decode(text)
    return str(whole["content"][0]["text"] if path == A else whole["choices"][0]["message"]["content"])


def _pieces(text: bytes) -> Iterator[str]:
    assert text.endswith(b"data: [DONE]\n\n")
    for line in text.splitlines():
        if line.startswith(b"data: {"):
            for choice in msgspec.json.decode(line[6:])["choices"]:
                yield choice["delta"].get("content") or ""


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [A, C])
@pytest.mark.parametrize(("script", "dialect"), [(messages_upstream, "anthropic"), (chat_upstream, "openai-chat")])
async def test_m2_2_m2_4_the_same_within_a_session(
    logged: io.StringIO, script: Any, dialect: str, path: str, stream: bool
) -> None:
    headers = {A: A_HEADERS, C: C_HEADERS}[path]
    async with upstream(script) as up, proxy(toml(up.toml(), dialect, SESSIONS)) as port:
        without = await ask(port, body(stream=stream), path=f"{path}?beta=true", headers=headers)
        within = await ask(port, body(stream=stream), path=f"/s-1{path}?beta=true", headers=headers)
    assert (within.status, within.headers["content-type"]) == (200, without.headers["content-type"])
    assert said(path, within.body) == said(path, without.body) == "Hello"
    first, second = up.requests
    assert first == second
    assert sessions(logged) == [None, "s-1"]


def hosts(up: Upstream) -> str:
    """Three upstreams that can be told apart by the paths they are asked at, and routes to them."""
    tables = [
        f'[upstreams.{name}]\nurl = "http://127.0.0.1:{up.port}/to-{name}"' for name in ("root", "local", "deep", "any")
    ]
    routes = {"/": "root", "/{session}": "any", "/local": "local", "/local/deep": "deep", "/local/{session}": "any"}
    return "\n".join([*tables, RAW, "[routes]", *(f'"{prefix}" = "{name}"' for prefix, name in routes.items())])


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/messages", "/to-root/v1/messages"),
        ("/s/v1/messages", "/to-any/v1/messages"),
        ("/local/v1/messages", "/to-local/v1/messages"),
        ("/local/deep/v1/messages", "/to-deep/v1/messages"),
        ("/local/s/v1/messages", "/to-any/v1/messages"),
        ("/deep/v1/messages", "/to-any/v1/messages"),
        ("/s/v1/messages?beta=true", "/to-any/v1/messages?beta=true"),
        ("/s/v1/messages/batches", "/to-any/v1/messages/batches"),
        ("/s/v1/models/a%2Fb?x", "/to-any/v1/models/a%2Fb?x"),
        ("/s/api/event_logging/batch", "/to-any/api/event_logging/batch"),
        ("/loc%61l/v1/messages", "/to-root/loc%61l/v1/messages"),
        ("/v1/v1/messages", "/to-root/v1/v1/messages"),
        ("/chat/v1/messages", "/to-root/chat/v1/messages"),
        ("//v1/messages", "/to-root//v1/messages"),
        ("/favicon.ico", "/to-root/favicon.ico"),
        ("/a/b", "/to-root/a/b"),
        ("/s", "/to-root/s"),
        ("/a%20b/v1", "/to-root/a%20b/v1"),
        ("/local/a/b", "/to-local/a/b"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "HEAD"])
async def test_a_session_takes_nothing_from_fixed_paths(path: str, target: str, method: str) -> None:
    async def echo(line: Line) -> None:
        await line.whole(b"" if line.asked.method == "HEAD" else b"{}")

    async with upstream(echo) as up, proxy(hosts(up)) as port:
        got = await ask(port, b"{}", method=method, path=path)
    assert got.status == 200
    assert [request.target for request in up.requests] == [target]


@pytest.mark.parametrize("word", ["a%20b", "a%2Fb", "a+b", "%FF", "{session}", "x" * 129, "a%00", "a%25"])
@pytest.mark.parametrize(("path", "headers"), [(A, ()), (C, ()), (MODELS, A_HEADERS), (COUNT, ())])
async def test_what_is_no_id_is_refused_in_the_clients_words(word: str, path: str, headers: tuple[str, ...]) -> None:
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(), more=SESSIONS)) as port:
        got = await ask(port, body(), path=f"/{word}{path}", headers=headers)
    assert (got.status, up.requests) == (400, [])
    answer = msgspec.json.decode(got.body)
    assert answer["error"]["type"] == "invalid_request_error"
    assert ("param" in answer["error"]) is (path == C)
    message = answer["error"]["message"]
    assert "in the path is not the id of a session: expected 1 to 128 of A-Z" in message
    assert len(message) < 180


async def test_an_id_is_decoded(logged: io.StringIO) -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml(SESSIONS)) as port:
        for word in ("a%40b.c", "a@b.c", "%61@%62%2Ec"):
            assert (await ask(port, body(), path=f"/{word}{A}")).status == 200
    assert sessions(logged) == ["a@b.c"] * 3


async def test_without_a_route_for_the_rest_a_session_must_lead_somewhere() -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml('[routes]\n"/{session}" = "up"')) as port:
        assert (await ask(port, body(), path=f"/s{A}")).status == 200
        lost = await ask(port, body(), path=A)
    assert lost.status == 404
    assert "nothing is served at /v1/messages; routes: /{session}" in sent(lost.body)["error"]["message"]


async def test_listings_counts_and_probes_within_a_session(logged: io.StringIO) -> None:
    async def lists(line: Line) -> None:
        await line.whole(b'{"data":[{"id":"gpt-a"}]}')

    async with upstream(lists) as up, proxy(toml(up.toml(), more=SESSIONS)) as port:
        listed = await ask(port, b"", method="GET", path=f"/s{MODELS}", headers=A_HEADERS)
        one = await ask(port, b"", method="GET", path=f"/s{MODELS}/gpt-a", headers=A_HEADERS)
        counted = await ask(port, body(), path=f"/s{COUNT}", headers=A_HEADERS)
        told = await ask(port, b"[]", path="/s/api/event_logging/batch", headers=A_HEADERS)
        hello = await ask(port, b"", method="GET", path="/s/api/hello")
        refused = await ask(port, b"{}", path="/s/v1/messages/batches", headers=A_HEADERS)
    assert sent(listed.body)["first_id"] == sent(one.body)["id"] == "gpt-a"
    assert sent(counted.body)["input_tokens"] > 0
    assert (told.status, hello.status, refused.status) == (200, 200, 404)
    assert [request.target for request in up.requests] == [MODELS, MODELS]
    assert sessions(logged) == ["s"] * 6


# ── elsewhere than in the path ──────────────────────────────────────────────────────────────────────────────────────

CLAUDE = "x-claude-code-session-id: from-claude"
CODEX = "session-id: from-codex"


@pytest.mark.parametrize(
    ("path", "headers", "metadata", "session"),
    [
        (f"/s{A}", (CLAUDE,), {"session_id": "m"}, "s"),
        (A, (CODEX, CLAUDE), {"session_id": "m"}, "from-claude"),
        (A, (CODEX,), {"session_id": "m"}, "from-codex"),
        (A, ("session-id: no id",), {"session_id": "m", "user_id": JSON_USER}, "m"),
        (A, (), {"user_id": JSON_USER}, UUID),
        (A, (), {"user_id": OLD_USER}, UUID),
        (C, (), {"session_id": "m"}, "m"),
        (C, (CODEX,), {}, "from-codex"),
        (A, (), {"session_id": "no id"}, None),
        (C, (), "nothing", None),
    ],
)
async def test_m2_3_the_first_that_is_there(
    logged: io.StringIO, path: str, headers: tuple[str, ...], metadata: object, session: str | None
) -> None:
    asked = body(metadata=metadata, stream=True)
    async with upstream(messages_upstream) as up, proxy(up.toml(SESSIONS)) as port:
        got = await ask(port, asked, path=path, headers=headers)
    assert got.status == 200
    assert sessions(logged) == [session]
    if path != C:
        assert up.requests[0].body == asked


async def test_what_only_passes_through_is_not_looked_into(logged: io.StringIO) -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml(SESSIONS + RAW)) as port:
        await ask(port, body(metadata={"session_id": "m"}))
        await ask(port, body(metadata={"session_id": "m"}), headers=(CLAUDE,))
        await ask(port, body(), path=f"/s{A}", headers=(CLAUDE,))
    assert sessions(logged) == [None, "from-claude", "s"]
    assert up.requests[0].body == body(metadata={"session_id": "m"})
    assert up.requests[2].header("x-claude-code-session-id") == "from-claude"  # the client's own, as it came


@pytest.mark.parametrize(
    ("script", "dialect", "path"), [(messages_upstream, "anthropic", C), (chat_upstream, "openai-chat", A)]
)
async def test_a_session_told_to_us_is_no_loss(script: Any, dialect: str, path: str) -> None:
    strict = '\n[routes]\n"/" = { upstream = "up", strict = true }\n'
    async with upstream(script) as up, proxy(toml(up.toml(), dialect, strict)) as port:
        fine = await ask(port, body(metadata={"session_id": "s"}), path=path)
        lossy = await ask(port, body(metadata={"session_id": "s", "team": "x"}), path=path)
    assert (fine.status, lossy.status) == (200, 400)
    assert "x-trioproxy-lossy" not in fine.headers
    assert "metadata" not in sent(up.requests[0].body)


HOST = "api.anthropic.com"


class _Loopback(trio.abc.HostnameResolver):
    """Every host is this one."""

    async def getaddrinfo(self, host: bytes | None, port: Any, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", int(port)))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def at_anthropic(*requests: bytes, more: str = "") -> list[Asked]:
    """What reaches that host, where requests with these bodies reach the proxy."""
    trio.socket.set_custom_hostname_resolver(_Loopback())
    async with upstream(messages_upstream) as up, proxy(up.toml(more).replace("127.0.0.1", HOST)) as port:
        for request in requests:
            assert (await ask(port, request)).status == 200
    return up.requests


async def test_anthropics_own_api_is_not_told_a_session_it_would_refuse() -> None:
    odd = b'{"model":"claude-x", "metadata" : {"user_id":"u\\u0041", "session_id":"s"}, "x" :1.0,"messages":[]}'
    without, untouched, only, none = await at_anthropic(
        odd, body(metadata={"user_id": JSON_USER}), body(metadata={"session_id": "s"}), b'{ "model":"claude-x" }'
    )
    assert without.body == b'{"model":"claude-x","metadata":{"user_id":"uA"},"x":1.0,"messages":[]}'
    assert untouched.body == body(metadata={"user_id": JSON_USER})
    assert only.body == body(metadata={})
    assert none.body == b'{ "model":"claude-x" }'


async def test_nor_if_something_else_is_changed_in_the_request() -> None:
    [alias] = await at_anthropic(body(metadata={"session_id": "s"}), more='[models]\n"claude-x" = "claude-y"\n')
    assert alias.body == body(metadata={}).replace(b"claude-x", b"claude-y")
    nonce = '[pipeline]\nrequest = ["billing-nonce"]\n[stages.billing-nonce]\neverywhere = true\n'
    line = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1f2e3;"},
        {"type": "text", "text": "B"},
    ]
    changed, read = await at_anthropic(
        body(metadata={"session_id": "s", "user_id": "u"}, system=line), body(metadata={"session_id": "s"}), more=nonce
    )
    assert sent(changed.body)["metadata"] == {"user_id": "u"}
    assert read.body == body(metadata={})


async def test_others_get_all_that_a_client_says() -> None:
    asked = body(metadata={"session_id": "s"})
    async with upstream(messages_upstream) as up, proxy(up.toml()) as port:
        await ask(port, asked)
    assert up.requests[0].body == asked


# ── the cache key (H128) ────────────────────────────────────────────────────────────────────────────────────────────

KEY = 'cache-key = "session"\n'


async def cached(*paths: str, more: str = "", upstream_toml: str = KEY, **fields: Any) -> list[Any]:
    """The bodies that reach a chat upstream."""
    async with upstream(chat_upstream) as up, proxy(toml(up.toml(SESSIONS + more, upstream_toml))) as port:
        for path in paths:
            assert (await ask(port, body(**fields), path=path)).status == 200
    return [sent(request.body) for request in up.requests]


@pytest.mark.parametrize("path", [A, C])
@pytest.mark.parametrize("more", ["", RAW.replace("response = []", "")])
async def test_h128_the_session_is_the_cache_key(path: str, more: str) -> None:
    within, without, long, again = await cached(
        f"/s{path}", path, f"/{'x' * 65}{path}", f"/{'x' * 65}{path}", more=more
    )
    assert within["prompt_cache_key"] == "s"
    assert "prompt_cache_key" not in without
    assert len(long["prompt_cache_key"]) == 64 != long["prompt_cache_key"].count("x")
    assert again == long
    [told] = await cached(f"/{'x' * 64}{path}", more=more)
    assert told["prompt_cache_key"] == "x" * 64
    [unasked] = await cached(f"/s{path}", more=more, upstream_toml="")
    assert "prompt_cache_key" not in unasked


async def test_h128_within_the_dialect_nothing_else_changes() -> None:
    odd = (
        b'{ "messages":[{"role":"user","content":"h\\u0069"}], "model":"m","seed":1.0, "metadata":{"session_id":"s"} }'
    )
    for more in ("", RAW):
        async with upstream(chat_upstream) as up, proxy(toml(up.toml(more, KEY))) as port:
            await ask(port, odd, path=C)
        assert up.requests[0].body == (
            b'{"messages":[{"role":"user","content":"h\\u0069"}],"model":"m","seed":1.0,"metadata":{"session_id":"s"},'
            b'"prompt_cache_key":"s"}'
        )


async def test_h128_a_client_knows_better() -> None:
    for options in (KEY, KEY + "max-tokens = 5\n"):
        [own] = await cached(f"/s{C}", upstream_toml=options, prompt_cache_key="own")
        assert own["prompt_cache_key"] == "own"
        [none] = await cached(f"/s{C}", upstream_toml=options, prompt_cache_key=None)
        assert none["prompt_cache_key"] == "s"


async def test_h128_a_request_that_is_changed_has_it_too() -> None:
    [clamped] = await cached(f"/s{C}", upstream_toml=KEY + "max-tokens = 5\n", seed=1)
    assert clamped == sent(body(max_tokens=5, seed=1, prompt_cache_key="s"))


async def test_h128_only_an_upstream_that_is_to_have_it_is_told() -> None:
    async with upstream(messages_upstream) as up, proxy(up.toml(SESSIONS)) as port:
        await ask(port, body(prompt_cache_key="own"), path=f"/s{C}")
    assert "prompt_cache_key" not in sent(up.requests[0].body)
