from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioproxy.items import Loss
from trioproxy.ledger import Ledger


def test_an_empty_ledger_says_nothing() -> None:
    assert not Ledger()
    assert (str(Ledger()), Ledger().header()) == ("", b"")


def test_a_path_is_told_once_with_its_first_reason() -> None:
    ledger = Ledger()
    ledger.note("top_k", "there is none")
    ledger.add([Loss("top_k", "again"), Loss("tools[].strict", "no such field")])
    assert str(ledger) == "top_k (there is none); tools[].strict (no such field)"
    assert ledger.header() == str(ledger).encode()


def test_it_has_a_bound() -> None:
    ledger = Ledger()
    for number in range(100):
        ledger.note(f"field{number}", "x")
    assert str(ledger).endswith("field63 (x); 36 more")


def test_what_a_client_wrote_makes_no_entry_long() -> None:
    ledger = Ledger()
    ledger.note("p" * 1_000_000, "r" * 1_000_000)
    ledger.note("p" * 1_000_001, "again")
    assert str(ledger) == f"{'p' * 79}… ({'r' * 199}…)"


@given(st.lists(st.tuples(st.text(), st.text())))
def test_its_header_can_always_be_sent(losses: list[tuple[str, str]]) -> None:
    ledger = Ledger()
    for path, reason in losses:
        ledger.note(path, reason)
    header = ledger.header()
    assert len(header) <= 1024
    assert header.decode("ascii").isprintable()


def test_what_somebody_has_kept_is_no_loss() -> None:
    ledger = Ledger()
    ledger.note("a", "gone before")
    for path in "ab":
        ledger.spare(path)
        ledger.note(path, "gone")
    ledger.note("c", "gone")
    assert str(ledger) == "a (gone before); c (gone)"
