"""Requests of Anthropic clients as Chat Completions bodies: fields, tools, thinking. Messages: test_write_messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.anthropic.request import read_request
from trioproxy.dialects.openai_chat.write_request import write_request
from trioproxy.dialects.target import Target
from trioproxy.errors import ProxyError
from trioproxy.items import Error, Message, Request
from trioproxy.ledger import Ledger

OPENAI = "api.openai.com"
TOOL = {"name": "Bash", "description": "Runs it", "input_schema": {"type": "object", "properties": {"a": {}}}}


def written(wire: dict[str, Any], host: str = "localhost", **target: Any) -> tuple[Any, Ledger]:
    """The body for `host`, and what was lost. What a test does not say of the request is filled in."""
    wire = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **wire}
    ledger = Ledger()
    request = read_request(msgspec.json.encode(wire))
    return msgspec.json.decode(write_request(request, Target(host=host, **target), ledger).body), ledger


def lost(wire: dict[str, Any], host: str = "localhost", **target: Any) -> list[str]:
    """The paths of what was lost."""
    return [loss.partition(" (")[0] for loss in str(written(wire, host, **target)[1]).split("; ") if loss]


# ── the body ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_plainest_request_loses_nothing() -> None:
    body, ledger = written({"max_tokens": 5})
    assert body == {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    assert not ledger


def test_h123_what_rarely_changes_comes_first() -> None:
    said = {"max_tokens": 5, "temperature": 1, "stream": True, "system": "s", "tools": [TOOL]}
    assert list(written(said)[0])[:2] == ["model", "tools"]
    assert list(written(said)[0])[-1] == "messages"


def test_a_stream_is_asked_for_with_its_usage() -> None:
    body, _ = written({"stream": True})
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    body, _ = written({"stream": True}, "api.mistral.ai")
    assert body["stream"] is True
    assert "stream_options" not in body
    assert "stream" not in written({"stream": False})[0]


def test_h133_the_limit_has_the_name_its_host_gave_it() -> None:
    assert written({"max_tokens": 5}, OPENAI)[0]["max_completion_tokens"] == 5
    assert written({"max_tokens": 5}, "api.mistral.ai")[0]["max_tokens"] == 5


def test_h134_a_limit_above_the_models_is_cut() -> None:
    body, ledger = written({"max_tokens": 64000}, max_tokens=8192)
    assert body["max_tokens"] == 8192
    assert "max_tokens (cut to 8192" in str(ledger)
    assert written({"max_tokens": 5}, max_tokens=8192)[0]["max_tokens"] == 5


def test_a_limit_nobody_set_is_the_models() -> None:
    assert written({}, max_tokens=8192)[0]["max_tokens"] == 8192
    assert "max_tokens" not in written({})[0]


def test_h135_null_fields_say_nothing() -> None:
    said = {"temperature": None, "thinking": None, "tool_choice": None, "metadata": None, "service_tier": None}
    body, ledger = written({**said, "context_management": None, "tools": None, "system": None, "stop_sequences": None})
    assert set(body) == {"model", "messages"}
    assert not ledger


def test_h136_fields_without_a_place_are_noted_by_name() -> None:
    assert lost({"context_management": {"edits": []}, "container": "c", "made_up": 1}) == [
        "context_management",
        "container",
        "made_up",
    ]


def test_h139_stop_sequences_are_a_list_of_as_many_as_the_host_takes() -> None:
    stops = ["a", "b", "c", "d", "e"]
    assert written({"stop_sequences": stops})[0]["stop"] == stops
    body, ledger = written({"model": "gpt-4o", "stop_sequences": stops}, OPENAI)
    assert body["stop"] == stops[:4]
    assert str(ledger) == "stop_sequences (this model takes 4)"
    assert "stop" not in written({"model": "gpt-5", "stop_sequences": stops}, OPENAI)[0]
    assert "stop" not in written({"stop_sequences": []})[0]


def test_h085_h145_sampling_goes_where_it_is_taken() -> None:
    said = {"temperature": 0.5, "top_p": 0.9, "top_k": 40}
    assert lost(said) == ["top_k"]
    assert written(said)[0]["temperature"] == 0.5
    assert written(said, "openrouter.ai")[0]["top_k"] == 40
    assert sorted(lost({**said, "model": "o3"}, OPENAI)) == ["temperature", "top_k", "top_p"]


def test_who_the_user_is_goes_only_to_who_asks_for_it() -> None:
    said = {"metadata": {"user_id": "u-1"}}
    assert written(said, OPENAI)[0]["safety_identifier"] == "u-1"
    assert written(said, "mine.openai.azure.com")[0]["user"] == "u-1"
    assert lost(said) == ["metadata.user_id"]
    assert "u-1" not in str(written(said))


def test_a_user_id_too_long_is_sent_as_its_digest() -> None:
    """Claude Code's is a JSON object of account, device and session."""
    said = {"metadata": {"user_id": '{"device_id":"' + "d" * 64 + '"}', "team": "x"}}
    body, ledger = written(said, OPENAI)
    assert len(body["safety_identifier"]) == 64
    assert "SHA-256" in str(ledger)
    assert "metadata.team" in str(ledger)


def test_h144_service_tiers() -> None:
    assert written({"service_tier": "standard_only"}, OPENAI)[0]["service_tier"] == "default"
    assert lost({"service_tier": "standard_only"}) == ["service_tier"]
    assert lost({"service_tier": "auto"}, OPENAI) == []


# ── the answer's form ───────────────────────────────────────────────────────────────────────────────────────────────

STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def asked(schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def test_h140_a_schema_for_the_answer() -> None:
    body, ledger = written(asked(STRICT))
    form = {"name": "answer", "schema": STRICT, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": form}
    assert not ledger
    assert written({"output_format": {"type": "json_schema", "schema": STRICT}})[0] == body


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}},  # not closed, and nothing is required
        {**STRICT, "properties": {"a": {"type": "string", "pattern": "(?=a)b"}}},
        {**STRICT, "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
        {**STRICT, "oneOf": []},
        {"type": "array", "items": STRICT},
    ],
)
def test_h132_a_schema_that_strict_mode_refuses_is_sent_without(schema: dict[str, Any]) -> None:
    body, ledger = written(asked(schema))
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": schema}
    assert str(ledger).startswith("output_config.format")


def test_h140_a_host_without_schemas_is_told_in_the_system_prompt() -> None:
    body, ledger = written({**asked(STRICT), "system": "Be kind."}, "api.deepseek.com")
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["content"].startswith("Be kind.\n\nAnswer with one JSON object")
    assert msgspec.json.encode(STRICT).decode() in body["messages"][0]["content"]
    assert "output_config.format" in str(ledger)


def test_the_answers_schema_is_named_by_its_title() -> None:
    body, _ = written(asked({**STRICT, "title": "Ein Häuschen!"}))
    assert body["response_format"]["json_schema"]["name"] == "Ein_H_uschen_"


def test_other_forms_and_settings_are_noted() -> None:
    assert lost({"output_format": "markdown"}) == ["output_format"]
    said = {"output_config": {"format": {"type": "xml"}, "task_budget": {}}}
    assert lost(said) == ["output_config.task_budget", "output_config.format"]


# ── thinking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def effort(wire: dict[str, Any], host: str = "localhost", **target: Any) -> Any:
    return written(wire, host, **target)[0].get("reasoning_effort")


def said(level: str) -> dict[str, Any]:
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level}}


def test_h083_the_effort_is_passed_on() -> None:
    assert [effort(said(level)) for level in ("low", "medium", "high")] == ["low", "medium", "high"]
    assert not written(said("high"))[1]
    assert effort({"thinking": {"type": "adaptive"}}) is None


def test_h083_an_effort_that_is_not_taken_becomes_the_nearest() -> None:
    assert effort(said("max")) == effort(said("xhigh")) == "high"
    assert lost(said("max")) == ["output_config.effort"]
    assert effort({**said("max"), "model": "gpt-5-nano"}, OPENAI) == "high"
    assert effort({**said("max"), "model": "gpt-5.2"}, OPENAI) == "xhigh"
    assert effort({**said("max"), "model": "gpt-5.6"}, OPENAI) == "max"
    assert effort({**said("medium"), "model": "kimi-k3"}, "api.moonshot.ai") == "high"
    assert written(said("max"), "openrouter.ai")[0]["reasoning"] == {"effort": "xhigh"}


def test_h082_a_budget_becomes_an_effort() -> None:
    levels = [effort({"thinking": {"type": "enabled", "budget_tokens": n}}) for n in (500, 4096, 10000, 31999)]
    assert levels == ["low", "low", "medium", "high"]
    assert lost({"thinking": {"type": "enabled", "budget_tokens": 1024}}) == ["thinking.budget_tokens"]


def test_models_without_effort_are_spared_it() -> None:
    assert lost({**said("high"), "model": "gpt-4o"}, OPENAI) == ["output_config.effort"]
    assert effort({**said("high"), "model": "gpt-4o"}, OPENAI) is None
    assert effort(said("high"), "api.mistral.ai") is None
    assert effort(said("high"), effort="drop") is None
    assert effort(said("high"), "api.mistral.ai", effort="send") == "high"


def test_h084_no_effort_when_thinking_is_disabled() -> None:
    disabled = {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}
    assert effort(disabled) is None
    assert lost(disabled) == ["output_config.effort", "thinking"]
    body, _ = written(disabled, "api.deepseek.com")
    assert body["thinking"] == {"type": "disabled"}
    assert "reasoning_effort" not in body


def test_h088_no_effort_beside_tools_where_openai_refuses_it() -> None:
    beside = {**said("high"), "tools": [TOOL]}
    assert effort({**said("high"), "model": "gpt-5.4"}, OPENAI) == "high"
    assert effort({**beside, "model": "gpt-5.4"}, OPENAI) is None
    assert effort({**beside, "model": "gpt-5.6"}, OPENAI) == "none"
    assert effort({"tools": [TOOL], "model": "gpt-5.6"}, OPENAI) == "none"  # its own default is refused as well
    assert effort({**beside, "model": "gpt-5"}, OPENAI) == "high"
    assert "output_config.effort" in lost({**beside, "model": "gpt-5.4"}, OPENAI)


def test_what_else_thinking_says_is_noted() -> None:
    assert lost({"thinking": {"type": "adaptive", "display": "omitted"}}) == ["thinking.display"]
    assert lost({"thinking": True, "output_config": {"effort": "auto"}}) == ["thinking", "output_config.effort"]


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────

HOSTS = [
    "localhost",
    OPENAI,
    "openrouter.ai",
    "api.deepseek.com",
    "api.mistral.ai",
    "generativelanguage.googleapis.com",
]

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
json = st.recursive(
    scalars | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def nearly(keys: str, values: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the keys of the wire, and values that fit now and then."""
    return st.dictionaries(st.sampled_from(keys.split()), st.sampled_from(values.split()) | json, max_size=5)


KINDS = "text tool_use tool_result image document thinking compaction tool_reference search_result tool_addition"
block = nearly("type text id name tool_name input tool_use_id content source title tool data", f"{KINDS} base64 url")
block |= st.builds(lambda kind, rest: {**rest, "type": kind}, st.sampled_from(KINDS.split()), block)
block |= st.builds(lambda inner, rest: {**rest, "content": [inner], "source": inner}, block, block)
message = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant", "system"]),
    st.text(max_size=3) | st.lists(block, max_size=3),
)
tool = nearly("type name description input_schema strict defer_loading", "custom Bash web_search_1") | st.just(TOOL)
form = nearly("type schema", "json_schema")
odd = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "o3", "gpt-5.6", "kimi-k3"]), "messages": st.lists(message, max_size=4)},
    optional={
        "system": st.text(max_size=3) | st.lists(block, max_size=2),
        "tools": st.lists(tool, max_size=3),
        "tool_choice": json | nearly("type name disable_parallel_tool_use", "auto any tool Bash"),
        "thinking": json | nearly("type budget_tokens display", "enabled adaptive disabled"),
        "output_config": json
        | nearly("effort format", "low max none")
        | st.builds(lambda form: {"format": form}, form),
        "metadata": json | nearly("user_id", "u"),
    }
    | dict.fromkeys(["temperature", "top_k", "stop_sequences", "service_tier", "output_format"], json),
)


def outcome(request: Request, host: str) -> Any:
    """The body, or the error."""
    try:
        return msgspec.json.decode(write_request(request, Target(host=host), Ledger()).body)
    except ProxyError as exc:
        return exc.error


@given(odd, st.sampled_from(HOSTS))
def test_whatever_can_be_read_is_written_or_refused_with_words(wire: Any, host: str) -> None:
    try:
        request = read_request(msgspec.json.encode(wire))
    except (ProxyError, ValueError):  # the latter is the reader's own affair
        return
    body = outcome(request, host)
    if isinstance(body, Error):
        assert body.status == 400
        assert "cannot be sent to this openai-chat upstream" in body.message
        return
    assert list(body)[-1] == "messages"
    asked = [call["id"] for message in body["messages"] for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]
    assert sorted(asked) == sorted(answered)  # H070


def test_a_schema_nested_too_deeply_is_refused_if_python_cannot_write_it() -> None:
    """How deep is too deep is the interpreter's: newer ones go deeper."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(2000):
        schema = {"type": "object", "properties": {"a": schema}}
    request = Request("m", (Message("user", "hi"),), tools=({"name": "a", "input_schema": schema},))
    for host in HOSTS:
        got = outcome(request, host)
        assert isinstance(got, dict) or "nested too deeply" in got.message
