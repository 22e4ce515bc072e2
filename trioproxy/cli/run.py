"""`run`: the proxy for one program, for as long as that runs, on a port and with a token that nobody else knows.

The terminal is the program's: we say one line before it starts, and log into a file or not at all.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TextIO

import trio
from msgspec.structs import replace

from trioproxy import log
from trioproxy.cli.terminal import complain, say
from trioproxy.config import Client, Config, Route, Secret, Upstream
from trioproxy.embed import open_proxy
from trioproxy.errors import ConfigError, Problem
from trioproxy.http.listen import Address, Listen

__all__ = ["run_command"]

NOT_FOUND, NOT_RUN, BY_SIGNAL = 127, 126, 128  # as shells count

# What keeps Claude Code from asking at ANTHROPIC_BASE_URL, or makes it warn of two credentials. The variables of clouds
# come before every token (code.claude.com/docs/en/authentication).
_IN_THE_WAY = ("ANTHROPIC_API_KEY", *(f"CLAUDE_CODE_USE_{cloud}" for cloud in ("BEDROCK", "VERTEX", "FOUNDRY")))
# Codex reads no variable that says where; and without a provider of its own it would show what it is logged in with.
_CODEX = (
    *("-c", 'model_provider="trioproxy"', "-c"),
    'model_providers.trioproxy={name="trioproxy",base_url="BASE/v1",env_key="OPENAI_API_KEY",wire_api="responses"}',
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_HERE = ("127.0.0.1", "localhost")
# What of the environment an upstream gets that has no token of its own: its client would have sent it there itself.
_TOKENS = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "openai-chat": ("OPENAI_API_KEY",),
    "openai-responses": ("OPENAI_API_KEY",),
}
_BEARER = frozenset({"ANTHROPIC_AUTH_TOKEN"})  # goes as `authorization: Bearer`, whatever the dialect's own form is
_CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key"})

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")  # not each system has all
_SIGNALS = tuple(signal.Signals[name] for name in _NAMES if hasattr(signal, name))
_KEYS = frozenset({"SIGINT", "SIGQUIT"})  # what a terminal sends to every process that runs in front


async def run_command(
    config: Config, command: Sequence[str], log_file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> int:
    """Run `command` with the proxy beside it, and give its exit status.

    Raises `ConfigError` if a token of the environment is none, `OSError` if the log cannot be written, and what
    `open_proxy` raises.
    """
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None and (found := shutil.which(command[0], os.F_OK, environ.get("PATH"))):
        complain(f"{found} cannot be run: it is not executable (chmod +x)")
        return NOT_RUN
    if program is None:
        complain(f"there is no command '{command[0]}' here; is it installed, and in $PATH?")
        return NOT_FOUND
    token = f"run-{secrets.token_urlsafe(32)}"
    config = for_one(config, token, environ)
    with _log(config, log_file), trio.open_signal_receiver(*_SIGNALS) as signals:
        async with open_proxy(config) as proxy:
            route = _main_route(config.routes)
            home = _home(proxy.url, route)
            line = [program, *options(program, home), *command[1:]]
            say(_told(proxy.url, route, [name for name in _IN_THE_WAY if name in environ]))
            try:
                process = await trio.lowlevel.open_process(line, env=child_environment(environ, home, token))
            except OSError as exc:
                complain(f"{program} cannot be run: {exc.strerror}")
                return NOT_RUN
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_forward, signals, process)
                    status = await process.wait()
                    nursery.cancel_scope.cancel()
            finally:
                if process.returncode is None:
                    process.terminate()  # the proxy has failed, and it could do no more
    return status if status >= 0 else BY_SIGNAL - status


async def _forward(signals: AsyncIterable[int], process: trio.Process) -> None:
    """Give every signal to the program, but for those that its terminal has sent it too."""
    async for number in signals:
        if signal.Signals(number).name not in _KEYS or not _in_front():
            process.send_signal(number)


def _in_front() -> bool:
    """Whether the keys of a terminal reach us, and with us the program, which is of the same process group."""
    if sys.platform == "win32":
        return True  # every process of a console gets Ctrl-C
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:  # there is none
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def _log(config: Config, file: Path | None) -> TextIO:
    """Where the log goes while the program runs."""
    stream = open(file or os.devnull, "a", buffering=1, encoding="utf-8")  # noqa: SIM115  # closed by who asked
    log.set_up(config.log.level, config.log.format, stream, colour=False, enabled=file is not None)
    return stream


# ── what is served ──────────────────────────────────────────────────────────────────────────────────────────────────


def for_one(config: Config, token: str, environ: Mapping[str, str]) -> Config:
    """The configuration for one client that knows `token`, at a free port; upstreams have the tokens that `environ` has
    for them. Raises `ConfigError` if one of these is no token.
    """
    only = (Client("run", sha256(token.encode()).digest()),)
    upstreams = {name: _with_token(upstream, environ) for name, upstream in config.upstreams.items()}

    def own(route: Route) -> Route:
        others = tuple(map(own, route.others))
        return replace(route, upstream=upstreams[route.upstream.name], others=others, clients=only)

    return replace(
        config,
        listen=(Listen(Address("127.0.0.1:0")),),
        upstreams=upstreams,
        routes=tuple(map(own, config.routes)),
        clients=only,
        targets={},
        admin=None,
    )


def _with_token(upstream: Upstream, environ: Mapping[str, str]) -> Upstream:
    has_own = upstream.token or any(name in _CREDENTIALS for name, _ in upstream.headers)
    variable = next((name for name in _TOKENS.get(upstream.dialect, ()) if environ.get(name)), None)
    if has_own or variable is None or upstream.replay:
        return upstream
    try:
        token = Secret.read(environ[variable])
    except ValueError as exc:
        raise ConfigError([Problem(f"${variable}: {exc}")]) from exc
    if variable in _BEARER:
        return replace(upstream, headers=(*upstream.headers, ("authorization", Secret(f"Bearer {token}"))))
    return replace(upstream, token=token)


# ── what the program is told ────────────────────────────────────────────────────────────────────────────────────────


def child_environment(environ: Mapping[str, str], base: str, token: str) -> dict[str, str]:
    """The environment of a program whose models are at `base`."""
    child = {name: value for name, value in environ.items() if name not in _IN_THE_WAY}
    child |= {"ANTHROPIC_BASE_URL": base, "ANTHROPIC_AUTH_TOKEN": token}
    child |= {"OPENAI_BASE_URL": f"{base}/v1", "OPENAI_API_KEY": token}
    if any(environ.get(name) or environ.get(name.lower()) for name in _PROXIES):
        for name in ("NO_PROXY", "no_proxy"):  # some read only one of them
            told = [each.strip() for each in environ.get(name, "").split(",") if each.strip()]
            child[name] = ",".join([*told, *(each for each in _HERE if each not in told)])
    return child


def options(program: str, base: str) -> list[str]:
    """What a program has to be told on its command line, where its environment is not enough."""
    return [option.replace("BASE", base) for option in _CODEX] if Path(program).stem == "codex" else []


def _main_route(routes: Sequence[Route]) -> Route:
    """The route that the program gets: the one for everything, or else the one with the shortest prefix."""
    by_prefix = {route.prefix: route for route in routes}
    return by_prefix.get("/") or by_prefix.get("/{session}") or routes[-1]


def _home(url: str, route: Route) -> str:
    """Where `route` begins; if it has sessions, for one of its own."""
    if route.stem is not None:
        return f"{url}{route.stem}/run-{secrets.token_hex(4)}"
    return url if route.prefix == "/" else url + route.prefix


def _told(url: str, route: Route, removed: Sequence[str]) -> str:
    """The line that is said before the program starts."""
    models = {"every model": route.upstream.model} if route.upstream.model else route.models.aliases
    names = [f"{client} → {name}" for client, name in models.items()][:2]
    more = ", …" if len(models) > len(names) else ""
    where = f"{', '.join(names)}{more} at {route.upstream}" if names else f"{route.prefix} → {route.upstream}"
    without = f"; started without {' and '.join(removed)}" if removed else ""
    return f"trioproxy on {url}: {where}{without}"
