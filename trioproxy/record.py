"""What one exchange has come to, gathered while it lasts: for its line in the log, the metrics and the trace.

Never bodies, never secrets.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, Self

import trio

from trioproxy.http.headers import Headers, get
from trioproxy.ledger import Ledger
from trioproxy.metrics import Metrics
from trioproxy.tracing import UNTRACED, Span

__all__ = ["Record"]

log = logging.getLogger("trioproxy.access")

_TEXT = 1000  # characters of what is said in a field: it may quote what a client sent
_PATH = 300  # characters of a path, which may be as long as a head
_WORD = 80  # characters of a name or an id that others made
_HERE = ("127.0.0.1", "::1", "unix")  # who is on this machine is not worth a field
# What clients call their requests (the second is OpenAI's own), and upstreams theirs.
_ASKED_AS = (b"x-request-id", b"x-client-request-id")
_ANSWERED_AS = (b"request-id", b"x-request-id", b"x-amzn-requestid", b"apim-request-id")


class _Request(Protocol):
    method: str
    sent: int
    received: int
    peer: str
    headers: Headers

    @property
    def target(self) -> _Target: ...


class _Target(Protocol):
    @property
    def path(self) -> str: ...


class _Stage(Protocol):
    def stats(self) -> Mapping[str, int | str]: ...
    def effort(self) -> tuple[int, float]: ...


class Record:
    """What an exchange has come to, gathered while it lasts. Leaving the `with` logs, counts and traces it."""

    def __init__(
        self,
        id: str,
        *,
        incoming: _Request | None = None,
        asked: str = "",
        metrics: Metrics | None = None,
        trace: Span = UNTRACED,
    ) -> None:
        """`asked` is the method and path of a request that could not be read."""
        self.id = id
        self.trace = trace
        self.started = trio.current_time()
        self.route = self.upstream = self.session = self.model = self.asked = ""
        self.client, self.client_ip = "", incoming.peer if incoming else ""
        self.dialects = ("", "")
        """The client's and the upstream's, where a model is asked."""
        self.status = 0
        self.bytes_in = 0
        self.upstream_id = ""
        self.failing = ""
        self.ledger = Ledger()
        self.end = "cancelled"
        self.first_byte_after: float | None = None
        """Seconds until the first byte of the answer's body left; None if none did."""
        self.counts: dict[str, int] = {}
        self._incoming, self._refused, self._metrics = incoming, asked, metrics
        self._told: dict[str, str] = {}
        self._tries: list[str] = []

    def first_byte(self) -> None:
        """The first byte of the answer's body is about to leave."""
        if self.first_byte_after is None:
            self.first_byte_after = trio.current_time() - self.started

    def count(self, stats: Mapping[str, int | str]) -> None:
        """Add what a stage counted; of words the last one holds."""
        for name, value in stats.items():
            if isinstance(value, str):
                self._told[name] = value[:_WORD]
            else:
                self.counts[name] = self.counts.get(name, 0) + value

    def staged(self, direction: Literal["request", "response"], stages: Iterable[tuple[str, _Stage]]) -> None:
        """Take in what the stages of one direction have done."""
        for name, stage in stages:
            if stats := stage.stats():
                self.count(stats)
            if self._metrics is not None:
                self._metrics.stage(direction, name, stage.effort(), stats)

    def replied(self, received: int, headers: Headers) -> None:
        """The upstream has answered, with `received` bytes of body so far."""
        self.bytes_in = received
        self.upstream_id = _id(headers, _ANSWERED_AS) or self.upstream_id

    def retried(self, upstream: str, cause: str, *, elsewhere: bool) -> None:
        """An attempt at `upstream` has come to nothing, and there is another; `elsewhere`: at the next upstream."""
        if len(self._tries) < 10:
            self._tries.append(f"{upstream}: {cause}")
        if self._metrics is not None:
            self._metrics.retried(self, upstream, cause, elsewhere=elsewhere)

    def failed(self, said: str, *, by_upstream: str = "") -> None:
        """The exchange has failed. `by_upstream` is the kind of error, where it was the upstream's."""
        self.end, self.failing = f"failed: {said}", by_upstream

    @property
    def method(self) -> str:
        return self._incoming.method if self._incoming else self._refused.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path, without its query and no longer than is worth telling."""
        path = self._incoming.target.path if self._incoming else self._refused.partition(" ")[2]
        return path[:_PATH]

    @property
    def model_asked(self) -> str:
        """The model as the upstream was asked for it."""
        return self.asked or self.model

    @property
    def end_kind(self) -> str:
        """The end in one word of five: complete, failed, refused, left, cancelled."""
        return _ENDS.get(self.end, self.end.partition(":")[0])

    @property
    def lossy(self) -> bool:
        return bool(self.ledger)

    @property
    def words(self) -> Mapping[str, str]:
        """What stages have told beside counts."""
        return self._told

    def __enter__(self) -> Self:
        if self._metrics is not None:
            self._metrics.open += 1
        return self

    def __exit__(self, *exc: object) -> None:
        seconds = trio.current_time() - self.started
        if self._metrics is not None:
            self._metrics.open -= 1
            self._metrics.observe(self, seconds)
        self.trace.finish(self)
        level = logging.WARNING if self.end.startswith("failed") else logging.INFO
        if log.isEnabledFor(level):
            fields = self._fields(seconds)
            log.log(level, "exchange %s", fields, extra={"exchange": fields})

    def _fields(self, seconds: float) -> dict[str, str | int | float]:
        incoming = self._incoming
        fields: dict[str, str | int | float] = {"id": self.id}
        if self.path:
            fields |= {"method": self.method, "path": self.path}
        if self.status:
            fields["status"] = self.status
        known = {
            "client": self.client,
            "client_ip": "" if self.client_ip in _HERE else self.client_ip,
            "request_id": _id(incoming.headers, _ASKED_AS) if incoming else "",
            "upstream": self.upstream,
            "upstream_id": self.upstream_id,
            "session": self.session[:_WORD],
            "model": self.model[:_WORD],
            "asked": self.asked[:_WORD] if self.asked != self.model else "",
            "tried": "; ".join(self._tries),
        }
        fields |= {name: value for name, value in known.items() if value}
        if incoming:
            fields |= {"bytes_up": incoming.received, "bytes_in": self.bytes_in, "bytes_out": incoming.sent}
        fields |= self.counts
        fields |= {name: word for name, word in self._told.items() if word != self.model_asked}
        if self.ledger:
            fields["lossy"] = str(self.ledger)[:_TEXT]
        if self.first_byte_after is not None:
            fields["first_byte"] = round(self.first_byte_after, 4)
        fields |= {"seconds": round(seconds, 4), "end": self.end[:_TEXT]}
        return fields


_ENDS = {"client left": "left"}


def _id(headers: Headers, names: Iterable[bytes]) -> str:
    """The name that somebody else gave to the exchange, as much of it as can be shown."""
    for name in names:
        if (value := get(headers, name)[:_WORD]) and (text := value.decode("latin-1")).isprintable():
            return text
    return ""
