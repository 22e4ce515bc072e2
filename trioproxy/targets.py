"""Targets: models somewhere, each of which clients reach under a key of its own, with a token of its own.

Some are in the file, others are registered while running, with the same words. What was registered once has the same
key and token for good: they are in the book, where there is one, and the token is shown to nobody but who registers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trioproxy.clients import admit
from trioproxy.config import Client, Config, Route, Secret, TargetSpec
from trioproxy.config.targets import PREFIX, UNBUILT, read_registration, read_target
from trioproxy.errors import ConfigError, ProxyError
from trioproxy.http.headers import Headers
from trioproxy.items import Error
from trioproxy.models import Models
from trioproxy.registered import Change, Entry, Registered, Target, identity
from trioproxy.store import StoreError

if TYPE_CHECKING:
    from trioproxy.store.targets import Book

__all__ = ["MOST", "Targets", "open_targets"]

log = logging.getLogger("trioproxy.targets")

MOST = 10_000
"""Targets that can be registered."""

_PROVIDERS, _WORD = 200, 80  # names of them that metrics tell apart, and characters of each


class Targets:
    """All targets of a proxy. They outlive reloads: `use` has the new file's.

    `book` keeps what is registered; without one it is forgotten at the end.
    """

    def __init__(self, config: Config, book: Book | None = None) -> None:
        self._book = book
        self._trouble = ""  # why the book could not be read; empty if it was
        self._entries: dict[str, Entry] = {}  # by key
        # The keys of what is the same. Two processes that share a book may each have registered it: both keys are good,
        # and the first is given.
        self._same: dict[tuple[str, ...], list[str]] = {}
        self._lock = trio.Lock()
        self.on_change: Callable[[bytes], Awaitable[None]] | None = None
        """Told of each change, which other processes `load`, before whoever made it is answered."""
        self.on_gone: Callable[[str], None] = _nobody
        """Told of each that goes, by the name of its upstream."""
        self._providers: set[str] = set()
        self._given = False
        self.use(config)

    def use(self, config: Config) -> None:
        """From now on, what the file says of targets and stages is what `config` says."""
        self._config = config
        self._given = self._given or bool(config.targets) or config.admin is not None
        self._routes: dict[str, Route] = {}  # made when they are asked for: there may be thousands
        self._modes: dict[str, str] = {}
        self._declared = {spec.key: name for name, spec in config.targets.items() if spec.key is not None}

    # ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, path: str, headers: Headers, query: str | None = None) -> tuple[Route, str] | None:
        """The route of the target that `path` names, and the path below it; None if it is not among the targets.

        Raises `ProxyError`: 404 where no such target is, and 501 where its mode is not built, which only those are told
        who have its token.
        """
        if not self._given or not (path == PREFIX or path.startswith(f"{PREFIX}/")):
            return None
        key, _, below = path.removeprefix(PREFIX).removeprefix("/").partition("/")
        route = self._routes.get(key) or self._build(key)
        if route is None:
            if self._trouble:
                raise ProxyError(Error("internal", "the targets could not be read: the proxy's log says why", 503))
            message = f"there is no target {key[:64]!r}: register it with POST {PREFIX} at the admin listener"
            raise ProxyError(Error("not_found", message, 404))
        if (mode := self._modes[key]) in UNBUILT:
            admit(route, headers, query)
            # Clients would ask again otherwise: 5xx is theirs to retry.
            message, hints = f"the mode {mode} is not built yet", [(b"x-should-retry", b"false")]
            raise ProxyError(Error("internal", message, 501), headers=hints)
        return route, f"/{below}"

    def _build(self, key: str) -> Route | None:
        """The route of the target with that key; None if there is none."""
        try:
            found = self._spec(key)
        except ConfigError as exc:  # it was fine for the release that registered it
            raise ProxyError(Error("internal", f"target {key!r} is not valid any more: {exc}", 500)) from exc
        if found is None:
            return None
        spec, client = found
        upstream = spec.upstream
        request, response = self._config.usual.get(upstream.dialect, ((), ()))
        route = Route(
            f"{PREFIX}/{key}",
            upstream,
            request,
            response,
            Models(dict.fromkeys(spec.models, upstream.model or "")),
            clients=(client,),
            forward_credentials=False,
        )
        self._routes[key] = route.serving(None if route.translates else upstream.dialect)
        self._modes[key] = spec.mode
        return self._routes[key]

    def _spec(self, key: str) -> tuple[TargetSpec, Client] | None:
        """What the target with that key is, and who may ask there. Raises `ConfigError`."""
        entry = self._entries.get(key)
        name = self._declared.get(key) or (entry.name if entry else "")
        if not name:
            return (read_target(_upstream(key), entry.said), entry.client) if entry else None
        spec = self._config.targets.get(name)
        if spec is None or (spec.key or key) != key:
            return None  # the file has it no longer, or under another key
        entry = self._named(name)
        client = spec.client or (entry.client if entry else None)
        return (spec, client) if client else None

    def _named(self, name: str) -> Entry | None:
        return self._given_of((name,))

    def _given_of(self, same: tuple[str, ...]) -> Entry | None:
        keys = self._same.get(same)
        return self._entries[keys[0]] if keys else None

    # ── registering ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def restore(self) -> None:
        """Read the book. If that fails the log says why, and nothing can be registered until it does not fail."""
        if self._book is None:
            return
        try:
            kept = await self._book.entries()
        except StoreError as exc:
            self._trouble, self._given = str(exc), True
            log.error("the targets cannot be read: %s", exc)
            return
        self._trouble = ""
        self._given = self._given or bool(kept)
        foreign = 0
        entries: list[Entry] = []
        for key, value in kept.items():
            try:
                entries.append(msgspec.json.decode(value or b"", type=Entry))
            except msgspec.DecodeError:
                foreign += 1
                log.debug("target %s in the book cannot be read", key)
        self._apply(Change(entries, whole=True))
        if foreign:
            log.error("%d targets cannot be read: they were kept with another `key` of [store]", foreign)

    async def register(self, said: Mapping[str, Any]) -> Registered:
        """Register what the words of a table of `[targets]` describe; or show a target of the file, by its `name`.

        The same provider, model, URL, mode and token are the same target, which keeps its key and token; what else is
        said takes the place of what was. Raises `ConfigError` if it makes no target, `ProxyError` if there are too
        many, `StoreError` if it cannot be kept.
        """
        if "name" in said:
            return await self._show(said)
        plain, spec = read_registration(said)
        async with self._lock:
            await self._readable()
            found = self._given_of(identity(plain))
            if found is None and len(self._entries) >= MOST:
                message = f"there are {MOST} targets already: DELETE {PREFIX}/KEY makes room"
                raise ProxyError(Error("invalid_request", message, 409))
            entry = msgspec.structs.replace(found, said=plain) if found else Entry.made(said=plain)
            if entry != found:
                await self._change([entry])
        if found is None:
            log.info("target %s registered: %s, %s at %s", entry.key, spec.mode, plain["model"], spec.upstream)
        return self._registered(entry.key, Secret(entry.token), new=found is None)

    async def _show(self, said: Mapping[str, Any]) -> Registered:
        """The key and token of a target in the file; made if it has none yet."""
        name = said["name"]
        spec = self._config.targets.get(name) if isinstance(name, str) else None
        if spec is None or len(said) > 1:
            message = "a target is registered by what it is, or one in the file by its name alone"
            if spec is None:
                message = f"the file has no [targets.{str(name)[:64]}]; {message}"
            raise ProxyError(Error("invalid_request", message, 400))
        async with self._lock:
            await self._readable()
            found = entry = self._named(name)
            if entry is None and not (spec.key and spec.client):
                entry = Entry.made(name=name)
                await self._change([entry])
        key = spec.key or (entry.key if entry else "")
        token = None if spec.client or entry is None else Secret(entry.token)
        return self._registered(key, token, new=found is None and entry is not None)

    def _registered(self, key: str, token: Secret | None, *, new: bool) -> Registered:
        return Registered(key, token, f"{PREFIX}/{key}", new, self._book is not None)

    async def forget(self, key: str) -> None:
        """Take a registered target away: requests under way go on, new ones get 404. Raises as `register` does."""
        async with self._lock:
            await self._readable()
            found = self.get(key)
            if found is None:
                raise ProxyError(Error("not_found", f"there is no target {key[:64]!r}", 404))
            if found.name:
                message = f"[targets.{found.name}] is in the file: take it out there, and reload"
                raise ProxyError(Error("invalid_request", message, 409))
            await self._change(gone=[key])
        log.info("target %s taken away", key)

    async def _readable(self) -> None:
        """Whoever could not read the book must not write into it: what is there would get a second key."""
        if self._trouble:
            await self.restore()
        if self._trouble:
            raise StoreError(self._trouble)

    async def _change(self, kept: list[Entry] | None = None, gone: list[str] | None = None) -> None:
        change = Change(kept or [], gone or [])
        if self._book is not None:
            for entry in change.kept:
                await self._book.keep(entry.key, msgspec.json.encode(entry))
            for key in change.gone:
                await self._book.forget(key)
        self._apply(change)
        if self.on_change is not None:
            await self.on_change(msgspec.json.encode(change))

    # ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def __iter__(self) -> Iterator[Target]:
        """All of them, those of the file first."""
        yield from (self._of_the_file(name, spec) for name, spec in self._config.targets.items())
        for key, entry in self._entries.items():
            if not entry.name and key not in self._declared:
                yield _registered(entry)

    def get(self, key: str) -> Target | None:
        """The target with that key."""
        entry = self._entries.get(key)
        name = self._declared.get(key) or (entry.name if entry else "")
        if not name:
            return _registered(entry) if entry else None
        spec = self._config.targets.get(name)
        target = self._of_the_file(name, spec) if spec else None
        return target if target and target.key == key else None

    def _of_the_file(self, name: str, spec: TargetSpec) -> Target:
        entry, upstream = self._named(name), spec.upstream
        key = spec.key or (entry.key if entry else None)
        return Target(key, name, spec.provider, upstream.model or "", spec.mode, str(upstream))

    @property
    def upstreams(self) -> Iterator[str]:
        """The names of the upstreams of those that were registered."""
        return map(_upstream, self._entries)

    def label(self, key: str) -> str:
        """What metrics call the target with that key, or that name in the file.

        Keys come and go with whoever registers: what was registered is told by its provider.
        """
        target = self.get(key)
        if key in self._config.targets or (target and target.name):
            return f"targets.{target.name if target else key}"
        provider = target.provider[:_WORD] if target else ""
        if not provider:
            return "targets.registered"
        if provider not in self._providers:
            if len(self._providers) >= _PROVIDERS:
                return "targets.other"
            self._providers.add(provider)
        return f"targets.{provider}"

    # ── other processes ─────────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> bytes:
        """All that was registered, for a process to `load` at its start. It holds tokens."""
        return msgspec.json.encode(Change(list(self._entries.values()), whole=True))

    def load(self, change: bytes) -> None:
        """Take over what another process's `on_change` or `snapshot` says."""
        self._apply(msgspec.json.decode(change, type=Change))

    def _apply(self, change: Change) -> None:
        there = {entry.key for entry in change.kept}
        for key in [key for key in self._entries if key not in there] if change.whole else change.gone:
            if entry := self._entries.pop(key, None):
                self._forget_route(key)
                self._same[entry.identity].remove(key)
                if not self._same[entry.identity]:
                    del self._same[entry.identity]
                self.on_gone(_upstream(key))
        for entry in change.kept:
            self._given = True
            self._entries[entry.key] = entry
            keys = self._same.setdefault(entry.identity, [])
            if entry.key not in keys:
                keys.append(entry.key)
            self._forget_route(entry.key)

    def _forget_route(self, key: str) -> None:
        self._routes.pop(key, None)
        self._modes.pop(key, None)


def _upstream(key: str) -> str:
    """What the upstream of a target that was registered is called."""
    return f"targets.{key}"


def _registered(entry: Entry) -> Target:
    said = entry.said
    url = str(said["url"]).partition("?")[0].rstrip("/")
    return Target(entry.key, "", said["provider"], said["model"], said["mode"], url)


def _nobody(_: str) -> None:
    """Nobody is told."""


async def open_targets(config: Config) -> Targets:
    """The targets of a proxy that begins now, with what its store has kept. Raises `StoreError` if it never can."""
    book = None
    if config.store.url.startswith("sqlite:"):
        from trioproxy.store.targets import book_of  # noqa: PLC0415  # who does not use it starts faster

        book = book_of(config.store, config.directory)
    targets = Targets(config, book)
    await targets.restore()
    return targets
