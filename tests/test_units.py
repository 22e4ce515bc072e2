import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.units import Seconds, Size, show_seconds, show_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10s", 10),
        ("40ms", 0.04),
        ("1.5 s", 1.5),
        ("2m", 120),
        ("2 min", 120),
        ("1h", 3600),
        (" 3s ", 3),
        ("7", 7),
        (0, 0),
        (0.25, 0.25),
    ],
)
def test_times(value: object, seconds: float) -> None:
    assert Seconds.read(value) == pytest.approx(seconds)
    assert type(Seconds.read(value)) is Seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "s",
        "ten s",
        "10 parsecs",
        "10S",
        "-1s",
        "1e3s",
        "١s",
        -1,
        float("nan"),
        float("inf"),
        10**400,
        True,
        None,
        [],
        {},
        10**16,
    ],
)
def test_what_is_no_time_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"^Expected a time .*, got ") as caught:
        Seconds.read(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("64 KiB", 65536),
        ("16MiB", 16 * 1024**2),
        ("1 GiB", 1024**3),
        ("1.5 KiB", 1536),
        ("2 kB", 2000),
        ("3 MB", 3 * 10**6),
        ("1 GB", 10**9),
        ("17 B", 17),
        ("17", 17),
        (17, 17),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert Size.read(value) == size
    assert type(Size.read(value)) is Size


@pytest.mark.parametrize(
    "value", ["", "KiB", "64 kilo", "-1", 0, -1, "0", "0.5 B", 1.5, True, None, 10**400, "9" * 400]
)
def test_what_is_no_size_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"^Expected a size .*, got ") as caught:
        Size.read(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (0.04, "40ms"), (0.0005, "0.5ms"), (10, "10s"), (90.5, "90.5s"), (1e7, "10000000s")],
)
def test_times_are_shown_as_the_file_says_them(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(1, "1 B"), (1000, "1000 B"), (1536, "1536 B"), (65536, "64 KiB"), (1024**2, "1 MiB"), (3 * 1024**3, "3 GiB")],
)
def test_sizes_are_shown_as_the_file_says_them(size: int, shown: str) -> None:
    assert show_size(size) == shown


@given(st.integers(0, 10**9).map(lambda thousandths: thousandths / 1000))
def test_a_shown_time_reads_back(seconds: float) -> None:
    assert Seconds.read(show_seconds(seconds)) == pytest.approx(seconds)


@given(st.integers(1, 2**45))
def test_a_shown_size_reads_back(size: int) -> None:
    assert Size.read(show_size(size)) == size
