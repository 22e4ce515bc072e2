"""The `[routes]` section: which request goes where, and through which stages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from trioproxy import registry, toml
from trioproxy.config.aliases import read_models
from trioproxy.config.model import Route, Upstream
from trioproxy.config.pipelines import DEFAULT_RESPONSE, Chains, Stages, Usual, check_answers, read_chain
from trioproxy.config.table import Table
from trioproxy.errors import Problem
from trioproxy.models import Models
from trioproxy.sessions import SEGMENT

__all__ = ["read_routes"]


def read_routes(root: Table, upstreams: Mapping[str, Upstream | None], usual: Usual, models: Models) -> list[Route]:
    """Every route, in the order in which they are tried; `usual` and `models` are for routes without their own."""
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
    return sorted((_told_apart(route, prefixes) for route in routes if route), key=_rank)


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
    if not section.is_table(prefix):
        upstream = _upstream(section, (prefix,), section.get(prefix, str, None), upstreams)
        return _route(prefix, upstream, usual.chains(upstream.dialect), models) if upstream else None
    own = section.table(prefix)
    if "upstream" not in own.raw:
        hint = f'"{prefix}" = {{ upstream = "{next(iter(upstreams), "mine")}" }}'
        section.problem((prefix,), Problem(f"route '{prefix}' needs an upstream", hint), at_key=True)
    upstream = _upstream(section, (prefix, "upstream"), own.get("upstream", str, None), upstreams)
    chains = _chains(own, usual.stages, usual.chains(upstream.dialect if upstream else ""))
    if "models" in own.raw:
        models = read_models(own.table("models"))
    strict = own.get("strict", bool, False)
    own.known("models")
    own.done()
    return _route(prefix, upstream, chains, models, strict=strict) if upstream else None


def _upstream(
    section: Table, where: toml.Path, name: str | None, upstreams: Mapping[str, Upstream | None]
) -> Upstream | None:
    if name is not None and name not in upstreams:
        hint = registry.did_you_mean(name, upstreams) or (f"known: {', '.join(upstreams)}" if upstreams else "")
        section.problem(where, Problem(f"there is no upstream '{name}'", hint))
    return upstreams.get(name) if name else None


def _chains(own: Table, stages: Stages, usual: Chains) -> Chains:
    """The lists a route has of its own, and the usual ones in place of those it has not."""
    request, response = usual
    if "request" in own.raw:
        request = read_chain(own, "request", stages, ())
    if "response" in own.raw:
        response = read_chain(own, "response", stages, DEFAULT_RESPONSE)
    given: list[toml.Path] = [(key,) for key in ("response", "request") if key in own.raw]
    if given:
        check_answers(own, given[0], request, response)
    own.known("request", "response")
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
