"""Over sockets: a token from each source, one that the upstream refuses, and a source that fails."""

from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from tests.peers import Line, Script, Upstream, ask, proxy, running, upstream
from tests.test_proxy import DELTA, END, START, STREAM, streams
from trioproxy.config.built import configure
from trioproxy.http.listen import Address

OLD, NEW = "sk-canary-before-1", "sk-canary-after-22"
ASK = b'{"model": "m", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}'


def toml(up: Upstream, token: str, response: str = "") -> str:
    return f"""
[upstreams.up]
url = "http://127.0.0.1:{up.port}"
dialect = "anthropic"
token = {token}
[pipeline]
{response}
"""


def shown(up: Upstream) -> list[str | None]:
    return [asked.header("x-api-key") for asked in up.requests]


def knows(*tokens: str, wrong: int = 401) -> Script:
    """An upstream that lets these tokens in, and quotes all others."""

    async def script(line: Line) -> None:
        token = line.asked.header("x-api-key") or "none"
        if token in tokens:
            await streams(line)
        else:
            error = {"type": "authentication_error", "message": f"invalid key {token}"}
            await line.whole(msgspec.json.encode({"type": "error", "error": error}), status=wrong)

    return script


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/files"])
@pytest.mark.parametrize("source", ['{ file = "token" }', '{ command = ["./token.sh"] }'])
async def test_a_token_from_each_source(tmp_path: Path, path: str, source: str) -> None:
    (tmp_path / "token").write_text(f"{NEW}\n")
    (tmp_path / "token.sh").write_text(f"#!/bin/sh\necho {NEW}\n")
    (tmp_path / "token.sh").chmod(0o700)
    async with upstream(knows(NEW)) as up, proxy(toml(up, source), directory=tmp_path) as port:
        got = await ask(port, ASK, path=path, headers=("x-api-key: the-clients-own",))
    assert (got.status, got.complete, shown(up)) == (200, True, [NEW])


async def test_a_function_of_the_program_is_asked_for_each_request() -> None:
    given: list[str] = []

    async def token() -> str:
        given.append(f"sk-canary-{len(given)}")
        return given[-1]

    async with upstream(streams) as up:
        loaded = configure(upstreams={"up": {"url": f"http://127.0.0.1:{up.port}", "token": token}})
        async with running(loaded, [Address("127.0.0.1:0")]) as (listeners, _):
            port = int(listeners[0].address.rpartition(":")[2])
            for _ in range(3):
                assert (await ask(port, STREAM)).status == 200
    assert shown(up) == given == ["sk-canary-0", "sk-canary-1", "sk-canary-2"]


@pytest.mark.parametrize(
    ("path", "response"),
    [("/v1/messages", ""), ("/v1/messages", "response = []"), ("/v1/chat/completions", ""), ("/v1/files", "")],
)
async def test_a_refused_token_is_asked_for_again_and_the_client_notices_nothing(path: str, response: str) -> None:
    async def token() -> str:
        return NEW if up.requests else OLD

    async with upstream(knows(NEW)) as up:
        listed: dict[str, list[str]] = {"response": []} if response else {}
        loaded = configure(upstreams={"up": {"url": f"http://127.0.0.1:{up.port}", "token": token}}, pipeline=listed)
        async with running(loaded, [Address("127.0.0.1:0")]) as (listeners, _):
            got = await ask(int(listeners[0].address.rpartition(":")[2]), ASK, path=path)
    assert (got.status, got.complete, shown(up)) == (200, True, [OLD, NEW])
    if path == "/v1/messages":
        assert got.body == START + DELTA + END


async def test_a_token_that_is_rolled_in_its_file_is_never_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with upstream(streams) as up:
        file.write_text(OLD)
        async with proxy(toml(up, '{ file = "token" }'), directory=tmp_path) as port:
            for token in (OLD, NEW):
                file.write_text(token)
                assert (await ask(port, ASK)).status == 200
    assert shown(up) == [OLD, NEW]


async def test_a_command_is_not_run_again_for_each_refusal(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    (tmp_path / "token").write_text(OLD)
    source = f'{{ command = ["cat", "{tmp_path}/token"] }}'
    async with upstream(knows(NEW)) as up, proxy(toml(up, source)) as port:
        assert (await ask(port, ASK)).status == 401
        (tmp_path / "token").write_text(NEW)
        assert (await ask(port, ASK)).status == 401
        mock_clock.jump(5)
        assert (await ask(port, ASK)).status == 200
        assert (await ask(port, ASK)).status == 200
    assert shown(up) == [OLD, OLD, OLD, NEW, NEW]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_token_that_stays_wrong_is_refused_once(tmp_path: Path, path: str) -> None:
    (tmp_path / "token").write_text(OLD)
    async with upstream(knows(NEW)) as up, proxy(toml(up, '{ file = "token" }'), directory=tmp_path) as port:
        got = await ask(port, ASK, path=path)
    assert (got.status, shown(up)) == (401, [OLD])
    if path != "/v1/messages":  # within a dialect what the upstream says passes as it is
        assert OLD.encode() not in got.body
        assert b"invalid key ***" in got.body


@pytest.mark.parametrize("source", ["file", "command", "function"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/files"])
async def test_a_source_that_fails_is_named_in_the_clients_words(
    tmp_path: Path, source: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def function() -> str:
        raise LookupError(f"the vault says {OLD}")

    (tmp_path / "token").write_text(OLD)
    (tmp_path / "fail.sh").write_text(f"#!/bin/sh\necho {OLD}; echo {OLD} >&2; exit 3\n")
    (tmp_path / "fail.sh").chmod(0o700)
    tokens = {
        "file": ({"file": f"{tmp_path}/token"}, f"the file {tmp_path}/token cannot be read: No such file or directory"),
        "command": (
            {"command": [f"{tmp_path}/fail.sh"]},
            "the command fail.sh exited with status 3; run it yourself to see why",
        ),
        "function": (function, "its token function failed: LookupError"),
    }
    token, told = tokens[source]
    async with upstream(streams) as up:
        loaded = configure(upstreams={"up": {"url": f"http://127.0.0.1:{up.port}", "token": token}})
        (tmp_path / "token").unlink()
        async with running(loaded, [Address("127.0.0.1:0")]) as (listeners, _):
            body = ASK if path != "/v1/responses" else b'{"model": "m", "input": "x"}'
            got = await ask(int(listeners[0].address.rpartition(":")[2]), body, path=path)
    assert got.status == 502
    assert msgspec.json.decode(got.body)["error"]["message"] == f"upstream 'up' has no token now: {told}"
    assert up.connections == 0
    assert OLD not in got.body.decode()
    assert source == "function" or OLD not in caplog.text  # what a function raises is the program's own


async def test_a_client_that_waits_for_a_token_can_leave(tmp_path: Path) -> None:
    """And the next one gets what the program that was begun for it prints."""
    script = tmp_path / "slow.sh"
    script.write_text(f"#!/bin/sh\necho x >> {tmp_path}/runs\nsleep 0.3\necho {NEW}\n")
    script.chmod(0o700)
    async with upstream(knows(NEW)) as up, proxy(toml(up, '{ command = ["./slow.sh"] }'), directory=tmp_path) as port:
        with trio.move_on_after(0.15):
            await ask(port, ASK)
        assert (await ask(port, ASK)).status == 200
    assert (tmp_path / "runs").read_text().split() == ["x"]
