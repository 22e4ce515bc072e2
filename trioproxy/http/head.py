"""The head of a request, looked at before and after h11 reads it: what h11 leaves open, and servers read differently.

Pure functions over bytes. Each refusal is a `Malformed` whose status is the answer, after which the connection closes.
"""

import re

import h11

from trioproxy.http.headers import get
from trioproxy.http.limits import Limits
from trioproxy.http.target import is_host
from trioproxy.items import Error, ErrorKind

__all__ = ["Malformed", "asked", "check_fields", "check_lines", "find_end"]

# A line end that is not CR LF, a control byte, or a line that continues the one before (obs-fold): servers disagree on
# each.
_AMBIGUOUS = re.compile(rb"\r[^\n]|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\n[ \t]")
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
_NUMBER = re.compile(rb"[0-9]{1,15}")
_KINDS: dict[int, ErrorKind] = {413: "too_large", 408: "timeout"}
_METHOD = re.compile(rb"[A-Z][A-Z_\-]{0,31}")
_ASKED = re.compile(rb"([A-Z][A-Z_\-]{0,31} /[\x21-\x3e\x40-\x7e]*)[ ?]")


class Malformed(Exception):
    """A request that cannot be read. `status` is the answer, after which the connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.asked = ""
        """The method and path, without the query, where the head could be told to have these."""
        super().__init__(message)

    @property
    def error(self) -> Error:
        """What it is in a client's own words."""
        return Error(_KINDS.get(self.status, "invalid_request"), str(self), self.status)


def find_end(buffer: bytearray, limits: Limits, looked: int = 0) -> int:
    """Where the head at the front of `buffer` ends; 0 if it has not come whole yet.

    `looked` is how many bytes an earlier call has seen: a head that drips in is not searched again and again.
    """
    start = max(0, looked - 3)  # an end, and whatever is ambiguous, is up to 4 bytes long
    end = buffer.find(b"\r\n\r\n", start) + 4
    size = end if end > 3 else len(buffer)
    if _AMBIGUOUS.search(buffer, start, size):
        raise Malformed(400, "the request head has a bare CR, bare LF, control byte or folded line")
    if size > limits.head:
        raise Malformed(431, f"the request head is larger than {limits.head} bytes")
    return end if end > 3 else 0


def asked(head: bytes) -> str:
    """The method and path of a head that may be wrong in whatever else, for people to read; empty if it has none."""
    found = _ASKED.match(head)
    return found[1].decode("ascii") if found else ""


def check_lines(head: bytes, limits: Limits) -> None:
    """Refuse what h11 would take: too many lines, a length said twice, or one that servers read differently."""
    if head.count(b"\r\n") > limits.head_lines + 2:
        raise Malformed(431, f"the request has more than {limits.head_lines} header lines")
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or any(b"," in length for length in lengths):
        raise Malformed(400, "the request has more than one Content-Length")
    if lengths and not _NUMBER.fullmatch(lengths[0]):
        raise Malformed(400, "the request's Content-Length is not a number of up to 15 digits")
    if lengths and int(lengths[0]) > limits.body:
        raise Malformed(413, f"the request body is larger than {limits.body} bytes")


def check_fields(request: h11.Request) -> None:
    """Refuse what h11 has read and we do not serve."""
    chunked = get(request.headers, b"transfer-encoding")
    host = get(request.headers, b"host")
    if request.http_version not in (b"1.1", b"1.0"):
        raise Malformed(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if not _METHOD.fullmatch(request.method) or request.method in (b"CONNECT", b"TRACE"):
        raise Malformed(501, f"the method {request.method[:32].decode('latin-1')!r} is not served here")
    if chunked and (chunked != b"chunked" or get(request.headers, b"content-length") or request.http_version == b"1.0"):
        raise Malformed(400, "Transfer-Encoding goes with neither Content-Length nor HTTP/1.0")
    if get(request.headers, b"expect").lower() not in (b"", b"100-continue"):
        raise Malformed(417, "the only expectation served here is 100-continue")
    if host and not is_host(host.decode("latin-1")):
        raise Malformed(400, "the Host field is not a host name or address")
