"""The examples: the first custom stage as the README prints it, and the example package through its entry point."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest

from tests.anthropic import message, texts, wire
from tests.peers import Line, ask, proxy, upstream
from trioproxy import Stage

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
