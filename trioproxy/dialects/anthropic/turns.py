"""Turns of any conversation, made ones that Anthropic's API takes.

It wants to begin with the user, roles that take turns, no text without a visible character, every tool call answered
at once, and kinds of blocks only where they belong. Everything that had to change is noted.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby

import msgspec

from trioproxy.dialects.anthropic.abilities import Abilities
from trioproxy.dialects.anthropic.pairs import paired
from trioproxy.dialects.names import kind_of
from trioproxy.dialects.target import Target
from trioproxy.errors import ProxyError
from trioproxy.items import (
    Block,
    Error,
    Extra,
    Image,
    Message,
    OtherBlock,
    RedactedThinking,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    replace,
)
from trioproxy.ledger import Ledger

__all__ = ["turns"]

Content = str | tuple[Block, ...]

# What stands in whose turn; of `OtherBlock`, documents.
_PLACES: dict[str, tuple[type[Block], ...]] = {
    "user": (Text, Image, ToolResult, OtherBlock),
    "assistant": (Text, Thinking, RedactedThinking, ToolUse),
    "system": (Text,),
}
_OPENING = "."  # where there is no word of the user's, and there must be one
_CONTINUE = "Continue."


def turns(request: Request, able: Abilities, target: Target, ledger: Ledger) -> Request:
    """The request with a system and messages that the API takes."""
    system = list(_clean("system", request.system or (), ledger))
    messages: list[Message] = []
    for message in request.messages:
        if message.role not in _PLACES:
            said = f"messages[].role: Anthropic has no {message.role[:40]!r}"
            raise ProxyError(Error("invalid_request", said, 400))
        content = tuple(_clean(message.role, message.content, ledger))
        if message.role == "system" and (policy := target.system_messages or "hoist") != "keep":
            if content:
                ledger.note("messages[role=system]", _POLICIES[policy])
            if policy == "hoist":
                system += content
                continue
            messages.append(Message("user", tuple(map(_reminder, content))))
        else:
            messages.append(Message(message.role, content, thought=message.thought))
    whole = list(_merged(paired(_merged(messages), ledger)))
    whole = [each for each in (_ended(message, ledger) for message in whole) if each.content]
    whole = list(_merged(whole))
    _open(whole, ledger)
    _close(whole, able, request.extra, ledger)
    return replace(request, system=_plain(tuple(system)) or None, messages=tuple(map(_simple, whole)))


_POLICIES = {
    "hoist": "approximated: moved to the front, where all system text stands",
    "user": "approximated: told as the user's <system-reminder>",
}


def _reminder(block: Block) -> Block:
    assert isinstance(block, Text)
    return replace(block, text=f"<system-reminder>\n{block.text}\n</system-reminder>")


def _clean(role: str, content: Content, ledger: Ledger) -> Iterator[Block]:
    """The blocks that may stand in a turn of `role`; of their extra fields, the one Anthropic knows."""
    for block in (Text(text=content),) if isinstance(content, str) else content:
        kind = kind_of(block)
        if not isinstance(block, _PLACES[role]) or (isinstance(block, OtherBlock) and kind != "document"):
            ledger.note(f"messages[role={role}].content[] ({kind})", "has no place there")
        elif isinstance(block, Text):
            if block.text.strip():  # the API refuses others (H054)
                yield _bare(block)
        elif isinstance(block, Thinking):
            if block.signature:
                yield _unmarked(block)
            else:
                ledger.note("messages[].content[] (thinking)", "not signed")
        elif isinstance(block, RedactedThinking):
            yield _unmarked(block)
        elif isinstance(block, ToolResult):
            yield _result(block, ledger)
        elif isinstance(block, ToolUse):
            yield _bare(replace(block, input=_object(block.input)))
        elif isinstance(block, OtherBlock):
            yield block
        else:
            yield _bare(block)


def _unmarked(block: Block) -> Block:
    """Thinking as it was, whatever it has to it; but a cache mark on it is refused (H078)."""
    if "cache_control" not in block.extra:
        return block
    return replace(block, extra={key: value for key, value in block.extra.items() if key != "cache_control"})


def _bare(block: Block) -> Block:
    if not block.extra:
        return block
    mark = block.extra.get("cache_control")
    return replace(block, extra={"cache_control": mark} if isinstance(mark, dict) else {})


def _result(result: ToolResult, ledger: Ledger) -> Block:
    content = result.content
    if content is not None:
        content = _plain(tuple(_clean("user", content, ledger))) or None
    if content is None and result.is_error:
        content = "[an error without a message]"  # "content cannot be empty if is_error is true"
    return _bare(replace(result, content=content))


def _object(input: str) -> str:
    """The input itself if it is the text of an object, as it is from our readers."""
    try:
        value = msgspec.json.decode(input or "{}")
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode({"unparsed_arguments": input}).decode()
    return (input or "{}") if isinstance(value, dict) else msgspec.json.encode({"input": value}).decode()


def _merged(messages: Iterable[Message]) -> Iterator[Message]:
    """Neighbours of one role as one turn, their blocks in order; none that is empty (H055)."""
    for _, group in groupby((each for each in messages if each.content), key=lambda message: message.role):
        first, *others = group
        content = chain(first.content, *(each.content for each in others))
        yield replace(first, content=tuple(content)) if others else first


def _ended(message: Message, ledger: Ledger) -> Message:
    """An assistant's turn may not end in thinking."""
    content = message.content
    if not (message.role == "assistant" and isinstance(content[-1], Thinking | RedactedThinking)):
        return message
    ledger.note("messages[].content[] (thinking)", "nothing was said after it")
    kept = len(content)
    while kept and isinstance(content[kept - 1], Thinking | RedactedThinking):
        kept -= 1
    return replace(message, content=content[:kept])


def _open(messages: list[Message], ledger: Ledger) -> None:
    """H053, H056: a conversation that is empty or sliced still has to begin with the user."""
    if not messages or messages[0].role != "user":
        ledger.note("messages[0]", f"the user has to begin: {_OPENING!r} was put there")
        messages.insert(0, Message("user", (Text(text=_OPENING),)))


def _close(messages: list[Message], able: Abilities, extra: Extra, ledger: Ledger) -> None:
    """H057: an answer begun for the model is continued by older ones, and refused by others and by those that think.

    To OpenAI's models it is history and a new answer follows, so the user's asking for one comes closest.
    """
    last = messages[-1]
    if last.role != "assistant":
        return
    thinks = able.thinking != "none" and extra.get("thinking", {}).get("type", "disabled") != "disabled"
    if not able.prefill or thinks:
        ledger.note("messages[-1]", f"this model does not continue an answer: {_CONTINUE!r} of the user's was added")
        messages.append(Message("user", (Text(text=_CONTINUE),)))
        return
    assert isinstance(last.content, tuple)
    *others, end = last.content
    if isinstance(end, Text):  # it never is a tool call: that has its result behind it
        # "final assistant content cannot end with trailing whitespace"
        messages[-1] = replace(last, content=(*others, replace(end, text=end.text.rstrip())))


def _plain(content: tuple[Block, ...]) -> Content:
    """One text without more to it as the string it is."""
    if len(content) == 1 and isinstance(content[0], Text) and not content[0].extra:
        return content[0].text
    return content


def _simple(message: Message) -> Message:
    assert isinstance(message.content, tuple)
    return replace(message, content=_plain(message.content))
