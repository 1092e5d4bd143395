"""How the simulated exchange writes balances, orders and fills: classic (v2) and unified (v3). Pure.

The families differ on purpose in what catches careless readers: fees are negative in classic REST and order pushes
and positive in classic fill pushes and everywhere in unified; a market buy's size is ``size`` in quote (classic) or
``amount`` with ``qty`` 0 (unified); classic ``feeDetail`` is text holding JSON in orders, an object in fills.
Sources: https://www.bitget.com/api-doc/spot/trade/Get-Order-Info, .../spot/trade/Get-Fills,
https://www.bitget.com/api-doc/uta/trade/Get-Order-Details, .../uta/trade/Get-Order-Fills and the channels' pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from copytrade_core.sim.ledger import ZERO, SimFill, SimOrder
from copytrade_core.sim.matching import MarketRules

Row = dict[str, Any]

LONG = Decimal(1).scaleb(-16)  # classic answers pad amounts to 16 decimals
DECIMALS = 16


def plain(amount: Decimal) -> str:
    """Return the amount without exponent and without trailing zeros."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text not in ("-0", "") else "0"


def padded(amount: Decimal) -> str:
    return format(amount.quantize(LONG), "f")


def average(order: SimOrder) -> Decimal:
    return (order.executed_quote / order.executed_base).quantize(LONG) if order.executed_base else ZERO


def fees_by_coin(fills: Iterable[SimFill]) -> dict[str, Decimal]:
    fees: dict[str, Decimal] = {}
    for fill in fills:
        fees[fill.fee_asset] = fees.get(fill.fee_asset, ZERO) + fill.fee
    return fees


def requested(order: SimOrder) -> Decimal:
    """Return what was asked for: quote of a market buy, base of anything else."""
    amount = order.sent_quote if order.sent_quote is not None else order.sent_quantity
    assert amount is not None
    return amount


@dataclass(frozen=True, slots=True)
class CoinState:
    """One coin of one account at one time."""

    free: Decimal
    locked: Decimal
    time_ms: int


Coins = Mapping[str, CoinState]


# --- classic ----------------------------------------------------------------------------------------------------------

_CLASSIC_STATUS = {
    "NEW": "live",
    "PARTIALLY_FILLED": "partially_filled",
    "FILLED": "filled",
    "EXPIRED": "cancelled",
    "CANCELED": "cancelled",
}


def classic_asset(coin: str, state: CoinState) -> Row:
    return {
        "coin": coin,
        "available": format(state.free, "f"),
        "frozen": format(state.locked, "f"),
        "locked": "0",
        "limitAvailable": "0",
        "uTime": str(state.time_ms),
    }


def classic_order(order: SimOrder, symbol: str, uid: int, rules: MarketRules, *, unfilled: bool = False) -> Row:
    row = {
        "userId": str(uid),
        "symbol": symbol,
        "orderId": str(order.order_id),
        "clientOid": order.client_order_id,
        "price": padded(order.price or ZERO) if order.price else "0",
        "size": padded(requested(order)),
        "orderType": order.type.lower(),
        "side": order.side.lower(),
        "status": _CLASSIC_STATUS[order.status],
        "priceAvg": padded(average(order)) if order.executed_base else "0",
        "baseVolume": padded(order.executed_base),
        "quoteVolume": padded(order.executed_quote),
        "enterPointSource": "API",
        "feeDetail": classic_fee_detail(order, rules),
        "orderSource": "market" if order.type == "MARKET" else "normal",
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }
    if unfilled:
        # Open orders carry the price in priceAvg and the average in basePrice.
        return row | {"priceAvg": row["price"], "basePrice": row["priceAvg"]}
    return row | {"cancelReason": cancel_reason(order)}


def cancel_reason(order: SimOrder) -> str:
    return (order.expiry_reason or "normal_cancel") if order.status in ("EXPIRED", "CANCELED") else ""


def classic_fee_detail(order: SimOrder, rules: MarketRules) -> str:
    """Return the JSON text; its numbers are negative. ``t`` and ``r`` are in the coin received, ``d`` in BGB."""
    if not order.fills:
        return ""
    received_coin = rules.base if order.side == "BUY" else rules.quote
    fees = fees_by_coin(order.fills)
    deducted = fees.get(rules.discount_asset, ZERO) if rules.discount_asset != received_coin else ZERO
    rest = fees.get(received_coin, ZERO)
    owed = sum(((f.quantity if order.side == "BUY" else f.quote) * rules.taker_fee for f in order.fills), ZERO)
    total = owed.quantize(rules.fee_step) if deducted else rest
    coin = rules.discount_asset if deducted else received_coin
    inside = (
        f'"{coin}":{{"deduction":{"true" if deducted else "false"},"feeCoinCode":"{coin}",'
        f'"totalDeductionFee":{_negative(deducted)},"totalFee":{_negative(deducted or rest)}}}'
    )
    new = (
        f'"newFees":{{"c":0,"d":{_negative(deducted)},"deduction":false,"r":{_negative(rest)},'
        f'"t":{_negative(total)},"totalDeductionFee":0}}'
    )
    return f"{{{inside},{new}}}"


def _negative(fee: Decimal) -> str:
    return "0" if not fee else f"-{plain(fee)}"


def classic_fill(order: SimOrder, fill: SimFill, symbol: str, uid: int, rules: MarketRules) -> Row:
    deducted = fill.fee_asset == rules.discount_asset
    return {
        "userId": str(uid),
        "symbol": symbol,
        "orderId": str(order.order_id),
        "tradeId": str(fill.trade_id),
        "orderType": order.type.lower(),
        "side": order.side.lower(),
        "priceAvg": plain(fill.price),
        "size": plain(fill.quantity),
        "amount": plain(fill.quote),
        "feeDetail": {
            "deduction": "yes" if deducted else "no",
            "feeCoin": fill.fee_asset,
            "totalDeductionFee": _negative(fill.fee) if deducted else "",
            "totalFee": _negative(fill.fee),
        },
        "tradeScope": "maker" if fill.maker else "taker",
        "cTime": str(fill.time_ms),
        "uTime": str(fill.time_ms),
    }


def classic_order_push(order: SimOrder, symbol: str, fills: tuple[SimFill, ...], status: str, time_ms: int) -> Row:
    """Return an ``orders`` push as of the last of *fills*; without fills, as of the moment it was taken in."""
    base = sum((fill.quantity for fill in fills), ZERO)
    quote = sum((fill.quote for fill in fills), ZERO)
    size = requested(order)
    row: Row = {
        "instId": symbol,
        "orderId": str(order.order_id),
        "clientOid": order.client_order_id,
        "size": plain(size),
        "newSize": plain(size),
        "notional": plain(order.sent_quote if order.sent_quote is not None else quote),
        "orderType": order.type.lower(),
        "force": "gtc",
        "side": order.side.lower(),
        "accBaseVolume": plain(base) if fills else "0.0000",
        "priceAvg": plain((quote / base).quantize(LONG)) if fills else "0",
        "status": _CLASSIC_STATUS[status],
        "cTime": str(order.created_ms),
        "uTime": str(time_ms),
        "stpMode": "none",
        "feeDetail": [{"feeCoin": coin, "fee": _negative(fee)} for coin, fee in fees_by_coin(fills).items()],
        "enterPointSource": "API",
    }
    if order.price is not None:
        row["price"] = plain(order.price)
    if fills:
        last = fills[-1]
        row |= {
            "fillPrice": plain(last.price),
            "tradeId": str(last.trade_id),
            "baseVolume": plain(last.quantity),
            "fillTime": str(last.time_ms),
            "fillFee": _negative(last.fee),
            "fillFeeCoin": last.fee_asset,
            "tradeScope": "M" if last.maker else "T",
        }
    if status in ("EXPIRED", "CANCELED"):
        row["cancelReason"] = order.expiry_reason or "normal_cancel"
    return row


def classic_fill_push(order: SimOrder, fill: SimFill, symbol: str, rules: MarketRules) -> Row:
    deducted = fill.fee_asset == rules.discount_asset
    return {
        "orderId": str(order.order_id),
        "tradeId": str(fill.trade_id),
        "symbol": symbol,
        "orderType": order.type.lower(),
        "side": order.side.lower(),
        "priceAvg": plain(fill.price),
        "size": plain(fill.quantity),
        "amount": plain(fill.quote),
        "tradeScope": "maker" if fill.maker else "taker",
        "feeDetail": [
            {
                "feeCoin": fill.fee_asset,
                "deduction": "yes" if deducted else "no",
                "totalDeductionFee": plain(fill.fee) if deducted else "0",
                "totalFee": plain(fill.fee),  # positive here, unlike the orders channel
            }
        ],
        "cTime": str(fill.time_ms),
        "uTime": str(fill.time_ms),
    }


# --- unified ----------------------------------------------------------------------------------------------------------

MATCHING_AFTER_MS = 10  # a pending order is `live` first, then `new`


def unified_status(status: str, age_ms: int) -> str:
    if status == "NEW":
        return "live" if age_ms < MATCHING_AFTER_MS else "new"
    return _CLASSIC_STATUS[status]


def unified_asset(coin: str, state: CoinState, debt: Decimal, usd_price: Decimal) -> Row:
    balance = state.free + state.locked
    return {
        "coin": coin,
        "equity": plain(balance - debt),
        "usdValue": plain(((balance - debt) * usd_price).quantize(Decimal("0.00000001"))),
        "balance": plain(balance),
        "available": plain(state.free),
        "debt": plain(debt),
        "locked": plain(state.locked),
    }


def unified_push_coin(coin: str, state: CoinState, debt: Decimal, usd_price: Decimal) -> Row:
    """Return one coin of an ``account`` push; the debt's name differs from REST."""
    row = unified_asset(coin, state, debt, usd_price)
    del row["debt"]
    return row | {"borrow": plain(debt), "debts": plain(debt)}


def unified_order(order: SimOrder, symbol: str, now_ms: int) -> Row:
    return _unified_order(order, symbol, tuple(order.fills), order.status, now_ms, order.updated_ms) | {
        "posSide": "",
        "holdMode": "one_way_mode",
        "reduceOnly": "NO",
        "execType": "normal",
        "tpTriggerBy": None,
        "slTriggerBy": None,
        "takeProfit": None,
        "stopLoss": None,
    }


def unified_order_push(
    order: SimOrder, symbol: str, fills: tuple[SimFill, ...], status: str, now_ms: int, time_ms: int
) -> Row:
    row = _unified_order(order, symbol, fills, status, now_ms, time_ms)
    return row | {"category": "spot"}


def _unified_order(
    order: SimOrder, symbol: str, fills: tuple[SimFill, ...], status: str, now_ms: int, time_ms: int
) -> Row:
    base = sum((fill.quantity for fill in fills), ZERO)
    quote = sum((fill.quote for fill in fills), ZERO)
    fees = fees_by_coin(fills) or {"": ZERO}
    return {
        "orderId": str(order.order_id),
        "clientOid": order.client_order_id,
        "category": "SPOT",
        "symbol": symbol,
        "orderType": order.type.lower(),
        "side": order.side.lower(),
        "price": plain(order.price or ZERO),
        "qty": plain(order.sent_quantity or ZERO),
        "amount": plain(order.sent_quote or ZERO),
        "cumExecQty": plain(base),
        "cumExecValue": plain(quote),
        "avgPrice": plain((quote / base).quantize(Decimal("0.00000001"))) if base else "0",
        "timeInForce": "gtc",
        "orderStatus": unified_status(status, now_ms - order.created_ms),
        "feeDetail": [{"feeCoin": coin, "fee": plain(fee) if coin else ""} for coin, fee in fees.items()],
        "cancelReason": (order.expiry_reason or "normal_cancel") if status in ("EXPIRED", "CANCELED") else "",
        "createdTime": str(order.created_ms),
        "updatedTime": str(time_ms),
        "stpMode": "none",
    }


def unified_fill(order: SimOrder, fill: SimFill, symbol: str) -> Row:
    return {
        "execId": str(fill.trade_id),
        "execLinkId": str(fill.trade_id),
        "orderId": str(order.order_id),
        "clientOid": order.client_order_id,
        "category": "SPOT",
        "symbol": symbol,
        "orderType": order.type.lower(),
        "side": order.side.lower(),
        "execPrice": plain(fill.price),
        "execQty": plain(fill.quantity),
        "execValue": plain(fill.quote),
        "tradeScope": "maker" if fill.maker else "taker",
        "feeDetail": [{"feeCoin": fill.fee_asset, "fee": plain(fill.fee)}],
        "createdTime": str(fill.time_ms),
        "updatedTime": str(fill.time_ms),
    }


def unified_fill_push(order: SimOrder, fill: SimFill, symbol: str) -> Row:
    row = unified_fill(order, fill, symbol)
    del row["createdTime"]
    return row | {"category": "spot", "execPnl": "0", "execTime": str(fill.time_ms)}
