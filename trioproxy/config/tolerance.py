"""The keys of an upstream that say how much it is given to do, and what its failures lead to."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from trioproxy.config.model import Tolerance
from trioproxy.config.table import Table
from trioproxy.units import Seconds

__all__ = ["TOLERANCE", "read_tolerance"]

TOLERANCE = {field.name.replace("_", "-"): field.name for field in msgspec.structs.fields(Tolerance)}
"""What the file calls the fields of `Tolerance`."""

_MANY = 1_000_000
_KINDS: dict[str, Any] = {
    "concurrency": Annotated[int, msgspec.Meta(ge=1, le=_MANY)],
    "queue": Annotated[int, msgspec.Meta(ge=0, le=_MANY)],
    "retries": Annotated[int, msgspec.Meta(ge=0, le=10)],
    "max_fails": Annotated[int, msgspec.Meta(ge=0, le=_MANY)],
}


def read_tolerance(table: Table) -> Tolerance:
    """What the table of an upstream says of it; of wrong values the problems are noted."""
    usual = Tolerance()
    values: dict[str, Any] = {}
    for key, field in TOLERANCE.items():
        default = getattr(usual, field)
        if field in _KINDS:
            values[field] = table.get(key, _KINDS[field], default)
        elif field == "retry_within":  # 0: at once or not at all
            values[field] = table.get(key, Seconds, default)
        else:
            values[field] = table.get_positive(key, default)
    return Tolerance(**values)
