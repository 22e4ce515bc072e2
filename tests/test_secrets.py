"""One proxy with a secret in every place where one can be, led into every failure; none may be heard from it.

`conftest.py` searches what every test of the suite hears; here it is made sure that there is something to be heard, and
that it would be found.
"""

import logging
import socket
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import trio

from tests.peers import Answer, Line, ask, proxy, request, upstream
from tests.peers import answer as read_answer
from tests.test_proxy import STREAM, streams
from tests.test_serve import serving
from tests.told import Told, now
from trioproxy.cli import main

PLACES = ["CLIENT", "TEXT", "FILE", "COMMAND", "HEADER", "PROXY", "QUERY", "ADMIN", "TARGET", "STORE", "WRONG"]
SECRET = {place: f"canary-{place.lower()}-0123456789-0123456789" for place in PLACES}

CRASH = """
from trioproxy import Event, Stage

class Crash(Stage[Event, Event]):
    def feed(self, event, /):
        raise ZeroDivisionError("of a stage")
        yield event
"""
QUOTES = b'{"type":"error","error":{"type":"authentication_error","message":"no such key: %s"}}'
CHAT = b'{"model":"m","stream":%s,"seed":1,"logit_bias":{"1":1},"messages":[{"role":"user","content":"x"}]}'


@pytest.fixture(autouse=True)
def _beside(tmp_path: Path) -> Iterator[None]:
    """What stands beside the file; the stage is forgotten after it, as it is another one each time."""
    (tmp_path / "token").write_text(SECRET["FILE"])
    (tmp_path / "crash_told.py").write_text(CRASH)
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("crash_told", None)


def toml(up: int, nobody: int, between: int, admin: str) -> str:
    """Everything that can be secret, and a route to each failure."""
    here = f'url = "http://127.0.0.1:{up}"'
    token = f'token = "{SECRET["TEXT"]}"'
    return f"""
[clients]
me = "{SECRET["CLIENT"]}"
other = "sha256:{sha256(b"nobody knows it").hexdigest()}"
[admin]
listen = "{admin}"
token = "{SECRET["ADMIN"]}"
[store]
key = "{SECRET["STORE"]}"
[log]
level = "debug"
[upstreams.text]
{here}
{token}
headers = {{ x-key = "{SECRET["HEADER"]}" }}
[upstreams.file]
{here}
token = {{ file = "token" }}
[upstreams.command]
{here}
token = {{ command = ["sh", "-c", "echo {SECRET["COMMAND"]}; echo {SECRET["COMMAND"]} >&2; exit 3"] }}
[upstreams.query]
url = "http://127.0.0.1:{nobody}/?key={SECRET["QUERY"]}"
{token}
[upstreams.proxied]
url = "http://upstream.example/?key={SECRET["QUERY"]}"
proxy = "http://user:{SECRET["PROXY"]}@127.0.0.1:{between}"
{token}
[upstreams.tunnelled]
url = "https://upstream.example"
proxy = "http://user:{SECRET["PROXY"]}@127.0.0.1:{between}"
{token}
[targets.fast]
{here}
model = "m"
mode = "anthropic_messages"
token = "{SECRET["TARGET"]}"
[routes]
"/" = "text"
"/file" = "file"
"/command" = "command"
"/query" = "query"
"/proxied" = "proxied"
"/tunnelled" = "tunnelled"
"/crash" = {{ upstream = "text", response = ["deframe", "parse", "crash_told:Crash", "translate", "reframe"] }}
"/strict" = {{ upstream = "text", strict = true }}
"/theirs" = {{ upstream = "text", clients = ["other"] }}
"""


async def upstream_of_all(line: Line) -> None:
    """What is asked with `?refuse` is refused, with the keys quoted; `?garble` gets what is no HTTP at all."""
    shown = [value for _, value in line.asked.headers if "canary" in value]
    if "refuse" in line.asked.target or b"refuse" in line.asked.body:
        await line.whole(QUOTES % " ".join(shown).encode(), status=401)
    elif b"garble" in line.asked.body:
        await line.send(f"HTTP/1.1 200 OK\r\nx: \0{shown}\r\n\r\n".encode())
    else:
        await streams(line)


async def refusing_proxy(stream: trio.SocketStream) -> None:
    """It quotes what it was asked, as some do."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += await stream.receive_some(65536)
    body = said.replace(b"\r", b"").replace(b"\n", b" ")
    head = b"HTTP/1.1 407 %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (body[:300], len(body))
    await stream.send_all(head + body)


@pytest.mark.skipif(sys.platform == "win32", reason="runs sh, and asks at a Unix socket")
async def test_nothing_that_a_process_says_or_answers_has_a_secret(tmp_path: Path) -> None:
    now.uses(*SECRET.values(), *map(_base64, [f"user:{SECRET['PROXY']}"]))
    mine = f"x-api-key: {SECRET['CLIENT']}"

    async with upstream(upstream_of_all) as up, trio.open_nursery() as nursery:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            [proxies] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), refusing_proxy, 0)
            text = toml(up.port, nobody.getsockname()[1], proxies.socket.getsockname()[1], f"unix:{tmp_path}/admin")
            async with serving(text, tmp_path) as running:
                port = await running.port()

                async def get(path: str, body: bytes = STREAM, *fields: str, method: str = "POST") -> Answer:
                    return await ask(port, body, method=method, path=path, headers=fields or (mine,))

                async def admin(path: str, *fields: str, method: str = "GET", body: bytes = b"") -> Answer:
                    async with await trio.open_unix_socket(f"{tmp_path}/admin") as stream:
                        await stream.send_all(request(body, method=method, path=path, headers=fields))
                        return await read_answer(stream, method=method)

                wrong = f"authorization: Bearer {SECRET['WRONG']}"
                refuse, garble = CHAT % b'false,"user":"refuse"', CHAT % b'false,"user":"garble"'
                statuses = {
                    "fine": (await get("/v1/messages")).status,
                    "lossy": (await get("/v1/chat/completions", CHAT % b"true")).status,
                    "strict": (await get("/strict/v1/chat/completions", CHAT % b"true")).status,
                    "no token": (await get("/v1/messages", STREAM, "accept: */*")).status,
                    "wrong token": (await get("/v1/messages", STREAM, wrong)).status,
                    "another's route": (await get("/theirs/v1/messages")).status,
                    "token in the URL": (await get(f"/v1/messages?key={SECRET['WRONG']}")).status,
                    "target in the URL": (await get(f"http://user:{SECRET['WRONG']}@x/v1/messages")).status,
                    "no target": (await get("/targets/none/v1/messages", STREAM, wrong)).status,
                    "no route of that method": (await get("/v1/nothing", b"", wrong, method="GET")).status,
                    "no HTTP": (await get("/v1/messages", STREAM, f"x-api-key: {SECRET['WRONG']}", "a b: c")).status,
                    "upstream refuses": (await get("/v1/chat/completions", refuse)).status,
                    "upstream garbles": (await get("/v1/chat/completions", garble)).status,
                    "command fails": (await get("/command/v1/messages")).status,
                    "unreachable": (await get("/query/v1/messages")).status,
                    "proxy refuses": (await get("/proxied/v1/chat/completions", CHAT % b"false")).status,
                    "tunnel refused": (await get("/tunnelled/v1/messages")).status,
                    "stage crashes": (await get("/crash/v1/messages")).status,
                    "file": (await get("/file/v1/messages")).status,
                    "metrics": (await admin("/metrics")).status,
                    "admin without": (await admin("/targets")).status,
                    "admin wrong": (await admin("/targets", wrong)).status,
                    "admin": (await admin("/targets", f"authorization: Bearer {SECRET['ADMIN']}")).status,
                }
                (tmp_path / "token").unlink()
                (tmp_path / "stages.toml").write_text(
                    text.replace("[upstreams.query]", f'tokn = "{SECRET["TEXT"]}"\n[upstreams.query]')
                )
                statuses["bad reload"] = (await admin("/reload", f"x-api-key: {SECRET['ADMIN']}", method="POST")).status
                running.signal()
                await running.process.wait()
                await running.silent.wait()
        nursery.cancel_scope.cancel()
    assert statuses == {
        **dict.fromkeys(["fine", "lossy", "file", "metrics", "admin"], 200),
        **dict.fromkeys(["strict", "token in the URL", "target in the URL", "no HTTP", "bad reload"], 400),
        **dict.fromkeys(["no token", "wrong token", "another's route", "upstream refuses"], 401),
        **dict.fromkeys(["no route of that method", "admin without", "admin wrong"], 401),
        "no target": 404,
        **dict.fromkeys(["command fails", "unreachable", "proxy refuses", "tunnel refused", "upstream garbles"], 502),
        "stage crashes": 500,
    }, running.said
    seen = str([asked.headers for asked in up.requests])
    assert all(SECRET[place] in seen for place in ("TEXT", "FILE", "HEADER"))  # they were in use
    assert "the command sh exited with status 3" in running.said
    assert "ZeroDivisionError" in running.said
    assert "tokn" in running.said


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


MISTAKES: list[Callable[[str], str]] = [
    lambda text: text.replace("token = ", "tokn = "),
    lambda text: text.replace("token = ", "token == "),
    lambda text: text.replace("token = {", "token = [{").replace("} }", "}] }"),
    lambda text: text.replace('"canary', '"ä-canary'),
    lambda text: text.replace('"canary', '"\\u0000canary'),
    lambda text: text.replace("[clients]", "[client]"),
    lambda text: text.replace("[store]", "[store]\nurl = 3"),
    lambda text: text.replace("file = ", "command = "),
    lambda text: text.replace('command = ["sh"', f'command = ["{SECRET["COMMAND"]}"'),
    lambda text: text.replace("user:", "us er:"),
    lambda text: text.replace('proxy = "http', 'proxy = "htp'),
    lambda text: text.replace("upstream.example", "upstream example"),
    lambda text: text.replace("127.0.0.1", "127.0.0.1:x"),
    lambda text: text.replace("x-key = ", "host = "),
    lambda text: text.replace("\nme = ", f'\nme = {{ file = "{SECRET["CLIENT"]}" }}\nyou = '),
    lambda text: text.replace("\nme = ", f'\nme = "{SECRET["CLIENT"]}"\nyou = '),
    lambda text: text + f'"/x" = {{ upstream = "{SECRET["TEXT"]}" }}',
]


@pytest.mark.parametrize("mistake", range(len(MISTAKES)))
def test_no_error_of_a_file_has_a_secret(mistake: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now.uses(*(value for place, value in SECRET.items() if mistake != len(MISTAKES) - 1 or place != "TEXT"))
    text = MISTAKES[mistake](toml(1, 2, 3, "127.0.0.1:4"))
    (tmp_path / "stages.toml").write_text(text)
    assert main(["check", "--config", str(tmp_path / "stages.toml")]) == 2
    assert "error: " in capsys.readouterr().err


def test_check_names_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now.uses(*SECRET.values())
    (tmp_path / "stages.toml").write_text(toml(1, 2, 3, "127.0.0.1:4"))
    assert main(["check", "--config", str(tmp_path / "stages.toml")]) == 0
    said = capsys.readouterr().out
    assert "token from the command sh" in said
    assert "clients:  me, other" in said


# ── the search itself ───────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_said_is_found_wherever_it_is() -> None:
    told = Told()
    told.serves('[upstreams.a]\ntoken = "of-a-file"\n[clients]\nme = "my-canary-token"')
    told.asks(("X-Api-Key: of-a-request", "Authorization: Bearer of-a-bearer"))
    record = logging.makeLogRecord({"msg": "x", "exchange": {"path": "/of-a-file"}})
    told.logs([record])
    told.says("an answer", b"no such key: of-a-request")
    told.says("an error", "of-a-bearer, my-canary-token")
    found = " ".join(told.found())
    assert all(token in found for token in ("of-a-file", "of-a-request", "of-a-bearer", "my-canary-token"))
    told.clear()
    assert not list(told.found())


def test_a_traceback_is_looked_through() -> None:
    told = Told()
    told.uses("of-an-exception")
    try:
        raise LookupError("of-an-exception")
    except LookupError:
        told.logs([logging.makeLogRecord({"msg": "x", "exc_info": sys.exc_info()})])
    assert list(told.found())


def test_a_token_that_the_proxy_has_made_may_be_told_once() -> None:
    told = Told()
    told.says("an answer", "made-by-the-proxy")
    told.asks(("x-api-key: made-by-the-proxy",))
    assert not list(told.found())
    told.says("an answer", "made-by-the-proxy")
    assert list(told.found())


@pytest.mark.tells_a_token("to see that it would be found")
async def test_what_tests_hear_is_searched() -> None:
    """Within a dialect what an upstream says passes as it is: docs/security.md says so."""
    async with (
        upstream(upstream_of_all) as up,
        proxy(up.toml("", f'token = "{SECRET["TEXT"]}"')) as port,
    ):
        got = await ask(port, msgspec.json.encode({"refuse": True}))
    assert SECRET["TEXT"].encode() in got.body
    [found] = now.found()
    assert "the body of an answer" in found
