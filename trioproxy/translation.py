"""A client's request → the body for the upstream. What nobody has to change leaves as the very bytes it was."""

from msgspec.structs import replace

from trioproxy import tokens
from trioproxy.config import Route
from trioproxy.dialects import DIALECTS, Dialect, Written
from trioproxy.dialects.peek import Peek, with_fields
from trioproxy.errors import ProxyError
from trioproxy.items import Error, Request
from trioproxy.stage import Exchange

__all__ = ["has_to_be_read", "is_cross", "written"]


def is_cross(exchange: Exchange) -> bool:
    """Whether client and upstream speak different dialects."""
    return exchange.client_dialect != exchange.upstream_dialect


def has_to_be_read(route: Route, client: Dialect) -> bool:
    """Whether a request must be read, stages or not; else its body can do without, but for single fields."""
    target = route.upstream.target
    fits = target.version is not None or target.max_tokens is not None
    return client.name != route.upstream.dialect or fits


def written(
    route: Route, exchange: Exchange, body: bytes, request: Request | None, peek: Peek
) -> tuple[Written, Exchange]:
    """What to send for `body`, which `peek` is of and the request stages made `request` of (None: it was not read).

    And the exchange as it is known now. Raises `ProxyError` (invalid_request) for what the upstream's dialect cannot
    say, or if the route is strict for what would be lost.
    """
    asked = route.asked(request.model if request else exchange.model)
    exchange = replace(exchange, upstream_model=asked)
    speaks, target, ledger = DIALECTS[exchange.upstream_dialect], route.upstream.target, exchange.ledger
    if target.cache_key == "session":
        target = replace(target, session=exchange.session)
    if request is not None and not is_cross(exchange):
        before, request = request, speaks.fit(request, target, ledger)
        if request is before and request is exchange.request:
            request = None  # nothing is to be changed in it
    if request is None:
        changed = {} if asked == exchange.model else {"model": asked}
        changed |= speaks.amend(peek, target)
        return Written(with_fields(body, changed) if changed else body), exchange
    result = speaks.write_request(replace(request, model=asked), target, ledger)
    if route.strict and ledger:
        message = f"this route is strict, and {route.upstream.name} would not get everything: {ledger}"
        raise ProxyError(Error("invalid_request", message, 400))
    # What a client reads at the start of a stream, an upstream of another dialect tells only at its end (H048).
    early = is_cross(exchange) and exchange.stream and DIALECTS[exchange.client_dialect].counts_first
    count = tokens.count(request, exact=False) if early else 0
    return result, replace(exchange, renamed=result.renamed, thinking=result.thinking, input_tokens=count)
