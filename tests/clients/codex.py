"""Finds an installed Codex and runs `codex exec` in a throw-away home."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .claude_code import INSTALLED, node_folder
from .process import Output, package_version, run

PACKAGE = "@openai/codex"
# `openai_base_url` leaves Codex its own provider: WebSockets first, and the tools that its newest models have.
BUILT_IN = 'openai_base_url = "{url}/v1"\n'
CUSTOM = """\
model_provider = "proxy"
model = "{model}"
{options}
[model_providers.proxy]
name = "proxy"
base_url = "{url}/v1"
env_key = "PROXY_KEY"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 2
"""


@dataclass(frozen=True)
class Codex:
    executable: Path

    @cached_property
    def version(self) -> str:
        return package_version(self.executable, PACKAGE) or "unknown"


class Session(Output):
    """What one run showed."""

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The completed items of one type: `agent_message`, `reasoning`, `command_execution`, `file_change`, …"""
        completed = [line["item"] for line in self.lines if line["type"] == "item.completed"]
        return [item for item in completed if item["type"] == kind]

    @property
    def texts(self) -> list[str]:
        return [item["text"] for item in self.items("agent_message")]

    @property
    def usage(self) -> dict[str, Any]:
        [ended] = [line for line in self.lines if line["type"] == "turn.completed"]
        usage = ended["usage"]
        assert isinstance(usage, dict)
        return usage

    @property
    def failures(self) -> list[str]:
        """What the turn failed with, if it did."""
        return [line["error"]["message"] for line in self.lines if line["type"] == "turn.failed"]

    def assert_answer(self, *texts: str) -> None:
        """It ended well, and has shown these texts and no others."""
        assert (self.returncode, self.failures, self.texts) == (0, [], list(texts)), self.report


def installed() -> list[Codex]:
    named = os.environ.get("TRIOPROXY_CODEX", "")
    paths = [Path(name) for name in named.split(os.pathsep) if name]
    if not paths:
        paths = sorted(INSTALLED.glob("codex-*/node_modules/.bin/codex"))
    return [Codex(path) for path in paths if path.exists()]


def run_codex(
    client: Codex,
    config: str,
    prompt: str,
    scratch: Path,
    *,
    launcher: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Session:
    """`codex exec` as users run it, with nothing of this machine's environment but the node it needs.

    `launcher` is a command that starts it, told what `environment` adds.
    """
    home, cwd = scratch / "home", scratch / "cwd"
    (home / ".codex").mkdir(parents=True)
    cwd.mkdir()
    (home / ".codex" / "config.toml").write_text(config, encoding="utf-8")
    node = node_folder()
    variables = {
        "HOME": str(home),
        "PATH": os.pathsep.join([*([str(node)] if node else []), "/usr/bin", "/bin"]),
        "TERM": "dumb",
        # A closed port: whatever is not meant for loopback fails instead of leaving the machine.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
        "PROXY_KEY": "dummy",
        "OPENAI_API_KEY": "dummy",
    }
    variables |= environment or {}
    command = [
        *launcher,
        str(client.executable),
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--sandbox",
        "danger-full-access",
    ]
    shown = run([*command, "-"], prompt, cwd, variables, f"codex {client.version}")
    return Session(shown.returncode, shown.stdout, shown.stderr)
