"""What the file says of tokens: where upstreams' come from, who may ask, and who may come at all."""

from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import pytest

from trioproxy import config
from trioproxy.config import Client, Config, Secret, TokenCommand, TokenFile
from trioproxy.config.clients import check_listeners
from trioproxy.config.file import File
from trioproxy.errors import ConfigError, Problem
from trioproxy.http.listen import Address, Listen, open_listeners
from trioproxy.units import Seconds

TOKEN, OTHER = "sk-canary-of-alice-1", "sk-canary-of-bob-123"
UP = '[upstreams.up]\nurl = "http://up"\n'


def read(text: str, directory: Path = Path(), **environ: str) -> Config:
    return config.read(dedent(text), directory / "stages.toml", environ)


def problems(text: str, directory: Path = Path(), **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as refused:
        read(text, directory, **environ)
    assert not any(token in str(refused.value) for token in (TOKEN, OTHER))
    return refused.value.problems


def problem(text: str, directory: Path = Path(), **environ: str) -> str:
    """The one thing that is wrong, and where."""
    [found] = problems(text, directory, **environ)
    assert found.at
    return f"{found.at.line}:{found.at.column}: {found.message}"


# ── upstreams' tokens ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_forms_of_a_token(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(TOKEN)
    (tmp_path / "vault.sh").write_text("#!/bin/sh\n")
    (tmp_path / "vault.sh").chmod(0o700)
    loaded = read(
        f"""
        [upstreams]
        text = {{ url = "http://up", token = "{TOKEN}" }}
        env = {{ url = "http://up", token = {{ env = "KEY" }} }}
        file = {{ url = "http://up", token = {{ file = "key" }} }}
        elsewhere = {{ url = "http://up", token = {{ file = {{ env = "FILE" }} }} }}
        program = {{ url = "http://up", token = {{ command = ["sh", "-c", "echo {TOKEN}"], ttl = "1h" }} }}
        beside = {{ url = "http://up", token = {{ command = ["./vault.sh"] }} }}
        none = {{ url = "http://up" }}
        [routes]
        "/" = "text"
        """,
        tmp_path,
        KEY=OTHER,
        FILE=str(tmp_path / "key"),
    )
    tokens = {name: upstream.token for name, upstream in loaded.upstreams.items()}
    command = tokens.pop("program")
    assert tokens == {
        "text": Secret(TOKEN),
        "env": Secret(OTHER),
        "file": TokenFile(tmp_path / "key"),
        "elsewhere": TokenFile(tmp_path / "key"),
        "beside": TokenCommand((str(tmp_path / "vault.sh"),), Seconds(300)),
        "none": None,
    }
    assert isinstance(command, TokenCommand)
    assert (Path(command.command[0]).name, command.command[1:], command.ttl) == (
        "sh",
        ("-c", f"echo {TOKEN}"),
        Seconds(3600),
    )
    assert TOKEN not in repr(loaded)
    assert OTHER not in repr(loaded)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("{}", "1:9: token: Expected a text or one of env, file and command"),
        ('{ file = "key", command = ["sh"] }', "1:9: token: Expected a text or one of env, file and command"),
        (f'{{ file = "{TOKEN}" }}', "1:18: the file cannot be read: No such file or directory"),
        (f'{{ file = "/{TOKEN[3:9]}/no" }}', "1:18: the file /canary/no cannot be read: No such file or directory"),
        ('{ file = "empty" }', "1:18: the file holds nothing"),
        ('{ file = "." }', "1:18: the file is no regular file"),
        ('{ file = "" }', "1:18: file: Expected the name of a file, got nothing"),
        ('{ file = "key", ttl = "5m" }', "1:25: ttl: only for command: a file is read again when it has changed"),
        (f'{{ command = "echo {TOKEN}" }}', "1:21: command: Expected a program and its arguments, got one text"),
        ("{ command = [] }", "1:21: command: Expected a program and its arguments"),
        ('{ command = ["sh", ""] }', "1:21: command: Expected a program and its arguments"),
        ('{ command = ["sh", 1] }', "1:28: command: Expected `str`, got `int`"),
        (f'{{ command = ["{TOKEN}"] }}', "1:22: command: there is no such program that can be run"),
        ('{ command = ["./key"] }', "1:22: command: there is no such program that can be run"),
        ('{ command = ["sh"], ttl = 0 }', "1:35: ttl: Expected a time of more than 0, got 0"),
        ('{ command = ["sh"], tll = 5 }', "1:29: [upstreams.up.token] has no key 'tll'"),
        ('{ env = "KEY", command = ["sh"] }', "1:24: token = { env = … } has no key 'command'"),
    ],
)
def test_a_wrong_source(tmp_path: Path, token: str, told: str) -> None:
    (tmp_path / "key").write_text(TOKEN)
    (tmp_path / "empty").touch()
    text = f'upstreams.up.url = "http://up"\nupstreams.up.token = {token}'
    line, column, message = told.split(":", 2)
    shifted = f"{int(line) + 1}:{int(column) + len('upstreams.up.')}:{message}"
    assert problem(text, tmp_path, KEY=OTHER) == shifted


# ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def hashed(token: str) -> bytes:
    return sha256(token.encode()).digest()


ALICE, BOB = Client("alice", hashed(TOKEN)), Client("bob", hashed(OTHER))
CLIENTS = f'[clients]\nalice = "{TOKEN}"\nbob = "{OTHER}"\n'


def test_the_forms_of_a_clients_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    loaded = read(
        f"""
        [clients]
        text = "{TOKEN}-1"
        env = {{ env = "TOKEN" }}
        file = {{ file = "token" }}
        hash = "SHA256:{hashed(TOKEN + "-4").hex()}"
        {UP}""".replace("[upstreams", "        [upstreams").replace("\nurl", "\n        url"),
        tmp_path,
        TOKEN=f"sha256:{hashed(OTHER).hex()}",
    )
    digests = {client.name: client.digest for client in loaded.clients}
    tokens = {"text": f"{TOKEN}-1", "env": OTHER, "file": TOKEN, "hash": f"{TOKEN}-4"}
    assert digests == {name: hashed(token) for name, token in tokens.items()}
    assert loaded.routes[0].clients == loaded.clients
    assert not any(token in repr(loaded) for token in tokens.values())


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ('a = "of-fifteen-char"', "5: a client's token of 15 characters can be guessed: Expected 16 or more"),
        ('a = ""', "5: a: Expected a token of printable ASCII characters that is not empty"),
        (f'a = "{TOKEN}\\n{TOKEN}"', "5: a: Expected a token of printable ASCII characters that is not empty"),
        ("a = 1234567890123456", "5: a: Expected `str`, got `int`"),
        ('a = "sha256:12"', "5: Expected 64 hexadecimal digits behind sha256:"),
        ('a = { env = "NONE" }', "5: a: the environment variable NONE is not set"),
        ('a = { file = "none" }', "14: the file cannot be read: No such file or directory"),
        ('a = { command = ["sh"] }', "5: a: Expected a text, or one of env and file"),
        (f'"{"n" * 65}" = "{TOKEN}"', "1: this cannot name a client"),
        (f'" " = "{TOKEN}"', "1: this cannot name a client"),
    ],
)
def test_a_wrong_client(tmp_path: Path, client: str, told: str) -> None:
    column, message = told.split(":", 1)
    assert problem(f"[clients]\n{client}\n{UP}", tmp_path) == f"2:{column}:{message}"


def test_two_clients_cannot_have_one_token() -> None:
    text = f'[clients]\nalice = "{TOKEN}"\nbob = "sha256:{hashed(TOKEN).hex()}"\n{UP}'
    assert problem(text) == "3:7: 'bob' has the token of 'alice': who asks could not be told"


def test_who_may_ask_on_a_route() -> None:
    routes = """
        [routes]
        "/all" = "up"
        "/too" = { upstream = "up", forward-credentials = true }
        "/one" = { upstream = "up", clients = ["bob", "bob"] }
        "/any" = { upstream = "up", allow-anonymous = true, forward-credentials = false }
        """
    loaded = read(UP + CLIENTS + dedent(routes))
    access = {route.prefix: (route.clients, route.forward_credentials) for route in loaded.routes}
    assert access == {
        "/all": ((ALICE, BOB), None),
        "/too": ((ALICE, BOB), True),
        "/one": ((BOB,), None),
        "/any": ((), False),
    }


@pytest.mark.parametrize(
    ("access", "told"),
    [
        ('clients = ["alicf"]', "there is no client 'alicf' in [clients]"),
        ("clients = []", "clients: Expected at least one name"),
        ('clients = "alice"', "clients: Expected `array`, got `str`"),
        ('clients = ["alice"], allow-anonymous = true', "a route that names clients cannot let everybody in"),
        ('allow-anonymous = "x"', "allow-anonymous: Expected `bool`, got `str`"),
        ("forward-credentials = 1", "forward-credentials: Expected `bool`, got `int`"),
        ('clientz = ["alice"]', "[routes./] has no key 'clientz'"),
    ],
)
def test_a_wrong_route(access: str, told: str) -> None:
    assert problem(f'{UP}{CLIENTS}[routes]\n"/" = {{ upstream = "up", {access} }}').split(": ", 1)[1] == told


# ── who could come ──────────────────────────────────────────────────────────────────────────────────────────────────

OPEN = ["0.0.0.0:1", "[::]:1", ":1", "192.0.2.1:1", "proxy.lan:1"]


@pytest.mark.parametrize("address", OPEN)
def test_what_the_network_reaches_must_ask_for_a_token(address: str) -> None:
    listen = f'listen = "{address}"\n'
    asked = "over the network may ask: route '/' asks nobody for a token"
    assert problem(listen + UP) == f"1:10: whoever reaches {address} {asked}"
    assert read(listen + UP + CLIENTS).clients == (ALICE, BOB)
    assert read(f"allow-anonymous = true\n{listen}{UP}").allow_anonymous


def test_the_way_out_can_be_pasted() -> None:
    [found] = problems('listen = "0.0.0.0:1"\n' + UP)
    ask, table, client, _, anonymous = found.hint.splitlines()
    assert (ask, table, anonymous) == ("ask for one:", "[clients]", "allow-anonymous = true")
    assert read(f'listen = "0.0.0.0:1"\n{UP}{table}\n{client}\n', MY_TOKEN=TOKEN).clients == (
        Client("me", hashed(TOKEN)),
    )
    assert read(f'{anonymous}\nlisten = "0.0.0.0:1"\n{UP}').clients == ()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1", "unix:/run/x.sock"])
def test_what_only_this_machine_reaches_need_not(address: str) -> None:
    assert read(f'listen = "{address}"\n{UP}').clients == ()


def test_each_address_is_judged_for_itself_and_one_open_route_is_enough() -> None:
    listen = 'listen = ["127.0.0.1:1", { address = "0.0.0.0:1" }]\n'
    route = '[routes]\n"/" = "up"\n"/free" = { upstream = "up", allow-anonymous = true }'
    asked = "over the network may ask: route '/free' asks nobody for a token"
    assert problem(f"{listen}{UP}{CLIENTS}{route}") == f"1:26: whoever reaches 0.0.0.0:1 {asked}"


def test_the_command_line_is_no_way_around(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_text(UP)
    address = Listen(Address("0.0.0.0:0"))
    with pytest.raises(ConfigError, match=r"^whoever reaches 0\.0\.0\.0:0 over the network may ask"):
        File(path=file, listen=(address,)).read(UP, {})
    assert File(path=file, listen=(address,)).read(UP + CLIENTS, {}).listen == (address,)
    assert File(path=file, listen=(address,)).read("allow-anonymous = true\n" + UP, {}).listen == (address,)


async def test_what_another_process_has_bound_is_judged_when_it_is_open() -> None:
    [bound] = await open_listeners([Listen(Address("0.0.0.0:0"))])
    try:
        listen = f'listen = "fd:{bound.fileno()}"\n'
        opened = await open_listeners(read(listen + UP).listen)
        try:
            with pytest.raises(ConfigError, match=rf"^whoever reaches {bound.address} over the network may ask"):
                check_listeners(read(listen + UP), opened)
            check_listeners(read(listen + UP + CLIENTS), opened)
            check_listeners(read(UP), opened)  # which closes it
        finally:
            for listener in opened:
                listener.close()
    finally:
        bound.close()
