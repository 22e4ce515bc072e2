"""Whatever the proxies of a test say, searched for the tokens that the test has used: none may be in it.

Tokens are learned where a test gives them: from the files it serves and the requests it sends. What is said is gathered
where a test hears it: answers, log records, the output of processes and of the command line, errors of configurations.
`conftest.py` compares the two after each test.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator

from trioproxy.config import Config

__all__ = ["Told", "now"]

_SHORTEST = 8  # characters: "x" and "test" are words of many a message
# In the texts of files: whatever calls itself a canary, and what stands where only a token can.
_IN_FILES = re.compile(r"""([\w.+-]*canary[\w.+-]*)|\btoken\s*=\s*["']([^"']+)["']""")
_IN_FIELDS = re.compile(r"(?im)^(?:x-api-key|api-key|authorization):(?:\s*bearer\b)?\s*(\S+)\s*$")


class Told:
    """What was used and said since it was last cleared."""

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}
        self._said: list[tuple[str, str | bytes]] = []

    def clear(self) -> None:
        self._tokens.clear()
        self._said.clear()

    def uses(self, *tokens: str | None) -> None:
        """These are tokens."""
        for token in tokens:
            if token and len(token) >= _SHORTEST:
                # What was said before is no matter: of a token that the proxy makes, it must tell.
                self._tokens.setdefault(token, len(self._said))

    def serves(self, text: str) -> None:
        """The text of a file names tokens."""
        self.uses(*(name for found in _IN_FILES.findall(text) for name in found))

    def asks(self, fields: Iterable[str]) -> None:
        """A request shows tokens in its header."""
        self.uses(*_IN_FIELDS.findall("\n".join(fields)))

    def loads(self, config: Config) -> None:
        """A configuration has tokens."""
        for upstream in config.upstreams.values():
            self.uses(upstream.fixed_token, *(value for name, value in upstream.headers if "key" in name))

    def says(self, where: str, text: str | bytes) -> None:
        """This was said, where a token must not be."""
        if text:
            self._said.append((where, text))

    def logs(self, records: Iterable[logging.LogRecord]) -> None:
        """These were logged."""
        traceback = logging.Formatter().formatException
        for record in records:
            self.says("the log", f"{record.getMessage()} {getattr(record, 'exchange', '')}")
            if record.exc_info:
                self.says("a traceback in the log", traceback(record.exc_info))

    def found(self) -> Iterator[str]:
        """Each token that was said, and where."""
        for token in sorted(self._tokens):
            for where, text in self._said[self._tokens[token] :]:
                said = text if isinstance(text, str) else text.decode("latin-1")
                if token in said:
                    at = said.index(token)
                    yield f"{where} has the token {token!r}: …{said[max(0, at - 60) : at + len(token) + 20]!r}…"


now = Told()
"""Of the test that is running."""
