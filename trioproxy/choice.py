"""Which upstream of a route is asked first, and which after it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log

from trioproxy.config import Route
from trioproxy.guard import Guards

__all__ = ["in_order"]


def in_order(route: Route, ways: Sequence[Route], key: bytes, guards: Guards) -> Sequence[Route]:
    """Those `ways` of a route that can be gone, each with one of its upstreams, first to last.

    With weights, `key` decides: the same one gives the same order for as long as the upstreams are the same, and over
    many keys each comes first as often as its weight says (weighted rendezvous hashing: where one is added or goes, no
    other key moves). Those that let requests down, or are full, come last all the same.
    """
    if len(ways) == 1:
        return ways
    if route.weights:
        names = [_name(way) for way in (route, *route.others)]
        weight = dict(zip(names, route.weights, strict=True))
        ways = sorted(ways, key=lambda way: _score(key, _name(way), weight[_name(way)]))
    return sorted(ways, key=lambda way: _hardship(way, guards))


def _name(way: Route) -> str:
    return way.upstream.name


def _score(key: bytes, name: str, weight: int) -> float:
    """The lowest of all is chosen: of exponential variables, each as likely as its rate."""
    digest = blake2b(name.encode(), key=key[:64], digest_size=8).digest()
    chance = (int.from_bytes(digest, "big") + 1) / 2**64
    return -log(chance) / weight if weight else float("inf")


def _hardship(way: Route, guards: Guards) -> tuple[bool, bool]:
    guard = guards.of(way.upstream)
    return guard.passed_over, guard.full
