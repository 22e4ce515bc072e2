from msgspec.structs import replace

from tests.anthropic import FOLDED, STREAM, message
from trioproxy.items import Error, Frame, Ping, TextDelta
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


def test_is_a_good_stage() -> None:
    check_stage(Translate, message("Hi"))
