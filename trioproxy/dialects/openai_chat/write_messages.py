"""A conversation as the messages of Chat Completions.

Anthropic's are turns of the user and of the assistant by turns, tool results among what the user says. Here a tool's
result is a message of its own, directly after the assistant's that called it; so a conversation is read as runs of
what is not the assistant's, and each run first answers the calls before it.
"""

from base64 import b32encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import groupby
from typing import Any

import msgspec

from trioproxy.dialects.names import Names, kind_of, restored_id
from trioproxy.dialects.openai_chat.hosts import Ways
from trioproxy.dialects.openai_chat.told import refusal, shown
from trioproxy.dialects.openai_chat.write_content import drop, joined, refused, texts, write_parts
from trioproxy.items import Block, Message, OtherBlock, RedactedThinking, Request, Text, Thinking, ToolResult, ToolUse
from trioproxy.ledger import Ledger

__all__ = ["write_messages"]

Wire = dict[str, Any]  # a message as it goes out
Content = str | list[Wire]  # of one

_BLOCK = "messages[].content[]"
_SYSTEM = {"system", "developer"}


def write_messages(request: Request, ways: Ways, names: Names, ledger: Ledger, postscript: str = "") -> list[Wire]:
    """The messages; `postscript` ends the system prompt. Raises `ProxyError` for what cannot be said."""
    writer = _Writer(ways, names, ledger)
    if request.system is not None:
        writer.head.append(_system_text(request.system, "system[]", ledger))
    messages = [_checked(message, ledger) for message in request.messages]
    for from_assistant, group in groupby(messages, key=lambda message: message.role == "assistant"):
        if from_assistant:
            writer.assistant([block for message in group for block in _blocks(message)])
        else:
            writer.others(list(group))
    if messages and messages[-1].role == "assistant":
        writer.finish_assistant()
    return writer.finished(postscript)


class _Writer:
    def __init__(self, ways: Ways, names: Names, ledger: Ledger) -> None:
        self._ways, self._names, self._ledger = ways, names, ledger
        self._messages: list[Wire] = []
        self._calls: dict[str, str] = {}  # of the assistant's last turn: id → name of the tool
        self._merged: list[tuple[Wire, list[Content]]] = []  # the user's messages that several were made
        self.head: list[str] = []  # what the leading system message says

    def finished(self, postscript: str) -> list[Wire]:
        for message, contents in self._merged:
            message["content"] = _all(contents)
        if all(message["role"] == "system" for message in self._messages):
            self._messages.append({"role": "user", "content": "."})  # H053: chat templates want a user
            self._ledger.note("messages", 'nothing was said: "." is sent')
        head = "\n\n".join(text for text in [*self.head, postscript] if text.strip())
        return [{"role": "system", "content": head}, *self._messages] if head else self._messages

    # ── the assistant's ─────────────────────────────────────────────────────────────────────────────────────────────

    def assistant(self, blocks: list[Block]) -> None:
        text = "".join(map(_spoken, blocks))  # H060
        self._calls = {}
        calls = [self._call(block) for block in blocks if isinstance(block, ToolUse) and self._is_new(block)]
        for block in blocks:
            self._note_loss(block)
        thinking = "".join(block.thinking for block in blocks if isinstance(block, Thinking))
        if not calls and not text.strip():  # H054
            if thinking:
                self._ledger.note(f"{_BLOCK}.thinking", "a turn of thinking alone cannot be said")
            return
        message: Wire = {"role": "assistant", "content": text if text.strip() else None}
        if thinking and self._ways.reasoning == "replay":  # H073: and never a placeholder
            message["reasoning_content"] = thinking
        if calls:
            message["tool_calls"] = calls
        self._messages.append(message)

    def finish_assistant(self) -> None:
        """The conversation ends with the assistant: calls without results, or the beginning of an answer."""
        if self._calls:
            self.others([])
        elif self._messages and (last := self._messages[-1])["role"] == "assistant":
            self._ledger.note("messages[-1]", "an answer's beginning may be taken for history")  # H057
            if self._ways.prefix:
                last["prefix"] = True

    def _is_new(self, call: ToolUse) -> bool:
        if call.id in self._calls:
            self._ledger.note(f"{_BLOCK}.id", "two calls of one turn had the same id: the first stays")
            return False
        self._calls[call.id] = call.name
        return True

    def _call(self, call: ToolUse) -> Wire:
        function = {"name": self._names(call.name), "arguments": call.input or "{}"}
        return {"id": self._id(call.id), "type": "function", "function": function}

    def _note_loss(self, block: Block) -> None:
        if isinstance(block, Text | ToolUse):
            drop(self._ledger, _BLOCK, block.extra)
        elif isinstance(block, Thinking) and self._ways.reasoning == "replay":
            pass  # its signature means nothing to others
        elif isinstance(block, Thinking | RedactedThinking):
            self._ledger.note(f"{_BLOCK}.thinking", "this host does not take thinking back")
        elif not _spoken(block):
            self._ledger.note(f"{_BLOCK}.type={kind_of(block)}", "an assistant's message cannot have it")

    # ── the others' ─────────────────────────────────────────────────────────────────────────────────────────────────

    def others(self, run: list[Message]) -> None:
        """What was said until the assistant's next turn: results of its calls, the user's words, system messages."""
        calls, self._calls = self._calls, {}
        parts = self._results(run, calls)
        for message in run:
            if message.role in _SYSTEM:
                self._user(parts)
                parts = []
                self._system(message)
            else:
                said = [part for block in _blocks(message) for part in self._said(block, calls)]
                self._user(parts + said)
                parts = []
        self._user(parts)

    def _results(self, run: list[Message], calls: dict[str, str]) -> list[Wire]:
        """Write the answers to `calls`; what no tool message can hold is given back, for the user to say after them."""
        results: dict[str, ToolResult] = {}  # of several for one call the last counts
        for block in (block for message in run for block in _blocks(message)):
            if isinstance(block, ToolResult) and block.tool_use_id in calls:
                if block.tool_use_id in results:
                    self._ledger.note(f"{_BLOCK}.tool_use_id", "several results of one call: the last is sent")
                results[block.tool_use_id] = block
        after: list[Wire] = []
        # In the order of the calls: some chat templates print no ids, and Claude Code sends what is done first, first.
        for id, name in calls.items():
            if id in results:
                content = texts(self._result(results[id], name, after))
            else:  # H070
                self._ledger.note(f"{_BLOCK}.type=tool_use", "a call without a result is answered as interrupted")
                content = "[no result: the call was interrupted]"
            self._messages.append({"role": "tool", "tool_call_id": self._id(id), "content": content})
        return after

    def _result(self, result: ToolResult, name: str, after: list[Wire]) -> list[Wire]:
        """The text parts of a result. Its pictures and files go to `after`, each behind a title (H062)."""
        drop(self._ledger, _BLOCK, result.extra)
        said: list[Wire] = [_text("[tool error] ")] if result.is_error else []  # H061
        for block in _blocks_of(result.content):
            for part in write_parts(block, f"{_BLOCK}.content[]", self._ledger):
                if part["type"] == "text":
                    said.append(part)
                    continue
                self._ledger.note(f"{_BLOCK}.content[]", "pictures and files follow in a message of the user")
                kind = "file" if part["type"] == "file" else "image"
                number = 1 + len(after) // 2
                said.append(_text(("\n" if said else "") + f"[{kind} {number}: see the next message]"))
                after += [_text(f"[{kind} {number}, from the result of {name}]"), part]
        return said

    def _said(self, block: Block, calls: dict[str, str]) -> Iterable[Wire]:
        """A block of the user's as content parts; the results of `calls` are said already."""
        if not isinstance(block, ToolResult):
            return write_parts(block, _BLOCK, self._ledger)
        if block.tool_use_id in calls:
            return ()
        self._ledger.note(f"{_BLOCK}.type=tool_result", "its call is not in the turn before: sent as the user's text")
        after: list[Wire] = []
        return [_text("[result of an earlier tool call]\n"), *self._result(block, "a tool", after), *after]

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
        text = _system_text(message.content, _BLOCK, self._ledger)
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
            if not text.lstrip().startswith("<system-reminder>"):
                text = f"<system-reminder>\n{text}\n</system-reminder>"
            self._user([_text(text)])

    def _id(self, id: str) -> str:
        """The id of a call as this upstream takes it: what it said itself, unless that was another one (H064)."""
        id = restored_id(id)
        digest = sha256(id.encode(errors="surrogatepass")).digest()
        if self._ways.nine:
            return id if len(id) == 9 and id.isascii() and id.isalnum() else b32encode(digest)[:9].decode()
        return id if 0 < len(id) <= self._ways.id_length else f"call_{digest.hex()[:32]}"


def _text(text: str) -> Wire:
    return {"type": "text", "text": text}


def _all(contents: list[Content]) -> Content:
    """The content of several messages as that of one."""
    said = [each for each in contents if isinstance(each, str)]
    if len(said) == len(contents):
        return "\n\n".join(said)
    return [part for each in contents for part in ([_text(each)] if isinstance(each, str) else each)]


def _checked(message: Message, ledger: Ledger) -> Message:
    if message.role not in {"user", "assistant", *_SYSTEM}:
        raise refusal(f"messages[].role: expected user, assistant or system, got {shown(message.role)}")
    drop(ledger, "messages[]", {key: message.extra[key] for key in message.extra if key not in {"role", "content"}})
    return message


def _blocks(message: Message) -> Iterator[Block]:
    yield from _blocks_of(message.content)


def _blocks_of(content: str | tuple[Block, ...] | None) -> Iterator[Block]:
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


def _spoken(block: Block) -> str:
    """What the assistant said; a summary that stands for the conversation's beginning too."""
    if isinstance(block, Text):
        return block.text
    content = block.extra.get("content") if isinstance(block, OtherBlock) and block.kind == "compaction" else None
    return content if isinstance(content, str) else ""


def _system_text(content: str | tuple[Block, ...], path: str, ledger: Ledger) -> str:
    said = []
    for block in _blocks_of(content):
        if isinstance(block, Text):
            drop(ledger, path, block.extra)
            said.append(block.text)
        elif not isinstance(block, OtherBlock) or block.kind not in {
            "tool_addition",
            "tool_removal",
        }:  # `offered_tools`
            raise refused(f"a block of type {shown(kind_of(block))} in a system prompt")  # H052
    return "".join(said)  # H060
