"""`check` and `stages`: what a configuration does, and what can stand in a pipeline, in so many columns."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from trioproxy import pipeline, registry, toml
from trioproxy.cli.terminal import WIDEST, cut, wrap
from trioproxy.config import (
    DEFAULT_RESPONSE,
    TARGET,
    TIMEOUTS,
    TOLERANCE,
    Config,
    Route,
    Secret,
    StageSpec,
    TargetSpec,
    TokenCommand,
    TokenFile,
    Tolerance,
    Tracing,
    Upstream,
)
from trioproxy.config.processes import kept_apart
from trioproxy.config.store import lacking
from trioproxy.errors import ConfigError, printable
from trioproxy.http.client import Timeouts
from trioproxy.http.limits import Limits
from trioproxy.items import Error, Request
from trioproxy.sessions import EXPECTED
from trioproxy.store import Settings
from trioproxy.units import Seconds, Size, show_seconds, show_size

__all__ = ["explain_config", "explain_stage", "list_stages"]

Options = Mapping[str, Any]
"""The `[stages.NAME]` table of the file, as it stands there."""


# ── check ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def explain_config(config: Config, width: int = WIDEST) -> list[str]:
    """Every route with its stages and what flows between them, and whatever else differs from the defaults."""
    listens = wrap(" and ".join(map(str, config.listen)).split(" "), "listens on ", width)
    lines = [f"{config.file or 'the configuration'} is fine", "", *listens]
    for route in config.listed:
        lines += ["", *_route(route, config, width)]
    for name, target in config.targets.items():
        lines += ["", *_target(name, target, width)]
    used = {way.upstream.name for route in config.routes for way in (route, *route.others)}
    unused = config.upstreams.keys() - used
    if unused:
        lines += ["", f"no route leads to {', '.join(sorted(unused))}"]
    for warning in (*kept_apart(config), *lacking(config.store, config.directory)):
        lines += ["", *wrap(warning.split(" "), "! ", width)]
    if changed := list(_changed(config)):
        lines += ["", "other than by default:", *_columns(changed, width)]
    return lines


def _route(route: Route, config: Config, width: int) -> list[str]:
    upstream = route.upstream
    lines = wrap(_where(route).split(" "), f"{route.prefix} → {upstream.name}: ", width)
    for other in route.others:
        lines += wrap(_where(other).split(" "), f"  {'or' if route.weights else 'then'} {other.upstream.name}: ", width)
    lines += _stages(route, "", width)
    for other in route.others:
        if (other.request, other.response) != (route.request, route.response):
            lines += _stages(other, f" for {other.upstream.name}", width)
    for subject, settings in (
        ("clients", _clients(route, anybody=bool(config.clients))),
        ("session", _sessions(route)),
        ("weights", _weights(route)),
        ("models", _aliases(route)),
        ("asked as", _ways(upstream)),
        *((f"{other.upstream.name} as", _ways(other.upstream)) for other in route.others),
        ("strict", _strict(route)),
    ):
        if settings:
            label = f"  {subject + ':':10}"
            lines += wrap([cut(setting, width - len(label)) for setting in _listing(settings)], label, width)
    for name, settings in {spec.name: list(_options(spec)) for spec in (*route.request, *route.response)}.items():
        if settings:
            label = f"  {name}: "
            lines += wrap([cut(setting, width - len(label)) for setting in _listing(settings)], label, width)
    return lines


def _target(name: str, target: TargetSpec, width: int) -> list[str]:
    """A target of the file: what it leads to, and where it is. Its client's token is nobody's business here."""
    upstream = target.upstream
    said = [target.mode, *([target.provider] if target.provider else []), *_own(upstream)]
    lines = wrap(f"{upstream} ({', '.join(said)})".split(" "), f"target {name} → {upstream.model}: ", width)
    key = "KEY, which POST /targets of the admin listener tells" if target.key is None else target.key
    lines += wrap(f"/targets/{key}".split(" "), f"  {'at:':9} ", width)
    if target.models:
        lines += wrap(_listing([*map(_value, target.models)]), f"  {'models:':9} ", width)
    if ways := [way for way in _ways(upstream) if not way.startswith("model = ")]:
        lines += wrap(_listing(ways), f"  {'asked as:':9} ", width)
    return lines


def _where(route: Route) -> str:
    return f"{route.upstream} ({', '.join([route.upstream.dialect, *_own(route.upstream)])})"


def _stages(route: Route, whose: str, width: int) -> list[str]:
    """What flows between its stages, in both directions."""
    lines: list[str] = []
    for direction, specs, nothing in (
        ("request", route.request, "as it comes"),
        ("response", route.response, "bytes, as they come"),
    ):
        lines += wrap(_flow(direction, specs) if specs else [nothing], f"  {direction + whose + ':':9} ", width)
    return lines


def _weights(route: Route) -> list[str]:
    """How often each upstream comes first."""
    if not route.weights:
        return []
    whole = sum(route.weights)
    ways = zip([route, *route.others], route.weights, strict=True)
    shares = [f"{way.upstream.name} first {weight / whole:.0%}" for way, weight in ways]
    return [*shares, "the same for all of a session or client"] if route.sticky else shares


def _own(upstream: Upstream) -> Iterator[str]:
    """What of an upstream is other than by default."""
    if upstream.token:
        sourced = isinstance(upstream.token, TokenFile | TokenCommand)
        yield f"token from {upstream.token}" if sourced else "own token"
    if upstream.headers:
        yield "own headers"
    if upstream.replay and upstream.replay.pace:
        yield f"pace {show_seconds(upstream.replay.pace)}"
    if upstream.replay and upstream.replay.chunk:
        yield f"chunk {show_size(upstream.replay.chunk)}"
    for key, field in TIMEOUTS.items():
        if (seconds := getattr(upstream.timeouts, field)) != getattr(Timeouts(), field):
            yield f"{key} {show_seconds(seconds)}"
    yield from _reach(upstream)
    for key, field in TOLERANCE.items():
        if (value := getattr(upstream.tolerance, field)) != getattr(Tolerance(), field):
            yield f"{key} {show_seconds(value) if isinstance(value, Seconds) else value}"


def _reach(upstream: Upstream) -> Iterator[str]:
    """How it is reached, and what it is and is not told; nothing of what may be secret."""
    reach = upstream.reach
    if upstream.query:
        names = (pair.partition("=")[0] for pair in upstream.query.split("&"))
        yield f"own query {', '.join(f'{name}=…' for name in names)}"
    for name in upstream.removed:
        yield f"without {name}"
    if reach.proxy:
        yield f"through {reach.proxy}" + (" with credentials" if reach.proxy.user is not None else "")
    if reach.socket:
        yield f"at {reach.socket}"
    if reach.ca:
        yield f"trusting {reach.ca} too"
    if reach.certificate:
        yield f"showing {reach.certificate}"
    if reach.insecure:
        yield "INSECURE: any certificate is believed"


def _options(spec: StageSpec) -> Iterator[str]:
    """What of a stage is other than by default."""
    for option in registry.options(spec.cls):
        if spec.options.get(option.parameter, option.default) != option.default:
            yield _written(option.name, spec.options[option.parameter])


def _aliases(route: Route) -> list[str]:
    """The names of models that clients may ask for, unless it is the upstream's one model for all."""
    aliases = {} if route.upstream.model else route.models.aliases
    return [f"{_value(alias)} = {_value(name)}" for alias, name in aliases.items()]


def _ways(upstream: Upstream) -> list[str]:
    """The model and the ways that the file gives an upstream."""
    ways = {"model": upstream.model} | {key: getattr(upstream.target, field) for key, field in TARGET.items()}
    return [f"{key} = {_value(value)}" for key, value in ways.items() if value is not None]


def _clients(route: Route, *, anybody: bool) -> list[str]:
    """Who may ask; that anybody may is said only where others are asked for a token."""
    who = [client.name for client in route.clients] or ["anybody"] * anybody
    if route.forward_credentials is None:
        return who
    goes = "go on" if route.forward_credentials else "stay here"
    return [*who, f"credentials {'that are not ours ' if route.clients else ''}{goes}"]


def _sessions(route: Route) -> list[str]:
    """What stands for the session in its paths."""
    if route.stem is None:
        return []
    return [EXPECTED, *(f"not {_value(name)}" for name in sorted(route.taken))]


def _strict(route: Route) -> list[str]:
    return ["what would be lost between the dialects is refused"] if route.strict else []


def _listing(settings: Sequence[str]) -> list[str]:
    """With a comma behind each but the last."""
    return [*(f"{setting}," for setting in settings[:-1]), *settings[-1:]]


def _flow(direction: str, specs: Sequence[StageSpec]) -> list[str]:
    """`bytes ─deframe→ Frame ─parse→ Event …`, in the pieces between which a line may end."""
    _, flows = pipeline.check(direction, [(spec.name, spec.cls) for spec in specs], {})
    first, *rest = map(_types, flows)
    return [first, *(f"─{spec.name}→ {flow}" for spec, flow in zip(specs, rest, strict=True))]


def _changed(config: Config) -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(Limits):
        value = getattr(config.limits, field.name)
        if value != field.default:
            yield f"  limits.{field.encode_name}", f"{_value(value)} (default {_value(field.default)})"
    for name, value, default in (
        ("workers", config.workers, 1),
        ("reload", config.reload, "signal"),
        ("drain", config.drain, Seconds(30)),
        ("allow-anonymous", config.allow_anonymous, False),
        ("trusted-proxies", [*map(str, config.trusted.networks), *["unix:"] * config.trusted.unix], []),
        ("hosts", list(config.hosts), []),
        ("origins", list(config.origins), []),
        ("log.enabled", config.log.enabled, True),
        ("log.level", config.log.level, "info"),
        ("log.format", config.log.format, "auto"),
    ):
        if value != default:
            yield f"  {name}", f"{_value(value)} (default {_value(default)})"
    yield from _store(config.store)
    yield from _tracing(config.tracing)
    if config.admin is not None:
        asked = "with a token" if config.admin.client else "without a token"
        yield "  admin.listen", f"{' and '.join(map(str, config.admin.listen))}, {asked} (default: no such listener)"


def _store(store: Settings) -> Iterator[tuple[str, str]]:
    usual = Settings()
    if store.url != usual.url:
        yield "  store.url", f"{_value(store.place)} (default {_value(usual.url)})"
    if store.key is not None:
        yield "  store.key", "set: what leaves the process is encrypted"
    for field in msgspec.structs.fields(Settings):
        value = getattr(store, field.name)
        if field.name not in ("url", "key") and value != field.default:
            yield f"  store.{field.name.replace('_', '-')}", f"{_value(value)} (default {_value(field.default)})"


def _tracing(tracing: Tracing | None) -> Iterator[tuple[str, str]]:
    if tracing is not None:
        yield "  tracing.endpoint", tracing.endpoint + (" with headers" if tracing.headers else "")
        for name, value, default in (
            ("service-name", tracing.service_name, "trioproxy"),
            ("sample", tracing.sample, 1.0),
        ):
            if value != default:
                yield f"  tracing.{name}", f"{_value(value)} (default {_value(default)})"


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_stages(width: int = WIDEST) -> list[str]:
    """Every stage that has a name: what it takes and gives, what it does, its options with their defaults."""
    rows = [_row(name) for name in registry.names()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    indent = " " * (sum(widths) + 4)
    lines: list[str] = []
    for name, types, doc, defaults in rows:
        lines += wrap(doc.split(), f"{name:{widths[0]}}  {types:{widths[1]}}  ", width)
        for default in defaults:
            lines.append(f"{indent}{cut(default, width - len(indent))}")
    return [*lines, "", *wrap(["In full, with lines to paste:", "python -m trioproxy stages NAME"], "", width)]


def _row(name: str) -> tuple[str, str, str, list[str]]:
    try:
        cls = registry.find(name, Path.cwd())
    except registry.Unusable as exc:  # a broken plugin must not hide the others
        return name, "cannot be used", str(exc), []
    doc = _doc(cls).partition("\n")[0]
    return name, _arrow(cls), doc, [_setting(option) for option in registry.options(cls)]


def explain_stage(name: str, directory: Path, settings: Options, width: int = WIDEST) -> list[str]:
    """One stage in full: its docstring, its options, and TOML to paste.

    `directory` is where the TOML file is, `settings` what it says of `name`. Raises `ConfigError` if there is no such
    stage.
    """
    use = settings.get("use", name)
    try:
        cls = registry.find(str(use), directory)
    except registry.Unusable as exc:
        raise ConfigError([exc.problem]) from exc
    options = registry.options(cls)
    lines = [f"{name}{'' if use == name else f' ({use})'}: {_arrow(cls)}", ""]
    for paragraph in _doc(cls).split("\n\n"):
        lines += [*wrap(paragraph.split(), "", width), ""]
    if options:
        rows: list[tuple[str, ...]] = [_explained(option, settings, width) for option in options]
        if max(len(kind) for _, kind, _ in rows) > width // 2:
            rows = [(option, f"{kind}, {default}") for option, kind, default in rows]
        lines += ["Options", *_columns(rows, width)]
        for option in options:
            if not _fits(option, width):
                lines += ["", f"The default of {option.name}", *_pieces(_value(option.default), width)]
    else:
        lines.append("It has no options.")
    return [*lines, "", *_snippet(name, cls, options, settings, width)]


def _explained(option: registry.Option, settings: Options, width: int) -> tuple[str, str, str]:
    if option.default is registry.REQUIRED:
        default = "must be given"
    elif option.default is None:
        default = "not set by default"
    else:
        default = f"default {_value(option.default)}" if _fits(option, width) else "its default is below"
    if option.name in settings:
        written = _written(option.name, settings[option.name]).partition(" = ")[2]
        default = f"{written} in the file ({default})"
    return f"  {option.name}", _kind(option.kind), default


def _fits(option: registry.Option, width: int) -> bool:
    """Whether the default is short enough to stand beside its option."""
    return len(_value(option.default)) <= width - 40


def _snippet(
    name: str, cls: registry.StageClass, options: Sequence[registry.Option], settings: Options, width: int
) -> list[str]:
    """The stage in a pipeline that works, and its options as the file says them, or else as they are by default."""
    lines = ["To paste", "", "  [pipeline]", *_listed(name, cls, width)]
    if options or "use" in settings:
        lines += ["", f"  [stages.{toml.key(name)}]"]
    if "use" in settings:
        lines.append(f"  use = {_value(settings['use'])}")
    for option in options:
        if option.name in settings:
            lines.append(f"  {_written(option.name, settings[option.name])}")
        else:
            lines.append(f"  {_setting(option)}" if _fits(option, width) else f"  # {option.name} = …")
    return lines


def _listed(name: str, cls: registry.StageClass, width: int) -> list[str]:
    """The default pipeline with the stage at the last place where what it takes is in flow, or before `keepalive`,
    which must know how long the client has heard nothing."""
    if any(issubclass(taken, Request) for taken in cls.takes):
        return [f"  request = [{_value(name)}]"]
    chain = list(DEFAULT_RESPONSE)
    if name not in chain:
        known = registry.built_in()
        _, flows = pipeline.check("response", [(each, known[each]) for each in chain], known)
        fitting = [index for index, flow in enumerate(flows) if any(issubclass(item, cls.takes) for item in flow)]
        fitting += [index for index, flow in enumerate(flows) for item in flow if issubclass(cls.takes[0], item)]
        quiet = chain.index("keepalive")
        chain.insert(quiet if quiet in fitting else max(fitting, default=len(chain)), name)
    first, *rest = (f"{_value(each)}," for each in chain)
    return wrap([first, *rest[:-1], f"{_value(chain[-1])}]"], "  response = [", width)


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


def _written(name: str, value: Any) -> str:
    """A setting of the file, its value blotted out if it looks like a secret."""
    return printable(f"{name} = {_value(value)}")


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
        case Secret():
            return '"…"'
        case str() if "\\" in value and "'" not in value and value.isprintable():
            return f"'{value}'"
        case str():
            return msgspec.json.encode(str(value)).decode()  # a TOML string may say what a JSON string says
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return f"{{ {', '.join(f'{toml.key(key)} = {_value(each)}' for key, each in value.items())} }}"
    return "…" if value in (None, registry.REQUIRED) else str(value)


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """The rows as lines, the last column wrapped."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for *first, last in rows:
        label = "".join(f"{text:{column}}  " for text, column in zip(first, widths, strict=False))
        lines += wrap(last.split(" "), label, width)
    return lines


def _pieces(text: str, width: int) -> list[str]:
    """Text without spaces to break at, cut into lines."""
    return [f"    {text[at : at + width - 4]}" for at in range(0, len(text), width - 4)]
