"""Errors of upstreams in every envelope that was met (wire-facts, section 7), and the client's own envelope."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus import cases
from trioproxy.dialects import DIALECTS
from trioproxy.dialects.errors import is_error, read_error, read_error_object
from trioproxy.items import Error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (
            429,
            '{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}',
            Error("rate_limit", "slow", 429),
        ),
        (413, '{"error":{"type":"request_too_large","message":"big"}}', Error("too_large", "big", 413)),
        (500, '{"type":"error","error":{"type":"api_error","message":"Over"}}', Error("upstream", "Over", 500)),
        (529, '{"error":{"type":"overloaded_error","message":"busy"}}', Error("overloaded", "busy", 529)),
        (401, '{"error":{"message":"no","type":"x","code":"invalid_api_key"}}', Error("authentication", "no", 401)),
        (404, '{"error":{"message":"no","type":"invalid_request_error"}}', Error("not_found", "no", 404)),
        (429, '{"error":{"message":"q","code":"insufficient_quota"}}', Error("rate_limit", "q", 429)),
        (403, '{"error":"no access"}', Error("permission", "no access", 403)),
        (400, '{"message":"m","type":"t","param":"p","code":"c"}', Error("invalid_request", "m", 400)),
        (422, '{"detail":"wrong"}', Error("invalid_request", "wrong", 422)),
        (422, '{"detail":[{"msg":"x"}]}', Error("invalid_request", '[{"msg":"x"}]', 422)),
        (400, '{"object":"error","message":"m","type":"t"}', Error("invalid_request", "m", 400)),
        (400, '{"code":"c","error":"text"}', Error("invalid_request", "text", 400)),
        (200, '{"error":{"message":"m","code":429,"metadata":{}},"user_id":"u"}', Error("rate_limit", "m", 429)),
        (200, '{"error":{"code":"503","message":"m"}}', Error("overloaded", "m", 503)),
        (200, '{"error":{"message":"m"}}', Error("upstream", "m", 502)),
        (502, "<html><head><title>502 Bad\n Gateway</title>", Error("upstream", "", 502)),
        (500, "", Error("upstream", "the upstream answered 500 without a message", 500)),
        (418, "{}", Error("invalid_request", "the upstream answered 418 without a message", 418)),
        (502, "upstream connect error", Error("upstream", "upstream connect error", 502)),
        (500, "[1]", Error("upstream", "[1]", 500)),
        (500, "null", Error("upstream", "the upstream answered 500 without a message", 500)),
    ],
)
def test_reads_errors_of_any_shape(status: int, body: str, error: Error) -> None:
    got = read_error(status, body.encode())
    if "<html>" in body:
        assert got.message == "the upstream answered 502 with a web page: 502 Bad Gateway"
    else:
        assert got == error


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}'),
        (400, '{"error":{"message":"This model\'s maximum context length is 8192 tokens.","code":null}}'),
        (400, '{"error":{"code":400,"message":"m","type":"exceed_context_size_error","n_ctx":1}}'),
        (413, '{"error":{"message":"prompt is too long: 200001 tokens > 200000 maximum"}}'),
    ],
)
def test_h102_a_conversation_too_long_is_known_and_told_so_that_clients_compact(status: int, body: str) -> None:
    error = read_error(status, body.encode())
    assert (error.kind, error.status) == ("context_overflow", 400)
    told = msgspec.json.decode(DIALECTS["anthropic"].write_error(error, "id"))["error"]
    assert told["type"] == "invalid_request_error"
    assert told["message"].lower().count("prompt is too long") == 1
    assert msgspec.json.decode(DIALECTS["openai-chat"].write_error(error, "id"))["error"]["code"] == (
        "context_length_exceeded"
    )


def test_a_foreign_error_body_is_quoted_shortened() -> None:
    assert len(read_error(502, b"x" * 100_000).message) == 500


def test_recorded_errors_keep_their_message() -> None:
    seen = 0
    for dialect in ("anthropic", "openai-chat"):
        for case in cases(dialect):
            if case.status >= 400:
                error = read_error(case.status, case.body)
                seen += 1
                assert error.status == case.status
                told = case.body.decode().replace("\\n", "\n").replace('\\"', '"')
                assert error.message in told or not case.body, case.id
    assert seen > 20


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: (
            st.lists(v)
            | st.dictionaries(st.sampled_from(["error", "type", "message", "code", "detail", "object"]) | st.text(), v)
        ),
    )
)
def test_any_json_reads(wire: object) -> None:
    error = read_error(500, msgspec.json.encode(wire))
    assert error.message
    assert (read_error_object(wire) is not None) == is_error(wire)
    for dialect in DIALECTS.values():
        msgspec.json.decode(dialect.write_error(error, "id"))


@pytest.mark.parametrize("mark", [b"<title>", b"<title", b"<h1>"])
def test_a_title_is_not_looked_for_without_end(mark: bytes) -> None:
    started = time.process_time()
    read_error(500, b"<html>" + mark * 200_000)
    assert time.process_time() - started < 1
