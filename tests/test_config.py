"""The whole of `trioproxy/config/`: what a file says, and what the operator is told that is wrong with it."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

import trioproxy
from tests import told
from trioproxy import config
from trioproxy.config import DEFAULT_REQUEST, DEFAULT_RESPONSE, Config, Log, Replay, Route, Secret, Upstream
from trioproxy.dialects.target import Target
from trioproxy.errors import ConfigError, Position
from trioproxy.http.client import Origin, Timeouts
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Address, Listen
from trioproxy.store import Settings
from trioproxy.units import Seconds, Size

PACKAGE = Path(trioproxy.__file__).parent
UP = '[upstreams.up]\nurl = "http://127.0.0.1:3456"\n'
TWO = UP + '[upstreams.two]\nurl = "http://two"\n'
LIST = '"deframe", "parse", "translate", "reframe"'


def read(text: str, environ: Mapping[str, str] = {}, *, beside: Path = Path()) -> Config:
    return config.read(text, beside / "stages.toml", environ)


def refused(text: str, environ: Mapping[str, str] = {}, *, beside: Path = Path()) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text, environ, beside=beside)
    told.now.serves(text)
    told.now.says("an error", str(caught.value))
    return caught.value


def stage_names(route: Route) -> tuple[list[str], list[str]]:
    return [spec.name for spec in route.request], [spec.name for spec in route.response]


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    """What a test imports, and from where, is forgotten after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


# ── what a file says ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_smallest_file_has_every_default() -> None:
    upstream = Upstream("up", "anthropic", Origin("http", "127.0.0.1", 3456), target=Target(host="127.0.0.1"))
    loaded = read(UP)
    assert loaded.upstreams == {"up": upstream}
    assert (loaded.listen, loaded.limits, float(loaded.drain)) == ((Listen(Address("127.0.0.1:4567")),), Limits(), 30)
    assert (loaded.hosts, loaded.origins, loaded.log) == ((), (), config.Log())
    [route] = loaded.routes
    assert (route.prefix, route.upstream) == ("/", upstream)
    assert (dict(route.models.aliases), route.strict, route.asked("x")) == ({}, False, "x")
    assert stage_names(route) == (list(DEFAULT_REQUEST["anthropic"]), list(DEFAULT_RESPONSE))
    expected = "deframe parse signature-filter remember-thinking keepalive translate reframe"
    assert list(DEFAULT_RESPONSE) == expected.split()


def test_a_file_that_says_everything() -> None:
    loaded = read(
        dedent("""
        listen = ["127.0.0.1:1", "unix:/run/x.sock"]
        hosts = ["proxy.lan"]
        origins = ["http://app.lan"]
        drain = "5s"
        log = { enabled = false, level = "debug", format = "json" }
        limits = { body = "1 MiB", keep-alive = 0 }

        [upstreams.up]
        url = "https://api.example:8443/v1/"
        dialect = "anthropic"
        token = "t0ken"
        headers = { X-Team = "blue" }
        connect-timeout = "1s"
        first-byte-timeout = "2s"
        idle-timeout = "3s"
        """)
    )
    assert loaded.listen == (Listen(Address("127.0.0.1:1")), Listen(Address("unix:/run/x.sock")))
    assert (loaded.hosts, loaded.origins, float(loaded.drain)) == (("proxy.lan",), ("http://app.lan",), 5)
    assert loaded.log == Log(enabled=False, level="debug", format="json")
    assert (int(loaded.limits.body), float(loaded.limits.keep_alive)) == (1024**2, 0)
    up = loaded.upstreams["up"]
    assert (up.origin, up.path) == (Origin("https", "api.example", 8443), "/v1")
    assert (up.token, up.headers) == ("t0ken", (("x-team", "blue"),))
    assert up.timeouts == Timeouts(connect=Seconds(1), first_byte=Seconds(2), between_bytes=Seconds(3))
    assert str(up) == "https://api.example:8443/v1"


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("http://host", Origin("http", "host", 80), ""),
        ("https://host/", Origin("https", "host", 443), ""),
        ("http://[::1]:8080/v1", Origin("http", "::1", 8080), "/v1"),
    ],
)
def test_urls(url: str, origin: Origin, path: str) -> None:
    up = read(f'[upstreams.up]\nurl = "{url}"').upstreams["up"]
    assert (up.origin, up.path) == (origin, path)


# ── models, and how an upstream is asked ────────────────────────────────────────────────────────────────────────────


def test_how_an_upstream_is_asked() -> None:
    loaded = read(
        dedent("""
        [upstreams.chat]
        url = "https://API.Example/v1"
        dialect = "openai-chat"
        model = "qwen3-coder"
        reasoning = "replay"
        effort = "drop"
        system-messages = "user"
        max-tokens = { env = "MOST" }
        [upstreams.claude]
        url = "http://claude"
        version = "2026-10-21"
        system-messages = "hoist"
        [upstreams.demo]
        url = "replay:recordings/metadata-then-answer.sse"
        [routes]
        "/" = "chat"
        """),
        {"MOST": "8192"},
    )
    chat, claude, demo = loaded.upstreams.values()
    assert chat.target == Target(
        host="api.example", reasoning="replay", effort="drop", system_messages="user", max_tokens=8192
    )
    assert claude.target == Target(host="claude", version="2026-10-21", system_messages="hoist")
    assert (demo.target, demo.model, chat.model) == (Target(), None, "qwen3-coder")


def test_the_model_that_is_asked_for() -> None:
    """A route's own aliases stand for the global ones, and the upstream's one model for all of them."""
    loaded = read(
        dedent("""
        [upstreams.up]
        url = "http://up"
        [upstreams.one]
        url = "http://one"
        model = "qwen3-coder"
        [models]
        "gpt-4o" = { env = "MODEL", default = "claude-sonnet-4-6" }
        "mine/*" = "*"
        [routes]
        "/" = "up"
        "/own" = { upstream = "up", models = { "*" = "claude-opus-5-5" }, strict = true }
        "/none" = { upstream = "up", models = {} }
        "/one" = { upstream = "one" }
        """)
    )
    routes = {route.prefix: route for route in loaded.routes}
    assert {prefix: route.asked("gpt-4o") for prefix, route in routes.items()} == {
        "/": "claude-sonnet-4-6",
        "/own": "claude-opus-5-5",
        "/none": "gpt-4o",
        "/one": "qwen3-coder",
    }
    assert routes["/"].asked("mine/x") == "x"
    assert {prefix for prefix, route in routes.items() if route.strict} == {"/own"}


# ── pipelines and routes ────────────────────────────────────────────────────────────────────────────────────────────


def test_no_response_stages_are_a_passthrough() -> None:
    [route] = read(f"{UP}[pipeline]\nresponse = []").routes
    assert stage_names(route) == ([], [])


def test_a_list_left_out_is_the_default_one() -> None:
    [route] = read(f"{UP}[pipeline]\nrequest = []").routes
    assert stage_names(route) == ([], list(DEFAULT_RESPONSE))
    [route] = read(f"{UP}[pipeline]\nresponse = [{LIST}]").routes
    assert stage_names(route) == (list(DEFAULT_REQUEST["anthropic"]), ["deframe", "parse", "translate", "reframe"])


def test_the_request_stages_are_by_default_those_for_the_upstreams_dialect() -> None:
    chat = '[upstreams.chat]\nurl = "http://chat"\ndialect = "openai-chat"\n'
    routes = '[routes]\n"/" = "up"\n"/c" = "chat"\n"/raw" = { upstream = "chat", response = [] }\n'
    own = '"/own" = { upstream = "chat", request = [] }\n'

    def requests(text: str) -> list[list[str]]:
        return [stage_names(route)[0] for route in reversed(read(text).routes)]

    by_prefix = {route.prefix: stage_names(route)[0] for route in read(UP + chat + routes + own).routes}
    usual = list(DEFAULT_REQUEST["openai-chat"])
    # Where nothing is translated, nobody asks who needs one of them.
    assert by_prefix == {"/": ["replay-thinking"], "/c": usual, "/raw": [], "/own": []}
    assert usual == ["billing-nonce"]
    assert requests(chat) == [usual]
    assert requests(f"{UP}{chat}{routes}[pipeline]\nrequest = []") == [[], [], []]
    twice = usual * 2
    assert requests(f"{UP}{chat}{routes}[pipeline]\nrequest = {twice}") == [twice, twice, []]


def test_options_reach_the_stage() -> None:
    text = f'{UP}[pipeline]\nresponse = ["deframe", "parse", "slow", "translate", "reframe"]\n'
    [route] = read(f'{text}[stages.slow]\nuse = "keepalive"\nafter = "3s"').routes
    spec = route.response[2]
    assert (spec.name, spec.cls.__name__) == ("slow", "Keepalive")
    assert vars(spec.make())["_after"] == 3
    assert spec.make() is not spec.make()


def test_a_stage_of_ones_own_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "own_stages.py").write_text(
        "from trioproxy import *\nclass Own(Stage[Event, Event]):\n  def feed(self, e, /): yield e\n"
    )
    text = f'{UP}[pipeline]\nresponse = ["deframe", "parse", "own_stages:Own", "translate", "reframe"]'
    [route] = read(text, beside=tmp_path).routes
    assert route.response[2].cls.__name__ == "Own"


@pytest.mark.parametrize("host", ["", "*", "*.lan", "http://proxy.lan", "proxy.lan/x", "proxy lan", "prüf.lan"])
def test_what_is_no_host(host: str) -> None:
    [problem] = refused(f'hosts = ["{host}"]\n{UP}').problems
    assert problem.message.startswith("hosts: Expected a host name")


@pytest.mark.parametrize("origin", ["", "https://", "https://*.lan", "https://app.lan/x", "https:app.lan", "//app.lan"])
def test_what_is_no_origin(origin: str) -> None:
    [problem] = refused(f'origins = ["{origin}"]\n{UP}').problems
    assert problem.message.startswith("origins: Expected a web origin")


def test_hosts_and_origins_that_can_match() -> None:
    hosts = ("proxy.lan", "Proxy_1.lan:8080", "192.168.0.1", "[fe80::1]:80")
    origins = ("*", "null", "http://app.lan", "https://app.lan:8443/", "chrome-extension://abcdef")
    loaded = read(f"hosts = {[*hosts]}\norigins = {[*origins]}\n{UP}")
    assert (loaded.hosts, loaded.origins) == (hosts, origins)


def test_routes_stand_longest_prefix_first() -> None:
    loaded = read(f'{TWO}[routes]\n"/" = "up"\n"/a/b" = "two"\n"/a" = {{ upstream = "up", response = [] }}')
    assert [(route.prefix, route.upstream.name) for route in loaded.routes] == [
        ("/a/b", "two"),
        ("/a", "up"),
        ("/", "up"),
    ]
    assert [stage_names(route)[1] for route in loaded.routes] == [list(DEFAULT_RESPONSE), [], list(DEFAULT_RESPONSE)]


def test_a_route_has_lists_of_its_own_and_the_others_by_default() -> None:
    loaded = read(f'{UP}[pipeline]\nresponse = []\n[routes."/x"]\nupstream = "up"\nresponse = [{LIST}]')
    assert stage_names(loaded.routes[0]) == (["replay-thinking"], ["deframe", "parse", "translate", "reframe"])


@pytest.mark.parametrize(
    ("prefix", "path", "match"),
    [
        ("/", "/v1/messages", ("", "/v1/messages")),
        ("/a", "/a/v1", ("", "/v1")),
        ("/a", "/a", ("", "/")),
        ("/a", "/ab", None),
        ("/a", "/", None),
        ("/{session}", "/s/v1/messages", ("s", "/v1/messages")),
        ("/{session}", "/s", None),
        ("/{session}", "/v1/messages", None),
        ("/a/{session}", "/a/s/v1/models", ("s", "/v1/models")),
        ("/a/{session}", "/a/v1/models", None),
        ("/a/{session}", "/s/v1/models", None),
    ],
)
def test_what_of_a_path_a_prefix_takes(prefix: str, path: str, match: tuple[str, str] | None) -> None:
    [route] = read(f'{UP}[routes]\n"{prefix}" = "up"').routes
    assert route.match(path) == match


def test_sessions_stand_behind_what_is_fixed_and_before_what_is_shorter() -> None:
    prefixes = ["/", "/{session}", "/a", "/a/{session}", "/a/b", "/b/c/d"]
    routes = read(UP + "[routes]\n" + "\n".join(f'"{prefix}" = "up"' for prefix in prefixes)).routes
    assert [route.prefix for route in routes] == ["/b/c/d", "/a/b", "/a/{session}", "/a", "/{session}", "/"]
    assert {route.prefix: route.taken for route in routes if route.stem is not None} == {
        "/{session}": {"a", "b"},
        "/a/{session}": {"b"},
    }


# ── recordings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recording_is_looked_up_beside_the_file_then_in_the_package(tmp_path: Path) -> None:
    name = "recordings/metadata-then-answer.sse"
    text = f'[upstreams.demo]\nurl = "replay:{name}"\npace = "40ms"\nchunk = 7'
    packaged = read(text, beside=tmp_path).upstreams["demo"].replay
    assert packaged == Replay(f"replay:{name}", PACKAGE / name, Seconds(0.04), Size(7))
    (tmp_path / "recordings").mkdir()
    (tmp_path / name).write_text("data: x\n\n")
    own = read(text, beside=tmp_path).upstreams["demo"]
    assert own.replay
    assert own.replay.file == tmp_path / name
    assert own.origin is None
    assert str(own) == f"replay:{name}"


# ── the environment ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_wins_over_the_default() -> None:
    text = '[upstreams.up]\nurl = { env = "UP", default = "http://default" }'
    assert str(read(text).upstreams["up"]) == "http://default"
    assert str(read(text, {"UP": "http://other:1"}).upstreams["up"]) == "http://other:1"


def test_the_environment_anywhere() -> None:
    environ = {"TOKEN": " t\n", "TEAM": "blue", "LINES": "7", "AFTER": "3s", "WITHIN": "9", "LEVEL": "DEBUG"}
    text = dedent("""
        [upstreams.up]
        url = "http://up"
        token = { env = "TOKEN" }
        headers = { x-team = { env = "TEAM" } }
        [limits]
        head-lines = { env = "LINES" }
        [stages.signature-filter]
        within = { env = "WITHIN" }
        [stages.keepalive]
        after = { env = "AFTER", default = 1 }
        [log]
        level = { env = "LEVEL" }
        """)
    loaded = read(text, environ)
    up = loaded.upstreams["up"]
    assert (up.token, up.headers) == ("t", (("x-team", "blue"),))
    assert (loaded.limits.head_lines, loaded.log.level) == (7, "debug")
    listed = 'hosts = ["a.lan", { env = "HOST" }]\n' + UP + '[routes]\n"/" = { env = "ROUTE", default = "up" }'
    assert read(listed, {"HOST": "b.lan"}).hosts == ("a.lan", "b.lan")
    assert read(listed, {"HOST": "b.lan"}).routes[0].upstream.name == "up"
    stages = {spec.name: vars(spec.make()) for spec in loaded.routes[0].response}
    assert (stages["signature-filter"]["_within"], stages["keepalive"]["_after"]) == (9, 3)


# ── mistakes: the place, the message, the hint ──────────────────────────────────────────────────────────────────────

A = '[upstreams.a]\nurl = "http://a"\n'  # two lines, so that what is tested begins in the third

MISTAKES: dict[str, tuple[str, str]] = {
    # unknown names
    "unknown key": (A + "[limits]\nbodi = 1", "4:1: [limits] has no key 'bodi' = did you mean 'body'?"),
    "unknown key, nothing near": (
        A + "[log]\nzzz = 1",
        "4:1: [log] has no key 'zzz' = known here: enabled, format, level",
    ),
    "unknown section": (
        '[upstream.a]\nurl = "x"\n' + UP,
        "1:2: the file has no key 'upstream' = did you mean 'upstreams'?",
    ),
    "unknown key at the top": ("lisen = 1\n" + A, "1:1: the file has no key 'lisen' = did you mean 'listen'?"),
    "unknown key of an upstream": (A + 'toke = "x"', "3:1: [upstreams.a] has no key 'toke' = did you mean 'token'?"),
    "unknown dialect": (
        A + 'dialect = "antropic"',
        "3:11: there is no dialect 'antropic' = did you mean 'anthropic'?",
    ),
    "unknown stage": (
        A + '[pipeline]\nresponse = [\n  "defram",\n]',
        "5:3: there is no stage 'defram' = did you mean 'deframe'?",
    ),
    "unknown stage, nothing near": (
        A + '[pipeline]\nrequest = ["zzz"]',
        "4:12: there is no stage 'zzz' = python -m trioproxy stages lists them; one of your own is 'module:Class'",
    ),
    "options of an unknown stage": (
        A + "[stages.keepalve]\nafter = 1",
        "3:9: there is no stage 'keepalve' = did you mean 'keepalive'?",
    ),
    "use of an unknown stage": (
        A + '[stages.mine]\nuse = "keepalve"',
        "4:7: there is no stage 'keepalve' = did you mean 'keepalive'?",
    ),
    "no module of ones own": (
        A + '[pipeline]\nrequest = ["no_such_module:Mine"]',
        "4:12: stage 'no_such_module:Mine': there is no module 'no_such_module'"
        " = put no_such_module.py beside the TOML file",
    ),
    "unknown option": (
        A + "[stages.keepalive]\naftr = 1",
        "4:1: stage 'keepalive' has no option 'aftr' = did you mean 'after'?",
    ),
    "option of a stage without any": (
        A + "[stages.deframe]\nx = 1",
        "4:1: stage 'deframe' has no option 'x' = it has no options",
    ),
    "unknown upstream": (A + '[routes]\n"/" = "b"', "4:7: there is no upstream 'b' = known: a"),
    "unknown upstream, something near": (
        UP + '[upstreams.router]\nurl = "http://r"\n[routes]\n"/" = { upstream = "ruoter" }',
        "6:20: there is no upstream 'ruoter' = did you mean 'router'?",
    ),
    "unknown key of a route": (
        A + '[routes]\n"/" = { upstream = "a", respnse = [] }',
        "4:25: [routes./] has no key 'respnse' = did you mean 'response'?",
    ),
    # wrong types and values
    "text expected": (A + "dialect = 5", "3:11: dialect: Expected `str`, got `int`"),
    "table expected": ("upstreams = 5", "1:13: upstreams: Expected a table, got `int`"),
    "table expected, array got": ("[[upstreams]]\n", "1:3: upstreams: Expected a table, got `array`"),
    "upstream in short": ('upstreams.a = "http://a"', "1:15: upstreams.a: Expected a table, got `str`"),
    "stage options in short": (A + "[stages]\nkeepalive = 5", "4:13: stages.keepalive: Expected a table, got `int`"),
    "use of a wrong type": (A + "[stages.x]\nuse = 5", "4:7: use: Expected `str`, got `int`"),
    "array expected": (A + '[pipeline]\nresponse = "deframe"', "4:12: response: Expected `array`, got `str`"),
    "wrong element": (A + '[pipeline]\nresponse = ["deframe", 5]', "4:24: response: Expected `str`, got `int`"),
    "host that is none": (
        'hosts = ["a", 5]\n' + A,
        '1:15: hosts: Expected a host name such as "proxy.lan", without scheme, path or wildcard, got 5',
    ),
    "origin that is none": (
        'origins = ["app.lan"]\n' + A,
        '1:12: origins: Expected a web origin such as "https://app.lan", or "*" for any, got \'app.lan\'',
    ),
    "time": (
        A + 'idle-timeout = "5 minutes"',
        "3:16: idle-timeout: Expected a time such as \"10s\", \"40ms\" or \"2m\", got '5 minutes'",
    ),
    "no time at all": (A + 'connect-timeout = "0s"', "3:19: connect-timeout: Expected a time of more than 0, got '0s'"),
    "no time for a head": (
        A + "[limits]\nhead-timeout = 0",
        "4:16: head-timeout: Expected a time of more than 0, got 0",
    ),
    "size": (
        A + '[limits]\nbody = "1 mile"',
        "4:8: body: Expected a size such as \"64 KiB\" or \"16 MiB\", or a number of bytes, got '1 mile'",
    ),
    "way of an upstream": (
        A + 'system-messages = "hoisted"',
        "3:19: system-messages: Expected 'keep' or 'hoist' or 'user', got 'hoisted' = did you mean 'hoist'?",
    ),
    "version that is none": (
        A + 'version = "2023-06-02"',
        "3:11: version: Expected '2023-06-01' or '2026-10-21', got '2023-06-02' = did you mean '2023-06-01'?",
    ),
    "version without quotes": (A + "version = 2023-06-01", "3:11: version: Expected `str`, got `date`"),
    "way that Anthropic's dialect has not": (
        A + 'reasoning = "replay"',
        "3:1: reasoning: an upstream that speaks 'anthropic' has no such key"
        ' = take it out, or say what the upstream speaks: dialect = "openai-chat" or "openai-responses"',
    ),
    "effort for Anthropic's dialect": (
        A + 'effort = "drop"',
        "3:1: effort: an upstream that speaks 'anthropic' has no such key"
        ' = take it out, or say what the upstream speaks: dialect = "openai-chat" or "openai-responses"',
    ),
    "cache key of another kind": (
        A + 'dialect = "openai-chat"\ncache-key = "user"',
        "4:13: cache-key: Expected 'session', got 'user'",
    ),
    "cache key for Anthropic's dialect": (
        A + 'cache-key = "session"',
        "3:1: cache-key: an upstream that speaks 'anthropic' has no such key"
        ' = take it out, or say what the upstream speaks: dialect = "openai-chat" or "openai-responses"',
    ),
    "version for another dialect": (
        A + 'dialect = "openai-chat"\nversion = "2023-06-01"',
        "4:1: version: an upstream that speaks 'openai-chat' has no such key"
        ' = take it out, or say what the upstream speaks: dialect = "anthropic"',
    ),
    "no tokens": (A + "max-tokens = 0", "3:14: max-tokens: Expected `int` >= 1, got 0"),
    "no model": (
        A + 'model = " "',
        "3:9: model: Expected the name of one model, got ' '"
        ' = model = "qwen3-coder"; for more than one name there is [models]',
    ),
    "model of a wrong type": (A + "model = 5", "3:9: model: Expected `str`, got `int`"),
    # models
    "alias of a wrong type": (A + '[models]\n"gpt-4o" = 5', "4:12: gpt-4o: Expected `str`, got `int`"),
    "models of a wrong type": ('models = "x"\n' + A, "1:10: models: Expected a table, got `str`"),
    "alias with two stars": (
        A + '[models]\n"a*b*" = "c"',
        "4:1: 'a*b*' has more than one * = one * stands for one or more characters",
    ),
    "two stars for an alias": (
        A + '[models]\n"a*" = "**"',
        "4:8: '**' has more than one * = one * stands for one or more characters",
    ),
    "star that the alias has not": (
        A + '[models]\n"a" = "b/*"',
        "4:7: 'b/*' repeats a * that 'a' does not have = \"a*\" = \"b/*\", or a name without a *",
    ),
    "empty alias": (
        A + '[models]\n"" = "b"',
        '4:1: the name of a model is empty = "gpt-4o" = "claude-sonnet-4-6"; for any model: "*" = "claude-sonnet-4-6"',
    ),
    "alias for nothing": (
        A + '[models]\n"a" = { env = "EMPTY" }',
        '4:7: the name of a model is empty = "gpt-4o" = "claude-sonnet-4-6"; for any model: "*" = "claude-sonnet-4-6"'
        " = the value is that of $EMPTY",
    ),
    "alias of a route": (
        A + '[routes]\n"/" = { upstream = "a", models = { "a**" = "b" } }',
        "4:36: 'a**' has more than one * = one * stands for one or more characters",
    ),
    "models of a route of a wrong type": (
        A + '[routes]\n"/" = { upstream = "a", models = [] }',
        "4:34: routes./.models: Expected a table, got `array`",
    ),
    "strict that is neither": (
        A + '[routes]\n"/" = { upstream = "a", strict = "yes" }',
        "4:34: strict: Expected `bool`, got `str`",
    ),
    "number too small": (A + "[limits]\nconnections = 0", "4:15: connections: Expected `int` >= 1, got 0"),
    "choice": (
        A + '[log]\nlevel = "warn"',
        "4:9: level: Expected 'debug' or 'info' or 'warning' or 'error', got 'warn' = did you mean 'warning'?",
    ),
    "option of a wrong type": (
        A + '[stages.signature-filter]\nwithin = "x"',
        "4:10: within: Expected `int`, got `str`",
    ),
    "option that the stage refuses": (
        A + '[stages.signature-filter]\npattern = "("',
        "4:11: stage 'signature-filter': pattern is no regular expression: missing ) at position 1",
    ),
    "address": (
        'listen = "4567"\n' + A,
        '1:10: listen: Expected an address such as "127.0.0.1:4567", "[::1]:4567" or "unix:/run/trioproxy.sock",'
        " got '4567'",
    ),
    "second address": (
        'listen = ["127.0.0.1:1", "x"]\n' + A,
        '1:26: listen: Expected an address such as "127.0.0.1:4567", "[::1]:4567" or "unix:/run/trioproxy.sock",'
        " got 'x'",
    ),
    "no address": ("listen = []\n" + A, '1:10: listen: Expected at least one address = listen = "127.0.0.1:4567"'),
    # upstreams
    "empty file": ("", "1:1: the file names no upstream: where should requests go? = …"),
    "no upstream": ('listen = ":1"', "1:1: the file names no upstream: where should requests go? = …"),
    "no url": ("[upstreams.a]", '1:12: [upstreams.a] needs a url = url = "http://127.0.0.1:3456"'),
    "no recording": (
        '[upstreams.a]\nurl = "replay:x.sse"',
        "2:7: there is no recording 'x.sse' = looked for beside the TOML file, then in the package",
    ),
    "url without a scheme": (
        '[upstreams.a]\nurl = "localhost:3456"',
        '2:7: url: Expected a URL such as "http://127.0.0.1:3456" or "replay:recordings/hello.sse", got'
        " 'localhost:3456' = did you mean 'http://localhost:3456'?",
    ),
    "url of another scheme": (
        '[upstreams.a]\nurl = "ftp://x"',
        '2:7: url: Expected a URL such as "http://127.0.0.1:3456" or "replay:recordings/hello.sse", got \'ftp://x\'',
    ),
    "url with a fragment": (
        '[upstreams.a]\nurl = "http://x/?a=b#c"',
        "2:7: url: must have no fragment: it is for browsers alone",
    ),
    "url with a space": (
        '[upstreams.a]\nurl = "http://x/a b"',
        "2:7: url: has characters that must be percent-encoded",
    ),
    "url with a wrong port": ('[upstreams.a]\nurl = "http://x:99999"', "2:7: url: Port out of range 0-65535 = …"),
    "url of no host": (
        '[upstreams.a]\nurl = "http://a..b/"',
        "2:7: url: no host has the name 'a..b': between dots are 1 to 63 characters",
    ),
    "url with port 0": ('[upstreams.a]\nurl = "http://x:0"', "2:7: url: there is no port 0 to connect to"),
    "url with half an address": ('[upstreams.a]\nurl = "http://[::1"', "2:7: url: Invalid IPv6 URL = …"),
    "header of the framing": (
        A + 'headers = { Content-Length = "1" }',
        "3:13: headers: 'Content-Length' is not a header field that can be set",
    ),
    "header that is none": (
        A + 'headers = { "a b" = "1" }',
        "3:13: headers: 'a b' is not a header field that can be set",
    ),
    "upstream without a name": ('[upstreams.""]\nurl = "http://a"', "1:12: '' cannot name an upstream"),
    "pace without a recording": (A + 'pace = "1s"', "3:1: pace: only for replay: upstreams"),
    # the environment
    "no such variable": (
        A + 'token = { env = "NOPE" }',
        "3:9: token: the environment variable NOPE is not set"
        ' = set it, or give a default: { env = "NAME", default = "…" }',
    ),
    "no such variable of an option": (
        A + '[stages.signature-filter]\npattern = { env = "NOPE" }',
        "4:11: pattern: the environment variable NOPE is not set"
        ' = set it, or give a default: { env = "NAME", default = "…" }',
    ),
    "wrong variable": (
        A + '[limits]\nbody = { env = "MUCH", default = 5 }',
        '4:8: body: Expected a size such as "64 KiB" or "16 MiB", or a number of bytes, got \'much\''
        " = the value is that of $MUCH",
    ),
    "wrong variable of a switch": (
        A + '[log]\nenabled = { env = "MUCH", default = true }',
        "4:11: enabled: Expected true or false (or yes, no, on, off, 1, 0), got another text"
        " = the value is that of $MUCH",
    ),
    "wrong variable of a choice": (
        A + '[log]\nlevel = { env = "MUCH" }',
        "4:9: level: Expected 'debug' or 'info' or 'warning' or 'error', got 'much' = the value is that of $MUCH",
    ),
    "a level in capitals": (
        A + '[log]\nlevel = "INFOS"',
        "4:9: level: Expected 'debug' or 'info' or 'warning' or 'error', got 'INFOS' = did you mean 'info'?",
    ),
    "wrong default": (
        A + 'token = { env = "NOPE", default = 5 }',
        "3:9: token: Expected `str`, got `int`",
    ),
    "no such variable in a list": (
        'hosts = ["a", { env = "NOPE" }]\n' + A,
        '1:15: hosts: the environment variable NOPE is not set = set it, or give a default: { env = "NAME", default ='
        ' "…" }',
    ),
    "wrong variable in a list": (
        'hosts = ["a", { env = "SCHEME" }]\n' + A,
        '1:15: hosts: Expected a host name such as "proxy.lan", without scheme, path or wildcard, got \'http://x\''
        " = the value is that of $SCHEME",
    ),
    "wrong variable of a route": (
        A + '[routes]\n"/" = { env = "MUCH" }',
        "4:7: there is no upstream 'much' = known: a = the value is that of $MUCH",
    ),
    "wrong key beside env": (
        A + 'token = { env = "NOPE", defualt = "x" }',
        "3:25: token = { env = … } has no key 'defualt' = did you mean 'default'?",
    ),
    "env of a wrong type": (A + "token = { env = 5 }", "3:17: token: env: Expected the name of a variable"),
    # routes
    "several upstreams, no routes": (
        A + '[upstreams.b]\nurl = "http://b"',
        '3:12: with several upstreams, [routes] must say what goes where = for instance: = [routes] = "/" = "a"',
    ),
    "several upstreams, empty routes": (
        A + '[upstreams.b]\nurl = "http://b"\n[routes]',
        '5:2: with several upstreams, [routes] must say what goes where = for instance: = [routes] = "/" = "a"',
    ),
    "route without an upstream": (
        A + '[routes]\n"/x" = { response = [] }',
        "4:1: route '/x' needs an upstream = \"/x\" = { upstream = \"a\" }",
    ),
    "route of a wrong type": (A + '[routes]\n"/" = 5', "4:7: /: Expected `str`, got `int`"),
    "prefix without a slash": (A + '[routes]\nx = "a"', "4:1: 'x' is not a route's prefix = did you mean '/x'?"),
    "prefix that nothing is near": (
        A + '[routes]\n"a b" = "a"',
        "4:1: 'a b' is not a route's prefix = a path such as '/' or '/local', without a slash at its end",
    ),
    "no session": (
        A + '[routes]\n"/local/{id}/" = "a"',
        "4:1: '/local/{id}/' is not a route's prefix = did you mean '/local/{session}'?",
    ),
    "session in the middle": (
        A + '[routes]\n"/{session}/x" = "a"',
        "4:1: '/{session}/x' is not a route's prefix"
        " = {session} stands for the whole last segment and no other, as in '/{session}' or '/local/{session}'",
    ),
    "two sessions": (
        A + '[routes]\n"/{session}/{session}" = "a"',
        "4:1: '/{session}/{session}' is not a route's prefix"
        " = {session} stands for the whole last segment and no other, as in '/{session}' or '/local/{session}'",
    ),
    "session as a part of a segment": (
        A + '[routes]\n"/s-{session}" = "a"',
        "4:1: '/s-{session}' is not a route's prefix"
        " = {session} stands for the whole last segment and no other, as in '/{session}' or '/local/{session}'",
    ),
    "response stage in the request list": (
        A + '[pipeline]\nrequest = ["deframe"]',
        "4:12: request stage 1, 'deframe', takes bytes, but the client's request gives Request"
        " = 'deframe' is a response stage",
    ),
    "file in place of a module": (
        A + '[pipeline]\nrequest = ["sub/x.py:Y"]',
        "4:12: there is no stage 'sub/x.py:Y'"
        " = a module's name has no '-', '/' or '.py': 'sub.x:Y' is Y of sub/x.py",
    ),
    "list of a route": (
        A + '[routes]\n"/" = { upstream = "a", response = ["deframe", "translate", "reframe"] }',
        "4:48: response stage 2, 'translate', takes Event, but 'deframe' gives Frame"
        " = 'parse' turns Frame into Event: put it before 'translate'",
    ),
    # the order
    "order": (
        A + '[pipeline]\nresponse = ["deframe", "signature-filter", "parse", "translate", "reframe"]',
        "4:24: response stage 2, 'signature-filter', takes Event, but 'deframe' gives Frame"
        " = 'parse' turns Frame into Event: move it before 'signature-filter'",
    ),
    "end": (
        A + '[pipeline]\nresponse = [\n "deframe", "parse",\n "keepalive"]',
        "6:2: the last response stage, 'keepalive', gives Event, but the client needs bytes"
        " = 'translate' then 'reframe' turn Event into bytes: put them after 'keepalive'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake(case: str) -> None:
    """One mistake, one problem: at its place, with the message and, behind ` = `, the hint (`…`: any)."""
    text, expected = MISTAKES[case]
    error = refused(text, {"MUCH": "much", "SCHEME": "http://x", "EMPTY": ""})
    [problem] = error.problems
    assert problem.at
    hint = "".join(f" = {line}" for line in problem.hint.splitlines() if line)
    if expected.endswith(" = …") and hint:
        hint = " = …"
    assert f"{problem.at.line}:{problem.at.column}: {problem.message}{hint}" == expected
    assert str(error).startswith(f"stages.toml:{problem.at.line}:{problem.at.column}: ")
    if text:
        caret = str(error).splitlines()[3]
        assert caret.index("^") - caret.index("|") - 1 == problem.at.column


@pytest.mark.parametrize(
    "prefix", ["", "x", "/x/", "//", "/a//b", "/a b", "/a?b", "/a#b", "/{id}", "/%41", "/ä", "/a\\nb"]
)
def test_what_is_no_prefix(prefix: str) -> None:
    [problem] = refused(f'{UP}[routes]\n"{prefix}" = "up"').problems
    assert "is not a route's prefix" in problem.message


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = dedent("""\
        lissten = 3
        [upstreams.router]
        url = "localhost:3456"
        dialect = "antropic"
        [routes]
        "/" = "ruoter"
        [pipeline]
        request = ["zzz"]
        response = ["parse", "translate", "reframe"]
        [stages.keepalive]
        aftr = 1
        [limits]
        body = true
        """)
    error = refused(text)
    assert [problem.at.line for problem in error.problems if problem.at] == [1, 3, 4, 6, 8, 9, 11, 13]
    assert str(error).count("stages.toml:") == 8


def test_every_wrong_address_is_told() -> None:
    error = refused('listen = ["127.0.0.1", ":x", 5]\n' + UP)
    assert [problem.at.column for problem in error.problems if problem.at] == [11, 24, 30]
    assert [problem.message.rpartition(", ")[2] for problem in error.problems] == [
        "got '127.0.0.1'",
        "got ':x'",
        "got 5",
    ]


NEEDY = "from trioproxy import *\nclass Needy(Stage[Event, Event]):\n    def __init__(self, *, quota: int): ...\n"


def test_a_missing_option_is_told_where_the_stage_is_listed(tmp_path: Path) -> None:
    (tmp_path / "own_needy.py").write_text(NEEDY + "    def feed(self, event, /): yield event\n")
    text = UP + '[pipeline]\nresponse = ["deframe", "parse", "own_needy:Needy", "translate", "reframe"]\n'
    [listed] = refused(text, beside=tmp_path).problems
    [own] = refused(text + '[stages."own_needy:Needy"]', beside=tmp_path).problems
    assert (listed.at, own.at) == (Position(4, 33, 17), Position(5, 9, 17))
    assert listed.message == own.message == "stage 'own_needy:Needy' needs the option 'quota'"
    assert listed.hint == 'for instance:\n[stages."own_needy:Needy"]\nquota = …'


def test_wrong_options_do_not_hide_a_wrong_order() -> None:
    listed = 'response = ["deframe", "keepalive", "parse", "translate", "reframe"]'
    text = f"{UP}[pipeline]\n{listed}\n[stages.keepalive]\nafter = 0"
    assert [problem.at.line for problem in refused(text).problems if problem.at] == [4, 6]


def test_a_problem_of_the_usual_lists_is_not_repeated_for_each_route() -> None:
    text = f'{UP}[pipeline]\nresponse = ["parse"]\n[routes]\n"/" = "up"\n"/x" = {{ upstream = "up", request = [] }}'
    assert len(refused(text).problems) == 1


def test_a_stage_named_twice_is_a_problem_once() -> None:
    text = f'{UP}[pipeline]\nrequest = ["zzz", "zzz"]\n[routes]\n"/" = {{ upstream = "up", request = ["zzz"] }}'
    assert len(refused(text).problems) == 1


ANSWERS = (
    "from trioproxy import *\nclass Answers(Stage[Request, Request | Event]):\n    def feed(self, r, /): yield r\n"
)


@pytest.mark.parametrize(
    ("lists", "place"),
    [
        ('[pipeline]\nrequest = ["own_answers:Answers"]\nresponse = []', (5, 12)),
        ('[routes]\n"/" = { upstream = "up", request = ["own_answers:Answers"], response = [] }', (4, 72)),
        ('[pipeline]\nresponse = []\n[routes]\n"/" = { upstream = "up", request = ["own_answers:Answers"] }', (6, 36)),
    ],
)
def test_answers_of_request_stages_must_reach_the_client(lists: str, place: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "own_answers.py").write_text(ANSWERS)
    [problem] = refused(UP + lists, beside=tmp_path).problems
    assert problem.at
    assert (problem.at.line, problem.at.column) == place
    assert problem.message == (
        "the request stages may answer with Event, but the response stages do not make bytes of it"
    )  # fmt: skip
    fine = UP + '[pipeline]\nrequest = ["own_answers:Answers"]'
    assert read(fine, beside=tmp_path).routes[0].request


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = "sk-very-Secret-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f'token = "{SECRET}é"',
        f'token = ["{SECRET}"]',
        f'tokn = "{SECRET}"',
        f"token = {SECRET}",
        f'token = "{SECRET}',
        f'token = {{ env = "T", default = "{SECRET}\\u0000" }}',
        'token = { env = "BAD" }',
        f'headers = {{ x-api-key = "{SECRET}\\nx" }}',
        f'headers = {{ Authorization = "{SECRET}", host = "x" }}',
        'headers = { x-any = { env = "BAD" } }',
    ],
)
def test_a_wrong_secret_is_not_shown(text: str) -> None:
    error = refused(A + text, {"BAD": f"{SECRET}\nx"})
    assert "Secret-" not in str(error)
    assert "Secret-" not in repr(error)


@pytest.mark.parametrize(
    "url", [f"http://me:{SECRET}@host", f"me:{SECRET}@host", f"{SECRET}@host", f"http://{SECRET}@[::1"]
)
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    error = refused('[upstreams.a]\nurl = { env = "URL" }', {"URL": url})
    assert "Secret-" not in str(error)
    assert "Secret-" not in str(refused(f'[upstreams.a]\nurl = "{url}"'))


def test_a_secret_is_not_in_the_repr_of_a_configuration() -> None:
    loaded = read(f'{UP}token = "{SECRET}"\nheaders = {{ x-key = "{SECRET}" }}')
    assert "Secret-" not in repr(loaded)
    assert repr(Secret("x")) == "Secret(…)"
    assert loaded.upstreams["up"].token == SECRET


# ── the file itself ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_load_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_text(UP)
    assert config.load(file, {}).file == file


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_text("x = 1\n" + UP, encoding="utf-8-sig")
    with pytest.raises(ConfigError, match=r"stages.toml:1:1: the file has no key 'x'"):
        config.load(file, {})


def test_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_bytes((UP + "\nx = 1").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError, match=r"stages.toml:4:1: \[upstreams.up\] has no key 'x'"):
        config.load(file, {})


def test_a_file_that_is_not_utf_8_says_where(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_bytes(UP.encode() + b"# M\xfcller\n")
    with pytest.raises(ConfigError, match=r"stages\.toml:3:4: the file is not UTF-8: byte 0xfc"):
        config.load(file, {})


def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ConfigError, match="this is no regular file"):
            config.load(odd, {})
    with (file := tmp_path / "stages.toml").open("wb") as opened:
        opened.truncate(2**40)
    with pytest.raises(ConfigError, match=r"stages\.toml: the file is larger than 1 MiB"):
        config.load(file, {})


def test_the_options_of_one_stage_as_they_stand_there(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_text('x = 1\n[stages]\nodd = 5\n[stages.slow]\nuse = "keepalive"\nafter = { env = "A" }\n')
    assert config.load_settings(file, "slow") == {"use": "keepalive", "after": {"env": "A"}}
    assert config.load_settings(file, "odd") == config.load_settings(file, "none") == {}
    file.write_text("stages = 5")
    assert config.load_settings(file, "slow") == {}


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        config.load(tmp_path / "none.toml", {})


def test_the_shipped_file_is_fine() -> None:
    loaded = config.load(Path(__file__).parent.parent / "stages.toml", {})
    assert [route.prefix for route in loaded.routes] == ["/demo", "/"]


# ── [store] ─────────────────────────────────────────────────────────────────────────────────────────────────────────

LONG = "0123456789abcdef0123456789abcdef"


def test_an_empty_variable_is_as_good_as_none() -> None:
    level = f'{UP}[log]\nlevel = {{ env = "LEVEL", default = "debug" }}'
    assert read(level, {"LEVEL": ""}).log.level == read(level).log.level == "debug"
    assert read(level, {"LEVEL": "error"}).log.level == "error"


def test_by_default_the_store_is_memory() -> None:
    assert read(UP).store == Settings() == Settings(url="memory:")


@pytest.mark.parametrize("url", ["memory", "memory:", "Memory", "off", "off:", "OFF"])
def test_a_store_that_is_no_place_may_have_a_colon(url: str) -> None:
    assert read(f'{UP}[store]\nurl = "{url}"').store.url == ("off" if url[0].lower() == "o" else "memory:")


def test_every_key_of_the_store() -> None:
    text = """
    [store]
    url       = "sqlite:thinking.db"
    entries   = 7
    size      = "2 MiB"
    file-size = "3 MiB"
    expires   = "2h"
    timeout   = "100ms"
    key       = { env = "STORE_KEY" }
    """
    store = read(UP + dedent(text), {"STORE_KEY": LONG}).store
    assert store == Settings(
        url="sqlite:thinking.db",
        entries=7,
        size=Size(2 * 1024**2),
        file_size=Size(3 * 1024**2),
        expires=Seconds(7200),
        timeout=Seconds(0.1),
        key=LONG,
    )
    assert LONG not in repr(store)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:a.db",
        "sqlite:Zürich/für mich.db",
        "sqlite:/var/lib/a.db",
        "sqlite:///var/lib/a.db",
        "valkey://127.0.0.1:6379",
        "redis://user:secret@host/2",
        "rediss://host",
        "valkeys://[::1]:6380/1",
        "unix:///run/valkey.sock",
    ],
)
def test_places_where_a_store_can_be(url: str) -> None:
    store = read(f'{UP}[store]\nurl = "{url}"').store
    assert store.url == url
    assert "secret" not in repr(store) + store.place


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('url = "sqllite:a.db"', "url: is no store that is known here"),
        ('url = "thinking.db"', "url: is no store that is known here"),
        ('url = ""', "url: Expected a text such as …"),
        ('url = "sqlite"', "url: does not say which file"),
        ('url = "sqlite:"', "url: does not say which file"),
        ('url = "sqlite:dir/"', "url: does not say which file"),
        ('url = "memory:thinking.db"', "url: does not say which file"),
        ('url = "redis://"', "url: the store's URL is not one of …"),
        ('url = "redis://user:a-secret@host:port"', "url: the store's URL is not one of …"),
        ('url = "redis://user:a-secret@host/none"', "url: the store's URL is not one of …"),
        ('url = "unix:"', "url: the store's URL is not one of …"),
        ('url = "sqlite:stages.toml"', "url: does not say which file"),
        ('url = "redis://user:SE/a-secret@host/0#x"', "url: the store's URL is not one of …"),
        ('url = "redis://host/0#a-secret"', "url: the store's URL is not one of …"),
        ('file-size = "3"', "file-size: Expected at least 1 MiB, got 3 B"),
        ('expires = "100000000h"', "expires: Expected at most 87600h, which are ten years"),
        ("entries = 0", "entries: Expected `int` >= 1, got 0"),
        ('expires = "0s"', "expires: Expected a time of more than 0, got '0s'"),
        ('key = "a-secret"', "key: Expected at least 32 characters, got 8"),
        ("seize = 1", "[store] has no key 'seize'"),
    ],
)
def test_what_is_wrong_with_a_store(line: str, message: str) -> None:
    error = refused(f"{UP}[store]\n{line}")
    assert "secret" not in str(error)
    [problem] = error.problems
    begins, cut, _ = message.partition("…")
    assert problem.message.startswith(begins) if cut else problem.message == message
    assert problem.at
    assert problem.at.line == 4
    assert "secret" not in problem.message + problem.hint


def test_encryption_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    [problem] = refused(f'{UP}[store]\nkey = "{LONG}"').problems
    assert problem.message == "key: needs the package cryptography, which is not installed"
    assert problem.hint == "in a checkout: pip install '.[encryption]'"
