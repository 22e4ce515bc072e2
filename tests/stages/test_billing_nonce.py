import pytest

from trioproxy import Exchange
from trioproxy.items import Block, Image, Request, Text
from trioproxy.stages.billing_nonce import BillingNonce
from trioproxy.testing import check_stage, drive

CHAT = Exchange(id="test", upstream_dialect="openai-chat")
ANTHROPIC = Exchange(id="test")
LINE = "x-anthropic-billing-header: cc_version=2.1.58.a1b; cc_entrypoint=cli; cch=fa690;"
PROMPT = Text(text="You are Claude Code.", extra={"cache_control": {"type": "ephemeral"}})


def cleaned(system: str | tuple[Block, ...] | None) -> str | tuple[Block, ...] | None:
    [request] = drive([BillingNonce()], [Request("m", system=system)], exchange=CHAT)
    assert isinstance(request, Request)
    return request.system


def test_h121_a_block_that_is_nothing_else_goes() -> None:
    assert cleaned((Text(text=LINE), PROMPT)) == (PROMPT,)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (f"{LINE}\nYou are", "You are"),
        (f"{LINE}\r\nYou are", "You are"),
        (f"{LINE}\n\n  You are", "\n  You are"),
        (f"\n {LINE.upper()}\nYou are", "You are"),
        (f"{LINE.title()}\nYou\n{LINE}", f"You\n{LINE}"),  # further down somebody is talking about it
        ("x-anthropic-billing-header:", None),
        (f"{LINE}\n \n", None),
        ("", ""),
    ],
)
def test_only_the_line_goes(text: str, rest: str | None) -> None:
    assert cleaned(text) == rest
    assert cleaned((Text(text=text, extra={"x": 1}),)) == (None if rest is None else (Text(text=rest, extra={"x": 1}),))


@pytest.mark.parametrize(
    "system",
    [None, "", (), "You are", f"You are\n{LINE}", (PROMPT, Image(data="x"), Text(text=f"Mind {LINE}")), "x-anthropic-"],
)
def test_without_the_line_it_is_the_same_request(system: str | tuple[Block, ...] | None) -> None:
    request = Request("m", system=system)
    assert drive([BillingNonce()], [request], exchange=CHAT)[0] is request


def test_the_rest_of_a_conversation_is_the_same_for_any_nonce() -> None:
    requests = [Request("m", system=(Text(text=LINE.replace("fa690", nonce)), PROMPT)) for nonce in ("1", "2")]
    assert len({repr(drive([BillingNonce()], [request], exchange=CHAT)) for request in requests}) == 1


def test_anthropic_gets_the_line_unless_everywhere() -> None:
    request = Request("m", system=LINE)
    assert drive([BillingNonce()], [request], exchange=ANTHROPIC)[0] is request
    assert drive([BillingNonce(everywhere=True)], [request], exchange=ANTHROPIC) == [Request("m")]


def test_is_a_good_stage() -> None:
    systems: list[str | tuple[Block, ...] | None] = [None, LINE, (Text(text=f"{LINE}\nx"), PROMPT)]
    check_stage(BillingNonce, [*(Request("m", system=system) for system in systems), "no request"], exchange=CHAT)
