"""Every recorded refusal of the corpus, through trioproxy, to the official SDKs: each dialect's to each kind of client.

A client must see the status and the message of the provider, in the words of its own dialect (M3.8); and in its own
dialect nothing else than what the provider said.
"""

from __future__ import annotations

import json
from functools import partial

import pytest
import trio

from tests.corpus import Case, cases

from .recorded import playing, words
from .said import DIALECTS, Dialect
from .sdks import REFUSALS, Clients, clients

COUNTS = {"anthropic": 8, "openai-chat": 17, "openai-responses": 11}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("provider", DIALECTS)
async def test_every_recorded_refusal(provider: Dialect, client: Dialect) -> None:
    refusals = [case for case in cases(provider) if case.status >= 400]
    assert len(refusals) == COUNTS[provider]
    wrong = {}
    async with playing(provider, refusals) as port:
        with clients(port) as sdks:
            for case in refusals:
                faults = await trio.to_thread.run_sync(partial(judged, sdks, case, client, same=client == provider))
                if faults:
                    wrong[case.id] = faults
    assert wrong == {}


def judged(sdks: Clients, case: Case, client: Dialect, *, same: bool) -> list[str]:
    """What is wrong with what a client gets of a refusal."""
    try:
        sdks.ask(client, words(case), asked="stream" if case.stream else "whole")
    except REFUSALS as exc:
        found = [] if exc.status_code == case.status else [f"{case.status} became {exc.status_code}"]
        if same:
            return found if exc.response.content == case.body else [*found, f"it became {exc.response.content!r}"]
        message = json.loads(exc.response.content)["error"]["message"]
        said = json.loads(case.body)["error"]["message"] if case.body else ""
        if said not in message or not message:
            found.append(f"{said!r} became {message!r}")
        return found
    return ["it was an answer"]
