"""All sections of the file, read in the order they depend on each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from trioproxy.config.model import Config, Log
from trioproxy.config.pipelines import DEFAULT_RESPONSE, Stages, check_answers, read_chain
from trioproxy.config.routes import read_routes
from trioproxy.config.table import Table
from trioproxy.config.upstreams import read_upstreams
from trioproxy.errors import Problem
from trioproxy.http.limits import Limits
from trioproxy.http.server import Address
from trioproxy.units import Seconds

__all__ = ["read_sections"]

_POSITIVE = Annotated[int, msgspec.Meta(ge=1)]


def read_sections(root: Table, file: Path) -> Config:
    """The configuration; no good if problems were noted on the way."""
    directory = file.absolute().parent
    upstreams = read_upstreams(root.table("upstreams"), directory)
    stages = Stages(root.table("stages"), directory)
    pipelines = root.table("pipeline")
    request = read_chain(pipelines, "request", stages, ())
    response = read_chain(pipelines, "response", stages, DEFAULT_RESPONSE)
    check_answers(pipelines, ("response",) if "response" in pipelines.raw else ("request",), request, response)
    pipelines.done()
    routes = read_routes(root, upstreams, stages, (request, response))
    config = Config(
        upstreams={name: upstream for name, upstream in upstreams.items() if upstream},
        routes=tuple(routes),
        listen=_listen(root),
        limits=_limits(root.table("limits")),
        hosts=tuple(root.get("hosts", list[str], [])),
        origins=tuple(root.get("origins", list[str], [])),
        drain=root.get("drain", Seconds, Seconds(30)),
        log=_log(root.table("log")),
        file=file,
    )
    root.done()
    return config


def _listen(root: Table) -> tuple[Address, ...]:
    listen: str | list[str] = root.get("listen", str | list[str], "127.0.0.1:4567")
    addresses: list[Address] = []
    for index, text in enumerate([listen] if isinstance(listen, str) else listen):
        try:
            addresses.append(Address.read(text))
        except ValueError as exc:
            root.problem(
                ("listen",) if isinstance(listen, str) else ("listen", index), Problem(f"listen: {exc}, got {text!r}")
            )
    if listen == []:
        root.problem(("listen",), Problem("listen: Expected at least one address", 'listen = "127.0.0.1:4567"'))
    return tuple(addresses)


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
    kinds = {field.name: field.type for field in msgspec.structs.fields(Log)}
    log = Log(
        level=table.get("level", kinds["level"], "info"),
        format=table.get("format", kinds["format"], "auto"),
    )
    table.done()
    return log
