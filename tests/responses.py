"""Responses streams for tests: made event by event, and judged by a grammar of their own.

The grammar is written from OpenAI's reference (platform.openai.com/docs/api-reference/responses-streaming) and from
what the API sends, not from our code.
"""

from __future__ import annotations

from typing import Any

import msgspec

Wire = dict[str, Any]

_HEAD = {
    *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "metadata", "model"),
    *("output", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "usage", "text", "reasoning"),
    *("truncation", "max_output_tokens", "previous_response_id", "store"),
}
_PREFIXES = {"message": "msg_", "function_call": "fc_", "custom_tool_call": "ctc_", "reasoning": "rs_"}
_ENDS = {f"response.{status}": status for status in ("completed", "incomplete", "failed")}


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def event(wire: Wire) -> bytes:
    """One server-sent event."""
    return f"event: {wire['type']}\ndata: ".encode() + msgspec.json.encode(wire) + b"\n\n"


def frames(*wires: Wire) -> bytes:
    """Events, numbered from 0."""
    return b"".join(event({**wire, "sequence_number": number}) for number, wire in enumerate(wires))


def response(status: str = "in_progress", *output: Wire, **more: Any) -> Wire:
    """A response object as OpenAI's API has it."""
    counts = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 14,
    }
    return {
        "id": "resp_up1",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-up",
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": "medium", "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if status == "in_progress" else counts,
        "user": None,
        "metadata": {},
        **more,
    }


def begun(**more: Any) -> list[Wire]:
    wire = response(**more)
    return [{"type": "response.created", "response": wire}, {"type": "response.in_progress", "response": wire}]


def ended(*output: Wire, status: str = "completed", **more: Any) -> Wire:
    return {"type": f"response.{status}", "response": response(status, *output, **more)}


def item_events(place: int, begun: Wire, *inner: Wire, done: Wire) -> list[Wire]:
    """An item and what is told of it within."""
    at = {"output_index": place, "item_id": begun["id"]}
    return [
        {"type": "response.output_item.added", "output_index": place, "item": begun},
        *({**at, **wire} for wire in inner),
        {"type": "response.output_item.done", "output_index": place, "item": done},
    ]


def text_part(text: str) -> Wire:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def message(place: int, *texts: str, id: str = "msg_up1", **more: Any) -> list[Wire]:
    """A message with one part, told in these pieces."""
    base = {"id": id, "type": "message", "role": "assistant", "phase": "final_answer", **more}
    whole, at = "".join(texts), {"content_index": 0}
    inner: list[Wire] = [
        {"type": "response.content_part.added", **at, "part": text_part("")},
        *({"type": "response.output_text.delta", **at, "delta": text, "logprobs": []} for text in texts),
        {"type": "response.output_text.done", **at, "text": whole, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": text_part(whole)},
    ]
    done = {**base, "status": "completed", "content": [text_part(whole)]}
    return item_events(place, {**base, "status": "in_progress", "content": []}, *inner, done=done)


def refusal(place: int, *texts: str, id: str = "msg_up2") -> list[Wire]:
    """A message with one part, which is a refusal."""
    base = {"id": id, "type": "message", "role": "assistant"}
    whole, at = "".join(texts), {"content_index": 0}
    inner: list[Wire] = [
        {"type": "response.content_part.added", **at, "part": {"type": "refusal", "refusal": ""}},
        *({"type": "response.refusal.delta", **at, "delta": text} for text in texts),
        {"type": "response.refusal.done", **at, "refusal": whole},
        {"type": "response.content_part.done", **at, "part": {"type": "refusal", "refusal": whole}},
    ]
    done = {**base, "status": "completed", "content": [{"type": "refusal", "refusal": whole}]}
    return item_events(place, {**base, "status": "in_progress", "content": []}, *inner, done=done)


def call(place: int, *pieces: str, id: str = "fc_up1", call_id: str = "call_1", name: str = "read") -> list[Wire]:
    """A call of a function, its arguments in these pieces."""
    base = {"id": id, "type": "function_call", "call_id": call_id, "name": name}
    whole = "".join(pieces)
    inner: list[Wire] = [
        *({"type": "response.function_call_arguments.delta", "delta": piece} for piece in pieces),
        {"type": "response.function_call_arguments.done", "arguments": whole},
    ]
    done = {**base, "status": "completed", "arguments": whole}
    return item_events(place, {**base, "status": "in_progress", "arguments": ""}, *inner, done=done)


def custom_call(place: int, *pieces: str, id: str = "ctc_up1", name: str = "apply_patch") -> list[Wire]:
    """A call of a tool that takes a text, in these pieces."""
    base = {"id": id, "type": "custom_tool_call", "call_id": "call_2", "name": name}
    whole = "".join(pieces)
    inner: list[Wire] = [
        *({"type": "response.custom_tool_call_input.delta", "delta": piece} for piece in pieces),
        {"type": "response.custom_tool_call_input.done", "input": whole},
    ]
    done = {**base, "status": "completed", "input": whole}
    return item_events(place, {**base, "status": "in_progress", "input": ""}, *inner, done=done)


def reasoning(place: int, *parts: str, id: str = "rs_up1", encrypted: str = "gAAA") -> list[Wire]:
    """Reasoning; each part of its summary comes in two pieces."""
    inner: list[Wire] = []
    for index, text in enumerate(parts):
        at = {"summary_index": index}
        pieces = [text[: len(text) // 2], text[len(text) // 2 :]]
        inner += [
            {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}},
            *({"type": "response.reasoning_summary_text.delta", **at, "delta": piece} for piece in pieces if piece),
            {"type": "response.reasoning_summary_text.done", **at, "text": text},
            {"type": "response.reasoning_summary_part.done", **at, "part": {"type": "summary_text", "text": text}},
        ]
    base = {"id": id, "type": "reasoning", "encrypted_content": encrypted}
    done = {**base, "summary": [{"type": "summary_text", "text": text} for text in parts]}
    return item_events(place, {**base, "summary": [], "encrypted_content": encrypted[:2]}, *inner, done=done)


def search(place: int, id: str = "ws_up1") -> list[Wire]:
    """A search of the provider's own."""
    base = {"id": id, "type": "web_search_call", "status": "in_progress"}
    inner = [{"type": f"response.web_search_call.{what}"} for what in ("in_progress", "searching", "completed")]
    done = {**base, "status": "completed", "action": {"type": "search", "query": "q"}}
    return item_events(place, base, *inner, done=done)


def stream(*items: list[Wire], **more: Any) -> bytes:
    """A whole answer as OpenAI streams it."""
    told = [each["item"] for wires in items for each in wires if each["type"] == "response.output_item.done"]
    return frames(*begun(), *(wire for wires in items for wire in wires), ended(*told, **more))


# ── what is got ─────────────────────────────────────────────────────────────────────────────────────────────────────


def wires(body: bytes) -> list[Wire]:
    """The events of a stream; comments say nothing."""
    found = []
    for block in body.decode().split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n", 1)
        found.append(msgspec.json.decode(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}", block
    return found


def check(body: bytes, *, whole: bool = True, gaps: bool = False) -> Wire:
    """The response that ends a stream, after making sure that all of it is legal; the one that began it if not `whole`,
    of a stream that an error has cut. `gaps`: numbers may be left out, as the frames are that had them."""
    events = wires(body)
    numbers = [each["sequence_number"] for each in events]
    assert numbers == (sorted(set(numbers)) if gaps else list(range(len(events)))), f"numbered {numbers}"
    if not events and not whole:
        return {}
    assert events[0]["type"] == "response.created"
    last = events.pop() if whole else None
    if last is not None and last["type"] == "response.failed" and events[-1]["type"] == "error":
        assert events.pop()["error"]["message"] == last["response"]["error"]["message"]
    created = events[0]["response"]
    for each in events[:2]:
        wire = each["response"]
        assert each["type"] in ("response.created", "response.in_progress")
        assert (wire["status"], wire["output"], wire["usage"]) == ("in_progress", [], None)
        assert set(wire) >= _HEAD, _HEAD - set(wire)
    items: dict[int, _Judge] = {}
    for each in events[2:]:
        assert each["type"] not in _ENDS, f"{each['type']} is not the last"
        if each["type"] == "response.output_item.added":
            assert each["output_index"] == len(items), "places are not in order"
            items[each["output_index"]] = _JUDGES.get(each["item"]["type"], _Judge)(each["item"])
        else:
            assert each["output_index"] in items, f"{each['type']} of an item that has not begun"
            items[each["output_index"]].take(each)
    ids = [judge.id for judge in items.values()]
    assert len(set(ids)) == len(ids), "an id twice"
    if last is None:
        return dict(created)
    end: Wire = last["response"]
    assert _ENDS[last["type"]] == end["status"]
    assert set(end) >= _HEAD, _HEAD - set(end)
    assert [end[key] for key in ("id", "created_at", "model", "object")] == [
        created[key] for key in ("id", "created_at", "model", "object")
    ]
    assert (end["incomplete_details"] is not None) == (end["status"] == "incomplete")
    assert (end["error"] is not None) == (end["status"] == "failed")
    if end["status"] == "failed":
        return end  # whatever it was about to say
    assert all(judge.done is not None for judge in items.values()), "an item did not end"
    assert end["output"] == [items[place].done for place in sorted(items)], "the output is not what was told"
    if end["status"] == "completed":
        assert all(item.get("status") in ("completed", None) for item in end["output"]), "an item is not complete"
    if end["usage"] is not None:
        usage = end["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert {"cached_tokens", "cache_write_tokens"} >= set(usage["input_tokens_details"]) >= {"cached_tokens"}
        assert "reasoning_tokens" in usage["output_tokens_details"]
    return end


class _Judge:
    """Of one item: of an item nobody knows, only that it begins and ends."""

    def __init__(self, item: Wire) -> None:
        self.id, self.kind = item["id"], item["type"]
        self.done: Wire | None = None
        assert self.id.startswith(_PREFIXES.get(self.kind, "")), f"{self.id} of a {self.kind}"
        self.begin(item)

    def take(self, event: Wire) -> None:
        assert self.done is None, f"{event['type']} behind the end of its item"
        if event["type"] != "response.output_item.done":
            assert event["item_id"] == self.id
            self.inner(event, event["type"].removeprefix("response."))
            return
        self.done = event["item"]
        assert (event["item"]["id"], event["item"]["type"]) == (self.id, self.kind)
        self.end(event["item"])

    def begin(self, item: Wire) -> None:
        pass

    def inner(self, event: Wire, name: str) -> None:
        pass

    def end(self, item: Wire) -> None:
        pass


class _Parts(_Judge):
    """Parts one after the other: each added, told in deltas, told whole, and done."""

    part, text, index, listed = "content_part", "output_text", "content_index", "content"

    def begin(self, item: Wire) -> None:
        assert item[self.listed] == []
        self.texts: list[str] = []
        self.annotations: list[Wire] = []
        self.state = "between"
        self.said = "text"  # the field that has the text: of a refusal, `refusal`

    def inner(self, event: Wire, name: str) -> None:
        text = self.text if self.said == "text" else "refusal"
        match self.state, name.split("."):
            case "between", [self.part, "added"]:
                self.state = "deltas"
                self.texts.append("")
                self.annotations = []
                self.said = "refusal" if event["part"]["type"] == "refusal" else "text"
                assert event["part"][self.said] == ""
            case "deltas", [kind, "delta"] if kind == text:
                assert isinstance(event["delta"], str)
                self.texts[-1] += event["delta"]
            case "deltas", [self.text, "annotation", "added"]:
                assert event["annotation_index"] == len(self.annotations)
                self.annotations.append(event["annotation"])
            case "deltas", [kind, "done"] if kind == text:
                self.state = "told"
                assert event[self.said] == self.texts[-1], "told other than in deltas"
            case "told", [self.part, "done"]:
                self.state = "between"
                assert event["part"][self.said] == self.texts[-1]
                assert event["part"].get("annotations", []) == self.annotations
            case _:
                raise AssertionError(f"{name} when {self.state}")
        assert event[self.index] == len(self.texts) - 1
        if name in ("output_text.delta", "output_text.done"):
            assert event["logprobs"] == []

    def end(self, item: Wire) -> None:
        assert self.state == "between", f"ended when {self.state}"
        assert [part.get("text", part.get("refusal")) for part in item[self.listed]] == self.texts


class _Message(_Parts):
    def begin(self, item: Wire) -> None:
        super().begin(item)
        assert (item["status"], item["role"]) == ("in_progress", "assistant")

    def end(self, item: Wire) -> None:
        super().end(item)
        assert all(isinstance(part["annotations"], list) for part in item["content"] if "text" in part)


class _Reasoning(_Parts):
    part, text, index, listed = "reasoning_summary_part", "reasoning_summary_text", "summary_index", "summary"


class _Call(_Judge):
    text, field = "function_call_arguments", "arguments"

    def begin(self, item: Wire) -> None:
        assert (item["status"], item[self.field]) == ("in_progress", "")
        self.item, self.told, self.over = item, "", False
        assert item["name"]
        assert item["call_id"] not in ("", item["id"])

    def inner(self, event: Wire, name: str) -> None:
        assert not self.over
        if name == f"{self.text}.delta":
            assert isinstance(event["delta"], str)
            self.told += event["delta"]
        else:
            assert name == f"{self.text}.done", name
            assert event[self.field] == self.told
            self.over = True

    def end(self, item: Wire) -> None:
        assert self.over
        assert item[self.field] == self.told
        assert {**item, "status": "", self.field: ""} == {**self.item, "status": "", self.field: ""}
        if self.field == "arguments" and item["status"] == "completed":
            assert isinstance(msgspec.json.decode(self.told), dict)


class _CustomCall(_Call):
    text, field = "custom_tool_call_input", "input"


_JUDGES: dict[str, type[_Judge]] = {
    "message": _Message,
    "reasoning": _Reasoning,
    "function_call": _Call,
    "custom_tool_call": _CustomCall,
}
