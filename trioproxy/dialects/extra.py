"""How fields we do not know survive: `difference` takes them out of a wire object, `merge` puts them back.

Law: `merge(known, difference(wire, known)) == wire` wherever `known` agrees with `wire` on the fields it has.
"""

from typing import Any

__all__ = ["difference", "merge"]


def difference(wire: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """What `wire` has and `known` has not, objects compared field by field."""
    extra = {}
    for key, value in wire.items():
        if key not in known:
            extra[key] = value
        elif isinstance(value, dict) and isinstance(known[key], dict) and (inner := difference(value, known[key])):
            extra[key] = inner
    return extra


def merge(known: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """`known` with the fields of `extra` added; `known` wins. Neither is changed."""
    if not extra:
        return known
    wire = dict(known)
    for key, value in extra.items():
        if key not in wire:
            wire[key] = value
        elif isinstance(wire[key], dict) and isinstance(value, dict):
            wire[key] = merge(wire[key], value)
    return wire
