"""What the operator reads: plain sentences on stderr, in colour only on a terminal whose user did not say no."""

import os
import sys

__all__ = ["complain", "say", "wants_colour"]


def say(text: str) -> None:
    """Tell the operator something."""
    print(text, file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Tell the operator what is wrong."""
    error = "\x1b[1;31merror\x1b[0m" if wants_colour() else "error"
    say(f"{error}: {message}")


def wants_colour() -> bool:
    """Whether stderr is a terminal whose user did not say no (no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
