"""Whatever clients do to their history, and whatever becomes of the store: Anthropic's rules are kept.

Conversations of chat clients with an upstream that refuses what the API refuses, in any order, edited at will, with a
store that forgets, fails or begins anew. No sockets: the codecs, the stages and the vault as they are.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, Self

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.clients import anthropic_upstream as api
from tests.clients.anthropic_upstream import Call, Claude, Part, Redact, Say, Think
from tests.store.test_vault import Shelf
from trioproxy.config import Route, Upstream
from trioproxy.dialects import DIALECTS, Peek
from trioproxy.items import Frame, Request
from trioproxy.stage import Batch, Exchange, Stage
from trioproxy.stages.deframe import Deframe
from trioproxy.stages.parse import Parse
from trioproxy.stages.replay_thinking import RememberThinking, ReplayThinking
from trioproxy.stages.tool_text import ToolText
from trioproxy.stages.translate import Translate
from trioproxy.store import Settings
from trioproxy.store.vault import Vault
from trioproxy.testing import drive
from trioproxy.translation import written
from trioproxy.units import Seconds

Wire = dict[str, Any]

CHAT = DIALECTS["openai-chat"]
ROUTE = Route("/", Upstream("up", "anthropic", None))
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("a", "b")]
STEPS: list[Sequence[Part]] = [
    (Think("First."), Say("Let me see. "), Call("a", {"n": 1}), Call("b", {})),
    (Think(), Call("b", {"n": 2})),
    (Say("And this. "), Call("a")),
    (Think("One. "), Redact(), Say("So… "), Think("Two."), Say("and so."), Call("a"), Redact(), Call("b")),
    (Think("Done?"), Say("That is the first answer.")),
    (Redact(), Call("a", {"deep": {"er": [1]}})),
    (Think("…"), Say("Second answer.")),
    (Think("Again."), Call("b"), Call("b"), Call("b")),
    (Call("a"),),
]


class _Given:
    """A channel with one batch in it, and one for what a stage makes of it."""

    def __init__(self, batch: Batch) -> None:
        self._batches = [batch]
        self.out: Batch = []

    async def receive(self) -> Batch:
        return self._batches.pop()

    async def __aiter__(self) -> AsyncIterator[Batch]:
        while self._batches:
            yield await self.receive()

    async def send(self, batch: Batch, /) -> None:
        self.out += batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...


async def _through(stage: Stage[Any, Any], items: Iterable[Any], exchange: Exchange) -> Batch:
    channel = _Given(list(items))
    await stage.run(exchange, channel, channel)
    return channel.out


class Talk:
    """A conversation as its client has it."""

    def __init__(self, model: str, options: Wire, key: str) -> None:
        self.model, self.options, self.key = model, options, key
        self.messages: list[Wire] = []
        self.system = "You are here to help."

    def body(self, *, stream: bool) -> bytes:
        messages = [{"role": "system", "content": self.system}, *self.messages]
        return json.dumps(
            {"model": self.model, "messages": messages, "tools": TOOLS, "stream": stream, **self.options}
        ).encode()

    def copy(self) -> "Talk":
        talk = Talk(self.model, dict(self.options), self.key)
        talk.messages, talk.system = json.loads(json.dumps(self.messages)), self.system
        return talk

    @property
    def turns(self) -> list[int]:
        return [at for at, message in enumerate(self.messages) if message["role"] == "assistant"]

    def say(self, text: str) -> None:
        if not self.messages or self.messages[-1]["role"] == "assistant":
            self.messages.append({"role": "user", "content": text})

    def hear(self, message: Wire) -> None:
        """The answer, and what its calls gave."""
        self.messages.append({key: message[key] for key in ("role", "content", "tool_calls") if message.get(key)})
        for call in message.get("tool_calls", ()):
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": "done"})


class World:
    """The proxy, its store, and Claude."""

    def __init__(self) -> None:
        self.now = 0.0
        self.shelf = Shelf()
        self.claude = Claude(STEPS)
        self.lossy: list[str] = []
        self.hides = False
        """Whether the text of turns that call tools is shown as thinking, which the client does not send back."""
        self.restart()

    def restart(self, entries: int = 999) -> None:
        spec = Settings(expires=Seconds(3600), entries=entries)
        self.vault = Vault(spec, self.shelf, clock=lambda: self.now)

    async def ask(self, talk: Talk, *, stream: bool) -> Wire:
        """One request and its answer, as the client gets it."""
        body = talk.body(stream=stream)
        request = CHAT.read_request(body)
        exchange = Exchange(
            id="x",
            client_dialect="openai-chat",
            stream=stream,
            upstream_stream=stream,
            model=request.model,
            upstream_model=request.model,
            request=request,
            memory=self.vault.drawer(talk.key, request.model),
        )
        [request] = await _through(ReplayThinking(), [request], exchange)
        assert isinstance(request, Request)
        sent, exchange = written(ROUTE, exchange, body, request, Peek())
        headers = {name.decode(): value.decode() for name, value in sent.headers}
        status, answer = self.claude.answer(json.loads(sent.body), headers)
        assert (status, self.claude.refused) == (200, []), json.dumps(json.loads(sent.body), indent=1)
        if stream:
            events = drive([Deframe(), Parse()], [b"".join(api._events(answer))], exchange=exchange)
        else:
            events = drive([Parse()], [Frame(json.dumps(answer).encode(), whole=True)], exchange=exchange)
        events = await _through(RememberThinking(texts=self.hides), events, exchange)
        if self.hides:
            events = drive([ToolText()], events, exchange=exchange)
        frames = drive([Translate()], events, exchange=exchange)
        self.lossy.append(str(exchange.ledger))
        assert "signature" not in repr(frames)
        return _message(frames) if stream else json.loads(frames[0].data)["choices"][0]["message"]


def _message(frames: Sequence[Frame]) -> Wire:
    """What a client makes of a stream."""
    content, calls = "", list[Wire]()
    for frame in frames:
        if not frame.data.startswith(b"{"):
            continue
        for choice in json.loads(frame.data)["choices"]:
            content += choice["delta"].get("content") or ""
            for piece in choice["delta"].get("tool_calls", ()):
                if "id" in piece:
                    calls.append(piece)
                else:
                    calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    return {"role": "assistant", "content": content, "tool_calls": calls}


MODELS = st.sampled_from([*api.MODELS])
OPTIONS = st.sampled_from(
    [
        {"reasoning_effort": "high"},
        {"reasoning_effort": "low", "temperature": 0.2, "top_p": 0.5, "max_tokens": 500},
        {"thinking": {"type": "enabled", "budget_tokens": 1500}, "max_tokens": 1600},
        {"reasoning": {"max_tokens": 99}, "tool_choice": "auto"},
        {"reasoning_effort": "medium", "tool_choice": "required"},
        {"reasoning_effort": "none"},
        {},
        {"reasoning_effort": "xhigh", "top_p": 0.99},
        {"reasoning": {"enabled": True}},
    ]
)


STEPS_ON = st.text("sw", min_size=2, max_size=6)
EDITS = st.sampled_from(
    ["text", "no text", "reorder", "drop a call", "split", "split the calls", "add", "cut", "carry"]
)


class Rules(RuleBasedStateMachine):
    """Each rule about a conversation does something to it and goes on with it."""

    talks = Bundle("talks")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def _go_on(self, talk: Talk, how: str) -> None:
        """So many steps as `how` has letters: `s` is streamed, `w` is not."""
        for number, letter in enumerate(how):
            talk.say(f"Go on, {number}.")
            talk.hear(trio.run(partial(self.world.ask, talk, stream=letter == "s")))

    @rule(target=talks, model=MODELS, options=OPTIONS, how=STEPS_ON)
    def begin(self, model: str, options: Wire, how: str) -> Talk:
        talk = Talk(model, options, "mine")
        self._go_on(talk, how)
        return talk

    @initialize(hides=st.booleans())
    def show(self, hides: bool) -> None:
        self.world.hides = hides

    @rule(talk=talks, how=STEPS_ON)
    def talk(self, talk: Talk, how: str) -> None:
        self._go_on(talk, how)

    # ── what clients do ─────────────────────────────────────────────────────────────────────────────────────────────

    @rule(talk=talks, options=OPTIONS, how=STEPS_ON)
    def think_otherwise(self, talk: Talk, options: Wire, how: str) -> None:
        talk.options = options
        self._go_on(talk, how)

    @rule(talk=talks, model=MODELS, how=STEPS_ON)
    def change_the_model(self, talk: Talk, model: str, how: str) -> None:
        talk.model = model
        self._go_on(talk, how)

    @rule(talk=talks, key=st.sampled_from(["mine", "theirs"]), how=STEPS_ON)
    def hand_over(self, talk: Talk, key: str, how: str) -> None:
        talk.key = key
        self._go_on(talk, how)

    @rule(target=talks, talk=talks)
    def branch(self, talk: Talk) -> Talk:
        return talk.copy()

    @rule(talk=talks, how=STEPS_ON)
    def date_the_system_prompt(self, talk: Talk, how: str) -> None:
        talk.system += " Another day."
        self._go_on(talk, how)

    @rule(talk=talks, data=st.data(), edit=EDITS, how=STEPS_ON)
    def edit(self, talk: Talk, data: st.DataObject, edit: str, how: str) -> None:
        at = data.draw(st.sampled_from(talk.turns))
        message = talk.messages[at]
        calls = message.get("tool_calls", [])
        match edit:
            case "text":
                message["content"] = "Edited."
            case "no text" if calls:
                message["content"] = ""
            case "reorder":
                calls.reverse()
            case "drop a call" if len(calls) > 1:
                gone = calls.pop(data.draw(st.integers(0, len(calls) - 1)))
                talk.messages = [each for each in talk.messages if each.get("tool_call_id") != gone["id"]]
            case "split" if calls:
                first = {"role": "assistant", "content": message.pop("content", None) or "First:"}
                talk.messages.insert(at, first)
            case "split the calls" if len(calls) > 1:
                talk.messages.insert(at, {"role": "assistant", "tool_calls": [calls.pop(0)]})
            case "add" if at + 1 < len(talk.messages) and talk.messages[at + 1]["role"] == "user":
                talk.messages[at + 1 : at + 1] = [{"role": "assistant", "content": "And more."}]
            case "cut":
                del talk.messages[:at]
            case "carry":
                message["reasoning_content"] = "What I was shown."
        self._go_on(talk, how)

    # ── what becomes of the store ───────────────────────────────────────────────────────────────────────────────────

    @rule(entries=st.sampled_from([1, 3, 999]))
    def restart(self, entries: int) -> None:
        self.world.restart(entries)

    @rule(seconds=st.sampled_from([60, 1800, 3600]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds

    @rule(fails=st.sampled_from([None, "it is down"]))
    def break_or_mend(self, fails: str | None) -> None:
        self.world.shelf.fails = fails

    @rule(data=st.data())
    def spoil(self, data: st.DataObject) -> None:
        kept = self.world.shelf.kept
        if kept:
            key, other = (data.draw(st.sampled_from(sorted(kept))) for _ in range(2))
            match data.draw(st.sampled_from(["lost", "another's", "rubbish"])):
                case "lost":
                    del kept[key]
                case "another's":
                    kept[key] = kept[other]
                case "rubbish":
                    kept[key] = b"\0" * 8 + b"rubbish"


def test_no_request_is_refused_whatever_happens() -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    config = settings(max_examples=100, stateful_step_count=12, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(Rules, settings=config)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("hides", [False, True], ids=["shown", "hidden"])
@pytest.mark.parametrize("model", [*api.MODELS])
def test_nothing_is_lost_where_nothing_happens(model: str, hides: bool, stream: bool) -> None:
    """All thinking comes back, byte for byte, and thinking is never turned off."""
    world, talk = World(), Talk(model, {"reasoning_effort": "high"}, "mine")
    world.hides = hides
    for number in range(len(STEPS)):
        talk.say(f"Go on, {number}.")
        talk.hear(trio.run(partial(world.ask, talk, stream=stream)))
        world.restart()  # as another process would be
    assert [seen.thinking for seen in world.claude.seen] == [True] * len(STEPS)
    assert not any(seen.changed for seen in world.claude.seen)
    assert not any(seen.dropped for seen in world.claude.seen)
    assert not [each for each in world.lossy if "not remembered" in each or "turned off" in each]
    sent = {block.get("signature") or block["data"] for seen in world.claude.seen for _, block in seen.thoughts}
    final = sum(isinstance(part, Think | Redact) for step in STEPS for part in step if _calls(step))
    made = [seal for seal in world.claude.past.seals if seal in sent]
    assert len(made) == len(sent) > 0
    if api.MODELS[model] != "manual":
        last = [part for part in STEPS[-1] if isinstance(part, Think | Redact)]
        assert len(sent) == final - len(last)


def _calls(step: Sequence[Part]) -> bool:
    return any(isinstance(part, Call) for part in step)
