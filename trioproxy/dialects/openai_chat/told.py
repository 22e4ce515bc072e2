"""How the readers of a request tell what they could not take: as a loss, or as an error that names the culprit."""

from collections.abc import Callable
from typing import Any

from trioproxy.errors import ProxyError
from trioproxy.items import Error

__all__ = ["Lost", "Wire", "named", "refusal", "typed"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the client's


class Lost(dict[str, str]):
    """Path → reason, the first of a path stays. `refused` is what cannot be left out: why, of the first."""

    refused: str = ""

    def refuse(self, exc: ProxyError) -> None:
        self.refused = self.refused or exc.error.message


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


def refusal(message: str) -> ProxyError:
    return ProxyError(Error("invalid_request", message, 400))


def typed(wire: Wire, key: str, fine: Callable[[Any], bool], expected: str) -> Any:
    """`wire[key]`, None if it is absent or null. Raises `ProxyError` if it is not `fine`."""
    value = wire.get(key)
    if value is not None and not fine(value):
        raise refusal(f"{key}: expected {expected}, got {named(value)}")
    return value
