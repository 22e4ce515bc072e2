"""A Responses request for a Responses upstream, changed by stages: only what they changed changes."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects.carried import carried
from trioproxy.dialects.openai_responses.read_request import read_request
from trioproxy.dialects.openai_responses.rewrite import fit, rewrite
from trioproxy.dialects.target import Target
from trioproxy.items import Block, Message, Request, Text, Thinking, ToolResult, ToolUse, replace
from trioproxy.ledger import Ledger

PATCH = "*** Begin Patch"
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": '{"b":1, "a":2}', "odd": 1}
LOOK = {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "look", "namespace": "fs", "arguments": "{}"}
CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c3", "name": "patch", "input": PATCH}
REASONING: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": None,
    "encrypted_content": "gAAA",
}
SEARCHED = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
ADDED = {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "patch", "odd": 1}]}

INPUT: list[Any] = [
    {"type": "message", "role": "developer", "id": "msg_0", "content": [{"type": "input_text", "text": "be brief"}]},
    ADDED,
    {"role": "user", "content": "hi", "odd": True},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "again", "odd": 1}]},
    REASONING,
    SEARCHED,
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "commentary",
        "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
    },
    CALL,
    LOOK,
    CUSTOM,
    {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "3"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "a.txt"}]},
    {"type": "custom_tool_call_output", "call_id": "c3", "output": "ok"},
    {"type": "item_reference", "id": "msg_9"},
    {"type": "message", "role": "user", "content": [{"type": "input_audio", "data": "AA"}]},
]
ADD = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {"z": {}, "a": {}}}, "odd": 1}
SPACE = {"type": "namespace", "name": "fs", "description": "Files", "tools": [{"type": "function", "name": "look"}]}
BODY: dict[str, Any] = {
    "seed": 7,
    "model": "gpt-5",
    "instructions": "be kind",
    "input": INPUT,
    "tools": [ADD, SPACE, {"type": "web_search", "external_web_access": False}],
    "include": ["web_search_call.action.sources"],
    "temperature": 1.9,
    "store": True,
}
REQUEST = read_request(msgspec.json.encode(BODY))


def rewritten(request: Request, **target: Any) -> Any:
    assert request.source is not None
    return msgspec.json.decode(rewrite(request, request.source, Target(**target)).body)


def number_of(kind: type[Block]) -> int:
    """Which message has the first block of that kind."""
    return next(n for n, each in enumerate(REQUEST.messages) if any(isinstance(b, kind) for b in blocks(each)))


def blocks(message: Message) -> tuple[Block, ...]:
    return message.content if isinstance(message.content, tuple) else (Text(text=message.content),)


def changed(number: int, *content: Block) -> list[Any]:
    """The input as it goes out with one message that says something else."""
    new = replace(REQUEST.messages[number], content=content)
    got = rewritten(replace(REQUEST, messages=(*REQUEST.messages[:number], new, *REQUEST.messages[number + 1 :])))
    assert got | {"input": None} == BODY | {"input": None}
    found: list[Any] = got["input"]
    return found


def but(*changes: tuple[Any, Any]) -> list[Any]:
    """The input with these items in place of those; None for none."""
    made = [next((new for old, new in changes if old is item), item) for item in INPUT]
    return [item for item in made if item is not None]


TURN = number_of(ToolUse)
THOUGHT, SEARCH, SAID, ADDING, LOOKING, PATCHING = blocks(REQUEST.messages[TURN])


def test_what_nobody_changed_stays_and_in_its_order() -> None:
    got = rewritten(REQUEST)
    assert got == BODY
    assert list(got) == list(BODY)
    text = {"model": "m", "input": "hi"}
    assert rewritten(read_request(msgspec.json.encode(text))) == text


def test_h150h_a_function_that_takes_a_text_stays_as_cursor_has_called_it() -> None:
    called = {"type": "function_call", "call_id": "c", "name": "ApplyPatch", "arguments": PATCH}
    said = {"role": "assistant", "content": "I patch."}
    tools = [{"type": "custom", "name": "ApplyPatch"}]
    body = {"model": "m", "input": [{"role": "user", "content": "hi"}, said, called], "tools": tools}
    request = read_request(msgspec.json.encode(body))
    [first, second] = request.messages
    [text, use] = blocks(second)
    assert isinstance(text, Text)
    now = replace(second, content=(replace(text, text="Patched."), use))
    got = rewritten(replace(request, messages=(first, now)))
    assert got == body | {"input": [body["input"][0], said | {"content": "Patched."}, called]}


def test_changed_fields_beside_the_input() -> None:
    got = rewritten(replace(REQUEST, model="other", max_tokens=50, extra={**REQUEST.extra, "temperature": 0.5}))
    assert got == BODY | {"model": "other", "max_output_tokens": 50, "temperature": 0.5}


def test_another_model_changes_nothing_else() -> None:
    """What the proxy would say to the one or the other is not its to say."""
    for model in ("gpt-4o", "gpt-5.6", "my-alias"):
        assert rewritten(replace(REQUEST, model=model), host="api.openai.com") == BODY | {"model": model}


def test_h133_a_changed_limit_stands_where_the_client_said_it() -> None:
    cursors = read_request(msgspec.json.encode({"model": "m", "input": [], "max_completion_tokens": 90}))
    assert rewritten(replace(cursors, max_tokens=50)) == {"model": "m", "input": [], "max_completion_tokens": 50}
    assert rewritten(replace(cursors, max_tokens=None)) == {"model": "m", "input": []}


def test_a_changed_text_keeps_what_else_its_message_has() -> None:
    assert changed(0, Text(text="hello")) == but((INPUT[2], INPUT[2] | {"content": "hello"}))
    part = INPUT[3]["content"][0]
    assert changed(1, Text(text="never")) == but((INPUT[3], INPUT[3] | {"content": [part | {"text": "never"}]}))
    part = INPUT[6]["content"][0]
    assert changed(TURN, THOUGHT, SEARCH, Text(text="!"), ADDING, LOOKING, PATCHING) == but(
        (INPUT[6], INPUT[6] | {"content": [part | {"text": "!"}]})
    )


def test_changed_calls_keep_their_names_and_spaces() -> None:
    assert isinstance(ADDING, ToolUse)
    assert isinstance(LOOKING, ToolUse)
    assert isinstance(PATCHING, ToolUse)
    new = (replace(each, input='{"input":"new"}') for each in (ADDING, LOOKING, PATCHING))
    assert changed(TURN, THOUGHT, SEARCH, SAID, *new) == but(
        (CALL, CALL | {"arguments": '{"input":"new"}'}),
        (LOOK, LOOK | {"arguments": '{"input":"new"}'}),
        (CUSTOM, CUSTOM | {"input": "new"}),
    )


def test_changed_results() -> None:
    for number, item in ((TURN + 1, INPUT[10]), (TURN + 3, INPUT[12])):
        (result,) = blocks(REQUEST.messages[number])
        assert isinstance(result, ToolResult)
        assert changed(number, replace(result, content="4")) == but((item, item | {"output": "4"}))


def test_what_is_taken_out_of_a_turn_leaves_the_rest_of_it() -> None:
    assert changed(TURN, SEARCH, ADDING, PATCHING) == but((REASONING, None), (INPUT[6], None), (LOOK, None))
    assert changed(TURN) == but(*((item, None) for item in INPUT[4:10]))


def test_what_is_put_into_a_turn_is_said_in_the_clients_own_names() -> None:
    look = ToolUse(id="c9", name="fs__look", input="{}")
    patch = ToolUse(id="c8", name="patch", input='{"input":"x"}')
    items = changed(TURN, THOUGHT, SEARCH, SAID, Text(text="And:"), look, patch, ADDING, LOOKING, PATCHING)
    assert items == [
        *INPUT[:7],
        {"type": "message", "role": "assistant", "content": "And:"},
        {"type": "function_call", "call_id": "c9", "name": "look", "namespace": "fs", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c8", "name": "patch", "input": "x"},
        *INPUT[7:],
    ]


def test_a_message_less_and_one_more() -> None:
    messages = REQUEST.messages
    assert rewritten(replace(REQUEST, messages=(messages[0], *messages[2:])))["input"] == but((INPUT[3], None))
    more = (messages[0], Message("user", "new"), *messages[1:])
    new = {"type": "message", "role": "user", "content": "new"}
    assert rewritten(replace(REQUEST, messages=more))["input"] == [*INPUT[:3], new, *INPUT[3:]]


@pytest.mark.parametrize(
    ("system", "instructions", "front"),
    [
        ("new", "new", None),
        (None, None, None),
        ((Text(text="be cruel"), Text(text="be brief")), "be cruel", "be brief"),
        ((Text(text="be kind"), Text(text="be long")), "be kind", "be long"),
        ((Text(text="be brief"),), None, "be brief"),
    ],
)
def test_a_changed_system_prompt(system: Any, instructions: str | None, front: str | None) -> None:
    got = rewritten(replace(REQUEST, system=system))
    assert got.get("instructions") == instructions
    message = INPUT[0] | {"content": [{"type": "input_text", "text": front}]}
    assert got["input"] == but((INPUT[0], message if front else None))


def test_a_system_prompt_where_there_was_none() -> None:
    request = read_request(msgspec.json.encode({"model": "m", "input": "hi"}))
    assert rewritten(replace(request, system="new")) == {"model": "m", "input": "hi", "instructions": "new"}


def test_changed_tools_stay_where_they_were_offered() -> None:
    tools = {tool["name"]: tool for tool in REQUEST.tools}
    add, look, patch = (tools[name] for name in ("add", "fs__look", "patch"))
    told = rewritten(replace(REQUEST, tools=(add | {"description": "Adds"}, look, patch | {"description": "Patches"})))
    assert told["tools"] == [{**ADD, "description": "Adds"}, *BODY["tools"][1:]]
    assert told["input"][1]["tools"] == [{"type": "custom", "name": "patch", "odd": 1, "description": "Patches"}]
    fewer = rewritten(replace(REQUEST, tools=(add,)))
    assert fewer["tools"] == [ADD, BODY["tools"][2]]
    assert ADDED not in fewer["input"]
    more = rewritten(replace(REQUEST, tools=(*REQUEST.tools, {"name": "new", "input_schema": {}})))
    empty = {"type": "object", "properties": {}}
    assert more["tools"] == [*BODY["tools"], {"type": "function", "name": "new", "parameters": empty}]


@given(st.data())
def test_any_choice_of_what_was_said_can_be_written(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(REQUEST.messages))))
    chosen = []
    for number in order[: data.draw(st.integers(0, len(order)))]:
        message = REQUEST.messages[number]
        said = data.draw(st.permutations(blocks(message)))
        chosen.append(replace(message, content=tuple(said[: data.draw(st.integers(0, len(said)))])))
    got = rewritten(replace(REQUEST, messages=tuple(chosen)))
    assert got["input"][:2] == INPUT[:2]
    known = {msgspec.json.encode(item) for item in INPUT}
    whole = sum(msgspec.json.encode(item) in known for item in got["input"])
    assert len(got["input"]) - whole <= len(chosen) * 6


# ── the limit, and what we carried ──────────────────────────────────────────────────────────────────────────────────


def test_h134_the_limit_of_the_upstream() -> None:
    ledger = Ledger()
    assert fit(REQUEST, Target(max_tokens=None), ledger) is REQUEST
    small = replace(REQUEST, max_tokens=50)
    assert fit(small, Target(max_tokens=60), ledger) is small
    assert fit(small, Target(max_tokens=40), ledger).max_tokens == 40
    assert fit(REQUEST, Target(max_tokens=40), Ledger()).max_tokens == 40
    assert str(ledger) == "max_output_tokens (lowered from 50 to 40, the most this upstream answers)"


def with_reasoning(*sealed: str) -> Request:
    items: list[Any] = [{"role": "user", "content": "hi"}]
    for number, each in enumerate(sealed):
        items.append({"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": each})
        items.append({"type": "function_call", "call_id": f"c{number}", "name": "add", "arguments": "{}"})
        items.append({"type": "function_call_output", "call_id": f"c{number}", "output": "3"})
    return read_request(msgspec.json.encode({"model": "m", "input": items}))


def test_h150g_reasoning_that_we_carried_for_others_is_taken_out() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "Ersz"}
    foreign = [carried("anthropic", "p", thought), carried("openai-responses", "q", REASONING)]
    request = with_reasoning("gAAA", *foreign, foreign[0][:-9])
    ledger = Ledger()
    fitted = fit(request, Target(provenance="p"), ledger)
    assert str(ledger) == "input[type=reasoning] (another upstream or model has thought it)"
    items = rewritten(fitted, provenance="p")["input"]
    assert [item["id"] for item in items if item.get("type") == "reasoning"] == ["rs_0"]
    assert len(items) == 1 + 3 * 4 - 3


def test_h150g_what_the_upstream_itself_made_goes_back_as_it_was() -> None:
    request = with_reasoning(carried("openai-responses", "p", REASONING))
    ledger = Ledger()
    fitted = fit(request, Target(provenance="p"), ledger)
    assert fitted is not request  # as it cannot leave as the bytes it came in
    assert rewritten(fitted, provenance="p")["input"][1] == REASONING
    assert not ledger


def test_h150g_reasoning_that_nobody_here_carried_is_the_clients_affair() -> None:
    request = with_reasoning("gAAA")
    assert fit(request, Target(provenance="p"), Ledger()) is request


def test_reasoning_that_a_stage_made_up_is_not_sent() -> None:
    assert changed(TURN, THOUGHT, SEARCH, SAID, Thinking(thinking="new"), ADDING, LOOKING, PATCHING) == INPUT


def test_long_turns_take_no_longer_than_they_must() -> None:
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "add", "arguments": "{}"} for n in range(20_000)]
    request = read_request(msgspec.json.encode({"model": "m", "input": calls}))
    (message,) = request.messages
    assert isinstance(message.content, tuple)
    began = time.process_time()
    turned_over = rewritten(replace(request, messages=(replace(message, content=message.content[::-1]),)))
    assert len(turned_over["input"]) == 20_000
    assert time.process_time() - began < 5
