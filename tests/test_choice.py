"""Which upstream of a route comes first: over many keys as the weights say, and for one key always the same."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trioproxy.choice import in_order
from trioproxy.config import Route, Tolerance, Upstream
from trioproxy.guard import Guards


def route(*names: str, weights: tuple[int, ...] = ()) -> Route:
    first, *others = (Route("/", Upstream(name, "anthropic", None, tolerance=Tolerance(max_fails=1))) for name in names)
    return Route("/", first.upstream, others=tuple(others), weights=weights)


def order(found: Route, key: bytes = b"", guards: Guards | None = None) -> list[str]:
    return [way.upstream.name for way in in_order(found, (found, *found.others), key, guards or Guards())]


def keys(number: int) -> list[bytes]:
    return [index.to_bytes(4, "big") for index in range(number)]


async def test_a_route_with_one_upstream_is_its_only_way() -> None:
    single = route("a")
    assert in_order(single, (single,), b"", Guards()) == (single,)


async def test_without_weights_they_come_as_listed() -> None:
    assert {tuple(order(route("b", "a", "c"), key)) for key in keys(50)} == {("b", "a", "c")}


async def test_each_comes_first_as_often_as_its_weight_says() -> None:
    found = route("a", "b", "c", weights=(6, 3, 1))
    first = Counter(order(found, key)[0] for key in keys(4000))
    assert all(abs(first[name] / 4000 - share) < 0.03 for name, share in {"a": 0.6, "b": 0.3, "c": 0.1}.items())


async def test_one_without_weight_comes_first_for_nobody_and_is_there_for_all() -> None:
    found = route("a", "b", weights=(0, 1))
    assert {tuple(order(found, key)) for key in keys(200)} == {("b", "a")}


@given(st.binary(max_size=200))
async def test_a_key_always_gives_the_same_order_with_every_upstream_once(key: bytes) -> None:
    found = route("a", "b", "c", weights=(2, 1, 1))
    assert order(found, key) == order(found, key)
    assert sorted(order(found, key)) == ["a", "b", "c"]


async def test_where_an_upstream_goes_only_its_own_keys_move() -> None:
    three, two = route("a", "b", "c", weights=(1, 1, 1)), route("a", "b", weights=(1, 1))
    for key in keys(500):
        before = order(three, key)
        assert order(two, key) == [name for name in before if name != "c"]


async def test_what_has_failed_comes_last_in_the_order_of_the_others() -> None:
    found, guards = route("a", "b", "c"), Guards()
    guards.of(found.upstream).failed("unreachable")
    assert order(found, guards=guards) == ["b", "c", "a"]


async def test_what_is_full_comes_behind_what_has_room_and_before_what_has_failed() -> None:
    first, *others = (
        Route("/", Upstream(name, "anthropic", None, tolerance=Tolerance(concurrency=1, max_fails=1))) for name in "abc"
    )
    found, guards = Route("/", first.upstream, others=tuple(others)), Guards()
    guards.of(first.upstream).failed("unreachable")
    await guards.of(others[0].upstream).enter("somebody")
    assert order(found, guards=guards) == ["c", "b", "a"]
