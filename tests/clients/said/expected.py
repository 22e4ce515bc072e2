"""What a client must get of an answer, by the dialect it was given in and the one the client speaks."""

from __future__ import annotations

import json
import re

from tests.corpus import Case

from . import Call, Dialect, Form, Other, Part, Said, events_of, responses
from .anthropic import said_by_events, said_by_message
from .chat import said_by_chunks, said_by_completion

# Anthropic's words, from those of OpenAI (H023) and, for Chat Completions, of single providers (wire-facts 2).
TO_ANTHROPIC = {
    "stop": "end_turn",
    "eos": "end_turn",  # Together
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
    None: "end_turn",  # [DONE] alone (H021)
    "completed": "end_turn",
    "max_output_tokens": "max_tokens",
}
# H098; a turn that was paused must not look like one that is over.
FROM_ANTHROPIC = {
    "openai-chat": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "tool_use": "tool_calls",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "pause_turn": "length",
        "compaction": "length",
        "refusal": "content_filter",
    },
    "openai-responses": {
        "end_turn": "completed",
        "stop_sequence": "completed",
        "tool_use": "completed",
        "max_tokens": "max_output_tokens",
        "model_context_window_exceeded": "max_output_tokens",
        "pause_turn": "max_output_tokens",
        "compaction": "max_output_tokens",
        "refusal": "content_filter",
    },
}
SAFE_ID = re.compile(r"[a-zA-Z0-9_-]+")


def said(dialect: Dialect, case: Case, *, summed: bool = False) -> Said:
    """What a recording says. `summed`: see `said_by_events`."""
    match dialect:
        case "anthropic":
            whole = said_by_message
            return said_by_events(events_of(case.body), summed=summed) if case.stream else whole(json.loads(case.body))
        case "openai-chat":
            return said_by_chunks(case.body) if case.stream else said_by_completion(json.loads(case.body))
        case "openai-responses":
            if case.stream:
                return responses.said_by_events(events_of(case.body))
            return responses.said_by_response(json.loads(case.body))


def expected(upstream: Dialect, case: Case, client: Dialect, *, asked: Form) -> Said:
    """`asked`: whether the client wants a stream."""
    answer = said(upstream, case, summed=upstream == client)
    if answer.failed:
        return answer
    if upstream != "anthropic":
        reason = TO_ANTHROPIC.get(answer.stop, "end_turn")
        if reason in ("end_turn", "tool_use"):
            reason = "tool_use" if answer.calls else "end_turn"  # the calls tell, not the reason (H022)
        answer.stop = reason
    cut = any(call.arguments[0] == "cut" for call in answer.calls)
    if client == "anthropic":
        if asked == "whole" and answer.stop == "max_tokens":
            # An object cannot be cut: such a call is not given at all, and must never be made a whole one (H070b).
            answer.parts = [part for part in answer.parts if not isinstance(part, Call) or part.arguments[0] == "whole"]
        elif asked == "whole" and cut:
            answer.failed = True  # cut by something else: then the answer is broken
    elif client == "openai-responses":
        answer.failed = cut and answer.stop in ("end_turn", "tool_use", "stop_sequence")
    if client != "anthropic":
        answer.stop = FROM_ANTHROPIC[client][answer.stop or ""]
        if answer.stop == "stop" and answer.calls:
            answer.stop = "tool_calls"  # the last of several messages ended so, and calls are still to be made
    if upstream != client:
        translated(answer, client)
    return answer


def translated(answer: Said, client: Dialect) -> None:
    """What of an answer another dialect can say."""
    answer.parts = [part for part in map(sealed, answer.parts) if says_something(part)]
    if client != "openai-chat":
        # What is opaque about reasoning is carried; what is not, too, so that it comes back as it was, or is known.
        answer.seals = sum(isinstance(part, tuple) and part[0] != "text" for part in answer.parts)
    if client == "anthropic":
        answer.parts = answer.parts or [("text", "")]  # Claude Code insists on a block (H028)


def sealed(part: Part) -> Part:
    """Reasoning without a text, in the same words whoever says it."""
    return ("sealed", "") if part in (("thinking", ""), Other("redacted_thinking")) else part


def says_something(part: Part) -> bool:
    """Blocks that only their own dialect has are left out; and white space alone is no reasoning (H091)."""
    if isinstance(part, tuple):
        return part[0] != "thinking" or bool(part[1].strip())
    return isinstance(part, Call)


def differences(want: Said, got: Said, client: Dialect, *, upstream: Dialect) -> list[str]:
    """What is wrong with what the client got."""
    same = client == upstream
    pairs: dict[str, tuple[object, object]] = {"stop": (want.stop, got.stop), "urls": (want.urls, got.urls)}
    if client == "openai-chat":
        for kind in ("text", "thinking"):
            pairs[kind] = (want.joined(kind), got.joined(kind))
        pairs["calls"] = (list(map(shown, want.calls)), list(map(shown, got.calls)))
    else:
        parts = got.parts if same else list(map(sealed, got.parts))
        if client == "openai-responses":  # whose clients need nothing of a message without a text
            want.parts, parts = ([part for part in each if part != ("text", "")] for each in (want.parts, parts))
        pairs["parts"] = (list(map(shown, want.parts)), list(map(shown, parts)))
        if "openai-responses" in (client, upstream):
            pairs["seals"] = (want.seals, got.seals)
    if want.usage is not None:
        pairs["usage"] = (want.usage, got.usage)
    found = [f"{name}: {one!r:.2000} became {other!r:.2000}" for name, (one, other) in pairs.items() if one != other]
    for one, other in zip(want.calls, got.calls, strict=False):
        mended = not one.id or (client == "anthropic" and not SAFE_ID.fullmatch(one.id))
        if (one.id != other.id and not mended) or not other.id:
            found.append(f"the id {one.id!r} became {other.id!r}")
        if client == "anthropic" and not same and not SAFE_ID.fullmatch(other.id):
            found.append(f"no id that Anthropic's clients take: {other.id!r}")  # H030c
    if len({call.id for call in got.calls}) != len(got.calls):
        found.append("two calls have one id")
    return found


def shown(part: Part) -> object:
    """Without the id of a call, which may have to be another."""
    return (part.name, *part.arguments) if isinstance(part, Call) else part
