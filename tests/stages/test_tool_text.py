from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.chat import C_ON_A
from tests.events import answers, in_batches
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
    Ping,
    Request,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
    Unknown,
    replace,
)
from trioproxy.stage import Batch, Exchange, Receive, Send, Stage
from trioproxy.stages.keepalive import Keepalive
from trioproxy.stages.tool_text import ToolText
from trioproxy.testing import check_stage, drive
from trioproxy.units import Size

START, END = MessageStart("msg_1", "claude"), [MessageDelta("end_turn"), MessageStop()]


def says(index: int, *texts: str) -> list[Event]:
    return [BlockStart(index, Text()), *(TextDelta(index, text) for text in texts), BlockStop(index)]


def thinks(index: int, *texts: str) -> list[Event]:
    deltas = [ThinkingDelta(index, text) for text in texts]
    return [BlockStart(index, Thinking()), *deltas, SignatureDelta(index, "sig"), BlockStop(index)]


def calls(index: int, id: str = "t") -> list[Event]:
    return [BlockStart(index, ToolUse(id=id, name="f")), ToolInputDelta(index, "{}"), BlockStop(index)]


def fresh(**options: Any) -> ToolText:
    stage = ToolText(**options)
    assert list(stage.open(C_ON_A)) == []
    return stage


def asked(**fields: Any) -> Exchange:
    return replace(C_ON_A, request=Request("claude", **fields))


def test_the_text_of_a_turn_that_calls_a_tool_is_thinking() -> None:
    stage = fresh()
    assert stage.feed_all([START, *says(0, "Let me ", "look.")]) == [START]
    assert stage.feed_all(calls(1)) == [
        *(BlockStart(0, Thinking()), ThinkingDelta(0, "Let me "), ThinkingDelta(0, "look."), BlockStop(0)),
        *calls(1),
    ]
    # Behind a call nothing is waited for.
    assert stage.feed_all([BlockStart(2, Text()), TextDelta(2, "And then")]) == [
        BlockStart(2, Thinking()),
        ThinkingDelta(2, "\n\nAnd then"),
    ]
    assert stage.feed_all([BlockStop(2), *END]) == [BlockStop(2), *END]
    assert stage.stats() == {"tool_text": 1}


def test_the_text_of_the_last_turn_comes_at_its_end_the_very_same() -> None:
    stage = fresh()
    said = [event.read_from(Frame(b"x")) for event in says(0, "It is ", "42.")]
    assert stage.feed_all([START, *said]) == [START]
    out = stage.feed_all(END)
    assert all(mine is theirs for mine, theirs in zip(out, [*said, *END], strict=True))
    assert stage.stats() == {}


def test_each_message_is_judged_on_its_own() -> None:
    first = [START, *says(0, "one"), *calls(1), *END]
    second = [START, *says(0, "two"), *END]
    out = drive([ToolText()], [*first, *second, *first], exchange=C_ON_A)
    assert [event for event in out if isinstance(event, TextDelta)] == [TextDelta(0, "two")]
    assert [event.thinking for event in out if isinstance(event, ThinkingDelta)] == ["one", "\n\none"]
    # A message that never stopped ends where the next begins.
    assert drive([ToolText()], [START, *says(0, "cut"), *second], exchange=C_ON_A) == [
        *(START, *says(0, "cut")),
        *second,
    ]


def test_thinking_passes_at_once_unless_text_stands_before_it() -> None:
    stage = fresh()
    assert stage.feed_all(thinks(0, "hm")) == thinks(0, "hm")
    assert stage.feed_all([*says(1, "well"), *thinks(2, "so"), Ping(), Unknown("", b"")]) == [Ping(), Unknown("", b"")]
    assert stage.feed_all(calls(3)) == [
        *(BlockStart(1, Thinking()), ThinkingDelta(1, "\n\nwell"), ThinkingDelta(1, "\n\n"), BlockStop(1)),
        *thinks(2, "so"),
        *calls(3),
    ]


def test_blocks_of_one_text_are_not_set_apart() -> None:
    """A text with citations comes in several blocks, cut within its sentences."""
    cited = OtherDelta(1, "citations_delta", {"delta": {"citation": {"url": "https://x.example"}}})
    text = [*says(0, "They say "), BlockStart(1, Text()), cited, TextDelta(1, "so"), BlockStop(1), *says(2, ".")]
    out = drive([ToolText()], [START, *text, *calls(3), *END], exchange=C_ON_A)
    assert "".join(event.thinking for event in out if isinstance(event, ThinkingDelta)) == "They say so."
    assert cited in out


def test_what_a_text_begins_with_is_thinking_too() -> None:
    given = [START, *thinks(0, "hm"), BlockStart(1, Text(text="Look:")), BlockStop(1), *calls(2), *END]
    assert BlockStart(1, Thinking(thinking="\n\nLook:")) in drive([ToolText()], given, exchange=C_ON_A)
    whole = replace(START, content=(ToolUse(id="t", name="f"),))
    assert drive([ToolText()], [whole, *says(0, "so"), *END], exchange=C_ON_A)[1] == BlockStart(0, Thinking())


def test_more_than_within_is_let_go() -> None:
    stage = fresh(within=Size(500))
    assert stage.feed_all([START, BlockStart(0, Text()), TextDelta(0, "x" * 300)]) == [START]
    assert stage.feed_all([TextDelta(0, "y" * 100)]) == [
        *(BlockStart(0, Text()), TextDelta(0, "x" * 300), TextDelta(0, "y" * 100))
    ]
    rest = [TextDelta(0, "z"), BlockStop(0), *calls(1), *says(2, "so"), *END]
    assert stage.feed_all(rest) == rest
    assert stage.feed_all([START, *says(0, "next"), *calls(1)])[2] == ThinkingDelta(0, "next")


def test_events_without_text_are_bounded_too() -> None:
    stage = fresh(within=Size(1000))
    out = stage.feed_all([START, BlockStart(0, Text()), *[TextDelta(0, "")] * 20])
    assert len(out) == 22
    big = Unknown("odd", b"x").read_from(Frame(b"x" * 2000))
    assert fresh(within=Size(1000)).feed_all([*says(0, "a"), big])[-1] is big


@pytest.mark.parametrize(
    "exchange",
    [
        asked(),
        asked(tools=({"name": "f"},), extra={"tool_choice": {"type": "none"}}),
    ],
)
def test_without_tools_to_call_nothing_is_held(exchange: Exchange) -> None:
    stage = ToolText()
    stage.open(exchange)
    assert stage.feed_all([START, TextDelta(0, "a")]) == [START, TextDelta(0, "a")]


@pytest.mark.parametrize("choice", [None, {"type": "auto"}, {"type": "tool", "name": "f"}])
def test_with_tools_it_is(choice: Any) -> None:
    stage = ToolText()
    stage.open(asked(tools=({"name": "f"},), extra={"tool_choice": choice} if choice else {}))
    assert stage.feed_all([START, TextDelta(0, "a")]) == [START]


def test_as_content_everything_streams() -> None:
    given = [START, *says(0, "a"), *calls(1), *says(2, "b"), *END]
    stage = fresh(show="content")
    assert [out for event in given for out in stage.feed_all([event])] == given


def test_what_is_held_comes_before_an_error_and_at_the_end() -> None:
    error = Error("upstream", "gone")
    assert fresh().feed_all([START, *says(0, "a"), error]) == [START, *says(0, "a"), error]
    stage = fresh()
    assert stage.feed_all([START, TextDelta(0, "a")]) == [START]
    assert list(stage.close()) == [TextDelta(0, "a")]
    stage = fresh()
    stage.feed_all([START, *says(0, "a"), *calls(1), BlockStart(2, Text()), TextDelta(2, "b")])
    assert stage.feed_all([BlockStop(2)]) == []
    assert list(stage.close()) == [BlockStop(2)]


async def test_h092_keepalive_pings_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    send, receive = trio.open_memory_channel[Batch](0)
    between, held = trio.open_memory_channel[Batch](0)
    out, tail = trio.open_memory_channel[Batch](0)

    async def run(stage: Stage[Any, Any], receive: Receive, send: Send) -> None:
        with receive, send:
            await stage.run(replace(C_ON_A, started=trio.current_time()), receive, send)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, ToolText(), receive, between)
        nursery.start_soon(run, Keepalive(), held, out)
        await send.send([START])
        assert await tail.receive() == [START]
        for second in range(1, 26):  # in which the model writes
            await send.send([TextDelta(0, "a")])
            await trio.sleep(1)
            if second in (11, 23):
                assert tail.receive_nowait() == [Ping()]
        await send.send(END)
        assert await tail.receive() == [*[TextDelta(0, "a")] * 25, *END]
        send.close()


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def without_blanks(text: str) -> str:
    return "".join(text.split("\n"))


def told(events: list[Event]) -> str:
    """Text and thinking, in order and without line ends: what sets texts apart is neither lost nor doubled text."""
    found = ""
    for event in events:
        match event:
            case TextDelta(text=text) | ThinkingDelta(thinking=text):
                found += text
    return without_blanks(found)


def unmoved(events: list[Event]) -> list[Event]:
    """Everything that is no text, thinking or ping: calls among them."""
    return [
        event
        for event in events
        if not isinstance(event, TextDelta | ThinkingDelta | Ping)
        and not (isinstance(event, BlockStart) and isinstance(event.block, Text | Thinking))
    ]


@given(answers(), st.lists(st.integers(0, 5), max_size=6), st.sampled_from([1, 200, 1 << 20]))
def test_text_is_never_lost_or_doubled_and_calls_keep_their_order(
    events: list[Event], sizes: list[int], within: int
) -> None:
    stage = fresh(within=Size(within))
    out = [each for batch in in_batches(events, sizes) for each in stage.feed_all(batch)]
    out += stage.close()
    assert told(out) == told(events)
    assert unmoved(out) == unmoved(events)
    assert [event for event in out if isinstance(event, Ping)] == [event for event in events if isinstance(event, Ping)]


@given(answers())
def test_blocks_stay_one_after_the_other(events: list[Event]) -> None:
    open_block: tuple[int, type] | None = None
    for event in drive([ToolText()], events, exchange=C_ON_A):
        match event:
            case BlockStart():
                assert open_block is None
                open_block = event.index, type(event.block)
            case TextDelta() | ThinkingDelta():
                assert open_block == (event.index, Text if isinstance(event, TextDelta) else Thinking)
            case BlockStop():
                assert open_block
                assert open_block[0] == event.index
                open_block = None


@given(answers())
def test_a_message_that_calls_has_no_text(events: list[Event]) -> None:
    messages: list[list[Event]] = []
    for event in drive([ToolText()], events, exchange=C_ON_A):
        if isinstance(event, MessageStart):
            messages.append([])
        elif messages:
            messages[-1].append(event)
    for message in messages:
        if any(isinstance(event, BlockStart) and isinstance(event.block, ToolUse) for event in message):
            assert not [event for event in message if isinstance(event, TextDelta)]


@given(answers(calls=False))
def test_without_a_call_nothing_changes(events: list[Event]) -> None:
    out = drive([ToolText()], events, exchange=C_ON_A)
    mine, theirs = ([each for each in some if not isinstance(each, Ping)] for some in (out, events))
    assert all(one is other for one, other in zip(mine, theirs, strict=True))


def test_is_a_good_stage() -> None:
    check_stage(ToolText)
    check_stage(ToolText, [START, *says(0, "a"), *calls(1), *says(2, "b"), *thinks(3, "c"), *END, START, *says(0, "d")])
