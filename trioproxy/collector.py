"""Python's collector of garbage cycles, tuned for a process that serves."""

import gc

__all__ = ["tune_collector"]


def tune_collector() -> None:
    """Look for garbage cycles less often: an exchange leaves few, and Python's default looks after 700 new objects.

    What start-up made stays for good and need not be looked at. Worth a tenth of the CPU time of short requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
