"""The upstreams' tokens, as their sources give them: the file, another file, a program, a function.

Where a source fails, the client is told which one and never what it said.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from trioproxy.command import NoToken, printed
from trioproxy.config import Secret, TokenCommand, TokenFile, Upstream
from trioproxy.config.sources import token_in
from trioproxy.errors import ProxyError
from trioproxy.items import Error
from trioproxy.stamp import stamp

__all__ = ["Keys"]

log = logging.getLogger("trioproxy.keys")

_PATIENCE = 10.0  # seconds for a program, or a function, to give one
_PAUSE = 5.0  # seconds between two askings of one source: a token that is refused each time must not start a storm
# Seconds for which the last token goes on serving while its source fails. A vault that is locked or restarted for a
# moment has withdrawn nothing, and whether a token still holds is the upstream's to say.
_GRACE = 300.0
_KNOWN = 8  # tokens of a source that are remembered, so that answers quote none of them
_SOURCES = 1000  # that are remembered; targets come and go


class Keys:
    """The upstreams' tokens. One for each proxy; it outlives reloads."""

    def __init__(self) -> None:
        self._sources: dict[object, _Source] = {}

    def close(self) -> None:
        """End what is still being asked."""
        for source in self._sources.values():
            source.close()

    async def token(self, upstream: Upstream) -> str | None:
        """The token for the next request to `upstream`; None if it has none of its own.

        Raises `ProxyError` if its source gives none.
        """
        if upstream.token is None or isinstance(upstream.token, str):
            return upstream.token
        try:
            return await self._source(upstream).token()
        except NoToken as exc:
            raise ProxyError(Error("upstream", f"upstream '{upstream.name}' has no token now: {exc}", 502)) from exc

    async def another(self, upstream: Upstream, refused: str) -> str | None:
        """A token that is not the one that the upstream has `refused`, if its source has one by now; else None."""
        if upstream.token is None or isinstance(upstream.token, str):
            return None
        try:
            token = await self._source(upstream).another(refused)
        except NoToken as exc:
            log.warning("upstream '%s' refuses its token, and there is no other: %s", upstream.name, exc)
            return None
        return None if token == refused else token

    def known(self, upstream: Upstream) -> list[str]:
        """What its source has given lately: an upstream may quote any of it."""
        if upstream.token is None or isinstance(upstream.token, str):
            return [upstream.token] if upstream.token else []
        return list(self._source(upstream).given)

    def _source(self, upstream: Upstream) -> _Source:
        source = self._sources.pop(upstream.token, None)
        if source is None:
            source = _source_of(upstream.token)
            if len(self._sources) >= _SOURCES:
                self._sources.pop(next(iter(self._sources))).close()
        self._sources[upstream.token] = source  # the last to be forgotten
        return source


class _Given(deque[str]):
    """The tokens a source gave lately, each once."""

    def __init__(self) -> None:
        super().__init__(maxlen=_KNOWN)

    def note(self, token: str) -> str:
        if token not in self:
            self.append(token)
        return token


class _Source(Protocol):
    """Where tokens come from."""

    given: _Given

    async def token(self) -> str: ...
    async def another(self, refused: str) -> str: ...
    def close(self) -> None: ...


def _source_of(token: object) -> _Source:
    if isinstance(token, TokenFile):
        return _File(token)
    if isinstance(token, TokenCommand):
        return _Command(token)
    assert callable(token), "a Token is nothing else"
    return _Function(token)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _File:
    """Read again when it has changed."""

    def __init__(self, spec: TokenFile) -> None:
        self._spec = spec
        self._seen: tuple[int, int, int] | None = None
        self._token = ""
        self._failing: float | None = None
        self.given = _Given()

    async def token(self) -> str:
        try:
            looks = stamp(self._spec.file)
            if looks is None or looks != self._seen:
                self._token = self.given.note(token_in(self._spec.file))
            self._seen, self._failing = looks, None
        except ValueError as exc:
            self._fail(f"{self._spec} {exc}")
        return self._token

    def _fail(self, why: str) -> None:
        """Go on with the last token for a while: a file may be looked at in the moment in which it is replaced."""
        now = trio.current_time()
        if self._failing is None:
            self._failing = now
            log.warning("no token: %s", why)
        self._seen = None
        if not self._token or now > self._failing + _GRACE:
            raise NoToken(why)

    async def another(self, refused: str) -> str:
        self._seen = None  # times are coarse: it may have changed twice within one tick
        return await self.token()

    def close(self) -> None:
        pass


# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Command:
    """A program is run when its last token is too old; requests that come meanwhile wait for the same run.

    The run is nobody's: the client whose request began it may leave, and the others get their token all the same.
    """

    def __init__(self, spec: TokenCommand) -> None:
        self._spec = spec
        self._token, self._got = "", -math.inf
        self._failure = ""
        self._begun = -math.inf
        self._running: _Run | None = None
        self.given = _Given()

    async def token(self) -> str:
        if trio.current_time() >= self._got + self._spec.ttl:
            await self._renew(pause=_PAUSE if self._failure else 0)
        return self._last()

    async def another(self, refused: str) -> str:
        if self._token == refused:
            await self._renew(pause=_PAUSE)
        return self._last()

    def close(self) -> None:
        if self._running:
            self._running.scope.cancel()

    def _last(self) -> str:
        if self._failure and trio.current_time() >= self._got + self._spec.ttl + _GRACE:
            raise NoToken(self._failure)
        return self._token

    async def _renew(self, *, pause: float) -> None:
        """Run it, or wait for the run there is. If one began less than `pause` seconds ago, what it gave stands."""
        if self._running is None:
            now = trio.current_time()
            if now < self._begun + pause:
                return
            self._begun, self._running = now, _Run()
            # The nursery of an exchange would end it with the exchange.
            trio.lowlevel.spawn_system_task(self._run, self._running, name=f"token of {self._spec}")
        await self._running.done.wait()

    async def _run(self, run: _Run) -> None:
        failure = "was stopped"
        try:
            with run.scope:
                token = await printed(self._spec.command, patience=_PATIENCE)
                self._token, self._got, failure = self.given.note(token), trio.current_time(), ""
        except NoToken as exc:
            failure = str(exc)
            log.warning("no token: %s %s", self._spec, failure)
        except Exception as exc:  # out of a system task it would end the program: whoever waits is told
            log.exception("a token command failed")
            failure = f"failed: {type(exc).__name__}"
        finally:
            self._failure = failure and f"{self._spec} {failure}"
            self._running = None
            run.done.set()


class _Run:
    """A program while it runs."""

    def __init__(self) -> None:
        self.scope, self.done = trio.CancelScope(), trio.Event()


# ── functions ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Function:
    """A function of the program that embeds the proxy, asked for each request."""

    def __init__(self, function: Callable[[], Awaitable[str]]) -> None:
        self._function = function
        self.given = _Given()

    async def token(self) -> str:
        try:
            with trio.fail_after(_PATIENCE):
                given: object = self._function()
                if not isinstance(given, Awaitable):
                    raise NoToken(f"its token function must be async, and gave {type(given).__name__}")
                got = await given
            return self.given.note(Secret.read(got))
        except trio.TooSlowError as exc:
            raise NoToken(f"its token function took more than {_PATIENCE:g} s") from exc
        except NoToken as exc:
            log.error("no token: %s", exc)
            raise
        except Exception as exc:  # whatever it raises is the program's to know, and no client's
            log.exception("a token function failed")
            raise NoToken(f"its token function failed: {type(exc).__name__}") from exc

    async def another(self, refused: str) -> str:
        return await self.token()

    def close(self) -> None:
        pass
