"""`serve`: open the listeners, say so, serve, and stop gracefully."""

import gc
import shlex
import signal
from collections.abc import AsyncIterable

import trio

from trioproxy import __version__, log
from trioproxy.cli.terminal import say, wants_colour, wrap
from trioproxy.cli.terminal import width as columns
from trioproxy.config import Config, Route
from trioproxy.http.server import Listener
from trioproxy.serving import Serving, open_serving
from trioproxy.store import Settings

__all__ = ["banner", "serve_forever"]

_ROUTES = 3  # lines of the banner: it has to fit in ten
ASK = """'{"stream":true}'"""  # a recording answers anything


async def serve_forever(config: Config) -> int:
    """Serve until a signal; the exit status.

    Raises `OSError` if a listener cannot be opened, `StoreError` if the store can never be used.
    """
    log.set_up(config.log.level, config.log.format, colour=wants_colour(), enabled=config.log.enabled)
    # Signals are received before anything is announced: who reads the banner may send one at once.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_serving(config) as serving:
            say("\n".join(banner(config, serving.listeners)))
            _tune_collector()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop, signals, serving, nursery.cancel_scope, config.drain)
                await serving.serve()
                nursery.cancel_scope.cancel()
    if serving.busy:
        say(f"stopped; {_streams(serving.busy)} cut off")
    return 1 if serving.busy else 0


def _tune_collector() -> None:
    """Look for garbage cycles less often: an exchange leaves few, and Python's default looks after 700 new objects.

    What start-up made stays for good and need not be looked at. Worth a tenth of the CPU time of short requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _stop(signals: AsyncIterable[int], serving: Serving, scope: trio.CancelScope, drain: float) -> None:
    """The first signal lets running answers finish, the second ends them, and so does the drain time."""
    asked = False
    async for _ in signals:
        if asked:
            scope.cancel()
            return
        asked = True
        if serving.busy:
            say(f"finishing {_streams(serving.busy)}, at most {drain:g} s; Ctrl-C again to quit")
        scope.deadline = trio.current_time() + drain
        serving.drain()


def banner(config: Config, listeners: list[Listener]) -> list[str]:
    """What is said at start: where it listens, what goes where through which stages, and how to try it."""
    urls = [each.address if each.unix else f"http://{each.address}" for each in listeners]
    base = _base(listeners)
    lines = [f"trioproxy {__version__} on {' and '.join(urls)} ({config.file or 'no file'})"]
    shown = config.routes[::-1]
    width = max(len(route.prefix) for route in shown)
    for route in shown[:_ROUTES]:
        lines.append(f"  {route.prefix:{width}} → {route.upstream.name}, {route.upstream}")
    if len(shown) > _ROUTES:
        lines[-1] = f"  … and {len(shown) - _ROUTES + 1} more routes: python -m trioproxy check"
    chains = {_chain(route) for route in shown}
    chain = next(iter(chains)) if len(chains) == 1 else ("differ: python -m trioproxy check",)
    lines += wrap([chain[0], *(f"→ {step}" for step in chain[1:])], "  stages: ", columns())
    if config.store.url != Settings().url:
        lines.append(f"  store: {config.store.place}")
    if base:
        everything = next((route for route in shown if route.prefix in ("/", "/{session}")), None)
        home = _url(base, everything) if everything else base
        lines.append(f"  clients: ANTHROPIC_BASE_URL={home} claude, or OPENAI_BASE_URL={home}/v1")
    if replay := next((route for route in shown if route.upstream.replay), None):
        way = "" if base else f"--unix-socket {shlex.quote(listeners[0].address.removeprefix('unix:'))} "
        lines.append(f"  try: curl {way}-N {_url(base or 'http://localhost', replay)}/v1/messages -d {ASK}")
    open_to_all = [each.address for each in listeners if not each.loopback and not each.unix]
    if open_to_all:
        verbs = "is open to the network, and asks" if len(open_to_all) == 1 else "are open to the network, and ask"
        lines.append(f"  ! {', '.join(open_to_all)} {verbs} nobody for a token")
    return lines


def _chain(route: Route) -> tuple[str, ...]:
    """A request's way to the upstream and its answer's back, as far as stages stand on it."""
    up, down = tuple(stage.name for stage in route.request), tuple(stage.name for stage in route.response)
    return ((*up, "upstream", *down) if up else down) or ("bytes as they come",)


def _base(listeners: list[Listener]) -> str:
    """The URL at which programs of this machine reach us, IPv4 before IPv6; empty if there are only Unix sockets."""
    addresses = [each.address for each in listeners if not each.unix]
    address = min(addresses, key=lambda each: each.startswith("["), default="")
    for everywhere, here in (("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")):
        if address.startswith(everywhere):
            address = here + address.removeprefix(everywhere)
    return address and f"http://{address}"


def _url(base: str, route: Route) -> str:
    """Where a route begins; one with sessions for a session of that name."""
    if route.stem is not None:
        return f"{base}{route.stem}/my-session"
    return base + ("" if route.prefix == "/" else route.prefix)


def _streams(number: int) -> str:
    return f"{number} answer{'s' if number > 1 else ''}"
