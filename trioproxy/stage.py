"""A stage is one step of a pipeline.

It names the type of item it takes and the type it gives. It is fed only the items it takes; every other item flows
past it, in order. A stage object serves one exchange, in one direction, as one task of that exchange's nursery.
"""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, Union, get_args, get_origin

import msgspec

from trioproxy.items import Request
from trioproxy.ledger import Ledger

__all__ = ["Batch", "Exchange", "Memory", "Receive", "Send", "Stage"]

In = TypeVar("In")
Out = TypeVar("Out")

# Items travel in batches: one batch is whatever one read produced. `Any`, as items of every type share one pipe.
Batch = list[Any]


class Send(Protocol):
    """The end of a channel that a stage writes to: the used part of `trio.abc.SendChannel`."""

    async def send(self, batch: Batch, /) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: types.TracebackType | None, /
    ) -> None: ...


class Receive(Protocol):
    """The end of a channel that a stage reads from: the used part of `trio.abc.ReceiveChannel`."""

    async def receive(self) -> Batch: ...
    def __aiter__(self) -> AsyncIterator[Batch]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: types.TracebackType | None, /
    ) -> None: ...


class Memory(Protocol):
    """What outlives the exchange: values under names, bounded and forgetful. Each client has its own, by its upstream,
    credentials and session. Neither method fails: what cannot be had now is as good as forgotten."""

    async def recall(self, kind: str, names: Sequence[str], /) -> Mapping[str, bytes]:
        """The values of those of `names` that are known. `kind` is the caller's own word for what it keeps."""

    async def keep(self, kind: str, values: Mapping[str, bytes], /) -> None:
        """Keep a value under each name."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One client request and the response to it: the facts a stage may know. It arrives in `Stage.open`."""

    id: str
    """A short random name, the same in the log line and in the `x-trioproxy-id` response header."""
    method: str = "POST"
    path: str = "/v1/messages"
    """The path below the route's prefix, without the query."""
    route: str = "/"
    client_dialect: str = "anthropic"
    upstream: str = ""
    """The upstream's name in the TOML file."""
    upstream_dialect: str = "anthropic"
    stream: bool = True
    """Whether the client is to get a stream of events: as it asked, or as the upstream answers if nobody could know."""
    upstream_stream: bool = True
    """Whether the upstream answers with a stream of events; False for one whole JSON body."""
    answered_here: bool = False
    """Whether a request stage answers in the upstream's place: its events come down the pipe, and no bytes."""
    request: Request | None = None
    """The request as the client sent it, where it had to be read."""
    model: str = ""
    """The model as the client named it: what the answer says too."""
    upstream_model: str = ""
    """The model as the upstream was asked for it."""
    renamed: Mapping[str, str] = {}
    """The tools that go by another name at the upstream: its name → the client's."""
    usage_wanted: bool = True
    """Whether the client of a stream wants token counts in it, where its dialect leaves it to choose."""
    created: int = 0
    """When the request came, in seconds since 1970."""
    input_tokens: int = 0
    """About how many tokens the request is, where the upstream's dialect tells only at the end of the answer."""
    session: str = ""
    """The session that the client says the request belongs to; empty if it says none."""
    provenance: str = ""
    """Names whoever answers: the upstream, the model and whose account it is. What one has signed is for no other."""
    thinking: bool = False
    """Whether the upstream was asked to think, and its dialect signs what it thinks."""
    memory: Memory | None = None
    """What outlives the exchange; None where nothing is to be remembered."""
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    """What was lost between the dialects; a stage that drops or approximates something notes it there."""
    status: int | None = None
    """The upstream's HTTP status; None while the upstream is silent, and in request stages."""
    headers: tuple[tuple[str, str], ...] = ()
    """The upstream's response headers, names in lower case."""
    started: float = 0.0
    """When the request came, on trio's clock (seconds)."""
    event_limit: int = 16 * 1024 * 1024
    """How large one frame may become, in bytes: `event` in the file's `[limits]`."""


class Stage(Generic[In, Out]):
    """Subclass it with two types and write `feed`.

    `open`, `feed` and `close` return the items to pass on; they are usually generators. The contract:

    1. Chunking is invisible (stages that take bytes): cutting the input anywhere gives the same output.
    2. Batching is invisible: one batch of n items equals n batches of one.
    3. Order is kept: what you do not take flows past. If you hold items back, take the whole family (`Event`, not
       `TextDelta`), or you will reorder.
    4. Everything held is given up in `close`, or dropped on purpose.
    5. Items are never changed in place; one stage object serves one exchange.
    6. `feed` never blocks and is never slow: a batch is at most one read (16 KiB). Longer work overrides `run`.
    7. Everything held has a bound, named in an option.

    Options are the keyword arguments of the constructor: their annotation is the schema, their default the default.
    `trioproxy.testing.check_stage` tries 1, 2 and 5 on a stage of yours, and that what it does not take flows past.
    """

    takes: ClassVar[tuple[type, ...]] = ()
    gives: ClassVar[tuple[type, ...]] = ()
    clients: ClassVar[frozenset[str]] = frozenset()
    """The dialects of the clients that the stage is about; empty for all. For others it is left out of the pipeline,
    so it must give what it takes. A request that no stage is about need not be read, and leaves as the bytes it is."""
    upstreams: ClassVar[frozenset[str]] = frozenset()
    """The same for the dialects of upstreams."""
    __items, __seconds = 0, 0.0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Stage:
                cls.takes, cls.gives = (_members(arg) for arg in get_args(base))

    def open(self, exchange: Exchange, /) -> Iterable[Out]:
        """Called once, before the first item."""
        return ()

    def feed(self, item: In, /) -> Iterable[Out]:
        """Called for each item the stage takes."""
        raise NotImplementedError(f"{type(self).__name__} has no feed()")

    def close(self) -> Iterable[Out]:
        """Called once, after the last item. Give up whatever you were holding back."""
        return ()

    def stats(self) -> Mapping[str, int | str]:
        """Counts, and words, for the exchange's log line, read after `close`. The counts become metrics as well."""
        return {}

    def effort(self) -> tuple[int, float]:
        """How many items came, and how many seconds `feed` took over them."""
        return self.__items, self.__seconds

    async def run(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """The stage's task. Override it only if the stage has to await something. Who calls it closes both ends."""
        if batch := list(self.open(exchange)):
            await send.send(batch)
        async for items in receive:
            if batch := self.timed(items):
                await send.send(batch)
        if batch := list(self.close()):
            await send.send(batch)

    def timed(self, items: Batch) -> Batch:
        """`feed_all`, with the time it takes noted: what a `run` of your own should call."""
        began = perf_counter()
        batch = self.feed_all(items)
        self.__seconds += perf_counter() - began
        self.__items += len(items)
        return batch

    def feed_all(self, items: Batch) -> Batch:
        """Feed what we take, let the rest flow past, keep the order."""
        takes = self.takes
        feed: Callable[[Any], Iterable[Out]] = self.feed
        batch: Batch = []
        for item in items:
            if isinstance(item, takes):
                batch.extend(feed(item))
            else:
                batch.append(item)
        return batch


def _members(arg: Any) -> tuple[type, ...]:
    """The classes a type argument names: `Request | Event` names two."""
    if get_origin(arg) in (Union, types.UnionType):
        return tuple(member for part in get_args(arg) for member in _members(part))
    return (arg,) if isinstance(arg, type) else ()
