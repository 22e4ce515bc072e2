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
