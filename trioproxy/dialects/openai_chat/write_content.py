"""What a user, a system prompt or a tool says, as the content of a Chat Completions message."""

from typing import Any

from trioproxy.dialects.openai.write_content import Parts, full_parts, is_text, texts
from trioproxy.dialects.openai_chat.hosts import Ways

__all__ = ["PARTS", "joined"]

Wire = dict[str, Any]  # a content part as it goes out

PARTS = Parts(
    dialect="openai-chat",
    text=lambda text: {"type": "text", "text": text},
    image=lambda url: {"type": "image_url", "image_url": {"url": url}},
    file=lambda name, data: {"type": "file", "file": {"filename": name, "file_data": data}},
)


def joined(parts: list[Wire], ways: Ways) -> str | list[Wire]:
    """`parts` as content. Text alone is a string where the host is not known to take a list of texts."""
    full = full_parts(parts)
    if all(map(is_text, full)) and not (ways.parts and len(full) > 1):
        return texts(full)
    return full
