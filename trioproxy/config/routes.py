"""The `[routes]` section: which request goes where, and through which stages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec.structs import replace

from trioproxy import registry, toml
from trioproxy.config.aliases import read_models
from trioproxy.config.clients import ACCESS, Access, everybody, read_access
from trioproxy.config.model import Client, Route, Upstream
from trioproxy.config.pipelines import DEFAULT_RESPONSE, Chains, Stages, Usual, check_answers, read_chain
from trioproxy.config.table import MISSING, Table
from trioproxy.errors import Problem
from trioproxy.models import Models
from trioproxy.sessions import SEGMENT

__all__ = ["read_routes"]

_WEIGHT = Annotated[int, msgspec.Meta(ge=0)]


def read_routes(
    root: Table,
    upstreams: Mapping[str, Upstream | None],
    usual: Usual,
    models: Models,
    clients: Mapping[str, Client | None],
) -> list[Route]:
    """Every route, in the order in which they are tried; `usual`, `models` and `clients` are for routes without their
    own."""
    section = root.table("routes")
    if not section.raw:
        if len(upstreams) > 1 and not section.broken:
            hint = f'for instance:\n[routes]\n"/" = "{next(iter(upstreams))}"'
            where = ("routes",) if "routes" in root.raw else ("upstreams", list(upstreams)[1])
            root.problem(where, Problem("with several upstreams, [routes] must say what goes where", hint), at_key=True)
        found = [upstream for upstream in upstreams.values() if upstream]
        routes = [_route("/", upstream, usual.chains(upstream.dialect), models) for upstream in found]
    else:
        routes = [_read(section, prefix, upstreams, usual, models) for prefix in section.raw]
    prefixes = [route.prefix for route in routes if route]
    access = read_access(section, clients)
    asking = [_asking(route, access.get(route.prefix, Access(everybody(clients)))) for route in routes if route]
    return sorted((_told_apart(route, prefixes) for route in asking), key=_rank)


def _asking(route: Route, access: Access) -> Route:
    """The route, for those who may ask."""
    others = tuple(_asking(other, access) for other in route.others)
    return replace(route, others=others, clients=access.clients, forward_credentials=access.forward_credentials)


def _told_apart(route: Route, prefixes: Iterable[str]) -> Route:
    """The route, and if sessions are in its place what of `prefixes` is none of them."""
    if route.stem is None:
        return route
    stem = f"{route.stem}/"
    beside = {prefix.removeprefix(stem).partition("/")[0] for prefix in prefixes if prefix.startswith(stem)}
    return replace(route, taken=frozenset(beside - {SEGMENT, ""}))


def _rank(route: Route) -> tuple[int, bool]:
    """Longest first; a session counts for nothing, but comes before what it stands below: "/{session}" before "/"."""
    return -len(route.prefix.removesuffix(SEGMENT)), route.stem is None


def _read(
    section: Table, prefix: str, upstreams: Mapping[str, Upstream | None], usual: Usual, models: Models
) -> Route | None:
    if not _is_prefix(prefix):
        section.problem((prefix,), Problem(f"{prefix!r} is not a route's prefix", _hint(prefix)), at_key=True)
    if isinstance(section.raw[prefix], list):
        found = _several(section, prefix, upstreams)
        return _ways([_route(prefix, upstream, usual.chains(upstream.dialect), models) for upstream in found])
    if not section.is_table(prefix):
        upstream = _upstream(section, (prefix,), section.get(prefix, str, None), upstreams)
        return _route(prefix, upstream, usual.chains(upstream.dialect), models) if upstream else None
    own = section.table(prefix)
    several = "upstreams" in own.raw
    if several and "upstream" in own.raw:
        hint = "put both into upstreams: the first is asked first"
        own.problem(("upstream",), Problem(f"route '{prefix}' has both upstream and upstreams", hint), at_key=True)
    elif not several and "upstream" not in own.raw:
        hint = f'"{prefix}" = {{ upstream = "{next(iter(upstreams), "mine")}" }}'
        section.problem((prefix,), Problem(f"route '{prefix}' needs an upstream", hint), at_key=True)
    own.known("upstream", "upstreams")
    if several:
        found = _several(own, "upstreams", upstreams)
    else:
        upstream = _upstream(own, ("upstream",), own.get("upstream", str, None), upstreams)
        found = [upstream] if upstream else []
    chains = _Chains(own, usual.stages)
    request = {each.dialect: chains.beside(usual.chains(each.dialect)) for each in found}
    if not found:
        chains.beside(usual.chains(""))
    if "models" in own.raw:
        models = read_models(own.table("models"))
    strict, weights, sticky = own.get("strict", bool, False), _weights(own, found), own.get("sticky", bool, False)
    own.known("models", *ACCESS)
    own.done()
    way = _ways([_route(prefix, upstream, request[upstream.dialect], models, strict=strict) for upstream in found])
    if way is None or not way.others:
        return way
    return replace(way, weights=weights or ((1,) * len(found) if sticky else ()), sticky=sticky)


def _upstream(
    section: Table, where: toml.Path, name: str | None, upstreams: Mapping[str, Upstream | None]
) -> Upstream | None:
    if name is not None and name not in upstreams:
        hint = registry.did_you_mean(name, upstreams) or (f"known: {', '.join(upstreams)}" if upstreams else "")
        section.problem(where, Problem(f"there is no upstream '{name}'", hint))
    return upstreams.get(name) if name else None


def _several(table: Table, key: str, upstreams: Mapping[str, Upstream | None]) -> list[Upstream]:
    """The upstreams that the array `key` names."""
    names = table.array(key, str, [])
    if not names and isinstance(table.raw.get(key), list):
        hint = f"for instance [{', '.join(map(repr, list(upstreams)[:2]))}]"
        table.problem((key,), Problem(f"{key}: Expected the name of at least one upstream", hint))
    found: list[Upstream] = []
    for index, name in enumerate(names):
        if name is MISSING:
            continue
        if name in names[:index]:
            table.problem((key, index), Problem(f"{key}: names '{name}' twice"))
        elif upstream := _upstream(table, (key, index), name, upstreams):
            found.append(upstream)
    return found


def _weights(own: Table, found: Sequence[Upstream]) -> tuple[int, ...]:
    weights = tuple(own.array("weights", _WEIGHT, []))
    if weights and MISSING not in weights:
        many = len(own.raw["upstreams"]) if isinstance(own.raw.get("upstreams"), list) else 1
        if len(weights) != many:
            message = f"weights: Expected one for each of {many} upstreams, got {len(weights)}"
            own.problem(("weights",), Problem(message, 'upstreams = ["a", "b"] with weights = [3, 1]'))
        elif not any(weights):
            own.problem(("weights",), Problem("weights: Expected at least one of more than 0"))
        elif len(weights) == len(found):
            return weights
    return ()


def _ways(routes: Iterable[Route | None]) -> Route | None:
    """One route of the same one with several upstreams, in their order; None if a problem is noted."""
    first, *others = [*routes, None]
    fine = [other for other in others if other]
    return replace(first, others=tuple(fine)) if first and fine else first


class _Chains:
    """The lists of stages that a route has of its own."""

    def __init__(self, own: Table, stages: Stages) -> None:
        self._own = own
        self._request = read_chain(own, "request", stages, ()) if "request" in own.raw else None
        self._response = read_chain(own, "response", stages, DEFAULT_RESPONSE) if "response" in own.raw else None
        self._fine = True
        own.known("request", "response")

    def beside(self, usual: Chains) -> Chains:
        """With the usual ones in place of those it has not."""
        given: list[toml.Path] = [(key,) for key in ("response", "request") if key in self._own.raw]
        request = self._request if ("request",) in given else usual[0]
        response = self._response if ("response",) in given else usual[1]
        if given and self._fine:  # what is wrong in front of one upstream is no other problem in front of the next
            self._fine = check_answers(self._own, given[0], request, response)
        return request, response


def _route(prefix: str, upstream: Upstream, chains: Chains, models: Models, *, strict: bool = False) -> Route | None:
    request, response = chains
    if request is None or response is None:
        return None  # why is noted
    route = Route(prefix, upstream, tuple(request), tuple(response), models, strict)
    # Stages that are about others have nothing to do here: where nothing is translated, all speak the same.
    return route.serving(None if route.translates else upstream.dialect)


def _hint(prefix: str) -> str:
    """For what is no prefix."""
    near = f"/{prefix.strip('/')}"
    for meant in (near, re.sub(r"/\{[^{}/]*\}$", f"/{SEGMENT}", near)):
        if _is_prefix(meant):
            return f"did you mean '{meant}'?"
    if set(prefix) & set("{}"):
        return f"{SEGMENT} stands for the whole last segment and no other, as in '/{SEGMENT}' or '/local/{SEGMENT}'"
    return "a path such as '/' or '/local', without a slash at its end"


def _is_prefix(text: str) -> bool:
    if text.endswith(f"/{SEGMENT}"):
        text = text.removesuffix(SEGMENT) + "id"
    fine = text == "/" or (text.startswith("/") and not text.endswith("/") and "//" not in text)
    return fine and text.isascii() and text.isprintable() and not set(text) & set("{}?#% \\")
