"""TOML with positions: the tables as `tomllib` reads them, and where in the file each key and value stands.

`tomllib` tells no positions, so a small scanner walks the same text again. It may be simple-minded, because by then the
text is known to be valid.
"""

import re
import tomllib
from bisect import bisect_right
from typing import Any

import msgspec
from msgspec.structs import replace

from trioproxy.errors import ConfigError, Position, Problem

__all__ = ["Document", "Path", "key", "load"]

Path = tuple[str | int, ...]
"""The way to a value: table and key names, and indexes in arrays."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_PARTS = 100
"""Of a dotted key, as in `[a.b]`."""
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:\\.|[^"\\\n])*+"|'[^'\n]*+')"""
# What is passed over has no end where the text is not valid, so that one pass is enough.
_TOO_LONG = re.compile(
    rf"""(?P<long>(?:{_PART}[ \t]*+\.[ \t]*+){{{_PARTS}}})"""
    r"""|"{3}(?:\\.|[^\\])*?(?:"{3}|\Z)|'{3}.*?(?:'{3}|\Z)"""
    rf"""|{_PART}|["'#][^\n]*+""",
    re.DOTALL,
)
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class Document:
    """A TOML file: its tables, and the positions of its keys and values."""

    def __init__(self, tables: dict[str, Any], keys: dict[Path, Position], values: dict[Path, Position]) -> None:
        self.tables = tables
        self._keys = keys
        self._values = values

    def key(self, path: Path) -> Position | None:
        """Where the key first stands, the `b` of `[a.b]` or `a.b = 1`; of what has no key, where its parent stands."""
        while path and path not in self._keys:
            path = path[:-1]
        return self._keys.get(path)

    def value(self, path: Path) -> Position | None:
        """Where the value stands; where it has no place of its own, its key."""
        return self._values.get(path) or self.key(path)

    def placed(self, problem: Problem, path: Path, *, at_key: bool = False) -> Problem:
        """The problem with the place that it is about: the value at `path`, or its key."""
        at = self.key(path) if at_key else self.value(path)
        # What is missing altogether has no place of its own: it is shown at the file's first character.
        return replace(problem, at=at or Position(1, 1))


def load(text: str, file: str) -> Document:
    """Read the TOML `text` of `file`. Raises `ConfigError` for bad syntax."""
    if any(match.lastgroup for match in _TOO_LONG.finditer(text)):  # for tomllib each further part takes longer
        raise ConfigError([Problem(f"a key of the file has more than {_PARTS} parts")], file=file)
    try:
        tables = tomllib.loads(text)
    except ValueError as exc:  # TOMLDecodeError, and a number with more digits than Python converts
        message = str(exc)
        lines = text.split("\n")
        at = Position(len(lines), len(lines[-1]) + 1)
        if (match := _AT.search(message)) and match[1]:
            at = Position(int(match[1]), int(match[2]))
        problem = Problem(f"this is not valid TOML: {_AT.sub('', message)}", at=at)
        raise ConfigError([problem], file=file, source=text) from None
    except RecursionError:
        raise ConfigError([Problem("the file nests its tables or arrays too deep")], file=file) from None
    scanner = _Scanner(text)
    scanner.document()
    return Document(tables, scanner.keys, scanner.values)


def key(name: str) -> str:
    """A name as a key: in quotes where it needs them."""
    if _BARE.fullmatch(name):
        return name
    return msgspec.json.encode(name).decode().replace("\x7f", "\\u007f")  # but for DEL, JSON text is TOML text


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]  # where each begins
        self._at = 0
        self._arrays: dict[Path, int] = {}
        self.keys: dict[Path, Position] = {}
        self.values: dict[Path, Position] = {}

    def document(self) -> None:
        table: Path = ()
        while self._space() < len(self._text):
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._key((), array=True)
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._key(())
                self._at += 1
            else:
                self._pair(table)

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        self._at += 1  # "="
        self._value(path)

    def _key(self, path: Path, *, array: bool = False) -> Path:
        """Read a dotted key below `path`, with the space around it; note where each part stands."""
        while True:
            start = self._space()
            if match := _BARE.match(self._text, start):
                part = match[0]
            else:
                match = _STRING.match(self._text, start)
                assert match, "tomllib accepted this text"
                part = next(iter(tomllib.loads(f"{match[0]} = 1")))
            self._at = match.end()
            path = (*path, part)
            self.keys.setdefault(path, self._position(start, self._at))
            last = self._text[self._space()] != "."
            if last and array:
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self.keys.setdefault(path, self._position(start, match.end()))
            if last:
                return path
            self._at += 1

    def _value(self, path: Path) -> None:
        start = self._space()
        opening = self._text[self._at]
        if opening in "[{":
            self._at += 1
            index = 0
            while self._text[self._space()] not in "]}":
                if opening == "[":
                    self._value((*path, index))
                    index += 1
                else:
                    self._pair(path)
                if self._text[self._space()] == ",":
                    self._at += 1
            self._at += 1
        else:
            match = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            assert match, "tomllib accepted this text"
            self._at += len(match[0].rstrip())
        self.values[path] = self._position(start, self._at)

    def _space(self) -> int:
        match = _SPACE.match(self._text, self._at)
        assert match, "matches the empty string too"
        self._at = match.end()
        return self._at

    def _position(self, start: int, end: int) -> Position:
        line = bisect_right(self._lines, start)
        line_end = self._lines[line] - 1 if line < len(self._lines) else len(self._text)
        return Position(line, start - self._lines[line - 1] + 1, max(1, min(end, line_end) - start))
