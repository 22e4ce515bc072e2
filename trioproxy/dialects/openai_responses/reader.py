"""Frames → events: what the `parse` stage is for an OpenAI Responses upstream.

Every event notes the frame it was read from. A frame that says nothing of its own is carried as `Unknown` without
data, one that nobody here understands with it, so that for a client of the same dialect what nobody touched leaves as
it came. An answer that stops before its end is an error, never an end.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from trioproxy.dialects.errors import read_error_object
from trioproxy.dialects.openai.answers import read_usage, thought
from trioproxy.dialects.openai_responses.assembly import AnyItem, Assembly
from trioproxy.dialects.openai_responses.events import DELTAS, Answer, Told, read_answer, read_delta, read_event
from trioproxy.dialects.openai_responses.told_items import Call, Message, Reasoning
from trioproxy.dialects.peek import BAD_JSON, decode
from trioproxy.items import Error, Event, Frame, MessageDelta, MessageStart, MessageStop, Unknown
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage

__all__ = ["Reader"]

# Events that tell a piece of a text: whose, and which of its texts.
_PIECES: dict[str, tuple[type[AnyItem], str]] = {
    "response.output_text.delta": (Message, "text"),
    "response.refusal.delta": (Message, "refusal"),
    "response.reasoning_summary_text.delta": (Reasoning, "summary"),
    "response.reasoning_text.delta": (Reasoning, "content"),
    "response.reasoning.delta": (Reasoning, "content"),  # the Open Responses specification
    "response.function_call_arguments.delta": (Call, "arguments"),
    "response.custom_tool_call_input.delta": (Call, "input"),
}
# … and all of it, with the field that does.
_WHOLES: dict[str, tuple[type[AnyItem], str, str]] = {
    "response.output_text.done": (Message, "text", "text"),
    "response.refusal.done": (Message, "refusal", "refusal"),
    "response.reasoning_summary_text.done": (Reasoning, "summary", "text"),
    "response.reasoning_text.done": (Reasoning, "content", "text"),
    "response.reasoning.done": (Reasoning, "content", "text"),
    "response.function_call_arguments.done": (Call, "arguments", "arguments"),
    "response.custom_tool_call_input.done": (Call, "input", "input"),
}
# Events that say nothing that another does not.
_QUIET = frozenset(
    {
        "response.queued",
        "response.in_progress",
        "response.content_part.added",
        "response.reasoning_part.added",
        "response.reasoning_summary_part.added",
        "keepalive",  # OpenAI, undocumented
    }
)
# Those of them that announce a part, and of what.
_OPENING: dict[str, type[AnyItem]] = {
    "response.content_part.added": Message,
    "response.reasoning_part.added": Reasoning,
    "response.reasoning_summary_part.added": Reasoning,
}
# The statuses of a response that hold against the name of the event that ends it.
_NOT_COMPLETED = ("failed", "cancelled", "incomplete", "error", "expired")
# How an answer ended early → stop_reason (hazard H023).
_CUT: dict[Any, str] = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}
# The statuses of a response that is no answer, or not yet, and what is to be said of it.
_UNANSWERED: dict[Any, str] = {
    "failed": "the upstream failed to answer, and does not say why",
    "cancelled": "the upstream's answer was cancelled",
    "error": "the upstream failed to answer, and does not say why",
    "expired": "the upstream gave up on its answer after a time",
    "queued": "the upstream answers in the background, which only clients of its own dialect can wait for",
    "in_progress": "the upstream answers in the background, which only clients of its own dialect can wait for",
}


class Reader(Stage[Frame, Event]):
    """Reads one answer: a stream of frames, or one whole body unfolded into the events its stream would have had."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._limit = exchange, exchange.event_limit
        self._same = exchange.client_dialect == exchange.upstream_dialect
        self._ledger = Ledger() if self._same else exchange.ledger  # within a dialect nothing is lost
        self._output = Assembly(exchange, self._ledger)
        self._begun = self._stopped = False
        self._done = exchange.answered_here  # then no answer is to come
        self._failing: tuple[Error, Frame] | None = None  # an error that a `response.failed` may follow
        self._errors = 0
        self._number = 0  # of the next event

    def feed(self, frame: Frame, /) -> Iterable[Event]:
        if (
            (frame.event in DELTAS or not frame.event)
            and not (self._done or self._failing or frame.whole)
            and (delta := read_delta(frame.data))
            and (event := self._output.usual(delta, self._limit))
        ):
            known = event.__dict__  # read_from, without a call: most of a stream passes here
            known["frame"], known["number"] = frame, self._number
            self._number += 1
            return (event,)
        self._output.about = None
        if not frame.data:
            events: list[Event] = [Unknown("", b"")]  # a comment, or a lone id: or retry: field
        else:
            events = list(self._unfold(frame) if frame.whole else self._read(frame))
        # An error made here must not leave as the frame that it is about; one that the upstream tells does.
        read = [each for each in events if each.frame is frame or not (each.frame or isinstance(each, Error))]
        about = self._output.about.number if self._output.about is not None else -1
        for event in read:
            event.read_from(frame, len(read), about)
        return [self._counted(event) for event in events]

    def _counted(self, event: Event) -> Event:
        event.__dict__["number"] = self._number
        self._number += 1
        return event

    def close(self) -> Iterable[Event]:
        if self._failing is not None:
            yield self._counted(self._fail(*self._failing))
        elif not self._done:
            got = "in the middle of an answer" if self._begun else "before any answer"
            yield Error("upstream", f"the upstream's answer ended {got}", 502)

    def stats(self) -> Mapping[str, int]:
        return {"upstream_errors": self._errors} if self._errors else {}

    # ── a stream ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, frame: Frame) -> Iterator[Event]:
        told = read_event(frame.data)
        name = told.type if told is not None and isinstance(told.type, str) and told.type else frame.event
        if self._failing is not None and name != "response.failed":
            yield self._fail(*self._failing)  # nothing more is said of it
        if self._stopped and name == "response.created":
            # A router may send one answer after the other (M0).
            self._output = Assembly(self._exchange, self._ledger)
            self._begun = self._stopped = self._done = False
        if self._done:
            yield Unknown(name, frame.data)  # behind the end (hazard H024)
        elif told is None:
            # `[DONE]` and the like are the upstream's own affair; a broken event must not pass for a whole one.
            yield self._broken() if frame.data.lstrip()[:1] == b"{" else Unknown(name, frame.data)
        elif not name.startswith("response.") and (error := _error_of(frame.data, name)):
            self._failing = error, frame
        else:
            yield from list(self._told(told, name, frame)) or [Unknown(name, b"")]
            if self._output.blocks.held > self._limit:
                self._done = True
                yield Error("upstream", f"the upstream sent an answer of more than {self._limit} bytes", 502)

    def _told(self, told: Told, name: str, frame: Frame) -> Iterator[Event]:
        if name in _PIECES:
            yield from self._start()
            yield from self._output.piece(told, *_PIECES[name])
        elif name in _WHOLES:
            cls, source, field = _WHOLES[name]
            yield from self._start()
            yield from self._output.whole(told, cls, source, getattr(told, field))
        elif name in _PARTS:
            yield from self._start()
            yield from _PARTS[name](self._output, told)
        elif name in _ITEMS:
            if self._output.becomes_blocks(told.item):
                yield from self._start()
                yield from _ITEMS[name](self._output, told)
            else:
                yield Unknown(name, frame.data)
        elif name == "response.created":
            yield from self._start(read_answer(told.response))
        elif name in _ENDS:
            yield from self._end(read_answer(told.response) or Answer(), _ENDS[name], frame)
        elif name not in _QUIET:
            yield Unknown(name, frame.data)
        elif name in _OPENING:
            self._output.mention(told, _OPENING[name])

    def _start(self, answer: Answer | None = None) -> Iterator[Event]:
        """The message begins, if it has not (hazards H003, H004)."""
        if self._begun:
            return
        self._begun = True
        id, model = (answer.id, answer.model) if answer is not None else ("", "")
        self._output.blocks.answer = str(id or "")
        yield MessageStart(self._output.blocks.answer, str(model or ""))

    # ── a whole body ────────────────────────────────────────────────────────────────────────────────────────────────

    def _unfold(self, frame: Frame) -> Iterator[Event]:
        self._done = True
        answer = read_answer(frame.data)
        if answer is None or not _is_response(answer):
            yield self._no_response(frame)
        elif self._same and str(answer.status) in _UNANSWERED:
            self._errors += answer.status == "failed"
            yield Unknown("", frame.data)
        else:
            events = list(self._end(answer, str(answer.status), frame))
            # An answer that failed is its error alone: there is still a status to say so (hazard H110).
            failed: list[Event] = [event for event in events if isinstance(event, Error)]
            yield from failed[:1] or events

    def _no_response(self, frame: Frame) -> Event:
        try:
            wire, _ = decode(frame.data)
        except BAD_JSON:
            return Error("upstream", "the upstream's answer is not JSON, or was cut", 502)
        if (error := read_error_object(wire)) is not None:
            return self._fail(error, frame)
        if self._same:
            return Unknown("", frame.data)
        return Error("upstream", "the upstream answered with JSON that is no response", 502)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, answer: Answer, status: str, frame: Frame) -> Iterator[Event]:
        """The answer is over, as the last event of a stream says, or a body."""
        status = answer.status if answer.status in _NOT_COMPLETED else status
        usage, reasoning = read_usage(answer.usage, "input", "output") or (None, 0)
        if status in _UNANSWERED or answer.error:
            yield from self._failed(answer, MessageDelta(None, None, usage, thought(reasoning)), status, frame)
            return
        self._done = True
        cut = status == "incomplete"
        yield from self._start(answer)
        yield from self._output.end(answer.output, cut=cut)
        if fault := self._fault(cut=cut):
            yield Error("upstream", fault, 502)
            return
        self._stopped = True
        reason = self._cut(answer) if cut else "tool_use" if self._output.called else "end_turn"
        yield MessageDelta(reason, None, usage, thought(reasoning))
        yield MessageStop()

    def _cut(self, answer: Answer) -> str:
        """The stop_reason of an answer that is not whole: it never looks as if it were."""
        details = answer.incomplete_details
        reason = details.get("reason") if isinstance(details, dict) else None
        if not isinstance(reason, str) or reason not in _CUT:
            self._ledger.note("incomplete_details.reason", "one that only its own dialect has, taken for a limit")
            return "max_tokens"
        return _CUT[reason]

    def _fault(self, *, cut: bool) -> str:
        """Why the answer cannot end as it is; empty if it can."""
        if self._same:
            return ""
        if self._output.nameless:
            return "the upstream called a tool without saying which"
        return "" if cut else self._output.fault

    def _failed(self, answer: Answer, spent: MessageDelta, status: str, frame: Frame) -> Iterator[Event]:
        """One error, of the event that ends the stream, however often it is told (hazard H027)."""
        error = read_error_object({"error": answer.error}) if answer.error else None
        if self._failing is not None:
            told, first = self._failing
            yield Unknown("error", b"").read_from(first)
            error = error or told
        if spent.usage is not None and self._begun:
            yield spent  # what has failed has cost, too (hazard H050)
        yield self._fail(error or Error("upstream", _UNANSWERED.get(status, _UNANSWERED["failed"]), 502), frame)

    def _fail(self, error: Error, frame: Frame) -> Event:
        self._done, self._failing = True, None
        self._errors += 1
        return error.read_from(frame)

    def _broken(self) -> Error:
        self._done = True
        self._errors += 1
        return Error("upstream", "the upstream sent a part of its answer that cannot be read", 502)


_PARTS: dict[str, Callable[[Assembly, Told], Iterator[Event]]] = {
    "response.content_part.done": Assembly.part,
    "response.reasoning_part.done": Assembly.part,  # vLLM, and Bedrock
    "response.reasoning_summary_part.done": Assembly.part,
    "response.output_text.annotation.added": Assembly.cite,
}
_ITEMS: dict[str, Callable[[Assembly, Told], Iterator[Event]]] = {
    "response.output_item.added": Assembly.added,
    "response.output_item.done": Assembly.done,
}
# The events that end a stream, each with the status that the response should have.
_ENDS = {
    **{f"response.{status}": status for status in ("completed", "incomplete", "failed", "cancelled")},
    "response.done": "completed",  # Codex's backend, at times: jlcodes99/cockpit-tools#2328, pleaseai/shunt#295
}


def _is_response(answer: Answer) -> bool:
    if answer.object is None:
        return isinstance(answer.output, list)
    return bool(answer.object == "response")


def _error_of(data: bytes, name: str) -> Error | None:
    """The error that an event is: by its name, or by an `error` within."""
    try:
        wire, _ = decode(data)
    except BAD_JSON:
        return None
    if name not in ("", "error") and not wire.get("error"):
        return None
    return read_error_object({**wire, "type": "error"} if name == "error" else wire)
