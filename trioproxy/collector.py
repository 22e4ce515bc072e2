"""Python's collector of garbage cycles, tuned for a process that serves."""

import gc

__all__ = ["Waste", "tune_collector"]

_MOST = 32 * 1024 * 1024  # bytes of requests; a full collection takes some milliseconds, so not for each of them


def tune_collector() -> None:
    """Look for garbage cycles less often: an exchange leaves few, and Python's default looks after 700 new objects.

    What start-up made stays for good and need not be looked at. Worth a tenth of the CPU time of short requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class Waste:
    """Requests that came to nothing, which nobody needs any more and which may still be in memory.

    An exception and the frames it has passed through hold each other, and in one of them is the request. The collector
    counts objects, not bytes: of those of 16 MiB it would let a thousand pile up.
    """

    def __init__(self) -> None:
        self._size = 0

    def add(self, size: int) -> None:
        """One more, of so many bytes; clear them all away if that is too much."""
        self._size += size
        if self._size >= _MOST:
            self._size = 0
            gc.collect()
