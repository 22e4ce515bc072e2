from tests.anthropic import STREAM, message, wire
from trioproxy.items import Error, Event, Frame, MessageDelta, MessageStart, MessageStop, TextDelta, Usage, replace
from trioproxy.stage import Exchange
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
    assert stage.stats()["upstream_errors"] == 1
    assert Parse().stats() == {}


def usage(input: int | None = None, output: int | None = None, *, cached: int | None = None) -> Usage:
    return Usage(input, output, 5 if cached else None, cached)


def told(*events: Event, exchange: Exchange = STREAM) -> dict[str, int | str]:
    stage = Parse()
    drive([Deframe(), stage], [wire(list(events))], exchange=exchange)
    return dict(stage.stats())


START, STOP = MessageStart("m", "claude-x", usage(100, 1, cached=30)), MessageStop()


def test_counts_tokens_with_those_from_the_cache_and_says_how_it_ended() -> None:
    end = MessageDelta("max_tokens", usage=usage(output=7))
    assert told(START, end, STOP) == {
        "tokens_in": 135,
        "tokens_cached": 30,
        "tokens_out": 7,
        "stop": "max_tokens",
        "answered": "claude-x",
    }


def test_usage_is_cumulative_and_zeros_at_the_end_say_nothing() -> None:
    counts = told(START, MessageDelta("end_turn", usage=usage(200, 9)), MessageDelta(usage=usage(0, 0)), STOP)
    assert (counts["tokens_in"], counts["tokens_out"], counts["stop"]) == (235, 9, "end_turn")


def test_several_messages_in_a_stream_have_all_cost() -> None:
    one = (START, MessageDelta("end_turn", usage=usage(output=7)), STOP)
    assert told(*one, *one)["tokens_out"] == 14


def test_what_is_answered_here_has_cost_nothing() -> None:
    stage = Parse()
    events = [START, MessageDelta("end_turn", usage=usage(output=7)), STOP]
    drive([stage], events, exchange=replace(STREAM, answered_here=True))
    assert stage.stats() == {}


def test_a_stream_that_stops_too_soon_is_an_error() -> None:
    out = drive([Deframe(), Parse()], [wire(message("Hi")[:-1])])
    assert isinstance(out[-1], Error)
    assert "middle of a message" in out[-1].message
