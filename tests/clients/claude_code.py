"""Finds installed Claude Code executables and runs `claude -p` in a throw-away home."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .answers import MODEL
from .process import RUN_SECONDS, Output, package_version, run

PACKAGE = "@anthropic-ai/claude-code"
# What tests/clients/install.sh makes.
INSTALLED = Path(__file__).parent / ".installed"


@dataclass(frozen=True)
class ClaudeCode:
    executable: Path

    @cached_property
    def version(self) -> str:
        if version := package_version(self.executable, PACKAGE):
            return version
        shown = subprocess.run(
            [self.executable, "--version"], capture_output=True, text=True, timeout=RUN_SECONDS, check=True
        )
        return shown.stdout.split()[0]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".") if part.isdigit())


class Outcome(Output):
    """What one run showed."""

    @property
    def results(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] == "result"]

    @property
    def result(self) -> dict[str, Any]:
        results = self.results
        assert len(results) == 1, f"{len(results)} results instead of one\n{self.report}"
        return results[0]

    @property
    def texts(self) -> list[str]:
        """The texts of the assistant's messages, as a terminal would show them."""
        return [
            block["text"]
            for line in self.lines
            if line["type"] == "assistant"
            for block in line["message"]["content"]
            if block["type"] == "text"
        ]

    def assert_answer(self, text: str) -> None:
        result = self.result
        shown = (self.returncode, result["subtype"], result["is_error"], result.get("result"))
        assert shown == (0, "success", False, text), self.report


def installed() -> list[ClaudeCode]:
    named = os.environ.get("TRIOPROXY_CLAUDE_CODE", "")
    paths = [Path(name) for name in named.split(os.pathsep) if name]
    if not paths:
        paths = sorted(INSTALLED.glob("*/node_modules/.bin/claude"))
    clients = [ClaudeCode(path) for path in paths if path.exists()]
    return sorted(clients, key=lambda client: client.numbers)


def node_folder() -> Path | None:
    """Where the node for the versions that are plain JavaScript is; the newer ones bring their own runtime."""
    private = INSTALLED / "node" / "node_modules" / ".bin" / "node"
    node = os.environ.get("TRIOPROXY_NODE") or (str(private) if private.exists() else shutil.which("node"))
    return Path(node).parent if node else None


def run_claude(
    client: ClaudeCode,
    base_url: str,
    prompt: str,
    scratch: Path,
    *,
    model: str = MODEL,
    talkative: bool = False,
    launcher: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """`claude -p` as users run it, with nothing of this machine's environment but the node it needs.

    `talkative` leaves it the traffic that it calls nonessential, as most people do. `launcher` is a command that starts
    it, told what `environment` adds.
    """
    home, cwd = scratch / "home", scratch / "cwd"
    home.mkdir()
    cwd.mkdir()
    node = node_folder()
    variables = {
        "HOME": str(home),
        "PATH": os.pathsep.join([*([str(node)] if node else []), "/usr/bin", "/bin"]),
        "TERM": "dumb",
        "DISABLE_AUTOUPDATER": "1",
        # A closed port: whatever is not meant for loopback fails instead of leaving the machine.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_AUTH_TOKEN": "dummy",
        "CLAUDE_CODE_MAX_RETRIES": "3",
    }
    if not talkative:
        quiet = ("DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC")
        variables |= dict.fromkeys(quiet, "1")
    variables |= environment or {}
    command = [*launcher, str(client.executable), "-p", "--output-format", "stream-json", "--verbose"]
    command += ["--include-partial-messages", "--model", model, "--allowedTools", "Bash,Read"]
    shown = run(command, prompt, cwd, variables, f"claude {client.version}")
    return Outcome(shown.returncode, shown.stdout, shown.stderr)
