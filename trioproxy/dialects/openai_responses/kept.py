"""Responses that are kept here, for clients that go on from one by its id and send only what is new.

OpenAI keeps every response unless it is told `store: false`; other upstreams keep none. What is kept of one is the
response as the client got it, the items it answered, and which response came before it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from trioproxy.dialects.openai_responses.read_request import read_request
from trioproxy.dialects.peek import BAD_JSON, with_fields
from trioproxy.items import Block, Frame, Request, Text, replace

__all__ = ["KIND", "Kept", "continued", "keeps", "kept_of", "marked", "previous", "read_kept", "stored", "write_items"]

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


def keeps(request: Request) -> bool:
    """Whether the client lets its response be kept."""
    return request.source is not None and request.source.wire.get("store") is not False


def kept_of(frame: Frame, request: Request) -> tuple[str, bytes] | None:
    """The id of the response that `frame` ends, and what is to be kept of it; None if that is nothing."""
    if not (frame.whole or frame.event in _ENDS) or request.source is None:
        return None
    asked, response = request.source.wire, _response(frame)
    if response is None or not keeps(request):
        return None
    id, input = response.get("id"), asked.get("input")
    said = input if isinstance(input, list) else [{"role": "user", "content": input}]
    if not isinstance(id, str) or response.get("status") not in ("completed", "incomplete"):
        return None
    return id, msgspec.json.encode(Kept(response, said, previous(request)))


def marked(frame: Frame) -> Frame:
    """The frame, saying that its response is stored."""
    if (response := _response(frame)) is None or response.get("store") is not False:
        return frame
    response = response | {"store": True}
    fields = response if frame.whole else {"response": response}
    return Frame(with_fields(frame.data, fields), frame.event, whole=frame.whole)


def _response(frame: Frame) -> Wire | None:
    """The response that a frame is, or has."""
    if not frame.whole and b'"response":' not in frame.data:
        return None
    try:
        wire = msgspec.json.decode(frame.data)
    except BAD_JSON:
        return None
    response = wire if frame.whole else wire.get("response")
    return response if isinstance(response, dict) else None


def read_kept(value: bytes) -> Kept | None:
    """What `kept_of` gave; None if it cannot be read, or was deleted since."""
    try:
        return _READ.decode(value)
    except BAD_JSON:
        return None


_READ = msgspec.json.Decoder(Kept)


def continued(request: Request, before: Sequence[Kept]) -> Request:
    """The request with the turns `before` it, in their order, in front of what it says itself.

    What other stages have made of the request stays so; its own `instructions` hold for all turns, as with OpenAI.
    """
    items = [item for turn in before for item in turn.items]
    earlier = read_request(msgspec.json.encode({"model": request.model, "input": items}))
    offered = {tool.get("name") for tool in request.tools}
    return replace(
        request,
        messages=(*earlier.messages, *request.messages),
        system=(*_blocks(request.system), *_blocks(earlier.system)) if earlier.system else request.system,
        tools=(*request.tools, *(tool for tool in earlier.tools if tool["name"] not in offered)),
        unsaid=(*earlier.unsaid, *(loss for loss in request.unsaid if loss.path != _NEXT)),
    )


def stored(request: Request) -> Request:
    """The request, where responses are kept here: that it asks for that is no loss."""
    return replace(request, unsaid=tuple(loss for loss in request.unsaid if loss.path != "store"))


def _blocks(content: str | tuple[Block, ...] | None) -> tuple[Block, ...]:
    return (Text(text=content),) if isinstance(content, str) else content or ()


def write_items(kept: Kept) -> bytes:
    """The answer to `GET /v1/responses/ID/input_items`."""
    ids = [item.get("id") if isinstance(item, dict) else None for item in kept.input] or [None]
    listing = {"object": "list", "data": kept.input, "first_id": ids[0], "last_id": ids[-1], "has_more": False}
    return msgspec.json.encode(listing)
