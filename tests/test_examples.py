"""The examples: the first custom stage as the README prints it, and the example package through its entry point."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest

from tests.anthropic import message, texts, wire
from tests.peers import Line, ask, proxy, upstream

ROOT = Path(__file__).parent.parent


async def stream(line: Line) -> None:
    await line.head()
    await line.chunk(wire(message("hello ", "you")))
    await line.end()


def readme_block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [block] = [block for block in blocks if containing in block]
    return str(block)


async def test_the_readmes_first_custom_stage_works_as_printed(tmp_path: Path) -> None:
    code, toml = readme_block("python", "class Shout"), readme_block("toml", "my_stages:Shout")
    assert len([line for line in code.splitlines() if line.strip()]) < 10
    (tmp_path / "my_stages.py").write_text(code)
    async with upstream(stream) as up, proxy(toml + up.toml(), directory=tmp_path) as port:
        answer = await ask(port, b'{"stream": true}')
    assert texts(answer.body) == ["HELLO YOU"]


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
