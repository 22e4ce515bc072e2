from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.anthropic import STREAM, WHOLE, cut, cuts, flow
from tests.corpus import streams, wholes
from trioproxy.items import Error, Frame
from trioproxy.stages.deframe import Deframe
from trioproxy.testing import check_stage

# Every byte the grammar of event streams knows, and few others, so that odd neighbours are common.
odd = st.lists(
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"data:",
            b"data: ",
            b"event: ",
            b"id: 1",
            b": c",
            b"x",
            b"\xc3",
            b"\xef\xbb\xbf",
        ]
    ),
    max_size=24,
).map(b"".join)


def frames(data: bytes) -> list[Frame]:
    return [frame for frame in flow([Deframe()], [[data]] if data else []) if isinstance(frame, Frame)]


def reference(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """WHATWG's own algorithm, line by line: (event, data) of each event dispatched; and an unended last one, too."""
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    event, lines = b"", list[bytes]()
    for line in [*data.split(b"\n"), b""]:
        if not line:
            if b"\n".join(lines):
                yield event, b"\n".join(lines)
            event, lines = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ") if value[:1] == b" " else value
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            event = value


@given(odd)
def test_dispatches_what_whatwg_says(data: bytes) -> None:
    got = [(frame.event, frame.data) for frame in frames(data) if frame.data]
    assert got == [(event.decode("utf-8", "replace"), lines) for event, lines in reference(data)]


@given(odd)
def test_raw_bytes_add_up_to_the_input(data: bytes) -> None:
    assert b"".join(frame.raw for frame in frames(data)) == data


@given(odd, cuts)
def test_chunking_is_invisible(data: bytes, at: list[int]) -> None:
    assert flow([Deframe()], [[piece] for piece in cut(data, at)]) == frames(data)


@given(odd)
def test_is_a_good_stage(data: bytes) -> None:
    check_stage(Deframe, [data], exchange=STREAM)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_given_as_soon_as_its_blank_line_is_there(end: bytes) -> None:
    stage = Deframe()
    list(stage.open(STREAM))
    first = b"event: ping" + end + b"data: {}" + end
    assert list(stage.feed(first)) == []
    assert list(stage.feed(end)) == [Frame(b"{}", "ping", first + end)]


@pytest.mark.parametrize(
    ("block", "event", "data"),
    [
        (b"data:x\n\n", "", b"x"),
        (b"data:  x\n\n", "", b" x"),
        (b"data: a\ndata: b\n\n", "", b"a\nb"),
        (b"data: a\nid: 7\nretry: 10\nevent: e\n\n", "e", b"a"),
        (b"data\n\n", "", b""),
        (b": only a comment\n\n", "", b""),
        (b"\xef\xbb\xbfdata: x\n\n", "", b"x"),
        (b"event: a\nevent: b\ndata: x\n\n", "b", b"x"),
        ("data: \u2028 is no line end\n\n".encode(), "", "\u2028 is no line end".encode()),
    ],
)
def test_fields(block: bytes, event: str, data: bytes) -> None:
    assert frames(block) == [Frame(data, event, block)]


def test_the_last_event_may_lack_its_blank_line() -> None:
    assert frames(b"data: x") == [Frame(b"x", "", b"data: x")]


def test_an_event_over_the_bound_is_an_error_behind_what_came_before() -> None:
    exchange = replace(STREAM, event_limit=100)
    out = flow([Deframe()], [[b"data: ok\n\ndata: "], [b"x" * 60], [b"x" * 60], [b"\n\ndata: more\n\n"]], exchange)
    assert out[0] == Frame(b"ok", "", b"data: ok\n\n")
    assert isinstance(out[1], Error)
    assert "more than 100 bytes" in out[1].message
    assert len(out) == 2


def test_an_event_up_to_the_bound_passes_whatever_its_size() -> None:
    big = b"data: " + b"x" * 3_000_000 + b"\n\n"
    pieces = [big[at : at + 65536] for at in range(0, len(big), 65536)]
    assert flow([Deframe()], [[piece] for piece in pieces]) == [Frame(big[6:-2], "", big)]


def test_a_whole_body_is_one_frame() -> None:
    body = b'{"a":\n\n1}'
    assert flow([Deframe()], [[body[:4]], [body[4:]]], WHOLE) == [Frame(body, raw=body, whole=True)]


def test_a_whole_body_over_the_bound_is_an_error() -> None:
    out = flow([Deframe()], [[b"x" * 200]], replace(WHOLE, event_limit=100))
    assert [type(item) for item in out] == [Error]


def test_counts_events_not_comments() -> None:
    stage = Deframe()
    flow([stage], [[b": hello\n\ndata: x\n\n"], [b": again\r\n\r\ndata: y\r\n\r\n"]])
    assert stage.stats() == {"events_in": 2}


def test_every_recorded_stream_adds_up() -> None:
    for dialect in ("anthropic", "openai-chat", "openai-responses", "gemini"):
        for case in streams(dialect):
            assert b"".join(frame.raw for frame in frames(case.body)) == case.body, case.id
            bytewise = flow([Deframe()], [[case.body[at : at + 1]] for at in range(min(len(case.body), 4_000))])
            assert bytewise[:-1] == frames(case.body[:4_000])[:-1], case.id


def test_every_recorded_body_is_whole() -> None:
    for case in wholes("anthropic"):
        assert flow([Deframe()], [[case.body]], WHOLE) == [Frame(case.body, raw=case.body, whole=True)]
