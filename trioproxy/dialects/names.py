"""Tool names and ids that the other side does not take, made ones that it does; and what a block is called.

All are pure functions of what was given: the same tool has the same short name, and a call the same id, in every turn
(prompt caches, hazard H130), and nothing has to be remembered between turns.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256

from trioproxy.items import Block, OtherBlock

__all__ = ["FORBIDDEN", "Names", "kind_of", "made_id", "restored_id", "safe_id"]

FORBIDDEN = re.compile(r"[^a-zA-Z0-9_-]")
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")  # where another word begins
_ESCAPED = "call-b64-"  # in front of an id that had to be encoded


class Names:
    """The tool names of one request, each at most `limit` characters of `[a-zA-Z0-9_-]` (hazard H063)."""

    def __init__(self, names: Iterable[str], limit: int) -> None:
        self._limit = limit
        self._sent: dict[str, str] = {}
        names = list(dict.fromkeys(names))
        self._taken = {name for name in names if self._fine(name)}
        for name in names:
            self(name)

    def __call__(self, name: str) -> str:
        """The name to send for `name`."""
        if name not in self._sent:
            self._sent[name] = name if self._fine(name) else self._shortened(name)
        return self._sent[name]

    @property
    def renamed(self) -> dict[str, str]:
        """What was sent → what the client said, for every name that had to change."""
        return {sent: name for name, sent in self._sent.items() if sent != name}

    def _fine(self, name: str) -> bool:
        return 0 < len(name) <= self._limit and not FORBIDDEN.search(name)

    def _shortened(self, name: str) -> str:
        digest = sha256(name.encode(errors="surrogatepass")).hexdigest()
        stem = FORBIDDEN.sub("_", name)[: self._limit - 9]
        for size in range(8, 64):  # the longer digest is for a name that was made to collide
            short = f"{stem[: self._limit - 1 - size]}_{digest[:size]}"
            if short not in self._taken:
                self._taken.add(short)
                return short
        raise AssertionError("two tools with one SHA-256")


def made_id(*about: object) -> str:
    """An id for a tool call that came without one: the same for the same call."""
    return f"toolu_{sha256(repr(about).encode(errors='surrogatepass')).hexdigest()[:24]}"


def safe_id(id: str) -> str:
    """`id` in `[a-zA-Z0-9_-]+`, as Anthropic's API and clients want it; `restored_id` takes it back."""
    if id and not FORBIDDEN.search(id):
        return id
    return _ESCAPED + urlsafe_b64encode(id.encode(errors="surrogatepass")).decode().rstrip("=")


def restored_id(id: str) -> str:
    """What `safe_id` was given, if it made `id`."""
    if not id.startswith(_ESCAPED):
        return id
    text = id.removeprefix(_ESCAPED)
    try:
        restored = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return id
    return restored if safe_id(restored) == id else id


def kind_of(block: Block) -> str:
    """What the wire calls a block of this type: `tool_use` for a `ToolUse`."""
    return block.kind if isinstance(block, OtherBlock) else _WORD.sub("_", type(block).__name__).lower()
