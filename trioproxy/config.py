"""stages.toml → `Config`, typed and checked; or one `ConfigError` with every problem of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from trioproxy import pipeline, registry, toml
from trioproxy.dialects import DIALECTS
from trioproxy.errors import ConfigError, Position, Problem
from trioproxy.http.client import Origin, Timeouts
from trioproxy.http.limits import Limits
from trioproxy.http.server import Address
from trioproxy.stage import Stage
from trioproxy.units import Seconds, Size

__all__ = ["DEFAULT_RESPONSE", "Config", "Log", "Replay", "Route", "Secret", "StageSpec", "Upstream", "load", "read"]

T = TypeVar("T")

DEFAULT_RESPONSE = ("deframe", "parse", "signature-filter", "keepalive", "translate", "reframe")


class Secret(str):
    """A token. Its `repr` does not show it, so it cannot end up in a log or a traceback by accident."""

    @classmethod
    def read(cls, value: object) -> Secret:
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        if not value.strip() or not value.isascii() or not value.isprintable():
            raise ValueError("Expected a token of printable ASCII characters that is not empty")
        return cls(value.strip())

    def __repr__(self) -> str:
        return "Secret(…)"


class Replay(msgspec.Struct, frozen=True):
    """An upstream that answers from a recording. Between two pieces of `chunk` bytes (None: events) it waits `pace`."""

    file: Path
    pace: Seconds = Seconds(0)
    chunk: Size | None = None


class Upstream(msgspec.Struct, frozen=True):
    """Where requests go."""

    name: str
    dialect: str
    origin: Origin | None
    """None for a replay."""
    path: str = ""
    """The path of the URL, without a slash at its end."""
    replay: Replay | None = None
    token: Secret | None = None
    """Sent instead of the client's own credentials."""
    headers: tuple[tuple[str, str], ...] = ()
    timeouts: Timeouts = Timeouts()

    def __str__(self) -> str:
        return f"replay:{self.replay.file.name}" if self.replay else f"{self.origin}{self.path}"


class StageSpec(msgspec.Struct, frozen=True):
    """A stage of a pipeline: `make` gives a fresh one for an exchange."""

    name: str
    cls: type[Stage[Any, Any]]
    make: Callable[[], Stage[Any, Any]]


class Route(msgspec.Struct, frozen=True):
    """Requests whose path begins with `prefix` go to `upstream`, through these stages."""

    prefix: str
    upstream: Upstream
    request: tuple[StageSpec, ...] = ()
    response: tuple[StageSpec, ...] = ()

    def below(self, path: str) -> str | None:
        """The path below the prefix, or None if it is not under it."""
        if self.prefix == "/":
            return path
        if path == self.prefix:
            return "/"
        return path[len(self.prefix) :] if path.startswith(self.prefix + "/") else None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    """auto: text on a terminal, else JSON."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the file says. `routes` stand longest prefix first."""

    upstreams: Mapping[str, Upstream]
    routes: tuple[Route, ...]
    listen: tuple[Address, ...] = (Address("127.0.0.1:4567"),)
    limits: Limits = Limits()
    hosts: tuple[str, ...] = ()
    """Host names let through on loopback listeners, beside the loopback ones."""
    origins: tuple[str, ...] = ()
    """Web origins whose pages may use loopback listeners."""
    drain: Seconds = Seconds(30)
    """How long streams may go on after SIGTERM."""
    log: Log = Log()
    file: Path | None = None


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a TOML file. Raises `ConfigError`; `OSError` if it cannot be read."""
    raw = file.read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise ConfigError([Problem(f"the file is not UTF-8: byte {exc.start}")], file=str(file)) from exc
    return read(text, file, environ)


def read(text: str, file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the `text` of a TOML `file`. Raises `ConfigError`."""
    document = toml.load(text, str(file))
    problems: list[Problem] = []
    root = _Table(document, problems, environ, (), document.tables)
    config = _Reader(root, file.absolute().parent).config(file)
    if config is None or problems:
        raise ConfigError(problems, file=str(file), source=text)
    return config


class _Missing:
    pass


_MISSING = _Missing()


class _Table:
    """A table of the file, taken apart key by key; what nobody asked for is a problem at the end."""

    def __init__(
        self, document: toml.Document, problems: list[Problem], environ: Mapping[str, str], path: toml.Path, raw: Any
    ) -> None:
        self.path, self.document, self._problems, self._environ = path, document, problems, environ
        self.raw: dict[str, Any] = raw if isinstance(raw, dict) else {}
        self._asked: set[str] = set()
        if not isinstance(raw, dict):
            self.problem((), Problem(f"{_dotted(path)}: Expected a table, got `{type(raw).__name__}`"))

    def problem(self, below: toml.Path, problem: Problem, *, at_key: bool = False) -> None:
        """Report a problem of this table, or of the key or value `below` it."""
        path = self.path + below
        at = self.document.key(path) if at_key else self.document.value(path)
        self._problems.append(msgspec.structs.replace(problem, at=problem.at or at or Position(1, 1)))

    def get(self, key: str, kind: Any, default: T) -> Any | T:
        """The value of `key` as a `kind`; `default` if it is missing or wrong (and then reported)."""
        self._asked.add(key)
        if key not in self.raw:
            return default
        value, strict = self.resolve((key,), self.raw[key])
        if value is _MISSING:
            return default
        try:
            return registry.convert(value, kind, strict=strict)
        except ValueError as exc:
            self.problem((key,), Problem(f"{key}: {exc}"))
            return default

    def table(self, key: str) -> _Table:
        self._asked.add(key)
        return _Table(self.document, self._problems, self._environ, (*self.path, key), self.raw.get(key, {}))

    def tables(self) -> list[tuple[str, _Table]]:
        """Every key of this table, as a table."""
        return [(key, self.table(key)) for key in self.raw]

    def resolve(self, below: toml.Path, value: Any) -> tuple[Any, bool]:
        """`{ env = "NAME", default = "…" }` → the variable; and whether its type must be exact (it is not text)."""
        if not isinstance(value, dict) or "env" not in value or not value.keys() <= {"env", "default"}:
            return value, True
        name = value["env"]
        if isinstance(name, str) and name in self._environ:
            return self._environ[name], False
        if "default" in value:
            return value["default"], not isinstance(value["default"], str)
        what = f"the environment variable {name} is not set" if isinstance(name, str) else "env: Expected `str`"
        self.problem(below, Problem(what, 'set it, or give a default: { env = "NAME", default = "…" }'))
        return _MISSING, True

    def done(self) -> None:
        for key in self.raw:
            if key not in self._asked:
                where = f"[{_dotted(self.path)}]" if self.path else "the file"
                known = sorted(self._asked)
                hint = registry.did_you_mean(key, known) or f"known here: {', '.join(known)}"
                self.problem((key,), Problem(f"{where} has no key '{key}'", hint), at_key=True)


class _Reader:
    """Reads the sections in the order they depend on each other; goes on after a problem to find the next."""

    def __init__(self, root: _Table, directory: Path) -> None:
        self._root = root
        self._directory = directory
        self._specs: dict[str, StageSpec | None] = {}

    def config(self, file: Path) -> Config | None:
        root = self._root
        upstreams = {name: self._upstream(name, table) for name, table in root.table("upstreams").tables()}
        if not upstreams:
            hint = '[upstreams.mine]\nurl = "http://127.0.0.1:3456"\ndialect = "anthropic"'
            root.problem((), Problem("the file names no upstream: where should requests go?", hint))
        self._stages = root.table("stages")
        for name in self._stages.raw:
            self._spec(name, self._stages, (name,))
        pipelines = root.table("pipeline")
        request = self._chain(pipelines, "request", ())
        response = self._chain(pipelines, "response", DEFAULT_RESPONSE)
        self._check(pipelines, request, response)
        pipelines.done()
        routes = self._routes(upstreams, request, response)
        listen = root.get("listen", str | list[str], "127.0.0.1:4567")
        limits_table = root.table("limits")
        limits = {
            field.name: limits_table.get(field.encode_name, field.type, field.default)
            for field in msgspec.structs.fields(Limits)
        }
        limits_table.done()
        log_table = root.table("log")
        log = Log(
            level=log_table.get("level", Literal["debug", "info", "warning", "error"], "info"),
            format=log_table.get("format", Literal["auto", "text", "json"], "auto"),
        )
        log_table.done()
        config = Config(
            upstreams=upstreams,
            routes=routes,
            listen=self._listen(listen),
            limits=Limits(**limits),
            hosts=tuple(root.get("hosts", list[str], [])),
            origins=tuple(root.get("origins", list[str], [])),
            drain=root.get("drain", Seconds, Seconds(30)),
            log=log,
            file=file,
        )
        root.done()
        return config

    def _listen(self, listen: str | list[str]) -> tuple[Address, ...]:
        addresses: list[Address] = []
        for index, text in enumerate([listen] if isinstance(listen, str) else listen):
            try:
                addresses.append(Address.read(text))
            except ValueError as exc:
                below: toml.Path = ("listen",) if isinstance(listen, str) else ("listen", index)
                self._root.problem(below, Problem(f"listen: {exc}, got {text!r}"))
        if not addresses and listen in ([], ""):
            self._root.problem(("listen",), Problem("listen: Expected at least one address"))
        return tuple(addresses)

    # ── upstreams ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _upstream(self, name: str, table: _Table) -> Upstream:
        url = table.get("url", str, None)
        dialect = table.get("dialect", str, "anthropic")
        if dialect not in DIALECTS:
            hint = registry.did_you_mean(dialect, DIALECTS) or f"known: {', '.join(DIALECTS)}"
            table.problem(("dialect",), Problem(f"there is no dialect {dialect!r}", hint))
        headers = table.get("headers", dict[str, str], {})
        for key, value in headers.items():
            if not _is_field(key, value):
                table.problem(("headers", key), Problem(f"headers: {key!r} is not a header field that can be set"))
        timeouts = Timeouts(
            connect=table.get("connect-timeout", Seconds, Timeouts().connect),
            first_byte=table.get("first-byte-timeout", Seconds, Timeouts().first_byte),
            between_bytes=table.get("idle-timeout", Seconds, Timeouts().between_bytes),
        )
        token = table.get("token", Secret, None)
        origin, path, replay = None, "", None
        if url is None:
            if "url" not in table.raw:
                hint = 'url = "http://127.0.0.1:3456"'
                table.problem((), Problem(f"[upstreams.{name}] needs a url", hint), at_key=True)
        elif url.startswith("replay:"):
            replay = self._replay(table, url.removeprefix("replay:"))
        else:
            origin, path = self._origin(table, url)
        table.done()
        fields = tuple((key.lower(), value) for key, value in headers.items())
        return Upstream(name, dialect, origin, path, replay, token, fields, timeouts)

    def _replay(self, table: _Table, where: str) -> Replay | None:
        pace, chunk = table.get("pace", Seconds, Seconds(0)), table.get("chunk", Size, None)
        candidates = [self._directory / where, Path(__file__).parent / where]
        file = next((file for file in candidates if file.is_file()), None)
        if file is None:
            hint = "looked for beside the TOML file, then in the package"
            table.problem(("url",), Problem(f"there is no recording {where!r}", hint))
            return None
        return Replay(file, pace, chunk)

    def _origin(self, table: _Table, url: str) -> tuple[Origin | None, str]:
        expected = 'Expected a URL such as "http://127.0.0.1:3456" or "replay:recordings/hello.sse"'
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            table.problem(("url",), Problem(f"url: {exc}", expected))
            return None, ""
        problem = None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            problem = Problem(f"url: {expected}, got {url.partition('://')[0]!r}" if "@" in url else f"url: {expected}, got {url!r}")
        elif parts.username is not None or parts.password is not None:
            problem = Problem("url: must not hold credentials", 'token = { env = "NAME" }')
        elif parts.query or parts.fragment:
            problem = Problem("url: must have no query and no fragment; requests bring their own")
        elif not url.isascii() or not url.isprintable() or " " in url:
            problem = Problem("url: has characters that must be percent-encoded")
        if problem:
            table.problem(("url",), problem)
            return None, ""
        assert parts.hostname
        return Origin(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme]), parts.path.rstrip("/")

    # ── pipelines ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _chain(self, table: _Table, direction: str, default: Sequence[str]) -> list[StageSpec | None]:
        """The stages of a list; None stands for one that is a problem already."""
        listed = table.get(direction, list[str], list(default))
        given = direction in table.raw
        return [
            self._spec(name, table, (direction, index) if given else ()) for index, name in enumerate(listed)
        ]

    def _spec(self, name: str, table: _Table, below: toml.Path) -> StageSpec | None:
        """The stage `name`, with the options of its `[stages]` table. Looked up once; a problem is reported once."""
        if name in self._specs:
            return self._specs[name]
        self._specs[name] = None
        own = self._stages.table(name)
        use = own.get("use", str, name)
        try:
            cls = registry.find(use, self._directory)
        except registry.Unusable as exc:
            if "use" in own.raw:
                own.problem(("use",), exc.problem)
            else:
                table.problem(below, exc.problem, at_key=table is self._stages)
            return None
        values: dict[str, tuple[Any, bool]] = {}
        for key, raw in own.raw.items():
            if key != "use":
                value, strict = own.resolve((key,), raw)
                if value is not _MISSING:
                    values[key] = (value, strict)

        def report(option: str | None, problem: Problem) -> None:
            known = option is None or option in {each.name for each in registry.options(cls)}
            own.problem((option,) if option else (), problem, at_key=not known)

        before = len(self._root._problems)
        make = registry.read_options(name, cls, values, report)
        if len(self._root._problems) == before:
            self._specs[name] = StageSpec(name, cls, make)
        return self._specs[name]

    def _check(self, table: _Table, request: list[StageSpec | None], response: list[StageSpec | None]) -> None:
        """The order of both lists, and that what request stages answer themselves can reach the client."""
        known = registry.built_in()
        lists = {"request": request, "response": response}
        for direction, specs in lists.items():
            if None in specs:
                return  # what is missing is reported, and its neighbours cannot be judged
            problems, flows = pipeline.check(direction, _classes(specs), known)
            for index, problem in problems:
                below: toml.Path = (direction, min(index, len(specs) - 1)) if direction in table.raw else ()
                table.problem(below, problem)
            if problems:
                return
            if direction == "request":
                answers = tuple(item for item in flows[-1] if not issubclass(item, pipeline.Request))
                if left := pipeline.reaches_client(answers, _classes(response)):
                    names = " or ".join(item.__name__ for item in left)
                    message = f"the request stages may answer with {names}, but the response stages do not make bytes of it"
                    below = (direction,) if direction in table.raw else ()
                    table.problem(below, Problem(message, "'translate' then 'reframe' turn Event into bytes"))

    # ── routes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _routes(
        self, upstreams: dict[str, Upstream], request: list[StageSpec | None], response: list[StageSpec | None]
    ) -> tuple[Route, ...]:
        table = self._root.table("routes")
        if not table.raw:
            if len(upstreams) > 1:
                hint = f'[routes]\n"/" = "{next(iter(upstreams))}"'
                self._root.problem((), Problem("with several upstreams, [routes] must say what goes where", hint))
            return tuple(self._route("/", each, request, response) for each in upstreams.values())
        routes: list[Route] = []
        for prefix in table.raw:
            self._prefix(table, prefix)
            own_request, own_response = request, response
            if isinstance(table.raw[prefix], dict):
                entry = table.table(prefix)
                name = entry.get("upstream", str, None)
                own_request = self._chain(entry, "request", ()) if "request" in entry.raw else request
                own_response = self._chain(entry, "response", ()) if "response" in entry.raw else response
                if own_request is not request or own_response is not response:
                    self._check(entry, own_request, own_response)
                if "upstream" not in entry.raw:
                    table.problem((prefix,), Problem(f"route {prefix!r} needs an upstream"), at_key=True)
                entry.done()
                where: toml.Path = (prefix, "upstream")
            else:
                name, where = table.get(prefix, str, None), (prefix,)
            if name is not None and name not in upstreams:
                hint = registry.did_you_mean(name, upstreams) or f"known: {', '.join(upstreams)}"
                table.problem(where, Problem(f"there is no upstream '{name}'", hint))
            elif name is not None:
                routes.append(self._route(prefix, upstreams[name], own_request, own_response))
        return tuple(sorted(routes, key=lambda route: -len(route.prefix)))

    def _prefix(self, table: _Table, prefix: str) -> None:
        fine = prefix == "/" or (
            prefix.startswith("/") and not prefix.endswith("/") and "//" not in prefix and prefix.isascii()
        )
        if not fine or any(letter in prefix for letter in "{}?#% \\"):
            hint = "a path such as '/' or '/local', without a slash at its end"
            table.problem((prefix,), Problem(f"{prefix!r} is not a route's prefix", hint), at_key=True)

    def _route(
        self, prefix: str, upstream: Upstream, request: list[StageSpec | None], response: list[StageSpec | None]
    ) -> Route:
        return Route(
            prefix, upstream, tuple(filter(None, request)), tuple(filter(None, response))
        )


def _classes(specs: Sequence[StageSpec | None]) -> list[tuple[str, type[Stage[Any, Any]]]]:
    return [(spec.name, spec.cls) for spec in specs if spec]


def _is_field(name: str, value: str) -> bool:
    token = name.replace("-", "").replace("_", "")
    framing = name.lower() in ("host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer")
    return token.isascii() and token.isalnum() and not framing and value.isascii() and value.isprintable()


def _dotted(path: toml.Path) -> str:
    return ".".join(str(part) for part in path)
