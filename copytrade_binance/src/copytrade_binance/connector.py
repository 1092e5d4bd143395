"""Binance as an `Exchange`, and one account on it as a `Connector`: domain words in, domain types out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from copytrade_core.accounts.budget import Budget, Priority
from copytrade_core.connector import (
    Connector,
    Exchange,
    ExchangeContext,
    Gate,
    Gateway,
    PreparedOrder,
    StreamSink,
    UserStream,
)
from copytrade_core.errors import AuthenticationFailed, ClockSkewed, ConfigError, OrderRejected, OutcomeUnknown
from copytrade_core.model import (
    AccountCheck,
    AccountId,
    BalanceSnapshot,
    BaseQuantity,
    ClientOrderId,
    Credentials,
    Environment,
    ExchangeOrderId,
    KeyPermissions,
    MarketOrder,
    OrderAck,
    OrderReport,
    OrderStatus,
    QuoteAmount,
    Side,
    SymbolRules,
)

from . import parse
from .errors import EXCHANGE, unreadable
from .gateway import BinanceGateway
from .limits import Limits
from .rest import Rest
from .signing import Signer
from .user_stream import BinanceUserStream

HOSTS = {
    Environment.PROD: ("https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3"),
    Environment.TEST: ("https://testnet.binance.vision", "wss://ws-api.testnet.binance.vision/ws-api/v3"),
    Environment.DEMO: ("https://demo-api.binance.com", "wss://demo-ws-api.binance.com/ws-api/v3"),
}
RECV_WINDOW_MS = 3000
# Binance waits 10 s for its engine; 2 s more for the way there.
FENCE_AFTER_WINDOW_MS = 12_000
DAY_MS = 86_400_000
PAGE = 1000


class BinanceExchange(Exchange):
    """Binance spot in one environment: its hosts, its limits, its sockets."""

    description_id = EXCHANGE

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        rest, ws_api = HOSTS[context.environment]
        self.symbol = context.symbol.base + context.symbol.quote
        self.ws_api_url = _endpoint(context.endpoints, "ws_api", ws_api, ("ws", "wss"))
        self.limits = Limits(context.clock, context.on_shut_out)
        self.streams = itertools.count()  # numbers the user streams
        if context.shut_out_sec:
            self.limits.weight.block(context.shut_out_sec, banned=True)
        origin = _endpoint(context.endpoints, "rest", rest, ("http", "https")).rstrip("/")
        self.rest = Rest(origin, context.exchange_clock, self.limits)

    def budgets(self) -> Mapping[str, Budget]:
        limits = self.limits
        return {"weight": limits.weight, "requests": limits.requests, "connections": limits.connections}

    def open_connector(self, account_id: AccountId, credentials: Credentials) -> BinanceConnector:
        """Return the connector of one account. :raises AuthenticationFailed: key or secret are malformed."""
        return BinanceConnector(self, account_id, credentials)

    def server_time_ms(self) -> int:
        return parse.server_time(self.rest.time())

    def rules(self) -> SymbolRules:
        payload = self.rest.exchangeInfo(self.symbol)
        if limit := parse.weight_limit(payload):
            self.limits.weight.limit = limit
        return parse.rules(payload, self.context.symbol, self.symbol)

    def open_user_stream(self, sink: StreamSink, name: str) -> UserStream:
        return BinanceUserStream(self, sink, name)

    def make_gateway(self) -> Gateway:
        return BinanceGateway(self)

    def warm_up(self, connectors: Sequence[Connector]) -> None:
        gateway = self.gateway
        if isinstance(gateway, BinanceGateway):
            gateway.warm(len(connectors))

    def balance_read_cost_sec(self) -> float:
        """20 units of weight, at the share of the budget that balances may take."""
        return 20 / (self.limits.weight.limit / 60 * Priority.BALANCE.value)

    def close(self) -> None:
        super().close()
        self.rest.close()


class BinanceConnector(Connector):
    """One account on Binance spot."""

    def __init__(self, exchange: BinanceExchange, account_id: AccountId, credentials: Credentials) -> None:
        self.account_id = account_id
        self.signer = Signer.of(credentials)
        self._exchange = exchange
        self._rest = exchange.rest
        self._clock = exchange.context.exchange_clock
        self._fingerprint = credentials.fingerprint

    def verify(self, *, needs_trade: bool = True) -> AccountCheck:
        """Ask for the account and for what the key may do.

        On prod Binance tells the key's rights; elsewhere a test order proves that it may trade, and nothing
        can prove that it may not withdraw.
        """
        # Followers by the hundred may be verified at once; the leader, who only reads, must not wait for them.
        payload = self._rest.account(self.signer, Priority.CHECK if needs_trade else Priority.LOOKUP)
        if needs_trade and not parse.can_trade(payload):
            raise AuthenticationFailed(
                "Binance does not let this account trade", kind="account_blocked", exchange=EXCHANGE
            )
        permissions = self._permissions(needs_trade)
        for found, kind, sentence in (
            (permissions.can_read is False, "no_read_permission", "the key may not read: tick Enable Reading"),
            (
                needs_trade and permissions.can_trade is False,
                "no_trade_permission",
                "the key may not trade: tick Enable Spot Trading",
            ),
            (permissions.can_withdraw, "can_withdraw", "the key can withdraw: make one that cannot"),
            (permissions.can_transfer, "can_transfer", "the key can transfer funds: make one that cannot"),
        ):
            if found:
                raise AuthenticationFailed(sentence, kind=kind, exchange=EXCHANGE)
        return AccountCheck(
            uid=parse.uid(payload),
            permissions=permissions,
            balances=parse.account(payload),
        )

    def balances(self, *, urgent: bool = False) -> BalanceSnapshot:
        return parse.account(self._rest.account(self.signer, Priority.LOOKUP if urgent else Priority.BALANCE))

    def key_permissions(self) -> KeyPermissions:
        """Read what the key may do; outside of prod that is only whether it may read and trade."""
        if self._exchange.context.environment is not Environment.PROD:
            # A test order alone cannot tell a bad key from a missing right. Nobody waits for this.
            self._rest.account(self.signer, Priority.BALANCE)
        return self._permissions(needs_trade=True)

    def _permissions(self, needs_trade: bool) -> KeyPermissions:
        if self._exchange.context.environment is Environment.PROD:
            return parse.restrictions(self._rest.apiRestrictions(self.signer))
        return KeyPermissions(can_read=True, can_trade=self._may_trade() if needs_trade else None)

    def _may_trade(self) -> bool | None:
        """Try an order that is only checked; the account was read before, so the key itself is good.

        ``None``: the exchange did not say. Its answer to the first real order will.
        """
        params = {"symbol": self._exchange.symbol, "side": "BUY", "type": "MARKET", "quoteOrderQty": "100"}
        try:
            self._rest.order_test(self.signer, params)
        except OrderRejected:
            pass  # its size was looked at, so the right to trade was found
        except AuthenticationFailed as error:
            if error.kind not in ("invalid_key", "no_trade_permission"):
                raise
            return False
        except OutcomeUnknown:
            return None
        return True

    def prepare_market_order(self, order: MarketOrder) -> PreparedOrder:
        if not self._clock.is_known:
            raise ClockSkewed("Binance's clock is not known", exchange=EXCHANGE)
        timestamp_ms = self._clock.now_ms()
        size = "quoteOrderQty" if order.side is Side.BUY else "quantity"
        body = {
            "symbol": self._exchange.symbol,
            "side": order.side.value,
            "type": "MARKET",
            size: format(order.size, "f"),
            "newClientOrderId": order.client_order_id,
            "newOrderRespType": "FULL",
            "recvWindow": str(RECV_WINDOW_MS),
            "timestamp": str(timestamp_ms),
        }
        return PreparedOrder(
            account_id=self.account_id,
            order=order,
            body=body,
            timestamp_ms=timestamp_ms,
            recv_window_ms=RECV_WINDOW_MS,
            fence_ms=timestamp_ms + RECV_WINDOW_MS + FENCE_AFTER_WINDOW_MS,
            key_fingerprint=self._fingerprint,
            connector=self,
        )

    def place(self, prepared: PreparedOrder, gate: Gate) -> OrderAck:
        """Send *prepared* over REST, once. The gateway's sockets are faster; this is what stands behind them."""
        return parse.order_reply(self._rest.new_order(self.signer, prepared.body, gate.passage(prepared)), prepared)

    def find_order(
        self, client_order_id: ClientOrderId, exchange_order_id: ExchangeOrderId | None = None
    ) -> OrderReport | None:
        """Look one order up; see `Connector.find_order`.

        Binance reads this from a database that lags: "none" may be early, and ``fills_complete`` is False
        while the trades of a final order have not all arrived there. An order that ended unfilled over 90
        days ago comes back without its times and side (``BUY`` stands): only that nothing was filled is known.
        """
        params = {"symbol": self._exchange.symbol}
        if exchange_order_id is not None:
            params["orderId"] = exchange_order_id
        params["origClientOrderId"] = client_order_id
        try:
            payload = self._rest.get_order(self.signer, params)
        except OrderRejected as error:
            if error.kind == "order_not_found":
                return None
            if error.kind == "order_archived":
                return _archived(client_order_id, exchange_order_id)
            raise
        report = parse.order(payload)
        if report.client_order_id != client_order_id:
            raise unreadable("it is about another order than the one asked for")
        if not report.status.is_final or report.filled_base == 0:
            return report
        params = {"symbol": self._exchange.symbol, "orderId": report.exchange_order_id}
        return parse.order(payload, parse.trades(self._rest.myTrades(self.signer, params)))

    def list_orders(self, since_ms: int) -> Sequence[OrderReport]:
        """Return the symbol's orders created at or after *since_ms*, oldest first, without fills.

        By windows of a day, which is the longest span that Binance searches; from the first full page on by
        order id, so that orders of one millisecond cannot fall between two pages.
        """
        found: list[OrderReport] = []
        start = since_ms
        while start <= self._clock.now_ms():
            page = self._all_orders({"startTime": str(start), "endTime": str(start + DAY_MS - 1)})
            found += page
            while len(page) == PAGE:
                page = self._all_orders({"orderId": str(max(int(row.exchange_order_id) for row in page) + 1)})
                found += page
                start = self._clock.now_ms()
            start += DAY_MS
        orders = {row.exchange_order_id: row for row in found if row.created_ms >= since_ms}
        return sorted(orders.values(), key=lambda row: (row.created_ms, int(row.exchange_order_id)))

    def _all_orders(self, params: Mapping[str, str]) -> list[OrderReport]:
        payload = self._rest.allOrders(self.signer, {"symbol": self._exchange.symbol, "limit": str(PAGE), **params})
        return parse.orders(payload)


def _archived(client_order_id: ClientOrderId, exchange_order_id: ExchangeOrderId | None) -> OrderReport:
    return OrderReport(
        exchange_order_id=exchange_order_id or ExchangeOrderId(""),
        client_order_id=client_order_id,
        side=Side.BUY,
        is_market=True,
        status=OrderStatus.EXPIRED,
        filled_base=BaseQuantity(Decimal(0)),
        filled_quote=QuoteAmount(Decimal(0)),
        created_ms=0,
        updated_ms=0,
        fills_complete=True,
    )


def _endpoint(endpoints: Mapping[str, str], name: str, default: str, schemes: tuple[str, ...]) -> str:
    url = endpoints.get(name, default)
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigError(f"the endpoint {name!r} of Binance must be a URL with {' or '.join(schemes)}")
    return url
