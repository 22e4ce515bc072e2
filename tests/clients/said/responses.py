"""What an answer says in the words of OpenAI's Responses.

Its items stand in the stream up to three times: in pieces, whole at their end, and in the response that ends it. Which
is why a recording can be held against itself, and a stream of our making too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from . import Call, Counts, Other, Part, Said, Wire

ENDS = ("response.completed", "response.incomplete")
FAILS = ("error", "response.failed")
CALLS = ("function_call", "custom_tool_call")

# Events that tell a piece of an item: the item's field, and what numbers the pieces of a list.
PIECES = {
    "response.output_text.delta": ("content", "content_index"),
    "response.refusal.delta": ("content", "content_index"),
    "response.reasoning_text.delta": ("content", "content_index"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.function_call_arguments.delta": ("arguments", ""),
    "response.custom_tool_call_input.delta": ("input", ""),
}


@dataclass
class Streamed:
    """An answer's stream up to its end."""

    items: dict[int, Wire] = field(default_factory=dict)  # as told at their end, by `output_index`
    pieces: dict[tuple[int, str, int], str] = field(default_factory=dict)  # joined
    urls: dict[int, list[str]] = field(default_factory=dict)  # of the annotations told on their own
    response: Wire | None = None  # the one that ends it
    failed: bool = False

    @property
    def output(self) -> list[Wire]:
        """What the last word says; ChatGPT's backend says nothing there (wire-facts 3)."""
        told = (self.response or {}).get("output")
        return told or [self.items[index] for index in sorted(self.items)]

    def read(self, event: Wire) -> None:
        """Items are known by their `output_index`: the ids of Copilot's change with every event."""
        kind = event["type"]
        if kind in FAILS:
            self.failed = True
        elif kind in ENDS:
            self.response = event["response"]
        elif kind == "response.output_item.done":
            self.items[event["output_index"]] = event["item"]
        elif kind == "response.output_text.annotation.added" and event["annotation"]["type"] == "url_citation":
            self.urls.setdefault(event["output_index"], []).append(event["annotation"]["url"])
        elif kind in PIECES:
            where, number = PIECES[kind]
            key = event["output_index"], where, event[number] if number else 0
            self.pieces[key] = self.pieces.get(key, "") + event["delta"]


def streamed(events: Iterable[Wire]) -> list[Streamed]:
    """The answers of a stream: a router may send one after the other (M0), and one recording does."""
    answers = [Streamed()]
    try:
        for event in events:
            if event["type"] == "response.created" and answers[-1].response:
                answers.append(Streamed())
            answers[-1].read(event)
    except ValueError:  # no JSON: the answer is broken
        answers[-1].failed = True
    for answer in answers:
        answer.failed = answer.failed or answer.response is None  # it is cut off (H026)
    return answers


def disagreements(stream: Streamed, *, every: bool) -> list[str]:
    """Where a stream does not say the same each time it says something. `every`: in pieces too, whatever has a text."""
    found = [
        f"item {index} has pieces and no end"
        for index in {key[0] for key in stream.pieces}
        if index not in stream.items
    ]
    texts = {(index, *key): text for index, item in stream.items.items() for key, text in _texts(item).items()}
    for key in texts.keys() | stream.pieces.keys() if every else stream.pieces.keys():
        if texts.get(key, "") != stream.pieces.get(key, ""):
            found.append(f"{key}: in pieces {stream.pieces.get(key)!r:.200}, at the end {texts.get(key)!r:.200}")
    for index, item in stream.items.items():
        if (every or index in stream.urls) and _urls(item) != stream.urls.get(index, []):
            found.append(f"item {index}: cites {stream.urls.get(index)}, at the end {_urls(item)}")
    ends = [_told(item) for _, item in sorted(stream.items.items())]
    last = [_told(item) for item in (stream.response or {}).get("output") or ()]
    if ends != last and (every or last):
        found.append(f"the items end as {ends!r:.500}, and are {last!r:.500} in the end")
    return found


def _texts(item: Wire) -> dict[tuple[str, int], str]:
    """What of an item comes in pieces."""
    texts: dict[tuple[str, int], str] = {}
    if item["type"] in CALLS:
        texts = {(where, 0): item[where] for where in ("arguments", "input") if where in item}
    for where in ("content", "summary") if item["type"] in ("message", "reasoning") else ():
        texts |= {(where, index): _text(part) for index, part in enumerate(item.get(where) or ())}
    return {key: text for key, text in texts.items() if text}


def _text(part: Wire) -> str:
    return str(part["refusal"] if part["type"] == "refusal" else part["text"])


def _told(item: Wire) -> tuple[object, ...]:
    """What has to be the same wherever an item stands."""
    return item["type"], item.get("call_id"), item.get("name"), _texts(item), _urls(item)


def said_by_events(events: Iterable[Wire]) -> Said:
    """Several answers make one (M0)."""
    answer = Said()
    for stream in streamed(events):
        if stream.failed or stream.response is None:
            return Said(failed=True)
        told = said_by_response(stream.response | {"output": [_as_heard(stream, item) for item in stream.output]})
        parts, urls, seals = answer.parts + told.parts, answer.urls + told.urls, answer.seals + told.seals
        answer = replace(told, parts=parts, urls=urls, seals=seals)
    return answer


def _as_heard(stream: Streamed, item: Wire) -> Wire:
    """An item whose end says other than its pieces, which one recording's were shortened to: they have been heard."""
    index = next(index for index, each in stream.items.items() if _told(each) == _told(item))
    parts = [
        part
        if _text(part).startswith(told := stream.pieces.get((index, "content", number), ""))
        else {**part, "text": told}
        for number, part in enumerate(item.get("content") or ())
    ]
    return item | {"content": parts} if parts else item


def said_by_response(response: Wire) -> Said:
    """One that is still in the making, in the background, or not a response at all, is no answer."""
    # "complete" is the word of a recording that was edited by hand.
    if response.get("status") not in ("completed", "complete", "incomplete") or response.get("error"):
        return Said(failed=True)
    output = response["output"]
    answer = Said([part for item in output for part in _parts(item)])
    answer.stop = (response.get("incomplete_details") or {}).get("reason") or "completed"
    answer.usage = _counts(response["usage"]) if response.get("usage") else None
    answer.urls = [url for item in output for url in _urls(item)]
    answer.seals = sum(bool(item.get("encrypted_content")) for item in output if item["type"] == "reasoning")
    return answer


def _parts(item: Wire) -> list[Part]:
    match item["type"]:
        case "message":
            return [("text", _text(part)) for part in item["content"]]
        case "reasoning":  # one block, whatever it is made of (H079, H150e)
            summary = "\n\n".join(part["text"] for part in item["summary"])
            text = summary or "\n\n".join(part["text"] for part in item.get("content") or ())
            if text.strip():
                return [("thinking", text)]
            return [("sealed", "")] if item.get("encrypted_content") else []
        case "function_call":
            return [Call(item["call_id"], flat(item.get("namespace"), item["name"]), item["arguments"])]
        case "custom_tool_call":
            name = flat(item.get("namespace"), item["name"])
            return [Call(item["call_id"], name, json.dumps({"input": item["input"]}))]
        case kind:
            return [Other(kind)]


def flat(namespace: str | None, name: str) -> str:
    """The name for clients that know no namespaces, by Codex's own habit."""
    if namespace in (None, "", "functions"):
        return name
    return f"{namespace}{name}" if namespace.endswith("_") else f"{namespace}__{name}"


def _urls(item: Wire) -> list[str]:
    parts = item["content"] if item["type"] == "message" else ()
    annotations = [each for part in parts for each in part.get("annotations") or ()]
    return [each["url"] for each in annotations if each["type"] == "url_citation"]


def _counts(usage: Wire) -> Counts:
    inside, outside = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    counts = usage["input_tokens"], usage["output_tokens"], inside.get("cached_tokens") or 0
    return Counts(*counts, inside.get("cache_write_tokens") or 0, outside.get("reasoning_tokens") or 0)
