"""An answer that a stage has changed, whole: the upstream's own items where they still hold."""

from collections import defaultdict, deque
from typing import Any

from trioproxy.dialects.openai.offered import flat_name
from trioproxy.dialects.openai_responses.ladder import APART, Wire
from trioproxy.dialects.peek import BAD_JSON, decode

__all__ = ["restored", "says"]


def restored(native: list[Any], ours: list[Wire]) -> list[Any]:
    """Our items, but for those that say the same as one of the upstream's: that, and in its place what only it can say.

    So an item that no stage has touched keeps its id and what else it has, and calls of hosted tools stay where they
    were, as OpenAI wants them back.
    """
    output, saying = list[Any](), [says(item) for item in ours]
    kept, start = set(saying), 0  # where the upstream's items begin that are behind all those met so far
    theirs = [(each, says(each)) for each in native if isinstance(each, dict)]
    same, changed = defaultdict[Any, deque[int]](deque), defaultdict[Any, deque[int]](deque)
    for place, (each, word) in enumerate(theirs):
        (same[word] if word in kept else changed[str(each.get("type"))]).append(place)
    for item, word in zip(ours, saying, strict=True):
        found = _from(same[word], start) if word is not None else None
        at = found if found is not None else _from(changed[item["type"]], start)
        if at is not None:
            output += [each for each, said in theirs[start:at] if said is None]
            start = at + 1
        output.append(item if found is None else theirs[found][0])
    return output + [each for each, said in theirs[start:] if said is None]


def _from(places: deque[int], start: int) -> int | None:
    """The first of `places` from `start` on; those before it are never asked for again."""
    while places and places[0] < start:
        places.popleft()
    return places[0] if places else None


def says(item: Wire) -> tuple[Any, ...] | None:
    """What an item says in the one vocabulary; None if it says nothing there."""
    match item.get("type"):
        case "message":
            text = _text_of(item.get("content"))
            return ("message", text) if text else None
        case "reasoning":
            parts = item.get("summary") or item.get("content")
            parts = [each for each in parts if isinstance(each, dict)] if isinstance(parts, list) else []
            text = APART.join(str(each.get("text")) for each in parts)
            secret = item.get("encrypted_content")
            # Whether there is one: the same is encrypted to another text each time it is told.
            return ("reasoning", text, bool(secret)) if text or secret else None
        case "function_call" | "custom_tool_call":
            namespace = item.get("namespace")
            name = flat_name(namespace if isinstance(namespace, str) else None, str(item.get("name")))
            return "call", str(item.get("call_id")), name, _input_of(item)
    return None


def _input_of(item: Wire) -> str:
    """What a call is made with: the text of a tool that takes one stands in arguments where nobody offered the tool."""
    text = str(item.get("arguments") or item.get("input") or "")
    try:
        value, _ = decode(text.encode(errors="surrogatepass"))
    except BAD_JSON:
        return text
    told = value.get("input") if isinstance(value, dict) and len(value) == 1 else None
    return told if isinstance(told, str) and "arguments" in item else text


def _text_of(content: Any) -> str:
    parts = [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    return "".join(str(each.get("text") or each.get("refusal") or "") for each in parts)
