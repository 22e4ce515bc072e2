"""A scripted OpenAI Chat Completions upstream that refuses what OpenAI refuses: the fake router, in another language.

The fields are those of the API reference (platform.openai.com/docs/api-reference/chat/create) as the official SDK for
Python has them; the words of the refusals are OpenAI's own where they are known.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from . import answers
from .fake_router import FakeRouter, everything
from .wire import Answer, Ending, Pause, Reply, Request, Step, one_write

PATH = "/v1/chat/completions"
MODEL = "gpt-test"
# OpenAI says which snapshot has answered, so this is neither what was asked for nor what the client may be told.
SERVED = "gpt-test-2026-04-01"
# In Anthropic's words: 7 tokens of input, 5 more from the cache.
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 9,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}

Wire = dict[str, Any]


class ChatUpstream(FakeRouter):
    """`script` answers the requests that `scripted` picks; `refused` says what was wrong with what got a refusal."""

    def __init__(self, script: Sequence[Reply] = (), *, scripted: Callable[[Request], bool] = everything) -> None:
        super().__init__(script, scripted=scripted, aside=text("aside"))
        self.refused: list[str] = []

    def answer(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", PATH):
            self.refused.append(f"{request.method} {request.target}")
            return error(404, f"Invalid URL ({request.method} {request.target})")(request)
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        if fault := next(faults(body), None):
            self.refused.append(fault)
            return error(400, fault)(request)
        if body["model"] != MODEL:
            self.refused.append(f"model {body['model']!r}")
            words = f"The model `{body['model']}` does not exist or you do not have access to it."
            return error(404, words, code="model_not_found")(request)
        return super().answer(request)


# ── what it says ────────────────────────────────────────────────────────────────────────────────────────────────────


def chunk(delta: Wire | None, finish: str | None = None, **fields: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return _data(_head("chat.completion.chunk") | {"choices": choices, "usage": None, "obfuscation": "x9Qk"} | fields)


def _data(wire: Wire) -> bytes:
    return f"data: {json.dumps(wire, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def _head(kind: str) -> Wire:
    return {
        "id": "chatcmpl-Fake1",
        "object": kind,
        "created": 1790000000,
        "model": SERVED,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


START = chunk({"role": "assistant", "content": "", "refusal": None})
USED = chunk(None, usage=USAGE)
DONE = b"data: [DONE]\n\n"


def words(answer: str, key: str = "content") -> list[bytes]:
    """The text word by word, so that a client that loses one delta shows it."""
    return [chunk({key: part}) for part in re.findall(r"\s*\S+", answer)]


def call(number: int, name: str, arguments: Wire) -> Wire:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_Fake{number}abcdefghijklmnop", "type": "function", "function": function}


def call_pieces(calls: Sequence[Wire]) -> list[bytes]:
    """Id and name, then pieces of the arguments, by turns: one of the first call, one of the second, and so on."""
    fragments = []
    for index, made in enumerate(calls):
        arguments = made["function"]["arguments"]
        named = made | {"function": {"name": made["function"]["name"], "arguments": ""}}
        pieces = [{"function": {"arguments": arguments[at : at + 7]}} for at in range(0, len(arguments), 7)]
        fragments.append([{"index": index} | piece for piece in [named, *pieces]])
    rounds = itertools.zip_longest(*fragments)
    return [chunk({"tool_calls": [piece]}) for pieces in rounds for piece in pieces if piece is not None]


def answer(text: str = "", *, reasoning: str = "", calls: Sequence[Wire] = ()) -> Reply:
    """A whole answer, as a stream or not, with usage only where it is asked for: as OpenAI does it."""
    finish = "tool_calls" if calls else "stop"

    def reply(request: Request) -> Answer:
        if request.wants_stream:
            said = [*words(reasoning, "reasoning_content"), *words(text), *call_pieces(calls), chunk({}, finish)]
            counted = [USED] if (request.json.get("stream_options") or {}).get("include_usage") else []
            return answers.sse(one_write([START, *said, *counted, DONE]))
        message: Wire = {"role": "assistant", "content": text or None, "refusal": None, "annotations": []}
        message |= {"reasoning_content": reasoning} if reasoning else {}
        message |= {"tool_calls": list(calls)} if calls else {}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return answers.json_answer(_head("chat.completion") | {"choices": [choice], "usage": USAGE})

    return reply


def text(said: str = answers.REAL) -> Reply:
    return answer(said)


def broken(begun: Sequence[bytes], *behind: bytes, ending: Ending = "finished") -> Reply:
    """A stream that begins as an answer and does not end as one."""
    # The pause lets the beginning arrive, as a reset may overtake it.
    steps: list[Step] = [b"".join([START, *begun]), Pause(0.1), *behind] if begun else list(behind)
    return answers.always(answers.sse(steps, ending=ending))


def error_body(words: str, kind: str, code: str | None) -> Wire:
    return {"error": {"message": words, "type": kind, "param": None, "code": code}}


def error_event(words: str, kind: str, code: str | None = None) -> bytes:
    return _data(error_body(words, kind, code))


def error(
    status: int, words: str, *headers: tuple[str, str], kind: str = "invalid_request_error", code: str | None = None
) -> Reply:
    return answers.always(answers.json_answer(error_body(words, kind, code), status=status, headers=headers))


# ── what it takes ───────────────────────────────────────────────────────────────────────────────────────────────────

_FIELDS = {
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "messages", "metadata", "modalities", "model", "moderation", "n", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
    "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options",
    "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
}  # fmt: skip
_MESSAGES = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "audio", "tool_calls", "function_call"},
    "tool": {"role", "content", "tool_call_id"},
}
# type of a part → its keys, and who may say it
_PARTS = {
    "text": ({"type", "text", "prompt_cache_breakpoint"}, set(_MESSAGES)),
    "image_url": ({"type", "image_url", "prompt_cache_breakpoint"}, {"user"}),
    "input_audio": ({"type", "input_audio", "prompt_cache_breakpoint"}, {"user"}),
    "file": ({"type", "file", "prompt_cache_breakpoint"}, {"user"}),
    "refusal": ({"type", "refusal"}, {"assistant"}),
}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID_LENGTH = 40
_TOOLS = 128
_NUMBERS = {"temperature": (0, 2), "top_p": (0, 1), "max_tokens": (1, 10**9), "max_completion_tokens": (1, 10**9)}
_EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
_IDENTIFIERS = {"user": 10**6, "safety_identifier": 64, "prompt_cache_key": 64}


def faults(body: Any) -> Iterator[str]:
    """What OpenAI would refuse a request for; nothing where it would answer."""
    if not isinstance(body, dict):
        yield "We could not parse the JSON body of your request."
        return
    for key in body:
        if key not in _FIELDS:
            yield f"Unrecognized request argument supplied: {key}"
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "you must provide a model parameter"
    yield from _options(body)
    yield from _tools(body)
    yield from _messages(body.get("messages"))


def _unknown(wire: Wire, known: set[str], path: str) -> Iterator[str]:
    yield from (f"Unknown parameter: '{path}.{key}'." for key in wire if key not in known)


def _options(body: Wire) -> Iterator[str]:
    for key, (least, most) in _NUMBERS.items():
        value = body.get(key)
        if value is not None and (type(value) not in {int, float} or not least <= value <= most):
            yield f"Invalid value for '{key}': {value!r}."
    for key, length in _IDENTIFIERS.items():
        if key in body and not (isinstance(body[key], str) and len(body[key]) <= length):
            yield f"Invalid '{key}': expected a string with maximum length {length}."
    if body.get("reasoning_effort") not in {None, *_EFFORTS}:
        yield f"Invalid value: '{body['reasoning_effort']}'. Supported values are: {sorted(_EFFORTS)}."
    stop = body.get("stop")
    if stop is not None and not isinstance(stop, str) and not (isinstance(stop, list) and 1 <= len(stop) <= 4):
        yield "Invalid 'stop': expected a string or an array of 1 to 4 strings."
    options = body.get("stream_options")
    if options is not None and body.get("stream") is not True:
        yield "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    yield from _unknown(options or {}, {"include_usage", "include_obfuscation"}, "stream_options")
    metadata = body.get("metadata") or {}
    if len(metadata) > 16 or not all(isinstance(value, str) and len(value) <= 512 for value in metadata.values()):
        yield "Invalid 'metadata': at most 16 strings with maximum length 512."
    yield from _response_format(body.get("response_format") or {"type": "text"})


def _response_format(form: Wire) -> Iterator[str]:
    if form.get("type") != "json_schema":
        yield from _unknown(form, {"type"}, "response_format")
        if form.get("type") not in {"text", "json_object"}:
            yield f"Invalid 'response_format.type': '{form.get('type')}'."
        return
    yield from _unknown(form, {"type", "json_schema"}, "response_format")
    described = form.get("json_schema") or {}
    yield from _unknown(described, {"name", "description", "schema", "strict"}, "response_format.json_schema")
    if not _NAME.fullmatch(str(described.get("name", ""))):
        yield "Invalid 'response_format.json_schema.name': string does not match pattern."
    yield from _schema(described.get("schema", {"type": "object"}), "response_format 'answer'")


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tools(body: Wire) -> Iterator[str]:
    tools = body.get("tools")
    if tools is None:
        for key in ("tool_choice", "parallel_tool_calls"):
            if body.get(key) is not None:
                yield f"'{key}' is only allowed when 'tools' are specified."
        return
    if not isinstance(tools, list) or not tools:
        yield f"{tools} is too short - 'tools'"
        return
    if len(tools) > _TOOLS:
        yield f"Invalid 'tools': array too long. Expected at most {_TOOLS}."
    names = set()
    for number, tool in enumerate(tools):
        path = f"tools[{number}]"
        yield from _unknown(tool, {"type", "function"}, path)
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, dict):
            yield f"Missing required parameter: '{path}.function'."
            continue
        yield from _function(function, f"{path}.function")
        if function.get("name") in names:
            # OpenAI is not known to refuse this; many who are compatible do, and which is called nobody can tell.
            yield f"{path}.function.name: '{function['name']}' is there twice"
        names.add(function.get("name"))
    yield from _choice(body.get("tool_choice", "auto"), names)


def _function(function: Wire, path: str) -> Iterator[str]:
    yield from _unknown(function, {"name", "description", "parameters", "strict"}, path)
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"Invalid '{path}.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]{{1,64}}$'."
    if not isinstance(function.get("description", ""), str):
        yield f"Invalid type for '{path}.description': expected a string."
    if not isinstance(function.get("strict", False), bool | None):
        yield f"Invalid type for '{path}.strict': expected a boolean."
    parameters = function.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(parameters, dict):
        yield f"Invalid type for '{path}.parameters': expected an object."
        return
    yield from _schema(parameters, f"function '{name}'")


def _schema(schema: Wire, whose: str) -> Iterator[str]:
    if schema.get("type") != "object":
        kind = schema.get("type")
        yield f"Invalid schema for {whose}: schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    elif not schema.keys() & {"properties", "$ref", "anyOf", "oneOf", "allOf"}:
        yield f"Invalid schema for {whose}: In context=(), object schema missing properties."
    for each in _inner(schema):
        if isinstance(each, dict) and each.get("type") == "array" and "items" not in each:
            yield f"Invalid schema for {whose}: array schema missing items."


def _inner(schema: Any) -> Iterator[Any]:
    """The schema and all within it."""
    yield schema
    if isinstance(schema, dict):
        nested = [*(schema.get("properties") or {}).values(), *(schema.get("anyOf") or ())]
        nested += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
        for each in nested:
            yield from _inner(each)


def _choice(choice: Any, names: set[Any]) -> Iterator[str]:
    if isinstance(choice, str):
        if choice not in {"auto", "none", "required"}:
            yield f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'."
        return
    named = choice.get("function") if isinstance(choice, dict) and choice.keys() == {"type", "function"} else None
    if not isinstance(named, dict) or named.keys() != {"name"} or choice["type"] != "function":
        yield "Invalid type for 'tool_choice'."
    elif named["name"] not in names:
        yield f"Tool choice '{named['name']}' not found in 'tools' parameter."


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _messages(messages: Any) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield "Invalid 'messages': empty array. Expected an array with minimum length 1."
        return
    waiting: set[str] = set()
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _MESSAGES:
            yield f"Invalid value: '{role}'. Supported values are: {sorted(_MESSAGES)}."
            continue
        yield from _unknown(message, _MESSAGES[role], path)
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                yield (
                    f"Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                    f" 'tool_calls' ({path})."
                )
            waiting.discard(message.get("tool_call_id"))
        elif waiting:
            yield _unanswered(waiting)
            waiting = set()
        calls = message.get("tool_calls")
        yield from _content(message.get("content"), role, path, optional=bool(calls))
        if calls is not None:
            yield from _calls(calls, f"{path}.tool_calls")
            waiting = {made.get("id") for made in calls}
    if waiting:
        yield _unanswered(waiting)


def _unanswered(waiting: Iterable[str]) -> str:
    return (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
        f" The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}"
    )


def _content(content: Any, role: str, path: str, *, optional: bool) -> Iterator[str]:
    if isinstance(content, str) or (content is None and optional):
        return
    if not isinstance(content, list) or not content:
        yield f"Invalid value for 'content': expected a string, got {json.dumps(content)[:40]} ({path})."
        return
    for part in content:
        keys, roles = _PARTS.get(str(part.get("type")) if isinstance(part, dict) else "", (set(), set()))
        if role not in roles:
            yield f"Invalid value: {json.dumps(part)[:80]} in '{path}.content'."
            continue
        yield from _unknown(part, keys, f"{path}.content[]")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            yield f"Missing required parameter: '{path}.content[].text'."


def _calls(calls: Any, path: str) -> Iterator[str]:
    if not isinstance(calls, list) or not calls:
        yield f"{calls} is too short - '{path}'"
        return
    if len({made.get("id") for made in calls}) < len(calls):
        yield f"{path}: two calls have the same id"
    for made in calls:
        yield from _unknown(made, {"id", "type", "function"}, f"{path}[]")
        function = made.get("function") or {}
        yield from _unknown(function, {"name", "arguments"}, f"{path}[].function")
        if not isinstance(made.get("id"), str) or not 0 < len(made["id"]) <= _CALL_ID_LENGTH:
            yield f"Invalid '{path}[].id': string too long. Expected a string with maximum length {_CALL_ID_LENGTH}."
        if made.get("type") != "function" or not _NAME.fullmatch(str(function.get("name", ""))):
            yield f"Invalid '{path}[].function.name': string does not match pattern."
        if not _is_object(function.get("arguments")):
            # OpenAI takes any string here; servers with a chat template decode it and fail.
            yield f"Invalid '{path}[].function.arguments': expected a JSON object in a string."


def _is_object(arguments: Any) -> bool:
    try:
        return isinstance(arguments, str) and isinstance(json.loads(arguments), dict)
    except ValueError:
        return False
