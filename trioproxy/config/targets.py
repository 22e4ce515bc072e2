"""The `[targets]` section, and what a registration says while running: the same words, and fewer of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from trioproxy import registry, toml
from trioproxy.config.clients import read_client
from trioproxy.config.model import Mode, TargetSpec
from trioproxy.config.table import MISSING, Table
from trioproxy.config.upstreams import TARGET, read_upstream
from trioproxy.errors import ConfigError, Problem

__all__ = ["DIALECT_OF_MODE", "PREFIX", "UNBUILT", "read_registration", "read_target", "read_targets"]

PREFIX = "/targets"
"""Where targets are found: their keys follow. No route may be there."""

DIALECT_OF_MODE: Mapping[str, str] = {
    "anthropic_messages": "anthropic",
    "chat_completions": "openai-chat",
    "codex_responses": "openai-responses",
    # Not built: nothing is ever sent there, so any dialect will do.
    "bedrock_converse": "anthropic",
    "codex_app_server": "anthropic",
}
UNBUILT = frozenset({"bedrock_converse", "codex_app_server"})
"""Modes that are only names so far."""

_USUAL: Mode = "chat_completions"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EXAMPLE = 'model = "qwen3-coder"'
# What a registration may say. Not where files are, nor what programs to run: it comes over the network.
_SAID = ("provider", "model", "models", "url", "token", "mode", "headers", *TARGET)
_ALIASES = {"base-url": "url", "api-key": "token", "api-mode": "mode"}  # as clients of other proxies call them


def read_targets(root: Table, directory: Path) -> dict[str, TargetSpec]:
    """Every target by its name; of wrong ones the problems are noted. `directory` is where the TOML file is."""
    section = root.table("targets")
    found: dict[str, TargetSpec] = {}
    names: dict[str, str] = {}
    for name, table in section.tables():
        target = None if table.broken else _read(f"targets.{name}", table, directory)
        if target is None:
            continue
        if target.key is not None and (other := names.setdefault(target.key, name)) != name:
            problem = Problem(f"route-key: [targets.{other}] has the same: nobody could tell them apart")
            table.problem(("route-key",), problem)
        found[name] = target
    if "targets" in root.raw or "admin" in root.raw:
        for prefix in root.table("routes").raw:
            if prefix == PREFIX or prefix.startswith(f"{PREFIX}/"):
                problem = Problem(f"route '{prefix}' is where targets are", "give it another prefix")
                root.problem(("routes", prefix), problem, at_key=True)
    return found


def read_registration(said: Mapping[str, Any]) -> tuple[dict[str, Any], TargetSpec]:
    """What a registration says, in the file's words, and the target that it makes.

    The same target is said the same way, without what says nothing. Raises `ConfigError` with all that is wrong, in the
    registration's words.
    """
    problems: list[Problem] = []
    plain = _plain(said, problems)
    try:
        spec = read_target("target", plain)
    except ConfigError as exc:
        names = {_key(name): name for name in said}
        problems += (_in_words(problem, names) for problem in exc.problems)
    if problems:
        raise ConfigError(problems)
    return plain, spec


def _key(name: str) -> str:
    """What the file calls what a registration calls `name`."""
    key = name.replace("_", "-")
    return _ALIASES.get(key, key)


def _in_words(problem: Problem, names: Mapping[str, str]) -> Problem:
    """A problem of a key, under the name that was said."""
    key, colon, rest = problem.message.partition(":")
    return replace(problem, message=f"{names.get(key, key)}{colon}{rest}")


def _plain(said: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    plain: dict[str, Any] = {"provider": "", "mode": _USUAL}
    given: set[str] = set()
    for name, value in said.items():
        key = _key(name)
        if key not in _SAID:
            hint = registry.did_you_mean(key, _SAID) or f"known: {', '.join(_SAID)}"
            problems.append(Problem(f"a target has no {name[:40]!r}", hint))
        elif key in given:
            problems.append(Problem(f"{key} is said twice, once as {name!r}"))
        elif value is not None and value != "":  # many programs send what they do not have as an empty text
            plain[key] = value
        given.add(key)
    if isinstance(plain.get("url"), str):
        plain["url"] = plain["url"].strip().rstrip("/")
    return plain


def read_target(name: str, said: Mapping[str, Any]) -> TargetSpec:
    """The target that a registration in the file's words describes; its upstream is called `name`.

    Raises `ConfigError`.
    """
    problems: list[Problem] = []
    token, url = said.get("token", ""), said.get("url", "")
    if not isinstance(token, str):  # a file or a program, which the TOML file may name
        problems.append(Problem(f"token: Expected a text, got `{type(token).__name__}`"))
        said = {key: value for key, value in said.items() if key != "token"}
    if isinstance(url, str) and url.startswith("replay:"):
        problems.append(Problem("url: Expected a URL that begins with http:// or https://"))
        said = {**said, "url": "http://127.0.0.1"}  # what else is wrong is told too
    table = Table(_Said({}, {}, {}), problems, {}, ("target",), said)  # no variables of our environment for others
    target = _read(name, table, Path())
    if problems or target is None:
        raise ConfigError(problems)
    return target


class _Said(toml.Document):
    """What stands in no file: a problem has no place."""

    def placed(self, problem: Problem, path: toml.Path, *, at_key: bool = False) -> Problem:
        return problem


def _read(name: str, table: Table, directory: Path) -> TargetSpec | None:
    mode: Mode = table.get("mode", Mode, _USUAL)
    provider: str = table.get("provider", str, "")
    if not provider.isprintable():
        table.problem(("provider",), Problem(f"provider: Expected a name, got {provider!r}"))
    models = [model for model in table.array("models", str, []) if model is not MISSING]
    if any(not model.strip() or not model.isprintable() or "*" in model for model in models):
        table.problem(("models",), Problem('models: Expected names of models, as in ["sonnet", "opus"]'))
    key = table.get("route-key", str, None)
    if key is not None and not _KEY.fullmatch(key):
        hint = 'route-key = "team-a"'
        message = f"route-key: Expected 1 to 64 of A-Z, a-z, 0-9, _ and -, got {key!r}"
        table.problem(("route-key",), Problem(message, hint))
    client = read_client(table, directory, "client-token", name)
    if "dialect" in table.raw:
        hint = " or ".join(f'mode = "{each}"' for each in DIALECT_OF_MODE if each not in UNBUILT)
        problem = Problem("dialect: what a target speaks is said by its mode", hint)
        table.problem(("dialect",), problem, at_key=True)
        table.known("dialect")
    if not table.raw.get("model"):
        table.problem((), Problem(f"[{table.name}] needs a model", _EXAMPLE), at_key=True)
    upstream = read_upstream(name, table, directory, dialect=DIALECT_OF_MODE[mode])
    if upstream is None or upstream.model is None:
        return None
    return TargetSpec(upstream=upstream, mode=mode, provider=provider, models=tuple(models), key=key, client=client)
