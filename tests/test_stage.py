from collections.abc import Iterable, Iterator

import pytest

from trioproxy import Event, Request, Stage, TextDelta
from trioproxy.items import Ping, replace
from trioproxy.testing import drive


class Shout(Stage[TextDelta, TextDelta]):
    """Answer in capitals."""

    def feed(self, delta: TextDelta) -> Iterator[TextDelta]:
        yield replace(delta, text=delta.text.upper())


class Probe(Stage[Request, Request | Event]):
    def feed(self, request: Request) -> Iterable[Request | Event]:
        return (request,)


class Louder(Shout):
    pass


def test_types_are_read_from_the_class_line() -> None:
    assert (Shout.takes, Shout.gives) == ((TextDelta,), (TextDelta,))
    assert (Probe.takes, Probe.gives) == ((Request,), (Request, Event))
    assert (Louder.takes, Louder.gives) == ((TextDelta,), (TextDelta,))


def test_feeds_what_it_takes_and_lets_the_rest_flow_past_in_order() -> None:
    assert drive([Shout()], [Ping(), TextDelta(0, "a"), b"x", TextDelta(0, "b")]) == [
        Ping(),
        TextDelta(0, "A"),
        b"x",
        TextDelta(0, "B"),
    ]


def test_says_what_came_and_how_long_it_took() -> None:
    stage, idle = Shout(), Shout()
    assert stage.timed([Ping(), TextDelta(0, "a"), b"x"]) == [Ping(), TextDelta(0, "A"), b"x"]
    items, seconds = stage.effort()
    assert items == 3
    assert 0 < seconds < 1
    assert idle.effort() == (0, 0.0)


def test_a_stage_without_feed_says_so() -> None:
    class Mute(Stage[TextDelta, TextDelta]):
        pass

    with pytest.raises(NotImplementedError, match=r"Mute has no feed\(\)"):
        drive([Mute()], [TextDelta(0, "a")])
