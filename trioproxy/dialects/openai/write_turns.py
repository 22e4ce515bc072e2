"""A conversation in Anthropic's turns, taken apart as OpenAI's dialects need it.

Anthropic's are turns of the user and of the assistant by turns, tool results among what the user says. OpenAI's
dialects have a message or an item for each result, directly after the calls. So a conversation is read as rounds: what
the assistant says, the answers to its calls, and all that others say until the assistant's next turn.
"""

from base64 import b32encode
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby

import msgspec

from trioproxy.dialects.names import kind_of, restored_id
from trioproxy.dialects.openai.told import refusal, shown
from trioproxy.dialects.openai.write_content import Parts, Wire, is_text, refused, write_parts
from trioproxy.dialects.openai.write_options import drop
from trioproxy.items import Block, Message, OtherBlock, Request, Text, ToolResult, ToolUse, replace
from trioproxy.ledger import Ledger

__all__ = [
    "BLOCK", "INTERRUPTED", "SYSTEM", "Round", "aside", "blocks_of", "call_id", "earlier_result", "reminder",
    "result_parts", "rounds", "spoken", "system_text",
]  # fmt: skip

BLOCK = "messages[].content[]"
SYSTEM = {"system", "developer"}
INTERRUPTED = "[no result: the call was interrupted]"


class Round(msgspec.Struct, frozen=True):
    """One turn of the assistant, and what follows it."""

    blocks: tuple[Block, ...] = ()
    """What the assistant said and called; every call has an id of its own."""
    answers: tuple[tuple[ToolUse, ToolResult | None], ...] = ()
    """The calls in their order, each with its result; None for one that has none (H070)."""
    others: tuple[Message, ...] = ()
    """What was said until the assistant's next turn, without the results in `answers`."""


def rounds(request: Request, ledger: Ledger) -> list[Round]:
    """The conversation. Only the first round may be without the assistant."""
    found: list[Round] = []
    messages = [_checked(message, ledger) for message in request.messages]
    for from_assistant, group in groupby(messages, key=lambda message: message.role == "assistant"):
        if from_assistant:
            blocks = _with_unique_calls([block for message in group for block in blocks_of(message.content)], ledger)
            calls = tuple((block, None) for block in blocks if isinstance(block, ToolUse))
            found.append(Round(blocks, calls))
        else:
            found.append(_answered(found.pop() if found else Round(), list(group), ledger))
    for call in (call for each in found for call, result in each.answers if result is None):
        ledger.note(f"{BLOCK}.type={kind_of(call)}", "a call without a result is answered as interrupted")
    return found


def _checked(message: Message, ledger: Ledger) -> Message:
    if message.role not in {"user", "assistant", *SYSTEM}:
        raise refusal(f"messages[].role: expected user, assistant or system, got {shown(message.role)}")
    drop(ledger, "messages[]", {key: message.extra[key] for key in message.extra if key not in {"role", "content"}})
    return message


def _with_unique_calls(blocks: list[Block], ledger: Ledger) -> tuple[Block, ...]:
    ids = set[str]()
    kept: list[Block] = []
    for block in blocks:
        if isinstance(block, ToolUse):
            if block.id in ids:
                ledger.note(f"{BLOCK}.id", "two calls of one turn had the same id: the first stays")
                continue
            ids.add(block.id)
        kept.append(block)
    return tuple(kept)


def _answered(before: Round, others: list[Message], ledger: Ledger) -> Round:
    """The round with what was said after its calls, the answers to them taken out."""
    calls = {call.id for call, _ in before.answers}
    results: dict[str, ToolResult] = {}  # of several for one call the last counts
    rest: list[Message] = []
    for message in others:
        blocks = tuple(blocks_of(message.content))
        answers = [block for block in blocks if isinstance(block, ToolResult) and block.tool_use_id in calls]
        for result in answers:
            if result.tool_use_id in results:
                ledger.note(f"{BLOCK}.tool_use_id", "several results of one call: the last is sent")
            results[result.tool_use_id] = result
        left = tuple(block for block in blocks if not isinstance(block, ToolResult) or block.tool_use_id not in calls)
        rest.append(replace(message, content=left))
    # In the order of the calls: some chat templates print no ids, and Claude Code sends what is done first, first.
    return Round(before.blocks, tuple((call, results.get(call.id)) for call, _ in before.answers), tuple(rest))


def blocks_of(content: str | tuple[Block, ...] | None) -> Iterator[Block]:
    if isinstance(content, str):
        yield Text(content)
    else:
        yield from map(_mended, content or ())


def _mended(block: Block) -> Block:
    """A tool's call or result that did not read as one: what there is of it, since its other half waits (H070)."""
    match block:
        case OtherBlock(kind="tool_use", extra={"id": str(id), **rest}):
            name, arguments = rest.get("name"), msgspec.json.encode(rest.get("input", {})).decode()
            return ToolUse(id=id, name=name if isinstance(name, str) else "", input=arguments)
        case OtherBlock(kind="tool_result", extra={"tool_use_id": str(id), **rest}):
            content = rest.get("content")
            text = "" if content is None else msgspec.json.encode(content).decode()
            return ToolResult(tool_use_id=id, content=text, is_error=rest.get("is_error") is True)
    return block


def spoken(block: Block) -> str:
    """What the assistant said; a summary that stands for the conversation's beginning too."""
    if isinstance(block, Text):
        return block.text
    content = block.extra.get("content") if isinstance(block, OtherBlock) and block.kind == "compaction" else None
    return content if isinstance(content, str) else ""


_CHANGES = {"tool_addition", "tool_removal"}  # which `offered_tools` reads


def system_text(content: str | tuple[Block, ...], path: str, dialect: str, ledger: Ledger) -> str:
    said = []
    for block in blocks_of(content):
        if isinstance(block, Text):
            drop(ledger, path, block.extra)
            said.append(block.text)
        elif not isinstance(block, OtherBlock) or block.kind not in _CHANGES:
            raise refused(f"a block of type {shown(kind_of(block))} in a system prompt", dialect)  # H052
    return "".join(said)  # H060


def reminder(text: str) -> str:
    """What a system message says, in the mouth of the user (H051)."""
    wrapped = text.lstrip().startswith("<system-reminder>")
    return text if wrapped else f"<system-reminder>\n{text}\n</system-reminder>"


def call_id(id: str, limit: int, *, nine: bool = False) -> str:
    """The id of a call as an upstream takes it: what it said itself, unless that was another one (H064).

    At most `limit` characters; `nine` is whether it must be nine letters and digits.
    """
    id = restored_id(id)
    digest = sha256(id.encode(errors="surrogatepass")).digest()
    if nine:
        return id if len(id) == 9 and id.isascii() and id.isalnum() else b32encode(digest)[:9].decode()
    return id if 0 < len(id) <= limit else f"call_{digest.hex()[:32]}"


# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def result_parts(result: ToolResult, parts: Parts, ledger: Ledger) -> list[Wire]:
    """All that a tool's result says."""
    drop(ledger, BLOCK, result.extra)
    said = [parts.text("[tool error] ")] if result.is_error else []  # H061
    for block in blocks_of(result.content):
        said += write_parts(block, f"{BLOCK}.content[]", parts, ledger)
    return said


def aside(said: list[Wire], name: str, after: list[Wire], parts: Parts, ledger: Ledger) -> list[Wire]:
    """The text of what the tool `name` said, for a result that can only be text.

    Its pictures and files go to `after`, each behind a title, for the user to say (H062).
    """
    kept: list[Wire] = []
    for part in said:
        if is_text(part):
            kept.append(part)
            continue
        ledger.note(f"{BLOCK}.content[]", "pictures and files follow in a message of the user")
        kind = "file" if part["type"].endswith("file") else "image"
        number = 1 + len(after) // 2
        kept.append(parts.text(("\n" if kept else "") + f"[{kind} {number}: see the next message]"))
        after += [parts.text(f"[{kind} {number}, from the result of {name}]"), part]
    return kept


def earlier_result(result: ToolResult, parts: Parts, ledger: Ledger) -> list[Wire]:
    """A result whose call is not in the turn before, in the words of the user."""
    ledger.note(f"{BLOCK}.type=tool_result", "its call is not in the turn before: sent as the user's text")
    after: list[Wire] = []
    said = aside(result_parts(result, parts, ledger), "a tool", after, parts, ledger)
    return [parts.text("[result of an earlier tool call]\n"), *said, *after]
