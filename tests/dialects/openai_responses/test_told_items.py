"""Output items as they are told: messages, reasoning and calls, in whatever pieces."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dialects.openai_responses.told import (
    A_ON_R,
    R_ON_R,
    USAGE,
    answer,
    call,
    complaint,
    created,
    custom,
    ended,
    event,
    gathered,
    ladder,
    message,
    read,
    read_whole,
    reasoning,
    response,
    stream,
    text,
)
from trioproxy.dialects.carried import opened
from trioproxy.items import (
    BlockStart,
    Error,
    MessageDelta,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Unknown,
    replace,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange


def noted(exchange: Exchange, *items: dict[str, Any]) -> str:
    """What the ledger has after a stream of these items, and after a body of them: the same."""
    ledgers = [Ledger(), Ledger()]
    read(stream(*items), replace(exchange, ledger=ledgers[0]))
    read_whole(response(*items), replace(exchange, ledger=ledgers[1]))
    assert str(ledgers[0]) == str(ledgers[1])
    return str(ledgers[0])


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_part_of_a_message_is_a_block_of_text() -> None:
    assert answer(stream(message("Hello", "World"))).texts == ["Hello", "World"]


def test_parts_are_apart_though_none_is_said_to_end() -> None:
    place = {"output_index": 0, "item_id": "msg_1"}
    pieces = [(0, "One"), (0, "!"), (1, "Two"), (0, " again")]
    told = [event("response.output_text.delta", **place, content_index=n, delta=each) for n, each in pieces]
    assert answer([created(), *told, ended()]).texts == ["One!", "Two", " again"]


def test_h150d_of_several_messages_none_is_lost_and_an_empty_one_is_no_block() -> None:
    items = [message("", id="msg_1"), message(id="msg_2"), message("Hello", id="msg_3"), message("Bye", id="msg_4")]
    assert answer(stream(*items)).texts == ["Hello", "Bye"]
    [whole] = gathered(read_whole(response(*items)))
    assert whole.texts == ["Hello", "Bye"]


def test_a_refusal_is_text() -> None:
    refused = message({"type": "refusal", "refusal": "I cannot do that."})
    assert answer(stream(refused)).texts == ["I cannot do that."]
    assert answer(stream(refused)).end.stop_reason == "end_turn"


CITED = {"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://example.org", "title": "An example"}


@pytest.mark.parametrize("told", ["on the way", "at the end", "both"])
def test_a_page_that_is_cited_is_told_once_and_as_anthropic_tells_it(told: str) -> None:
    cited = message(text("Hi", annotations=[CITED, CITED | {"url": "https://example.com"}]))
    events = stream(cited, repeat=told != "on the way")
    if told == "at the end":
        events = [each for each in events if b"annotation.added" not in each]
    citations = answer(events).citations
    assert [kind for kind, _ in citations] == ["citations_delta", "citations_delta"]
    assert citations[0][1]["delta"]["citation"] == {
        "type": "web_search_result_location",
        "url": "https://example.org",
        "title": "An example",
        "encrypted_index": "",
        "cited_text": "",
    }
    assert citations[1][1]["delta"]["citation"]["url"] == "https://example.com"


@pytest.mark.parametrize(
    ("item", "what"),
    [
        (
            message(text("Hi", annotations=[{"type": "file_citation", "file_id": "f"}])),
            "output[].content[].annotations[]",
        ),
        (message(text("Hi", logprobs=[{"token": "Hi"}])), "output[].content[].logprobs"),
        (message("Hi", {"type": "output_hologram", "text": ""}), "output[].content[type=output_hologram]"),
        (call("{}", caller={"type": "program", "caller_id": "cm_1"}), "output[type=function_call].caller"),
        (message("not the model's", role="user"), "output[type=message]"),
    ],
)
def test_what_another_dialect_is_not_told_is_noted(item: dict[str, Any], what: str) -> None:
    assert noted(A_ON_R, item).startswith(f"{what} (")
    assert not noted(R_ON_R, item)


def test_a_call_that_the_model_makes_directly_is_nothing_to_note() -> None:
    assert not noted(A_ON_R, call("{}", caller={"type": "direct"}))


def test_pieces_with_logprobs_are_text_all_the_same() -> None:
    ledger = Ledger()
    piece = {"output_index": 0, "item_id": "m", "content_index": 0, "logprobs": [{"token": "Hi"}]}
    body = [created(), *[event("response.output_text.delta", delta=each, **piece) for each in ("H", "i")], ended()]
    [got] = gathered(read(body, replace(A_ON_R, ledger=ledger)))
    assert got.texts == ["Hi"]
    assert str(ledger).startswith("output[].content[].logprobs (")


# ── reasoning ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h079_the_parts_of_a_summary_are_one_block() -> None:
    items = [reasoning("First.", "", "Then.", "Last."), message("Hi")]
    assert answer(stream(*items)).blocks == [Thinking(thinking="First.\n\nThen.\n\nLast."), Text(text="Hi")]
    [whole] = gathered(read_whole(response(*items)))
    assert whole.blocks == answer(stream(*items)).blocks


def test_h150e_reasoning_without_a_summary_is_what_it_says_itself() -> None:
    item = reasoning(content=[{"type": "reasoning_text", "text": "Hm."}, {"type": "reasoning_text", "text": "Well."}])
    place = {"output_index": 0, "item_id": "rs_1"}
    told = [
        event("response.output_item.added", output_index=0, item=reasoning(content=[])),
        event("response.reasoning_part.added", **place, content_index=0, part={"type": "reasoning_text", "text": ""}),
        event("response.reasoning_text.delta", **place, content_index=0, delta="H"),
        event("response.reasoning_text.delta", **place, content_index=0, delta="m."),
        event("response.reasoning_text.done", **place, content_index=0, text="Hm."),
        event("response.reasoning_part.done", **place, content_index=0, part=item["content"][0]),
        event("response.output_item.done", output_index=0, item=item),
    ]
    assert answer([created(), *told, ended(item)]).thoughts == [("Hm.\n\nWell.", "")]
    assert gathered(read_whole(response(item)))[0].thoughts == [("Hm.\n\nWell.", "")]


def test_reasoning_that_has_a_summary_too_is_told_once() -> None:
    item = reasoning("In short.", content=[{"type": "reasoning_text", "text": "At length."}])
    assert answer(stream(item)).thoughts == [("In short.", "")]
    assert gathered(read_whole(response(item)))[0].thoughts == [("In short.", "")]


def test_reasoning_of_the_open_responses_specification() -> None:
    place = {"output_index": 0, "item_id": "rs_1", "content_index": 0}
    body = [
        created(),
        event("response.reasoning.delta", **place, delta="H"),
        event("response.reasoning.delta", **place, delta="m"),
        event("response.reasoning.done", **place, text="Hm."),
        ended(),
    ]
    assert answer(body).thoughts == [("Hm.", "")]


def test_the_whole_item_goes_into_the_signature_and_only_when_it_is_finished() -> None:
    item = reasoning("Hm.", encrypted_content="gAAA=", content=None, status="completed")
    begun = event("response.output_item.added", output_index=0, item=item | {"encrypted_content": "early"})
    events = read([created(), begun, *ladder(0, item)[1:], ended(item)], replace(A_ON_R, provenance="u/m/k"))
    [signed] = [each for each in events if isinstance(each, SignatureDelta)]
    kept = opened(signed.signature)
    assert kept is not None
    assert (kept.dialect, kept.provenance) == ("openai-responses", "u/m/k")
    assert kept.block == reasoning("Hm.", encrypted_content="gAAA=")


def test_h076_reasoning_that_shows_nothing_keeps_what_is_encrypted() -> None:
    for got in (answer(stream(HIDDEN, message("Hi"))), *gathered(read_whole(response(HIDDEN, message("Hi"))))):
        [(thinking, signature)] = got.thoughts
        kept = opened(signature)
        assert (thinking, kept and kept.block) == ("", HIDDEN)


HIDDEN = reasoning(encrypted_content="gAAA=")


def test_reasoning_that_says_nothing_is_no_block() -> None:
    assert answer(stream(reasoning(), reasoning("", id="rs_2"), message("Hi"))).blocks == [Text(text="Hi")]


def test_h091_white_space_alone_is_no_reasoning_and_is_not_lost_before_some() -> None:
    assert answer(stream(reasoning("  \n"), message("Hi"))).blocks == [Text(text="Hi")]
    assert answer(stream(reasoning("\n\n Hm."))).thoughts == [("\n\n Hm.", "")]


def test_h009_reasoning_that_ends_only_after_the_text_does_not_hold_it_up() -> None:
    """OpenRouter tells the end of reasoning at the end of the answer (recorded)."""
    thought, said = reasoning("Hm."), message("Hi")
    first, *rest = ladder(0, thought)
    body = [created(), first, *rest[:4], *ladder(1, said), rest[-1], ended(thought, said)]
    events = read(body)
    assert gathered(events)[0].blocks == [Thinking(thinking="Hm."), Text(text="Hi")]
    places = [type(each).__name__ for each in events if not isinstance(each, Unknown)]
    assert places.index("BlockStop") < places.index("TextDelta")


def test_what_is_encrypted_and_comes_too_late_is_noted() -> None:
    thought, ledger = reasoning("Hm.", encrypted_content="gAAA="), Ledger()
    first, *rest = ladder(0, thought)
    body = [created(), first, *rest[:4], *ladder(1, message("Hi")), rest[-1], ended()]
    [got] = gathered(read(body, replace(A_ON_R, ledger=ledger)))
    assert got.thoughts == [("Hm.", "")]
    assert str(ledger).startswith("output[type=reasoning].encrypted_content (")


def test_vllm_tells_reasoning_as_the_text_of_an_item_announced_as_reasoning() -> None:
    place = {"output_index": 0, "item_id": "rs_1", "content_index": 0}
    body = [
        created(),
        event("response.output_item.added", output_index=0, item=reasoning()),
        event("response.output_text.delta", **place, delta="Hm."),
        event("response.output_text.done", **place, text="Hm."),
        event("response.content_part.done", **place, part={"type": "output_text", "text": "Hm."}),
        event("response.output_text.annotation.added", **place, annotation=CITED),
        event("response.output_item.done", output_index=0, item=reasoning()),
        *ladder(1, message("Hi")),
        ended(),
    ]
    assert answer(body).blocks == [Thinking(thinking="Hm."), Text(text="Hi")]


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_told_as_it_comes() -> None:
    events = [each for each in read(stream(call('{"path": "x"}'))) if not isinstance(each, Unknown)]
    assert events[1:4] == [
        BlockStart(0, ToolUse(id="call_1", name="look")),
        ToolInputDelta(0, '{"path'),
        ToolInputDelta(0, '": "x"}'),
    ]
    end = events[-2]
    assert isinstance(end, MessageDelta)
    assert end == MessageDelta("tool_use", None, end.usage, end.extra)


def test_calls_that_are_made_in_parallel_overlap() -> None:
    calls = [call('{"a":1}'), call('{"b":2}', id="fc_2", call_id="call_2")]
    one, two = ladder(0, calls[0]), ladder(1, calls[1])
    mixed = [each for pair in zip(one, two, strict=True) for each in pair]
    assert answer([created(), *mixed, ended(*calls)]).calls == [
        ("call_1", "look", '{"a":1}'),
        ("call_2", "look", '{"b":2}'),
    ]


@pytest.mark.parametrize("arguments", ["", "{}", " ", " {} ", None])
def test_h017_no_arguments_are_an_empty_object(arguments: Any) -> None:
    assert [made[2].strip() for made in answer(stream(call(arguments or ""))).calls] == ["{}"]
    [whole] = gathered(read_whole(response(call(arguments))))
    assert [made[2].strip() for made in whole.calls] == ["{}"]


def test_arguments_that_come_as_an_object_are_text() -> None:
    item = call("") | {"arguments": {"path": "x"}}
    assert gathered(read_whole(response(item)))[0].calls == [("call_1", "look", '{"path":"x"}')]


def test_h018_a_placeholder_gives_way_to_the_arguments() -> None:
    place = {"output_index": 0, "item_id": "fc_1"}
    begun = event("response.output_item.added", output_index=0, item=call("{}"))
    first = event("response.function_call_arguments.delta", **place, delta="{}")
    real = event("response.function_call_arguments.delta", **place, delta='{"a":1}')
    for told in ([begun, real], [begun, first, real], [begun, first, real, ladder(0, call('{"a":1}'))[-1]]):
        assert answer([created(), *told, ended()]).calls == [("call_1", "look", '{"a":1}')]


def test_arguments_that_only_the_beginning_tells_are_told() -> None:
    begun = event("response.output_item.added", output_index=0, item=call('{"a":1}'))
    assert answer([created(), begun, ended()]).calls == [("call_1", "look", '{"a":1}')]


def test_h015_a_call_without_an_id_gets_one_and_always_the_same() -> None:
    nameless = [{**call("{}"), "call_id": None}, {**call("{}", id="fc_2"), "call_id": ""}]
    ids = [id for id, _, _ in answer(stream(*nameless)).calls]
    assert len(set(ids)) == 2
    assert all(id.startswith("toolu_") for id in ids)
    assert ids == [id for id, _, _ in answer(stream(*nameless, repeat=False)).calls]


def test_h014_a_call_waits_for_its_name() -> None:
    place = {"output_index": 0, "item_id": "fc_1"}
    pieces = [event("response.function_call_arguments.delta", **place, delta=each) for each in ('{"a', '":1}')]
    done = event("response.output_item.done", output_index=0, item=call('{"a":1}'))
    events = read([created(), *pieces, done, ended()])
    assert gathered(events)[0].calls == [("call_1", "look", '{"a":1}')]
    assert sum(isinstance(each, ToolInputDelta) for each in events) == 1


def test_a_call_waits_for_the_id_that_it_goes_by() -> None:
    first, *rest = ladder(0, call('{"a":1}'))
    assert answer([created(), first.replace(b'"call_id":"call_1",', b""), *rest, ended()]).calls == [
        ("call_1", "look", '{"a":1}')
    ]


def test_a_call_without_a_name_is_an_error() -> None:
    item = {**call('{"a":1}'), "name": None}
    assert complaint(read(stream(item))).message == "the upstream called a tool without saying which"
    assert complaint(read_whole(response(item))).message == "the upstream called a tool without saying which"
    assert not any(isinstance(each, Error) for each in read(stream(item), R_ON_R))


@pytest.mark.parametrize(
    ("arguments", "got"), [('{"a', "cut, or no JSON"), ("[1]", "a list, not an object"), ('{} {"b"', "cut, or no JSON")]
)
def test_h109_a_call_that_cannot_be_made_is_an_error(arguments: str, got: str) -> None:
    streamed, whole = read(stream(call(arguments))), read_whole(response(call(arguments)))
    assert complaint(streamed).message == f"the upstream called 'look' with arguments that are {got}"
    assert whole == [complaint(streamed)]  # there is still a status to say so (hazard H110)
    assert not any(isinstance(each, Error) for each in read(stream(call(arguments)), R_ON_R))


@pytest.mark.parametrize("item", [call('{"a": "no en', status="incomplete"), call('{"a": "no en') | {"status": None}])
def test_h150i_a_call_that_is_cut_stays_visible_as_such(item: dict[str, Any]) -> None:
    reason = {"incomplete_details": {"reason": "max_output_tokens"}}
    for events in (
        read([created(), *ladder(0, item), ended(item, status="incomplete", **reason)]),
        read([created(), *ladder(0, item)[:3], ended(status="incomplete", **reason)]),
        read_whole(response(item, status="incomplete", **reason)),
    ):
        [got] = gathered(events)
        [(_, _, arguments)] = got.calls
        assert '{"a": "no en'.startswith(arguments)
        assert got.end.stop_reason == "max_tokens"


@pytest.mark.parametrize("item", [call("", status="incomplete"), custom("", status="incomplete")])
def test_a_call_that_was_cut_before_its_arguments_is_not_told_as_one_without_any(item: dict[str, Any]) -> None:
    body = [created(), *ladder(0, item), ended(item, status="incomplete")]
    assert answer(body).blocks == []


def test_a_call_that_was_complete_before_the_rest_was_cut_is_whole() -> None:
    items = call(""), message("I have", status="incomplete")
    body = [created(), *ladder(0, items[0]), *ladder(1, items[1]), ended(*items, status="incomplete")]
    assert answer(body).calls == [("call_1", "look", "{}")]
    assert answer(body).end.stop_reason == "max_tokens"


SCRIPT = '*** Begin "Patch"\n\tä😀\\'


@pytest.mark.parametrize("input", [SCRIPT, ""])
def test_h150_the_text_of_a_custom_call_is_the_input_of_an_object(input: str) -> None:
    for got in (answer(stream(custom(input))), *gathered(read_whole(response(custom(input))))):
        [(id, name, arguments)] = got.calls
        assert (id, name) == ("call_2", "run")
        assert msgspec.json.decode(arguments) == {"input": input}
        assert got.end.stop_reason == "tool_use"


def test_the_text_of_a_custom_call_comes_in_pieces() -> None:
    events = read(stream(custom("print(1)")))
    pieces = [each.partial_json for each in events if isinstance(each, ToolInputDelta)]
    assert pieces == ['{"input":"prin', "t(1)", '"}']


def test_a_custom_call_that_is_cut_is_no_object() -> None:
    item = custom("print(", status="incomplete")
    [(_, _, arguments)] = answer([created(), *ladder(0, item), ended(item, status="incomplete")]).calls
    assert arguments == '{"input":"print('


@pytest.mark.parametrize(
    ("namespace", "name"), [("crm", "crm__look"), ("mcp__crm__", "mcp__crm__look"), ("functions", "look")]
)
def test_a_tool_in_a_namespace_has_one_flat_name(namespace: str, name: str) -> None:
    for item in (call("{}", namespace=namespace), {**custom("x", namespace=namespace), "name": "look"}):
        assert [made[1] for made in answer(stream(item)).calls] == [name]


def test_the_name_of_the_tool_is_the_clients() -> None:
    renamed = replace(A_ON_R, renamed={"look": "a very long name"})
    assert [made[1] for made in answer(stream(call("{}")), renamed).calls] == ["a very long name"]


# ── everything is told several times ────────────────────────────────────────────────────────────────────────────────


def test_h019_what_is_told_again_with_more_tells_the_rest() -> None:
    place = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    body = [
        created(),
        event("response.output_text.delta", **place, delta="One"),
        event("response.output_text.done", **place, text="One, two"),
        event("response.content_part.done", **place, part=text("One, two, three")),
        event("response.output_item.done", output_index=0, item=message("One, two, three, four")),
        ended(message("One, two, three, four, five")),
    ]
    assert answer(body).texts == ["One, two, three"]  # a part is over with its own end
    assert answer([body[0], body[1], body[-2], body[-1]]).texts == ["One, two, three, four"]
    assert answer([body[0], body[1], body[-1]]).texts == ["One, two, three, four, five"]


def test_what_is_told_again_as_something_else_stays_as_it_was() -> None:
    told = ladder(0, message("One"))[:-3]
    assert answer([created(), *told, ended(message("Two, and more"))]).texts == ["One"]


def test_pieces_behind_the_end_of_their_item_are_not_heard() -> None:
    ghost = event("response.output_text.delta", output_index=0, item_id="msg_1", content_index=0, delta="ghost")
    late = event("response.output_text.annotation.added", output_index=0, item_id="msg_1", annotation=CITED)
    done = ladder(0, message("Hi"))
    got = answer([created(), *done, ghost, late, done[-1], ended()])
    assert (got.texts, got.citations) == (["Hi"], [])
    more = event("response.reasoning_summary_text.delta", output_index=0, item_id="rs_1", summary_index=0, delta="!")
    assert answer([created(), *ladder(0, reasoning("A", "B")), more, ended()]).thoughts == [("A\n\nB", "")]
    again = ladder(0, call("{}"))
    assert answer([created(), *again, again[1], again[-1], ended()]).calls == [("call_1", "look", "{}")]


def test_the_pieces_of_a_part_of_a_summary_that_is_over_are_not_heard() -> None:
    place = {"output_index": 0, "item_id": "rs_1"}
    pieces = [(0, "A"), (1, "B"), (0, "ghost"), (1, "C")]
    told = [event("response.reasoning_summary_text.delta", **place, summary_index=n, delta=each) for n, each in pieces]
    assert answer([created(), *told, ended()]).thoughts == [("A\n\nBC", "")]


def test_usage_is_of_every_end() -> None:
    expected = {"input_tokens": 6, "output_tokens": 4, "cache_read_input_tokens": 3}
    for status in ("completed", "incomplete"):
        end = answer([created(), *ladder(0, message("Hi")), ended(status=status)]).end
        assert msgspec.to_builtins(end.usage) == expected
        assert end.extra == {"usage": {"output_tokens_details": {"thinking_tokens": 2}}}
    failed = read([created(), ended(status="failed", error={"code": "server_error", "message": "no"})])
    [spent] = [each.usage for each in failed if isinstance(each, MessageDelta)]
    assert msgspec.to_builtins(spent) == expected
    assert answer([created(), ended(usage=None)]).end == MessageDelta("end_turn")
    assert USAGE["input_tokens"] == 9


def test_text_and_thinking_are_pieces_of_what_was_told() -> None:
    events = [each for each in read(stream(reasoning("Hm.."), message("Hi"))) if not isinstance(each, Unknown)]
    assert [each for each in events if isinstance(each, TextDelta | ThinkingDelta)] == [
        ThinkingDelta(0, "Hm"),
        ThinkingDelta(0, ".."),
        TextDelta(1, "H"),
        TextDelta(1, "i"),
    ]
