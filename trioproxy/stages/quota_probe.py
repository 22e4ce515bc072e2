"""requests → requests, or events in answer: answer Claude Code's quota probe here.

Before it begins, Claude Code asks any model for one token in answer to `quota`, only to read the headers of the answer.
Real requests for one token look nearly the same (cache warm-ups, checks of a model's name, counts with all tools): they
must reach the upstream (hazard H155).
"""

import re
from collections.abc import Iterable

from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Request,
    Text,
    TextDelta,
    Usage,
)
from trioproxy.stage import Stage

__all__ = ["QuotaProbe"]

_BILLING = re.compile(r"(?:x-anthropic-billing-header:[^\r\n]*)?", re.IGNORECASE)  # hazard H121
_USAGE = Usage(input_tokens=8, output_tokens=1)  # what Anthropic's API counts for this very request


class QuotaProbe(Stage[Request, Request | Event]):
    """Answer Claude Code's quota probe here: one token for the single message `quota`, and nothing else.

    Whatever has tools, a system prompt, another message or more than one token to give goes to the upstream.
    """

    clients = frozenset({"anthropic"})  # nobody but Claude Code sends it

    def feed(self, request: Request, /) -> Iterable[Request | Event]:
        return _answer(request.model) if _is_probe(request) else (request,)


def _is_probe(request: Request) -> bool:
    if request.max_tokens != 1 or request.tools or len(request.messages) != 1:
        return False
    [message] = request.messages
    asked = _text(message.content) if message.role == "user" else None
    system = _text(request.system or "")
    return asked is not None and asked.strip().lower() == "quota" and system is not None and _is_nothing(system)


def _is_nothing(system: str) -> bool:
    """Whether a system prompt says nothing to the model: it is empty, or Claude Code's billing line."""
    return _BILLING.fullmatch(system.strip()) is not None


def _text(content: str | tuple[Block, ...]) -> str | None:
    """The text that is the whole of `content`; None if it is anything but one text."""
    match content:
        case str():
            return content
        case (Text(text=text),):
            return text
    return None


def _answer(model: str) -> list[Event]:
    """What the API says: one token, and that it had to stop there."""
    return [
        MessageStart("msg_quota_probe", model, _USAGE),
        BlockStart(0, Text()),
        TextDelta(0, "I"),
        BlockStop(0),
        MessageDelta("max_tokens", usage=_USAGE),
        MessageStop(),
    ]
