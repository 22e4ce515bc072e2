"""The kinds of parts that the content of a chat message has."""

from trioproxy.dialects.openai.read_parts import (
    Kind,
    Kinds,
    read_document,
    read_file,
    read_image,
    text_in,
    text_of,
)
from trioproxy.dialects.openai.told import Lost, Wire, everywhere, named, note_fields, refusal
from trioproxy.items import Block

__all__ = ["PARTS"]


def _read_file(part: Wire, where: str, lost: Lost) -> Block:
    file = part.get("file")
    if not isinstance(file, dict):
        raise refusal(f"{where}.file: expected an object, got {named(file)}")
    note_fields(file, {"file_data", "filename", "file_id"}, f"{everywhere(where)}.file", lost)
    return read_file(file, part, f"{where}.file")


def _read_document_url(part: Wire, where: str, lost: Lost) -> Block:
    """Mistral's way of giving a PDF."""
    url = text_of(part, "document_url", where)
    if url.startswith(("http://", "https://")):
        return read_document({"type": "url", "url": url}, part.get("document_name"), part)
    return read_file({"file_data": url, "filename": part.get("document_name")}, part, where)


PARTS: Kinds = {
    "text": text_in("text"),
    "refusal": text_in("refusal"),
    "image_url": Kind(read_image, {"image_url"}),
    "file": Kind(_read_file, {"file"}),
    "document_url": Kind(_read_document_url, {"document_url", "document_name"}),
}
