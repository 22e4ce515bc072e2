"""Making a connection to an upstream: TCP or a Unix socket, through a proxy or straight, with TLS or without."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from trioproxy.http.certificate import BadCertificate
from trioproxy.http.reach import Origin, Proxy, Reach
from trioproxy.http.secure import ask_tls
from trioproxy.http.tls import Contexts
from trioproxy.http.tunnel import Refused, open_tunnel
from trioproxy.http.wire import Gone, SocketWire, Wire, reason_of

__all__ = ["NoWay", "dial", "tunnels"]


class NoWay(Exception):
    """There is no connection; why not, in words that hold no credentials."""


def tunnels(origin: Origin, reach: Reach) -> bool:
    """Whether requests go as if there were no proxy.

    For `http://` origins an HTTP proxy is asked itself, with the whole URL, as RFC 9112 section 3.2.2 has it: squid,
    tinyproxy and Apache let CONNECT go to port 443 and little else by default.
    """
    return reach.proxy is None or not reach.proxy.forwards or origin.scheme == "https"


async def dial(origin: Origin, reach: Reach, contexts: Contexts) -> Wire:
    """A connection to `origin`, or to the proxy that requests for it are given to. Raises `NoWay`.

    Cancelled, it leaves no socket open.
    """
    proxy = reach.proxy
    with _blaming(proxy, f": {reach.socket}" if reach.socket else ""):
        way: Wire = await _open(origin, reach)
    try:
        if proxy:
            with _blaming(proxy):
                if proxy.scheme == "https":
                    way = await ask_tls(way, contexts.proxy(reach), proxy.host)
                if tunnels(origin, reach):
                    await open_tunnel(way, origin, proxy)
        if origin.scheme == "https":
            with _blaming(None, f" through the proxy {proxy}" if proxy else ""):
                way = await ask_tls(way, contexts.upstream(reach), origin.host)
    except BaseException:
        way.close()
        raise
    return way


async def _open(origin: Origin, reach: Reach) -> SocketWire:
    if reach.socket:
        return SocketWire.of(await trio.open_unix_socket(reach.socket))
    where = reach.proxy or origin
    return SocketWire.of(await trio.open_tcp_stream(where.host, where.port))


@contextmanager
def _blaming(proxy: Proxy | None, how: str = "") -> Iterator[None]:
    """What goes wrong within is the `proxy`'s affair if one is named, or else the upstream's, reached in some way."""
    try:
        yield
    except Refused as exc:
        raise NoWay(f"cannot be reached: the proxy {proxy} {exc}") from exc
    except BadCertificate as exc:  # of ours, whoever it was for
        raise NoWay(f"cannot be reached: {exc.part}: {exc.strerror}") from exc
    except ssl.SSLCertVerificationError as exc:
        why = f"has a certificate that is not trusted: {exc.verify_message}"
        raise NoWay(f"cannot be reached: the proxy {proxy} {why}" if proxy else why) from exc
    except (OSError, Gone, UnicodeError) as exc:  # the last says of a host that it can be none
        subject = f"the proxy {proxy}: " if proxy else ""
        raise NoWay(f"cannot be reached{how}: {subject}{reason_of(exc)}") from exc
