"""What a user, a system prompt or a tool says, as the content of a Chat Completions message."""

from collections.abc import Callable, Iterable
from typing import Any

from trioproxy.dialects.names import kind_of
from trioproxy.dialects.openai_chat.hosts import Ways
from trioproxy.dialects.openai_chat.told import of_type, refusal, shown
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Image, OtherBlock, Text
from trioproxy.ledger import Ledger

__all__ = ["NO_FIELD", "data_url", "drop", "joined", "refused", "texts", "write_parts"]

Wire = dict[str, Any]  # a JSON object of the body; `Any` because what is inside came from the client

NO_FIELD = "Chat Completions has no such field"
_TYPES = {"image/jpg": "image/jpeg"}  # as many say, and no host takes (H141)


def drop(ledger: Ledger, path: str, fields: Wire) -> None:
    """Note that none of `fields`, which stood at `path`, is sent. A null says nothing (H135)."""
    for key, value in fields.items():
        if value is not None:
            ledger.note(f"{path}.{key}", NO_FIELD)


def refused(what: str) -> ProxyError:
    """What can neither be said in Chat Completions nor left out (H142)."""
    hint = "send text, an image, or a PDF in base64, or route this model to an upstream that speaks anthropic"
    return refusal(f"{what} cannot be sent to this openai-chat upstream: {hint}")


def data_url(media_type: str, data: str) -> str:
    media_type = media_type.partition(";")[0].strip().lower()
    return f"data:{_TYPES.get(media_type, media_type)};base64,{data}"


def write_parts(block: Block, path: str, ledger: Ledger) -> list[Wire]:
    """The content parts that say `block`, which stood at `path`. Raises `ProxyError` for what cannot be said."""
    if isinstance(block, Text):
        drop(ledger, path, block.extra)
        return _text(block.text)
    if isinstance(block, Image):
        drop(ledger, path, block.extra)
        return _image(block.url or data_url(block.media_type, block.data))
    write = _OTHERS.get(block.kind) if isinstance(block, OtherBlock) else None
    if not isinstance(block, OtherBlock) or write is None:
        raise refused(f"a content block of type {shown(kind_of(block))} in a message of the user")
    return write(block.extra, path, ledger)


def texts(parts: Iterable[Wire]) -> str:
    """The text of `parts`, verbatim one after the other (H060)."""
    return "".join(part["text"] for part in parts if part["type"] == "text")


def joined(parts: list[Wire], ways: Ways) -> str | list[Wire]:
    """`parts` as content. Text alone is a string where the host is not known to take a list of texts."""
    full = [part for part in parts if part["type"] != "text" or part["text"].strip()]  # H054
    if all(part["type"] == "text" for part in full) and not (ways.parts and len(full) > 1):
        return texts(full)
    return full


def _text(text: str) -> list[Wire]:
    return [{"type": "text", "text": text}] if text else []


def _image(url: str) -> list[Wire]:
    return [{"type": "image_url", "image_url": {"url": url}}]


def _write_document(wire: Wire, path: str, ledger: Ledger) -> list[Wire]:
    drop(ledger, path, {key: wire[key] for key in wire if key not in {"type", "source", "title", "context"}})
    title, context, source = wire.get("title"), wire.get("context"), wire.get("source")
    about = [text for text in (title, context) if isinstance(text, str) and text]
    match source:
        case {"type": "base64", "media_type": "application/pdf", "data": str(data)}:
            name = title if isinstance(title, str) and title else "document.pdf"
            file = {"filename": name, "file_data": data_url("application/pdf", data)}
            return [*_text(context if isinstance(context, str) else ""), {"type": "file", "file": file}]
        case {"type": "text", "data": str(data)}:
            return _text("\n\n".join([*about, data]))
        case {"type": "content", "content": str(data)}:
            return _text("\n\n".join([*about, data]))
        case {"type": "content", "content": [*inner]}:
            heading = _text("\n\n".join([*about, ""])) if about else []
            return heading + [part for each in inner for part in _write_inner(each)]
    raise refused(f"a document with a source {of_type(source)}")


def _write_inner(wire: Any) -> list[Wire]:
    """A block inside a document or a search result."""
    match wire:
        case {"type": "text", "text": str(text)}:
            return _text(text)
        case {"type": "image", "source": {"type": "base64", "media_type": str(media_type), "data": str(data)}}:
            return _image(data_url(media_type, data))
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return _image(url)
    raise refused(f"a block {of_type(wire)} inside another")


def _write_search_result(wire: Wire, path: str, ledger: Ledger) -> list[Wire]:
    ledger.note(f"{path}.type=search_result", "sent as text")
    about = [text for key in ("title", "source") if isinstance(text := wire.get(key), str) and text]
    content = wire.get("content")
    parts = [part for each in content for part in _write_inner(each)] if isinstance(content, list) else []
    return _text("\n".join([*about, ""])) + parts


def _write_reference(wire: Wire, path: str, ledger: Ledger) -> list[Wire]:
    """A tool that was searched for and found; it is among the tools of this request (clients.md §2.7)."""
    return _text(f"Tool available: {wire.get('tool_name', '')}\n")


def _refuse_source(wire: Wire, path: str, ledger: Ledger) -> list[Wire]:
    raise refused(f"an image with a source {of_type(wire.get('source'))}")


_OTHERS: dict[str, Callable[[Wire, str, Ledger], list[Wire]]] = {
    "document": _write_document,
    "search_result": _write_search_result,
    "tool_reference": _write_reference,
    "image": _refuse_source,
}
