"""Frames → events: what the `parse` stage is for an OpenAI Chat upstream.

Every event notes the frame it was read from, and a frame that says nothing of the answer is carried as `Unknown`, so
that for a client of the same dialect what nobody touched leaves as it came. An answer that stops before its end is an
error, never an end.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from trioproxy.dialects.errors import is_error, read_error_object
from trioproxy.dialects.openai.answers import citation, read_usage, thought
from trioproxy.dialects.openai_chat.calls import Calls
from trioproxy.dialects.openai_chat.chunks import (
    Call,
    Choice,
    Chunk,
    Delta,
    is_signed,
    read_text,
    reasoning_of,
    segments,
)
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Unknown,
    Usage,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage

__all__ = ["Reader"]

_CHUNK = msgspec.json.Decoder(Chunk)

# finish_reason → stop_reason (hazard H023). A call that was made wins over "stop": forced calls end so (H022).
_STOP_REASONS: dict[str, str] = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",  # Mistral
    "content_filter": "refusal",
    "eos": "end_turn",  # Together
    "end_turn": "end_turn",
}
_FAILED = frozenset({"error", "insufficient_system_resource"})  # OpenRouter; DeepSeek


class Reader(Stage[Frame, Event]):
    """Reads one answer: a stream of frames, or one whole body unfolded into the events its stream would have had.

    Of several choices (`n`) the first is the answer; the others pass within their frames, to a client that asked so.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._same = exchange.client_dialect == exchange.upstream_dialect
        self._ledger = Ledger() if self._same else exchange.ledger  # within a dialect nothing is lost
        self._done = exchange.answered_here  # then no answer is to come
        self._calls = Calls(exchange.renamed)
        self._begun = False
        self._block: int | None = None  # the open block of text or reasoning
        self._thinks = False  # which of them it is
        self._next = 0  # the next block's index
        self._blank: list[str] = []  # reasoning that is all white space so far
        self._blanks = 0  # characters of it
        self._limit = exchange.event_limit
        self._finish = ""
        self._stops = _stops(exchange)
        self._met: str | None = None  # the one of these that ended the answer
        self._usage: Usage | None = None
        self._reasoning = 0  # how many tokens of the output
        self._errors = 0

    def feed(self, frame: Frame, /) -> Iterable[Event]:
        if self._block is not None and not self._thinks and not self._done and (text := read_text(frame.data)):
            delta = TextDelta(self._block, text)
            delta.__dict__["frame"] = frame  # read_from, without a call: most of a stream passes here
            return (delta,)
        if not frame.data or self._done:
            # A comment, a lone `id:`; or something behind the end (hazard H024).
            return (Unknown(frame.event, frame.data).read_from(frame),)
        if frame.data[:1] != b"{" and frame.data.strip() == b"[DONE]":
            events = list(self._finished())
        else:
            events = list(self._read(frame))
        if frame.whole:
            # An answer that failed and comes whole is its error alone: there is still a status to say so (hazard H110).
            failed: list[Event] = [event for event in events if isinstance(event, Error)]
            events = failed[:1] or events
        if not events:
            events.append(Unknown(frame.event, frame.data))
        # An error made here must not leave as the frame that it is about; one that the upstream tells does.
        read = [event for event in events if not isinstance(event, Error) or event.frame is not None]
        for event in read:
            event.read_from(frame, parts=len(read))
        return events

    def close(self) -> Iterable[Event]:
        if self._done or self._errors:
            return
        if self._finish:
            yield from self._finished()  # many providers send no [DONE]
            return
        got = "in the middle of an answer" if self._begun else "before any answer"
        yield Error("upstream", f"the upstream's answer ended {got}", 502)

    def stats(self) -> Mapping[str, int]:
        return {"upstream_errors": self._errors} if self._errors else {}

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, frame: Frame) -> Iterator[Event]:
        try:
            chunk = _CHUNK.decode(frame.data)
        except BAD_JSON as exc:
            yield from self._odd(frame, exc)
            return
        if chunk.error or not chunk.choices:
            try:
                wire = msgspec.json.decode(frame.data)
            except BAD_JSON:  # in a field that nobody asked for
                wire = {"error": chunk.error}
            if chunk.choices is None and not is_error(wire) and not isinstance(chunk.usage, dict):
                if frame.whole and not self._same:
                    yield Error("upstream", "the upstream answered with JSON that is no chat completion", 502)
                self._done = self._done or frame.whole
                return
            yield from self._chunk(chunk, whole=frame.whole)
            if (error := read_error_object(wire)) is not None:
                self._errors += 1
                error.read_from(frame)
                yield error
            return
        yield from self._chunk(chunk, whole=frame.whole)
        if frame.whole:
            yield from self._finished()

    def _odd(self, frame: Frame, exc: Exception) -> Iterator[Event]:
        """Data that is no chunk: what is no JSON object at all is the upstream's own affair, a broken one is not."""
        data = frame.data.strip()
        if not data.startswith(b"{") and not frame.whole and isinstance(exc, msgspec.DecodeError):
            return
        try:
            wire = msgspec.json.decode(data)
        except BAD_JSON:
            wire = None
        error = read_error_object(wire)
        self._errors += 1
        if error is not None:
            error.read_from(frame)
        yield error or Error("upstream", "the upstream sent a part of its answer that cannot be read", 502)

    def _chunk(self, chunk: Chunk, *, whole: bool) -> Iterator[Event]:
        usage = _usage_of(chunk.usage) or _usage_of(_inner(chunk.x_groq, "usage"))
        if usage and (usage[0].input_tokens or usage[0].output_tokens or self._usage is None):
            self._usage, self._reasoning = usage  # cumulative: the last that says something holds (hazard H043)
        choices = chunk.choices or ()
        if not self._begun and choices:
            self._begun = True
            self._calls.answer = str(chunk.id or "")
            yield MessageStart(self._calls.answer, str(chunk.model or ""))
        finished = bool(self._finish)
        if chunk.citations or chunk.search_results:
            field = "citations" if chunk.citations else "search_results"
            self._ledger.note(field, "pages that the text names by number")
        for choice in choices:
            if choice.index in (0, None, "0"):
                yield from self._choice(choice, whole=whole)
            else:
                self._ledger.note("choices[]", "of several answers only the first is told")
        if usage and finished and not whole:
            yield MessageDelta(usage=self._usage, extra=thought(self._reasoning))

    def _choice(self, choice: Choice, *, whole: bool) -> Iterator[Event]:
        # Perplexity gives both: in a stream all so far beside the piece, in a whole body an empty piece beside all.
        delta = (choice.message or choice.delta) if whole else (choice.delta or choice.message)
        if choice.logprobs:
            self._ledger.note("choices[].logprobs", "anthropic has none")
        if delta is not None:
            yield from self._delta(delta, whole=whole)
        reason = choice.finish_reason
        if not reason:
            return
        if str(reason) in _FAILED:
            self._errors += 1
            yield Error("upstream", f"the upstream gave up in the middle of its answer ({reason})", 502)
            return
        self._finish = str(reason)
        met = (choice.stop_reason, choice.matched_stop)
        self._met = next((each for each in met if isinstance(each, str) and each in self._stops), self._met)
        yield from self._close_block()
        for event in self._calls.settle(self._next, last=False):
            self._next += isinstance(event, BlockStart)
            yield event
        yield self._message_delta()

    def _delta(self, delta: Delta, *, whole: bool) -> Iterator[Event]:
        """Reasoning before text before calls: that is the order in which a model makes them (hazard H011)."""
        if reasoning := reasoning_of(delta):
            yield from self._say(reasoning, thinks=True)
        if delta.content:
            for thinks, text in segments(delta.content):
                yield from self._say(text, thinks=thinks)
            if isinstance(delta.content, list) and any(map(_is_picture, delta.content)):
                self._ledger.note("choices[].message.content[].image_url", "anthropic's models give no pictures")
        if delta.images:
            self._ledger.note("choices[].message.images", "anthropic's models give no pictures")
        if delta.audio and (transcript := _inner(delta.audio, "transcript")):
            self._ledger.note("choices[].message.audio", "only its transcript is said")
            if not delta.content:  # some say it in both places
                yield from self._say(str(transcript), thinks=False)
        if delta.refusal and isinstance(delta.refusal, str):
            yield from self._say(delta.refusal, thinks=False)
        if delta.annotations and isinstance(delta.annotations, list):
            yield from self._annotations(delta.annotations)
        if is_signed(delta.reasoning_details):
            self._ledger.note("choices[].message.reasoning_details", "signed or encrypted reasoning of another vendor")
        if delta.tool_calls or delta.function_call is not None:
            yield from self._made(delta, whole=whole)

    def _made(self, delta: Delta, *, whole: bool) -> Iterator[Event]:
        """The tool calls, or pieces of them."""
        calls = delta.tool_calls or []
        # A whole body's calls are each one of their own; of a stream's pieces `Calls` has to find out.
        begun = [True] * len(calls) if whole else self._calls.begun(calls)
        for place, (call, begins) in enumerate(zip(calls, begun, strict=True)):
            if call.function is None and call.custom is not None:
                self._ledger.note("choices[].message.tool_calls[].custom", "a call of a tool that is no function")
                continue
            yield from self._call(msgspec.structs.replace(call, index=place) if whole else call, begins=begins)
        if delta.function_call is not None:
            yield from self._call(Call(index=0, function=delta.function_call))

    def _say(self, text: str, *, thinks: bool) -> Iterator[Event]:
        if thinks and not (self._block is not None and self._thinks):
            # White space alone begins no block of reasoning (hazard H091).
            if not text.strip():
                self._blank.append(text)
                self._blanks += len(text)
                if self._blanks > self._limit:
                    yield self._too_large("white space")
                return
            text = "".join([*self._blank, text])
        if not text:
            return
        if self._block is None or self._thinks != thinks:
            yield from self._close_block()
            self._block, self._thinks = self._next, thinks
            self._next += 1
            yield BlockStart(self._block, Thinking() if thinks else Text())
        yield ThinkingDelta(self._block, text) if thinks else TextDelta(self._block, text)

    def _annotations(self, annotations: list[Any]) -> Iterator[Event]:
        """Web citations, as Anthropic has them: on the block of text that is open, or that they open."""
        for each in annotations:
            cited = citation(_inner(each, "url_citation"))
            if cited is None:
                self._ledger.note("choices[].message.annotations[]", "an annotation that is no citation of a page")
                continue
            if self._block is None or self._thinks:
                yield from self._close_block()
                self._block, self._thinks = self._next, False
                self._next += 1
                yield BlockStart(self._block, Text())
            yield OtherDelta(self._block, "citations_delta", {"delta": {"citation": cited}})

    def _call(self, call: Call, *, begins: bool = False) -> Iterator[Event]:
        yield from self._close_block()
        for event in self._calls.feed(call, self._next, begins=begins):
            self._next += isinstance(event, BlockStart)
            yield event
        if self._calls.held > self._limit:
            yield self._too_large("tool calls")

    def _too_large(self, what: str) -> Error:
        self._done = True
        return Error("upstream", f"the upstream sent more than {self._limit} bytes of {what}", 502)

    def _close_block(self) -> Iterator[Event]:
        self._blank, self._blanks = [], 0
        if self._block is not None:
            yield BlockStop(self._block)
            self._block = None

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _reason(self) -> str:
        """The stop_reason."""
        reason = _STOP_REASONS.get(self._finish)
        if reason is None and self._finish:
            self._ledger.note("choices[].finish_reason", "one nobody knows, taken for a stop")
        reason = reason or "end_turn"
        if reason in ("end_turn", "tool_use"):
            reason = "tool_use" if self._calls else "end_turn"
            if self._met is not None and (not self._calls or self._calls.cut):
                reason = "stop_sequence"  # a call that it cut must not look whole
        return reason

    def _message_delta(self) -> MessageDelta:
        reason = self._reason
        met = self._met if reason == "stop_sequence" else None
        return MessageDelta(reason, met, self._usage, thought(self._reasoning))

    def _finished(self) -> Iterator[Event]:
        """The answer is over: [DONE], or the end of a body or of a stream that said its reason."""
        self._done = True
        if fault := self._fault():
            yield Error("upstream", fault, 502)
            return
        yield from self._close_block()
        for event in self._calls.settle(self._next, last=True):
            self._next += isinstance(event, BlockStart)
            yield event
        if not self._finish:
            yield self._message_delta()
        yield MessageStop()

    def _fault(self) -> str:
        """Why the answer cannot end as it is; empty if it can."""
        if not self._begun:
            return "the upstream's answer ended before any answer"
        if not self._finish and self._calls.cut:
            # [DONE] and no reason: a call in pieces must not pass for a whole one (hazard H109).
            return "the upstream's answer ended in the middle of a tool's arguments"
        if self._same:
            return ""
        if self._calls.nameless:
            return "the upstream called a tool without saying which"
        # A call is cut where the limit of tokens or a stop sequence says so; never where it is to be made.
        return self._calls.fault if self._reason in ("end_turn", "tool_use") else ""


def _stops(exchange: Exchange) -> list[Any]:
    """The stop sequences that the client asked for: only these are told as what ended the answer (hazard H139)."""
    asked = exchange.request.extra.get("stop_sequences") if exchange.request else None
    return asked if isinstance(asked, list) else []


def _usage_of(wire: Any) -> tuple[Usage, int] | None:
    return read_usage(wire, "prompt", "completion")


def _inner(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _is_picture(part: Any) -> bool:
    return isinstance(_inner(part, "type"), str) and "image" in part["type"]
