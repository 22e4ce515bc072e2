"""Looking into JSON bodies: what a reader takes, a look takes too; and halves of surrogate pairs."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.dialects import DIALECTS, Dialect
from trioproxy.dialects.peek import decode, fields_of, mended, with_fields, with_model
from trioproxy.errors import ProxyError

ODD = st.sampled_from(["null", "true", "false", "1", '"yes"', "{}", "[]", r'"\ud83d"', '{"include_usage":"yes"}'])


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: str(dialect.name))
@given(model=st.sampled_from(['"m"', r'"m\ud83d"', "1"]), stream=ODD, options=ODD, other=ODD)
def test_h124_whatever_a_reader_takes_can_be_looked_into(
    dialect: Dialect, model: str, stream: str, options: str, other: str
) -> None:
    """A body that is no request to the look would go out untranslated."""
    body = f'{{"model":{model},"messages":[],"stream":{stream},"stream_options":{options},"x":{other}}}'.encode()
    with suppress(ProxyError):
        request = dialect.read_request(body)
        peek = dialect.peek(body)
        assert peek
        assert (peek.model, peek.stream) == (request.model, request.stream)


PIECES = [b"\\", b"ud83d", b"udc00", rb"\ud83d", rb"\uDc00", rb"\u00ff", rb"\n", rb"\\", b"x"]


@given(st.lists(st.sampled_from(PIECES)))
def test_h124_halves_of_surrogate_pairs_are_replaced_and_nothing_else(pieces: list[bytes]) -> None:
    text = b'"' + b"".join(pieces) + b'"'
    each = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL)
    assert mended(text) == each.sub(lambda match: rb"\ufffd" if match["half"] else match[0], text)


def test_h124_a_cut_emoji_is_mended() -> None:
    assert decode(rb'["\ud83d", "\ud83d\ude00", "\\ud83d"]') == (["\ufffd", "\U0001f600", r"\ud83d"], True)
    assert with_model(rb'{"model":"a","x":"\ud83d","y":1.0}', "b") == rb'{"model":"b","x":"\ufffd","y":1.0}'


def test_a_key_that_is_no_text_is_mended_too() -> None:
    assert with_model(b'{"model":"a","\xff":1}', "b") == '{"model":"b","\ufffd":1}'.encode()


def test_single_fields_are_set_and_all_else_is_the_very_text() -> None:
    body = rb'{"a" :1.0, "b":{ "c":"\u0041" }, "d":2}'
    assert with_fields(body, {"d": None, "e": {"f": "g"}}) == rb'{"a":1.0,"b":{ "c":"\u0041" },"d":null,"e":{"f":"g"}}'


@pytest.mark.parametrize(
    "text", [b"", b"null", b"5", b'"x"', b"[{}]", b'{"a":"\xff"}', b"[" * 100_000 + b"]" * 100_000]
)
def test_what_is_no_object_has_no_fields(text: bytes) -> None:
    assert fields_of(msgspec.Raw(text)) == {}
    assert fields_of(msgspec.Raw(b'{"a":[1]}')) == {"a": [1]}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: str(dialect.name))
@pytest.mark.parametrize("metadata", [b"5", b'{"a":"\xff"}', b'{"a":1e999}', b"null"])
def test_metadata_that_cannot_be_read_hides_nothing_else(dialect: Dialect, metadata: bytes) -> None:
    """A client must not get round an alias with it."""
    peek = dialect.peek(b'{"model":"m","stream":true,"metadata":' + metadata + b"}")
    assert peek
    assert (peek.model, peek.stream, peek.metadata) == ("m", True, {})


@pytest.mark.parametrize("escape", [rb"\n", rb"\\"])
def test_bad_json_full_of_escapes_is_refused_at_once(escape: bytes) -> None:
    """8 MB took 9 seconds, in which no stream went on."""
    began = time.process_time()
    for half in (b"", rb"\ud83d"):
        with pytest.raises(msgspec.DecodeError):
            decode(b'["' + escape * 2_000_000 + half + b'"] x')
    assert time.process_time() - began < 2
