"""Whether a file is still the one it was, as far as a look tells."""

from __future__ import annotations

from pathlib import Path

__all__ = ["stamp"]


def stamp(file: Path) -> tuple[int, int, int] | None:
    """What is another one when a file was written or replaced; None if it is not there.

    Times are coarse: what is written twice within one tick, with the same length, looks the same.
    """
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
