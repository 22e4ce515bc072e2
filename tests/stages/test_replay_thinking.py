"""What is remembered of a message and put back into a request: the very blocks, where they were."""

from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Event,
    Loss,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherBlock,
    RedactedThinking,
    Request,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolResult,
    ToolUse,
    replace,
)
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange
from trioproxy.stages.replay_thinking import RememberThinking, ReplayThinking, by_call, read_record
from trioproxy.stages.replay_thinking import replayed as replayed_with
from trioproxy.testing import check_stage, drive
from trioproxy.units import Size

MODEL = "claude-sonnet-4-5"
THOUGHT = Thinking(thinking="They ask for two cities.", signature="c2lnbmVk")
UNREADABLE = RedactedThinking(data="b3BhcXVl")
SILENT = Thinking(signature="b25seSBhIHNpZ25hdHVyZQ==")  # `display: omitted`
BEFORE, BETWEEN = Text(text="Let me look. "), Text(text="And there.")
ONE, TWO = ToolUse(id="toolu_1", name="weather", input='{"city":"Ulm"}'), ToolUse(id="toolu_2", name="weather")
RESULTS = Message("user", tuple(ToolResult(tool_use_id=use.id, content="19 °C") for use in (ONE, TWO)))
QUESTION = Message("user", "And the weather?")


def events(*blocks: Block, pieces: int = 2) -> list[Event]:
    """A message of these blocks as it is streamed, its texts in so many pieces."""
    made: list[Event] = [MessageStart("msg_1", MODEL)]
    for index, block in enumerate(blocks):
        match block:
            case Text(text=text):
                made += [BlockStart(index, Text()), *(TextDelta(index, each) for each in cut(text, pieces))]
            case Thinking(thinking=thinking, signature=signature):
                begun = replace(block, thinking="", signature="")
                made += [BlockStart(index, begun), *(ThinkingDelta(index, each) for each in cut(thinking, pieces))]
                made += [SignatureDelta(index, signature)] if signature else []
            case ToolUse(input=input):
                made += [BlockStart(index, replace(block, input="{}"))]
                made += [ToolInputDelta(index, each) for each in cut(input, pieces)]
            case _:
                made.append(BlockStart(index, block))
        made.append(BlockStop(index))
    return [*made, MessageDelta("tool_use"), MessageStop()]


def cut(text: str, pieces: int) -> list[str]:
    size = max(1, len(text) // pieces)
    return [text[at : at + size] for at in range(0, len(text), size)]


def kept(*blocks: Block, asked: bool = True) -> dict[str, bytes]:
    stage = RememberThinking()
    stage.open(Exchange(id="x", thinking=asked))
    made = events(*blocks)
    assert [each for event in made for each in stage.feed(event)] == made
    return dict(stage.due())


def replayed(request: Request, known: Mapping[str, bytes], ledger: Ledger) -> Request:
    records = by_call({id: read_record(record) for id, record in known.items()})
    return replayed_with(request, records, ledger, within=10_000)


def client(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """What a chat client has of a message: its text, and its calls."""
    text = "".join(block.text for block in blocks if isinstance(block, Text))
    calls = [block for block in blocks if isinstance(block, ToolUse)]
    return (*((Text(text=text),) if text else ()), *calls)


def turn(*blocks: Block, known: Mapping[str, bytes] | None = None, said: Sequence[Block] | None = None) -> Message:
    """The message as it is when it has come back."""
    before = Request(MODEL, (QUESTION, Message("assistant", tuple(client(blocks) if said is None else said)), RESULTS))
    after = replayed(before, kept(*blocks) if known is None else known, Ledger())
    assert after.messages[0] == QUESTION
    assert after.messages[-1] == RESULTS
    [_, message, _] = after.messages
    return message


MESSAGES: dict[str, tuple[Block, ...]] = {
    "as usual": (THOUGHT, BEFORE, ONE),
    "parallel calls": (THOUGHT, BEFORE, ONE, TWO),
    "without a word": (THOUGHT, ONE),
    "redacted": (UNREADABLE, ONE),
    "both": (THOUGHT, UNREADABLE, BEFORE, ONE),
    "a signature alone": (SILENT, ONE),
    "interleaved": (THOUGHT, BEFORE, SILENT, BETWEEN, ONE, UNREADABLE, TWO),
    "words first": (BEFORE, THOUGHT, ONE),
    "one after the other": (THOUGHT, ONE, SILENT, TWO),
    "no thinking": (BEFORE, ONE),
}


@pytest.mark.parametrize("blocks", MESSAGES.values(), ids=MESSAGES)
def test_it_comes_back_as_it_was(blocks: tuple[Block, ...]) -> None:
    message = turn(*blocks)
    assert message.content == blocks
    assert message.thought


def test_the_very_characters_come_back() -> None:
    odd = Thinking(thinking='é\U0001f9e0\u2028"\\\0 \n', signature="+/=\u00e9", extra={"new": [1, 2.5, None, 2**70]})
    assert turn(odd, ONE).content == (odd, ONE)


@st.composite
def messages(draw: st.DrawFn) -> list[Block]:
    """As the API makes them: neighbouring texts are one, and the last block is a call."""
    texts, signatures = st.text(min_size=1, max_size=9), st.text("abc+/=", min_size=1)
    others = st.one_of(
        st.builds(Text, text=texts),
        st.builds(Thinking, thinking=st.text(max_size=9), signature=signatures),
        st.builds(RedactedThinking, data=signatures),
    )
    blocks: list[Block] = []
    for block in draw(st.lists(others | st.just(ONE), max_size=9)):
        # The client's one text cannot tell where it was cut by a call: none comes after one.
        called = any(isinstance(each, ToolUse) for each in blocks)
        if isinstance(block, Text) and (called or (blocks and isinstance(blocks[-1], Text))):
            continue
        blocks.append(replace(block, id=f"toolu_at_{len(blocks)}") if isinstance(block, ToolUse) else block)
    return [*blocks, TWO]


@given(messages(), st.integers(1, 9))
def test_any_message_comes_back_as_it_was(blocks: list[Block], pieces: int) -> None:
    stage = RememberThinking()
    stage.open(Exchange(id="x", thinking=True))
    for event in events(*blocks, pieces=pieces):
        list(stage.feed(event))
    assert turn(known=stage.due(), said=client(blocks)).content == tuple(blocks)


# ── what clients do to their history ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dropped", [ONE, TWO])
def test_a_call_that_the_client_dropped_is_not_made_again(dropped: ToolUse) -> None:
    blocks = (THOUGHT, BEFORE, ONE, TWO)
    said = [block for block in client(blocks) if block != dropped]
    assert turn(*blocks, said=said).content == (THOUGHT, *said)


def test_other_words_stand_where_the_first_stood() -> None:
    said = (Text(text="Edited."), ONE)
    assert turn(THOUGHT, BEFORE, SILENT, BETWEEN, ONE, said=said).content == (THOUGHT, said[0], SILENT, ONE)
    assert turn(THOUGHT, ONE, said=said).content == (THOUGHT, *said)
    assert turn(THOUGHT, BEFORE, ONE, said=[ONE]).content == (THOUGHT, ONE)  # their words left out


def test_calls_in_another_order_or_beside_new_ones_are_all_there() -> None:
    new = ToolUse(id="call_new", name="other")
    content = turn(THOUGHT, ONE, TWO, said=[TWO, new, ONE]).content
    assert content == (THOUGHT, ONE, TWO, new)


def test_a_message_taken_apart_is_one_again() -> None:
    """It has to begin with its thinking, and the API would see one turn anyway."""
    parts = [Message("assistant", "Let me look. "), Message("assistant", (ONE,)), Message("assistant", (TWO,))]
    request = Request(MODEL, (QUESTION, *parts, RESULTS))
    after = replayed(request, kept(THOUGHT, BEFORE, ONE, TWO), Ledger())
    assert [message.content for message in after.messages[1:-1]] == [(THOUGHT, BEFORE, ONE, TWO)]


def test_messages_moved_together_have_the_thinking_of_each() -> None:
    moved = [Message("assistant", (BEFORE, ONE)), Message("assistant", (BETWEEN, TWO))]
    known = kept(THOUGHT, BEFORE, ONE) | kept(UNREADABLE, BETWEEN, TWO)
    request = Request(MODEL, (QUESTION, *moved, RESULTS))
    [_, message, _] = replayed(request, known, Ledger()).messages
    assert message.content == (THOUGHT, BEFORE, ONE, UNREADABLE, BETWEEN, TWO)
    assert message.thought
    [_, message, _] = replayed(request, kept(THOUGHT, BEFORE, ONE), Ledger()).messages
    assert message.content == (THOUGHT, BEFORE, BETWEEN, ONE, TWO)
    assert not message.thought  # of one of them nothing is known


def test_messages_moved_together_begin_with_thinking_if_one_of_them_did() -> None:
    request = Request(MODEL, (QUESTION, Message("assistant", (ONE, TWO)), RESULTS))
    [_, message, _] = replayed(request, kept(ONE) | kept(THOUGHT, TWO), Ledger()).messages
    assert message.content == (THOUGHT, TWO, ONE)


@pytest.mark.parametrize("said", [[ONE], [Text(), ONE], [Text(text=" "), OtherBlock(kind="image"), ONE]])
def test_what_was_never_said_is_kept_as_it_is(said: list[Block]) -> None:
    assert turn(THOUGHT, ONE, said=said).content == (THOUGHT, *said)


def test_texts_that_are_kept_come_back_where_the_client_has_none() -> None:
    """`tool-text` has shown them as thinking, which clients do not send back."""
    blocks = (THOUGHT, BEFORE, SILENT, BETWEEN, ONE)
    stage = RememberThinking(texts=True)
    for event in events(*blocks):
        list(stage.feed(event))
    known = stage.due()
    assert turn(known=known, said=[ONE]).content == blocks
    assert turn(known=known, said=client(blocks)).content == blocks
    edited = Text(text="Edited.")
    assert turn(known=known, said=[edited, ONE]).content == (THOUGHT, edited, SILENT, ONE)
    [record] = kept(*blocks).values()
    assert b"look" not in record  # unless it is asked for
    [record] = known.values()
    assert b"look" in record


def test_texts_count_towards_what_is_kept_of_a_message() -> None:
    for texts in (False, True):
        stage = RememberThinking(texts=texts, within=Size(400))
        for event in events(SILENT, Text(text="long " * 90), ONE):
            list(stage.feed(event))
        assert bool(stage.due()) != texts


def test_a_cache_mark_stays_behind_the_text() -> None:
    marked = Text(text=BEFORE.text + BETWEEN.text, extra={"cache_control": {"type": "ephemeral"}})
    assert turn(THOUGHT, BEFORE, SILENT, BETWEEN, ONE, said=[marked, ONE]).content == (
        *(THOUGHT, BEFORE, SILENT),
        *(replace(BETWEEN, extra=marked.extra), ONE),
    )


def test_what_the_client_carries_itself_wins() -> None:
    own = Thinking(thinking="mine", signature="bWluZQ==")
    for said in ([own, ONE], [RedactedThinking(data="eA=="), BEFORE, ONE]):
        message = turn(THOUGHT, ONE, said=said)
        assert message == Message("assistant", tuple(said))


def test_what_nobody_signed_gives_way() -> None:
    assert turn(THOUGHT, ONE, said=[Thinking(thinking="They ask…"), ONE]).content == (THOUGHT, ONE)


# ── what is not remembered ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "blocks",
    [(THOUGHT, BEFORE), (THOUGHT,), (OtherBlock(kind="server_tool_use", extra={"id": "srvtoolu_1"}),), ()],
)
def test_messages_without_calls_are_not(blocks: tuple[Block, ...]) -> None:
    assert kept(*blocks) == {}


def test_messages_that_were_not_to_think_are_not() -> None:
    assert kept(BEFORE, ONE, asked=False) == {}
    assert kept(Thinking(thinking="not signed"), ONE, asked=False) == {}
    assert kept(THOUGHT, ONE, asked=False).keys() == {ONE.id}  # some do it unasked


def test_messages_that_broke_off_are_not() -> None:
    stage = RememberThinking()
    for event in events(THOUGHT, ONE)[:-2]:
        list(stage.feed(event))
    assert stage.due() == {}
    for event in events(THOUGHT, TWO):  # nor does the next one have anything of it
        list(stage.feed(event))
    assert turn(known=stage.due(), said=[TWO]).content == (THOUGHT, TWO)


def test_messages_that_thought_too_much_are_not() -> None:
    stage = RememberThinking(within=Size(20))
    for event in events(THOUGHT, ONE):
        list(stage.feed(event))
    assert stage.due() == {}


@pytest.mark.parametrize(
    "blocks",
    [[RedactedThinking(data="x" * 100)] * 1000, [Thinking(thinking="x" * 50, signature="s")] * 1000, [Text()] * 1000],
)
def test_what_is_held_of_a_message_has_a_bound(blocks: list[Block]) -> None:
    """However the blocks come: whole, in pieces, or with the message's start."""
    stage = RememberThinking(within=Size(5000))
    for event in [MessageStart("m", MODEL, content=tuple(blocks)), *events(*blocks, ONE)[1:]]:
        list(stage.feed(event))
        assert len(stage._drafts) <= 100
    assert stage.due() == {}
    foreign = OtherBlock(kind="web_search_tool_result", extra={"content": "x" * 10**6})
    for event in events(*[foreign] * 50, THOUGHT, ONE):
        list(stage.feed(event))
    assert stage.due().keys() == {ONE.id}


@pytest.mark.parametrize(
    "rubbish",
    [
        *(b"[" * 200_000, b'[["thinking","\xff","s"]]', b'[["text",-5],["text",5],["call","toolu_1"]]'),
        *(b'[["text",0],["call","toolu_1"]]', b'[["redacted","",' + b'{"a":' * 100_000, b"7", b'"toolu_1"', b'"x"'),
        b"[" + b",".join([b'["redacted","x"]'] * 20_000) + b"]",
    ],
)
def test_what_nobody_has_kept_is_nothing(rubbish: bytes) -> None:
    assert turn(known={ONE.id: rubbish}, said=[ONE]) == Message("assistant", (ONE,))


@pytest.mark.parametrize("rubbish", [b"", b"{}", b'[["text"]]', b"\xff", b'[["thinking",1,2]]'])
def test_what_somebody_else_wrote_is_nothing(rubbish: bytes) -> None:
    assert turn(known={ONE.id: rubbish}, said=[ONE]) == Message("assistant", (ONE,))


def test_what_was_kept_of_another_call_is_nothing() -> None:
    [another] = kept(THOUGHT, TWO).values()
    for known in ({ONE.id: another}, {ONE.id: b'"toolu_2"', TWO.id: another}, {ONE.id: b'"toolu_1"'}):
        assert turn(known=known, said=[ONE]) == Message("assistant", (ONE,))


def test_parallel_calls_share_one_record() -> None:
    many = [replace(ONE, id=f"toolu_{number}") for number in range(200)]
    known = kept(THOUGHT, *many)
    assert sum(map(len, known.values())) < 200 * 50
    assert turn(known=known, said=many[5:]).content == (THOUGHT, *many[5:])


def test_what_is_put_back_into_a_request_has_a_bound() -> None:
    again = [Message("assistant", (ONE,)), RESULTS] * 500
    known = kept(THOUGHT, ONE)
    ledger = Ledger()
    request = replayed(Request(MODEL, (QUESTION, *again)), known, ledger)
    back = sum(block == THOUGHT for message in request.messages for block in message.content)
    assert 50 < back < 150
    assert "not remembered" in str(ledger)
    once = Request(MODEL, (QUESTION, Message("assistant", (ONE,) * 500), RESULTS))
    assert replayed(once, known, Ledger()).messages[1].content == (THOUGHT, *(ONE,) * 500)


# ── what the client is told ─────────────────────────────────────────────────────────────────────────────────────────


def lossy(request: Request, known: Mapping[str, bytes]) -> str:
    ledger = Ledger()
    replayed(request, known, ledger)
    return str(ledger)


def test_turns_that_are_forgotten_are_told_where_there_was_thinking() -> None:
    turns = [QUESTION, Message("assistant", (ONE,)), RESULTS, Message("assistant", (TWO,)), RESULTS]
    request = Request(MODEL, tuple(turns))
    thinking = replace(request, extra={"thinking": {"type": "adaptive"}})
    both = kept(THOUGHT, ONE) | kept(THOUGHT, TWO)
    assert lossy(request, {}) == ""
    assert lossy(thinking, both) == ""
    assert "not remembered" in lossy(thinking, {})
    assert "not remembered" in lossy(request, kept(THOUGHT, ONE))


def test_what_is_back_as_it_was_is_not_lost_as_a_text() -> None:
    """Clients that send `reasoning_content` back beside their calls: on a strict route, too."""
    told, other = Loss("messages[].reasoning_content", "not signed"), Loss("seed", "no such thing")
    request = Request(MODEL, (QUESTION, Message("assistant", (ONE,)), RESULTS), unsaid=(told, other))
    assert replayed(request, kept(THOUGHT, ONE), Ledger()).unsaid == (other,)
    assert replayed(request, {}, Ledger()).unsaid == (told, other)
    more = replace(request, messages=(*request.messages, Message("assistant", (TWO,)), RESULTS))
    assert replayed(more, kept(THOUGHT, ONE), Ledger()).unsaid == (told, other)


# ── as stages ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_remembering_changes_nothing_that_passes() -> None:
    check_stage(RememberThinking)
    made = events(THOUGHT, BEFORE, ONE, TWO)
    assert drive([RememberThinking()], made) == made


def test_replaying_is_a_stage_like_any_other() -> None:
    check_stage(ReplayThinking)


def test_requests_with_tools_can_go_without_thinking() -> None:
    ledger = Ledger()
    stage = ReplayThinking(thinking_with_tools=False)
    stage.open(Exchange(id="x", ledger=ledger))
    plain = Request(MODEL, (QUESTION,), extra={"thinking": {"type": "adaptive"}, "temperature": 1})
    [same] = stage.feed(plain)
    assert same is plain
    assert not ledger
    [without] = stage.feed(replace(plain, tools=({"name": "weather"},)))
    assert without.extra == {"thinking": {"type": "disabled"}, "temperature": 1}
    assert "thinking-with-tools" in str(ledger)


def test_what_was_done_is_counted() -> None:
    stage = RememberThinking()
    assert stage.stats() == {}
    for event in [*events(THOUGHT, ONE), *events(BEFORE), *events(SILENT, TWO)]:
        list(stage.feed(event))
    assert stage.stats() == {"remembered": 2}
