"""Payload -> domain type. Pure; what is not as documented raises `OutcomeUnknown`, never a guess.

Source of the shapes: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md and
user-data-stream.md beside it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from copytrade_core.connector import PreparedOrder
from copytrade_core.model import (
    Balance,
    BalanceChange,
    BalanceSnapshot,
    BalanceSource,
    BaseQuantity,
    ClientOrderId,
    ExchangeOrderId,
    ExecutionReport,
    Fill,
    KeyPermissions,
    OrderAck,
    OrderReport,
    OrderStatus,
    QuoteAmount,
    Side,
    Symbol,
    SymbolRules,
)

from .errors import unreadable

_NUMBER = re.compile(r"-?[0-9]{1,28}(\.[0-9]{1,28})?([eE][-+]?[0-9]{1,2})?")  # Decimal() alone takes far more
_MAX_DIGITS = 28  # beyond them Decimal's arithmetic would round
_STATUSES = {
    "NEW": OrderStatus.NEW,
    "PENDING_NEW": OrderStatus.NEW,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}


def loads(text: str | bytes) -> Any:
    """Return JSON with its fractions as `Decimal`. :raises ValueError: no JSON, or NaN or Infinity in it."""
    return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def amount(value: Any) -> Decimal:
    """Return *value*, text or a JSON number, exactly. :raises OutcomeUnknown: it is no sane number."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise unreadable("an amount is missing")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise unreadable("an amount is no number")
    if isinstance(value, int) and abs(value) >= 10**_MAX_DIGITS:
        raise unreadable("an amount is too long")
    number = Decimal(value)
    if not number.is_finite() or len(number.as_tuple().digits) > _MAX_DIGITS or abs(number.adjusted()) > _MAX_DIGITS:
        raise unreadable("an amount is too long")
    return Decimal(0) if number.is_zero() else number  # zero has a sign (-0) that nothing should meet later


def _field(payload: Any, name: str) -> Any:
    if not isinstance(payload, Mapping) or name not in payload:
        raise unreadable(f"{name} is missing")
    return payload[name]


def _integer(payload: Any, name: str) -> int:
    value = _field(payload, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise unreadable(f"{name} is no whole number")
    return value


def _text(payload: Any, name: str) -> str:
    value = _field(payload, name)
    if not isinstance(value, str):
        raise unreadable(f"{name} is no text")
    return value


def _list(payload: Any, name: str) -> list[Any]:
    value = _field(payload, name)
    if not isinstance(value, list):
        raise unreadable(f"{name} is no list")
    return value


def _positive(payload: Any, name: str) -> Decimal:
    value = amount(_field(payload, name))
    if value < 0:
        raise unreadable(f"{name} is negative")
    return value


def _side(payload: Any, name: str) -> Side:
    try:
        return Side(_text(payload, name))
    except ValueError:
        raise unreadable(f"{name} is neither BUY nor SELL") from None


def _status(payload: Any, name: str, filled: Decimal) -> OrderStatus:
    # A state that Binance invents later is taken for unfinished, so that somebody asks again.
    unfinished = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.NEW
    return _STATUSES.get(_text(payload, name), unfinished)


# --- accounts and rules -----------------------------------------------------------------------------------


def server_time(payload: Any) -> int:
    """Return milliseconds from the answer of ``time``."""
    return _integer(payload, "serverTime")


def account(payload: Any) -> BalanceSnapshot:
    """Return all balances from the answer of ``account``; an asset that is not there is zero."""
    balances = tuple(
        Balance(asset=_text(row, "asset"), free=amount(_field(row, "free")), locked=amount(_field(row, "locked")))
        for row in _list(payload, "balances")
    )
    return BalanceSnapshot(
        balances=balances, time_ms=_integer(payload, "updateTime"), complete=True, source=BalanceSource.READ
    )


def can_trade(payload: Any) -> bool:
    """Return whether the account, not the key, may trade, from the answer of ``account``."""
    return _field(payload, "canTrade") is True


def uid(payload: Any) -> str:
    """Return the account's own id from the answer of ``account``."""
    return str(_integer(payload, "uid"))


def restrictions(payload: Any) -> KeyPermissions:
    """Return a key's rights from the answer of ``apiRestrictions``."""
    return KeyPermissions(
        can_read=_field(payload, "enableReading") is True,
        can_trade=_field(payload, "enableSpotAndMarginTrading") is True,
        # "is not False": a right that is not clearly absent counts as there.
        can_withdraw=_field(payload, "enableWithdrawals") is not False,
        can_transfer=_field(payload, "enableInternalTransfer") is not False
        or _field(payload, "permitsUniversalTransfer") is not False,
        ip_restricted=_field(payload, "ipRestrict") is True,
        expires_ms=_integer(payload, "tradingAuthorityExpirationTime")
        if payload.get("tradingAuthorityExpirationTime") is not None
        else None,
    )


def rules(payload: Any, symbol: Symbol, exchange_symbol: str) -> SymbolRules:
    """Return the rules of *exchange_symbol* from the answer of ``exchangeInfo``.

    LOT_SIZE and MARKET_LOT_SIZE bind a market order together; a zero in either means "no rule".
    """
    for row in _list(payload, "symbols"):
        if _text(row, "symbol") == exchange_symbol:
            break
    else:
        raise unreadable(f"exchangeInfo does not list {exchange_symbol}")
    filters = {_text(entry, "filterType"): entry for entry in _list(row, "filters")}
    lots = [filters[name] for name in ("LOT_SIZE", "MARKET_LOT_SIZE") if name in filters]
    steps = [step for lot in lots if (step := _positive(lot, "stepSize"))]
    maxima = [largest for lot in lots if (largest := _positive(lot, "maxQty"))]
    smallest = [Decimal(0)]
    if filters.get("NOTIONAL", {}).get("applyMinToMarket") is True:
        smallest.append(_positive(filters["NOTIONAL"], "minNotional"))
    if filters.get("MIN_NOTIONAL", {}).get("applyToMarket") is True:
        smallest.append(_positive(filters["MIN_NOTIONAL"], "minNotional"))
    takes_ours = "MARKET" in _list(row, "orderTypes") and row.get("quoteOrderQtyMarketAllowed") is True
    return SymbolRules(
        symbol=symbol,
        exchange_symbol=exchange_symbol,
        base_step=_common_step(steps) if steps else Decimal(1).scaleb(-_integer(row, "baseAssetPrecision")),
        quote_step=Decimal(1).scaleb(-_integer(row, "quoteAssetPrecision")),
        min_base=max([Decimal(0), *(_positive(lot, "minQty") for lot in lots)]),
        max_base=min(maxima, default=Decimal(0)),
        min_notional=max(smallest),
        is_trading=_text(row, "status") == "TRADING" and takes_ours,
    )


def _common_step(steps: list[Decimal]) -> Decimal:
    """Return the smallest step that is a multiple of each of *steps*."""
    places = max(max(0, -int(step.as_tuple().exponent)) for step in steps)
    return Decimal(math.lcm(*(int(step.scaleb(places)) for step in steps))).scaleb(-places)


def weight_limit(payload: Any) -> int | None:
    """Return the request weight a minute that ``exchangeInfo`` grants an address; ``None`` if it does not say."""
    for row in _list(payload, "rateLimits"):
        kind = (_field(row, "rateLimitType"), _field(row, "interval"), _field(row, "intervalNum"))
        if kind == ("REQUEST_WEIGHT", "MINUTE", 1):
            return _integer(row, "limit")
    return None


# --- orders -----------------------------------------------------------------------------------------------


def order_reply(payload: Any, prepared: PreparedOrder) -> OrderAck:
    """Return the acknowledgement in the answer to a new order of any shape (ACK, RESULT or FULL).

    Its ``report`` is there where the answer tells the order's state; ``fills_complete`` in it only if the
    fills add up to what was executed.

    :raises OutcomeUnknown: it is not the answer to *prepared*.
    """
    echoed = (_text(payload, "clientOrderId"), _text(payload, "symbol"), payload.get("side", prepared.body["side"]))
    if echoed != (prepared.order.client_order_id, prepared.body["symbol"], prepared.body["side"]):
        raise unreadable("the answer names another order than the one sent")
    time_ms = _integer(payload, "transactTime")
    report = None
    if "status" in payload:
        rows = _list(payload, "fills") if "fills" in payload else ()
        fills = tuple(_reply_fill(row, time_ms) for row in rows)
        report = order(payload | {"time": time_ms, "updateTime": time_ms}, fills)
    return OrderAck(
        exchange_order_id=ExchangeOrderId(str(_integer(payload, "orderId"))),
        client_order_id=prepared.order.client_order_id,
        time_ms=time_ms,
        report=report,
    )


def _reply_fill(row: Any, time_ms: int) -> Fill:
    price, quantity = _positive(row, "price"), _positive(row, "qty")
    return Fill(
        trade_id=str(_integer(row, "tradeId")),
        price=price,
        base_quantity=BaseQuantity(quantity),
        quote_amount=QuoteAmount(price * quantity),
        commission=_positive(row, "commission"),
        commission_asset=_text(row, "commissionAsset"),
        time_ms=time_ms,
    )


def order(payload: Any, fills: tuple[Fill, ...] = ()) -> OrderReport:
    """Return one order's state from the answer of ``GET order``, one row of ``allOrders``, or a RESULT reply."""
    filled_base = _positive(payload, "executedQty")
    filled_quote = amount(_field(payload, "cummulativeQuoteQty"))
    complete = sum((fill.base_quantity for fill in fills), Decimal(0)) == filled_base
    if filled_quote < 0:  # "not available", on very old orders
        if not complete:
            raise unreadable("cummulativeQuoteQty is not available")
        filled_quote = sum((fill.quote_amount for fill in fills), Decimal(0))
    return OrderReport(
        exchange_order_id=ExchangeOrderId(str(_integer(payload, "orderId"))),
        client_order_id=ClientOrderId(_text(payload, "clientOrderId")),
        side=_side(payload, "side"),
        is_market=_text(payload, "type") == "MARKET",
        status=_status(payload, "status", filled_base),
        filled_base=BaseQuantity(filled_base),
        filled_quote=QuoteAmount(filled_quote),
        created_ms=_integer(payload, "time"),
        updated_ms=_integer(payload, "updateTime"),
        fills=fills,
        fills_complete=complete,
    )


def orders(payload: Any) -> list[OrderReport]:
    """Return the orders in the answer of ``allOrders``."""
    if not isinstance(payload, list):
        raise unreadable("allOrders is no list")
    return [order(row) for row in payload]


def trades(payload: Any) -> tuple[Fill, ...]:
    """Return the fills in the answer of ``myTrades``, oldest first."""
    if not isinstance(payload, list):
        raise unreadable("myTrades is no list")
    return tuple(
        Fill(
            trade_id=str(_integer(row, "id")),
            price=_positive(row, "price"),
            base_quantity=BaseQuantity(_positive(row, "qty")),
            quote_amount=QuoteAmount(_positive(row, "quoteQty")),
            commission=_positive(row, "commission"),
            commission_asset=_text(row, "commissionAsset"),
            time_ms=_integer(row, "time"),
        )
        for row in payload
    )


# --- events of the user data stream -----------------------------------------------------------------------


def event(payload: Any) -> ExecutionReport | BalanceSnapshot | BalanceChange | None:
    """Return what an event says; ``None`` for kinds that do not matter here (order lists, new inventions).

    :raises OutcomeUnknown: it matters and cannot be read: something happened that we do not know.
    """
    match _text(payload, "e"):
        case "executionReport":
            return execution_report(payload)
        case "outboundAccountPosition":
            return _position(payload)
        case "balanceUpdate":
            return BalanceChange(
                asset=_text(payload, "a"), free_delta=amount(_field(payload, "d")), time_ms=_integer(payload, "T")
            )
        case "externalLockUpdate":
            # The delta is of the lock: what another product locks can no longer be sold.
            return BalanceChange(
                asset=_text(payload, "a"), free_delta=-amount(_field(payload, "d")), time_ms=_integer(payload, "T")
            )
        case _:
            return None


def execution_report(payload: Any) -> ExecutionReport:
    """Return one event of one order; only an execution of type TRADE brings a fill."""
    filled_base = _positive(payload, "z")
    transaction_ms = _integer(payload, "T")
    execution_id = _integer(payload, "I")
    fill = None
    if _text(payload, "x") == "TRADE":
        trade_id = _integer(payload, "t")
        fill = Fill(
            # Allocations of smart order routing have no trade id.
            trade_id=str(trade_id) if trade_id != -1 else f"I{execution_id}",
            price=_positive(payload, "L"),
            base_quantity=BaseQuantity(_positive(payload, "l")),
            quote_amount=QuoteAmount(_positive(payload, "Y")),
            commission=_positive(payload, "n"),
            commission_asset=_text(payload, "N"),
            time_ms=transaction_ms,
        )
    return ExecutionReport(
        exchange_order_id=ExchangeOrderId(str(_integer(payload, "i"))),
        # When an order is canceled, `c` is the id of the cancel and `C` the order's own.
        client_order_id=ClientOrderId(_text(payload, "C" if payload.get("C") else "c")),
        exchange_symbol=_text(payload, "s"),
        side=_side(payload, "S"),
        order_type=_text(payload, "o"),
        status=_status(payload, "X", filled_base),
        execution_id=execution_id,
        filled_base=BaseQuantity(filled_base),
        filled_quote=QuoteAmount(_positive(payload, "Z")),
        fill=fill,
        created_ms=_integer(payload, "O"),
        transaction_ms=transaction_ms,
    )


def _position(payload: Any) -> BalanceSnapshot:
    balances = tuple(
        Balance(asset=_text(row, "a"), free=amount(_field(row, "f")), locked=amount(_field(row, "l")))
        for row in _list(payload, "B")
    )
    return BalanceSnapshot(
        balances=balances, time_ms=_integer(payload, "u"), complete=False, source=BalanceSource.PUSHED
    )


def subscription_ids(payload: Any) -> set[int]:
    """Return the ids in the answer of ``session.subscriptions``."""
    if not isinstance(payload, list):
        raise unreadable("session.subscriptions is no list")
    return {_integer(row, "subscriptionId") for row in payload}


def subscription_id(payload: Any) -> int:
    """Return the id in the answer of ``userDataStream.subscribe.signature``; the first one is 0."""
    return _integer(payload, "subscriptionId")
