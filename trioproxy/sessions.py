"""Sessions: the conversation, or the run of a program, that a client says its requests belong to.

A route whose prefix ends with `{session}` has the session's id in its paths, and there it must be one. Wherever else
clients say it, it is a hint: what cannot be an id says nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from trioproxy.dialects import DIALECTS
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.endpoints import is_endpoint
from trioproxy.http.headers import Headers, get

__all__ = ["EXPECTED", "SEGMENT", "in_headers", "in_metadata", "in_path", "is_session"]

SEGMENT = "{session}"
"""What stands for an id in a route's prefix."""
EXPECTED = "1 to 128 of A-Z, a-z, 0-9 and . _ ~ : @ -"
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,128}")

# Paths of ours begin with these, so none of them can be a session: "v1" and the like.
_OURS = frozenset(path.split("/")[1] for dialect in DIALECTS.values() for path in (*dialect.paths, *dialect.beside))

# Claude Code's; Codex's of today, and that of its older versions (qxcnm/Codex-Manager#343).
_HEADERS = (b"x-claude-code-session-id", b"session-id", b"session_id")
# Claude Code's `metadata.user_id` before 2.1.78, of which the account may be empty; since then it is JSON
# (ding113/claude-code-hub#939).
_USER = re.compile(r"user_[^_]*_account_[^_]*_session_(.*)")


class _User(msgspec.Struct):
    """The JSON in Claude Code's `metadata.user_id`, beside the device and the account."""

    session_id: Any = None


_USER_JSON = msgspec.json.Decoder(_User)


def is_session(text: str) -> bool:
    """Whether it can be the id of a session. `.` and `..` cannot: in a path they mean something else."""
    return _ID.fullmatch(text) is not None


def in_path(stem: str, path: str) -> tuple[str, str] | None:
    """What `path` says in the session's place, right behind `stem`, and the path below it.

    None if that is nothing, or the beginning of our own paths, or the path below leads to no endpoint. What it says may
    be no id; it is percent-decoded, so that `a%40b` and `a@b` are one session.
    """
    if not path.startswith(f"{stem}/"):
        return None
    word, slash, rest = path[len(stem) + 1 :].partition("/")
    said, below = unquote(word), slash + rest
    return (said, below) if said and said not in _OURS and is_endpoint(below) else None


def in_headers(headers: Headers) -> str:
    """The session that a request's header fields tell; empty if they tell none."""
    return _first(get(headers, name).decode("latin-1") for name in _HEADERS)


def in_metadata(metadata: Mapping[str, Any]) -> str:
    """The session that the `metadata` of a request's body tells, in whatever form; empty if it tells none."""
    return _first((metadata.get("session_id"), _of_user(metadata.get("user_id"))))


def _of_user(user: object) -> object:
    if not isinstance(user, str):
        return None
    if user.startswith("{"):
        try:
            return _USER_JSON.decode(user.encode(errors="replace")).session_id
        except BAD_JSON:
            return None
    match = _USER.fullmatch(user)
    return match and match[1]


def _first(said: Iterable[object]) -> str:
    return next((each for each in said if isinstance(each, str) and is_session(each)), "")
