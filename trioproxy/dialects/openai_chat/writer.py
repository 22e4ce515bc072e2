"""Events → frames: what the `translate` stage is for an OpenAI chat client.

Events that still know the frame they were read from, in the same dialect, leave as that frame once all of them have
come unchanged; a style of the route's own changes frames with reasoning or calls, and no others. An error of ours is
passed on as it is: the proxy gives it the right HTTP status, or ends the stream.
"""

from collections.abc import Iterable, Iterator

import msgspec

from trioproxy.dialects.fold import UNENDED
from trioproxy.dialects.openai.frames import KEEPALIVE, is_plain
from trioproxy.dialects.openai_chat.chat import Chat, Wire, fault_of
from trioproxy.dialects.openai_chat.respell import Respeller, first_delta, says_more, take_calls, unknown_fields
from trioproxy.dialects.peek import BAD_JSON, decode, with_model
from trioproxy.dialects.style import Style
from trioproxy.items import (
    Error,
    Event,
    Frame,
    MessageStart,
    MessageStop,
    Ping,
    TextDelta,
    ThinkingDelta,
    ToolInputDelta,
    Unknown,
)
from trioproxy.stage import Exchange, Stage

__all__ = ["Fold", "StreamWriter"]

_DONE = Frame(b"[DONE]")
_BEFORE_CALLS = ("content", "reasoning_content", "reasoning", "reasoning_details")  # what a delta says before its calls
_QUIET = 8  # pieces of calls that are held before the client gets a sign of life


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
    """Writes a stream of chunks. `same`: the upstream speaks the same dialect."""

    def __init__(self, exchange: Exchange, style: Style, *, same: bool) -> None:
        self._same, self._wants_usage, self._limit = same, exchange.usage_wanted, exchange.event_limit
        self._head = _Head(exchange, same=same)
        self._renamed = self._head.renamed
        self._chat = Chat(exchange, style, same=same)
        self._single = style.tool_calls == "single"
        self._respeller = Respeller(style.reasoning, exchange.ledger) if same and style.reasoning else None
        self._restyles = same and bool(self._single or self._respeller)
        self._changes = bool(self._renamed or self._restyles)  # the upstream's own frames
        self._legacy = False  # the upstream calls by `function_call`, as the client asked: that stays as it is
        self._quiet = 0
        self._source: Frame | None = None  # the frame that these events were read from
        self._gathered: list[Event] = []
        self._text: tuple[bytes, bytes] | None = None  # what stands around the text of a chunk
        self._thought: tuple[bytes, bytes] | None = None
        self._begun = self._finished = self._stopped = self._done = self._failed = False

    def feed(self, event: Event, /) -> Iterable[Frame | Error]:
        frame = event.frame
        if self._source is None:
            if frame is None or not self._same or frame.whole:
                if type(event) is TextDelta and self._begun and event.text and not self._done:
                    return (self._of_text(event.text),)
                if type(event) is ThinkingDelta and self._begun and event.thinking and not self._done:
                    return self._of_thinking(event)
                return self._write(event)
            if event.parts == 1:
                if (
                    type(event) is TextDelta
                    and not (self._changes or self._done)
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
        begun, wire = self._begun, self._restyled(frame) if self._restyles else None
        calls = self._track(events)
        if fault := self._chat.fault(self._limit):
            self._done = True
            yield fault
        elif wire is not None:
            yield from self._tell(wire, calls, begun=begun)
        else:
            yield from (self._chunk({"tool_calls": [call]}) for call in calls)
            yield from self._as_it_is(frame)

    def _track(self, events: list[Event]) -> list[Wire]:
        """Note what a frame says, should a stage change what comes later; the calls that are complete with it."""
        calls: list[Wire] = []
        for event in events:
            self._failed = self._failed or isinstance(event, Error)
            for delta in self._chat.deltas(event):
                calls += delta.get("tool_calls", ())
            if isinstance(event, MessageStart):
                self._head.read(event)
                self._begun = True
            self._done = self._done or isinstance(event, MessageStop)  # it is in the frame of [DONE]
        self._chat.told_annotations()  # they are in the frame too
        self._finished = self._finished or bool(self._chat.finish)
        return calls if self._single and not self._legacy else []

    def _as_it_is(self, frame: Frame) -> Iterator[Frame]:
        if not frame.data:
            if is_plain(frame.raw):
                yield frame  # a comment; a lone `id:` or `retry:` is nothing that the OpenAI SDK survives
            return
        if self._renamed and frame.data.startswith(b"{"):
            try:
                yield Frame(with_model(frame.data, self._renamed), frame.event)
            except BAD_JSON:
                yield frame
            return
        yield frame if is_plain(frame.raw) else Frame(frame.data, frame.event)

    # ── … and those that may not ────────────────────────────────────────────────────────────────────────────────────

    def _restyled(self, frame: Frame) -> Wire | None:
        """What a frame says, its reasoning respelled and its calls taken out; None if it can leave as it is."""
        data = frame.data
        thinks = self._respeller is not None and (b'"reasoning' in data or b'"thinking"' in data)
        calls = self._single and not self._legacy and (b'"tool_calls"' in data or b'"function_call"' in data)
        if not (thinks or calls):
            return None
        try:
            wire, _ = decode(data)
        except BAD_JSON:
            return None
        respelled = self._respeller is not None and self._respeller.apply(wire)
        self._legacy = self._legacy or bool(first_delta(wire).get("function_call"))
        taken = take_calls(wire) if calls and not self._legacy else []
        if calls:
            self._chat.calls.pass_by(first_delta(wire).get("tool_calls"))
        for call in taken:
            if isinstance(call.get("id"), str) and (fields := unknown_fields(call)):
                self._chat.calls.beside(call["id"], fields, len(data))
        return wire if respelled or taken else None

    def _tell(self, wire: Wire, calls: list[Wire], *, begun: bool) -> Iterator[Frame]:
        """A chunk that has changed, and the calls that are complete with it: behind a role and text, before an end."""
        delta = first_delta(wire)
        if calls and (not begun or any(map(delta.get, _BEFORE_CALLS))):
            delta["tool_calls"] = [*delta.get("tool_calls", ()), *calls]
        else:
            yield from (self._chunk({"tool_calls": [call]}) for call in calls)
        if not begun or says_more(wire):
            yield _frame(wire | {"model": self._renamed} if self._renamed else wire)
        elif not calls:
            yield from self._breath()

    # ── frames of our own ───────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, event: Event) -> Iterator[Frame | Error]:
        if fault := fault_of(event):
            self._failed = True
            yield fault
        elif isinstance(event, Ping):
            yield KEEPALIVE
        elif isinstance(event, Unknown):
            if event.frame is not None and event.frame.whole:
                yield Error("upstream", "the upstream answered with JSON that is no chat completion", 502)
        elif isinstance(event, MessageStop):
            yield from self._stop(event)
        elif not self._done:
            if not self._begun:
                self._begun = True
                if isinstance(event, MessageStart):  # of several messages in a row the first names the answer
                    self._head.read(event)
                yield self._chunk({"role": "assistant", "content": ""})  # the role, once (hazard H093)
            for delta in self._chat.deltas(event):
                yield self._chunk(delta)
            if fault := self._chat.fault(self._limit):
                self._done = True
                yield fault
            elif self._single and type(event) is ToolInputDelta:
                yield from self._breath()

    def _stop(self, event: MessageStop) -> Iterator[Frame | Error]:
        self._stopped = True
        if self._begun and not self._done:
            yield from map(self._chunk, self._chat.deltas(event))  # calls that it left open
            if torn := self._chat.torn:
                self._done = True
                yield torn

    def _breath(self) -> Iterator[Frame]:
        """A sign of life now and then while a call is held: `keepalive` saw its pieces pass, and gives none."""
        self._quiet += 1
        if self._quiet % _QUIET == 0:
            yield KEEPALIVE

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
            self._text = self._around("content")
        before, after = self._text
        return Frame(before + msgspec.json.encode(text) + after)

    def _of_thinking(self, event: ThinkingDelta) -> Iterable[Frame | Error]:
        if not self._chat.thinks:
            return self._write(event)
        if self._thought is None:
            self._thought = self._around(self._chat.thinks)
        before, after = self._thought
        return (Frame(before + msgspec.json.encode(event.thinking) + after),)

    def _around(self, field: str) -> tuple[bytes, bytes]:
        """What stands around the text of a chunk that says nothing but this field."""
        before, _, after = self._chunk({field: "\0"}).data.rpartition(b'"\\u0000"')
        return before, after


def _frame(wire: Wire) -> Frame:
    return Frame(msgspec.json.encode(wire))


class Fold:
    """The answer that a stream of events amounts to, as one `chat.completion`."""

    def __init__(self, exchange: Exchange, style: Style, *, same: bool) -> None:
        self._head = _Head(exchange, same=same)
        self._chat = Chat(exchange, style, same=same, whole=True)
        self._texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "reasoning": []}
        self._details: list[tuple[Wire, list[str]]] = []  # of `reasoning_details`, each with the pieces of its text
        self._calls: list[Wire] = []
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
            for piece in delta.get("reasoning_details", ()):
                self._detail(piece)
            for key, pieces in self._texts.items():
                if key in delta:
                    pieces.append(delta[key])
            self._calls += delta.get("tool_calls", ())
        return None

    def _detail(self, piece: Wire) -> None:
        """The pieces of a block of thinking, which have its number, are one."""
        if not self._details or self._details[-1][0]["index"] != piece["index"]:
            self._details.append((piece, []))
        detail, pieces = self._details[-1]
        pieces += [piece["text"]] if "text" in piece else []
        detail.update(piece)

    def whole(self) -> bytes | Error | None:
        if not self._begun:
            return None
        if not self._stopped:
            return UNENDED
        if torn := self._chat.torn:
            return torn
        texts = {key: "".join(pieces) for key, pieces in self._texts.items()}
        message: Wire = {"role": "assistant", "content": texts.pop("content") or None, "refusal": None}
        message |= {field: text for field, text in texts.items() if text}
        if self._details:
            message["reasoning_details"] = [
                detail | ({"text": "".join(pieces)} if pieces else {}) for detail, pieces in self._details
            ]
        if self._chat.annotations:
            message["annotations"] = self._chat.annotations
        if self._calls:
            calls = sorted(self._calls, key=lambda call: int(call["index"]))
            message["tool_calls"] = [{key: call[key] for key in call if key != "index"} for call in calls]
        elif message["content"] is None:
            message["content"] = ""  # null stands for "there are calls" alone
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._chat.ending}
        wire = self._head.write("chat.completion") | {"choices": [choice], "usage": self._chat.usage()}
        return msgspec.json.encode(wire)
