"""The endpoints of the simulated Binance, one method each for REST and the WebSocket API alike.

Shapes and weights: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md and
``web-socket-api.md`` there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from copytrade_core.sim import Market, MarketRules, OrderRefused, SimAccount, SimFill, SimOrder, World

from .sim_rules import (
    EXCHANGE,
    ApiError,
    Call,
    Limits,
    Settings,
    bad,
    client_id,
    fmt,
    number,
    only,
    refused_key,
    required,
    whole,
)

SHARED_ORDER_PARAMS = (
    "symbol",
    "side",
    "type",
    "timeInForce",
    "quantity",
    "quoteOrderQty",
    "price",
    "newClientOrderId",
    "newOrderRespType",
    "strategyId",
    "strategyType",
    "selfTradePreventionMode",
)
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
STP_MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
REFUSALS = {
    OrderRefused.INSUFFICIENT_BALANCE: "Account has insufficient balance for requested action.",
    OrderRefused.DUPLICATE: "Duplicate order sent.",
    OrderRefused.NO_LIQUIDITY: "Order book liquidity is less than `LOT_SIZE` filter minimum quantity.",
    OrderRefused.TOO_SMALL: "Order book liquidity is less than `LOT_SIZE` filter minimum quantity.",
}
OTHER_ASSETS = ("BNB", "ETH", "LTC", "USDC")
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that may be asked, under its two names."""

    method: str  # of the WebSocket API
    rest: str
    path: str
    weight: Callable[[Mapping[str, str]], int]
    security: str  # "", USER_DATA or TRADE
    params: tuple[str, ...]
    handle: Callable[[Call], Any]

    @property
    def is_order(self) -> bool:
        return self.method == "order.place"


@dataclass(slots=True)
class Snapshot:
    """An account's balances as they were before its last change."""

    updated_ms: int
    replaced_ms: int
    balances: dict[str, tuple[Decimal, Decimal]]


class Endpoints:
    """The handlers. Each returns JSON values, or raises `ApiError`; none waits."""

    def __init__(self, world: World, market: Market, limits: Limits, settings: Settings) -> None:
        self._world = world
        self._market = market
        self._limits = limits
        self._settings = settings
        self._made_ids = 0

    def table(self) -> list[Endpoint]:
        symbol = ("symbol",)
        lookup = ("symbol", "orderId", "origClientOrderId")
        listing = ("symbol", "orderId", "startTime", "endTime", "limit")
        order = SHARED_ORDER_PARAMS

        def cost(weight: int) -> Callable[[Mapping[str, str]], int]:
            return lambda params: weight

        return [
            Endpoint("ping", "GET", "/api/v3/ping", cost(1), "", (), lambda call: {}),
            Endpoint("time", "GET", "/api/v3/time", cost(1), "", (), self.time),
            Endpoint(
                "exchangeInfo",
                "GET",
                "/api/v3/exchangeInfo",
                cost(20),
                "",
                ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"),
                self.exchange_info,
            ),
            Endpoint("ticker.price", "GET", "/api/v3/ticker/price", cost(2), "", symbol, self.ticker_price),
            Endpoint("ticker.book", "GET", "/api/v3/ticker/bookTicker", cost(2), "", symbol, self.ticker_book),
            Endpoint("avgPrice", "GET", "/api/v3/avgPrice", cost(2), "", symbol, self.average_price),
            Endpoint("depth", "GET", "/api/v3/depth", cost(5), "", ("symbol", "limit"), self.depth),
            Endpoint(
                "account.status", "GET", "/api/v3/account", cost(20), "USER_DATA", ("omitZeroBalances",), self.account
            ),
            Endpoint(
                "account.commission",
                "GET",
                "/api/v3/account/commission",
                cost(20),
                "USER_DATA",
                symbol,
                self.commission,
            ),
            Endpoint(
                "account.rateLimits.orders",
                "GET",
                "/api/v3/rateLimit/order",
                cost(40),
                "USER_DATA",
                (),
                self.order_limits,
            ),
            Endpoint("order.place", "POST", "/api/v3/order", cost(0), "TRADE", order, self.place_order),
            Endpoint(
                "order.test",
                "POST",
                "/api/v3/order/test",
                lambda params: 20 if params.get("computeCommissionRates") == "true" else 1,
                "TRADE",
                (*order, "computeCommissionRates"),
                self.test_order,
            ),
            Endpoint(
                "order.cancel",
                "DELETE",
                "/api/v3/order",
                cost(1),
                "TRADE",
                (*lookup, "newClientOrderId"),
                self.cancel_order,
            ),
            Endpoint("order.status", "GET", "/api/v3/order", cost(4), "USER_DATA", lookup, self.order_status),
            Endpoint(
                "openOrders.status",
                "GET",
                "/api/v3/openOrders",
                lambda params: 6 if "symbol" in params else 80,
                "USER_DATA",
                symbol,
                self.open_orders,
            ),
            Endpoint("allOrders", "GET", "/api/v3/allOrders", cost(20), "USER_DATA", listing, self.all_orders),
            Endpoint(
                "myTrades",
                "GET",
                "/api/v3/myTrades",
                lambda params: 5 if "orderId" in params else 20,
                "USER_DATA",
                (*listing, "fromId"),
                self.my_trades,
            ),
        ]

    # -- public ---------------------------------------------------------------------------------------------------

    def time(self, call: Call) -> Any:
        return {"serverTime": self._world.now_ms(EXCHANGE)}

    def exchange_info(self, call: Call) -> Any:
        markets = self._markets()
        asked = call.params.get("symbols", call.params.get("symbol"))
        if asked is not None:
            names = asked.replace('"', "").strip("[]").split(",")
            if not set(names) <= {market.rules.symbol for market in markets}:
                raise bad(-1121, "Invalid symbol.")
            markets = [market for market in markets if market.rules.symbol in names]
        return {
            "timezone": "UTC",
            "serverTime": self._world.now_ms(EXCHANGE),
            "rateLimits": [
                {"rateLimitType": kind, "interval": interval, "intervalNum": length, "limit": limit}
                for kind, interval, length, limit in (
                    ("REQUEST_WEIGHT", "MINUTE", 1, self._settings.weight_limit),
                    ("ORDERS", "SECOND", 10, self._settings.orders_10s),
                    ("ORDERS", "DAY", 1, self._settings.orders_1d),
                    ("RAW_REQUESTS", "MINUTE", 5, self._settings.raw_requests_limit),
                )
            ],
            "exchangeFilters": [],
            "symbols": [self._symbol(market.rules) for market in markets],
        }

    def _markets(self) -> list[Market]:
        others = (market for (owner, _), market in self._world.other_markets.items() if owner == EXCHANGE)
        return [self._market, *others]

    def _symbol(self, rules: MarketRules) -> dict[str, Any]:
        settings = self._settings
        return {
            "symbol": rules.symbol,
            "status": settings.status,
            "baseAsset": rules.base,
            "baseAssetPrecision": 8,
            "quoteAsset": rules.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": list(ORDER_TYPES),
            "icebergAllowed": True,
            "ocoAllowed": True,
            "otoAllowed": True,
            "opoAllowed": True,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "amendAllowed": True,
            "pegInstructionsAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": True,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": fmt(rules.price_tick),
                    "maxPrice": "1000000.00000000",
                    "tickSize": fmt(rules.price_tick),
                },
                {
                    "filterType": "LOT_SIZE",
                    "minQty": fmt(rules.base_step),
                    "maxQty": "9000.00000000",
                    "stepSize": fmt(rules.base_step),
                },
                {"filterType": "ICEBERG_PARTS", "limit": 100},
                {
                    "filterType": "MARKET_LOT_SIZE",
                    "minQty": "0.00000000",
                    "maxQty": settings.max_market_quantity,
                    "stepSize": "0.00000000",
                },
                {
                    "filterType": "PERCENT_PRICE_BY_SIDE",
                    "bidMultiplierUp": "2",
                    "bidMultiplierDown": "0.5",
                    "askMultiplierUp": "2",
                    "askMultiplierDown": "0.5",
                    "avgPriceMins": 5,
                },
                {
                    "filterType": "NOTIONAL",
                    "minNotional": settings.min_notional,
                    "applyMinToMarket": True,
                    "maxNotional": "9000000.00000000",
                    "applyMaxToMarket": False,
                    "avgPriceMins": 5,
                },
                {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
                {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
                {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
                {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": 10},
            ],
            "permissions": [],
            "permissionSets": [["SPOT", "MARGIN", "TRD_GRP_004"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": list(STP_MODES),
        }

    def ticker_price(self, call: Call) -> Any:
        return self._one_or_all(call, lambda market: {"symbol": market.rules.symbol, "price": fmt(market.price)})

    def ticker_book(self, call: Call) -> Any:
        def row(market: Market) -> dict[str, str]:
            (bid, bid_quantity), (ask, ask_quantity) = market.book.bids[0], market.book.asks[0]
            return {
                "symbol": market.rules.symbol,
                "bidPrice": fmt(bid),
                "bidQty": fmt(bid_quantity),
                "askPrice": fmt(ask),
                "askQty": fmt(ask_quantity),
            }

        return self._one_or_all(call, row)

    def _one_or_all(self, call: Call, row: Callable[[Market], dict[str, str]]) -> Any:
        if "symbol" in call.params:
            return row(self._market_of(call))
        return [row(market) for market in self._markets()]

    def average_price(self, call: Call) -> Any:
        return {"mins": 5, "price": fmt(self._market_of(call).price), "closeTime": self._world.now_ms(EXCHANGE)}

    def depth(self, call: Call) -> Any:
        book = self._market_of(call).book
        limit = whole(call.params, "limit") or 100
        sides = {
            name: [[fmt(price), fmt(quantity)] for price, quantity in levels[:limit]]
            for name, levels in (("bids", book.bids), ("asks", book.asks))
        }
        return {"lastUpdateId": self._world.now_ms(EXCHANGE), **sides}

    # -- the account ----------------------------------------------------------------------------------------------

    def account(self, call: Call) -> Any:
        account = call.account
        updated_ms, balances = self._balances(account)
        omit = call.params.get("omitZeroBalances") == "true"
        maker, taker = self._fees(account)
        return {
            "makerCommission": int(maker * 10_000),
            "takerCommission": int(taker * 10_000),
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": fmt(maker),
                "taker": fmt(taker),
                "buyer": fmt(Decimal(0)),
                "seller": fmt(Decimal(0)),
            },
            "canTrade": not account.blocked,
            "canWithdraw": True,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": updated_ms if self._settings.update_time_equals_u else updated_ms + 3,
            "accountType": "SPOT",
            "balances": [
                {"asset": asset, "free": fmt(free), "locked": fmt(locked)}
                for asset, (free, locked) in balances.items()
                if not omit or free or locked
            ],
            "permissions": ["SPOT"],
            "uid": account.uid,
        }

    def _balances(self, account: SimAccount) -> tuple[int, dict[str, tuple[Decimal, Decimal]]]:
        now_ms = self._world.now_ms(EXCHANGE)
        before: Snapshot | None = account.extra.get("before")
        untidiness = self._world.untidiness[EXCHANGE]
        is_recent = before is not None and now_ms - before.replaced_ms < 1000
        forced = self._world.faults.take(("stale_snapshot",), EXCHANGE, account.id)
        if before is not None and (
            forced or (is_recent and self._world.chance(f"stale/{account.id}", untidiness.snapshot_stale))
        ):
            return before.updated_ms, before.balances
        return account.updated_ms, balances_of(account)

    def _fees(self, account: SimAccount) -> tuple[Decimal, Decimal]:
        rules = self._market.rules
        return account.extra.get("maker_fee", rules.maker_fee), account.extra.get("taker_fee", rules.taker_fee)

    def commission(self, call: Call) -> Any:
        return {"symbol": self._market_of(call).rules.symbol, **self._commission(call.account, "Commission")}

    def _commission(self, account: SimAccount, name: str) -> dict[str, Any]:
        maker, taker = self._fees(account)
        none = {"maker": fmt(Decimal(0)), "taker": fmt(Decimal(0)), "buyer": fmt(Decimal(0)), "seller": fmt(Decimal(0))}
        return {
            f"standard{name}": {**none, "maker": fmt(maker), "taker": fmt(taker)},
            f"special{name}": none,
            f"tax{name}": none,
            "discount": {
                "enabledForAccount": account.fees_in_discount_asset,
                "enabledForSymbol": True,
                "discountAsset": self._market.rules.discount_asset,
                "discount": fmt(self._market.rules.discount),
            },
        }

    def order_limits(self, call: Call) -> Any:
        return self.order_limit_rows(call.account)

    def order_limit_rows(self, account: SimAccount) -> list[dict[str, Any]]:
        count, settings = self._limits.orders(account), self._settings
        rows = (("SECOND", 10, settings.orders_10s, count.in_ten_seconds), ("DAY", 1, settings.orders_1d, count.in_day))
        return [
            {"rateLimitType": "ORDERS", "interval": interval, "intervalNum": length, "limit": limit, "count": used}
            for interval, length, limit, used in rows
        ]

    # -- orders ---------------------------------------------------------------------------------------------------

    def place_order(self, call: Call) -> Any:
        market = self._market_of(call)
        ticket = self._ticket(call, market)
        account, params, faults = call.account, call.params, self._world.faults
        if account.blocked:
            raise bad(-2010, "This action is disabled on this account.")
        count = self._limits.admit_order(account)
        try:
            order = market.accept(account, via=call.via, **ticket)
        except OrderRefused as refused:
            raise bad(-2010, REFUSALS[refused.reason]) from None
        count.add(1)
        order.extra = {
            name: params[name] for name in ("strategyId", "strategyType", "selfTradePreventionMode") if name in params
        }
        self._hide_at_first(account, order)
        stop_after, reason = None, ""
        if fault := faults.take(("partial_then_expired", "price_range_expiry"), EXCHANGE, account.id):
            stop_after = int(fault.number("fills", 1))
            reason = "EXECUTION_RULE_PRICE_RANGE_EXCEEDED" if fault.name == "price_range_expiry" else ""
        market.execute(account, order, stop_after=stop_after, expiry_reason=reason)
        call.order_count = type(count)(count.ten_seconds, count.day, count.in_ten_seconds, count.in_day)
        if order.executed_base:
            count.add(-1)
        return self._placed(order, params.get("newOrderRespType", "FULL"))

    def _hide_at_first(self, account: SimAccount, order: SimOrder) -> None:
        """An order just sent may not be found for a while, since queries read a copy of the engine's data."""
        untidiness = self._world.untidiness[EXCHANGE]
        if fault := self._world.faults.take(("order_not_found",), EXCHANGE, account.id):
            order.extra["hidden_until_ms"] = order.created_ms + int(fault.number("seconds", 15) * 1000)
            order.extra["listed"] = not fault.params.get("listings", True)
        elif self._world.chance(f"lookup/{account.id}", untidiness.lookup_late):
            order.extra["hidden_until_ms"] = order.created_ms + untidiness.lookup_late_ms

    def _is_hidden(self, order: SimOrder, *, in_listing: bool = False) -> bool:
        if in_listing and order.extra.get("listed"):
            return False
        return bool(self._world.now_ms(EXCHANGE) < order.extra.get("hidden_until_ms", 0))

    def _ticket(self, call: Call, market: Market) -> dict[str, Any]:
        """Check parameters and filters; return what `Market.accept` needs. :raises ApiError: the first wrong one."""
        params, rules, settings = call.params, market.rules, self._settings
        side, kind = required(params, "side"), required(params, "type")
        if side not in ("BUY", "SELL"):
            raise bad(-1117, "Invalid side.")
        if kind not in ORDER_TYPES:
            raise bad(-1116, "Invalid orderType.")
        if kind not in ("MARKET", "LIMIT"):
            raise bad(-2010, "Unsupported order combination")  # these types are not simulated
        if params.get("newOrderRespType", "FULL") not in ("ACK", "RESULT", "FULL"):
            raise bad(-1134, "Invalid newOrderRespType.")
        if params.get("selfTradePreventionMode", "NONE") not in (*STP_MODES, "NONE"):
            raise bad(-1013, "This symbol does not allow the specified self-trade prevention mode.")
        if (whole(params, "strategyType") or 1_000_000) < 1_000_000:
            raise bad(-1128, "Combination of optional parameters invalid.")
        whole(params, "strategyId")
        quantity, quote = number(params, "quantity"), number(params, "quoteOrderQty")
        price = number(params, "price")
        given_id = client_id(params, "newClientOrderId")
        if kind == "MARKET":
            for name in ("price", "timeInForce"):
                if name in params:
                    raise bad(-1106, f"Parameter '{name}' sent when not required.")
            if quantity is None and quote is None:
                raise bad(-1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed.")
            if quantity is not None and quote is not None:
                raise bad(-1128, "Combination of optional parameters invalid.")
        else:
            if required(params, "timeInForce") != "GTC":
                raise bad(-1115, "Invalid timeInForce.")  # IOC and FOK are not simulated
            if quote is not None:
                raise bad(-1106, "Parameter 'quoteOrderQty' sent when not required.")
            required(params, "quantity")
            required(params, "price")
        if settings.status != "TRADING":
            raise bad(-2010, "Market is closed.")
        self._filter(market, call.account, kind, quantity, quote, price)
        self._made_ids += 1
        return {
            "side": side,
            "client_order_id": given_id or f"{rules.base}{self._world.seed:06d}x{self._made_ids:09d}",
            "quantity": quantity,
            "quote": quote,
            "price": price,
        }

    def _filter(
        self,
        market: Market,
        account: SimAccount,
        kind: str,
        quantity: Decimal | None,
        quote: Decimal | None,
        price: Decimal | None,
    ) -> None:
        def fail(name: str) -> ApiError:
            return bad(-1013, f"Filter failure: {name}")

        rules, market_price = market.rules, market.price
        if price is not None:
            if price % rules.price_tick or price > 1_000_000:
                raise fail("PRICE_FILTER")
            if not market_price / 2 <= price <= market_price * 2:
                raise fail("PERCENT_PRICE_BY_SIDE")
            if len(account.open_orders) >= 200:
                raise fail("MAX_NUM_ORDERS")
        if quantity is not None:
            if quantity < rules.base_step or quantity > 9000 or quantity % rules.base_step:
                raise fail("LOT_SIZE")
            if kind == "MARKET" and quantity > Decimal(self._settings.max_market_quantity):
                raise fail("MARKET_LOT_SIZE")
        notional = quote if quote is not None else (quantity or Decimal(0)) * (price or market_price)
        if notional < Decimal(self._settings.min_notional) or (kind == "LIMIT" and notional > 9_000_000):
            raise fail("NOTIONAL")

    def test_order(self, call: Call) -> Any:
        self._ticket(call, self._market_of(call))
        if call.params.get("computeCommissionRates") != "true":
            return {}
        rates = self._commission(call.account, "CommissionForOrder")
        return {
            name: {side: rate[side] for side in ("maker", "taker")} if name != "discount" else rate
            for name, rate in rates.items()
        }

    def _placed(self, order: SimOrder, kind: str) -> dict[str, Any]:
        reply: dict[str, Any] = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.client_order_id,
            "transactTime": order.updated_ms,
        }
        if kind == "ACK":
            return reply
        reply |= {
            "price": fmt(order.price or Decimal(0)),
            "origQty": fmt(order.quantity),
            "executedQty": fmt(order.executed_base),
            "origQuoteOrderQty": fmt(order.sent_quote or Decimal(0)),
            "cummulativeQuoteQty": fmt(order.executed_quote),
            "status": order.status,
            "timeInForce": "GTC",
            "type": order.type,
            "side": order.side,
            "workingTime": order.created_ms,
            "selfTradePreventionMode": order.extra.get("selfTradePreventionMode", "EXPIRE_MAKER"),
        }
        _add_optional(order, reply)
        if kind == "FULL":
            reply["fills"] = [
                {
                    "price": fmt(fill.price),
                    "qty": fmt(fill.quantity),
                    "commission": fmt(fill.fee),
                    "commissionAsset": fill.fee_asset,
                    "tradeId": fill.trade_id,
                }
                for fill in order.fills
            ]
        return reply

    def order_status(self, call: Call) -> Any:
        return self._queried(self._find(call))

    def _find(self, call: Call) -> SimOrder:
        symbol = self._market_of(call).rules.symbol
        account, params = call.account, call.params
        order_id, given = whole(params, "orderId"), params.get("origClientOrderId")
        if order_id is None and given is None:
            raise bad(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        order = account.orders_by_id.get(order_id) if order_id is not None else account.latest_order_with(given or "")
        if order is None or order.symbol != symbol or self._is_hidden(order):
            raise bad(-2013, "Order does not exist.")
        if given is not None and order.client_order_id != given:
            raise bad(-2039, "Client order ID is not correct for this order ID.")
        return order

    def cancel_order(self, call: Call) -> Any:
        try:
            order = self._find(call)
        except ApiError as error:
            raise bad(-2011, "Unknown order sent.") if error.code == -2013 else error from None
        if not order.is_open:
            raise bad(-2011, "Unknown order sent.")
        self._made_ids += 1
        order.extra["cancel_id"] = client_id(call.params, "newClientOrderId") or f"cancel{self._made_ids:012d}"
        self._market_of(call).cancel(call.account, order)
        return {
            **self._placed(order, "RESULT"),
            "origClientOrderId": order.client_order_id,
            "clientOrderId": order.extra["cancel_id"],
        }

    def _queried(self, order: SimOrder) -> dict[str, Any]:
        row: dict[str, Any] = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.client_order_id,
            "price": fmt(order.price or Decimal(0)),
            "origQty": fmt(order.quantity),
            "executedQty": fmt(order.executed_base),
            "cummulativeQuoteQty": fmt(order.executed_quote),
            "status": order.status,
            "timeInForce": "GTC",
            "type": order.type,
            "side": order.side,
            "stopPrice": fmt(Decimal(0)),
            "icebergQty": fmt(Decimal(0)),
            "time": order.created_ms,
            "updateTime": order.updated_ms,
            "isWorking": True,
            "workingTime": order.created_ms,
            "origQuoteOrderQty": fmt(order.sent_quote or Decimal(0)),
            "selfTradePreventionMode": order.extra.get("selfTradePreventionMode", "EXPIRE_MAKER"),
        }
        _add_optional(order, row)
        return row

    def open_orders(self, call: Call) -> Any:
        symbol = self._market_of(call).rules.symbol if "symbol" in call.params else None
        return [self._queried(order) for order in call.account.open_orders.values() if symbol in (None, order.symbol)]

    def all_orders(self, call: Call) -> Any:
        symbol = self._market_of(call).rules.symbol
        from_id = whole(call.params, "orderId")
        start_ms, end_ms, limit = self._window(call)
        orders = [
            order
            for order in call.account.orders
            if order.symbol == symbol
            and (from_id is None or order.order_id >= from_id)
            and start_ms <= order.created_ms <= end_ms
            and not self._is_hidden(order, in_listing=True)
        ]
        newest = from_id is None and "startTime" not in call.params
        return [self._queried(order) for order in (orders[-limit:] if newest else orders[:limit])]

    def my_trades(self, call: Call) -> Any:
        symbol = self._market_of(call).rules.symbol
        order_id, from_id = whole(call.params, "orderId"), whole(call.params, "fromId")
        if from_id is not None and ("startTime" in call.params or "endTime" in call.params):
            raise bad(-1128, "Combination of optional parameters invalid.")
        start_ms, end_ms, limit = self._window(call)
        trades = [
            (order, fill)
            for order, fill in self._trades(call.account)
            if order.symbol == symbol
            and (order_id is None or order.order_id == order_id)
            and (from_id is None or fill.trade_id >= from_id)
            and start_ms <= fill.time_ms <= end_ms
        ]
        newest = from_id is None and "startTime" not in call.params
        return [
            {
                "symbol": order.symbol,
                "id": fill.trade_id,
                "orderId": order.order_id,
                "orderListId": -1,
                "price": fmt(fill.price),
                "qty": fmt(fill.quantity),
                "quoteQty": fmt(fill.quote),
                "commission": fmt(fill.fee),
                "commissionAsset": fill.fee_asset,
                "time": fill.time_ms,
                "isBuyer": order.side == "BUY",
                "isMaker": fill.maker,
                "isBestMatch": True,
            }
            for order, fill in (trades[-limit:] if newest else trades[:limit])
        ]

    def _trades(self, account: SimAccount) -> Iterator[tuple[SimOrder, SimFill]]:
        found = [
            (order, fill)
            for order in account.orders
            if not self._is_hidden(order, in_listing=True)
            for fill in order.fills
        ]
        # A resting order fills after younger ones: by trade, not by order.
        return iter(sorted(found, key=lambda pair: pair[1].trade_id))

    def _window(self, call: Call) -> tuple[int, int, int]:
        start_ms, end_ms = whole(call.params, "startTime"), whole(call.params, "endTime")
        limit = whole(call.params, "limit")
        if limit is not None and not 1 <= limit <= 1000:
            raise bad(-1130, "Data sent for parameter 'limit' is not valid.")
        if start_ms is not None and end_ms is not None:
            if start_ms > end_ms:
                raise bad(-1128, "Combination of optional parameters invalid.")
            if end_ms - start_ms > DAY_MS:
                raise bad(-1127, "More than 24 hours between startTime and endTime.")
        elif start_ms is not None:
            end_ms = start_ms + DAY_MS
        elif end_ms is not None:
            start_ms = end_ms - DAY_MS
        return start_ms or 0, end_ms if end_ms is not None else 1 << 62, limit or 500

    def _market_of(self, call: Call) -> Market:
        try:
            return self._world.market(EXCHANGE, required(call.params, "symbol"))
        except ValueError:
            raise bad(-1121, "Invalid symbol.") from None

    def check_permission(self, endpoint: Endpoint, call: Call) -> None:
        """:raises ApiError: the key may not do this."""
        if not (call.key.can_trade if endpoint.security == "TRADE" else call.key.can_read):
            raise refused_key()

    def check_names(self, endpoint: Endpoint, call: Call) -> None:
        only(call, endpoint.params)


def balances_of(account: SimAccount) -> dict[str, tuple[Decimal, Decimal]]:
    """Return free and locked of each asset; a few that the account never had are listed with zeros."""
    names = dict.fromkeys((*account.holdings, *OTHER_ASSETS))
    return {asset: (account.free(asset), account.locked(asset)) for asset in names}


def _add_optional(order: SimOrder, row: dict[str, Any]) -> None:
    if order.expiry_reason:
        row["expiryReason"] = order.expiry_reason
    for name in ("strategyId", "strategyType"):
        if name in order.extra:
            row[name] = int(order.extra[name])
