"""The table of hosts: what a host and a model make of a request, and that the operator has the last word."""

from __future__ import annotations

import msgspec
import pytest

from trioproxy.dialects.openai.write_thinking import EFFORTS
from trioproxy.dialects.openai_chat.hosts import _TABLE, Ways, ways_of
from trioproxy.dialects.target import Target


def ways(host: str, model: str = "m") -> Ways:
    return ways_of(Target(host=host), model)


def test_every_row_says_what_ways_has() -> None:
    for row in _TABLE:
        made = msgspec.convert(msgspec.to_builtins(Ways(**row.ways)), Ways)
        assert made == Ways(**row.ways), row
        assert set(made.efforts) <= set(EFFORTS), row


@pytest.mark.parametrize("host", ["localhost", "10.0.0.7", "", "api.openai.com.example.net", "evil-api.deepseek.com"])
def test_a_host_nobody_wrote_down_has_the_ways_of_a_chat_template(host: str) -> None:
    assert ways(host) == Ways()


@pytest.mark.parametrize("host", ["api.openai.com", "eu.api.openai.com", "mine.openai.azure.com"])
def test_h133_openai_calls_the_limit_otherwise(host: str) -> None:
    assert ways(host).limit == "max_completion_tokens"
    assert ways(host).system_messages == "keep"


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5", "gpt-5-nano", "gpt-5.6-terra", "ft:o4-mini:me"])
def test_h085_reasoning_models_of_openai_take_no_sampling(model: str) -> None:
    found = ways("api.openai.com", model)
    assert (found.sampling, found.stops, found.effort) == (False, 0, "reasoning_effort")


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-5.1-chat-latest", "gpt-35-turbo"])
def test_models_that_do_not_reason_take_sampling_and_no_effort(model: str) -> None:
    found = ways("mine.openai.azure.com", model)
    assert (found.sampling, found.stops, found.effort) == (True, 4, "")


@pytest.mark.parametrize(
    ("model", "most", "beside_tools"),
    [
        ("gpt-5", "high", "keep"),
        ("gpt-5.1", "high", "keep"),
        ("gpt-5.1-codex-max", "xhigh", "keep"),
        ("gpt-5.2", "xhigh", "keep"),
        ("gpt-5.4", "xhigh", "drop"),
        ("gpt-5.5", "xhigh", "drop"),
        ("gpt-5.6-terra", "max", "none"),
    ],
)
def test_h088_efforts_of_openai_by_generation(model: str, most: str, beside_tools: str) -> None:
    found = ways("api.openai.com", model)
    assert (found.efforts[-1], found.effort_with_tools) == (most, beside_tools)


def test_h080_thinking_goes_back_to_who_wants_it_and_to_nobody_else() -> None:
    wanting = ["api.deepseek.com", "api.moonshot.ai", "api.moonshot.cn", "api.xiaomimimo.com"]
    assert {ways(host).reasoning for host in wanting} == {"replay"}
    others = ["api.openai.com", "api.mistral.ai", "api.groq.com", "openrouter.ai", "localhost"]
    assert {ways(host, "deepseek-v4").reasoning for host in others} == {"drop"}  # H081: by host, not by a name


def test_mistral_has_its_rules_wherever_it_runs() -> None:
    assert ways("localhost", "mistralai/Devstral-Small-2-24B").bridge
    assert ways("api.mistral.ai", "anything").nine
    assert not ways("localhost", "qwen3").bridge


def test_the_operator_has_the_last_word() -> None:
    target = Target(host="api.mistral.ai", reasoning="replay", effort="send", system_messages="hoist")
    found = ways_of(target, "m")
    assert (found.reasoning, found.effort, found.system_messages) == ("replay", "reasoning_effort", "hoist")
    assert ways_of(Target(host="openrouter.ai", effort="send"), "m").effort == "reasoning"
    assert ways_of(Target(host="localhost", effort="drop"), "m").effort == ""


def test_h088_no_effort_is_still_said_where_nothing_else_works() -> None:
    found = ways_of(Target(host="api.openai.com", effort="drop"), "gpt-5.6")
    assert (found.effort, found.effort_with_tools) == ("", "none")


def test_a_session_makes_no_other_upstream() -> None:
    """A look at the whole table for each session would take its time."""
    target = Target(host="api.openai.com", cache_key="session")
    assert ways_of(target, "o3") is ways_of(msgspec.structs.replace(target, session="s"), "o3")
