"""Conversations of Anthropic clients as Chat Completions messages: roles, pairing, content, thinking."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.dialects.openai_chat.test_write_request import OPENAI, lost, written
from trioproxy.dialects.names import safe_id
from trioproxy.errors import ProxyError

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [text(each) if isinstance(each, str) else each for each in content]}


def assistant(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "assistant"}


def system(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "system"}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def call(id: str = "t1", name: str = "Bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def result(id: str = "t1", content: Any = "done", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def thought(thinking: str = "hm", signature: str = "Ersz") -> dict[str, Any]:
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def sent(*messages: Any, host: str = "localhost", model: str = "m", **more: Any) -> list[Any]:
    target = {key: more.pop(key) for key in list(more) if key in {"reasoning", "system_messages"}}
    body, _ = written({"model": model, "messages": list(messages), **more}, host, **target)
    found: list[Any] = body["messages"]
    return found


def lost_of(*messages: Any, host: str = "localhost", **target: Any) -> list[str]:
    return lost({"messages": list(messages)}, host, **target)


# ── the system prompt and other roles ───────────────────────────────────────────────────────────────────────────────


def test_h053_the_system_prompt_leads_and_an_empty_one_is_none() -> None:
    hi = {"role": "user", "content": "hi"}
    assert sent(user("hi"), system="Be kind.") == [{"role": "system", "content": "Be kind."}, hi]
    blocks = [text("a"), {**text("b"), "cache_control": {"type": "ephemeral"}}]
    assert sent(user("hi"), system=blocks) == [{"role": "system", "content": "ab"}, hi]
    for empty in ("", [], [text(" \n")]):
        assert sent(user("hi"), system=empty) == [hi]
    assert lost({"system": blocks}) == ["system[].cache_control"]


def test_h053_a_system_prompt_alone_still_has_a_user() -> None:
    assert sent(system="s") == [{"role": "system", "content": "s"}, {"role": "user", "content": "."}]
    assert sent(user("")) == [{"role": "user", "content": "."}]


def test_h052_a_picture_in_a_system_prompt_is_refused() -> None:
    with pytest.raises(ProxyError, match="in a system prompt"):
        sent(user("hi"), system=[PNG])


LATER = [user("hi"), system("Be brief."), assistant("ok"), user("go on")]


def test_h051_a_later_system_message_is_kept_where_it_is_taken() -> None:
    assert [each["role"] for each in sent(*LATER, host=OPENAI)] == ["user", "system", "assistant", "user"]
    assert lost_of(*LATER, host=OPENAI) == []


def test_h051_elsewhere_it_is_a_reminder_of_the_users() -> None:
    content = "hi\n\n<system-reminder>\nBe brief.\n</system-reminder>"
    assert sent(*LATER)[0] == {"role": "user", "content": content}
    assert lost_of(*LATER) == ["messages[].role=system"]
    wrapped = "<system-reminder>\nx\n</system-reminder>"
    assert sent(user("hi"), system(wrapped))[0]["content"] == f"hi\n\n{wrapped}"


def test_h051_or_moved_to_the_front_behind_the_system_prompt() -> None:
    messages = sent(*LATER, system="Be kind.", system_messages="hoist")
    assert messages[0] == {"role": "system", "content": "Be kind.\n\nBe brief."}
    assert [each["role"] for each in messages] == ["system", "user", "assistant", "user"]


def test_h051_a_reminder_comes_after_the_results() -> None:
    messages = sent(assistant(call()), system("Be brief."), user(result(), "and?"))
    assert [each["role"] for each in messages] == ["assistant", "tool", "user"]
    assert messages[2]["content"] == "<system-reminder>\nBe brief.\n</system-reminder>\n\nand?"


def test_h051_a_system_message_at_the_very_beginning_is_the_system_prompt() -> None:
    messages = sent(system("First."), user("hi"), system="Zeroth.")
    assert messages[0] == {"role": "system", "content": "Zeroth.\n\nFirst."}
    assert lost_of(system("First."), user("hi")) == []


def test_what_else_a_message_says_is_noted() -> None:
    """Claude Code 2.1.329 has an effort at its system messages."""
    message = {**system("x"), "output_config": {"effort": "medium"}}
    assert lost_of(user("hi"), message, host=OPENAI) == ["messages[].output_config"]


def test_a_role_nobody_knows_is_refused() -> None:
    with pytest.raises(ProxyError, match=r"role: expected user, assistant or system, got 'tool'$"):
        sent({"role": "tool", "content": "x"})


# ── order and emptiness ─────────────────────────────────────────────────────────────────────────────────────────────


def test_h054_empty_texts_and_messages_are_dropped() -> None:
    messages = sent(user("", " \n", "hi"), assistant(" "), user("there"), assistant(), host=OPENAI)
    assert [each["content"] for each in messages] == ["hi", "there"]
    assert lost_of(user("", "hi"), assistant(" ")) == []


def test_h055_users_in_a_row_become_one_where_turns_must_alternate() -> None:
    turns = [user("a"), user("b", PNG), assistant("x"), assistant("y")]
    assert [each["role"] for each in sent(*turns, host=OPENAI)] == ["user", "user", "assistant"]
    merged = sent(*turns)
    assert merged[0]["content"] == [text("a"), text("b"), PNG_PART]
    assert merged[1]["content"] == "xy"


def test_h056_the_first_turn_may_be_the_assistants() -> None:
    assert [each["role"] for each in sent(assistant("a"), user("b"))] == ["assistant", "user"]


def test_h057_the_beginning_of_an_answer_is_kept_and_noted() -> None:
    assert sent(user("a"), assistant("{"))[-1] == {"role": "assistant", "content": "{"}
    assert lost_of(user("a"), assistant("{")) == ["messages[-1]"]
    assert sent(user("a"), assistant("{"), host="api.mistral.ai")[-1]["prefix"] is True


def test_h060_several_texts_are_one_verbatim_or_stay_apart() -> None:
    assert sent(user("a", "b"))[0]["content"] == "ab"
    assert sent(user("a", "b"), host=OPENAI)[0]["content"] == [text("a"), text("b")]
    assert sent(user("q"), assistant("It", " ", "is"))[1]["content"] == "It is"


def test_fields_of_blocks_are_noted() -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    cited = {**text("x"), "citations": [{"type": "char_location"}]}
    paths = lost_of(
        user({**text("a"), **cached}), assistant(cited, {**call(), "caller": {}}), user(result(cache_control={}))
    )
    assert paths == [f"messages[].content[].{key}" for key in ("cache_control", "citations", "caller")]
    assert lost_of(user({**text("a"), "citations": None})) == []


# ── calls and results ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_tool_turn() -> None:
    messages = sent(user("hi"), assistant("I look.", call(cmd="ls")), user(result(), "and?"))
    function = {"name": "Bash", "arguments": '{"cmd":"ls"}'}
    assert messages[1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "t1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "done"},
        {"role": "user", "content": "and?"},
    ]
    assert lost_of(user("hi"), assistant("I look.", call(cmd="ls")), user(result(), "and?")) == []


def test_h070d_calls_without_a_word_have_null_for_content() -> None:
    message = sent(assistant(call()), user(result()))[0]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_h061_a_failed_tool_says_so() -> None:
    assert sent(assistant(call()), user(result(is_error=True)))[1]["content"] == "[tool error] done"
    assert sent(assistant(call()), user(result(is_error=False)))[1]["content"] == "done"
    assert sent(assistant(call()), user(result(content=None)))[1]["content"] == ""


def test_h062_pictures_of_results_follow_after_all_of_them() -> None:
    results = [result("t1", [text("A screen"), PNG]), result("t2", [PNG])]
    turns = [assistant(call("t1", "Shot"), call("t2", "Read")), user(*results, "What is it?")]
    messages = sent(*turns)
    assert [each["role"] for each in messages] == ["assistant", "tool", "tool", "user"]
    assert messages[1]["content"] == "A screen\n[image 1: see the next message]"
    assert messages[2]["content"] == "[image 2: see the next message]"
    assert messages[3]["content"] == [
        text("[image 1, from the result of Shot]"),
        PNG_PART,
        text("[image 2, from the result of Read]"),
        PNG_PART,
        text("What is it?"),
    ]
    assert lost_of(*turns) == ["messages[].content[].content[]"]


def test_h070_results_come_first_in_the_order_of_the_calls() -> None:
    messages = sent(assistant(call("t1"), call("t2")), user("a", result("t2")), user(result("t1"), "b"))
    assert [each.get("tool_call_id") for each in messages] == [None, "t1", "t2", None]
    assert messages[3]["content"] == "a\n\nb"


def test_h070_a_call_without_a_result_is_answered() -> None:
    for later in ([user("stop!")], [assistant("well"), user("hm")], []):
        messages = sent(assistant(call()), *later)
        assert messages[1] == {"role": "tool", "tool_call_id": "t1", "content": "[no result: the call was interrupted]"}
    assert lost_of(assistant(call()), user("stop!")) == ["messages[].content[].type=tool_use"]


def test_h070_a_result_without_its_call_is_text() -> None:
    assert sent(user(result(content="42"), "x"))[0]["content"] == "[result of an earlier tool call]\n42x"
    late = [assistant(call()), user(result()), assistant("ok"), user(result(content="again"))]
    assert [each["role"] for each in sent(*late)] == ["assistant", "tool", "assistant", "user"]
    assert lost_of(*late) == ["messages[].content[].type=tool_result"]


def test_h070_of_several_results_the_last_counts_at_the_place_of_the_first() -> None:
    results = [result("t1", "old"), result("t2", "other"), result("t1", "new")]
    messages = sent(assistant(call("t1"), call("t2")), user(*results))
    assert [each["content"] for each in messages[1:]] == ["new", "other"]


def test_h070_halves_that_do_not_read_as_such_still_pair() -> None:
    bad_call = {"type": "tool_use", "id": "t1", "name": None, "input": {"q": 1}}
    bad_result = {"type": "tool_result", "tool_use_id": "t1", "content": [text("x"), 1]}
    messages = sent(assistant(bad_call), user(bad_result))
    assert [each["role"] for each in messages] == ["assistant", "tool"]
    assert messages[0]["tool_calls"][0]["function"]["name"].strip()
    assert messages[1]["content"] == '[{"type":"text","text":"x"},1]'


def test_h070b_arguments_that_are_no_object_go_as_they_are() -> None:
    odd = {**call(), "input": "ls"}
    assert sent(assistant(odd), user(result()))[0]["tool_calls"][0]["function"]["arguments"] == '"ls"'


def test_h064_an_id_goes_back_as_the_upstream_said_it() -> None:
    id = safe_id("functions.add:0")
    messages = sent(assistant(call(id)), user(result(id)))
    assert messages[0]["tool_calls"][0]["id"] == messages[1]["tool_call_id"] == "functions.add:0"


@pytest.mark.parametrize(
    ("host", "model", "length"), [("localhost", "m", 64), (OPENAI, "gpt-4o", 40), ("localhost", "Devstral-2", 9)]
)
def test_h064_an_id_that_is_not_taken_is_another_one_in_call_and_result(host: str, model: str, length: int) -> None:
    id = "i" * (length + 1)
    messages = sent(assistant(call(id)), user(result(id)), host=host, model=model)
    assert messages[0]["tool_calls"][0]["id"] == messages[1]["tool_call_id"]
    assert len(messages[1]["tool_call_id"]) <= length
    fits = "i" * length
    assert sent(assistant(call(fits)), user(result(fits)), host=host, model=model)[1]["tool_call_id"] == fits


def test_mistral_hears_a_word_of_the_assistant_between_result_and_user() -> None:
    turns = [assistant(call("abcdefghi")), user(result("abcdefghi"), "and?")]
    roles = [each["role"] for each in sent(*turns, host="api.mistral.ai")]
    assert roles == ["assistant", "tool", "assistant", "user"]
    assert lost_of(*turns, host="api.mistral.ai") == ["messages[]"]


# ── thinking ────────────────────────────────────────────────────────────────────────────────────────────────────────

TURN = [user("hi"), assistant(thought("a"), thought("b"), "x", call()), user(result())]


def test_h081_thinking_of_earlier_turns_is_dropped() -> None:
    assert "reasoning_content" not in sent(*TURN)[1]
    assert lost_of(*TURN) == ["messages[].content[].thinking"]


def test_h080_or_goes_back_to_who_must_have_it() -> None:
    assert sent(*TURN, host="api.deepseek.com")[1]["reasoning_content"] == "ab"
    assert sent(*TURN, reasoning="replay")[1]["reasoning_content"] == "ab"
    assert "reasoning_content" not in sent(*TURN, host="api.deepseek.com", reasoning="drop")[1]
    assert lost_of(*TURN, host="api.deepseek.com") == []


def test_h073_thinking_that_is_not_there_is_not_made_up() -> None:
    redacted = {"type": "redacted_thinking", "data": "Eo8B"}
    for blocks in ([call()], [thought(""), call()], [redacted, call()]):
        assert "reasoning_content" not in sent(assistant(*blocks), user(result()), reasoning="replay")[0]
    assert lost_of(assistant(redacted, "x"), user("y"), reasoning="replay") == ["messages[].content[].thinking"]


def test_a_turn_of_thinking_alone_is_no_message() -> None:
    for host in ("localhost", "api.deepseek.com"):
        assert [each["role"] for each in sent(user("a"), assistant(thought()), user("b"), host=host)] == ["user"]
        assert lost_of(user("a"), assistant(thought()), user("b"), host=host) == ["messages[].content[].thinking"]


# ── what only Anthropic has ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_only_anthropics_servers_did_is_dropped_from_the_assistants_turns() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    assert sent(user("a"), assistant(search, "found"), user("b"))[1]["content"] == "found"
    assert lost_of(user("a"), assistant(search, "found"), user("b")) == ["messages[].content[].type=server_tool_use"]


def test_the_summary_of_a_compaction_is_kept() -> None:
    summary = {"type": "compaction", "content": "So far: "}
    assert sent(assistant(summary, "ok"), user("b"))[0]["content"] == "So far: ok"
    assert lost_of(assistant(summary, "ok"), user("b")) == []


def test_long_conversations_take_no_longer_than_they_must() -> None:
    results = [result(f"i{n}", [PNG]) for n in range(4_000)]
    calls = assistant(*[call(f"i{n}") for n in range(4_000)])
    began = time.process_time()
    assert len(sent(calls, user(*results))) == 4_002
    assert sent(*[user("hi")] * 30_000)[0]["content"].count("hi") == 30_000
    assert time.process_time() - began < 3


def test_a_kind_that_has_no_place_is_told_by_its_wire_name() -> None:
    with pytest.raises(ProxyError, match="a content block of type 'redacted_thinking' in a message of the user"):
        sent(user({"type": "redacted_thinking", "data": "d"}))
    with pytest.raises(ProxyError) as caught:
        sent(user({"type": "x" * 100_000}))
    assert len(caught.value.error.message) < 300
    assert lost_of(assistant("a", PNG)) == ["messages[].content[].type=image", "messages[-1]"]
