"""The example files as they are, with the clients that they are for, set up as the files' comments say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from . import answers, anthropic_upstream, responses_upstream
from .anthropic_upstream import AnthropicUpstream
from .claude_code import ClaudeCode, run_claude
from .claude_runs import BASH, OPUS, PROMPT, assert_told_nothing_of_claude, is_main_turn
from .codex import Codex, run_codex
from .proxy import REPOSITORY, Trioproxy
from .responses_upstream import ResponsesUpstream, Think, says

EXAMPLES = REPOSITORY / "examples"
CLAUDE_CODE = EXAMPLES / "claude-code-on-responses.toml"
CODEX = EXAMPLES / "codex-on-claude.toml"
PROOF = "proof-42"
SECONDS = 20.0


def serving(example: Path, folder: Path, upstream: str, **environment: str) -> Trioproxy:
    (folder / "proxy").mkdir()
    return Trioproxy(upstream, folder / "proxy", file=example, environment=environment)


def commented(example: Path, begin: str) -> str:
    """What stands in the file's comment below the line that ends with `begin`."""
    found = re.search(rf"(?m)^#.*{re.escape(begin)}$\n#\n((?:#   .*\n)+)", example.read_text(encoding="utf-8"))
    assert found
    return found[1].replace("#   ", "")


@pytest.mark.parametrize("model", [answers.MODEL, OPUS])
def test_claude_code_on_responses(claude: ClaudeCode, tmp_path: Path, model: str) -> None:
    """With its thoughts over a tool loop, and the small model for what is small."""
    loop = [
        says(Think(("First I look.",)), responses_upstream.Call("Bash", BASH)),
        says(Think(), responses_upstream.Say(answers.REAL)),
    ]
    with ResponsesUpstream(loop, scripted=is_main_turn) as upstream:
        told = {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_API_KEY": "sk-upstream"}
        with serving(CLAUDE_CODE, tmp_path, upstream.url, **told) as proxy:
            outcome = run_claude(claude, proxy.url, PROMPT, tmp_path, model=model, talkative=True)
    assert upstream.refused == upstream.problems == [], f"{upstream.refused}\n{outcome.report}"
    outcome.assert_answer(answers.REAL)
    assert_told_nothing_of_claude([*upstream.requests, *upstream.asides], responses_upstream.PATH)
    first, second = (request.json for request in upstream.requests)
    assert (first["model"], second["model"]) == ("gpt-5.4", "gpt-5.4")
    assert {aside.json["model"] for aside in upstream.asides} <= {"gpt-5.4", "gpt-5-mini"}
    kinds = [item["type"] for item in second["input"]]
    assert (kinds.count("reasoning"), kinds.count("function_call_output")) == (1, 1)
    assert PROOF in json.dumps(second["input"])


@pytest.fixture
def claude_upstream() -> AnthropicUpstream:
    """It thinks before a command and before its answer."""
    call = anthropic_upstream.Call("exec_command", {"cmd": BASH["command"]})
    return AnthropicUpstream(
        [[anthropic_upstream.Think("First I look."), call], [anthropic_upstream.Say(answers.REAL)]]
    )


def to_claude(upstream: AnthropicUpstream) -> Mapping[str, str]:
    return {"ANTHROPIC_BASE_URL": upstream.url, "ANTHROPIC_API_KEY": "sk-upstream"}


def test_codex_on_claude(codex: Codex, tmp_path: Path, claude_upstream: AnthropicUpstream) -> None:
    config = commented(CODEX, "and in ~/.codex/config.toml:")
    with claude_upstream as upstream, serving(CODEX, tmp_path, upstream.url, **to_claude(upstream)) as proxy:
        shown = run_codex(codex, config.replace("http://127.0.0.1:4567", proxy.url), PROMPT, tmp_path)
    assert upstream.refused == upstream.problems == [], f"{upstream.refused}\n{shown.report}"
    shown.assert_answer(answers.REAL)
    assert [item["aggregated_output"].strip() for item in shown.items("command_execution")] == [PROOF]
    assert [request.header("x-api-key") for request in upstream.requests] == ["sk-upstream"] * 2
    assert [seen.model for seen in upstream.seen] == ["claude-sonnet-4-5"] * 2


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_who_goes_on_from_a_response_by_its_id_on_claude(
    tmp_path: Path, claude_upstream: AnthropicUpstream, streamed: bool
) -> None:
    """The proxy keeps what was said before, signed thoughts and all: the client sends nothing but what is new."""
    openai = pytest.importorskip("openai", reason="the openai package is not installed")
    tool = {"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object"}}
    asked: Any = {"model": "gpt-5.4", "tools": [tool], "reasoning": {"effort": "high", "summary": "auto"}}
    with (
        claude_upstream as upstream,
        serving(CODEX, tmp_path, upstream.url, **to_claude(upstream)) as proxy,
        openai.OpenAI(
            base_url=f"{proxy.url}/v1",
            api_key="dummy",
            max_retries=0,
            timeout=SECONDS,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        ) as client,
    ):

        def answer(**new: Any) -> Any:
            if not streamed:
                return client.responses.create(**asked, **new)
            with client.responses.stream(**asked, **new) as stream:
                return stream.get_final_response()

        first = answer(input="What is there?")
        [call] = [item for item in first.output if item.type == "function_call"]
        output = {"type": "function_call_output", "call_id": call.call_id, "output": PROOF}
        last = answer(input=[output], previous_response_id=first.id)
    assert upstream.refused == upstream.problems == []
    assert (first.model, last.model, last.output_text) == ("gpt-5.4", "gpt-5.4", answers.REAL)
    assert last.previous_response_id == first.id
    assert [(seen.thinking, len(seen.thoughts), seen.changed) for seen in upstream.seen] == [
        (True, 0, ()),
        (True, 1, ()),
    ]
    assert PROOF in json.dumps(upstream.requests[1].json["messages"][-1])
