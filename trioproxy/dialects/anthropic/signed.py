"""Thinking that a client has carried here from another upstream, or through another dialect: whose is it?

A signature as Anthropic's API gives it is left alone. One of ours (`dialects.carried`) tells where it is from: what the
upstream itself has signed goes back as it was, and what others have is left out, as the API would refuse the request
(hazard H075).
"""

from collections.abc import Iterable, Iterator

from trioproxy.dialects.anthropic.blocks import read_block
from trioproxy.dialects.carried import TAG, opened
from trioproxy.dialects.target import Target
from trioproxy.items import Block, Message, RedactedThinking, Request, Thinking, ToolResult, replace
from trioproxy.ledger import Ledger

__all__ = ["own_thinking"]


def own_thinking(request: Request, target: Target, ledger: Ledger) -> Request:
    """The request without the thinking of other upstreams; the very same object if nothing had to change."""
    messages = tuple(_own(message, target, ledger) for message in request.messages)
    if all(new is old for new, old in zip(messages, request.messages, strict=True)):
        return request
    whole = _marked(request.messages, messages)
    return replace(request, messages=tuple(each for each in whole if each.content))


def _own(message: Message, target: Target, ledger: Ledger) -> Message:
    if isinstance(message.content, str) or not any(map(_seal, message.content)):
        return message
    content = tuple(block for each in message.content if (block := _opened(each, target, ledger)))
    return replace(message, content=content, thought=len(content) == len(message.content))


def _marked(before: Iterable[Message], after: Iterable[Message]) -> Iterator[Message]:
    """The messages `after`, with `Message.thought` set where one before it in the same turn has brought its thinking.

    Who carries some carries all, and models that do not interleave have none behind the first call of a turn.
    """
    role, carries = "", False
    for old, new in zip(before, after, strict=True):
        if new.role == "assistant":
            carries = new.thought or (carries and new is old)
        elif role == "assistant" and not any(isinstance(block, ToolResult) for block in new.content):
            carries = False  # another turn
        role = new.role
        yield replace(new, thought=True) if carries and role == "assistant" and not new.thought else new


def _seal(block: Block) -> str:
    """What of ours stands in a block's opaque field; empty if nothing does."""
    match block:
        case Thinking(signature=text) | RedactedThinking(data=text) if text.startswith(TAG):
            return text
    return ""


def _opened(block: Block, target: Target, ledger: Ledger) -> Block | None:
    if not (text := _seal(block)):
        return block
    found = opened(text)
    if found and (found.dialect, found.provenance) == ("anthropic", target.provenance):
        return read_block(found.block)
    ledger.note("messages[].content[].thinking", "another upstream or model has thought it")
    return None
