import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import trustme

from tests import told
from trioproxy import config
from trioproxy.cli.explain import explain_config, explain_stage, list_stages
from trioproxy.errors import ConfigError
from trioproxy.stages import BUILT_IN

CA = trustme.CA()
OWN = '''
from typing import Literal
from trioproxy import *

class Shout(Stage[TextDelta, TextDelta]):
    """Answer in capitals.

    Every   letter
    of them.
    """

    def __init__(self, *, word: str, times: int | None = None, pause: Seconds = Seconds(0.5), room: Size = Size(2048),
                 mode: Literal["a", "b"] = "a", on: bool = True, tags: tuple[str, ...] = ("x", "y"),
                 share: float = 0.5):
        """Here is nothing."""

    def feed(self, delta, /): yield delta

class Probe(Stage[Request, Request | Event]):
    """Answer a one-token request."""

    def feed(self, request, /): yield request

class Bare(Stage[Event, Event | Error]):
    def feed(self, event, /): yield event
'''


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with stages of one's own, which is where we are; what is imported is forgotten after it."""
    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "own_explained.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def explain(text: str) -> str:
    lines = explain_config(config.read(dedent(text), Path("stages.toml"), {}))
    assert max(map(len, lines)) <= 100
    told.now.serves(text)
    told.now.says("check", "\n".join(lines))
    return "\n".join(lines)


# ── check ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_targets_and_the_admin_listener() -> None:
    explained = explain("""
        [targets.fast]
        model = "qwen3"
        url = "http://up:8080"
        token = "sk-canary-0001"
        reasoning = "replay"
        models = ["sonnet", "opus"]
        [targets.team]
        provider = "openai"
        mode = "codex_responses"
        model = "gpt-5.2"
        url = "https://up/v1"
        route-key = "team"
        client-token = "sk-canary-of-a-client"
        [admin]
        token = "sk-canary-of-the-admin"
        """)
    assert "canary" not in explained
    assert explained == dedent("""\
        stages.toml is fine

        listens on 127.0.0.1:4567

        target fast → qwen3: http://up:8080 (chat_completions, own token)
          at:       /targets/KEY, which POST /targets of the admin listener tells
          models:   "sonnet", "opus"
          asked as: reasoning = "replay"

        target team → gpt-5.2: https://up/v1 (codex_responses, openai)
          at:       /targets/team

        other than by default:
          admin.listen  127.0.0.1:4568, with a token (default: no such listener)""")


def test_a_configuration_in_full() -> None:
    explained = explain("""
        listen = ["127.0.0.1:1", "unix:/run/x.sock"]
        drain = "1s"
        hosts = ["proxy.lan"]
        [upstreams.up]
        url = "http://up:3456/v1"
        token = "sk-secret"
        headers = { x-a = "sk-secret" }
        idle-timeout = "3s"
        [upstreams.demo]
        url = "replay:recordings/metadata-then-answer.sse"
        pace = "40ms"
        chunk = 7
        [upstreams.spare]
        url = "http://spare"
        [routes]
        "/" = "up"
        "/raw" = { upstream = "demo", response = [] }
        [stages.signature-filter]
        within = 7
        when-empty = "keep"
        [stages.keepalive]
        after = 10
        [limits]
        body = "1 MiB"
        head-timeout = "500ms"
        connections = 5
        [log]
        level = "debug"
        """)
    assert explained == dedent("""\
        stages.toml is fine

        listens on 127.0.0.1:1 and unix:/run/x.sock

        / → up: http://up:3456/v1 (anthropic, own token, own headers, idle-timeout 3s)
          request:  Request ─replay-thinking→ Request
          response: bytes ─deframe→ Frame ─parse→ Event ─signature-filter→ Event ─remember-thinking→ Event
                    ─keepalive→ Event ─translate→ Frame ─reframe→ bytes
          signature-filter: within = 7, when-empty = "keep"

        /raw → demo: replay:recordings/metadata-then-answer.sse (anthropic, pace 40ms, chunk 7 B)
          request:  as it comes
          response: bytes, as they come

        no route leads to spare

        other than by default:
          limits.body          "1 MiB" (default "64 MiB")
          limits.head-timeout  "500ms" (default "15s")
          limits.connections   5 (default 4096)
          drain                "1s" (default "30s")
          hosts                ["proxy.lan"] (default [])
          log.level            "debug" (default "info")""")


def test_how_an_upstream_is_reached_and_nothing_of_its_secrets() -> None:
    CA.cert_pem.write_to_path("corp.pem")
    CA.issue_cert("me").private_key_and_cert_chain_pem.write_to_path("me.pem")
    shown = explain(
        """
        [upstreams.up]
        url = "https://up.example/v1?api-version=2&key=Secret-"
        proxy = "socks5://Secret-:Secret-@proxy.lan"
        ca = "corp.pem"
        certificate = "me.pem"
        insecure = true
        remove-headers = ["x-a"]
        concurrency = 5
        queue-timeout = "2s"
        max-fails = 5
        [upstreams.local]
        url = "http://local"
        socket = "/run/llama.sock"
        [routes]
        "/" = "up"
        "/local" = "local"
        """
    )
    assert "Secret-" not in shown
    here = Path.cwd()
    assert (
        " ".join(shown.split())
        .partition("/ → up: ")[2]
        .startswith(
            "https://up.example/v1 (anthropic, own query api-version=…, key=…, without x-a, "
            "through socks5://proxy.lan:1080 with credentials, "
            f"trusting {here}/corp.pem too, showing {here}/me.pem, INSECURE: any certificate is believed, "
            "concurrency 5, queue-timeout 2s) request: "
        )
    )
    assert "/local → local: http://local (anthropic, at /run/llama.sock)" in shown


def test_models_and_the_ways_of_an_upstream() -> None:
    explained = explain("""
        [upstreams.chat]
        url = "http://chat/v1"
        dialect = "openai-chat"
        reasoning = "replay"
        effort = "drop"
        system-messages = "hoist"
        max-tokens = 8192
        [upstreams.one]
        url = "http://one"
        model = "qwen3-coder"
        version = "2023-06-01"
        [routes]
        "/" = { upstream = "chat", strict = true }
        "/one" = "one"
        [models]
        "gpt-4o" = "claude-sonnet-4-6"
        "claude-openai-tools/*" = "*"
        "a-long-name-in-front-of-it/*" = "a-long-name-behind-it"
        """)
    assert explained.partition("4567\n\n")[2] == dedent("""\
        / → chat: http://chat/v1 (openai-chat)
          request:  Request ─billing-nonce→ Request
          response: bytes ─deframe→ Frame ─parse→ Event ─signature-filter→ Event ─keepalive→ Event
                    ─translate→ Frame ─reframe→ bytes
          models:   "gpt-4o" = "claude-sonnet-4-6", "claude-openai-tools/*" = "*",
                    "a-long-name-in-front-of-it/*" = "a-long-name-behind-it"
          asked as: reasoning = "replay", effort = "drop", system-messages = "hoist", max-tokens = 8192
          strict:   what would be lost between the dialects is refused

        /one → one: http://one (anthropic)
          request:  Request ─replay-thinking→ Request
          response: bytes ─deframe→ Frame ─parse→ Event ─signature-filter→ Event ─remember-thinking→ Event
                    ─keepalive→ Event ─translate→ Frame ─reframe→ bytes
          asked as: model = "qwen3-coder", version = "2023-06-01\"""")


def test_sessions() -> None:
    explained = explain("""
        [upstreams.chat]
        url = "http://chat/v1"
        dialect = "openai-chat"
        cache-key = "session"
        [pipeline]
        request = []
        response = []
        [routes]
        "/{session}" = "chat"
        "/local" = "chat"
        "/local/{session}" = "chat"
        """)
    assert explained.partition("4567\n\n")[2] == dedent("""\
        /{session} → chat: http://chat/v1 (openai-chat)
          request:  as it comes
          response: bytes, as they come
          session:  1 to 128 of A-Z, a-z, 0-9 and . _ ~ : @ -, not "local"
          asked as: cache-key = "session"

        /local → chat: http://chat/v1 (openai-chat)
          request:  as it comes
          response: bytes, as they come
          asked as: cache-key = "session"

        /local/{session} → chat: http://chat/v1 (openai-chat)
          request:  as it comes
          response: bytes, as they come
          session:  1 to 128 of A-Z, a-z, 0-9 and . _ ~ : @ -
          asked as: cache-key = "session\"""")


def test_a_short_one_says_nothing_more() -> None:
    assert explain("""
        [upstreams.up]
        url = "http://up"
        [pipeline]
        request = ["own_explained:Probe"]
        response = ["deframe", "parse", "own_explained:Shout", "translate", "reframe"]
        [stages."own_explained:Shout"]
        word = "x"
        """) == dedent("""\
        stages.toml is fine

        listens on 127.0.0.1:4567

        / → up: http://up (anthropic)
          request:  Request ─own_explained:Probe→ Request | Event
          response: bytes ─deframe→ Frame ─parse→ Event ─own_explained:Shout→ Event ─translate→ Frame
                    ─reframe→ bytes
          own_explained:Shout: word = "x\"""")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_line_fits(width: int) -> None:
    text = """
        listen = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6"]
        hosts = ["one.proxy.lan", "two.proxy.lan", "three.proxy.lan", "four.proxy.lan", "five.proxy.lan"]
        [upstreams.up]
        url = "http://up:3456/v1"
        token = "t"
        connect-timeout = 1
        first-byte-timeout = 2
        idle-timeout = 3
        [stages.signature-filter]
        pattern = "a very long text of which nobody knows why it should be thrown away but here it is, all of it"
        within = 7
        when-empty = "keep"
        """
    loaded = config.read(dedent(text), Path("stages.toml"), {})
    lines = [*explain_config(loaded, width), *list_stages(width)]
    for name in BUILT_IN:
        lines += explain_stage(name, Path.cwd(), {}, width)
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_is_aligned_and_narrow() -> None:
    lines = list_stages()
    assert max(map(len, lines)) <= 100
    rows = [line for line in lines if line.startswith(tuple(BUILT_IN))]
    assert [row.split()[0] for row in rows] == [*BUILT_IN]
    assert len({row.index(f"{row.split()[1]} → ") for row in rows}) == 1
    docs = {row.index(row.split("  ")[-1]) for row in rows}
    assert len(docs) == 1
    indent = " " * docs.pop()
    assert f"{indent}within = 512" in lines
    assert f'{indent}after = "10s"' in lines


def test_a_broken_plugin_does_not_hide_the_others(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = own / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[trioproxy.stages]\nbroken = no_such_module:Broken\n")
    monkeypatch.syspath_prepend(str(own))
    text = "\n".join(list_stages())
    assert re.search(
        r"^broken +cannot be used +stage 'broken': there is no module 'no_such_module'$", text, re.MULTILINE
    )
    assert text.startswith(f"{next(iter(BUILT_IN))} ")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_stage_can_be_explained(name: str) -> None:
    lines = explain_stage(name, Path.cwd(), {})
    assert max(map(len, lines)) <= 100
    assert not any(line != line.rstrip() for line in lines)
    pasted = "\n".join(lines[lines.index("To paste") + 1 :])
    loaded = config.read(f'[upstreams.up]\nurl = "http://up"\n{pasted}', Path("stages.toml"), {})
    route = loaded.routes[0]
    assert name in [spec.name for spec in (*route.request, *route.response)]


def test_a_stage_in_full() -> None:
    assert "\n".join(explain_stage("own_explained:Shout", Path.cwd(), {})) == dedent("""\
        own_explained:Shout: TextDelta → TextDelta

        Answer in capitals.

        Every letter of them.

        Options
          word   text                    must be given
          times  whole number            not set by default
          pause  time, such as "10s"     default "500ms"
          room   size, such as "64 KiB"  default "2 KiB"
          mode   "a" or "b"              default "a"
          on     true or false           default true
          tags   list of text            default ["x", "y"]
          share  number                  default 0.5

        To paste

          [pipeline]
          response = ["deframe", "parse", "signature-filter", "remember-thinking", "own_explained:Shout",
                      "keepalive", "translate", "reframe"]

          [stages."own_explained:Shout"]
          # word = …  (must be given)
          # times = …
          pause = "500ms"
          room = "2 KiB"
          mode = "a"
          on = true
          tags = ["x", "y"]
          share = 0.5""")


def test_a_stage_with_the_options_of_the_file() -> None:
    settings = {"use": "keepalive", "after": {"env": "AFTER", "default": "3s"}}
    lines = explain_stage("slow", Path.cwd(), settings)
    assert lines[0] == "slow (keepalive): Event → Event"
    line = '  after  time, such as "10s"  { env = "AFTER", default = "3s" } in the file (default "10s")'
    assert line in lines
    assert lines[-3:] == ["  [stages.slow]", '  use = "keepalive"', '  after = { env = "AFTER", default = "3s" }']
    assert '"slow", "keepalive",' in "\n".join(lines)


def test_options_of_many_words_stand_below_each_other() -> None:
    lines = explain_stage("translate", Path.cwd(), {})
    assert '  tool-calls  "single" or "delta", default "delta"' in lines


def test_what_looks_like_a_secret_is_not_shown() -> None:
    loaded = """
        [upstreams.up]
        url = "http://up"
        [pipeline]
        request = ["own_explained:Probe"]
        response = ["deframe", "parse", "own_explained:Shout", "translate", "reframe"]
        [stages."own_explained:Shout"]
        word = "sk-abcdefgh12345678"
        """
    assert '  own_explained:Shout: word = "*******************"' in explain(loaded)


def test_what_can_be_pasted_for_a_stage_of_ones_own(own: Path) -> None:
    for name in ("own_explained:Shout", "own_explained:Probe", "own_explained:Bare"):
        lines = explain_stage(name, Path.cwd(), {})
        pasted = "\n".join(lines[lines.index("To paste") + 1 :]).replace("# word = …  (must be given)", 'word = "w"')
        tomllib.loads(pasted)
        loaded = config.read(f'[upstreams.up]\nurl = "http://up"\n{pasted}', own / "stages.toml", {})
        route = loaded.routes[0]
        assert name in [spec.name for spec in (*route.request, *route.response)]


def test_a_stage_without_a_docstring_does_not_borrow_one() -> None:
    lines = explain_stage("own_explained:Bare", Path.cwd(), {})
    assert lines[0] == "own_explained:Bare: Event → Event"
    assert "(It has no docstring.)" in lines
    assert "It has no options." in lines


def test_an_unknown_stage_brings_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"^there is no stage 'keepalife'\n = did you mean 'keepalive'\?$"):
        explain_stage("keepalife", Path.cwd(), {})
