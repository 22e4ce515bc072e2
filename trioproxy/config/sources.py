"""A token in its forms: the text itself, `{ env = … }`, `{ file = … }`, `{ command = […] }`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shutil import which

from trioproxy.config.model import Secret, Token, TokenCommand, TokenFile
from trioproxy.config.table import MISSING, Table
from trioproxy.errors import Problem
from trioproxy.units import Seconds

__all__ = ["TOKEN_SIZE", "as_token", "read_file_or_text", "read_token", "token_in"]

TOKEN_SIZE = 64 * 1024
"""Bytes of a token: what is larger is something else."""

_FORMS = 'token = { env = "NAME" }, { file = "FILE" } or { command = ["PROGRAM", "ARGUMENT"], ttl = "5m" }'


def as_token(raw: bytes) -> Secret:
    """What was read as a token, with any white space around it. Raises `ValueError` that says what it is instead."""
    if len(raw) > TOKEN_SIZE:
        raise ValueError(f"more than {TOKEN_SIZE // 1024} KiB")
    try:
        return Secret.read(raw.decode(errors="replace"))
    except ValueError as exc:
        raise ValueError("no token of printable ASCII characters" if raw.strip() else "nothing") from exc


def token_in(file: Path) -> Secret:
    """The token in `file`. Raises `ValueError` that says what is wrong with it, and nothing of what it holds."""
    try:
        # A pipe gives its token once and never again, and we would wait for it.
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ValueError("is no regular file")
        with file.open("rb") as opened:
            raw = opened.read(TOKEN_SIZE + 1)
    except OSError as exc:
        raise ValueError(f"cannot be read: {exc.strerror}") from exc
    try:
        return as_token(raw)
    except ValueError as exc:
        raise ValueError(f"holds {exc}") from exc


def read_token(table: Table, directory: Path, key: str = "token") -> Token | None:
    """An upstream's token; None if there is none, or a problem with it is noted. `directory` is where the file is."""
    value = table.raw.get(key)
    if callable(value):  # of a configuration that a program has made
        table.known(key)
        return value  # type: ignore[no-any-return]  # what it gives is seen when it is asked
    if not isinstance(value, dict) or not table.is_table(key):
        return table.get(key, Secret, None)
    own = table.table(key)
    if len(own.raw.keys() & {"file", "command"}) != 1:
        table.problem((key,), Problem(f"{key}: Expected a text or one of env, file and command", _FORMS))
    token = _command(own, directory) if "command" in own.raw else _file(own, directory)
    own.known("file", "command", "ttl")
    if "ttl" in own.raw and "command" not in own.raw:
        own.problem(("ttl",), Problem("ttl: only for command: a file is read again when it has changed"), at_key=True)
    own.done()
    return token


def read_file_or_text(table: Table, directory: Path, key: str) -> Secret | None:
    """A token that must be known when the file is read: a text, `{ env = … }` or `{ file = … }`; None as above."""
    if not table.is_table(key):
        return table.get(key, Secret, None)
    own = table.table(key)
    if "file" not in own.raw:
        hint = f'{key} = {{ env = "NAME" }} or {{ file = "FILE" }}'
        table.problem((key,), Problem(f"{key}: Expected a text, or one of env and file", hint))
        return None
    token = _file(own, directory)
    own.done()
    return token_in(token.file) if token else None


def _file(table: Table, directory: Path) -> TokenFile | None:
    name = table.get("file", str, None)
    if not name:
        if name is not None:
            table.problem(("file",), Problem("file: Expected the name of a file, got nothing"))
        return None
    file = directory / name
    try:
        token_in(file)
    except ValueError as exc:
        # Only a path is quoted: in place of its name, the token itself may stand here.
        quoted, beside = (
            (f" {name}", "") if file == Path(name) else ("", "a relative name is looked for beside the TOML")
        )
        table.problem(("file",), Problem(f"the file{quoted} {exc}", beside))
        return None
    return TokenFile(file)


def _command(table: Table, directory: Path) -> TokenCommand | None:
    ttl = table.get_positive("ttl", TokenCommand(()).ttl)
    if isinstance(table.raw["command"], str):
        hint = 'a list: command = ["op", "read", "op://vault/item/field"]'
        table.problem(("command",), Problem("command: Expected a program and its arguments, got one text", hint))
        table.known("command")
        return None
    words = table.array("command", str, MISSING)
    if words is MISSING or MISSING in words:
        return None
    if not words or not all(words) or not all(word.isprintable() for word in words):
        hint = 'command = ["op", "read", "op://vault/item/field"]'
        table.problem(("command",), Problem("command: Expected a program and its arguments", hint))
        return None
    program, *arguments = words
    found = which(str(directory / program) if "/" in program else program)
    if found is None:
        hint = "a program on the PATH, or one with a / in its name, which is looked for beside the TOML"
        table.problem(("command", 0), Problem("command: there is no such program that can be run", hint))
        return None
    return TokenCommand((found, *arguments), Seconds(ttl))
