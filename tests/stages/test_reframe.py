from hypothesis import given
from hypothesis import strategies as st

from trioproxy.items import Frame, Ping
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.reframe import Reframe
from trioproxy.testing import check_stage, drive

line = st.binary(max_size=8).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b""))
payload = st.lists(line, min_size=1, max_size=3).map(b"\n".join).filter(bool)


def test_what_came_over_the_wire_leaves_as_it_came() -> None:
    assert drive([Reframe()], [Frame(b"x", "e", b"event:e\rdata:x\r\r")]) == [b"event:e\rdata:x\r\r"]


def test_what_was_made_here_is_written() -> None:
    assert drive([Reframe()], [Frame(b"a\nb", "e")]) == [b"event: e\ndata: a\ndata: b\n\n"]


def test_a_whole_body_is_written_bare() -> None:
    assert drive([Reframe()], [Frame(b"{}", whole=True)]) == [b"{}"]


def test_a_batch_of_frames_is_one_piece_of_bytes() -> None:
    assert drive([Reframe()], [Frame(b"a"), Frame(b"b")]) == [b"data: a\n\ndata: b\n\n"]


def test_what_it_does_not_take_flows_past_in_order() -> None:
    ping = Ping()
    assert drive([Reframe()], [Frame(b"a"), ping, Frame(b"b")]) == [b"data: a\n\n", ping, b"data: b\n\n"]


def test_counts_events() -> None:
    stage = Reframe()
    drive([stage], [Frame(b"a"), Frame(b"", raw=b": comment\n\n")])
    assert stage.stats() == {"events_out": 1}


@given(st.lists(st.tuples(payload, st.text("abc", max_size=3)), max_size=5))
def test_what_is_written_reads_back(pairs: list[tuple[bytes, str]]) -> None:
    frames = [Frame(data, event) for data, event in pairs]
    out = drive([Reframe(), Deframe()], frames)
    assert [(frame.data, frame.event) for frame in out] == pairs


def test_is_a_good_stage() -> None:
    check_stage(Reframe)
