"""Runs a client's program in a throw-away folder, bounded in time, with nothing of this machine's environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A client that hangs is stopped after this and the test fails; an answered run takes about a second.
RUN_SECONDS = 30.0


@dataclass(frozen=True)
class Output:
    """What one run showed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    @property
    def report(self) -> str:
        return f"exit {self.returncode}\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"


def run(command: Sequence[str], prompt: str, cwd: Path, environment: Mapping[str, str], what: str) -> Output:
    """Gives `prompt` to the program's standard input, and what it said until it ended."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Its own group, so that stopping it also stops the shells it started.
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(prompt, timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            report = Output(process.returncode, stdout, stderr).report
            raise AssertionError(f"{what} hung for {RUN_SECONDS:.0f} s\n{report}") from None
    return Output(process.returncode, stdout, stderr)


def package_version(executable: Path, package: str) -> str | None:
    """The version of the npm package that `executable` belongs to: its file saves starting it at collection."""
    for folder in executable.resolve().parents:
        manifest = folder / "package.json"
        if manifest.is_file():
            found = json.loads(manifest.read_text(encoding="utf-8"))
            if found.get("name") == package:
                return str(found["version"])
    return None
