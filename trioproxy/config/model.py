"""What a configuration is, once it is read and right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from trioproxy.dialects.target import Target
from trioproxy.http.client import Origin, Timeouts
from trioproxy.http.limits import Limits
from trioproxy.http.server import Address
from trioproxy.items import Event, Frame
from trioproxy.models import Models
from trioproxy.sessions import SEGMENT, in_path
from trioproxy.stage import Stage
from trioproxy.store import Settings
from trioproxy.units import Seconds, Size

__all__ = ["Config", "Log", "Replay", "Route", "Secret", "StageSpec", "Upstream"]


class Secret(str):
    """A token. Its `repr` does not show it, so it cannot end up in a log or a traceback by accident."""

    @classmethod
    def read(cls, value: object) -> Secret:
        """From a TOML value. Raises `ValueError` that says what was expected, and never what was got."""
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        if not value.strip() or not value.isascii() or not value.strip().isprintable():
            raise ValueError("Expected a token of printable ASCII characters that is not empty")
        return cls(value.strip())

    def __repr__(self) -> str:
        return "Secret(…)"


class Replay(msgspec.Struct, frozen=True):
    """An upstream that answers from a recording. Between two pieces of `chunk` bytes (None: events) it waits `pace`."""

    url: str
    """As the file says it."""
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
    headers: tuple[tuple[str, Secret], ...] = ()
    """Secrets, as keys and cookies travel in them."""
    timeouts: Timeouts = Timeouts()
    target: Target = Target()
    model: str | None = None
    """What it is asked for, whatever model the client named; None: the client's, by the route's `models`."""

    def __str__(self) -> str:
        return self.replay.url if self.replay else f"{self.origin}{self.path}"


class StageSpec(msgspec.Struct, frozen=True):
    """A stage of a pipeline: `make` gives a fresh one for an exchange."""

    name: str
    cls: type[Stage[Any, Any]]
    make: Callable[[], Stage[Any, Any]]
    options: Mapping[str, Any] = {}
    """What the file says of them, by parameter."""

    def about(self, client: str | None, upstream: str) -> bool:
        """Whether the stage has anything to do for an upstream, and a client if one is named, of these dialects."""
        clients, upstreams = self.cls.clients, self.cls.upstreams
        return (client is None or not clients or client in clients) and (not upstreams or upstream in upstreams)


class Route(msgspec.Struct, frozen=True):
    """Requests whose path begins with `prefix` go to `upstream`, through these stages."""

    prefix: str
    """Its last segment may be `{session}`, which stands for the id of any."""
    upstream: Upstream
    request: tuple[StageSpec, ...] = ()
    response: tuple[StageSpec, ...] = ()
    models: Models = msgspec.field(default_factory=Models)
    strict: bool = False
    """Whether a request of which something would be lost between the dialects is refused."""
    taken: frozenset[str] = frozenset()
    """What other routes have in the session's place: no session here goes by such a name."""

    @property
    def stem(self) -> str | None:
        """What stands in front of the session in its prefix; None if there is no session in it."""
        return self.prefix.removesuffix(f"/{SEGMENT}") if self.prefix.endswith(f"/{SEGMENT}") else None

    @property
    def translates(self) -> bool:
        """Whether its stages read events and write frames: else answers cannot be told in another dialect."""
        return any(Event in spec.cls.gives for spec in self.response) and any(
            Event in spec.cls.takes and Frame in spec.cls.gives for spec in self.response
        )

    @property
    def renames(self) -> bool:
        """Whether a model may go by another name at the upstream."""
        return self.upstream.model is not None or bool(self.models.aliases)

    @property
    def edits(self) -> bool:
        """Whether something may be changed in a request that no stage reads."""
        return self.renames or self.upstream.target.cache_key is not None

    def serving(self, client: str | None) -> Route:
        """The route for clients of a dialect, None for any: without the stages that are about others."""
        request = tuple(spec for spec in self.request if spec.about(client, self.upstream.dialect))
        response = tuple(spec for spec in self.response if spec.about(client, self.upstream.dialect))
        same = len(request) == len(self.request) and len(response) == len(self.response)
        return self if same else msgspec.structs.replace(self, request=request, response=response)

    def asked(self, name: str) -> str:
        """The model the upstream is asked for when a client asks for `name`."""
        return self.upstream.model or self.models.upstream(name)

    def match(self, path: str) -> tuple[str, str] | None:
        """The session that `path` names (empty if the prefix has none) and the path below; None if it is not under it.

        What stands in the session's place may be no id: then the path leads here all the same, and to nothing.
        """
        if self.stem is not None:
            found = in_path(self.stem, path)
            return None if found is None or found[0] in self.taken else found
        if self.prefix == "/":
            return "", path
        if path == self.prefix:
            return "", "/"
        return ("", path[len(self.prefix) :]) if path.startswith(self.prefix + "/") else None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = True
    """Whether anything at all is logged, be it an error."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    """auto: text on a terminal, else JSON."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the file says. `routes` stand in the order in which they are tried: longest prefix first."""

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
    store: Settings = Settings()
    """Where what stages remember is kept."""
    file: Path | None = None

    @property
    def directory(self) -> Path:
        """Where the file is: what it names is looked for there."""
        return self.file.absolute().parent if self.file else Path.cwd()
