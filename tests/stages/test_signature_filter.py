import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.anthropic import FOLDED, METADATA, STREAM, WHOLE, answer, chain, cut, cuts, flow, judge, message, texts, wire
from tests.corpus import legal_streams
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    MessageStart,
    MessageStop,
    Ping,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    Unknown,
)
from trioproxy.stages.signature_filter import SignatureFilter
from trioproxy.testing import check_stage

REAL = message("Hello!", " How can", " I help?", id="msg_2")

metadata = pytest.mark.parametrize(
    "text",
    [
        METADATA,
        '{"isNewTopic": true, "title": "Greeting"}',
        '{"isNewTopic":true,"title":"Greeting"}',
        '{"title": "Greeting", "isNewTopic": true}',
        '\n\n```\n{ "isNewTopic" :\ttrue }\n```\n',
        '```json {"isNewTopic": false, "title": null} ```',
        '{"isNewTopic": true, "title": "quotes \\" and \\\\ and \\u00e9 {braces}"}',
        '{"isNewTopic": true, "title": "' + "x" * 400 + '"}',
    ],
)

prose = pytest.mark.parametrize(
    "text",
    [
        "Hello! How can I help?",
        'The block is {"isNewTopic": true, "title": "x"}, which means …',
        '{"isNewTopic": true, "title": "x"}\n\nAnd here is your answer.',
        '```json\n{"name": "x"}\n```',
        '{"name": "x", "isNewTopic": true}',
        '```python\nprint("isNewTopic")\n```',
        '{"isNewTopic": "maybe"}',
        '"isNewTopic": true',
        '{"isNewTopic": true, "title": "' + "x" * 600 + '"}',
        "[1, 2]",
        "0",
    ],
)


def run(events: list[Event], stage: SignatureFilter | None = None) -> list[Event]:
    return flow([stage or SignatureFilter()], [[event] for event in events])


def split(text: str, at: list[int]) -> list[str]:
    return [piece.decode("utf-8", "surrogatepass") for piece in cut(text.encode(), at)] if text.isascii() else [text]


@metadata
def test_metadata_is_dropped_wherever_it_is_split(text: str) -> None:
    for at in range(len(text)):
        assert run([*message(text[:at], text[at:]), *REAL]) == REAL
    assert run([*message(*text, stop=False), *REAL]) == REAL


@prose
def test_anything_else_passes(text: str) -> None:
    assert run(message(*text)) == message(*text)
    assert run(message(text)) == message(text)


@metadata
def test_the_text_may_spread_over_blocks(text: str) -> None:
    half = len(text) // 2
    blocks: list[Event] = [BlockStart(0, Text(text=text[:half])), BlockStop(0), BlockStart(1, Text())]
    start, end = message()[:1], [TextDelta(1, text[half:]), BlockStop(1), *message()[-2:]]
    assert run([*start, *blocks, *end, *REAL]) == REAL


def test_prose_leaves_at_its_first_character() -> None:
    stage = SignatureFilter()
    out = [list(stage.feed(event)) for event in REAL]
    assert [len(each) for each in out] == [0, 0, 3, 1, 1, 1, 1, 1]
    assert stage.stats() == {"dropped": 0, "kept": 1, "held_back": 0}


def test_other_json_leaves_at_its_first_other_character() -> None:
    stage = SignatureFilter()
    events = message("{", '"', "n", "ame")
    released = [bool(list(stage.feed(event))) for event in events]
    assert released.index(True) == 4  # start, block, "{", the quote, and then the "n" that rules it out


def test_any_number_of_messages_in_any_order() -> None:
    dropped = message(METADATA)
    assert run([*REAL, *dropped, *dropped, *REAL, *dropped]) == [*REAL, *REAL]


def test_counts() -> None:
    stage = SignatureFilter()
    run([*message(METADATA), *message("{", "x}"), *REAL], stage)
    assert stage.stats() == {"dropped": 1, "kept": 2, "held_back": 2}


@pytest.mark.parametrize(
    "other", [BlockStart(0, Thinking()), BlockStart(0, ToolUse(id="t", name="n")), ThinkingDelta(0, "hm")]
)
def test_what_is_not_text_rules_it_out_at_once(other: Event) -> None:
    stage = SignatureFilter()
    start = MessageStart("m", "m")
    assert list(stage.feed(start)) == []
    assert list(stage.feed(other)) == [start, other]


def test_pings_within_a_held_message_share_its_fate() -> None:
    events = message(METADATA)
    assert run([*events[:3], Ping(), *events[3:], *REAL]) == REAL
    events = message("Hi")
    assert run([events[0], Ping(), *events[1:]]) == [events[0], Ping(), *events[1:]]


def test_between_messages_everything_passes() -> None:
    assert run([Ping(), Unknown("x", b"{}"), *REAL, Ping()]) == [Ping(), Unknown("x", b"{}"), *REAL, Ping()]


def test_a_message_that_never_stops_ends_where_the_next_begins() -> None:
    assert run([*message(METADATA)[:-1], *REAL]) == REAL
    assert run([*message("Hi")[:-1], *REAL]) == [*message("Hi")[:-1], *REAL]


def test_an_error_releases_what_is_held() -> None:
    held = message(METADATA)[:-2]
    error = Error("upstream", "gone")
    assert run([*held, error]) == [*held, error]


def test_an_error_after_dropped_messages_stays_an_error() -> None:
    error = Error("upstream", "gone")
    assert run([*message(METADATA), error]) == [error]


def test_when_nothing_else_came_the_client_gets_a_valid_empty_message() -> None:
    out = judge(wire(run(message(METADATA, id="msg_7"))))
    assert [each["type"] for each in out] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert out[0]["message"]["id"] == "msg_7"
    assert out[1]["content_block"] == {"type": "text", "text": ""}
    assert out[3]["delta"]["stop_reason"] == "end_turn"


def test_when_empty_keep_gives_the_dropped_message_after_all() -> None:
    assert run(message(METADATA), SignatureFilter(when_empty="keep")) == message(METADATA)


ERRORS = [
    b'event: error\ndata: {"type":"error","error":{"message":"boom"}}\n\n',
    b'event: error\ndata: {"type":"error","error":"boom"}\n\n',
    b'event: error\ndata: {"error":{"message":"boom"}}\n\n',
    b'data: {"error":{"type":"overloaded_error"}}\n\n',
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_any_shape_is_no_success(error: bytes) -> None:
    data = wire(message(METADATA)) + error
    assert answer(data) == error
    folded = flow(chain(), [[data]], FOLDED)
    assert [type(item) for item in folded] == [Error]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"model":"m"', b'"model":null'),
        (b'"id":"msg_2"', b'"id":null'),
        (b'"input_tokens":1,', b'"input_tokens":1.5,'),
        (b'"usage":{"input_tokens":1,"output_tokens":1}', b'"usage":"none"'),
    ],
)
def test_an_answer_that_begins_oddly_gets_no_blank_one_behind_it(old: bytes, new: bytes) -> None:
    odd = wire(REAL).replace(old, new)
    assert old not in odd
    assert answer(wire(message(METADATA)) + odd) == odd


def test_what_nobody_can_read_is_not_lost_with_the_metadata() -> None:
    unknown = Unknown("content_block_delta", b'{"index":"1","delta":{"text":"the real answer"}}')
    events = message(METADATA)
    assert run([*events[:-2], unknown, *events[-2:]]) == [*events[:-2], unknown, *events[-2:]]


def test_an_empty_stream_stays_empty() -> None:
    assert run([]) == []
    assert run(message()) == message()


def test_a_pattern_of_ones_own() -> None:
    stage = SignatureFilter(pattern=r"\s*<title>.*</title>\s*")
    assert run([*message("<tit", "le>", "x</title>"), *REAL], stage) == REAL


def test_large_frames_that_say_nothing_are_not_held_for_long() -> None:
    stage = SignatureFilter()
    assert not list(stage.feed(MessageStart("msg_1", "m")))
    frame = Frame(b"x" * 300_000)
    released = [list(stage.feed(Unknown("queued", b"").read_from(frame))) for _ in range(4)]
    assert [len(each) for each in released] == [0, 0, 0, 5]
    assert len(list(stage.feed(TextDelta(0, METADATA)))) == 1


def test_within_bounds_what_is_held() -> None:
    stage = SignatureFilter(pattern=".*", within=10)
    events = message("123456789", "01", "more")
    assert [len(list(stage.feed(event))) for event in events[:5]] == [0, 0, 0, 4, 1]


def test_events_without_text_do_not_add_up_for_ever() -> None:
    stage = SignatureFilter()
    list(stage.feed(MessageStart("m", "m")))
    released = sum(len(list(stage.feed(Ping()))) for _ in range(5000))
    assert released == 5001


def test_a_pattern_that_backtracks_for_ever_lets_the_message_go() -> None:
    stage = SignatureFilter(pattern=r"(?:a|a)*(?:a|a)*(?:a|a)*b", within=4000)
    events = message("a" * 3000 + "!")
    assert run(events, stage) == events
    assert stage.stats()["pattern_timeouts"] >= 1


@pytest.mark.parametrize("bad", [{"pattern": "("}, {"within": 0}])
def test_bad_options_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        SignatureFilter(**bad)  # type: ignore[arg-type]  # that is the point


@given(st.lists(st.sampled_from([METADATA, "Hi", '{"isNew', "{", ""]), max_size=5), st.randoms(use_true_random=False))
def test_never_leaves_an_illegal_or_empty_answer(answers: list[str], chance: random.Random) -> None:
    events: list[Event] = []
    for number, text in enumerate(answers):
        pieces = split(text, [chance.randrange(100) for _ in range(4)])
        events += message(*pieces, id=f"msg_{number}")
    out = wire(run(events))
    judge(out)
    kept = [text for text in answers if text != METADATA]
    assert texts(out) == (kept or [""] * bool(answers))


def test_is_a_good_stage() -> None:
    check_stage(SignatureFilter)


@given(cuts)
def test_chunking_is_invisible(at: list[int]) -> None:
    data = wire([*message(*METADATA, stop=False), *REAL])
    assert b"".join(flow(chain(), [[piece] for piece in cut(data, at)])) == wire(REAL)


def test_whole_bodies_are_filtered_too() -> None:
    body = b'{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"%s"}],'
    body += b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}'
    escaped = METADATA.replace('"', '\\"').replace("\n", "\\n").encode()
    assert answer(body % b"Hello", WHOLE) == body % b"Hello"
    assert msgspec.json.decode(answer(body % escaped, WHOLE)) == msgspec.json.decode(body % b"")


def test_recorded_streams_leave_as_they_came() -> None:
    chance = random.Random(7)
    for case in legal_streams():
        pieces = cut(case.body, [chance.randrange(1 << 20) for _ in range(20)])
        assert b"".join(flow(chain(), [[piece] for piece in pieces], STREAM)) == case.body, case.id


def test_message_stop_alone_changes_nothing() -> None:
    assert run([MessageStop()]) == [MessageStop()]
