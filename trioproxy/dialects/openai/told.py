"""How the readers of a request tell what they could not take: as a loss, or as an error that names the culprit."""

import re
from collections.abc import Callable, Collection
from typing import Any

from trioproxy.errors import ProxyError
from trioproxy.items import Error, Loss

__all__ = [
    "UNSAID",
    "Lost",
    "Wire",
    "everywhere",
    "label",
    "named",
    "note_fields",
    "of_type",
    "refusal",
    "shown",
    "typed",
]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's
UNSAID = "cannot be said in another dialect"
_SHOWN = 40  # characters of what the client wrote
_NOTHING: tuple[Any, ...] = (None, "", [], {}, False)
_NUMBER = re.compile(r"\[\d+\]")


class Lost(dict[str, str]):
    """Path → reason, the first of a path stays. `refused` is the first that cannot be left out."""

    refused: Loss | None = None

    def refuse(self, exc: ProxyError, path: str) -> None:
        self.refused = self.refused or Loss(path, exc.error.message, fatal=True)

    @property
    def losses(self) -> tuple[Loss, ...]:
        refused = (self.refused,) if self.refused else ()
        return (*refused, *(Loss(path, reason) for path, reason in self.items()))


_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "nothing",
}


def named(value: Any) -> str:
    """What kind of JSON a value is, with its article."""
    return _NAMES[type(value)]


def shown(value: Any) -> str:
    """A value of the client's as it can be told: of a text its beginning, of all else what kind of JSON it is."""
    if not isinstance(value, str):
        return named(value)
    text = repr(value[:_SHOWN])
    return text if len(value) <= _SHOWN and len(text) <= _SHOWN + 2 else f"{text[:_SHOWN]}…"


def label(value: Any) -> str:
    """A name of the client's, as a part of a path: its beginning; of what is none, what kind of JSON it is."""
    return value[:_SHOWN] if isinstance(value, str) else named(value)


def everywhere(where: str) -> str:
    """The path of all that stand where one does: `input[].content[]` for `input[3].content[0]`."""
    return _NUMBER.sub("[]", where)


def of_type(wire: Any) -> str:
    """Which object it is that cannot be taken: `of type 'x'`, if it says one."""
    if not isinstance(wire, dict):
        return f"that is {named(wire)}"
    return "without a type" if wire.get("type") is None else f"of type {shown(wire['type'])}"


def note_fields(wire: Wire, read: Collection[str], path: str, lost: Lost) -> None:
    """Note the fields of `wire`, an object at `path`, that are not `read` and say anything to a model."""
    for key, value in wire.items():
        if key not in read and value not in _NOTHING:
            lost.setdefault(f"{path}.{key[:_SHOWN]}", UNSAID)


def refusal(message: str) -> ProxyError:
    return ProxyError(Error("invalid_request", message, 400))


def typed(wire: Wire, key: str, fine: Callable[[Any], bool], expected: str) -> Any:
    """`wire[key]`, None if it is absent or null. Raises `ProxyError` if it is not `fine`."""
    value = wire.get(key)
    if value is not None and not fine(value):
        raise refusal(f"{key}: expected {expected}, got {named(value)}")
    return value
