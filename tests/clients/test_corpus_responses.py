"""What only Responses has, over the recordings of the corpus: items that are told three times, reasoning that is shown
to who asks for it, tools that take a text, and tools in namespaces.
"""

from __future__ import annotations

import json
from functools import partial

import trio

from tests.corpus import Case, streams, wholes
from tests.peers import proxy

from .recorded import playing, words
from .said import Wire, events_of
from .said.expected import expected
from .said.responses import CALLS, disagreements, said_by_response, streamed
from .sdks import Clients, clients

# Recordings that say one thing first and another later.
INCONSISTENT = {
    "vercel-openai-responses-openai-shell-container-1": "edited by hand: its pieces were shortened, its end was not",
}


def test_recordings_agree_with_themselves() -> None:
    """Which is what makes it right to take what an answer said from the last place that says it."""
    told = {case.id: streamed(events_of(case.body))[0] for case in streams("openai-responses")}
    found = {id: disagreements(stream, every=False) for id, stream in told.items() if not stream.failed}
    assert len(found) == 91
    assert {id for id, faults in found.items() if faults} == set(INCONSISTENT)


async def test_reasoning_nobody_asked_to_see_is_carried_and_not_shown() -> None:
    """As the API does (H089). Here: Anthropic's thinking."""
    told = {case: expected("anthropic", case, "openai-responses", asked="stream") for case in streams("anthropic")}
    thoughtful = [case for case, answer in told.items() if answer.seals and not answer.failed]
    assert len(thoughtful) == 26
    wrong = {}

    async with playing("anthropic", thoughtful) as port:
        with clients(port) as sdks:
            for case in thoughtful:
                ask = partial(sdks.response_stream, {"model": "any", "input": words(case)})
                heard = said_by_response(await trio.to_thread.run_sync(ask))
                thinking = [part for part in heard.parts if isinstance(part, tuple) and part[0] == "thinking"]
                if thinking or not heard.seals:
                    wrong[case.id] = heard
    assert wrong == {}


async def test_calls_come_back_in_the_clients_own_words_from_an_upstream_that_knows_only_functions() -> None:
    """All the way from a Responses upstream to a Responses client, with an Anthropic hop between two proxies."""
    calling = [case for case in (*streams("openai-responses"), *wholes("openai-responses")) if calls_of(case)]
    assert len(calling) == 40
    wrong = {}

    async with playing("openai-responses", calling) as second:
        toml = f'[upstreams.hop]\nurl = "http://127.0.0.1:{second}"\ndialect = "anthropic"\n'
        async with proxy(toml) as first:
            with clients(first) as sdks:
                for case in calling:
                    got = await trio.to_thread.run_sync(partial(calls_back, sdks, case))
                    if got != calls_of(case):
                        wrong[case.id] = got, calls_of(case)
    assert wrong == {}


def calls_back(sdks: Clients, case: Case) -> list[Wire]:
    """The calls that a client gets who has offered these very tools."""
    question = {"model": "any", "input": words(case), "tools": [offer(call) for call in calls_of(case)]}
    response = (sdks.response_stream if case.stream else sdks.response)(question)
    return [essence(item) for item in response["output"] if item["type"] in CALLS]


def calls_of(case: Case) -> list[Wire]:
    """The calls of a recording; none if it failed."""
    if case.stream:
        told = streamed(events_of(case.body))[0]
        output = [] if told.failed else told.output
    else:
        output = json.loads(case.body).get("output") or []
    return [essence(item) for item in output if item["type"] in CALLS]


def essence(item: Wire) -> Wire:
    return {key: item[key] for key in ("type", "call_id", "namespace", "name", "arguments", "input") if item.get(key)}


def offer(call: Wire) -> Wire:
    """The tool that was called, as a client offers it."""
    kind = "custom" if call["type"] == "custom_tool_call" else "function"
    tool = {"type": kind, "name": call["name"], "description": "It does."}
    if kind == "function":
        tool |= {"parameters": {"type": "object", "properties": {}}, "strict": False}
    if "namespace" not in call:
        return tool
    return {"type": "namespace", "name": call["namespace"], "description": "Tools.", "tools": [tool]}
