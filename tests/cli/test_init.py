"""The command line as a user meets it: real processes, their exit status, stdout and stderr."""

import contextlib
import io
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import trioproxy
from trioproxy.cli import main

ROOT = Path(trioproxy.__file__).parent.parent
SHIPPED = str(ROOT / "stages.toml")
WRONG = '[upstreams.up]\nurl = "http://up"\ndialect = "antropic"\n'


def environment(**more: str) -> dict[str, str]:
    """A user's: nothing of ours set but where the package is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIOPROXY", "NO_COLOR", "TERM"))}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"} | more


def process(*arguments: str, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trioproxy", *arguments],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )  # fmt: skip


def run(*arguments: str, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which takes a tenth of the time."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before, path, modules = dict(os.environ), list(sys.path), set(sys.modules)
    try:
        os.environ.clear()
        os.environ.update(environment(**more))
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(arguments)
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.path[:] = path
        for module in set(sys.modules) - modules:
            if cwd != ROOT and (getattr(sys.modules[module], "__file__", None) or "").startswith(str(cwd)):
                del sys.modules[module]  # a stage of this test's own
    said = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        said.append(stream.read())
    return subprocess.CompletedProcess(arguments, status, *said)


def refused(*arguments: str, cwd: Path = ROOT, status: int = 2, **more: str) -> str:
    """Stderr of a command that must fail: with this status, nothing on stdout, and no traceback."""
    done = run(*arguments, cwd=cwd, **more)
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    return done.stderr


# ── what works ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{trioproxy.__version__}\n", "")


def test_help_shows_every_verb_with_examples() -> None:
    done = process("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    for verb in ("serve", "run", "check", "init", "stages", "demo"):
        assert re.search(rf"│ {verb} ", done.stdout)
        assert verb == "serve" or f"\n  python -m trioproxy {verb} " in done.stdout
    assert "$TRIOPROXY_CONFIG" in done.stdout


@pytest.mark.parametrize("verb", ["serve", "run", "check", "init", "stages", "demo"])
def test_help_of_a_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"Usage: trioproxy {verb}" in capsys.readouterr().out


def test_help_of_serve_tells_every_kind_of_address() -> None:
    words = " ".join(run("serve", "--help").stdout.replace("│", " ").split())
    assert "Listen here instead: HOST:PORT, port 0 a free one, or unix:PATH." in words


def test_check_finds_the_file_here() -> None:
    done = run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("stages.toml is fine\n")
    assert "─signature-filter→" in done.stdout


@pytest.mark.parametrize("option", ["--config", "-c"])
def test_check_reads_the_file_it_is_told(option: str, tmp_path: Path) -> None:
    assert run("check", option, SHIPPED, cwd=tmp_path).returncode == 0


def test_check_reads_the_file_the_environment_names(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path, TRIOPROXY_CONFIG=SHIPPED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{SHIPPED} is fine\n")


def test_stages_lists_them_all() -> None:
    done = run("stages")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "signature-filter" in done.stdout


def test_stages_explains_one_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('from trioproxy import *\nclass Mine(Stage[Event, Event]):\n    """Do it."""\n')
    with (tmp_path / "mine.py").open("a") as file:
        file.write("    def feed(self, event, /): yield event\n")
    done = run("stages", "mine:Mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mine:Mine: Event → Event\n\nDo it.\n")


def test_a_terminal_without_arrows_is_no_reason_to_fail() -> None:
    done = process("check", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "?signature-filter?" in done.stdout


def test_stages_reads_the_file_as_the_others_do(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[stages.slow]\nuse = "own:Own"\n')
    (tmp_path / "own.py").write_text(
        "from trioproxy import *\nclass Own(Stage[Event, Event]):\n    def feed(self, event, /): yield event\n"
    )
    for done in (
        run("stages", "slow", "-c", f"{tmp_path}/mine.toml"),
        run("stages", "slow", TRIOPROXY_CONFIG=f"{tmp_path}/mine.toml"),
    ):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("slow (own:Own): Event → Event\n")


@pytest.mark.parametrize(("verb", "widths"), [("stages", (60, 80, 200)), ("check", (60, 80, 200)), ("demo", (60, 200))])
def test_lines_fit_the_terminal(
    verb: str, widths: tuple[int, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for columns in widths:
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main([verb]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert 55 < max(map(len, lines)) <= min(columns, 100)
        assert not [line for line in lines if line != line.rstrip()]


@pytest.mark.parametrize("arguments", ["stages", "--help", "check --help"])
def test_a_reader_that_leaves_early_is_no_error(arguments: str) -> None:
    command = [sys.executable, "-m", "trioproxy", *arguments.split()]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=nobody, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# ── mistakes on the command line ────────────────────────────────────────────────────────────────────────────────────

HELP = "Try: python -m trioproxy --help\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("chek", "there is no command 'chek'; did you mean 'check'?"),
        ("zzz", "there is no command 'zzz'; there are serve, run, check, init, stages, demo"),
        ("chek --config x.toml", "there is no command 'chek'; did you mean 'check'?"),
        ("mine.toml", "a file is named with --config: --config mine.toml"),
        ("check mine.toml", "a file is named with --config: --config mine.toml"),
        ("-c stages.toml check", "'check' must come first: python -m trioproxy check …"),
        ("stages deframe parse", "'parse' is one word too many"),
        ("--confg x", "Unknown option: --confg. Did you mean --config?"),
        ("run --confg x -- true", "Unknown option: --confg. Did you mean --config?"),
        ("run --zzz=1 true", "Unknown option: --zzz."),
        ("check --confg x", "Unknown option: --confg. Did you mean --config?"),
        ("--config", "Parameter --config requires an argument."),
        ("--log-level loud", 'Invalid value "loud" for --log-level. Choose from: "debug", "info", "warning", "error".'),
    ],
)
def test_a_mistake_on_the_command_line_is_one_short_error(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n{HELP}")


def test_such_a_mistake_in_a_process_of_its_own() -> None:
    assert refused("chek") == f"error: there is no command 'chek'; did you mean 'check'?\n{HELP}"


def test_a_wrong_address() -> None:
    message = refused("--listen", "localhost")
    assert message.startswith('error: --listen: Expected an address such as "127.0.0.1:4567"')
    assert message.endswith(", got 'localhost'\n")


def test_an_unknown_stage() -> None:
    assert refused("stages", "keepalife") == "error: there is no stage 'keepalife'\n = did you mean 'keepalive'?\n"


# ── mistakes about the file ─────────────────────────────────────────────────────────────────────────────────────────

DEMO = (
    " = give one with --config FILE, write one: python -m trioproxy init mine.toml, or see one work first: "
    "python -m trioproxy demo\n"
)


@pytest.mark.parametrize("verb", [[], ["check"]])
def test_no_file(verb: list[str], tmp_path: Path) -> None:
    assert refused(*verb, cwd=tmp_path) == (
        "error: there is no stages.toml here\n"
        " = give one with --config FILE, write one: python -m trioproxy init, or see one work first: "
        "python -m trioproxy demo; this is enough:\n"
        "   [upstreams.mine]\n"
        '   url = "http://127.0.0.1:3456"\n'
        '   dialect = "anthropic"\n'
    )


def test_no_such_file(tmp_path: Path) -> None:
    assert refused("-c", "mine.toml", cwd=tmp_path) == f"error: there is no mine.toml\n{DEMO}"
    message = refused("check", cwd=tmp_path, TRIOPROXY_CONFIG="mine.toml")
    assert message == f"error: there is no mine.toml (from $TRIOPROXY_CONFIG)\n{DEMO}"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert refused("-c", str(tmp_path)) == f"error: {tmp_path} cannot be read: Is a directory\n"


@pytest.mark.parametrize("verb", [[], ["serve"], ["check"]])
def test_a_mistake_in_the_file_opens_no_port(verb: list[str], tmp_path: Path) -> None:
    (tmp_path / "stages.toml").write_text(WRONG)
    assert refused(*verb, cwd=tmp_path) == (
        "stages.toml:3:11: there is no dialect 'antropic'\n"
        "  |\n"
        '3 | dialect = "antropic"\n'
        "  |           ^^^^^^^^^^\n"
        "  = did you mean 'anthropic'?\n"
        "\n"
        "error: one problem in stages.toml\n"
    )


def test_all_mistakes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "stages.toml").write_text(f"x = 1\n{WRONG}")
    assert refused("check", cwd=tmp_path).endswith("\n\nerror: 2 problems in stages.toml\n")


def test_a_stage_that_cannot_be_imported_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "stages.toml").write_text('[upstreams.up]\nurl = "http://up"\n[pipeline]\nrequest = ["mine:Mine"]\n')
    message = "stages.toml:4:12: stage 'mine:Mine' cannot be imported: SystemExit: 3 (mine.py, line 2)\n"
    assert refused("check", cwd=tmp_path).startswith(message)


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = refused("-c", SHIPPED, "--listen", address, status=1)
    assert done == (
        f"error: cannot listen on {address}: Address already in use; --listen 127.0.0.1:0 takes a free one\n"
    )


def test_an_admin_port_in_use_is_changed_in_the_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        up = '[upstreams.up]\nurl = "http://up"\n'
        (tmp_path / "mine.toml").write_text(f'listen = "127.0.0.1:0"\n{up}[admin]\nlisten = "{address}"\n')
        said = refused("-c", str(tmp_path / "mine.toml"), status=1)
    why = f"[admin] cannot listen on {address}: Address already in use; give listen in [admin] another port"
    assert said == f"error: {why}\n"


def test_a_store_that_can_never_be_opened_is_told_before_any_worker_starts(tmp_path: Path) -> None:
    (tmp_path / "stages.toml").write_text(
        'listen = "127.0.0.1:0"\nworkers = 2\n[upstreams.up]\nurl = "http://up"\n[store]\nurl = "sqlite:gone/kept.db"\n'
    )
    why = f"error: the store cannot be used: {tmp_path}/gone/kept.db: its directory does not exist\n"
    assert refused(cwd=tmp_path, status=1) == why
    done = " ".join(run("check", cwd=tmp_path).stdout.split())
    assert f"! the store cannot be opened here: there is no directory {tmp_path}/gone" in done


def test_a_path_that_is_not_there_is_a_failure_of_its_own(tmp_path: Path) -> None:
    done = refused("-c", SHIPPED, "--listen", f"unix:{tmp_path}/no/such/directory", status=1)
    assert done.startswith("error: ")
    assert str(tmp_path) in done


# ── colour ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def on_a_terminal(*arguments: str, **more: str) -> str:
    """What a terminal shows."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "trioproxy", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says EIO when the last process has left the terminal
                break
            if not piece:
                break
            shown += piece
        process.wait(10)
    os.close(ours)
    return shown.decode()


def test_errors_are_coloured_on_a_terminal() -> None:
    assert on_a_terminal("chek", TERM="xterm").startswith("\x1b[1;31merror\x1b[0m: there is no command")


@pytest.mark.parametrize("more", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_colour_can_be_declined(more: dict[str, str]) -> None:
    assert "\x1b" not in on_a_terminal("chek", **more)


def test_lists_have_no_colour_at_all() -> None:
    assert "\x1b" not in on_a_terminal("stages", TERM="xterm")
