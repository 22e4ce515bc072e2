"""`python -m trioproxy run` with the programs that it is for: nobody has set anything up for them."""

from __future__ import annotations

import sys
from pathlib import Path

from . import answers
from .claude_code import ClaudeCode, run_claude
from .codex import Codex, run_codex
from .proxy import CONFIG, REPOSITORY
from .responses_upstream import ResponsesUpstream, Say, says
from .test_claude_code import PROMPT, m0_steps, router_with

NOWHERE = "http://127.0.0.1:9"
HERE = {"PYTHONPATH": str(REPOSITORY)}


def launched(folder: Path, upstream: str, dialect: str = "anthropic") -> list[str]:
    """The command line in front of a client's own."""
    file = folder / "stages.toml"
    file.write_text(CONFIG.format(upstream=upstream).replace('"anthropic"', f'"{dialect}"'), encoding="utf-8")
    log = folder / "proxy.log"
    return [sys.executable, "-m", "trioproxy", "run", "--config", str(file), "--log", str(log), "--"]


def test_claude_code_that_is_run_shows_the_answer_only(claude: ClaudeCode, tmp_path: Path) -> None:
    """M0 without a word of set-up; the key of the environment reaches the upstream, and not the client."""
    reply = answers.metadata_first(m0_steps(block_stop=False, chopping="one-write"))
    own = HERE | {"ANTHROPIC_API_KEY": "sk-ant-own", "ANTHROPIC_BASE_URL": NOWHERE}
    with router_with(reply) as router:
        launcher = launched(tmp_path, router.url)
        outcome = run_claude(claude, NOWHERE, PROMPT, tmp_path, launcher=launcher, environment=own)
    assert router.problems == []
    outcome.assert_answer(answers.REAL)
    assert outcome.texts == [answers.REAL], outcome.report
    [line] = [line for line in outcome.stderr.splitlines() if "trioproxy" in line]
    assert line.endswith(f": / → {router.url}; started without ANTHROPIC_API_KEY")
    assert router.requests[0].header("x-api-key") == "sk-ant-own"
    assert router.requests[0].header("authorization") is None
    log = (tmp_path / "proxy.log").read_text(encoding="utf-8")
    assert '"end":"complete"' in log
    assert "sk-ant-own" not in log


def test_codex_that_is_run_shows_the_answer(codex: Codex, tmp_path: Path) -> None:
    with ResponsesUpstream([says(Say(answers.REAL))]) as upstream:
        launcher = launched(tmp_path, upstream.url, "openai-responses")
        session = run_codex(
            codex, "", PROMPT, tmp_path, launcher=launcher, environment=HERE | {"OPENAI_API_KEY": "own"}
        )
    assert upstream.problems == upstream.refused == []
    session.assert_answer(answers.REAL)
    assert upstream.requests[0].header("authorization") == "Bearer own"
