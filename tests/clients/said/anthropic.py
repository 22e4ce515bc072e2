"""What an answer says in Anthropic's words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from . import Call, Counts, Other, Part, Said, Wire


def said_by_events(events: Iterable[Wire], *, summed: bool = False) -> Said:
    """Several messages make one answer (M0): the blocks of all.

    `summed`: its counts are as Anthropic's SDK sums them up, for which a zero at the end is a zero.
    """
    answer, usage, first = Said(stop="none"), dict[str, Any](), 0
    for event in events:
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
                first = len(answer.parts)
                for block in event["message"]["content"]:
                    answer.parts.append(_part(block))
            case "content_block_start":
                assert len(answer.parts) == first + event["index"]
                answer.parts.append(_part(event["content_block"]))
                answer.seals += _is_sealed(event["content_block"])
            case "content_block_delta" if event["delta"]["type"] == "citations_delta":
                answer.urls += _cited(event["delta"]["citation"])
            case "content_block_delta":
                answer.parts[-1] = _filled(answer.parts[-1], event["delta"])
                answer.seals += bool(event["delta"].get("signature"))
            case "message_delta":
                answer.stop = event["delta"]["stop_reason"]
                # Cumulative; zeros at the end do not take back what was said at the start (H046).
                counts = event.get("usage") or {}
                usage |= {key: value for key, value in counts.items() if value or (summed and value is not None)}
    answer.usage = _counts(usage)
    return answer


def said_by_message(message: Wire) -> Said:
    if message.get("type") != "message":
        return Said(failed=True)
    content = message["content"]
    urls = [url for block in content for citation in block.get("citations") or () for url in _cited(citation)]
    answer = Said(list(map(_part, content)), message["stop_reason"], _counts(message["usage"]), urls)
    answer.seals = sum(map(_is_sealed, content))
    return answer


def _cited(citation: Wire) -> list[str]:
    """Of a page; not of a document of the client's own."""
    return [citation["url"]] if "url" in citation else []


def _is_sealed(block: Wire) -> bool:
    return block["type"] == "redacted_thinking" or bool(block.get("signature"))


def _part(block: Wire) -> Part:
    match block["type"]:
        case "text" | "thinking" as kind:
            return kind, block[kind]
        case "tool_use":
            return Call(block["id"], block["name"], json.dumps(block["input"]) if block["input"] else "")
        case kind:
            return Other(kind)


def _filled(part: Part, delta: Wire) -> Part:
    """Deltas replace the input that a call has started with (H097)."""
    if isinstance(part, tuple) and delta["type"] == f"{part[0]}_delta":
        return part[0], part[1] + delta[part[0]]
    return Call(part.id, part.name, part.text + delta["partial_json"]) if isinstance(part, Call) else part


def _counts(usage: Wire) -> Counts:
    cached, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return Counts(usage["input_tokens"] + cached + written, usage["output_tokens"], cached, written, thinking)
