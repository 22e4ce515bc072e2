"""The command line: serve (the default), check, stages, demo. Exit status 2 means the operator must change something.

Errors go to stderr in plain sentences, without a traceback.
"""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import trio
from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from trioproxy import __version__
from trioproxy.cli.discover import read_config
from trioproxy.cli.serve import serve_forever
from trioproxy.cli.terminal import complain
from trioproxy.errors import ConfigError
from trioproxy.registry import did_you_mean

__all__ = ["main"]

ConfigFile = Annotated[Path | None, Parameter(name=["--config", "-c"], help="The TOML file.")]

COMMANDS = ("serve", "check", "stages", "demo")

HELP = """An LLM proxy that never breaks a stream, whose pipeline is a file you reorder.

To begin with:
  python -m trioproxy                        serve ./stages.toml
  python -m trioproxy --config mine.toml     serve that file
  python -m trioproxy check                  is the file right? what does it do?
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
            list[str] | None, Parameter(negative=(), help="Listen here instead: HOST:PORT; port 0 is a free one.")
        ] = None,
        log_level: Annotated[
            Literal["debug", "info", "warning", "error"] | None, Parameter(help="What is logged, at the least.")
        ] = None,
    ) -> int:
        """Serve what the file says, until Ctrl-C or SIGTERM."""
        loaded = read_config(config, listen=listen, log_level=log_level)
        return trio.run(serve_forever, loaded)

    def check(*, config: ConfigFile = None) -> int:
        """Print every route with its stages and what flows between them, or all that is wrong with the file."""
        from trioproxy.cli.explain import explain_config  # noqa: PLC0415  # serve starts faster without it

        print("\n".join(explain_config(read_config(config))))
        return 0

    def stages(name: str | None = None, /) -> int:
        """List the stages that can stand in a pipeline, or explain one in full.

        Parameters
        ----------
        name
            A stage: a name from the list, or module:Class.
        """
        from trioproxy.cli.explain import explain_stage, list_stages  # noqa: PLC0415  # as above

        print("\n".join(list_stages() if name is None else explain_stage(name)))
        return 0

    def demo() -> int:
        """Ask a recorded upstream once, through the default pipeline, and show what each stage did."""
        from trioproxy.cli.demo import show  # noqa: PLC0415  # as above

        return trio.run(show)

    app.default(serve)
    for command in (serve, check, stages, demo):
        app.command(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
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
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `… | head`: nobody reads any more
        return 0
    except OSError as exc:
        complain(exc.strerror or str(exc))
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count


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
