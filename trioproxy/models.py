"""Model names: the client's → the upstream's, and what a listing of models shows to clients (hazard H143)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from trioproxy.dialects.models import Model

__all__ = ["Models"]

_LISTED = 10_000  # models; the largest catalogue of a real provider has some hundreds


class Models:
    """The aliases of one route: what clients ask for → what the upstream is asked for.

    An alias is a whole name, or has one `*` for one or more characters, which an upstream's name may repeat. The whole
    name comes before the patterns, and of these the one with the most characters beside its `*`. Case counts.
    """

    def __init__(self, aliases: Mapping[str, str] | None = None) -> None:
        self.aliases: Mapping[str, str] = dict(aliases or {})
        patterns = [(alias.split("*"), name.split("*")) for alias, name in self.aliases.items() if "*" in alias]
        self._patterns = sorted(patterns, key=lambda pattern: -len("".join(pattern[0])))  # a stable sort

    def upstream(self, name: str) -> str:
        """What the upstream is asked for when a client asks for `name`."""
        if name in self.aliases and "*" not in name:
            return self.aliases[name]
        for alias, meant in self._patterns:
            if (inner := _inner(name, alias)) is not None:
                return inner.join(meant)  # without a `*` there is one part, and nothing is joined
        return name

    def listed(self, upstream_models: Sequence[Model]) -> list[Model]:
        """The models that clients can ask for, each under the name that leads to it.

        First the aliases that are whole names, then what the upstream has: under each pattern with a `*` on both sides,
        and under its own name if there is no such pattern.
        """
        known = {model.id: model for model in reversed(upstream_models)}
        listed: dict[str, Model] = {}
        for alias, name in self.aliases.items():
            if "*" not in alias:
                listed[alias] = replace(known[name], id=alias) if name in known else Model(alias)
        for model in upstream_models:
            for name in self._names(model.id):
                if len(listed) >= _LISTED:
                    break
                # Another alias may stand in front of this one: then the name leads elsewhere.
                if name not in listed and self.upstream(name) == model.id:
                    listed[name] = replace(model, id=name)
        return list(listed.values())[:_LISTED]

    def _names(self, name: str) -> Iterator[str]:
        """What a client may have to say for the upstream's `name`."""
        both = [(alias, meant) for alias, meant in self._patterns if len(meant) > 1]
        for alias, meant in both:
            if (inner := _inner(name, meant)) is not None:
                yield inner.join(alias)
        if not both:
            yield name


def _inner(name: str, pattern: Sequence[str]) -> str | None:
    """What stands for the `*` between the two parts of `pattern`; None if `name` does not fit it."""
    before, after = pattern
    fits = len(name) > len(before) + len(after) and name.startswith(before) and name.endswith(after)
    return name[len(before) : len(name) - len(after)] if fits else None
