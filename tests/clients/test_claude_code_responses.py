"""Claude Code itself through trioproxy on an OpenAI Responses upstream that refuses whatever OpenAI refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from . import answers
from .claude_code import ClaudeCode
from .claude_runs import (
    BASH,
    BILLING,
    FIRST_WITH_BILLING,
    OPUS,
    WITH_TOOL_SEARCH,
    Run,
    is_main_turn,
    through_trioproxy,
)
from .responses_upstream import (
    CONTEXT_TOO_LONG,
    MODEL,
    USAGE,
    Call,
    Part,
    Play,
    ResponsesUpstream,
    Say,
    Think,
    breaks,
    error_object,
    fails,
    says,
)
from .responses_words import Wire

THOUGHTS = ["First I look at step-4417.", "Then I think of step-4418."]
CUT = "Words of a cut answer."
RATE_LIMITED = "Rate limit reached for gpt-5.4 on requests per min (RPM): Limit 3, Used 3."
SORRY = "The server had an error while processing your request. Sorry about that!"
REAL = says(Say(answers.REAL))

RunClaude = Callable[..., Run]


@pytest.fixture
def run(claude: ClaudeCode, tmp_path: Path) -> RunClaude:
    """Runs the client on a script for its main turns."""

    def run(*script: Play, **how: Any) -> Run:
        return through_trioproxy(claude, ResponsesUpstream(script, scripted=is_main_turn), tmp_path, **how)

    return run


def test_answer(run: RunClaude) -> None:
    done = run(REAL, talkative=True)
    done.assert_answer()
    [asked] = done.asked
    body = asked.json
    assert (body["model"], body["stream"], body["store"]) == (MODEL, True, False)
    # Where nobody says otherwise, OpenAI takes a schema for one that it may enforce.
    assert {tool["strict"] for tool in body["tools"]} == {False}
    # What the upstream counted, not what trioproxy estimated before it knew.
    usage = done.outcome.result["usage"]
    counted = [usage[f"{name}_tokens"] for name in ("input", "cache_read_input", "output")]
    assert counted == [7, 5, USAGE["output_tokens"]]
    assert answers.MODEL in done.outcome.result["modelUsage"]
    assert MODEL not in done.outcome.result["modelUsage"]


def test_thinking_and_two_tools_at_once(run: RunClaude, claude: ClaudeCode, tmp_path: Path) -> None:
    """What was thought comes back sealed, in its place before what it led to: the upstream refuses any other."""
    (tmp_path / "notes.txt").write_text("proof-of-reading\n", encoding="utf-8")
    read = {"file_path": str(tmp_path / "notes.txt")}
    before, after = THOUGHTS
    done = run(
        says(Think((before, "In two parts.")), Say("I look."), Call("Bash", BASH), Call("Read", read)),
        says(Think((after,)), Say(answers.REAL)),
    )
    done.assert_answer("I look.")
    assert [block["name"] for block in done.shown("tool_use")] == ["Bash", "Read"]
    first, second = (request.json for request in done.asked)
    assert_goes_on(first, second)
    if claude.numbers >= FIRST_WITH_BILLING:
        # Else it would be no wonder that none arrived.
        assert sum(BILLING in request.body for request in done.sent) >= 2
    thought, said, *rest = second["input"][len(first["input"]) :]
    assert (thought["type"], said["content"][0]["text"]) == ("reasoning", "I look.")
    assert [json.loads(item["arguments"]) for item in rest if item["type"] == "function_call"] == [BASH, read]
    # The thoughts are in the seal; nor may they come as text.
    assert before not in json.dumps([said, *rest])
    # 2.1.329 says first what was done first.
    outputs = {item["call_id"]: item["output"] for item in rest if item["type"] == "function_call_output"}
    bash, file = (outputs[item["call_id"]] for item in rest if item["type"] == "function_call")
    assert "proof-42" in bash
    assert "proof-of-reading" in file


def assert_goes_on(first: Wire, second: Wire) -> None:
    """The second request says the first one's to the letter before its own: an upstream's prefix cache holds."""
    known = first["input"]
    assert second["input"][: len(known)] == known
    assert {**second, "input": known} == first
    assert list(second) == list(first)
    assert list(second)[-1] == "input"


def test_what_was_thought_is_shown_to_those_who_want_to_see_it(run: RunClaude, claude: ClaudeCode) -> None:
    done = run(says(Think(tuple(THOUGHTS)), Say(answers.REAL)))
    done.assert_answer()
    [asked] = done.asked
    summary = (asked.json.get("reasoning") or {}).get("summary")
    wanted = ["\n\n".join(THOUGHTS)] if summary else []
    assert [block["thinking"] for block in done.shown("thinking") if block["thinking"]] == wanted


def test_tools_that_are_looked_for(run: RunClaude, claude: ClaudeCode) -> None:
    """A tool that the model finds is offered from then on; and system messages in mid-conversation are understood."""
    if claude.numbers < WITH_TOOL_SEARCH:
        pytest.skip("this version defers no tools")
    done = run(says(Think(), Call("ToolSearch", {"query": "select:NotebookEdit"})), REAL, model=OPUS)
    done.assert_answer(model=OPUS)
    assert any(message["role"] == "system" for message in done.sent[0].json["messages"])
    assert any(item.get("role") == "developer" for item in done.asked[0].json["input"])
    first, second = ({tool["name"] for tool in asked.json["tools"]} for asked in done.asked)
    assert second - first == {"NotebookEdit"}


def test_429_and_then_the_answer(run: RunClaude) -> None:
    done = run(fails(429, RATE_LIMITED, ("retry-after", "1"), kind="requests", code="rate_limit_exceeded"), REAL)
    done.assert_answer()
    assert len(done.asked) == 2
    # 2.0.77 asks at once without streaming, whatever it is told. Left alone the others wait 0.6 s at most.
    if done.asked[1].wants_stream:
        [refused] = [line for line in done.log if line["status"] == 429]
        times = [datetime.fromisoformat(line["time"]) for line in (refused, done.log[-1])]
        assert (times[1] - times[0]).total_seconds() >= 0.95


def test_cut_text_is_asked_again(run: RunClaude) -> None:
    done = run(breaks(Say(CUT), less=3, ending="reset"), REAL)
    done.assert_answer()
    assert len(done.asked) == 2


# The last events of a call are a piece of its arguments, all of them, and the item.
@pytest.mark.parametrize("less", [3, 1], ids=["in-its-arguments", "before-its-end"])
def test_cut_tool_call_is_not_run(run: RunClaude, tmp_path: Path, less: int) -> None:
    """Half of a command is a command too."""
    made = Call("Bash", {"command": f"touch {tmp_path / 'ran'}; echo the rest"})
    done = run(breaks(made, less=less), REAL)
    done.assert_answer()
    assert len(done.asked) == 2
    assert done.shown("tool_use") == [], done.outcome.report
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("begun", [[], [Say(CUT)]], ids=["at-once", "after-words"])
def test_error_inside_the_stream_is_asked_again(run: RunClaude, begun: list[Part]) -> None:
    done = run(breaks(*begun, less=3, failed=error_object(SORRY, "server_error", "server_error")), REAL)
    done.assert_answer()
    assert len(done.asked) == 2


def test_overflow_reads_as_a_prompt_that_is_too_long(run: RunClaude) -> None:
    overflow = fails(400, CONTEXT_TOO_LONG, code="context_length_exceeded")
    # 2.0.77 asks once more, without streaming.
    done = run(overflow, overflow)
    assert done.outcome.result["is_error"], done.outcome.report
    assert "prompt is too long" in done.outcome.result["result"].lower(), done.outcome.report
