"""Targets: who finds them with what, what makes two the same, and what outlives what."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from trioproxy import config, targets
from trioproxy.clients import admit
from trioproxy.config import Route
from trioproxy.errors import ConfigError, ProxyError
from trioproxy.http.headers import Headers
from trioproxy.registered import Registered
from trioproxy.store import StoreError
from trioproxy.store.targets import Book, book_of
from trioproxy.targets import Targets

UPSTREAM = '[upstreams.up]\nurl = "http://127.0.0.1:1"\n'
SQLITE = '[store]\nurl = "sqlite:thinking.db"\n'
TOKEN = "sk-canary-of-a-target"
LOCAL = {"provider": "local", "model": "qwen3", "url": "http://127.0.0.1:8080", "mode": "chat_completions"}


def read(toml: str = "", directory: Path | None = None) -> config.Config:
    return config.read(UPSTREAM + toml, (directory or Path()) / "stages.toml", {})


def fresh(toml: str = "") -> Targets:
    return Targets(read(toml))


async def restarted(directory: Path, toml: str = SQLITE) -> Targets:
    """The targets of a process that begins now."""
    loaded = read(toml, directory)
    found = Targets(loaded, book_of(loaded.store, directory))
    await found.restore()
    return found


def bearer(token: str | None) -> Headers:
    return [(b"authorization", f"Bearer {token}".encode())]


def found(among: Targets, path: str, token: str | None = None) -> Route | None:
    """The route at a path, for whoever shows a token that it asks for."""
    there = among.find(path, bearer(token))
    if there is None:
        return None
    admit(there[0], bearer(token), None)
    return there[0]


def refusal(among: Targets, path: str, token: str | None = None) -> int:
    with pytest.raises(ProxyError) as refused:
        found(among, path, token)
    return refused.value.error.status


# ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_registered_target_is_a_route_for_whoever_has_its_token() -> None:
    mine = fresh()
    done = await mine.register({**LOCAL, "token": TOKEN, "headers": {"X-Team": "blue"}, "models": ["sonnet"]})
    assert done.path == f"/targets/{done.key}"
    assert done.new
    assert not done.durable
    assert done.token is not None
    assert done.token.startswith("tp-")
    assert len(done.token) == 3 + 43
    assert len(done.key) == 22
    there = mine.find(f"{done.path}/v1/messages", [])
    assert there is not None
    route, below = there
    assert below == "/v1/messages"
    assert route.prefix == done.path
    assert route.forward_credentials is False
    assert (str(route.upstream), route.upstream.dialect) == ("http://127.0.0.1:8080", "openai-chat")
    assert (route.upstream.model, route.upstream.fixed_token) == ("qwen3", TOKEN)
    assert route.upstream.headers == (("x-team", "blue"),)
    assert route.translates
    assert [spec.name for spec in route.request] == ["billing-nonce"]
    assert route.asked("anything") == route.asked("sonnet") == "qwen3"
    assert [model.id for model in route.models.listed([])] == ["sonnet"]
    assert admit(route, bearer(done.token), None).headers == []
    assert refusal(mine, done.path, "tp-another") == 401
    assert refusal(mine, done.path, None) == 401


@pytest.mark.parametrize(("path", "below"), [("", "/"), ("/", "/"), ("/v1/models", "/v1/models"), ("//x", "//x")])
async def test_what_is_below_it(path: str, below: str) -> None:
    mine = fresh()
    done = await mine.register(LOCAL)
    there = mine.find(done.path + path, [])
    assert there is not None
    assert there[1] == below


@pytest.mark.parametrize("path", ["/targets", "/targets/", "/targets/nobody/v1/messages", "/targets//v1/messages"])
async def test_who_is_not_there_is_not_found(path: str) -> None:
    mine = fresh()
    await mine.register(LOCAL)
    assert refusal(mine, path, "tp-x") == 404


async def test_other_paths_are_for_routes() -> None:
    mine = fresh()
    await mine.register(LOCAL)
    assert mine.find("/v1/messages", []) is None
    assert mine.find("/targetsx", []) is None


def test_where_there_are_no_targets_their_paths_are_for_routes_too() -> None:
    assert fresh().find("/targets/x/v1/messages", []) is None


async def test_where_there_were_targets_their_tokens_go_nowhere_else() -> None:
    mine = fresh()
    done = await mine.register(LOCAL)
    await mine.forget(done.key)
    assert refusal(mine, done.path, done.token) == 404


def test_nor_does_an_administrators_request_that_came_to_the_wrong_listener() -> None:
    assert refusal(fresh('[admin]\nlisten = "unix:a.sock"'), "/targets", "the admin's") == 404


@pytest.mark.parametrize(
    ("mode", "dialect"),
    [("anthropic_messages", "anthropic"), ("chat_completions", "openai-chat"), ("codex_responses", "openai-responses")],
)
async def test_a_mode_says_the_dialect(mode: str, dialect: str) -> None:
    mine = fresh()
    done = await mine.register({**LOCAL, "mode": mode})
    route = found(mine, done.path, done.token)
    assert route is not None
    assert route.upstream.dialect == dialect


@pytest.mark.parametrize("mode", ["bedrock_converse", "codex_app_server"])
async def test_a_mode_that_is_not_built_is_told_to_who_has_the_token_alone(mode: str) -> None:
    mine = fresh()
    done = await mine.register({**LOCAL, "mode": mode})
    assert refusal(mine, done.path, done.token) == 501
    assert refusal(mine, done.path, "tp-another") == 401


async def test_stages_of_the_file_are_those_of_targets_too() -> None:
    mine = fresh('[pipeline]\nresponse = ["deframe", "parse", "translate", "reframe"]\nrequest = []\n')
    done = await mine.register(LOCAL)
    route = found(mine, done.path, done.token)
    assert route is not None
    assert [spec.name for spec in route.response] == ["deframe", "parse", "translate", "reframe"]
    assert route.request == ()
    mine.use(read())
    route = found(mine, done.path, done.token)
    assert route is not None
    assert len(route.response) > 4, "a reload is for targets too"


# ── the same, or another ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "said",
    [
        {"provider": "local", "model": "qwen3", "base_url": "http://127.0.0.1:8080/", "api_mode": "chat_completions"},
        {"provider": "local", "model": "qwen3", "base-url": "http://127.0.0.1:8080", "api_key": None, "token": ""}
        | {"token": ""},
        LOCAL | {"headers": {"x-other": "1"}},
        LOCAL | {"models": ["sonnet"]},
    ],
)
async def test_the_same_target_keeps_its_key_and_token(said: Mapping[str, Any]) -> None:
    mine = fresh()
    first = await mine.register(LOCAL)
    if "api_key" in said:
        said = {key: value for key, value in said.items() if key != "token"}
    again = await mine.register(said)
    assert (again.key, again.token, again.new) == (first.key, first.token, False)
    assert len(list(mine)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"provider": "x"},
        {"model": "x"},
        {"url": "http://127.0.0.1:8081"},
        {"mode": "anthropic_messages"},
        {"token": "x"},
    ],
)
async def test_another_target_has_another_key_and_token(other: Mapping[str, str]) -> None:
    mine = fresh()
    first, second = await mine.register(LOCAL), await mine.register({**LOCAL, **other})
    assert second.new
    assert first.key != second.key
    assert first.token != second.token
    assert refusal(mine, first.path, second.token) == 401


async def test_what_else_is_said_takes_the_place_of_what_was() -> None:
    mine = fresh()
    await mine.register({**LOCAL, "headers": {"x-team": "blue"}})
    done = await mine.register({**LOCAL, "headers": {"x-team": "red"}})
    route = found(mine, done.path, done.token)
    assert route is not None
    assert route.upstream.headers == (("x-team", "red"),)


async def test_many_at_once_who_register_the_same_get_the_same(tmp_path: Path) -> None:
    mine = await restarted(tmp_path)
    got: list[Registered] = []

    async def register(said: Mapping[str, Any]) -> None:
        got.append(await mine.register(said))

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(register, {**LOCAL, "model": f"model-{number % 4}"})
    assert len({(each.key, each.token) for each in got}) == 4
    assert sum(each.new for each in got) == 4


async def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MOST", 2)
    mine = fresh()
    first = await mine.register({**LOCAL, "model": "1"})
    await mine.register({**LOCAL, "model": "2"})
    with pytest.raises(ProxyError, match="there are 2 targets already"):
        await mine.register({**LOCAL, "model": "3"})
    await mine.register({**LOCAL, "model": "2"})
    await mine.forget(first.key)
    await mine.register({**LOCAL, "model": "3"})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"model": ""}, "needs a model"),
        ({"url": ""}, "needs a url"),
        ({"url": "file:///etc/passwd"}, "url: Expected a URL"),
        ({"url": "replay:recordings/hello.sse"}, "begins with http:// or https://"),
        ({"url": "http://user:sk-canary-x@127.0.0.1"}, "url: must not hold credentials"),
        ({"url": 5}, "Expected `str`, got `int`"),
        ({"model": "m\n\x1b[31mX"}, r"model: Expected the name of one model, got 'm\n\x1b[31mX'"),
        ({"models": ["m\u202e"]}, "models: Expected names of models"),
        ({"provider": "p\x9bq"}, r"provider: Expected a name, got 'p\x9bq'"),
        ({"mode": "chat"}, "mode: Expected 'anthropic_messages' or"),
        ({"token": {"file": "/etc/passwd"}}, "token: Expected a text, got `dict`"),
        ({"token": {"env": "HOME"}}, "token: Expected a text, got `dict`"),
        ({"provider": {"env": "HOME"}}, "provider: "),
        ({"headers": {"host": "x"}}, "headers: 'host' is not a header field that can be set"),
        ({"headers": {"x": {"env": "HOME"}}}, "x: "),
        ({"models": ["a*"]}, "models: Expected names of models"),
        ({"ca": "/etc/passwd"}, "a target has no 'ca'"),
        ({"socket": "/run/x.sock"}, "a target has no 'socket'"),
        ({"key": "mine"}, "a target has no 'key'"),
        ({"base_url": "http://127.0.0.1"}, "url is said twice, once as 'base_url'"),
    ],
)
async def test_what_makes_no_target(wrong: Mapping[str, Any], says: str) -> None:
    mine = fresh()
    with pytest.raises(ConfigError) as refused:
        await mine.register({**LOCAL, **wrong})
    assert says in str(refused.value)
    assert "canary" not in str(refused.value)
    assert not list(mine)


# ── those of the file ───────────────────────────────────────────────────────────────────────────────────────────────

FAST = '[targets.fast]\nmodel = "qwen3"\nurl = "http://127.0.0.1:8080"\n'


async def test_one_of_the_file_is_shown_by_its_name() -> None:
    mine = fresh(FAST + 'reasoning = "replay"\nmode = "chat_completions"\nconnect-timeout = "1s"')
    assert [target.key for target in mine] == [None]
    done = await mine.register({"name": "fast"})
    assert done.new
    assert not (await mine.register({"name": "fast"})).new
    route = found(mine, done.path, done.token)
    assert route is not None
    assert route.upstream.target.reasoning == "replay"
    assert route.upstream.timeouts.connect == 1.0
    assert [(target.key, target.name, target.model) for target in mine] == [(done.key, "fast", "qwen3")]


async def test_its_key_and_token_may_be_given() -> None:
    token = "a-token-of-the-file"
    mine = fresh(FAST + f'route-key = "team"\nclient-token = "{token}"')
    assert found(mine, "/targets/team/v1/messages", token)
    assert refusal(mine, "/targets/team/v1/messages", "a-token-of-another") == 401
    done = await mine.register({"name": "fast"})
    assert (done.key, done.token, done.new) == ("team", None, False)


async def test_or_one_of_them() -> None:
    mine = fresh(FAST + 'route-key = "team"')
    assert refusal(mine, "/targets/team", "x") == 404, "nobody has a token yet"
    done = await mine.register({"name": "fast"})
    assert done.key == "team"
    assert found(mine, "/targets/team", done.token)


@pytest.mark.parametrize("said", [{"name": "slow"}, {"name": "fast", "model": "x"}, {"name": 5}])
async def test_a_name_alone_is_shown_and_a_known_one(said: Mapping[str, Any]) -> None:
    with pytest.raises(ProxyError, match="by its name alone"):
        await fresh(FAST).register(said)


async def test_what_the_file_has_no_longer_is_gone_and_comes_back_the_same(tmp_path: Path) -> None:
    mine = await restarted(tmp_path, SQLITE + FAST)
    done = await mine.register({"name": "fast"})
    mine.use(read(SQLITE, tmp_path))
    assert refusal(mine, done.path, done.token) == 404
    again = await restarted(tmp_path, SQLITE + FAST.replace("8080", "8081"))
    route = found(again, done.path, done.token)
    assert route is not None
    assert str(route.upstream) == "http://127.0.0.1:8081"


async def test_one_of_the_file_is_not_taken_away() -> None:
    mine = fresh(FAST + 'route-key = "team"')
    with pytest.raises(ProxyError, match=r"\[targets\.fast\] is in the file"):
        await mine.forget("team")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[targets.x]\n", "[targets.x] needs a model"),
        (FAST + 'dialect = "anthropic"', "dialect: what a target speaks is said by its mode"),
        (FAST + 'route-key = "a/b"', "route-key: Expected 1 to 64 of"),
        (FAST + 'client-token = "short"', "can be guessed"),
        (FAST + 'route-key = "k"\n' + FAST.replace("fast", "slow") + 'route-key = "k"', "[targets.fast] has the same"),
        (FAST + '[routes]\n"/" = "up"\n"/targets/x" = "up"', "route '/targets/x' is where targets are"),
    ],
)
def test_what_is_wrong_with_the_file(toml: str, says: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        read(toml)
    assert says in str(wrong.value)


# ── what lasts ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_restart_changes_no_key_and_no_token(tmp_path: Path) -> None:
    mine = await restarted(tmp_path, SQLITE + FAST)
    done, named = await mine.register({**LOCAL, "token": TOKEN}), await mine.register({"name": "fast"})
    gone = await mine.register({**LOCAL, "model": "another"})
    await mine.forget(gone.key)
    assert done.durable
    assert named.durable
    again = await restarted(tmp_path, SQLITE + FAST)
    assert found(again, done.path, done.token)
    assert found(again, named.path, named.token)
    assert refusal(again, gone.path, gone.token) == 404
    same = await again.register({**LOCAL, "token": TOKEN})
    assert (same.key, same.token, same.new) == (done.key, done.token, False)


@pytest.mark.parametrize("first", [0, 1])
async def test_what_two_processes_have_registered_has_two_keys_and_each_can_be_taken_away(
    tmp_path: Path, first: int
) -> None:
    processes = [await restarted(tmp_path) for _ in range(2)]
    keys = [(await each.register(LOCAL)).key for each in processes]
    mine, worker = await restarted(tmp_path), fresh(SQLITE)
    worker.load(mine.snapshot())

    async def tell(change: bytes) -> None:
        worker.load(change)

    mine.on_change = tell
    gone, left = keys[first], keys[1 - first]
    await mine.forget(gone)
    again = await mine.register(LOCAL)
    assert (again.key, again.new) == (left, False), "it takes the place of the other"
    await mine.forget(left)
    assert [*mine, *worker, *await restarted(tmp_path)] == []
    assert refusal(worker, f"/targets/{left}") == 404


async def test_who_is_told_of_what_goes_is_told_of_each_once() -> None:
    mine, worker, gone = fresh(), fresh(), list[str]()
    keys = [(await mine.register({**LOCAL, "model": model})).key for model in "abc"]
    worker.load(mine.snapshot())
    worker.on_gone = gone.append
    assert list(worker.upstreams) == [f"targets.{key}" for key in keys]
    await mine.forget(keys[1])
    worker.load(mine.snapshot())
    worker.load(mine.snapshot())
    assert gone == [f"targets.{keys[1]}"]
    assert [worker.get(key) for key in keys] == [mine.get(keys[0]), None, mine.get(keys[2])]


async def test_with_a_key_nothing_of_them_can_be_read_in_the_file(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    sealed = SQLITE + 'key = "a text of thirty-two characters or more"\n'
    done = await (await restarted(tmp_path, sealed)).register({**LOCAL, "token": TOKEN})
    kept = (tmp_path / "thinking.targets.db").read_bytes()
    assert done.token
    assert not any(word in kept for word in (TOKEN.encode(), done.token.encode(), b"qwen3"))
    assert found(await restarted(tmp_path, sealed), done.path, done.token)


async def test_what_was_kept_with_another_key_is_told_of_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("cryptography")
    sealed = SQLITE + 'key = "a text of thirty-two characters or more"\n'
    done = await (await restarted(tmp_path, sealed)).register(LOCAL)
    other = await restarted(tmp_path, SQLITE)
    assert "1 targets cannot be read: they were kept with another `key` of [store]" in caplog.text
    assert refusal(other, done.path, done.token) == 404
    assert found(await restarted(tmp_path, sealed), done.path, done.token)


async def test_a_book_that_cannot_be_read_takes_nothing_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = await (await restarted(tmp_path)).register(LOCAL)
    file = tmp_path / "thinking.targets.db"
    kept = file.read_bytes()
    file.write_bytes(b"x" * len(kept))
    mine = await restarted(tmp_path)
    assert [record.levelno for record in caplog.records if "is damaged" in record.getMessage()] == [logging.ERROR]
    assert refusal(mine, done.path, done.token) == 503, "it may well be there"
    with pytest.raises(StoreError, match="is damaged"):
        await mine.register(LOCAL)
    file.write_bytes(kept)
    assert not (await mine.register(LOCAL)).new
    assert found(mine, done.path, done.token)


class Full(Book):
    """A book with no page left."""

    async def entries(self) -> Mapping[str, bytes | None]:
        return {}

    async def keep(self, key: str, value: bytes, /) -> None:
        raise StoreError("the disk is full")

    async def forget(self, key: str, /) -> None: ...


async def test_what_cannot_be_kept_is_not_registered() -> None:
    mine = Targets(read(), Full())
    with pytest.raises(StoreError):
        await mine.register(LOCAL)
    assert not list(mine)


# ── other processes ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_other_processes_know_what_they_are_told() -> None:
    mine, worker = fresh(FAST), fresh(FAST)
    mine.on_change = told = Told(worker)
    first = await mine.register(LOCAL)
    named = await mine.register({"name": "fast"})
    assert found(worker, first.path, first.token)
    assert found(worker, named.path, named.token)
    late = fresh(FAST)
    late.load(mine.snapshot())
    assert found(late, first.path, first.token)
    assert found(late, named.path, named.token)
    await mine.forget(first.key)
    assert refusal(worker, first.path, first.token) == 404
    assert told.changes == 3
    late.load(mine.snapshot())
    assert refusal(late, first.path, first.token) == 404, "a whole snapshot is all there is"


async def test_what_another_release_registered_and_this_one_cannot_read_is_told() -> None:
    mine, worker = fresh(), fresh()
    done = await mine.register(LOCAL)
    worker.load(mine.snapshot().replace(b'"chat_completions"', b'"a_mode_to_come"'))
    with pytest.raises(ProxyError, match=r"is not valid any more: mode: Expected .*, got 'a_mode_to_come'") as refused:
        worker.find(done.path, [])
    assert refused.value.error.status == 500


class Told:
    """What another process is told."""

    def __init__(self, worker: Targets) -> None:
        self._worker, self.changes = worker, 0

    async def __call__(self, change: bytes) -> None:
        assert b"\n" not in change
        assert msgspec.json.decode(change)
        self.changes += 1
        self._worker.load(change)
