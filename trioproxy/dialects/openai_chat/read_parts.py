"""Content of a chat message: a string, or parts → a string, or blocks."""

import re
from collections.abc import Callable
from typing import Any

from trioproxy.dialects.openai_chat.told import Lost, Wire, named, note_fields, of_type, refusal, shown
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Image, OtherBlock, Text

__all__ = ["cached", "read_content", "read_text", "text_of"]

# Parameters such as `;name=a.png` or `;charset=utf-8` are tolerated and say nothing to the other side (hazard H141).
_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?P<parameters>(?:;[^;,]*)*),(?P<data>.*)", re.DOTALL | re.IGNORECASE)
_PART = "messages[].content[]"
_MEDIA_TYPES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}


def read_content(content: Any, where: str, lost: Lost) -> str | tuple[Block, ...]:
    """What null and what is absent say: nothing."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refusal(f"{where}: expected a string or an array of parts, got {named(content)}")
    return tuple(_part(part, f"{where}[{index}]", lost) for index, part in enumerate(content))


def read_text(content: Any, where: str, lost: Lost) -> str | tuple[Block, ...]:
    """Content that may only be text: of system and developer messages (hazard H052)."""
    of_parts = Lost()
    blocks = read_content(content, where, of_parts)
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


def cached(wire: Wire) -> dict[str, Any]:
    """The one field of Anthropic's that chat clients set on parts, messages and tools to save their users money."""
    mark = wire.get("cache_control")
    return {"cache_control": mark} if isinstance(mark, dict) else {}


def _part(part: Any, where: str, lost: Lost) -> Block:
    """What cannot be passed on to another dialect stays what it is, for an upstream of this one."""
    try:
        return _read_part(part, where, lost)
    except ProxyError as exc:
        lost.refuse(exc)
        wire = part if isinstance(part, dict) else {"value": part}
        return OtherBlock(kind=kind if isinstance(kind := wire.get("type"), str) else "", extra=wire)


def _read_part(part: Any, where: str, lost: Lost) -> Block:
    if isinstance(part, str):
        return Text(text=part)
    if not isinstance(part, dict):
        raise refusal(f"{where}: expected a part of a message, got {named(part)}")
    kind = part.get("type")
    reader = _PARTS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        reason = _REFUSED.get(kind) if isinstance(kind, str) else None
        raise refusal(f"{where}: {reason or f'a part {of_type(part)} cannot be passed on to this upstream'}")
    block = reader(part, where, lost)
    note_fields(part, {"type", "cache_control", "document_name", str(kind)}, _PART, lost)
    return block


def _read_image(part: Wire, where: str, lost: Lost) -> Block:
    image = part.get("image_url")
    image = {"url": image} if isinstance(image, str) else image
    if not isinstance(image, dict):
        raise refusal(f"{where}.image_url: expected an object with a url, got {named(image)}")
    if image.get("detail") not in (None, "auto"):
        lost.setdefault(f"{_PART}.image_url.detail", "Anthropic has none")
    note_fields(image, {"url", "detail"}, f"{_PART}.image_url", lost)
    url = text_of(image, "url", f"{where}.image_url")
    if url.startswith(("http://", "https://")):
        return Image(url=url, extra=cached(part))
    media_type, data = _inline(url, f"{where}.image_url.url")
    if not media_type.startswith("image/"):
        raise refusal(f"{where}.image_url.url: expected an image, got {media_type[:40] or 'data without a media type'}")
    return Image(media_type=media_type, data=data, extra=cached(part))


def _read_file(part: Wire, where: str, lost: Lost) -> Block:
    file = part.get("file")
    if not isinstance(file, dict):
        raise refusal(f"{where}.file: expected an object, got {named(file)}")
    if file.get("file_data") is None and file.get("file_id") is not None:
        raise refusal(f"{where}.file.file_id: the file is not at this upstream; send its content as file_data")
    note_fields(file, {"file_data", "filename", "file_id"}, f"{_PART}.file", lost)
    url = text_of(file, "file_data", f"{where}.file")
    if url.startswith(("http://", "https://")):
        source = {"type": "url", "url": url}
    else:
        media_type, data = _inline(url, f"{where}.file.file_data")
        if media_type.startswith("image/"):
            return Image(media_type=media_type, data=data, extra=cached(part))
        if media_type != "application/pdf":
            got = media_type[:40] or "no type"
            raise refusal(f"{where}.file: only PDF files and images can be passed on, got {got}")
        source = {"type": "base64", "media_type": media_type, "data": data}
    return _document(source, file.get("filename"), part)


def _read_document_url(part: Wire, where: str, lost: Lost) -> Block:
    """Mistral's way of giving a PDF."""
    url = text_of(part, "document_url", where)
    if not url.startswith(("http://", "https://")):
        return _read_file(part | {"file": {"file_data": url}}, where, lost)
    return _document({"type": "url", "url": url}, part.get("document_name"), part)


def _document(source: Wire, title: Any, part: Wire) -> Block:
    document: Wire = {"type": "document", "source": source}
    if isinstance(title, str) and title:
        document["title"] = title
    return OtherBlock(kind="document", extra=document | cached(part))


def _inline(url: str, where: str) -> tuple[str, str]:
    """A data URL's media type, and its data in base64."""
    match = _DATA_URL.fullmatch(url)
    if not match or ";base64" not in match["parameters"].lower():
        raise refusal(f"{where}: expected an http(s) URL or a data URL in base64, got {shown(url)}")
    media_type = match["type"].lower()
    return _MEDIA_TYPES.get(media_type, media_type), match["data"]


_PARTS: dict[str, Callable[[Wire, str, Lost], Block]] = {
    "text": lambda part, where, lost: Text(text=text_of(part, "text", where), extra=cached(part)),
    "refusal": lambda part, where, lost: Text(text=text_of(part, "refusal", where)),
    "image_url": _read_image,
    "file": _read_file,
    "document_url": _read_document_url,
}

# Silence would be worse than a 400 (hazard H142).
_REFUSED = {
    "input_audio": "audio cannot be passed on: this upstream takes text, images and PDF files",
    "video_url": "video cannot be passed on: this upstream takes text, images and PDF files",
}
