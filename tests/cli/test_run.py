"""`run`: real processes, and what they are told, send and leave behind."""

from __future__ import annotations

import logging
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.test_init import environment
from trioproxy import ConfigError, config
from trioproxy.cli import main
from trioproxy.cli.run import child_environment, for_one, options
from trioproxy.config import Config, Secret

RECORDED = '[upstreams.demo]\nurl = "replay:recordings/metadata-then-answer.sse"\n'
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stages.toml").write_text(RECORDED)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Where the command line is called in this process, its log is none of other tests."""
    logger = logging.getLogger("trioproxy")
    before = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], level, logger.propagate = before
    logger.setLevel(level)


def begun(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    variables = {name: more.pop(name) for name in list(more) if name.isupper()}
    command = [PYTHON, "-m", "trioproxy", "run", *arguments]
    return subprocess.Popen(command, env=environment(**variables), stderr=subprocess.PIPE, encoding="utf-8", **more)


def run(*arguments: str, **more: Any) -> tuple[int, str, str]:
    """The exit status, and what was said on stdout and stderr."""
    with begun(*arguments, stdout=subprocess.PIPE, stdin=subprocess.PIPE, **more) as process:
        said, errors = process.communicate("from stdin", timeout=30)
    return process.returncode, said, errors


def script(code: str) -> tuple[str, str, str]:
    return PYTHON, "-c", textwrap.dedent(code)


ASKS = """
    import json, os, sys, urllib.error, urllib.request

    def ask(base, path, **headers):
        body = {"model": "m", "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        request = urllib.request.Request(base + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, "How can I help" in response.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, False

    env = os.environ
    anthropic = {"authorization": "Bearer " + env["ANTHROPIC_AUTH_TOKEN"]}
    openai = {"authorization": "Bearer " + env["OPENAI_API_KEY"]}
    print(json.dumps({
        "env": {name: env[name] for name in env if name.startswith(("ANTHROPIC", "OPENAI"))},
        "anthropic": ask(env["ANTHROPIC_BASE_URL"], "/v1/messages", **anthropic),
        "openai": ask(env["OPENAI_BASE_URL"], "/chat/completions", **openai),
        "nobody": ask(env["ANTHROPIC_BASE_URL"], "/v1/messages"),
        "stdin": sys.stdin.read(),
    }))
    sys.exit(7)
"""


def test_a_program_is_told_where_to_ask_and_with_what_and_its_exit_status_is_ours() -> None:
    status, said, errors = run(*script(ASKS), ANTHROPIC_API_KEY="sk-ant-own", OPENAI_API_KEY="sk-own")
    got = msgspec.json.decode(said)
    assert (status, got["stdin"]) == (7, "from stdin")
    assert (got["anthropic"], got["openai"], got["nobody"]) == ([200, True], [200, True], [401, False])
    told = got["env"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", told["ANTHROPIC_BASE_URL"])
    assert told["OPENAI_BASE_URL"] == f"{told['ANTHROPIC_BASE_URL']}/v1"
    assert told["ANTHROPIC_AUTH_TOKEN"] == told["OPENAI_API_KEY"]
    assert len(told["OPENAI_API_KEY"]) > 40
    assert "ANTHROPIC_API_KEY" not in told
    line = (
        f"trioproxy on {told['ANTHROPIC_BASE_URL']}: / → replay:recordings/metadata-then-answer.sse; "
        "started without ANTHROPIC_API_KEY\n"
    )
    assert errors == line  # and no log: the terminal is the program's


def test_the_log_goes_where_it_is_told_and_what_follows_the_program_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(RECORDED)
    (tmp_path / "stages.toml").unlink()
    log = tmp_path / "proxy.log"
    arguments = ["-c", "other.toml", "--log", str(log), *script(ASKS), "--log", "x", "-c", "y"]
    status, said, _ = run(*arguments)
    assert status == 7
    lines = [msgspec.json.decode(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines if "status" in line] == [200, 200, 401]
    assert msgspec.json.decode(said)["env"]["OPENAI_API_KEY"] not in log.read_text()


def test_a_program_that_is_killed_has_the_status_of_shells() -> None:
    assert main(["run", "sh", "-c", "kill -9 $$"]) == 137


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nonesuch", "-c", "x"], 127, "error: there is no command 'nonesuch' here; is it installed, and in $PATH?\n"),
        ([], 2, "error: run what? For instance: python -m trioproxy run -- claude\n"),
        (["--"], 2, "error: run what? For instance: python -m trioproxy run -- claude\n"),
        (["./broken"], 126, r"trioproxy on .*\nerror: \./broken cannot be run: Exec format error\n"),
        (["./plain"], 126, "error: ./plain cannot be run: it is not executable (chmod +x)\n"),
        (["-c", "none.toml", "true"], 2, "error: there is no none.toml\n"),
    ],
)
def test_what_cannot_be_run(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken").write_bytes(b"\0")
    (tmp_path / "broken").chmod(0o700)
    (tmp_path / "plain").touch(0o600)
    assert main(["run", *arguments]) == status
    said = capsys.readouterr().err
    assert said.startswith(message) or re.fullmatch(message, said)


def test_a_program_is_not_found_in_a_path_that_is_not_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["run", "true"]) == 127


# ── signals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

COUNTS = """
    import signal, sys, time
    got = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: got.append(number))
    print("ready", flush=True)
    while not got:
        time.sleep(0.01)  # a signal between the look and signal.pause() would be slept through
    time.sleep(0.2)  # in which a second one would come, and be printed
    print(*(signal.Signals(number).name for number in got), flush=True)
    sys.exit(3)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_programs(number: signal.Signals) -> None:
    """Where no terminal is that would send Ctrl-C to both of us."""
    with begun("--", *script(COUNTS), stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == f"{number.name}\n"
    assert process.returncode == 3


def test_ctrl_c_reaches_the_program_once() -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execve(PYTHON, [PYTHON, "-m", "trioproxy", "run", "--", *script(COUNTS)], environment())
    said = b""
    deadline = time.monotonic() + 30
    while b"SIG" not in said and time.monotonic() < deadline:
        said += os.read(terminal, 1024)
        if b"ready" in said:
            os.write(terminal, b"\x03")
            said = said.replace(b"ready", b"")
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    assert re.findall(rb"SIG\w+", said) == [b"SIGINT"]
    assert os.waitstatus_to_exitcode(status) == 3


# ── what is served ──────────────────────────────────────────────────────────────────────────────────────────────────


def served(toml: str, environ: Mapping[str, str]) -> Config:
    return for_one(config.read(toml, Path("stages.toml"), {}), "run-token", environ)


CLAUDE = '[upstreams.up]\nurl = "https://api.anthropic.com"\n'
CHAT = '[upstreams.up]\nurl = "https://api.openai.com/v1"\ndialect = "openai-chat"\n'


@pytest.mark.parametrize(
    ("toml", "environ", "token", "headers"),
    [
        (CLAUDE, {"ANTHROPIC_API_KEY": "sk-a", "ANTHROPIC_AUTH_TOKEN": "b"}, "sk-a", ()),
        (CLAUDE, {"ANTHROPIC_AUTH_TOKEN": "b"}, None, (("authorization", "Bearer b"),)),
        (CLAUDE, {"OPENAI_API_KEY": "sk-o"}, None, ()),
        (CLAUDE, {"ANTHROPIC_API_KEY": ""}, None, ()),
        (CHAT, {"ANTHROPIC_API_KEY": "sk-a", "OPENAI_API_KEY": "sk-o"}, "sk-o", ()),
        (CHAT.replace("chat", "responses"), {"OPENAI_API_KEY": "sk-o"}, "sk-o", ()),
        (f'{CHAT}token = "sk-own"', {"OPENAI_API_KEY": "sk-o"}, "sk-own", ()),
        (f'{CLAUDE}headers = {{ X-Api-Key = "own" }}', {"ANTHROPIC_API_KEY": "sk-a"}, None, (("x-api-key", "own"),)),
        (RECORDED, {"ANTHROPIC_API_KEY": "sk-a"}, None, ()),
    ],
)
def test_an_upstream_without_a_token_gets_the_one_of_the_environment(
    toml: str, environ: dict[str, str], token: str | None, headers: tuple[tuple[str, str], ...]
) -> None:
    loaded = served(toml, environ)
    [upstream] = loaded.upstreams.values()
    assert (upstream.token, upstream.headers) == (token and Secret(token), headers)
    assert loaded.routes[0].upstream is upstream


def test_a_token_of_the_environment_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^\$ANTHROPIC_API_KEY: Expected a token of printable ASCII"):
        served(CLAUDE, {"ANTHROPIC_API_KEY": "schlüssel"})


def test_nobody_else_may_ask_and_nothing_else_is_opened() -> None:
    toml = f"""
allow-anonymous = true
listen = ["0.0.0.0:80", "127.0.0.1:0"]
{RECORDED}
{CLAUDE}
[clients]
alice = "0123456789abcdef"
[admin]
listen = "127.0.0.1:0"
token = "0123456789abcdef0"
[routes]
"/" = {{ upstreams = ["up", "demo"] }}
"/demo" = {{ upstream = "demo", allow-anonymous = true }}
"""
    loaded = served(toml, {"ANTHROPIC_API_KEY": "sk-a"})
    assert [listen.address for listen in loaded.listen] == ["127.0.0.1:0"]
    assert loaded.admin is None
    routes = [each for route in loaded.routes for each in (route, *route.others)]
    assert len(routes) == 3
    assert {client.digest for route in routes for client in route.clients} == {sha256(b"run-token").digest()}
    assert all(len(route.clients) == 1 for route in routes)
    assert [route.upstream.token for route in routes] == [None, Secret("sk-a"), None]


# ── what a program is told ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_keeps_a_program_from_asking_here_is_taken_away() -> None:
    environ = dict.fromkeys(("ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"), "1")
    child = child_environment(environ | {"HOME": "/home/me", "OPENAI_API_KEY": "own"}, "http://127.0.0.1:1/x", "t")
    assert child == {
        "HOME": "/home/me",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1/x",
        "ANTHROPIC_AUTH_TOKEN": "t",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/x/v1",
        "OPENAI_API_KEY": "t",
    }


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p"}, "127.0.0.1,localhost"),
        ({"http_proxy": "http://p", "NO_PROXY": "corp, localhost"}, "corp,localhost,127.0.0.1"),
        ({"NO_PROXY": "corp"}, "corp"),
    ],
)
def test_a_program_asks_here_past_the_proxies_of_its_environment(environ: dict[str, str], told: str | None) -> None:
    assert child_environment(environ, "http://127.0.0.1:1", "t").get("NO_PROXY") == told


def test_codex_is_told_on_its_command_line_and_others_are_not() -> None:
    told = options("/usr/bin/codex", "http://127.0.0.1:1/x")
    assert told[::2] == ["-c", "-c"]
    overrides = tomllib.loads("\n".join(told[1::2]))
    provider = overrides["model_providers"][overrides["model_provider"]]
    assert (provider["base_url"], provider["env_key"]) == ("http://127.0.0.1:1/x/v1", "OPENAI_API_KEY")
    assert options("/usr/bin/claude", "http://127.0.0.1:1") == []


@pytest.mark.parametrize(
    ("toml", "base", "line"),
    [
        (f'{CHAT}model = "gpt"', "", "every model → gpt at https://api.openai.com/v1"),
        (f'{CLAUDE}[models]\na = "b"\nc = "d"\ne = "f"', "", "a → b, c → d, … at https://api.anthropic.com"),
        (f'{CLAUDE}[routes]\n"/{{session}}" = "up"', r"/run-\w{8}", "/{session} → https://api.anthropic.com"),
        (f'{CLAUDE}[routes]\n"/x/y" = "up"\n"/x" = "up"', "/x", "/x → https://api.anthropic.com"),
        (f'{CLAUDE}[routes]\n"/" = "up"\n"/{{session}}" = "up"', "", "/ → https://api.anthropic.com"),
    ],
)
def test_the_line_says_what_leads_where(
    toml: str, base: str, line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stages.toml").write_text(toml)
    assert main(["run", "sh", "-c", "echo $ANTHROPIC_BASE_URL"]) == 0
    said = capfd.readouterr()
    assert re.fullmatch(rf"http://127\.0\.0\.1:\d+{base}\n", said.out)
    assert said.err.partition(": ")[2] == f"{line}\n"
