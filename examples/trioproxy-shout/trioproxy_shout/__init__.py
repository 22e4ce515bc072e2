"""A stage in a package of its own: installed beside trioproxy, `shout` is a name for stages.toml."""

from collections.abc import Iterator

from trioproxy import Stage, TextDelta, replace

__all__ = ["Shout"]


class Shout(Stage[TextDelta, TextDelta]):
    """Answer in capitals."""

    def __init__(self, *, mark: str = "") -> None:
        self._mark = mark

    def feed(self, delta: TextDelta) -> Iterator[TextDelta]:
        yield replace(delta, text=delta.text.upper() + self._mark)
