"""A busy day of an engine: whatever its feed tells can be told in Chinese, from the event's word and figures alone."""

from __future__ import annotations

import re

import pytest

from copytrade_core import InsufficientBalance, KeyPermissions, OutcomeUnknown, Side, kinds
from copytrade_core.views import CopyState
from memory_exchange import MemoryExchange, closed_book, engine, keys, until

PROSE = re.compile(r"[a-z]+ [a-z]+ [a-z]+")  # English that was left standing


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    for name, usdt in (("leader", "10000"), ("anna", "1000"), ("bela", "1000"), ("cara", "0.01"), ("dora", "1000")):
        world.open(name, usdt, "1")
    return world


def a_busy_day(world, trader):
    """Accounts that come, pause and go; copies that are filled, refused, too small, lost; a halt; a bad key."""
    accounts = {
        name: trader.add_account(name, "memory", "test", keys(name)) for name in ("anna", "bela", "cara", "dora")
    }
    trader.set_leader("memory", "test", keys("leader"))
    trader.start_copying()
    trader.pause_account(accounts["dora"].id)

    def place(exchange, holder, prepared):
        if holder.key == "bela":
            raise InsufficientBalance("the account does not hold enough")
        return MemoryExchange.execute(exchange, holder, prepared)

    world.on_place = place
    bought = world.leader_trades("leader", Side.BUY, quote="100")
    closed_book(trader, bought.exchange_order_id)

    def lost(exchange, holder, prepared):
        MemoryExchange.execute(exchange, holder, prepared)
        raise OutcomeUnknown("the answer was lost", kind="no_answer")

    world.on_place = lost
    sold = world.leader_trades("leader", Side.SELL, base="0.1")
    closed_book(trader, sold.exchange_order_id)
    trader.resume_account(accounts["dora"].id)
    trader.stop_copying()
    trader.start_copying()
    trader._halts.begin("clock:memory/test", "the time is unsure", "two measurements that agree", "memory/test")
    trader._halts.end("clock:memory/test")
    world.holders["anna"].permissions = KeyPermissions(can_withdraw=True)
    trader.verify_account(accounts["anna"].id)
    trader.remove_account(accounts["bela"].id)
    until(lambda: any(event.data.get("what") == "account_removed" for event in trader.list_feed(limit=1000)))


def test_every_event_is_told_in_chinese_without_a_word_of_english_prose(world, tmp_path):
    with engine(world, tmp_path / "data", unknown_deadline_sec=20) as trader:
        a_busy_day(world, trader)
        events = trader.list_feed(limit=1000)
        books = trader.list_events()
        findings = trader.doctor()

    told = {event.data["what"] for event in events}
    assert {
        "engine_started", "account_added", "leader_set", "copying_started", "account_paused", "order_copied",
        "copy_moved", "account_resumed", "copying_stopped", "halt_began", "halt_ended", "account_disabled",
        "account_removed", "leader_connection_up",
    } <= told  # fmt: skip
    for event in events:
        chinese = kinds.event_sentence(event.text, event.data, "zh")
        assert not PROSE.search(chinese + kinds.event_remedy(event.data, "zh")), chinese
        assert "?" not in chinese, (event.text, chinese)
    copies = [copy for book in books for copy in book.copies]
    assert {copy.state for copy in copies} >= {CopyState.FILLED, CopyState.REJECTED, CopyState.SKIPPED}
    for row in (*books, *copies):
        assert not PROSE.search(kinds.reason_of(row, "zh")), row.reason
        assert bool(kinds.reason_of(row, "zh")) == bool(row.reason_kind)
    for finding in findings:
        chinese = kinds.sentence(finding.kind, "zh", **finding.data)
        assert not PROSE.search(chinese) and "?" not in chinese, chinese


def test_the_sum_of_a_copy_that_was_too_small_is_in_its_chinese_reason(world, tmp_path):
    with engine(world, tmp_path / "data") as trader:
        trader.add_account("cara", "memory", "test", keys("cara"))
        trader.set_leader("memory", "test", keys("leader"))
        trader.start_copying()
        order = world.leader_trades("leader", Side.BUY, quote="100")

        (copy,) = closed_book(trader, order.exchange_order_id).copies
        (event,) = until(lambda: [e for e in trader.list_feed(limit=1000) if e.data["what"] == "copy_moved"])

    assert kinds.reason_of(copy, "zh") == "按比例计算的数量（0.0001 USDT）舍去后为 0，太小"
    assert kinds.event_sentence(event.text, event.data, "zh") == (
        "cara 买入 跳过：按比例计算的数量（0.0001 USDT）舍去后为 0，太小"
    )
