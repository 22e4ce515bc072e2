"""Responses that are kept here, for clients that go on from one by its id and send only what is new.

OpenAI keeps every response unless it is told `store: false`; other upstreams keep none. What is kept of one is the
response as the client got it, the items it answered, and which response came before it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from trioproxy.dialects.openai_responses.read_request import read_request
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import Frame, Request, replace

__all__ = ["KIND", "Kept", "continued", "kept_of", "previous", "read_kept", "write_items"]

KIND = "responses"
"""The word that they are remembered under: see `trioproxy.stage.Memory`."""

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's
_ENDS = frozenset({"response.completed", "response.incomplete"})
_NEXT = "previous_response_id"


class Kept(msgspec.Struct, frozen=True, array_like=True):
    response: Wire
    input: list[Any]
    """The items that it answers, beside those of the responses before it."""
    previous: str = ""
    """The id of the response that it went on from; empty if it is the first."""

    @property
    def items(self) -> list[Any]:
        """The items of this turn: what was asked, and what was answered."""
        output = self.response.get("output")
        return [*self.input, *(output if isinstance(output, list) else ())]


def previous(request: Request) -> str:
    """The id of the response that a request goes on from; empty if it does not."""
    said = request.source.wire.get(_NEXT) if request.source else None
    return said if isinstance(said, str) else ""


def kept_of(frame: Frame, request: Request) -> tuple[str, bytes] | None:
    """The id of the response that `frame` ends, and what is to be kept of it; None if that is nothing."""
    if not (frame.whole or frame.event in _ENDS) or request.source is None:
        return None
    asked = request.source.wire
    try:
        wire = msgspec.json.decode(frame.data)
    except BAD_JSON:
        return None
    response = wire if frame.whole else wire.get("response")
    if not isinstance(response, dict) or asked.get("store") is False:
        return None
    id, input = response.get("id"), asked.get("input")
    said = input if isinstance(input, list) else [{"role": "user", "content": input}]
    if not isinstance(id, str) or response.get("status") not in ("completed", "incomplete"):
        return None
    return id, msgspec.json.encode(Kept(response, said, previous(request)))


def read_kept(value: bytes) -> Kept | None:
    """What `kept_of` gave; None if it cannot be read, or was deleted since."""
    try:
        return _READ.decode(value)
    except BAD_JSON:
        return None


_READ = msgspec.json.Decoder(Kept)


def continued(request: Request, before: Sequence[Kept]) -> Request:
    """The request with the turns `before` it, in their order, in front of what it says itself."""
    assert request.source is not None
    asked = request.source.wire
    input = asked.get("input")
    said = input if isinstance(input, list) else [{"role": "user", "content": input}] if input else []
    items = [item for turn in before for item in turn.items]
    wire = {key: value for key, value in asked.items() if key != _NEXT} | {"input": [*items, *said]}
    whole = read_request(msgspec.json.encode(wire))
    return replace(
        whole, model=request.model, max_tokens=request.max_tokens, stream=request.stream, extra=request.extra
    )


def write_items(kept: Kept) -> bytes:
    """The answer to `GET /v1/responses/ID/input_items`."""
    ids = [item.get("id") if isinstance(item, dict) else None for item in kept.input] or [None]
    listing = {"object": "list", "data": kept.input, "first_id": ids[0], "last_id": ids[-1], "has_more": False}
    return msgspec.json.encode(listing)
