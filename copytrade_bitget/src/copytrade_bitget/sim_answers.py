"""What the simulated exchange's routes answer: ``data`` of each envelope. Refusals are raised as `Refused`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from copytrade_core.sim import SimAccount, SimFill, SimKey, SimOrder
from copytrade_core.sim.ledger import ZERO

from . import sim_rows as rows
from .sim_codes import Refused

if TYPE_CHECKING:
    from .sim import BitgetSimulator

Params = Any  # a mapping of text to text: a query, or the body of a POST

DAY_MS = 86_400_000
HISTORY_MS = 90 * DAY_MS
UNIFIED_SPAN_MS = 30 * DAY_MS
MAX_PAGE = 100
REGISTERED_MS = 1_612_345_678_901


# --- public -----------------------------------------------------------------------------------------------------------


def nothing(sim: BitgetSimulator, asked: Params) -> Any:
    return []


def server_time(sim: BitgetSimulator, asked: Params) -> Any:
    return {"serverTime": str(sim.now_ms())}


def symbols(sim: BitgetSimulator, asked: Params) -> Any:
    rules, pair = sim.market.rules, sim.pair
    if asked.get("symbol", rules.symbol) != rules.symbol:
        raise Refused("40034", asked["symbol"])
    return [
        {
            "symbol": rules.symbol,
            "baseCoin": rules.base,
            "quoteCoin": rules.quote,
            "minTradeAmount": "0",
            "maxTradeAmount": "900000000000000000000",
            "takerFeeRate": "0.002",  # what the live answer says, too; accounts pay another rate
            "makerFeeRate": "0.002",
            "pricePrecision": str(-int(rules.price_tick.as_tuple().exponent)),
            "quantityPrecision": str(pair.quantity_precision),
            "quotePrecision": str(pair.quote_precision),
            "status": sim.pair.status,
            "minTradeUSDT": rows.plain(pair.min_value),
            "buyLimitPriceRatio": "0.05",
            "sellLimitPriceRatio": "0.05",
            "areaSymbol": "no",
            "orderQuantity": "200",
            "openTime": "1532454360000",
            "offTime": "",
            "maxLimitOrderValue": "10000000",
            "maxMarketOrderValue": "10000000",
        }
    ]


def instruments(sim: BitgetSimulator, asked: Params) -> Any:
    category = _category(asked)
    rules, pair = sim.market.rules, sim.pair
    if category != "SPOT":
        return []
    if asked.get("symbol", rules.symbol) != rules.symbol:
        raise Refused("25100", asked["symbol"])
    return [
        {
            "symbol": rules.symbol,
            "category": "SPOT",
            "baseCoin": rules.base,
            "quoteCoin": rules.quote,
            "buyLimitPriceRatio": "0.05",
            "sellLimitPriceRatio": "0.05",
            "minOrderQty": "0.000001",
            "maxOrderQty": "0",
            "pricePrecision": str(-int(rules.price_tick.as_tuple().exponent)),
            "quantityPrecision": str(pair.quantity_precision),
            "quotePrecision": str(min(pair.quote_precision, 6)),
            "minOrderAmount": rows.plain(pair.min_value),
            "maxSymbolOrderNum": "400",
            "maxProductOrderNum": "400",
            "status": sim.pair.status,
            "maintainTime": "",
            "areaSymbol": "no",
            "isReality": "no",
            "launchTime": "",
        }
    ]


def coins(sim: BitgetSimulator, asked: Params) -> Any:
    rules = sim.market.rules
    return [
        {"coinId": str(number), "coin": coin, "transfer": "true", "chains": [], "areaCoin": "no"}
        for number, coin in enumerate((rules.base, rules.quote, rules.discount_asset), 1)
    ]


def tickers(sim: BitgetSimulator, asked: Params) -> Any:
    ask, bid = _top(sim.market.book.asks), _top(sim.market.book.bids)
    price = rows.plain(sim.market.price)
    return [
        {
            "symbol": sim.market.rules.symbol,
            "open": price,
            "high24h": price,
            "low24h": price,
            "lastPr": price,
            "quoteVolume": "519127705.30",
            "baseVolume": "8083.9431",
            "usdtVolume": "519127705.30",
            "ts": str(sim.now_ms()),
            "bidPr": bid[0],
            "askPr": ask[0],
            "bidSz": bid[1],
            "askSz": ask[1],
            "openUtc": price,
            "changeUtc24h": "0",
            "change24h": "0",
        }
    ]


def unified_tickers(sim: BitgetSimulator, asked: Params) -> Any:
    if _category(asked) != "SPOT":
        return []
    ask, bid = _top(sim.market.book.asks), _top(sim.market.book.bids)
    price = rows.plain(sim.market.price)
    return [
        {
            "category": "SPOT",
            "symbol": sim.market.rules.symbol,
            "lastPrice": price,
            "openPrice24h": price,
            "highPrice24h": price,
            "lowPrice24h": price,
            "ask1Price": ask[0],
            "bid1Price": bid[0],
            "bid1Size": bid[1],
            "ask1Size": ask[1],
            "price24hPcnt": "0",
            "volume24h": "8083.9431",
            "turnover24h": "519127705.30",
            "ts": str(sim.now_ms()),
        }
    ]


def order_book(sim: BitgetSimulator, asked: Params) -> Any:
    book = sim.market.book
    return {"asks": _levels(book.asks), "bids": _levels(book.bids), "ts": str(sim.now_ms())}


def unified_order_book(sim: BitgetSimulator, asked: Params) -> Any:
    book = sim.market.book
    return {"a": _levels(book.asks), "b": _levels(book.bids), "ts": str(sim.now_ms())}


def _levels(levels: Iterable[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[rows.plain(price), rows.plain(quantity)] for price, quantity in levels]


def _top(levels: Any) -> tuple[str, str]:
    return (rows.plain(levels[0][0]), rows.plain(levels[0][1])) if levels else ("", "0")


# --- accounts ---------------------------------------------------------------------------------------------------------


def account_info(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    _check_demo(sim, account)
    authorities = ["coor", "cpor", "stor", "smor"] if key.can_read else []
    authorities += ["stow"] if key.can_trade else []
    authorities += ["wtor", "wtow"] if key.can_transfer else []
    authorities += ["wwow"] if key.can_withdraw else []
    addresses = ["127.0.0.1"] if key.ip_restricted else []
    # Text in the documentation, a list in the wild; which one is drawn for each account.
    as_list = sim.world.random_for(f"bitget/ips/{account.id}").random() < 0.5
    return {
        "userId": str(account.uid),
        "inviterId": "",
        "ips": addresses if as_list else ",".join(addresses),
        "authorities": authorities,
        "parentId": account.uid,
        "traderType": "trader" if account.extra.get("lead_trader") else "not_trader",
        "channelCode": "",
        "channel": "",
        "regisTime": str(REGISTERED_MS),
    }


def unified_account_info(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    _check_demo(sim, account)
    permissions = ["uta_mgt", "uta_trade"]
    permissions += ["withdraw"] if key.can_withdraw else []
    permissions += ["transfer"] if key.can_transfer else []
    return {
        "userId": str(account.uid),
        "inviterId": "",
        "parentId": str(account.uid),
        "channelCode": "",
        "channel": "",
        "ips": "127.0.0.1" if key.ip_restricted else "",
        "permType": "read-and-write" if key.can_trade else "read-only",
        "permissions": permissions,
        "regisTime": str(REGISTERED_MS),
    }


def _check_demo(sim: BitgetSimulator, account: SimAccount) -> None:
    fault = sim.world.faults.take(("demo_limit",), sim.exchange, account.id)
    if fault is not None:
        raise Refused(str(fault.params.get("code", "40081")), account.uid, "account/info")


def account_settings(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    return {
        "uid": str(account.uid),
        "accountMode": "hybrid" if account.uid % 2 else "unified",
        "assetMode": "multi_assets",
        "accountLevel": "1",
        "holdMode": "one_way_mode",
        "stpMode": "none",
        "symbolConfigList": [],
        "coinConfigList": [],
    }


def assets(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    kind = asked.get("assetType", "hold_only")
    if kind not in ("hold_only", "all"):
        raise Refused("40020", "assetType")
    wanted = asked.get("coin", "").upper()
    shown = [
        rows.classic_asset(coin, state)
        for coin, state in sim.coins_read(account).items()
        if (not wanted or coin == wanted) and (kind == "all" or wanted or state.free + state.locked)
    ]
    known = {row["coin"] for row in shown}
    if kind == "all" and not wanted and (missing := sim.market.rules.discount_asset) not in known:
        shown.append(rows.classic_asset(missing, rows.CoinState(ZERO, ZERO, account.updated_ms)))
    return shown


def unified_assets(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    # Rows carry no time here, so an old one could not say that it is: what is read is always current.
    held = sim.coins(account)
    shown = [
        rows.unified_asset(coin, state, sim.debt(account, coin), sim.usd_price(coin))
        for coin, state in held.items()
        if state.free + state.locked or sim.debt(account, coin)
    ]
    worth = rows.plain(sim.worth(account, held))
    return {
        "accountEquity": worth,
        "usdtEquity": worth,
        "btcEquity": rows.plain((sim.worth(account, held) / sim.market.price).quantize(Decimal("0.00000001"))),
        "unrealisedPnl": "0",
        "effEquity": worth,
        "mmr": "0",
        "imr": "0",
        "mgnRatio": "0",
        "assets": shown,
    }


def funding_assets(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    return [{"coin": sim.market.rules.discount_asset, "available": "0.01", "frozen": "0", "balance": "0.01"}]


def deduct_info(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    return {"deduct": "on" if account.fees_in_discount_asset else "off"}


def fee_rate(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    rules = sim.market.rules
    return {
        "makerFeeRate": rows.plain(account.extra.get("maker_fee", rules.maker_fee)),
        "takerFeeRate": rows.plain(account.extra.get("taker_fee", rules.taker_fee)),
    }


# --- orders -----------------------------------------------------------------------------------------------------------


def order_info(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    """Answer a list; an order that is not found is an empty one, or one of two codes: all three are seen."""
    order = _look_up(sim, account, asked, by_client_id_for_ms=sim.settings.client_id_window_ms)
    if order is None:
        draw = sim.world.random_for(f"bitget/absent/{account.id}").random()
        if draw < 0.6:
            return []
        raise Refused("40109" if draw < 0.8 else "43001")
    found = [_classic_row(sim, account, order)]
    if sim.world.faults.take(("two_orders_shown",), sim.exchange, account.id):
        found.append(found[0] | {"orderId": str(order.order_id + 1)})
    return found


def unified_order_info(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    order = _look_up(sim, account, asked, by_client_id_for_ms=None)
    if order is None:
        raise Refused("25204")
    found = rows.unified_order(order, sim.market.rules.symbol, sim.now_ms())
    if sim.world.faults.take(("two_orders_shown",), sim.exchange, account.id):
        return [found, found | {"orderId": str(order.order_id + 1)}]
    return found


def _look_up(
    sim: BitgetSimulator, account: SimAccount, asked: Params, *, by_client_id_for_ms: int | None
) -> SimOrder | None:
    order_id, client_id = asked.get("orderId", ""), asked.get("clientOid", "")
    if not order_id and not client_id:
        raise Refused("40019", "orderId")
    if order_id:
        order = account.orders_by_id.get(int(order_id)) if re.fullmatch("[0-9]{1,20}", order_id) else None
    else:
        order = account.latest_order_with(client_id)
        if sim.world.faults.take(("client_id_forgotten",), sim.exchange, account.id):
            return None
    if sim.world.faults.take(("order_not_shown",), sim.exchange, account.id) or order is None:
        return None
    now_ms = sim.now_ms()
    if now_ms < order.extra.get("shown_ms", 0):
        return None
    too_old = by_client_id_for_ms is not None and now_ms - order.updated_ms > by_client_id_for_ms
    return None if not order_id and not order.is_open and too_old else order


def unfilled_orders(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    found = _classic_page(sim, account, asked, [order for order in account.orders if order.is_open])
    return [_classic_row(sim, account, order, unfilled=True) for order in found]


def history_orders(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    found = _classic_page(sim, account, asked, [order for order in account.orders if not order.is_open])
    return [_classic_row(sim, account, order) for order in found]


def _classic_row(sim: BitgetSimulator, account: SimAccount, order: SimOrder, *, unfilled: bool = False) -> rows.Row:
    return rows.classic_order(order, sim.market.rules.symbol, account.uid, sim.market.rules, unfilled=unfilled)


def _classic_page(sim: BitgetSimulator, account: SimAccount, asked: Params, orders: list[SimOrder]) -> list[SimOrder]:
    """Return a page of orders, newest first: those before ``idLessThan``."""
    orders = _listed(sim, orders)
    if asked.get("symbol", sim.market.rules.symbol).upper() != sim.market.rules.symbol:
        raise Refused("40034", asked["symbol"])
    if asked.get("orderId"):
        orders = [order for order in orders if str(order.order_id) == asked["orderId"]]
    before = _number(asked, "idLessThan")
    since, until = _span(sim, asked)
    return _page(
        [order for order in orders if since <= order.created_ms <= until],
        lambda order: order.order_id,
        before,
        _limit(asked),
    )


def fills(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    rules = sim.market.rules
    if asked.get("symbol", rules.symbol).upper() != rules.symbol:
        raise Refused("40034", asked["symbol"])
    found = _fills_page(sim, account, asked, _number(asked, "idLessThan"))
    return [rows.classic_fill(order, fill, rules.symbol, account.uid, rules) for order, fill in found]


def _fills_page(
    sim: BitgetSimulator, account: SimAccount, asked: Params, before: int | None
) -> list[tuple[SimOrder, SimFill]]:
    since, until = _span(sim, asked)
    order_id = asked.get("orderId")
    found = [
        (order, fill)
        for order in _listed(sim, account.orders)
        if not order_id or str(order.order_id) == order_id
        for fill in order.fills
        if since <= fill.time_ms <= until
    ]
    return _page(found, lambda one: one[1].trade_id, before, _limit(asked))


def unified_unfilled_orders(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    return _unified_orders(sim, asked, [order for order in account.orders if order.is_open])


def unified_history_orders(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    return _unified_orders(sim, asked, [order for order in account.orders if not order.is_open])


def _unified_orders(sim: BitgetSimulator, asked: Params, orders: list[SimOrder]) -> Any:
    symbol = sim.market.rules.symbol
    spot = _category(asked) == "SPOT" and asked.get("symbol", symbol) == symbol
    since, until = _span(sim, asked, UNIFIED_SPAN_MS)
    found = _page(
        [order for order in _listed(sim, orders) if spot and since <= order.created_ms <= until],
        lambda order: order.order_id,
        _number(asked, "cursor"),
        _limit(asked),
    )
    now_ms = sim.now_ms()
    return _cursored([rows.unified_order(order, symbol, now_ms) for order in found], "orderId")


def unified_fills(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    if asked.get("category"):
        _category(asked)
    found = _fills_page(sim, account, asked, _number(asked, "cursor"))
    return _cursored([rows.unified_fill(order, fill, sim.market.rules.symbol) for order, fill in found], "execId")


def _cursored(found: list[rows.Row], key: str) -> Any:
    # An empty list is null, as observed live.
    return {"list": found or None, "cursor": found[-1][key] if found else None}


def cancel_order(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    return _cancel(sim, account, asked, "43001")


def unified_cancel_order(sim: BitgetSimulator, account: SimAccount, key: SimKey, asked: Params) -> Any:
    return _cancel(sim, account, asked, "25204")


def _cancel(sim: BitgetSimulator, account: SimAccount, asked: Params, absent: str) -> Any:
    order_id, client_id = str(asked.get("orderId") or ""), str(asked.get("clientOid") or "")
    if not order_id and not client_id:
        raise Refused("40019", "orderId")
    for order in list(account.open_orders.values()):
        if str(order.order_id) == order_id or (not order_id and order.client_order_id == client_id):
            sim.market.cancel(account, order)
            return {"orderId": str(order.order_id), "clientOid": order.client_order_id}
    raise Refused(absent)


# --- helpers ----------------------------------------------------------------------------------------------------------


def _listed(sim: BitgetSimulator, orders: list[SimOrder]) -> list[SimOrder]:
    now_ms = sim.now_ms()
    return [order for order in orders if now_ms >= order.extra.get("listed_ms", 0)]


def _page(found: list[Any], key: Callable[[Any], int], before: int | None, limit: int) -> list[Any]:
    newest_first = sorted(found, key=key, reverse=True)
    return [one for one in newest_first if before is None or key(one) < before][:limit]


def _category(asked: Params) -> str:
    category = str(asked.get("category", ""))
    if not category:
        raise Refused("40019", "category")
    if category.upper() not in ("SPOT", "MARGIN", "USDT-FUTURES", "COIN-FUTURES", "USDC-FUTURES"):
        raise Refused("25200", "category")
    return category.upper()


def _span(sim: BitgetSimulator, asked: Params, longest_ms: int | None = None) -> tuple[int, int]:
    now_ms = sim.now_ms()
    since, until = _number(asked, "startTime"), _number(asked, "endTime")
    if (
        since is not None
        and until is not None
        and (since > until or (longest_ms is not None and until - since > longest_ms))
    ):
        raise Refused("40020", "startTime")
    return max(since or 0, now_ms - HISTORY_MS), until if until is not None else now_ms + DAY_MS


def _number(asked: Params, name: str) -> int | None:
    value = asked.get(name)
    if value is None or value == "":
        return None
    if not re.fullmatch("[0-9]{1,20}", value):
        raise Refused("40020", name)
    return int(value)


def _limit(asked: Params) -> int:
    limit = _number(asked, "limit")
    if limit is not None and not 1 <= limit <= MAX_PAGE:
        raise Refused("40020", "limit")
    return limit or MAX_PAGE
