"""A scripted OpenAI Responses upstream that refuses what OpenAI refuses: the fake router, in a third language.

It plays a model: its script says what it thinks, says and calls in each answer, and how an answer breaks. What it
thought it seals (`encrypted_content`), and whatever comes back unlike that is refused. The order of its events and
their fields are those of recordings of the API.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from . import answers
from .fake_router import FakeRouter, everything
from .responses_input import Past
from .responses_rules import MODELS, faults
from .responses_words import Wire
from .wire import Answer, Ending, Pause, Request, Step, one_write

PATH = "/v1/responses"
MODEL = "gpt-5.4"
# OpenAI says which snapshot has answered, so this is neither what was asked for nor what the client may be told.
SERVED = {MODEL: "gpt-5.4-2026-04-01"}
# In Anthropic's words: 7 tokens of input, 5 more from the cache.
USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 5},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 21,
}
CONTEXT_TOO_LONG = "Your input exceeds the context window of this model. Please adjust your input and try again."

# ── the script ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Think:
    """A reasoning item; what it says is told only to those who ask for a summary."""

    summary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Call:
    name: str
    arguments: Wire = field(default_factory=dict)
    namespace: str | None = None


@dataclass(frozen=True)
class Write:
    """A call of a custom tool: its input is text, not JSON."""

    name: str
    input: str
    namespace: str | None = None


Part = Think | Say | Call | Write
Play = Callable[["Voice", Request], Answer]


def says(*parts: Part, incomplete: str | None = None) -> Play:
    """A whole answer, as a stream or not; `incomplete` is why it ends too early, if it does."""

    def play(voice: Voice, request: Request) -> Answer:
        body: Wire = request.json
        items = voice.items(parts, body, cut=incomplete is not None)
        response = voice.response(body, "incomplete" if incomplete else "completed", items)
        if incomplete:
            response["incomplete_details"] = {"reason": incomplete}
        if not request.wants_stream:
            return answers.json_answer(response)
        return answers.sse(one_write(_numbered([*_begun(response), *_told(items), _ended(response)], body)))

    return play


def breaks(*parts: Part, less: int = 2, failed: Wire | None = None, ending: Ending = "finished") -> Play:
    """A stream that begins as an answer and does not end as one: `less` are the last events that do not come any more.

    `failed`, an error, comes instead of them, told twice as OpenAI does.
    """

    def play(voice: Voice, request: Request) -> Answer:
        body: Wire = request.json
        items = voice.items(parts, body)
        response = voice.response(body, "completed", items)
        told = list(_told(items))
        events = [*_begun(response), *told[: max(0, len(told) - less)]]
        behind: list[Wire] = []
        if failed is not None:
            error = {"code": failed["code"], "message": failed["message"]}
            over = response | {"status": "failed", "error": error, "output": [], "usage": None}
            behind = [{"type": "error", "error": failed}, {"type": "response.failed", "response": over}]
        frames = _numbered([*events, *behind], body)
        # The pause lets the beginning arrive, as a reset may overtake it.
        steps: list[Step] = [b"".join(frames[: len(events)]), Pause(0.1), b"".join(frames[len(events) :])]
        return answers.sse([step for step in steps if step], ending=ending)

    return play


def fails(
    status: int, words: str, *headers: tuple[str, str], kind: str = "invalid_request_error", code: str | None = None
) -> Play:
    body = {"error": error_object(words, kind, code)}
    return lambda _voice, _request: answers.json_answer(body, status=status, headers=headers)


def error_object(words: str, kind: str, code: str | None = None) -> Wire:
    return {"type": kind, "code": code, "message": words, "param": None}


# ── who plays it ────────────────────────────────────────────────────────────────────────────────────────────────────


class ResponsesUpstream(FakeRouter):
    """`script` answers the requests that `scripted` picks; `refused` says what was wrong with what got a refusal."""

    def __init__(self, script: Sequence[Play] = (), *, scripted: Callable[[Request], bool] = everything) -> None:
        self.voice = Voice()
        plays = [partial(play, self.voice) for play in script]
        super().__init__(plays, scripted=scripted, aside=partial(says(Say("aside")), self.voice))
        self.refused: list[str] = []
        self._one_at_a_time = threading.Lock()

    def answer(self, request: Request) -> Answer:
        with self._one_at_a_time:
            if request.header("upgrade"):
                # Codex goes on with POST at once after this one, and after five attempts otherwise.
                return self._refuse(426, "Upgrade Required")(self.voice, request)
            if (request.method, request.path) != ("POST", PATH):
                return self._refuse(404, f"Invalid URL ({request.method} {request.target})")(self.voice, request)
            try:
                body = json.loads(request.body)
            except ValueError:
                body = None
            if fault := next(faults(body, self.voice.past), None):
                return self._refuse(400, fault)(self.voice, request)
            return super().answer(request)

    def _refuse(self, status: int, words: str) -> Play:
        self.refused.append(words)
        return fails(status, words)


class Voice:
    """Makes what is given out, and remembers it."""

    def __init__(self) -> None:
        self.past = Past()
        self._numbers = itertools.count(1)

    def items(self, parts: Sequence[Part], body: Wire, *, cut: bool = False) -> list[Wire]:
        """The output items that `body` gets; nothing is thought where thinking is turned off."""
        reasoning = body.get("reasoning") or {}
        if not MODELS[body["model"]] or reasoning.get("effort") == "none":
            parts = [part for part in parts if not isinstance(part, Think)]
        items = [self._item(part, body) for part in parts]
        for number, item in enumerate(items):
            after = items[number + 1] if number + 1 < len(items) else None
            if item["type"] == "reasoning" and after:
                self.past.next[item["id"]] = after
                self.past.thought[after["id"]] = item["id"]
            elif item["type"] == "message":
                item["phase"] = "commentary" if after else "final_answer"
        if cut and items and "status" in items[-1]:
            items[-1]["status"] = "incomplete"
        if body.get("store", True):
            self.past.stored |= {item["id"] for item in items}
        return items

    def _item(self, part: Part, body: Wire) -> Wire:
        if isinstance(part, Say):
            content = {"type": "output_text", "annotations": [], "logprobs": [], "text": part.text}
            begun = {"id": self._token("msg_"), "type": "message", "status": "completed"}
            return begun | {"content": [content], "role": "assistant"}
        if isinstance(part, Think):
            return self._thought(part, body)
        named = {"call_id": self._token("call_")[:29], "name": part.name}
        named |= {"namespace": part.namespace} if part.namespace else {}
        if isinstance(part, Write):
            begun = {"id": self._token("ctc_"), "type": "custom_tool_call", "status": "completed"}
            return begun | {"input": part.input} | named
        begun = {"id": self._token("fc_"), "type": "function_call", "status": "completed"}
        return begun | {"arguments": json.dumps(part.arguments, ensure_ascii=False)} | named

    def _thought(self, part: Think, body: Wire) -> Wire:
        asked = (body.get("reasoning") or {}).get("summary") is not None
        summary = [{"type": "summary_text", "text": text} for text in part.summary if asked]
        item: Wire = {"id": self._token("rs_"), "type": "reasoning", "content": []}
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            item["encrypted_content"] = self._token("gAAAAAB") + self._token("-_")
            self.past.seals[item["encrypted_content"]] = item["id"]
        return item | {"summary": summary}

    def response(self, body: Wire, status: str, items: Sequence[Wire]) -> Wire:
        """The response object, which says again what was asked for."""
        asked = {key: body.get(key, default) for key, default in _ECHOED.items()}
        made = {"id": self._token("resp_"), "object": "response", "created_at": 1790000000, "status": status}
        return (
            made
            | asked
            | {"model": SERVED.get(body["model"], body["model"]), "output": list(items), "usage": USAGE}
            | {"background": False, "completed_at": 1790000001, "error": None, "incomplete_details": None}
            | {"reasoning": {"effort": None, "summary": None} | (body.get("reasoning") or {})}
        )

    def _token(self, prefix: str) -> str:
        """Never the same twice, and the same in every run."""
        return prefix + hashlib.blake2b(b"%d" % next(self._numbers), digest_size=25).hexdigest()


_ECHOED: Wire = {
    "frequency_penalty": 0.0, "instructions": None, "max_output_tokens": None, "max_tool_calls": None,
    "moderation": None, "parallel_tool_calls": True, "presence_penalty": 0.0, "previous_response_id": None,
    "prompt_cache_key": None, "prompt_cache_retention": None, "safety_identifier": None, "service_tier": "default",
    "store": True, "temperature": 1.0, "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "user": None,
    "metadata": {},
}  # fmt: skip


# ── its events ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _numbered(events: Sequence[Wire], body: Wire) -> list[bytes]:
    """As they go over the wire; deltas are made unreadable to those who only see their lengths, unless told not to."""
    obfuscated = (body.get("stream_options") or {}).get("include_obfuscation", True)
    return [
        answers.event(
            event["type"],
            **{key: value for key, value in event.items() if key != "type"},
            **({"obfuscation": "x9QkR2"[number % 6 :]} if obfuscated and "delta" in event else {}),
            sequence_number=number,
        )
        for number, event in enumerate(events)
    ]


def _begun(response: Wire) -> list[Wire]:
    unfinished: Wire = {
        "status": "in_progress",
        "completed_at": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    return [{"type": f"response.{kind}", "response": response | unfinished} for kind in ("created", "in_progress")]


def _ended(response: Wire) -> Wire:
    return {"type": f"response.{response['status']}", "response": response}


def _told(items: Sequence[Wire]) -> Iterator[Wire]:
    for index, item in enumerate(items):
        yield {"type": "response.output_item.added", "item": _empty(item), "output_index": index}
        place = {"item_id": item["id"], "output_index": index}
        yield from ({"type": f"response.{kind}"} | rest | place for kind, rest in _OF_ITEM[item["type"]](item))
        yield {"type": "response.output_item.done", "item": item, "output_index": index}


def _empty(item: Wire) -> Wire:
    """What is known of an item when it begins; its seal is another one then, which is not to be given back."""
    seal = {"encrypted_content": "gAAAAABnot-yet"} if "encrypted_content" in item else {}
    blank = {"content": [], "summary": [], "arguments": "", "input": "", "status": "in_progress"}
    return item | {key: value for key, value in blank.items() if key in item} | seal


_Told = Iterator[tuple[str, Wire]]


def _of_message(item: Wire) -> _Told:
    for number, part in enumerate(item["content"]):
        place = {"content_index": number}
        yield "content_part.added", place | {"part": part | {"text": ""}}
        for word in _words(part["text"]):
            yield "output_text.delta", place | {"delta": word, "logprobs": []}
        yield "output_text.done", place | {"logprobs": [], "text": part["text"]}
        yield "content_part.done", place | {"part": part}


def _of_thought(item: Wire) -> _Told:
    for number, part in enumerate(item["summary"]):
        place = {"summary_index": number}
        yield "reasoning_summary_part.added", place | {"part": part | {"text": ""}}
        for word in _words(part["text"]):
            yield "reasoning_summary_text.delta", place | {"delta": word}
        yield "reasoning_summary_text.done", place | {"text": part["text"]}
        yield "reasoning_summary_part.done", place | {"part": part}


def _of_call(item: Wire) -> _Told:
    for piece in _words(item["arguments"]):
        yield "function_call_arguments.delta", {"delta": piece}
    yield "function_call_arguments.done", {"arguments": item["arguments"]}


def _of_custom_call(item: Wire) -> _Told:
    for piece in _words(item["input"]):
        yield "custom_tool_call_input.delta", {"delta": piece}
    yield "custom_tool_call_input.done", {"input": item["input"]}


_OF_ITEM: dict[str, Callable[[Wire], _Told]] = {
    "message": _of_message,
    "reasoning": _of_thought,
    "function_call": _of_call,
    "custom_tool_call": _of_custom_call,
}


def _words(text: str) -> list[str]:
    """Word by word, so that a client that loses one delta shows it."""
    return re.findall(r"\s*\S+|\s+$", text)
