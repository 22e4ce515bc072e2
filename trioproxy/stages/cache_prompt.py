"""requests → requests: ask Anthropic to cache what a conversation begins with, for clients of OpenAI's dialects.

OpenAI caches prompts unasked, so its clients ask for nothing; Anthropic caches what is marked. A mark on the whole
request is one on its last block, and the next request of the conversation finds all before it. Writing to the cache
costs a quarter more, reading from it a tenth: it pays from the second request on, as in any loop of tools. Source:
platform.claude.com/docs/en/build-with-claude/prompt-caching, "Automatic caching".
"""

from collections.abc import Iterable
from typing import Literal

from trioproxy.items import Block, Request, ToolResult, replace
from trioproxy.stage import Stage

__all__ = ["CachePrompt"]

_MARK = "cache_control"


class CachePrompt(Stage[Request, Request]):
    """Ask Anthropic to cache each conversation for `ttl`, for clients that cannot say so: OpenAI's.

    Marks that a client has set itself stand alone.
    """

    clients = frozenset({"openai-chat", "openai-responses"})
    upstreams = frozenset({"anthropic"})

    def __init__(self, *, ttl: Literal["5m", "1h"] = "5m") -> None:
        self._mark = {"type": "ephemeral"} | ({"ttl": ttl} if ttl != "5m" else {})

    def feed(self, request: Request, /) -> Iterable[Request]:
        marked = _MARK in request.extra or any(_MARK in tool for tool in request.tools) or _is_marked(request)
        return (request if marked else replace(request, extra=request.extra | {_MARK: self._mark}),)


def _is_marked(request: Request) -> bool:
    contents = [request.system, *(message.content for message in request.messages)]
    return any(_marks(block) for content in contents if isinstance(content, tuple) for block in content)


def _marks(block: Block) -> bool:
    inner = block.content if isinstance(block, ToolResult) and isinstance(block.content, tuple) else ()
    return _MARK in block.extra or any(_MARK in each.extra for each in inner)
