"""Claude Code itself (`claude -p`), directly on the fake router and through trioproxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from . import answers
from .claude_code import ClaudeCode, run_claude
from .conftest import Way, m0_streams
from .fake_router import FakeRouter
from .tap import Tap
from .wire import CHOPPINGS, Ending, Pause, Reply, Request, Step

PROMPT = "Say hello to marker-8731."
# What versions make of a message with one empty text block.
NOTHING_SAID = ("", "(no content)")
SENT_ON = ("anthropic-version", "anthropic-beta", "authorization", "content-type", "user-agent", "x-app")


def is_main_turn(request: Request) -> bool:
    """Not a warm-up of sub-agents, a token count or a summary of a command: those come and go with the version."""
    if request.method != "POST" or request.path != "/v1/messages":
        return False
    return bool(request.json.get("tools")) and "marker-8731" in json.dumps(request.json["messages"])


def tool_results(request: Request) -> list[dict[str, Any]]:
    contents = [message["content"] for message in request.json["messages"]]
    # A content is a string or a list of blocks.
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    return [block for block in blocks if block["type"] == "tool_result"]


def router_with(*script: Reply) -> FakeRouter:
    return FakeRouter(script, scripted=is_main_turn)


def m0_steps(*, block_stop: bool, chopping: str) -> Sequence[Step]:
    return CHOPPINGS[chopping]([*answers.metadata_events(block_stop=block_stop), *answers.text_events()])


@m0_streams
def test_direct_m0_breaks_old_versions(old_claude: ClaudeCode, tmp_path: Path, block_stop: bool, chopping: str) -> None:
    """The fault that trioproxy is there for: without it the answer is lost."""
    reply = answers.metadata_first(m0_steps(block_stop=block_stop, chopping=chopping))
    # Depending on timing it asks once more without streaming, and gets the metadata again.
    with router_with(reply, reply) as router:
        outcome = run_claude(old_claude, router.url, PROMPT, tmp_path)
    assert router.problems == []
    assert answers.REAL not in outcome.texts, outcome.report
    assert outcome.result.get("result") != answers.REAL, outcome.report
    if len(router.requests) == 1 and not block_stop:
        assert outcome.texts == [], outcome.report
        assert outcome.result["subtype"] == "error_during_execution", outcome.report
    else:
        assert answers.METADATA_MARK in outcome.result["result"], outcome.report


@m0_streams
def test_m0_through_trioproxy_shows_the_answer_only(
    claude: ClaudeCode, proxied: Way, tmp_path: Path, block_stop: bool, chopping: str
) -> None:
    reply = answers.metadata_first(m0_steps(block_stop=block_stop, chopping=chopping))
    with router_with(reply) as router, proxied(router) as base_url:
        outcome = run_claude(claude, base_url, PROMPT, tmp_path)
    assert router.problems == []
    outcome.assert_answer(answers.REAL)
    assert outcome.texts == [answers.REAL], outcome.report
    assert answers.METADATA_MARK not in outcome.stdout, outcome.report


@pytest.mark.parametrize("block_stop", [False, True], ids=["no-block-stop", "block-stop"])
def test_metadata_only_ends_as_an_empty_answer(
    claude: ClaudeCode, proxied: Way, tmp_path: Path, block_stop: bool
) -> None:
    reply = answers.metadata_first(CHOPPINGS["one-write"](answers.metadata_events(block_stop=block_stop)))
    # Newer versions ask once more when they are told nothing.
    with router_with(reply, reply) as router, proxied(router) as base_url:
        outcome = run_claude(claude, base_url, PROMPT, tmp_path)
    assert router.problems == []
    result = outcome.result
    assert (result["subtype"], result["is_error"]) == ("success", False), outcome.report
    assert result["result"] in NOTHING_SAID, outcome.report
    assert answers.METADATA_MARK not in outcome.stdout, outcome.report


def test_answer(claude: ClaudeCode, way: Way, tmp_path: Path) -> None:
    with router_with(answers.text()) as router, way(router) as base_url:
        outcome = run_claude(claude, base_url, PROMPT, tmp_path)
    assert router.problems == []
    outcome.assert_answer(answers.REAL)
    assert outcome.texts == [answers.REAL], outcome.report


def test_tool_loop_and_every_byte_of_its_requests(claude: ClaudeCode, way: Way, tmp_path: Path) -> None:
    command = {"command": "echo proof-$((40 + 2))", "description": "Print a proof"}
    script = answers.tool_use("Bash", command), answers.text()
    with router_with(*script) as router, way(router) as base_url, Tap(base_url) as tap:
        outcome = run_claude(claude, tap.url, PROMPT, tmp_path)
    assert router.problems == tap.problems == []
    outcome.assert_answer(answers.REAL)
    first, second = router.requests
    [result] = tool_results(second)
    assert result["tool_use_id"] == answers.TOOL_ID
    assert "proof-42" in json.dumps(result)
    sent = [request for request in tap.requests if is_main_turn(request)]
    assert sorted(request.body for request in sent) == sorted([first.body, second.body])
    for request in (first, second):
        [original] = [candidate for candidate in sent if candidate.body == request.body]
        assert request.target == original.target == "/v1/messages?beta=true"
        assert [request.header(name) for name in SENT_ON] == [original.header(name) for name in SENT_ON]


def test_429_and_then_the_answer(claude: ClaudeCode, way: Way, tmp_path: Path) -> None:
    slow_down = answers.error(429, "rate_limit_error", "slow down", ("retry-after", "1"))
    with router_with(slow_down, answers.text()) as router, way(router) as base_url:
        outcome = run_claude(claude, base_url, PROMPT, tmp_path)
    assert router.problems == []
    assert len(router.requests) == 2
    outcome.assert_answer(answers.REAL)


@pytest.mark.parametrize(
    ("ending", "pause"),
    # The pause lets the first words arrive, as a reset may overtake them.
    [("reset", 0.1), ("closed", 0.1), ("closed", 0.0)],
    ids=["reset", "closed", "closed-at-once"],
)
def test_cut_stream_is_asked_again(claude: ClaudeCode, way: Way, tmp_path: Path, ending: Ending, pause: float) -> None:
    """A broken connection makes every version ask again.

    An error event in its place does not: 2.0.77 gives up on one that comes in the same read as the words.
    """
    steps: list[Step] = [b"".join(answers.cut_events()), Pause(pause)]
    cut = answers.always(answers.sse(steps, ending=ending))
    with router_with(cut, answers.text()) as router, way(router) as base_url:
        outcome = run_claude(claude, base_url, PROMPT, tmp_path)
    assert router.problems == []
    assert len(router.requests) == 2
    outcome.assert_answer(answers.REAL)
