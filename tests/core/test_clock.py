"""Time: monotonic for deciding, the exchange's for signing, and never ahead of it."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.clock import Clock, ExchangeClock, wall_text
from copytrade_core.errors import ClockSkewed, OutcomeUnknown
from fakes import FakeClock

SERVER_AHEAD_MS = 1_700_000_000_000


class Server:
    """An exchange's clock at *ahead_ms* before ours; each probe takes the next round trip of the script, in ms."""

    def __init__(self, clock: FakeClock, ahead_ms: int = SERVER_AHEAD_MS) -> None:
        self.clock = clock
        self.ahead_ms = ahead_ms
        self.trips: list[tuple[float, float]] = []  # there, back
        self.asked = 0

    def true_ms(self) -> float:
        return self.clock.monotonic_ns() / 1e6 + self.ahead_ms

    def time(self) -> int:
        self.asked += 1
        there, back = self.trips.pop(0) if self.trips else (0, 0)
        self.clock.advance(there / 1000)
        stamp = int(self.true_ms())
        self.clock.advance(back / 1000)
        return stamp


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def server(clock):
    return Server(clock)


def test_a_time_that_was_never_measured_is_not_made_up(clock):
    exchange_clock = ExchangeClock(clock)

    assert (exchange_clock.is_known, exchange_clock.was_measured) == (False, False)
    with pytest.raises(ClockSkewed):
        exchange_clock.now_ms()


def test_the_first_measurement_is_no_jump(clock, server):
    exchange_clock = ExchangeClock(clock)

    assert exchange_clock.measure(server.time) == 0
    assert exchange_clock.is_known
    assert server.asked == 5
    assert exchange_clock.now_ms() == int(server.true_ms())


@given(trips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000)), min_size=5, max_size=5))
def test_our_time_is_never_ahead_of_the_exchange_and_behind_by_the_best_way_back(trips):
    clock = FakeClock()
    server = Server(clock)
    server.trips = list(trips)
    exchange_clock = ExchangeClock(clock)

    exchange_clock.measure(server.time)

    best = min(there + back for there, back in trips)
    behind = server.true_ms() - exchange_clock.now_ms()
    # One millisecond: the exchange's own stamp is cut to whole ones, and so is ours.
    assert 0 <= behind <= best + 2


def test_the_quickest_probe_counts(clock, server):
    server.trips = [(500, 500), (400, 400), (1, 1), (300, 300), (0, 900)]
    exchange_clock = ExchangeClock(clock)

    exchange_clock.measure(server.time)

    assert server.true_ms() - exchange_clock.now_ms() <= 2


def test_the_wall_clock_has_no_say(clock, server, monkeypatch):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)
    before = exchange_clock.now_ms()

    for step in (3_600_000, -7_200_000):
        monkeypatch.setattr(FakeClock, "wall_ms", lambda self, step=step: 1_700_000_000_000 + step)
        assert exchange_clock.now_ms() == before


def test_time_goes_on_with_the_monotonic_clock(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)
    before = exchange_clock.now_ms()

    clock.advance(12.5)

    assert exchange_clock.now_ms() - before == 12_500


@pytest.mark.parametrize("jump_ms", [3000, -3000, 2001])
def test_after_a_jump_the_clock_is_unknown_until_two_measurements_agree(clock, server, jump_ms):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)

    server.ahead_ms += jump_ms
    assert exchange_clock.measure(server.time) == pytest.approx(abs(jump_ms))
    assert not exchange_clock.is_known
    assert exchange_clock.was_measured

    assert exchange_clock.measure(server.time) == pytest.approx(0, abs=1)
    assert exchange_clock.is_known
    assert exchange_clock.now_ms() == int(server.true_ms())


def test_a_clock_that_was_put_back_passes_a_time_twice_and_is_counted(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)
    before_ms = exchange_clock.now_ms()

    server.ahead_ms -= 1200
    exchange_clock.measure(server.time)

    assert exchange_clock.is_known
    assert exchange_clock.put_back == 1
    assert exchange_clock.passed_twice(before_ms - 500)
    clock.advance(1.3)
    assert exchange_clock.passed_twice(before_ms - 500)  # what it stamped so stays without an order
    assert not exchange_clock.passed_twice(exchange_clock.now_ms())


def test_a_stamp_from_before_it_was_put_back_is_not_after_now(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)
    stamp_ms = exchange_clock.now_ms()

    server.ahead_ms -= 1200
    exchange_clock.measure(server.time)

    assert exchange_clock.not_after_now(stamp_ms) == exchange_clock.now_ms()
    assert exchange_clock.not_after_now(exchange_clock.now_ms() + 100) == exchange_clock.now_ms() + 100
    assert exchange_clock.not_after_now(5) == 5


def test_a_clock_that_was_put_forward_passes_no_time_twice(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)

    server.ahead_ms += 1200
    exchange_clock.measure(server.time)

    assert exchange_clock.is_known
    assert exchange_clock.put_back == 0
    assert not exchange_clock.passed_twice(exchange_clock.now_ms())


def test_what_one_wrong_measurement_said_is_not_gone_back_from(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)
    server.ahead_ms += 3_600_000
    exchange_clock.measure(server.time)  # not confirmed by a second one
    server.ahead_ms -= 3_600_000

    exchange_clock.measure(server.time)
    exchange_clock.measure(server.time)

    assert exchange_clock.is_known
    assert exchange_clock.put_back == 0


def test_a_clock_that_jumps_back_and_forth_stays_unknown(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)

    for _ in range(5):
        server.ahead_ms += 3000
        exchange_clock.measure(server.time)
        assert not exchange_clock.is_known
        server.ahead_ms -= 3000
        exchange_clock.measure(server.time)
        assert not exchange_clock.is_known


@pytest.mark.parametrize("jump_ms", [2000, -2000, 501, 10])
def test_a_small_jump_is_told_and_followed(clock, server, jump_ms):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)

    server.ahead_ms += jump_ms

    assert exchange_clock.measure(server.time) == pytest.approx(abs(jump_ms), abs=0.01)
    assert exchange_clock.is_known
    assert exchange_clock.now_ms() == int(server.true_ms())


def test_an_old_measurement_proves_nothing(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)

    clock.advance(ExchangeClock.MAX_AGE_SEC - 1)
    assert exchange_clock.is_known
    clock.advance(1)
    assert not exchange_clock.is_known


def test_a_measurement_that_fails_changes_nothing(clock, server):
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(server.time)
    server.ahead_ms += 3000

    def fails_on_the_third():
        if server.asked == 7:
            raise OutcomeUnknown("no answer")
        return server.time()

    with pytest.raises(OutcomeUnknown):
        exchange_clock.measure(fails_on_the_third)

    assert exchange_clock.is_known
    assert exchange_clock.now_ms() == int(server.true_ms()) - 3000


@pytest.mark.parametrize("there", [0, 30, 250])
def test_nothing_stamped_before_now_is_later_than_the_latest_time_that_it_can_be(clock, there):
    server, exchange_clock = Server(clock), ExchangeClock(clock)
    server.trips = [(there, 250 - there)] * 5

    exchange_clock.measure(server.time)

    assert exchange_clock.now_ms() <= int(server.true_ms()) <= exchange_clock.latest_ms() <= server.true_ms() + 252


def test_a_moment_is_waited_out_until_it_is_past_at_the_exchange_for_certain(clock):
    server, exchange_clock = Server(clock), ExchangeClock(clock)
    server.trips = [(250, 0)] * 5
    exchange_clock.measure(server.time)
    since_ms = exchange_clock.latest_ms()
    waiting = threading.Thread(target=exchange_clock.wait_until_past, args=(since_ms,), daemon=True)

    waiting.start()
    for _ in range(300):
        clock.advance(0.001)
    waiting.join(10)

    assert not waiting.is_alive()
    assert server.true_ms() > since_ms


def test_the_machine_clock_waits_for_its_event():
    event = threading.Event()
    assert Clock().wait(event, 0.001) is False
    event.set()
    assert Clock().wait(event, 10) is True


def test_wall_time_is_shown_in_utc_to_the_millisecond():
    assert wall_text(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"
    assert wall_text(0) == "1970-01-01T00:00:00.000Z"


@given(st.integers(0, 4_102_444_800_000))
def test_wall_text_loses_no_millisecond(wall_ms):
    moment = datetime.fromisoformat(wall_text(wall_ms))

    assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == wall_ms
