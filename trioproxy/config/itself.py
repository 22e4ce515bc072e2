"""What the listeners, upstreams and load balancers of a file make impossible, each of which is fine for itself."""

from __future__ import annotations

import os.path
import platform
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from trioproxy.config.model import Config, Upstream
from trioproxy.config.table import Table
from trioproxy.errors import Problem
from trioproxy.http.gate import is_loopback
from trioproxy.http.listen import Address

__all__ = ["check_itself", "own_upstream"]

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that stand for all addresses of a machine, and where who connects to them arrives."""


def check_itself(root: Table, config: Config) -> None:
    """Note what of the file only together is wrong: whom it would serve, and where it would send requests."""
    ours = [listen.address for listen in (*config.listen, *(config.admin.listen if config.admin else ()))]
    named = {("upstreams", name): upstream for name, upstream in config.upstreams.items()}
    named |= {("targets", name): target.upstream for name, target in config.targets.items()}
    for place, upstream in named.items():
        if address := _met(upstream, ours):
            root.problem((*place, "socket" if upstream.reach.socket else "url"), _itself(upstream, address))
    for listen in config.admin.listen if config.admin else ():
        if same := next((each.address for each in config.listen if _meets(each.address, listen.address)), None):
            hint = 'another port: listen = "127.0.0.1:4568"'
            where = ("admin", "listen") if "listen" in root.table("admin").raw else ("admin",)
            root.problem(where, Problem(f"[admin] listens on {listen.address}, and so does `listen`: {same}", hint))
    if not (config.trusted.networks or config.trusted.unix):
        for index, listen in enumerate(config.listen):
            if listen.proxy_protocol:
                message = "proxy-protocol: nobody could connect, as a PROXY header is read from `trusted-proxies` alone"
                hint = 'name the load balancer at the top of the file: trusted-proxies = ["10.0.0.7"]'
                between = (index,) if isinstance(root.raw.get("listen"), list) else ()
                root.problem(("listen", *between, "proxy-protocol"), Problem(message, hint))


def own_upstream(config: Config, addresses: Iterable[str]) -> Problem | None:
    """What is wrong with listening on `addresses`, if one is that of an upstream."""
    ours = [Address(address) for address in addresses]
    for upstream in (*config.upstreams.values(), *(target.upstream for target in config.targets.values())):
        if address := _met(upstream, ours):
            problem = _itself(upstream, address)
            return Problem(f"upstream '{upstream.name}': {problem.message}", problem.hint)
    return None


def _itself(upstream: Upstream, address: str) -> Problem:
    at = f"unix:{upstream.reach.socket}" if upstream.reach.socket else str(upstream)
    message = f"{at} is this proxy itself, which listens on {address}: each request would come back as another one"
    return Problem(message, "say where the upstream is; the proxy's own address is for its clients")


def _met(upstream: Upstream, ours: Sequence[Address]) -> str | None:
    """The address of ours at which requests to an upstream arrive, as far as names tell: none is looked up."""
    if upstream.origin is None or upstream.reach.proxy:
        return None
    if upstream.reach.socket:
        asked = Address(f"unix:{upstream.reach.socket}")
    else:
        asked = Address(f"{upstream.origin.host}:{upstream.origin.port}")
    return next((each for each in ours if _meets(each, asked)), None)


def _meets(ours: Address, asked: Address) -> bool:
    """Whether who connects to `asked` arrives at `ours`."""
    if ours.inherited or asked.inherited:
        return False
    if ours.unix is not None or asked.unix is not None:
        return bool(ours.unix and asked.unix) and os.path.abspath(ours.unix or "") == os.path.abspath(asked.unix or "")
    if ours.port != asked.port or ours.port == 0:
        return False
    if ours.host in _EVERYWHERE:
        host = _EVERYWHERE.get(asked.host, asked.host)
        return is_loopback(host) or host == platform.node().lower()
    return bool(_hosts(_EVERYWHERE.get(asked.host, asked.host)) & _hosts(ours.host))


def _hosts(host: str) -> set[str]:
    """The addresses that a host means, or its name."""
    if host == "localhost" or host.endswith(".localhost"):
        return {"127.0.0.1", "::1"}
    try:
        return {str(ip_address(host))}
    except ValueError:
        return {host.lower()}
