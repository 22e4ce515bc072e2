"""What clients ask for beside answers: listings of models, counts of tokens, responses that were kept.

`endpoints` says what there is; here it is asked of the upstream, translated, or made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec
import trio
from msgspec.structs import replace

from trioproxy import tokens
from trioproxy.answering import Answering
from trioproxy.attempts import Attempt, Attempts
from trioproxy.config import Config, Route
from trioproxy.dialects import DIALECTS, Dialect, Model
from trioproxy.dialects.errors import read_error
from trioproxy.dialects.openai_responses.kept import KIND, read_kept, write_items
from trioproxy.dialects.peek import BAD_JSON, with_model
from trioproxy.endpoints import COUNT, MODELS, answered_here, kept_response, refusal, write_count
from trioproxy.ends import plain, readable, watched
from trioproxy.errors import ProxyError
from trioproxy.http.incoming import Incoming
from trioproxy.items import Error, Frame
from trioproxy.record import Record
from trioproxy.stage import Memory
from trioproxy.upstream import Asking

__all__ = ["Beside"]

_NOT_THERE = frozenset({404, 405, 501})  # what an upstream answers that has no listing, or no count


class Beside:
    """The answer to one request that asks for no answer of a model."""

    def __init__(self, config: Config, incoming: Incoming, record: Record, answering: Answering) -> None:
        self._config, self._incoming, self._record, self._answering = config, incoming, record, answering

    async def answered(self, attempts: Attempts, route: Route, path: str, memory: Memory | None) -> bool:
        """Answer a request for `path`, below the prefix of `route`; False if it is for the upstream, as it is.

        `attempts` are for asking upstreams, of which `route` has the first; `memory` is what is kept for this client.
        Raises `ProxyError` for what is not served.
        """
        incoming, speaks = self._incoming, DIALECTS[route.upstream.dialect]
        method, path = incoming.method, path.rstrip("/") or "/"
        asker = self._answering.dialect or speaks
        lists, counts = method == "GET" and (path == MODELS or path.startswith(f"{MODELS}/")), path == COUNT
        counts = counts and method == "POST"
        if (body := answered_here(method, path, speaks)) is not None:
            await incoming.body()
            await self._answering.give(b"" if method == "HEAD" else body)
        elif lists and (asker is not speaks or route.renames):
            await incoming.body()  # there should be none, and what is not read hides whether the client is there
            await self._watched(self._models, attempts, path, asker)
        elif counts and (asker is not speaks or route.response or route.renames):
            body = await incoming.body()
            await self._watched(self._count, attempts, path, body)
        elif kept := kept_response(method, path, speaks):
            await incoming.body()
            await self._watched(self._response, method, *kept, memory)
        elif error := refusal(method, path, asker, speaks):
            raise ProxyError(error)
        else:
            return False
        return True

    async def _watched(self, answer: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Answer for as long as the client is there."""
        async with watched(self._incoming):
            await answer(*arguments)

    async def _models(self, attempts: Attempts, path: str, asker: Dialect) -> None:
        """A listing in the caller's dialect, under the names that lead somewhere (hazard H152)."""
        async for attempt in attempts:
            async with attempt:
                route = attempt.route
                models = await self._upstreams_models(attempt)
        if route.upstream.model:
            models = [model for model in models if model.id == route.upstream.model]  # all others lead to it
        models += _own(route, models)
        listed = route.models.listed(models)
        name = unquote(path.removeprefix(MODELS).lstrip("/"))
        if not name:
            await self._answering.give(asker.write_models(listed))
            return
        found = next((model for model in listed if model.id == name), None)
        if found is None and route.asked(name) in {model.id for model in models}:
            found = Model(name)  # a name that a pattern leads somewhere
        if found is None:
            raise ProxyError(Error("not_found", f"there is no model {name[:80]!r} here; GET {MODELS} lists them", 404))
        await self._answering.give(asker.write_model(found))

    async def _upstreams_models(self, attempt: Attempt) -> list[Model]:
        """What the upstream lists. Where it cannot, what the file names must do; why is told if it names nothing."""
        route = attempt.route
        try:
            with await attempt.ask(Asking(path=MODELS, cross=True, readable=True), length=0) as reply:
                await reply.end(b"")
                status = await reply.head()
                await attempt.judge(status, reply.headers)
                body = plain(reply.headers, await reply.read(self._config.limits.event))
            if status == 200:
                return DIALECTS[route.upstream.dialect].read_models(body)
            if status not in _NOT_THERE:
                error = read_error(status, body)
                error.read_from(Frame(body, whole=True))  # these words are the upstream's
                raise ProxyError(error)
        except ProxyError:
            if not _own(route, []):
                raise
        except BAD_JSON:
            pass
        return []

    async def _count(self, attempts: Attempts, path: str, body: bytes) -> None:
        """The upstream's own count of a request's tokens if it has one, else an estimate (hazard H154)."""
        dialect = DIALECTS["anthropic"]
        came, body = body, readable(self._incoming.headers, body, self._config.limits.body)
        async for attempt in attempts:
            async with attempt:
                route = attempt.route
                if route.upstream.dialect == dialect.name:
                    asking = Asking(path=path, decoded=body is not came)
                    if await self._counted(attempt, asking, body):
                        return
        self._record.upstream = ""
        request = dialect.read_request(body)
        request = replace(request, model=route.asked(request.model))
        # In a thread: loading the tokenizer takes the better part of a second, in which no stream may stand still.
        counted = await trio.to_thread.run_sync(partial(tokens.count, request, exact=True), abandon_on_cancel=True)
        await self._answering.give(write_count(counted))

    async def _counted(self, attempt: Attempt, asking: Asking, body: bytes) -> bool:
        """Whether the upstream has counted, and the client has its answer."""
        peek = DIALECTS["anthropic"].peek(body)
        asked = attempt.route.asked(peek.model) if peek else ""
        sent = with_model(body, asked) if peek and asked != peek.model else body
        with await attempt.ask(asking, length=len(sent)) as reply:
            await reply.end(sent)
            status = await reply.head()
            await attempt.judge(status, reply.headers)
            if status in _NOT_THERE:
                return False
            await self._answering.pass_through(status, reply)
            return True

    async def _response(self, method: str, id: str, part: str, memory: Memory | None) -> None:
        """A response that `remember-responses` has kept."""
        found = await memory.recall(KIND, [id]) if memory else {}
        if (kept := read_kept(found.get(id, b""))) is None or memory is None:
            hint = (
                "they are kept where a route's response stages have remember-responses, each for its client and session"
            )
            raise ProxyError(Error("not_found", f"Response with id {id[:80]!r} not found: {hint}", 404))
        if method == "DELETE":
            await memory.keep(KIND, {id: b""})
            gone = {"id": id, "object": "response", "deleted": True}
            await self._answering.give(msgspec.json.encode(gone))
        else:
            await self._answering.give(write_items(kept) if part else msgspec.json.encode(kept.response))


def _own(route: Route, models: list[Model]) -> list[Model]:
    """The models that the file itself names, as far as the upstream does not."""
    named = [route.upstream.model, *(name for name in route.models.aliases.values() if "*" not in name)]
    known = {model.id for model in models}
    return [Model(name) for name in dict.fromkeys(named) if name and name not in known]
