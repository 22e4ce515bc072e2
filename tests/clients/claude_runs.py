"""One run of Claude Code through trioproxy on an upstream of another dialect, and what holds for every such run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from . import answers, chat_upstream, responses_upstream
from .chat_upstream import ChatUpstream
from .claude_code import ClaudeCode, Outcome, run_claude
from .fake_router import FakeRouter
from .proxy import Trioproxy
from .responses_upstream import ResponsesUpstream
from .responses_words import Wire
from .tap import Tap
from .wire import Request

# No stages are named: what takes the billing line out must be there by default.
CONFIG = """\
listen = "127.0.0.1:0"

[upstreams.openai]
url = "{upstream}/v1"
dialect = "%s"
token = "sk-upstream"

[models]
"claude-*" = "%s"
"""
PROMPT = "Say hello to marker-8731."
BILLING = b"x-anthropic-billing-header"
BASH = {"command": "echo proof-$((40 + 2))", "description": "Print a proof"}
# The first of ours whose system prompt begins with a billing line.
FIRST_WITH_BILLING = (2, 1)
# The one we know to defer tools; with this model it also sends system messages in mid-conversation.
WITH_TOOL_SEARCH = (2, 1, 329)
OPUS = "claude-opus-5-5"


def is_main_turn(request: Request) -> bool:
    """Not a warm-up of sub-agents or a summary of a command: those come and go with the version."""
    return bool(request.json.get("tools")) and b"marker-8731" in request.body


@dataclass(frozen=True)
class Run:
    """One `claude -p`: what the client sent, what the upstream was asked in the main turns, what the client showed."""

    sent: list[Request]
    asked: list[Request]
    outcome: Outcome
    log: list[Wire]

    def shown(self, kind: str) -> list[Wire]:
        """The blocks of one type in the assistant's messages, as the client shows them."""
        lines = [line for line in self.outcome.lines if line["type"] == "assistant"]
        return [block for line in lines for block in line["message"]["content"] if block["type"] == kind]

    def assert_answer(self, *before: str, model: str = answers.MODEL) -> None:
        """The whole answer, once, and no other text than `before`; in the name of the model that the client knows."""
        self.outcome.assert_answer(answers.REAL)
        assert self.outcome.texts == [*before, answers.REAL], self.outcome.report
        models = {line["message"]["model"] for line in self.outcome.lines if line["type"] == "assistant"}
        assert models == {model}, self.outcome.report


# The dialect of an upstream, its model, and the only path that it is to be asked at.
SPEAKS: dict[type[FakeRouter], tuple[str, str, str]] = {
    ChatUpstream: ("openai-chat", chat_upstream.MODEL, chat_upstream.PATH),
    ResponsesUpstream: ("openai-responses", responses_upstream.MODEL, responses_upstream.PATH),
}


def through_trioproxy(
    claude: ClaudeCode,
    upstream: ChatUpstream | ResponsesUpstream,
    folder: Path,
    *,
    model: str = answers.MODEL,
    talkative: bool = False,
) -> Run:
    """Runs the client, and checks what holds for every run."""
    (folder / "proxy").mkdir()
    dialect, asked, path = SPEAKS[type(upstream)]
    with (
        upstream,
        Trioproxy(upstream.url, folder / "proxy", CONFIG % (dialect, asked)) as trioproxy,
        Tap(trioproxy.url) as tap,
    ):
        outcome = run_claude(claude, tap.url, PROMPT, folder, model=model, talkative=talkative)
    assert upstream.refused == [], f"{upstream.refused}\n{outcome.report}"
    assert upstream.problems == tap.problems == [], outcome.report
    log = [json.loads(line) for line in trioproxy.log if line.startswith("{")]
    done = Run(tap.requests, upstream.requests, outcome, [line for line in log if "method" in line])
    assert_told_nothing_of_claude([*upstream.requests, *upstream.asides], path)
    assert_answered_here(done)
    return done


def assert_told_nothing_of_claude(requests: list[Request], path: str) -> None:
    """Neither the line that no cache survives, nor the client's versions, betas and token."""
    for request in requests:
        assert BILLING not in request.body
        assert request.target == path
        assert request.header("authorization") == "Bearer sk-upstream"
        assert [name for name, _ in request.headers if name.lower().startswith(("anthropic-", "x-"))] == []


def assert_answered_here(run: Run) -> None:
    """Whatever the client asks beside answers (a count, a probe, telemetry: by version) gets a 200.

    The upstream has refused every request for anything but an answer, so the 200 is trioproxy's own.
    """
    asked = Counter((request.method, request.path) for request in run.sent if request.path != "/v1/messages")
    answered = Counter((line["method"], line["path"]) for line in run.log if line.get("status") == 200)
    # A client that ends may leave in the middle of its telemetry: only what it sent whole counts.
    assert asked <= answered, run.log
