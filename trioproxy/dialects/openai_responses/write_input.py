"""A conversation as the input of Responses: items, one for each thing that was thought, said, called or answered."""

from typing import Any

from trioproxy.dialects.carried import opened
from trioproxy.dialects.names import Names, kind_of
from trioproxy.dialects.openai.write_content import Parts, full_parts, is_text, texts, write_parts
from trioproxy.dialects.openai.write_options import drop
from trioproxy.dialects.openai.write_turns import (
    BLOCK,
    INTERRUPTED,
    SYSTEM,
    Round,
    aside,
    blocks_of,
    call_id,
    earlier_result,
    reminder,
    result_parts,
    rounds,
    spoken,
    system_text,
)
from trioproxy.dialects.openai_responses.hosts import Ways
from trioproxy.dialects.target import Target
from trioproxy.items import Block, Message, RedactedThinking, Request, Text, Thinking, ToolResult, ToolUse
from trioproxy.ledger import Ledger

__all__ = ["PARTS", "write_input", "write_output"]

Wire = dict[str, Any]  # an item as it goes out

PARTS = Parts(
    dialect="openai-responses",
    text=lambda text: {"type": "input_text", "text": text},
    # Who checks the input against the types of OpenAI's SDK wants the detail, though it has a default.
    image=lambda url: {"type": "input_image", "image_url": url, "detail": "auto"},
    file=lambda name, data: {"type": "input_file", "filename": name, "file_data": data},
    link=lambda url: {"type": "input_file", "file_url": url},
)


def write_input(request: Request, target: Target, ways: Ways, names: Names, ledger: Ledger) -> tuple[str, list[Wire]]:
    """The instructions, and the items. Raises `ProxyError` for what cannot be said."""
    writer = _Writer(target, ways, names, ledger)
    if request.system is not None:
        writer.head.append(system_text(request.system, "system[]", PARTS.dialect, ledger))
    for each in rounds(request, ledger):
        writer.write(each)
    if request.messages and request.messages[-1].role == "assistant":
        writer.finish_assistant()
    return "\n\n".join(text for text in writer.head if text.strip()), writer.finished()


def write_output(parts: list[Wire]) -> str | list[Wire]:
    """The output of a call: a list only if there is more than text in it, which not everybody takes."""
    return texts(parts) if all(map(is_text, parts)) else full_parts(parts)


class _Writer:
    def __init__(self, target: Target, ways: Ways, names: Names, ledger: Ledger) -> None:
        self._target, self._ways, self._names, self._ledger = target, ways, names, ledger
        self._items: list[Wire] = []
        self.head: list[str] = []  # what the instructions say

    def write(self, round: Round) -> None:
        self._assistant(round.blocks)
        parts = self._results(round)
        for message in round.others:
            if message.role in SYSTEM:
                self._user(parts)
                self._system(message)
            else:
                self._user(parts + [part for block in blocks_of(message.content) for part in self._said(block)])
            parts = []
        self._user(parts)

    def finished(self) -> list[Wire]:
        if all(item.get("role") in SYSTEM for item in self._items):
            self._items.append(_message("user", [PARTS.text(".")]))  # H053: an empty input is refused
            self._ledger.note("messages", 'nothing was said: "." is sent')
        return self._items

    def finish_assistant(self) -> None:
        """The conversation ends with the assistant: the beginning of an answer."""
        if self._items and (last := self._items[-1]).get("role") == "assistant":
            self._ledger.note("messages[-1]", "an answer's beginning may be taken for history")  # H057
            if "status" in last:
                last["status"] = "incomplete"  # vLLM goes on from such a one (its responses/utils.py)

    # ── the assistant's ─────────────────────────────────────────────────────────────────────────────────────────────

    def _assistant(self, blocks: tuple[Block, ...]) -> None:
        begun, text = len(self._items), ""
        for block in blocks if self._ways.ordered else sorted(blocks, key=_is_call):
            if isinstance(block, Text | ToolUse):
                drop(self._ledger, BLOCK, block.extra)
            if isinstance(block, Text) or spoken(block):
                text += spoken(block)  # H060
            elif item := self._item(block):
                self._words(text)
                self._items.append(item)
                text = ""
        self._words(text)
        while len(self._items) > begun and self._items[-1]["type"] == "reasoning":
            # "Item 'rs_…' of type 'reasoning' was provided without its required following item": the API
            self._ledger.note(f"{BLOCK}.thinking", "reasoning that nothing followed cannot go back")
            self._items.pop()

    def _words(self, text: str) -> None:
        """What the assistant said, if that is anything (H054)."""
        if not text.strip():
            return
        # One part: vLLM reads only the first. Some servers refuse it without annotations: BerriAI/litellm#35213.
        message = _message("assistant", [{"type": "output_text", "text": text, "annotations": []}])
        if self._ways.complete:
            message |= {"id": f"msg_{len(self._items)}", "status": "completed"}
        self._items.append(message)

    def _item(self, block: Block) -> Wire | None:
        """What the assistant thought or called; None for what cannot be said here."""
        if isinstance(block, ToolUse):
            arguments, name = block.input or "{}", self._names(block.name)
            return {"type": "function_call", "call_id": self._id(block.id), "name": name, "arguments": arguments}
        if isinstance(block, Thinking | RedactedThinking):
            return self._reasoning(block)
        self._ledger.note(f"{BLOCK}.type={kind_of(block)}", "an assistant's message cannot have it")
        return None

    def _reasoning(self, block: Thinking | RedactedThinking) -> Wire | None:
        """The item that the upstream itself made, as it was; else what can be told of it as text."""
        found = opened(block.signature if isinstance(block, Thinking) else block.data)
        ours = (
            found is not None
            and bool(found.block)
            and (found.dialect, found.provenance) == (PARTS.dialect, self._target.provenance)
        )
        if found and ours and found.block.get("type") == "reasoning" and self._ways.encrypted != "never":
            return {key: value for key, value in found.block.items() if value is not None}
        if isinstance(block, Thinking) and block.thinking.strip() and self._ways.reasoning == "replay":
            content = [{"type": "reasoning_text", "text": block.thinking}]
            return {"type": "reasoning", "id": f"rs_{len(self._items)}", "summary": [], "content": content}
        if ours:
            reason = "this host does not take encrypted reasoning back"
        elif found or isinstance(block, RedactedThinking) or block.signature:
            reason = "encrypted reasoning of another upstream"
        else:
            reason = "reasoning that is not signed"
        self._ledger.note(f"{BLOCK}.thinking", reason)
        return None

    # ── the others' ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _results(self, round: Round) -> list[Wire]:
        """Write the answers; what no result can hold is given back, for the user to say after them."""
        after: list[Wire] = []
        for call, result in round.answers:
            output: str | list[Wire] = INTERRUPTED
            if result is not None:
                said = result_parts(result, PARTS, self._ledger)
                if not self._ways.rich:
                    said = aside(said, call.name, after, PARTS, self._ledger)
                output = write_output(said)
            self._items.append({"type": "function_call_output", "call_id": self._id(call.id), "output": output})
        return after

    def _said(self, block: Block) -> list[Wire]:
        """A block of the user's as content parts."""
        if isinstance(block, ToolResult):
            return earlier_result(block, PARTS, self._ledger)
        return write_parts(block, BLOCK, PARTS, self._ledger)

    def _user(self, parts: list[Wire]) -> None:
        full = full_parts(parts)
        if not full:
            return
        last: Wire = self._items[-1] if self._items else {}
        if last.get("role") == "user" and self._ways.alternate:  # H055
            last["content"] += full
            return
        if last.get("type") == "function_call_output" and self._ways.bridge:
            self._words("Done.")
            self._ledger.note("messages[]", "this model wants a word of the assistant between a result and the user")
        self._items.append(_message("user", full))

    def _system(self, message: Message) -> None:
        """A system message in mid-conversation (H051); at its beginning it is a part of the system prompt."""
        text = system_text(message.content, BLOCK, PARTS.dialect, self._ledger)
        mode = self._ways.system_messages
        if not text.strip():
            return
        if mode == "keep" and self._items:
            self._items.append(_message(self._ways.system_role, [PARTS.text(text)]))
        elif mode == "hoist" or not self._items:
            self.head.append(text)
            if self._items:
                self._ledger.note("messages[].role=system", "moved to the front")
        else:
            self._ledger.note("messages[].role=system", "sent as the user's, in <system-reminder>")
            self._user([PARTS.text(reminder(text))])

    def _id(self, id: str) -> str:
        return call_id(id, self._ways.id_length, nine=self._ways.nine)


def _message(role: str, content: list[Wire]) -> Wire:
    return {"type": "message", "role": role, "content": content}


def _is_call(block: Block) -> bool:
    return isinstance(block, ToolUse)
