"""What TLS to upstreams believes and shows: a context for each way of reaching them, made when it is first needed."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from trioproxy.http.certificate import BadCertificate, add_authorities, add_certificate
from trioproxy.http.reach import Reach
from trioproxy.http.wire import system_tls
from trioproxy.stamp import stamp

__all__ = ["Contexts", "unusable"]

log = logging.getLogger("trioproxy.http")

_CONTEXTS = 256  # as many ways to reach upstreams are remembered; each may hold a megabyte of authorities


class _Made(NamedTuple):
    context: ssl.SSLContext
    stamps: tuple[object, ...]


class Contexts:
    """TLS contexts. One whose files have changed is made anew: certificates are renewed while we run."""

    def __init__(self, make: Callable[[], ssl.SSLContext] = system_tls) -> None:
        self._make = make
        self._made: dict[Reach, _Made] = {}

    def upstream(self, reach: Reach) -> ssl.SSLContext:
        """For TLS to an upstream. Raises `BadCertificate`."""
        return self._get(replace(reach, proxy=None, socket=None))

    def proxy(self, reach: Reach) -> ssl.SSLContext:
        """For TLS to a proxy, which has to be who it says, and is shown nothing of us. Raises the same."""
        return self._get(Reach(ca=reach.ca))

    def _get(self, reach: Reach) -> ssl.SSLContext:
        stamps = tuple(stamp(file) for file in (reach.ca, reach.certificate, reach.key) if file)
        made = self._made.get(reach)
        if made is None or made.stamps != stamps:
            try:
                context = self._new(reach)
            except BadCertificate as exc:
                if made is None:
                    raise
                # Half of a pair may be written: what was right a moment ago is still better than nothing.
                log.warning("%s; what was there before is still used", exc.strerror)
                context = made.context
            self._made.pop(reach, None)
            if len(self._made) >= _CONTEXTS:
                del self._made[next(iter(self._made))]
            made = self._made[reach] = _Made(context, stamps)
        return made.context

    def _new(self, reach: Reach) -> ssl.SSLContext:
        if reach.insecure:
            log.warning("insecure = true: the certificates of an upstream are not checked")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context = self._make()
        if reach.ca:
            add_authorities(context, reach.ca)
        if reach.certificate:
            add_certificate(context, reach.certificate, reach.key)
        return context


def unusable(reach: Reach) -> Iterator[BadCertificate]:
    """What is wrong with the files that `reach` names, known before the first request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if reach.ca:
            add_authorities(context, reach.ca)
    except BadCertificate as exc:
        yield exc
    try:
        if reach.certificate:
            add_certificate(context, reach.certificate, reach.key)
    except BadCertificate as exc:
        yield exc
