"""The rows of other programs that translate, where they are installed: see README.md for how to get them.

They are measured for comparison: one that cannot stand a load loses that figure, and the run goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from benchmarks.proxies import Command, Prepare, Proxy
from benchmarks.wire_chat import CHAT

CCR_PACKAGE = Path("node_modules/@musistudio/claude-code-router")
QUIET_ENVIRONMENT = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}

LITELLM_YAML = """\
model_list:
  - model_name: "*"
    litellm_params:
      model: "openai/*"
      api_base: "http://127.0.0.1:{upstream}/v1"
      api_key: sk-none
litellm_settings:
  telemetry: false
  use_chat_completions_url_for_anthropic_messages: true
"""
# Without a key of its own it wants to be told that this is on purpose; and it is not to fetch its list of prices.
LITELLM_ENVIRONMENT = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "PYTHONPYCACHEPREFIX": "",  # pip has compiled it
    "PYTHONPATH": "",
}


def rows(ccr: Path | None, litellm: Path | None) -> list[Proxy]:
    """claude-code-router below the npm prefix `ccr`, LiteLLM in the environment `litellm`; else as PATH finds them."""
    return [_ccr(ccr), _litellm(litellm)]


def _ccr(prefix: Path | None) -> Proxy:
    found = shutil.which("ccr") if prefix is None else prefix / CCR_PACKAGE / "dist" / "cli.js"
    script = Path(found).resolve() if found else None
    node = shutil.which("node")
    missing = ""
    if script is None:
        missing = "claude-code-router is not installed (ccr is not in PATH; --ccr DIR, TRIOPROXY_BENCH_CCR)"
    elif not script.exists():
        missing = f"there is no {CCR_PACKAGE} below --ccr"
    elif node is None:
        missing = "node is not in PATH"
    name = f"claude-code-router {_ccr_version(script)}".strip() if script and not missing else "claude-code-router"
    return Proxy(
        "ccr",
        f"{name}, translating",
        _start_ccr(node or "", script or Path()),
        missing=missing,
        upstream=CHAT.name,
        prefix="mock,",
        peer=True,
    )


def _ccr_version(script: Path) -> str:
    package = script.parent.parent / "package.json"
    return str(json.loads(package.read_text()).get("version", "")) if package.exists() else ""


def _start_ccr(node: str, script: Path) -> Prepare:
    def prepare(directory: Path, port: int, upstream: int) -> Command:
        config = directory / ".claude-code-router" / "config.json"
        config.parent.mkdir()
        provider = {
            "name": "mock",
            "api_base_url": f"http://127.0.0.1:{upstream}/v1/chat/completions",
            "api_key": "sk-none",
            "models": ["mock-model"],
        }
        settings = {
            "PORT": port,
            "HOST": "127.0.0.1",
            "LOG": False,
            "NON_INTERACTIVE_MODE": True,
            "Providers": [provider],
            "Router": {"default": "mock,mock-model"},
        }
        config.write_text(json.dumps(settings))
        return Command([node, str(script), "start"], QUIET_ENVIRONMENT | {"HOME": str(directory)})

    return prepare


def _litellm(environment: Path | None) -> Proxy:
    found = shutil.which("litellm", path=None if environment is None else str(environment / "bin"))
    missing = ""
    if not found:
        where = "in PATH; --litellm DIR, TRIOPROXY_BENCH_LITELLM" if environment is None else "below --litellm"
        missing = f"LiteLLM is not installed (litellm is not {where})"
    return Proxy(
        "litellm",
        f"LiteLLM {_litellm_version(Path(found))}, translating" if found else "LiteLLM, translating",
        _start_litellm(found or ""),
        loads=("paced", "json", "flood"),  # hundreds of streams at once are more than it can open in time
        missing=missing,
        upstream=CHAT.name,
        peer=True,
        starts=1,
    )


def _litellm_version(script: Path) -> str:
    installed = sorted(script.parent.parent.glob("lib/python3*/site-packages/litellm-*.dist-info"))
    return installed[0].name.removeprefix("litellm-").removesuffix(".dist-info") if installed else ""


def _start_litellm(script: str) -> Prepare:
    def prepare(directory: Path, port: int, upstream: int) -> Command:
        config = directory / "config.yaml"
        config.write_text(LITELLM_YAML.format(upstream=upstream))
        arguments = [script, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        return Command(arguments, QUIET_ENVIRONMENT | LITELLM_ENVIRONMENT | {"HOME": str(directory)})

    return prepare


def option(given: Path | None, variable: str) -> Path | None:
    """An option's directory, or else the environment's."""
    if given is None and os.environ.get(variable):
        given = Path(os.environ[variable])
    return None if given is None else given.expanduser().resolve()
