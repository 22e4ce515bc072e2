"""A strict look at chunked request bodies before h11 decodes them (RFC 9112 section 7.1).

h11 0.16 takes chunk extensions with bare CR, NUL and 64 KiB of length, and sizes of 20 digits; servers that disagree on
such lines can be made to disagree on where a request ends (Kestrel CVE-2025-55315, Go CVE-2025-22871).
"""

import re

__all__ = ["BadChunk", "ChunkGuard"]

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")
_SIZE_LINE = 256  # bytes: a size, and an extension that nobody uses
_TRAILER_LINES = 32
_TRAILER_LINE = 8192


class BadChunk(ValueError):
    """The chunked body is malformed."""


class ChunkGuard:
    """Follows a chunked body: says where it ends, and raises `BadChunk` for a line that is not strictly right."""

    def __init__(self) -> None:
        self.done = False
        self.size = 0
        """Bytes of content declared so far."""
        self._line = bytearray()
        self._left = 0
        self._read = self._size_line
        self._trailers = 0
        self._line_limit = _SIZE_LINE

    def take(self, data: bytes) -> int:
        """How many bytes of `data` belong to the body."""
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            at = end or len(data)
            if len(self._line) > self._line_limit:
                raise BadChunk(f"a line of the chunked body is longer than {self._line_limit} bytes")
            if end:
                line = bytes(self._line)
                self._line.clear()
                self._read(line)
        return at

    def _size_line(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadChunk("a chunk does not begin with its size in hexadecimal")
        self._left = int(match[1], 16)
        self.size += self._left
        if self._left:
            self._read = self._data_end
        else:
            self._read, self._line_limit = self._trailer_line, _TRAILER_LINE

    def _data_end(self, line: bytes) -> None:
        if line != b"\r\n":
            raise BadChunk("a chunk is longer than its size says")
        self._read = self._size_line

    def _trailer_line(self, line: bytes) -> None:
        self._trailers += 1
        if line == b"\r\n":
            self.done = True
        elif self._trailers > _TRAILER_LINES or not _TRAILER.fullmatch(line):
            raise BadChunk("the chunked body ends in something that is no trailer field")
