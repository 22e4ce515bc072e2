"""Hazards H146-H150i: what only Responses has: its clients on other upstreams, and its upstreams' other clients."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.chat import DONE, data
from tests.chat import piece as call
from tests.hazards.chat import (
    ROLE,
    A,
    C,
    Message,
    at,
    block,
    calls,
    chat,
    chunk,
    event,
    gives,
    message,
    message_start,
    says,
    streams,
    text_block,
    thinks,
    through,
    tool_block,
)
from tests.hazards.responses import (
    ASKS_R,
    PATHS,
    RESPONSES,
    R,
    asked,
    for_anthropic,
    for_chat,
    for_responses,
    reaches,
)
from tests.peers import Line, answer, ask, connect, proxy, request, upstream
from tests.responses import Wire, begun, check, ended, frames, reasoning, response, stream, text_part, wires
from tests.responses import call as call_of
from tests.responses import message as message_of
from trioproxy.dialects import DIALECTS
from trioproxy.dialects.carried import carried
from trioproxy.dialects.target import Target
from trioproxy.ledger import Ledger

HI = {"role": "user", "content": "hi"}
SHOWN: Wire = {"reasoning": {"summary": "auto"}}
SIGNED = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "hm"},
    {"type": "signature_delta", "signature": "c2ln"},
)
# The same answer of either upstream: a thought, a text, and two calls.
RICH = {
    A: message(
        SIGNED,
        text_block(1, "te", "xt"),
        tool_block(2, '{"p":', "1}", id="a"),
        tool_block(3, id="b", name="now"),
        reason="tool_use",
    ),
    C: chat(
        thinks("hm"),
        says("te"),
        says("xt"),
        calls(call(0, '{"p":', id="a", name="read")),
        calls(call(0, "1}")),
        calls(call(1, "", id="b", name="now")),
        finish="tool_calls",
    ),
}


# ── H146: one terminal event ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("upstream_", "reason", "ends"),
    [
        (A, "end_turn", ("completed", None)),
        (A, "stop_sequence", ("completed", None)),
        (A, "brand_new", ("completed", None)),
        (A, None, ("completed", None)),
        (A, "max_tokens", ("incomplete", "max_output_tokens")),
        (A, "model_context_window_exceeded", ("incomplete", "max_output_tokens")),
        (A, "pause_turn", ("incomplete", "max_output_tokens")),  # it must not look finished
        (A, "refusal", ("incomplete", "content_filter")),
        (C, "stop", ("completed", None)),
        (C, None, ("completed", None)),
        (C, "length", ("incomplete", "max_output_tokens")),
        (C, "content_filter", ("incomplete", "content_filter")),
    ],
)
def test_h146_an_answer_has_one_terminal_event(upstream_: str, reason: Any, ends: Any) -> None:
    for text in ("a", ""):  # of an empty answer too
        sent = {A: message(*([text_block(0, text)] if text else []), reason=reason), C: chat(says(text), finish=reason)}
        got = for_responses(sent[upstream_], asked(upstream_))
        assert got.ended == ends
        assert got.content == ([("text", "a")] if text else [])
        folded = msgspec.json.decode(through(sent[upstream_], asked(upstream_, stream=False)).body)
        assert folded == got.response


BROKEN = {
    A: [
        message_start(),
        message_start() + text_block(0, "a"),
        message_start() + tool_block(0, '{"p":', stop=False),
        message_start() + event({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}),
    ],
    C: [
        chunk(ROLE),
        chunk(ROLE) + chunk(says("a")),
        chunk(ROLE) + chunk(calls(call(0, '{"p":', id="a", name="read"))),
        chunk(ROLE) + data({"error": {"message": "x", "code": 503}}),
    ],
    R: [
        frames(*begun()),
        frames(*begun(), *message_of(0, "a")),
        frames(*begun(), *call_of(0, '{"p":', "1}")[:2]),
        frames(*begun(), {"type": "error", "message": "x", "code": "server_error", "param": None}),
    ],
}


@pytest.mark.parametrize("how", ["end", "reset", "cut"])
@pytest.mark.parametrize("body", range(4), ids=["begun", "text", "call", "error"])
@pytest.mark.parametrize("upstream_", [A, C])
async def test_h146_an_answer_that_breaks_has_one_too(upstream_: str, body: int, how: str) -> None:
    """Else Codex says "stream disconnected before completion", whatever came."""

    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(BROKEN[upstream_][body])
        if how == "cut":
            await line.chunk(b'data: {"id":"x","choi')
        if how == "reset":
            line.reset()
        else:
            await line.end()

    async with upstream(script) as up, proxy(at(up.toml(), upstream_)) as port:
        got = await ask(port, ASKS_R, path=RESPONSES)
    assert got.complete
    end = check(got.body)
    assert (end["status"], bool(end["error"]["message"])) == ("failed", True)


@pytest.mark.parametrize("body", range(3), ids=["begun", "text", "call"])
async def test_h146_an_upstream_of_the_same_dialect_that_leaves_it_out_gets_one(body: int) -> None:
    async with upstream(streams(BROKEN[R][body])) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, ASKS_R, path=RESPONSES)
    assert got.body.startswith(BROKEN[R][body])  # and the numbers go on where the upstream was
    assert check(got.body)["status"] == "failed"


async def test_h146_an_error_that_an_upstream_of_the_same_dialect_tells_is_not_told_again() -> None:
    async with upstream(streams(BROKEN[R][3])) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, ASKS_R, path=RESPONSES)
    assert got.body == BROKEN[R][3]


# ── H147, H148: the sequence, and what has to be in it ──────────────────────────────────────────────────────────────

LADDER = """
    response.created response.in_progress
    response.output_item.added response.reasoning_summary_part.added response.reasoning_summary_text.delta
    response.reasoning_summary_text.done response.reasoning_summary_part.done response.output_item.done
    response.output_item.added response.content_part.added response.output_text.delta response.output_text.delta
    response.output_text.done response.content_part.done response.output_item.done
    response.output_item.added response.function_call_arguments.delta response.function_call_arguments.delta
    response.function_call_arguments.done response.output_item.done
    response.output_item.added response.function_call_arguments.delta response.function_call_arguments.done
    response.output_item.done
    response.completed
"""


@pytest.mark.parametrize("upstream_", [A, C])
def test_h147_the_sequence_of_events(upstream_: str) -> None:
    body = through(RICH[upstream_], asked(upstream_, SHOWN)).body
    check(body)  # which looks at numbers, places and ids
    # A chat upstream's calls and texts may end behind what begins after them; within each item the order is the same.
    events = sorted(wires(body)[2:-1], key=lambda each: each["output_index"])
    ordered = [*wires(body)[:2], *events, wires(body)[-1]]
    assert [each["type"] for each in ordered] == LADDER.split()
    assert all(isinstance(each["delta"], str) for each in ordered if each["type"].endswith(".delta"))


def test_h147_calls_by_turns_have_places_of_their_own() -> None:
    body = chat(
        says("a"),
        calls(call(0, '{"p"', id="a", name="read")),
        calls(call(1, '{"q"', id="b", name="write")),
        calls(call(0, ":1}")),
        calls(call(1, ":2}")),
        finish="tool_calls",
    )
    assert for_responses(body, asked(C)).content == [("text", "a"), ("read", '{"p":1}'), ("write", '{"q":2}')]


@pytest.mark.parametrize("pieces", [[], [""], ["{}"], ["", "{}"]])
@pytest.mark.parametrize("upstream_", [A, C])
def test_h148_arguments_are_told_whole_always(upstream_: str, pieces: list[str]) -> None:
    deltas = [calls(call(0, "", id="a", name="now")), *(calls(call(0, piece)) for piece in pieces)]
    sent = {A: message(tool_block(0, *pieces, name="now"), reason="tool_use"), C: chat(*deltas, finish="tool_calls")}
    body = through(sent[upstream_], asked(upstream_)).body
    assert check(body)["output"][0]["arguments"] == "{}"
    [done] = [each for each in wires(body) if each["type"] == "response.function_call_arguments.done"]
    assert done["arguments"] == "{}"


@pytest.mark.parametrize("upstream_", [A, C])
def test_h148_lists_and_details_are_there_though_they_are_empty(upstream_: str) -> None:
    body = through(RICH[upstream_], asked(upstream_)).body
    for each in wires(body):
        if "response" in each:
            assert isinstance(each["response"]["output"], list)
            assert isinstance(each["response"]["tools"], list)
        if "part" in each and each["part"]["type"] == "output_text":
            assert (each["part"]["annotations"], each["part"]["logprobs"]) == ([], [])
        if each["type"].startswith("response.output_text."):
            assert each["logprobs"] == []
    usage = check(body)["usage"]
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}
    assert usage["input_tokens_details"]["cached_tokens"] == 0


# ── H149: ids ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("upstream_", [A, C])
def test_h149_the_ids_of_items_have_their_prefixes_and_are_not_those_of_calls(upstream_: str) -> None:
    items = for_responses(RICH[upstream_], asked(upstream_)).items
    assert [item["id"].partition("_")[0] for item in items] == ["rs", "msg", "fc", "fc"]
    assert len({item["id"] for item in items}) == 4
    assert [item["call_id"] for item in items[2:]] == ["a", "b"]
    custom = {"tools": [{"type": "custom", "name": "read"}]}
    answered = for_responses(message(tool_block(0, '{"input":"x"}'), reason="tool_use"), asked(A, custom))
    assert answered.items[0]["id"].startswith("ctc_")
    # What OpenAI would refuse of a conversation that goes on there: an id that is too long, or of no such kind.
    assert all(len(item["id"]) <= 64 for item in items)


@pytest.mark.parametrize("output", [{"id": "fco_1"}, {"call_id": None, "id": "fco_1"}, {"call_id": ""}, {}])
@pytest.mark.parametrize("upstream_", [A, C])
async def test_h149_a_result_without_the_id_of_its_call_meets_it(upstream_: str, output: Wire) -> None:
    """The id of the result's own item is not the call's (router-for-me/CLIProxyAPI#5692)."""
    items = [
        HI,
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "output": "9:00", **output},
    ]
    assert _results((await reaches(upstream_, R, {"input": items})).body) == [("call_1", "9:00")]


@pytest.mark.parametrize("upstream_", [A, C])
async def test_h149_a_call_without_any_id_gets_the_same_one_as_its_result(upstream_: str) -> None:
    items = [
        HI,
        {"type": "function_call", "name": "now", "arguments": ""},
        {"type": "function_call_output", "output": "9:00"},
    ]
    first, second = [(await reaches(upstream_, R, {"input": items})).body for _ in "12"]
    assert first == second
    [(id, said)] = _results(first)
    assert said == "9:00"
    assert id in str(first["messages"][1])


def _results(body: Any) -> list[tuple[str, Any]]:
    """The results that an Anthropic or a chat upstream got: whose, and what they say."""
    found = [(each["tool_call_id"], each["content"]) for each in body["messages"] if each["role"] == "tool"]
    blocks = [each for turn in body["messages"] if isinstance(turn["content"], list) for each in turn["content"]]
    return found + [(each["tool_use_id"], each["content"]) for each in blocks if each["type"] == "tool_result"]


# ── H150: tools that only Responses has ─────────────────────────────────────────────────────────────────────────────

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": GRAMMAR}
SLEEP = {
    "type": "function",
    "name": "sleep",
    "parameters": {"type": "object", "properties": {"s": {}}},
    "strict": False,
}
CLOCK = {"type": "namespace", "name": "clock", "description": "About time.", "tools": [SLEEP]}
QUERY = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": QUERY}
# As Codex asks its built-in provider: all of them in an item of the input, and no `tools`.
ADDED = {"type": "additional_tools", "role": "developer", "id": "at_1", "tools": [PATCH, CLOCK, SEARCH]}
TEXT = '*** Begin Patch\n+"é"\t\\n\n*** End Patch'


@pytest.mark.parametrize("place", [{"tools": [PATCH, CLOCK, SEARCH]}, {"input": [ADDED, HI]}], ids=["tools", "input"])
@pytest.mark.parametrize("upstream_", [A, C])
async def test_h150_tools_of_codex_are_functions_for_every_model(upstream_: str, place: Wire) -> None:
    tools = (await reaches(upstream_, R, {"input": "hi", **place})).body["tools"]
    functions = {tool["name"]: tool for tool in (tool.get("function", tool) for tool in tools)}
    assert set(functions) == {"apply_patch", "clock__sleep", "tool_search"}
    patch = functions["apply_patch"]
    schema = patch.get("input_schema") or patch["parameters"]
    assert (list(schema["properties"]), schema["required"]) == (["input"], ["input"])
    assert patch["description"].startswith("Edits files.")
    assert GRAMMAR["definition"] in patch["description"]
    assert "About time." in functions["clock__sleep"]["description"]
    search = functions["tool_search"]
    assert (search.get("input_schema") or search["parameters"]) == QUERY


@pytest.mark.parametrize("upstream_", [A, C])
async def test_h150_calls_of_them_are_the_clients_again_and_so_are_their_results(upstream_: str) -> None:
    """What the model calls, as the client knows it; and what the client sends back, as the model does."""
    arguments = {
        "apply_patch": msgspec.json.encode({"input": TEXT}).decode(),
        "clock__sleep": '{"s":1}',
        "tool_search": '{"query":"mail"}',
    }
    called = list(arguments.items())
    sent = {
        A: message(
            *(tool_block(n, said[:7], said[7:], id=f"c{n}", name=name) for n, (name, said) in enumerate(called)),
            reason="tool_use",
        ),
        C: chat(*(calls(call(n, said, id=f"c{n}", name=name)) for n, (name, said) in enumerate(called)), finish="stop"),
    }
    body = {"model": "m", "stream": True, "input": [ADDED, HI]}
    async with upstream(streams(sent[upstream_])) as up, proxy(at(up.toml(), upstream_)) as port:
        got = await ask(port, msgspec.json.encode(body), path=RESPONSES)
        items = check(got.body)["output"]
        patched, slept, searched = [{key: item[key] for key in item if key not in ("id", "status")} for item in items]
        assert patched == {"type": "custom_tool_call", "call_id": "c0", "name": "apply_patch", "input": TEXT}
        named = {"name": "sleep", "namespace": "clock", "arguments": '{"s":1}'}
        assert slept == {"type": "function_call", "call_id": "c1", **named}
        search = {"execution": "client", "arguments": {"query": "mail"}}
        assert searched == {"type": "tool_search_call", "call_id": "c2", **search}
        found = {"type": "namespace", "name": "mail", "tools": [{**SLEEP, "name": "send", "defer_loading": True}]}
        results = [
            {"type": "custom_tool_call_output", "call_id": "c0", "output": "Done!"},
            {"type": "function_call_output", "call_id": "c1", "output": "slept"},
            {"type": "tool_search_output", "call_id": "c2", "execution": "client", "tools": [found]},
        ]
        await ask(port, msgspec.json.encode({**body, "input": [ADDED, HI, *items, *results]}), path=RESPONSES)
    again = msgspec.json.decode(up.requests[1].body)
    assert [id for id, _ in _results(again)] == ["c0", "c1", "c2"]
    assert _results(again)[0][1] == "Done!"
    assert _said(again) == [(name, msgspec.json.decode(said)) for name, said in called]
    # What the client has found for the model is offered from now on.
    assert "mail__send" in {tool.get("function", tool)["name"] for tool in again["tools"]}


def _said(body: Any) -> list[tuple[str, Any]]:
    """The calls of a conversation as an Anthropic or a chat upstream got them."""
    turn = body["messages"][1]
    if "tool_calls" in turn:
        made = [each["function"] for each in turn["tool_calls"]]
        return [(each["name"], msgspec.json.decode(each["arguments"])) for each in made]
    return [(each["name"], each["input"]) for each in turn["content"] if each["type"] == "tool_use"]


@pytest.mark.parametrize("cut", [True, False])
def test_h150_a_text_for_a_custom_tool_is_never_half_of_it(cut: bool) -> None:
    """A limit leaves what there is, marked; an answer that says it is whole fails."""
    body = message(
        tool_block(0, '{"input":"rm -rf /tm', name="apply_patch"), reason="max_tokens" if cut else "tool_use"
    )
    got = through(body, asked(A, {"tools": [PATCH]}))
    if cut:
        [item] = check(got.body)["output"]
        assert (item["status"], item["input"]) == ("incomplete", "rm -rf /tm")
    else:
        assert b"response.output_item.done" not in got.body
        assert got.error.kind == "upstream"


# ── H150b, H150c: what may stand in the input ───────────────────────────────────────────────────────────────────────

SYSTEM: list[Any] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
    {"role": "system", "content": "be kind"},
    HI,
]


async def test_h150b_system_items_are_the_system_prompt_wherever_they_go() -> None:
    body = {"instructions": "be", "input": SYSTEM}
    blocks = (await reaches(A, R, body)).body["system"]
    assert [each["text"] for each in blocks] == ["be", "be brief", "be kind"]
    turns = (await reaches(C, R, body)).body["messages"]
    assert [each["role"] for each in turns if each["role"] != "user"] == ["system"] * (len(turns) - 1)
    assert [text for text in ("be brief", "be kind") if text not in str(turns[:-1])] == []
    assert (await reaches(R, R, body)).body == {"model": "m", **body}  # the client knows its upstream


@pytest.mark.parametrize("host", ["chatgpt.com", "api.openai.com", ""])
def test_h150b_no_system_role_reaches_codexs_backend(host: str) -> None:
    later = {"role": "system", "content": [{"type": "text", "text": "be kind"}]}
    body = {"model": "gpt-5.4", "max_tokens": 99, "system": "be brief", "messages": [HI, later]}
    read = DIALECTS[A].read_request(msgspec.json.encode(body))
    sent = msgspec.json.decode(DIALECTS[R].write_request(read, Target(host=host), Ledger()).body)
    assert sent["instructions"] == "be brief"
    assert "system" not in [item["role"] for item in sent["input"]]
    assert "be kind" in str(sent["input"])


TYPELESS: list[Any] = [
    {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"role": "assistant", "content": [{"type": "output_text", "text": "yes?"}]},
    {"role": "user", "content": "go"},
]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (TYPELESS, [("user", "hi"), ("assistant", "yes?"), ("user", "go")]),
        ("hi", [("user", "hi")]),
        ([{"type": "input_text", "text": "hi"}], [("user", "hi")]),
        ([], [("user", ".")]),
        ("", [("user", ".")]),
        (None, [("user", ".")]),
    ],
    ids=["typeless", "string", "part", "empty list", "empty", "null"],
)
@pytest.mark.parametrize("upstream_", [A, C])
async def test_h150c_items_without_types_or_ids_and_input_that_is_none(
    upstream_: str, said: Any, expected: list[tuple[str, str]]
) -> None:
    got = await reaches(upstream_, R, {"input": said})
    assert got.status == 200
    turns = [(turn["role"], turn["content"]) for turn in got.body["messages"]]
    assert [(role, _text(content)) for role, content in turns] == expected


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


# ── H150d, H150e: what an upstream may answer with ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("whole", [False, True])
def test_h150d_of_several_messages_none_is_lost_though_the_first_be_empty(whole: bool) -> None:
    items = [message_of(0, "", id="msg_0"), message_of(1, "a", id="msg_1"), message_of(2, "b", id="msg_2")]
    body, more = stream(*items), {"upstream_stream": not whole}
    if whole:
        body = msgspec.json.encode(response("completed", *(each[-1]["item"] for each in items)))
    assert for_anthropic(body, **more).content == [("text", "a"), ("text", "b")]
    assert for_chat(body, **more).content == "ab"


def test_h150d_several_parts_of_one_message() -> None:
    message_ = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    whole = response("completed", {**message_, "content": [text_part(text) for text in ("", "a", "b")]})
    assert for_anthropic(msgspec.json.encode(whole), upstream_stream=False).content == [("text", "a"), ("text", "b")]
    assert for_chat(msgspec.json.encode(whole), upstream_stream=False).content == "ab"


@pytest.mark.parametrize("whole", [False, True])
def test_h150e_reasoning_that_has_no_summary_is_what_it_says_itself(whole: bool) -> None:
    """gpt-oss, DeepSeek and OpenRouter: the text is in `content`, and the summary is empty."""
    at_ = {"output_index": 0, "item_id": "rs_1", "content_index": 0}
    item = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    told = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        *({"type": "response.reasoning_text.delta", **at_, "delta": piece} for piece in "hm"),
        {"type": "response.reasoning_text.done", **at_, "text": "hm"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    said = message_of(1, "ok")
    body = frames(*begun(), *told, *said, ended(item, said[-1]["item"]))
    if whole:
        body = msgspec.json.encode(response("completed", item, said[-1]["item"]))
    assert for_anthropic(body, upstream_stream=not whole).content == [("thinking", "hm"), ("text", "ok")]
    chatted = for_chat(body, upstream_stream=not whole)
    assert (chatted.reasoning, chatted.content) == ("hm", "ok")


# ── H150f: what only a server that keeps things can do ──────────────────────────────────────────────────────────────

KEPT: list[tuple[Wire, str]] = [
    ({"input": "hi", "previous_response_id": "resp_1"}, "send the whole conversation"),
    ({"input": "hi", "conversation": "conv_1"}, "send the whole conversation"),
    ({"input": "hi", "prompt": {"id": "pmpt_1"}}, "send the prompt's text"),
    ({"input": "hi", "background": True}, "ask without it"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "send the item itself"),
    ({"input": [{"id": "msg_1"}]}, "send the item itself"),
    ({"input": [HI, {"type": "compaction_trigger"}]}, "let the client summarise"),
]


@pytest.mark.parametrize(("body", "advice"), KEPT)
@pytest.mark.parametrize("upstream_", [A, C])
async def test_h150f_what_nobody_keeps_here_is_refused_with_advice(upstream_: str, body: Wire, advice: str) -> None:
    got = await reaches(upstream_, R, body)
    assert (got.status, got.body) == (400, None)  # the upstream is not asked
    error = msgspec.json.decode(got.said)["error"]
    assert error["type"] == "invalid_request_error"
    assert advice in error["message"]


@pytest.mark.parametrize(("body", "advice"), KEPT)
async def test_h150f_an_upstream_of_the_same_dialect_gets_it_all(body: Wire, advice: str) -> None:
    assert (await reaches(R, R, body)).body == {"model": "m", **body}


@pytest.mark.parametrize("upstream_", [A, C])
async def test_h150f_what_was_compacted_by_openai_is_left_out_and_that_is_said(upstream_: str) -> None:
    items = [{"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}, HI]
    got = await reaches(upstream_, R, {"input": items, "store": True})
    assert got.status == 200
    assert "gAAA" not in str(got.body)
    assert [turn["role"] for turn in got.body["messages"]] == ["user"]
    assert "input[type=compaction]" in got.lost
    assert "store" in got.lost


@pytest.mark.parametrize("dialect", [A, C, R])
async def test_h150f_a_websocket_is_refused_and_the_next_request_answered(dialect: str) -> None:
    """Codex tries one first, with its built-in provider, and goes on with a POST as soon as it is refused."""
    upgrade = ("upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13", "sec-websocket-key: eA==")
    beta = "openai-beta: responses_websockets=2026-02-06"
    sent = {A: message(text_block(0, "a")), C: chat(says("a")), R: stream(message_of(0, "a"))}
    async with (
        upstream(streams(sent[dialect])) as up,
        proxy(at(up.toml(), dialect)) as port,
        await connect(port) as line,
    ):
        await line.send_all(request(b"", method="GET", path=RESPONSES, headers=(*upgrade, beta)))
        refused = await answer(line, method="GET")
        assert (refused.status, up.requests) == (426, [])
        assert "POST" in msgspec.json.decode(refused.body)["error"]["message"]
        await line.send_all(request(ASKS_R, path=RESPONSES))
        assert check((await answer(line)).body)["output"][0]["content"][0]["text"] == "a"


@pytest.mark.parametrize("path", ["/v1/responses/compact", "/v1/responses/resp_1/cancel"])
async def test_h150f_endpoints_that_only_openai_has_say_what_is_there(path: str) -> None:
    async with upstream(gives(b"{}")) as up, proxy(up.toml()) as port:
        got = await ask(port, b"{}", path=path)
        assert up.requests == []
    assert got.status == 404
    assert "POST /v1/responses" in msgspec.json.decode(got.body)["error"]["message"]


# ── H150g: encrypted reasoning is for its maker alone ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
async def test_h150g_what_claude_thought_goes_back_to_claude_as_it_was_and_to_nobody_else(kind: str) -> None:
    redacted = block(0, {"type": "redacted_thinking", "data": "xx=="})
    sent = message(
        SIGNED if kind == "thinking" else redacted, tool_block(1, '{"p":1}', id="toolu_1"), reason="tool_use"
    )
    tools = {"tools": [{"type": "function", "name": "read", "parameters": {"type": "object", "properties": {}}}]}
    body = {"model": "claude-sonnet-4-6", "reasoning": {"effort": "high"}, "stream": True, **tools}
    async with upstream(streams(sent)) as up, proxy(up.toml()) as port:
        got = await ask(port, msgspec.json.encode({**body, "input": [HI]}), path=RESPONSES)
        items = check(got.body)["output"]
        result = {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"}
        again = {**body, "input": [HI, *items, result]}
        await ask(port, msgspec.json.encode(again), path=RESPONSES)
    thought, use = msgspec.json.decode(up.requests[1].body)["messages"][1]["content"]
    expected = {"thinking": {"thinking": "hm", "signature": "c2ln"}, "redacted_thinking": {"data": "xx=="}}
    assert thought == {"type": kind, **expected[kind]}
    assert use["id"] == "toolu_1"
    for other in (A, C, R):  # another upstream: of whatever dialect, it is not the one that signed it
        elsewhere = await reaches(other, R, {**again, "stream": False})
        assert elsewhere.status == 200
        assert not any(secret in str(elsewhere.body) for secret in ("c2ln", "xx==", items[0]["encrypted_content"]))
        assert elsewhere.lost


async def test_h150g_reasoning_of_another_vendor_in_the_words_of_responses() -> None:
    """Between two that speak it, what we carried for another is taken out, and what nobody here made stays."""
    ours = carried(A, "elsewhere", {"type": "thinking", "thinking": "hm", "signature": "Ersz"})
    foreign, own = [
        {"type": "reasoning", "id": f"rs_{n}", "summary": [], "encrypted_content": sealed}
        for n, sealed in enumerate((ours, "gAAA"))
    ]
    got = await reaches(R, R, {"input": [HI, foreign, own, HI]})
    assert got.body["input"] == [HI, own, HI]
    assert "reasoning" in got.lost


# ── H150h: Cursor ───────────────────────────────────────────────────────────────────────────────────────────────────

NESTED = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}
FLAT = {"type": "function", "name": "write", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("upstream_", "body"), [(A, {"messages": [HI]}), (R, {"messages": [HI]}), (A, {"input": [HI]})]
)
async def test_h150h_tools_of_both_shapes_at_the_path_of_chat(upstream_: str, body: Wire) -> None:
    """Ask mode sends a chat body whose tools are of both shapes, agent mode a Responses body; both want chunks back."""
    wire = {"model": "m", "stream": True, "tools": [NESTED, FLAT], **body}
    sent = {A: message(text_block(0, "a")), R: stream(message_of(0, "a"))}
    async with upstream(streams(sent[upstream_])) as up, proxy(at(up.toml(), upstream_)) as port:
        got = await ask(port, msgspec.json.encode(wire), path=PATHS[C])
    assert [tool["name"] for tool in msgspec.json.decode(up.requests[0].body)["tools"]] == ["read", "write"]
    assert b'"object":"chat.completion.chunk"' in got.body
    assert got.body.endswith(b"data: [DONE]\n\n")


# ── H150i: incomplete ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("upstream_", [A, C])
def test_h150i_what_a_limit_has_cut_is_incomplete_and_so_is_its_call(upstream_: str) -> None:
    arguments = '{"cmd":"rm -rf /tmp'
    sent = {
        A: message(text_block(0, "a"), tool_block(1, arguments), reason="max_tokens"),
        C: chat(says("a"), calls(call(0, arguments, id="c", name="read")), finish="length"),
    }
    got = for_responses(sent[upstream_], asked(upstream_))
    assert got.ended == ("incomplete", "max_output_tokens")
    said, made = got.items
    assert (said["type"], made["status"], made["arguments"]) == ("message", "incomplete", arguments)
    folded = msgspec.json.decode(through(sent[upstream_], asked(upstream_, stream=False)).body)
    assert folded == got.response


@pytest.mark.parametrize("upstream_", [A, C])
def test_h150i_what_was_whole_before_the_limit_stays_so(upstream_: str) -> None:
    sent = {
        A: message(tool_block(0, '{"p":1}'), text_block(1, "and"), reason="max_tokens"),
        C: chat(calls(call(0, '{"p":1}', id="c", name="read")), says("and"), finish="length"),
    }
    statuses = {item["type"]: item["status"] for item in for_responses(sent[upstream_], asked(upstream_)).items}
    assert statuses == {"function_call": "completed", "message": "incomplete"}


@pytest.mark.parametrize("told", ["item", "stream", "whole"])
def test_h150i_a_call_of_a_response_that_is_cut_stays_cut(told: str) -> None:
    """Whether its own end says so, or only that of the answer."""
    wires_ = call_of(0, '{"p"', ':"x', name="read")
    item = {**wires_[-1]["item"], "status": "incomplete"}
    end = ended(item, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    bodies = {
        "item": frames(*begun(), *wires_[:-1], {**wires_[-1], "item": item}, end),
        "stream": frames(*begun(), *wires_[:3], {**end, "response": {**end["response"], "output": []}}),
        "whole": msgspec.json.encode(end["response"]),
    }
    more = {"upstream_stream": told != "whole"}
    got: Message = for_anthropic(bodies[told], **more)
    assert (got.arguments, got.stop_reason) == (['{"p":"x'], "max_tokens")
    chatted = for_chat(bodies[told], **more)
    assert ([each["arguments"] for each in chatted.calls], chatted.finish) == (['{"p":"x'], "length")


def test_h150i_a_filter_has_cut_it() -> None:
    filtered = stream(
        reasoning(0, "hm"),
        message_of(1, "pa"),
        status="incomplete",
        incomplete_details={"reason": "content_filter"},
    )
    assert for_anthropic(filtered).stop_reason == "refusal"
    assert for_chat(filtered).finish == "content_filter"
    assert for_responses(message(text_block(0, "pa"), reason="refusal"), asked(A)).ended == (
        "incomplete",
        "content_filter",
    )
    assert for_responses(chat(says("pa"), finish="content_filter") + DONE, asked(C)).ended[1] == "content_filter"
