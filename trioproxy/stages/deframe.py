"""bytes → frames: cut an event stream into server-sent events, or gather one whole JSON body.

The grammar is WHATWG's (html.spec.whatwg.org/multipage/server-sent-events.html): lines end in CR, LF or CRLF, a blank
line ends an event, a BOM may stand in front. Joined, the `raw` of all frames is the input, byte for byte.

Where a cut may fall is the hard part. In the usual stream without any CR, `\\n\\n` ends an event. With a CR about, one
pattern says where a blank line ends; it never needs a byte beyond the blank line but after LF CR, where CR LF is as
likely as CR alone. So the same frames come out wherever the network cuts.
"""

import re
from collections.abc import Iterable, Mapping

from trioproxy.items import Error, Frame
from trioproxy.stage import Batch, Exchange, Stage

__all__ = ["Deframe"]

# A line end and a blank line's end. CR CR ends at once; an LF behind it then is one more, harmless, blank line.
_BLANK = re.compile(rb"\r\r|(?:\r\n|\n)(?:\r\n|\n|\r(?=[^\n]))")
_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_JOINED = 64 * 1024  # bytes of an event that are copied to be looked at anew with the rest of it


class Deframe(Stage[bytes, Frame | Error]):
    """Cut the upstream's bytes into server-sent events, or gather one whole JSON body."""

    def __init__(self) -> None:
        self._rest = bytearray()  # bytes of an event that has not ended
        self._searched = 0  # how many of them hold no blank line's end
        self._limit = 0
        self._stream = True
        self._first = True
        self._failed = False
        self._events = 0

    def open(self, exchange: Exchange, /) -> Iterable[Frame | Error]:
        self._limit = exchange.event_limit
        self._stream = exchange.upstream_stream
        return ()

    def feed(self, chunk: bytes, /) -> Iterable[Frame | Error]:
        if self._failed:
            return ()
        frames: list[Frame | Error] = []
        begun = self._rest
        if begun and self._stream and len(begun) < _JOINED and b"\n\n" in chunk and b"\r" not in begun:
            # A read ended within an event, as every full one does: with the beginning in front it is the usual case.
            chunk = bytes(begun) + chunk
            begun.clear()
        if not self._stream:
            self._rest += chunk
        elif not self._rest and b"\r" not in chunk:
            # The usual case: whole events, no CR. What follows the last blank line is the rest.
            *blocks, rest = chunk.split(b"\n\n")
            for block in blocks:
                if block[:6] == b"data: " and not self._first and b"\n" not in block:
                    frames.append(Frame(block[6:], "", block + b"\n\n"))
                    continue
                event, separator, data = block.partition(b"\ndata: ")
                if (
                    separator
                    and not self._first
                    and event[:7] == b"event: "
                    and b"\n" not in data
                    and b"\n" not in event
                ):
                    frames.append(Frame(data, event[7:].decode("utf-8", "replace"), block + b"\n\n"))
                else:
                    frames.append(self._frame(block, b"\n\n"))
            self._rest += rest
            self._searched = 0
        else:
            self._rest += chunk
            self._cut(frames)
        if len(self._rest) > self._limit:
            self._failed = True
            what = "event" if self._stream else "answer"
            frames.append(Error("upstream", f"the upstream sent an {what} of more than {self._limit} bytes", 502))
            self._rest.clear()
        return frames

    def close(self) -> Iterable[Frame | Error]:
        if not self._rest or self._failed:
            return ()
        rest = bytes(self._rest)
        if self._stream:
            # The blank line may be missing at the end of a stream; whether the event is whole, its reader will see.
            return (self._frame(rest, b""),)
        self._events += 1
        return (Frame(rest, raw=rest, whole=True),)

    def feed_all(self, items: Batch) -> Batch:
        batch = super().feed_all(items)
        self._events += len(batch)
        return batch

    def stats(self) -> Mapping[str, int]:
        return {"events_in": self._events}

    def _cut(self, frames: list[Frame | Error]) -> None:
        rest, start = self._rest, 0
        # A blank line's end is up to 4 bytes long, so it may begin up to 3 bytes back.
        for match in _BLANK.finditer(rest, max(0, self._searched - 3)):
            frames.append(self._frame(bytes(rest[start : match.start()]), match.group()))
            start = match.end()
        del rest[:start]
        self._searched = len(rest)

    def _frame(self, block: bytes, blank: bytes) -> Frame:
        raw = block + blank
        if self._first:
            self._first = False
            block = block.removeprefix(_BOM)
        lines = block.split(b"\n") if b"\r" not in block else _LINE.split(block)
        event, data = b"", list[bytes]()
        for line in lines:
            field, _, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if field == b"data":
                data.append(value)
            elif field == b"event":
                event = value
        joined = b"\n".join(data)
        self._events -= not joined  # feed_all counts frames; one without data is no event
        return Frame(joined, event.decode("utf-8", "replace"), raw)
