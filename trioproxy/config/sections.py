"""All sections of the file, read in the order they depend on each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from trioproxy.config.admin import read_admin
from trioproxy.config.aliases import read_models
from trioproxy.config.clients import check_listen, everybody, read_clients
from trioproxy.config.itself import check_itself
from trioproxy.config.listeners import read_listen, read_trusted
from trioproxy.config.model import USUAL_LISTEN, Config, Log
from trioproxy.config.pipelines import Given, Stages, Usual
from trioproxy.config.processes import read_reload, read_workers
from trioproxy.config.routes import read_routes
from trioproxy.config.store import read_store
from trioproxy.config.table import Table
from trioproxy.config.targets import read_targets
from trioproxy.config.tracing import read_tracing
from trioproxy.config.upstreams import read_upstreams
from trioproxy.http.limits import Limits
from trioproxy.units import Seconds

__all__ = ["read_sections"]

_POSITIVE = Annotated[int, msgspec.Meta(ge=1)]
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._:\[\]-]+/?")


def read_sections(root: Table, file: Path | None, given: Mapping[str, Given] = MappingProxyType({})) -> Config:
    """The configuration; no good if problems were noted on the way.

    Without a `file`, what it would name beside it is looked for in the current directory. For what is `given`, see
    `Stages`.
    """
    directory = file.absolute().parent if file else Path.cwd()
    targets = bool(root.raw.keys() & {"targets", "admin"})  # requests may go there alone
    upstreams = read_upstreams(root.table("upstreams"), directory, needed=not targets)
    stages = Stages(root.table("stages"), directory, given)
    usual = Usual(root.table("pipeline"), stages)
    clients = read_clients(root.table("clients"), directory)
    routes = read_routes(root, upstreams, usual, read_models(root.table("models")), clients)
    config = Config(
        upstreams={name: upstream for name, upstream in upstreams.items() if upstream},
        routes=tuple(routes),
        listen=read_listen(root, directory, USUAL_LISTEN),
        clients=everybody(clients),
        allow_anonymous=root.get("allow-anonymous", bool, False),
        trusted=read_trusted(root),
        limits=_limits(root.table("limits")),
        hosts=tuple(root.array("hosts", _Host, [])),
        origins=tuple(root.array("origins", _WebOrigin, [])),
        drain=root.get("drain", Seconds, Seconds(30)),
        log=_log(root.table("log")),
        tracing=read_tracing(root),
        store=read_store(root.table("store")),
        admin=read_admin(root, directory),
        targets=read_targets(root, directory),
        usual=usual.every(),
        workers=read_workers(root),
        reload=read_reload(root),
        file=file,
        order=tuple(root.table("routes").raw),
    )
    if all(clients.values()):
        check_listen(root, config)
    check_itself(root, config)
    root.done()
    return config


class _Host(str):
    """An entry of `hosts` that a Host header can match."""

    @classmethod
    def read(cls, value: object) -> _Host:
        if isinstance(value, str) and _HOST.fullmatch(value):
            return cls(value)
        raise ValueError(f'Expected a host name such as "proxy.lan", without scheme, path or wildcard, got {value!r}')


class _WebOrigin(str):
    """An entry of `origins` that an Origin header can match; `null` is what a page from a file sends."""

    @classmethod
    def read(cls, value: object) -> _WebOrigin:
        if isinstance(value, str) and (value in ("*", "null") or _ORIGIN.fullmatch(value)):
            return cls(value)
        raise ValueError(f'Expected a web origin such as "https://app.lan", or "*" for any, got {value!r}')


def _limits(table: Table) -> Limits:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Limits):
        key = field.encode_name
        if field.type is Seconds and field.name != "keep_alive":  # which may be 0: close at once
            values[field.name] = table.get_positive(key, field.default)
        else:
            values[field.name] = table.get(key, _POSITIVE if field.type is int else field.type, field.default)
    table.done()
    return Limits(**values)


def _log(table: Table) -> Log:
    fields = msgspec.structs.fields(Log)
    log = Log(**{field.name: table.get(field.name, field.type, field.default) for field in fields})
    table.done()
    return log
