"""`serve`: open the listeners, say so, serve, and stop gracefully."""

import shlex
from collections.abc import AsyncIterable
from functools import partial

import trio

from trioproxy import __version__
from trioproxy.cli.running import follow_log, hold, streams, take_signals
from trioproxy.cli.terminal import cut, say, wrap
from trioproxy.cli.terminal import width as columns
from trioproxy.collector import tune_collector
from trioproxy.config import Config, Route
from trioproxy.config.file import File
from trioproxy.config.processes import kept_apart
from trioproxy.http.listen import Listener
from trioproxy.reload import Reloading
from trioproxy.serving import Serving, local_url, open_serving
from trioproxy.store import Settings

__all__ = ["banner", "serve_forever"]

_ROUTES = 3  # lines of the banner: it has to fit in ten
ASK = """'{"stream":true}'"""  # a recording answers anything


async def serve_forever(file: File, text: str) -> int:
    """Serve what `text`, of the file, says until a signal; the exit status.

    Raises `ConfigError`, `OSError` if a listener cannot be opened, `StoreError` if the store can never be used,
    `StartError` if no worker can serve.
    """
    config = file.read(text)
    follow_log(config)
    # Signals are received before anything is announced: who reads the banner may send one at once.
    with take_signals() as signals:
        if config.workers > 1:
            from trioproxy.cli.supervise import supervise  # noqa: PLC0415  # one process alone starts faster without it

            cut = await supervise(file, text, config, signals, partial(banner, config))
        else:
            cut = await _serve(file, config, signals)
    if cut:
        say(f"stopped; {streams(cut)} cut off")
    return 1 if cut else 0


async def _serve(file: File, config: Config, signals: AsyncIterable[int]) -> int:
    """Serve in this process; how many answers were cut off."""
    async with open_serving(config) as serving:

        async def apply(new: Config, _: str) -> None:
            await serving.reload(new)
            follow_log(new)

        async def announce() -> None:
            say("\n".join(banner(config, serving.listeners)))
            tune_collector()

        reloading = Reloading(file, config, apply)
        serving.on_reload = reloading.reload
        await hold(_Here(serving), reloading, signals, announce)
        return serving.busy


class _Here:
    """A process that serves by itself, as signals see it."""

    def __init__(self, serving: Serving) -> None:
        self._serving, self._scope = serving, trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            await self._serving.serve()

    async def drain(self) -> int:
        self._serving.drain()
        return self._serving.busy

    async def stop(self) -> None:
        self._scope.cancel()


def banner(config: Config, listeners: list[Listener]) -> list[str]:
    """What is said at start: where it listens, what goes where through which stages, and how to try it."""
    urls = [each.url for each in listeners]
    base = local_url(listeners)
    lines = [f"trioproxy {__version__} on {' and '.join(urls)} ({config.file or 'no file'})"]
    if config.workers > 1:
        lines[0] += f", {config.workers} workers"
    shown = config.listed
    width = max((len(route.prefix) for route in shown), default=0)
    for route in shown[:_ROUTES]:
        others = "".join(f", or {other.upstream.name}" for other in route.others)
        lines.append(f"  {route.prefix:{width}} → {route.upstream.name}, {route.upstream}{others}")
    if len(shown) > _ROUTES:
        lines[-1] = f"  … and {len(shown) - _ROUTES + 1} more routes: python -m trioproxy check"
    chains = {_chain(route) for route in shown}
    chain = next(iter(chains)) if len(chains) == 1 else ("differ: python -m trioproxy check",)
    if shown:
        lines += wrap([chain[0], *(f"→ {step}" for step in chain[1:])], "  stages: ", columns())
    if config.admin is not None:
        lines.append(f"  admin: {' and '.join(map(str, config.admin.listen))}; targets: {base}/targets/KEY")
    if config.store.url != Settings().url:
        lines.append(f"  store: {config.store.place}")
    if base and shown:
        by_prefix = {route.prefix: route for route in shown}
        everything = by_prefix.get("/") or by_prefix.get("/{session}")
        home = _url(base, everything) if everything else base
        lines.append(f"  clients: ANTHROPIC_BASE_URL={home} claude, or OPENAI_BASE_URL={home}/v1")
    if asked := dict.fromkeys(client.name for route in shown for client in route.clients):
        lines.append(
            cut(f"  who may ask: {', '.join(asked)}; their token: ANTHROPIC_AUTH_TOKEN, OPENAI_API_KEY", columns())
        )
    if replay := next((route for route in shown if route.upstream.replay), None):
        way = "" if base else f"--unix-socket {shlex.quote(listeners[0].address.removeprefix('unix:'))} "
        way += "-H 'x-api-key: TOKEN' " if replay.clients else ""
        lines.append(f"  try: curl {way}-N {_url(base or 'http://localhost', replay)}/v1/messages -d {ASK}")
    lines += [f"  ! {warning}" for warning in kept_apart(config)]
    asked_by = [*config.upstreams.values(), *(target.upstream for target in config.targets.values())]
    if insecure := dict.fromkeys(upstream.name for upstream in asked_by if upstream.reach.insecure):
        lines.append(f"  ! insecure = true: {', '.join(insecure)} may be anybody, and is told every key and prompt")
    open_to_all = [each.address for each in listeners if not each.loopback and not each.unix]
    if open_to_all and (free := [route.prefix for route in shown if not route.clients]):
        what = "it" if len(free) == len(shown) else f"{', '.join(free[:_ROUTES])}{' …' if free[_ROUTES:] else ''}"
        lines.append(f"  ! whoever reaches {', '.join(open_to_all)} may use {what}: allow-anonymous is true")
    return lines


def _chain(route: Route) -> tuple[str, ...]:
    """A request's way to the upstream and its answer's back, as far as stages stand on it."""
    up, down = tuple(stage.name for stage in route.request), tuple(stage.name for stage in route.response)
    return ((*up, "upstream", *down) if up else down) or ("bytes as they come",)


def _url(base: str, route: Route) -> str:
    """Where a route begins; one with sessions for a session of that name."""
    if route.stem is not None:
        return f"{base}{route.stem}/my-session"
    return base + ("" if route.prefix == "/" else route.prefix)
