"""What an answer says in the words of OpenAI's Chat Completions, and of those who say they speak them."""

from __future__ import annotations

import json

from . import Call, Counts, Said, Wire, data_of


def said_by_chunks(body: bytes) -> Said:
    answer, done = Said(), False
    calls: dict[object, Call] = {}
    for data in data_of(body):
        done = data.strip() == "[DONE]"
        if done:
            break
        chunk = json.loads(data)
        if chunk.get("error"):
            return Said(failed=True)
        for choice in chunk.get("choices") or ():
            if choice["index"] == 0:  # of several choices the first is the answer (H100)
                _hear(answer, choice.get("delta") or {}, calls)
                answer.stop = choice.get("finish_reason") or answer.stop
        # In every chunk, beside the end or behind it: the last one holds (H042, H043).
        counts = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        answer.usage = _counts(counts) if counts else answer.usage
    answer.failed = not done and answer.stop is None  # it is cut off (H026)
    return answer


def said_by_completion(completion: Wire) -> Said:
    if not completion.get("choices"):
        return Said(failed=True)
    answer, choice = Said(), completion["choices"][0]
    _hear(answer, choice.get("message") or {}, {})  # none where all of it was filtered
    answer.stop = choice.get("finish_reason")
    answer.usage = _counts(completion["usage"]) if completion.get("usage") else None
    return answer


def _hear(answer: Said, delta: Wire, calls: dict[object, Call]) -> None:
    """Reasoning, text, calls: in this order if they come together (H011)."""
    answer.say("thinking", _reasoning(delta))
    content = delta.get("content")
    for part in content if isinstance(content, list) else [content]:
        match part:
            case {"type": "thinking", "thinking": pieces}:  # Mistral
                answer.say("thinking", "".join(piece["text"] for piece in pieces))
            case {"type": "text", "text": text}:
                answer.say("text", text)
            case None | str():
                answer.say("text", part or "")
            case _:  # Cloudflare: an object that follows a schema
                answer.say("text", json.dumps(part, separators=(",", ":"), ensure_ascii=False))
    answer.say("text", (delta.get("audio") or {}).get("transcript") or "")
    answer.say("text", delta.get("refusal") or "")
    answer.urls += [each["url_citation"]["url"] for each in delta.get("annotations") or () if "url_citation" in each]
    fragments = [fragment for fragment in delta.get("tool_calls") or () if fragment.get("type") != "custom"]
    if (legacy := delta.get("function_call")) and legacy.get("name"):  # Snowflake has one without anything
        fragments.append({"index": 0, "function": legacy})
    for fragment in fragments:
        call = _call(fragment, calls)
        if call not in answer.parts:
            answer.parts.append(call)
        arguments = fragment["function"].get("arguments")
        call.text += arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""


def _reasoning(delta: Wire) -> str:
    """Whatever field says it, once (H071)."""
    for key in ("reasoning_content", "reasoning"):
        if delta.get(key):
            return str(delta[key])
    details = delta.get("reasoning_details") or ()
    return "".join(each.get("text") or each.get("summary") or "" for each in details)


def _call(fragment: Wire, calls: dict[object, Call]) -> Call:
    """The call that a fragment goes on with, or a new one."""
    id, name, index = fragment.get("id") or "", fragment["function"].get("name") or "", fragment.get("index")
    known = calls.get(("at", index)) if index is not None else calls.get(("id", id))
    if known is None or (id and known.id and id != known.id):  # the same index again, of another call (H007)
        known = Call(id, name)
    calls["at", index] = calls["id", known.id] = known
    return known


def _counts(usage: Wire) -> Counts:
    inside, outside = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    reasoning = outside.get("reasoning_tokens") or 0
    if usage.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # xAI counts it beside the completion (H049)
    # Beside OpenAI's own: Moonshot's, Mistral's, DeepSeek's word for it.
    names = ("cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens")
    cached = next(filter(None, (inside.get("cached_tokens"), *map(usage.get, names))), 0)
    written = inside.get("cache_write_tokens") or 0
    # What was not cached is never less than nothing (H044), though Mistral has told of more cached than asked.
    return Counts(max(prompt, cached + written), completion, cached, written, reasoning)
