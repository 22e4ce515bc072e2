"""Pictures, documents and other content of Anthropic clients as Chat Completions parts, and what nobody can say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.openai_chat.test_write_messages import (
    PNG,
    PNG_PART,
    assistant,
    call,
    lost_of,
    result,
    sent,
    text,
    user,
)
from trioproxy.errors import ProxyError


def part(block: Any) -> Any:
    content = sent(user(block, PNG))[0]["content"]
    return content[0] if len(content) == 2 else content[:-1]


def document(source: Any, **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


def test_h141_pictures() -> None:
    jpg = {"type": "image", "source": {"type": "base64", "media_type": "image/jpg", "data": "AA"}}
    assert part(jpg)["image_url"]["url"] == "data:image/jpeg;base64,AA"
    named = {"type": "image", "source": {"type": "base64", "media_type": "image/png;name=x.png", "data": "AA"}}
    assert part(named)["image_url"]["url"] == "data:image/png;base64,AA"
    url = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    assert part(url)["image_url"]["url"] == "https://x/y.png"


def test_h142_documents() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    file = {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE"}
    assert part(document(pdf)) == {"type": "file", "file": file}
    assert part(document(pdf, title="a.pdf"))["file"]["filename"] == "a.pdf"
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    assert part(document(plain)) == text("words")
    assert part(document(plain, title="T", context="C")) == text("T\n\nC\n\nwords")
    inner = {"type": "content", "content": [text("a"), PNG]}
    assert part(document(inner)) == [text("a"), PNG_PART]
    assert lost_of(user(document(plain, citations={"enabled": True}))) == ["messages[].content[].citations"]


def test_a_file_of_a_result_follows_like_a_picture() -> None:
    pdf = document({"type": "base64", "media_type": "application/pdf", "data": "JVBE"})
    messages = sent(assistant(call()), user(result(content=[pdf])))
    assert messages[1]["content"] == "[file 1: see the next message]"
    assert messages[2]["content"][1]["type"] == "file"


def test_search_results_are_text() -> None:
    found = {"type": "search_result", "title": "T", "source": "https://x", "content": [text("words")]}
    assert sent(user(found))[0]["content"] == "T\nhttps://x\nwords"
    assert lost_of(user(found)) == ["messages[].content[].type=search_result"]


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "'file'"),
        (document({"type": "file", "file_id": "file_1"}), "'file'"),
        (document({"type": "url", "url": "https://x/y.pdf"}), "'url'"),
        (document(None), "a source that is nothing"),
        ({"type": "audio", "data": ""}, "'audio'"),
        ({"type": "text", "text": None}, "'text'"),
        (document({"type": "content", "content": [{"type": "video"}]}), "'video'"),
    ],
)
def test_h142_what_cannot_be_said_is_refused_by_name(block: Any, named: str) -> None:
    with pytest.raises(ProxyError, match="send text, an image, or a PDF in base64") as caught:
        sent(user(block))
    assert named in caught.value.error.message
    assert (caught.value.error.kind, caught.value.error.status) == ("invalid_request", 400)
