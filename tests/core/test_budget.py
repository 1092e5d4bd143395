"""Request budgets: never more in any window than the exchange allows, and orders before reads."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.accounts.budget import Budget, Priority
from copytrade_core.clock import Clock
from copytrade_core.errors import RateLimited
from fakes import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


def budget(clock: Clock, limit: int = 100, window_sec: float = 60) -> Budget:
    return Budget(clock, "memory", limit=limit, window_sec=window_sec)


def try_to_spend(tried: Budget, cost: int, priority: Priority = Priority.ORDER) -> bool:
    try:
        tried.spend(cost, priority)
    except RateLimited:
        return False
    return True


steps = st.lists(
    st.tuples(st.floats(0, 20).map(lambda pause: round(pause, 3)), st.integers(1, 60), st.sampled_from(Priority)),
    max_size=60,
)


@given(steps=steps)
def test_no_sliding_window_ever_holds_more_than_the_limit(steps):
    clock = FakeClock()
    tried = budget(clock, limit=100, window_sec=30)
    granted: list[tuple[int, int]] = []
    for pause, cost, priority in steps:
        clock.advance(pause)
        now = clock.monotonic_ns()
        in_window = sum(spent for at, spent in granted if at > now - 30 * 10**9)
        share = {Priority.ORDER: 100, Priority.LOOKUP: 85, Priority.CHECK: 45, Priority.BALANCE: 40}[priority]

        was_granted = try_to_spend(tried, cost, priority)

        # A request that is dearer than its share alone goes when nothing else was asked.
        assert was_granted == (in_window + cost <= share or in_window == 0)
        if was_granted:
            granted.append((now, cost))
        assert tried.used == sum(spent for at, spent in granted if at > now - 30 * 10**9) <= 100


def test_polling_leaves_room_for_look_ups_and_both_for_orders(clock):
    tried = budget(clock)

    assert [try_to_spend(tried, 10, Priority.BALANCE) for _ in range(5)] == [True] * 4 + [False]
    assert [try_to_spend(tried, 5, Priority.LOOKUP) for _ in range(10)] == [True] * 9 + [False]
    assert [try_to_spend(tried, 1) for _ in range(16)] == [True] * 15 + [False]


def test_what_was_spent_comes_back_when_its_window_has_passed(clock):
    tried = budget(clock)
    tried.spend(60, Priority.ORDER)
    clock.advance(20)
    tried.spend(40, Priority.ORDER)

    clock.advance(39.999)
    assert not try_to_spend(tried, 1)
    clock.advance(0.001)
    assert try_to_spend(tried, 60)
    assert not try_to_spend(tried, 1)


@given(spent=st.lists(st.integers(1, 30), min_size=1, max_size=8), cost=st.integers(1, 100))
def test_a_refusal_says_exactly_when_it_would_be_granted(spent, cost):
    clock = FakeClock()
    tried = budget(clock)
    for units in spent:
        try_to_spend(tried, units)
        clock.advance(1)

    try:
        tried.spend(cost, Priority.ORDER)
    except RateLimited as refused:
        clock.advance(refused.retry_after_sec - 0.001)
        assert not try_to_spend(tried, cost)
        clock.advance(0.001)
        assert try_to_spend(tried, cost)


def test_a_refusal_speaks_of_the_address_and_is_no_ban(clock):
    tried = budget(clock)
    tried.spend(100, Priority.ORDER)

    with pytest.raises(RateLimited) as refused:
        tried.spend(1, Priority.ORDER)

    error = refused.value
    assert (error.kind, error.exchange, error.whole_address, error.banned) == ("budget", "memory", True, False)
    assert error.retry_after_sec == 60


def test_a_request_that_is_dearer_than_the_whole_budget_goes_when_all_is_quiet(clock):
    tried = budget(clock, limit=10)

    assert try_to_spend(tried, 25, Priority.BALANCE)
    assert not try_to_spend(tried, 1)
    clock.advance(60)
    assert try_to_spend(tried, 25, Priority.BALANCE)


def test_what_the_exchange_counts_is_believed_when_it_is_more(clock):
    tried = budget(clock)
    tried.spend(10, Priority.ORDER)

    tried.observe(95)
    assert tried.used == 95
    assert not try_to_spend(tried, 6)
    tried.observe(3)  # an answer that was long on its way
    assert tried.used == 95
    clock.advance(60)
    assert tried.used == 0


def test_a_block_lets_nothing_through_until_its_time(clock):
    tried = budget(clock)
    tried.block(30)

    assert tried.blocked_sec == 30
    assert not try_to_spend(tried, 1)
    clock.advance(29.999)
    assert not try_to_spend(tried, 1)
    clock.advance(0.001)
    assert tried.blocked_sec == 0
    assert try_to_spend(tried, 1)


def test_a_shorter_block_does_not_end_a_longer_one(clock):
    tried = budget(clock)
    tried.block(3600)
    tried.block(1)

    clock.advance(3599)
    assert not try_to_spend(tried, 1)


def test_a_ban_is_named_a_ban_until_it_ends_whatever_else_is_refused_meanwhile(clock):
    tried = budget(clock)
    tried.block(3600, banned=True)
    tried.block(1)  # the answer to a request that had left before

    with pytest.raises(RateLimited) as refused:
        tried.spend(1, Priority.ORDER)
    assert refused.value.banned
    assert refused.value.retry_after_sec == 3600

    clock.advance(3600)
    tried.block(5)
    with pytest.raises(RateLimited) as refused:
        tried.spend(1, Priority.ORDER)
    assert not refused.value.banned


def test_a_lowered_limit_holds_at_once_and_a_raised_one_too(clock):
    tried = budget(clock)
    tried.spend(50, Priority.ORDER)
    tried.limit = 50
    assert not try_to_spend(tried, 1)
    tried.limit = 51
    assert tried.limit == 51
    assert try_to_spend(tried, 1)


def test_a_request_that_may_wait_is_granted_when_the_limit_is_raised():
    tried = budget(Clock(), limit=10)
    tried.spend(10, Priority.ORDER)
    granted = threading.Event()

    def wait():
        tried.spend(10, Priority.ORDER, wait_sec=3600)
        granted.set()

    waiter = threading.Thread(target=wait, name="waiter")
    waiter.start()
    tried.limit = 20

    assert granted.wait(5)
    waiter.join(5)


def test_a_request_that_would_wait_too_long_is_refused_at_once(clock):
    tried = budget(clock)
    tried.spend(100, Priority.ORDER)

    with pytest.raises(RateLimited):
        tried.spend(1, Priority.ORDER, wait_sec=59.9)


def test_many_threads_together_spend_no_more_than_the_limit(clock):
    tried = budget(clock, limit=500)
    granted = []

    def spend():
        for _ in range(100):
            if try_to_spend(tried, 3):
                granted.append(3)

    threads = [threading.Thread(target=spend, name=f"spender-{number}") for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(granted) == tried.used == 498
