"""A program written for Anthropic's SDK, on whatever model its user has: the proxy that it carries translates.

OPENAI_API_KEY=sk-… python greet.py Ada
"""

import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import trio

import trioproxy
from trioproxy import Stage, TextDelta, replace


class Whisper(Stage[TextDelta, TextDelta]):
    """A stage of the program's own: answers come in small letters."""

    def feed(self, delta: TextDelta, /) -> Iterator[TextDelta]:
        yield replace(delta, text=delta.text.lower())


def configuration(upstream: dict[str, Any]) -> trioproxy.Config:
    """The tables of a `stages.toml`, with a class where a file could only name one."""
    return trioproxy.configure(
        listen="127.0.0.1:0",
        upstreams={"model": upstream},
        pipeline={"response": ["deframe", "parse", "signature-filter", Whisper, "translate", "reframe"]},
    )


async def greet(name: str, url: str) -> str:
    """What the model at `url` says to somebody; which one it is, the configuration says."""
    question: Any = {"role": "user", "content": f"Greet {name} in one short sentence."}
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="the proxy has its own") as client,
        client.messages.stream(model="any", max_tokens=200, messages=[question]) as answer,
    ):
        return await answer.get_final_text()


async def main(name: str) -> None:
    """Serve on a free port for as long as it takes."""
    openai = {
        "url": "https://api.openai.com/v1",
        "dialect": "openai-chat",
        "token": {"env": "OPENAI_API_KEY"},
        "model": "gpt-5-mini",
        "first_byte_timeout": "30s",
    }
    async with trioproxy.open_proxy(configuration(openai)) as proxy:
        print(await greet(name, proxy.url))


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
