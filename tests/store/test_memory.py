"""What memory holds: never more than it may, and the most recently used."""

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trioproxy.store.memory import WEIGHT, Memory

NOW, LATER = 100.0, 200.0


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_value_is_there_until_it_expires() -> None:
    memory = Memory(entries=9, size=9999)
    memory.put(key(1), b"one", LATER)
    assert memory.get(key(1), NOW) == b"one"
    assert memory.get(key(2), NOW) is None
    assert memory.get(key(1), LATER - 1) == b"one"
    assert memory.get(key(1), LATER) is None
    assert (len(memory), memory.weight) == (0, 0)


def test_the_least_recently_used_goes_first() -> None:
    memory = Memory(entries=2, size=9999)
    memory.put(key(1), b"one", LATER)
    memory.put(key(2), b"two", LATER)
    memory.get(key(1), NOW)
    memory.put(key(3), b"three", LATER)
    assert [memory.get(key(number), NOW) for number in (1, 2, 3)] == [b"one", None, b"three"]


def test_weight_is_bounded_too() -> None:
    memory = Memory(entries=99, size=2 * (WEIGHT + 32 + 10))
    for number in range(5):
        memory.put(key(number), b"x" * 10, LATER)
    assert len(memory) == 2
    memory.put(key(9), b"x" * 10_000, LATER)  # more than there is room for: it is not kept, and nothing goes for it
    assert [memory.get(key(number), NOW) for number in (9, 3, 4)] == [None, b"x" * 10, b"x" * 10]


@pytest.mark.parametrize("length", [2, 200, 5000])
def test_the_weight_is_about_what_it_costs(length: int) -> None:
    entries = 5000
    memory = Memory(entries=entries, size=10**9)
    tracemalloc.start()
    try:
        for number in range(entries):
            memory.put(key(number), number.to_bytes(4, "big") * (length // 4 + 1), LATER + number)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert memory.weight * 0.5 < taken < memory.weight * 1.05, (taken, memory.weight, sys.version)


class Machine(RuleBasedStateMachine):
    """Against a plain dictionary: what is given is what was put, and the bounds hold."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(entries=4, size=4 * (WEIGHT + 40))
        self.put: dict[bytes, tuple[bytes, float]] = {}

    @rule(number=st.integers(0, 8), value=st.binary(max_size=60), expires=st.floats(0, 50))
    def keep(self, number: int, value: bytes, expires: float) -> None:
        self.memory.put(key(number), value, expires)
        self.put[key(number)] = value, expires

    @rule(number=st.integers(0, 8), now=st.floats(0, 50))
    def look(self, number: int, now: float) -> None:
        got = self.memory.get(key(number), now)
        if got is not None:
            value, expires = self.put[key(number)]
            assert got == value
            assert expires > now

    @invariant()
    def bounded(self) -> None:
        assert len(self.memory) <= 4
        assert 0 <= self.memory.weight <= 4 * (WEIGHT + 40)


TestMachine = Machine.TestCase


@given(st.lists(st.binary(max_size=100), max_size=30))
def test_all_that_is_put_weighs_nothing_when_it_is_gone(values: list[bytes]) -> None:
    memory = Memory(entries=99, size=10**6)
    for number, value in enumerate(values):
        memory.put(key(number), value, LATER)
    for number in range(len(values)):
        assert memory.get(key(number), LATER) is None
    assert memory.weight == 0
