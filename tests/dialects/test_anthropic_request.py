"""Requests to Anthropic's API: its own made to fit, and those of chat clients made legal."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.corpus import BESIDE, cases
from trioproxy.dialects.anthropic.abilities import abilities
from trioproxy.dialects.anthropic.fit import fit
from trioproxy.dialects.anthropic.request import read_request, write_request
from trioproxy.dialects.carried import TAG, carried
from trioproxy.dialects.openai_chat.read_request import read_request as read_chat
from trioproxy.dialects.openai_responses.read_request import read_request as read_responses
from trioproxy.dialects.target import Target
from trioproxy.errors import ProxyError
from trioproxy.items import Message, RedactedThinking, Request, Thinking, replace
from trioproxy.ledger import Ledger

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
STRICT = Target(version="2026-10-21")
SIGNED = [{"type": "thinking", "thinking": "hm", "signature": "s"}]


def chat(
    *messages: Any, model: str = "claude-sonnet-4-5", target: Target | None = None, **fields: Any
) -> tuple[dict[str, Any], str]:
    """What a chat request is to Anthropic, and what was noted."""
    body = {"model": model, "messages": list(messages), **fields}
    ledger = Ledger()
    written = write_request(read_chat(msgspec.json.encode(body)), target or Target(), ledger)
    return judged(msgspec.json.decode(written.body)), str(ledger)


def call(*ids: str, **more: Any) -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(id: str, content: Any = "r") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


# ── what is legal ───────────────────────────────────────────────────────────────────────────────────────────────────


def blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def judged(body: dict[str, Any]) -> dict[str, Any]:
    """The body, if the API would take it."""
    assert body["max_tokens"] > 0
    assert list(body)[-1] == "messages"
    roles = [message["role"] for message in body["messages"]]
    assert roles[0] == "user"
    assert all(mine != theirs for mine, theirs in pairwise(roles)), roles
    ids: set[str] = set()
    asked: list[str] = []
    for message in body["messages"]:
        content = blocks(message["content"])
        assert content
        results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        assert sorted(results) == sorted(asked)
        assert all(block["type"] == "tool_result" for block in content[: len(results)])
        asked = [block["id"] for block in content if block["type"] == "tool_use"]
        assert len({*asked}) == len(asked)
        assert not ids & {*asked}
        ids |= {*asked}
        for block in content:
            judge_block(message["role"], block)
        if message["role"] == "assistant":
            assert content[-1]["type"] not in ("thinking", "redacted_thinking")
    assert not asked
    names = [tool["name"] for tool in body.get("tools", [])]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", name) for name in names)
    assert names or not ids
    assert "system" not in body or all(block["text"].strip() for block in blocks(body["system"]))
    choice = body.get("tool_choice", {"type": "auto"})
    assert names or "tool_choice" not in body
    assert choice["type"] != "tool" or choice["name"] in names
    thinking = body.get("thinking", {})
    assert thinking.get("type") != "enabled" or 1024 <= thinking["budget_tokens"] < body["max_tokens"]
    assert thinking.get("type") not in ("enabled", "adaptive") or choice["type"] in ("auto", "none")
    return body


def judge_block(role: str, block: dict[str, Any]) -> None:
    places = {"user": ("text", "image", "document", "tool_result"), "system": ("text",)}
    assert block["type"] in places.get(role, ("text", "thinking", "redacted_thinking", "tool_use"))
    if block["type"] == "text":
        assert block["text"].strip()
    if block["type"] == "tool_use":
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"])
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", block["name"])
        assert isinstance(block["input"], dict)
    if block["type"] == "tool_result":
        inner = blocks(block.get("content", []))
        assert all(each["text"].strip() for each in inner if each["type"] == "text")


def test_every_recorded_chat_request_is_legal() -> None:
    cases("openai-chat")  # skips without the corpus
    seen = 0
    for file in (BESIDE / "openai-chat").glob("*.json"):
        body = msgspec.json.decode(file.read_bytes())["request"]
        if isinstance(body, dict):
            with suppress(ProxyError):
                request = read_chat(msgspec.json.encode(body))
                for model in ("claude-opus-5-5", "claude-sonnet-4-5", "claude-3-5-haiku-latest", "glm-5"):
                    written = write_request(replace(request, model=model), Target(), Ledger())
                    judged(msgspec.json.decode(written.body))
                    seen += 1
    assert seen > 800


texts = st.sampled_from(["", " ", "\n", "a", "b "])
ids = st.sampled_from(["a", "b", "0", "functions.f:0", ""])
parts = st.lists(st.builds(lambda text: {"type": "text", "text": text}, texts), max_size=2)
contents = st.none() | texts | parts
tool_calls = st.lists(
    st.builds(
        lambda id, name, arguments: {"id": id, "function": {"name": name, "arguments": arguments}},
        ids,
        st.sampled_from(["f", "g", "mcp.tool/x", "n" * 200, ""]),
        st.sampled_from(["", "{}", '{"a":1}', "[1]", '{"a', "null"]),
    ),
    max_size=3,
)
messages = st.one_of(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "system"]), contents),
    st.builds(lambda content: {"role": "assistant", "content": content}, contents),
    st.builds(
        lambda content, calls, signed: (
            {"role": "assistant", "content": content, "tool_calls": calls}
            | ({"thinking_blocks": SIGNED} if signed else {})
        ),
        contents,
        tool_calls,
        st.booleans(),
    ),
    st.builds(lambda id, content: {"role": "tool", "tool_call_id": id, "content": content}, ids, contents),
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.lists(st.sampled_from([TOOL, {"name": "mcp.tool/x"}, {"name": "n" * 200}]), max_size=3),
        "tool_choice": st.sampled_from(["auto", "none", "required", {"function": {"name": "n" * 200}}]),
        "reasoning_effort": st.sampled_from(["none", "low", "high", "xhigh"]),
        "reasoning": st.sampled_from([{"max_tokens": 500}, {"max_tokens": 90_000}, {"enabled": True}]),
        "max_tokens": st.sampled_from([1, 1000, 5000, 500_000]),
        "temperature": st.sampled_from([0, 1, 2]),
        "top_p": st.sampled_from([0.1, 1]),
        "stop": st.sampled_from(["\n", ["x", " "]]),
        "parallel_tool_calls": st.booleans(),
        "user": st.sampled_from(["u", "a@b.cd"]),
    },
)
models = st.sampled_from(
    ["claude-opus-5-5", "claude-sonnet-5", "claude-opus-4-6", "claude-haiku-4-5", "claude-3-haiku", "x"]
)
targets = st.builds(
    Target,
    system_messages=st.sampled_from([None, "hoist", "user", "keep"]),
    max_tokens=st.sampled_from([None, 100, 20_000]),
    version=st.sampled_from([None, "2026-10-21"]),
)


@given(st.lists(messages, max_size=6), fields, models, targets)
@example([call("a", "a"), result("a"), result("a"), call("a"), USER, result("a"), result("a")], {}, "x", Target())
def test_a_chat_request_is_legal_always(said: list[Any], fields: Any, model: str, target: Target) -> None:
    chat(*said, model=model, target=target, **fields)


WORDS = ["user", "assistant", "tool", "text", "function", "auto", "f", "", "{}", " ", "enabled", "adaptive"]
KEYS = ["content", "type", "text", "tool_calls", "function", "name", "arguments", "id", "cache_control", "url", "file"]
KEYS += ["effort", "max_tokens", "enabled", "budget_tokens", "thinking_blocks", "signature", "thinking", "custom"]
arbitrary = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
OPTIONS = ["tools", "tool_choice", "functions", "stop", "thinking", "reasoning", "user", "metadata", "max_tokens"]


@given(
    st.lists(
        st.builds(
            lambda role, more: {**more, "role": role},
            st.sampled_from(["user", "assistant", "system", "tool"]),
            st.dictionaries(st.sampled_from(KEYS), arbitrary, max_size=4),
        ),
        max_size=4,
    ),
    st.dictionaries(st.sampled_from(OPTIONS), arbitrary, max_size=4),
    models,
)
def test_an_arbitrary_chat_request_is_refused_or_legal(said: list[Any], more: dict[str, Any], model: str) -> None:
    with suppress(ProxyError):
        chat(*said, model=model, **more)


def test_a_chat_request_is_written_the_same_in_every_turn() -> None:
    """Hazard H130: what was said before is a prefix of what is said now, or the prompt cache is worth nothing."""
    said = [USER, call("functions.f:0"), result("functions.f:0"), {"role": "assistant", "content": "x"}, USER]
    short, _ = chat(*said[:3], tools=[TOOL])
    long, _ = chat(*said, tools=[TOOL])
    assert long["messages"][:3] == short["messages"]


# ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "system", "messages"),
    [
        (None, [{"type": "text", "text": "s"}, {"type": "text", "text": "later"}], "ab"),
        ("user", "s", ["a", "<system-reminder>\nlater\n</system-reminder>", "b"]),
        ("keep", "s", None),
    ],
)
def test_h051_system_messages_in_mid_conversation(policy: Any, system: Any, messages: Any) -> None:
    said = [{"role": role, "content": text} for role, text in [("system", "s"), ("user", "a"), ("system", "later")]]
    body, noted = chat(*said, {"role": "user", "content": "b"}, target=Target(system_messages=policy))
    assert body["system"] == system
    assert bool("messages[role=system]" in noted) == (policy != "keep")
    if messages is None:
        assert [each["role"] for each in body["messages"]] == ["user", "system", "user"]
    else:
        assert [block["text"] for block in body["messages"][0]["content"]] == [*messages]


def test_h051_a_reminder_stands_behind_the_results() -> None:
    said = [USER, call("a"), {"role": "system", "content": "s"}, result("a")]
    body, _ = chat(*said, tools=[TOOL], target=Target(system_messages="user"))
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text"]


def test_h053_a_system_only_request_gets_a_user() -> None:
    body, noted = chat({"role": "system", "content": "s"})
    assert (body["system"], body["messages"]) == ("s", [{"role": "user", "content": "."}])
    assert "messages[0]" in noted
    assert "system" not in chat({"role": "system", "content": " "}, USER)[0]


def test_h054_blank_text_is_dropped() -> None:
    body, _ = chat(
        USER, {"role": "assistant", "content": " \n"}, {"role": "user", "content": [{"type": "text", "text": ""}]}
    )
    assert body["messages"] == [USER]
    body, _ = chat(USER, call("a", content=""), result("a", ""), tools=[TOOL])
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]


def test_h055_neighbours_of_one_role_are_one_turn() -> None:
    body, _ = chat(
        USER,
        {"role": "user", "content": "there"},
        call("a", content="x"),
        call("b"),
        result("a"),
        result("b"),
        USER,
        tools=[TOOL],
    )
    assert [[block["type"] for block in blocks(message["content"])] for message in body["messages"]] == [
        ["text", "text"],
        ["text", "tool_use", "tool_use"],
        ["tool_result", "tool_result", "text"],
    ]


def test_a_role_that_anthropic_has_not_is_refused() -> None:
    request = read_chat(msgspec.json.encode({"model": "m", "messages": [USER]}))
    request = replace(request, messages=(Message("narrator", "x"),))
    with pytest.raises(ProxyError, match="Anthropic has no 'narrator'"):
        write_request(request, Target(), Ledger())


def test_h056_the_user_begins() -> None:
    body, noted = chat({"role": "assistant", "content": "a"}, USER)
    assert body["messages"][0] == {"role": "user", "content": "."}
    assert "messages[0]" in noted


def test_h057_an_answer_begun_is_kept_where_it_is_continued() -> None:
    said = [USER, {"role": "assistant", "content": "{ "}]
    old, noted = chat(*said, model="claude-sonnet-4-5")
    assert old["messages"][-1] == {"role": "assistant", "content": "{"}
    assert "messages[-1]" not in noted
    for model, effort in [("claude-opus-4-6", None), ("claude-sonnet-4-5", "low")]:
        new, noted = chat(*said, model=model, reasoning_effort=effort)
        assert new["messages"][-1] == {"role": "user", "content": "Continue."}
        assert "messages[-1]" in noted


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h063_names_are_shortened_everywhere_and_told() -> None:
    name = "mcp__" + "x" * 200
    named = {"type": "function", "function": {"name": name, "arguments": "{}"}}
    body = {
        "model": "m",
        "messages": [USER, {"role": "assistant", "tool_calls": [{"id": "a", **named}]}, result("a")],
        "tools": [{"function": {"name": name}}],
        "tool_choice": named,
    }
    written = write_request(read_chat(msgspec.json.encode(body)), Target(), Ledger())
    sent = judged(msgspec.json.decode(written.body))
    [short] = written.renamed
    assert written.renamed[short] == name
    assert sent["tools"][0]["name"] == sent["tool_choice"]["name"] == short
    assert sent["messages"][1]["content"][0]["name"] == short


def test_h064_ids_are_made_safe_and_unique() -> None:
    turn = [call("functions.f:0"), result("functions.f:0"), USER]
    body, _ = chat(USER, *turn, *turn, tools=[TOOL])
    uses = [message["content"][0]["id"] for message in body["messages"] if message["role"] == "assistant"]
    assert len({*uses}) == 2


@pytest.mark.parametrize(
    ("said", "results", "noted"),
    [
        ([call("a", "b"), result("b"), result("a")], ["b", "a"], ""),
        ([call("a"), USER], ["a"], "made up"),
        ([call("a"), result("a", "1"), result("a", "2")], ["a"], "the last stays"),
        ([call("a"), USER, {"role": "assistant", "content": "x"}, result("a")], ["a"], "moved"),
        ([result("lost")], [], "told as text"),
    ],
)
def test_h070_pairing(said: list[Any], results: list[str], noted: str) -> None:
    body, notes = chat(USER, *said, tools=[TOOL])
    found = [
        block for message in body["messages"] for block in blocks(message["content"]) if block["type"] == "tool_result"
    ]
    assert [block["tool_use_id"] for block in found] == results
    assert noted in notes
    assert bool(noted) == ("tool results" in notes)
    assert [block["content"] for block in found if block["content"] == "1"] == []


def test_h070c_history_with_tools_but_no_tools() -> None:
    body, noted = chat(USER, call("a"), result("a"))
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "none"}
    assert "declared" in noted


def test_h122_arguments_and_schemas_keep_their_text() -> None:
    arguments = '{"z":1.0,"a":123456789012345678901234567890}'
    said = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}]}
    schema = {"type": "object", "properties": {"z": {"type": ["string", "null"]}, "a": {}}, "required": ["z"]}
    tool = {"function": {"name": "f", "parameters": schema}}
    body = {"model": "m", "messages": [USER, said, result("a")], "tools": [tool]}
    written = write_request(read_chat(msgspec.json.encode(body)), Target(), Ledger()).body
    assert arguments.encode() in written
    assert msgspec.json.encode(schema) in written


def test_h127_cache_marks_of_chat_clients_arrive() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body, _ = chat({"role": "user", "content": "a"} | mark, tools=[TOOL | mark])
    assert body["messages"][0]["content"] == [{"type": "text", "text": "a"} | mark]
    assert body["tools"][0]["cache_control"] == mark["cache_control"]


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "said", "sent", "noted"),
    [
        (
            "claude-opus-4-7",
            {"reasoning_effort": "xhigh"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
            "",
        ),
        (
            "claude-sonnet-4-6",
            {"reasoning_effort": "xhigh"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            "high instead of xhigh",
        ),
        (
            "claude-opus-4-6",
            {"reasoning_effort": "minimal"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            "low instead of minimal",
        ),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "low"},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            "",
        ),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "high", "max_tokens": 4096},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096},
            "2048 instead of 24576",
        ),
        (
            "claude-opus-4-0",
            {"reasoning_effort": "high", "max_tokens": 20_000},
            {"thinking": {"type": "enabled", "budget_tokens": 10000}, "max_tokens": 20000},
            "10000 instead of 24576",
        ),
        (
            "glm-5",
            {"reasoning_effort": "high", "max_tokens": 1500},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1500},
            "1024 instead of 24576",
        ),
        (
            "glm-5",
            {"reasoning_effort": "high", "max_tokens": 1000},
            {"thinking": {"type": "disabled"}, "max_tokens": 1000},
            "no room",
        ),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "high", "max_tokens": 1000},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2024},
            "raised from 1000 to 2024",
        ),
        ("claude-3-5-haiku-latest", {"reasoning_effort": "low"}, {}, "cannot think"),
        ("claude-sonnet-4-5", {"reasoning_effort": "none"}, {}, ""),
        ("claude-opus-5", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ""),
        ("claude-sonnet-5-5", {"reasoning_effort": "none"}, {"thinking": {"type": "between_tools"}}, ""),
        ("claude-opus-5-5", {"reasoning_effort": "none"}, {"output_config": {"effort": "low"}}, "always thinks"),
        (
            "claude-opus-4-8",
            {"reasoning": {"max_tokens": 5000}},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
            "approximated as an effort",
        ),
        (
            "claude-opus-4-6",
            {"reasoning": {"max_tokens": 5000}},
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            "",
        ),
    ],
)
def test_h082_h083_thinking(model: str, said: dict[str, Any], sent: dict[str, Any], noted: str) -> None:
    body, notes = chat(USER, model=model, **said)
    got = {key: body[key] for key in ("thinking", "output_config") if key in body}
    assert got == {key: value for key, value in sent.items() if key != "max_tokens"}
    assert body["max_tokens"] == sent.get("max_tokens", body["max_tokens"])
    assert noted in notes


@pytest.mark.parametrize(
    ("model", "said", "kept"),
    [
        ("claude-3-5-haiku", {"temperature": 0.5, "top_p": 0.5}, {"temperature", "top_p"}),
        ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 0.5}, {"temperature"}),
        ("claude-sonnet-4-5", {"top_p": 0.5, "top_k": 3}, {"top_p", "top_k"}),
        ("claude-sonnet-4-5", {"temperature": 0.5, "top_k": 3, "reasoning_effort": "low"}, set()),
        ("claude-sonnet-4-5", {"top_p": 0.96, "reasoning_effort": "low"}, {"top_p"}),
        ("claude-opus-4-7", {"temperature": 1, "top_k": 3}, set()),
    ],
)
def test_h085_sampling(model: str, said: dict[str, Any], kept: set[str]) -> None:
    body, noted = chat(USER, model=model, **said)
    assert body.keys() & {"temperature", "top_p", "top_k"} == kept
    assert all(key in noted for key in said if key not in kept and key != "reasoning_effort")


def test_what_is_said_between_a_call_and_its_result_is_said_before() -> None:
    """OpenAI's models say it there; only Responses has a way to tell."""
    items = [
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    request = read_responses(msgspec.json.encode({"model": "claude-sonnet-4-5", "input": items}))
    body = judged(msgspec.json.decode(write_request(request, Target(), Ledger()).body))
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use"]


def test_a_hot_temperature_is_lowered_to_the_most_that_the_api_takes() -> None:
    body, noted = chat(USER, model="claude-haiku-4-5", temperature=1.5)
    assert body["temperature"] == 1
    assert "temperature" in noted


def test_h086_a_forced_tool_turns_thinking_off() -> None:
    body, noted = chat(USER, tools=[TOOL], tool_choice="required", reasoning_effort="high", model="claude-sonnet-4-6")
    assert "thinking" not in body
    assert "thinking (turned off" in noted
    body, noted = chat(USER, tools=[TOOL], tool_choice="required", model="claude-opus-5-5")
    assert body["tool_choice"] == {"type": "auto"}
    assert "tool_choice (approximated" in noted


def test_h074_thinking_is_off_where_the_turn_lost_its_own() -> None:
    said = [USER, call("a"), result("a")]
    for model, on in [("claude-sonnet-4-5", False), ("claude-opus-5", True)]:
        body, noted = chat(*said, model=model, tools=[TOOL], reasoning_effort="high")
        assert (body.get("thinking") is not None) == on
        assert ("signed thinking" in noted) != on
    said[1] |= {"thinking_blocks": SIGNED}
    body, _ = chat(*said, tools=[TOOL], reasoning_effort="high")
    assert body["thinking"]["type"] == "enabled"
    assert body["messages"][1]["content"][0] == SIGNED[0]
    later, _ = chat(
        USER, call("a"), result("a"), {"role": "assistant", "content": "x"}, USER, tools=[TOOL], reasoning_effort="high"
    )
    assert later["thinking"]["type"] == "enabled"  # another turn


def test_h074_a_message_that_is_known_to_have_thought_nothing_needs_no_thinking() -> None:
    """Without interleaving only the first message of a turn thinks."""
    said = [USER, call("a", thinking_blocks=SIGNED), result("a"), call("b"), result("b")]
    body = {"model": "claude-sonnet-4-5", "messages": said, "tools": [TOOL], "reasoning_effort": "high"}
    request = read_chat(msgspec.json.encode(body))
    marked = tuple(replace(message, thought=message.role == "assistant") for message in request.messages)
    for messages, on in ((request.messages, False), (marked, True)):
        ledger = Ledger()
        written = write_request(replace(request, messages=messages), Target(), ledger)
        wire = judged(msgspec.json.decode(written.body))
        assert written.thinking == ("thinking" in wire) == on
        assert ("signed thinking" in str(ledger)) != on
        assert [block["type"] for block in wire["messages"][1]["content"]] == ["thinking"] * on + ["tool_use"]


def test_h074_thinking_says_nothing_to_who_is_not_to_think() -> None:
    said = [USER, {"role": "assistant", "content": "a", "thinking_blocks": SIGNED}, USER]
    cases: list[tuple[str, dict[str, Any], bool]] = [
        ("claude-sonnet-4-5", {}, False),
        ("claude-sonnet-4-5", {"reasoning_effort": "low"}, True),
        ("claude-opus-5", {}, True),
        ("claude-opus-5", {"reasoning_effort": "none"}, False),
        ("minimax-m2", {}, True),  # nobody knows
        ("minimax-m2", {"reasoning_effort": "none"}, False),
    ]
    for model, more, kept in cases:
        body, noted = chat(*said, model=model, **more)
        assert (body["messages"][1]["content"] == [*SIGNED, {"type": "text", "text": "a"}]) == kept, (model, more)
        assert noted == ""


def test_thinking_keeps_all_it_has_but_a_cache_mark() -> None:
    mark, new = {"cache_control": {"type": "ephemeral"}}, {"new": [1, {"a": 2**70}]}
    request = read_chat(msgspec.json.encode({"model": "claude-opus-5", "messages": [USER, call("a"), result("a")]}))
    thought = (
        Thinking(thinking="hm", signature="s", extra=mark | new),
        RedactedThinking(data="x", extra=mark | new),
    )
    messages = list(request.messages)
    messages[1] = replace(messages[1], content=(*thought, *messages[1].content), thought=True)
    body = write_request(replace(request, messages=tuple(messages)), Target(), Ledger()).body
    assert msgspec.json.decode(body)["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "s", **new},
        {"type": "redacted_thinking", "data": "x", **new},
    ]


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1"])
def test_thinking_that_no_longer_fits_is_dropped_by_models_that_bind_it(model: str) -> None:
    """Chat clients change what they send again; see …/preserved-thinking."""
    said = [USER, {"role": "assistant", "content": "a", "thinking_blocks": SIGNED}, USER]
    for messages, more, bound in (
        (said, {}, True),
        (said, {"reasoning_effort": "low"}, True),
        ([USER], {"reasoning_effort": "low"}, False),
    ):
        body = msgspec.json.encode({"model": model, "messages": messages, **more})
        written = write_request(read_chat(body), Target(), Ledger())
        thinking = judged(msgspec.json.decode(written.body)).get("thinking", {})
        wanted = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
        assert (thinking == wanted) == bound
        assert written.headers == (((b"anthropic-beta", b"thinking-binding-controls-2026-08-01"),) if bound else ())


def test_h065_a_stage_that_takes_all_tools_takes_the_choice_among_them() -> None:
    body = {"model": "claude-sonnet-4-5", "messages": [USER], "tools": [TOOL], "tool_choice": "required"}
    request = replace(read_chat(msgspec.json.encode(body | {"reasoning_effort": "high"})), tools=())
    wire = judged(msgspec.json.decode(write_request(request, Target(), Ledger()).body))
    assert "tool_choice" not in wire
    assert wire["thinking"]["type"] == "enabled"  # which a forced tool would turn off


def test_h100_an_odd_field_of_thinking_is_noted() -> None:
    _, noted = chat(USER, thinking={"type": "enabled", "budget_tokens": 2000, "display": "omitted", "odd": 1})
    assert noted == "thinking.odd (Anthropic has none)"


@pytest.mark.parametrize(
    ("model", "target", "asked"),
    [
        ("claude-3-haiku-20240307", None, 4096),
        ("claude-sonnet-4-5", None, 32000),
        ("glm-5", None, 8192),
        ("claude-sonnet-4-5", 1000, 1000),
    ],
)
def test_h133_a_limit_is_always_asked_for(model: str, target: int | None, asked: int) -> None:
    body, noted = chat(USER, model=model, target=Target(max_tokens=target))
    assert body["max_tokens"] == asked
    assert not noted


def test_h134_a_limit_above_the_models_is_lowered() -> None:
    assert chat(USER, max_tokens=500_000)[0]["max_tokens"] == 64_000
    assert chat(USER, max_tokens=500)[0]["max_tokens"] == 500


def test_h139_blank_stop_sequences_and_emails_are_left_out() -> None:
    body, noted = chat(USER, stop=["\n\n", "END"], user="a@b.cd")
    assert body["stop_sequences"] == ["END"]
    assert "metadata" not in body
    assert "metadata.user_id" in noted


def test_h140_schemas() -> None:
    said = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    assert chat(USER, response_format=said)[0]["output_config"]["format"]["schema"] == {"type": "object"}
    body, noted = chat(USER, response_format=said, model="claude-3-haiku")
    assert "output_config" not in body
    assert "output_config.format" in noted


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("us.anthropic.claude-opus-4-6-v1:0", "claude-opus-4-6"),
        ("anthropic/claude-4.7-opus", "claude-opus-4-7"),
        ("anthropic/claude-sonnet-4.5:thinking", "claude-sonnet-4-5-20250929"),
        ("claude-opus-4@20250514", "claude-opus-4-0"),
        ("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest"),
        ("claude-3-haiku-20240307", "claude-instant-1.2"),
        ("claude-opus-latest", "claude-opus-5-5"),
        ("claude-sonnet-6", "claude-sonnet-5-5"),
        ("kimi-k3", "glm-5"),
    ],
)
def test_h143_names_of_models(name: str, like: str) -> None:
    assert abilities(name) is abilities(like)


def test_which_models_are_told_apart() -> None:
    names = [
        "opus-5-5",
        "sonnet-5-5",
        "haiku-5-5",
        "opus-4-8",
        "opus-4-6",
        "opus-4-5",
        "haiku-4-5",
        "opus-4-1",
        "opus-4",
    ]
    assert len({id(abilities(f"claude-{name}")) for name in [*names, "3-7-sonnet", "3-5-haiku", "3-opus"]}) == 12


# ── Anthropic's own ─────────────────────────────────────────────────────────────────────────────────────────────────

OWN: dict[str, Any] = {
    "model": "claude-opus-4-7",
    "max_tokens": 20000,
    "temperature": 0.5,
    "top_k": 3,
    "new": [1],
    "thinking": {"type": "enabled", "budget_tokens": 10000},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a", "citations": [{"x": 1}]}]},
        {"role": "assistant", "content": [{"type": "text", "text": "b"}, {"type": "document", "source": {}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "text", "text": "c", "citations": [1]}],
                }
            ],
        },
        {"role": "system", "content": "later", "output_config": {"effort": "low"}},
        {"role": "assistant", "content": " "},
    ],
}


def own(body: Any = OWN) -> Request:
    return read_request(msgspec.json.encode(body))


def test_a_request_of_its_own_is_written_as_it_was() -> None:
    ledger = Ledger()
    request = own()
    assert fit(request, Target(), ledger) is request
    written = write_request(request, Target(), ledger)
    assert msgspec.json.decode(written.body) == OWN
    assert not ledger
    assert not written.renamed


def test_the_new_version_refuses_what_is_left_out_for_it() -> None:
    ledger = Ledger()
    body = msgspec.json.decode(write_request(own(), STRICT, ledger).body)
    assert body.keys() == OWN.keys() - {"temperature", "top_k"}
    assert body["messages"][0]["content"] == [{"type": "text", "text": "a"}]
    assert body["messages"][1]["content"] == [{"type": "text", "text": "b"}]
    assert body["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "c"}]
    assert body["messages"][3:] == OWN["messages"][3:]
    for path in ("temperature", "top_k", "citations", "document"):
        assert path in str(ledger)


def test_what_fits_stays_the_same_object() -> None:
    request = own({"model": "m", "max_tokens": 5, "messages": [USER, {"role": "assistant", "content": []}]})
    assert fit(request, replace(STRICT, max_tokens=5), Ledger()) is request


@pytest.mark.parametrize(
    ("most", "thinking"),
    [
        (15000, {"type": "enabled", "budget_tokens": 10000}),
        (6000, {"type": "enabled", "budget_tokens": 3000}),
        (1500, None),
    ],
)
def test_h134_the_upstreams_limit_holds_for_all(most: int, thinking: Any) -> None:
    ledger = Ledger()
    fitted = fit(own(), Target(max_tokens=most), ledger)
    assert fitted.max_tokens == most
    assert fitted.extra.get("thinking") == thinking
    assert "max_tokens" in str(ledger)
    assert fit(fitted, Target(max_tokens=most), ledger) is fitted


def test_h087_what_clears_thinking_goes_with_it() -> None:
    clearing, other = {"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}
    for edits, left in (([clearing], None), ([other, clearing], {"edits": [other]}), ([other], {"edits": [other]})):
        request = own(OWN | {"context_management": {"edits": edits}})
        for most, expected in ((1500, left), (15000, {"edits": edits})):
            ledger = Ledger()
            assert fit(request, Target(max_tokens=most), ledger).extra.get("context_management") == expected
            assert ("clear_thinking" in str(ledger)) == (expected != {"edits": edits})
    for odd in (None, 7, {}, {"edits": 7}, {"edits": [7]}):
        request = own(OWN | {"context_management": odd})
        assert fit(request, Target(max_tokens=1500), Ledger()).extra["context_management"] == odd


def test_the_upstreams_limit_is_asked_for_where_the_client_set_none() -> None:
    ledger = Ledger()
    assert fit(replace(own(), max_tokens=None, extra={}), Target(max_tokens=77), ledger).max_tokens == 77
    assert not ledger


def test_a_cut_emoji_is_mended() -> None:
    request = read_request(rb'{"model":"m","messages":[{"role":"user","content":"\ud83d"}]}')
    assert request.messages == (Message("user", "\ufffd"),)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "citations"]), inner),
    max_leaves=8,
)


@given(
    st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "x"]), "content": json}), max_size=3),
    st.dictionaries(st.sampled_from(["thinking", "tools", "system", "max_tokens", "temperature"]), json),
)
def test_arbitrary_json_is_written_or_refused(messages: list[Any], fields: dict[str, Any]) -> None:
    with suppress(ProxyError):
        request = own({"model": "m", "messages": messages, **fields})
        for target in (Target(), STRICT, Target(max_tokens=1)):
            write_request(request, target, Ledger())


def test_a_changed_message_is_written_changed() -> None:
    request = own({"model": "m", "max_tokens": 5, "messages": [USER | {"new": 1}]})
    assert request.messages[0].extra == {"new": 1}
    request = replace(request, messages=(replace(request.messages[0], content="changed"),))
    body = msgspec.json.decode(write_request(request, Target(), Ledger()).body)
    assert body["messages"] == [{"role": "user", "content": "changed", "new": 1}]


# ── thinking that a client carries ──────────────────────────────────────────────────────────────────────────────────

MINE = {"type": "thinking", "thinking": "hm", "signature": "Ersz"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]}
HERE = Target(provenance="here")


def carrying(text: str, **fields: Any) -> Request:
    """A request in the middle of a tool loop, whose thinking is signed with `text`."""
    turn = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": text}, USE]}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 4096, "messages": [USER, turn, RESULT], **fields}
    return read_request(msgspec.json.encode(body))


def turn_of(request: Request) -> list[dict[str, Any]]:
    ledger = Ledger()
    body = msgspec.json.decode(write_request(fit(request, HERE, ledger), HERE, ledger).body)
    return next(message["content"] for message in body["messages"] if message["role"] == "assistant")


def test_thinking_that_the_upstream_signed_itself_goes_back_as_it_was() -> None:
    assert turn_of(carrying("Ersz")) == [MINE, USE]
    assert turn_of(carrying(carried("anthropic", "here", MINE))) == [MINE, USE]


@pytest.mark.parametrize("text", [carried("anthropic", "there", MINE), carried("openai-responses", "here", {}), TAG])
def test_thinking_of_another_upstream_is_left_out(text: str) -> None:
    """H075: the API would refuse the whole request."""
    request = carrying(text, thinking={"type": "adaptive"})
    ledger = Ledger()
    kept = fit(request, HERE, ledger)
    assert [type(block).__name__ for block in kept.messages[1].content] == ["ToolUse"]
    assert str(ledger) == "messages[].content[].thinking (another upstream or model has thought it)"
    assert kept.extra["thinking"] == {"type": "adaptive"}


def test_a_turn_that_lost_its_thinking_goes_on_without() -> None:
    """H074, H087: with a budget for thinking, it would have to begin with some."""
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    manual = {"type": "enabled", "budget_tokens": 2048}
    kept = fit(carrying(TAG, thinking=manual, context_management=edits), HERE, Ledger())
    assert "thinking" not in kept.extra
    assert "context_management" not in kept.extra


def test_h074_later_messages_of_a_turn_have_brought_what_they_thought_if_the_first_has() -> None:
    """Without interleaving only the first one thinks, and only an API can tell that of a message with no thinking."""

    def thinks(*turns: Any) -> bool:
        manual = {"type": "enabled", "budget_tokens": 2048}
        body = {"model": "claude-sonnet-4-5", "max_tokens": 4096, "thinking": manual, "messages": [USER, *turns]}
        kept = fit(read_request(msgspec.json.encode(body)), HERE, Ledger())
        return "thinking" in kept.extra

    def turn(*signatures: str) -> dict[str, Any]:
        thoughts = [{"type": "thinking", "thinking": "hm", "signature": each} for each in signatures]
        return {"role": "assistant", "content": [*thoughts, USE]}

    mine, theirs = carried("anthropic", "here", MINE), carried("anthropic", "there", MINE)
    assert thinks(turn(mine), RESULT, turn(), RESULT)
    assert thinks(turn(mine), RESULT, USER, turn(), RESULT)
    assert not thinks(turn(mine), RESULT, turn(theirs), RESULT)
    assert not thinks(turn(theirs), RESULT, turn(), RESULT)
    assert not thinks(turn(), RESULT, turn(mine), RESULT)
    assert not thinks(turn(mine), RESULT, {"role": "assistant", "content": "x"}, USER, turn(), RESULT)


def test_a_message_of_foreign_thinking_alone_is_left_out() -> None:
    turn = {"role": "assistant", "content": [{"type": "redacted_thinking", "data": TAG}]}
    body = {"model": "m", "max_tokens": 9, "messages": [USER, turn, USER]}
    kept = fit(read_request(msgspec.json.encode(body)), HERE, Ledger())
    assert [message.role for message in kept.messages] == ["user", "user"]
