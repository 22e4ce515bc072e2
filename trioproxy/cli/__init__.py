"""The command line: serve (the default), run, check, init, stages, demo. Exit status 2: the operator must act.

Errors go to stderr in plain sentences, without a traceback.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import trio
from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from trioproxy import __version__
from trioproxy.cli.discover import find_file, read_config, read_settings
from trioproxy.cli.serve import serve_forever
from trioproxy.cli.terminal import complain, width
from trioproxy.errors import ConfigError
from trioproxy.registry import did_you_mean
from trioproxy.store import StoreError

__all__ = ["main"]

ConfigFile = Annotated[Path | None, Parameter(name=["--config", "-c"], help="The TOML file.")]

COMMANDS = ("serve", "run", "check", "init", "stages", "demo")

_WITH_VALUE = ("--config", "-c", "--log")  # options of `run` that take the next word
_OF_RUN = (*_WITH_VALUE, "--help", "-h")

HELP = """An LLM proxy that never breaks a stream, whose pipeline is a file you reorder.

To begin with:
  python -m trioproxy                        serve ./stages.toml
  python -m trioproxy --config mine.toml     serve that file
  python -m trioproxy run -- claude          serve that one program, and end with it
  python -m trioproxy check                  is the file right? what does it do?
  python -m trioproxy init --for claude-code-openai   write a file to begin with
  python -m trioproxy stages                 what can stand in a pipeline?
  python -m trioproxy demo                   see one work, without any upstream

Without --config: $TRIOPROXY_CONFIG, else ./stages.toml.
"""


def _app() -> App:
    app = App(name="trioproxy", version=__version__, help=HELP, help_format="plaintext")

    def serve(
        *,
        config: ConfigFile = None,
        listen: Annotated[
            list[str] | None,
            Parameter(negative=(), help="Listen here instead: HOST:PORT, port 0 a free one, or unix:PATH."),
        ] = None,
        log_level: Annotated[
            Literal["debug", "info", "warning", "error"] | None, Parameter(help="What is logged, at the least.")
        ] = None,
    ) -> int:
        """Serve what the file says, until Ctrl-C or SIGTERM."""
        return trio.run(serve_forever, *find_file(config, listen=listen, log_level=log_level))

    def run(
        *command: Annotated[str, Parameter(allow_leading_hyphen=True, help="The program, and its arguments.")],
        config: ConfigFile = None,
        log: Annotated[Path | None, Parameter(help="Where the log goes; nowhere if nothing is said.")] = None,
    ) -> int:
        """Serve one program, which is told where and with what token, and end with it; its exit status is ours.

        It gets ANTHROPIC_BASE_URL, ANTHROPIC_AUTH_TOKEN, OPENAI_BASE_URL and OPENAI_API_KEY.
        """
        from trioproxy.cli.run import run_command  # noqa: PLC0415  # serve starts faster without it

        if not command:
            complain("run what? For instance: python -m trioproxy run -- claude")
            return 2
        return trio.run(run_command, read_config(config), command, log)

    def check(*, config: ConfigFile = None) -> int:
        """Print every route with its stages and what flows between them, or all that is wrong with the file."""
        from trioproxy.cli.explain import explain_config  # noqa: PLC0415  # as above

        print("\n".join(explain_config(read_config(config), width())))
        return 0

    def init(
        file: Path = Path("stages.toml"),
        /,
        *,
        case: Annotated[str, Parameter(name="--for", help="What it is for; a wrong word lists what there is.")] = "",
    ) -> int:
        """Write a commented file to begin with, and say what comes next. What is there already stays.

        Parameters
        ----------
        file
            Where to.
        """
        from trioproxy.cli.init import write  # noqa: PLC0415  # as above

        return write(file, case)

    def stages(name: str | None = None, /, *, config: ConfigFile = None) -> int:
        """List the stages that can stand in a pipeline, or explain one in full.

        Parameters
        ----------
        name
            A stage: a name from the list or of the file's [stages], or module:Class beside the file.
        """
        from trioproxy.cli.explain import explain_stage, list_stages  # noqa: PLC0415  # as above

        if name is None:
            print("\n".join(list_stages(width())))
        else:
            print("\n".join(explain_stage(name, *read_settings(name, config), width())))
        return 0

    def demo() -> int:
        """Ask a recorded upstream once, through the default pipeline, and show what each stage did."""
        from trioproxy.cli.demo import show  # noqa: PLC0415  # as above

        return trio.run(show)

    app.default(serve)
    for command in (serve, run, check, init, stages, demo):
        app.command(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if mistyped := _mistyped(given):
        complain(f"{mistyped}\nTry: python -m trioproxy --help")
        return 2
    given = _apart(given)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an arrow that the terminal cannot show is no reason to fail
    try:
        result = _app()(given, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except ConfigError as exc:
        return _refuse(exc)
    except CycloptsError as exc:
        complain(f"{_told(exc)}\nTry: python -m trioproxy --help")
        return 2
    except (BrokenPipeError, SystemExit):  # the latter is how rich, which prints the help, says the former
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `… | head`: nobody reads any more
        return 0
    except StoreError as exc:
        complain(f"the store cannot be used: {exc}")
        return 1
    except OSError as exc:
        complain(f"{exc.strerror or exc}{_another_port(exc)}")
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count


def _mistyped(given: list[str]) -> str:
    """What is wrong with the first word behind `run`: an option that it does not have would be taken for a command."""
    word = given[1].partition("=")[0] if given[:1] == ["run"] and given[1:] else ""
    if not word.startswith("-") or word == "--" or word.startswith(_OF_RUN):
        return ""
    near = did_you_mean(word, _OF_RUN).replace("did", "Did").replace("'", "")
    return f"Unknown option: {word}. {near}".strip()


def _apart(given: list[str]) -> list[str]:
    """`run`'s own options, and with a `--` in between the command: from its first word on, all options are its own."""
    if given[:1] != ["run"]:
        return given
    at = 1
    while at < len(given) and given[at].startswith("-") and given[at] != "--":
        at += 2 if given[at] in _WITH_VALUE else 1
    return given if given[at : at + 1] in ([], ["--"]) else [*given[:at], "--", *given[at:]]


def _another_port(exc: OSError) -> str:
    """How to listen elsewhere, if somebody else listens there."""
    if exc.errno != errno.EADDRINUSE:
        return ""
    admin = str(exc.strerror).startswith("[admin]")
    return "; give listen in [admin] another port" if admin else "; --listen 127.0.0.1:0 takes a free one"


def _refuse(exc: ConfigError) -> int:
    """Say what is wrong with the configuration; the exit status."""
    if exc.file:  # every problem begins a line with its place, where editors and terminals look for it
        many = "one problem" if len(exc.problems) == 1 else f"{len(exc.problems)} problems"
        print(f"{exc}\n", file=sys.stderr)
        complain(f"{many} in {exc.file}")
    else:
        complain(str(exc))
    return 2


def _told(exc: CycloptsError) -> str:
    """What is wrong with the command line, and the nearest thing that would be right."""
    if not isinstance(exc, UnusedCliTokensError) or not exc.unused_tokens:
        return str(exc).strip()
    word = exc.unused_tokens[0]
    if word in COMMANDS:
        return f"'{word}' must come first: python -m trioproxy {word} …"
    if word.endswith(".toml") or Path(word).is_file():
        return f"a file is named with --config: --config {word}"
    if exc.command_chain:
        return f"'{word}' is one word too many"
    hint = did_you_mean(word, COMMANDS)
    return f"there is no command '{word}'" + (f"; {hint}" if hint else f"; there are {', '.join(COMMANDS)}")
