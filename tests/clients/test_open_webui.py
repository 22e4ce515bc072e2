"""Open WebUI itself through trioproxy, with the example file that is for it, on an upstream that plays Claude."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from . import answers
from .anthropic_upstream import MODELS, PATH, AnthropicUpstream, Call, Say, Step, Think
from .open_webui import Chat, OpenWebUI, installed, until
from .proxy import REPOSITORY, Trioproxy
from .wire import Answer, Gate, Request

# The first test that needs Open WebUI waits for its start as well.
pytestmark = pytest.mark.timeout(180)

EXAMPLE = REPOSITORY / "examples" / "open-webui-on-claude.toml"
PREFIX = "claude-openai-tools/"
MODEL = "claude-opus-5-5"
# What makes a model think, in Open WebUI's chat controls: one always does, and takes its thinking back only behind the
# conversation that led to it; one refuses calls that come back without the thinking before them.
THINKING: dict[str, Mapping[str, object]] = {MODEL: {}, "claude-sonnet-4-5": {"reasoning_effort": "medium"}}
# What becomes of the text of messages that call tools: as the example file has it, and the other way.
SHOW = ["reasoning", "content"]
KEY, VARIABLE = "sk-ant-from-the-environment", "OPEN_WEBUI_TEST_"

TOOLS = '''
class Tools:
    def weather(self, city: str) -> str:
        """The weather in a city.

        :param city: its name
        """
        return f"It is sunny in {city}."

    def add(self, a: int, b: int) -> int:
        """The sum of two numbers.

        :param a: the first
        :param b: the second
        """
        return a + b
'''
CALLS = [Call("weather", {"city": "Würzburg"}), Call("add", {"a": 40, "b": 2})]
CALLED = [(call.name, call.input) for call in CALLS]
THOUGHT, HELLO = "I look at step-4417 first.", "Hello from marker-5520, and welcome."
LOOK, FINAL, AGAIN = "Let me look both up.", "It is sunny, and the sum is 42.", "As I said: 42."
RESULTS = ["It is sunny in Würzburg.", "42"]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# What it asks for beside the conversation; each request takes the part of it that it wants.
ASIDE = {"title": "A proof of marker-5521", "tags": ["proxies"], "follow_ups": ["And why is that?"]}


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWebUI]:
    executable = installed()
    if executable is None:
        how = "tests/clients/install.sh tests/clients/.installed open-webui, or TRIOPROXY_OPEN_WEBUI"
        pytest.skip(f"Open WebUI is not installed ({how})")
    with OpenWebUI(executable, tmp_path_factory.mktemp("open-webui")) as webui:
        webui.add_tool("proofs", TOOLS)
        yield webui


class Upstream(AnthropicUpstream):
    """Claude, who is also asked for titles, tags and what to ask next: requests of their own, answered by `aside`."""

    def __init__(self, script: Sequence[Step], aside: AnthropicUpstream, change: Callable[[Answer], Answer]) -> None:
        super().__init__(script)
        self.aside = aside
        self._change = change
        self.signed: list[list[str]] = []
        """The signatures of each answer."""

    def answer(self, request: Request) -> Answer:
        if request.path != PATH:
            return super().answer(request)
        if not request.wants_stream:
            return self.aside.answer(request)
        answer = super().answer(request)
        self.signed.append(re.findall('"signature":"([^"]+)"', answer.body.decode()))
        return self._change(answer)


def as_it_is(answer: Answer) -> Answer:
    return answer


def held(gate: Gate, piece: str) -> Callable[[Answer], Answer]:
    """The answer with `piece` of a delta has a gate behind that delta."""

    def behind(answer: Answer) -> Answer:
        before, found, rest = answer.body.partition(b"%b}}\n\n" % piece.encode())
        return dataclasses.replace(answer, steps=(before + found, gate, rest)) if found else answer

    return behind


@contextmanager
def connected(
    webui: OpenWebUI,
    folder: Path,
    *script: Step,
    show: str = "reasoning",
    store: str = "memory:",
    change: Callable[[Answer], Answer] = as_it_is,
) -> Iterator[Upstream]:
    """Open WebUI connected to a trioproxy on an upstream that plays `script`, which must have nothing to refuse."""
    with (
        AnthropicUpstream([[Say(json.dumps(ASIDE))]]) as aside,
        Upstream(script, aside, change) as upstream,
        proxied(webui, folder, upstream, show, store),
    ):
        yield upstream
    assert (upstream.refused, aside.refused) == ([], [])
    assert (upstream.problems, aside.problems) == ([], [])


@contextmanager
def proxied(webui: OpenWebUI, folder: Path, upstream: Upstream, show: str, store: str) -> Iterator[None]:
    """Open WebUI connected to a process of its own that runs the example file."""
    config = EXAMPLE.read_text(encoding="utf-8")
    for old, new in {
        'listen = "127.0.0.1:4567"': 'listen = "127.0.0.1:0"',
        'show = "reasoning"': f'show = "{show}"',
        # What runs the proxy takes these variables away, as they may be those of whoever runs the tests.
        'env = "ANTHROPIC_': f'env = "{VARIABLE}',
        'env = "TRIOPROXY_': f'env = "{VARIABLE}',
    }.items():
        assert old in config
        config = config.replace(old, new)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"BASE_URL": upstream.url, "API_KEY": KEY, "STORE": store}.items():
            environment.setenv(f"{VARIABLE}{name}", value)
        with Trioproxy(upstream.url, folder, config.replace("{", "{{").replace("}", "}}")) as proxy:
            webui.connect(f"{proxy.url}/v1")
            yield


def assert_shows_no_trace(chat: Chat, upstream: Upstream) -> None:
    """What Open WebUI keeps has no signature, and nothing that it shows has a tag of the thinking."""
    signatures = [signature for answer in upstream.signed for signature in answer]
    assert signatures
    saved = chat.saved()
    assert not [signature for signature in signatures if signature in json.dumps(saved)]
    shown = [chat.message(id) for id, message in saved["chat"]["history"]["messages"].items() if "output" in message]
    assert shown
    assert not re.search("</?think|<details|signature", json.dumps([[each.content, each.thoughts] for each in shown]))


def assert_thinking_is_back(upstream: Upstream, loop: int, turns: int, *, text: bool) -> None:
    """Each request brought the thinking of all messages with calls before it, which are the first `loop`.

    With `text` these messages were as they were made, block for block.
    """
    sent = [[block["signature"] for _, block in seen.thoughts] for seen in upstream.seen]
    assert sent == [list(chain(*upstream.signed[: min(turn, loop)])) for turn in range(turns)]
    assert sent[1]
    assert [seen.dropped for seen in upstream.seen] == [()] * turns
    if text:
        assert [seen.changed for seen in upstream.seen] == [()] * turns


def test_the_models_are_listed_with_their_prefix(webui: OpenWebUI, tmp_path: Path) -> None:
    with connected(webui, tmp_path) as upstream:
        assert webui.models() == [PREFIX + model for model in MODELS]
    assert {request.header("x-api-key") for request in upstream.requests} == {KEY}


@pytest.mark.parametrize(
    ("show", "piece", "shown"),
    [
        ("reasoning", '"thinking":"I"', (["I"], [])),
        ("content", '"text":"Hello"', ([THOUGHT], ["Hello"])),
    ],
    ids=SHOW,
)
def test_an_answer_is_shown_as_it_comes_with_its_thinking_folded(
    webui: OpenWebUI, tmp_path: Path, show: str, piece: str, shown: tuple[list[str], list[str]]
) -> None:
    """Text too, where it need not wait for a call: Open WebUI offers tools of its own with every question."""
    gate = Gate()
    change = held(gate, piece)
    with connected(webui, tmp_path, [Think(THOUGHT), Say(HELLO)], show=show, change=change) as upstream:
        chat = webui.chat(PREFIX + MODEL)
        id = chat.send("Hello?")
        try:
            until(lambda: (begun := chat.message(id)).thoughts and (begun.thoughts, begun.texts) == shown)
            assert not chat.message(id).done
        finally:
            gate.opened.set()
        whole = chat.finished(id)
        assert_shows_no_trace(chat, upstream)
    assert (whole.kinds, whole.thoughts, whole.texts) == (["reasoning", "message"], [THOUGHT], [HELLO])
    assert (whole.content, whole.error) == (HELLO, None)


@pytest.mark.parametrize("show", SHOW)
@pytest.mark.parametrize("model", THINKING)
def test_a_tool_loop_closes_with_its_thinking_in_place(webui: OpenWebUI, tmp_path: Path, model: str, show: str) -> None:
    script: list[Step] = [[Think(THOUGHT), Say(LOOK), *CALLS], [Say(FINAL)], [Say(AGAIN)]]
    with connected(webui, tmp_path, *script, show=show) as upstream:
        chat = webui.chat(PREFIX + model, tools=["proofs"], params=THINKING[model])
        answered = chat.ask("How is the weather in Würzburg, and what is 40 + 2?")
        again = chat.ask("Say that again.")
        assert_shows_no_trace(chat, upstream)
    assert (answered.calls, answered.results) == (CALLED, RESULTS)
    if show == "content":
        assert (answered.thoughts, answered.texts) == ([THOUGHT], [LOOK, FINAL])
    else:
        assert (answered.thoughts, answered.texts) == ([f"{THOUGHT}\n\n{LOOK}"], [FINAL])
    assert (again.texts, answered.error, again.error) == ([AGAIN], None, None)
    assert_thinking_is_back(upstream, loop=1, turns=3, text=show == "content")


@pytest.mark.parametrize("show", SHOW)
@pytest.mark.parametrize("model", THINKING)
def test_every_message_of_a_long_tool_loop_keeps_its_thinking(
    webui: OpenWebUI, tmp_path: Path, model: str, show: str
) -> None:
    """One of the models does not think between tools, and says nothing of it."""
    loop: list[Step] = [[Think(f"{THOUGHT} {call.name}"), Say(f"{LOOK} {call.name}"), call] for call in CALLS * 2]
    with connected(webui, tmp_path, *loop, [Think(THOUGHT), Say(FINAL)], [Say(AGAIN)], show=show) as upstream:
        chat = webui.chat(PREFIX + model, tools=["proofs"], params=THINKING[model])
        answered = chat.ask("How is the weather in Würzburg, and what is 40 + 2?")
        again = chat.ask("Say that again.")
        assert_shows_no_trace(chat, upstream)
    assert (answered.calls, answered.results) == (CALLED * 2, RESULTS * 2)
    assert (answered.texts[-1], again.texts) == (FINAL, [AGAIN])
    assert_thinking_is_back(upstream, loop=4, turns=6, text=show == "content")


@pytest.mark.parametrize("model", THINKING)
def test_a_chat_goes_on_after_an_answer_that_was_stopped(webui: OpenWebUI, tmp_path: Path, model: str) -> None:
    gate, word = Gate(), FINAL.partition(" ")[0]
    script: list[Step] = [[Think(THOUGHT), Say(LOOK), *CALLS], [Say(FINAL)], [Say(AGAIN)]]
    change = held(gate, f'"text":"{word}"')
    with connected(webui, tmp_path, *script, show="content", change=change) as upstream:
        chat = webui.chat(PREFIX + model, tools=["proofs"], params=THINKING[model])
        id = chat.send("How is the weather in Würzburg, and what is 40 + 2?")
        try:
            until(lambda: word in chat.message(id).texts)
            chat.stop()
            stopped = chat.finished(id)
        finally:
            gate.opened.set()
        again = chat.ask("Go on.")
    assert (stopped.results, stopped.texts[-1]) == (RESULTS, word)
    assert (again.texts, again.error) == ([AGAIN], None)
    assert_thinking_is_back(upstream, loop=1, turns=3, text=True)


@pytest.mark.parametrize("store", ["memory:", "sqlite:thinking.db"])
def test_a_chat_goes_on_with_another_process(webui: OpenWebUI, tmp_path: Path, store: str) -> None:
    """Which knows what was thought if it is kept where both find it, and else goes without."""
    script: list[Step] = [[Think(THOUGHT), Say(LOOK), *CALLS], [Say(FINAL)], [Say(AGAIN)]]
    with connected(webui, tmp_path, *script, store=store) as upstream:
        chat = webui.chat(PREFIX + MODEL, tools=["proofs"])
        chat.ask("How is the weather in Würzburg, and what is 40 + 2?")
        with proxied(webui, tmp_path, upstream, "reasoning", store):
            again = chat.ask("Say that again.")
    assert (again.texts, again.error) == ([AGAIN], None)
    assert [len(seen.thoughts) for seen in upstream.seen] == [0, 1, 0 if store == "memory:" else 1]


def test_a_picture_arrives(webui: OpenWebUI, tmp_path: Path) -> None:
    with connected(webui, tmp_path, [Say(HELLO)]) as upstream:
        message = webui.chat(PREFIX + MODEL).ask("What is this?", pictures=[f"data:image/png;base64,{PNG}"])
    assert message.texts == [HELLO]
    [asked] = upstream.seen[0].body["messages"]
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert asked["content"] == [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, "invalid_request_error", "messages.1: the upstream does not like marker-5523"),
        (529, "overloaded_error", "Overloaded, says marker-5523"),
    ],
    ids=["400", "529"],
)
def test_the_user_sees_what_the_upstream_says_of_an_error(
    webui: OpenWebUI, tmp_path: Path, status: int, kind: str, words: str
) -> None:
    failed = answers.json_answer(answers.error_body(kind, words), status=status)
    with connected(webui, tmp_path, change=lambda _: failed):
        message = webui.chat(PREFIX + MODEL).ask("Hello?")
    assert (message.error, message.texts) == (words, [])


def test_the_user_keeps_what_came_before_an_error(webui: OpenWebUI, tmp_path: Path) -> None:
    words = "Overloaded, says marker-5524"
    error = answers.event("error", error={"type": "overloaded_error", "message": words})

    def cut(answer: Answer) -> Answer:
        return dataclasses.replace(answer, steps=(answer.body[: answer.body.index(b"event: message_delta")], error))

    with connected(webui, tmp_path, [Think(THOUGHT), Say(HELLO)], change=cut):
        message = webui.chat(PREFIX + MODEL).ask("Hello?")
    assert (message.thoughts, message.texts) == ([THOUGHT], [HELLO])
    assert words in json.dumps(message.error)


def test_titles_tags_and_what_to_ask_next_are_made(webui: OpenWebUI, tmp_path: Path) -> None:
    with connected(webui, tmp_path, [Think(THOUGHT), Say(HELLO)]) as upstream:
        chat = webui.chat(PREFIX + MODEL)
        id = chat.send("Hello?")
        until(lambda: (saved := chat.saved())["title"] == ASIDE["title"] and saved["meta"].get("tags"))
        message = until(lambda: message if (message := chat.message(id)).follow_ups else None)
    assert chat.saved()["meta"]["tags"] == ASIDE["tags"]
    assert message.follow_ups == ASIDE["follow_ups"]
    assert len(upstream.aside.seen) == 3
