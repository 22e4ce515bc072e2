"""Counts as plain data: to send between processes, to add up, and as the text that Prometheus reads.

The text is by hand (prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4): the client library takes
longer to import than all of trioproxy, and cannot add up what several processes send; its parser is the tests' judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Literal

import msgspec

__all__ = ["CONTENT_TYPE", "Family", "Labels", "Snapshot", "merged", "write"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]


class Family(msgspec.Struct, frozen=True):
    """One metric. `series` has its numbers by the values of `labels`.

    A counter and a gauge have one number; a histogram one for each of `bounds`, one for what is above them all, and
    the sum of what was observed.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    series: list[tuple[Labels, list[float]]] = []
    bounds: tuple[float, ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """What one process, or several together, have counted."""

    counted: list[Family] = []
    """What adds up, and goes on counting when a process is gone."""
    now: list[Family] = []
    """What is true of one process at this moment."""


def merged(live: Iterable[Snapshot], dead: Iterable[Snapshot] = ()) -> Snapshot:
    """One snapshot of several processes. Of `dead` ones only what they counted is left; never does a count go back.

    What is true of one process stays apart: these families should have a label that says of which.
    """
    living = list(live)
    counted = [family for snapshot in (*dead, *living) for family in snapshot.counted]
    return Snapshot(list(_summed(counted)), list(_joined(family for each in living for family in each.now)))


def _summed(families: Iterable[Family]) -> Iterator[Family]:
    for same in _by_name(families):
        sums: dict[Labels, list[float]] = {}
        for family in same:
            for labels, numbers in family.series:
                before = sums.get(labels)
                sums[labels] = numbers if before is None else [a + b for a, b in zip(before, numbers, strict=True)]
        yield msgspec.structs.replace(same[0], series=list(sums.items()))


def _joined(families: Iterable[Family]) -> Iterator[Family]:
    for same in _by_name(families):
        yield msgspec.structs.replace(same[0], series=[each for family in same for each in family.series])


def _by_name(families: Iterable[Family]) -> Iterable[list[Family]]:
    found: dict[str, list[Family]] = {}
    for family in families:
        found.setdefault(family.name, []).append(family)
    return found.values()


def write(snapshot: Snapshot) -> bytes:
    """The page that Prometheus reads; `CONTENT_TYPE` says what it is."""
    lines: list[str] = []
    for family in (*snapshot.counted, *snapshot.now):
        text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
        lines += [f"# HELP {family.name} {text}", f"# TYPE {family.name} {family.kind}"]
        for labels, numbers in family.series:
            pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(family.labels, labels, strict=True)]
            lines += _histogram(family, pairs, numbers) if family.bounds else [_line(family.name, pairs, numbers[0])]
    return "\n".join([*lines, ""]).encode(errors="replace")


def _histogram(family: Family, pairs: list[str], numbers: list[float]) -> Iterator[str]:
    *counts, total = numbers
    below = list(accumulate(counts))
    for bound, count in zip((*map(_number, family.bounds), "+Inf"), below, strict=True):
        yield _line(f"{family.name}_bucket", [*pairs, f'le="{bound}"'], count)
    yield _line(f"{family.name}_sum", pairs, total)
    yield _line(f"{family.name}_count", pairs, below[-1])


def _line(name: str, pairs: list[str], number: float) -> str:
    return f"{name}{{{','.join(pairs)}}} {_number(number)}" if pairs else f"{name} {_number(number)}"


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(float(number))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
