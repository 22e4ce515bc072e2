"""What the OpenAI Responses API refuses about the items of a conversation, alone and in their order."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .responses_tools import offered_faults
from .responses_words import Wire, bad_name, json_kind, too_long, unknown_keys, unsupported


@dataclass
class Past:
    """What an upstream has given out, and may be asked to take back."""

    seals: dict[str, str] = field(default_factory=dict)
    """Every encrypted content, and the id of the item that it is of."""
    next: dict[str, Wire] = field(default_factory=dict)
    """Id of a reasoning item → the item that it led to."""
    thought: dict[str, str] = field(default_factory=dict)
    """Id of an item → id of the reasoning item that led to it."""
    stored: set[str] = field(default_factory=set)
    """Ids of the items that were kept, not being asked to forget them (`store`)."""


_EVERY = {"type", "id", "internal_chat_message_metadata_passthrough"}
_ITEMS: dict[str, tuple[str, set[str], set[str]]] = {
    # type → how its ids begin, what it may have, what of this must be there
    "message": ("msg", {"role", "content", "status", "phase"}, {"content"}),
    "function_call": (
        "fc", {"call_id", "name", "namespace", "arguments", "status", "caller"}, {"call_id", "name", "arguments"}
    ),
    "function_call_output": ("fc", {"call_id", "output", "status", "caller"}, {"call_id", "output"}),
    "custom_tool_call": (
        "ctc", {"call_id", "name", "namespace", "input", "status", "caller"}, {"call_id", "name", "input"}
    ),
    "custom_tool_call_output": ("ctc", {"call_id", "output", "status", "caller"}, {"call_id", "output"}),
    # Its `status` the API gives and does not take (jcode#1028).
    "reasoning": ("rs", {"summary", "content", "encrypted_content"}, {"summary"}),
    "additional_tools": ("at", {"role", "tools"}, {"role", "tools"}),
    # Two in no reference that Codex sends.
    "configuration_update": ("", {"reasoning"}, {"reasoning"}),
    "compaction_trigger": ("", set(), set()),
}  # fmt: skip
_CALLS = {"function_call": "function call", "custom_tool_call": "custom tool call"}
_ROLES = ("assistant", "system", "developer", "user")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID_LENGTH = 64


def input_faults(body: Wire, past: Past) -> Iterator[str]:
    given = body.get("input")
    if body.get("previous_response_id") is not None:
        yield f"Previous response with id '{body['previous_response_id']}' not found."
    if not given or not isinstance(given, str | list):
        yield "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."
        return
    if isinstance(given, str):
        return
    items: list[tuple[str, Wire]] = []
    for number, item in enumerate(given):
        path = f"input[{number}]"
        if not isinstance(item, dict):
            yield f"Invalid type for '{path}': expected an object, but got {json_kind(item)} instead."
            return
        typed = item if "type" in item or "role" not in item else {"type": "message"} | item
        broken = list(_item(typed, path))
        yield from broken
        if broken:
            return
        items.append((path, typed))
    yield from _ids(items)
    yield from _pairs(items)
    yield from _thoughts(items, past)


def _item(item: Wire, path: str) -> Iterator[str]:
    kind = item.get("type")
    if kind not in _ITEMS:
        yield from unsupported(kind, tuple(_ITEMS), path)
        return
    prefix, known, needed = _ITEMS[kind]
    yield from unknown_keys(item, known | _EVERY, path)
    yield from (f"Missing required parameter: '{path}.{key}'." for key in needed if item.get(key) is None)
    id = item.get("id")
    if id is not None and not str(id).startswith(prefix):
        yield f"Invalid '{path}.id': '{id}'. Expected an ID that begins with '{prefix}'."
    elif id is not None and not _ID.fullmatch(str(id)):
        yield (
            f"Invalid '{path}.id': '{id}'. Expected an ID that contains letters, numbers, underscores, or dashes, but"
            " this value contained additional characters."
        )
    if "status" in item and item["status"] is not None:
        yield from unsupported(item["status"], ("in_progress", "completed", "incomplete"), path)
    if "call_id" in item:
        yield from too_long(item["call_id"], f"{path}.call_id", _CALL_ID_LENGTH)
    if kind in _OF_ITEM and not needed - item.keys():
        yield from _OF_ITEM[kind](item, path)


def _message(item: Wire, path: str) -> Iterator[str]:
    role, content = item.get("role"), item["content"]
    yield from unsupported(role, _ROLES, path)
    if isinstance(content, str) or role not in _ROLES:
        return
    if not isinstance(content, list):
        kinds = "expected one of an array of objects or string"
        yield f"Invalid type for '{path}.content': {kinds}, but got {json_kind(content)} instead."
        return
    if not content and role != "assistant":
        yield f"Invalid '{path}.content': empty array. Expected an array with minimum length 1."
    if item.get("phase") is not None and role != "assistant":
        yield f"Unknown parameter: '{path}.phase'."
    yield from _parts(content, f"{path}.content", _SAID if role == "assistant" else _TOLD)


def _call(item: Wire, path: str) -> Iterator[str]:
    yield from bad_name(item["name"], f"{path}.name")
    if item["type"] == "custom_tool_call":
        yield from too_long(item["input"], f"{path}.input", 10**7)
        return
    try:
        fine = isinstance(json.loads(item["arguments"]), dict)
    except (TypeError, ValueError):
        fine = False
    if not fine:
        # OpenAI takes any string here; servers with a chat template decode it and fail.
        yield f"Invalid '{path}.arguments': expected a JSON object in a string."


def _output(item: Wire, path: str) -> Iterator[str]:
    output = item["output"]
    if isinstance(output, list) and output:
        yield from _parts(output, f"{path}.output", _TOLD)
    elif not isinstance(output, str):
        kinds = "expected one of an array of objects or string"
        yield f"Invalid type for '{path}.output': {kinds}, but got {json_kind(output)} instead."


def _thought(item: Wire, path: str) -> Iterator[str]:
    if item.get("content"):
        yield (
            f"Invalid '{path}.content': array too long. Expected an array with maximum length 0, but got an array with"
            f" length {len(item['content'])} instead."
        )
    for number, part in enumerate(item["summary"]):
        yield from unsupported(part.get("type"), ("summary_text",), f"{path}.summary[{number}]")
        yield from unknown_keys(part, {"type", "text"}, f"{path}.summary[{number}]")


def _additional(item: Wire, path: str) -> Iterator[str]:
    yield from unsupported(item["role"], ("developer",), path)
    yield from offered_faults(item["tools"], f"{path}.tools")


_OF_ITEM: Mapping[str, Callable[[Wire, str], Iterator[str]]] = {
    "message": _message,
    "function_call": _call,
    "custom_tool_call": _call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "reasoning": _thought,
    "additional_tools": _additional,
}


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_TOLD = {
    "input_text": {"type", "text", "prompt_cache_breakpoint"},
    "input_image": {"type", "image_url", "file_id", "detail", "prompt_cache_breakpoint"},
    "input_file": {"type", "file_data", "file_id", "file_url", "filename", "detail", "prompt_cache_breakpoint"},
}
_SAID = {"output_text": {"type", "text", "annotations", "logprobs"}, "refusal": {"type", "refusal"}}
_TEXTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)
_PICTURES = {"image/png", "image/jpeg", "image/webp", "image/gif"}
_EXAMPLE = "(e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU=')"


def _parts(parts: Iterable[Any], path: str, kinds: Mapping[str, set[str]]) -> Iterator[str]:
    for number, part in enumerate(parts):
        where = f"{path}[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind is None:
            yield f"Missing required parameter: '{where}.type'."
            continue
        yield from unsupported(kind, tuple(kinds), where)
        if kind not in kinds:
            continue
        yield from unknown_keys(part, kinds[kind], where)
        if kind in _TEXTS:
            if not isinstance(part.get(_TEXTS[kind]), str):
                yield f"Missing required parameter: '{where}.{_TEXTS[kind]}'."
        elif part.get("file_id") is None:
            yield from _picture(part, where) if kind == "input_image" else _file(part, where)


def _picture(part: Wire, where: str) -> Iterator[str]:
    url = part.get("image_url")
    if not isinstance(url, str):
        yield f"Invalid type for '{where}.image_url': expected an image URL, but got {json_kind(url)} instead."
    elif data := _DATA_URL.fullmatch(url):
        begun = f"Invalid '{where}.image_url'. Expected a base64-encoded data URL with an image MIME type {_EXAMPLE},"
        if data[1] not in _PICTURES:
            yield f"{begun} but got unsupported MIME type '{data[1]}'."
        elif not _is_base64(data[2]):
            yield f"{begun} but got an invalid base64-encoded value."
    elif not url.startswith(("https://", "http://")):
        yield f"Invalid '{where}.image_url'. Expected a valid URL, but got a value with an invalid format."
    yield from unsupported(part.get("detail", "auto"), ("auto", "low", "high", "original"))


def _file(part: Wire, where: str) -> Iterator[str]:
    data = part.get("file_data")
    if data is None:
        if part.get("file_url") is None:
            yield f"Missing required parameter: '{where}.file_id'."
        return
    found = _DATA_URL.fullmatch(str(data))
    if not found or not _is_base64(found[2]):
        yield (
            f"Invalid file data: '{where}.file_data'. Expected a base64-encoded data URL with a valid file MIME type"
            " (e.g. 'data:text/plain;base64,SGVsbG8sIFdvcmxkIQ==')."
        )
    if not part.get("filename"):
        yield f"Missing required parameter: '{where}.filename'."


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


# ── what stands where ───────────────────────────────────────────────────────────────────────────────────────────────


def _ids(items: list[tuple[str, Wire]]) -> Iterator[str]:
    seen: set[str] = set()
    for _, item in items:
        if item.get("id") in seen:
            yield f"Duplicate item found with id {item['id']}. Remove duplicate items from your input and try again."
        seen |= {item["id"]} if item.get("id") else set()


def _pairs(items: list[tuple[str, Wire]]) -> Iterator[str]:
    """Every call has its output behind it, and no output is without its call."""
    waiting: dict[str, str] = {}
    made: set[str] = set()
    for path, item in items:
        kind = item["type"]
        if kind in _CALLS:
            if item["call_id"] in made:
                # Bedrock's models do this themselves, in different turns; which call an output is of they guess.
                yield f"{path}.call_id: '{item['call_id']}' is there twice"
            made.add(item["call_id"])
            waiting[item["call_id"]] = kind
        elif (call := kind.removesuffix("_output")) in _CALLS:
            if waiting.pop(item["call_id"], None) != call:
                yield f"No tool call found for {_CALLS[call]} output with call_id {item['call_id']}."
        elif kind == "message" and waiting:
            # DeepSeek refuses this; OpenAI only misses the output at the end.
            break
    yield from (f"No tool output found for {_CALLS[kind]} {id}." for id, kind in waiting.items())


def _thoughts(items: list[tuple[str, Wire]], past: Past) -> Iterator[str]:
    """A reasoning item is as it was given out and leads to what it led to; what it led to is not without it."""
    there = {item.get("id") for _, item in items}
    for (_, item), (_, after) in zip(items, [*items[1:], ("", {})], strict=True):
        id = item.get("id")
        if item["type"] == "reasoning":
            yield from _seal(item, past)
            if not _leads_to(past.next.get(str(id)), after):
                yield f"Item '{id}' of type 'reasoning' was provided without its required following item."
        elif (thought := past.thought.get(str(id))) and thought not in there:
            said = f"Item '{id}' of type '{item['type']}' was provided"
            yield f"{said} without its required 'reasoning' item: '{thought}'."


def _seal(item: Wire, past: Past) -> Iterator[str]:
    sealed, id = item.get("encrypted_content"), item.get("id")
    if sealed is None:
        if id not in past.stored:
            yield (
                f"Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with"
                " `store` set to true, or remove this item from your input."
            )
    elif sealed not in past.seals:
        yield (
            f"The encrypted content for item {id} could not be verified. Reason: Encrypted content could not be"
            " decrypted or parsed."
        )
    elif id is not None and past.seals[sealed] != id:
        yield (
            f"The encrypted content for item {id} could not be verified. Reason: Encrypted content item_id did not"
            " match the target item id."
        )


def _leads_to(made: Wire | None, after: Wire) -> bool:
    kind = after.get("type")
    if made is None:
        return kind in {*_CALLS, "reasoning"} or after.get("role") == "assistant"
    if kind != made["type"]:
        return False
    if kind in _CALLS:
        return bool(after["call_id"] == made["call_id"])
    return kind != "message" or bool(after["role"] == "assistant")
