"""Messages, reasoning and calls, each put together from what is told of it: see `blocks`.

`piece` takes a part of a text, `whole` all of it, once more or for the first time, and `finish` the finished item.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from trioproxy.dialects.carried import carried
from trioproxy.dialects.names import made_id
from trioproxy.dialects.openai.answers import citation, kind_of
from trioproxy.dialects.openai.offered import flat_name
from trioproxy.dialects.openai_responses.blocks import Blocks, Item, Said
from trioproxy.items import (
    Event,
    OtherDelta,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
)

__all__ = ["Call", "Message", "Reasoning", "arguments_of"]

Wire = dict[str, Any]  # a JSON object as it came; `Any` because its inside is the provider's
_APART = "\n\n"  # between the parts of a summary
_PART = 256  # bytes that a part takes besides what it says


class Message(Item):
    """Each content part becomes a block of text, unless it is empty (hazards H030, H150d)."""

    kind = "message"

    def __init__(self, blocks: Blocks, number: int, id: str, index: int | None) -> None:
        super().__init__(number, id, index)
        self._blocks = blocks
        self._parts: dict[int, Said] = {}
        self._cited: dict[int, int] = {}  # how many annotations of a part were told
        self._part = 0  # the one whose block is open

    def piece(self, source: str, part: int, text: str) -> Iterator[Event]:
        said = self._said(part)
        if not text or said.over:
            return
        yield from self._begin(part, said)
        self._blocks.say(said, text)
        assert self.block is not None
        yield TextDelta(self.block, text)

    def whole(self, source: str, part: int, text: str) -> Iterator[Event]:
        return self.piece(source, part, self._said(part).rest(text))

    def part(self, part: int, wire: Wire) -> Iterator[Event]:
        """All that a part says, which is over with it."""
        for source in ("text", "refusal"):
            if isinstance(wire.get(source), str):
                yield from self.whole(source, part, wire[source])
        annotations = wire.get("annotations")
        for each in annotations[self._cited.get(part, 0) :] if isinstance(annotations, list) else ():
            yield from self.cite(part, each)
        if wire.get("logprobs"):
            self.probable()
        if wire.get("type") not in ("output_text", "refusal", "text", None):
            self._blocks.ledger.note(f"output[].content[type={word(wire['type'])}]", "neither text nor a refusal")
        yield from self._end(part)

    def cite(self, part: int, annotation: Any) -> Iterator[Event]:
        said, cited = self._said(part), citation(annotation)
        if said.over:
            return
        self._cited[part] = self._cited.get(part, 0) + 1
        if cited is None:
            self._blocks.ledger.note("output[].content[].annotations[]", "an annotation that is no citation of a page")
            return
        yield from self._begin(part, said)
        assert self.block is not None
        yield OtherDelta(self.block, "citations_delta", {"delta": {"citation": cited}})

    def probable(self) -> None:
        self._blocks.ledger.note("output[].content[].logprobs", "no event tells of them")

    def finish(self, wire: Wire, *, cut: bool) -> Iterator[Event]:
        content = wire.get("content")
        parts = content if isinstance(content, list) else [{"text": content}] if content else []
        for part, each in enumerate(parts):
            yield from self.part(part, each if isinstance(each, dict) else {})
        for part in list(self._parts):
            yield from self._end(part)
        self.over = True

    def _said(self, part: int) -> Said:
        if part not in self._parts:
            self._parts[part] = Said()
            self._blocks.held += _PART
        return self._parts[part]

    def _begin(self, part: int, said: Said) -> Iterator[Event]:
        if self.block is not None and self._part != part:
            yield from self._blocks.stop(self)
        if self.block is None:
            yield from self._blocks.start(self, Text())
            self._part = part
            self._blocks.expect(self, "response.output_text.delta", part, said, TextDelta)

    def _end(self, part: int) -> Iterator[Event]:
        said = self._said(part)
        if not said.over:
            self._blocks.let_go(said)
            if self._part == part:
                yield from self._blocks.stop(self)


class Reasoning(Item):
    """One block (hazard H079): the parts of the summary, or where there is none of the reasoning itself (H150e)."""

    kind = "reasoning"

    def __init__(self, blocks: Blocks, number: int, id: str, index: int | None) -> None:
        super().__init__(number, id, index)
        self._blocks = blocks
        self._source = ""  # which of the two it is
        self._part, self._said = -1, Said()  # the part that is being told
        self._blank: list[str] = []  # what there is so far, if that is white space alone (hazard H091)
        self._shown = False

    def piece(self, source: str, part: int, text: str) -> Iterator[Event]:
        self._source = self._source or (source if text else "")
        if not text or source != self._source or part < self._part or self.over:
            return
        apart = ""
        if part > self._part:
            self._blocks.let_go(self._said)
            self._part, self._said = part, Said()
            apart = _APART if self.block is not None else ""
        self._blocks.say(self._said, text)
        if self.block is None:
            self._blank.append(text)
            if not text.strip():
                return
            text, self._blank = "".join(self._blank), []
            yield from self._blocks.start(self, Thinking())
            self._shown = True
        type = "response.reasoning_summary_text.delta" if source == "summary" else "response.reasoning_text.delta"
        self._blocks.expect(self, type, part, self._said, ThinkingDelta)
        assert self.block is not None
        yield ThinkingDelta(self.block, apart + text)

    def whole(self, source: str, part: int, text: str) -> Iterator[Event]:
        told = source == self._source and part == self._part
        return self.piece(source, part, self._said.rest(text) if told else text)

    def finish(self, wire: Wire, *, cut: bool) -> Iterator[Event]:
        for source in ("summary", "content"):
            for part, text in enumerate(_texts(wire.get(source))):
                yield from self.whole(source, part, text)
        if wire.get("encrypted_content"):
            yield from self._sign({key: value for key, value in wire.items() if value is not None and key != "status"})
        self._blocks.let_go(self._said)
        self.over = True
        yield from self._blocks.stop(self)

    def _sign(self, wire: Wire) -> Iterator[Event]:
        """The whole item, as it has to go back; only now is what is encrypted complete."""
        if self.block is None:
            if self._shown:
                reason = "it came only after what it has to stand before"
                self._blocks.ledger.note("output[type=reasoning].encrypted_content", reason)
                return
            yield from self._blocks.start(self, Thinking())
        assert self.block is not None
        yield SignatureDelta(self.block, carried("openai-responses", self._blocks.provenance, wire))


class Call(Item):
    """A call of a function, or of a custom tool: then its text is the `input` of an object.

    Its block starts with its arguments, so that one that was cut before them is not told as one without any.
    """

    kind = "call"
    waits = True

    def __init__(self, blocks: Blocks, number: int, id: str, index: int | None) -> None:
        super().__init__(number, id, index)
        self._blocks = blocks
        self.name = self.id_of_call = ""
        self.called = self.nameless = False  # whether a client has been told; or cannot be, without a name
        self.arguments = "an object"  # what kind of JSON they are; empty for none
        self._custom = self._begun = False
        self._said = Said()
        self._placeholder = ""  # arguments that may be all, or stand in for what is to come (hazard H018)

    def announce(self, wire: Wire) -> None:
        """What the item says of itself, before or after its arguments."""
        name, namespace, id = wire.get("name"), wire.get("namespace"), wire.get("call_id")
        self._custom = self._custom or wire.get("type") == "custom_tool_call"
        if isinstance(name, str) and not self.name:
            flat = flat_name(namespace if isinstance(namespace, str) else None, name)
            self.name = self._blocks.renamed.get(flat, flat)
            self._blocks.held += len(flat)
        if isinstance(id, str) and not self.id_of_call:
            self.id_of_call = id
            self._blocks.held += len(id)
        if wire.get("caller") not in (None, {"type": "direct"}):
            self._blocks.ledger.note("output[type=function_call].caller", "a call that a program of the model's makes")

    def added(self, wire: Wire) -> None:
        """The item as it begins: its arguments are none yet, or all of them."""
        self.announce(wire)
        self._placeholder = self._arguments_of(wire)
        self._blocks.held += len(self._placeholder)

    def piece(self, source: str, part: int, text: str) -> Iterator[Event]:
        self._custom = self._custom or source == "input"
        if not text or self._said.over:
            return
        if not (self._custom or self._said.pieces):
            if not text.strip():
                return
            if text.strip() == "{}":
                self._placeholder = text
                return
        self._placeholder = ""
        yield from self._tell(text)

    def whole(self, source: str, part: int, text: str) -> Iterator[Event]:
        return self.piece(source, part, self._said.rest(text))

    def finish(self, wire: Wire, *, cut: bool) -> Iterator[Event]:
        self.announce(wire)
        yield from self.whole("input" if self._custom else "arguments", 0, self._arguments_of(wire))
        cut = wire["status"] == "incomplete" if isinstance(wire.get("status"), str) else cut
        if self._placeholder or self._said.pieces or not cut:
            yield from self._tell(self._placeholder, finished=True)
        if self._custom and not cut and self.block is not None:
            yield ToolInputDelta(self.block, self._written("") + '"}')
        if self._said.pieces and (cut or not self._custom):
            self.arguments = "" if self._custom else kind_of(self._said.text)
        self._blocks.let_go(self._said)
        self.over = True
        if self.arguments == "an object" or self._blocks.same:
            yield from self._blocks.stop(self)  # in pieces it must not look complete (hazard H109): see `Assembly.end`

    def _tell(self, text: str, *, finished: bool = False) -> Iterator[Event]:
        """Tell a piece, and what has waited before it for a name and an id (hazard H014)."""
        if text:
            self._blocks.say(self._said, text)
        if self.block is None:
            self.nameless = not self.name
            if self.nameless or not (self.id_of_call or finished):
                return
            # The same call gets the same id every time it is answered (hazards H015, H130).
            id = self.id_of_call or made_id(self._blocks.answer, self.number, self.name)
            yield from self._blocks.start(self, ToolUse(id=id, name=self.name))
            self.called = True
            text = self._said.text
            if not self._custom:
                type = "response.function_call_arguments.delta"
                self._blocks.expect(self, type, 0, self._said, ToolInputDelta)
        if text:
            assert self.block is not None
            yield ToolInputDelta(self.block, self._written(text))

    def _written(self, text: str) -> str:
        if not self._custom:
            return text
        before, self._begun = "" if self._begun else '{"input":"', True
        return before + msgspec.json.encode(text).decode()[1:-1]

    def _arguments_of(self, wire: Wire) -> str:
        return arguments_of(wire.get("input" if self._custom else "arguments"))


def arguments_of(value: Any) -> str:
    """Arguments as text; some give the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _texts(parts: Any) -> list[str]:
    """The text of each part of a summary, or of reasoning itself."""
    texts = [each.get("text") if isinstance(each, dict) else each for each in parts] if isinstance(parts, list) else []
    return [text if isinstance(text, str) else "" for text in texts]


def word(value: Any) -> str:
    return value[:40] if isinstance(value, str) else "?"
