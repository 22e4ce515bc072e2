"""Everything that flows through a pipeline: bytes, frames, requests and events.

The vocabulary of events is Anthropic-shaped because that is the only one of the three dialects that names its blocks
and carries signatures, redacted thinking and tool input as separate, indexed things; the others embed into it.

Items are frozen values: compare them, match on them, make changed copies with `replace`. What a provider sent and we
have no name for rides along in `extra`, shaped like the wire object, and is written back when the item is re-encoded.
An event that was read from a frame knows it as `event.frame`; that is its provenance, not part of its value: a changed
copy has none, so the writer knows an untouched event by its frame and lets the very bytes out again.
"""

from typing import Any, ClassVar, Literal

import msgspec
from msgspec.structs import replace  # the one way to change an item

__all__ = [
    "Block",
    "BlockStart",
    "BlockStop",
    "Error",
    "ErrorKind",
    "Event",
    "Frame",
    "Image",
    "Loss",
    "Message",
    "MessageDelta",
    "MessageStart",
    "MessageStop",
    "OtherBlock",
    "OtherDelta",
    "Ping",
    "RedactedThinking",
    "Request",
    "SignatureDelta",
    "Source",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "ToolInputDelta",
    "ToolResult",
    "ToolUse",
    "Unknown",
    "Usage",
    "replace",
]

# JSON objects we have no type for. `Any` because nobody has looked inside yet.
Extra = dict[str, Any]


class Frame(msgspec.Struct, frozen=True):
    """One server-sent event, or one whole JSON body.

    `data` is the payload (UTF-8; several `data:` lines joined with a line feed; empty for a comment or a lone field,
    which WHATWG says to ignore). `raw` is what came over the wire, its blank line included, or empty if the frame was
    made here. `whole` marks a JSON body that is no stream.
    """

    data: bytes
    event: str = ""
    raw: bytes = b""
    whole: bool = False


# ── blocks: what a message is made of ───────────────────────────────────────────────────────────────────────────────


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a message's content."""

    extra: Extra = {}


class Text(Block, frozen=True):
    text: str = ""


class Thinking(Block, frozen=True):
    """Reasoning, with the provider's opaque signature over it (may be empty until its delta came)."""

    thinking: str = ""
    signature: str = ""


class RedactedThinking(Block, frozen=True):
    """Reasoning the provider encrypted; must go back byte for byte."""

    data: str = ""


class ToolUse(Block, frozen=True):
    """A tool call. `input` is the JSON text of its arguments, untouched (key order and big numbers matter)."""

    id: str = ""
    name: str = ""
    input: str = "{}"


class ToolResult(Block, frozen=True):
    """What a tool call gave: text, or blocks (text, images, documents); None where the client sent nothing."""

    tool_use_id: str = ""
    content: "str | tuple[Block, ...] | None" = None
    is_error: bool | None = None


class Image(Block, frozen=True):
    """A picture: its bytes in base64 with their `media_type`, or where it can be fetched."""

    media_type: str = ""
    data: str = ""
    url: str = ""


class OtherBlock(Block, frozen=True):
    """A block we have no type for (server tools, documents, …): `kind` is its wire type, `extra` the wire object."""

    kind: str


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Message(msgspec.Struct, frozen=True):
    """One turn. `content` is a plain string where the client sent one.

    `thought` marks an assistant's that is known to have all the thinking it was made with, though that be none.
    """

    role: str
    content: str | tuple[Block, ...]
    extra: Extra = {}
    thought: bool = False


class Loss(msgspec.Struct, frozen=True):
    """A field that one dialect has and another cannot say: where it stood (`messages[].name`), and why it is gone."""

    path: str
    reason: str
    fatal: bool = False
    """Without it another dialect cannot be asked at all; `reason` tells the client so."""


class Source(msgspec.Struct, frozen=True):
    """Where a request was read from: its dialect, the wire object, and the request as it was read."""

    dialect: str
    wire: Extra
    request: "Request"


class Request(msgspec.Struct, frozen=True):
    """What the client asks of a model, in the vocabulary of Anthropic's Messages whatever the client speaks.

    `tools` are objects as Anthropic's `tools` has them, in order. `extra` holds the other fields of an Anthropic
    request (`temperature`, `stop_sequences`, `tool_choice`, `thinking`, `output_config`, `metadata`, …). What a client
    of another dialect said beyond that is `unsaid`, and still in `source`, from which the same dialect is written.
    """

    model: str
    messages: tuple[Message, ...] = ()
    system: str | tuple[Block, ...] | None = None
    max_tokens: int | None = None
    stream: bool = False
    tools: tuple[Extra, ...] = ()
    extra: Extra = {}
    unsaid: tuple[Loss, ...] = ()
    source: Source | None = None


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts; None where the provider did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class Event(msgspec.Struct, frozen=True, dict=True):
    """Something that happened in an answer. `frame` is where it was read from, if it was."""

    # All per event, set by `read_from`; see the module's docstring.
    frame: ClassVar[Frame | None] = None
    parts: ClassVar[int] = 1
    number: ClassVar[int] = -1  # which of its reader's events it is, where the writer has to know that none is missing
    about: ClassVar[int] = -1  # which of the upstream's items it is about, as its reader counts them

    def read_from(self, frame: Frame, parts: int = 1, about: int = -1) -> "Event":
        """Note the frame this event was read from, as one of `parts`, and give the event back. For readers only."""
        self.__dict__["frame"] = frame
        if about >= 0:
            self.__dict__["about"] = about
        if parts != 1:
            self.__dict__["parts"] = parts
        return self


class MessageStart(Event, frozen=True):
    """`content` is what the message begins with: blocks of its own that come whole, almost always none."""

    id: str
    model: str
    usage: Usage = Usage()
    content: tuple[Block, ...] = ()
    extra: Extra = {}


class BlockStart(Event, frozen=True):
    index: int
    block: Block
    extra: Extra = {}


class TextDelta(Event, frozen=True):
    index: int
    text: str
    extra: Extra = {}


class ThinkingDelta(Event, frozen=True):
    index: int
    thinking: str
    extra: Extra = {}


class SignatureDelta(Event, frozen=True):
    index: int
    signature: str
    extra: Extra = {}


class ToolInputDelta(Event, frozen=True):
    """A piece of the JSON text of a tool's arguments."""

    index: int
    partial_json: str
    extra: Extra = {}


class OtherDelta(Event, frozen=True):
    """A delta we have no type for (citations, compaction, …): `kind` is its wire type, the rest is in `extra`."""

    index: int
    kind: str
    extra: Extra = {}


class BlockStop(Event, frozen=True):
    index: int
    extra: Extra = {}


class MessageDelta(Event, frozen=True):
    """How the message ended. `usage` is cumulative, and None where the provider sent none."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    extra: Extra = {}


class MessageStop(Event, frozen=True):
    extra: Extra = {}


class Ping(Event, frozen=True):
    """Nothing happened, and the line is alive."""

    extra: Extra = {}


class Unknown(Event, frozen=True):
    """An event we have no name for, or a comment: carried, not lost."""

    name: str
    data: bytes


ErrorKind = Literal[
    "invalid_request",
    "authentication",
    "permission",
    "not_found",
    "too_large",
    "context_overflow",  # the conversation is longer than the model's context: clients compact it
    "rate_limit",
    "overloaded",
    "timeout",
    "upstream",
    "internal",
]


class Error(Event, frozen=True):
    """An exchange that failed: up the stack inside a `ProxyError`, down the pipe as an event.

    It flows past every stage that does not take it and ends the answer: with a proper HTTP status if nothing was sent
    yet, else with one error event in the client's dialect and an aborted connection.
    """

    kind: ErrorKind
    message: str
    status: int = 502
    extra: Extra = {}
