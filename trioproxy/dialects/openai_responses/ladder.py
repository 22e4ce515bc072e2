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

__all__ = ["ANNOTATION", "APART", "Call", "CustomCall", "Item", "Message", "Parted", "Reasoning", "SearchCall", "Wire"]

Wire = dict[str, Any]  # a JSON object as it goes out; `Any` because its inside is the provider's
ANNOTATION = "response.output_text.annotation.added"
"""The event that tells a citation."""
APART = "\n\n"
"""What is between the parts of a summary, in the one vocabulary."""
# What the text of reasoning and its parts are called in events: of a summary, and of the reasoning itself.
_SUMMARY, _RAW = ("reasoning_summary_text", "reasoning_summary_part"), ("reasoning_text", "content_part")


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
        self.passed = 0
        """How many rungs of the end of its part the client has been told."""
        self.base: Wire = {}
        """What the upstream says of it beside what we know: `phase`, …"""
        self.spoken = False
        """Whether a part of its text has begun."""
        self.done = False
        """Whether the client has been told its end."""

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
        raise NotImplementedError(f"{type(self).__name__} does not say which fields it has")

    def begin(self) -> list[Wire]:
        return [self._whole("response.output_item.added", self.wire("in_progress"))]

    def speak(self) -> list[Wire]:
        """What comes before the first piece of a part."""
        self.spoken = True
        return []

    def proceed(self) -> bool:
        """The part that was told is over: whether another may begin."""
        return False

    def piece(self, text: str) -> Wire:
        return {"type": self.delta, **self.at, "delta": text}

    def rungs(self) -> list[Wire]:
        """What repeats the text at its end, before the item itself."""
        return []

    def rest(self) -> list[Wire]:
        """Those of the rungs that the client has not been told."""
        rungs = self.rungs()
        told, self.passed, self.flows = rungs[self.passed :], max(self.passed, len(rungs)), False
        return told

    def end(self, item: msgspec.Raw) -> list[Wire]:
        return [*self.rest(), self._whole("response.output_item.done", item)]

    def _whole(self, kind: str, item: Wire | msgspec.Raw) -> Wire:
        return {"type": kind, "output_index": self.place, "item": item}


class Parted(Item):
    """An item whose text is told in parts, one after the other."""

    numbered: str
    """The field of its events that numbers them."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Wire] = []
        """The parts that are over."""

    @property
    def at(self) -> Wire:
        return {**super().at, self.numbered: len(self.before)}

    @property
    def part(self) -> Wire:
        """The part that is being told, as it is now."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its parts are")

    @property
    def parts(self) -> list[Wire]:
        return [*self.before, self.part] if self.spoken else self.before

    def proceed(self) -> bool:
        if self.spoken:
            self.before.append(self.part)
        self.pieces, self.flows, self.spoken, self.passed, self.around = [], False, False, 0, None
        return True


class Message(Parted):
    """A message: of ours each has one part."""

    prefix, delta, takes, numbered = "msg", "response.output_text.delta", TextDelta, "content_index"

    def __init__(self) -> None:
        super().__init__()
        self.cited: list[Any] = []
        self._refuses = False

    @property
    def part(self) -> Wire:
        if self._refuses:
            return {"type": "refusal", "refusal": self.text}
        return {"type": "output_text", "annotations": self.cited, "logprobs": [], "text": self.text}

    def refuse(self) -> None:
        """The upstream has begun a part that is a refusal, and its text goes on so."""
        self._refuses, self.delta, self.around = True, "response.refusal.delta", None

    def fields(self, status: str) -> Wire:
        content = self.parts if status != "in_progress" else []
        return {"type": "message", "status": status, "content": content, "role": "assistant"}

    def speak(self) -> list[Wire]:
        self.spoken = True
        return [{"type": "response.content_part.added", **self.at, "part": self.part}]

    def proceed(self) -> bool:
        super().proceed()
        self.cited, self._refuses, self.delta = [], False, type(self).delta
        return True

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


class Reasoning(Parted):
    """A block of thinking. `shown`: its text is told as a summary; else only what has to come back (hazard H089)."""

    prefix, delta, takes = "rs", "response.reasoning_summary_text.delta", ThinkingDelta
    numbered = "summary_index"

    def __init__(self, *, shown: bool) -> None:
        super().__init__()
        self.shown = shown
        self.signature: list[str] = []
        self.redacted = ""
        self._raw = self._announced = False  # no summary; and whether its part was announced, which some leave out
        self.sealed: Wire = {}
        """What is to come back with it, as fields of the item; known at its end."""

    def within(self, text: str) -> str:
        """What is told of a piece: the blank line that sets a part apart is none of its text (hazard H079)."""
        return text.removeprefix(APART) if self.before and not self.pieces else text

    @property
    def part(self) -> Wire:
        return {"type": "reasoning_text" if self._raw else "summary_text", "text": self.text}

    def bare(self, *, announced: bool) -> None:
        """The upstream tells the reasoning itself, and no summary of it (hazard H150e)."""
        self._raw, self._announced = True, self._announced or announced
        self.delta, self.numbered, self.around = "response.reasoning_text.delta", "content_index", None

    def fields(self, status: str) -> Wire:
        parts = self.parts if status != "in_progress" else []
        told = {"summary": [], "content": parts} if self._raw else {"summary": parts}
        return {"type": "reasoning", **told, **self.sealed}

    def speak(self) -> list[Wire]:
        self.spoken = True
        if self._raw and not self._announced:
            return []
        _, part = _RAW if self._raw else _SUMMARY
        return [{"type": f"response.{part}.added", **self.at, "part": {**self.part, "text": ""}}]

    def rungs(self) -> list[Wire]:
        if not self.spoken:
            return []
        text, part = _RAW if self._raw else _SUMMARY
        told = [
            {"type": f"response.{text}.done", **self.at, "text": self.text},
            {"type": f"response.{part}.done", **self.at, "part": self.part},
        ]
        return told if self._announced or not self._raw else told[:1]


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
    def head(self) -> Wire:
        namespace = {"namespace": self.tool.namespace} if self.tool.namespace else {}
        return {"call_id": self.call_id, "name": self.tool.name, **namespace}

    def fields(self, status: str) -> Wire:
        arguments = "" if status == "in_progress" else self.text
        return {"type": "function_call", "status": status, "arguments": arguments, **self.head}

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
        return {"type": "custom_tool_call", "status": status, "input": text, **self.head}

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
