"""The examples: the first custom stage as the README prints it, and the example package through its entry point."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest

from tests.anthropic import message, texts, wire
from tests.peers import Line, ask, proxy, upstream
from trioproxy import Seconds, Stage, config
from trioproxy.config import Config
from trioproxy.errors import ConfigError
from trioproxy.http.client import Timeouts

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
    "filter-only.toml": {},
    "open-webui-on-claude.toml": {"ANTHROPIC_API_KEY": "sk-ant-key"},
}


def example(name: str, **environ: str) -> Config:
    return config.load(ROOT / "examples" / name, KEYS[name] | environ)


def test_every_example_file_is_tested() -> None:
    assert {file.name for file in (ROOT / "examples").glob("*.toml")} == KEYS.keys()


@pytest.mark.parametrize("name", KEYS)
def test_an_example_file_needs_its_keys_and_no_more(name: str) -> None:
    [route] = example(name).routes
    assert route.prefix == "/"
    assert route.upstream.token == next(iter(KEYS[name].values()), None)
    if not KEYS[name]:
        return
    with pytest.raises(ConfigError) as caught:
        config.load(ROOT / "examples" / name, {})
    [problem] = caught.value.problems
    assert problem.message == f"token: the environment variable {next(iter(KEYS[name]))} is not set"


def test_claude_code_on_openai() -> None:
    [route] = example("claude-code-on-openai.toml").routes
    assert (str(route.upstream), route.upstream.dialect) == ("https://api.openai.com/v1", "openai-chat")
    assert [stage.name for stage in route.request] == ["quota-probe", "billing-nonce"]
    assert tuple(stage.name for stage in route.response) == config.DEFAULT_RESPONSE
    assert route.asked("claude-opus-5-5") != route.asked("claude-haiku-4-5") != "claude-haiku-4-5"
    [route] = example("claude-code-on-openai.toml", OPENAI_MODEL="gpt-x", OPENAI_BASE_URL="http://local/v1").routes
    assert (str(route.upstream), route.asked("claude-opus-5-5")) == ("http://local/v1", "gpt-x")


def test_filter_only() -> None:
    [route] = example("filter-only.toml").routes
    assert (str(route.upstream), route.request) == ("http://127.0.0.1:3456", ())
    assert "signature-filter" in [stage.name for stage in route.response]


def test_open_webui_on_claude() -> None:
    loaded = example("open-webui-on-claude.toml")
    [route] = loaded.routes
    assert route.upstream.timeouts == Timeouts(connect=Seconds(10), first_byte=Seconds(300), between_bytes=Seconds(300))
    assert (str(route.upstream), loaded.log.level) == ("https://api.anthropic.com", "info")
    assert route.asked("claude-openai-tools/claude-sonnet-4-6") == "claude-sonnet-4-6"
    environ = {"ANTHROPIC_CONNECT_TIMEOUT": "2.5", "ANTHROPIC_READ_TIMEOUT": "60", "ANTHROPIC_LOG_LEVEL": "debug"}
    loaded = example("open-webui-on-claude.toml", ANTHROPIC_BASE_URL="http://local", **environ)
    assert loaded.routes[0].upstream.timeouts == Timeouts(
        connect=Seconds(2.5), first_byte=Seconds(60), between_bytes=Seconds(60)
    )
    assert (str(loaded.routes[0].upstream), loaded.log.level) == ("http://local", "debug")


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
