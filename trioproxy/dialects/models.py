"""A model as listings of models have it."""

from typing import Any

import msgspec

from trioproxy.dialects.peek import BAD_JSON

__all__ = ["LATEST", "Model", "read_listing"]

LATEST = 253_402_300_799
"""The last second of the year 9999: no date is later."""


class Model(msgspec.Struct, frozen=True):
    """One model that a route serves. What a listing does not say is empty, or None."""

    id: str
    name: str = ""
    """For people."""
    created: int = 0
    """Seconds since 1970."""
    context: int | None = None
    """The most tokens of input."""
    answer: int | None = None
    """The most tokens of output."""


class _Listing(msgspec.Struct):
    data: list[dict[str, Any]]


_LISTING = msgspec.json.Decoder(_Listing)


def read_listing(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The models of `{"data": […]}` that have an id, with it. Raises `msgspec.DecodeError`."""
    try:
        data = _LISTING.decode(body)
    except BAD_JSON as exc:
        raise msgspec.DecodeError(str(exc)) from exc
    return [(id, each) for each in data.data if isinstance(id := each.get("id"), str) and id]
