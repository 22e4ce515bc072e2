"""Events → frames: what the `translate` stage is for an OpenAI chat client.

Events that still know the frame they were read from, in the same dialect, leave as that frame once all of them have
come unchanged. An error of ours is passed on as it is: the proxy gives it the right HTTP status, or ends the stream.
"""

from collections.abc import Iterable, Iterator

import msgspec

from trioproxy.dialects.fold import UNENDED
from trioproxy.dialects.openai_chat.chat import Chat, Wire, fault_of
from trioproxy.dialects.peek import BAD_JSON, with_model
from trioproxy.items import Error, Event, Frame, MessageStart, MessageStop, Ping, TextDelta, Unknown
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage

__all__ = ["Fold", "StreamWriter"]

_DONE = Frame(b"[DONE]")
_KEEPALIVE = Frame(b"", raw=b": keepalive\n\n")  # some clients choke on keepalives that are events (hazard H036)


class _Head:
    """What every chunk of an answer begins with, the same from the first to the last (hazard H095)."""

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        self._created, self._id, self._same = exchange.created, f"chatcmpl-{exchange.id}", same
        self._model = exchange.model if not same or exchange.model != exchange.upstream_model else ""

    @property
    def renamed(self) -> str:
        """The model's name as the client knows it, if the upstream says another."""
        return self._model if self._same else ""

    def read(self, event: MessageStart) -> None:
        self._id = event.id or self._id
        self._model = self._model or event.model
        if self._same and event.frame is not None:
            self._created = _created(event.frame) or self._created

    def write(self, kind: str) -> Wire:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}


class _Created(msgspec.Struct):
    created: int = 0


def _created(frame: Frame) -> int:
    """When the upstream's answer began, as its chunks say."""
    try:
        return msgspec.json.decode(frame.data, type=_Created).created
    except BAD_JSON:
        return 0


class StreamWriter(Stage[Event, Frame | Error]):
    """Writes a stream of chunks. `same`: the upstream speaks the same dialect. `usage`: the client asked for it."""

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        self._same, self._wants_usage, self._limit = same, exchange.usage_wanted, exchange.event_limit
        self._head = _Head(exchange, same=same)
        self._renamed = self._head.renamed
        self._chat = Chat(Ledger() if same else exchange.ledger)
        self._source: Frame | None = None  # the frame that these events were read from
        self._gathered: list[Event] = []
        self._text: tuple[bytes, bytes] | None = None  # what stands around the text of a chunk
        self._begun = self._finished = self._stopped = self._done = self._failed = False

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        frame = event.frame
        if self._source is None:
            if frame is None or not self._same or frame.whole:
                if type(event) is TextDelta and self._begun and event.text and not self._done:
                    return (self._of_text(event.text),)
                return self._write(event)
            if event.parts == 1:
                if (
                    type(event) is TextDelta
                    and not (self._renamed or self._done)
                    and len(frame.raw) == len(frame.data) + len(b"data: \n\n")
                ):
                    return (frame,)  # what most of a stream consists of
                return self._pass([event], frame)
        return self._gather(event)

    def close(self) -> Iterable[Frame | Error]:
        """The end is written only now: a router may send one message after the other (M0), which make one answer."""
        yield from self._give_up()
        if self._stopped and not self._done:
            yield from self._end()
        elif self._begun and not (self._done or self._failed):
            yield UNENDED

    # ── frames that may leave as they came ──────────────────────────────────────────────────────────────────────────

    def _gather(self, event: Event) -> Iterator[Frame | Error]:
        frame = event.frame if self._same and not (event.frame and event.frame.whole) else None
        if frame is not self._source or frame is None:
            yield from self._give_up()
        if frame is None:
            yield from self._write(event)
            return
        self._source = frame
        self._gathered.append(event)
        if len(self._gathered) == event.parts:
            events, self._gathered, self._source = self._gathered, [], None
            yield from self._pass(events, frame)

    def _give_up(self) -> Iterator[Frame | Error]:
        """What was read from a frame has not come whole: a stage has changed it."""
        events, self._gathered, self._source = self._gathered, [], None
        for event in events:
            yield from self._write(event)

    def _pass(self, events: list[Event], frame: Frame) -> Iterator[Frame | Error]:
        if self._done:
            return  # behind the end (hazard H024)
        for event in events:
            self._failed = self._failed or isinstance(event, Error)
            # Should a stage change what comes later, it has to be known what this was.
            self._chat.deltas(event)
            if isinstance(event, MessageStart):
                self._head.read(event)
                self._begun = True
            self._done = self._done or isinstance(event, MessageStop)  # it is in the frame of [DONE]
        self._chat.annotations.clear()  # they are in the frame too
        self._chat.held = 0
        self._finished = self._finished or bool(self._chat.finish)
        if not frame.data:
            if _is_plain(frame.raw):
                yield frame  # a comment; a lone `id:` or `retry:` is nothing that the OpenAI SDK survives
            return
        if self._renamed and frame.data.startswith(b"{"):
            try:
                yield Frame(with_model(frame.data, self._renamed), frame.event)
            except BAD_JSON:
                yield frame
            return
        yield frame if _is_plain(frame.raw) else Frame(frame.data, frame.event)

    # ── frames of our own ───────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, event: Event) -> Iterator[Frame | Error]:
        if fault := fault_of(event):
            self._failed = True
            yield fault
        elif isinstance(event, Ping):
            yield _KEEPALIVE
        elif isinstance(event, Unknown):
            if event.frame is not None and event.frame.whole:
                yield Error("upstream", "the upstream answered with JSON that is no chat completion", 502)
        elif isinstance(event, MessageStop):
            self._stopped = True
        elif not self._done:
            if not self._begun:
                self._begun = True
                if isinstance(event, MessageStart):  # of several messages in a row the first names the answer
                    self._head.read(event)
                yield self._chunk({"role": "assistant", "content": ""})  # the role, once (hazard H093)
            for delta in self._chat.deltas(event):
                yield self._chunk(delta)
            if self._chat.held > self._limit:
                self._done = True
                yield Error("upstream", f"the upstream cited pages in more than {self._limit} bytes", 502)

    def _end(self) -> Iterator[Frame]:
        if not self._begun:
            yield self._chunk({"role": "assistant", "content": ""})
        if not self._finished:
            if self._chat.annotations:
                yield self._chunk({"annotations": self._chat.annotations})
            yield self._chunk({}, self._chat.ending)
        if self._wants_usage and not (self._same and self._finished):
            yield _frame(self._head.write("chat.completion.chunk") | {"choices": [], "usage": self._chat.usage()})
        yield _DONE

    def _chunk(self, delta: Wire, finish: str | None = None) -> Frame:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _frame(self._head.write("chat.completion.chunk") | {"choices": [choice]})

    def _of_text(self, text: str) -> Frame:
        """The chunk of a piece of text, of which there are many: only the text itself is encoded."""
        if self._text is None:
            before, _, after = self._chunk({"content": "\0"}).data.partition(b'"\\u0000"')
            self._text = before, after
        before, after = self._text
        return Frame(before + msgspec.json.encode(text) + after)


def _is_plain(raw: bytes) -> bool:
    """Whether a frame has no `id:` or `retry:` line, after which the OpenAI SDK for Python fails on empty blocks."""
    if raw.startswith((b"data:", b"event:")) and b"\nid" not in raw and b"\nretry" not in raw and b"\r" not in raw:
        return True
    lines = raw.replace(b"\r", b"\n").split(b"\n")
    return not any(line.partition(b":")[0] in (b"id", b"retry") for line in lines)


def _frame(wire: Wire) -> Frame:
    return Frame(msgspec.json.encode(wire))


class Fold:
    """The answer that a stream of events amounts to, as one `chat.completion`."""

    def __init__(self, exchange: Exchange, *, same: bool) -> None:
        self._head = _Head(exchange, same=same)
        self._chat = Chat(Ledger() if same else exchange.ledger)
        self._texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
        self._calls: list[Wire] = []
        self._arguments: list[list[str]] = []
        self._begun = self._stopped = False

    def add(self, event: Event, /) -> Error | None:
        if fault := fault_of(event):
            return fault
        if not self._begun and not isinstance(event, Ping | Unknown | MessageStop):
            self._begun = True
            if isinstance(event, MessageStart):  # of several messages in a row the first names the answer
                self._head.read(event)
        self._stopped = self._stopped or isinstance(event, MessageStop)
        for delta in self._chat.deltas(event):
            for key, pieces in self._texts.items():
                if key in delta:
                    pieces.append(delta[key])
            for call in delta.get("tool_calls", ()):
                self._call(call)
        return None

    def _call(self, piece: Wire) -> None:
        if "id" in piece:
            self._calls.append(piece)
            self._arguments.append([])
        self._arguments[piece["index"]].append(piece["function"]["arguments"])

    def whole(self) -> bytes | Error | None:
        if not self._begun:
            return None
        if not self._stopped:
            return UNENDED
        texts = {key: "".join(pieces) for key, pieces in self._texts.items()}
        message: Wire = {"role": "assistant", "content": texts["content"] or None, "refusal": None}
        if texts["reasoning_content"]:
            message["reasoning_content"] = texts["reasoning_content"]
        if self._chat.annotations:
            message["annotations"] = self._chat.annotations
        if self._calls:
            message["tool_calls"] = [self._written(call) for call in self._calls]
        elif message["content"] is None:
            message["content"] = ""  # null stands for "there are calls" alone
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._chat.ending}
        wire = self._head.write("chat.completion") | {"choices": [choice], "usage": self._chat.usage()}
        return msgspec.json.encode(wire)

    def _written(self, call: Wire) -> Wire:
        function = {"name": call["function"]["name"], "arguments": "".join(self._arguments[call["index"]])}
        return {"id": call["id"], "type": "function", "function": function}
