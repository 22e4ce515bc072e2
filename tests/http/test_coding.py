import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy.http.coding import Decoder, Undecodable, decoder


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def two_members(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "raw deflate": raw_deflate,
    "gzip of two members": two_members,
}


def decode(data: bytes, piece: int) -> bytes:
    decoding = Decoder()
    return b"".join(out for at in range(0, len(data), piece) for out in decoding.feed(data[at : at + piece]))


@pytest.mark.parametrize("code", CODERS.values(), ids=CODERS)
@given(data=st.binary(max_size=300), piece=st.integers(1, 400))
def test_decodes_wherever_it_is_cut(code: Callable[[bytes], bytes], data: bytes, piece: int) -> None:
    assert decode(code(data), piece) == data


@pytest.mark.parametrize("code", CODERS.values(), ids=CODERS)
@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 5_000_000])
def test_a_bomb_is_eaten_piece_by_piece(code: Callable[[bytes], bytes], size: int) -> None:
    pieces = list(Decoder().feed(code(bytes(size))))
    assert sum(map(len, pieces)) == size
    assert max(map(len, pieces)) <= 64 * 1024


def test_an_event_comes_out_as_soon_as_its_bytes_are_in() -> None:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    decoding = Decoder()
    for event in (b"data: one\n\n", b"data: two\n\n"):
        coded = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decoding.feed(coded)) == event


@given(st.binary(min_size=3, max_size=100))
def test_nonsense_raises_only_undecodable(data: bytes) -> None:
    with suppress(Undecodable):
        b"".join(Decoder().feed(data))


def test_broken_in_the_middle() -> None:
    coded = gzip.compress(b"hello" * 100)
    with pytest.raises(Undecodable, match="broken"):
        decode(coded[:20] + b"\xff" * 20 + coded[20:], 10)


@pytest.mark.parametrize("coding", [b"", b"identity", b" Identity "])
def test_nothing_to_decode(coding: bytes) -> None:
    assert decoder(coding) is None


@pytest.mark.parametrize("coding", [b"gzip", b"X-GZip", b"deflate"])
def test_known_codings(coding: bytes) -> None:
    assert isinstance(decoder(coding), Decoder)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip"])
def test_unknown_codings_say_which(coding: bytes) -> None:
    with pytest.raises(Undecodable, match=coding.decode()):
        decoder(coding)
