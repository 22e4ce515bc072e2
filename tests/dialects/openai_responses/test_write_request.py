"""Requests of Anthropic clients as Responses bodies: fields and thinking. Conversations: test_write_input."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.openai_responses.bodies import CODEX, OPENAI, TOOL, check, lost, said, sent_for, written
from trioproxy.dialects.anthropic.request import read_request
from trioproxy.dialects.openai_chat.read_request import read_request as read_chat
from trioproxy.dialects.openai_responses.write_request import write_request
from trioproxy.dialects.target import Target
from trioproxy.errors import ProxyError
from trioproxy.items import Error, Message, Request
from trioproxy.ledger import Ledger

# ── the body ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_plainest_request_loses_nothing_and_is_not_stored() -> None:
    body, ledger = written({"max_tokens": 50, "system": "Be kind."})
    assert body == {
        "model": "m",
        "store": False,
        "instructions": "Be kind.",
        "max_output_tokens": 50,
        "input": [said("user", "hi")],
    }
    assert not ledger


def test_h123_what_rarely_changes_comes_first() -> None:
    given = {"max_tokens": 50, "temperature": 1, "stream": True, "system": "s", "tools": [TOOL]}
    assert list(written(given)[0])[:4] == ["model", "store", "instructions", "tools"]


def test_a_stream_is_asked_for() -> None:
    assert written({"stream": True})[0]["stream"] is True
    assert "stream" not in written({"stream": False})[0]


def test_h133_the_least_limit_is_sixteen() -> None:
    body, ledger = written({"max_tokens": 1})
    assert body["max_output_tokens"] == 16
    assert str(ledger) == "max_tokens (raised to 16, the least there is)"
    assert "max_output_tokens" not in written({})[0]


def test_h134_a_limit_above_the_models_is_cut() -> None:
    body, ledger = written({"max_tokens": 64000}, max_tokens=8192)
    assert body["max_output_tokens"] == 8192
    assert "max_tokens (cut to 8192" in str(ledger)
    assert written({}, max_tokens=8192)[0]["max_output_tokens"] == 8192


def test_h135_null_fields_say_nothing() -> None:
    nulls = dict.fromkeys(["temperature", "thinking", "tool_choice", "metadata", "service_tier", "tools", "system"])
    body, ledger = written(nulls | {"context_management": None, "stop_sequences": None})
    assert set(body) == {"model", "store", "input"}
    assert not ledger


def test_h136_h139_h145_fields_without_a_place_are_noted_by_name() -> None:
    fields = {"context_management": {"edits": []}, "made_up": 1, "top_k": 40, "stop_sequences": ["x"]}
    assert lost(fields) == ["context_management", "made_up", "top_k", "stop_sequences"]
    assert lost({"stop_sequences": []}) == []


def test_h085_sampling_goes_where_it_is_taken() -> None:
    fields = {"temperature": 0.5, "top_p": 0.9}
    body, ledger = written(fields)
    assert (body["temperature"], body["top_p"]) == (0.5, 0.9)
    assert not ledger
    assert lost({**fields, "model": "gpt-5"}, OPENAI) == ["temperature", "top_p"]
    assert written({**fields, "model": "gpt-4o"}, OPENAI)[0]["temperature"] == 0.5


def test_who_the_user_is_goes_only_to_who_asks_for_it() -> None:
    who = {"metadata": {"user_id": "u-1"}}
    assert written(who, OPENAI)[0]["safety_identifier"] == "u-1"
    assert written(who, "mine.openai.azure.com")[0]["user"] == "u-1"
    assert lost(who) == ["metadata.user_id"]
    assert len(written({"metadata": {"user_id": "u" * 65}}, OPENAI)[0]["safety_identifier"]) == 64


def test_h144_service_tiers() -> None:
    assert written({"service_tier": "standard_only"}, OPENAI)[0]["service_tier"] == "default"
    assert lost({"service_tier": "standard_only"}) == ["service_tier"]
    assert lost({"service_tier": "auto"}, OPENAI) == []


def test_h128_the_session_is_the_cache_key() -> None:
    assert written({}, cache_key="session", session="s-1")[0]["prompt_cache_key"] == "s-1"
    assert len(written({}, session="s" * 65)[0]["prompt_cache_key"]) == 64
    assert "prompt_cache_key" not in written({})[0]


def test_the_codex_backend_refuses_much_and_wants_a_stream() -> None:
    fields = {"model": "gpt-5-codex", "max_tokens": 50, "temperature": 1, "metadata": {"user_id": "u-1"}}
    body, ledger = written(fields, CODEX)
    assert body.keys() == {"model", "store", "instructions", "include", "stream", "input"}
    assert (body["instructions"], body["stream"]) == ("", True)
    assert "max_tokens (this host takes no limit)" in str(ledger)


# ── the answer's form ───────────────────────────────────────────────────────────────────────────────────────────────

STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def asked(schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def test_h140_a_schema_for_the_answer() -> None:
    body, ledger = written(asked(STRICT))
    assert body["text"] == {"format": {"type": "json_schema", "name": "answer", "schema": STRICT, "strict": True}}
    assert not ledger


def test_h132_a_schema_that_strict_mode_refuses_is_sent_without() -> None:
    loose = {"type": "object", "properties": {"a": {}}}
    assert written(asked(loose))[0]["text"]["format"] == {"type": "json_schema", "name": "answer", "schema": loose}
    assert lost(asked(loose)) == ["output_config.format"]


def test_h140_a_host_without_schemas_is_told_in_the_instructions() -> None:
    body, ledger = written({**asked(STRICT), "system": "Be kind."}, "api.deepseek.com")
    assert body["text"] == {"format": {"type": "json_object"}}
    assert body["instructions"].startswith("Be kind.\n\nAnswer with one JSON object")
    assert "output_config.format" in str(ledger)


def test_h140_json_of_any_schema_which_only_openais_clients_can_ask_for() -> None:
    wire = {"model": "m", "messages": [], "response_format": {"type": "json_object"}}
    ledger = Ledger()
    body = write_request(read_chat(msgspec.json.encode(wire)), Target(), ledger).body
    assert msgspec.json.decode(body)["text"] == {"format": {"type": "json_object"}}
    assert "response_format" not in str(ledger)


# ── thinking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def reasoning(wire: dict[str, Any], host: str = OPENAI, model: str = "gpt-5.2", **target: Any) -> Any:
    return written({"model": model, **wire}, host, **target)[0].get("reasoning")


def effort(level: str) -> dict[str, Any]:
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level}}


def test_h083_the_effort_is_passed_on_or_the_nearest() -> None:
    assert [reasoning(effort(level))["effort"] for level in ("low", "high", "max")] == ["low", "high", "xhigh"]
    assert reasoning(effort("max"), model="gpt-5")["effort"] == "high"
    assert reasoning(effort("max"), model="gpt-5.6")["effort"] == "max"
    assert reasoning(effort("max"), "localhost", "m") == {"effort": "high"}
    assert lost({**effort("max"), "model": "gpt-5"}, OPENAI) == ["output_config.effort"]


def test_h082_a_budget_becomes_an_effort() -> None:
    budgets = [{"thinking": {"type": "enabled", "budget_tokens": n}} for n in (1024, 10000, 31999)]
    assert [reasoning(each)["effort"] for each in budgets] == ["low", "medium", "high"]


def test_h084_thinking_is_turned_off_where_it_can_be() -> None:
    off = {"thinking": {"type": "disabled"}}
    assert reasoning(off) == {"effort": "none"}
    assert sent_for({**off, "model": "gpt-5.2"}, OPENAI)[0].thinking is False
    assert reasoning(off, model="gpt-5") is None
    assert lost({**off, "model": "gpt-5"}, OPENAI) == ["thinking"]
    assert lost({**off, "model": "gpt-4o"}, OPENAI) == []
    assert lost({**off, **effort("high"), "thinking": {"type": "disabled"}}) == ["output_config.effort", "thinking"]


def test_models_that_do_not_reason_are_spared_it() -> None:
    body, ledger = written({**effort("high"), "model": "gpt-4o"}, OPENAI)
    assert not body.keys() & {"reasoning", "include"}
    assert str(ledger) == "output_config.effort (this model takes no effort)"


def test_the_operator_has_the_last_word_on_efforts() -> None:
    assert reasoning(effort("high"), effort="drop") == {"summary": "auto"}
    assert reasoning(effort("high"), model="my-deployment", effort="send") == {"effort": "high"}


@pytest.mark.parametrize(
    ("thinking", "summary"),
    [
        ({"type": "adaptive"}, "auto"),
        ({"type": "adaptive", "display": "updates"}, "auto"),
        ({"type": "enabled", "budget_tokens": 1024}, "auto"),
        ({"type": "adaptive", "display": "omitted"}, None),
        ({"type": "disabled"}, None),
        (None, None),
    ],
)
def test_h089_a_summary_is_for_who_wants_to_see_thinking(thinking: Any, summary: str | None) -> None:
    assert (reasoning({"thinking": thinking}) or {}).get("summary") == summary
    assert "summary" not in (reasoning({"thinking": thinking}, "localhost", "m") or {})


@pytest.mark.parametrize(
    ("host", "model", "unasked", "wanted"),
    [
        (OPENAI, "gpt-5", True, True),
        (OPENAI, "gpt-4o", False, False),
        (CODEX, "gpt-5.6-sol", True, True),
        ("api.githubcopilot.com", "gpt-5.5", False, False),
        ("bedrock-mantle.us-east-1.api.aws", "openai.gpt-5.6-luna", True, True),
        ("bedrock-mantle.us-east-1.api.aws", "openai.gpt-oss-120b", False, False),
        ("api.x.ai", "grok-4.5", True, True),
        ("openrouter.ai", "openai/gpt-5", False, True),
        ("api.deepseek.com", "deepseek-v4-flash", False, False),
        ("localhost", "qwen3", False, True),
    ],
)
def test_encrypted_reasoning_is_asked_for_where_it_comes_back(
    host: str, model: str, unasked: bool, wanted: bool
) -> None:
    for thinking, expected in ((None, unasked), ({"type": "adaptive"}, wanted)):
        sent, _ = sent_for({"model": model, "thinking": thinking}, host)
        asked = msgspec.json.decode(sent.body).get("include") == ["reasoning.encrypted_content"]
        assert (asked, sent.thinking) == (expected, expected)


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────

HOSTS = ["localhost", OPENAI, CODEX, "openrouter.ai", "api.deepseek.com", "api.x.ai", "api.githubcopilot.com"]

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
json = st.recursive(
    scalars | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def nearly(keys: str, values: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the keys of the wire, and values that fit now and then."""
    return st.dictionaries(st.sampled_from(keys.split()), st.sampled_from(values.split()) | json, max_size=5)


KINDS = "text tool_use tool_result image document thinking redacted_thinking compaction tool_reference search_result"
block = nearly("type text id name tool_name input tool_use_id content source title thinking signature data", KINDS)
block |= st.builds(lambda kind, rest: {**rest, "type": kind}, st.sampled_from(KINDS.split()), block)
block |= st.builds(lambda inner, rest: {**rest, "content": [inner], "source": inner}, block, block)
message = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant", "system"]),
    st.text(max_size=3) | st.lists(block, max_size=3),
)
tool = nearly("type name description input_schema strict defer_loading", "custom Bash web_search_20250305")
tool |= st.just(TOOL) | st.just({"type": "web_search_20250305", "name": "web_search"})
odd = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "o3", "gpt-5.6", "grok-4.5"]), "messages": st.lists(message, max_size=4)},
    optional={
        "system": st.text(max_size=3) | st.lists(block, max_size=2),
        "tools": st.lists(tool, max_size=3),
        "tool_choice": json | nearly("type name disable_parallel_tool_use", "auto any tool Bash web_search"),
        "thinking": json | nearly("type budget_tokens display", "enabled adaptive disabled omitted"),
        "output_config": json | nearly("effort format", "low max none"),
        "metadata": json | nearly("user_id", "u"),
        "max_tokens": st.integers(1, 50),
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
def test_whatever_can_be_read_is_written_by_the_rules_or_refused_with_words(wire: Any, host: str) -> None:
    try:
        request = read_request(msgspec.json.encode(wire))
    except (ProxyError, ValueError):  # the latter is the reader's own affair
        return
    body = outcome(request, host)
    if isinstance(body, Error):
        assert body.status == 400
        assert "cannot be sent to this openai-responses upstream" in body.message
        return
    check({key: value for key, value in body.items() if key != "tools"})  # whose schemas are the client's own


def test_a_schema_nested_too_deeply_is_refused_if_python_cannot_write_it() -> None:
    """How deep is too deep is the interpreter's: newer ones go deeper."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(2000):
        schema = {"type": "object", "properties": {"a": schema}}
    request = Request("m", (Message("user", "hi"),), tools=({"name": "a", "input_schema": schema},))
    got = outcome(request, OPENAI)
    assert isinstance(got, dict) or "nested too deeply" in got.message
