from trioproxy_shout import Shout

from trioproxy import TextDelta
from trioproxy.testing import check_stage, drive


def test_shout() -> None:
    assert drive([Shout(mark="!")], [TextDelta(0, "hi")]) == [TextDelta(0, "HI!")]


def test_shout_is_a_good_stage() -> None:
    check_stage(Shout)
