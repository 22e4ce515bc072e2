"""How fields we do not know survive: `difference` takes them out of a wire object, `merge` puts them back.

Law: `merge(known, difference(wire, known))` has everything that `wire` has.
"""

from typing import Any

import msgspec

__all__ = ["difference", "merge"]


def difference(wire: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """What `wire` says and `known` does not, field by field. A null that `known` fills says nothing."""
    extra = {}
    for key, value in wire.items():
        mine = known.get(key)
        if isinstance(value, dict) and isinstance(mine, dict):
            if inner := difference(value, mine):
                extra[key] = inner
        elif key not in known or not (value is None or isinstance(mine, msgspec.Raw) or value == mine):
            extra[key] = value
    return extra


def merge(known: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """`known` with the fields of `extra` added, or put in place of what we always write. Neither is changed."""
    if not extra:
        return known
    wire = dict(known)
    for key, value in extra.items():
        mine = wire.get(key)
        wire[key] = merge(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return wire
