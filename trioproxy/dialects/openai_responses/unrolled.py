"""A whole response as the stream that it would have been, in the upstream's own words.

For a client that asked for a stream where the upstream, of the same dialect, has answered with one body. Its events in
the one vocabulary know nothing of hosted tools' items, of ids and phases; the body does.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from trioproxy.dialects.openai_responses.ladder import ANNOTATION, Wire

__all__ = ["unrolled"]

# What the texts of a part are told in: the first word of the events, and the part's field.
_TEXTS = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
    "summary_text": ("response.reasoning_summary_text", "text"),
}
# The parts of items: what the item calls them, what their events are called, and what numbers them.
_LISTS = (
    ("summary", "response.reasoning_summary_part", "summary_index"),
    ("content", "response.content_part", "content_index"),
)
# Calls: the first word of the events that tell what they are made with, and the field that has it.
_CALLS = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}
_TOLD_IN_PARTS = frozenset({"message", "reasoning"})
_LATER: Wire = {"status": "in_progress", "usage": None, "output": [], "error": None, "incomplete_details": None}


def unrolled(response: Wire) -> Iterator[Wire]:
    """The events, but for their `sequence_number`. `response` is a body that has been read as an answer."""
    begun = response | _LATER
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    output = response.get("output")
    for place, item in enumerate(output if isinstance(output, list) else ()):
        if isinstance(item, dict):
            yield from _item(place, item)
    end = "incomplete" if response.get("status") == "incomplete" else "completed"
    yield {"type": f"response.{end}", "response": response}


def _item(place: int, item: Wire) -> Iterator[Wire]:
    at: Wire = {"item_id": item.get("id") or "", "output_index": place}
    kind = str(item.get("type"))
    later: Wire = {"status": "in_progress"} if "status" in item else {}
    if kind in _TOLD_IN_PARTS:
        later |= {field: [] for field, _, _ in _LISTS if field in item}
    if kind in _CALLS:
        later[_CALLS[kind][1]] = ""
    yield {"type": "response.output_item.added", "output_index": place, "item": item | later}
    if kind in _TOLD_IN_PARTS:
        for field, name, number in _LISTS:
            parts = item.get(field)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                if isinstance(part, dict):
                    yield from _part(part, name, {**at, number: index})
    if kind in _CALLS:
        name, field = _CALLS[kind]
        yield from _text(name, field, item.get(field) or "", at)
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _part(part: Wire, name: str, at: Wire) -> Iterator[Wire]:
    told, field = _TEXTS.get(str(part.get("type")), ("", ""))
    later: Wire = {key: [] for key in ("annotations", "logprobs") if key in part}
    yield {"type": f"{name}.added", **at, "part": part | later | ({field: ""} if told else {})}
    if told:
        more: Wire = {"logprobs": part.get("logprobs") or []} if told == "response.output_text" else {}
        *delta, done = _text(told, field, part.get(field) or "", {**at, **more})
        annotations = part.get("annotations")
        yield from delta
        for index, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
            yield {"type": ANNOTATION, **at, "annotation_index": index, "annotation": annotation}
        yield done
    yield {"type": f"{name}.done", **at, "part": part}


def _text(name: str, field: str, told: Any, at: Wire) -> list[Wire]:
    """Some give arguments as an object; in a stream they are a text."""
    text = told if isinstance(told, str) else msgspec.json.encode(told).decode()
    delta: list[Wire] = [{"type": f"{name}.delta", **at, "delta": text}] if text else []
    return [*delta, {"type": f"{name}.done", **at, field: text}]
