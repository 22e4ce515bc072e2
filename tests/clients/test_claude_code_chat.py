"""Claude Code itself through trioproxy on an OpenAI Chat upstream that refuses whatever OpenAI refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from . import answers
from .chat_upstream import (
    DONE,
    MODEL,
    USAGE,
    ChatUpstream,
    Wire,
    answer,
    broken,
    call,
    call_pieces,
    error,
    error_event,
    faults,
    text,
    words,
)
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
from .wire import Reply

THOUGHTS = ["First I look at step-4417.", "Then I think of step-4418."]
CUT = "Words of a cut answer."
RATE_LIMITED = "Rate limit reached for gpt-test on requests per min (RPM): Limit 3, Used 3."
TOO_LONG = (
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 131072 tokens."
    " Please reduce the length of the messages."
)

RunClaude = Callable[..., Run]


@pytest.fixture
def run(claude: ClaudeCode, tmp_path: Path) -> RunClaude:
    """Runs the client on a script for its main turns."""

    def run(*script: Reply, **how: Any) -> Run:
        return through_trioproxy(claude, ChatUpstream(script, scripted=is_main_turn), tmp_path, **how)

    return run


def test_answer(run: RunClaude) -> None:
    done = run(text(), talkative=True)
    done.assert_answer()
    [asked] = done.asked
    assert (asked.json["model"], asked.json["stream"]) == (MODEL, True)
    # What the upstream counted, not what trioproxy estimated before it knew.
    usage = done.outcome.result["usage"]
    counted = [usage[f"{name}_tokens"] for name in ("input", "cache_read_input", "output")]
    assert counted == [7, 5, USAGE["completion_tokens"]]
    assert answers.MODEL in done.outcome.result["modelUsage"]
    assert MODEL not in done.outcome.result["modelUsage"]


def test_thinking_and_two_tools_at_once(run: RunClaude, claude: ClaudeCode, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("proof-of-reading\n", encoding="utf-8")
    calls = [call(1, "Bash", BASH), call(2, "Read", {"file_path": str(tmp_path / "notes.txt")})]
    before, after = THOUGHTS
    done = run(answer("I look.", reasoning=before, calls=calls), answer(answers.REAL, reasoning=after))
    done.assert_answer("I look.")
    assert [block["thinking"] for block in done.shown("thinking")] == THOUGHTS
    assert [block["name"] for block in done.shown("tool_use")] == ["Bash", "Read"]
    first, second = (request.json for request in done.asked)
    assert_goes_on(first, second)
    if claude.numbers >= FIRST_WITH_BILLING:
        # Else it would be no wonder that none arrived.
        assert sum(BILLING in request.body for request in done.sent) >= 2
    assistant, *results = second["messages"][-3:]
    assert (assistant["role"], assistant["content"]) == ("assistant", "I look.")
    assert [_parsed(made) for made in assistant["tool_calls"]] == [_parsed(made) for made in calls]
    # The upstream would have refused `reasoning_content`; nor may it come as text.
    assert before not in json.dumps(second)
    # 2.1.329 says first what was done first.
    said = {result["tool_call_id"]: result["content"] for result in results}
    assert said.keys() == {made["id"] for made in calls}
    assert "proof-42" in said[calls[0]["id"]]
    assert "proof-of-reading" in said[calls[1]["id"]]


def assert_goes_on(first: Wire, second: Wire) -> None:
    """The second request says the first one's to the letter before its own: an upstream's prefix cache holds."""
    known = first["messages"]
    assert known[0]["role"] == "system"
    assert second["messages"][: len(known)] == known
    assert {**second, "messages": known} == first
    assert list(second) == list(first)


def _parsed(made: Wire) -> tuple[str, str, Any]:
    return made["id"], made["function"]["name"], json.loads(made["function"]["arguments"])


def test_tools_that_are_looked_for(run: RunClaude, claude: ClaudeCode) -> None:
    """A tool that the model finds is offered from then on; and system messages in mid-conversation are understood."""
    if claude.numbers < WITH_TOOL_SEARCH:
        pytest.skip("this version defers no tools")
    done = run(answer(calls=[call(1, "ToolSearch", {"query": "select:NotebookEdit"})]), text(), model=OPUS)
    done.assert_answer(model=OPUS)
    assert any(message["role"] == "system" for message in done.sent[0].json["messages"])
    first, second = ({tool["function"]["name"] for tool in asked.json["tools"]} for asked in done.asked)
    assert second - first == {"NotebookEdit"}


def test_429_and_then_the_answer(run: RunClaude) -> None:
    slow_down = error(429, RATE_LIMITED, ("retry-after", "1"), kind="requests", code="rate_limit_exceeded")
    done = run(slow_down, text())
    done.assert_answer()
    assert len(done.asked) == 2
    # 2.0.77 asks at once without streaming, whatever it is told. Left alone the others wait 0.6 s at most.
    if done.asked[1].wants_stream:
        [refused] = [line for line in done.log if line["status"] == 429]
        times = [datetime.fromisoformat(line["time"]) for line in (refused, done.log[-1])]
        assert (times[1] - times[0]).total_seconds() >= 0.95


def test_cut_text_is_asked_again(run: RunClaude) -> None:
    done = run(broken(words(CUT), ending="reset"), text())
    done.assert_answer()
    assert len(done.asked) == 2


def test_cut_tool_call_is_not_run(run: RunClaude, tmp_path: Path) -> None:
    """Half of a command is a command too, and `[DONE]` does not make it whole."""
    made = call(1, "Bash", {"command": f"touch {tmp_path / 'ran'}; echo the rest"})
    done = run(broken(call_pieces([made])[:-2], DONE), text())
    done.assert_answer()
    assert len(done.asked) == 2
    assert done.shown("tool_use") == [], done.outcome.report
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("begun", [[], words(CUT)], ids=["at-once", "after-words"])
def test_error_inside_the_stream_is_asked_again(run: RunClaude, begun: list[bytes]) -> None:
    failed = error_event("The server had an error while processing your request. Sorry about that!", "server_error")
    done = run(broken(begun, failed, DONE), text())
    done.assert_answer()
    assert len(done.asked) == 2


def test_overflow_reads_as_a_prompt_that_is_too_long(run: RunClaude) -> None:
    overflow = error(400, TOO_LONG, code="context_length_exceeded")
    # 2.0.77 asks once more, without streaming.
    done = run(overflow, overflow)
    assert done.outcome.result["is_error"], done.outcome.report
    assert "prompt is too long" in done.outcome.result["result"].lower(), done.outcome.report


# ── the upstream's own strictness, without which all of this would show little ──────────────────────────────────────

TOOL: Wire = {"type": "function", "function": {"name": "Bash", "parameters": {"type": "object", "properties": {}}}}
USER: Wire = {"role": "user", "content": "hi"}
CALLED: Wire = {"role": "assistant", "content": None, "tool_calls": [call(1, "Bash", {})]}
RESULT: Wire = {"role": "tool", "tool_call_id": call(1, "Bash", {})["id"], "content": "done"}


def function(**fields: Any) -> Wire:
    return {"tools": [{"type": "function", "function": TOOL["function"] | fields}]}


def test_the_upstream_takes_what_openai_takes() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {}}]}
    messages = [{"role": "system", "content": "s"}, parts, CALLED, RESULT, USER]
    options = {"stream": True, "stream_options": {"include_usage": True}, "reasoning_effort": "high", "stop": ["x"]}
    assert list(faults({"model": MODEL, "messages": messages, "tools": [TOOL], "tool_choice": "auto"} | options)) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"thinking": {"type": "adaptive"}}, "Unrecognized request argument supplied: thinking"),
        ({"reasoning_effort": "ultra"}, "ultra"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": []}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": []}, "too short"),
        ({"tool_choice": "auto"}, "only allowed when 'tools'"),
        ({"tools": [TOOL | {"cache_control": {}}]}, "tools[0].cache_control"),
        ({"tools": [TOOL, TOOL]}, "twice"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice"),
        (function(input_schema={}), "input_schema"),
        (function(name="mcp.server"), "pattern"),
        (function(name="n" * 65), "pattern"),
        (function(parameters={"type": "object"}), "missing properties"),
        (function(parameters={"$schema": "x"}), "type:"),
        (function(parameters=None), "expected an object"),
        (function(parameters={"type": "object", "properties": {"a": {"type": "array"}}}), "missing items"),
        ({"messages": []}, "empty array"),
        ({"messages": [USER | {"id": "1"}]}, "messages[0].id"),
        ({"messages": [{"role": "user", "content": None}]}, "got null"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "", "cache_control": {}}]}]}, "cache_"),
        ({"messages": [{"role": "assistant", "content": None}]}, "got null"),
        ({"messages": [{"role": "assistant", "content": "", "reasoning_content": ""}]}, "reasoning_content"),
        ({"messages": [CALLED | {"tool_calls": []}]}, "too short"),
        ({"messages": [USER, CALLED, USER, RESULT]}, "did not have response"),
        ({"messages": [USER, CALLED]}, "did not have response"),
        ({"messages": [USER, RESULT]}, "must be a response"),
        ({"messages": [USER, CALLED, RESULT, RESULT]}, "must be a response"),
        ({"messages": [CALLED | {"tool_calls": [call(1, "Bash", {}) | {"id": "x" * 41}]}, RESULT]}, "length 40"),
    ],
)
def test_the_upstream_refuses_what_openai_refuses(wrong: Wire, words: str) -> None:
    assert any(words in fault for fault in faults({"model": MODEL, "messages": [USER]} | wrong))
