"""Reports fold into orders: whatever comes twice, late, in any order or not at all, an order triggers once, whole."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.leader.fold import Fold
from copytrade_core.leader.ledger import Moment
from copytrade_core.model import OrderStatus, Side
from fakes import D, execution, fill, order_report

S = OrderStatus


def life(
    order_id: str, fills: list[tuple[int, int]], *, created_ms: int = 1000, number: int = 10, ends: S = S.FILLED, fee=1
):
    """Return the reports of a market order: NEW, one TRADE a fill, and EXPIRED where the book ran out."""
    reports = [execution(order_id, S.NEW, number=number, time_ms=created_ms, created_ms=created_ms)]
    base = quote = 0
    for index, (fill_base, fill_quote) in enumerate(fills, 1):
        base, quote = base + fill_base, quote + fill_quote
        is_last = index == len(fills) and ends is S.FILLED
        trade = fill(f"{order_id}-{index}", fill_base, fill_quote, created_ms + index, fee, "BNB")
        reports.append(
            execution(
                order_id,
                S.FILLED if is_last else S.PARTIALLY_FILLED,
                base=base,
                quote=quote,
                number=number + index,
                time_ms=created_ms + index,
                created_ms=created_ms,
                trade=trade,
            )
        )
    if ends is not S.FILLED:
        after = len(fills) + 1
        reports.append(
            execution(
                order_id, ends, base=base, quote=quote, number=number + after, time_ms=created_ms + after,
                created_ms=created_ms,
            )
        )  # fmt: skip
    return reports


def tell(fold: Fold, reports):
    return [fold.report(report, heard_ns=index, arrival=0) for index, report in enumerate(reports, 1)]


fill_lists = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 5000)), min_size=1, max_size=5)
orders = st.lists(
    st.tuples(fill_lists, st.sampled_from([S.FILLED, S.FILLED, S.EXPIRED, S.CANCELED])), min_size=1, max_size=4
)


@given(orders=orders, order=st.randoms(use_true_random=False), missing=st.sets(st.integers(0, 30)))
def test_each_order_triggers_once_and_whole_however_its_reports_arrive(orders, order, missing):
    """Two connections deliver everything, shuffled together; reports that are not final may be missing on both."""
    told, truth = [], {}
    for index, (fills, ends) in enumerate(orders):
        reports = life(str(index), fills, created_ms=1000 + index, number=100 * index, ends=ends)
        truth[str(index)] = (sum(base for base, _ in fills), sum(quote for _, quote in fills), ends)
        told += [report for at, report in enumerate(reports) if report.status.is_final or at not in missing] * 2
    order.shuffle(told)
    fold = Fold()
    sums: dict[str, tuple[Decimal, Decimal]] = {name: (D(0), D(0)) for name in truth}
    triggered = []
    trades: dict[str, int] = dict.fromkeys(truth, 0)
    for report in told:
        progress = fold.report(report, 1, 0)
        name = report.exchange_order_id
        sums[name] = (sums[name][0] + progress.new_base, sums[name][1] + progress.new_quote)
        trades[name] += len(progress.new_commissions)
        assert progress.new_base >= 0
        assert progress.new_quote >= 0
        if progress.is_final_now:
            triggered.append(name)
            # It is handed on with the whole sum, also where the final report overtook the others.
            found = progress.order
            assert (found.filled_base, found.filled_quote, found.status) == truth[name]

    assert sorted(triggered) == sorted(truth)
    for name, (base, quote, _) in truth.items():
        assert sums[name] == (base, quote)
        assert trades[name] == len({r.fill.trade_id for r in told if r.exchange_order_id == name and r.fill})
    assert fold.waiting_since(2) == []


@given(fills=fill_lists, order=st.randoms(use_true_random=False))
def test_first_and_last_moment_do_not_depend_on_the_order_of_arrival(fills, order):
    reports = life("7", fills)
    shuffled = list(reports)
    order.shuffle(shuffled)

    found = tell(Fold(), shuffled)[-1].order

    assert found.first == Moment(1000, 10)
    assert found.last == Moment(reports[-1].transaction_ms, reports[-1].execution_id)


def test_a_trade_before_new_is_fine_and_new_does_not_take_it_back():
    new, trade, final = life("7", [(1, 100), (2, 210)])
    fold = Fold()

    first, *_, last = tell(fold, [trade, new, final])

    assert (first.new_base, first.order.key) == (1, ("BTCUSDT", "7", 1000))
    assert last.is_final_now
    assert last.order.filled_quote == 310


def test_an_old_report_changes_nothing():
    reports = life("7", [(1, 100), (2, 210)])
    fold = Fold()
    tell(fold, reports)

    late = fold.report(reports[1], 99, 5)

    assert (late.new_base, late.new_quote, late.new_commissions, late.is_final_now) == (0, 0, (), False)
    assert (late.order.filled_base, late.order.status) == (3, S.FILLED)


def test_the_same_trade_id_pays_its_commission_once():
    new, trade, final = life("7", [(1, 100), (2, 210)])
    fold = Fold()

    commissions = [progress.new_commissions for progress in tell(fold, [new, trade, trade, final, final])]

    assert commissions == [(), (("BNB", 1),), (), (("BNB", 1),), ()]


@pytest.mark.parametrize("ends", [S.EXPIRED, S.CANCELED, S.REJECTED])
@pytest.mark.parametrize("fills", [[], [(1, 100)]])
def test_every_final_state_triggers_and_says_what_was_filled(ends, fills):
    *_, last = tell(Fold(), life("7", fills, ends=ends))

    assert last.is_final_now
    assert last.order.filled_base == len(fills)
    assert last.order.status is ends


def test_an_order_id_that_is_used_again_is_another_order():
    """A test network that is reset counts its ids from the start."""
    fold = Fold()
    first = tell(fold, life("7", [(1, 100)], created_ms=1000))[-1]
    second = tell(fold, life("7", [(5, 700)], created_ms=9000))[-1]

    assert first.is_final_now
    assert second.is_final_now
    assert first.order is not second.order
    assert (second.order.filled_base, second.order.filled_quote) == (5, 700)


def test_another_symbol_with_the_same_id_is_another_order():
    fold = Fold()
    report = life("7", [(1, 100)])[-1]

    assert fold.report(report, 1, 0).is_final_now
    assert fold.report(replace(report, exchange_symbol="ETHUSDT"), 2, 0).is_final_now


def test_what_was_known_at_the_first_report_is_kept():
    fold = Fold()
    new, final = life("7", [(1, 100)])
    fold.report(new, heard_ns=111, arrival=3)

    order = fold.report(final, heard_ns=222, arrival=8).order

    assert (order.first_heard_ns, order.first_arrival, order.final_heard_ns) == (111, 3, 222)
    assert (order.source, order.side, order.client_order_id) == ("live", Side.BUY, "web7")


# --- orders whose final report never came -----------------------------------------------------------------


def test_an_order_without_its_final_report_is_waited_for_and_read_back_once():
    fold = Fold()
    new, trade, _final = life("7", [(1, 100), (2, 210)])
    fold.report(new, 10, 0)
    fold.report(trade, 20, 0)
    assert [order.exchange_order_id for order in fold.waiting_since(11)] == ["7"]
    assert fold.waiting_since(10) == []
    report = order_report(
        "web7", base=3, quote=310, created_ms=1000, updated_ms=1002, order_id="7",
        fills=[trade.fill, fill("7-2", 2, 210, 1002, 1, "BNB")],
    )  # fmt: skip

    first, again = (fold.read_back(report, "BTCUSDT", "MARKET", 30, 1, "gap") for _ in range(2))

    assert (first.is_final_now, first.new_base, first.new_quote) == (True, 2, 210)
    assert first.new_commissions == (("BNB", 1),)  # the first fill's was counted with its report
    assert (again.is_final_now, again.new_base, again.new_commissions) == (False, 0, ())
    assert first.order.source == "live"
    assert fold.waiting_since(100) == []
    assert fold.knows(("BTCUSDT", "7", 1000))


def test_a_final_report_that_comes_after_the_read_back_does_not_trigger_again():
    fold = Fold()
    reports = life("7", [(1, 100)])
    fold.report(reports[0], 10, 0)
    report = order_report("web7", base=1, quote=100, created_ms=1000, updated_ms=1001, order_id="7")
    assert fold.read_back(report, "BTCUSDT", "MARKET", 30, 1, "gap").is_final_now

    late = fold.report(reports[1], 40, 2)

    assert not late.is_final_now
    assert (late.new_base, late.new_quote) == (0, 0)


def test_an_order_that_the_stream_never_told_of_is_marked_as_from_a_gap():
    fold = Fold()
    report = order_report("web7", base=1, quote=100, created_ms=1000, updated_ms=1001, order_id="7")

    progress = fold.read_back(report, "BTCUSDT", "MARKET", 30, 4, "gap")

    assert progress.is_final_now
    assert (progress.order.source, progress.order.first_arrival) == ("gap", 4)
    assert progress.order.first == progress.order.last == Moment(1001, 0, 7)


def test_an_open_order_that_is_read_back_is_still_waited_for():
    fold = Fold()
    report = order_report("web7", status=S.NEW, base=0, quote=0, created_ms=1000, updated_ms=1000, order_id="7")

    assert not fold.read_back(report, "BTCUSDT", "MARKET", 30, 4, "gap").is_final_now

    assert not fold.knows(("BTCUSDT", "7", 1000))
    assert len(fold.waiting_since(31)) == 1


def test_nobody_waits_for_an_order_that_rests_on_the_book():
    fold = Fold()
    fold.report(execution("7", S.NEW, order_type="LIMIT"), 1, 0)

    assert fold.waiting_since(10**18) == []


def test_old_orders_are_forgotten_but_none_that_is_still_owed_an_answer(monkeypatch):
    monkeypatch.setattr(Fold, "KEEP", 10)
    fold = Fold()
    for index in range(50):
        tell(fold, life(str(index), [(1, 100)], created_ms=1000 + index))
    assert not fold.knows(("BTCUSDT", "0", 1000))
    assert fold.knows(("BTCUSDT", "49", 1049))

    fold.report(execution("owed", S.NEW, created_ms=5000), 1, 0)
    for index in range(50, 100):
        tell(fold, life(str(index), [(1, 100)], created_ms=1000 + index))

    assert [order.exchange_order_id for order in fold.waiting_since(10)] == ["owed"]


def test_an_order_that_only_rest_tells_of_is_placed_behind_the_one_before_it():
    """Execution ids and order numbers are not of one kind: its number must not put it before what came earlier."""
    fold = Fold()
    fold.report(execution("7", OrderStatus.NEW, number=9000, time_ms=1001, created_ms=1001), 10, 1)

    report = order_report("web8", base=1, quote=100, created_ms=1001, updated_ms=1001, order_id="8")

    found = fold.read_back(report, "BTCUSDT", "MARKET", 30, 4, "gap")

    assert found.moment > Moment(1001, 9000)
    assert found.moment < Moment(1001, 9001)


def test_reports_of_an_order_that_rest_told_of_first_do_not_move_it():
    """What it did to the balances stays where it was placed: else no figure from after it would be known as one."""
    fold = Fold()
    report = order_report("web7", base=1, quote=100, created_ms=1000, updated_ms=1001, order_id="7")
    order = fold.read_back(report, "BTCUSDT", "MARKET", 30, 4, "gap").order

    tell(fold, life("7", [(1, 100)]))

    assert order.last == Moment(1001, 0, 7)
