"""What the items of a Responses request say, each as content: what a model thought, said and called, and the results.

Tools that run at the client are calls and results whatever the API names them. What ran at the provider cannot be said
elsewhere: it stays the object it is, for an upstream of this dialect.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trioproxy.dialects.carried import opened
from trioproxy.dialects.openai.inputs import packed
from trioproxy.dialects.openai.offered import flat_name, offered
from trioproxy.dialects.openai.read_calls import OpenCalls, encoded, read_arguments
from trioproxy.dialects.openai.read_parts import marked, read_content, read_text, text_of
from trioproxy.dialects.openai.told import Lost, Wire, label, named, note_fields, refusal, shown
from trioproxy.dialects.openai_responses.read_parts import PARTS
from trioproxy.dialects.openai_responses.turns import ASSISTANT, kind_of
from trioproxy.dialects.peek import BAD_JSON
from trioproxy.items import Block, OtherBlock, RedactedThinking, Text, Thinking, ToolResult, ToolUse

__all__ = ["Content", "read_item"]

_ARGUMENTS = "input[].arguments"

Content = str | tuple[Block, ...]
Read = Callable[[Wire, str, OpenCalls, Lost], Content]


def read_item(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    """What `item`, which stands at `where`, says. Raises `ProxyError` for what can neither be said nor left out."""
    kind = kind_of(item)
    if kind in _FATAL:
        raise refusal(f"{where}: {_FATAL[kind]}")
    if (read := _READERS.get(kind)) is None:
        lost.setdefault(
            f"input[type={label(item.get('type'))}]", _REASONS.get(kind, "no other dialect has such an item")
        )
        return ()
    content = read(item, where, calls, lost)
    if kind in _FIELDS:
        note_fields(item, _SILENT | _FIELDS[kind], "input[]", lost)
    return content


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _message(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    role = item.get("role")
    if role in ("system", "developer"):
        return marked(read_text(item.get("content"), f"{where}.content", PARTS, lost), item)
    if role not in ("user", ASSISTANT):
        raise refusal(f"{where}.role: expected user, assistant, system or developer, got {shown(role)}")
    return marked(read_content(item.get("content"), f"{where}.content", PARTS, lost), item)


def _part(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    """A part alone, which some clients take for an item."""
    return (PARTS[item["type"]].read(item, where, lost),)


def _agent_message(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    content = read_content(item.get("content"), f"{where}.content", PARTS, lost)
    author = item.get("author")
    heading = Text(text=f"[from the agent {author if isinstance(author, str) else 'that works with you'}]\n")
    return (heading, *((Text(text=content),) if isinstance(content, str) else content))


def _reasoning(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    """One block, however many parts there are (H079). What we carried here goes on as it is; see `dialects.carried`."""
    text = _texts(item.get("summary")) or _texts(item.get("content"))
    sealed = item.get("encrypted_content")
    if not (isinstance(sealed, str) and sealed):
        return (Thinking(thinking=text),) if text else ()
    if (found := opened(sealed)) is None:
        lost.setdefault("input[type=reasoning].encrypted_content", "only the model that wrote it can read it")
        return (Thinking(thinking=text),)
    if found.block.get("type") == "redacted_thinking":
        return (RedactedThinking(data=sealed),)
    thought = found.block.get("thinking")
    return (Thinking(thinking=thought if isinstance(thought, str) else text, signature=sealed),)


def _texts(parts: Any) -> str:
    if not isinstance(parts, list):
        return ""
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n\n".join(text for text in texts if isinstance(text, str) and text)


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _function_call(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    name = _name(item, where)
    return _use(item, name, calls.arguments(name, item.get("arguments"), _ARGUMENTS, lost), where, calls)


def _custom_call(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    return _use(item, _name(item, where), packed(text_of(item, "input", where)), where, calls)


def _name(item: Wire, where: str) -> str:
    name, namespace = text_of(item, "name", where), item.get("namespace")
    return flat_name(namespace if isinstance(namespace, str) else None, name)


def _calls(name: str, *fields: str) -> Read:
    """A call of a tool that OpenAI's models know: the first of `fields` that there is are its arguments."""

    def read(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
        said = next((field for field in fields if item.get(field) is not None), fields[0])
        value = item.get(said)
        arguments = value if isinstance(value, dict | str | None) else {said: value}
        return _use(item, name, read_arguments(arguments, f"input[].{said}", lost), where, calls)

    return read


def _use(item: Wire, name: str, input: str, where: str, calls: OpenCalls) -> Content:
    return (ToolUse(id=calls.made(item.get("call_id") or item.get("id"), name, input, where), name=name, input=input),)


# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _output(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    """Text, or text, pictures and files (H062); of anything else the JSON."""
    output = _unwrapped(item.get("output"))
    if not isinstance(output, str | list | None):
        output = encoded(output)
    return _result(item, read_content(output, f"{where}.output", PARTS, lost), where, calls)


def _unwrapped(output: Any) -> Any:
    """Parts that came as their JSON, as they do of custom tools from older versions of Codex: a picture that the model
    would have to read as a hundred thousand tokens of base64."""
    if not (isinstance(output, str) and output.startswith("[") and '"input_image"' in output):
        return output
    try:
        parts = msgspec.json.decode(output)
    except BAD_JSON:
        return output
    fine = isinstance(parts, list) and all(isinstance(part, dict) and part.get("type") in _OUTPUTS for part in parts)
    return parts if fine else output


_OUTPUTS = ("input_text", "input_image", "input_file")


def _screenshot(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    return _result(item, read_content([item.get("output")], f"{where}.output", PARTS, lost), where, calls)


def _shell_output(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    """The JSON of what each command wrote, and of how it ended; or a text."""
    output = item.get("output")
    return _result(item, output if isinstance(output, str) else encoded(output), where, calls)


def _patch_output(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    output, status = item.get("output"), item.get("status")
    said = next((each for each in (output, status) if isinstance(each, str) and each), "")
    return _result(item, said, where, calls, is_error=True if status == "failed" else None)


def _found(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    """The tools that the client found are offered from now on: see `offered`."""
    names = ", ".join(offered({"tools": item.get("tools")}))
    return _result(item, f"Tools found: {names or 'none'}", where, calls)


def _result(item: Wire, content: Content, where: str, calls: OpenCalls, is_error: bool | None = None) -> Content:
    # A local shell's output has the call's id as its own.
    id = item.get("call_id") or (item.get("id") if kind_of(item) == "local_shell_call_output" else None)
    answered = calls.answered(id, item.get("name"), where)
    return (ToolResult(tool_use_id=answered, content=content, is_error=is_error),)


# ── what else there is ──────────────────────────────────────────────────────────────────────────────────────────────


def _hosted(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    return (OtherBlock(kind=str(item["type"]), extra=item),)


def _tools(item: Wire, where: str, calls: OpenCalls, lost: Lost) -> Content:
    """They are offered: see `read_tools`."""
    if not isinstance(tools := item.get("tools"), list):
        raise refusal(f"{where}.tools: expected an array, got {named(tools)}")
    return ()


_READERS: Mapping[str, Read] = {
    "message": _message,
    "agent_message": _agent_message,
    "input_text": _part,
    "input_image": _part,
    "input_file": _part,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _custom_call,
    "local_shell_call": _calls("local_shell", "action"),
    "shell_call": _calls("shell", "action"),
    "apply_patch_call": _calls("apply_patch", "operation"),
    "computer_call": _calls("computer", "actions", "action"),
    "tool_search_call": _calls("tool_search", "arguments"),
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "local_shell_call_output": _output,
    "shell_call_output": _shell_output,
    "apply_patch_call_output": _patch_output,
    "computer_call_output": _screenshot,
    "tool_search_output": _found,
    "hosted": _hosted,
    "additional_tools": _tools,
}

# Fields that say nothing to a model of another maker, in any item; and of each kind those that are read above.
_SILENT = {"type", "id", "status", "phase", "end_turn", "caller", "internal_chat_message_metadata_passthrough"}
_FIELDS: dict[str, set[str]] = {
    "message": {"role", "content", "cache_control"},
    "reasoning": {"summary", "content", "encrypted_content", "format", "signature"},
    "function_call": {"call_id", "name", "namespace", "arguments"},
    "custom_tool_call": {"call_id", "name", "namespace", "input"},
    "function_call_output": {"call_id", "name", "namespace", "output"},
    "custom_tool_call_output": {"call_id", "name", "namespace", "output"},
}

_FATAL = {
    "item_reference": "no items are kept here for this upstream; send the item itself",
    "compaction_trigger": "this upstream does not compact conversations; let the client summarise them itself (Codex "
    "does for a provider of its configuration that is not named openai)",
}

_REASONS = {
    "compaction": "encrypted: only OpenAI can read what it says of the conversation before it",
    "context_compaction": "encrypted: only OpenAI can read what it says of the conversation before it",
    "compaction_summary": "encrypted: only OpenAI can read what it says of the conversation before it",
    "configuration_update": "only OpenAI's models change their effort within a conversation",
    "mcp_approval_response": "the tool that it is about runs at OpenAI",
}
