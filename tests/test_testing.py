from collections.abc import Iterable

import pytest

from tests.test_stage import Probe, Shout
from trioproxy import Batch, Event, Frame, Stage, TextDelta
from trioproxy.testing import check_stage, drive


class Counts(Stage[bytes, bytes]):
    """Breaks the first rule: gives a byte for each chunk."""

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        return (b".",)


class OnePerBatch(Stage[TextDelta, TextDelta]):
    """Breaks the second rule."""

    def feed(self, delta: TextDelta) -> Iterable[TextDelta]:
        return (delta,)

    def feed_all(self, items: Batch) -> Batch:
        return items[:1]


class Hoards(Stage[TextDelta, TextDelta]):
    """Breaks the third rule: lets later strangers overtake what it holds, and loses one."""

    def feed(self, delta: TextDelta) -> Iterable[TextDelta]:
        return (delta,)

    def feed_all(self, items: Batch) -> Batch:
        return [item for item in items if isinstance(item, TextDelta)]


class Changes(Stage[TextDelta, TextDelta]):
    """Breaks the fifth rule."""

    def feed(self, delta: TextDelta) -> Iterable[TextDelta]:
        delta.extra["seen"] = True
        return (delta,)


@pytest.mark.parametrize("stage", [Shout, Probe])
def test_good_stages_pass(stage: type[Stage[object, object]]) -> None:
    check_stage(stage)


@pytest.mark.parametrize(
    ("stage", "items", "complaint"),
    [
        (Counts, [b"ab"], "chunking shows"),
        (OnePerBatch, [TextDelta(0, "a"), TextDelta(0, "b")], "batching shows"),
        (Hoards, [object(), TextDelta(0, "a")], "did not flow past"),
        (Changes, [TextDelta(0, "a", {})], "changed in place"),
    ],
)
def test_each_broken_rule_is_found(stage: type[Stage[object, object]], items: list[object], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_stage(stage, items)


def test_without_items_hypothesis_finds_them() -> None:
    with pytest.raises(AssertionError, match=r"batching shows|did not flow past"):
        check_stage(OnePerBatch)


def test_drive_opens_feeds_and_closes() -> None:
    class Brackets(Stage[Event, Event | Frame]):
        def open(self, exchange: object) -> Iterable[Frame]:
            return (Frame(b"["),)

        def feed(self, event: Event) -> Iterable[Event]:
            return (event, event)

        def close(self) -> Iterable[Frame]:
            return (Frame(b"]"),)

    delta = TextDelta(0, "a")
    assert drive([Brackets()], [delta]) == [Frame(b"["), delta, delta, Frame(b"]")]
