"""Codex itself through trioproxy, on upstreams of every dialect that refuse whatever the provider refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import answers, chat_upstream, responses_upstream
from .anthropic_upstream import MODELS, AnthropicUpstream, Call, Say, Step, Think
from .chat_upstream import ChatUpstream
from .codex import BUILT_IN, CUSTOM, Codex, Session, run_codex
from .conftest import Way, directly
from .fake_router import FakeRouter
from .proxy import Trioproxy
from .responses_upstream import ResponsesUpstream, Write, breaks, error_object, fails, says
from .tap import Tap
from .wire import Pause, Reply, Request, one_write

CONFIG = """\
listen = "127.0.0.1:0"

[upstreams.up]
url = "{upstream}"
dialect = "%s"
token = "sk-upstream"

[models]
"gpt-*" = "%s"
"""
PASS_THROUGH = CONFIG.partition("[models]")[0] % "openai-responses"
PROMPT = "Say hello to marker-8731."
# Nothing is known of this one in Codex: it gets function tools and a namespace. The other gets a tool of free text.
PLAIN, WITH_PATCH = "gpt-test", "gpt-5.5"
BEFORE = "I look."
COMMANDS = ["echo proof-$((40 + 2))", "echo second-$((40 + 3))"]
PROOFS = ["proof-42", "second-43"]
PATCH = '*** Begin Patch\n*** Add File: made.txt\n+proof-of-patch: Würzburg \\ "quoted"\n*** End Patch\n'
# What a tool that runs JavaScript is told to do.
SCRIPT = "const r = await tools.exec_command({cmd: 'echo proof-$((40 + 2))'});\ntext(r.output)\n"
CUT = "Words of a cut answer."
RATE_LIMITED = "Rate limit reached: Limit 3, Used 3."
SORRY = "The server had an error while processing your request. Sorry about that!"
OUT_OF_ROOM = "Codex ran out of room in the model's context window."


# ── who is behind the proxy ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Provider:
    """An upstream of another dialect than Codex speaks; what it plays is told as Anthropic's models say it."""

    dialect: str
    model: str
    base: str
    plays: Callable[[Sequence[Step]], FakeRouter]
    failures: dict[str, Reply]
    """How the first answer fails, each in the provider's own way."""
    answer: Reply
    """The one behind a failure."""
    fails: Callable[[Sequence[Reply]], FakeRouter]


def chat_plays(steps: Sequence[Step]) -> ChatUpstream:
    return ChatUpstream([_chat_answer(number, step) for number, step in enumerate(steps)])


def _chat_answer(number: int, step: Step) -> Reply:
    calls = [part for part in step if isinstance(part, Call)]
    return chat_upstream.answer(
        "".join(part.text for part in step if isinstance(part, Say)),
        reasoning="".join(part.text for part in step if isinstance(part, Think)),
        calls=[chat_upstream.call(10 * number + place, each.name, each.input) for place, each in enumerate(calls)],
    )


def _broken(*events: bytes, ending: Any = "finished", behind: Sequence[bytes] = ()) -> Reply:
    # The pause lets the beginning arrive, as a reset may overtake it.
    return answers.always(answers.sse([*one_write(events), Pause(0.1), *behind], ending=ending))


SLOW_DOWN = ("retry-after", "1")
TOUCH = {"cmd": "touch ran; echo the rest"}
OVERLOADED = answers.event("error", error={"type": "overloaded_error", "message": "Overloaded"})
ANTHROPIC = Provider(
    dialect="anthropic",
    model="claude-opus-5-5",
    base="",
    plays=partial(AnthropicUpstream, in_order=True),
    failures={
        "wrong": answers.error(400, "invalid_request_error", "messages: you said something wrong"),
        "slow-down": answers.error(429, "rate_limit_error", RATE_LIMITED, SLOW_DOWN),
        "cut": _broken(*answers.cut_events(CUT), ending="reset"),
        "cut-call": _broken(*answers.tool_events("exec_command", TOUCH)[:-3]),
        "error-at-once": _broken(OVERLOADED),
        "error-after-words": _broken(*answers.cut_events(CUT), OVERLOADED),
        "too-long": answers.error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    },
    answer=answers.text(),
    fails=FakeRouter,
)
CALLED = chat_upstream.call(1, "exec_command", TOUCH)
FAILED = chat_upstream.error_event(SORRY, "server_error")
CHAT = Provider(
    dialect="openai-chat",
    model=chat_upstream.MODEL,
    base="/v1",
    plays=chat_plays,
    failures={
        "wrong": chat_upstream.error(400, "you said something wrong"),
        "slow-down": chat_upstream.error(429, RATE_LIMITED, SLOW_DOWN, kind="requests", code="rate_limit_exceeded"),
        "cut": chat_upstream.broken(chat_upstream.words(CUT), ending="reset"),
        "cut-call": chat_upstream.broken(chat_upstream.call_pieces([CALLED])[:-2], chat_upstream.DONE),
        "error-at-once": chat_upstream.broken([], FAILED, chat_upstream.DONE),
        "error-after-words": chat_upstream.broken(chat_upstream.words(CUT), FAILED, chat_upstream.DONE),
        "too-long": chat_upstream.error(
            400, "This model's maximum context length is 128000 tokens.", code="context_length_exceeded"
        ),
    },
    answer=chat_upstream.text(),
    fails=ChatUpstream,
)


@pytest.fixture(params=[ANTHROPIC, CHAT], ids=lambda provider: provider.dialect)
def provider(request: pytest.FixtureRequest) -> Provider:
    found = request.param
    assert isinstance(found, Provider)
    return found


# ── one run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Run:
    """One `codex exec`: what it sent, what the upstream was asked, what it showed, and the proxy's log."""

    sent: list[Request]
    asked: list[Request]
    shown: Session
    log: list[dict[str, Any]]


@dataclass(frozen=True)
class Bench:
    codex: Codex
    folder: Path

    def run(self, upstream: FakeRouter, config: str, *, base: str = "", told: str = CUSTOM, **named: str) -> Run:
        """`config` is the proxy's, `told` with the names for its holes is Codex's."""
        (self.folder / "proxy").mkdir()
        with (
            upstream,
            Trioproxy(upstream.url + base, self.folder / "proxy", config) as trioproxy,
            Tap(trioproxy.url) as tap,
        ):
            holes = {"url": tap.url, "model": PLAIN, "options": ""} | named
            shown = run_codex(self.codex, told.format(**holes), PROMPT, self.folder)
        assert getattr(upstream, "refused", []) == [], shown.report
        assert upstream.problems == tap.problems == [], shown.report
        log = [json.loads(line) for line in trioproxy.log if line.startswith("{")]
        return Run(tap.requests, upstream.requests, shown, [line for line in log if "method" in line])

    def plays(self, provider: Provider, *steps: Step, **how: str) -> Run:
        config = CONFIG % (provider.dialect, provider.model)
        return self.run(provider.plays([*steps, [Say(answers.REAL)]]), config, base=provider.base, **how)

    def fails(self, provider: Provider, failure: str, *behind: Reply) -> Run:
        config = CONFIG % (provider.dialect, provider.model)
        upstream = provider.fails([provider.failures[failure], *behind])
        return self.run(upstream, config, base=provider.base)


@pytest.fixture
def bench(codex: Codex, tmp_path: Path) -> Bench:
    return Bench(codex, tmp_path)


def outputs(request: Request) -> list[str]:
    """What Codex tells of the tools that it ran, in its own words."""
    kinds = ("function_call_output", "custom_tool_call_output")
    items = [item["output"] for item in request.json["input"] if item["type"] in kinds]
    return [each if isinstance(each, str) else "".join(part["text"] for part in each) for each in items]


# ── on upstreams of other dialects ──────────────────────────────────────────────────────────────────────────────────


def test_answer(bench: Bench, provider: Provider) -> None:
    done = bench.plays(provider)
    done.shown.assert_answer(answers.REAL)
    [asked] = done.asked
    assert (asked.json["model"], asked.json["stream"]) == (provider.model, True)
    assert asked.header("authorization" if provider is CHAT else "x-api-key") in {"sk-upstream", "Bearer sk-upstream"}
    assert [name for name, _ in asked.headers if name.lower().startswith(("x-codex", "originator", "session-id"))] == []
    counted = (12, 5, 9) if provider is CHAT else (12, 0, 9)
    usage = done.shown.usage
    assert tuple(usage[f"{name}_tokens"] for name in ("input", "cached_input", "output")) == counted


def test_two_commands_at_once(bench: Bench, provider: Provider) -> None:
    calls = [Call("exec_command", {"cmd": command}) for command in COMMANDS]
    done = bench.plays(provider, [Say(BEFORE), *calls])
    done.shown.assert_answer(BEFORE, answers.REAL)
    assert {item["aggregated_output"].strip() for item in done.shown.items("command_execution")} == {*PROOFS}
    _, again = done.sent
    assert [proof in output for proof, output in zip(PROOFS, outputs(again), strict=True)] == [True, True]
    first, second = (request.json["messages"] for request in done.asked)
    assert all(proof not in json.dumps(first) and proof in json.dumps(second) for proof in PROOFS)
    # To the letter: an upstream's prefix cache holds.
    assert _plain(second[: len(first)]) == _plain(first)


def _plain(messages: list[dict[str, Any]]) -> str:
    return json.dumps(messages).replace('"cache_control": {"type": "ephemeral"}', "")


def test_a_patch_is_free_text_for_codex_and_an_argument_for_the_model(bench: Bench, provider: Provider) -> None:
    done = bench.plays(provider, [Call("apply_patch", {"input": PATCH})], model=WITH_PATCH)
    done.shown.assert_answer(answers.REAL)
    made = (bench.folder / "cwd" / "made.txt").read_text(encoding="utf-8")
    assert made == 'proof-of-patch: Würzburg \\ "quoted"\n'
    _, again = done.sent
    [call] = [item for item in again.json["input"] if item["type"] == "custom_tool_call"]
    assert (call["name"], call["input"]) == ("apply_patch", PATCH)
    assert "Success" in json.dumps(done.asked[1].json["messages"])


def test_a_tool_of_a_namespace_is_called_by_its_flat_name(bench: Bench, provider: Provider) -> None:
    done = bench.plays(provider, [Call("multi_agent_v1__close_agent", {"target": "nobody"})])
    done.shown.assert_answer(answers.REAL)
    _, again = done.sent
    [call] = [item for item in again.json["input"] if item["type"] == "function_call"]
    assert (call["namespace"], call["name"]) == ("multi_agent_v1", "close_agent")
    [output] = outputs(again)
    assert output.startswith("invalid agent id nobody")
    assert "invalid agent id nobody" in json.dumps(done.asked[1].json["messages"])


def test_the_built_in_provider(bench: Bench, provider: Provider) -> None:
    """It wants a WebSocket first, and has its tools among the items: a script is one of free text."""
    done = bench.plays(provider, [Call("exec", {"input": SCRIPT})], told=BUILT_IN)
    done.shown.assert_answer(answers.REAL)
    upgrade, first, again = done.sent
    assert (upgrade.method, upgrade.header("upgrade")) == ("GET", "websocket")
    assert [line["status"] for line in done.log] == [426, 200, 200]
    assert "tools" not in first.json
    [call] = [item for item in again.json["input"] if item["type"] == "custom_tool_call"]
    assert (call["namespace"], call["name"], call["input"]) == ("functions", "exec", SCRIPT)
    assert PROOFS[0] in outputs(again)[0]
    assert PROOFS[0] in json.dumps(done.asked[1].json["messages"])


def test_a_history_that_is_summed_up(bench: Bench, provider: Provider) -> None:
    """Codex asks for the summary with calls in the history and no tools on offer, and goes on with the summary."""
    steps: list[Step] = [[Call("exec_command", {"cmd": COMMANDS[0]})], [Say("All is well.")]]
    done = bench.plays(provider, *steps, options="model_auto_compact_token_limit = 10\n")
    done.shown.assert_answer(answers.REAL)
    assert [request.json["tools"] == [] for request in done.sent] == [False, True, False]
    told = [json.dumps(request.json["messages"]) for request in done.asked]
    assert [PROOFS[0] in each for each in told] == [False, True, False]
    assert ["All is well." in each for each in told] == [False, False, True]


@pytest.mark.parametrize("model", MODELS)
def test_signed_thoughts_come_back_as_they_were(bench: Bench, model: str) -> None:
    """Over two commands: the upstream would refuse the loop without them, or with others."""
    calls = [Call("exec_command", {"cmd": command}) for command in COMMANDS]
    steps: list[Step] = [
        [Think("First I look."), Say(BEFORE), calls[0]],
        [Think("And once more."), calls[1]],
        [Think("Enough."), Say(answers.REAL)],
    ]
    upstream = AnthropicUpstream(steps)
    options = 'model_reasoning_effort = "high"\nmodel_reasoning_summary = "detailed"\n'
    done = bench.run(upstream, CONFIG % ("anthropic", model), options=options)
    done.shown.assert_answer(BEFORE, answers.REAL)
    assert [item["text"] for item in done.shown.items("reasoning")][:1] == ["First I look."]
    assert [seen.thinking for seen in upstream.seen] == [True] * 3
    assert [seen.changed + seen.dropped for seen in upstream.seen] == [()] * 3
    # Without interleaved thinking a manual one only thinks before the first call.
    assert [len(seen.thoughts) for seen in upstream.seen] in ([0, 1, 2], [0, 1, 1])


# ── failures ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_is_shown(bench: Bench, provider: Provider) -> None:
    done = bench.fails(provider, "wrong")
    [shown] = done.shown.failures
    assert "you said something wrong" in shown
    assert done.shown.texts == []


def test_429_and_then_the_answer(bench: Bench, provider: Provider) -> None:
    done = bench.fails(provider, "slow-down", provider.answer)
    done.shown.assert_answer(answers.REAL)
    [refused] = [line for line in done.log if line["status"] == 429]
    times = [datetime.fromisoformat(line["time"]) for line in (refused, done.log[-1])]
    # Left alone it waits 0.2 s.
    assert (times[1] - times[0]).total_seconds() >= 0.95


@pytest.mark.parametrize("failure", ["cut", "cut-call", "error-at-once", "error-after-words"])
def test_what_breaks_is_asked_again(bench: Bench, provider: Provider, failure: str) -> None:
    """And half of a command is not run, though it is a command too."""
    done = bench.fails(provider, failure, provider.answer)
    done.shown.assert_answer(answers.REAL)
    assert len(done.asked) == 2
    assert done.shown.items("command_execution") == []
    assert not (bench.folder / "cwd" / "ran").exists()


def test_overflow_reads_as_a_context_that_is_full(bench: Bench, provider: Provider) -> None:
    done = bench.fails(provider, "too-long")
    [shown] = done.shown.failures
    assert shown.startswith(OUT_OF_ROOM)
    assert len(done.asked) == 1


# ── on an upstream of its own dialect ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["direct", "trioproxy"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """With and without the proxy, to the same end: what is shown here of the client is shown of the upstream, too."""
    if request.param == "direct":
        return directly
    (tmp_path / "proxy").mkdir()

    @contextmanager
    def through(upstream: FakeRouter) -> Iterator[str]:
        with Trioproxy(upstream.url, tmp_path / "proxy", PASS_THROUGH) as proxy:
            yield proxy.url

    return through


@dataclass(frozen=True)
class Own:
    """Codex on a Responses upstream."""

    codex: Codex
    way: Way
    folder: Path

    def run(self, config: str, *script: responses_upstream.Play) -> tuple[ResponsesUpstream, Session]:
        with ResponsesUpstream(script) as upstream, self.way(upstream) as url:
            shown = run_codex(self.codex, config.replace("{url}", url), PROMPT, self.folder)
        assert upstream.problems == [], shown.report
        return upstream, shown


@pytest.fixture
def own(codex: Codex, way: Way, tmp_path: Path) -> Own:
    (tmp_path / "codex").mkdir()
    return Own(codex, way, tmp_path / "codex")


def custom(model: str, options: str = "") -> str:
    return CUSTOM.format(url="{url}", model=model, options=options)


ANSWERED = says(responses_upstream.Say(answers.REAL))


def test_thoughts_commands_and_a_patch_on_its_own_dialect(own: Own) -> None:
    calls = [responses_upstream.Call("exec_command", {"cmd": command}) for command in COMMANDS]
    upstream, shown = own.run(
        custom(WITH_PATCH, 'model_reasoning_summary = "auto"\n'),
        says(responses_upstream.Think(("First I look.",)), responses_upstream.Say(BEFORE), *calls),
        says(responses_upstream.Think(), Write("apply_patch", PATCH)),
        ANSWERED,
    )
    assert upstream.refused == [], shown.report
    shown.assert_answer(BEFORE, answers.REAL)
    assert [item["text"] for item in shown.items("reasoning")] == ["First I look."]
    assert (own.folder / "cwd" / "made.txt").exists()
    _, second, third = upstream.requests
    assert [proof in output for proof, output in zip(PROOFS, outputs(second), strict=True)] == [True, True]
    assert [item["type"] for item in third.json["input"]].count("reasoning") == 2


def test_the_built_in_provider_on_its_own_dialect(own: Own) -> None:
    upstream, shown = own.run(BUILT_IN, says(responses_upstream.Think(), Write("exec", SCRIPT, "functions")), ANSWERED)
    # Who asks for a WebSocket is told by the proxy itself that there is none.
    assert upstream.refused == (["Upgrade Required"] if own.way is directly else []), shown.report
    shown.assert_answer(answers.REAL)
    assert PROOFS[0] in outputs(upstream.requests[1])[0]


OVERFLOW = error_object(responses_upstream.CONTEXT_TOO_LONG, "invalid_request_error", "context_length_exceeded")
FAILURE = error_object(SORRY, "server_error", "server_error")
WORDS = responses_upstream.Say(CUT)


@pytest.mark.parametrize(
    "play",
    [
        fails(429, RATE_LIMITED, SLOW_DOWN, kind="requests", code="rate_limit_exceeded"),
        breaks(WORDS, less=3, ending="reset"),
        breaks(responses_upstream.Call("exec_command", TOUCH), less=3),
        breaks(failed=FAILURE),
        breaks(WORDS, failed=FAILURE),
    ],
    ids=["slow-down", "cut", "cut-call", "error-at-once", "error-after-words"],
)
def test_what_breaks_on_its_own_dialect_is_asked_again(own: Own, play: responses_upstream.Play) -> None:
    upstream, shown = own.run(custom(PLAIN), play, ANSWERED)
    assert upstream.refused == [], shown.report
    shown.assert_answer(answers.REAL)
    assert len(upstream.requests) == 2
    assert not (own.folder / "cwd" / "ran").exists()


@pytest.mark.parametrize(
    "play",
    [fails(400, OVERFLOW["message"], code=OVERFLOW["code"]), breaks(failed=OVERFLOW)],
    ids=["status", "in-the-stream"],
)
def test_overflow_on_its_own_dialect_reads_as_a_context_that_is_full(own: Own, play: responses_upstream.Play) -> None:
    upstream, shown = own.run(custom(PLAIN), play)
    [said] = shown.failures
    assert said.startswith(OUT_OF_ROOM)
    assert (len(upstream.requests), upstream.refused) == (1, [])
