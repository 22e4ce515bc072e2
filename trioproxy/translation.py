"""A client's request → the body for the upstream. What nobody has to change leaves as the very bytes it was."""

from msgspec.structs import replace

from trioproxy import tokens
from trioproxy.config import Route
from trioproxy.dialects import DIALECTS, Dialect, Written
from trioproxy.dialects.carried import TAG
from trioproxy.dialects.peek import Peek, with_fields
from trioproxy.errors import ProxyError
from trioproxy.items import Error, Request
from trioproxy.stage import Exchange

__all__ = ["has_to_be_read", "is_cross", "written"]


def is_cross(exchange: Exchange) -> bool:
    """Whether client and upstream speak different dialects."""
    return exchange.client_dialect != exchange.upstream_dialect


def has_to_be_read(route: Route, speaks: Dialect, body: bytes) -> bool:
    """Whether a request in the words of `speaks` must be read, stages or not; else single fields of it may change."""
    target = route.upstream.target
    fits = target.version is not None or target.max_tokens is not None
    # With reasoning of another upstream in it, which this one would refuse.
    return speaks.name != route.upstream.dialect or fits or TAG.encode() in body


def written(
    route: Route, exchange: Exchange, body: bytes, request: Request | None, peek: Peek
) -> tuple[Written, Exchange]:
    """What to send for `body`, which `peek` is of and the request stages made `request` of (None: it was not read).

    And the exchange as it is known now. Raises `ProxyError` (invalid_request) for what the upstream's dialect cannot
    say, or if the route is strict for what would be lost.
    """
    asked, ledger = exchange.upstream_model, exchange.ledger
    speaks, target = DIALECTS[exchange.upstream_dialect], route.upstream.target
    session = exchange.session if target.cache_key == "session" else ""
    target = replace(target, session=session, provenance=exchange.provenance)
    if request is not None and _dialect_of(request) == speaks.name:
        before, request = request, speaks.fit(request, target, ledger)
        if request is before and request is exchange.request:
            request = None  # nothing is to be changed in it
    if request is None:
        changed = {} if asked == exchange.model else {"model": asked}
        changed |= speaks.amend(peek, target)
        return Written(with_fields(body, changed) if changed else body), exchange
    result = speaks.write_request(replace(request, model=asked), target, ledger)
    if route.strict and ledger:
        message = f"this route is strict, and the upstream {route.upstream.name!r} would not get everything: {ledger}"
        raise ProxyError(Error("invalid_request", message, 400))
    # What a client reads at the start of a stream, an upstream of another dialect tells only at its end (H048).
    early = is_cross(exchange) and exchange.stream and DIALECTS[exchange.client_dialect].counts_first
    count = tokens.count(request, exact=False) if early else 0
    return result, replace(exchange, renamed=result.renamed, thinking=result.thinking, input_tokens=count)


def _dialect_of(request: Request) -> str:
    """The dialect that a request was read from; one without a source is in the vocabulary itself, Anthropic's."""
    return request.source.dialect if request.source else "anthropic"
