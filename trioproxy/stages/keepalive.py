"""events → events: a ping whenever the client has heard nothing for a while.

Claude Code warns its user after 20 seconds of silence and gives up after three minutes, load balancers cut the line
after one; a long prefill takes longer.
"""

from collections.abc import Iterable

import trio

from trioproxy.items import Event, Ping, Unknown
from trioproxy.stage import Batch, Exchange, Receive, Send, Stage
from trioproxy.units import Seconds

__all__ = ["Keepalive"]


class Keepalive(Stage[Event, Event]):
    """Send a ping whenever nothing has passed for `after`. The first one also sends the response head."""

    def __init__(self, *, after: Seconds = Seconds(10)) -> None:
        if after <= 0:
            raise ValueError("after must be more than 0s")
        self._after = after

    def feed(self, event: Event, /) -> Iterable[Event]:
        return (event,)

    async def run(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        if not exchange.stream:
            async for batch in receive:
                await send.send(batch)
            return
        last = exchange.started or trio.current_time()
        # What nobody has a name for leaves only in its own dialect: comments, work of the provider's own tools.
        unheard = (Unknown,) if exchange.client_dialect != exchange.upstream_dialect else ()
        pending: Batch | None = None  # received, not yet sent: a deadline that falls into a send loses nothing
        while True:
            # The deadline stays put while items pass, and is looked at again only when it is reached: moving it for
            # every batch would cost as much as the rest of the hop.
            with trio.CancelScope(deadline=last + self._after):
                try:
                    while True:
                        if pending is None:
                            pending = await receive.receive()
                        await send.send(pending)
                        if not all(isinstance(event, unheard) for event in pending):
                            last = trio.current_time()
                        pending = None
                except trio.EndOfChannel:
                    return
            if pending is None and trio.current_time() >= last + self._after:
                pending = [Ping()]
            if pending is not None:
                last = trio.current_time()  # it is the client who is slow, or about to hear from us
