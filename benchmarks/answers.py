"""Reading answers: enough HTTP/1.1 to take a proxy's answer apart, and no more, since it runs under load."""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)

TOO_SLOW = 3  # the exit status of a load that ended with `TooSlowError`


class WrongAnswerError(Exception):
    """The proxy lost, added, swapped or broke something: the measurement is worthless."""


class TooSlowError(Exception):
    """The proxy (or a busy machine) was too slow for the load: nothing was measured, though nothing was wrong."""


def split_head(raw: bytes) -> tuple[bytes, int] | None:
    """The head of an answer with status 200, and where its body starts; None if the head is not all there."""
    end = raw.find(b"\r\n\r\n")
    if not raw.startswith(b"HTTP/1.1 200"[: len(raw)]):
        raise WrongAnswerError(f"not a 200: {raw[:600]!r}")
    return None if end < 0 else (raw[: end + 2], end + 4)


def body_of(raw: bytes) -> bytes | None:
    """The body of one complete answer; None if more of it has to come."""
    split = split_head(raw)
    if split is None:
        return None
    head, at = split
    if length := _LENGTH.search(head):
        size = int(length[1])
        if len(raw) > at + size:
            raise WrongAnswerError(f"{len(raw) - at - size} bytes after the end of an answer")
        return raw[at:] if len(raw) == at + size else None
    if not is_chunked(head):
        raise WrongAnswerError(f"neither content-length nor chunked: {head!r}")
    body = ChunkedBody()
    payload = body.feed(raw[at:])
    return payload if body.done else None


def is_chunked(head: bytes) -> bool:
    return _CHUNKED.search(head) is not None


class ChunkedBody:
    """A chunked body, taken apart as it arrives."""

    __slots__ = ("done", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The payload in `data` (chunks that are not all there wait in `rest`)."""
        if self.rest:
            data = self.rest + data
        at, size, parts = 0, len(data), []
        while (line_end := data.find(b"\r\n", at)) >= 0:
            length = int(data[at:line_end], 16)
            start = line_end + 2
            end = start + length
            if end + 2 > size:
                break
            if data[end : end + 2] != b"\r\n":
                raise WrongAnswerError(f"a chunk of {length} bytes does not end with CRLF: {data[at : at + 40]!r}")
            at = end + 2
            if length == 0:
                self.done = True
                if at != size:
                    raise WrongAnswerError(f"bytes after the last chunk: {data[at : at + 40]!r}")
                break
            parts.append(data[start:end])
        self.rest = data[at:]
        return b"".join(parts)
