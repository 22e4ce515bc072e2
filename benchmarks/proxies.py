"""The rows of the table: how each proxy is configured and started."""

from __future__ import annotations

import importlib.machinery
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.wire_anthropic import ANTHROPIC
from benchmarks.wire_chat import CHAT
from benchmarks.wire_responses import RESPONSES

ROOT = Path(__file__).resolve().parent.parent
STARTS = 3  # the first start of a Python program may still have to compile it; the middle one counts
LOADS = ("hold", "paced", "json", "flood", "each")

# As close to trioproxy's job as nginx gets: one worker, nothing buffered, connections to the upstream kept. The two
# keepalive_requests are there because nginx else closes each connection after a thousand requests.
NGINX_CONF = """\
worker_processes 1;
daemon off;
error_log stderr error;
pid {directory}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""

STAGES_TOML = """\
listen = "127.0.0.1:{port}"

[upstreams.mock]
url = "http://127.0.0.1:{upstream}"
dialect = "{dialect}"
"""

NO_STAGES = """
[pipeline]
response = []
"""


@dataclass(frozen=True)
class Command:
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)


Prepare = Callable[[Path, int, int], Command]  # (own temporary directory, port to listen on, port of the mock)


@dataclass(frozen=True)
class Proxy:
    name: str
    what: str
    prepare: Prepare | None  # None: no proxy at all, the load talks to the mock
    loads: tuple[str, ...] = LOADS
    missing: str = ""  # why it cannot run here
    client: str = ANTHROPIC.name  # the dialect of the load …
    upstream: str = ANTHROPIC.name  # … and of the mock
    prefix: str = ""  # what it wants in front of a model's name
    peer: bool = False  # somebody else's, beside which trioproxy is measured
    starts: int = STARTS
    everywhere: bool = False  # on every core, beside mock and load, for what one core would not show

    @property
    def asks(self) -> list[str]:
        """The load's options for this row."""
        asks = ["--client", self.client, "--upstream", self.upstream, "--prefix", self.prefix]
        return [*asks, "--warmup", "1.5"] if self.peer else asks  # until Node has compiled what runs often

    @property
    def own(self) -> bool:
        """Whether it is trioproxy."""
        return self.prepare is not None and self.name != "nginx" and not self.peer

    @property
    def translates(self) -> bool:
        return self.client != self.upstream


def rows(python: str, against: Path | None) -> list[Proxy]:
    """All rows, in the order of the table; `against` is a second checkout of trioproxy to run beside this one."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    found = [
        Proxy("direct", "no proxy: what mock and load can do", None, loads=LOADS[1:]),
        Proxy(
            "nginx",
            "unbuffered pass-through",
            _nginx(nginx or ""),
            missing="" if nginx else "nginx is not installed; without it there are no ratios",
        ),
        *_trioproxy("", ROOT, python),
    ]
    if against is not None:
        found += _trioproxy("@other", against.resolve(), python)
    return found


def _trioproxy(suffix: str, root: Path, python: str) -> list[Proxy]:
    spec = importlib.machinery.PathFinder.find_spec("trioproxy", [str(root)])
    missing = "" if spec is not None else "there is no package trioproxy in its checkout"
    responses = root / "trioproxy" / "dialects" / "openai_responses"
    not_yet = missing or ("" if responses.is_dir() else f"its checkout does not speak {RESPONSES.name} yet")
    return [
        Proxy("bare" + suffix, "trioproxy, response = []", _toml(root, python, NO_STAGES), missing=missing),
        Proxy("stages" + suffix, "trioproxy, the default stages", _toml(root, python, ""), missing=missing),
        Proxy(
            "logged" + suffix,
            "the same with the access log, into a file",
            _toml(root, python, "", level="info"),
            loads=("paced", "json"),
            missing=missing,
        ),
        Proxy(
            "translating" + suffix,
            "trioproxy, the default stages, Anthropic client on a Chat Completions upstream",
            _toml(root, python, "", dialect=CHAT.name),
            missing=missing,
            upstream=CHAT.name,
        ),
        Proxy(
            "reverse" + suffix,
            "the reverse: Chat Completions client on an Anthropic upstream",
            _toml(root, python, ""),
            loads=("paced", "json", "flood"),
            missing=missing,
            client=CHAT.name,
        ),
        Proxy(
            "responses" + suffix,
            "trioproxy, the default stages, Anthropic client on a Responses upstream",
            _toml(root, python, "", dialect=RESPONSES.name),
            missing=not_yet,
            upstream=RESPONSES.name,
        ),
        Proxy(
            "codex" + suffix,
            "the reverse: Responses client on an Anthropic upstream",
            _toml(root, python, ""),
            missing=not_yet,
            client=RESPONSES.name,
        ),
        *(_workers(suffix, root, python, number, missing) for number in (1, 2)),
    ]


def _workers(suffix: str, root: Path, python: str, number: int, missing: str) -> Proxy:
    return Proxy(
        f"{number}-worker{'s' if number > 1 else ''}{suffix}",
        f"the default stages, {number} process{'es' if number > 1 else ''}, on every core",
        _toml(root, python, "", workers=number),
        loads=("json", "flood"),
        missing=missing,
        everywhere=True,
    )


def _nginx(executable: str) -> Prepare:
    def prepare(directory: Path, port: int, upstream: int) -> Command:
        conf = directory / "nginx.conf"
        conf.write_text(NGINX_CONF.format(directory=directory, port=port, upstream=upstream))
        return Command([executable, "-p", str(directory), "-c", str(conf)])

    return prepare


def _toml(
    root: Path, python: str, pipeline: str, *, level: str = "warning", dialect: str = ANTHROPIC.name, workers: int = 0
) -> Prepare:
    def prepare(directory: Path, port: int, upstream: int) -> Command:
        config = directory / "stages.toml"
        first = f"workers = {workers}\n" if workers else ""  # checkouts of before do not know the key
        config.write_text(first + STAGES_TOML.format(port=port, upstream=upstream, dialect=dialect) + pipeline)
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
        return Command([python, "-m", "trioproxy", "--config", str(config), "--log-level", level], {"PYTHONPATH": path})

    return prepare
