"""JSON bodies: the few fields that the proxy itself needs, read or changed without the rest; or all of it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

__all__ = ["BAD_JSON", "Peek", "decode", "fields_of", "mended", "peeked", "with_fields", "with_model"]

T = TypeVar("T")

_SMALL = 64 * 1024  # bytes; OpenAI takes 16 labels of at most 512 characters each
# What reading hostile JSON may raise: bad syntax or type, bad UTF-8, and nesting a hundred thousand levels deep.
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# A surrogate pair in a JSON text, or half of one. Backslashes before it are escaped ones if they are even in number.
_SURROGATE = re.compile(
    rb"(?P<before>\\(?<!\\\\)(?:\\\\)*+)u[dD](?:[89abAB]X{2}(?P<other>\\u[dD][c-fC-F]X{2})|[89a-fA-F]X{2})".replace(
        b"X", b"[0-9a-fA-F]"
    )
)


class Peek(msgspec.Struct, frozen=True):
    model: str = ""
    stream: bool = False
    include_usage: bool = False
    """Whether the client of a stream wants the token counts in it (OpenAI's `stream_options`)."""
    cache_key: bool = False
    """Whether the client says itself where the request's beginning is cached (OpenAI's `prompt_cache_key`)."""
    metadata: Mapping[str, Any] = {}
    dialect: str = ""
    """The dialect that the body is in, if that is another one than that of the path it came to."""


def with_model(body: bytes, model: str) -> bytes:
    """A JSON object with its `model` set, every other field as the very text it was. Raises `msgspec.DecodeError`."""
    return with_fields(body, {"model": model})


def with_fields(body: bytes, changed: Mapping[str, Any]) -> bytes:
    """A JSON object with these fields set, every other as the very text it was. Raises `msgspec.DecodeError`."""
    try:
        fields, _ = _whole(body, _FIELDS.decode)
    except UnicodeDecodeError:  # of a key; values are not looked at
        fields, _ = _whole(body.decode(errors="replace").encode(), _FIELDS.decode)
    return msgspec.json.encode({**fields, **changed})


def fields_of(text: msgspec.Raw) -> Mapping[str, Any]:
    """The fields of a JSON object within a request; none of whatever else stands there, or if nothing does.

    Nor of what is larger than anything that a provider takes there, which would cost many times its size.
    """
    try:
        value = msgspec.json.decode(text) if 0 < len(text) <= _SMALL else None
    except BAD_JSON:
        return {}
    return value if isinstance(value, dict) else {}


def peeked(body: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The fields that `decoder` knows of whatever `decode` takes too; None if the body has none such."""
    try:
        return _whole(body, decoder.decode)[0]
    except BAD_JSON:
        return None


def decode(body: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether half surrogate pairs in it had to be replaced. Raises one of `BAD_JSON`."""
    return _whole(body, msgspec.json.decode)


def _whole(body: bytes, decode: Callable[[bytes], T]) -> tuple[T, bool]:
    try:
        return decode(body), False
    except msgspec.DecodeError:
        whole = mended(body)
        if whole == body:
            raise
        return decode(whole), True


def mended(text: bytes) -> bytes:
    r"""JSON with every half of a surrogate pair (`"\ud83d"`, a cut emoji) replaced: nobody takes those (H124)."""
    if rb"\ud" not in text and rb"\uD" not in text:
        return text  # looking for halves takes its time
    return _SURROGATE.sub(lambda match: match[0] if match["other"] else match["before"] + b"ufffd", text)


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
