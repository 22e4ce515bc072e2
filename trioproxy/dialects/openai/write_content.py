"""What a user or a tool says, as the parts of a message. Which kinds of parts there are, each dialect says."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trioproxy.dialects.names import kind_of
from trioproxy.dialects.openai.told import of_type, refusal, shown
from trioproxy.dialects.openai.write_options import drop
from trioproxy.errors import ProxyError
from trioproxy.items import Block, Image, OtherBlock, Text
from trioproxy.ledger import Ledger

__all__ = ["Parts", "full_parts", "is_text", "refused", "texts", "write_parts"]

Wire = dict[str, Any]  # a JSON object of the body; `Any` because what is inside came from the client

_TYPES = {"image/jpg": "image/jpeg"}  # as many say, and no host takes (H141)


class Parts(msgspec.Struct, frozen=True):
    """How a dialect says a text, a picture and a file."""

    dialect: str
    text: Callable[[str], Wire]
    image: Callable[[str], Wire]
    """Of its URL, which may be a data URL."""
    file: Callable[[str, str], Wire]
    """Of its name, and its data URL."""
    link: Callable[[str], Wire] | None = None
    """A file where it can be fetched; None if that cannot be said."""

    def texts(self, text: str) -> list[Wire]:
        """The part that says `text`, if there is anything to say."""
        return [self.text(text)] if text else []


def refused(what: str, dialect: str) -> ProxyError:
    """What can neither be said in `dialect` nor left out (H142)."""
    hint = "send text, an image, or a PDF in base64, or route this model to an upstream that speaks anthropic"
    return refusal(f"{what} cannot be sent to this {dialect} upstream: {hint}")


def write_parts(block: Block, path: str, parts: Parts, ledger: Ledger) -> list[Wire]:
    """The parts that say `block`, which stood at `path`. Raises `ProxyError` for what cannot be said."""
    if isinstance(block, Text):
        drop(ledger, path, block.extra)
        return parts.texts(block.text)
    if isinstance(block, Image):
        drop(ledger, path, block.extra)
        return [parts.image(block.url or _data_url(block.media_type, block.data))]
    write = _OTHERS.get(block.kind) if isinstance(block, OtherBlock) else None
    if not isinstance(block, OtherBlock) or write is None:
        raise refused(f"a content block of type {shown(kind_of(block))} in a message of the user", parts.dialect)
    return write(block.extra, path, parts, ledger)


def is_text(part: Wire) -> bool:
    """Whether a part is one of text, in either dialect; one that a client has spoilt is none."""
    return isinstance(part.get("text"), str)


def texts(parts: Iterable[Wire]) -> str:
    """The text of `parts`, verbatim one after the other (H060)."""
    return "".join(part["text"] for part in parts if is_text(part))


def full_parts(parts: Iterable[Wire]) -> list[Wire]:
    """`parts` without what says nothing (H054)."""
    return [part for part in parts if not is_text(part) or part["text"].strip()]


def _data_url(media_type: str, data: str) -> str:
    media_type = media_type.partition(";")[0].strip().lower()
    return f"data:{_TYPES.get(media_type, media_type)};base64,{data}"


def _write_document(wire: Wire, path: str, parts: Parts, ledger: Ledger) -> list[Wire]:
    drop(ledger, path, {key: wire[key] for key in wire if key not in {"type", "source", "title", "context"}})
    title, context, source = wire.get("title"), wire.get("context"), wire.get("source")
    about = [text for text in (title, context) if isinstance(text, str) and text]
    before = parts.texts(context if isinstance(context, str) else "")
    match source:
        case {"type": "base64", "media_type": "application/pdf", "data": str(data)}:
            name = title if isinstance(title, str) and title else "document.pdf"
            return [*before, parts.file(name, _data_url("application/pdf", data))]
        case {"type": "url", "url": str(url)} if parts.link is not None:
            return [*before, parts.link(url)]
        case {"type": "text", "data": str(data)}:
            return parts.texts("\n\n".join([*about, data]))
        case {"type": "content", "content": str(data)}:
            return parts.texts("\n\n".join([*about, data]))
        case {"type": "content", "content": [*inner]}:
            heading = parts.texts("\n\n".join([*about, ""])) if about else []
            return heading + [part for each in inner for part in _write_inner(each, parts)]
    raise refused(f"a document with a source {of_type(source)}", parts.dialect)


def _write_inner(wire: Any, parts: Parts) -> list[Wire]:
    """A block inside a document or a search result."""
    match wire:
        case {"type": "text", "text": str(text)}:
            return parts.texts(text)
        case {"type": "image", "source": {"type": "base64", "media_type": str(media_type), "data": str(data)}}:
            return [parts.image(_data_url(media_type, data))]
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return [parts.image(url)]
    raise refused(f"a block {of_type(wire)} inside another", parts.dialect)


def _write_search_result(wire: Wire, path: str, parts: Parts, ledger: Ledger) -> list[Wire]:
    ledger.note(f"{path}.type=search_result", "sent as text")
    about = [text for key in ("title", "source") if isinstance(text := wire.get(key), str) and text]
    content = wire.get("content")
    inner = [part for each in content for part in _write_inner(each, parts)] if isinstance(content, list) else []
    return parts.texts("\n".join([*about, ""])) + inner


def _write_reference(wire: Wire, path: str, parts: Parts, ledger: Ledger) -> list[Wire]:
    """A tool that was searched for and found; it is among the tools of this request (clients.md §2.7)."""
    return parts.texts(f"Tool available: {wire.get('tool_name', '')}\n")


def _refuse_source(wire: Wire, path: str, parts: Parts, ledger: Ledger) -> list[Wire]:
    raise refused(f"an image with a source {of_type(wire.get('source'))}", parts.dialect)


_OTHERS: dict[str, Callable[[Wire, str, Parts, Ledger], list[Wire]]] = {
    "document": _write_document,
    "search_result": _write_search_result,
    "tool_reference": _write_reference,
    "image": _refuse_source,
}
