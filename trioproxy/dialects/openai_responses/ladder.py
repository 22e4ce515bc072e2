"""The items of a response, and the ladder of events that tells each of them, rung by rung (hazards H147, H148).

Codex lives off `response.output_item.done`, the AI SDK off everything before it. Source: the API's reference
(platform.openai.com/docs/api-reference/responses-streaming) and what it sends.
"""

from typing import Any, ClassVar

import msgspec

from trioproxy.dialects.openai.answers import kind_of
from trioproxy.dialects.openai.inputs import Unpacking
from trioproxy.dialects.openai.offered import Offered
from trioproxy.dialects.peek import mended
from trioproxy.items import Event, TextDelta, ThinkingDelta, ToolInputDelta

__all__ = ["ANNOTATION", "APART", "Call", "CustomCall", "Item", "Message", "Reasoning", "SearchCall", "Wire"]

Wire = dict[str, Any]  # a JSON object as it goes out; `Any` because its inside is the provider's
ANNOTATION = "response.output_text.annotation.added"
"""The event that tells a citation."""
APART = "\n\n"
"""What is between the parts of a summary, in the one vocabulary."""


class Item:
    """One item: `begin`, any number of `piece`s, and `end` are the events of its ladder."""

    prefix: ClassVar[str]
    """What the ids of its kind begin with: OpenAI takes no others back (hazard H149)."""
    delta: str
    """The event that tells a piece of its text."""
    takes: ClassVar[type[Event]]
    """The event that such a piece comes in."""
    streams: ClassVar[bool] = True
    """Whether a piece is told as it comes."""

    def __init__(self) -> None:
        self.id, self.place = "", -1
        self.begun = False
        self.pieces: list[str] = []
        self.flows = False
        """Whether a piece of its text has been told, and further ones are told just so."""
        self.around: tuple[bytes, bytes] | None = None
        """What stands around the text in the JSON of a piece, once somebody has asked for it."""
        self.native = False
        """Whether the client has been told of it in the upstream's own words, and no others."""
        self.passed = 0
        """How many rungs of its end the client has been told so."""
        self.base: Wire = {}
        """What the upstream says of it beside what we know: `phase`, …"""
        self.spoken = False
        """Whether a part of its text has begun."""

    @property
    def text(self) -> str:
        """What has been told so far."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def at(self) -> Wire:
        """Where it stands, as its events say it."""
        return {"item_id": self.id, "output_index": self.place}

    def wire(self, status: str) -> Wire:
        """The item as it is now."""
        return {**self.base, "id": self.id, **self.fields(status)}

    def fields(self, status: str) -> Wire:
        """Of the item, those that its kind has."""
        raise NotImplementedError

    def begin(self) -> list[Wire]:
        return [self._whole("response.output_item.added", self.wire("in_progress"))]

    def piece(self, text: str) -> Wire:
        return {"type": self.delta, **self.at, "delta": text}

    def rungs(self) -> list[Wire]:
        """What repeats the text at its end, before the item itself."""
        return []

    def end(self, item: msgspec.Raw) -> list[Wire]:
        return [*self.rungs()[self.passed :], self._whole("response.output_item.done", item)]

    def _whole(self, kind: str, item: Wire | msgspec.Raw) -> Wire:
        return {"type": kind, "output_index": self.place, "item": item}


class Message(Item):
    """One part of text, as a message of its own."""

    prefix, delta, takes = "msg", "response.output_text.delta", TextDelta

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Wire] = []  # the parts that the upstream has told of the same message
        self.cited: list[Any] = []
        self._refuses = False

    @property
    def at(self) -> Wire:
        return {**super().at, "content_index": len(self.before)}

    @property
    def part(self) -> Wire:
        if self._refuses:
            return {"type": "refusal", "refusal": self.text}
        return {"type": "output_text", "annotations": self.cited, "logprobs": [], "text": self.text}

    def refuse(self) -> None:
        """The upstream has begun a part that is a refusal, and its text goes on so."""
        self._refuses, self.delta = True, "response.refusal.delta"

    def fields(self, status: str) -> Wire:
        content = [*self.before, self.part] if self.spoken and status != "in_progress" else []
        return {"type": "message", "status": status, "content": content, "role": "assistant"}

    def begin(self) -> list[Wire]:
        self.spoken = True
        return [*super().begin(), {"type": "response.content_part.added", **self.at, "part": self.part}]

    def piece(self, text: str) -> Wire:
        return super().piece(text) | ({} if self._refuses else {"logprobs": []})

    def cite(self, annotation: Any) -> Wire:
        self.cited.append(annotation)
        number = len(self.cited) - 1
        return {"type": ANNOTATION, **self.at, "annotation_index": number, "annotation": annotation}

    def rungs(self) -> list[Wire]:
        if not self.spoken:
            return []
        told: Wire = {"type": "response.output_text.done", **self.at, "text": self.text, "logprobs": []}
        if self._refuses:
            told = {"type": "response.refusal.done", **self.at, "refusal": self.text}
        return [told, {"type": "response.content_part.done", **self.at, "part": self.part}]


class Reasoning(Item):
    """A block of thinking. `shown`: its text is told as a summary; else only what has to come back (hazard H089)."""

    prefix, delta, takes = "rs", "response.reasoning_summary_text.delta", ThinkingDelta

    def __init__(self, *, shown: bool) -> None:
        super().__init__()
        self.shown = shown
        self.signature: list[str] = []
        self.redacted = ""
        self.before: list[Wire] = []  # the parts of the summary that the upstream has told
        self.sealed: Wire = {}
        """What is to come back with it, as fields of the item; known at its end."""

    def within(self, text: str) -> str:
        """What is told of a piece: the blank line that sets a part apart is none of its text (hazard H079)."""
        return text.removeprefix(APART) if self.before and not self.pieces else text

    @property
    def at(self) -> Wire:
        return {**super().at, "summary_index": len(self.before)}

    @property
    def part(self) -> Wire:
        return {"type": "summary_text", "text": self.text}

    def fields(self, status: str) -> Wire:
        summary = [*self.before, self.part] if self.spoken and status != "in_progress" else self.before
        return {"type": "reasoning", "summary": summary, **self.sealed}

    def speak(self) -> Wire:
        """What comes before the summary's first piece."""
        self.spoken = True
        return {
            "type": "response.reasoning_summary_part.added",
            **self.at,
            "part": {"type": "summary_text", "text": ""},
        }

    def proceed(self) -> None:
        """The upstream has begun another part of the summary."""
        if self.spoken:
            self.before.append(self.part)
            self.pieces, self.flows, self.passed, self.around = [], False, 0, None
        self.spoken = True

    def rungs(self) -> list[Wire]:
        if not self.spoken:
            return []
        return [
            {"type": "response.reasoning_summary_text.done", **self.at, "text": self.text},
            {"type": "response.reasoning_summary_part.done", **self.at, "part": self.part},
        ]


class Call(Item):
    """A call of a function. `input` is what its arguments are if no piece of them comes, and else empty."""

    prefix, delta, takes = "fc", "response.function_call_arguments.delta", ToolInputDelta

    def __init__(self, call_id: str, tool: Offered, input: str) -> None:
        super().__init__()
        self.call_id, self.tool = call_id, tool
        self.input = input

    @property
    def kind(self) -> str:
        """What its arguments are, in words: `an object` if they are fine. Empty if they are no JSON."""
        return kind_of(self.text)

    def take(self, text: str) -> str:
        """What is told of a piece of its arguments."""
        self.input = ""  # where deltas follow, the start's input stands for nothing (hazard H097)
        return text

    def close(self) -> str | None:
        """What is still to be told of them; None if they are cut, or no object."""
        return "" if self.kind == "an object" else None

    @property
    def _head(self) -> Wire:
        namespace = {"namespace": self.tool.namespace} if self.tool.namespace else {}
        return {"call_id": self.call_id, "name": self.tool.name, **namespace}

    def fields(self, status: str) -> Wire:
        arguments = "" if status == "in_progress" else self.text
        return {"type": "function_call", "status": status, "arguments": arguments, **self._head}

    def rungs(self) -> list[Wire]:
        return [{"type": "response.function_call_arguments.done", **self.at, "arguments": self.text}]


class CustomCall(Call):
    """A call of a tool that takes a text, which comes in JSON (see `inputs`)."""

    prefix, delta, streams, kind = "ctc", "response.custom_tool_call_input.delta", False, ""

    def __init__(self, call_id: str, tool: Offered, input: str) -> None:
        super().__init__(call_id, tool, input)
        self._unpacking = Unpacking()

    def take(self, text: str) -> str:
        return self._unpacking.feed(super().take(text))

    def close(self) -> str | None:
        return self._unpacking.close()

    def fields(self, status: str) -> Wire:
        text = "" if status == "in_progress" else self.text
        return {"type": "custom_tool_call", "status": status, "input": text, **self._head}

    def rungs(self) -> list[Wire]:
        return [{"type": "response.custom_tool_call_input.done", **self.at, "input": self.text}]


class SearchCall(Call):
    """A call of the client's own search for tools: its arguments are an object, and come with its end (hazard H150).

    Source: developers.openai.com, tool search; Codex runs it only if `execution` says that it is to.
    """

    prefix, streams = "tsc", False

    def take(self, text: str) -> str:
        self.pieces.append(super().take(text))
        return ""

    def fields(self, status: str) -> Wire:
        arguments = mended(self.text.encode(errors="replace")) if status == "completed" else b"{}"
        told = {"status": status, "call_id": self.call_id, "execution": "client"}
        return {"type": "tool_search_call", **told, "arguments": msgspec.Raw(msgspec.json.format(arguments, indent=-1))}

    def rungs(self) -> list[Wire]:
        return []
