"""A real trioproxy process in front of one upstream: Anthropic's, with the default pipeline, if not told otherwise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests import told

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 20.0
STOP_SECONDS = 15.0
CONFIG = """\
listen = "127.0.0.1:0"

[upstreams.router]
url = "{upstream}"
dialect = "anthropic"
"""
_CONFIGURING = ("TRIOPROXY_", "ANTHROPIC_", "OPENAI_")


class Trioproxy:
    """Runs from `__enter__`, which waits until it listens, to `__exit__`, which checks that it ended in order."""

    def __init__(
        self,
        upstream: str,
        folder: Path,
        config: str = CONFIG,
        *,
        file: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`file` is a configuration as it is, which `environment` tells of the upstream, in place of `config`."""
        self._config, self._file, self._environment = config, file, environment or {}
        self.url = ""
        self.log: list[str] = []
        self._upstream = upstream
        self._folder = folder
        self._listening_or_ended = threading.Event()
        self._reader = threading.Thread(target=self._read, name="trioproxy's log")

    def __enter__(self) -> Self:
        if self._file is None:
            (self._folder / "stages.toml").write_text(self._config.format(upstream=self._upstream), encoding="utf-8")
        # Variables that are a user's configuration would make the test depend on who runs it.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_CONFIGURING)}
        paths = [str(REPOSITORY), *filter(None, [kept.get("PYTHONPATH")])]
        # An example listens at a port of its own.
        said = [str(self._file), "--listen", "127.0.0.1:0"] if self._file else ["stages.toml"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trioproxy", "--config", *said],
            cwd=self._folder,
            env=kept | {"PYTHONPATH": os.pathsep.join(paths)} | dict(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._reader.start()
        if not self._listening_or_ended.wait(START_SECONDS) or not self.url:
            self._end(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
            raise AssertionError(f"trioproxy did not start to listen\n{self.report}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        died = self._process.poll()
        code = self._end(signal.SIGTERM)
        told.now.uses(*(value for name, value in self._environment.items() if name.endswith(("_KEY", "_TOKEN"))))
        told.now.says("what a process said", self.report)
        if error is not None:
            error.add_note(f"trioproxy said:\n{self.report}")
            return
        assert died is None, f"trioproxy ended by itself with {died}\n{self.report}"
        assert code in (0, -signal.SIGTERM), f"trioproxy ended with {code} after SIGTERM\n{self.report}"
        assert "Traceback" not in self.report, self.report

    @property
    def report(self) -> str:
        return "".join(self.log)

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        for line in output:
            self.log.append(line)
            # The banner names the upstream as well.
            urls = [url for url in re.findall(r"https?://[\w.\[\]:-]*:\d+", line) if url != self._upstream]
            if urls and not self.url:
                self.url = urls[0]
                self._listening_or_ended.set()
        self._listening_or_ended.set()

    def _end(self, how: signal.Signals) -> int:
        self._process.send_signal(how)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = -1
            self.log.append(f"(killed: still running {STOP_SECONDS:.0f} s after {how.name})\n")
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code
