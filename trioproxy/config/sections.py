"""All sections of the file, read in the order they depend on each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec

from trioproxy.config.aliases import read_models
from trioproxy.config.model import Config, Log
from trioproxy.config.pipelines import Stages, Usual
from trioproxy.config.routes import read_routes
from trioproxy.config.store import read_store
from trioproxy.config.table import Table
from trioproxy.config.upstreams import read_upstreams
from trioproxy.errors import Problem
from trioproxy.http.limits import Limits
from trioproxy.http.server import Address
from trioproxy.units import Seconds

__all__ = ["read_sections"]

_POSITIVE = Annotated[int, msgspec.Meta(ge=1)]
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._:\[\]-]+/?")


def read_sections(root: Table, file: Path) -> Config:
    """The configuration; no good if problems were noted on the way."""
    directory = file.absolute().parent
    upstreams = read_upstreams(root.table("upstreams"), directory)
    stages = Stages(root.table("stages"), directory)
    usual = Usual(root.table("pipeline"), stages)
    routes = read_routes(root, upstreams, usual, read_models(root.table("models")))
    config = Config(
        upstreams={name: upstream for name, upstream in upstreams.items() if upstream},
        routes=tuple(routes),
        listen=_listen(root),
        limits=_limits(root.table("limits")),
        hosts=tuple(root.array("hosts", _Host, [])),
        origins=tuple(root.array("origins", _WebOrigin, [])),
        drain=root.get("drain", Seconds, Seconds(30)),
        log=_log(root.table("log")),
        store=read_store(root.table("store")),
        file=file,
    )
    root.done()
    return config


def _listen(root: Table) -> tuple[Address, ...]:
    if not isinstance(root.raw.get("listen"), list):
        return (root.get("listen", _Listen, Address("127.0.0.1:4567")),)
    addresses = root.array("listen", _Listen, [])
    if not addresses:
        root.problem(("listen",), Problem("listen: Expected at least one address", 'listen = "127.0.0.1:4567"'))
    return tuple(addresses)


class _Listen(Address):
    """An address in the file, where what is no address can be shown: it is no secret."""

    @classmethod
    def read(cls, value: object) -> _Listen:
        try:
            return cls(Address.read(value))
        except ValueError as exc:
            raise ValueError(f"{exc}, got {value!r}") from exc


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
