"""The table of hosts: what a host and a model make of a request, and that the operator has the last word."""

from __future__ import annotations

import msgspec
import pytest

from trioproxy.dialects.openai.write_thinking import EFFORTS
from trioproxy.dialects.openai_responses.hosts import _TABLE, Ways, ways_of
from trioproxy.dialects.target import Target

OPENAI = "api.openai.com"


def ways(host: str, model: str = "m") -> Ways:
    return ways_of(Target(host=host), model)


def test_every_row_says_what_ways_has() -> None:
    for row in _TABLE:
        made = msgspec.convert(msgspec.to_builtins(Ways(**row.ways)), Ways)
        assert made == Ways(**row.ways), row
        assert set(made.efforts) <= set(EFFORTS), row


@pytest.mark.parametrize("host", ["localhost", "10.0.0.7", "", "api.openai.com.example.net", "notchatgpt.com"])
def test_a_host_nobody_wrote_down_has_the_ways_of_a_chat_template(host: str) -> None:
    assert {ways(host, model) for model in ("gpt-oss-120b", "gpt-4", "qwen3")} == {Ways()}


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5.4-mini", "o3", "openai/gpt-5.5", "gpt-5-chat-latest"])
def test_a_gateway_hands_on_what_openai_takes(model: str) -> None:
    found = ways("gateway.example.net", model)
    assert msgspec.structs.replace(found, user="safety_identifier", tier=True, search=True) == ways(OPENAI, model)


@pytest.mark.parametrize(
    "host",
    [
        OPENAI,
        "eu.api.openai.com",
        "mine.openai.azure.com",
        "mine.services.ai.azure.com",
        "chatgpt.com",
        "api.githubcopilot.com",
        "api.business.githubcopilot.com",
        "bedrock-mantle.us-east-1.api.aws",
    ],
)
def test_h150b_whoever_runs_openais_models_takes_their_words(host: str) -> None:
    found = ways(host, "gpt-5")
    assert (found.system_messages, found.system_role, found.complete, found.rich) == ("keep", "developer", False, True)
    assert (found.effort, found.sampling) == (True, False)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-5.2-chat", "gpt-35-turbo"])
def test_models_that_do_not_reason(model: str) -> None:
    found = ways(OPENAI, model)
    assert (found.effort, found.encrypted, found.summaries, found.sampling) == (False, "never", False, True)


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [
        ("o3", "low", "high"),
        ("gpt-5", "low", "high"),
        ("gpt-5-codex", "low", "high"),
        ("gpt-5-pro", "high", "high"),
        ("gpt-5.1", "none", "high"),
        ("gpt-5.1-codex", "low", "high"),
        ("gpt-5.1-codex-max", "low", "xhigh"),
        ("gpt-5.2", "none", "xhigh"),
        ("gpt-5.3-codex", "low", "xhigh"),
        ("gpt-5.5", "none", "xhigh"),
        ("gpt-5.6-sol", "none", "max"),
        ("openai.gpt-5.6-luna", "none", "max"),
    ],
)
def test_h082_efforts_of_openai_by_generation(model: str, least: str, most: str) -> None:
    found = ways(OPENAI, model)
    assert (found.efforts[0], found.efforts[-1]) == (least, most)


def test_h080_deepseek_must_have_its_thinking_back() -> None:
    assert ways("api.deepseek.com").reasoning == "replay"
    assert {ways(host).reasoning for host in (OPENAI, "localhost", "api.x.ai")} == {"drop"}


def test_mistral_has_its_rules_wherever_it_runs() -> None:
    assert ways("localhost", "mistralai/Devstral-Small-2-24B").nine
    assert not ways("localhost", "qwen3").nine


def test_xai_has_efforts_for_some_models_only() -> None:
    assert [ways("api.x.ai", model).effort for model in ("grok-4", "grok-4.5", "grok-3-mini")] == [False, True, True]
    assert ways("api.x.ai", "grok-4-fast-non-reasoning").encrypted == "asked"


def test_the_operator_has_the_last_word() -> None:
    target = Target(host=OPENAI, reasoning="replay", effort="send", system_messages="hoist")
    found = ways_of(target, "my-deployment")
    assert (found.reasoning, found.effort, found.system_messages) == ("replay", True, "hoist")
    assert not ways_of(Target(host=OPENAI, effort="drop"), "gpt-5").effort


def test_a_session_makes_no_other_upstream() -> None:
    """A look at the whole table for each session would take its time."""
    target = Target(host=OPENAI, cache_key="session")
    assert ways_of(target, "o3") is ways_of(msgspec.structs.replace(target, session="s", provenance="p"), "o3")
