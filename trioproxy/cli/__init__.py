"""The command line: serve (the default), check, stages, demo. Exit status 2 means the operator must change something.

Errors go to stderr in plain sentences; colour only on a terminal that wants it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import trio
from cyclopts import App, CycloptsError, Parameter

from trioproxy import __version__
from trioproxy.cli.discover import read_config
from trioproxy.cli.serve import serve_forever
from trioproxy.errors import ConfigError

__all__ = ["main"]

ConfigFile = Annotated[Path | None, Parameter(name=["--config", "-c"], help="The TOML file.")]

HELP = """An LLM proxy that never breaks a stream, whose pipeline is a file you reorder.

Without --config: $TRIOPROXY_CONFIG, else ./stages.toml.

    python -m trioproxy                         serve ./stages.toml
    python -m trioproxy --config stages.toml    serve that file
    python -m trioproxy check                   is the file right, and what does each route do?
    python -m trioproxy demo                    see the pipeline work, without any upstream
"""


def _app() -> App:
    app = App(name="trioproxy", version=__version__, help=HELP, help_format="plaintext")

    def serve(
        *,
        config: ConfigFile = None,
        listen: Annotated[list[str] | None, Parameter(help="Listen here instead: HOST:PORT, port 0 for a free one.")] = None,
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
    try:
        result = _app()(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        return result if isinstance(result, int) else 0
    except ConfigError as exc:
        many = f"\n\n{len(exc.problems)} problems" if len(exc.problems) > 1 else ""
        return _complain(f"{exc}{many}", 2)
    except CycloptsError as exc:
        return _complain(f"{str(exc).strip()}\nTry: python -m trioproxy --help", 2)
    except OSError as exc:
        return _complain(exc.strerror or str(exc), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `… | head`: nobody reads any more
        return 0
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count


def _complain(message: str, status: int) -> int:
    first, _, rest = message.partition("\n")
    error = "\x1b[1;31merror\x1b[0m" if wants_colour() else "error"
    print(f"{error}: {first}" + (f"\n{rest}" if rest else ""), file=sys.stderr)
    return status


def wants_colour() -> bool:
    """Whether stderr is a terminal whose user did not say no (no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
