"""What is sealed opens with the same text for the same entry, and in no other way."""

import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trioproxy.store import StoreError
from trioproxy.store.seal import Seal

TEXT = "mS3Uo2cXq0v7Yl1nqkq6m0o4i0Z8b1l2m9QeWq5t7uA="
ENTRY = bytes(range(32))

texts = st.text(min_size=32, max_size=100)
entries = st.binary(min_size=32, max_size=32)


@given(texts, entries, st.binary())
def test_what_is_sealed_opens_with_the_same_text(text: str, entry: bytes, value: bytes) -> None:
    sealed = Seal(text).seal(entry, value)
    assert len(sealed) == len(value) + 28
    assert Seal(text).open(entry, sealed) == value


@given(st.binary(), st.data())
def test_a_changed_byte_is_noticed(value: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Seal(TEXT).seal(ENTRY, value))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    assert Seal(TEXT).open(ENTRY, bytes(sealed)) is None


@given(st.binary(), st.data())
def test_bytes_lost_or_added_are_noticed(value: bytes, data: st.DataObject) -> None:
    sealed = Seal(TEXT).seal(ENTRY, value)
    cut = data.draw(st.integers(0, len(sealed) - 1))
    assert Seal(TEXT).open(ENTRY, sealed[:cut]) is None
    assert Seal(TEXT).open(ENTRY, sealed + data.draw(st.binary(min_size=1))) is None


@given(st.binary())
def test_what_was_never_sealed_does_not_open(value: bytes) -> None:
    assert Seal(TEXT).open(ENTRY, value) is None


@given(texts, texts, st.binary())
def test_another_text_opens_nothing(text: str, other: str, value: bytes) -> None:
    assume(text != other)
    assert Seal(other).open(ENTRY, Seal(text).seal(ENTRY, value)) is None


@given(entries, entries, st.binary())
def test_a_value_moved_to_another_entry_does_not_open(entry: bytes, other: bytes, value: bytes) -> None:
    assume(entry != other)
    seal = Seal(TEXT)
    assert seal.open(other, seal.seal(entry, value)) is None


def test_a_value_is_sealed_differently_each_time() -> None:
    seal = Seal(TEXT)
    assert len({seal.seal(ENTRY, b"the same") for _ in range(1000)}) == 1000


def test_it_opens_what_an_earlier_release_sealed() -> None:
    """What is kept must not be lost with an update: if this fails, the version has to change."""
    sealed = bytes.fromhex("a784b3a87d85740d17859dacfef5774b9a129a1a3232958008fad818b78b8f9504ed5f23")
    assert Seal(TEXT).open(ENTRY, sealed) == b"thinking"


def test_a_short_text_is_refused_with_advice_and_is_not_quoted() -> None:
    short = TEXT[:31]
    with pytest.raises(
        ValueError, match=r"at least 32 characters, got 31: openssl rand -base64 32 makes one"
    ) as caught:
        Seal(short)
    assert short not in str(caught.value)
    Seal(TEXT[:32])


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(StoreError, match=r"pip install '\.\[encryption\]' in a checkout"):
        Seal(TEXT)
