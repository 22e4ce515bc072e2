"""Tool calls and their results: each call answered once, in the very next turn (hazard H070).

Clients cut histories anywhere, repeat results, put a user's words in between, and count their ids anew in every turn.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from trioproxy.dialects.names import made_id, safe_id
from trioproxy.items import Block, Message, Text, ToolResult, ToolUse, replace
from trioproxy.ledger import Ledger

__all__ = ["paired"]

_RESULTS = "messages[] (tool results)"
_NONE = "[no result: the conversation does not have one]"


class _Call:
    """A call as it is written, and the result it has got, None until then."""

    def __init__(self, use: ToolUse) -> None:
        self.use = use
        self.result: ToolResult | None = None


class _Segment:
    """An assistant's turn, and what was said until the next one."""

    def __init__(self, turn: Message | None) -> None:
        self.turn = turn
        self.calls: list[_Call] = []
        self.answered: list[_Call] = []  # in the order in which the results came
        self.said: list[Message] = []


_Waiting = dict[str, tuple[_Segment, deque[_Call]]]


def paired(messages: Iterable[Message], ledger: Ledger) -> Iterator[Message]:
    """The turns, whose content are blocks, with every result directly after its call. Ids are made safe and unique."""
    segments = [_Segment(None)]
    waiting: _Waiting = {}  # by the client's id: the calls of the last turn that used it, the next to be answered first
    taken: set[str] = set()
    for message in messages:
        if message.role == "assistant":
            segments.append(_called(message, waiting, taken))
        else:
            segments[-1].said.append(_answered(message, segments[-1], waiting, ledger))
    for segment in segments:
        yield from _written(segment, ledger)


def _called(message: Message, waiting: _Waiting, taken: set[str]) -> _Segment:
    segment = _Segment(message)
    blocks: list[Block] = []
    for block in _blocks(message):
        if isinstance(block, ToolUse):
            if block.id not in waiting or waiting[block.id][0] is not segment:
                waiting[block.id] = (segment, deque())
            id = safe_id(block.id)
            while id in taken:  # an id may be given once in a request; some providers begin at 0 in every turn
                id = made_id(id, len(taken))
            taken.add(id)
            call = _Call(replace(block, id=id))
            waiting[block.id][1].append(call)
            segment.calls.append(call)
            blocks.append(call.use)
        else:
            blocks.append(block)
    segment.turn = replace(message, content=tuple(_calls_last(blocks)))
    return segment


def _calls_last(blocks: list[Block]) -> list[Block]:
    """With what was said after a call in front of it: to the API, results come directly after their calls. OpenAI's
    models speak between a call and its result (CLIProxyAPI's KeepsToolUseAdjacentToToolResult)."""
    first = next((index for index, block in enumerate(blocks) if isinstance(block, ToolUse)), len(blocks))
    late = [block for block in blocks[first:] if isinstance(block, Text)]
    return [*blocks[:first], *late, *(block for block in blocks[first:] if not isinstance(block, Text))]


def _answered(message: Message, here: _Segment, waiting: _Waiting, ledger: Ledger) -> Message:
    """The message without the results that have gone to their calls."""
    blocks: list[Block] = []
    for block in _blocks(message):
        if not isinstance(block, ToolResult):
            blocks.append(block)
        elif block.tool_use_id not in waiting:
            ledger.note(_RESULTS, "of a call that is not there: told as text")
            blocks += _as_text(block)
        else:
            segment, calls = waiting[block.tool_use_id]
            call = calls.popleft() if len(calls) > 1 else calls[0]
            if call.result is not None:
                ledger.note(_RESULTS, "a call can have one: the last stays")
            else:
                segment.answered.append(call)
                if segment is not here:
                    ledger.note(_RESULTS, "moved to directly after their calls")
            call.result = replace(block, tool_use_id=call.use.id)
    return replace(message, content=tuple(blocks))


def _blocks(message: Message) -> tuple[Block, ...]:
    assert isinstance(message.content, tuple)
    return message.content


def _as_text(result: ToolResult) -> list[Block]:
    content = result.content or ()
    blocks = (Text(text=content),) if isinstance(content, str) else content
    return [Text(text=f"[result of tool call {result.tool_use_id}]"), *blocks]


def _written(segment: _Segment, ledger: Ledger) -> Iterator[Message]:
    if segment.turn:
        yield segment.turn
    results: list[Block] = [call.result for call in segment.answered if call.result]
    for call in segment.calls:
        if call.result is None:
            ledger.note(_RESULTS, "missing ones were made up, as errors that say so")
            results.append(ToolResult(tool_use_id=call.use.id, content=_NONE, is_error=True))
    if results:
        yield Message("user", tuple(results))
    yield from segment.said
