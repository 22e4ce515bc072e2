"""`check` and `stages`: what a configuration does, and what can stand in a pipeline, in at most 100 columns."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from trioproxy import pipeline, registry, toml
from trioproxy.config import DEFAULT_RESPONSE, Config, Route, StageSpec
from trioproxy.errors import ConfigError
from trioproxy.http.limits import Limits
from trioproxy.items import Error, Request
from trioproxy.units import Seconds, Size, show_seconds, show_size

__all__ = ["explain_config", "explain_stage", "list_stages"]

WIDTH = 100
_SHORT = 60  # characters of a default that still fit beside its option's name


# ── check ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def explain_config(config: Config) -> list[str]:
    """Every route with its stages and what flows between them, and whatever else differs from the defaults."""
    lines = [f"{config.file or 'the configuration'} is fine", "", f"listens on {' and '.join(config.listen)}"]
    for route in reversed(config.routes):
        lines += ["", *_route(route)]
    unused = config.upstreams.keys() - {route.upstream.name for route in config.routes}
    if unused:
        lines += ["", f"no route leads to {', '.join(sorted(unused))}"]
    if changed := list(_changed(config)):
        lines += ["", "other than by default:", *(f"  {line}" for line in _columns(changed))]
    return lines


def _route(route: Route) -> list[str]:
    upstream = route.upstream
    own = [what for what, there in (("own token", upstream.token), ("own headers", upstream.headers)) if there]
    if upstream.replay and upstream.replay.pace:
        own.append(f"pace {show_seconds(upstream.replay.pace)}")
    lines = [f"{route.prefix} → {upstream.name}: {upstream} ({', '.join([upstream.dialect, *own])})"]
    for direction, specs, nothing in (
        ("request", route.request, "as it comes"),
        ("response", route.response, "bytes, as they come"),
    ):
        lines += _wrap(_flow(direction, specs) if specs else [nothing], f"  {direction + ':':10}")
    return lines


def _flow(direction: str, specs: Sequence[StageSpec]) -> list[str]:
    """`bytes ─deframe→ Frame ─parse→ Event …`, in the pieces between which a line may end."""
    _, flows = pipeline.check(direction, [(spec.name, spec.cls) for spec in specs], {})
    first, *rest = map(_types, flows)
    return [first, *(f"─{spec.name}→ {flow}" for spec, flow in zip(specs, rest, strict=True))]


def _changed(config: Config) -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(Limits):
        value = getattr(config.limits, field.name)
        if value != field.default:
            yield f"limits.{field.encode_name}", f"{_value(value)} (default {_value(field.default)})"
    for name, value, default in (
        ("drain", config.drain, Seconds(30)),
        ("hosts", list(config.hosts), []),
        ("origins", list(config.origins), []),
        ("log.level", config.log.level, "info"),
        ("log.format", config.log.format, "auto"),
    ):
        if value != default:
            yield name, _value(value)


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_stages() -> list[str]:
    """Every stage that has a name: what it takes and gives, what it does, its options with their defaults."""
    rows = [_row(name) for name in registry.names()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    indent = " " * (sum(widths) + 4)
    lines: list[str] = []
    for name, types, doc, defaults in rows:
        lines += _wrap(doc.split(), f"{name:{widths[0]}}  {types:{widths[1]}}  ")
        for default in defaults:
            lines.append(f"{indent}{_cut(default, WIDTH - len(indent))}")
    return [*lines, "", "In full, with lines to paste: python -m trioproxy stages NAME"]


def _row(name: str) -> tuple[str, str, str, list[str]]:
    try:
        cls = registry.find(name, Path.cwd())
    except registry.Unusable as exc:  # a broken plugin must not hide the others
        return name, "cannot be used", str(exc), []
    doc = _doc(cls).partition("\n")[0]
    return name, _arrow(cls), doc, [_setting(option) for option in registry.options(cls)]


def explain_stage(name: str) -> list[str]:
    """One stage in full: its docstring, its options, and TOML to paste. Raises `ConfigError` for a stage not there."""
    try:
        cls = registry.find(name, Path.cwd())
    except registry.Unusable as exc:
        raise ConfigError([exc.problem]) from exc
    options = registry.options(cls)
    lines = [f"{name}: {_arrow(cls)}", ""]
    for paragraph in _doc(cls).split("\n\n"):
        lines += [*_wrap(paragraph.split(), ""), ""]
    if options:
        lines.append("Options")
        lines += [f"  {line}" for line in _columns([_explained(option) for option in options])]
        for option in options:
            if not _fits(option):
                lines += ["", f"The default of {option.name}", *_pieces(_value(option.default))]
    else:
        lines.append("It has no options.")
    return [*lines, "", *_snippet(name, cls, options)]


def _explained(option: registry.Option) -> tuple[str, str, str]:
    if option.default is registry.REQUIRED:
        default = "must be given"
    elif option.default is None:
        default = "not set by default"
    else:
        default = f"default {_value(option.default)}" if _fits(option) else "its default is below"
    return option.name, _kind(option.kind), default


def _fits(option: registry.Option) -> bool:
    """Whether the default is short enough to stand beside its option."""
    return len(_value(option.default)) <= _SHORT


def _snippet(name: str, cls: registry.StageClass, options: Sequence[registry.Option]) -> list[str]:
    """The stage in a pipeline that works, and its options as they are by default."""
    lines = ["To paste", "", "  [pipeline]", *_listed(name, cls)]
    if options:
        lines += ["", f"  [stages.{toml.key(name)}]"]
    settings = [_setting(option) if _fits(option) else f"# {option.name} = …" for option in options]
    return [*lines, *(f"  {setting}" for setting in settings)]


def _listed(name: str, cls: registry.StageClass) -> list[str]:
    """The default pipeline with the stage at the last place where what it takes is in flow."""
    if any(issubclass(taken, Request) for taken in cls.takes):
        return [f"  request = [{_value(name)}]"]
    chain = list(DEFAULT_RESPONSE)
    if name not in chain:
        known = registry.built_in()
        _, flows = pipeline.check("response", [(each, known[each]) for each in chain], known)
        fitting = [index for index, flow in enumerate(flows) if any(issubclass(item, cls.takes) for item in flow)]
        fitting += [index for index, flow in enumerate(flows) for item in flow if issubclass(cls.takes[0], item)]
        chain.insert(max(fitting, default=len(chain)), name)
    first, *rest = (f"{_value(each)}," for each in chain)
    return _wrap([first, *rest[:-1], f"{_value(chain[-1])}]"], "  response = [")


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _types(types: Iterable[type]) -> str:
    """Without what another one includes, and without the error type, which may flow anywhere."""
    named = [item for item in types if item is not Error]
    widest = [item for item in named if not any(item is not other and issubclass(item, other) for other in named)]
    return " | ".join(item.__name__ for item in widest) or "nothing"


def _arrow(cls: registry.StageClass) -> str:
    return f"{_types(cls.takes)} → {_types(cls.gives)}"


def _doc(cls: type) -> str:
    """The docstring of the class itself: the one of `Stage` says nothing about it."""
    return inspect.cleandoc(cls.__dict__.get("__doc__") or "(It has no docstring.)")


def _setting(option: registry.Option) -> str:
    if option.default is registry.REQUIRED:
        return f"# {option.name} = …  (must be given)"
    if option.default is None:
        return f"# {option.name} = …"
    return f"{option.name} = {_value(option.default)}"


def _kind(kind: Any) -> str:
    """A type annotation in the operator's words."""
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    words |= {Seconds: 'time, such as "10s"', Size: 'size, such as "64 KiB"', Any: "anything"}
    if get_origin(kind) is Literal:
        return " or ".join(_value(choice) for choice in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_kind(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) in (list, tuple):
        return f"list of {_kind(get_args(kind)[0])}"
    return words[kind] if kind in words else str(getattr(kind, "__name__", kind))


def _value(value: Any) -> str:
    """A value as the TOML file would say it."""
    match value:
        case bool():
            return str(value).lower()
        case Seconds():
            return f'"{show_seconds(value)}"'
        case Size():
            return f'"{show_size(value)}"'
        case str() if "\\" in value and "'" not in value and value.isprintable():
            return f"'{value}'"
        case str():
            return msgspec.json.encode(value).decode()  # a TOML string may say what a JSON string says
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
    return "…" if value in (None, registry.REQUIRED) else str(value)


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _wrap(pieces: Sequence[str], label: str) -> list[str]:
    """The pieces as lines behind a label, never broken within a piece unless it is wider than the line."""
    lines, indent = [label], " " * len(label)
    for piece in pieces:
        if lines[-1].strip() and lines[-1] != label and len(lines[-1]) + 1 + len(piece) > WIDTH:
            lines.append(indent)
        lines[-1] += piece if lines[-1] in (label, indent) else f" {piece}"
    return [line.rstrip() for line in lines]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in padded]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _pieces(text: str) -> list[str]:
    """Text without spaces to break at, cut into lines."""
    width = WIDTH - 4
    return [f"    {text[at : at + width]}" for at in range(0, len(text), width)]
