"""The examples: the first custom stage as the README prints it, and the example package through its entry point."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from tests.anthropic import message, texts, wire
from tests.chat import gathered
from tests.peers import Line, ask, proxy, running, upstream
from trioproxy import Seconds, Stage, config
from trioproxy.config import Config, Log
from trioproxy.errors import ConfigError
from trioproxy.http.client import Timeouts
from trioproxy.http.listen import Address
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
)
from trioproxy.store import Settings

ROOT = Path(__file__).parent.parent


async def stream(line: Line) -> None:
    await line.head()
    await line.chunk(wire(message("hello ", "you")))
    await line.end()


def block(file: str, language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)
    [found] = [each for each in blocks if containing in each]
    return str(found)


async def test_the_readmes_first_custom_stage_works_as_printed(tmp_path: Path) -> None:
    code, toml = block("README.md", "python", "class Shout"), block("README.md", "toml", "my_stages:Shout")
    assert len([line for line in code.splitlines() if line.strip()]) < 10
    (tmp_path / "my_stages.py").write_text(code)
    async with upstream(stream) as up, proxy(toml + up.toml(), directory=tmp_path) as port:
        answer = await ask(port, b'{"stream": true}')
    assert texts(answer.body) == ["HELLO YOU"]


async def test_the_stages_of_the_docs_work_as_printed(tmp_path: Path) -> None:
    for name in ("NoQuota", "Delay"):
        (tmp_path / f"doc_{name.lower()}.py").write_text(block("docs/stages.md", "python", f"class {name}("))
    toml = """
[pipeline]
request = ["doc_noquota:NoQuota"]
response = ["deframe", "parse", "doc_delay:Delay", "translate", "reframe"]
"""
    async with upstream(stream) as up, proxy(toml + up.toml(), directory=tmp_path) as port:
        answered = await ask(port, b'{"model": "m", "messages": [], "max_tokens": 1, "stream": true}')
        passed = await ask(port, b'{"model": "m", "messages": [], "max_tokens": 2, "stream": true}')
    assert (texts(answered.body), answered.complete) == (["ok"], True)
    assert (texts(passed.body), passed.complete) == (["hello you"], True)


def test_the_contract_of_the_docs_is_the_one_of_the_docstring() -> None:
    doc = " ".join((ROOT / "docs/stages.md").read_text().replace("**", "").split())
    contract = " ".join((Stage.__doc__ or "").partition("The contract:")[2].partition("Options are")[0].split())
    assert contract in doc


# ── the files: each must load with the keys it asks for, which checks its chains too ────────────────────────────────

KEYS = {
    "claude-code-on-openai.toml": {"OPENAI_API_KEY": "sk-key"},
    "claude-code-on-responses.toml": {"OPENAI_API_KEY": "sk-key"},
    "codex-on-claude.toml": {"ANTHROPIC_API_KEY": "sk-ant-key"},
    "filter-only.toml": {},
    "open-webui-on-claude.toml": {"ANTHROPIC_API_KEY": "sk-ant-key"},
}


def example(name: str, **environ: str) -> Config:
    return config.load(ROOT / "examples" / name, KEYS[name] | environ)


def test_every_example_file_is_tested() -> None:
    assert {file.name for file in (ROOT / "examples").glob("*.toml")} == KEYS.keys() | {"team.toml"}


@pytest.mark.parametrize("name", KEYS)
def test_an_example_file_needs_its_keys_and_no_more(name: str) -> None:
    routes = example(name).routes
    assert routes[-1].prefix == "/"
    assert {route.upstream.token for route in routes} == {next(iter(KEYS[name].values()), None)}
    if not KEYS[name]:
        return
    with pytest.raises(ConfigError) as caught:
        config.load(ROOT / "examples" / name, {})
    [problem] = caught.value.problems
    assert problem.message == f"token: the environment variable {next(iter(KEYS[name]))} is not set"


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("claude-code-on-openai.toml", "openai-chat"), ("claude-code-on-responses.toml", "openai-responses")],
)
def test_claude_code_on_openai(name: str, dialect: str) -> None:
    [route] = example(name).routes
    assert (str(route.upstream), route.upstream.dialect) == ("https://api.openai.com/v1", dialect)
    assert [stage.name for stage in route.request] == ["quota-probe", "billing-nonce"]
    named = "deframe parse signature-filter keepalive translate reframe"
    assert [stage.name for stage in route.response] == named.split()
    assert route.asked("claude-opus-5-5") != route.asked("claude-haiku-4-5") != "claude-haiku-4-5"
    [route] = example(name, OPENAI_MODEL="gpt-x", OPENAI_BASE_URL="http://local/v1").routes
    assert (str(route.upstream), route.asked("claude-opus-5-5")) == ("http://local/v1", "gpt-x")


def test_codex_on_claude() -> None:
    loaded = example("codex-on-claude.toml", TRIOPROXY_STORE="sqlite:kept.db")
    [route] = loaded.routes
    assert (str(route.upstream), route.upstream.dialect) == ("https://api.anthropic.com", "anthropic")
    assert route.asked("claude-opus-5-5") == "claude-opus-5-5" != route.asked("gpt-5.4")
    assert loaded.store.url == "sqlite:kept.db"
    served = route.serving("openai-responses")
    assert [stage.name for stage in served.request] == ["replay-responses", "cache-prompt"]
    assert "remember-responses" in [stage.name for stage in served.response]


def test_filter_only() -> None:
    [route] = example("filter-only.toml").routes
    assert (str(route.upstream), route.request) == ("http://127.0.0.1:3456", ())
    assert "signature-filter" in [stage.name for stage in route.response]


def test_team(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("proxy.example.com")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    environ = {
        name: f"sk-{name}-0123456789" for name in ("ANTHROPIC_API_KEY", "ALICE_TOKEN", "BOB_TOKEN", "ADMIN_TOKEN")
    }
    environ |= {"TLS_CERTIFICATE": str(tmp_path / "certificate.pem"), "TLS_KEY": str(tmp_path / "key.pem")}
    loaded = config.load(ROOT / "examples" / "team.toml", environ)
    [route] = loaded.routes
    assert [client.name for client in route.clients] == ["alice", "bob"]
    assert route.upstream.token == environ["ANTHROPIC_API_KEY"]
    assert (route.upstream.tolerance.concurrency, route.upstream.tolerance.queue) == (50, 100)
    assert [(listen.address, listen.certificate) for listen in loaded.listen] == [
        ("0.0.0.0:4567", tmp_path / "certificate.pem")
    ]
    assert loaded.admin is not None
    assert loaded.workers >= 1
    for name in environ:  # it needs each of them
        with pytest.raises(ConfigError, match=name):
            config.load(ROOT / "examples" / "team.toml", {key: environ[key] for key in environ if key != name})


def test_the_documentation_shows_the_file_that_init_writes_for_a_team() -> None:
    shown = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)[0]
    assert tomllib.loads(shown) == tomllib.loads((ROOT / "examples" / "team.toml").read_text())


WEBUI = "open-webui-on-claude.toml"


def said(loaded: Config) -> dict[str, dict[str, Any]]:
    """The options that the file gives its stages."""
    return {stage.name: dict(stage.options) for stage in (*loaded.routes[0].request, *loaded.routes[0].response)}


def test_open_webui_on_claude() -> None:
    loaded = example(WEBUI)
    assert [route.prefix for route in loaded.routes] == ["/{session}", "/"]
    for route in loaded.routes:
        assert (str(route.upstream), route.upstream.dialect) == ("https://api.anthropic.com", "anthropic")
        assert route.asked("claude-openai-tools/claude-sonnet-4-6") == "claude-sonnet-4-6"
        assert [stage.name for stage in route.request] == ["replay-thinking", "cache-prompt"]
        named = "deframe parse remember-thinking tool-text keepalive translate reframe"
        assert [stage.name for stage in route.response] == named.split()
    up = loaded.routes[0].upstream
    assert up.timeouts == Timeouts(connect=Seconds(10), first_byte=Seconds(300), between_bytes=Seconds(300))
    assert said(loaded)["replay-thinking"] == {"thinking_with_tools": True}
    assert said(loaded)["tool-text"] == {"show": "reasoning"}
    assert said(loaded)["translate"] == {"reasoning": "reasoning_content", "tool_calls": "single"}
    assert loaded.log == Log(enabled=True, level="info")
    assert loaded.store == Settings()


def test_m1_6_open_webui_on_claude_is_told_by_the_environment() -> None:
    loaded = example(
        WEBUI,
        ANTHROPIC_API_KEY="sk-ant-other",
        ANTHROPIC_BASE_URL="http://local",
        ANTHROPIC_CONNECT_TIMEOUT="2.5",
        ANTHROPIC_READ_TIMEOUT="60",
        ANTHROPIC_TOOL_CALL_STREAM_MODE="DELTA",
        ANTHROPIC_ALLOW_THINKING_WITH_TOOLS="False",
        ANTHROPIC_LOG_ENABLED="no",
        ANTHROPIC_LOG_LEVEL="DEBUG",
        TRIOPROXY_STORE="sqlite:thinking.db",
    )
    up = loaded.routes[0].upstream
    assert (str(up), up.token) == ("http://local", "sk-ant-other")
    assert up.timeouts == Timeouts(connect=Seconds(2.5), first_byte=Seconds(60), between_bytes=Seconds(60))
    assert said(loaded)["replay-thinking"] == {"thinking_with_tools": False}
    assert said(loaded)["translate"]["tool_calls"] == "delta"
    assert loaded.log == Log(enabled=False, level="debug")
    assert loaded.store.url == "sqlite:thinking.db"


@pytest.mark.parametrize(
    ("variable", "value", "keys"),
    [
        ("ANTHROPIC_BASE_URL", "nowhere", ["url"]),
        ("ANTHROPIC_CONNECT_TIMEOUT", "soon", ["connect-timeout"]),
        ("ANTHROPIC_READ_TIMEOUT", "-1", ["first-byte-timeout", "idle-timeout"]),
        ("ANTHROPIC_TOOL_CALL_STREAM_MODE", "both", ["tool-calls"]),
        ("ANTHROPIC_ALLOW_THINKING_WITH_TOOLS", "maybe", ["thinking-with-tools"]),
        ("ANTHROPIC_LOG_ENABLED", "2", ["enabled"]),
        ("ANTHROPIC_LOG_LEVEL", "loud", ["level"]),
        ("TRIOPROXY_STORE", "here", ["url"]),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, keys: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        example(WEBUI, **{variable: value})
    assert [problem.message.partition(":")[0] for problem in caught.value.problems] == keys
    assert all(f"the value is that of ${variable}" in problem.hint for problem in caught.value.problems)


LOOK: list[Event] = [
    *(MessageStart("msg_1", "claude-sonnet-4-5"), BlockStart(0, Thinking())),
    *(ThinkingDelta(0, "What time is it?"), SignatureDelta(0, "sig=="), BlockStop(0)),
    *(BlockStart(1, Text()), TextDelta(1, "Let me look."), BlockStop(1)),
    *(BlockStart(2, ToolUse(id="toolu_1", name="clock")), ToolInputDelta(2, '{"zone"'), ToolInputDelta(2, ': "UTC"}')),
    *(BlockStop(2), MessageDelta("tool_use"), MessageStop()),
]


async def test_m1_open_webui_on_claude_from_end_to_end() -> None:
    """A turn that thinks, says something and calls a tool, and the one with the tool's result."""

    async def claude(line: Line) -> None:
        await line.head()
        await line.chunk(wire(LOOK if len(up.requests) == 1 else message("It is ", "noon.")))
        await line.end()

    tool = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    body: dict[str, Any] = {"model": "claude-openai-tools/claude-sonnet-4-5", "stream": True, "tools": [tool]}
    body |= {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096}
    asked: list[dict[str, Any]] = [{"role": "user", "content": "What time is it?"}]
    async with upstream(claude) as up:
        loaded = example(WEBUI, ANTHROPIC_BASE_URL=f"http://127.0.0.1:{up.port}")
        async with running(loaded, [Address("127.0.0.1:0")]) as (listeners, _):
            port = int(listeners[0].address.rpartition(":")[2])
            path = "/chat-7/v1/chat/completions"
            first = await ask(port, msgspec.json.encode(body | {"messages": asked}), path=path)
            turn = gathered(first.body)
            assert turn["reasoning_content"] == "What time is it?\n\nLet me look."
            assert turn["content"] == ""
            [call] = turn["tool_calls"]
            assert call["function"] == {"name": "clock", "arguments": '{"zone": "UTC"}'}
            assert first.body.count(b'"tool_calls":[') == 1
            # As Open WebUI sends it back: no reasoning, and no text.
            asked += [
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": call["id"], "content": "12:00"},
            ]
            second = await ask(port, msgspec.json.encode(body | {"messages": asked}), path=path)
    assert gathered(second.body)["content"] == "It is noon."
    sent = msgspec.json.decode(up.requests[1].body)
    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "What time is it?", "signature": "sig=="},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {"zone": "UTC"}},
    ]
    assert up.requests[0].header("x-api-key") == "sk-ant-key"


async def test_a_stage_of_an_installed_package_works_by_its_name() -> None:
    if not entry_points(group="trioproxy.stages", name="shout"):
        pytest.skip("examples/trioproxy-shout is not installed; the README's test command installs it")
    toml = """
[pipeline]
response = ["deframe", "parse", "shout", "translate", "reframe"]
[stages.shout]
mark = "!"
"""
    async with upstream(stream) as up, proxy(toml + up.toml()) as port:
        streamed = await ask(port, b'{"stream": true}')
        whole = await ask(port, b"{}")
    assert texts(streamed.body) == ["HELLO !YOU!"]
    assert msgspec.json.decode(whole.body)["content"] == [{"type": "text", "text": "HELLO !YOU!"}]


# ── what the documentation shows ────────────────────────────────────────────────────────────────────────────────────

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(text, id=f"{file.name}-{number}")
    for file in DOCUMENTS
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", file.read_text(), re.DOTALL))
]


_OF_A_KIND = {
    "VALKEY_URL": "valkey://127.0.0.1:6379",
    "ANTHROPIC_BASE_URL": "https://api.anthropic.com",
    "TLS_CERTIFICATE": "cert.pem",
    "TLS_KEY": "key.pem",
    "TRIOPROXY_STORE": "memory:",
}


class Everything(dict[str, str]):
    """An environment that has every variable."""

    def __missing__(self, name: str) -> str:
        return _OF_A_KIND.get(name) or f"{name}-0123456789abcdef0123456789abcdef"

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name else default

    def __contains__(self, name: object) -> bool:
        return bool(name)


@pytest.mark.parametrize("text", SNIPPETS)
def test_what_the_documentation_shows_can_be_used(text: str, tmp_path: Path) -> None:
    """Beside what it leaves out: the upstreams, the stages of one's own, certificates and secrets, and who may ask."""
    said = re.findall(r'(?m)(?:^"/[^"]*"|upstreams?)\s*= ("\w+"|\[[^]]*\])', text)
    named = dict.fromkeys(re.findall(r"\w+", " ".join(said))) or {"mine": None}
    if re.match(r"(?:request|response) =", text):
        text = f"[pipeline]\n{text}"
    authority = trustme.CA()
    certificate = authority.issue_cert("proxy.lan")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for index, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(tmp_path / "cert.pem", append=index > 0)
    for name in re.findall(r'"/run/secrets/(\w+)"', text):
        (tmp_path / name).write_text(f"a token of {name}, and long")
    text = text.replace("/run/secrets/", f"{tmp_path}/")
    if "[upstreams." not in text:
        text += "".join(f'\n[upstreams.{name}]\nurl = "http://{name}"' for name in named)
    if re.search(r'"(?:0\.0\.0\.0|10\.\d+\.\d+\.\d+):', text) and "[clients]" not in text:
        text += '\n[clients]\nme = "a token, and long enough"'
    for module, name in re.findall(r'"(\w+):([A-Z]\w+)"', text):
        code = (
            f"class {name}(Stage[TextDelta, TextDelta]):\n    def __init__(self, *, mark: str = ''): pass\n"
            "    def feed(self, delta, /): yield delta\n"
        )
        sys.modules.pop(module, None)  # another test's
        (tmp_path / f"{module}.py").write_text(f"from trioproxy import Stage, TextDelta\n{code}")
    path, modules = list(sys.path), set(sys.modules)
    # Lists that stand below each other are to be chosen from.
    lists = re.findall(r"(?m)^response = \[.*\n", text)
    for each in [line for line in lists if "# refused" not in line] or [""]:
        one = "".join(line for line in text.splitlines(keepends=True) if line not in lists or line == each)
        assert config.read(one, tmp_path / "stages.toml", Everything()).routes
    sys.path[:] = path
    for module in set(sys.modules) - modules:
        del sys.modules[module]
