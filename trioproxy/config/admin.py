"""The `[admin]` section: where whoever runs the proxy asks how it is, and tells it what to do."""

from __future__ import annotations

from pathlib import Path

from trioproxy.config.clients import read_client
from trioproxy.config.listeners import read_listen
from trioproxy.config.model import Admin
from trioproxy.config.table import Table
from trioproxy.errors import Problem
from trioproxy.http.gate import is_loopback
from trioproxy.http.listen import Listen

__all__ = ["read_admin"]


def read_admin(root: Table, directory: Path) -> Admin | None:
    """The listener, None if the file has no such section; of what is wrong the problems are noted."""
    if "admin" not in root.raw:
        root.known("admin")
        return None
    table = root.table("admin")
    client = read_client(table, directory, "token", "admin")
    listens = read_listen(table, directory, Admin().listen)
    if "token" not in table.raw and (far := next((each for each in listens if _is_far(each)), None)):
        message = f"listen: whoever reaches {far.address} could register targets, as nobody is asked for a token"
        hint = 'token = { env = "ADMIN_TOKEN" }\nor listen on this machine alone: listen = "127.0.0.1:4568"'
        table.problem(("listen",), Problem(message, hint))
    if any(each.proxy_protocol for each in listens):
        hint = "leave it out: who asks here is asked for the token, from wherever that is"
        table.problem(("listen",), Problem("listen: this listener takes no PROXY header", hint))
    table.done()
    return Admin(listen=listens, client=client)


def _is_far(listen: Listen) -> bool:
    """Whether other machines may reach it. What is bound already is looked at when it is opened."""
    address = listen.address
    return address.unix is None and not address.inherited and not is_loopback(address.host)
