"""The errors of trioproxy, by who must act: the operator, or whoever is at one end of an exchange."""

import re
from collections.abc import Iterable, Iterator

import msgspec

from trioproxy.items import Error

__all__ = ["ConfigError", "Position", "Problem", "ProxyError", "leaves", "printable"]


class Position(msgspec.Struct, frozen=True, order=True):
    """Where something stands in a file: line and column from 1, and how many characters it is wide."""

    line: int
    column: int
    width: int = 1


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a configuration: what was got, and what to do about it."""

    message: str
    hint: str = ""
    at: Position | None = None


class ConfigError(Exception):
    """The operator must change the configuration. Carries every problem found, in the order of the file.

    `str()` is what the operator sees: for each problem `file:line:column: message`, the source line with a caret
    under the culprit, and a hint. What looks like a secret in the source line is blotted out.
    """

    def __init__(self, problems: list[Problem], *, file: str = "", source: str = "") -> None:
        self.problems = sorted(problems, key=lambda problem: problem.at or Position(0, 0))
        self.file = file
        self._lines = source.split("\n")  # not splitlines(): a line of TOML ends in LF or CRLF and nothing else
        super().__init__("\n\n".join(map(self._show, self.problems)))

    def _show(self, problem: Problem) -> str:
        where, gutter, quoted = f"{self.file}: " if self.file else "", " ", list[str]()
        if at := problem.at:
            where = f"{self.file}:{at.line}:{at.column}: "
        if at and at.line <= len(self._lines) and (source := self._quote(at.line)):
            gutter = " " * (len(str(at.line)) + 1)
            caret = "^" * max(1, min(at.width, len(source) - at.column + 1))
            quoted = [f"{gutter}|", f"{at.line} | {source}", f"{gutter}| {' ' * (at.column - 1)}{caret}"]
        # What stands under the first line of a hint is to be pasted.
        hint = [f"{gutter}{' ' if index else '='} {line}" for index, line in enumerate(problem.hint.splitlines())]
        return "\n".join([f"{where}{problem.message}", *quoted, *hint])

    def _quote(self, number: int) -> str:
        """A line as it can be shown.

        In an upstream's table, and others that hold tokens, any text may be one, under a mistyped key too.
        """
        line = printable(self._lines[number - 1])
        tables = [header for header in self._lines[: number - 1] if header.lstrip().startswith("[")]
        table = tables[-1] if tables else line  # above all tables a key may name its own: `clients.me = "…"`
        if _HOLDS_SECRETS.match(table) and (_CLIENTS.match(table) or not _HARMLESS.match(line)):
            key, equals, value = line.partition("=")
            line = key + equals + _TEXT.sub(_blot_text, value)
        elif _STORE.match(table) and ("//" in line or "@" in line):
            key, equals, value = line.partition("=")  # any part of a wrong URL may be of its password
            line = key + equals + _TEXT.sub(_blot_text, value)
        return line


class ProxyError(Exception):
    """One exchange cannot go on; `error` says to the client why, in words safe to show it.

    `headers` are fields that a response with this error has, names in lower case.
    """

    def __init__(self, error: Error, *, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.error, self.headers = error, tuple(headers)
        super().__init__(f"{error.status} {error.kind}: {error.message}")


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions that a group of them, or of groups, is made of; what is none is its only leaf."""
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from leaves(each)
    else:
        yield exc


# Terminals are recorded and error messages pasted into issues, so a token written into the file must not be quoted:
# the value of a key whose name says so, the user part of a URL, and whatever is as long and as random as a key.
_SECRET = re.compile(
    r"""(?ix)
      (?: token | secret | passw | api[_-]?key | authorization | credential | cookie ) [\w-]* ["']? \s* = \s*
        (?: \{ [^}]* default \s* = \s* )?
        (?P<named> "(?:\\.|[^"\\])*"? | '[^']*'? | [^\s{\#,][^,}\#]* )
    | (?: :// | ["'] ) (?P<user> [^/@\s"']+ ) @
    | ["'] (?P<long> (?=[^"']*\d) (?=[^"']*(?-i:[a-z])) [\w+/=.-]{16,} ) ["']
    """
)

_QUERY = re.compile(r"""://[^\s"'?]*\?(?P<query>[^\s"']+)""")  # Google's keys travel there, and others' too


_HOLDS_SECRETS = re.compile(r"\s*\[*\s*[\"']?(?:upstream|store|clients|admin|targets|tracing)")
_CLIENTS = re.compile(r"\s*\[*\s*[\"']?clients")  # whose keys are names of their own
_STORE = re.compile(r"\s*\[*\s*[\"']?store")
# A URL may hold a key in its query, and any part of a wrong one may be of a password.
_HARMLESS = re.compile(
    r"""(?x) \s* (?: \[ | (?:
        url (?! .*[?@]) | dialect | pace | chunk | model | version | reasoning | effort | system-messages | max-tokens
      | cache-key | socket | ca | certificate | remove-headers | mode | provider | models | route-key
      | entries | (?:file-)?size | expires | (?:[a-z]+-){0,2}timeout | insecure | concurrency | queue | retries
      | retry-within | max-fails | listen | sample | service-name
    ) \s* = )"""
)
# Any text, with its closing quote if it has one; but the name of an environment variable tells nothing, nor a comment,
# nor a file's whole path. In place of its bare name the token itself may stand.
_TEXT = re.compile(r"""\benv\s*=\s*"[^"]*"|\bfile\s*=\s*"\.{0,2}/[^"]*"|\#.*|"(?:\\.|[^"\\])*"?|'[^']*'?""")


def printable(line: str) -> str:
    """A line as it can be shown, every character in its column: without secrets, tabs and control characters."""
    line = "".join(letter if letter.isprintable() else " " for letter in line.rstrip())
    return _QUERY.sub(_blot, _SECRET.sub(_blot, line))


def _blot_text(match: re.Match[str]) -> str:
    text = match[0]
    if text.startswith(("env", "file", "#")):
        return text
    closed = len(text) > 1 and text.endswith(text[0])
    return text[0] + "*" * (len(text) - 1 - closed) + text[0] * closed


def _blot(match: re.Match[str]) -> str:
    group = match.lastgroup or 0
    start, end = match.start(group) - match.start(), match.end(group) - match.start()
    return match[0][:start] + "*" * (end - start) + match[0][end:]
