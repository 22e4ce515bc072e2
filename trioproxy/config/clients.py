"""`[clients]`, and what routes say of them: who may ask, and whether what a client shows of itself goes on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from trioproxy import registry
from trioproxy.config.itself import own_upstream
from trioproxy.config.model import Client, Config
from trioproxy.config.sources import read_file_or_text
from trioproxy.config.table import MISSING, Table
from trioproxy.errors import ConfigError, Problem
from trioproxy.http.gate import is_loopback
from trioproxy.http.listen import Listen, Listener

__all__ = [
    "ACCESS",
    "Access",
    "check_listen",
    "check_listeners",
    "check_listens",
    "everybody",
    "read_access",
    "read_clients",
]

ACCESS = ("clients", "allow-anonymous", "forward-credentials")
"""The keys of a route that `read_access` reads."""

_SHORTEST = 16  # characters: with 64 different ones that is 96 bits, if nobody has thought them up
_LONGEST = 64  # characters of a name, which is in every log line and metric
_HASH = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_MAKE = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
_ASK = f"""ask for one:
[clients]
me = {{ env = "MY_TOKEN" }}   # export MY_TOKEN=$({_MAKE})"""


class Access(NamedTuple):
    """Who may ask on a route, and whether an upstream without a token gets what they show: as `Route` has it."""

    clients: tuple[Client, ...]
    forward_credentials: bool | None = None


def read_clients(section: Table, directory: Path) -> dict[str, Client | None]:
    """Every client by its name; None for one whose problems are noted. `directory` is where the TOML file is."""
    clients: dict[str, Client | None] = {}
    owners: dict[bytes, str] = {}
    for name in section.raw:
        if not name.isprintable() or not name.strip() or len(name) > _LONGEST:
            hint = f"1 to {_LONGEST} characters, which are in the log: a person, a team or a program"
            section.problem((name,), Problem("this cannot name a client", hint), at_key=True)
        clients[name] = None
        token = read_file_or_text(section, directory, name)
        if token is None or not (digest := _digest(section, name, token)):
            continue
        if owner := owners.setdefault(digest, name) if digest in owners else "":
            problem = Problem(f"'{name}' has the token of '{owner}': who asks could not be told", f"make one: {_MAKE}")
            section.problem((name,), problem)
        owners[digest] = name
        clients[name] = Client(name, digest)
    return clients


def read_client(table: Table, directory: Path, key: str, name: str) -> Client | None:
    """The one client called `name` whose token is the value of `key`; None if there is none, or a problem is noted."""
    table.known(key)
    token = read_file_or_text(table, directory, key) if key in table.raw else None
    digest = _digest(table, key, token) if token is not None else b""
    return Client(name, digest) if digest else None


def _digest(section: Table, name: str, token: str) -> bytes:
    """The SHA-256 of a client's token; empty if it is none, which is noted."""
    if token.lower().startswith("sha256:"):
        if found := _HASH.fullmatch(token):
            return bytes.fromhex(found[1])
        hint = "of the token without a line's end: printf %s TOKEN | sha256sum"
        section.problem((name,), Problem("Expected 64 hexadecimal digits behind sha256:", hint))
    elif len(token) < _SHORTEST:
        message = f"a client's token of {len(token)} characters can be guessed: Expected {_SHORTEST} or more"
        section.problem((name,), Problem(message, f"make one: {_MAKE}"))
    else:
        return sha256(token.encode()).digest()
    return b""


def read_access(routes: Table, clients: Mapping[str, Client | None]) -> dict[str, Access]:
    """What each route says, by its prefix. Who says nothing has all `clients`."""
    return {
        prefix: _access(routes.table(prefix), clients) if routes.is_table(prefix) else Access(everybody(clients))
        for prefix in routes.raw
    }


def everybody(clients: Mapping[str, Client | None]) -> tuple[Client, ...]:
    """All of them that are right."""
    return tuple(client for client in clients.values() if client)


def _access(own: Table, clients: Mapping[str, Client | None]) -> Access:
    anonymous = own.get("allow-anonymous", bool, False)
    forward = own.get("forward-credentials", bool, None)
    if "clients" not in own.raw:
        return Access(() if anonymous else everybody(clients), forward)
    if anonymous:
        hint = "take one of them out: either these are asked for their token, or nobody is"
        own.problem(("allow-anonymous",), Problem("a route that names clients cannot let everybody in", hint))
    names = own.array("clients", str, MISSING)
    if names is MISSING:
        return Access(())
    if not names:
        hint = "left out, all of [clients] may ask; allow-anonymous = true asks nobody"
        own.problem(("clients",), Problem("clients: Expected at least one name", hint))
    for index, name in enumerate(names):
        if name is not MISSING and name not in clients:
            hint = registry.did_you_mean(name, clients) or f'for instance:\n[clients]\n{name} = {{ env = "NAME" }}'
            own.problem(("clients", index), Problem(f"there is no client '{name}' in [clients]", hint))
    return Access(tuple(client for name in dict.fromkeys(names) if (client := clients.get(name))), forward)


# ── who could come ──────────────────────────────────────────────────────────────────────────────────────────────────


def check_listen(root: Table, config: Config) -> None:
    """Note of each address of `listen` if nobody may listen there, as the configuration is."""
    listed = isinstance(root.raw.get("listen"), list)
    for index, listen in enumerate(config.listen):
        if problem := _exposure(config, _open_of([listen])):
            root.problem(("listen", index) if listed else ("listen",), problem)


def check_listens(config: Config, listens: Iterable[Listen]) -> None:
    """Raises `ConfigError` if nobody may listen there, as `config` is, or an upstream is there."""
    listens = list(listens)
    problem = _exposure(config, _open_of(listens)) or own_upstream(config, [each.address for each in listens])
    if problem:
        raise ConfigError([problem])


def check_listeners(config: Config, listeners: Iterable[Listener]) -> None:
    """As `check_listens`, of those that are open and stay so: what another process has bound is known only then."""
    wanted = {listen.address for listen in config.listen}
    found = [each for each in listeners if each.listen.address in wanted]
    exposed = [each.address for each in found if not each.unix and not each.loopback]
    if problem := _exposure(config, exposed) or own_upstream(config, [each.address for each in found]):
        raise ConfigError([problem])


def _open_of(listens: Iterable[Listen]) -> list[str]:
    """Those of them that may be reached from other machines, as far as their addresses tell."""
    found = [listen.address for listen in listens]
    return [each for each in found if each.unix is None and not each.inherited and not is_loopback(each.host)]


def _exposure(config: Config, addresses: Sequence[str]) -> Problem | None:
    """What is wrong with listening on addresses that other machines reach; None if it is right.

    Who reaches an open one spends the keys of the file. That is seldom meant, and never stays unseen: of Ollama, which
    one variable of the environment opens, 175 000 were found open in January 2026 (SentinelOne, Censys).
    """
    route = next((route for route in config.routes if not route.clients), None)
    if config.allow_anonymous or route is None or not addresses:
        return None
    where = " or ".join(addresses)
    message = f"whoever reaches {where} over the network may ask: route '{route.prefix}' asks nobody for a token"
    ask = "take its allow-anonymous out" if config.clients else _ASK
    return Problem(message, f"{ask}\nor, if that is meant, say so at the top of the file:\nallow-anonymous = true")
