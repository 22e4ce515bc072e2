"""What is known of an upstream: its limit and the queue before it, and the circuit that opens when it fails."""

import logging
import random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioproxy.config import Tolerance, Upstream
from trioproxy.errors import ProxyError
from trioproxy.guard import Full, Guard, Guards, State
from trioproxy.units import Seconds


def guard(**tolerance: object) -> Guard:
    return Guard("up", Tolerance(**tolerance))  # type: ignore[arg-type]  # whichever a test is about


async def held(one: Guard, who: object, until: trio.Event) -> None:
    await one.enter(who)
    await until.wait()
    one.leave(who)


# ── how many at once ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_a_limit_nobody_waits() -> None:
    one = guard()
    for who in range(1000):
        await one.enter(who)
    assert one.state == State(active=1000, waiting=0, passed_over=False)
    assert not one.full


async def test_over_the_limit_they_wait_in_line_and_none_is_skipped() -> None:
    one, done, order = guard(concurrency=2), [trio.Event() for _ in range(5)], list[int]()

    async def request(number: int) -> None:
        await one.enter(number)
        order.append(number)
        await done[number].wait()
        one.leave(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(request, number)
            await wait_all_tasks_blocked()
        assert (order, one.state, one.full) == ([0, 1], State(2, 3, False), True)
        for number, event in enumerate(done):
            event.set()
            await wait_all_tasks_blocked()
            assert order == list(range(min(5, number + 3)))
    assert one.state == State(0, 0, False)


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(autojump_clock: MockClock) -> None:
    one, end = guard(concurrency=1, queue=1), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held, one, "a", end)
        await wait_all_tasks_blocked()
        nursery.start_soon(held, one, "b", end)
        await wait_all_tasks_blocked()
        with pytest.raises(Full, match="busy with 1 request, and 1 are waiting") as caught:
            await one.enter("c")
        assert trio.current_time() == 0
        end.set()
    assert caught.value.headers == ((b"retry-after", b"1"),)
    assert (caught.value.error.kind, caught.value.error.status) == ("overloaded", 529)


async def test_waiting_has_an_end_and_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    one, end = guard(concurrency=1, queue_timeout=Seconds(3)), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held, one, "a", end)
        await wait_all_tasks_blocked()
        with pytest.raises(Full, match="none of them ended within 3s"):
            await one.enter("b")
        assert trio.current_time() == 3
        assert one.state == State(1, 0, False)
        end.set()


async def test_who_leaves_the_queue_takes_no_place() -> None:
    one, end = guard(concurrency=1), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held, one, "a", end)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            await one.enter("b")
        end.set()
        await wait_all_tasks_blocked()
    assert one.state == State(0, 0, False)


async def test_a_reload_changes_the_limit_for_those_who_wait() -> None:
    one, end = guard(concurrency=1), trio.Event()
    async with trio.open_nursery() as nursery:
        for who in "abc":
            nursery.start_soon(held, one, who, end)
        await wait_all_tasks_blocked()
        assert one.state == State(1, 2, False)
        one.use(Tolerance(concurrency=3))
        await wait_all_tasks_blocked()
        assert one.state == State(3, 0, False)
        end.set()


# ── whether it lets them down ───────────────────────────────────────────────────────────────────────────────────────


async def test_failures_in_a_row_open_the_circuit_and_one_answer_closes_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = guard(max_fails=3, fail_timeout=Seconds(30))
    with caplog.at_level(logging.WARNING, "trioproxy"):
        for _ in range(2):
            one.failed("it answered 500")
            one.failed("it answered 500")
            one.worked()
            assert not one.passed_over
        for _ in range(4):
            one.failed("it answered 500")
    assert [record.message for record in caplog.records] == [
        "upstream 'up' has failed 3 times in a row (at last: it answered 500): "
        "passed over for 30s where a route has another"
    ]
    await trio.sleep(29.9)
    assert one.passed_over
    one.worked()
    assert not one.passed_over


async def test_after_the_pause_one_request_tries_it(autojump_clock: MockClock) -> None:
    one = guard(max_fails=1, fail_timeout=Seconds(30))
    one.failed("it answered 500")
    await trio.sleep(30)
    assert not one.passed_over
    one.tried()
    assert one.passed_over  # for all others
    one.worked()
    assert not one.passed_over


async def test_the_one_that_tries_it_in_vain_opens_the_circuit_again(autojump_clock: MockClock) -> None:
    one = guard(max_fails=1, fail_timeout=Seconds(30))
    one.failed("it answered 500")
    await trio.sleep(30)
    one.tried()
    one.failed("it answered 500")
    await trio.sleep(29.9)
    assert one.passed_over


async def test_none_is_ever_passed_over_for_failures_if_the_file_says_so() -> None:
    one = guard(max_fails=0)
    for _ in range(100):
        one.failed("it answered 500")
    assert not one.passed_over


async def test_its_own_word_is_taken_for_how_long_it_is_busy_but_no_hour_of_it(autojump_clock: MockClock) -> None:
    one = guard()
    one.busy(7)
    await trio.sleep(6.9)
    assert one.passed_over
    await trio.sleep(0.1)
    assert not one.passed_over
    one.busy(3600)
    await trio.sleep(300)
    assert not one.passed_over


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_in_the_long_run_there_is_one_retry_for_five_requests() -> None:
    one, retries = guard(retries=9), 0
    for who in range(1000):
        await one.enter(who)
        one.leave(who)
        while one.may_retry():
            retries += 1
    assert retries == pytest.approx(200 + 10, abs=2)


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_guard_outlives_a_reload_and_those_of_upstreams_that_are_gone_do_not() -> None:
    guards = Guards()
    stays, goes = Upstream("stays", "anthropic", None), Upstream("goes", "anthropic", None)
    kept = guards.of(stays)
    guards.of(goes)
    assert [name for name, _ in guards] == ["stays", "goes"]
    changed = Upstream("stays", "anthropic", None, tolerance=Tolerance(concurrency=5))
    guards.use({"stays": changed})
    assert guards.of(changed) is kept
    assert kept.tolerance.concurrency == 5
    assert [name for name, _ in guards] == ["stays"]


async def test_a_guard_of_a_registered_target_stays_for_as_long_as_the_target() -> None:
    guards = Guards()
    names = ["targets.a", "targets.b"]
    for name in names:
        guards.of(Upstream(name, "anthropic", None)).failed("it answered 500")
    guards.use({}, iter(names))
    assert [name for name, _ in guards] == names
    guards.forget("targets.a")
    guards.forget("targets.a")
    assert [name for name, _ in guards] == ["targets.b"]


async def test_under_a_random_load_the_limit_holds_and_every_place_comes_back(autojump_clock: MockClock) -> None:
    one, chance, at_once, most = guard(concurrency=3, queue=5, queue_timeout=Seconds(2)), random.Random(6), 0, 0
    ended = {"served": 0, "full": 0, "left": 0}

    async def request(who: int) -> None:
        nonlocal at_once, most
        await trio.sleep(chance.uniform(0, 20))
        with trio.move_on_after(chance.uniform(0.5, 9)) as scope:
            try:
                await one.enter(who)
            except ProxyError:
                ended["full"] += 1
                return
            at_once += 1
            most = max(most, at_once)
            try:
                await trio.sleep(chance.uniform(0, 3))
            finally:
                at_once -= 1
                one.leave(who)
        ended["left" if scope.cancelled_caught else "served"] += 1

    async with trio.open_nursery() as nursery:
        for who in range(300):
            nursery.start_soon(request, who)
    assert (most, one.state) == (3, State(0, 0, False))
    assert all(ended.values()), ended
