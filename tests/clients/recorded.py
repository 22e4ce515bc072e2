"""An upstream that answers with the recording that it is asked for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.corpus import Case
from tests.peers import Line, proxy, upstream

from .said import Dialect

PIECE = 997  # bytes of a write: few enough to cut through events anywhere


def words(case: Case) -> str:
    """What a client says who wants this recording."""
    return f"recording {case.id}"


@asynccontextmanager
async def playing(provider: Dialect, cases: Iterable[Case]) -> AsyncIterator[int]:
    """The port of a proxy in front of an upstream of this dialect that knows these recordings."""
    known = {case.id: case for case in cases}

    async def plays(line: Line) -> None:
        found = re.search(rb"recording ([\w.-]+)", line.asked.body)
        assert found
        case = known[found[1].decode()]
        if not case.stream or case.status != 200:
            await line.whole(case.body, status=case.status)
            return
        await line.head()
        for at in range(0, len(case.body), PIECE):
            await line.chunk(case.body[at : at + PIECE])
        await line.end()

    async with upstream(plays) as up, proxy(up.toml().replace('"anthropic"', f'"{provider}"')) as port:
        yield port
