"""A conversation as the messages of Chat Completions.

A tool's result is a message of its own here, directly after the assistant's that called it.
"""

from typing import Any

from trioproxy.dialects.names import Names, kind_of
from trioproxy.dialects.openai.write_content import texts, write_parts
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
from trioproxy.dialects.openai_chat.hosts import Ways
from trioproxy.dialects.openai_chat.write_content import PARTS, joined
from trioproxy.items import Block, Message, RedactedThinking, Request, Text, Thinking, ToolResult, ToolUse
from trioproxy.ledger import Ledger

__all__ = ["write_messages"]

Wire = dict[str, Any]  # a message as it goes out
Content = str | list[Wire]  # of one


def write_messages(request: Request, ways: Ways, names: Names, ledger: Ledger, postscript: str = "") -> list[Wire]:
    """The messages; `postscript` ends the system prompt. Raises `ProxyError` for what cannot be said."""
    writer = _Writer(ways, names, ledger)
    if request.system is not None:
        writer.head.append(system_text(request.system, "system[]", PARTS.dialect, ledger))
    for each in rounds(request, ledger):
        writer.write(each)
    if request.messages and request.messages[-1].role == "assistant":
        writer.finish_assistant()
    return writer.finished(postscript)


class _Writer:
    def __init__(self, ways: Ways, names: Names, ledger: Ledger) -> None:
        self._ways, self._names, self._ledger = ways, names, ledger
        self._messages: list[Wire] = []
        self._merged: list[tuple[Wire, list[Content]]] = []  # the user's messages that several were made
        self.head: list[str] = []  # what the leading system message says

    def write(self, round: Round) -> None:
        if round.blocks:
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

    def finished(self, postscript: str) -> list[Wire]:
        for message, contents in self._merged:
            message["content"] = _all(contents)
        if all(message["role"] == "system" for message in self._messages):
            self._messages.append({"role": "user", "content": "."})  # H053: chat templates want a user
            self._ledger.note("messages", 'nothing was said: "." is sent')
        head = "\n\n".join(text for text in [*self.head, postscript] if text.strip())
        return [{"role": "system", "content": head}, *self._messages] if head else self._messages

    def finish_assistant(self) -> None:
        """The conversation ends with the assistant: the beginning of an answer."""
        if self._messages and (last := self._messages[-1])["role"] == "assistant":
            self._ledger.note("messages[-1]", "an answer's beginning may be taken for history")  # H057
            if self._ways.prefix:
                last["prefix"] = True

    def _assistant(self, blocks: tuple[Block, ...]) -> None:
        text = "".join(map(spoken, blocks))  # H060
        calls = [self._call(block) for block in blocks if isinstance(block, ToolUse)]
        for block in blocks:
            self._note_loss(block)
        thinking = "".join(block.thinking for block in blocks if isinstance(block, Thinking))
        if not calls and not text.strip():  # H054
            if thinking:
                self._ledger.note(f"{BLOCK}.thinking", "a turn of thinking alone cannot be said")
            return
        message: Wire = {"role": "assistant", "content": text if text.strip() else None}
        if thinking and self._ways.reasoning == "replay":  # H073: and never a placeholder
            message["reasoning_content"] = thinking
        if calls:
            message["tool_calls"] = calls
        self._messages.append(message)

    def _call(self, call: ToolUse) -> Wire:
        function = {"name": self._names(call.name), "arguments": call.input or "{}"}
        return {"id": self._id(call.id), "type": "function", "function": function}

    def _note_loss(self, block: Block) -> None:
        if isinstance(block, Text | ToolUse):
            drop(self._ledger, BLOCK, block.extra)
        elif isinstance(block, Thinking) and self._ways.reasoning == "replay":
            pass  # its signature means nothing to others
        elif isinstance(block, Thinking | RedactedThinking):
            self._ledger.note(f"{BLOCK}.thinking", "this host does not take thinking back")
        elif not spoken(block):
            self._ledger.note(f"{BLOCK}.type={kind_of(block)}", "an assistant's message cannot have it")

    def _results(self, round: Round) -> list[Wire]:
        """Write the answers; what no tool message can hold is given back, for the user to say after them."""
        after: list[Wire] = []
        for call, result in round.answers:
            content = INTERRUPTED
            if result is not None:
                said = result_parts(result, PARTS, self._ledger)
                content = texts(aside(said, call.name, after, PARTS, self._ledger))
            self._messages.append({"role": "tool", "tool_call_id": self._id(call.id), "content": content})
        return after

    def _said(self, block: Block) -> list[Wire]:
        """A block of the user's as content parts."""
        if isinstance(block, ToolResult):
            return earlier_result(block, PARTS, self._ledger)
        return write_parts(block, BLOCK, PARTS, self._ledger)

    def _user(self, parts: list[Wire]) -> None:
        content = joined(parts, self._ways)
        if not content:
            return
        last: Wire = self._messages[-1] if self._messages else {"role": ""}
        if last["role"] == "user" and self._ways.alternate:  # H055
            if not self._merged or self._merged[-1][0] is not last:
                self._merged.append((last, [last["content"]]))
            self._merged[-1][1].append(content)
            return
        if last["role"] == "tool" and self._ways.bridge:
            self._messages.append({"role": "assistant", "content": "Done."})
            self._ledger.note("messages[]", "this model wants a word of the assistant between a result and the user")
        self._messages.append({"role": "user", "content": content})

    def _system(self, message: Message) -> None:
        """A system message in mid-conversation (H051); at its beginning it is a part of the system prompt."""
        text = system_text(message.content, BLOCK, PARTS.dialect, self._ledger)
        mode = self._ways.system_messages
        if not text.strip():
            return
        if mode == "keep":
            self._messages.append({"role": "system", "content": text})
        elif mode == "hoist" or not self._messages:
            self.head.append(text)
            if self._messages:
                self._ledger.note("messages[].role=system", "moved to the front")
        else:
            self._ledger.note("messages[].role=system", "sent as the user's, in <system-reminder>")
            self._user([PARTS.text(reminder(text))])

    def _id(self, id: str) -> str:
        return call_id(id, self._ways.id_length, nine=self._ways.nine)


def _all(contents: list[Content]) -> Content:
    """The content of several messages as that of one."""
    said = [each for each in contents if isinstance(each, str)]
    if len(said) == len(contents):
        return "\n\n".join(said)
    return [part for each in contents for part in ([PARTS.text(each)] if isinstance(each, str) else each)]
