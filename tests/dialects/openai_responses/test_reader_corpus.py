"""Recorded answers of real Responses providers: what their events amount to is what the recording says at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tests.anthropic import flow, judge
from tests.corpus import Case, streams, wholes
from tests.dialects.openai_responses.told import A_ON_R, R_ON_R, Gathered, gathered, read, read_whole
from trioproxy.dialects import DIALECTS
from trioproxy.dialects.carried import opened
from trioproxy.dialects.style import Style
from trioproxy.items import Block, Error, Frame, Text, Thinking, ToolUse, replace
from trioproxy.ledger import Ledger
from trioproxy.stages.reframe import Reframe

Wire = dict[str, Any]

FAILED = {
    "prism-openai-stream-rate-limited-1": "rate_limit",
    "prism-openai-stream-unknown-error-responses-1": "rate_limit",
    "vercel-openai-responses-openai-error-1-stream": "rate_limit",
    "vercel-openai-responses-parallel-tool-call-wrapper-1": "upstream",  # edited by hand: two events lack a brace
}
SHORTENED = {"vercel-openai-responses-openai-shell-container-1"}  # by hand: its items say more than its deltas
NO_ANSWERS = {"queued", "response.compaction"}


def wires(case: Case) -> list[Wire]:
    lines = case.body.decode().replace("\r\n", "\n").split("\n")
    return [msgspec.json.decode(line[6:]) for line in lines if line.startswith("data: {")]


def recorded(events: list[Wire]) -> Iterator[Wire]:
    """The responses of a stream as its last events say them, with the items as they said themselves when they ended:
    what is encrypted is not the same in both, and the Codex backend tells no items at the end."""
    done: dict[int, Wire] = {}
    for each in events:
        if each["type"] == "response.output_item.done":
            done[each["output_index"]] = each["item"]
        if each["type"] in ("response.completed", "response.incomplete"):
            yield each["response"] | {"output": [done[index] for index in sorted(done)]}
            done = {}


def expected(response: Wire) -> tuple[list[Block], str, Wire]:
    """The blocks of an answer, how it ended and its usage. Written from OpenAI's documentation of the object."""
    blocks: list[Block] = []
    for item in response["output"]:
        match item["type"]:
            case "message":
                texts = [part.get("text") or part.get("refusal") for part in item["content"]]
                blocks += [Text(text=text) for text in texts if text]
            case "reasoning":
                told = item.get("summary") or item.get("content") or []
                text = "\n\n".join(part["text"] for part in told if part["text"])
                if text.strip() or item.get("encrypted_content"):
                    signed = item if item.get("encrypted_content") else {}
                    kept = {key: value for key, value in signed.items() if value is not None and key != "status"}
                    blocks.append(Thinking(thinking=text, extra=kept))
            case "function_call":
                name = f"{item['namespace']}__{item['name']}" if item.get("namespace") else item["name"]
                blocks.append(ToolUse(id=item["call_id"], name=name, input=item["arguments"] or "{}"))
            case "custom_tool_call":
                input = msgspec.json.encode({"input": item["input"]}).decode()
                blocks.append(ToolUse(id=item["call_id"], name=item["name"], input=input))
    called = any(isinstance(block, ToolUse) for block in blocks)
    reason = "max_tokens" if response["status"] == "incomplete" else "tool_use" if called else "end_turn"
    usage = response["usage"]
    inside, outside = (usage.get(f"{side}_tokens_details") or {} for side in ("input", "output"))
    cached, written = inside.get("cached_tokens"), inside.get("cache_write_tokens")
    counts = {
        "input_tokens": usage["input_tokens"] - (cached or 0) - (written or 0),
        "output_tokens": usage["output_tokens"],
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "thinking_tokens": outside.get("reasoning_tokens") or None,
    }
    return blocks, reason, {key: value for key, value in counts.items() if value is not None}


def got(message: Gathered) -> tuple[list[Block], str | None, Wire]:
    """The same of what was read; what is carried in a signature is opened."""
    blocks: list[Block] = []
    for block in message.blocks:
        kept = opened(block.signature) if isinstance(block, Thinking) else None
        blocks.append(replace(block, signature="", extra=kept.block) if kept else block)
    counts = msgspec.to_builtins(message.end.usage)
    details = message.end.extra.get("usage", {}).get("output_tokens_details", {})
    return blocks, message.end.stop_reason, counts | details


def test_every_recorded_stream_is_what_its_end_says() -> None:
    seen = 0
    for case in streams("openai-responses"):
        events = read(case.body, replace(A_ON_R, ledger=Ledger(), provenance="p"))
        if case.id in FAILED:
            errors = [each.kind for each in events if isinstance(each, Error)]
            assert errors == [FAILED[case.id]], case.id
            continue
        messages = gathered(events)
        if case.id in SHORTENED:
            continue
        responses = list(recorded(wires(case)))
        assert [got(each) for each in messages] == [expected(each) for each in responses], case.id
        assert [each.start.model for each in messages] == [each["model"] for each in responses], case.id
        seen += len(responses)
    assert seen > 90


def test_every_recorded_stream_leaves_for_a_client_of_its_dialect_as_the_very_bytes() -> None:
    for case in streams("openai-responses"):
        frames: list[Frame] = []
        for each in read(case.body, R_ON_R):
            if each.frame is not None and (not frames or frames[-1] is not each.frame):
                frames.append(each.frame)
        if case.id not in FAILED or FAILED[case.id] == "rate_limit":
            assert b"".join(frame.raw for frame in frames) == case.body, case.id


def test_every_recorded_stream_becomes_a_legal_anthropic_one() -> None:
    for case in streams("openai-responses"):
        exchange = replace(A_ON_R, ledger=Ledger())
        events = read(case.body, exchange)
        writer = DIALECTS["anthropic"].writer(exchange, Style())
        if case.id not in FAILED:
            judge(b"".join(flow([writer, Reframe()], [events], exchange)))


def test_every_recorded_body_is_what_it_says() -> None:
    seen = 0
    for case in wholes("openai-responses"):
        wire = msgspec.json.decode(case.body)
        events = read_whole(case.body, replace(A_ON_R, ledger=Ledger(), provenance="p"))
        if NO_ANSWERS & {wire.get("status"), wire["object"]}:
            assert [type(each) for each in events] == [Error], case.id
            continue
        [message] = gathered(events)
        assert got(message) == expected(wire), case.id
        seen += 1
    assert seen > 80


def test_the_end_of_every_recorded_stream_is_the_same_answer_as_a_body() -> None:
    for case in streams("openai-responses"):
        if case.id in FAILED or case.id in SHORTENED:
            continue
        streamed = gathered(read(case.body, replace(A_ON_R, ledger=Ledger())))
        ends = [
            each["response"] for each in wires(case) if each["type"] in ("response.completed", "response.incomplete")
        ]
        for response, message in zip(ends, streamed, strict=True):
            if not response["output"]:
                continue  # the Codex backend
            [whole] = gathered(read_whole(response, replace(A_ON_R, ledger=Ledger())))
            (*_, ended, usage), (*_, ended_so, usage_so) = got(whole), got(message)
            assert (whole.texts, whole.calls, ended, usage) == (message.texts, message.calls, ended_so, usage_so), (
                case.id
            )
            told, told_so = ([text for text, _ in each.thoughts] for each in (whole, message))
            assert told == told_so, case.id
