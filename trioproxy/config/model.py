"""What a configuration is, once it is read and right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from trioproxy.dialects.target import Target
from trioproxy.http.client import Origin, Timeouts
from trioproxy.http.forwarded import Trusted
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Address, Listen
from trioproxy.http.reach import Reach
from trioproxy.items import Event, Frame
from trioproxy.models import Models
from trioproxy.sessions import SEGMENT, in_path
from trioproxy.stage import Stage
from trioproxy.store import Settings
from trioproxy.units import Seconds, Size

__all__ = [
    "Admin",
    "Client",
    "Config",
    "Log",
    "Mode",
    "Replay",
    "Route",
    "Secret",
    "StageSpec",
    "TargetSpec",
    "Token",
    "TokenCommand",
    "TokenFile",
    "Tolerance",
    "Tracing",
    "Upstream",
]


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


class TokenFile(msgspec.Struct, frozen=True):
    """A token that stands in a file, read again when the file has changed."""

    file: Path

    def __str__(self) -> str:
        return f"the file {self.file}"


class TokenCommand(msgspec.Struct, frozen=True):
    """A token that a program prints. It is asked again after `ttl`, or when the upstream refuses what it said."""

    command: tuple[str, ...]
    ttl: Seconds = Seconds(300)

    def __str__(self) -> str:
        return f"the command {Path(self.command[0]).name}"

    def __repr__(self) -> str:
        return f"TokenCommand({self.command[0]!r}, …)"  # what it is given may be secret


Token = Secret | TokenFile | TokenCommand | Callable[[], Awaitable[str]]
"""Where an upstream's token comes from. A function, for programs that embed the proxy, is asked for each request."""


class Client(msgspec.Struct, frozen=True):
    """Somebody who may ask. Only the SHA-256 of its token is kept."""

    name: str
    digest: bytes


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """How much an upstream is given to do, and what its failures lead to."""

    concurrency: int | None = None
    """Requests under way at once; None: as many as come."""
    queue: int = 100
    """Requests that wait for one of these to end; more are refused."""
    queue_timeout: Seconds = Seconds(30)
    retries: int = 0
    """How often a request is sent again that it could not take, each time before a byte of an answer. None by default:
    clients do it themselves, and theirs times ours is a storm (hazard H106)."""
    retry_within: Seconds = Seconds(5)
    """What asks to be retried later than this is not retried."""
    max_fails: int = 5
    """After so many failures in a row it is passed over, where a route has another; 0: never."""
    fail_timeout: Seconds = Seconds(30)
    """For so long; then one request tries it."""


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
    token: Token | None = None
    """Sent instead of the client's own credentials."""
    headers: tuple[tuple[str, Secret], ...] = ()
    """Secrets, as keys and cookies travel in them."""
    timeouts: Timeouts = Timeouts()
    target: Target = Target()
    model: str | None = None
    """What it is asked for, whatever model the client named; None: the client's, by the route's `models`."""
    query: Secret = Secret()
    """The query of the URL, which every request gets; without its `?`. A secret, as keys travel in it."""
    removed: tuple[str, ...] = ()
    """Fields that requests to it go without, in lower case."""
    reach: Reach = Reach()
    """How connections to it are made."""
    tolerance: Tolerance = Tolerance()

    @property
    def fixed_token(self) -> Secret | None:
        """Its token, where the file says it."""
        return self.token if isinstance(self.token, Secret) else None

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
    others: tuple[Route, ...] = ()
    """The same route with other upstreams, each with its own stages: asked in this order where one cannot answer."""
    weights: tuple[int, ...] = ()
    """How often each upstream comes first, `upstream` and then those of `others`; empty: in order."""
    sticky: bool = False
    """Whether the requests of a session, or else of a client, go to the same upstream, where there are weights."""
    clients: tuple[Client, ...] = ()
    """Who may ask; empty: anybody."""
    forward_credentials: bool | None = None
    """Whether an upstream without a token of its own gets the client's; None: where the route asks for none."""

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


Mode = Literal["anthropic_messages", "chat_completions", "codex_responses", "bedrock_converse", "codex_app_server"]
"""What API a target has. The last two are only names so far: asking there is answered with 501."""


class TargetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model somewhere that clients reach under a key of its own, with a token of its own (mission M3.1)."""

    upstream: Upstream
    """Where it is, and its model. Of the dialect of its mode."""
    mode: Mode = "chat_completions"
    """The API it has."""
    provider: str = ""
    """A name for people."""
    models: tuple[str, ...] = ()
    """Names that are listed beside its model's, and lead to it."""
    key: str | None = None
    """What stands for it in paths; None: one is made by chance."""
    client: Client | None = None
    """Who may ask; None: whoever has the token that is made by chance."""


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """The listener for whoever runs the proxy."""

    listen: tuple[Listen, ...] = (Listen(Address("127.0.0.1:4568")),)
    client: Client | None = None
    """Whoever has its token may do everything; None: only who reaches a Unix socket may."""


class Log(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = True
    """Whether anything at all is logged, be it an error."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    """auto: text on a terminal, else JSON."""


USUAL_LISTEN = (Listen(Address("127.0.0.1:4567")),)
"""Where the file says nothing."""


class Tracing(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans are sent."""

    endpoint: str
    """The whole URL that they are posted to."""
    service_name: str = "trioproxy"
    sample: float = 1.0
    """How many of the traces that begin here are sent; of those that a client began, it has decided."""
    headers: tuple[tuple[str, Secret], ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the file says. `routes` stand in the order in which they are tried: longest prefix first."""

    upstreams: Mapping[str, Upstream]
    routes: tuple[Route, ...]
    listen: tuple[Listen, ...] = USUAL_LISTEN
    limits: Limits = Limits()
    hosts: tuple[str, ...] = ()
    """Host names let through on loopback listeners, beside the loopback ones."""
    origins: tuple[str, ...] = ()
    """Web origins whose pages may use loopback listeners."""
    drain: Seconds = Seconds(30)
    """How long streams may go on after SIGTERM."""
    log: Log = Log()
    tracing: Tracing | None = None
    """None: no traces."""
    store: Settings = Settings()
    """Where what stages remember is kept."""
    clients: tuple[Client, ...] = ()
    """Who may ask, on routes that do not say it themselves."""
    allow_anonymous: bool = False
    """Whether a listener may be open to the network although nobody is asked for a token."""
    trusted: Trusted = Trusted()
    admin: Admin | None = None
    targets: Mapping[str, TargetSpec] = {}
    usual: Mapping[str, tuple[tuple[StageSpec, ...], tuple[StageSpec, ...]]] = {}
    """The request and the response stages in front of upstreams of each dialect, where nothing else is said."""
    workers: int = 1
    """Processes that serve."""
    reload: Literal["signal", "watch"] = "signal"
    """When the file is read again: on SIGHUP, or also when it has changed."""
    file: Path | None = None
    order: tuple[str, ...] = ()
    """The prefixes of the routes as they stand in the file."""

    @property
    def listed(self) -> tuple[Route, ...]:
        """The routes in the order of the file: for people to read."""
        places = {prefix: place for place, prefix in enumerate(self.order)}
        return tuple(sorted(self.routes, key=lambda route: places.get(route.prefix, 0)))

    @property
    def directory(self) -> Path:
        """Where the file is: what it names is looked for there."""
        return self.file.absolute().parent if self.file else Path.cwd()
