"""Values in the memory of this process: the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["WEIGHT", "Memory"]

# Bytes that an entry takes beside its key and its value, for their headers, a number, and a place in the dictionary:
# 200 to 260, by how full that is.
WEIGHT = 270


class Memory:
    """At most `entries` values that weigh no more than `size` bytes, keys and all that belongs to them included.

    A value larger than `size` is not kept. Nothing is ever waited for.
    """

    def __init__(self, *, entries: int, size: int) -> None:
        self._entries, self._size = entries, size
        self._kept = OrderedDict[bytes, tuple[bytes, float]]()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def weight(self) -> int:
        """About how many bytes are in use."""
        return self._weight

    def get(self, key: bytes, now: float) -> bytes | None:
        """The value of `key`, None if there is none any more at the time `now`."""
        found = self._kept.get(key)
        if found is None:
            return None
        value, expires = found
        if expires <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes, expires: float) -> None:
        """Keep a value until the time `expires`, or until others need its place."""
        self._drop(key)
        if _weight(key, value) > self._size:
            return
        self._kept[key] = value, expires
        self._weight += _weight(key, value)
        while self._weight > self._size or len(self._kept) > self._entries:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        if (found := self._kept.pop(key, None)) is not None:
            self._weight -= _weight(key, found[0])


def _weight(key: bytes, value: bytes) -> int:
    return WEIGHT + len(key) + len(value)
