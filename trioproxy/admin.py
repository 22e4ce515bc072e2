"""What the admin listener answers: how it is, what it has done, which targets there are; and what it is told.

JSON in and out. It is for whoever runs the proxy, and no listener of clients answers any of it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from trioproxy.clients import recognise
from trioproxy.config import Config
from trioproxy.errors import ConfigError, ProxyError
from trioproxy.exposition import CONTENT_TYPE
from trioproxy.http.gate import Gate
from trioproxy.http.headers import Headers, get
from trioproxy.http.incoming import Incoming, Malformed
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Listener, open_listeners
from trioproxy.http.wire import Gone
from trioproxy.items import Error
from trioproxy.registered import Target
from trioproxy.store import StoreError
from trioproxy.targets import Targets
from trioproxy.units import Seconds, Size

__all__ = ["LIMITS", "Admin", "open_admin"]

log = logging.getLogger("trioproxy.admin")

LIMITS = Limits(body=Size(64 * 1024), body_total=Seconds(30), connections=64)
"""The bounds of an admin listener: what is said there is short."""

_PLAIN = b"text/plain; charset=utf-8"
_EXAMPLE = (
    '{"provider": "local", "model": "qwen3", "base_url": "http://127.0.0.1:8080", "api_mode": "chat_completions"}'
)
_LEVELS = 8  # of lists and objects in a body; a target has two
_KINDS = {405: "method_not_allowed", 409: "conflict", 415: "unsupported_media_type"}
"""What errors are called that no client of a model is told."""
_REQUIRED: Mapping[int, Headers] = {401: [(b"www-authenticate", b"Bearer")]}  # RFC 9110 section 15.5.2


class _Answer(NamedTuple):
    status: int
    body: bytes
    headers: Iterable[tuple[bytes, bytes]] = ()
    kind: bytes = b"application/json"


_Answers = Mapping[str, Callable[[Incoming, str], Awaitable[_Answer]]]
"""What answers, by method. It gets the request, and the key in its path."""


class Admin:
    """Answers requests as an administrator's. Give `handle` and `refusal` to an `http.Server`.

    `base` gives the URL of the proxy's own listeners, `metrics` the page that Prometheus reads, `ready` whether
    requests are served. `reload` reads the file anew and gives the `changes` and the `warnings`, a line each; it raises
    `ConfigError` or `OSError`, and then nothing has changed.
    """

    def __init__(
        self,
        config: Config,
        targets: Targets,
        *,
        base: Callable[[], str],
        metrics: Callable[[], Awaitable[bytes]],
        reload: Callable[[], Awaitable[Mapping[str, Sequence[str]]]],
        ready: Callable[[], bool],
    ) -> None:
        self._targets, self._base, self._read_metrics, self._reload, self._ready = targets, base, metrics, reload, ready
        self._clients = (config.admin.client,) if config.admin and config.admin.client else ()
        self.use(config)
        self._answers: Mapping[str, _Answers] = {
            "/healthz": {"GET": self._health},
            "/readyz": {"GET": self._readiness},
            "/metrics": {"GET": self._metrics},
            "/targets": {"GET": self._list, "POST": self._register},
            "/targets/KEY": {"GET": self._show, "DELETE": self._forget},
            "/reload": {"POST": self._reloaded},
        }

    def use(self, config: Config) -> None:
        """Follow a reload. Its listeners and token stay: they need a restart."""
        self._gate = Gate(hosts=config.hosts)  # and no web pages, whatever the others let in

    async def handle(self, incoming: Incoming, listener: Listener) -> None:
        """Answer one request."""
        try:
            try:
                answer = await self._answer(incoming, listener)
            except ProxyError as exc:
                answer = _failed(exc.error)
            except ConfigError as exc:
                answer = _wrong(exc)
            except StoreError as exc:
                answer = _failed(Error("internal", f"the targets cannot be kept: {exc}", 503))
            except Gone:
                raise
            except Exception:  # a bug, which ends no connection of others: whoever asked is told, and the log says what
                log.exception("%s %s failed", incoming.method, incoming.target.path)
                answer = _failed(Error("internal", "internal error in the proxy: see its log", 500))
            if incoming.method not in ("GET", "HEAD"):
                log.info("%s %s %d", incoming.method, incoming.target.path, answer.status)
            headers = [(b"content-type", answer.kind), (b"cache-control", b"no-store"), *answer.headers]
            await incoming.respond(answer.status, headers, answer.body)
        except Gone:
            pass  # there is nobody to answer

    def refusal(self, exc: Malformed, peer: str) -> tuple[Headers, bytes]:
        """The answer to a request that could not even be read."""
        return [(b"content-type", b"application/json")], _failed(Error("invalid_request", str(exc), exc.status)).body

    async def _answer(self, incoming: Incoming, listener: Listener) -> _Answer:
        if listener.loopback and (reason := self._gate.refusal(incoming.headers, incoming.host)):
            raise ProxyError(Error("permission", reason, 403))
        path = incoming.target.path.rstrip("/")
        before, _, key = path.rpartition("/")
        if before == "/targets":
            path = "/targets/KEY"
        answers = self._answers.get(path)
        if answers is None:
            known = ", ".join(f"{method} {path}" for path, each in self._answers.items() for method in each)
            raise ProxyError(
                Error("not_found", f"nothing is served at {incoming.target.path[:80]}; here are {known}", 404)
            )
        self._let_in(path, incoming, listener)
        answer = answers.get("GET" if incoming.method == "HEAD" else incoming.method)
        if answer is None:
            allowed = ", ".join(answers)
            failed = _failed(Error("invalid_request", f"{path} takes {allowed}, and not {incoming.method[:20]}", 405))
            return failed._replace(headers=[(b"allow", allowed.encode())])
        return await answer(incoming, key)

    def _let_in(self, path: str, incoming: Incoming, listener: Listener) -> None:
        """Raises `ProxyError` for whoever may not ask this.

        How it is may be known by all, and how much it has done by this machine: no bodies, tokens or addresses are in
        the metrics. All else is for who has the token. Where the file has none, a Unix socket's mode says who may.
        """
        here = listener.loopback or listener.unix
        if path in ("/healthz", "/readyz") or (path == "/metrics" and here):
            return
        if self._clients:
            recognise(self._clients, incoming.headers, incoming.target.query)
        elif not listener.unix:
            message = (
                f'{path} needs a token, and the file has none: put token = {{ env = "ADMIN_TOKEN" }} into [admin], or '
                'let it listen on a Unix socket: listen = "unix:/run/trioproxy/admin.sock"'
            )
            raise ProxyError(Error("permission", message, 403))

    # ── how it is ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _health(self, incoming: Incoming, key: str) -> _Answer:
        return _Answer(200, b"ok\n", kind=_PLAIN)

    async def _readiness(self, incoming: Incoming, key: str) -> _Answer:
        return _Answer(200, b"ready\n", kind=_PLAIN) if self._ready() else _Answer(503, b"not ready\n", kind=_PLAIN)

    async def _metrics(self, incoming: Incoming, key: str) -> _Answer:
        return _Answer(200, await self._read_metrics(), kind=CONTENT_TYPE)

    async def _reloaded(self, incoming: Incoming, key: str) -> _Answer:
        try:
            return _json(200, await self._reload())
        except OSError as exc:
            why = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc.strerror or exc)
            raise ProxyError(Error("internal", f"nothing was reloaded: {why}", 500)) from exc

    # ── targets ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _list(self, incoming: Incoming, key: str) -> _Answer:
        return _json(200, {"targets": [self._shown(target) for target in self._targets]})

    async def _show(self, incoming: Incoming, key: str) -> _Answer:
        return _json(200, self._shown(self._existing(key)))

    async def _register(self, incoming: Incoming, key: str) -> _Answer:
        done = await self._targets.register(await _object(incoming))
        said = self._shown(self._existing(done.key))
        token = None if done.token is None else str(done.token)  # nowhere else is one told
        return _json(201 if done.new else 200, said | {"token": token, "durable": done.durable})

    async def _forget(self, incoming: Incoming, key: str) -> _Answer:
        await self._targets.forget(key)
        return _json(200, {"key": key, "deleted": True})

    def _existing(self, key: str) -> Target:
        found = self._targets.get(key)
        if found is None:
            raise ProxyError(Error("not_found", f"there is no target {key[:64]!r}; GET /targets lists them", 404))
        return found

    def _shown(self, target: Target) -> dict[str, Any]:
        """A target as whoever runs the proxy may see it: neither the upstream's token nor its own."""
        base = None if target.key is None else f"{self._base()}/targets/{target.key}"
        return {
            "base_url": base,
            **{key: value for key, value in msgspec.structs.asdict(target).items() if value != ""},
        }


async def open_admin(config: Config) -> list[Listener]:
    """The listeners that the file asks for, if any. Raises `OSError` as `open_listeners` does, and says whose it is."""
    try:
        return await open_listeners(config.admin.listen) if config.admin else []
    except OSError as exc:
        raise OSError(exc.errno, f"[admin] {exc.strerror}") from exc


async def _object(incoming: Incoming) -> Mapping[str, Any]:
    """The JSON object that a request is. Raises `ProxyError`."""
    kind = get(incoming.headers, b"content-type").partition(b";")[0].strip().lower()
    if kind not in (b"", b"application/json"):
        message = f"Expected content-type: application/json, got {kind[:80].decode('latin-1')}"
        raise ProxyError(Error("invalid_request", message, 415))
    body = await incoming.body()
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ProxyError(Error("invalid_request", f"the body is not JSON: Expected {_EXAMPLE}", 400)) from exc
    if not isinstance(said, dict):
        raise ProxyError(Error("invalid_request", f"Expected a JSON object such as {_EXAMPLE}", 400))
    if _deep(said, _LEVELS):
        raise ProxyError(Error("invalid_request", "the body nests its lists and objects too deep", 400))
    return said


def _deep(value: Any, levels: int) -> bool:
    """Whether lists and objects stand within each other on more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    return not levels or any(_deep(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value))


def _json(status: int, said: Any) -> _Answer:
    return _Answer(status, msgspec.json.encode(said) + b"\n")


def _failed(error: Error) -> _Answer:
    kind = _KINDS.get(error.status, error.kind)
    said = {"error": {"type": kind, "message": error.message}}
    return _json(error.status, said)._replace(headers=_REQUIRED.get(error.status, []))


def _wrong(exc: ConfigError) -> _Answer:
    """Every problem of a registration, or of the file; where the file is it stands in each."""
    problems = [
        {"message": f"{_place(exc, problem.at)}{problem.message}", "hint": problem.hint} for problem in exc.problems
    ]
    message = "; ".join(problem["message"] for problem in problems)
    return _json(400, {"error": {"type": "invalid_request", "message": message, "problems": problems}})


def _place(exc: ConfigError, at: Any) -> str:
    return f"{exc.file}:{at.line}:{at.column}: " if exc.file and at else ""
