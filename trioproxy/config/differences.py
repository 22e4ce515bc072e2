"""What is different between two configurations, in lines for the log. A secret is never told, only that it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from trioproxy.config.model import Client, Config, Route, Secret, StageSpec, Upstream
from trioproxy.errors import printable
from trioproxy.http.listen import Listen
from trioproxy.models import Models
from trioproxy.store import Settings
from trioproxy.units import Seconds, Size, show_seconds, show_size

__all__ = ["changes", "fixed"]

_AT_START = ("store", "workers", "admin", "tracing")  # what is opened once


class _Fact(NamedTuple):
    """One thing a configuration says: `said` is for people, None if it is nothing to show."""

    value: Any
    said: str | None


_Facts = dict[str, _Fact]

# Of a value under such a key nothing is said: it is a secret, or may hold one.
_UNSAID = frozenset({"token", "headers", "key", "proxy", "query", "command", "digest"})
# What stands for others that are told, or can be seen only from within.
_SKIPPED = frozenset({"file", "order", "taken", "name", "host", "usual"})
_NOTHING = _Fact(None, "unset")


def changes(old: Config, new: Config) -> list[str]:
    """One line for each difference, in the order of the file; empty if there is none."""
    lines = list(_told("", _whole(old), _whole(new)))
    for section, named in _SECTIONS.items():
        before, after = named(old), named(new)
        for name, facts in after.items():
            label = f"{section} {name}"
            if name in before:
                lines += _told(f"{label}: ", before[name], facts)
            else:
                lines.append(f"{label}: new{_summary(facts)}")
        lines += [f"{section} {name}: gone" for name in before if name not in after]
    return lines


def fixed(old: Config, new: Config) -> list[str]:
    """The sections and keys that are different, and cannot be while it serves."""
    return [name for name in _AT_START if getattr(old, name) != getattr(new, name)]


def _told(label: str, before: _Facts, after: _Facts) -> Iterator[str]:
    for key in {**before, **after}:
        was, now = before.get(key, _NOTHING), after.get(key, _NOTHING)
        if was.value == now.value:
            continue
        if was.said == now.said or was.said is None or now.said is None:
            how = "set" if was.value in (None, ()) else "taken away" if now.value in (None, ()) else "changed"
            yield f"{label}{key} {how}"
        else:
            yield f"{label}{key} {was.said} → {now.said}"


def _summary(facts: _Facts) -> str:
    said = (facts[key].said for key in ("url", "upstream") if key in facts)
    return "".join(f", {each}" for each in said if each)


# ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _whole(config: Config) -> _Facts:
    """What is said of no upstream, route, target or client."""
    return dict(_flat(config, {"upstreams", "routes", "targets", "clients"}))


def _upstream(upstream: Upstream) -> _Facts:
    return {"url": _Fact(str(upstream), str(upstream))} | dict(_flat(upstream, {"origin", "path"}))


def _route(route: Route) -> _Facts:
    asked = (route, *route.others)
    names = ", ".join(each.upstream.name for each in asked)
    facts = {"upstream": _Fact(names, names)} | dict(_flat(route, {"upstream", "others", "request", "response"}))
    for each in asked:
        of = f" of {each.upstream.name}" if route.others else ""
        for direction, specs in (("request", each.request), ("response", each.response)):
            chain = " → ".join(spec.name for spec in specs) or "bytes as they come"
            classes = [f"{spec.cls.__module__}:{spec.cls.__qualname__}" for spec in specs]
            facts[direction + of] = _Fact((chain, classes), chain)
            for spec in specs:
                facts |= dict(_stage(spec))
    return facts


def _stage(spec: StageSpec) -> Iterator[tuple[str, _Fact]]:
    for option, value in spec.options.items():
        # An option is the author's own: text may be a secret under whatever name.
        said = _said(value) if isinstance(value, bool | int | float) else None
        yield f"{spec.name}.{option.replace('_', '-')}", _Fact(value, said)


def _flat(struct: msgspec.Struct, apart: set[str]) -> Iterator[tuple[str, _Fact]]:
    """The fields of a struct, and of those within it; but for those that are told `apart`."""
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        key = field.encode_name.replace("_", "-")
        if field.name in apart or key in _SKIPPED:
            continue
        if key in _UNSAID:
            yield key, _Fact(value, None)
        elif isinstance(value, msgspec.Struct):
            yield from ((f"{key}.{below}", fact) for below, fact in _flat(value, set()))
        elif isinstance(struct, Settings) and key == "url":
            yield key, _Fact(value, struct.place)
        elif isinstance(value, Models):
            yield from ((f'{key} "{alias}"', _Fact(name, name)) for alias, name in value.aliases.items())
        else:
            yield key, _Fact(value, _said(value))


def _said(value: Any) -> str | None:
    """A value as the file would say it; None if it must not be shown."""
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case Seconds():
            return show_seconds(value)
        case Size():
            return show_size(value)
        case Secret():
            return None
        case int() | float() | Path() | IPv4Network() | IPv6Network():
            return str(value)
        case str():
            return printable(value) or "unset"
        case Client():
            return value.name
        case Listen():
            return str(value)
        case tuple() | list():
            said = [_said(each) for each in value]
            return None if None in said else ", ".join(map(str, said)) or "none"
    return None


_SECTIONS: Mapping[str, Callable[[Config], Mapping[str, _Facts]]] = {
    "upstream": lambda config: {name: _upstream(upstream) for name, upstream in config.upstreams.items()},
    "route": lambda config: {route.prefix: _route(route) for route in config.listed},
    "target": lambda config: {name: dict(_flat(target, set())) for name, target in config.targets.items()},
    "client": lambda config: {client.name: dict(_flat(client, set())) for client in config.clients},
}
