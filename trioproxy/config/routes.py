"""The `[routes]` section: which request goes where, and through which stages."""

from __future__ import annotations

from collections.abc import Mapping

from trioproxy import registry, toml
from trioproxy.config.aliases import read_models
from trioproxy.config.model import Route, Upstream
from trioproxy.config.pipelines import DEFAULT_RESPONSE, Chains, Stages, Usual, check_answers, read_chain
from trioproxy.config.table import Table
from trioproxy.errors import Problem
from trioproxy.models import Models

__all__ = ["read_routes"]


def read_routes(root: Table, upstreams: Mapping[str, Upstream | None], usual: Usual, models: Models) -> list[Route]:
    """Every route, longest prefix first; `usual` and `models` are for routes that have none of their own."""
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
    return sorted((route for route in routes if route), key=lambda route: -len(route.prefix))


def _read(
    section: Table, prefix: str, upstreams: Mapping[str, Upstream | None], usual: Usual, models: Models
) -> Route | None:
    if not _is_prefix(prefix):
        near = f"/{prefix.strip('/')}"
        hint = "a path such as '/' or '/local', without a slash at its end"
        hint = f"did you mean '{near}'?" if _is_prefix(near) else hint
        section.problem((prefix,), Problem(f"{prefix!r} is not a route's prefix", hint), at_key=True)
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
    return Route(prefix, upstream, tuple(request), tuple(response), models, strict)


def _is_prefix(text: str) -> bool:
    fine = text == "/" or (text.startswith("/") and not text.endswith("/") and "//" not in text)
    return fine and text.isascii() and text.isprintable() and not set(text) & set("{}?#% \\")
