import io
import sys

import pytest

from trioproxy.cli import terminal


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm"}, True),
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colour_on_a_terminal(environ: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Screen())
    assert terminal.wants_colour() is wanted


def test_elsewhere_there_is_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    assert not terminal.wants_colour()
    terminal.complain("no")
    terminal.say("well")
    assert capsys.readouterr() == ("", "error: no\nwell\n")


@pytest.mark.parametrize(("columns", "width"), [("20", 60), ("80", 80), ("300", 100)])
def test_lines_are_as_wide_as_the_terminal_within_reason(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.width() == width


def test_pieces_are_wrapped_and_never_broken() -> None:
    assert terminal.wrap(["one", "two", "three", "wider-than-the-line"], "  a: ", 13) == [
        "  a: one two",
        "     three",
        "     wider-than-the-line",
    ]
    assert terminal.wrap([], "a: ", 9) == ["a:"]


def test_what_is_too_long_is_cut() -> None:
    assert (terminal.cut("abc", 3), terminal.cut("abcd", 3)) == ("abc", "ab…")
