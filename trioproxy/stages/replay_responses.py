"""Responses kept by their ids, for clients that go on from one and send only what is new (hazard H150f).

OpenAI does so itself; in front of upstreams of other dialects these two do, if the file asks for them. Source:
platform.openai.com/docs/guides/conversation-state.
"""

from collections.abc import Iterable, Mapping

from trioproxy.dialects.openai_responses.kept import (
    KIND,
    Kept,
    continued,
    keeps,
    kept_of,
    marked,
    previous,
    read_kept,
    stored,
)
from trioproxy.items import Error, Frame, Request
from trioproxy.stage import Exchange, Memory, Receive, Send, Stage
from trioproxy.units import Size

__all__ = ["RememberResponses", "ReplayResponses"]

_CLIENTS, _UPSTREAMS = frozenset({"openai-responses"}), frozenset({"anthropic", "openai-chat"})


class RememberResponses(Stage[Frame, Frame]):
    """Keep responses under their ids, unless the client says `store: false`: behind `translate`.

    `replay-responses`, a request stage, lets a client go on from one; `GET /v1/responses/ID` gives it back. `[store]`
    says where they are kept and for how long. A response that takes more than `within`, with what it answers, is not.
    """

    clients, upstreams = _CLIENTS, _UPSTREAMS

    def __init__(self, *, within: Size = Size(4 * 1024 * 1024)) -> None:
        self._within = within
        self._request: Request | None = None
        self._due: dict[str, bytes] = {}
        self._remembered = 0

    def open(self, exchange: Exchange, /) -> Iterable[Frame]:
        self._request = exchange.request
        return ()

    def feed(self, frame: Frame, /) -> Iterable[Frame]:
        if self._request is None or not keeps(self._request):
            return (frame,)
        frame = marked(frame)
        if kept := kept_of(frame, self._request):
            id, value = kept
            if len(value) <= self._within:
                self._due[id] = value
        return (frame,)

    async def run(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        memory = exchange.memory
        self.open(exchange)
        async for batch in receive:
            told = self.timed(batch) if memory is not None else batch
            due, self._due = self._due, {}
            if due and memory is not None:
                # Before the client learns its id: its next request may go to another process.
                await memory.keep(KIND, due)
                self._remembered += len(due)
            await send.send(told)

    def stats(self) -> Mapping[str, int]:
        return {"remembered": self._remembered} if self._remembered else {}


class ReplayResponses(Stage[Request, Request | Error]):
    """Put the conversation in front of a request that goes on from a response by its id.

    It is what `remember-responses`, a response stage, has kept. What is not there any more is an error that says so. No
    more than `turns` are put there, and no more than `within` of them.
    """

    clients, upstreams = _CLIENTS, _UPSTREAMS

    def __init__(self, *, turns: int = 1000, within: Size = Size(32 * 1024 * 1024)) -> None:
        if turns < 1:
            raise ValueError(f"turns must be 1 or more, got {turns}")
        self._turns, self._within = turns, within
        self._replayed = 0

    async def run(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        async for batch in receive:
            await send.send([await self._whole(item, exchange.memory) for item in batch])

    async def _whole(self, item: object, memory: Memory | None) -> object:
        if not isinstance(item, Request):
            return item
        if memory is not None:
            item = stored(item)
        if not (id := previous(item)):
            return item
        turns: list[Kept] = []
        size, said = 0, id
        while id:
            found = await memory.recall(KIND, [id]) if memory else {}
            size += len(found.get(id, b""))
            kept = read_kept(found.get(id, b""))
            if kept is None:
                return _not_found(said, id)
            turns.append(kept)
            if len(turns) > self._turns or size > self._within:
                return Error("too_large", f"the conversation behind {said!r} is too long to be put together here", 413)
            id = kept.previous
        self._replayed = len(turns)
        return continued(item, turns[::-1])

    def stats(self) -> Mapping[str, int]:
        return {"replayed": self._replayed} if self._replayed else {}


def _not_found(said: str, id: str) -> Error:
    """In the API's own words, which clients know."""
    behind = "" if said == id else f" (one before it, {id[:80]!r}, is gone)"
    text = f"Previous response with id {said[:80]!r} not found{behind}. Send the whole conversation in `input`."
    facts = {"code": "previous_response_not_found", "param": "previous_response_id"}
    return Error("invalid_request", text, 400, {"openai": facts})
