from tests.anthropic import STREAM, message, wire
from trioproxy.items import Error, Frame, TextDelta
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.testing import drive


def test_gives_the_events_of_the_upstreams_dialect() -> None:
    events = message("Hi")
    assert drive([Deframe(), Parse()], [wire(events)], exchange=STREAM) == events


def test_every_event_knows_its_frame() -> None:
    frame = Frame(b'{"type":"ping"}', "ping", b'event: ping\ndata: {"type":"ping"}\n\n')
    assert drive([Parse()], [frame])[0].frame is frame


def test_what_it_does_not_take_flows_past() -> None:
    delta = TextDelta(0, "x")
    assert drive([Parse()], [delta])[0] is delta


def test_counts_the_upstreams_errors() -> None:
    stage = Parse()
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'
    drive([Deframe(), stage], [wire(message("Hi")[:3]) + error])
    assert stage.stats() == {"upstream_errors": 1}
    assert Parse().stats() == {}


def test_a_stream_that_stops_too_soon_is_an_error() -> None:
    out = drive([Deframe(), Parse()], [wire(message("Hi")[:-1])])
    assert isinstance(out[-1], Error)
    assert "middle of a message" in out[-1].message
