"""Every recorded answer of the corpus, through trioproxy, to the official SDKs: each dialect's recordings to each kind
of client, as a stream and as one body.

What a client must get is worked out from the recording by small readers of the tests' own (`said`). Whole bodies, and
streams of OpenAI's dialects, that leave in the dialect and the form in which they were recorded must arrive as what was
recorded, whatever that was.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import pytest
import trio

from tests.corpus import Case, streams, wholes

from .recorded import playing, words
from .said import DIALECTS, Dialect, Form, Wire, data_of, events_of
from .said.expected import differences, expected
from .said.responses import streamed
from .sdks import FAILURES, MODEL, Clients, clients, heard

AT_ONCE = 2

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
    ("openai-responses", "stream", "anthropic", "stream"): (90, 4),
    ("openai-responses", "stream", "anthropic", "whole"): (90, 4),
    ("openai-responses", "whole", "anthropic", "stream"): (82, 4),
    ("openai-responses", "whole", "anthropic", "whole"): (82, 4),
    ("openai-responses", "stream", "openai-chat", "stream"): (91, 4),
    ("openai-responses", "stream", "openai-chat", "whole"): (91, 4),
    ("openai-responses", "whole", "openai-chat", "stream"): (82, 4),
    ("openai-responses", "whole", "openai-chat", "whole"): (82, 4),
    ("openai-responses", "stream", "openai-responses", "stream"): (90, 4),
    ("openai-responses", "stream", "openai-responses", "whole"): (89, 4),
    ("openai-responses", "whole", "openai-responses", "stream"): (82, 4),
    ("openai-responses", "whole", "openai-responses", "whole"): (86, 0),  # and here
    ("anthropic", "stream", "openai-responses", "stream"): (107, 1),
    ("anthropic", "stream", "openai-responses", "whole"): (107, 1),
    ("anthropic", "whole", "openai-responses", "stream"): (91, 2),
    ("anthropic", "whole", "openai-responses", "whole"): (91, 2),
    ("openai-chat", "stream", "openai-responses", "stream"): (133, 3),
    ("openai-chat", "stream", "openai-responses", "whole"): (133, 3),
    ("openai-chat", "whole", "openai-responses", "stream"): (128, 6),
    ("openai-chat", "whole", "openai-responses", "whole"): (128, 6),
}

SEVERAL = {
    "vercel-anthropic-anthropic-programmatic-tool-calling-1": "15 answers of one conversation in one file",
    "vercel-anthropic-anthropic-tool-search-bm25-1": "2 answers of one conversation in one file",
    "vercel-anthropic-anthropic-tool-search-deferred-bm25": "3 answers of one conversation in one file",
    "vercel-anthropic-anthropic-tool-search-regex-1": "2 answers of one conversation in one file",
    "vercel-openai-responses-openai-shell-tool-1": "2 answers of one conversation in one file",
}
SHORTENED = {
    "vercel-openai-responses-openai-shell-container-1": "edited by hand: its pieces say other than the whole text, "
    "which looks as if a stage had left some out, and is told again as what has been heard",
}
# Recordings that are left out, and why: of all directions, or of these.
LEFT_OUT: dict[tuple[Dialect, Dialect, Form] | None, dict[str, str]] = {
    None: {
        "vercel-openai-completion-openai-completion-text-json": "a legacy completion, which no chat endpoint gives",
    },
    # The SDK puts only the first of several messages together rightly. What such streams leave as is tested elsewhere;
    # as one body, and to the other SDK, they are all of their messages (M0).
    ("anthropic", "anthropic", "stream"): SEVERAL,
    # A message of Anthropic's is one (H004): only the first of several answers of another dialect is heard.
    ("openai-responses", "anthropic", "stream"): SEVERAL,
    ("openai-responses", "anthropic", "whole"): SEVERAL,
    # What it says arrives, but of all else that a response has there can be only one.
    ("openai-responses", "openai-responses", "whole"): SEVERAL | SHORTENED,
    ("openai-responses", "openai-responses", "stream"): SHORTENED,
}


# OpenAI's SDK tells so when it copies a response with items or tools that it has no type for, such as xAI's.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize("asked", ["stream", "whole"])
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("recorded", ["stream", "whole"])
@pytest.mark.parametrize("provider", DIALECTS)
async def test_every_recorded_answer(provider: Dialect, recorded: Form, client: Dialect, asked: Form) -> None:
    left_out = LEFT_OUT[None] | LEFT_OUT.get((provider, client, asked), {})
    cases = [case for case in (streams if recorded == "stream" else wholes)(provider) if case.id not in left_out]
    wrong: dict[str, object] = {}
    count: Counter[str] = Counter()
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def hears(case: Case, sdks: Clients) -> None:
        try:
            faults = await trio.to_thread.run_sync(
                partial(judged, sdks, provider, case, client, asked=asked), limiter=limiter
            )
        except FAILURES as exc:
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

    async with playing(provider, cases) as port:
        with clients(port) as sdks:
            async with trio.open_nursery() as nursery:
                for case in cases:
                    nursery.start_soon(hears, case, sdks)
    assert wrong == {}
    assert (count["answered"], count["failed"]) == COUNTS[provider, recorded, client, asked]


def judged(sdks: Clients, provider: Dialect, case: Case, client: Dialect, *, asked: Form) -> list[str]:
    """What is wrong with what a client gets of a recording."""
    same, recorded = provider == client, "stream" if case.stream else "whole"
    if same and recorded == asked == "whole":
        return [] if sdks.body(client, words(case)) == case.body else ["it is not what was recorded"]
    if same and recorded == asked and client == "openai-chat":
        # Many providers' chunks are not what the SDK can put together; that they arrive is what counts here.
        chunks = [json.loads(data) for data in data_of(case.body) if data.strip() != "[DONE]"]
        return [] if sdks.chunks(words(case)) == chunks else ["it is not what was recorded"]
    if same and recorded == asked and client == "openai-responses":
        return as_recorded(sdks, case)
    wire = sdks.ask(client, words(case), asked=asked)
    if (want := expected(provider, case, client, asked=asked)).failed:
        return ["the error was not told"]
    found = differences(want, heard(client, wire), client, upstream=provider)
    if same and client == "openai-responses":
        found += lost(response_of(case), wire)  # within a dialect nothing is
    if not same and wire["model"] != MODEL:
        found.append(f"the model is {wire['model']}")  # H030d
    return found


def as_recorded(sdks: Clients, case: Case) -> list[str]:
    """What is wrong with the stream of a Responses upstream at its own client: its bytes, and to the SDK."""
    if sdks.stream(words(case)) != case.body:
        return ["it is not what was recorded"]
    return [] if sdks.events(words(case)) == list(events_of(case.body)) else ["it is not what was recorded, to the SDK"]


def response_of(case: Case) -> Wire:
    """The response that a recording amounts to."""
    if not case.stream:
        whole: Wire = json.loads(case.body)
        return whole
    [stream] = streamed(events_of(case.body))
    assert stream.response
    return stream.response | {"output": stream.output}


def lost(want: object, got: object, path: str = "") -> list[str]:
    """What was said and is not said any more; more may be. What is encrypted is told twice, and never the same."""
    if isinstance(want, dict) and isinstance(got, dict):
        return [each for key in want for each in lost(want[key], got.get(key, "nothing"), f"{path}.{key}")]
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [each for index, one in enumerate(want) for each in lost(one, got[index], f"{path}[{index}]")]
    if want == got or path.endswith((".encrypted_content", ".fingerprint")):
        return []
    return [f"{path}: {want!r:.1000} became {got!r:.1000}"]
