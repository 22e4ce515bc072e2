"""How many tokens a request is: counted offline, so never more than an estimate (hazard H154, mission M4.6).

Who can ask the upstream should: there is no public tokenizer for Claude 3 and later.
"""

from __future__ import annotations

import warnings
from base64 import b64decode
from collections.abc import Callable, Iterable, Sized
from functools import cache
from math import ceil
from typing import Any

import msgspec

from trioproxy.items import Block, Image, OtherBlock, RedactedThinking, Request, Text, Thinking, ToolResult, ToolUse

__all__ = ["count"]

# ── what is not text ────────────────────────────────────────────────────────────────────────────────────────────────

_START = 3  # with one message's: what Anthropic's API and OpenAI's both add to the shortest conversation, 7 in all
_MESSAGE = 4
_CALL = 8  # the id and the frame of a tool call, or of a result
_IMAGE = 1600  # the most one takes, and what one of unknown size is taken for
_IMAGE_EDGE = 1568  # pixels; Anthropic scales down what is longer …
_IMAGE_PIXELS = 750  # … and takes one token for so many
# A page takes 1500 to 3000 tokens of text, and is looked at as a picture besides (Anthropic's documentation). Text with
# its fonts has some 75 KB to the page, hence 25 bytes to the token; scanned pages have more and take no more, hence a
# bound: 100 pages, once the most that the API took.
_PAGE = 3000
_PDF_BYTES = 25
_PDF = 100 * _PAGE
# Encrypted thinking and search results: the text they were is 3/4 of their base64, and 4 bytes of it a token.
_OPAQUE = 3 / 16


class _Family(msgspec.Struct, frozen=True):
    """How the tokens of one maker's models differ from those of o200k_base, the public tokenizer nearest to them."""

    factor: float
    tools: int
    """The system prompt that its API adds when there are tools."""


# The Claude 2 tokenizer, the last public one, gives 1.22 times the tokens of o200k_base for a program's source
# (measured: 9422 to 7701); the API's counts of newer models lie about there. 346: Anthropic's documentation.
_FAMILIES = {"claude": _Family(1.2, 346)}
_OTHER = _Family(1.0, 0)


def count(request: Request, *, exact: bool = True) -> int:
    """About how many tokens of input `request` is for the model it names. Never raises.

    `exact` lets a real tokenizer (the package `bpe_openai`, if it is installed) see the text: the first call loads it,
    which takes the better part of a second, and then 0.1 s per MB. Without, 100 KB take less than 2 ms.
    """
    name = request.model.lower()
    family = next((family for key, family in _FAMILIES.items() if key in name), _OTHER)
    contents = [request.system or "", *(message.content for message in request.messages)]
    texts = [*map(_json, request.tools), *(content for content in contents if isinstance(content, str))]
    blocks = [block for content in contents if not isinstance(content, str) for block in content]
    fixed = _START + _MESSAGE * len(request.messages) + (family.tools if request.tools else 0) + _blocks(blocks, texts)
    return ceil(fixed + family.factor * _of_texts(texts, exact=exact))


def _blocks(blocks: list[Block], texts: list[str]) -> float:
    """The tokens of blocks, beside those of their texts, which are added to `texts`. `blocks` is used up."""
    fixed = 0.0
    while blocks:
        match blocks.pop():
            case Text(text=text) | Thinking(thinking=text):
                texts.append(text)
            case RedactedThinking(data=data):
                fixed += len(data) * _OPAQUE
            case ToolUse(name=name, input=arguments):
                texts += (name, arguments)
                fixed += _CALL
            case ToolResult(content=content):
                fixed += _CALL
                if isinstance(content, str):
                    texts.append(content)
                else:
                    blocks += content or ()
            case Image(data=data, url=url):
                fixed += _image(data or url.partition(";base64,")[2])
            case OtherBlock(extra=extra):
                fixed += _CALL + _wire(extra, texts)
    return fixed


# What of an object that we have no type for is nothing to the model.
_SILENT = frozenset({"type", "id", "tool_use_id", "cache_control", "media_type", "signature"})
_ENCRYPTED = frozenset({"encrypted_content", "encrypted_index", "encrypted_stdout"})


def _wire(wire: Any, texts: list[str]) -> float:
    """The same for a wire object: a document, what a server's tool gave, whatever comes next."""
    fixed, left = 0.0, [wire]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if (source := _source(value)) is not None:
                fixed += source
                continue
            for key, each in value.items():
                if key in _ENCRYPTED and isinstance(each, str):
                    fixed += len(each) * _OPAQUE
                elif key not in _SILENT:
                    left.append(each)
        elif isinstance(value, list):
            left += value
        elif value is not None:
            texts.append(str(value))
    return fixed


def _source(wire: dict[Any, Any]) -> float | None:
    """The tokens of what is no text: a picture or document in base64, or one that lies elsewhere. Else None."""
    kind, data = wire.get("type"), wire.get("data")
    if kind == "base64" and isinstance(data, str):
        if str(wire.get("media_type")).startswith("image/"):
            return _image(data)
        return min(_PDF, max(_PAGE, len(data) * 3 / 4 / _PDF_BYTES))
    return _PAGE if (kind == "url" and "url" in wire) or (kind == "file" and "file_id" in wire) else None


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):  # what no JSON can say: a lone surrogate, nesting without end
        _wire(value, texts := list[str]())
        return " ".join(texts)


# ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────────────

_FIRST = 64  # characters of base64: every format but JPEG tells its size in the first 30 bytes
_SEARCHED = 256 * 1024  # for JPEG, whose size stands behind metadata of any length


def _image(data: str) -> int:
    """The tokens of a picture in base64. Its text must never be counted as text: that would be a hundred times more."""
    width, height = _size(_decoded(data, _FIRST)) or _size(_decoded(data, _SEARCHED)) or (0, 0)
    if not width or not height:
        return _IMAGE
    scale = min(1, _IMAGE_EDGE / max(width, height))
    return min(_IMAGE, ceil(width * height * scale**2 / _IMAGE_PIXELS))


def _decoded(data: str, length: int) -> bytes:
    text = data[:length].replace("\r", "").replace("\n", "")
    try:
        return b64decode(text[: len(text) // 4 * 4])
    except ValueError:
        return b""


def _size(head: bytes) -> tuple[int, int] | None:
    """Width and height, from how a file begins."""
    return next((size(head) for magic, size in _SIZES.items() if head.startswith(magic)), None)


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame; the others are tables
            return int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7])
        at += 1 if marker == 0xFF else 2 + int.from_bytes(head[at + 2 : at + 4])
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    match head[8:16]:
        case b"WEBPVP8 ":
            return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF
        case b"WEBPVP8L":
            return (_little(head[21:25]) & 0x3FFF) + 1, (_little(head[21:25]) >> 14 & 0x3FFF) + 1
        case b"WEBPVP8X":
            return _little(head[24:27]) + 1, _little(head[27:30]) + 1
    return None


def _little(number: bytes) -> int:
    return int.from_bytes(number, "little")


_SIZES: dict[bytes, Callable[[bytes], tuple[int, int] | None]] = {
    b"\x89PNG\r\n\x1a\n": lambda head: (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])),
    b"GIF8": lambda head: (_little(head[6:8]), _little(head[8:10])),
    b"RIFF": _webp,
    b"\xff\xd8": _jpeg,
}

# ── text ────────────────────────────────────────────────────────────────────────────────────────────────────────────

# Characters that the tokenizer sees. Beyond, in one request, text is estimated: nobody else is served meanwhile.
_EXACT = 256 * 1024
_AT_ONCE = 48 * 1024  # characters, each four tokens at most: it refuses to make more than 200 000


def _of_texts(texts: Iterable[str], *, exact: bool) -> float:
    """The tokens of `texts` in o200k_base."""
    encode = _tokenizer() if exact else None
    if encode is None:
        return _estimate(texts)
    counted, left, rest = 0, _EXACT, []
    for text in texts:
        if len(text) <= left:
            counted += sum(len(encode(text[at : at + _AT_ONCE])) for at in range(0, len(text), _AT_ONCE))
            left -= len(text)
        else:
            rest.append(text)
    return counted + _estimate(rest)


@cache
def _tokenizer() -> Callable[[str], Sized] | None:
    """What makes tokens of a text; None if it is not installed (the extra `tokens`)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it opens its files in a way that Python deprecates
        try:
            import bpe_openai  # noqa: PLC0415  # 0.9 s and 140 MB: only for who counts
        except ImportError:
            return None
        encode: Callable[[str], Sized] = bpe_openai.get_encoding("o200k_base").encode_ordinary
        return encode


# The estimator looks at the classes of characters and at what meets: each weight is what one occurrence adds. They were
# fitted to o200k_base (least squares of the relative error, none below 0) on 4 MB in pieces of 4 to 6 KB: the pages and
# translations of a Debian system, Python's library, C headers, recorded requests. Estimate / tokens, mean and the
# share of pieces within ±15 %:
#
#   English 0.99  99 %    Python  1.01  97 %    JSON     1.02 100 %    Chinese   0.95  99 %    base64  0.98  82 %
#   German  0.94  92 %    C, JS   1.07  77 %    indented 1.01 100 %    Japanese  0.96  98 %    hex     0.99 100 %
#   French  1.03  88 %    logs    1.09 100 %    CSV      1.01 100 %    Korean    0.99 100 %    Russian 1.08  84 %
#   Spanish 1.02  90 %    Turkish 1.02 100 %    Polish   0.86  60 %    Ukrainian 0.87  62 %
_CLASSES: dict[bytes, Iterable[int]] = {
    b"a": range(ord("a"), ord("z") + 1),
    b"A": range(ord("A"), ord("Z") + 1),
    b"0": range(ord("0"), ord("9") + 1),
    b" ": b" \t",
    b"n": b"\r\n\v\f",
    b".": [byte for byte in range(33, 127) if not chr(byte).isalnum()],
    # first bytes in UTF-8; the others are taken out, so that one byte is one character
    b"l": range(0xC3, 0xC6),  # Latin letters with accents
    b"g": range(0xCE, 0xD0),  # Greek
    b"y": range(0xD0, 0xD4),  # Cyrillic
    b"t": [0xC2, *range(0xC6, 0xCE), *range(0xD4, 0xE0)],  # Hebrew, Arabic, …
    b"q": [0xE2],  # dashes, quotes, signs
    b"k": [0xE3],  # kana
    b"c": range(0xE4, 0xEA),  # Chinese characters
    b"h": range(0xEA, 0xEE),  # Hangul
    b"i": [0xE0, 0xE1],  # scripts of India, Thai
    b"f": [0xEE, 0xEF],  # full-width forms
    b"e": range(0xF0, 0xF8),  # emoji
}
_ASCII = {
    b"na": 2.22,
    b"aA": 1.93,
    b" A": 1.60,
    b"0A": 1.53,
    b".a": 1.43,
    b"aaaaaaaa": 1.09,
    b" .": 1.05,
    b" a": 0.96,
    b"0": 0.90,
    b".A": 0.83,
    b"n": 0.48,
    b"  ": 0.21,
    b"..": 0.16,
    b"A": 0.15,
    b".": 0.06,
}
_BEYOND = {
    b"l": 1.58,
    b"kk": 1.60,
    b"e": 1.50,  # this, Greek and Indian by hand: there was none to fit to
    b"f": 0.80,
    b"c": 0.75,
    b"h": 0.80,
    b"q": 0.71,
    b"g": 0.55,
    b"t": 0.35,
    b"i": 0.30,
    b"y": 0.33,
}
_TABLE = bytes(
    next((name[0] for name, members in _CLASSES.items() if byte in members), ord("a")) for byte in range(256)
)
_CONTINUED = bytes(range(0x80, 0xC0))
_PIECES, _PIECE = 24, 2048  # of a longer text so many pieces are looked at, evenly spread


def _estimate(texts: Iterable[str]) -> float:
    """About how many tokens of o200k_base the texts are, in linear time."""
    text = "".join(f" {each}" for each in texts if each)  # so that each one's first word counts as one
    if not text:
        return 0.0
    classes = text.encode(errors="surrogatepass").translate(_TABLE, _CONTINUED)
    length = len(classes)
    if length > _PIECES * _PIECE:
        step = (length - _PIECE) / (_PIECES - 1)
        classes = b"".join(classes[int(index * step) :][:_PIECE] for index in range(_PIECES))
    weights = _ASCII if text.isascii() else _ASCII | _BEYOND
    tokens = sum(weight * classes.count(pattern) for pattern, weight in weights.items())
    return tokens * length / len(classes)
