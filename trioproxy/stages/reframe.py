"""frames → bytes: write server-sent events, or one whole JSON body."""

from collections.abc import Iterable, Mapping

from trioproxy.items import Frame
from trioproxy.stage import Batch, Stage

__all__ = ["Reframe"]


class Reframe(Stage[Frame, bytes]):
    """Write the frames as bytes: those that came over the wire exactly as they came."""

    def __init__(self) -> None:
        self._events = 0

    def feed(self, frame: Frame, /) -> Iterable[bytes]:
        self._events += bool(frame.data)
        return (frame.raw or _write(frame),)

    def feed_all(self, items: Batch) -> Batch:
        """As one piece of bytes what is one batch of frames: one write to the client."""
        batch = super().feed_all(items)
        return [b"".join(batch)] if len(batch) > 1 and all(type(item) is bytes for item in batch) else batch

    def stats(self) -> Mapping[str, int]:
        return {"events_out": self._events}


def _write(frame: Frame) -> bytes:
    if frame.whole:
        return frame.data
    event = b"event: %s\n" % frame.event.encode() if frame.event else b""
    return event + b"data: " + frame.data.replace(b"\n", b"\ndata: ") + b"\n\n"
