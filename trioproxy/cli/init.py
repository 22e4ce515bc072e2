"""`init`: a commented file for a case. The examples are these files: each says on top what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trioproxy.cli.terminal import complain, say
from trioproxy.registry import did_you_mean

__all__ = ["CASES", "write"]

CASES: Mapping[str, str] = {
    "claude-code-openai": "claude-code-on-responses.toml",
    "claude-code-chat": "claude-code-on-openai.toml",
    "codex-claude": "codex-on-claude.toml",
    "open-webui-claude": "open-webui-on-claude.toml",
    "filter": "filter-only.toml",
    "team": "team.toml",
}
"""What `--for` takes, and the example that is for it."""
_USUAL = "stages.toml"


def write(file: Path, case: str) -> int:
    """Write the file for `case`, if it is one, and say what comes next; the exit status."""
    if case and case not in CASES:
        hint = did_you_mean(case, CASES)
        complain(f"there is no case '{case}'{f'; {hint}' if hint else ''}\n\n{_listed()}")
        return 2
    name = CASES.get(case, _USUAL)
    text = _text(name).replace(f"--config {_where(name)}", f"--config {file}")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        complain(f"{file} is already there, and stays as it is; name another one: python -m trioproxy init FILE")
        return 2
    say(f"wrote {file}\n\n{_top(text)}")
    if not case:
        say(f"\nFor a case of its own, python -m trioproxy init --for CASE FILE:\n{_listed()}")
    return 0


def _listed() -> str:
    """The cases, a line each."""
    width = max(map(len, CASES))
    return "\n".join(f"  {case:{width}}  {_top(_text(name)).splitlines()[0]}" for case, name in CASES.items())


def _top(text: str) -> str:
    """The comment that a file begins with."""
    lines = text.splitlines()
    end = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])


def _text(name: str) -> str:
    """A file of the package, where pyproject.toml has it put; or if we run from a checkout, of that."""
    package = Path(__file__).parent.parent
    installed = package / "cases" / name
    return (installed if installed.is_file() else package.parent / _where(name)).read_text(encoding="utf-8")


def _where(name: str) -> str:
    """Where the file is in a checkout, and as it names itself."""
    return name if name == _USUAL else f"examples/{name}"
