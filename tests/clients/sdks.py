"""The official SDKs as clients: one question, and the answer as they have put it together.

The synchronous kind: the other leaves generators to the garbage collector, of which trio warns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from .said import Dialect, Form, Said, Wire
from .said.anthropic import said_by_message
from .said.chat import said_by_completion
from .said.responses import FAILS, disagreements, said_by_response, streamed

if TYPE_CHECKING:
    import anthropic
    import openai
else:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")
    openai = pytest.importorskip("openai", reason="the openai package is not installed")

MODEL = "the-model-asked-for"
SECONDS = 30.0


class Failed(Exception):
    """The answer has told of its failure, of which the SDK makes nothing."""


REFUSALS = (anthropic.APIStatusError, openai.APIStatusError)
FAILURES = (anthropic.APIError, openai.APIError, Failed)


@dataclass
class Clients:
    anthropic: anthropic.Anthropic
    openai: openai.OpenAI

    def ask(self, dialect: Dialect, words: str, *, asked: Form) -> Wire:
        """One answer, as the SDK has put it together: a message, a completion or a response."""
        way = {
            ("anthropic", "stream"): self._message_stream,
            ("anthropic", "whole"): self._message,
            ("openai-chat", "stream"): self._completion_stream,
            ("openai-chat", "whole"): self._completion,
            ("openai-responses", "stream"): self.response_stream,
            ("openai-responses", "whole"): self.response,
        }[dialect, asked]
        return way(self.question(dialect, words))

    def question(self, dialect: Dialect, words: str) -> Wire:
        if dialect == "openai-responses":
            return {"model": MODEL, "input": words, "reasoning": {"summary": "auto", "effort": "low"}}
        more = {"max_tokens": 4000} if dialect == "anthropic" else {}
        return {"model": MODEL, "messages": [{"role": "user", "content": words}], **more}

    def _message(self, question: Wire) -> Wire:
        return self.anthropic.messages.create(**question).to_dict(warnings=False)

    def _message_stream(self, question: Wire) -> Wire:
        arguments: dict[int, str] = {}
        with self.anthropic.messages.stream(**question) as stream:
            for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                    arguments[event.index] = arguments.get(event.index, "") + event.delta.partial_json
            message: Wire = stream.get_final_message().to_dict(warnings=False)
        for index, text in arguments.items():
            block = message["content"][index]
            try:
                # The SDK knows no arguments of tools that run elsewhere.
                assert json.loads(text or "{}") == block["input"] or block["type"] != "tool_use"
            except ValueError:
                block["input"] = text  # what the SDK made of arguments that were cut is a guess of its own
        return message

    def _completion(self, question: Wire) -> Wire:
        return self.openai.chat.completions.create(**question).to_dict(warnings=False)

    def _completion_stream(self, question: Wire) -> Wire:
        last = None
        with self.openai.chat.completions.stream(**question, stream_options={"include_usage": True}) as stream:
            for event in stream:
                if event.type == "chunk":
                    last = event.snapshot
        # `get_final_completion` raises for any answer that was cut short, as if it had to be parsed.
        completion: Wire = last.to_dict(warnings=False) if last is not None else {}
        return completion

    def response(self, question: Wire) -> Wire:
        return self.openai.responses.create(**question).to_dict(warnings=False)

    def response_stream(self, question: Wire) -> Wire:
        """What comes in pieces is held against what is told whole: many clients look at the one or the other alone."""
        events: list[Wire] = []
        with self.openai.responses.stream(**question) as stream:
            for event in stream:
                # The SDK has put its own sums beside them, and with the last its own reading of the response.
                events.append({key: value for key, value in event.to_dict(warnings=False).items() if key != "snapshot"})
        if failure := next((event for event in events if event["type"] in FAILS), None):
            raise Failed(failure)
        [told] = streamed(events)
        assert told.response is not None, f"it ends with {events[-1:]}"
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert disagreements(told, every=True) == []
        return told.response

    def body(self, dialect: Dialect, words: str) -> bytes:
        """One whole answer as it came, which the SDK could make something of."""
        asks: dict[Dialect, Callable[..., Any]] = {
            "anthropic": self.anthropic.messages.with_raw_response.create,
            "openai-chat": self.openai.chat.completions.with_raw_response.create,
            "openai-responses": self.openai.responses.with_raw_response.create,
        }
        answer = asks[dialect](**self.question(dialect, words))
        answer.parse()
        body: bytes = answer.http_response.content
        return body

    def chunks(self, words: str) -> list[Wire]:
        """The chunks of a completion as they came."""
        question = self.question("openai-chat", words)
        with self.openai.chat.completions.create(
            **question, stream=True, stream_options={"include_usage": True}
        ) as stream:
            return [chunk.to_dict(warnings=False) for chunk in stream]

    def events(self, words: str) -> list[Wire]:
        """The events of a response as they came."""
        with self.openai.responses.create(**self.question("openai-responses", words), stream=True) as stream:
            return [event.to_dict(warnings=False) for event in stream]

    def stream(self, words: str) -> bytes:
        """The bytes of these."""
        question = self.question("openai-responses", words)
        with self.openai.responses.with_streaming_response.create(**question, stream=True) as answer:
            return answer.read()


@contextmanager
def clients(port: int) -> Iterator[Clients]:
    url = f"http://127.0.0.1:{port}"
    # Without the proxies that the environment may name.
    with (
        anthropic.Anthropic(
            base_url=url,
            api_key="dummy",
            max_retries=0,
            timeout=SECONDS,
            http_client=anthropic.DefaultHttpxClient(trust_env=False),
        ) as one,
        openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="dummy",
            max_retries=0,
            timeout=SECONDS,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        ) as other,
    ):
        yield Clients(one, other)


def heard(client: Dialect, wire: Wire) -> Said:
    """What a client got. What was cut is no object, and stands as text."""
    if client == "openai-chat":
        return said_by_completion(wire)
    if client == "openai-responses":
        return said_by_response(wire)
    answer = said_by_message(wire)
    for call, block in zip(answer.calls, (b for b in wire["content"] if b["type"] == "tool_use"), strict=True):
        if isinstance(block["input"], str):
            call.text = block["input"]
    return answer
