"""Payload -> domain type, for both account families. Pure; an unreadable payload raises `OutcomeUnknown`.

Classic and unified differ in names, in the sign of fees (classic: negative almost everywhere) and in which
field carries a market buy's size; nothing here reads a requested size, only what was filled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NoReturn

from copytrade_core.model import (
    Balance,
    BalanceSnapshot,
    BalanceSource,
    BaseQuantity,
    ClientOrderId,
    ExchangeOrderId,
    ExecutionReport,
    Fill,
    OrderReport,
    OrderStatus,
    QuoteAmount,
    Side,
    Symbol,
    SymbolRules,
)

from .errors import unreadable

Row = Mapping[str, Any]

# ASCII digits only, and few of them: `Decimal` itself would take Arabic digits, underscores and 1e999999.
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?")

_STATUS = {
    "live": OrderStatus.NEW,
    "new": OrderStatus.NEW,
    "init": OrderStatus.NEW,
    "partially_filled": OrderStatus.PARTIALLY_FILLED,
    "partial_fill": OrderStatus.PARTIALLY_FILLED,
    "filled": OrderStatus.FILLED,
    "full_fill": OrderStatus.FILLED,
    "cancelled": OrderStatus.CANCELED,
    "canceled": OrderStatus.CANCELED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every REST answer is wrapped in."""

    code: str
    words: str
    request_ms: int
    data: Any


def document(text: str | bytes) -> Any:
    """Return parsed JSON with exact numbers. :raises OutcomeUnknown: it is none, or holds NaN or Infinity."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_float=Decimal, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise unreadable("it is not JSON") from None


def envelope(body: bytes) -> Envelope:
    """Return the envelope of a REST answer; ``code`` is always there."""
    answer = document(body)
    if not isinstance(answer, dict) or "code" not in answer:
        raise unreadable("it has no code")
    request_ms = answer.get("requestTime")
    return Envelope(
        code=str(answer["code"]),
        words=str(answer.get("msg") or answer.get("message") or ""),
        request_ms=request_ms if isinstance(request_ms, int) else 0,
        data=answer.get("data"),
    )


def rows(data: Any) -> list[Row]:
    """Return a list of objects; ``null`` is an empty list, an object is a list of one."""
    if data is None:
        return []
    found = [data] if isinstance(data, dict) else data
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise unreadable("a list of objects was expected")
    return found


def mapping(data: Any) -> Row:
    if not isinstance(data, dict):
        raise unreadable("an object was expected")
    return data


def text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise unreadable(f"{name} is missing")
    return str(value)


def amount(row: Row, name: str, default: Decimal | None = None) -> Decimal:
    """Return an amount exactly; *default* stands for a missing or empty field."""
    value = row.get(name)
    if value is None or value == "":
        if default is None:
            raise unreadable(f"{name} is missing")
        return default
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal) or not _NUMBER.fullmatch(str(value)):
        raise unreadable(f"{name} is not a number")
    return Decimal(str(value))


def millis(row: Row, name: str, default: int | None = None) -> int:
    value = row.get(name)
    if value is None or value == "":
        if default is None:
            raise unreadable(f"{name} is missing")
        return default
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,17}", str(value)):
        raise unreadable(f"{name} is not a time")
    return int(str(value))


def side(row: Row) -> Side:
    try:
        return Side(text(row, "side").upper())
    except ValueError:
        raise unreadable("side is neither buy nor sell") from None


def status(row: Row, name: str) -> OrderStatus:
    found = _STATUS.get(text(row, name).lower())
    if found is None:
        raise unreadable("the order's status is a new word")
    return found


# --- symbols ----------------------------------------------------------------------------------------------

QUOTE_DECIMALS = 2  # finer quote sizes are documented but were refused in the wild; two decimals always pass


def symbol_rules(row: Row, symbol: Symbol, *, minimum: str, tradable: str = "online") -> SymbolRules:
    """Return the rules in a classic ``symbols`` or a unified ``instruments`` row.

    ``minTradeAmount`` and ``maxTradeAmount`` of the classic row are obsolete and not read.
    """
    return SymbolRules(
        symbol=symbol,
        exchange_symbol=text(row, "symbol").upper(),
        base_step=Decimal(1).scaleb(-_decimals(row, "quantityPrecision")),
        quote_step=Decimal(1).scaleb(-min(QUOTE_DECIMALS, _decimals(row, "quotePrecision"))),
        min_notional=amount(row, minimum, Decimal(0)),
        is_trading=text(row, "status").lower() == tradable,
    )


def _decimals(row: Row, name: str) -> int:
    number = amount(row, name)
    if number != number.to_integral_value() or not 0 <= number <= 18:
        raise unreadable(f"{name} is no count of decimals")
    return int(number)


# --- balances ---------------------------------------------------------------------------------------------


def classic_balance(row: Row) -> Balance:
    return Balance(
        asset=text(row, "coin").upper(),
        free=amount(row, "available"),
        locked=amount(row, "frozen", Decimal(0)) + amount(row, "locked", Decimal(0)),
    )


def unified_balance(row: Row) -> Balance:
    return Balance(
        asset=text(row, "coin").upper(), free=amount(row, "available"), locked=amount(row, "locked", Decimal(0))
    )


def owes(row: Row) -> bool:
    """Whether a unified account is in debt for this coin (the name differs between REST and socket)."""
    return any(amount(row, name, Decimal(0)) > 0 for name in ("debt", "debts", "borrow"))


def classic_balances(data: Any, request_ms: int, symbol: Symbol) -> BalanceSnapshot:
    """Return all balances of a classic account.

    Its time is the latest ``uTime`` of the pair's two coins: a fill changes both rows. Other coins do not
    count, or a deposit of one would claim that a fill just before it is contained. An account that holds
    neither coin has no such time and gets the answer's own.
    """
    found = rows(data)
    traded = [millis(row, "uTime", 0) for row in found if text(row, "coin").upper() in (symbol.base, symbol.quote)]
    return BalanceSnapshot(
        balances=tuple(classic_balance(row) for row in found),
        time_ms=max(traded, default=0) or request_ms,
        complete=True,
        source=BalanceSource.READ,
    )


def unified_balances(data: Any, request_ms: int) -> BalanceSnapshot:
    """Return all balances of a unified account. Its rows carry no time; the answer's own stands for it."""
    return BalanceSnapshot(
        balances=tuple(unified_balance(row) for row in rows(mapping(data).get("assets"))),
        time_ms=request_ms,
        complete=True,
        source=BalanceSource.READ,
    )


def classic_account_push(message: Row) -> list[BalanceSnapshot]:
    """Return a classic ``account`` push as snapshots of what it names, one for each ``uTime``, oldest first."""
    pushed_ms = millis(message, "ts", 0)
    by_time: dict[int, list[Balance]] = {}
    for row in rows(message.get("data")):
        by_time.setdefault(millis(row, "uTime", pushed_ms), []).append(classic_balance(row))
    return [_pushed(by_time[time_ms], time_ms) for time_ms in sorted(by_time)]


def unified_account_push(message: Row) -> list[BalanceSnapshot]:
    """Return a unified ``account`` push; it has the message's time. Coins in debt are left out: not ours to spend."""
    coins = [row for account in rows(message.get("data")) for row in rows(account.get("coin")) if not owes(row)]
    return [_pushed([unified_balance(row) for row in coins], millis(message, "ts"))] if coins else []


def _pushed(balances: Iterable[Balance], time_ms: int) -> BalanceSnapshot:
    return BalanceSnapshot(balances=tuple(balances), time_ms=time_ms, complete=False, source=BalanceSource.PUSHED)


# --- orders -----------------------------------------------------------------------------------------------


def placed(data: Any) -> tuple[str, str]:
    """Return (orderId, clientOid) of a place-order answer."""
    row = mapping(data)
    return text(row, "orderId"), text(row, "clientOid")


def classic_order(row: Row) -> OrderReport:
    state = status(row, "status")
    return _order(row, state, amount(row, "baseVolume", _untouched(state)), "quoteVolume", "cTime", "uTime")


def unified_order(row: Row) -> OrderReport:
    state = status(row, "orderStatus")
    filled = amount(row, "cumExecQty", _untouched(state))
    return _order(row, state, filled, "cumExecValue", "createdTime", "updatedTime")


def _untouched(state: OrderStatus) -> Decimal | None:
    return Decimal(0) if state is OrderStatus.NEW else None


def _order(row: Row, state: OrderStatus, filled: Decimal, quote: str, created: str, updated: str) -> OrderReport:
    if state is OrderStatus.NEW and filled:
        state = OrderStatus.PARTIALLY_FILLED
    created_ms = millis(row, created)
    return OrderReport(
        exchange_order_id=ExchangeOrderId(text(row, "orderId")),
        client_order_id=ClientOrderId(str(row.get("clientOid") or "")),
        side=side(row),
        is_market=text(row, "orderType").lower() == "market",
        status=state,
        filled_base=BaseQuantity(filled),
        filled_quote=QuoteAmount(amount(row, quote, None if filled else Decimal(0))),
        created_ms=created_ms,
        updated_ms=millis(row, updated, created_ms),
        # Nothing was filled and nothing will be: there are no fills to ask for.
        fills_complete=state.is_final and not filled,
    )


def classic_fill(row: Row) -> Fill:
    fee = mapping(row.get("feeDetail"))
    return Fill(
        trade_id=text(row, "tradeId"),
        price=amount(row, "priceAvg"),
        base_quantity=BaseQuantity(amount(row, "size")),
        quote_amount=QuoteAmount(amount(row, "amount")),
        commission=abs(amount(fee, "totalFee", Decimal(0))),
        commission_asset=str(fee.get("feeCoin") or ""),
        time_ms=millis(row, "cTime"),
    )


def unified_fills(row: Row) -> list[Fill]:
    """Return a fill; where its fee was taken of several coins (BGB pays a part), the others as fills without a size."""
    fees: dict[str, Decimal] = {}
    for fee in rows(row.get("feeDetail")):
        coin = str(fee.get("feeCoin") or "")
        fees[coin] = fees.get(coin, Decimal(0)) + abs(amount(fee, "fee", Decimal(0)))
    (coin, commission), *others = fees.items() or [("", Decimal(0))]
    whole = Fill(
        trade_id=text(row, "execId"),
        price=amount(row, "execPrice"),
        base_quantity=BaseQuantity(amount(row, "execQty")),
        quote_amount=QuoteAmount(amount(row, "execValue")),
        commission=commission,
        commission_asset=coin,
        time_ms=millis(row, "createdTime"),
    )
    no_base, no_quote = BaseQuantity(Decimal(0)), QuoteAmount(Decimal(0))
    further = (
        replace(
            whole,
            trade_id=f"{whole.trade_id}/{coin}",
            base_quantity=no_base,
            quote_amount=no_quote,
            commission=commission,
            commission_asset=coin,
        )
        for coin, commission in others
        if commission
    )
    return [whole, *further]


def classic_order_push(message: Row) -> list[ExecutionReport]:
    """Return a classic ``orders`` push. The cumulative quote is worked out: Bitget pushes none."""
    return [_classic_report(row) for row in rows(message.get("data"))]


def _classic_report(row: Row) -> ExecutionReport:
    filled = amount(row, "accBaseVolume", Decimal(0))
    average = amount(row, "priceAvg", Decimal(0)) if filled else Decimal(0)
    updated_ms = millis(row, "uTime")
    fill = None
    trade_id = str(row.get("tradeId") or "")
    if trade_id and row.get("fillPrice") and row.get("baseVolume"):
        price, quantity = amount(row, "fillPrice"), amount(row, "baseVolume")
        fill = Fill(
            trade_id=trade_id,
            price=price,
            base_quantity=BaseQuantity(quantity),
            quote_amount=QuoteAmount(price * quantity),
            commission=abs(amount(row, "fillFee", Decimal(0))),
            commission_asset=str(row.get("fillFeeCoin") or ""),
            time_ms=millis(row, "fillTime", updated_ms),
        )
    return ExecutionReport(
        exchange_order_id=ExchangeOrderId(text(row, "orderId")),
        client_order_id=ClientOrderId(str(row.get("clientOid") or "")),
        exchange_symbol=text(row, "instId").upper(),
        side=side(row),
        order_type=text(row, "orderType").upper(),
        status=status(row, "status"),
        execution_id=int(trade_id) if trade_id.isascii() and trade_id.isdigit() else updated_ms,
        filled_base=BaseQuantity(filled),
        filled_quote=QuoteAmount(filled * average),
        fill=fill,
        created_ms=millis(row, "cTime"),
        transaction_ms=millis(row, "fillTime", updated_ms),
    )


def unified_order_push(message: Row) -> list[ExecutionReport]:
    """Return the spot orders of a unified ``order`` push; other products share the topic. No single fills."""
    spot = [row for row in rows(message.get("data")) if str(row.get("category", "")).lower() == "spot"]
    return [_unified_report(row) for row in spot]


def _unified_report(row: Row) -> ExecutionReport:
    report = unified_order(row)
    return ExecutionReport(
        exchange_order_id=report.exchange_order_id,
        client_order_id=report.client_order_id,
        exchange_symbol=text(row, "symbol").upper(),
        side=report.side,
        order_type=text(row, "orderType").upper(),
        status=report.status,
        execution_id=report.updated_ms,
        filled_base=report.filled_base,
        filled_quote=report.filled_quote,
        fill=None,
        created_ms=report.created_ms,
        transaction_ms=report.updated_ms,
    )
