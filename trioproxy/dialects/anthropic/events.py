"""Events ⇄ Anthropic's wire objects, one `read` and one `write`, each a table by type.

Reading is done twice as fast for the deltas that make up a stream: a strict decoder that knows exactly the usual
fields. Whatever it refuses (a new field, another type) is read again the general way, where nothing is lost.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from trioproxy.dialects.anthropic.blocks import read_block, write_block
from trioproxy.dialects.anthropic.errors import inner
from trioproxy.dialects.errors import read_error_object
from trioproxy.dialects.extra import difference, merge
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherDelta,
    Ping,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    ToolInputDelta,
    Usage,
)

__all__ = ["read_delta", "read_event", "read_usage", "write_event"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the provider's


# ── the fast way ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Text(msgspec.Struct, tag="text_delta", forbid_unknown_fields=True):
    text: str


class _Input(msgspec.Struct, tag="input_json_delta", forbid_unknown_fields=True):
    partial_json: str


class _Thinking(msgspec.Struct, tag="thinking_delta", forbid_unknown_fields=True):
    thinking: str


class _Signature(msgspec.Struct, tag="signature_delta", forbid_unknown_fields=True):
    signature: str


class _Delta(msgspec.Struct, tag="content_block_delta", forbid_unknown_fields=True):
    index: int
    delta: _Text | _Input | _Thinking | _Signature


_DELTA = msgspec.json.Decoder(_Delta)


def read_delta(data: bytes) -> Event | None:
    """The usual deltas, or None for anything else."""
    try:
        wire = _DELTA.decode(data)
    except BAD_JSON:
        return None
    delta = wire.delta
    if type(delta) is _Text:
        return TextDelta(wire.index, delta.text)
    if type(delta) is _Input:
        return ToolInputDelta(wire.index, delta.partial_json)
    if type(delta) is _Thinking:
        return ThinkingDelta(wire.index, delta.thinking)
    assert type(delta) is _Signature
    return SignatureDelta(wire.index, delta.signature)


# ── the general way ─────────────────────────────────────────────────────────────────────────────────────────────────


def read_event(wire: Wire) -> Event | None:
    """The event of a wire object with its unknown fields in `extra`; None if it is no event we have a name for."""
    name = wire.get("type") or ("error" if "error" in wire else None)  # gateways send {"error": …} alone
    read = _READ.get(name) if isinstance(name, str) else None
    if read is None:
        return None
    try:
        event = read(wire)
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError):
        return None  # the name is known, the shape is not: carried as it is
    extra = difference(wire, write_event(event))
    return msgspec.structs.replace(event, extra=extra) if extra else event


def write_event(event: Event) -> Wire:
    """The wire object of any event but `Unknown`."""
    return merge(_WRITE[type(event)](event), event.extra)  # type: ignore[attr-defined]  # all in the table have it


def _int(value: object) -> int:
    return msgspec.convert(value, int)


def _str(value: object) -> str:
    return msgspec.convert(value, str)


def _str_or_none(value: object) -> str | None:
    return msgspec.convert(value, str | None)


def read_usage(value: object) -> Usage | None:
    """Odd counts are no reason to lose the event: they stay in `extra`, as everything that is not read does."""
    try:
        return None if value is None else msgspec.convert(value, Usage)
    except msgspec.ValidationError:
        return Usage()


def _read_message_start(wire: Wire) -> Event:
    message = wire["message"]
    usage = read_usage(message.get("usage")) or Usage()
    content = tuple(map(read_block, message.get("content") or ()))
    return MessageStart(_str(message.get("id") or ""), _str(message.get("model") or ""), usage, content)


def _read_block_delta(wire: Wire) -> Event:
    index, delta = _int(wire["index"]), wire["delta"]
    kind = _str(delta["type"])
    if kind in _DELTAS:
        cls, field = _DELTAS[kind]
        return cls(index, _str(delta[field]))
    return OtherDelta(index, kind)


def _read_message_delta(wire: Wire) -> Event:
    delta = wire["delta"]
    reason, sequence = _str_or_none(delta.get("stop_reason")), _str_or_none(delta.get("stop_sequence"))
    return MessageDelta(reason, sequence, read_usage(wire.get("usage")))


def _read_error(wire: Wire) -> Event:
    error = read_error_object(wire)
    if error is None:
        raise KeyError("error")
    return error


_DELTAS: dict[str, tuple[Callable[[int, str], Event], str]] = {
    "text_delta": (TextDelta, "text"),
    "input_json_delta": (ToolInputDelta, "partial_json"),
    "thinking_delta": (ThinkingDelta, "thinking"),
    "signature_delta": (SignatureDelta, "signature"),
}

_READ: dict[str, Callable[[Wire], Event]] = {
    "message_start": _read_message_start,
    "content_block_start": lambda wire: BlockStart(_int(wire["index"]), read_block(wire["content_block"])),
    "content_block_delta": _read_block_delta,
    "content_block_stop": lambda wire: BlockStop(_int(wire["index"])),
    "message_delta": _read_message_delta,
    "message_stop": lambda wire: MessageStop(),
    "ping": lambda wire: Ping(),
    "error": _read_error,
}


def _write_message_start(event: MessageStart) -> Wire:
    message = {
        "id": event.id,
        "type": "message",
        "role": "assistant",
        "model": event.model,
        "content": list(map(write_block, event.content)),
        "stop_reason": None,
        "stop_sequence": None,
        # Both counts are always there: clients read them without looking (hazard H047).
        "usage": {"input_tokens": 0, "output_tokens": 0} | msgspec.to_builtins(event.usage),
    }
    return {"type": "message_start", "message": message}


def _write_message_delta(event: MessageDelta) -> Wire:
    delta = {"stop_reason": event.stop_reason, "stop_sequence": event.stop_sequence}
    usage = {"output_tokens": 0} | msgspec.to_builtins(event.usage or Usage())
    return {"type": "message_delta", "delta": delta, "usage": usage}


def _delta(index: int, kind: str, **field: str) -> Wire:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **field}}


# `Any`, because each entry takes the one kind of event it stands under.
_WRITE: dict[type[Event], Callable[[Any], Wire]] = {
    MessageStart: _write_message_start,
    BlockStart: lambda e: {"type": "content_block_start", "index": e.index, "content_block": write_block(e.block)},
    TextDelta: lambda e: _delta(e.index, "text_delta", text=e.text),
    ToolInputDelta: lambda e: _delta(e.index, "input_json_delta", partial_json=e.partial_json),
    ThinkingDelta: lambda e: _delta(e.index, "thinking_delta", thinking=e.thinking),
    SignatureDelta: lambda e: _delta(e.index, "signature_delta", signature=e.signature),
    OtherDelta: lambda e: _delta(e.index, e.kind),
    BlockStop: lambda e: {"type": "content_block_stop", "index": e.index},
    MessageDelta: _write_message_delta,
    MessageStop: lambda e: {"type": "message_stop"},
    Ping: lambda e: {"type": "ping"},
    Error: lambda e: {"type": "error", "error": inner(e)},
}
