import pytest
from msgspec.structs import replace

from tests.anthropic import FOLDED, STREAM
from trioproxy.items import (
    BlockStart,
    BlockStop,
    Image,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Request,
    Text,
    TextDelta,
    Usage,
)
from trioproxy.stages.quota_probe import QuotaProbe
from trioproxy.stages.translate import Translate
from trioproxy.testing import check_stage, drive

PROBE = Request("claude-haiku-4-5", (Message("user", "quota"),), max_tokens=1)
BILLING = "x-anthropic-billing-header: cc_version=2.1.58; cch=fa690;"


def said(content: str | tuple[Text | Image, ...], role: str = "user") -> Request:
    return replace(PROBE, messages=(Message(role, content),))


@pytest.mark.parametrize(
    "probe",
    [
        PROBE,
        said(" Quota\n"),
        said((Text(text="quota"),)),
        replace(PROBE, system=""),
        replace(PROBE, system=()),
        replace(PROBE, system=BILLING),
        replace(PROBE, system=(Text(text=f"{BILLING.upper()}\n"),)),
        replace(PROBE, stream=True, extra={"metadata": {"user_id": "u"}, "temperature": 1}),
    ],
)
def test_the_probe_is_answered_here(probe: Request) -> None:
    usage = Usage(input_tokens=8, output_tokens=1)
    assert drive([QuotaProbe()], [probe]) == [
        MessageStart("msg_quota_probe", "claude-haiku-4-5", usage),
        BlockStart(0, Text()),
        TextDelta(0, "I"),
        BlockStop(0),
        MessageDelta("max_tokens", usage=usage),
        MessageStop(),
    ]


@pytest.mark.parametrize(
    "request_",
    [
        replace(PROBE, max_tokens=2),
        replace(PROBE, max_tokens=None),
        replace(PROBE, messages=()),
        replace(PROBE, messages=PROBE.messages * 2),
        replace(PROBE, system="You are Claude Code."),
        replace(PROBE, system=f"{BILLING}\nYou are Claude Code."),
        replace(PROBE, system=(Text(text=BILLING), Text(text="You are Claude Code."))),
        replace(PROBE, tools=({"name": "Bash"},)),  # a count of tokens in disguise
        said("quota", role="assistant"),
        said("quotas"),
        said("foo"),  # is there such a model?
        said("Warmup"),
        said(""),
        said((Text(text="quota"), Text(text="quota"))),
        said((Image(data="quota"),)),
        said(()),
    ],
)
def test_everything_else_goes_on_as_it_is(request_: Request) -> None:
    [out] = drive([QuotaProbe()], [request_])
    assert out is request_


def test_the_answer_is_a_legal_one() -> None:
    frames = drive([QuotaProbe(), Translate()], [PROBE], exchange=STREAM)
    assert [frame.event for frame in frames] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    [whole] = drive([QuotaProbe(), Translate()], [PROBE], exchange=FOLDED)
    assert b'"stop_reason":"max_tokens"' in whole.data
    assert b'"output_tokens":1' in whole.data


def test_is_a_good_stage() -> None:
    check_stage(QuotaProbe, [PROBE, replace(PROBE, max_tokens=2), "no request", PROBE])
