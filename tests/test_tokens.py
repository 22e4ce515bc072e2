"""The counts, with and without the package that makes real tokens: what is asserted holds for both."""

import sys
from base64 import b64encode
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from random import Random
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioproxy import tokens
from trioproxy.items import (
    Block,
    Image,
    Message,
    OtherBlock,
    RedactedThinking,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from trioproxy.tokens import count

BPE = find_spec("bpe_openai") is not None


@pytest.fixture(params=[True, False], ids=["real", "estimated"], autouse=True)
def real(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether the package is there; as if it were not installed, if it is not to be."""
    if request.param and not BPE:
        pytest.skip("bpe_openai is not installed (the extra `tokens`)")
    if not request.param:
        monkeypatch.setitem(sys.modules, "bpe_openai", None)
        tokens._tokenizer.cache_clear()
    yield request.param
    if not request.param:
        tokens._tokenizer.cache_clear()


def asked(*content: str | Block, model: str = "gpt-5", **more: Any) -> Request:
    blocks = tuple(Text(text=part) if isinstance(part, str) else part for part in content)
    return Request(model, (Message("user", blocks),), **more)


def cost(*content: str | Block) -> int:
    return count(asked(*content)) - count(asked())


# ── text ────────────────────────────────────────────────────────────────────────────────────────────────────────────

ENGLISH = """The proxy stands between a client and an upstream, and filters what passes, event by event: what no stage
changes leaves as the very bytes it came in. A stage takes one type of item and gives another; what it does not take
flows past it, in order. Before the port is opened the order is checked, and everything else in the file too, all at
once, because nobody likes to mend a file one complaint at a time. """
GERMAN = """Der Vermittler steht zwischen dem Programm und dem Dienst und prüft jedes Ereignis, das an ihm vorbeikommt.
Was keine Stufe verändert, geht mit genau den Bytes weiter, mit denen es gekommen ist. Bevor der Anschluss geöffnet
wird, überprüft das Programm die Reihenfolge der Stufen und meldet sämtliche Fehler der Datei auf einmal, denn niemand
bessert gerne dieselbe Datei nach jeder einzelnen Beschwerde wieder aus. """
CHINESE = """代理位于客户端和上游服务之间，逐个事件地过滤经过的内容。没有被任何阶段修改的事件会以原来的字节离开。
每个阶段接收一种类型的数据，并产生另一种类型的数据；它不接收的内容会按照顺序从旁边流过。在打开端口之前，程序会检查各个阶段的
顺序，并且一次报告文件中的所有错误，因为没有人喜欢一次又一次地修改同一个文件。"""
CODE = '''
def read_routes(root: Table, upstreams: Mapping[str, Upstream | None], usual: Usual) -> list[Route]:
    """Every route, longest prefix first."""
    section = root.table("routes")
    if not section.raw:
        found = [upstream for upstream in upstreams.values() if upstream]
        routes = [_route("/", upstream, usual.chains(upstream.dialect)) for upstream in found]
    else:
        routes = [_read(section, prefix, upstreams, usual) for prefix in section.raw]
    return sorted((route for route in routes if route), key=lambda route: -len(route.prefix))
'''
JSON = """{"type":"message_start","message":{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant",
"content":[],"model":"claude-sonnet-4-6","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":472,
"cache_creation_input_tokens":0,"cache_read_input_tokens":13056,"output_tokens":2}}}"""
NOISE = b64encode(Random(7).randbytes(900)).decode()

# What o200k_base makes of ten of each.
TEXTS = {
    "English": (ENGLISH, 931),
    "German": (GERMAN, 911),
    "Chinese": (CHINESE, 1020),
    "code": (CODE, 1321),
    "JSON": (JSON, 900),
    "base64": (NOISE, 8140),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str, *, real: bool) -> None:
    text, exact = TEXTS[name]
    assert cost(text * 10) == pytest.approx(exact, rel=0.01 if real else 0.15)


def test_what_anthropics_documentation_counts() -> None:
    hello = Request("claude-opus-4-1", (Message("user", "Hello, Claude"),), "You are a scientist")
    place = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
    tool = {
        "name": "get_weather",
        "description": "Get the current weather in a given location",
        "input_schema": {"type": "object", "properties": {"location": place}, "required": ["location"]},
    }
    weather = (Message("user", "What's the weather like in San Francisco?"),)
    assert count(hello) == pytest.approx(14, abs=5)
    assert count(Request("claude-opus-4-1", weather, tools=(tool,))) == pytest.approx(403, rel=0.1)


def test_claudes_tokens_are_shorter() -> None:
    assert count(asked(ENGLISH * 100, model="vendor/Claude-x")) == pytest.approx(
        1.2 * count(asked(ENGLISH * 100)), rel=0.01
    )


def test_everything_of_a_request_counts() -> None:
    text = Text(text=ENGLISH)
    call = ToolUse(id="t", name="read", input=f'{{"x":"{ENGLISH}"}}')
    results = [
        ToolResult(tool_use_id="t", content=ENGLISH),
        ToolResult(tool_use_id="t", content=(text,)),
        ToolResult(tool_use_id="t", content=(ToolResult(content=(text,)),)),
    ]
    others = [
        OtherBlock(kind="document", extra={"source": {"type": "text", "media_type": "text/plain", "data": ENGLISH}}),
        OtherBlock(kind="search_result", extra={"content": [{"type": "text", "text": ENGLISH}], "n": [1, None]}),
    ]
    for block in (text, Thinking(thinking=ENGLISH, signature=NOISE), call, *results, *others):
        assert 80 <= cost(block) <= 140, block
    assert count(asked(system=ENGLISH)) == count(asked(system=(text,))) == pytest.approx(94 + count(asked()), rel=0.15)
    assert count(asked(tools=({"name": "x", "description": ENGLISH},))) > 94
    assert count(Request("m", (Message("user", ENGLISH),))) == count(asked(ENGLISH))
    assert count(Request("m", (Message("user", "a"), Message("assistant", "b")))) > count(asked("a", "b"))
    assert cost(ToolResult(content=None)) == cost(ToolResult(content=""))
    assert count(Request("")) < 5


def test_exact_false_never_asks_the_tokenizer() -> None:
    request = asked(ENGLISH, NOISE)
    estimated = count(request, exact=False)
    tokens._tokenizer.cache_clear()
    assert count(request, exact=False) == estimated
    assert tokens._tokenizer.cache_info().misses == 0


def test_more_adds_up() -> None:
    counts = [count(asked(ENGLISH * times)) for times in (1, 2, 10, 50, 400, 4000)]
    for less, more in pairwise(counts):
        assert less < more
    assert counts[-1] == pytest.approx(94 * 4000, rel=0.15)


# ── pictures and documents ──────────────────────────────────────────────────────────────────────────────────────────

PADDING = bytes(5000)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + width.to_bytes(4) + height.to_bytes(4) + PADDING


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + PADDING


def jpeg(width: int, height: int) -> bytes:
    exif = b"\xff\xe1\xff\xfe" + bytes(65532) + b"\xff\xff\xc4\x00\x05\x00\x00\x00"
    return b"\xff\xd8" + exif + b"\xff\xc2\x00\x11\x08" + height.to_bytes(2) + width.to_bytes(2) + PADDING


def vp8(width: int, height: int) -> bytes:
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(10) + size + PADDING


def vp8l(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return b"RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + bits.to_bytes(4, "little") + PADDING


def vp8x(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(8) + size + PADDING


@pytest.mark.parametrize("made", [png, gif, jpeg, vp8, vp8l, vp8x])
def test_a_picture_costs_what_its_size_says(made: object) -> None:
    assert callable(made)
    for width, height, expected in ((300, 250, 100), (1000, 750, 1000), (8000, 100, 41), (4000, 3000, 1600)):
        data = b64encode(made(width, height)).decode()
        assert cost(Image(media_type="image/png", data=data)) == expected
        assert cost(Image(url=f"data:image/png;base64,{data}")) == expected
        assert cost(ToolResult(content=(Image(data=data),))) == expected + cost(ToolResult())
        wire = {"type": "base64", "media_type": "image/png", "data": data}
        assert cost(OtherBlock(kind="x", extra={"content": [{"type": "image", "source": wire}]})) == pytest.approx(
            expected, abs=10
        )


@pytest.mark.parametrize(
    "data", ["", "A", "é", "!!!!", b64encode(b"\xff\xd8\xff\xe0").decode(), b64encode(png(0, 0)).decode(), NOISE * 1000]
)
def test_a_picture_of_unknown_size_costs_the_most(data: str) -> None:
    assert cost(Image(data=data)) == cost(Image(url="https://pictures/1.png")) == 1600


def test_broken_lines_of_base64_are_read() -> None:
    data = b64encode(png(300, 250)).decode()
    lines = "\r\n".join(data[at : at + 20] for at in range(0, len(data), 20))
    assert cost(Image(data=lines)) == 100


def test_documents() -> None:
    def document(**source: object) -> int:
        return cost(OtherBlock(kind="document", extra={"type": "document", "source": source}))

    assert document(type="base64", media_type="application/pdf", data="A" * 100) == pytest.approx(3000, abs=10)
    assert document(type="base64", media_type="application/pdf", data="A" * 10**6) == pytest.approx(30_000, abs=10)
    assert document(type="base64", media_type="application/pdf", data="A" * 40_000_000) == pytest.approx(
        300_000, abs=10
    )
    assert document(type="url", url="https://a/b.pdf") == document(type="file", file_id="f")


def test_what_is_encrypted_is_not_text() -> None:
    assert cost(RedactedThinking(data="A" * 1600)) == 300
    result = {"type": "web_search_result", "encrypted_content": "A" * 1600, "title": "Weather"}
    assert cost(OtherBlock(kind="x", extra=result)) == pytest.approx(310, abs=5)


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_large_request_is_counted_in_no_time() -> None:
    request = asked(*[ENGLISH + CODE] * 1000, *[CHINESE] * 1000)
    count(asked("x"))  # loads the tokenizer
    begun = process_time()
    count(request)
    assert process_time() - begun < 1  # of 1.2 million characters; 0.1 s where it was written


def test_as_many_tokens_as_can_be() -> None:
    text = "".join(map(chr, range(0x20000, 0x20000 + 40_000))) * 6
    assert cost(text) > 100_000


@pytest.mark.parametrize("text", ["\ud800", "\udc00x" * 50, "\x00", "<|endoftext|>", "<|fim_prefix|>" * 9])
def test_no_text_is_refused(text: str) -> None:
    deep: object = text
    for _ in range(2000):
        deep = [deep]
    assert count(asked(text, system=text, tools=({"name": text}, {"deep": deep}))) > 0
    assert cost(OtherBlock(kind="x", extra={text: [deep]})) > 0


some = st.text(max_size=8)
simple = st.one_of(
    st.builds(Text, text=some),
    st.builds(Image, data=some, url=some),
    st.builds(Image, data=st.binary(max_size=40).map(lambda data: b64encode(b"\xff\xd8\xff" + data).decode())),
    st.builds(OtherBlock, kind=some, extra=st.dictionaries(some, st.one_of(some, st.none(), st.floats()), max_size=3)),
)
blocks = simple | st.builds(ToolResult, content=st.lists(simple, max_size=3).map(tuple))


@settings(max_examples=50, deadline=None)
@given(st.lists(blocks, max_size=4))
def test_nothing_raises(content: list[Block]) -> None:
    assert count(asked(*content)) >= count(asked())
