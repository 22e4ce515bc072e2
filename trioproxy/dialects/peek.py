"""JSON bodies: the few fields that the proxy itself needs, read or changed without the rest; or all of it."""

import re
from typing import Any

import msgspec

__all__ = ["BAD_JSON", "Peek", "decode", "mended", "with_model"]

# What reading hostile JSON may raise: bad syntax or type, bad UTF-8, and nesting a hundred thousand levels deep.
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# An escape in a JSON text: a whole surrogate pair, half of one, or any other.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL)


class Peek(msgspec.Struct, frozen=True):
    model: str = ""
    stream: bool = False
    include_usage: bool = False
    """Whether the client of a stream wants the token counts in it (OpenAI's `stream_options`)."""


def with_model(body: bytes, model: str) -> bytes:
    """A JSON object with its `model` set, every other field as the very text it was. Raises `msgspec.DecodeError`."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        fields = msgspec.json.decode(mended(body), type=dict[str, msgspec.Raw])
    return msgspec.json.encode(fields | {"model": model})


def decode(body: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether half surrogate pairs in it had to be replaced. Raises one of `BAD_JSON`."""
    try:
        return msgspec.json.decode(body), False
    except msgspec.DecodeError:
        whole = mended(body)
        if whole == body:
            raise
        return msgspec.json.decode(whole), True


def mended(text: bytes) -> bytes:
    r"""JSON with every half of a surrogate pair (`"\ud83d"`, a cut emoji) replaced: nobody takes those (H124)."""
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match["half"] else match[0], text)
