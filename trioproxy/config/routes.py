"""The `[routes]` section: which request goes where, and through which stages."""

from __future__ import annotations

from collections.abc import Mapping

from trioproxy import registry, toml
from trioproxy.config.model import Route, Upstream
from trioproxy.config.pipelines import DEFAULT_RESPONSE, Chain, Stages, check_answers, read_chain
from trioproxy.config.table import Table
from trioproxy.errors import Problem

__all__ = ["Chains", "read_routes"]

Chains = tuple[Chain, Chain]
"""The request and the response stages."""


def read_routes(root: Table, upstreams: Mapping[str, Upstream | None], stages: Stages, usual: Chains) -> list[Route]:
    """Every route, longest prefix first; `usual` are the stages of a route that names none of its own."""
    section = root.table("routes")
    if not section.raw:
        if len(upstreams) > 1 and not section.broken:
            hint = f'for instance:\n[routes]\n"/" = "{next(iter(upstreams))}"'
            where = ("routes",) if "routes" in root.raw else ("upstreams", list(upstreams)[1])
            root.problem(where, Problem("with several upstreams, [routes] must say what goes where", hint), at_key=True)
        routes = [_route("/", upstream, usual) for upstream in upstreams.values()]
    else:
        routes = [_read(section, prefix, upstreams, stages, usual) for prefix in section.raw]
    return sorted((route for route in routes if route), key=lambda route: -len(route.prefix))


def _read(
    section: Table, prefix: str, upstreams: Mapping[str, Upstream | None], stages: Stages, usual: Chains
) -> Route | None:
    if not _is_prefix(prefix):
        near = f"/{prefix.strip('/')}"
        hint = "a path such as '/' or '/local', without a slash at its end"
        hint = f"did you mean '{near}'?" if _is_prefix(near) else hint
        section.problem((prefix,), Problem(f"{prefix!r} is not a route's prefix", hint), at_key=True)
    where: toml.Path = (prefix,)
    chains = usual
    if section.is_table(prefix):
        own, where = section.table(prefix), (prefix, "upstream")
        name = own.get("upstream", str, None)
        if "upstream" not in own.raw:
            hint = f'"{prefix}" = {{ upstream = "{next(iter(upstreams), "mine")}" }}'
            section.problem((prefix,), Problem(f"route '{prefix}' needs an upstream", hint), at_key=True)
        chains = _chains(own, stages, usual)
        own.done()
    else:
        name = section.get(prefix, str, None)
    if name is not None and name not in upstreams:
        hint = registry.did_you_mean(name, upstreams) or (f"known: {', '.join(upstreams)}" if upstreams else "")
        section.problem(where, Problem(f"there is no upstream '{name}'", hint))
    return _route(prefix, upstreams.get(name) if name else None, chains)


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


def _route(prefix: str, upstream: Upstream | None, chains: Chains) -> Route | None:
    request, response = chains
    if upstream is None or request is None or response is None:
        return None  # why is noted
    return Route(prefix, upstream, tuple(request), tuple(response))


def _is_prefix(text: str) -> bool:
    fine = text == "/" or (text.startswith("/") and not text.endswith("/") and "//" not in text)
    return fine and text.isascii() and text.isprintable() and not set(text) & set("{}?#% \\")
