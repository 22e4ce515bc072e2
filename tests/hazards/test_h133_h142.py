"""Hazards H133 and H140-H142: limits, forms of answers, pictures and files, to and from Responses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.hazards.chat import A, C
from tests.hazards.responses import R, reaches
from tests.responses import Wire

HI = {"role": "user", "content": "hi"}
CHAT = {"messages": [HI]}


# ── H133: how long an answer may be ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("client", "body", "limit"),
    [
        (C, {**CHAT, "max_tokens": 50}, 50),
        (C, {**CHAT, "max_tokens": 50, "max_completion_tokens": 70}, 70),  # the newer name counts
        (C, {**CHAT, "max_tokens": 5}, 16),  # OpenAI takes no less
        (C, CHAT, None),
        (A, {**CHAT, "max_tokens": 50}, 50),
    ],
)
async def test_h133_the_limit_of_others_for_a_responses_upstream(client: str, body: Wire, limit: int | None) -> None:
    got = await reaches(R, client, body)
    assert got.body.get("max_output_tokens") == limit
    assert not got.body.keys() & {"max_tokens", "max_completion_tokens"}
    assert ("max_tokens" in got.lost) == (limit == 16)


@pytest.mark.parametrize("said", [{"max_output_tokens": 50}, {"max_output_tokens": None}, {}])
async def test_h133_the_limit_of_a_responses_client(said: Wire) -> None:
    limit = said.get("max_output_tokens")
    sent = (await reaches(A, R, {"input": "hi", **said})).body
    assert sent["max_tokens"] == limit if limit else sent["max_tokens"] > 1000  # Anthropic must have one
    sent = (await reaches(C, R, {"input": "hi", **said})).body
    assert sent.get("max_tokens", sent.get("max_completion_tokens")) == limit
    assert (await reaches(R, R, {"input": "hi", **said})).body == {"model": "m", "input": "hi", **said}


# ── H140: the form of an answer ─────────────────────────────────────────────────────────────────────────────────────

SCHEMA = {
    "type": "object",
    "properties": {"b": {"type": "string"}, "a": {"type": "integer"}},
    "required": ["b", "a"],
    "additionalProperties": False,
}
AS_RESPONSES = {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}}
AS_CHAT = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}}
AS_ANTHROPIC = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}


@pytest.mark.parametrize(
    ("client", "body"), [(A, {**CHAT, "max_tokens": 99, **AS_ANTHROPIC}), (C, {**CHAT, **AS_CHAT})]
)
async def test_h140_a_schema_for_a_responses_upstream(client: str, body: Wire) -> None:
    form = (await reaches(R, client, body)).body["text"]["format"]
    assert (form["type"], form["schema"], form["strict"]) == ("json_schema", SCHEMA, True)
    assert list(form["schema"]["properties"]) == ["b", "a"]  # as the client ordered them (H122)
    assert form["name"]


async def test_h140_a_schema_of_a_responses_client() -> None:
    got = await reaches(A, R, {"model": "claude-sonnet-4-6", "input": "hi", **AS_RESPONSES})
    assert got.body["output_config"]["format"] == {"type": "json_schema", "schema": SCHEMA}
    got = await reaches(C, R, {"input": "hi", **AS_RESPONSES})
    form = got.body["response_format"]["json_schema"]
    assert (form["schema"], form["strict"], bool(form["name"])) == (SCHEMA, True, True)


async def test_h140_json_of_any_schema_is_something_else() -> None:
    any_json = {"type": "json_object"}
    got = await reaches(R, C, {**CHAT, "response_format": any_json})
    assert got.body["text"]["format"] == any_json
    got = await reaches(C, R, {"input": "hi", "text": {"format": any_json}})
    assert got.body["response_format"] == any_json
    got = await reaches(A, R, {"input": "hi", "text": {"format": any_json}})  # Anthropic has no such thing
    assert "output_config" not in got.body
    assert "text.format" in got.lost


# ── H141, H142: pictures and files ──────────────────────────────────────────────────────────────────────────────────


def picture(url: str) -> Wire:
    return {"type": "input_image", "image_url": url}


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("data:image/png;base64,AAAA", {"type": "base64", "media_type": "image/png", "data": "AAAA"}),
        ("data:image/jpg;base64,AAAA", {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}),
        ("data:image/png;name=a.png;base64,AAAA", {"type": "base64", "media_type": "image/png", "data": "AAAA"}),
        ("https://example.org/a.png", {"type": "url", "url": "https://example.org/a.png"}),
    ],
)
async def test_h141_a_picture_of_a_responses_client_and_back_again(url: str, source: Wire) -> None:
    got = await reaches(A, R, {"input": [{"role": "user", "content": [picture(url)]}]})
    [block] = got.body["messages"][0]["content"]
    assert block == {"type": "image", "source": source}
    [part] = (await reaches(C, R, {"input": [{"role": "user", "content": [picture(url)]}]})).body["messages"][0][
        "content"
    ]
    told = source.get("url") or f"data:{source['media_type']};base64,{source['data']}"
    assert part == {"type": "image_url", "image_url": {"url": told}}
    for client, content in ((A, block), (C, part)):
        got = await reaches(R, client, {"max_tokens": 99, "messages": [{"role": "user", "content": [content]}]})
        assert got.body["input"][0]["content"] == [{**picture(told), "detail": "auto"}]


PDF = "data:application/pdf;base64,AAAA"
FILE = {"type": "input_file", "filename": "a.pdf", "file_data": PDF}


async def test_h142_a_document_there_and_back() -> None:
    block = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        "title": "a.pdf",
    }
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}
    for other, content in ((A, block), (C, part)):
        got = await reaches(other, R, {"input": [{"role": "user", "content": [FILE]}]})
        assert got.body["messages"][0]["content"] == [content]
        got = await reaches(R, other, {"max_tokens": 99, "messages": [{"role": "user", "content": [content]}]})
        assert got.body["input"][0]["content"] == [FILE]


@pytest.mark.parametrize(
    ("client", "upstream_", "part", "complaint"),
    [
        (R, A, {"type": "input_image", "file_id": "file_1"}, "file_id"),
        (R, C, {"type": "input_file", "file_id": "file_1"}, "file_id"),
        (R, A, {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, "audio"),
        (R, C, {"type": "input_video", "video_url": "https://example.org/a.mp4"}, "video"),
        (R, C, {"type": "input_file", "file_url": "https://example.org/a.pdf"}, "url"),
        (R, A, {"type": "input_file", "filename": "a.zip", "file_data": "data:application/zip;base64,AA"}, "zip"),
        (R, A, {"type": "hologram"}, "hologram"),
        (C, R, {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, "audio"),
        (A, R, {"type": "container_upload", "file_id": "file_1"}, "container_upload"),
        (A, R, {"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "file"),
    ],
)
async def test_h142_what_cannot_be_passed_on_is_refused_by_name(
    client: str, upstream_: str, part: Wire, complaint: str
) -> None:
    said: Any = [{"role": "user", "content": [part]}]
    got = await reaches(upstream_, client, {"input": said} if client == R else {"max_tokens": 99, "messages": said})
    assert (got.status, got.body) == (400, None)
    assert complaint in msgspec.json.decode(got.said)["error"]["message"]


async def test_h142_an_upstream_of_the_same_dialect_gets_it_all() -> None:
    items = [{"role": "user", "content": [{"type": "input_audio", "x": 1}, {"type": "input_file", "file_id": "f"}]}]
    assert (await reaches(R, R, {"input": items})).body == {"model": "m", "input": items}
