from typing import Any

import pytest
from msgspec.structs import replace

from tests.anthropic import FOLDED, STREAM, message
from tests.chat import C_ON_A
from trioproxy.items import (
    BlockStart,
    Error,
    Frame,
    MessageStart,
    Ping,
    SignatureDelta,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolUse,
)
from trioproxy.stages.translate import Translate
from trioproxy.testing import check_stage, drive


def test_an_untouched_event_leaves_as_its_frame() -> None:
    frame = Frame(b'{"type":"ping"   }', "ping", b"event: ping\n...")
    assert drive([Translate()], [Ping().read_from(frame)])[0] is frame


def test_a_changed_event_is_written_anew() -> None:
    delta = TextDelta(0, "a").read_from(Frame(b"...", "content_block_delta", b"..."))
    assert isinstance(delta, TextDelta)
    changed = replace(delta, text="A")
    out = drive([Translate()], [*message()[:2], changed])
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"A"}}'
    assert out[2:3] == [Frame(data, "content_block_delta")]


def test_an_error_of_ours_is_the_proxys_to_write() -> None:
    error = Error("upstream", "gone")
    assert drive([Translate()], [error], exchange=STREAM) == [error]


def test_folds_for_a_client_that_did_not_ask_to_stream() -> None:
    out = drive([Translate()], message("Hel", "lo"), exchange=FOLDED)
    assert len(out) == 1
    assert out[0].whole
    assert b'"content":[{"type":"text","text":"Hello"}]' in out[0].data


THOUGHT = [MessageStart("msg_1", "m"), BlockStart(0, Thinking()), ThinkingDelta(0, "hm"), SignatureDelta(0, "s")]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, b'"reasoning_content":"hm"'),
        ({"reasoning": "reasoning"}, b'"reasoning":"hm"'),
        ({"reasoning": "reasoning_details"}, b'"signature":"s"'),
    ],
)
def test_a_style_is_for_chat_clients_alone(options: Any, told: bytes) -> None:
    assert told in b"".join(item.data for item in drive([Translate(**options)], THOUGHT, exchange=C_ON_A)[:-1])
    assert drive([Translate(**options)], THOUGHT) == drive([Translate()], THOUGHT)
    call = [MessageStart("msg_1", "m"), BlockStart(0, ToolUse(id="t", name="f")), ToolInputDelta(0, "{")]
    single = Translate(tool_calls="single", **options)
    assert b"tool_calls" not in b"".join(item.data for item in drive([single], call, exchange=C_ON_A)[:-1])
    assert drive([Translate(tool_calls="single", **options)], call) == drive([Translate()], call)


def test_is_a_good_stage() -> None:
    check_stage(Translate, message("Hi"))
    check_stage(Translate, message("Hi"), exchange=C_ON_A)
    check_stage(lambda: Translate(reasoning="reasoning_details", tool_calls="single"), THOUGHT, exchange=C_ON_A)
