"""The `[tracing]` section: where spans are sent."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from trioproxy.config.model import Secret, Tracing
from trioproxy.config.table import Table
from trioproxy.errors import Problem

__all__ = ["read_tracing"]

_EXAMPLE = 'endpoint = "http://127.0.0.1:4318"'
_SHARE = Annotated[float, msgspec.Meta(ge=0, le=1)]
_FIELD = re.compile(r"[A-Za-z0-9_-]+")
_PATH = "/v1/traces"  # OTLP/HTTP, of every collector
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def read_tracing(root: Table) -> Tracing | None:
    """What the file says of it; None if it has no such section. Of what is wrong the problems are noted."""
    table, usual = root.table("tracing"), Tracing(endpoint="")
    if "tracing" not in root.raw or table.broken:
        return None
    endpoint = table.get("endpoint", str, None)
    if endpoint is None:
        if "endpoint" not in table.raw:
            table.problem((), Problem("[tracing] needs an endpoint", _EXAMPLE), at_key=True)
    else:
        endpoint = _endpoint(table, endpoint)
    tracing = Tracing(
        endpoint=endpoint or "",
        service_name=table.get("service-name", str, usual.service_name),
        sample=table.get("sample", _SHARE, usual.sample),
        headers=_headers(table.table("headers")),
    )
    table.done()
    if not all(map(_is_there, _NEEDED)):
        missing = "[tracing] needs the packages of OpenTelemetry, which are not installed"
        table.problem((), Problem(missing, "in a checkout: pip install '.[otel]'"), at_key=True)
    return tracing


def _endpoint(table: Table, url: str) -> str:
    """The URL that spans are posted to."""
    if "@" in url:  # and then it is not quoted
        problem = Problem("endpoint: must not hold credentials", 'headers = { authorization = { env = "NAME" } }')
        table.problem(("endpoint",), problem)
        return ""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment:
        message = f'endpoint: Expected the URL of a collector such as "http://127.0.0.1:4318", got {url!r}'
        table.problem(("endpoint",), Problem(message, "OTLP over HTTP; port 4317 is usually gRPC, which is not spoken"))
        return ""
    return url if parts.path.rstrip("/").endswith(_PATH) else url.rstrip("/") + _PATH


def _headers(table: Table) -> tuple[tuple[str, Secret], ...]:
    fields: list[tuple[str, Secret]] = []
    for name in table.raw:
        if not _FIELD.fullmatch(name):
            table.problem((name,), Problem(f"headers: {name!r} is not a header field"), at_key=True)
        if (value := table.get(name, Secret, None)) is not None:
            fields.append((name.lower(), value))
    return tuple(fields)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it is in
        return False
