"""The text that a custom tool is called with, and the `{"input": "…"}` that it is in the one vocabulary.

Of an answer it is unpacked while it comes, as a patch of a thousand lines is no less worth watching than an answer.
"""

import re

import msgspec

from trioproxy.dialects.peek import BAD_JSON, decode

__all__ = ["Unpacking", "packed", "unpacked"]

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_PATIENCE = 64  # characters that the beginning may take, with all its white space
_X = "[0-9a-fA-F]"
_ESCAPE = 12  # characters: a pair of surrogates
# As much of a string's inside as can be read: whole characters, whole escapes, and no half of a surrogate pair while
# its other half may still come.
_INSIDE = re.compile(
    rf"""(?:[^"\\]++ | \\["\\/bfnrt] | \\u(?![dD][89abAB]){_X}{{4}}
    | \\u[dD][89abAB]{_X}{{2}} (?: \\u[dD][c-fC-F]{_X}{{2}} | (?=[^\\]|\\[^u]|\\u[^dD]|\\u[dD][^c-fC-F])) )*+""",
    re.VERBOSE,
)


def packed(text: str) -> str:
    """The arguments that say `text`."""
    return msgspec.json.encode({"input": text}).decode()


def unpacked(arguments: str) -> str | None:
    """The text that `arguments` say; None if they are no such object."""
    try:
        value = msgspec.json.decode(arguments)
    except BAD_JSON:
        return None
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


class Unpacking:
    """Of one call. What is no `{"input": "…"}` is not guessed at: the tool gets all of the JSON, and refuses it."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._rest = ""  # of the beginning, or of the string's inside, what cannot be read yet
        self._inside: bool | None = None  # whether in the string; None: not there yet
        self._told = False

    def feed(self, piece: str) -> str:
        """Take a piece of the JSON; the text that is known with it."""
        self._pieces.append(piece)
        if self._inside is False:
            return ""
        self._rest += piece
        if self._inside is None:
            head = _HEAD.match(self._rest)
            if head is None:
                if len(self._rest) > _PATIENCE:
                    self._inside, self._rest = False, ""
                return ""
            self._inside = self._told = True
            self._rest = self._rest[head.end() :]
        inside = _INSIDE.match(self._rest)
        end = inside.end() if inside else 0
        text, self._rest = self._rest[:end], self._rest[end:]
        if self._rest.startswith('"') or len(self._rest) > _ESCAPE:  # over, or an escape that there is none of
            self._inside, self._rest = False, ""
        try:
            return str(decode(f'"{text}"'.encode(errors="replace"))[0])
        except BAD_JSON:  # a character that no string may have: then the whole is no JSON either
            self._inside, self._rest = False, ""
            return ""

    def close(self) -> str | None:
        """The rest of the text; None if the JSON is cut, or no object."""
        whole = "".join(self._pieces)
        try:
            wire, _ = decode((whole or "{}").encode(errors="replace"))
        except BAD_JSON:
            return None
        if not isinstance(wire, dict):
            return None
        if self._told or not wire:
            return ""
        text = wire.get("input")
        return text if isinstance(text, str) else whole
