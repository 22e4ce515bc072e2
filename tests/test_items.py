import copy

import msgspec
import pytest

from trioproxy.items import Event, Frame, TextDelta, replace

FRAME = Frame(b"{}", "x", b"raw")


def test_items_are_values() -> None:
    assert TextDelta(0, "a") == TextDelta(0, "a")
    with pytest.raises(AttributeError):
        TextDelta(0, "a").text = "b"  # type: ignore[misc]  # that is the point


def test_an_event_knows_its_frame_and_is_equal_without_it() -> None:
    event = TextDelta(0, "a").read_from(FRAME)
    assert event.frame is FRAME
    assert event == TextDelta(0, "a")
    assert TextDelta(0, "a").frame is None


@pytest.mark.parametrize("change", [lambda e: replace(e, text="b"), copy.copy, msgspec.structs.replace])
def test_a_copy_knows_no_frame(change: object) -> None:
    """Otherwise a changed event would leave as the bytes it no longer says."""
    assert callable(change)
    changed: Event = change(TextDelta(0, "a").read_from(FRAME))
    assert changed.frame is None


def test_a_changed_event_keeps_its_unknown_fields() -> None:
    event = TextDelta(0, "a", {"delta": {"new": 1}})
    assert replace(event, text="b").extra == {"delta": {"new": 1}}
