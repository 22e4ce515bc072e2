"""The errors of trioproxy, by who must act: the operator, or whoever is at one end of an exchange."""

import msgspec

from trioproxy.items import Error

__all__ = ["ConfigError", "Position", "Problem", "ProxyError"]


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
    under the culprit, and a hint.
    """

    def __init__(self, problems: list[Problem], *, file: str = "", source: str = "") -> None:
        self.problems = sorted(problems, key=lambda problem: problem.at or Position(0, 0))
        self.file = file
        self._lines = source.splitlines()
        super().__init__("\n\n".join(map(self._show, self.problems)))

    def _show(self, problem: Problem) -> str:
        hint = [f"  = {line}" for line in problem.hint.splitlines()]
        at = problem.at
        if at is None or not 0 < at.line <= len(self._lines):
            where = f"{self.file}: " if self.file else ""
            return "\n".join([f"{where}{problem.message}", *hint])
        number = str(at.line)
        gutter = " " * len(number)
        source = self._lines[at.line - 1].replace("\t", " ")
        width = max(1, min(at.width, len(source) - at.column + 1))
        return "\n".join(
            [
                f"{self.file}:{at.line}:{at.column}: {problem.message}",
                f"{gutter} |",
                f"{number} | {source}",
                f"{gutter} | {' ' * (at.column - 1)}{'^' * width}",
                *(f"{gutter} {line.lstrip(' ')}" if line.startswith("  =") else line for line in hint),
            ]
        )


class ProxyError(Exception):
    """One exchange cannot go on; `error` says to the client why, in words safe to show it."""

    def __init__(self, error: Error) -> None:
        self.error = error
        super().__init__(f"{error.status} {error.kind}: {error.message}")
