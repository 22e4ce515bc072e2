"""The official Python SDK, directly on the fake router and through trioproxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from . import answers
from .conftest import Way, m0_streams
from .fake_router import FakeRouter
from .tap import Tap
from .wire import CHOPPINGS, Ending, Gate, Pause, Reply, Step, one_write

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")

SDK_SECONDS = 20.0
WORDS = ["Hello!", " How", " can", " I", " help", " you", " today?"]
QUESTION: dict[str, Any] = {
    "model": answers.MODEL,
    "max_tokens": 1024,
    # Not ASCII, and a line separator that careless line splitting would cut.
    "messages": [{"role": "user", "content": "Grüß Gott \u2028 \U0001f44b"}],
}


@contextmanager
def calling(base_url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=base_url,
        api_key="dummy",
        max_retries=0,
        timeout=SDK_SECONDS,
        # Without the proxies that the environment may name.
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    ) as client:
        yield client


def shown_by_stream(client: anthropic.Anthropic) -> tuple[list[str], anthropic.types.Message]:
    with client.messages.stream(**QUESTION) as stream:
        return list(stream.text_stream), stream.get_final_message()


def raw_stream(client: anthropic.Anthropic) -> bytes:
    """The body of a streamed answer as it reached the SDK."""
    with client.messages.with_streaming_response.create(**QUESTION, stream=True) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return b"".join(response.iter_bytes())


def assert_one_empty_text(message: anthropic.types.Message) -> None:
    assert [(block.type, block.text) for block in message.content if block.type == "text"] == [("text", "")]
    assert len(message.content) == 1
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert message.id
    assert message.usage.input_tokens >= 0


@pytest.mark.parametrize("chopping", CHOPPINGS)
def test_stream(way: Way, chopping: str) -> None:
    reply = answers.streamed_or_not(CHOPPINGS[chopping](answers.text_events()), {})
    with FakeRouter([reply]) as router, way(router) as base_url, calling(base_url) as client:
        words, message = shown_by_stream(client)
    assert router.problems == []
    assert words == WORDS
    assert [block.text for block in message.content if block.type == "text"] == [answers.REAL]
    assert (message.id, message.stop_reason) == ("msg_real", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 9)


def test_raw_events(way: Way) -> None:
    with FakeRouter([answers.text()]) as router, way(router) as base_url, calling(base_url) as client:
        types = [event.type for event in client.messages.create(**QUESTION, stream=True)]
    assert router.problems == []
    # The SDK keeps the ping to itself.
    deltas = ["content_block_delta"] * len(WORDS)
    end = ["content_block_stop", "message_delta", "message_stop"]
    assert types == ["message_start", "content_block_start", *deltas, *end]


def test_stream_with_a_tool(way: Way) -> None:
    call = answers.tool_use("weather", {"place": "Würzburg", "days": 2})
    with FakeRouter([call]) as router, way(router) as base_url, calling(base_url) as client:
        words, message = shown_by_stream(client)
    assert router.problems == []
    assert words == []
    [block] = message.content
    assert block.type == "tool_use"
    assert (block.id, block.name, block.input) == (answers.TOOL_ID, "weather", {"place": "Würzburg", "days": 2})
    assert message.stop_reason == "tool_use"


def test_message(way: Way) -> None:
    with FakeRouter([answers.text()]) as router, way(router) as base_url, calling(base_url) as client:
        message = client.messages.create(**QUESTION)
    assert router.problems == []
    assert message.to_dict() == answers.message([answers.text_block(answers.REAL)])


def test_count_tokens(way: Way) -> None:
    question = {key: value for key, value in QUESTION.items() if key != "max_tokens"}
    with FakeRouter([answers.aside]) as router, way(router) as base_url, calling(base_url) as client:
        count = client.messages.count_tokens(**question)
    assert router.problems == []
    assert count.input_tokens == answers.TOKENS
    assert [request.target for request in router.requests] == ["/v1/messages/count_tokens"]


def test_requests_arrive_byte_for_byte(way: Way) -> None:
    script = answers.text(), answers.text(), answers.aside
    with FakeRouter(script) as router, way(router) as base_url, Tap(base_url) as tap, calling(tap.url) as client:
        shown_by_stream(client)
        client.messages.create(**QUESTION, extra_body={"unknown_field": {"z": 1.0, "a": 1e-7, "n": None}})
        client.messages.count_tokens(model=answers.MODEL, messages=QUESTION["messages"])
    assert router.problems == tap.problems == []
    assert len(router.requests) == len(script)
    for sent, arrived in zip(tap.requests, router.requests, strict=True):
        assert arrived.body == sent.body
        assert (arrived.method, arrived.target) == (sent.method, sent.target)
        for name in ("anthropic-version", "authorization", "content-type", "user-agent"):
            assert arrived.header(name) == sent.header(name), name


def test_answers_leave_byte_for_byte(way: Way) -> None:
    """Padding, spacing and pings included: what no rule touches is not written anew."""
    with FakeRouter([answers.text()]) as router, way(router) as base_url, calling(base_url) as client:
        body = raw_stream(client)
    assert router.problems == []
    assert body == b"".join(answers.text_events())


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", "BadRequestError"),
        (401, "authentication_error", "AuthenticationError"),
        (404, "not_found_error", "NotFoundError"),
        (429, "rate_limit_error", "RateLimitError"),
        (529, "overloaded_error", "OverloadedError"),
    ],
)
def test_error(way: Way, status: int, kind: str, expected: str, streamed: bool) -> None:
    reply = answers.error(status, kind, "not now, Größe 3", ("retry-after", "7"))
    with (
        FakeRouter([reply]) as router,
        way(router) as base_url,
        calling(base_url) as client,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        client.messages.create(**QUESTION, stream=streamed)
    assert router.problems == []
    assert type(caught.value).__name__ == expected
    assert caught.value.status_code == status
    assert caught.value.body == answers.error_body(kind, "not now, Größe 3")
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.request_id == answers.REQUEST_ID
    # Retrying is the client's decision, and this one has retries turned off.
    assert len(router.requests) == 1


def test_error_event_in_the_stream(way: Way) -> None:
    failure = answers.error_body("overloaded_error", "Overloaded")
    events = [*answers.cut_events(), answers.event("error", error=failure["error"])]
    reply = answers.always(answers.sse(one_write(events)))
    words: list[str] = []
    with (
        FakeRouter([reply]) as router,
        way(router) as base_url,
        calling(base_url) as client,
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(**QUESTION) as stream,
    ):
        words.extend(stream.text_stream)
    assert router.problems == []
    assert words == WORDS
    assert caught.value.body == {"type": "error", "error": failure["error"]}


@pytest.mark.parametrize("ending", ["reset", "closed"])
def test_cut_stream_is_an_error(way: Way, ending: Ending) -> None:
    # The pause lets the words arrive, as a reset may overtake them.
    steps: list[Step] = [*answers.cut_events(), Pause(0.1)]
    reply = answers.always(answers.sse(steps, ending=ending))
    words: list[str] = []
    with (
        FakeRouter([reply]) as router,
        way(router) as base_url,
        calling(base_url) as client,
        pytest.raises(broken_stream()),
        client.messages.stream(**QUESTION) as stream,
    ):
        words.extend(stream.text_stream)
    assert router.problems == []
    assert words == WORDS


def test_stream_that_just_ends_is_made_an_error(proxied: Way) -> None:
    """Directly the SDK takes half an answer for a whole one (no stop reason); the proxy must not let that pass."""
    reply = answers.always(answers.sse(answers.cut_events()))
    words: list[str] = []
    with (
        FakeRouter([reply]) as router,
        proxied(router) as base_url,
        calling(base_url) as client,
        pytest.raises(broken_stream()),
        client.messages.stream(**QUESTION) as stream,
    ):
        words.extend(stream.text_stream)
    assert router.problems == []
    assert words == WORDS


@m0_streams
def test_m0_real_message_arrives_alone(proxied: Way, block_stop: bool, chopping: str) -> None:
    events = [*answers.metadata_events(block_stop=block_stop), *answers.text_events()]
    reply = answers.metadata_first(CHOPPINGS[chopping](events))
    with FakeRouter([reply, reply]) as router, proxied(router) as base_url, calling(base_url) as client:
        words, message = shown_by_stream(client)
        body = raw_stream(client)
    assert router.problems == []
    assert words == WORDS
    assert (message.id, message.stop_reason) == ("msg_real", "end_turn")
    assert body == b"".join(answers.text_events())


@pytest.mark.parametrize("order", ["mrm", "rmm", "mmr", "rmr"])
def test_m0_any_number_in_any_order(proxied: Way, order: str) -> None:
    parts = {"m": answers.metadata_events(block_stop=False), "r": answers.text_events()}
    events = [event for letter in order for event in parts[letter]]
    reply = answers.always(answers.sse(one_write(events)))
    with FakeRouter([reply]) as router, proxied(router) as base_url, calling(base_url) as client:
        body = raw_stream(client)
    assert router.problems == []
    assert body == b"".join(answers.text_events()) * order.count("r")


def test_m0_first_word_is_not_held_back(proxied: Way) -> None:
    """The router sends the second word only after the first one has been seen here."""
    gate = Gate()
    start, ping, block_start, first, *others = answers.text_events()
    metadata = answers.metadata_events(block_stop=False)
    reply = answers.always(answers.sse([*metadata, start, ping, block_start, first, gate, *others]))
    with (
        FakeRouter([reply]) as router,
        proxied(router) as base_url,
        calling(base_url) as client,
        client.messages.stream(**QUESTION) as stream,
    ):
        words = iter(stream.text_stream)
        seen = [next(words)]
        gate.opened.set()
        seen.extend(words)
    assert router.problems == []
    assert seen == WORDS


@m0_streams
def test_m0_metadata_only_stream_is_an_empty_message(proxied: Way, block_stop: bool, chopping: str) -> None:
    reply = answers.metadata_first(CHOPPINGS[chopping](answers.metadata_events(block_stop=block_stop)))
    with FakeRouter([reply, reply]) as router, proxied(router) as base_url, calling(base_url) as client:
        words, message = shown_by_stream(client)
        types = [event.type for event in client.messages.create(**QUESTION, stream=True)]
    assert router.problems == []
    assert "".join(words) == ""
    assert_one_empty_text(message)
    frame = ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    assert [kind for kind in types if kind != "content_block_delta"] == frame


def test_m0_metadata_only_json_is_an_empty_message(proxied: Way) -> None:
    metadata: Reply = answers.metadata_first(())
    with FakeRouter([metadata]) as router, proxied(router) as base_url, calling(base_url) as client:
        message = client.messages.create(**QUESTION)
    assert router.problems == []
    assert_one_empty_text(message)


def broken_stream() -> tuple[type[Exception], ...]:
    """An error event is an APIError; a broken connection in mid-stream surfaces as its HTTP library's own error."""
    import httpx2

    return anthropic.APIError, httpx2.TransportError
