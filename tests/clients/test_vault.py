"""Signed thinking for clients that cannot carry it: chat clients with tools on Claude, over the whole program.

The upstream plays Claude and refuses what Claude refuses. The client sends back what Open WebUI does of an answer: what
was said and which tools were called, and nothing of what was thought.
"""

from __future__ import annotations

import copy
import itertools
import json
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from tests.valkey import ValkeyServer, valkey_server

from .anthropic_upstream import AnthropicUpstream, Call, Redact, Say, Seen, Step, Think, Wire
from .proxy import Trioproxy

if TYPE_CHECKING:
    import openai
else:
    openai = pytest.importorskip("openai", reason="the openai package is not installed")

SECONDS = 20.0
TOKEN = "sk-ant-test-key-of-the-file"
CONFIG = f"""\
listen = "127.0.0.1:0"

[store]
url = "STORE"

[upstreams.claude]
url = "{{upstream}}"
dialect = "anthropic"
token = "{TOKEN}"

[upstreams.interleaving]
url = "{{upstream}}"
dialect = "anthropic"
token = "{TOKEN}"

[upstreams.interleaving.headers]
anthropic-beta = "interleaved-thinking-2025-05-14"

[routes]
"/" = "claude"
"/interleaving" = "interleaving"
"""
MEMORY = "memory:"
Urls = Generator[str, None, None]
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}},
}


@dataclass(frozen=True)
class Way:
    """To a model: the route's prefix, and its name."""

    path: str
    model: str

    @property
    def interleaves(self) -> bool:
        """Whether it thinks between tools, and not before the first one only."""
        return self.path == "/interleaving" or self.adaptive

    @property
    def adaptive(self) -> bool:
        """Whether it takes a loop without its thinking."""
        return self.model.startswith("claude-opus")


FIRST_ONLY, BETWEEN = Way("", "claude-sonnet-4-5"), Way("/interleaving", "claude-sonnet-4-5")
ADAPTIVE, PRESERVED = Way("", "claude-opus-4-7"), Way("", "claude-opus-5-5")
WAYS = [FIRST_ONLY, BETWEEN, ADAPTIVE, PRESERVED]


def call(number: int) -> Call:
    return Call(
        "look", {"at": f"Würzburg \u2028 {number}", "number": 9007199254740993, "deep": {"b": [1.5], "a": None}}
    )


# Ten steps with tools and an answer; a second turn of two steps and an answer.
QUESTIONS = ["What do you see?", "And now?"]
SCRIPT: list[Step] = [
    [Think("Zwei Dinge sind zu sehen."), Say("Let me look. "), call(0), call(1)],
    [Think(), call(2)],
    [Redact(), call(3), call(4), call(5)],
    [Say("Once more."), call(6)],
    [Think("Hm. "), Redact(), Think("\n\n"), call(7)],
    [Think("First"), Say("First the bridge, "), Think(), Say("then the rïver."), call(8)],
    [Think(), Say(" And \U0001f3f0?"), call(9)],
    [Think(("Grüß" * 500 + " \u2028 \U0001f44b ") * 4), call(10), call(11)],
    [Redact(), Redact(), Say("Wait."), call(12)],
    [Think("Almost."), call(13), call(14), call(15), call(16)],
    [Think("That was all."), Say("A castle.")],
    [Think("Again?"), call(17), call(18)],
    [call(19)],
    [Redact(), Say("A castle still.")],
]
TURNS = [11, 3]  # the steps of each


def thoughts(steps: Iterable[int], *, interleaved: bool) -> int:
    """How many blocks of thinking of these steps come back: all that led to calls, and were thought in the first place.

    What was thought before an answer without calls is nobody's to bring: no id tells which it was.
    """
    wanted = [SCRIPT[step] for step in steps if interleaved or step in (0, TURNS[0])]
    parts = [part for step in wanted if any(isinstance(part, Call) for part in step) for part in step]
    return sum(isinstance(part, Think | Redact) for part in parts)


# ── the client ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sdk() -> Iterator[openai.OpenAI]:
    # Without the proxies that the environment may name.
    http_client = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(api_key="none", max_retries=0, timeout=SECONDS, http_client=http_client) as client:
        yield client


_NAMES = itertools.count(1)


@dataclass
class Chat:
    """A conversation. `told` is all that the client was told, as text; `lossy` that header of each answer."""

    sdk: openai.OpenAI
    way: Way
    streamed: bool = True
    key: str = "sk-of-a-client"
    session: str = ""
    options: Wire = field(default_factory=lambda: {"reasoning_effort": "high"})
    messages: list[Wire] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    lossy: list[str] = field(default_factory=list)
    name: str = field(default_factory=lambda: f"conversation {next(_NAMES)}.")

    def say(self, text: str) -> None:
        self.messages.append({"role": "user", "content": f"{text} ({self.name})"})

    @property
    def waits(self) -> bool:
        """Whether an answer is due."""
        last: Wire = self.messages[-1]
        return bool(last["role"] != "assistant")

    def ask(self, url: str) -> Wire:
        """The answer, which the conversation then has, with the results of the tools that it calls."""
        client = self.sdk.with_options(base_url=f"{url}{self.way.path}/v1", api_key=self.key)
        headers = {"session-id": self.session} if self.session else {}
        options: Any = {"model": self.way.model, "messages": self.messages, "tools": [TOOL]} | self.options
        raw = client.chat.completions.with_raw_response.create(**options, stream=self.streamed, extra_headers=headers)
        self.lossy.append(raw.headers.get("x-trioproxy-lossy", ""))
        self.told += [f"{name}: {value}" for name, value in raw.headers.items()]
        answer = self._gathered(raw.parse()) if self.streamed else self._whole(raw.parse())
        self.messages.append(answer)
        for each in reversed(answer.get("tool_calls", [])):  # the one that was asked for last is done first
            self.messages.append({"role": "tool", "tool_call_id": each["id"], "content": f"As {each['id']} has it."})
        return answer

    def _whole(self, completion: Any) -> Wire:
        self.told.append(completion.model_dump_json())
        message = completion.choices[0].message
        calls = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls or []]
        return _answer(message.content or "", calls)

    def _gathered(self, chunks: Iterable[Any]) -> Wire:
        text, calls = "", list[Wire]()
        for chunk in chunks:
            self.told.append(chunk.model_dump_json())
            delta = chunk.choices[0].delta if chunk.choices else None
            text += (delta and delta.content) or ""
            for piece in (delta and delta.tool_calls) or []:
                if piece.index == len(calls):
                    function = {"name": piece.function.name, "arguments": ""}
                    calls.append({"id": piece.id, "type": "function", "function": function})
                calls[piece.index]["function"]["arguments"] += piece.function.arguments or ""
        return _answer(text, calls)


def _answer(text: str, calls: list[Wire]) -> Wire:
    return {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})


def converse(chats: Sequence[Chat], urls: Iterator[str]) -> None:
    """Both turns of every conversation, step by step: each of `urls` serves one step of all of them."""
    for question in QUESTIONS:
        for chat in chats:
            chat.say(question)
        while waiting := [chat for chat in chats if chat.waits]:
            url = next(urls)
            for chat in waiting:
                chat.ask(url)


# ── the proxy and its upstream ──────────────────────────────────────────────────────────────────────────────────────


class Killed(Trioproxy):
    """Ends as after `kill -9`: without a chance to leave anything in order."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)


def proxy(upstream: AnthropicUpstream, folder: Path, store: str, kind: type[Trioproxy] = Trioproxy) -> Trioproxy:
    folder.mkdir(exist_ok=True)
    return kind(upstream.url, folder, CONFIG.replace("STORE", store))


@contextmanager
def stored(kind: str) -> Iterator[str]:
    """The URL of a store of that kind."""
    if kind == "valkey":
        with valkey_server() as server:
            yield server.url
    else:
        yield {"memory": MEMORY, "sqlite": "sqlite:thinking.db"}[kind]


def seen_of(upstream: AnthropicUpstream, chat: Chat) -> list[Seen]:
    return [each for each in upstream.seen if chat.name in json.dumps(each.body["messages"])]


def assert_all_was_kept(upstream: AnthropicUpstream, chats: Sequence[Chat]) -> None:
    """In every request all thinking stood where it was made, byte for byte, and more was asked for."""
    assert upstream.refused == upstream.problems == []
    for chat in chats:
        seen = seen_of(upstream, chat)
        assert [each.thinking for each in seen] == [True] * len(SCRIPT), chat.way
        wanted = [thoughts(range(step), interleaved=chat.way.interleaves) for step in range(len(SCRIPT))]
        assert [len(each.thoughts) for each in seen] == wanted, chat.way
        assert [each.changed + each.dropped for each in seen] == [()] * len(SCRIPT), chat.way
        assert not [said for said in chat.lossy if "turned off" in said or "remembered" in said]
    assert_nothing_was_told(upstream, chats)


def assert_nothing_was_told(upstream: AnthropicUpstream, chats: Sequence[Chat]) -> None:
    """No chat client hears of signatures; of what was thought it does."""
    assert upstream.claude.past.seals
    for chat in chats:
        told = "\n".join(chat.told)
        assert not [seal for seal in upstream.claude.past.seals if seal in told or seal[:40] in told]
        assert "reasoning_content" in told


# ── stories that end well ───────────────────────────────────────────────────────────────────────────────────────────


def every_way(sdk: openai.OpenAI) -> list[Chat]:
    return [Chat(sdk, way, streamed) for way in WAYS for streamed in (True, False)]


def both_kinds(sdk: openai.OpenAI) -> list[Chat]:
    """Every way, and streams as well as whole answers, but not every way with each."""
    return [Chat(sdk, way, streamed=number % 2 == 0) for number, way in enumerate(WAYS)]


@pytest.mark.parametrize("kind", ["memory", "sqlite", "valkey"])
def test_a_long_loop_of_tools(sdk: openai.OpenAI, tmp_path: Path, kind: str) -> None:
    chats = every_way(sdk) if kind == "memory" else both_kinds(sdk)
    with stored(kind) as store, AnthropicUpstream(SCRIPT) as upstream:
        with proxy(upstream, tmp_path, store) as trioproxy:
            converse(chats, itertools.repeat(trioproxy.url))
        assert TOKEN not in trioproxy.report
    assert_all_was_kept(upstream, chats)
    assert {request.header("x-api-key") for request in upstream.requests} == {TOKEN}


@pytest.mark.parametrize("ending", [Trioproxy, Killed], ids=["stopped", "killed"])
@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_the_proxy_starts_again_in_the_middle(
    sdk: openai.OpenAI, tmp_path: Path, kind: str, ending: type[Trioproxy]
) -> None:
    chats = both_kinds(sdk)
    with stored(kind) as store, AnthropicUpstream(SCRIPT) as upstream:
        start = partial(proxy, upstream, tmp_path, store)
        with closing(starting_again(start, 6, ending)) as urls:
            converse(chats, urls)
    assert_all_was_kept(upstream, chats)


def starting_again(start: Callable[..., Trioproxy], after: int, ending: type[Trioproxy] = Trioproxy) -> Urls:
    """Where one proxy is until it has served so many steps, and then where the next one is."""
    with start(ending) as first:
        for _ in range(after):
            yield first.url
    with start() as second:
        while True:
            yield second.url


@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_two_proxies_take_turns(sdk: openai.OpenAI, tmp_path: Path, kind: str) -> None:
    chats = both_kinds(sdk)
    with (
        stored(kind) as store,
        AnthropicUpstream(SCRIPT) as upstream,
        proxy(upstream, tmp_path, store) as one,
        proxy(upstream, tmp_path, store) as other,
    ):
        converse(chats, itertools.cycle([one.url, other.url]))
    assert_all_was_kept(upstream, chats)


# ── what is lost, and what then becomes of it ───────────────────────────────────────────────────────────────────────


def test_what_was_only_in_memory_is_gone_with_the_process(sdk: openai.OpenAI, tmp_path: Path) -> None:
    chats, again = both_kinds(sdk), 6
    with (
        AnthropicUpstream(SCRIPT) as upstream,
        closing(starting_again(partial(proxy, upstream, tmp_path, MEMORY), again)) as urls,
    ):
        converse(chats, urls)
    assert upstream.refused == upstream.problems == []
    turned_off = range(again, TURNS[0])
    for chat in chats:
        seen = seen_of(upstream, chat)
        if chat.way.adaptive:  # which thinks on, and says so without what it thought before
            assert [each.thinking for each in seen] == [True] * len(SCRIPT)
            assert len(seen[again].thoughts) == 0
            assert len(seen[again + 1].thoughts) == thoughts([again], interleaved=True)
        else:
            assert [each.thinking for each in seen] == [step not in turned_off for step in range(len(SCRIPT))]
            assert [step for step, said in enumerate(chat.lossy) if "thinking (turned off" in said] == [*turned_off]
            assert [len(each.thoughts) for each in seen][TURNS[0] :] == [0, 1, 1]
        assert "not remembered" in chat.lossy[again]
    assert_nothing_was_told(upstream, chats)


SHORT: list[Step] = [
    [Think("Two."), Say("Let me look. "), Think(), call(0), call(1)],
    [Redact(), Say("And again."), call(2)],
    [Think("Enough?"), call(3)],
    [Think("Enough."), Say("A castle.")],
    [Think("Again?"), call(4)],
    [Say("A castle still.")],
]


@dataclass
class World:
    """An upstream that plays `SHORT`, and a proxy in front of it that has nothing but its memory."""

    upstream: AnthropicUpstream
    url: str

    def turn(self, chat: Chat, question: str = QUESTIONS[0], *, steps: int = len(SHORT)) -> list[Seen]:
        """What the upstream saw of a turn of the user's, or its first steps."""
        chat.say(question)
        return self.go_on(chat, steps=steps)

    def go_on(self, chat: Chat, *, steps: int = len(SHORT)) -> list[Seen]:
        self.upstream.seen.clear()
        self.upstream.refused.clear()
        while steps and chat.waits:
            chat.ask(self.url)
            steps -= 1
        assert self.upstream.refused == self.upstream.problems == []
        return list(self.upstream.seen)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        upstream = stack.enter_context(AnthropicUpstream(SHORT))
        yield World(upstream, stack.enter_context(proxy(upstream, tmp_path_factory.mktemp("proxy"), MEMORY)).url)


def on(seen: Iterable[Seen]) -> list[bool]:
    return [each.thinking for each in seen]


@pytest.mark.parametrize("other", [ADAPTIVE, PRESERVED], ids=["adaptive", "preserved"])
def test_another_model_in_the_middle(world: World, sdk: openai.OpenAI, other: Way) -> None:
    """No model is given what another one thought; who needs it goes without thinking until the turn is over."""
    chat = Chat(sdk, BETWEEN)
    [_, second] = world.turn(chat, steps=2)
    assert len(second.thoughts) == 2
    chat.way = other
    [third] = world.go_on(chat, steps=1)
    assert (third.model, third.thinking, third.thoughts) == (other.model, True, ())
    chat.way = BETWEEN
    [fourth] = world.go_on(chat)
    assert (fourth.model, fourth.thinking) == (BETWEEN.model, False)
    assert "thinking (turned off" in chat.lossy[-1]
    fifth, sixth = world.turn(chat, QUESTIONS[1])
    assert on([fifth, sixth]) == [True, True]
    assert [len(each.thoughts) for each in (fifth, sixth)] == [3, 4]  # of its own steps, and none of the other's
    chat.way = other
    [seventh] = world.turn(chat, "Sure?")
    assert seventh.thinking
    assert len(seventh.thoughts) == 1


@pytest.mark.parametrize(
    "option", [{"reasoning_effort": "none"}, {"tool_choice": "required"}], ids=["not asked for", "a tool forced"]
)
def test_a_step_without_thinking(world: World, sdk: openai.OpenAI, option: Wire) -> None:
    """As the client wants it, or as no model can be made to use a tool while it thinks."""
    chat = Chat(sdk, BETWEEN)
    world.turn(chat, steps=2)
    chat.options |= option
    [third] = world.go_on(chat, steps=1)
    assert (third.thinking, third.thoughts) == (False, ())
    chat.options = {"reasoning_effort": "high"}
    [fourth] = world.go_on(chat)
    assert not fourth.thinking  # the turn has a step now that was made without
    assert on(world.turn(chat, QUESTIONS[1])) == [True, True]


@pytest.mark.parametrize(
    "options",
    [
        {"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 2048}}, "max_tokens": 4000},
        {"extra_body": {"reasoning": {"max_tokens": 3000}}, "temperature": 0.2},
        {"reasoning_effort": "low", "max_completion_tokens": 500, "top_p": 0.5},
    ],
)
def test_every_way_to_ask_for_thinking(world: World, sdk: openai.OpenAI, options: Wire) -> None:
    for way in (BETWEEN, ADAPTIVE, PRESERVED):
        seen = world.turn(Chat(sdk, way, options=options))
        assert on(seen) == [True] * 4
        assert [len(each.thoughts) for each in seen] == [0, 2, 3, 4]
        assert [each.changed for each in seen] == [()] * 4


# ── clients that change the history ─────────────────────────────────────────────────────────────────────────────────

Messages = list[Wire]


def index_of(messages: Messages, step: int) -> int:
    """Where the assistant's message of a step is."""
    return [number for number, each in enumerate(messages) if each["role"] == "assistant"][step]


def results_of(messages: Messages, message: Wire) -> Messages:
    ids = {each["id"] for each in message["tool_calls"]}
    return [each for each in messages if each.get("tool_call_id") in ids]


def drops_the_first_call(messages: Messages) -> None:
    gone = messages[1]["tool_calls"].pop(0)
    messages[:] = [each for each in messages if each.get("tool_call_id") != gone["id"]]


def drops_the_last_call(messages: Messages) -> None:
    gone = messages[1]["tool_calls"].pop()
    messages[:] = [each for each in messages if each.get("tool_call_id") != gone["id"]]


def drops_a_result(messages: Messages) -> None:
    del messages[2]


def drops_the_last_result(messages: Messages) -> None:
    del messages[-1]


def changes_words(messages: Messages) -> None:
    messages[1]["content"] = "Let me look elsewhere."


def changes_the_latest_words(messages: Messages) -> None:
    messages[index_of(messages, 1)]["content"] += " And yet again."


def leaves_words_out(messages: Messages) -> None:
    messages[1]["content"] = None


def leaves_the_latest_words_out(messages: Messages) -> None:
    messages[index_of(messages, 1)]["content"] = ""


def changes_a_question(messages: Messages) -> None:
    messages[0]["content"] += " Look well."


def changes_a_result(messages: Messages) -> None:
    messages[2]["content"] = "Nothing."


def changes_arguments(messages: Messages) -> None:
    messages[1]["tool_calls"][0]["function"]["arguments"] = '{"at":"elsewhere"}'


def turns_calls_round(messages: Messages) -> None:
    messages[1]["tool_calls"].reverse()


def puts_results_last(messages: Messages) -> None:
    results = results_of(messages, messages[1])
    messages[:] = [each for each in messages if each not in results] + results


def parts_words_from_calls(messages: Messages) -> None:
    for step in (1, 0):
        place = index_of(messages, step)
        message = messages[place]
        messages[place : place + 1] = [
            {"role": "assistant", "content": message["content"]},
            message | {"content": ""},
        ]


def parts_calls(messages: Messages) -> None:
    message, results = messages[1], results_of(messages, messages[1])
    first, second = message["tool_calls"]
    messages[1 : 2 + len(results)] = [
        message | {"tool_calls": [first]},
        *[each for each in results if each["tool_call_id"] == first["id"]],
        {"role": "assistant", "content": "", "tool_calls": [second]},
        *[each for each in results if each["tool_call_id"] == second["id"]],
    ]


def makes_one_message_of_two(messages: Messages) -> None:
    place = index_of(messages, 1)
    first, second = messages[1], messages[place]
    both = first | {
        "content": first["content"] + second["content"],
        "tool_calls": first["tool_calls"] + second["tool_calls"],
    }
    messages[1:] = [both, *results_of(messages, first), *results_of(messages, second)]


def puts_messages_together(messages: Messages) -> None:
    """Two messages of the assistant in a row, and then the results of both."""
    place = index_of(messages, 1)
    messages[1:] = [messages[1], messages[place], *[each for each in messages if each["role"] == "tool"]]


def forgets_the_question(messages: Messages) -> None:
    del messages[0]


def forgets_a_step(messages: Messages) -> None:
    del messages[1 : index_of(messages, 1)]


def says_a_step_twice(messages: Messages) -> None:
    place = index_of(messages, 1)
    messages[place:place] = copy.deepcopy(messages[1:place])


def speaks_between(messages: Messages) -> None:
    messages.append({"role": "user", "content": "And be brief."})


def instructs_anew(messages: Messages) -> None:
    messages.insert(0, {"role": "system", "content": "Today is Sunday."})


EDITS: list[Callable[[Messages], None]] = [
    drops_the_first_call,
    drops_the_last_call,
    drops_a_result,
    drops_the_last_result,
    changes_words,
    changes_the_latest_words,
    leaves_words_out,
    leaves_the_latest_words_out,
    changes_a_question,
    changes_a_result,
    changes_arguments,
    turns_calls_round,
    puts_results_last,
    parts_words_from_calls,
    parts_calls,
    makes_one_message_of_two,
    puts_messages_together,
    forgets_the_question,
    forgets_a_step,
    says_a_step_twice,
    speaks_between,
    instructs_anew,
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_changed_history(world: World, sdk: openai.OpenAI, edit: Callable[[Messages], None]) -> None:
    """Whatever a client makes of it: no request is refused, and what it still has of calls has its thinking."""
    for way in (BETWEEN, PRESERVED):
        chat = Chat(sdk, way)
        world.turn(chat, steps=2)
        edit(chat.messages)
        seen = world.go_on(chat)
        seen += world.turn(chat, QUESTIONS[1])
        assert on(seen) == [True] * len(seen), way
        assert len(seen) >= 2
        sent = [block for _, block in seen[0].thoughts]
        steps = [made for made in world.upstream.claude.past.made(calls_of(seen[0])) if made]
        wanted = [block for made in steps for block in made.thoughts]
        assert [*dict.fromkeys(map(json.dumps, sent))] == [json.dumps(block) for block in wanted]


def test_a_step_without_thinking_put_together_with_one_that_has_some(tmp_path: Path, sdk: openai.OpenAI) -> None:
    """Such a message has to begin with thinking all the same."""
    script: list[Step] = [[call(0)], [Think("Hm."), call(1)], [call(2)], [Say("A castle.")]]
    with AnthropicUpstream(script) as upstream, proxy(upstream, tmp_path, MEMORY) as trioproxy:
        world = World(upstream, trioproxy.url)
        for way in (BETWEEN, ADAPTIVE, PRESERVED):
            chat = Chat(sdk, way)
            world.turn(chat, steps=2)
            makes_one_message_of_two(chat.messages)
            seen = world.go_on(chat)
            assert on(seen) == [True] * 3
            assert [where for where, _ in seen[0].thoughts] == ["messages.1.content.0"]


def test_thinking_that_no_longer_fits_is_left_out_by_the_upstream(world: World, sdk: openai.OpenAI) -> None:
    """Models that bind it to what was said before leave it out if asked to; what they think from then on fits."""
    chat = Chat(sdk, PRESERVED)
    world.turn(chat)
    instructs_anew(chat.messages)
    first, second = world.turn(chat, QUESTIONS[1])
    assert len(first.thoughts) == 4
    assert [each.dropped for each in (first, second)] == [tuple(where for where, _ in first.thoughts)] * 2
    assert len(second.thoughts) == 5


def test_calls_that_others_made(world: World, sdk: openai.OpenAI) -> None:
    """A conversation that another provider's model has begun, with ids that are none to Anthropic."""
    for way in (BETWEEN, ADAPTIVE, PRESERVED):
        chat = Chat(sdk, way)
        chat.say(QUESTIONS[0])
        function = {"name": "look", "arguments": "{}"}
        made = [{"id": "functions.look:0", "type": "function", "function": function}]
        chat.messages.append({"role": "assistant", "content": "", "tool_calls": made})
        chat.messages.append({"role": "tool", "tool_call_id": "functions.look:0", "content": "A river."})
        assert on(world.go_on(chat)) == [way.adaptive] * 3
        assert on(world.turn(chat, QUESTIONS[1])) == [True] * 2


def calls_of(seen: Seen) -> Messages:
    contents = [message["content"] for message in seen.body["messages"] if message["role"] == "assistant"]
    return [block for content in contents if isinstance(content, list) for block in content]


# ── whose thinking it is ────────────────────────────────────────────────────────────────────────────────────────────


def copied(chat: Chat, **changes: Any) -> Chat:
    """The same conversation as another client has it."""
    return Chat(chat.sdk, chat.way, messages=copy.deepcopy(chat.messages), **changes)


@pytest.mark.parametrize("changes", [{"key": "sk-of-another"}, {"session": "another"}], ids=["key", "session"])
def test_another_client_gets_none_of_it(world: World, sdk: openai.OpenAI, changes: dict[str, str]) -> None:
    chat = Chat(sdk, BETWEEN, session="one")
    world.turn(chat, steps=2)
    other = copied(chat, **({"session": "one"} | changes))
    [seen] = world.go_on(other, steps=1)
    assert (seen.thinking, seen.thoughts) == (False, ())
    assert "thinking (turned off" in other.lossy[-1]
    same = copied(chat, session="one")
    [seen, *_] = world.go_on(same)
    assert seen.thinking
    assert (len(seen.thoughts), seen.changed) == (3, ())
    assert on(world.go_on(chat)) == [True, True]


def carried(world: World, chat: Chat) -> None:
    """Let the client carry Anthropic's blocks, in the field that LiteLLM has for them."""
    for message in chat.messages:
        if calls := message.get("tool_calls"):
            [made] = world.upstream.claude.past.made({"type": "tool_use", "id": call["id"]} for call in calls)
            assert made
            message["thinking_blocks"] = made.thoughts


def test_what_a_client_carries_itself(world: World, sdk: openai.OpenAI) -> None:
    chat = Chat(sdk, BETWEEN)
    world.turn(chat, steps=2)
    carried(world, chat)
    wanted = [block for message in chat.messages for block in message.get("thinking_blocks", ())]
    assert len(wanted) == 3
    for each in (copied(chat), copied(chat, key="sk-of-one-that-carries")):
        [seen] = world.go_on(each, steps=1)
        assert seen.thinking
        assert [block for _, block in seen.thoughts] == wanted


def test_what_a_client_carries_itself_comes_first(world: World, sdk: openai.OpenAI) -> None:
    chat = Chat(sdk, BETWEEN)
    world.turn(chat, steps=2)
    carried(world, chat)
    blocks = chat.messages[1]["thinking_blocks"]
    del blocks[0]
    del chat.messages[index_of(chat.messages, 1)]["thinking_blocks"]
    [seen] = world.go_on(chat, steps=1)
    assert seen.thinking
    assert [where for where, _ in seen.thoughts] == ["messages.1.content.0", "messages.3.content.0"]
    assert seen.thoughts[0][1] == blocks[0]


# ── a store that is not what it should be ───────────────────────────────────────────────────────────────────────────

HURRY = 5.0  # seconds for a turn, with all that is waited for


def hang(server: ValkeyServer) -> None:
    server.pause()


def die(server: ValkeyServer) -> None:
    server.kill()


@pytest.mark.parametrize("fails", [hang, die])
def test_requests_go_on_without_the_store(
    sdk: openai.OpenAI, tmp_path: Path, fails: Callable[[ValkeyServer], None]
) -> None:
    chat = Chat(sdk, BETWEEN)
    with valkey_server() as server, AnthropicUpstream(SHORT) as upstream:
        with proxy(upstream, tmp_path, server.url) as first:
            world = World(upstream, first.url)
            world.turn(chat, steps=1)
            fails(server)
            begun = time.monotonic()
            other = copied(chat)
            seen = world.go_on(chat)  # of which the proxy has all in its own memory
            assert [each.changed for each in seen] == [()] * 3
            assert on(seen) == [True] * 3
            assert time.monotonic() - begun < HURRY
        with proxy(upstream, tmp_path, server.url) as second:
            world.url, begun = second.url, time.monotonic()
            seen = world.go_on(other)
            assert on(seen) == [False] * 3
            assert "not remembered" in other.lossy[-1]
            assert on(world.turn(other, QUESTIONS[1])) == [True] * 2
            assert time.monotonic() - begun < HURRY
        assert "the store cannot be" in first.report
        assert "the store cannot be" in second.report
