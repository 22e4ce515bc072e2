"""`demo`: one question to a recorded upstream, over real sockets, and what became of each event on the way.

The server, the client and the recording are real. Which stage dropped, changed or made an event is told by taking the
same bytes through the same stages one after the other; the demo fails if that does not give what the client got.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio

from trioproxy import config
from trioproxy.cli import terminal
from trioproxy.config import Route
from trioproxy.http.client import Origin, Pool, Timeouts
from trioproxy.http.listen import Address, Listen, open_listeners
from trioproxy.http.server import Server
from trioproxy.items import Event, Frame
from trioproxy.proxy import Proxy
from trioproxy.stage import Exchange, Stage
from trioproxy.store.vault import Vault

__all__ = ["show"]

TOML = """
[upstreams.demo]
url  = "replay:recordings/metadata-then-answer.sse"
pace = "20ms"
"""
_COLUMN = 46  # characters at most: nothing is wider


async def show() -> int:
    """Print the demo; the exit status."""
    loaded = config.read(TOML, Path("demo"), {})
    route = loaded.routes[0].serving("anthropic")  # as the demo asks
    assert route.upstream.replay
    sent = route.upstream.replay.file.read_bytes()
    got, address = await _ask(loaded)
    rows, traced = trace(route, sent)
    print("\n".join(_told(route, address, rows, terminal.width())))
    return 0 if got == traced else 1


def _told(route: Route, address: str, rows: Sequence[Row], width: int) -> list[str]:
    first, *others = (stage.name for stage in route.response)
    left = min(_COLUMN, (width - 4) // 2)
    right = min(_COLUMN, width - 2 - left)
    table = [("the upstream sent", "the client got"), ("─" * left, "─" * right), *((row.sent, row.got) for row in rows)]
    came, went = sum(1 for row in rows if row.sent), sum(1 for row in rows if row.reached)
    ends = f"{came} events in, {went} out; what was not touched left as the very bytes it came in."
    return [
        *terminal.wrap(f"POST http://{address}/v1/messages, answered by {route.upstream} through".split(), "", width),
        *terminal.wrap([first, *(f"→ {name}" for name in others)], "  ", width),
        "",
        *(f"{terminal.cut(sent, left):{left}}  {terminal.cut(got, right)}".rstrip() for sent, got in table),
        "",
        *terminal.wrap(ends.split(), "", width),
        "Your own pipeline: python -m trioproxy --config stages.toml",
    ]


async def _ask(loaded: config.Config) -> tuple[bytes, str]:
    """Serve the configuration on a free port and ask it once. The body of the answer, and where it was served."""
    listeners = await open_listeners([Listen(Address("127.0.0.1:0"))])
    proxy = Proxy(loaded, Vault(loaded.store))
    server = Server(proxy.handle, proxy.refusal, loaded.limits)
    pool = Pool()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listeners)
        host, _, port = listeners[0].address.rpartition(":")
        body = b'{"model": "demo", "stream": true, "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}'
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        where = Origin("http", host, int(port))
        with await pool.request(where, "POST", "/v1/messages", fields, name="demo", timeouts=Timeouts()) as reply:
            await reply.end(body)
            await reply.head()
            answer = await reply.read(1024 * 1024)
        pool.close()
        proxy.close()
        nursery.cancel_scope.cancel()
    return answer, listeners[0].address


class Row(NamedTuple):
    """One event of the upstream, or one that a stage made, and what the client got for it."""

    sent: str
    got: str
    reached: bool


def trace(route: Route, sent: bytes) -> tuple[list[Row], bytes]:
    """Take `sent` through the response stages of `route`: the table, and the bytes that come out."""
    exchange = Exchange(id="demo")
    frames: list[Frame] = []
    fate: dict[int, str] = {}  # the frames that got no further, by identity, and the stage that kept them
    made: dict[int, Row] = {}
    items: list[Any] = [sent]
    for spec in route.response:
        items = _through(spec.make(), items, exchange)
        if not frames:
            frames = [item for item in items if isinstance(item, Frame)]
        if all(isinstance(item, bytes) for item in items):
            break
        alive = {id(_origin(item)) for item in items}
        for frame in frames:
            if id(frame) not in alive:
                fate.setdefault(id(frame), spec.name)
        for item in items:
            if isinstance(item, Event) and item.frame is None:
                made.setdefault(id(item), Row("", f"{type(item).__name__}  made by {spec.name}", True))
    rows = []
    for frame in frames:
        what, name = _describe(frame), fate.get(id(frame))
        rows.append(Row(what, what if name is None else f"–  dropped by {name}", name is None))
    return [*rows, *made.values()], b"".join(item for item in items if isinstance(item, bytes))


def _through(stage: Stage[Any, Any], items: Iterable[Any], exchange: Exchange) -> list[Any]:
    return [*stage.open(exchange), *stage.feed_all(list(items)), *stage.close()]


def _origin(item: object) -> Frame | None:
    """The frame an item is, or was read from."""
    return item if isinstance(item, Frame) else item.frame if isinstance(item, Event) else None


def _describe(frame: Frame) -> str:
    """An event in one line: its name and its text."""
    wire = msgspec.json.decode(frame.data)
    delta = wire.get("delta") or {}
    detail = delta.get("text") or wire.get("message", {}).get("id") or delta.get("stop_reason") or ""
    text = msgspec.json.encode(detail).decode() if delta.get("text") else detail
    return f"{frame.event} {text}".strip()
