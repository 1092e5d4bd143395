"""The leader's free balance just before an order, whatever came late, together, twice or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.copying.sizing import share_of
from copytrade_core.leader.ledger import KEEP_MS, BalanceLedger, Estimates, Moment, _Asset, agree, choose
from copytrade_core.model import BalanceSource
from fakes import D, snapshot

READ = BalanceSource.READ


@dataclass
class Order:
    """A market order of the leader as its reports tell of it."""

    time_ms: int
    number: int  # execution id of its first fill
    spent: Decimal
    fills: int = 1
    first_arrival: int = 0
    created_ms: int = 0
    first: Moment | None = None
    last: Moment | None = None


class Leader:
    """A ledger fed as the watcher feeds it."""

    def __init__(self, **free: object) -> None:
        self.ledger = BalanceLedger("USDT", "BTC")
        self.told = 0
        if free:
            self.position(1, **free)

    def position(self, time_ms: int, *, source: BalanceSource = BalanceSource.PUSHED, **free: object) -> bool:
        return self.ledger.state(snapshot(time_ms, source=source, **free))

    def rest(self, time_ms: int, **free: object) -> bool:
        return self.ledger.state(snapshot(time_ms, source=READ, complete=True, **free))

    def change(self, time_ms: int, asset: str = "USDT", *, amount: object, number: int = 0) -> None:
        self.told += 1
        self.ledger.change(f"change {self.told}", Moment(time_ms, number), {asset: D(str(amount))})

    def buys(
        self, time_ms: int, *spends: object, number: int = 10, created_ms: int | None = None, fee: dict | None = None
    ) -> Order:
        """Tell of a market buy: NEW under *number*, then one report a fill."""
        created = time_ms if created_ms is None else created_ms
        order = Order(time_ms, number, sum((D(str(spend)) for spend in spends), D(0)), len(spends))
        order.first_arrival = self.ledger.arrivals
        order.created_ms, order.first = created, Moment(created, number)
        for offset, spend in enumerate(spends, 1):
            moment = Moment(time_ms, number + offset)
            self.ledger.change(f"{number}:{offset}", moment, {"USDT": -D(str(spend)), **(fee or {})})
            order.last = moment
        return order

    def estimates(self, order: Order, asset: str = "USDT", own: Decimal | None = None) -> Estimates:
        return self.ledger.before(
            asset,
            created_ms=order.created_ms,
            first=order.first,
            last=order.last,
            own=-order.spent if own is None else own,
            first_arrival=order.first_arrival,
        )

    def before(self, order: Order) -> Decimal | None:
        chosen = choose(self.estimates(order))
        return chosen and chosen[0]

    def share(self, order: Order) -> Fraction | None:
        before = self.before(order)
        return None if before is None else share_of(order.spent, before)


def test_the_worked_case_two_fills_one_share():
    leader = Leader(USDT=10_000)

    order = leader.buys(1000, "1000.00", "1499.87")

    assert leader.share(order) == Fraction(249987, 1_000_000)


def test_a_figure_from_before_an_order_that_only_seems_to_hold_it_confirms_nothing():
    leader = Leader(USDT=42_000)
    # A buy of 400 is never told of, and a sell is; then comes a buy of 400 once more.
    leader.change(1028, amount=250)
    leader.position(1028, USDT=41_850)
    second = leader.buys(2843, 400)
    leader.position(2843, USDT=41_450)

    assert leader.estimates(second).undone == 41_850
    assert leader.before(second) is None

    leader.change(1000, amount=-400, number=3)  # the exchange was asked

    assert leader.before(second) == 41_850


def test_two_buys_5_ms_apart_with_one_position_for_both():
    leader = Leader(USDT=10_000)
    first = leader.buys(1000, 2500, number=10)
    second = leader.buys(1005, 2500, number=20)

    assert (leader.share(first), leader.share(second)) == (Fraction(1, 4), Fraction(1, 3))
    leader.position(1005, USDT=5000)
    assert (leader.share(first), leader.share(second)) == (Fraction(1, 4), Fraction(1, 3))
    estimates = leader.estimates(first), leader.estimates(second)
    assert [estimate.undone for estimate in estimates] == [10_000, 7500]
    assert [estimate.replayed for estimate in estimates] == [10_000, 7500]


def test_what_rest_says_after_both_is_not_what_was_there_before():
    """The obvious way gives 50 % and 50 %."""
    leader = Leader(USDT=10_000)
    first = leader.buys(1000, 2500, number=10)
    second = leader.buys(1005, 2500, number=20)
    leader.rest(1005, USDT=5000)

    assert (leader.share(first), leader.share(second)) == (Fraction(1, 4), Fraction(1, 3))


@pytest.mark.parametrize(
    "positions",
    [
        pytest.param([], id="positions-not-come-yet"),
        pytest.param([5000], id="one-position-for-both"),
        pytest.param([7500, 5000], id="one-position-each"),
        pytest.param([5000, 5000], id="position-and-snapshot"),
    ],
)
def test_two_buys_of_the_same_millisecond_are_told_apart_by_their_execution_ids(positions):
    leader = Leader(USDT=10_000)
    first = leader.buys(1000, 2500, number=10)
    second = leader.buys(1000, 2500, number=20)
    for free in positions:
        leader.position(1000, USDT=free)

    assert (leader.share(first), leader.share(second)) == (Fraction(1, 4), Fraction(1, 3))


def test_a_position_between_two_buys_of_one_millisecond_is_not_taken_for_the_whole():
    """With equal amounts the half position, with the second order taken back, equals what was there before both."""
    leader = Leader(USDT=10_000)
    first = leader.buys(1000, 2500, number=10)
    leader.position(1000, USDT=7500)
    assert leader.share(first) == Fraction(1, 4)

    second = leader.buys(1000, 2500, number=20)
    assert leader.share(second) == Fraction(1, 3)  # the sum tells that the first is in the position, the second not
    leader.rest(1000, USDT=5000)

    assert (leader.share(first), leader.share(second)) == (Fraction(1, 4), Fraction(1, 3))


def test_many_orders_of_one_millisecond_each_find_what_the_one_before_left():
    leader = Leader(USDT=10_000)
    orders = [leader.buys(1000, 1000, number=10 * number) for number in range(1, 5)]
    for left in (8000, 6000, 9000, 7000):  # their positions arrive in any order
        leader.position(1000, USDT=left)

    assert [leader.share(order) for order in orders] == [Fraction(1, count) for count in (10, 9, 8, 7)]


@pytest.mark.parametrize(
    ("at", "share"),
    [
        pytest.param(999, Fraction(2500, 12_000), id="1-ms-before-counts"),
        pytest.param(1001, Fraction(2500, 10_000), id="1-ms-after-does-not"),
    ],
)
@pytest.mark.parametrize("told", ["before", "after", "with-position"])
def test_a_deposit_counts_by_its_own_time(at, share, told):
    leader = Leader(USDT=10_000)
    if told == "before":
        leader.change(at, amount=2000)
    order = leader.buys(1000, 2500)
    if told == "after":
        leader.change(at, amount=2000)
    if told == "with-position":
        leader.change(at, amount=2000)
        leader.position(max(at, 1000), USDT=9500)

    assert leader.share(order) == share


def test_a_withdrawal_before_the_order_makes_the_share_larger():
    leader = Leader(USDT=10_000)
    leader.change(500, amount=-5000)

    assert leader.share(leader.buys(1000, 2500)) == Fraction(1, 2)


def test_a_deposit_and_its_position_count_once():
    leader = Leader(USDT=10_000)
    leader.change(500, amount=2000)
    leader.position(500, USDT=12_000)

    assert leader.ledger.free("USDT") == 12_000
    assert leader.share(leader.buys(1000, 2500)) == Fraction(2500, 12_000)


def test_a_rest_snapshot_older_than_the_stream_revives_nothing():
    leader = Leader(USDT=10_000, BTC=0)
    leader.position(900, USDT=4000, BTC=0)

    assert leader.rest(800, USDT=10_000) is False

    assert leader.ledger.free("USDT") == 4000
    assert leader.ledger.newest("USDT").free == 4000
    assert leader.share(leader.buys(1000, 2000)) == Fraction(1, 2)


def test_a_snapshot_of_the_same_time_is_news_that_changes_nothing():
    leader = Leader(USDT=10_000)

    assert leader.rest(1, USDT=10_000) is True
    assert leader.ledger.free("USDT") == 10_000


def test_the_position_may_come_before_the_report():
    leader = Leader(USDT=10_000)
    leader.position(1000, USDT=7500)
    assert leader.ledger.free("USDT") == 7500

    order = leader.buys(1000, 2500)

    assert leader.ledger.free("USDT") == 7500  # not spent a second time
    assert leader.share(order) == Fraction(1, 4)


def test_the_position_of_the_order_before_may_come_late():
    leader = Leader(USDT=10_000)
    leader.buys(1000, 2500, number=10)
    second = leader.buys(1400, 2500, number=20)
    assert leader.share(second) == Fraction(1, 3)

    leader.position(1000, USDT=7500)  # arrived after the second order's first report
    assert leader.share(second) == Fraction(1, 3)
    leader.position(1400, USDT=5000)

    assert leader.share(second) == Fraction(1, 3)
    assert leader.estimates(second).latest == 10_000  # what had arrived by then would have been wrong


def test_the_position_of_the_order_itself_may_never_come():
    leader = Leader(USDT=10_000)
    first = leader.buys(1000, 2500, number=10)
    second = leader.buys(2000, 2500, number=20)
    third = leader.buys(3000, 2500, number=30)
    leader.position(3000, USDT=2500)

    assert [leader.share(order) for order in (first, second, third)] == [Fraction(1, n) for n in (4, 3, 2)]


def test_several_orders_in_flight_are_a_chain():
    leader = Leader(USDT=10_000)
    orders = [leader.buys(1000 + at, 1000, number=10 * at + 10) for at in range(9)]

    assert [leader.before(order) for order in orders] == [10_000 - 1000 * at for at in range(9)]


def test_a_push_that_was_lost_before_the_order_shows_when_two_later_statements_agree():
    leader = Leader(USDT=10_000)
    order = leader.buys(1000, 2500)  # 2,000 had been locked at 500, and nobody heard of it
    leader.position(1000, USDT=5500)
    assert choose(leader.estimates(order)) is None

    leader.rest(1000, USDT=5500)

    assert choose(leader.estimates(order)) == (8000, "undone")


def test_a_lock_placed_right_after_the_order_is_not_taken_for_one_before_it():
    """One position for the order and for a limit order 2 ms later: nobody can say which side of it the lock is on."""
    leader = Leader(USDT=10_000)
    order = leader.buys(1000, 2500)
    leader.position(1002, USDT=(6500, 1000))
    leader.rest(1002, USDT=(6500, 1000))

    assert leader.before(order) in (None, 10_000)


def test_a_lock_that_is_known_from_before_the_order_is_not_free():
    leader = Leader(USDT=(10_000, 0))
    leader.position(900, USDT=(6000, 4000))

    order = leader.buys(1000, 1500)
    leader.position(1000, USDT=(4500, 4000))

    assert leader.share(order) == Fraction(1, 4)


def test_a_limit_order_that_fills_between_does_not_touch_free_quote_and_a_cancel_raises_it():
    leader = Leader(USDT=(6000, 4000), BTC=0)
    leader.change(500, "BTC", amount="0.02", number=5)  # the resting buy filled: paid from locked
    leader.position(500, USDT=(6000, 3000), BTC="0.02")
    leader.position(600, USDT=(9000, 0), BTC="0.02")  # the rest of it was cancelled

    assert leader.share(leader.buys(1000, 4500)) == Fraction(1, 2)


def test_the_first_figure_from_before_an_order_must_be_strictly_older_than_it():
    """A figure of the order's own millisecond may hold the order."""
    leader = Leader()
    leader.position(1000, USDT=7500)

    estimates = leader.estimates(leader.buys(1000, 2500))

    assert (estimates.latest, estimates.replayed, estimates.undone) == (None, None, 10_000)
    assert choose(estimates) is None


def test_an_order_that_took_a_while_is_placed_by_its_creation_and_its_last_fill():
    leader = Leader(USDT=10_000)
    order = leader.buys(1040, 1000, 1500, created_ms=1000)
    leader.position(1020, USDT=9000)  # in the middle of it

    estimates = leader.estimates(order)
    assert (estimates.latest, estimates.replayed, estimates.undone) == (10_000, 10_000, None)
    leader.position(1040, USDT=7500)
    assert leader.estimates(order).undone == 10_000


def test_without_any_figure_nobody_copies():
    leader = Leader()

    assert leader.before(leader.buys(1000, 2500)) is None
    assert leader.ledger.free("USDT") is None
    assert leader.ledger.newest("USDT") is None
    assert not leader.ledger.has_deltas_after_newest("USDT")


def test_an_order_larger_than_the_balance_before_it_is_no_share():
    leader = Leader(USDT=1000)

    assert leader.share(leader.buys(1000, 2500)) is None


@pytest.mark.parametrize("fee_asset", ["BNB", "BTC"])
def test_a_fee_in_another_asset_changes_no_share(fee_asset):
    leader = Leader(USDT=10_000, BTC=1, BNB=5)
    order = leader.buys(1000, 2500, fee={fee_asset: D("-0.001")})
    leader.position(1000, USDT=7500)

    assert leader.share(order) == Fraction(1, 4)


def test_a_fee_in_the_traded_asset_is_part_of_what_the_order_did():
    """Selling BNB with fees in BNB: free falls by the quantity and by the fee; the share is of the quantity alone."""
    leader = Leader(BNB=100)
    order = Order(1000, 10, D(25), created_ms=1000, first=Moment(1000, 10), last=Moment(1000, 11), first_arrival=1)
    leader.ledger.change("10:1", Moment(1000, 11), {"BNB": D("-25.01875")})
    leader.position(1000, BNB="74.98125")

    estimates = leader.estimates(order, "BNB", own=D("-25.01875"))

    assert estimates == Estimates(latest=D(100), replayed=D(100), undone=D(100), undone_again=None)
    assert share_of(order.spent, choose(estimates)[0]) == Fraction(1, 4)


def test_a_complete_snapshot_that_leaves_an_asset_out_says_zero_and_a_push_says_nothing():
    leader = Leader(USDT=10_000, BTC=1)
    leader.position(500, USDT=9000)
    assert leader.ledger.free("BTC") == 1
    leader.rest(600, USDT=9000)
    assert leader.ledger.free("BTC") == 0


def test_an_event_that_is_told_twice_counts_once():
    ledger = BalanceLedger("USDT")
    ledger.state(snapshot(1, USDT=100))

    assert ledger.change("a", Moment(5), {"USDT": D(-10)}) is True
    assert ledger.change("a", Moment(5), {"USDT": D(-10)}) is False

    assert ledger.free("USDT") == 90
    assert ledger.has_deltas_after_newest("USDT")
    ledger.state(snapshot(5, USDT=90))
    assert not ledger.has_deltas_after_newest("USDT")


def test_history_is_let_go_but_never_the_ground_to_stand_on():
    leader = Leader(USDT=10_000)
    for number in range(200):
        leader.buys(2000 + number * 10_000, 1, number=10 * number + 10)
        leader.position(2000 + number * 10_000, USDT=9999 - number)
    asset = leader.ledger._assets["USDT"]

    kept_ms = asset.absolutes[-1].time_ms - asset.absolutes[1].time_ms
    assert kept_ms <= KEEP_MS
    assert len(asset.deltas) == len(asset.keys) <= KEEP_MS // 10_000 + 2
    assert leader.ledger.free("USDT") == 9800
    last = leader.buys(2_100_000, 980, number=99_999)
    assert leader.share(last) == Fraction(1, 10)


def test_a_quiet_week_does_not_lose_the_only_figure():
    leader = Leader(USDT=10_000)

    assert leader.share(leader.buys(7 * 86_400_000, 2500)) == Fraction(1, 4)


# --- which estimate stands --------------------------------------------------------------------------------


def chosen(latest, replayed, undone, again=None):
    figures = (None if figure is None else D(str(figure)) for figure in (latest, replayed, undone, again))
    return choose(Estimates(**dict(zip(("latest", "replayed", "undone", "undone_again"), figures, strict=True))))


@pytest.mark.parametrize(
    ("figures", "balance", "how"),
    [
        pytest.param((100, 100, None), 100, "latest", id="nothing-from-after-yet"),
        pytest.param((100, 100, 100), 100, "latest", id="all-agree"),
        pytest.param((100, 75, None), 75, "replayed", id="events-in-between"),
        pytest.param((100, 75, 75), 75, "replayed", id="events-in-between-confirmed"),
        pytest.param((100, 75, 100), 100, "latest", id="a-wrong-replay-is-overruled"),
        pytest.param((None, 75, 75), 75, "replayed", id="no-figure-had-arrived-in-time"),
        pytest.param((100, 100, "100.1"), 100, "latest", id="within-a-thousandth"),
        pytest.param((100, 100, 80, 80), 80, "undone", id="a-push-was-lost"),
        pytest.param((None, None, 80, 80), 80, "undone", id="only-statements-from-after"),
        pytest.param((0, 0, 0), 0, "latest", id="nothing-there"),
    ],
)
def test_a_figure_stands_where_another_confirms_it(figures, balance, how):
    assert chosen(*figures) == (balance, how)


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param((100, 90, 80), id="all-three-differ"),
        pytest.param((100, 90, 80, 70), id="all-four-differ"),
        pytest.param((None, None, None), id="no-ground-at-all"),
        pytest.param((None, None, 80), id="one-statement-from-after-alone"),
        pytest.param((100, 100, 80), id="a-contradiction"),
        pytest.param((100, 100, "100.2"), id="beyond-a-thousandth"),
        pytest.param((0, 0, "0.00000001"), id="something-where-nothing-was"),
    ],
)
def test_nobody_copies_where_the_figures_contradict_each_other(figures):
    assert chosen(*figures) is None


amounts = st.integers(-(10**14), 10**14)


@given(one=amounts, other=amounts)
def test_agreement_is_within_a_thousandth_of_the_larger(one, other):
    assert agree(D(one), D(other)) == agree(D(other), D(one)) == (1000 * abs(one - other) <= max(abs(one), abs(other)))


def test_estimates_are_noted_in_plain_digits():
    estimates = Estimates(latest=D("1E-8"), replayed=None, undone=D("1E+3"))

    assert estimates.as_text() == {"latest": "0.00000001", "undone": "1000"}


# --- any order of any events ------------------------------------------------------------------------------

happenings = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "deposit"]),
        st.integers(0, 4),  # milliseconds since the one before
        st.integers(1, 1000),  # the amount
        st.sampled_from(["told", "late", "lost"]),  # what becomes of the position after it
    ),
    min_size=1,
    max_size=8,
)


@given(happened=happenings)
def test_the_balance_before_is_exact_whatever_becomes_of_the_positions(happened):
    """Truth is kept in whole numbers beside the ledger. Reports and deposits are told; positions come late or never."""
    leader = Leader(USDT=100_000)
    truth, now, shared_time = 100_000, 1000, False
    late: list[tuple[int, int]] = []  # (time, free): one connection keeps their order
    orders: list[tuple[Order, int]] = []

    def deliver() -> None:
        while late:
            time_ms, free = late.pop(0)
            leader.position(time_ms, USDT=free)

    for index, (kind, pause, amount, fate) in enumerate(happened):
        # No deposit shares its millisecond with an order: it has no execution id to tell which was first.
        pause = max(pause, 1) if kind == "deposit" or (index and happened[index - 1][0] == "deposit") else pause
        shared_time = shared_time or (index > 0 and pause == 0)
        now += pause
        if kind == "order":
            orders.append((leader.buys(now, amount, number=100 * index + 100), truth))
            truth -= amount
        else:
            leader.change(now, amount=amount)
            truth += amount
        if kind == "order" and not shared_time:
            assert leader.before(orders[-1][0]) == orders[-1][1]
        if fate != "lost":
            late.append((now, truth))
        if fate == "told":
            deliver()
    deliver()
    leader.rest(now, USDT=truth)
    assert leader.ledger.free("USDT") == truth
    for order, before in orders:
        found = leader.before(order)
        if not shared_time:
            assert found == before
        elif all(fate != "lost" for *_, fate in happened):
            # Half of a millisecond may be stated before the other half was told.
            assert found is None or agree(found, D(before))


@given(
    bought=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 1000), st.booleans()), min_size=1, max_size=8),
    lock_at=st.integers(0, 9),
    lock=st.integers(1, 20_000),
    is_pushed=st.booleans(),
)
def test_an_unheard_lock_never_gives_a_wrong_balance_once_later_statements_are_in(bought, lock_at, lock, is_pushed):
    """Something takes 1 to 20,000 away and only positions tell of it. The answer is right, or nobody copies."""
    leader = Leader(USDT=100_000)
    truth, now, orders = 100_000, 1000, []
    for index, (pause, amount, is_told) in enumerate(bought):
        now += 1 + pause
        if index == lock_at:
            truth -= lock
            if is_pushed:
                leader.position(now, USDT=truth)
            now += 1
        orders.append((leader.buys(now, amount, number=100 * index + 100), truth))
        truth -= amount
        if is_told:
            leader.position(now, USDT=truth)
    leader.rest(now, USDT=truth)
    leader.rest(now + 1, USDT=truth)

    for order, before in orders:
        found = leader.before(order)
        assert found is None or agree(found, D(before))


steps = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5000), st.integers(0, 3), st.integers(-3, 3)), min_size=1, max_size=25
)


@given(steps)
def test_what_is_kept_of_the_figures_is_what_would_be_found_from_the_beginning(steps):
    """Events come in any order; a figure found earlier stands only while nothing that was told since could be in it."""
    ledger = BalanceLedger("USDT")
    for number, (is_figure, time_ms, execution_id, amount) in enumerate(steps):
        if is_figure:
            ledger.state(snapshot(time_ms, USDT=(100 + amount, 1)))
        else:
            ledger.change(str(number), Moment(time_ms, execution_id), {"USDT": D(amount)})
        asset = ledger._assets["USDT"]
        kept = list(asset.figures())

        asset.told_of(-1)

        assert kept == asset.figures()


def test_an_order_among_hundreds_costs_no_more_than_one_among_few(monkeypatch):
    """All of it stands between the leader's report and the copies."""
    ledger = BalanceLedger("USDT", "BTC")
    ledger.state(snapshot(0, USDT=10_000))
    looked_at = []
    reach = _Asset._reach
    monkeypatch.setattr(_Asset, "_reach", lambda self, *given: looked_at.append(1) or reach(self, *given))
    for number in range(1, 601):
        ledger.change(str(number), Moment(number * 190, number), {"USDT": D(-1)})
        ledger.state(snapshot(number * 190, USDT=10_000 - number))
        looked_at.clear()
        assert ledger.free("USDT") == 10_000 - number

    assert len(looked_at) < 30


@pytest.mark.parametrize("is_told_after", [True, False])
def test_what_a_resting_order_locked_right_before_an_equal_market_order_is_not_taken_for_it(is_told_after):
    """Free 10,000; 1,000 locked; half a second later 1,000 spent at market: a ninth of 9,000, not a tenth of 10,000."""
    ledger = BalanceLedger("USDT")
    ledger.state(snapshot(1000, USDT=10_000))
    ledger.state(snapshot(2000, USDT=(9000, 1000)))
    arrivals = ledger.arrivals
    ledger.change("fill", Moment(2500, 8), {"USDT": D(-1000)})
    if is_told_after:
        ledger.state(snapshot(2500, USDT=(8000, 1000)))
        ledger.state(snapshot(2500, USDT=(8000, 1000), source=BalanceSource.READ, complete=True))

    found = choose(
        ledger.before(
            "USDT", created_ms=2500, first=Moment(2500, 7), last=Moment(2500, 8), own=D(-1000), first_arrival=arrivals
        )
    )

    assert found == ((D(9000), "undone") if is_told_after else None)


def test_what_a_market_order_froze_in_flight_is_taken_for_it():
    """The same figure, but the lock is gone with the fill: it was the order's own."""
    ledger = BalanceLedger("USDT")
    ledger.state(snapshot(1000, USDT=10_000))
    arrivals = ledger.arrivals
    ledger.state(snapshot(2000, USDT=(9000, 1000)))
    ledger.change("fill", Moment(2500, 8), {"USDT": D(-1000)})
    ledger.state(snapshot(2500, USDT=9000))
    ledger.state(snapshot(2500, USDT=9000, source=BalanceSource.READ, complete=True))

    estimates = ledger.before(
        "USDT", created_ms=2000, first=Moment(2000, 7), last=Moment(2500, 8), own=D(-1000), first_arrival=arrivals
    )

    assert choose(estimates)[0] == 10_000
    assert ledger.free("USDT") == 9000
