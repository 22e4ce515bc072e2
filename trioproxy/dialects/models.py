"""A model as listings of models have it."""

import msgspec

__all__ = ["Model"]


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
