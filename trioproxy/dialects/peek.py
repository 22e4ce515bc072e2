"""The few fields of a request that the proxy itself needs, read without reading the rest."""

import msgspec

__all__ = ["BAD_JSON", "Peek"]

# What reading hostile JSON may raise: bad syntax or type, bad UTF-8, and nesting a hundred thousand levels deep.
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Peek(msgspec.Struct, frozen=True):
    model: str = ""
    stream: bool = False
