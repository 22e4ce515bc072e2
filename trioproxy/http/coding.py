"""Content codings: of answers, though we ask upstreams for none, and of requests that have to be read."""

import zlib
from collections.abc import Iterator

__all__ = ["Decoder", "Undecodable", "decoder"]

_PIECE = 64 * 1024  # bytes given out at once, however small their compressed form: a bomb is eaten piece by piece


class Undecodable(Exception):
    """The body is not what its content coding says."""


class Decoder:
    """Decodes gzip (several members too) or deflate, with or without its zlib header."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._first = b""  # two bytes tell which of the three it is
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces `data` decodes to. Raises `Undecodable`."""
        if not self._begun:
            data = self._first = self._first + data
            if len(data) < 2:
                return
        more = False  # a full piece: zlib may hold the rest of what it has read
        while data or more:
            if self._zlib.eof:
                if not data.strip(b"\0"):
                    return  # padding behind the end, as tape archives have it
                self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)  # only gzip goes on after its end
            try:
                piece = self._zlib.decompress(data, _PIECE)
            except zlib.error as exc:
                if self._begun:
                    raise Undecodable(f"the compressed answer is broken: {exc}") from exc
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)  # what many servers call deflate
                self._begun = True
                continue
            self._begun = True
            data = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            more = len(piece) == _PIECE and not self._zlib.eof
            if piece:
                yield piece

    def close(self) -> None:
        """The body is over. Raises `Undecodable` if its coding is not."""
        if (self._begun or self._first) and not self._zlib.eof:
            raise Undecodable("the compressed answer ends too soon")


def decoder(coding: bytes) -> Decoder | None:
    """What decodes a Content-Encoding; None if nothing has to. Raises `Undecodable` for one that we cannot."""
    coding = coding.strip().lower()
    if coding in (b"", b"identity"):
        return None
    if coding in (b"gzip", b"x-gzip", b"deflate"):
        return Decoder()
    raise Undecodable(f"it answered with content-encoding {coding.decode('latin-1')!r}, though asked for none")
