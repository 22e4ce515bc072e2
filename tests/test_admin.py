"""The admin listener over real sockets: who may ask what, and a target from its registration to its end."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests import peers
from tests.peers import Answer, Line
from trioproxy import config
from trioproxy.errors import ConfigError, Position, Problem
from trioproxy.serving import Serving, open_serving

ADMIN, UPSTREAMS = "canary-of-the-administrator", "sk-canary-of-the-upstream"
BEARER = (f"Authorization: Bearer {ADMIN}",)
JSON = "Content-Type: application/json"
DEEP = b'{"model":"m","url":"http://h","provider":' + b"[" * 900 + b"]" * 900 + b"}"
LOCAL = {"provider": "local", "model": "qwen3", "base_url": "http://127.0.0.1:8080", "api_mode": "chat_completions"}
WITH_TOKEN = f'listen = "127.0.0.1:0"\ntoken = "{ADMIN}"'

Reload = Callable[[], Awaitable[Mapping[str, Sequence[str]]]]


class Served:
    """A proxy, and its admin listener."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        [listener] = serving.administered
        self.address = listener.address
        self.port = int(serving.addresses[0].rpartition(":")[2])

    async def admin(
        self, method: str, path: str, said: Any = None, headers: tuple[str, ...] = (), body: bytes | None = None
    ) -> Answer:
        """One request to the admin listener. What is `said` goes as JSON."""
        if said is not None:
            body, headers = json.dumps(said).encode(), (JSON, *headers)
        if self.address.startswith("unix:"):
            stream: trio.abc.Stream = await trio.open_unix_socket(self.address.removeprefix("unix:"))
        else:
            stream = await peers.connect(int(self.address.rpartition(":")[2]))
        assert isinstance(stream, trio.SocketStream)
        async with stream:
            await stream.send_all(peers.request(body or b"", method=method, path=path, headers=headers))
            return await peers.answer(stream, method=method)

    async def registered(self, said: Any) -> dict[str, Any]:
        answer = await self.admin("POST", "/targets", said, BEARER)
        assert answer.status in (200, 201), answer.body
        done: dict[str, Any] = json.loads(answer.body)
        return done

    async def ask(self, path: str, said: Any, *headers: str) -> Answer:
        """One request of a client."""
        return await peers.ask(self.port, json.dumps(said).encode(), path=path, headers=headers)


@asynccontextmanager
async def served(
    admin: str = WITH_TOKEN, more: str = "", directory: Path | None = None, on_reload: Reload | None = None
) -> AsyncIterator[Served]:
    toml = f'listen = "127.0.0.1:0"\n[upstreams.up]\nurl = "http://127.0.0.1:1"\n{more}\n[admin]\n{admin}\n'
    loaded = config.read(toml, (directory or Path()) / "stages.toml", {})
    async with open_serving(loaded) as serving, trio.open_nursery() as nursery:
        serving.on_reload = on_reload or serving.on_reload
        nursery.start_soon(serving.serve)
        await trio.testing.wait_all_tasks_blocked()
        yield Served(serving)
        nursery.cancel_scope.cancel()


def failed(answer: Answer) -> tuple[int, str, str]:
    error = json.loads(answer.body)["error"]
    return answer.status, error["type"], error["message"]


# ── who may ask ─────────────────────────────────────────────────────────────────────────────────────────────────────

FREE = [("GET", "/healthz"), ("HEAD", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")]
GUARDED = [("GET", "/targets"), ("POST", "/targets"), ("GET", "/targets/x"), ("DELETE", "/targets/x")]
GUARDED += [("POST", "/reload")]
WRONG = [(), ("Authorization: Bearer another",), (f"Authorization: Basic {ADMIN}",), (f"Cookie: token={ADMIN}",)]


async def test_what_is_free_and_what_needs_the_token() -> None:
    async with served() as proxy:
        for method, path in FREE:
            assert (await proxy.admin(method, path)).status == 200, path
        for method, path in GUARDED:
            for headers in WRONG:
                answer = await proxy.admin(method, path, headers=headers)
                assert failed(answer)[:2] == (401, "authentication"), (method, path, headers)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert ADMIN not in str(answer)
            for right in BEARER, (f"X-Api-Key: {ADMIN}",):
                assert (await proxy.admin(method, path, headers=right)).status not in (401, 403), (method, path)
        refused = await proxy.admin("GET", f"/targets?token={ADMIN}")
        assert failed(refused)[0] == 400, "it would be in logs"


async def test_over_tcp_without_a_token_only_what_is_free() -> None:
    async with served('listen = "127.0.0.1:0"') as proxy:
        for method, path in FREE:
            assert (await proxy.admin(method, path)).status == 200
        for method, path in GUARDED:
            status, kind, message = failed(await proxy.admin(method, path, headers=BEARER))
            assert (status, kind) == (403, "permission")
            assert 'token = { env = "ADMIN_TOKEN" }' in message


async def test_other_machines_need_the_token_for_metrics_too() -> None:
    async with served(f'listen = "0.0.0.0:0"\ntoken = "{ADMIN}"') as proxy:
        assert (await proxy.admin("GET", "/healthz")).status == 200
        assert (await proxy.admin("GET", "/metrics")).status == 401
        assert (await proxy.admin("GET", "/metrics", headers=BEARER)).status == 200


async def test_a_unix_socket_is_its_owners_and_needs_no_token(tmp_path: Path) -> None:
    socket = trio.Path(tmp_path) / "admin.sock"
    async with served(f'listen = "unix:{socket}"') as proxy:
        assert stat.S_IMODE((await socket.stat()).st_mode) == 0o600
        assert (await proxy.admin("GET", "/targets")).status == 200
    async with served(f'listen = "unix:{socket}"\ntoken = "{ADMIN}"') as proxy:
        assert (await proxy.admin("GET", "/targets")).status == 401
        assert (await proxy.admin("GET", "/targets", headers=BEARER)).status == 200
        assert (await proxy.admin("GET", "/metrics")).status == 200
    assert not await socket.exists()


@pytest.mark.parametrize("says", ["Host: evil.example", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"])
async def test_no_web_page_reaches_it(says: str) -> None:
    lines = ["GET /healthz HTTP/1.1", says, *(() if says.startswith("Host") else ("Host: 127.0.0.1",)), "", ""]
    async with served(more="[limits]\nhead-lines = 20") as proxy:
        answer = await peers.exchange(int(proxy.address.rpartition(":")[2]), "\r\n".join(lines).encode(), method="GET")
    assert failed(answer)[:2] == (403, "permission")


async def test_clients_listeners_answer_none_of_it() -> None:
    async with served() as proxy:
        for method, path in GUARDED:
            if path != "/reload":
                answer = await peers.ask(proxy.port, method=method, path=path, headers=BEARER)
                assert answer.status == 404, "and it went nowhere else"


@pytest.mark.parametrize(
    ("admin", "says"),
    [
        ('listen = "0.0.0.0:4568"', "whoever reaches 0.0.0.0:4568 could register targets"),
        ('listen = ":4568"', "whoever reaches :4568 could"),
        ('listen = ["127.0.0.1:1", "proxy.lan:2"]', "whoever reaches proxy.lan:2 could"),
        ('token = "short"', "can be guessed"),
        ('tokens = "x"', "[admin] has no key 'tokens'"),
    ],
)
def test_what_is_wrong_with_the_file(admin: str, says: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        config.read(f'[upstreams.up]\nurl = "http://127.0.0.1:1"\n[admin]\n{admin}\n', Path("stages.toml"), {})
    assert says in str(wrong.value)


def test_without_the_section_there_is_no_listener() -> None:
    assert config.read('[upstreams.up]\nurl = "http://127.0.0.1:1"\n', Path("stages.toml"), {}).admin is None


# ── what is asked wrongly ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "body", "headers", "status", "says"),
    [
        (("GET", "/"), b"", (), 404, "GET /healthz, GET /readyz, GET /metrics, GET /targets, POST /targets"),
        (("GET", "/targets/x/y"), b"", (), 404, "nothing is served at /targets/x/y"),
        (("GET", "/targets/x"), b"", (), 404, "there is no target 'x'"),
        (("DELETE", "/targets/x"), b"", (), 404, "there is no target 'x'"),
        (("PUT", "/targets"), b"{}", (JSON,), 405, "/targets takes GET, POST, and not PUT"),
        (("POST", "/targets/x"), b"{}", (JSON,), 405, "/targets/KEY takes GET, DELETE, and not POST"),
        (("GET", "/reload"), b"", (), 405, "/reload takes POST"),
        (
            ("POST", "/targets"),
            b"model=x",
            ("Content-Type: application/x-www-form-urlencoded",),
            415,
            "application/json",
        ),
        (("POST", "/targets"), b"{", (JSON,), 400, 'the body is not JSON: Expected {"provider"'),
        (("POST", "/targets"), b"[" * 9999, (JSON,), 400, "the body is not JSON"),
        (("POST", "/targets"), b'{"model":"\xff"}', (JSON,), 400, "the body is not JSON"),
        (("POST", "/targets"), DEEP, (JSON,), 400, "the body nests its lists and objects too deep"),
        (("POST", "/targets"), b"[]", (JSON,), 400, "Expected a JSON object such as"),
        (("POST", "/targets"), b" " * 70_000, (JSON,), 413, "larger than"),
        (("POST", "/targets"), b'{"name": "x"}', (JSON,), 400, "the file has no [targets.x]"),
    ],
)
async def test_what_is_asked_wrongly(
    asked: tuple[str, str], body: bytes, headers: tuple[str, ...], status: int, says: str
) -> None:
    method, path = asked
    async with served() as proxy:
        answer = await proxy.admin(method, path, headers=(*headers, *BEARER), body=body)
    assert failed(answer)[0] == status
    assert says in failed(answer)[2]
    if status == 405:
        assert answer.headers["allow"].split(", ")


async def test_where_there_are_targets_alone_other_paths_are_told_so() -> None:
    async with (
        open_serving(config.read('listen = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"', Path(), {})) as serving,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(serving.serve)
        got = await peers.ask(int(serving.url.rpartition(":")[2]), b"{}", path="/v1/messages")
        nursery.cancel_scope.cancel()
    assert got.status == 404
    assert b"nothing is served at /v1/messages; there are targets alone, at /targets/KEY" in got.body


async def test_all_that_is_wrong_with_a_registration_is_told_at_once() -> None:
    async with served() as proxy:
        answer = await proxy.admin(
            "POST",
            "/targets",
            {"base_url": "ftp://x", "api_mode": "chat", "api_key": 5, "max_tokens": 0, "modle": "m"},
            BEARER,
        )
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request")
    assert [problem["message"].partition(":")[0] for problem in error["problems"]] == [
        "a target has no 'modle'",
        "api_key",
        "api_mode",
        "[target] needs a model",
        "max_tokens",
        "base_url",
    ]


# ── how it is, and what it is told ──────────────────────────────────────────────────────────────────────────────────


async def test_metrics_are_what_prometheus_reads() -> None:
    async with served() as proxy:
        await peers.ask(proxy.port, method="GET", path="/targets/nobody")
        page = await proxy.admin("GET", "/metrics")
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"trioproxy_requests_total{" in page.body
    assert b'status="404"' in page.body


async def test_who_drains_is_not_ready_and_well(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(line: Line) -> None:
        await line.head()
        await trio.sleep(5)
        await line.end()

    async with peers.upstream(slow) as up:
        more = f'[upstreams.slow]\nurl = "http://127.0.0.1:{up.port}"\n[routes]\n"/" = "slow"'
        async with served(more=more) as proxy, trio.open_nursery() as nursery:
            nursery.start_soon(peers.ask, proxy.port)
            await trio.sleep(1)
            assert (await proxy.admin("GET", "/readyz")).status == 200
            proxy.serving.drain()
            await trio.sleep(1)
            assert (await proxy.admin("GET", "/readyz")).status == 503
            assert (await proxy.admin("GET", "/healthz")).status == 200


async def test_a_reload_tells_what_has_changed_or_all_that_is_wrong() -> None:
    async def reload() -> dict[str, list[str]]:
        return {"changes": ["drain 30s → 5s"], "warnings": []}

    async def wrong() -> dict[str, list[str]]:
        raise ConfigError([Problem("there is no stage 'x'", "y", Position(3, 9))], file="stages.toml")

    async def gone() -> dict[str, list[str]]:
        raise FileNotFoundError(2, "No such file or directory", "stages.toml")

    for what, status, says in (
        (reload, 200, '{"changes":["drain 30s → 5s"],"warnings":[]}'),
        (wrong, 400, "stages.toml:3:9: there is no stage 'x'"),
        (gone, 500, "nothing was reloaded: stages.toml: No such file or directory"),
        (None, 409, "no file is served here"),
    ):
        async with served(on_reload=what) as proxy:
            answer = await proxy.admin("POST", "/reload", headers=BEARER)
            assert (await proxy.admin("POST", "/reload")).status == 401
        assert answer.status == status
        assert says in answer.body.decode()


async def test_a_bug_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def reload() -> dict[str, list[str]]:
        raise ZeroDivisionError

    async with served(on_reload=reload) as proxy:
        answer = await proxy.admin("POST", "/reload", headers=BEARER)
        assert failed(answer) == (500, "internal", "internal error in the proxy: see its log")
        assert (await proxy.admin("GET", "/readyz")).status == 200
    [said] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (said.getMessage(), bool(said.exc_info)) == ("POST /reload failed", True)


async def test_other_hosts_are_let_in_from_a_reload_on() -> None:
    async def asked() -> int:
        lines = ["GET /healthz HTTP/1.1", "Host: proxy.lan", "", ""]
        port = int(proxy.address.rpartition(":")[2])
        return (await peers.exchange(port, "\r\n".join(lines).encode(), method="GET")).status

    async with served() as proxy:
        assert await asked() == 403
        await proxy.serving.reload(msgspec.structs.replace(proxy.serving.config, hosts=("proxy.lan",)))
        assert await asked() == 200


async def test_what_is_known_of_a_targets_upstream_outlives_a_reload_and_goes_with_the_target() -> None:
    async with served() as proxy:
        done = await proxy.registered({**LOCAL, "base_url": "http://127.0.0.1:1"})
        await proxy.ask(f"/targets/{done['key']}/v1/messages", QUESTION, f"x-api-key: {done['token']}")
        row = b'trioproxy_upstream_requests_open{upstream="targets.local"} 0'
        await proxy.serving.reload(proxy.serving.config)
        assert row in (await proxy.admin("GET", "/metrics")).body
        await proxy.admin("DELETE", f"/targets/{done['key']}", headers=BEARER)
        assert row not in (await proxy.admin("GET", "/metrics")).body


async def test_a_program_registers_one_too() -> None:
    async with served() as proxy:
        done = await proxy.serving.targets.register({"model": "qwen3", "base_url": "http://127.0.0.1:8080"})
        shown = await proxy.admin("GET", done.path, headers=BEARER)
    assert json.loads(shown.body)["base_url"] == f"http://127.0.0.1:{proxy.port}{done.path}"


# ── targets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_target_from_its_registration_to_its_end() -> None:
    async with served() as proxy:
        said = {**LOCAL, "api_key": UPSTREAMS, "base_url": "http://127.0.0.1:8080/?key=sk-canary-in-the-query"}
        first = await proxy.admin("POST", "/targets", said, BEARER)
        again = await proxy.admin("POST", "/targets", said, BEARER)
        done = json.loads(first.body)
        assert (first.status, again.status) == (201, 200)
        assert json.loads(again.body) == done
        assert done["base_url"] == f"http://127.0.0.1:{proxy.port}/targets/{done['key']}"
        assert done["durable"] is False
        listing = await proxy.admin("GET", "/targets", headers=BEARER)
        shown = await proxy.admin("GET", f"/targets/{done['key']}", headers=BEARER)
        assert json.loads(listing.body) == {"targets": [json.loads(shown.body)]}
        assert json.loads(shown.body) == {
            "base_url": done["base_url"],
            "key": done["key"],
            "provider": "local",
            "model": "qwen3",
            "mode": "chat_completions",
            "upstream": "http://127.0.0.1:8080",
        }
        assert "canary" not in f"{first}{listing}{shown}"
        assert done["token"] not in f"{listing}{shown}"
        gone = await proxy.admin("DELETE", f"/targets/{done['key']}", headers=BEARER)
        assert (gone.status, json.loads(gone.body)) == (200, {"key": done["key"], "deleted": True})
        assert (await proxy.admin("GET", f"/targets/{done['key']}", headers=BEARER)).status == 404


async def test_one_of_the_file_is_shown_its_key_and_token() -> None:
    more = '[targets.fast]\nmodel = "qwen3"\nurl = "http://127.0.0.1:8080"'
    async with served(more=more) as proxy:
        done = await proxy.registered({"name": "fast"})
        assert (done["name"], done["model"]) == ("fast", "qwen3")
        assert done["token"].startswith("tp-")
        refused = await proxy.admin("DELETE", f"/targets/{done['key']}", headers=BEARER)
        assert failed(refused)[:2] == (409, "conflict")


async def test_a_restart_keeps_what_was_registered(tmp_path: Path) -> None:
    store = '[store]\nurl = "sqlite:thinking.db"'
    async with served(more=store, directory=tmp_path) as proxy:
        first = await proxy.registered(LOCAL)
    async with served(more=store, directory=tmp_path) as proxy:
        again = await proxy.registered(LOCAL)
    assert first["durable"] is True
    assert (again["key"], again["token"]) == (first["key"], first["token"])


async def test_a_book_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    await (trio.Path(tmp_path) / "thinking.targets.db").write_bytes(b"x" * 4096)
    async with served(more='[store]\nurl = "sqlite:thinking.db"', directory=tmp_path) as proxy:
        answer = await proxy.admin("POST", "/targets", LOCAL, BEARER)
    assert failed(answer)[0] == 503
    assert "is damaged" in failed(answer)[2]


# ── what clients of a target get ────────────────────────────────────────────────────────────────────────────────────

QUESTION = {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}


async def test_no_target_wrong_token_and_no_such_mode_in_the_words_of_anthropics_clients() -> None:
    async with served() as proxy:
        done = await proxy.registered(LOCAL)
        unbuilt = await proxy.registered({**LOCAL, "api_mode": "bedrock_converse"})
        for path, token, status, kind in (
            ("/targets/nobody", done["token"], 404, "not_found_error"),
            (f"/targets/{done['key']}", "tp-another", 401, "authentication_error"),
            (f"/targets/{done['key']}", unbuilt["token"], 401, "authentication_error"),
            (f"/targets/{unbuilt['key']}", done["token"], 401, "authentication_error"),
            (f"/targets/{unbuilt['key']}", unbuilt["token"], 501, "api_error"),
        ):
            for header in f"Authorization: Bearer {token}", f"x-api-key: {token}":
                answer = await proxy.ask(f"{path}/v1/messages", QUESTION, header)
                error = json.loads(answer.body)
                assert (answer.status, error["type"], error["error"]["type"]) == (status, "error", kind)
                assert token not in str(answer)
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("below", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("mode", ["chat_completions", "codex_responses", "anthropic_messages"])
async def test_the_upstream_gets_its_own_token_and_model_whatever_the_base_url(mode: str, below: str) -> None:
    async def answers(line: Line) -> None:
        await line.whole(b'{"error": {"message": "no"}}', status=400)

    async with served() as proxy, peers.upstream(answers) as up:
        done = await proxy.registered(
            {"model": "qwen3", "url": f"http://127.0.0.1:{up.port}{below}", "mode": mode, "token": UPSTREAMS}
        )
        path = f"/targets/{done['key']}/v1/messages"
        await proxy.ask(path, QUESTION, f"Authorization: Bearer {done['token']}", f"x-api-key: {done['token']}")
    [asked] = up.requests
    paths = {"chat_completions": "/v1/chat/completions", "codex_responses": "/v1/responses"}
    assert asked.target == paths.get(mode, "/v1/messages")
    body = json.loads(asked.body)
    assert body["model"] == "qwen3"
    assert done["token"] not in str(asked)
    assert UPSTREAMS in (asked.header("authorization") or "") + (asked.header("x-api-key") or "")
    if mode == "codex_responses":
        assert body["store"] is False


async def test_what_models_a_target_has() -> None:
    async def nothing(line: Line) -> None:
        await line.whole(b"{}", status=404)

    async with served() as proxy, peers.upstream(nothing) as up:
        done = await proxy.registered({**LOCAL, "base_url": f"http://127.0.0.1:{up.port}", "models": ["sonnet"]})
        headers = (f"x-api-key: {done['token']}", "anthropic-version: 2023-06-01")
        answer = await peers.ask(
            proxy.port, b"", method="GET", path=f"/targets/{done['key']}/v1/models", headers=headers
        )
    listed = json.loads(answer.body)
    assert [(model["type"], model["id"]) for model in listed["data"]] == [("model", "sonnet"), ("model", "qwen3")]
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "sonnet", "qwen3")
