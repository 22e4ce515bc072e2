"""What clients ask for beside answers: listings of models, counts of tokens, probes, and their own telemetry.

Where the upstream speaks the client's dialect it has these itself, and gets them as they come. What it cannot have,
because it speaks another, is answered here, or refused in words that name what is there.
"""

import re

import msgspec

from trioproxy.dialects import DIALECTS, Dialect
from trioproxy.http.headers import Headers, get
from trioproxy.items import Error

__all__ = [
    "COUNT",
    "MODELS",
    "answered_here",
    "caller",
    "is_endpoint",
    "kept",
    "kept_response",
    "refusal",
    "write_count",
]

MODELS = "/v1/models"
COUNT = "/v1/messages/count_tokens"
_RESPONSES = re.compile(r"(?:/v1)?/responses/([^/]{1,128})(/input_items)?")

# Claude Code's probes and telemetry: nothing an upstream of another dialect could do anything with (H151, H153).
_PROBES = frozenset({("HEAD", "/"), ("GET", "/")})
_TELEMETRY = ("/api/event_logging", "/api/claude_", "/api/hello")
_SERVED = (
    "POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/chat/completions, POST /v1/responses, GET /v1/models"
)

# What of an upstream's response headers means something to a client of another dialect (hazard H104).
_KEPT = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry", b"request-id", b"x-request-id"})
_KEPT_PREFIXES = (b"anthropic-ratelimit-", b"x-ratelimit-")


def is_endpoint(path: str) -> bool:
    """Whether some client asks for something at `path`, whatever the upstream speaks."""
    asked = path.rstrip("/")
    if asked == MODELS or path.startswith((f"{MODELS}/", *_TELEMETRY)):
        return True
    return any(asked in dialect.paths or path.startswith(dialect.beside) for dialect in DIALECTS.values())


def answered_here(method: str, path: str, speaks: Dialect) -> bytes | None:
    """The body of a 200 for a probe or telemetry that the upstream does not know; None if it is neither."""
    if speaks.name == "anthropic":
        return None
    if (method, path) in _PROBES or path.startswith(_TELEMETRY):
        return b"{}"
    return None


def kept_response(method: str, path: str, speaks: Dialect) -> tuple[str, str] | None:
    """The id of a response that is asked for, and the part of it (empty: all); None where that is the upstream's."""
    found = _RESPONSES.fullmatch(path) if speaks.name != "openai-responses" else None
    if found is None or method not in ("GET", "DELETE") or (found[2] and method == "DELETE"):
        return None
    return found[1], found[2] or ""


def caller(headers: Headers, path: str, speaks: Dialect) -> Dialect:
    """The dialect of whoever asks for something that all dialects have, or for what is not there.

    Only Anthropic's clients say their version or use `x-api-key`; of one that presents no token at all nothing is
    known, and it is taken for one that speaks the upstream's.
    """
    for dialect in DIALECTS.values():
        if path.startswith((*dialect.paths, *dialect.beside)):
            return dialect
    if _is_anthropic(headers):
        return DIALECTS["anthropic"]
    # OpenAI's two dialects have one listing, and one envelope for errors.
    openai = speaks.name == "anthropic" and get(headers, b"authorization")
    return DIALECTS["openai-chat"] if openai else speaks


def refusal(method: str, path: str, asker: Dialect, speaks: Dialect) -> Error | None:
    """Why a request for an endpoint of another dialect than the upstream's cannot be served; None if it is none.

    The path tells, or that one of Anthropic's clients is the `asker`: what is theirs, versions and tokens in their own
    form, is for no upstream of another dialect.
    """
    if path.startswith((*speaks.paths, *speaks.beside)):
        return None
    foreign = [other for other in DIALECTS.values() if path.startswith((*other.paths, *other.beside))]
    if not foreign and (speaks.name == "anthropic" or asker.name != "anthropic"):
        return None
    message = f"{method} {path[:80]} is not served here: the upstream speaks {speaks.name}; here are {_SERVED}"
    return Error("not_found", message, 404)


def _is_anthropic(headers: Headers) -> bool:
    return bool(get(headers, b"anthropic-version") or get(headers, b"x-api-key"))


def kept(headers: Headers) -> Headers:
    """The fields of an upstream's response that reach a client of another dialect."""
    return [field for field in headers if field[0] in _KEPT or field[0].startswith(_KEPT_PREFIXES)]


def write_count(tokens: int) -> bytes:
    """The answer to a count of tokens."""
    return msgspec.json.encode({"input_tokens": tokens})
