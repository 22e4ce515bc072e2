"""A three-way merge of JSON: what a stage changed, laid over what the client sent.

A request that goes to an upstream of its own dialect must arrive as the client wrote it, with fields we have never
heard of and keys in their order (hazards H122, H136), except for what was meant to change.

Laws: `patched(wire, before, before) == wire`, `patched(before, before, after) == after`.
"""

from typing import Any

import msgspec

__all__ = ["patched"]

_DEEP = 64  # below that a change is taken whole


def patched(wire: Any, before: Any, after: Any) -> Any:
    """`wire` with the changes that lead from `before` to `after`; nothing is changed in place.

    `before` is what we write of the request as it was read, `after` what we write of it as it is now.
    """
    return _patched(wire, before, after, 0)


def _patched(wire: Any, before: Any, after: Any, depth: int) -> Any:
    if _same(before, after):
        return wire
    if depth < _DEEP:
        if isinstance(wire, dict) and isinstance(before, dict) and isinstance(after, dict):
            return _object(wire, before, after, depth + 1)
        if isinstance(wire, list) and isinstance(before, list) and isinstance(after, list):
            return _array(wire, before, after, depth + 1)
    return after


def _object(wire: dict[str, Any], before: dict[str, Any], after: dict[str, Any], depth: int) -> dict[str, Any]:
    gone = before.keys() - after.keys()
    merged = {key: value for key, value in wire.items() if key not in gone}
    for key, value in after.items():
        if key not in before:
            merged[key] = value
        elif key in wire:
            merged[key] = _patched(wire[key], before[key], value, depth)
        elif not _same(before[key], value):
            merged[key] = value  # the client left it to a default of ours, which was changed
    return merged


def _array(wire: list[Any], before: list[Any], after: list[Any], depth: int) -> list[Any]:
    if len(wire) != len(before):
        return after  # we write it in another shape than the client did: nothing says what belongs to what
    if len(before) == len(after):
        return [_patched(*each, depth) for each in zip(wire, before, after, strict=True)]
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    return wire[:head] + after[head : len(after) - tail] + wire[len(wire) - tail :]


def _common(left: list[Any], right: list[Any]) -> int:
    """How many elements both begin with."""
    count = 0
    for mine, theirs in zip(left, right, strict=False):
        if not _same(mine, theirs):
            break
        count += 1
    return count


def _same(left: Any, right: Any) -> bool:
    """Whether both are the same JSON: to Python, `1`, `1.0` and `True` are."""
    try:
        return bool(left == right) and _text(left) == _text(right)
    except RecursionError:
        return False


def _text(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
