"""What OpenAI's two dialects both say: from one to the other nothing of it is lost, where the host is known to take it.

Only what was lost says so, and truly: a route that is strict refuses a request with anything in its ledger.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trioproxy.dialects import DIALECTS
from trioproxy.dialects.target import Target
from trioproxy.ledger import Ledger

OPENAI = "api.openai.com"
C, R = "openai-chat", "openai-responses"
NOT_KNOWN = "this upstream is not known to take it"
HI: dict[str, Any] = {C: {"messages": [{"role": "user", "content": "hi"}]}, R: {"input": "hi"}}
ROOM = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}

BOTH = [
    ({"service_tier": "priority"}, {"service_tier": "priority"}),
    ({"service_tier": "default"}, {"service_tier": "default"}),
    ({"verbosity": "low"}, {"text": {"verbosity": "low"}}),
    ({"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
    ({"prompt_cache_retention": "24h"}, {"prompt_cache_retention": "24h"}),
    ({"prompt_cache_options": {"ttl": "1h"}}, {"prompt_cache_options": {"ttl": "1h"}}),
]
"""What a body has in Chat, and what in Responses."""


def crossed(
    source: str, wire: dict[str, Any], host: str = OPENAI, *, model: str = "gpt-5.6", **target: Any
) -> tuple[Any, str]:
    """The body of the other dialect for a request of this one, and what was lost."""
    into, ledger = R if source == C else C, Ledger()
    request = DIALECTS[source].read_request(msgspec.json.encode({"model": model, **HI[source], **wire}))
    written = DIALECTS[into].write_request(request, Target(host=host, **target), ledger)
    return msgspec.json.decode(written.body), str(ledger)


def within(body: dict[str, Any], wire: dict[str, Any]) -> bool:
    """Whether the body has all that the wire has."""
    return all(
        within(body[key], value) if isinstance(value, dict) else body.get(key) == value for key, value in wire.items()
    )


@pytest.mark.parametrize(("chat", "responses"), BOTH)
@pytest.mark.parametrize("host", [OPENAI, "mine.openai.azure.com"])
def test_what_both_say_is_not_lost_between_them(chat: Any, responses: Any, host: str) -> None:
    body, lost = crossed(C, chat, host)
    assert (within(body, responses), lost) == (True, "")
    body, lost = crossed(R, responses, host)
    assert (within(body, chat), lost) == (True, "")


@pytest.mark.parametrize(
    ("source", "wire", "path"),
    [
        (C, {"service_tier": "priority"}, "service_tier"),
        (R, {"service_tier": "priority"}, "service_tier"),
        (C, {"verbosity": "low"}, "verbosity"),
        (R, {"text": {"verbosity": "low"}}, "text.verbosity"),
        (C, {"metadata": {"team": "a"}}, "metadata"),
        (C, {"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        (R, {"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
    ],
)
def test_a_host_that_is_not_known_gets_none_of_it_and_the_reason_is_true(source: str, wire: Any, path: str) -> None:
    body, lost = crossed(source, wire, "localhost")
    assert body == crossed(source, {}, "localhost")[0]
    assert lost == f"{path} ({NOT_KNOWN})"


@pytest.mark.parametrize(
    ("source", "wire"),
    [
        (C, {"service_tier": "auto", "verbosity": "medium", "prompt_cache_retention": "in_memory"}),
        (R, {"service_tier": "auto", "text": {"verbosity": "medium"}, "prompt_cache_retention": "in_memory"}),
        (C, {"prompt_cache_key": "k"}),
        (R, {"prompt_cache_key": "k"}),
    ],
)
def test_what_says_what_holds_anyway_or_where_a_cache_is_can_be_left_out(source: str, wire: Any) -> None:
    body, lost = crossed(source, wire, "localhost")
    assert (body, lost) == (crossed(source, {}, "localhost")[0], "")


@pytest.mark.parametrize("source", [C, R])
def test_the_clients_own_cache_key_stands_over_its_session(source: str) -> None:
    own, session = {"prompt_cache_key": "own"}, {"cache_key": "session", "session": "s"}
    assert crossed(source, own, OPENAI, **session)[0]["prompt_cache_key"] == "own"
    # The operator says that this host takes one.
    assert crossed(source, own, "localhost", **session)[0]["prompt_cache_key"] == "own"
    assert crossed(source, {}, "localhost", **session)[0]["prompt_cache_key"] == "s"


def test_labels_go_where_an_answer_need_not_be_stored_for_them() -> None:
    body, lost = crossed(C, {"metadata": {"team": "a"}})
    assert (body["metadata"], body["store"], lost) == ({"team": "a"}, False, "")
    body, lost = crossed(R, {"metadata": {"team": "a"}})
    assert "metadata" not in body
    assert lost == "metadata (Chat Completions takes labels only of what it stores, and nothing is stored)"


@pytest.mark.parametrize(
    ("wire", "path", "models"),
    [
        ({"verbosity": "low"}, "verbosity", ("gpt-4o", "o3", "gpt-5-chat-latest", "gpt-5.1-codex-max")),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention", ("gpt-4o", "gpt-4.1", "gpt-5-mini")),
        ({"prompt_cache_options": {"ttl": "1h"}}, "prompt_cache_options", ("gpt-5.4",)),
    ],
)
def test_a_model_that_would_refuse_it_is_not_told(wire: Any, path: str, models: tuple[str, ...]) -> None:
    for model in models:
        body, lost = crossed(C, wire, model=model)
        assert path not in str(body)
        assert lost == f"{path} ({NOT_KNOWN})"


# ── the form of the answer ──────────────────────────────────────────────────────────────────────────────────────────


def form_in(source: str, form: dict[str, Any]) -> dict[str, Any]:
    """A request with a schema, as that dialect says it."""
    if source == C:
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    return {"text": {"format": {"type": "json_schema", **form}}}


@pytest.mark.parametrize("source", [C, R])
@pytest.mark.parametrize("host", [OPENAI, "localhost"])
def test_a_schema_keeps_its_name_and_description(source: str, host: str) -> None:
    form = {"name": "room", "description": "Where it is.", "schema": ROOM, "strict": True}
    body, lost = crossed(source, form_in(source, form), host)
    assert (within(body, form_in(R if source == C else C, form)), lost) == (True, "")


@pytest.mark.parametrize("source", [C, R])
def test_h140_only_what_the_client_wants_strict_is(source: str) -> None:
    loose = {"name": "room", "schema": {"type": "object"}}
    body, lost = crossed(source, form_in(source, loose))
    assert (within(body, form_in(R if source == C else C, loose | {"strict": False})), lost) == (True, "")
    assert "strict mode does not take this schema" in crossed(source, form_in(source, loose | {"strict": True}))[1]


def test_a_description_is_lost_where_no_schema_is_taken() -> None:
    form = {"name": "room", "description": "Where it is.", "schema": ROOM}
    lost = crossed(C, form_in(C, form), "api.deepseek.com")[1]
    assert f"response_format.json_schema.description ({NOT_KNOWN})" in lost


# ── images ──────────────────────────────────────────────────────────────────────────────────────────────────────────

DATA = "data:image/png;name=a.png;base64,AAAA"
AS_SENT = "data:image/png;base64,AAAA"
URL = "https://example.org/a.png"


def chat_image(url: str, **detail: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def responses_image(url: str, detail: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": detail}


def in_chat(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def in_responses(*parts: Any) -> dict[str, Any]:
    return {"input": [{"type": "message", "role": "user", "content": list(parts)}]}


def test_images_are_looked_at_as_closely_as_the_client_says() -> None:
    body, lost = crossed(C, in_chat(chat_image(DATA, detail="low"), chat_image(URL, detail="high")))
    assert body["input"] == in_responses(responses_image(AS_SENT, "low"), responses_image(URL, "high"))["input"]
    assert lost == ""
    body, lost = crossed(R, in_responses(responses_image(DATA, "low"), responses_image(URL, "auto")))
    assert body["messages"] == in_chat(chat_image(AS_SENT, detail="low"), chat_image(URL, detail="auto"))["messages"]
    assert lost == ""


def test_an_image_in_a_tools_result_too() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    seen = {"type": "function_call_output", "call_id": "c", "output": [responses_image(URL, "low")]}
    body, lost = crossed(R, {"input": [{"role": "user", "content": "hi"}, call, seen]})
    assert chat_image(URL, detail="low") in body["messages"][-1]["content"]
    assert "detail" not in lost


def test_an_unknown_host_looks_as_it_does() -> None:
    body, lost = crossed(C, in_chat(chat_image(URL, detail="low")), "localhost")
    assert body["input"][0]["content"] == [responses_image(URL, "auto")]
    assert lost == f"messages[].content[].image_url.detail ({NOT_KNOWN})"
    body, lost = crossed(R, in_responses(responses_image(URL, "low")), "localhost")
    assert body["messages"][0]["content"] == [chat_image(URL)]
    assert lost == f"input[].content[].detail ({NOT_KNOWN})"


def test_a_detail_that_has_no_place_is_still_noted() -> None:
    file = {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf", "detail": "low"}
    path = "input[].content[].detail"
    assert path in crossed(R, in_responses(file, responses_image(URL, "high")))[1]
    assert path in crossed(R, in_responses(responses_image(URL, "low"), responses_image(URL, "high")))[1]
    assert "messages[].content[].detail" in crossed(C, in_chat(chat_image(URL) | {"detail": "low"}))[1]


# ── everybody else ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_for_anthropic_it_is_lost_as_before() -> None:
    ledger = Ledger()
    request = DIALECTS[C].read_request(b'{"model":"m","messages":[{"role":"user","content":"hi"}],"verbosity":"low"}')
    DIALECTS["anthropic"].write_request(request, Target(host=OPENAI, max_tokens=9), ledger)
    assert "verbosity (cannot be said in another dialect)" in str(ledger)
