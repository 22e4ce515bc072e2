"""The kinds of parts that the content of an item, and the output of a tool, have in Responses."""

from trioproxy.dialects.openai.read_parts import (
    Kind,
    Kinds,
    read_document,
    read_file,
    read_image,
    text_in,
    text_of,
)
from trioproxy.dialects.openai.told import Lost, Wire, everywhere
from trioproxy.items import Block, Text

__all__ = ["PARTS"]


def _read_file(part: Wire, where: str, lost: Lost) -> Block:
    if part.get("file_data") is None and part.get("file_url") is not None:
        return read_document({"type": "url", "url": text_of(part, "file_url", where)}, part.get("filename"), part)
    return read_file(part, part, where)


def _read_encrypted(part: Wire, where: str, lost: Lost) -> Block:
    """What agents of Codex's say to each other, if OpenAI's API is to be the only one to know."""
    lost.setdefault(everywhere(where), "encrypted: only OpenAI can read it")
    return Text(text="[encrypted: it cannot be read here]")


PARTS: Kinds = {
    "input_text": text_in("text"),
    "output_text": text_in("text", "annotations", "logprobs"),
    "text": text_in("text"),
    "refusal": text_in("refusal"),
    "input_image": Kind(read_image, {"image_url", "file_id", "detail"}),
    "computer_screenshot": Kind(read_image, {"image_url", "file_id", "detail"}),
    "image_url": Kind(read_image, {"image_url"}),  # as chat has it
    "input_file": Kind(_read_file, {"file_data", "file_url", "file_id", "filename"}),
    "encrypted_content": Kind(_read_encrypted, {"encrypted_content"}),
}
