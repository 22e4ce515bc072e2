"""Every recorded answer of the corpus, through trioproxy, to the official SDKs: each dialect's recordings to each kind
of client, as a stream and as one body.

What a client must get is worked out from the recording by a small reader of this file's own. It was written from the
recordings' facts and the list of hazards (H…), and shares no code with the proxy. Whole bodies, and chunks, that leave
in the dialect and the form in which they were recorded must reach the SDK as what was recorded, whatever that was.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio

from tests.corpus import Case, streams, wholes
from tests.peers import Line, proxy, upstream

if TYPE_CHECKING:
    import anthropic
    import openai
else:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")
    openai = pytest.importorskip("openai", reason="the openai package is not installed")

Dialect = Literal["anthropic", "openai-chat"]
Form = Literal["stream", "whole"]
Wire = dict[str, Any]  # a JSON object; `Any` because its inside is a provider's

MODEL = "the-model-asked-for"
SECONDS = 30.0
AT_ONCE = 8
PIECE = 997  # bytes of a write: few enough to cut through events anywhere

# Of the recordings of a dialect, streams or whole: how many reached a client, streaming or not, as the answer they are,
# and how many rightly as an error (an error within the stream or the body, JSON that is no answer, a broken call).
COUNTS: dict[tuple[Dialect, Form, Dialect, Form], tuple[int, int]] = {
    ("openai-chat", "stream", "anthropic", "stream"): (133, 3),
    ("openai-chat", "stream", "anthropic", "whole"): (133, 3),
    ("openai-chat", "whole", "anthropic", "stream"): (128, 6),
    ("openai-chat", "whole", "anthropic", "whole"): (128, 6),
    ("anthropic", "stream", "openai-chat", "stream"): (108, 0),
    ("anthropic", "stream", "openai-chat", "whole"): (108, 0),
    ("anthropic", "whole", "openai-chat", "stream"): (91, 2),
    ("anthropic", "whole", "openai-chat", "whole"): (91, 2),
    ("openai-chat", "stream", "openai-chat", "stream"): (133, 3),
    ("openai-chat", "stream", "openai-chat", "whole"): (133, 3),
    ("openai-chat", "whole", "openai-chat", "stream"): (128, 6),
    ("openai-chat", "whole", "openai-chat", "whole"): (133, 1),  # JSON that is no answer passes as it came
    ("anthropic", "stream", "anthropic", "stream"): (104, 0),
    ("anthropic", "stream", "anthropic", "whole"): (107, 1),
    ("anthropic", "whole", "anthropic", "stream"): (91, 2),
    ("anthropic", "whole", "anthropic", "whole"): (93, 0),  # here too
}

# Recordings that are left out, and why.
LEFT_OUT = {
    "vercel-openai-completion-openai-completion-text-json": "a legacy completion, which no chat endpoint answers with",
}
# Left out as streams from Anthropic to its SDK, which puts only the first of several messages together rightly. What
# such streams leave as is tested elsewhere; as one body, and to the other SDK, they are all of their messages (M0).
SEVERAL_MESSAGES = {
    "vercel-anthropic-anthropic-programmatic-tool-calling-1": "15 answers of one conversation in one file",
    "vercel-anthropic-anthropic-tool-search-bm25-1": "2 answers of one conversation in one file",
    "vercel-anthropic-anthropic-tool-search-deferred-bm25": "3 answers of one conversation in one file",
    "vercel-anthropic-anthropic-tool-search-regex-1": "2 answers of one conversation in one file",
}


# ── what a recording says ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Counts:
    """Tokens; those that were cached are part of the prompt (H044)."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    written: int = 0


@dataclass
class Call:
    id: str
    name: str
    text: str = ""

    @property
    def arguments(self) -> tuple[str, object]:
        """As a JSON value; no text is no arguments (H017); what was cut stays what it is."""
        try:
            return "whole", json.loads(self.text or "{}")
        except ValueError:
            return "cut", self.text


@dataclass
class Other:
    """A block that only Anthropic has."""

    kind: str


Part = tuple[Literal["text", "thinking"], str] | Call | Other


@dataclass
class Said:
    """An answer: its parts in order, and how it ended (in the words of the dialect it was read from)."""

    parts: list[Part] = field(default_factory=list)
    stop: str | None = None
    usage: Counts | None = None
    urls: list[str] = field(default_factory=list)  # of the pages cited
    failed: bool = False

    def say(self, kind: Literal["text", "thinking"], text: str) -> None:
        """More text: of the last part, if that is of its kind."""
        if self.parts and isinstance(last := self.parts[-1], tuple) and last[0] == kind:
            self.parts[-1] = (kind, last[1] + text)
        elif text:
            self.parts.append((kind, text))

    @property
    def calls(self) -> list[Call]:
        return [part for part in self.parts if isinstance(part, Call)]

    def joined(self, kind: str) -> str:
        return "".join(part[1] for part in self.parts if isinstance(part, tuple) and part[0] == kind)


def events_of(body: bytes) -> Iterable[str]:
    """The payloads of a stream of server-sent events."""
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        data = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if data:
            yield "\n".join(data)


def said(dialect: Dialect, case: Case, *, summed: bool = False) -> Said:
    """`summed`: its counts are as Anthropic's SDK sums them up, for which a zero at the end is a zero."""
    if dialect == "anthropic":
        return said_by_events(case, summed=summed) if case.stream else said_by_message(json.loads(case.body))
    return said_by_chunks(case) if case.stream else said_by_completion(json.loads(case.body))


# ── … in Anthropic's words ──────────────────────────────────────────────────────────────────────────────────────────


def said_by_events(case: Case, *, summed: bool) -> Said:
    """Several messages make one answer (M0): the blocks of all."""
    answer, usage, first = Said(stop="none"), dict[str, Any](), 0
    for event in map(json.loads, events_of(case.body)):
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
                first = len(answer.parts)
                for block in event["message"]["content"]:
                    answer.parts.append(part_of(block))
            case "content_block_start":
                assert len(answer.parts) == first + event["index"]
                answer.parts.append(part_of(event["content_block"]))
            case "content_block_delta" if event["delta"]["type"] == "citations_delta":
                answer.urls += cited(event["delta"]["citation"])
            case "content_block_delta":
                answer.parts[-1] = filled(answer.parts[-1], event["delta"])
            case "message_delta":
                answer.stop = event["delta"]["stop_reason"]
                # Cumulative; zeros at the end do not take back what was said at the start (H046).
                counts = event.get("usage") or {}
                usage |= {key: value for key, value in counts.items() if value or (summed and value is not None)}
    answer.usage = counts_of_message(usage)
    return answer


def said_by_message(message: Wire) -> Said:
    if message.get("type") != "message":
        return Said(failed=True)
    content = message["content"]
    urls = [url for block in content for citation in block.get("citations") or () for url in cited(citation)]
    return Said(list(map(part_of, content)), message["stop_reason"], counts_of_message(message["usage"]), urls)


def cited(citation: Wire) -> list[str]:
    """Of a page; not of a document of the client's own."""
    return [citation["url"]] if "url" in citation else []


def part_of(block: Wire) -> Part:
    match block["type"]:
        case "text" | "thinking" as kind:
            return kind, block[kind]
        case "tool_use":
            return Call(block["id"], block["name"], json.dumps(block["input"]) if block["input"] else "")
        case kind:
            return Other(kind)


def filled(part: Part, delta: Wire) -> Part:
    """Deltas replace the input that a call has started with (H097)."""
    if isinstance(part, tuple) and delta["type"] == f"{part[0]}_delta":
        return part[0], part[1] + delta[part[0]]
    return Call(part.id, part.name, part.text + delta["partial_json"]) if isinstance(part, Call) else part


def counts_of_message(usage: Wire) -> Counts:
    cached, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    return Counts(usage["input_tokens"] + cached + written, usage["output_tokens"], cached, written)


# ── … in OpenAI's words ─────────────────────────────────────────────────────────────────────────────────────────────


def said_by_chunks(case: Case) -> Said:
    answer, done = Said(), False
    calls: dict[object, Call] = {}
    for data in events_of(case.body):
        done = data.strip() == "[DONE]"
        if done:
            break
        chunk = json.loads(data)
        if chunk.get("error"):
            return Said(failed=True)
        for choice in chunk.get("choices") or ():
            if choice["index"] == 0:  # of several choices the first is the answer (H100)
                hear(answer, choice.get("delta") or {}, calls)
                answer.stop = choice.get("finish_reason") or answer.stop
        # In every chunk, beside the end or behind it: the last one holds (H042, H043).
        counts = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        answer.usage = counts_of_completion(counts) if counts else answer.usage
    answer.failed = not done and answer.stop is None  # it is cut off (H026)
    return answer


def said_by_completion(completion: Wire) -> Said:
    if not completion.get("choices"):
        return Said(failed=True)
    answer, choice = Said(), completion["choices"][0]
    hear(answer, choice.get("message") or {}, {})  # none where all of it was filtered
    answer.stop = choice.get("finish_reason")
    answer.usage = counts_of_completion(completion["usage"]) if completion.get("usage") else None
    return answer


def hear(answer: Said, delta: Wire, calls: dict[object, Call]) -> None:
    """Reasoning, text, calls: in this order if they come together (H011)."""
    answer.say("thinking", reasoning_of(delta))
    content = delta.get("content")
    for part in content if isinstance(content, list) else [content]:
        match part:
            case {"type": "thinking", "thinking": pieces}:  # Mistral
                answer.say("thinking", "".join(piece["text"] for piece in pieces))
            case {"type": "text", "text": text}:
                answer.say("text", text)
            case None | str():
                answer.say("text", part or "")
            case _:  # Cloudflare: an object that follows a schema
                answer.say("text", json.dumps(part, separators=(",", ":"), ensure_ascii=False))
    answer.say("text", (delta.get("audio") or {}).get("transcript") or "")
    answer.say("text", delta.get("refusal") or "")
    answer.urls += [each["url_citation"]["url"] for each in delta.get("annotations") or () if "url_citation" in each]
    fragments = [fragment for fragment in delta.get("tool_calls") or () if fragment.get("type") != "custom"]
    if (legacy := delta.get("function_call")) and legacy.get("name"):  # Snowflake has one without anything
        fragments.append({"index": 0, "function": legacy})
    for fragment in fragments:
        call = call_of(fragment, calls)
        if call not in answer.parts:
            answer.parts.append(call)
        arguments = fragment["function"].get("arguments")
        call.text += arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""


def reasoning_of(delta: Wire) -> str:
    """Whatever field says it, once (H071)."""
    for key in ("reasoning_content", "reasoning"):
        if delta.get(key):
            return str(delta[key])
    details = delta.get("reasoning_details") or ()
    return "".join(each.get("text") or each.get("summary") or "" for each in details)


def call_of(fragment: Wire, calls: dict[object, Call]) -> Call:
    """The call that a fragment goes on with, or a new one."""
    id, name, index = fragment.get("id") or "", fragment["function"].get("name") or "", fragment.get("index")
    known = calls.get(("at", index)) if index is not None else calls.get(("id", id))
    if known is None or (id and known.id and id != known.id):  # the same index again, of another call (H007)
        known = Call(id, name)
    calls["at", index] = calls["id", known.id] = known
    return known


def counts_of_completion(usage: Wire) -> Counts:
    inside, outside = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    reasoning = outside.get("reasoning_tokens") or 0
    if usage.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # xAI counts it beside the completion (H049)
    # Beside OpenAI's own: Moonshot's, Mistral's, DeepSeek's word for it.
    names = ("cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens")
    cached = next(filter(None, (inside.get("cached_tokens"), *map(usage.get, names))), 0)
    written = inside.get("cache_write_tokens") or 0
    # What was not cached is never less than nothing (H044), though Mistral has told of more cached than asked.
    return Counts(max(prompt, cached + written), completion, cached, written)


# ── what the client must get of it ──────────────────────────────────────────────────────────────────────────────────

# H023, and wire-facts for the words of single providers (Together says `eos`).
TO_ANTHROPIC = {
    "stop": "end_turn",
    "eos": "end_turn",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
    None: "end_turn",  # [DONE] alone (H021)
}
# H098; a turn that was paused must not look like one that is over.
TO_OPENAI = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "compaction": "length",
    "refusal": "content_filter",
}
SAFE_ID = re.compile(r"[a-zA-Z0-9_-]+")


def expected(upstream: Dialect, case: Case, client: Dialect, *, asked: Form) -> Said:
    answer = said(upstream, case, summed=upstream == client)
    if answer.failed:
        return answer
    if upstream == "openai-chat":
        reason = TO_ANTHROPIC.get(answer.stop, "end_turn")
        if reason in ("end_turn", "tool_use"):
            reason = "tool_use" if answer.calls else "end_turn"  # the calls tell, not the reason (H022)
        answer.stop = reason
    if client == "openai-chat":
        answer.stop = TO_OPENAI[answer.stop or ""]
        if answer.stop == "stop" and answer.calls:
            answer.stop = "tool_calls"  # the last of several messages ended so, and calls are still to be made
    elif asked == "whole" and answer.stop == "max_tokens":
        # An object cannot be cut: such a call is not given at all, and must never be made a whole one (H070b).
        answer.parts = [part for part in answer.parts if not isinstance(part, Call) or part.arguments[0] == "whole"]
    elif asked == "whole" and any(call.arguments[0] == "cut" for call in answer.calls):
        answer.failed = True  # cut by something else: then the answer is broken
    if client == "anthropic" and upstream != client:
        answer.parts = [
            part for part in answer.parts if not isinstance(part, tuple) or part[1].strip() or part[0] == "text"
        ]
        answer.parts = answer.parts or [("text", "")]  # Claude Code insists on a block (H028)
    return answer


def differences(want: Said, got: Said, client: Dialect, *, same: bool) -> list[str]:
    """What is wrong with what the client got."""
    pairs: dict[str, tuple[object, object]] = {"stop": (want.stop, got.stop), "urls": (want.urls, got.urls)}
    if client == "anthropic":
        pairs["parts"] = ([shown(part) for part in want.parts], [shown(part) for part in got.parts])
    else:
        for kind in ("text", "thinking"):
            pairs[kind] = (want.joined(kind), got.joined(kind))
        pairs["calls"] = ([shown(call) for call in want.calls], [shown(call) for call in got.calls])
    if want.usage is not None:
        pairs["usage"] = (want.usage, got.usage)
    found = [f"{name}: {one!r:.2000} became {other!r:.2000}" for name, (one, other) in pairs.items() if one != other]
    for one, other in zip(want.calls, got.calls, strict=False):
        mended = not one.id or (client == "anthropic" and not SAFE_ID.fullmatch(one.id))
        if (one.id != other.id and not mended) or not other.id:
            found.append(f"the id {one.id!r} became {other.id!r}")
        if client == "anthropic" and not same and not SAFE_ID.fullmatch(other.id):
            found.append(f"no id that Anthropic's clients take: {other.id!r}")  # H030c
    if len({call.id for call in got.calls}) != len(got.calls):
        found.append("two calls have one id")
    return found


def shown(part: Part) -> object:
    return (part.name, *part.arguments) if isinstance(part, Call) else part


# ── the clients ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Clients:
    """Both SDKs. The synchronous kind: the other leaves generators to the garbage collector, of which trio warns."""

    anthropic: anthropic.Anthropic
    openai: openai.OpenAI

    def ask(self, dialect: Dialect, case: Case, *, asked: Form) -> Wire:
        """One answer, as the SDK has put it together: a message or a completion."""
        question = {"model": MODEL, "messages": [{"role": "user", "content": f"recording {case.id}"}]}
        if dialect == "anthropic":
            return (self._message_stream if asked == "stream" else self._message)(question | {"max_tokens": 4000})
        return (self._completion_stream if asked == "stream" else self._completion)(question)

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
        completion: Wire = {}
        with self.openai.chat.completions.stream(**question, stream_options={"include_usage": True}) as stream:
            for event in stream:
                if event.type == "chunk":
                    # Its `get_final_completion` raises for any answer that was cut short, as if it had to be parsed.
                    completion = event.snapshot.to_dict(warnings=False)
        return completion

    def body(self, dialect: Dialect, case: Case) -> bytes:
        """One whole answer as it came, which the SDK could make something of."""
        question: Wire = {"model": MODEL, "messages": [{"role": "user", "content": f"recording {case.id}"}]}
        if dialect == "anthropic":
            message = self.anthropic.messages.with_raw_response.create(**question, max_tokens=4000)
            message.parse()
            return message.http_response.content
        completion = self.openai.chat.completions.with_raw_response.create(**question)
        completion.parse()
        return completion.http_response.content

    def chunks(self, case: Case) -> list[Wire]:
        """The chunks of a completion as they came."""
        with self.openai.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"recording {case.id}"}],
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            return [chunk.to_dict(warnings=False) for chunk in stream]


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
    answer = said_by_message(wire)
    for part, block in zip(answer.parts, wire["content"], strict=True):
        if isinstance(part, Call) and isinstance(block["input"], str):
            part.text = block["input"]
    return answer


# ── the test ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("asked", ["stream", "whole"])
@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
@pytest.mark.parametrize("recorded", ["stream", "whole"])
@pytest.mark.parametrize("provider", ["anthropic", "openai-chat"])
async def test_every_recorded_answer(provider: Dialect, recorded: Form, client: Dialect, asked: Form) -> None:
    cases = {case.id: case for case in (streams if recorded == "stream" else wholes)(provider)}
    left_out = LEFT_OUT | (
        SEVERAL_MESSAGES if (provider, client, asked) == ("anthropic", "anthropic", "stream") else {}
    )
    wrong: dict[str, object] = {}
    count: Counter[str] = Counter()
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def plays(line: Line) -> None:
        found = re.search(rb"recording ([\w.-]+)", line.asked.body)
        assert found
        case = cases[found[1].decode()]
        if not case.stream:
            await line.whole(case.body)
            return
        await line.head()
        for at in range(0, len(case.body), PIECE):
            await line.chunk(case.body[at : at + PIECE])
        await line.end()

    async def hears(case: Case, sdks: Clients) -> None:
        try:
            faults = await trio.to_thread.run_sync(
                partial(judged, sdks, provider, case, client, asked=asked), limiter=limiter
            )
        except (anthropic.APIError, openai.APIError) as exc:
            failed = expected(provider, case, client, asked=asked).failed
            count["failed"] += failed
            if not failed:
                wrong[case.id] = repr(exc)
        except Exception as exc:  # whatever an SDK trips over is a finding, told with its case
            wrong[case.id] = repr(exc)
        else:
            count["answered"] += not faults
            if faults:
                wrong[case.id] = faults

    async with upstream(plays) as up:
        toml = up.toml().replace('"anthropic"', f'"{provider}"')
        async with proxy(toml) as port:
            with clients(port) as sdks:
                async with trio.open_nursery() as nursery:
                    for case in cases.values():
                        if case.id not in left_out:
                            nursery.start_soon(hears, case, sdks)
    assert wrong == {}
    assert (count["answered"], count["failed"]) == COUNTS[provider, recorded, client, asked]


def judged(sdks: Clients, provider: Dialect, case: Case, client: Dialect, *, asked: Form) -> list[str]:
    """What is wrong with what a client gets of a recording."""
    same, recorded = provider == client, "stream" if case.stream else "whole"
    if same and recorded == asked == "whole":
        return [] if sdks.body(client, case) == case.body else ["it is not what was recorded"]
    if same and recorded == asked and client == "openai-chat":
        # Many providers' chunks are not what the SDK can put together; that they arrive is what counts here.
        chunks = [json.loads(data) for data in events_of(case.body) if data.strip() != "[DONE]"]
        return [] if sdks.chunks(case) == chunks else ["it is not what was recorded"]
    wire = sdks.ask(client, case, asked=asked)
    if (want := expected(provider, case, client, asked=asked)).failed:
        return ["the error was not told"]
    found = differences(want, heard(client, wire), client, same=same)
    if not same and wire["model"] != MODEL:
        found.append(f"the model is {wire['model']}")  # H030d
    return found
