"""Content of a message: a string, or parts → a string, or blocks. Which kinds of parts there are, each dialect says."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from trioproxy.dialects.openai.told import UNSAID, Lost, Wire, everywhere, named, note_fields, of_type, refusal, shown
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Image, OtherBlock, Text, replace

__all__ = ["Kind", "Kinds", "cached", "marked", "read_content", "read_document", "read_file", "read_image", "read_text"]
__all__ += ["text_in", "text_of"]

# Parameters such as `;name=a.png` or `;charset=utf-8` are tolerated and say nothing to the other side (hazard H141).
_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?P<parameters>(?:;[^;,]*)*),(?P<data>.*)", re.DOTALL | re.IGNORECASE)
_MEDIA_TYPES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}
_MARKS = {"type", "cache_control", "prompt_cache_breakpoint"}  # what any part may have beside what it says


class Kind(NamedTuple):
    """A kind of part: how it becomes a block, and which of its fields that looks at or need not."""

    read: Callable[[Wire, str, Lost], Block]
    fields: Collection[str]


Kinds = Mapping[str, Kind]


def read_content(content: Any, where: str, kinds: Kinds, lost: Lost) -> str | tuple[Block, ...]:
    """What null and what is absent say: nothing."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refusal(f"{where}: expected a string or an array of parts, got {named(content)}")
    return tuple(_part(part, f"{where}[{index}]", kinds, lost) for index, part in enumerate(content))


def read_text(content: Any, where: str, kinds: Kinds, lost: Lost) -> str | tuple[Block, ...]:
    """Content that may only be text: of system and developer messages (hazard H052)."""
    of_parts = Lost()
    blocks = read_content(content, where, kinds, of_parts)
    for index, block in enumerate(blocks):
        if isinstance(block, Block) and not isinstance(block, Text):
            kind = block.kind if isinstance(block, OtherBlock) else "image_url"
            raise refusal(f"{where}[{index}]: a system message can only be text, got {shown(kind)}")
    for path, reason in of_parts.items():
        lost.setdefault(path, reason)
    return blocks


def text_of(part: Wire, key: str, where: str) -> str:
    value = part.get(key)
    if not isinstance(value, str):
        raise refusal(f"{where}.{key}: expected a string, got {named(value)}")
    return value


def text_in(key: str, *silent: str) -> Kind:
    """A kind of part that is the text of one field; the `silent` ones beside it say nothing to a model."""
    return Kind(lambda part, where, lost: Text(text=text_of(part, key, where), extra=cached(part)), {key, *silent})


def cached(wire: Wire) -> dict[str, Any]:
    """The mark that what ends here is to be cached: Anthropic's, which chat clients set on parts, messages and tools to
    save their users money, or OpenAI's `prompt_cache_breakpoint`."""
    mark = wire.get("cache_control")
    if isinstance(mark, dict):
        return {"cache_control": mark}
    return {"cache_control": {"type": "ephemeral"}} if isinstance(wire.get("prompt_cache_breakpoint"), dict) else {}


def marked(content: str | tuple[Block, ...], wire: Wire) -> str | tuple[Block, ...]:
    """The content of a message with the mark that `wire`, the whole message, has: on its last block, if that has none
    of its own."""
    if not (mark := cached(wire)):
        return content
    blocks = (Text(text=content),) if isinstance(content, str) else content
    *others, last = blocks or (Text(text=""),)
    return (*others, replace(last, extra=mark | last.extra))


def _part(part: Any, where: str, kinds: Kinds, lost: Lost) -> Block:
    """What cannot be passed on to another dialect stays what it is, for an upstream of this one."""
    try:
        return _read_part(part, where, kinds, lost)
    except ProxyError as exc:
        lost.refuse(exc, everywhere(where))
        wire = part if isinstance(part, dict) else {"value": part}
        return OtherBlock(kind=kind if isinstance(kind := wire.get("type"), str) else "", extra=wire)


def _read_part(part: Any, where: str, kinds: Kinds, lost: Lost) -> Block:
    if isinstance(part, str):
        return Text(text=part)
    if not isinstance(part, dict):
        raise refusal(f"{where}: expected a part of a message, got {named(part)}")
    name = part.get("type")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        reason = _REFUSED.get(name) if isinstance(name, str) else None
        raise refusal(f"{where}: {reason or f'a part {of_type(part)} cannot be passed on to this upstream'}")
    block = kind.read(part, where, lost)
    note_fields(part, {*_MARKS, *kind.fields}, everywhere(where), lost)
    return block


def read_image(part: Wire, where: str, lost: Lost) -> Block:
    """A part with an `image_url`: an object with a `url`, or the URL alone."""
    image = part.get("image_url")
    if image is None and part.get("file_id") is not None:
        raise refusal(f"{where}.file_id: the file is not at this upstream; send the image as image_url")
    image = {"url": image} if isinstance(image, str) else image
    if not isinstance(image, dict):
        raise refusal(f"{where}.image_url: expected an object with a url, got {named(image)}")
    _note_detail(part, everywhere(where), lost)
    _note_detail(image, f"{everywhere(where)}.image_url", lost)
    note_fields(image, {"url", "detail"}, f"{everywhere(where)}.image_url", lost)
    url = text_of(image, "url", f"{where}.image_url")
    if _is_remote(url):
        return Image(url=url, extra=cached(part))
    media_type, data = _inline(url, f"{where}.image_url.url")
    if not media_type.startswith("image/"):
        raise refusal(f"{where}.image_url.url: expected an image, got {media_type[:40] or 'data without a media type'}")
    return Image(media_type=media_type, data=data, extra=cached(part))


def _note_detail(wire: Wire, path: str, lost: Lost) -> None:
    if wire.get("detail") not in (None, "auto"):
        lost.setdefault(f"{path}.detail", UNSAID)


def read_file(file: Wire, part: Wire, where: str) -> Block:
    """The `file_data` of `file`, which is or stands in `part`: a data URL, or where it can be fetched."""
    if file.get("file_data") is None and file.get("file_id") is not None:
        raise refusal(f"{where}.file_id: the file is not at this upstream; send its content as file_data")
    url = text_of(file, "file_data", where)
    if _is_remote(url):
        return read_document({"type": "url", "url": url}, file.get("filename"), part)
    media_type, data = _inline(url, f"{where}.file_data")
    if media_type.startswith("image/"):
        return Image(media_type=media_type, data=data, extra=cached(part))
    if media_type != "application/pdf":
        got = media_type[:40] or "no type"
        raise refusal(f"{where}: only PDF files and images can be passed on, got {got}")
    return read_document({"type": "base64", "media_type": media_type, "data": data}, file.get("filename"), part)


def read_document(source: Wire, title: Any, part: Wire) -> Block:
    document: Wire = {"type": "document", "source": source}
    if isinstance(title, str) and title:
        document["title"] = title
    return OtherBlock(kind="document", extra=document | cached(part))


def _is_remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _inline(url: str, where: str) -> tuple[str, str]:
    """A data URL's media type, and its data in base64."""
    match = _DATA_URL.fullmatch(url)
    if not match or ";base64" not in match["parameters"].lower():
        raise refusal(f"{where}: expected an http(s) URL or a data URL in base64, got {shown(url)}")
    media_type = match["type"].lower()
    return _MEDIA_TYPES.get(media_type, media_type), match["data"]


# Kinds of parts that no other dialect has. Silence would be worse than a 400 (hazard H142).
_REFUSED = {
    "input_audio": "audio cannot be passed on: this upstream takes text, images and PDF files",
    "video_url": "video cannot be passed on: this upstream takes text, images and PDF files",
    "input_video": "video cannot be passed on: this upstream takes text, images and PDF files",
}
