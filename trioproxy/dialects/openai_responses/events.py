"""What an event of a Responses stream, or a whole answer, looks like to the reader.

Types are as loose as providers are; whoever reads a field looks at what it is.
"""

from typing import Any, Literal, get_args

import msgspec

from trioproxy.dialects.peek import BAD_JSON, peeked

__all__ = ["DELTAS", "NULL", "Answer", "Delta", "Told", "read_answer", "read_delta", "read_event"]

NULL = msgspec.Raw(b"null")


class Told(msgspec.Struct):
    """Any event, with the fields that some have."""

    type: Any = ""
    response: msgspec.Raw = NULL  # almost all of it is the request once more
    item: Any = None
    part: Any = None
    annotation: Any = None
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    output_index: Any = None
    item_id: Any = None
    content_index: Any = None
    summary_index: Any = None
    logprobs: Any = None


class Answer(msgspec.Struct):
    """A response: a whole answer, or what the events that begin and end a stream hold."""

    id: Any = None
    object: Any = None
    model: Any = None
    status: Any = None
    output: Any = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None


_TOLD = msgspec.json.Decoder(Told)
_ANSWER = msgspec.json.Decoder(Answer)


def read_event(data: bytes) -> Told | None:
    """None for what is no JSON object, or cannot be read."""
    told = peeked(data, _TOLD)
    if told is not None and not isinstance(told.type, str):
        told.type = ""
    return told


def read_answer(data: bytes | msgspec.Raw) -> Answer | None:
    """None for what is no JSON object, or cannot be read."""
    return peeked(bytes(data), _ANSWER)


# ── the usual events: a piece of text and nothing else ──────────────────────────────────────────────────────────────


_Usual = Literal[
    "response.output_text.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.function_call_arguments.delta",
]
DELTAS: frozenset[str] = frozenset(get_args(_Usual))
"""The types of the deltas that most of a stream consists of."""


class Delta(msgspec.Struct):
    """One of these. What it has besides says nothing, or (`logprobs`) has been looked at with the first of its kind."""

    type: _Usual
    delta: str
    output_index: int
    item_id: str = ""
    content_index: int = 0
    summary_index: int = 0


_DELTA = msgspec.json.Decoder(Delta)


def read_delta(data: bytes) -> Delta | None:
    """The delta; None for any other event, which has to be looked at."""
    try:
        return _DELTA.decode(data)
    except BAD_JSON:
        return None
