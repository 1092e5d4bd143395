"""The simulators' money: exact, conserved, and moved as an exchange would."""

from __future__ import annotations

import random
from contextlib import suppress
from decimal import ROUND_DOWN, Decimal

import pytest

from copytrade_core.sim import Change, MarketRules, OrderRefused, SimAccount, World
from copytrade_core.sim.ledger import LedgerError, total

PRICE = Decimal("100000")


@pytest.fixture
def world() -> World:
    world = World(seed=3, price=PRICE)
    world.open_market("acme", MarketRules())
    return world


def account_with(world: World, account_id: str = "acme-1", **balances: str) -> SimAccount:
    amounts = {asset: Decimal(amount) for asset, amount in balances.items()}
    return world.open_account("acme", account_id, "follower", amounts)


def test_quote_buy_takes_the_grid_over_two_levels_and_leaves_the_rest_unspent(world: World) -> None:
    market = world.markets["acme"]
    market.book.asks = [
        (Decimal("100000"), Decimal("0.00050")),
        (Decimal("100010"), Decimal("0.01000")),
    ]
    account = account_with(world, USDT="1000")
    order = market.place(account, side="BUY", quote=Decimal(100), client_order_id="a")
    assert [(fill.quantity, fill.fee) for fill in order.fills] == [
        (Decimal("0.00050"), Decimal("0.00000050")),
        (Decimal("0.00049"), Decimal("0.00000049")),
    ]
    assert account.free("USDT") == Decimal("900.9951")
    assert account.free("BTC") == Decimal("0.00098901")
    assert (order.free_quote_before, order.free_base_before) == (Decimal(1000), Decimal(0))


def test_sell_pays_its_fee_in_quote(world: World) -> None:
    account = account_with(world, BTC="0.00098901")
    order = world.markets["acme"].place(account, side="SELL", quantity=Decimal("0.00098"), client_order_id="a")
    brought = order.executed_quote
    fee = (brought * Decimal("0.001")).quantize(Decimal("1e-8"), ROUND_DOWN)
    assert account.free("USDT") == brought - fee
    assert account.free("BTC") == Decimal("0.00000901")


def test_fee_in_the_discount_asset_until_it_runs_out(world: World) -> None:
    account = account_with(world, USDT="10000", BNB="0.00200000")
    account.fees_in_discount_asset = True
    market = world.markets["acme"]
    paid_in = [
        market.place(account, side="BUY", quote=Decimal(1000), client_order_id=f"a{number}").fills[0].fee_asset
        for number in range(3)
    ]
    assert paid_in == ["BNB", "BTC", "BTC"]


def test_thin_book_expires_the_order_with_what_was_there(world: World) -> None:
    market = world.markets["acme"]
    market.book.asks = [(PRICE, Decimal("0.00100"))]
    account = account_with(world, USDT="1000")
    order = market.place(account, side="BUY", quote=Decimal(500), client_order_id="a")
    assert (order.status, order.executed_base) == ("EXPIRED", Decimal("0.00100"))
    assert account.locked("USDT") == 0
    assert account.free("USDT") == Decimal(900)


def test_refused_order_changes_nothing(world: World) -> None:
    account = account_with(world, USDT="10")
    with pytest.raises(OrderRefused) as refused:
        world.markets["acme"].place(account, side="BUY", quote=Decimal(11), client_order_id="a")
    assert refused.value.reason == OrderRefused.INSUFFICIENT_BALANCE
    assert account.free("USDT") == 10
    assert not account.orders


def test_client_id_is_refused_while_open_and_executes_again_once_filled(world: World) -> None:
    market = world.markets["acme"]
    account = account_with(world, USDT="10000")
    market.place(account, side="BUY", quantity=Decimal("0.01"), price=PRICE - 1000, client_order_id="same")
    with pytest.raises(OrderRefused) as refused:
        market.place(account, side="BUY", quote=Decimal(50), client_order_id="same")
    assert refused.value.reason == OrderRefused.DUPLICATE
    market.move_price(PRICE - 2000)
    market.place(account, side="BUY", quote=Decimal(50), client_order_id="same")
    assert [order.status for order in account.orders] == ["FILLED", "FILLED"]


def test_limit_order_locks_then_fills_at_its_own_price_when_the_market_passes(world: World) -> None:
    market = world.markets["acme"]
    account = account_with(world, USDT="10000")
    changes: list[Change] = []
    market.listeners.append(changes.append)
    order = market.place(account, side="BUY", quantity=Decimal("0.01"), price=Decimal(99000), client_order_id="a")
    assert (account.free("USDT"), account.locked("USDT")) == (Decimal(9010), Decimal(990))
    market.move_price(Decimal(98000))
    assert (order.status, order.fills[0].price, order.fills[0].maker) == ("FILLED", Decimal(99000), True)
    assert account.locked("USDT") == 0
    assert [[step.execution for step in change.steps] for change in changes] == [["NEW"], ["TRADE"]]


def test_deposit_below_zero_is_refused(world: World) -> None:
    account = account_with(world, USDT="10")
    with pytest.raises(LedgerError):
        world.markets["acme"].deposit(account, "USDT", Decimal(-11))


@pytest.mark.parametrize("seed", range(20))
def test_money_is_conserved_apart_from_fees(seed: int) -> None:
    world = World(seed=seed)
    market = world.open_market("acme", MarketRules())
    accounts = [world.open_account("acme", f"acme-{number}", "follower") for number in range(3)]
    draw = random.Random(seed)
    before = {asset: total(accounts, asset) for asset in ("USDT", "BTC", "BNB")}
    for number in range(60):
        account = draw.choice(accounts)
        side = draw.choice(("BUY", "SELL"))
        ticket: dict[str, Decimal] = {}
        kind = draw.randrange(4)
        if kind == 0:
            ticket["quote"] = Decimal(draw.randrange(1, 30_000_000)) / 1000
        else:
            ticket["quantity"] = Decimal(draw.randrange(1, 80_000)) / 100_000
        if kind == 1:
            ticket["price"] = market.price + draw.randrange(-300, 300)
        with suppress(OrderRefused):
            market.place(account, side=side, client_order_id=str(number), **ticket)
        if number % 7 == 0:
            market.move_price(market.price + draw.randrange(-500, 500))
        if number % 11 == 0:
            market.deposit(account, "USDT", Decimal(draw.randrange(1, 999)) / 7 // Decimal("0.01") / 100)
        for one in account.open_orders.values():
            assert one.reserved > 0
    for asset, amount in before.items():
        held = total(accounts, asset) + market.counterparty[asset] + market.fees[asset]
        assert held == amount + market.deposited[asset]
    for account in accounts:
        for asset in ("USDT", "BTC"):
            locked = sum(
                order.reserved
                for order in account.open_orders.values()
                if asset == ("USDT" if order.side == "BUY" else "BTC")
            )
            assert account.locked(asset) == locked


def test_the_same_seed_opens_the_same_awkward_accounts() -> None:
    amounts = []
    for _ in range(2):
        world = World(seed=9)
        world.open_market("acme", MarketRules())
        account = world.open_account("acme", "acme-1", "follower")
        amounts.append((account.free("USDT"), account.free("BTC")))
    assert amounts[0] == amounts[1]
    assert all(amount == amount.quantize(Decimal("1e-8")) and str(amount)[-1] in "37" for amount in amounts[0])
