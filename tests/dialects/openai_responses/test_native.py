"""The law of what stages do to a Responses stream that a Responses client gets: it is legal, and says what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.anthropic import flow
from tests.corpus import streams
from tests.responses import (
    begun,
    call,
    check,
    custom_call,
    ended,
    frames,
    item_events,
    message,
    reasoning,
    refusal,
    search,
    stream,
    text_part,
    wires,
)
from trioproxy.dialects.openai_responses.restored import says
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    MessageStop,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    Unknown,
    replace,
)
from trioproxy.stage import Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.reframe import Reframe
from trioproxy.stages.translate import Translate

Wire = dict[str, Any]
R = "openai-responses"
R_ON_R = Exchange(id="test", client_dialect=R, upstream_dialect=R)


def of_parts(place: int, *texts: str, id: str) -> list[Wire]:
    """A message of several parts, each told in one piece."""
    base: Wire = {"id": id, "type": "message", "role": "assistant"}
    done = {**base, "status": "completed", "content": [text_part(text) for text in texts]}
    inner = [
        {**wire, "content_index": number}
        for number, text in enumerate(texts)
        for wire in message(place, text, id=id)[1:-1]
    ]
    return item_events(place, {**base, "status": "in_progress", "content": []}, *inner, done=done)


def overlapping() -> bytes:
    """Three calls at once."""
    a = call(0, '{"a"', ":1}", id="fc_a", call_id="c_a")
    b = call(1, '{"b"', ":2}", id="fc_b", call_id="c_b")
    c = custom_call(2, "pa", "tch")
    order = [a[0], a[1], b[0], b[1], c[0], c[1], a[2], c[2], b[2], b[3], b[4], a[3], c[3], a[4], c[4]]
    return frames(*begun(), *order, ended(a[-1]["item"], b[-1]["item"], c[-1]["item"]))


def openrouter() -> bytes:
    """That reasoning is over is told only behind the text that follows it (recorded)."""
    thought, said = reasoning(0, "hm"), message(1, "4")
    order = [*thought[:5], *said[:3], thought[5], *said[3:], thought[6]]
    return frames(*begun(), *order, ended(thought[-1]["item"], said[-1]["item"]))


MADE = (
    stream(reasoning(0, "one", "two three"), search(1), message(2, "Gr", "üße"), call(3, '{"a"', ":1}")),
    stream(custom_call(0, "pa", "tch"), call(1, "{}"), refusal(2, "n", "o"), reasoning(3, id="rs_3")),
    stream(of_parts(0, "one", "secret", "x", id="msg_1"), call(1, "{}"), of_parts(2, "p", "q", id="msg_2")),
    overlapping(),
    openrouter(),
)


def recorded() -> Iterator[bytes]:
    """Those of the recorded streams that are short and legal."""
    for case in streams(R):
        try:
            if len(case.body) < 30_000:
                check(case.body)
                yield case.body
        except (AssertionError, LookupError, ValueError):
            pass  # edited, cut, or of a provider that has its own mind


# ── what stages do ──────────────────────────────────────────────────────────────────────────────────────────────────


def shout(event: Event) -> list[Event]:
    match event:
        case TextDelta():
            return [replace(event, text=event.text.upper() + "!")]
        case ThinkingDelta():
            return [replace(event, thinking=f"T{event.thinking}")]
        case BlockStart(block=ToolUse() as block):
            return [replace(event, block=replace(block, name="fetch"))]
    return [replace(event)]


def add(event: Event) -> list[Event]:
    """A block of its own, behind the event; each goes by another index, as stages have to see to."""
    index = 1000 + id(event)
    return [event, BlockStart(index, Text()), TextDelta(index, "?"), BlockStop(index)]


def think(event: Event) -> list[Event]:
    index = 1000 + id(event)
    return [event, BlockStart(index, Thinking()), ThinkingDelta(index, "?"), BlockStop(index)]


def last_word(event: Event) -> list[Event]:
    return [TextDelta(event.index, "[end]"), event] if isinstance(event, BlockStop) else [event]


DEEDS: dict[str, Callable[[Event], list[Event]]] = {
    "keep": lambda event: [event],
    "copy": lambda event: [replace(event)],
    "drop": lambda event: [],
    "twice": lambda event: [event, event],
    **{deed.__name__: deed for deed in (shout, add, think, last_word)},
}


class Meddling(Stage[Event, Event]):
    """Does one thing after the other, over and over, and remembers what it gave, without where that was read from."""

    def __init__(self, deeds: list[str]) -> None:
        self._deeds, self._at = deeds, 0
        self.gave: list[Event] = []

    def feed(self, event: Event, /) -> Iterable[Event]:
        given = [event]
        if not isinstance(event, MessageStop | Error | Unknown):
            given = DEEDS[self._deeds[self._at % len(self._deeds)]](event)
            self._at += 1
        self.gave += [replace(each) for each in given]
        return given


deeds = st.lists(st.sampled_from([*DEEDS, *["keep"] * 8]), min_size=1, max_size=16)


def said(output: list[Wire]) -> dict[str, list[Any]]:
    """What items say: of one kind, in any order, as those that overlap are told in more than one."""
    texts: dict[str, list[Any]] = {"message": [], "reasoning": [], "call": []}
    for kind, *what in filter(None, map(says, output)):
        if kind == "call":
            id, name, arguments = what
            made = id.startswith("toolu_")  # by us, as the same id came twice: it depends on the answer's
            texts["call"].append(("made" if made else id, name, arguments or "{}"))
        else:
            texts[kind] += what[0].replace("\n", "")  # what is between the parts of a summary
    return {kind: sorted(each) for kind, each in texts.items()}


def law(body: bytes, done: list[str]) -> None:
    stage, sent = Meddling(done), b""
    for each in flow([Deframe(), Parse(), stage, Translate(), Reframe()], [[body]], R_ON_R):
        if isinstance(each, Error):
            check(sent, whole=False, gaps=True)
            return
        sent += each
    end = check(sent, gaps=True)
    if set(done) == {"keep"}:
        assert sent == body
    ours = flow([Translate(), Reframe()], [stage.gave], R_ON_R)  # nothing of it is the upstream's
    if not any(isinstance(each, Error) for each in ours):
        assert said(end["output"]) == said(wires(b"".join(ours))[-1]["response"]["output"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(MADE), deeds)
def test_whatever_a_stage_does_the_stream_is_legal_and_says_just_that_or_an_error(body: bytes, done: list[str]) -> None:
    law(body, done)


def test_so_it_is_with_every_recorded_stream() -> None:
    bodies = list(recorded())
    assert len(bodies) > 20
    for number, body in enumerate(bodies):
        law(body, ["keep", "keep", "shout", "drop", "keep", "last_word", "copy", "add"][number % 3 :])
        law(body, ["last_word"])


# ── one by one ──────────────────────────────────────────────────────────────────────────────────────────────────────


def changed(body: bytes, *done: str) -> Wire:
    out = flow([Deframe(), Parse(), Meddling(list(done)), Translate(), Reframe()], [[body]], R_ON_R)
    return check(b"".join(out), gaps=True)


def test_what_is_added_just_before_a_text_ends_is_a_part_of_it() -> None:
    """Its end, told by then in the upstream's words, has waited for the block's."""
    [item] = changed(stream(message(0, "Hello")), "last_word")["output"]
    assert [part["text"] for part in item["content"]] == ["Hello[end]"]


def test_reasoning_that_was_announced_ends_though_all_of_its_text_is_left_out() -> None:
    class Hiding(Stage[ThinkingDelta, ThinkingDelta]):
        def feed(self, event: ThinkingDelta, /) -> Iterable[ThinkingDelta]:
            return ()

    for body in (openrouter(), *recorded()):
        end = check(b"".join(flow([Deframe(), Parse(), Hiding(), Translate(), Reframe()], [[body]], R_ON_R)), gaps=True)
        assert not any(part.get("text") for item in end["output"] for part in item.get("summary") or ())


def test_a_part_that_is_changed_leaves_those_before_it_and_behind() -> None:
    body = stream(of_parts(0, "one", "secret", "three", id="msg_1"))

    class Redacting(Stage[TextDelta, TextDelta]):
        def feed(self, event: TextDelta, /) -> Iterable[TextDelta]:
            return [replace(event, text="***") if event.text == "secret" else event]

    out = b"".join(flow([Deframe(), Parse(), Redacting(), Translate(), Reframe()], [[body]], R_ON_R))
    [item] = check(out)["output"]
    assert [part["text"] for part in item["content"]] == ["one", "***", "three"]
    assert b"secret" not in out


def test_a_hosted_tool_whose_end_is_left_out_ends_as_the_answer_says() -> None:
    class Deaf(Stage[Unknown, Unknown]):
        def feed(self, event: Unknown, /) -> Iterable[Unknown]:
            return () if b'"status":"completed"' in event.data else (event,)

    body = stream(search(0), message(1, "a"))
    end = check(b"".join(flow([Deframe(), Parse(), Deaf(), Translate(), Reframe()], [[body]], R_ON_R)), gaps=True)
    assert end["output"] == [search(0)[-1]["item"], message(1, "a")[-1]["item"]]
