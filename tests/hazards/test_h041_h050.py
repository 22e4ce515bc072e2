"""Hazards H041-H050: token counts between two dialects."""

from typing import Any

import msgspec
import pytest

from tests.chat import DONE, data
from tests.hazards.chat import (
    ASKS_A,
    ASKS_C,
    CHAT,
    CLAUDE,
    OPENAI,
    ROLE,
    A,
    C,
    Completion,
    Message,
    at,
    between,
    chat,
    chunk,
    completion,
    counted,
    event,
    gives,
    message_end,
    message_start,
    read,
    says,
    streams,
    text_block,
    thinks,
    through,
    to_anthropic,
    to_chat,
)
from tests.hazards.chat import message as answer_of
from tests.hazards.responses import ASKS_R, RESPONSES, R, asked, for_anthropic, for_chat, for_responses
from tests.peers import ask, proxy, upstream
from tests.responses import Wire, begun, check, ended, frames
from tests.responses import message as message_of
from tests.responses import stream as stream_of
from trioproxy.items import Error, MessageDelta, Usage


async def test_h041_usage_is_asked_for() -> None:
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
    assert msgspec.json.decode(up.requests[0].body)["stream_options"] == {"include_usage": True}
    assert Message(got.body).usage["output_tokens"] == 7


async def test_h041_usage_is_asked_for_where_the_upstream_wants_to_be_asked() -> None:
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_R, path=RESPONSES, headers=OPENAI)
    assert msgspec.json.decode(up.requests[0].body)["stream_options"] == {"include_usage": True}
    assert check(got.body)["usage"]["output_tokens"] == 7
    async with upstream(streams(stream_of(message_of(0, "a")))) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
    assert "stream_options" not in msgspec.json.decode(up.requests[0].body)
    assert Message(got.body).usage["output_tokens"] == 5


@pytest.mark.parametrize("wanted", [True, False])
async def test_h041_a_chat_client_gets_usage_only_if_it_asked(wanted: bool) -> None:
    asked = ASKS_C[:-1] + (b',"stream_options":{"include_usage":true}}' if wanted else b"}")
    async with upstream(streams(answer_of(text_block(0, "a")))) as up, proxy(up.toml()) as port:
        got = await ask(port, asked, path=CHAT, headers=OPENAI)
    chunks = Completion(got.body).chunks
    assert (chunks[-1]["choices"] == []) == wanted
    assert "stream_options" not in msgspec.json.decode(up.requests[0].body)


def test_h042_usage_behind_the_finish() -> None:
    got = to_anthropic(chat(says("a")))
    assert (got.usage["input_tokens"], got.usage["output_tokens"]) == (100, 7)
    behind = (
        chunk(ROLE) + chunk(says("a")) + chunk({}, "stop") + data({"choices": [], "usage": {"completion_tokens": 3}})
    )
    assert to_anthropic(behind).usage["output_tokens"] == 3  # and no [DONE]
    nulls = (
        chunk(ROLE) + chunk(says("a")) + chunk({}, "stop") + data({"choices": None, "usage": {"completion_tokens": 4}})
    )
    assert to_anthropic(nulls + DONE).usage["output_tokens"] == 4


def test_h043_usage_null_zero_or_in_every_chunk() -> None:
    def usage(prompt: int, completion: int) -> dict[str, int]:
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    body = chunk(ROLE, usage=None) + chunk(says("a"), usage=usage(0, 0)) + chunk(says("b"), usage=usage(100, 1))
    body += chunk(says("c"), usage=usage(100, 2)) + chunk({}, "stop", usage=usage(100, 3))
    for last in (b"", counted(usage(100, 3)), counted(usage(0, 0)), data({"choices": [], "usage": None})):
        got = to_anthropic(body + last + DONE)
        assert (got.usage["input_tokens"], got.usage["output_tokens"]) == (100, 3)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 80}},
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 80, "prompt_cache_miss_tokens": 20},
        {"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 80},
    ],
    ids=["openai", "deepseek", "moonshot"],
)
def test_h044_cached_tokens_are_outside_anthropics_input(usage: Any) -> None:
    got = to_anthropic(chat(says("a"), usage=usage)).usage
    assert (got["input_tokens"], got["cache_read_input_tokens"], got["output_tokens"]) == (20, 80, 5)
    body = completion({"content": "a"}, usage=usage)
    folded = msgspec.json.decode(through(body, between(A, C, stream=False, upstream_stream=False)).body)
    assert folded["usage"]["input_tokens"] + folded["usage"]["cache_read_input_tokens"] == 100


def test_h044_never_less_than_nothing() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 80}}
    assert to_anthropic(chat(says("a"), usage=usage)).usage["input_tokens"] == 0


def test_h044_h045_the_whole_prompt_for_a_chat_client() -> None:
    start = message_start(input_tokens=10, output_tokens=1, cache_read_input_tokens=80, cache_creation_input_tokens=7)
    usage = to_chat(start + text_block(0, "a") + message_end()).usage
    assert usage is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (97, 5, 102)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 80
    assert usage["prompt_tokens_details"]["cache_write_tokens"] == 7


def test_h045_tokens_written_to_the_cache() -> None:
    details = {"cached_tokens": 20, "cache_write_tokens": 30}
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details}
    got = to_anthropic(chat(says("a"), usage=usage)).usage
    assert (got["input_tokens"], got["cache_read_input_tokens"], got["cache_creation_input_tokens"]) == (50, 20, 30)


def test_h046_message_delta_is_cumulative() -> None:
    start = message_start(input_tokens=10, output_tokens=3, cache_read_input_tokens=4)
    ends: list[tuple[dict[str, Any], tuple[int, int]]] = [
        ({"output_tokens": 9}, (14, 9)),
        ({"input_tokens": 0, "output_tokens": 9, "cache_read_input_tokens": 0}, (14, 9)),
        ({"input_tokens": 12, "output_tokens": 9}, (16, 9)),
        ({"output_tokens": 0}, (14, 3)),
    ]
    for last, expected in ends:
        body = start + text_block(0, "a") + message_end(**last)
        usage = to_chat(body).usage
        assert usage is not None
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == expected
        told = for_responses(body, asked(A)).response["usage"]
        assert (told["input_tokens"], told["output_tokens"]) == expected


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 3}, "odd", {"prompt_tokens": None}])
def test_h047_usage_is_always_there(usage: Any) -> None:
    body = chunk(ROLE) + chunk(says("a")) + chunk({}, "stop") + data({"choices": [], "usage": usage}) + DONE
    got = to_anthropic(body)
    assert type(got.start["usage"]["input_tokens"]) is int
    assert type(got.start["usage"]["output_tokens"]) is int
    assert type(got.usage["output_tokens"]) is int
    whole = completion({"content": "a"}, usage=usage)
    folded = msgspec.json.decode(through(whole, between(A, C, stream=False, upstream_stream=False)).body)
    assert {type(folded["usage"][key]) for key in ("input_tokens", "output_tokens")} == {int}


def test_h047_usage_is_always_there_for_a_chat_client() -> None:
    start = event(
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "m"}}
    )
    end = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}) + event({"type": "message_stop"})
    got = to_chat(start + text_block(0, "a") + end)
    assert got.usage is not None
    assert got.usage["total_tokens"] == 0


async def test_h048_message_start_says_how_long_the_request_is() -> None:
    words = " ".join(["many words of a long request"] * 400)
    asked = msgspec.json.encode({**msgspec.json.decode(ASKS_A), "messages": [{"role": "user", "content": words}]})
    async with upstream(streams(chat(says("a")))) as up, proxy(at(up.toml())) as port:
        got = Message((await ask(port, asked, headers=CLAUDE)).body)
    assert 1200 < got.start["usage"]["input_tokens"] < 5000
    assert got.usage["input_tokens"] == 100  # and message_delta says it exactly


def test_h049_reasoning_tokens() -> None:
    inside = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
    beside = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 60}
    for usage in (inside, beside):
        details = {"completion_tokens_details": {"reasoning_tokens": 30}}
        got = to_anthropic(chat(thinks("t"), says("a"), usage=usage | details)).usage
        assert got["output_tokens"] == 50
        assert got["output_tokens_details"] == {"thinking_tokens": 30}


def test_h049_reasoning_tokens_for_a_chat_client() -> None:
    usage = to_chat(
        message_start()
        + text_block(0, "a")
        + message_end(output_tokens=50, output_tokens_details={"thinking_tokens": 30})
    ).usage
    assert usage is not None
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 30
    plain = to_chat(answer_of(text_block(0, "a"))).usage
    assert plain is not None
    assert plain["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_h041_h042_between_two_that_speak_chat_nothing_is_added() -> None:
    """The client of the same dialect decided itself what it asks for, and gets what there is."""
    body = chat(says("a"))
    async with upstream(streams(body)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_C, path=CHAT, headers=OPENAI)
        assert up.requests[0].body == ASKS_C
    assert got.body == body
    whole = completion({"content": "a"})
    async with upstream(gives(whole)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_C.replace(b'"stream":true,', b""), path=CHAT, headers=OPENAI)
    assert got.body == whole


# ── where one of the two speaks Responses ───────────────────────────────────────────────────────────────────────────


def counts(input: int, output: int, **details: int) -> Wire:
    """A usage object as OpenAI's API has it."""
    reasoning = details.pop("reasoning_tokens", 0)
    return {
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": 0} | details,
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input + output,
    }


def ending(usage: Any, status: str = "completed", **more: Any) -> bytes:
    """An answer that ends with this usage, and began with other ones."""
    zeros, null = begun(usage=counts(0, 0))[0], begun()[1]
    return frames(zeros, null, *message_of(0, "a"), ended(status=status, usage=usage, **more))


@pytest.mark.parametrize(("cached", "written", "input"), [(0, 0, 100), (80, 0, 20), (20, 30, 50), (0, 30, 70)])
def test_h043_h044_h045_what_a_response_counts(cached: int, written: int, input: int) -> None:
    body = ending(counts(100, 5, cached_tokens=cached, cache_write_tokens=written))
    for got in (
        for_anthropic(body).usage,
        msgspec.json.decode(through(body, between(A, R, stream=False)).body)["usage"],
    ):
        assert (got["input_tokens"], got["output_tokens"]) == (input, 5)
        assert got.get("cache_read_input_tokens", 0) == cached
        assert got.get("cache_creation_input_tokens", 0) == written
    usage = for_chat(body).usage
    assert usage is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (100, 5, 105)
    assert usage["prompt_tokens_details"]["cached_tokens"] == cached


def test_h044_a_response_that_counts_more_cached_than_asked() -> None:
    assert for_anthropic(ending(counts(10, 5, cached_tokens=80))).usage["input_tokens"] == 0


def test_h044_h045_the_whole_prompt_for_a_responses_client() -> None:
    start = message_start(input_tokens=10, output_tokens=1, cache_read_input_tokens=80, cache_creation_input_tokens=7)
    got = for_responses(start + text_block(0, "a") + message_end(), asked(A)).response["usage"]
    assert got == {
        "input_tokens": 97,
        "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 7},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 102,
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 80}}
    got = for_responses(chat(says("a"), usage=usage), asked(C)).response["usage"]
    assert (got["input_tokens"], got["input_tokens_details"]["cached_tokens"]) == (100, 80)


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 3}, "odd", {"input_tokens": None}])
def test_h047_usage_is_always_there_though_a_response_has_none(usage: Any) -> None:
    got = for_anthropic(ending(usage))
    assert type(got.start["usage"]["input_tokens"]) is int
    assert type(got.usage["output_tokens"]) is int
    folded = msgspec.json.decode(through(ending(usage), between(A, R, stream=False)).body)
    assert {type(folded["usage"][key]) for key in ("input_tokens", "output_tokens")} == {int}
    assert for_chat(ending(usage)).content == "a"


@pytest.mark.parametrize("usage", [None, {}, "odd"])
def test_h047_usage_is_always_there_for_a_responses_client(usage: Any) -> None:
    body = chunk(ROLE) + chunk(says("a")) + chunk({}, "stop") + data({"choices": [], "usage": usage}) + DONE
    assert for_responses(body, asked(C)).response["usage"] == counts(0, 0, cache_write_tokens=0)
    start = event(
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "m"}}
    )
    end = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}) + event({"type": "message_stop"})
    got = for_responses(start + text_block(0, "a") + end, asked(A)).response["usage"]
    assert got == counts(0, 0, cache_write_tokens=0)


async def test_h048_message_start_says_how_long_a_request_to_responses_is() -> None:
    words = " ".join(["many words of a long request"] * 400)
    body = msgspec.json.encode({**msgspec.json.decode(ASKS_A), "messages": [{"role": "user", "content": words}]})
    async with upstream(streams(ending(counts(3000, 5)))) as up, proxy(at(up.toml(), R)) as port:
        got = Message((await ask(port, body, headers=CLAUDE)).body)
    assert 1200 < got.start["usage"]["input_tokens"] < 5000
    assert got.usage["input_tokens"] == 3000  # and message_delta says it exactly


def test_h049_reasoning_tokens_of_a_response() -> None:
    body = ending(counts(10, 50, reasoning_tokens=30))
    got = for_anthropic(body).usage
    assert (got["output_tokens"], got["output_tokens_details"]) == (50, {"thinking_tokens": 30})
    usage = for_chat(body).usage
    assert usage is not None
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 30
    # xAI counts them beside the output, and not in it.
    beside = counts(10, 20, reasoning_tokens=30) | {"total_tokens": 60}
    assert for_anthropic(ending(beside)).usage["output_tokens"] == 50


def test_h049_reasoning_tokens_for_a_responses_client() -> None:
    end = message_end(output_tokens=50, output_tokens_details={"thinking_tokens": 30})
    for body, upstream_, tokens in (
        (message_start() + text_block(0, "a") + end, A, 30),
        (answer_of(text_block(0, "a")), A, 0),
        (
            chat(
                says("a"),
                usage={
                    "prompt_tokens": 10,
                    "completion_tokens": 50,
                    "completion_tokens_details": {"reasoning_tokens": 30},
                },
            ),
            C,
            30,
        ),
    ):
        usage = for_responses(body, asked(upstream_)).response["usage"]
        assert usage["output_tokens_details"] == {"reasoning_tokens": tokens}


@pytest.mark.parametrize("usage", [counts(10, 50), None])
def test_h050_usage_of_every_end(usage: Any) -> None:
    cut = ending(usage, "incomplete", incomplete_details={"reason": "max_output_tokens"})
    got = for_anthropic(cut)
    assert (got.stop_reason, got.usage["output_tokens"]) == ("max_tokens", 50 if usage else 0)
    failed = ending(usage, "failed", error={"code": "server_error", "message": "boom"})
    events = read(failed, between(A, R))
    counted = [each.usage for each in events if isinstance(each, MessageDelta)]
    assert counted == ([Usage(10, 50, None, 0)] if usage else [])  # what has failed has cost, too
    assert [each.message for each in events if isinstance(each, Error)] == ["boom"]
    assert through(failed, between(A, R)).error.message == "boom"
