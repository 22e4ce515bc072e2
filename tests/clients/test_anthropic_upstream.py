"""The scripted upstream itself: it takes a conversation that comes back as it was made, and refuses every other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from . import anthropic_upstream as upstream
from .anthropic_upstream import (
    BINDING,
    CONTEXT,
    INTERLEAVED,
    AnthropicUpstream,
    Call,
    Claude,
    Redact,
    Say,
    Step,
    Think,
    Wire,
)

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")

SECONDS = 20.0
MANUAL, ADAPTIVE, PRESERVED = "claude-haiku-4-5", "claude-opus-4-7", "claude-opus-5-5"
TOOL = {"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}
BUDGET = {"type": "enabled", "budget_tokens": 2048}
ADAPT = {"type": "adaptive"}
DROP = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}

FIRST: Step = (
    Think("Zwei Dinge sind zu sehen: ein Schloß und ein Fluß."),
    Say("Let me look. "),
    Think(),
    Call("look", {"at": "Würzburg", "number": 9007199254740993}),
    Call("look", {"at": "the river", "also": {"deep": None}}),
)
SCRIPT: list[Step] = [
    FIRST,
    (Redact(), Call("look", {"at": "the bridge"})),
    [Call("look")],
    (Think("Enough."), Say("A castle.")),
    (Think("Again?"), Call("look", {"at": "the castle"})),
    (Say("A castle still."),),
]

# ── conversations that are fine ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("model", [MANUAL, ADAPTIVE, PRESERVED])
def test_what_comes_back_as_it_was_made_is_taken(model: str, streamed: bool) -> None:
    """Two turns of the user's with a loop of tools each, by the SDK, which carries signatures."""
    messages: list[Any] = []
    made: list[list[str]] = []
    with (
        AnthropicUpstream(SCRIPT) as claude,
        anthropic.Anthropic(
            base_url=claude.url,
            api_key="dummy",
            max_retries=0,
            timeout=SECONDS,
            http_client=anthropic.DefaultHttpxClient(trust_env=False),  # without the proxies of the environment
            default_headers={"anthropic-beta": INTERLEAVED},
        ) as client,
    ):
        options: Any = {"model": model, "max_tokens": 9000, "tools": [TOOL], "system": "Look around."}
        options["thinking"] = BUDGET if model == MANUAL else ADAPT
        for question in ("What do you see?", "And now?"):
            messages.append({"role": "user", "content": question})
            while messages[-1]["role"] == "user":
                if streamed:
                    with client.messages.stream(**options, messages=messages) as stream:
                        answer = stream.get_final_message()
                else:
                    answer = client.messages.create(**options, messages=messages)
                made.append([block.type for block in answer.content])
                messages.append({"role": "assistant", "content": answer.content})
                if calls := [block.id for block in answer.content if block.type == "tool_use"]:
                    messages.append({"role": "user", "content": [result(id) for id in calls]})
        models = [each.id for each in client.models.list()]
    assert claude.refused == claude.problems == []
    kinds = {Think: "thinking", Redact: "redacted_thinking", Say: "text", Call: "tool_use"}
    assert made == [[kinds[type(part)] for part in step] for step in SCRIPT]
    assert [each.thinking for each in claude.seen] == [True] * len(SCRIPT)
    assert [each.changed + each.dropped for each in claude.seen] == [()] * len(SCRIPT)
    assert [len(each.thoughts) for each in claude.seen] == [0, 2, 3, 3, 4, 5]
    assert model in models


def result(id: str) -> Wire:
    return {"type": "tool_result", "tool_use_id": id, "content": "As it always was."}


class Talk:
    """A conversation without a socket, as far as `steps` of the script; `body` is the request that goes on with it."""

    def __init__(self, model: str, steps: int, script: list[Step] = SCRIPT, **options: Any) -> None:
        self.claude = Claude(script)
        self.headers = {"anthropic-beta": INTERLEAVED}
        self.body: Wire = {"model": model, "max_tokens": 9000, "tools": [TOOL]}
        self.body |= {"thinking": BUDGET if model == MANUAL else ADAPT} | options
        self.body["messages"] = [{"role": "user", "content": "What do you see?"}]
        for _ in range(steps):
            self.go_on()

    def go_on(self) -> Wire:
        status, answer = self.ask(self.body)
        assert status == 200, answer
        self.messages.append({"role": "assistant", "content": answer["content"]})
        calls = [block["id"] for block in answer["content"] if block["type"] == "tool_use"]
        self.messages.append({"role": "user", "content": [result(id) for id in calls] or "And now?"})
        return answer

    def ask(self, body: Wire) -> tuple[int, Wire]:
        return self.claude.answer(copy.deepcopy(body), self.headers)

    @property
    def messages(self) -> list[Wire]:
        messages: list[Wire] = self.body["messages"]
        return messages

    def without(self, *kinds: str) -> None:
        """Take blocks out of every message, as clients do that cannot carry them."""
        for message in self.messages:
            if message["role"] == "assistant":
                message["content"] = [block for block in message["content"] if block["type"] not in kinds]

    def refusal(self, body: Wire | None = None) -> str:
        status, answer = self.ask(self.body if body is None else body)
        assert status == 400, "taken"
        assert answer["type"] == "error"
        assert answer["error"]["type"] == "invalid_request_error"
        assert answer["request_id"]
        said: str = answer["error"]["message"]
        assert self.claude.refused[-1] == said
        return said


THOUGHTS = ("thinking", "redacted_thinking")


@pytest.mark.parametrize("model", [ADAPTIVE, PRESERVED])
def test_models_that_decide_themselves_take_a_loop_without_its_thinking(model: str) -> None:
    talk = Talk(model, 2)
    talk.without(*THOUGHTS)
    assert talk.ask(talk.body)[0] == 200
    assert talk.claude.seen[-1].changed == ("messages.1", "messages.3")


def test_with_thinking_off_a_loop_needs_none() -> None:
    talk = Talk(MANUAL, 2)
    talk.without(*THOUGHTS)
    del talk.body["thinking"]
    status, answer = talk.ask(talk.body)
    assert status == 200
    assert [block["type"] for block in answer["content"]] == ["tool_use"]
    assert not talk.claude.seen[-1].thinking


def test_without_interleaving_only_the_first_message_of_a_turn_thinks() -> None:
    talk = Talk(MANUAL, 0)
    talk.headers = {}
    for _ in range(5):
        talk.go_on()
    kinds = [[block["type"] for block in each["content"]] for each in talk.messages if each["role"] == "assistant"]
    assert kinds == [
        ["thinking", "text", "thinking", "tool_use", "tool_use"],
        ["tool_use"],
        ["tool_use"],
        ["text"],
        ["thinking", "tool_use"],
    ]
    assert talk.claude.refused == []


def test_thinking_of_turns_that_are_over_may_be_left_out() -> None:
    talk = Talk(MANUAL, 4)  # of which the last is an answer, so that a new turn begins
    talk.without(*THOUGHTS)
    assert talk.ask(talk.body)[0] == 200


def test_omitted_thinking_is_only_signed() -> None:
    talk = Talk(ADAPTIVE, 0, thinking=ADAPT | {"display": "omitted"})
    thoughts = [block for block in talk.go_on()["content"] if block["type"] == "thinking"]
    assert [block["thinking"] for block in thoughts] == ["", ""]
    assert talk.ask(talk.body)[0] == 200


def test_seals_are_never_the_same_and_tell_nothing() -> None:
    talk = Talk(PRESERVED, 0, [(Think("Hm."), Think("Hm."), Redact(), Redact(), Call("look"))])
    first, second, third, fourth, _ = talk.go_on()["content"]
    assert len({first["signature"], second["signature"], third["data"], fourth["data"]}) == 4


def test_an_unknown_model() -> None:
    talk = Talk(MANUAL, 0)
    status, answer = talk.ask(talk.body | {"model": "claude-none"})
    assert (status, answer["error"]) == (404, {"type": "not_found_error", "message": "model: claude-none"})
    assert talk.claude.refused == ["model: claude-none"]


# ── what is refused: of options ─────────────────────────────────────────────────────────────────────────────────────

DOCS = "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
CLEAR = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (MANUAL, {"max_tokens": 2048}, "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult"),
        (
            MANUAL,
            {"thinking": {"type": "enabled", "budget_tokens": 1023}},
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (MANUAL, {"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        (MANUAL, {"thinking": ADAPT}, "adaptive thinking is not supported on this model"),
        (ADAPTIVE, {"thinking": BUDGET}, '"thinking.type.enabled" is not supported for this model. Use "thinking.type'),
        (PRESERVED, {"thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported for this model.'),
        (MANUAL, {"thinking": {"type": "hard"}}, "thinking: Input tag 'hard' found using 'type' does not match any of"),
        (MANUAL, {"thinking": BUDGET | {"effort": "high"}}, "thinking.effort: Extra inputs are not permitted"),
        (PRESERVED, {"thinking": DROP}, "thinking.block_binding: Extra inputs are not permitted"),
        (MANUAL, {"temperature": 0.5}, "`temperature` may only be set to 1 when thinking is enabled. " + DOCS),
        (MANUAL, {"top_p": 0.9}, "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled. "),
        (MANUAL, {"top_k": 5}, "`top_k` must be unset when thinking is enabled. " + DOCS),
        (MANUAL, {"temperature": 1, "top_p": 1}, "`temperature` and `top_p` cannot both be specified for this model."),
        (ADAPTIVE, {"temperature": 1}, "`temperature` is deprecated for this model."),
        (PRESERVED, {"top_k": 5}, "`top_k` is deprecated for this model."),
        (MANUAL, {"tool_choice": {"type": "any"}}, "Thinking may not be enabled when tool_choice forces tool use."),
        (PRESERVED, {"tool_choice": {"type": "any"}}, 'tool_choice: type "tool" and "any" are not supported for this'),
        (MANUAL, {"output_config": {"effort": "high"}}, "This model does not support the effort parameter."),
        (MANUAL, {"context_management": CLEAR}, "context_management: Extra inputs are not permitted"),
        (MANUAL, {"reasoning_effort": "high"}, "reasoning_effort: Extra inputs are not permitted"),
        (MANUAL, {"max_tokens": None}, "max_tokens: Field required"),
        (MANUAL, {"messages": []}, "messages: at least one message is required"),
        (MANUAL, {"model": None}, "model: Input should be a valid string"),
        (MANUAL, {"tools": [], "tool_choice": {"type": "auto"}}, "tool_choice: tool_choice may only be specified whi"),
    ],
)
def test_options_that_are_refused(model: str, options: Wire, words: str) -> None:
    talk = Talk(model, 0)
    talk.headers = {}
    assert talk.ask(talk.body)[0] == 200, "refused without these options too"
    assert talk.refusal(talk.body | options).startswith(words)


def test_clearing_thinking_without_thinking() -> None:
    talk = Talk(MANUAL, 0, context_management=CLEAR)
    talk.headers = {"anthropic-beta": f"{INTERLEAVED}, {CONTEXT}"}
    assert talk.ask(talk.body)[0] == 200
    del talk.body["thinking"]
    assert talk.refusal() == "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (MANUAL, {"temperature": 1}),
        (MANUAL, {"top_p": 0.95}),
        (MANUAL, {"thinking": {"type": "disabled"}, "temperature": 0.5, "top_k": 5}),
        (MANUAL, {"thinking": {"type": "disabled"}, "tool_choice": {"type": "any"}}),
        (ADAPTIVE, {"thinking": {"type": "disabled"}, "tool_choice": {"type": "any"}}),
        (ADAPTIVE, {"tool_choice": {"type": "any"}, "output_config": {"effort": "high"}}),
        (MANUAL, {"max_tokens": 2048}),  # with interleaving it counts what is said in the end
    ],
)
def test_options_that_are_taken(model: str, options: Wire) -> None:
    talk = Talk(model, 0)
    assert talk.ask(talk.body | options)[0] == 200


# ── what is refused: of thinking that came back ─────────────────────────────────────────────────────────────────────


def expected(found: str) -> str:
    return (
        f"Expected `thinking` or `redacted_thinking`, but found `{found}`. When `thinking` is enabled, a final"
        " `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and"
        " `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this"
        f" requirement, disable `thinking`. {DOCS}"
    )


def test_a_loop_must_begin_with_its_thinking() -> None:
    talk = Talk(MANUAL, 1)
    talk.without(*THOUGHTS)
    assert talk.refusal() == f"messages.1.content.0.type: {expected('text')}"
    talk.without("text")
    assert talk.refusal() == f"messages.1.content.0.type: {expected('tool_use')}"


def test_every_message_of_a_loop_must_begin_with_its_thinking() -> None:
    talk = Talk(MANUAL, 3)
    whole = copy.deepcopy(talk.messages)
    talk.without("redacted_thinking")
    assert talk.refusal() == f"messages.3.content.0.type: {expected('tool_use')}"
    talk.body["messages"] = whole
    talk.without("thinking")
    assert talk.refusal() == f"messages.1.content.0.type: {expected('text')}"


def test_what_was_made_with_thinking_off_is_no_loop_to_think_in() -> None:
    talk = Talk(MANUAL, 1, thinking={"type": "disabled"})
    talk.body["thinking"] = BUDGET
    assert talk.refusal() == f"messages.1.content.0.type: {expected('text')}"


def test_calls_of_others_are_no_loop_to_think_in() -> None:
    talk = Talk(MANUAL, 0)
    call = {"type": "tool_use", "id": "toolu_others", "name": "look", "input": {}}
    talk.messages.append({"role": "assistant", "content": [call]})
    talk.messages.append({"role": "user", "content": [result("toolu_others")]})
    assert talk.refusal() == f"messages.1.content.0.type: {expected('tool_use')}"


def test_an_answer_begun_for_the_model() -> None:
    talk = Talk(MANUAL, 0)
    talk.messages.append({"role": "assistant", "content": "I see"})
    assert talk.refusal() == f"messages.1.content.0.type: {expected('text')}"
    assert talk.ask(talk.body | {"thinking": {"type": "disabled"}})[0] == 200
    for model in (ADAPTIVE, PRESERVED):
        words = "This model does not support assistant message prefill. The conversation must end with a user message."
        assert talk.refusal(talk.body | {"model": model, "thinking": ADAPT}) == words


def test_thinking_in_the_final_position() -> None:
    talk = Talk(MANUAL, 4)
    del talk.messages[-1]
    assert talk.ask(talk.body)[0] == 200
    assert talk.refusal(talk.body | {"thinking": {"type": "disabled"}}) == (
        "messages.7.content.0: When thinking is disabled, an `assistant` message in the final position cannot contain"
        " `thinking`. To use thinking blocks, enable `thinking` in your request."
    )
    del talk.messages[-1]["content"][1]
    assert talk.refusal() == "messages.7: The final block in an assistant message cannot be `thinking`."


Change = Callable[[Wire], Any]


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block.update(thinking=block["thinking"] + " "),
        lambda block: block.update(thinking=block["thinking"].replace("ß", "ss")),
        lambda block: block.update(thinking=""),
        lambda block: block.update(signature=block["signature"][:-4]),
        lambda block: block.update(signature="A" + block["signature"][1:]),
        lambda block: block.update(signature="A" * 44),
        lambda block: block.update(signature="no base64"),
        lambda block: block.update(signature=""),
    ],
)
@pytest.mark.parametrize("thinking", [BUDGET, {"type": "disabled"}], ids=["on", "off"])
def test_thinking_that_was_changed(change: Change, thinking: Wire) -> None:
    talk = Talk(MANUAL, 2)
    talk.body["thinking"] = thinking
    change(talk.messages[1]["content"][0])
    assert talk.refusal() == "messages.1.content.0: Invalid `signature` in `thinking` block"


@pytest.mark.parametrize("data", [lambda data: data[:-4], lambda _: "AAAA", lambda data: f"A{data[1:]}", lambda _: ""])
def test_redacted_thinking_that_was_changed(data: Callable[[str], str]) -> None:
    talk = Talk(MANUAL, 2)
    block = talk.messages[3]["content"][0]
    block["data"] = data(block["data"])
    assert talk.refusal() == "messages.3.content.0: Invalid `data` in `redacted_thinking` block"


def test_a_signature_is_no_redacted_thinking() -> None:
    talk = Talk(MANUAL, 1)
    signed = talk.messages[1]["content"][2]
    talk.messages[1]["content"][2] = {"type": "redacted_thinking", "data": signed["signature"]}
    assert talk.refusal() == "messages.1.content.2: Invalid `data` in `redacted_thinking` block"


def test_thinking_of_another_model() -> None:
    talk = Talk(ADAPTIVE, 1)
    talk.body |= {"model": MANUAL, "thinking": BUDGET}
    assert talk.refusal() == "messages.1.content.0: Invalid `signature` in `thinking` block"


def cut(content: list[Wire]) -> None:
    del content[2]


def swapped(content: list[Wire]) -> None:
    content[0], content[2] = content[2], content[0]


def doubled(content: list[Wire]) -> None:
    content.insert(3, content[2])


@pytest.mark.parametrize(("change", "place"), [(cut, 0), (swapped, 0), (doubled, 3)])
@pytest.mark.parametrize("model", [MANUAL, ADAPTIVE])
def test_thinking_of_the_latest_message_is_all_there_or_not_at_all(model: str, change: Change, place: int) -> None:
    talk = Talk(model, 1)
    change(talk.messages[1]["content"])
    words = (
        f"messages.1.content.{place}: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot"
        " be modified. These blocks must remain as they were in the original response."
    )
    assert talk.refusal() == words


def test_thinking_of_another_message_in_the_latest() -> None:
    talk = Talk(MANUAL, 2)
    talk.messages[3]["content"][0] = talk.messages[1]["content"][0]
    assert talk.refusal().startswith("messages.3.content.0: `thinking` or `redacted_thinking` blocks in the latest")


@pytest.mark.parametrize(("place", "kind"), [(0, "thinking"), (1, "redacted_thinking")])
@pytest.mark.parametrize("key", ["cache_control", "citations"])
def test_thinking_has_no_other_fields(place: int, kind: str, key: str) -> None:
    talk = Talk(MANUAL, 2)
    talk.messages[1 + 2 * place]["content"][0][key] = {"type": "ephemeral"}
    where = f"messages.{1 + 2 * place}.content.0.{kind}"
    assert talk.refusal() == f"{where}.{key}: Extra inputs are not permitted"


# ── what is refused: of calls and results ───────────────────────────────────────────────────────────────────────────


def test_calls_without_results() -> None:
    talk = Talk(MANUAL, 1)
    first, second = (block["id"] for block in talk.messages[1]["content"][3:])
    words = (
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use`"
        " block must have a corresponding `tool_result` block in the next message."
    )
    both = talk.messages[2]["content"]
    talk.messages[2]["content"] = [both[0], {"type": "text", "text": "Wait."}, both[1]]
    assert talk.refusal() == words.format(second)
    talk.messages[2]["content"] = "Never mind."
    assert talk.refusal() == words.format(f"{first}, {second}")
    talk.messages[2:] = [{"role": "user", "content": [each]} for each in both]  # which the API takes for one message
    assert talk.ask(talk.body)[0] == 200


def test_results_without_calls() -> None:
    talk = Talk(MANUAL, 1)
    talk.messages[2]["content"].append(result("toolu_none"))
    assert talk.refusal() == (
        "messages.2.content.2: unexpected `tool_use_id` found in `tool_result` blocks: toolu_none. Each `tool_result`"
        " block must have a corresponding `tool_use` block in the previous message."
    )
    talk.messages[2]["content"][2] = talk.messages[2]["content"][1]
    assert talk.refusal().startswith("messages: each tool_use must have a single result.")


def test_calls_that_are_wrong_in_themselves() -> None:
    talk = Talk(MANUAL, 1)
    calls = talk.messages[1]["content"][3:]
    del talk.body["tools"]
    words = "Requests which include `tool_use` or `tool_result` blocks must define tools"
    assert talk.refusal() == words
    talk.body["tools"] = [TOOL]
    calls[1]["id"] = calls[0]["id"]
    assert talk.refusal() == "messages: `tool_use` ids must be unique"
    calls[1]["id"] = "functions.look:0"
    assert talk.refusal() == "messages.1.content.4.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
    calls[1]["input"] = "{}"
    assert talk.refusal() == "messages.1.content.4.tool_use.input: Field required"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "system", "content": "Hm."}, "messages.1.role: Input should be 'user' or 'assistant'"),
        ({"role": "user", "content": None}, "messages.1.content: Input should be a valid list"),
        ({"role": "user", "content": []}, "messages.1: all messages must have non-empty content except for the opt"),
        ({"role": "user", "content": " \n"}, "messages: text content blocks must contain non-whitespace text"),
        ({"role": "user", "content": "Hm.", "name": "Me"}, "messages.1.name: Extra inputs are not permitted"),
        ({"role": "user", "content": [{"type": "tool_use"}]}, "messages.1.content.0: Input tag 'tool_use' found using"),
    ],
)
def test_messages_that_are_none(message: Wire, words: str) -> None:
    talk = Talk(MANUAL, 0)
    talk.body["messages"] = [*talk.messages, message, {"role": "user", "content": "What do you see?"}]
    assert talk.refusal().startswith(words)


def test_the_user_begins() -> None:
    talk = Talk(ADAPTIVE, 0)
    talk.messages.insert(0, {"role": "assistant", "content": "Ask!"})
    assert talk.refusal() == 'messages: first message must use the "user" role'


# ── thinking that is bound to its conversation ──────────────────────────────────────────────────────────────────────


def retold(talk: Talk) -> None:
    talk.messages[0]["content"] = "What did you see?"


def instructed(talk: Talk) -> None:
    talk.body["system"] = "Today is Saturday."


def equipped(talk: Talk) -> None:
    talk.body["tools"] = [TOOL, TOOL | {"name": "touch"}]


def answered(talk: Talk) -> None:
    talk.messages[2]["content"][0]["content"] = "As it never was."


def renumbered(talk: Talk) -> None:
    talk.messages[1]["content"][3]["input"] = {"at": "Würzburg", "number": 9007199254740992}


CHANGES = [(retold, 1, 0), (instructed, 1, 0), (equipped, 1, 0), (answered, 3, 0), (renumbered, 3, 0)]


@pytest.mark.parametrize(("change", "message", "place"), CHANGES)
def test_thinking_behind_what_was_changed(change: Callable[[Talk], None], message: int, place: int) -> None:
    talk = Talk(PRESERVED, 2)
    change(talk)
    assert talk.refusal() == (
        f"messages.{message}.content.{place}: Invalid `signature` in `thinking` block. The block is bound to a"
        " different conversation. Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to"
        ' "drop_block".'
    )
    talk.headers["anthropic-beta"] += f",{BINDING}"
    status, answer = talk.ask(talk.body | {"thinking": DROP})
    assert status == 200
    wanted = [f"messages.{number}.content.{at}" for number, at in ((1, 0), (1, 2), (3, 0)) if number >= message]
    assert talk.claude.seen[-1].dropped == tuple(wanted)
    assert [each["path"] for each in answer["input_transformations"]] == wanted
    talk.without(*THOUGHTS)
    assert talk.ask(talk.body)[0] == 200


def test_thinking_that_was_left_out_between_other_thinking() -> None:
    talk = Talk(PRESERVED, 2)
    first, *rest = talk.messages[1]["content"]
    talk.messages[1]["content"] = rest
    assert talk.ask(talk.body)[0] == 200, "at the beginning it may be left out"
    talk.messages[1]["content"] = [first, rest[0], *rest[2:]]
    assert talk.refusal().startswith("messages.3.content.0: Invalid `signature` in `thinking` block. The block is boun")


def test_other_models_look_at_no_prefix() -> None:
    for model in (MANUAL, ADAPTIVE):
        talk = Talk(model, 2)
        retold(talk)
        assert talk.ask(talk.body)[0] == 200


def test_what_says_the_same_is_the_same_prefix() -> None:
    talk = Talk(PRESERVED, 2, system="Look around.")
    mark = {"cache_control": {"type": "ephemeral"}}
    talk.body["system"] = [{"type": "text", "text": "Look around."} | mark]
    talk.body["tools"] = [dict(reversed(TOOL.items())) | mark]
    talk.messages[0]["content"] = [{"type": "text", "text": "What do you see?"} | mark]
    first, second = talk.messages[2]["content"]
    first |= {"is_error": False, "content": [{"type": "text", "text": first["content"]}]} | mark
    talk.messages[2:3] = [{"role": "user", "content": [first]}, {"role": "user", "content": [second]}]
    assert talk.ask(talk.body)[0] == 200
    assert talk.claude.seen[-1].changed == ()


# ── on the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_wire_refuses_too() -> None:
    with AnthropicUpstream(SCRIPT) as claude:
        options: Any = {"base_url": claude.url, "max_retries": 0, "timeout": SECONDS}
        options["http_client"] = anthropic.DefaultHttpxClient(trust_env=False)
        with anthropic.Anthropic(api_key="dummy", **options) as client:
            question: Any = {"model": MANUAL, "messages": [{"role": "user", "content": "?"}]}
            with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required"):
                client.messages.create(**question, max_tokens=0)
            with pytest.raises(anthropic.NotFoundError):
                client.post("/v1/complete", body={}, cast_to=object)
    assert claude.refused == ["max_tokens: Field required", "POST /v1/complete"]
    assert claude.problems == []
    assert upstream.MODELS.keys() >= {MANUAL, ADAPTIVE, PRESERVED}
