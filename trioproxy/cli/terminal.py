"""What the operator reads: lines that fit, sentences on stderr, in colour only on a terminal whose user may want it."""

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["complain", "cut", "say", "wants_colour", "width", "wrap"]

NARROWEST, WIDEST = 60, 100


def width() -> int:
    """How many columns a line may have: those of the terminal, but no more than read well."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def wrap(pieces: Sequence[str], label: str, width: int) -> list[str]:
    """The pieces as lines behind a label, never broken within a piece unless it is wider than the line."""
    lines, indent = [label], " " * len(label)
    for piece in pieces:
        if lines[-1].strip() and lines[-1] != label and len(lines[-1]) + 1 + len(piece) > width:
            lines.append(indent)
        lines[-1] += piece if lines[-1] in (label, indent) else f" {piece}"
    return [line.rstrip() for line in lines]


def cut(text: str, width: int) -> str:
    """The text, or as much of it as fits."""
    return text if len(text) <= width else text[: width - 1] + "…"


def say(text: str) -> None:
    """Tell the operator something, if the terminal has not been closed meanwhile."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Tell the operator what is wrong."""
    error = "\x1b[1;31merror\x1b[0m" if wants_colour() else "error"
    say(f"{error}: {message}")


def wants_colour() -> bool:
    """Whether stderr is a terminal whose user did not say no (no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
