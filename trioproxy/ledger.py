"""The loss ledger: what an exchange dropped or approximated between two dialects, by JSON path, each path once."""

from collections.abc import Iterable

from trioproxy.items import Loss

__all__ = ["Ledger"]

_PATH, _REASON = 80, 200  # characters of each
_ENTRIES = 64  # paths kept; of more only the number is told
_HEADER = 1024  # characters of the response header


class Ledger:
    """Of one exchange. Whoever drops or approximates a field notes it here; nothing is ever taken out.

    A path names fields and not places: `messages[].content[].cache_control`, however many messages there are.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._spared = set[str]()
        self._more = 0

    def note(self, path: str, reason: str) -> None:
        """Note that the field at `path` was dropped or approximated, for `reason`. The first reason of a path stays."""
        path = _cut(path, _PATH)
        if path in self._reasons or path in self._spared:
            return
        if len(self._reasons) < _ENTRIES:
            self._reasons[path] = _cut(reason, _REASON)
        else:
            self._more += 1

    def spare(self, path: str) -> None:
        """What is not passed on of `path` from now on is no loss: somebody here has kept it."""
        self._spared.add(path)

    def add(self, losses: Iterable[Loss]) -> None:
        for loss in losses:
            self.note(loss.path, loss.reason)

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def __str__(self) -> str:
        """`top_k (openai-chat has none); …`: for the log line and for errors."""
        told = [f"{path} ({reason})" for path, reason in self._reasons.items()]
        return "; ".join([*told, f"{self._more} more"] if self._more else told)

    def header(self) -> bytes:
        """The value of `x-trioproxy-lossy`: the same, in printable ASCII and shortened."""
        text = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in str(self))
        return (text if len(text) <= _HEADER else f"{text[: _HEADER - 3]}...").encode()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
