"""The followers' live balances: what is reckoned with, how old it is, and when it must be read first."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.accounts.balances import TRUST_STREAM_SEC, BalanceBook, fill_deltas
from copytrade_core.model import BalanceChange, BalanceSource, Side, Symbol
from fakes import BTC_USDT, D, FakeClock, fill, snapshot

READ = BalanceSource.READ


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def book(clock):
    return BalanceBook(clock, BTC_USDT)


def free(book: BalanceBook, asset: str = "USDT", account: str = "anna"):
    figure = book.figure(account, asset)
    return None if figure is None else figure.free


def test_nothing_is_known_of_an_account_that_nobody_spoke_of(book):
    assert book.figure("anna", "USDT") is None
    assert book.views("anna") == ()
    assert book.needs_reading("anna", 60)
    assert not book.is_pushed("anna")


def test_the_newest_that_is_known_may_be_a_fill(book):
    assert book.newest_ms("anna") == 0
    book.state("anna", snapshot(1000, complete=True, source=READ, USDT="500", BTC="1"))
    assert book.newest_ms("anna") == 1000
    book.fills("anna", "7", Side.BUY, BTC_USDT, [fill("1", "100", "1", time_ms=5000)])
    assert book.newest_ms("anna") == 5000


def test_what_was_read_is_shown_with_its_age_and_source(book, clock):
    book.state("anna", snapshot(1000, complete=True, source=READ, USDT=("500.25", "10"), BTC="0.5"))
    clock.advance(3.2)

    figure = book.figure("anna", "USDT")
    assert (figure.free, figure.age_ms, figure.source) == (D("500.25"), 3200, READ)
    usdt, btc = book.views("anna")
    assert (usdt.asset, usdt.free, usdt.locked, usdt.age_sec, usdt.source) == (
        "USDT",
        D("500.25"),
        D("10"),
        3.2,
        "read",
    )
    assert (btc.asset, btc.free) == ("BTC", D("0.5"))


def test_an_asset_that_a_complete_statement_leaves_out_is_zero(book):
    book.state("anna", snapshot(1000, complete=True, source=READ, USDT=500))

    assert free(book, "BTC") == 0


def test_an_asset_that_a_push_leaves_out_is_unchanged(book):
    book.state("anna", snapshot(1000, complete=True, source=READ, USDT=500, BTC=1))
    book.state("anna", snapshot(2000, USDT=400))

    assert (free(book), free(book, "BTC")) == (400, 1)


def test_a_push_of_one_asset_makes_no_older_figure_of_another_one_young(book, clock):
    book.state("anna", snapshot(1000, complete=True, source=READ, USDT=500, BTC=1))
    clock.advance(600)
    book.stream("anna", True)
    book.state("anna", snapshot(2000, USDT=400))

    assert book.needs_reading("anna", 60)  # what happened to BTC while nothing was pushed is not known
    assert book.figure("anna", "BTC").age_ms == 600_000
    book.state("anna", snapshot(2000, complete=True, source=READ, USDT=400, BTC=2))
    clock.advance(70)
    book.state("anna", snapshot(3000, USDT=300))
    assert not book.needs_reading("anna", 60)
    assert book.figure("anna", "BTC").age_ms == 0


def test_an_older_statement_that_comes_late_revives_nothing(book, clock):
    book.state("anna", snapshot(2000, USDT=400))
    clock.advance(10)
    book.state("anna", snapshot(1000, complete=True, source=READ, USDT=500, BTC=1))

    figure = book.figure("anna", "USDT")
    assert (figure.free, figure.source) == (400, BalanceSource.PUSHED)


def test_our_own_fills_carry_the_balance_on_until_the_exchange_states_it(book):
    book.state("anna", snapshot(1000, complete=True, source=READ, USDT=500, BTC=0))
    book.fills("anna", "7", Side.BUY, BTC_USDT, [fill("t1", "0.002", "100", 1500, "0.000002", "BTC")])

    assert (free(book), free(book, "BTC")) == (400, D("0.001998"))
    assert book.figure("anna", "USDT").source is BalanceSource.FILLS
    book.state("anna", snapshot(1500, USDT=400, BTC="0.001998"))
    assert (free(book), free(book, "BTC")) == (400, D("0.001998"))
    assert book.figure("anna", "USDT").source is BalanceSource.PUSHED


def test_a_push_that_comes_before_our_reading_of_the_fill_counts_it_once(book):
    book.state("anna", snapshot(1000, USDT=500))
    book.state("anna", snapshot(1500, USDT=400))
    book.fills("anna", "7", Side.BUY, BTC_USDT, [fill("t1", "0.002", "100", 1500)])

    assert free(book) == 400


def test_a_fill_that_is_told_twice_counts_once_and_ids_are_the_orders_own(book):
    book.state("anna", snapshot(1000, USDT=500))
    one = fill("t1", "0.002", "100", 1500)
    for _ in range(2):
        book.fills("anna", "7", Side.BUY, BTC_USDT, [one])
    assert free(book) == 400
    book.fills("anna", "8", Side.BUY, BTC_USDT, [one])  # the same trade id under another order is another fill
    assert free(book) == 300


def test_a_deposit_is_added_once_whether_its_position_comes_before_or_after(book):
    book.state("anna", snapshot(1000, USDT=500))
    deposit = BalanceChange(asset="USDT", free_delta=D("50"), time_ms=1200)
    book.change("anna", deposit)
    book.change("anna", deposit)
    assert free(book) == 550
    book.state("anna", snapshot(1200, USDT=550))
    assert free(book) == 550
    book.change("anna", deposit)
    assert free(book) == 550


def test_two_deposits_of_one_millisecond_are_told_apart_by_their_amounts(book):
    book.state("anna", snapshot(1000, USDT=500))
    for amount in ("50", "60"):
        book.change("anna", BalanceChange(asset="USDT", free_delta=D(amount), time_ms=1200))

    assert free(book) == 610


def test_a_push_that_leaves_late_with_a_new_stamp_is_read_again_before_spent_money_is_spent_again(book):
    book.state("anna", snapshot(1000, complete=True, source=BalanceSource.READ, USDT=1000, BTC=1))
    book.fills("anna", "7", Side.BUY, BTC_USDT, [fill("1", "0.005", 500, 2000)])
    book.state("anna", snapshot(2001, USDT=500, BTC="1.005"))
    assert not book.is_doubtful("anna", "USDT")

    book.state("anna", snapshot(5000, USDT=1000, BTC=1))  # of before the fill, stamped as it was sent

    assert book.is_doubtful("anna", "USDT")
    assert book.is_doubtful("anna", "BTC")
    book.state("anna", snapshot(5100, complete=True, source=BalanceSource.READ, USDT=500, BTC="1.005"))
    assert not book.is_doubtful("anna", "USDT")
    assert book.figure("anna", "USDT").free == 500


def test_a_push_about_money_that_moved_without_an_order_of_ours_needs_no_second_look(book):
    book.state("anna", snapshot(1000, complete=True, source=BalanceSource.READ, USDT=1000, BTC=1))
    book.fills("anna", "7", Side.BUY, BTC_USDT, [fill("1", "0.005", 500, 2000)])
    book.state("anna", snapshot(2001, USDT=500, BTC="1.005"))

    book.state("anna", snapshot(200_000, USDT=750, BTC="1.005"))  # a deposit, long after

    assert not book.is_doubtful("anna", "USDT")
    assert book.figure("anna", "USDT").free == 750


def test_accounts_do_not_mix(book):
    book.state("anna", snapshot(1000, USDT=500))
    book.state("bela", snapshot(1000, USDT=900))
    book.fills("bela", "7", Side.BUY, BTC_USDT, [fill("t1", "0.002", "100", 1500)])

    assert (free(book), free(book, account="bela")) == (500, 800)
    book.forget("anna")
    book.forget("nobody")
    assert (free(book), free(book, account="bela")) == (None, 800)


@pytest.mark.parametrize(
    ("side", "fee_asset", "deltas"),
    [
        pytest.param(Side.BUY, "BTC", {"BTC": "0.001998", "USDT": "-100"}, id="buy-fee-in-base"),
        pytest.param(Side.BUY, "BNB", {"BTC": "0.002", "USDT": "-100", "BNB": "-0.000002"}, id="buy-fee-in-bnb"),
        pytest.param(Side.SELL, "USDT", {"BTC": "-0.002", "USDT": "99.999998"}, id="sell-fee-in-quote"),
        pytest.param(Side.SELL, "BNB", {"BTC": "-0.002", "USDT": "100", "BNB": "-0.000002"}, id="sell-fee-in-bnb"),
    ],
)
def test_a_fill_moves_both_assets_and_its_commission(side, fee_asset, deltas):
    found = fill_deltas(side, BTC_USDT, fill("t", "0.002", "100", 1, "0.000002", fee_asset))

    assert found == {asset: D(delta) for asset, delta in deltas.items()}


def test_a_fee_in_the_asset_that_is_traded_is_taken_from_it():
    bnb = Symbol("BNB", "USDT")

    assert fill_deltas(Side.SELL, bnb, fill("t", "2", "1200", 1, "0.0015", "BNB"))["BNB"] == D("-2.0015")
    assert fill_deltas(Side.BUY, bnb, fill("t", "2", "1200", 1, "0.0015", "BNB"))["BNB"] == D("1.9985")


def test_an_old_figure_must_be_read_again(book, clock):
    book.state("anna", snapshot(1000, source=READ, USDT=500))

    clock.advance(60)
    assert not book.needs_reading("anna", 60)
    clock.advance(0.001)
    assert book.needs_reading("anna", 60)


def test_a_live_stream_vouches_for_a_quiet_account_but_not_for_ever(book, clock):
    book.stream("anna", True)
    book.state("anna", snapshot(1000, source=READ, USDT=500))

    clock.advance(TRUST_STREAM_SEC)
    assert not book.needs_reading("anna", 60)
    clock.advance(0.001)
    assert book.needs_reading("anna", 60)


def test_a_stream_that_came_up_after_the_figure_does_not_vouch_for_it(book, clock):
    book.state("anna", snapshot(1000, source=READ, USDT=500))
    clock.advance(30)
    book.stream("anna", True)
    assert book.is_pushed("anna")

    clock.advance(31)
    assert book.needs_reading("anna", 60)


def test_a_stream_that_went_down_vouches_for_nothing_even_when_it_is_up_again(book, clock):
    book.stream("anna", True)
    book.state("anna", snapshot(1000, source=READ, USDT=500))
    clock.advance(40)
    book.stream("anna", False)
    assert not book.is_pushed("anna")
    book.stream("anna", True)
    clock.advance(21)

    assert book.needs_reading("anna", 60)


def test_a_stale_statement_does_not_make_a_figure_look_fresh(book, clock):
    book.state("anna", snapshot(2000, USDT=400))
    clock.advance(61)
    book.state("anna", snapshot(1000, source=READ, USDT=500))

    assert book.needs_reading("anna", 60)
    assert book.figure("anna", "USDT").age_ms == 61_000


def test_the_same_statement_again_makes_a_figure_fresh(book, clock):
    book.state("anna", snapshot(2000, source=READ, USDT=400))
    clock.advance(61)
    book.state("anna", snapshot(2000, source=READ, USDT=400))

    assert not book.needs_reading("anna", 60)


def test_a_push_is_no_read(book, clock):
    clock.advance(1)
    book.state("anna", snapshot(1000, source=READ, USDT=1))
    read = book.read_ns("anna")
    clock.advance(1)
    book.state("anna", snapshot(2000, USDT=1))

    assert book.read_ns("anna") == read > book.read_ns("nobody") == 0


event = st.tuples(st.sampled_from(["fill", "deposit"]), st.integers(1, 40), st.integers(1, 500))


@given(events=st.lists(event, max_size=12), stated=st.integers(0, 45), order=st.randoms(use_true_random=False))
def test_in_whatever_order_things_are_told_the_sum_is_the_same(events, stated, order):
    """Truth: 10,000 and everything that happened. A statement of any moment, told at any time, must not change it."""

    def effect(kind, amount):
        return -amount if kind == "fill" else amount

    def truth(until):
        return 10_000 + sum(effect(kind, amount) for kind, at, amount in events if at <= until)

    book = BalanceBook(FakeClock(), BTC_USDT)
    book.state("anna", snapshot(0, USDT=10_000))
    told = [("state", None, None), *[("event", number, None) for number in range(len(events))]]
    order.shuffle(told)
    for what, number, _ in told:
        if what == "state":
            book.state("anna", snapshot(stated, USDT=truth(stated)))
            continue
        kind, at, amount = events[number]
        if kind == "fill":
            book.fills("anna", str(number), Side.BUY, BTC_USDT, [fill("t", "0.001", amount, at)])
        else:
            # The exchange dates deposits to the millisecond; equal ones within it are one and the same to us.
            delta = D(amount) + D(number).scaleb(-8)
            book.change("anna", BalanceChange(asset="USDT", free_delta=delta, time_ms=at))

    assert round(free(book)) == truth(100)


def test_many_threads_may_speak_of_one_account(book):
    book.state("anna", snapshot(0, USDT=10_000))

    def tell(number):
        for index in range(50):
            book.fills("anna", f"{number}", Side.BUY, BTC_USDT, [fill(f"t{index}", "0.001", 1, 10 + index)])
            book.figure("anna", "USDT")

    threads = [threading.Thread(target=tell, args=(number,), name=f"teller-{number}") for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert free(book) == 10_000 - 6 * 50


@pytest.mark.parametrize(
    "stamp", [pytest.param(t, id=f"{t - 1020:+d}-ms-from-the-fill") for t in (990, 1019, 1020, 1050)]
)
def test_what_an_order_in_flight_froze_is_not_taken_for_spent_twice(book, stamp):
    """An exchange may push that an order froze its money, and then stamp what is left a little beside the fill."""
    book.state("anna", snapshot(500, USDT=1000))
    book.state("anna", snapshot(985, USDT=("700", "300")))
    book.fills("anna", "1", Side.BUY, BTC_USDT, [fill("t1", "0.005", "299.5", 1020)])
    assert book.is_doubtful("anna", "USDT")

    book.state("anna", snapshot(stamp, USDT="700.5"))

    assert not book.is_doubtful("anna", "USDT")
    assert free(book) == D("700.5")
